//! What a peer says it fetched from the origin, signed so that others can carry it.

use crate::bitmap::Bitmap;
use crate::id::{Digest, Identity, PeerId, SwarmKey};
use crate::layout::{Layout, SegmentId};

const DOMAIN: &[u8] = b"pcdn-witness-1\0";

/// "I, `witness`, fetched these pieces from the origin, and these are their digests." Two statements of one witness that
/// contradict each other are proof that it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// In which swarm.
    pub swarm: SwarmKey,
    /// In which segment.
    pub segment: SegmentId,
    /// As the witness cut it.
    pub layout: Layout,
    /// Which pieces.
    pub pieces: Bitmap,
    /// Their digests, one for each set bit, in order.
    pub digests: Vec<Digest>,
    /// Who says so.
    pub witness: PeerId,
    /// Its signature.
    pub signature: [u8; 64],
}

impl Statement {
    /// Makes and signs a statement; `digests` has one entry for each set bit of `pieces`.
    pub fn sign(
        key: &Identity,
        swarm: SwarmKey,
        segment: SegmentId,
        layout: Layout,
        pieces: Bitmap,
        digests: Vec<Digest>,
    ) -> Self {
        debug_assert_eq!(pieces.count() as usize, digests.len());
        let mut statement =
            Self { swarm, segment, layout, pieces, digests, witness: key.peer_id(), signature: [0; 64] };
        statement.signature = key.sign(&statement.signed_bytes());
        statement
    }

    /// Whether the witness really said this. About 50 µs.
    pub fn is_signed(&self) -> bool {
        self.pieces.count() as usize == self.digests.len()
            && self.witness.verify(&self.signed_bytes(), &self.signature)
    }

    /// The pieces and what they are said to be.
    pub fn entries(&self) -> impl Iterator<Item = (u32, Digest)> + '_ {
        self.pieces.iter().zip(self.digests.iter().copied())
    }

    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + self.digests.len() * 32);
        out.extend_from_slice(DOMAIN);
        out.extend_from_slice(&self.swarm.0);
        out.extend_from_slice(&self.segment.0.to_be_bytes());
        out.extend_from_slice(&self.layout.len().to_be_bytes());
        out.push(self.layout.piece_log2());
        out.extend_from_slice(self.pieces.as_bytes());
        self.digests.iter().for_each(|digest| out.extend_from_slice(&digest.0));
        out.extend_from_slice(&self.witness.0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_cannot_be_altered() {
        let key = Identity::from_secret([5; 32]);
        let layout = Layout::new(100_000, 14).unwrap();
        let mut pieces = Bitmap::new(7);
        pieces.set(2);
        let said =
            Statement::sign(&key, SwarmKey([0; 32]), SegmentId(1), layout, pieces, vec![Digest([4; 32])]);
        assert!(said.is_signed());
        assert!(!Statement { digests: vec![Digest([5; 32])], ..said.clone() }.is_signed());
        assert!(!Statement { segment: SegmentId(2), ..said.clone() }.is_signed());
        assert!(!Statement { digests: vec![], ..said }.is_signed());
    }
}
