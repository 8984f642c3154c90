//! What a tracker signs for a superpeer, so that nobody needs to ask the tracker again.

use crate::form::{self, Fields};
use crate::id::{Identity, PeerId};

const DOMAIN: &[u8] = b"pcdn-superpeer-1\0";

/// "I, `tracker`, say that `peer` is a superpeer with `share` of the full priority, until then."
///
/// Wire form, big endian, 137 bytes: peer (32), tracker (32), share in per cent (1), until in milliseconds since 1970 (8),
/// signature over `pcdn-superpeer-1\0` and all before (64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who.
    pub peer: PeerId,
    /// Who says so.
    pub tracker: PeerId,
    /// Per cent of the full priority.
    pub share: u8,
    /// Until when it holds, in milliseconds since 1970.
    pub until_ms: u64,
    /// The tracker's signature.
    pub signature: [u8; 64],
}

impl Status {
    /// How long a status holds, in milliseconds: an hour, so a fallen one is believed no longer than that.
    pub const HOLDS_MS: u64 = 3_600_000;
    /// Length of the wire form.
    pub const BYTES: usize = 32 + 32 + 1 + 8 + form::SIGNATURE;

    /// Signs it at `now_ms`, milliseconds since 1970.
    pub fn sign(tracker: &Identity, peer: PeerId, share: f64, now_ms: u64) -> Self {
        let until_ms = now_ms.saturating_add(Self::HOLDS_MS);
        let share = (share.clamp(0.0, 1.0) * 100.0) as u8;
        let mut status = Self { peer, tracker: tracker.peer_id(), share, until_ms, signature: [0; 64] };
        status.signature = tracker.sign(&status.signed_bytes());
        status
    }

    /// Whether `tracker` says so and it holds at `now_ms`.
    pub fn holds(&self, tracker: &PeerId, now_ms: u64) -> bool {
        let longest = now_ms.saturating_add(2 * Self::HOLDS_MS);
        self.tracker == *tracker
            && (now_ms..longest).contains(&self.until_ms)
            && tracker.verify(&self.signed_bytes(), &self.signature)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(DOMAIN, self.signed_bytes(), &self.signature)
    }

    /// Reads the wire form; `None` if its length or share is not right. The signature is not checked here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Fields::of(bytes, Self::BYTES)?;
        let (peer, tracker) = (PeerId(from.take()), PeerId(from.take()));
        let [share] = from.take();
        let (until_ms, signature) = (u64::from_be_bytes(from.take()), from.take());
        (share <= 100).then_some(Self { peer, tracker, share, until_ms, signature })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { peer, tracker, share, until_ms, .. } = self;
        form::signed(DOMAIN, &[&peer.0, &tracker.0, &[*share], &until_ms.to_be_bytes()])
    }
}
