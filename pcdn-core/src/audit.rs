//! Audits: does somebody really hold what it says it holds?
//!
//! The auditor names some bytes and a nonce; only who has the bytes now can answer `BLAKE3(nonce ‖ bytes)`. An answer made for
//! one nonce is of no use for another, so nothing can be prepared or passed on.
//!
//! What an auditor found it signs as a [`Verdict`]: a tracker that trusts the auditor takes it as evidence. Where no auditor is
//! trusted, it draws some of those that hold the same, and believes what most of them sign (see
//! [`Panel`](crate::superpeer::Panel)).

use crate::form::{self, Fields};
use crate::id::{Digest, Identity, PeerId, SwarmKey};
use crate::range::ByteRange;

/// What a peer is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Drawn for this question and this peer.
    pub nonce: [u8; 16],
    /// Bytes of the resource.
    pub range: ByteRange,
}

impl Challenge {
    /// The right answer, for whoever has the bytes of [`range`](Self::range).
    pub fn answer(&self, bytes: &[u8]) -> Digest {
        answer(&self.nonce, bytes)
    }
}

/// What only who has `bytes` knows: the answer to a challenge with this nonce.
pub fn answer(nonce: &[u8; 16], bytes: &[u8]) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn audit v1");
    hasher.update(nonce).update(bytes);
    Digest(*hasher.finalize().as_bytes())
}

/// An audit on its way: the question, to whom, and what the right answer is.
#[derive(Clone, Debug)]
pub struct Audit {
    peer: PeerId,
    swarm: SwarmKey,
    held: u64,
    challenge: Challenge,
    right: Digest,
}

/// How an audit ended. Only an [`Audit`] makes one, so nobody can say it of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audited {
    peer: PeerId,
    swarm: SwarmKey,
    held: u64,
    nonce: [u8; 16],
    passed: bool,
}

impl Audit {
    /// Asks `peer` for `bytes` of a content of `held` bytes that it says it holds; the auditor has the bytes itself.
    pub fn of(peer: PeerId, swarm: SwarmKey, held: u64, challenge: Challenge, bytes: &[u8]) -> Self {
        let right = challenge.answer(bytes);
        Self { peer, swarm, held, challenge, right }
    }

    /// What the peer is to be asked.
    pub fn challenge(&self) -> &Challenge {
        &self.challenge
    }

    /// The peer says that it does not hold this: nothing is proven, and nothing held against it.
    pub fn declined(&self) -> Audited {
        Audited { held: 0, ..self.judge(None) }
    }

    /// Judges the answer; none in time is a wrong one.
    pub fn judge(&self, answer: Option<&Digest>) -> Audited {
        let passed = answer == Some(&self.right);
        let nonce = self.challenge.nonce;
        Audited { peer: self.peer, swarm: self.swarm, held: self.held, nonce, passed }
    }
}

impl Audited {
    /// Who was asked.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// About which swarm.
    pub fn swarm(&self) -> SwarmKey {
        self.swarm
    }

    /// Bytes of the content.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Whether the answer was right.
    pub fn passed(&self) -> bool {
        self.passed
    }
}

const DOMAIN: &[u8] = b"pcdn-verdict-1\0";

/// "I, `auditor`, asked `peer` for bytes of `swarm`, of which it says it holds `held` bytes; it passed, or it did not."
///
/// Wire form, big endian, 189 bytes: auditor (32), peer (32), swarm (32), bytes held (8), the challenge's nonce (16), passed
/// (1), minutes since 1970 (4), signature over `pcdn-verdict-1\0` and all before (64).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Who asked, and signs.
    pub auditor: PeerId,
    /// Who was asked.
    pub peer: PeerId,
    /// About which content.
    pub swarm: SwarmKey,
    /// Bytes of it that the peer says it holds.
    pub held: u64,
    /// The challenge's, or the panel's: one verdict each.
    pub nonce: [u8; 16],
    /// Whether the answer was right and in time.
    pub passed: bool,
    /// Minutes since 1970 when it was signed.
    pub minute: u32,
    /// The auditor's signature.
    pub signature: [u8; 64],
}

impl Verdict {
    /// Length of the wire form.
    pub const BYTES: usize = 3 * 32 + 8 + 16 + 1 + 4 + form::SIGNATURE;

    /// Signs how an audit ended, `minute` minutes after 1970.
    pub fn sign(auditor: &Identity, audited: &Audited, minute: u32) -> Self {
        Self::of_panel(auditor, audited.nonce, audited, minute)
    }

    /// The same for the [panel](crate::superpeer::Panel) that `nonce` names: `held` 0 and not passed means that the peer says it
    /// does not hold what it was asked for.
    pub fn of_panel(auditor: &Identity, nonce: [u8; 16], audited: &Audited, minute: u32) -> Self {
        let Audited { peer, swarm, held, passed, .. } = *audited;
        let auditor_id = auditor.peer_id();
        let mut verdict =
            Self { auditor: auditor_id, peer, swarm, held, nonce, passed, minute, signature: [0; 64] };
        verdict.signature = auditor.sign(&verdict.signed_bytes());
        verdict
    }

    /// Whether the auditor really said this. About 50 µs.
    pub fn is_signed(&self) -> bool {
        self.auditor.verify(&self.signed_bytes(), &self.signature)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(DOMAIN, self.signed_bytes(), &self.signature)
    }

    /// Reads the wire form; `None` if its length or a field is not right. The signature is not checked here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Fields::of(bytes, Self::BYTES)?;
        Some(Self {
            auditor: PeerId(from.take()),
            peer: PeerId(from.take()),
            swarm: SwarmKey(from.take()),
            held: u64::from_be_bytes(from.take()),
            nonce: from.take(),
            passed: from.flag()?,
            minute: u32::from_be_bytes(from.take()),
            signature: from.take(),
        })
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { auditor, peer, swarm, held, nonce, passed, minute, .. } = self;
        let (held, passed, minute) = (held.to_be_bytes(), [u8::from(*passed)], minute.to_be_bytes());
        form::signed(DOMAIN, &[&auditor.0, &peer.0, &swarm.0, &held, nonce, &passed, &minute])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bytes_themselves_answer_and_only_this_nonce() {
        let range = ByteRange::new(10, 14).unwrap();
        let challenge = Challenge { nonce: [1; 16], range };
        let audit = Audit::of(PeerId([1; 32]), SwarmKey([2; 32]), 100, challenge, b"film");
        assert!(audit.judge(Some(&challenge.answer(b"film"))).passed());
        assert!(!audit.judge(Some(&challenge.answer(b"fils"))).passed());
        let other = Challenge { nonce: [2; 16], range };
        assert!(!audit.judge(Some(&other.answer(b"film"))).passed());
        assert!(!audit.judge(None).passed());
    }

    #[test]
    fn a_verdict_is_the_auditors_and_says_one_thing() {
        let range = ByteRange::new(10, 14).unwrap();
        let challenge = Challenge { nonce: [1; 16], range };
        let audit = Audit::of(PeerId([1; 32]), SwarmKey([2; 32]), 100, challenge, b"film");
        let auditor = Identity::from_secret([3; 32]);
        let verdict = Verdict::sign(&auditor, &audit.judge(None), 7);
        assert!(verdict.is_signed());
        assert!(!Verdict { passed: true, ..verdict.clone() }.is_signed());
        assert!(!Verdict { held: 1 << 40, ..verdict.clone() }.is_signed());
        assert!(!Verdict { auditor: PeerId([1; 32]), ..verdict.clone() }.is_signed());
        let form = verdict.encode();
        assert_eq!(Verdict::decode(&form), Some(verdict));
        assert!((0..form.len()).all(|len| Verdict::decode(&form[..len]).is_none()));
    }
}
