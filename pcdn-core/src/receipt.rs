//! Receipts: what a downloader signs for what it got, so that an uploader can show what it gave.
//!
//! A receipt is *cumulative*: each one of a session repeats the sum so far, so only the last counts, and losing, doubling or
//! replaying one changes nothing. Who collects them keeps a [`Book`], which verifies, refuses, and bounds what collusion can
//! gain; a [`Ledger`](crate::ledger::Ledger) is told the outcome.
//!
//! Wire form, big endian, 196 bytes (0.001 % of the 16 MiB it stands for at most):
//!
//! | bytes | field |
//! |---|---|
//! | 16 | session: drawn by the downloader for one link |
//! | 32 | uploader |
//! | 32 | downloader |
//! | 32 | swarm |
//! | 4 | bucket: minutes since 1970 when it was signed |
//! | 8 | bytes got in this session, all of them whole pieces |
//! | 4 | pieces got |
//! | 4 | of them, pieces that were not what they should have been |
//! | 64 | the downloader's Ed25519 signature over `pcdn-receipt-1\0` and all before |

mod account;
pub mod book;
mod net;

use serde::{Deserialize, Serialize};

use crate::form::{self, Fields};
use crate::id::{Identity, PeerId, SwarmKey};
use crate::layout::PIECE_LOG2_MAX;

pub use account::Earned;
pub use book::{Book, Counted, Downloader, Proof, Refused};
pub use net::{NetworkId, Subnet};

const DOMAIN: &[u8] = b"pcdn-receipt-1\0";

/// A downloader signs at least once in so many bytes: what an uploader may lose to one that never signs stays a few seconds
/// of an uplink.
pub const EVERY_BYTES: u64 = 16 << 20;
/// A downloader signs at least this often while anything is owed, in seconds.
pub const EVERY_SECS: u64 = 30;

/// Sums of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Bytes of all pieces that came, right or wrong.
    pub bytes: u64,
    /// Those pieces.
    pub pieces: u32,
    /// Those of them that were wrong.
    pub bad: u32,
}

impl Tally {
    /// Whether such a sum can be: no piece is above 1 MiB, and no more can be bad than there are.
    pub fn is_plausible(&self) -> bool {
        self.bytes <= u64::from(self.pieces) << PIECE_LOG2_MAX && self.bad <= self.pieces
    }

    /// What came since `before`, if this is a later sum of the same session.
    pub fn since(&self, before: &Tally) -> Option<Tally> {
        let bytes = self.bytes.checked_sub(before.bytes)?;
        let pieces = self.pieces.checked_sub(before.pieces).filter(|pieces| *pieces > 0)?;
        let bad = self.bad.checked_sub(before.bad)?;
        Some(Tally { bytes, pieces, bad })
    }
}

/// "I, `down`, got this much from `up` in this session, until now."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Drawn by the downloader for one link.
    pub session: [u8; 16],
    /// Who gave.
    pub up: PeerId,
    /// Who got, and signs.
    pub down: PeerId,
    /// What it belongs to.
    pub swarm: SwarmKey,
    /// Minutes since 1970 when it was signed.
    pub bucket: u32,
    /// All of the session so far.
    pub tally: Tally,
    /// The downloader's signature.
    pub signature: [u8; 64],
}

impl Receipt {
    /// Length of the wire form.
    pub const BYTES: usize = 16 + 3 * 32 + 4 + 8 + 4 + 4 + form::SIGNATURE;

    /// Signs the sums of a session as its downloader. About 20 µs.
    pub fn sign(
        down: &Identity,
        session: [u8; 16],
        up: PeerId,
        swarm: SwarmKey,
        bucket: u32,
        tally: Tally,
    ) -> Self {
        let mut receipt =
            Self { session, up, down: down.peer_id(), swarm, bucket, tally, signature: [0; 64] };
        receipt.signature = down.sign(&receipt.signed_bytes());
        receipt
    }

    /// Whether its downloader really signed it. About 50 µs.
    pub fn is_signed(&self) -> bool {
        self.down.verify(&self.signed_bytes(), &self.signature)
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        form::encode(DOMAIN, self.signed_bytes(), &self.signature)
    }

    /// Reads the wire form; `None` if it is not exactly [`BYTES`](Self::BYTES) long or its sums cannot be. The signature is
    /// not checked here.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Fields::of(bytes, Self::BYTES)?;
        let receipt = Self {
            session: from.take(),
            up: PeerId(from.take()),
            down: PeerId(from.take()),
            swarm: SwarmKey(from.take()),
            bucket: u32::from_be_bytes(from.take()),
            tally: Tally {
                bytes: u64::from_be_bytes(from.take()),
                pieces: u32::from_be_bytes(from.take()),
                bad: u32::from_be_bytes(from.take()),
            },
            signature: from.take(),
        };
        receipt.tally.is_plausible().then_some(receipt)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let Self { session, up, down, swarm, bucket, tally, .. } = self;
        let (bytes, pieces, bad) =
            (tally.bytes.to_be_bytes(), tally.pieces.to_be_bytes(), tally.bad.to_be_bytes());
        form::signed(
            DOMAIN,
            &[session, &up.0, &down.0, &swarm.0, &bucket.to_be_bytes(), &bytes, &pieces, &bad],
        )
    }
}

#[cfg(test)]
mod tests;
