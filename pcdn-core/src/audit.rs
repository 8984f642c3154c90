//! Audits: does somebody really hold what it says it holds?
//!
//! The auditor names some bytes and a nonce; only who has the bytes now can answer `BLAKE3(nonce ‖ bytes)`. An answer made for
//! one nonce is of no use for another, so nothing can be prepared or passed on.

use crate::id::{Digest, PeerId, SwarmKey};
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
        let mut hasher = blake3::Hasher::new_derive_key("pcdn audit v1");
        hasher.update(&self.nonce).update(bytes);
        Digest(*hasher.finalize().as_bytes())
    }
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

    /// Judges the answer; none in time is a wrong one.
    pub fn judge(&self, answer: Option<&Digest>) -> Audited {
        let passed = answer == Some(&self.right);
        Audited { peer: self.peer, swarm: self.swarm, held: self.held, passed }
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
}
