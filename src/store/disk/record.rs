//! One record of a swarm's log: 64 bytes, big endian.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | `Pk` |
//! | 1 | operation: 1 kept, 2 piece lost, 3 segment forgotten |
//! | 1 | flags: bit 0 = fetched from the origin by this node |
//! | 1 | log2 of the piece length |
//! | 3 | zero |
//! | 8 | segment |
//! | 8 | length of the segment |
//! | 4 | piece |
//! | 32 | digest of the piece |
//! | 4 | check: BLAKE3 of all before, keyed by the swarm, so a log cannot be taken for another swarm's |

use pcdn_core::id::{Digest, SwarmKey};
use pcdn_core::layout::{Layout, PieceIndex, PieceKey, SegmentId};

/// Length of a record.
pub(super) const RECORD_BYTES: usize = 64;
const CHECKED_BYTES: usize = RECORD_BYTES - 4;
const MAGIC: &[u8; 2] = b"Pk";

/// What a log says, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// A piece was written.
    Kept { segment: SegmentId, layout: Layout, piece: PieceIndex, digest: Digest, own: bool },
    /// A piece turned out damaged.
    Lost { segment: SegmentId, layout: Layout, piece: PieceIndex },
    /// A segment was dropped.
    Forgotten { segment: SegmentId },
}

impl Record {
    pub(super) fn lost(key: &PieceKey, layout: Layout) -> Self {
        Self::Lost { segment: key.segment, layout, piece: key.piece }
    }

    pub(super) fn encode(&self, swarm: &SwarmKey) -> [u8; RECORD_BYTES] {
        let (op, segment, layout, piece, digest, own) = match *self {
            Self::Kept { segment, layout, piece, digest, own } => {
                (1, segment, Some(layout), piece.get(), digest, own)
            }
            Self::Lost { segment, layout, piece } => {
                (2, segment, Some(layout), piece.get(), Digest([0; 32]), false)
            }
            Self::Forgotten { segment } => (3, segment, None, 0, Digest([0; 32]), false),
        };
        let mut out = [0; RECORD_BYTES];
        out[..2].copy_from_slice(MAGIC);
        out[2] = op;
        out[3] = u8::from(own);
        out[4] = layout.map_or(0, |layout| layout.piece_log2());
        out[8..16].copy_from_slice(&segment.0.to_be_bytes());
        out[16..24].copy_from_slice(&layout.map_or(0, |layout| layout.len()).to_be_bytes());
        out[24..28].copy_from_slice(&piece.to_be_bytes());
        out[28..60].copy_from_slice(&digest.0);
        let check = check(swarm, &out);
        out[CHECKED_BYTES..].copy_from_slice(&check);
        out
    }

    /// `None` if these bytes are no record of `swarm`'s log.
    pub(super) fn decode(swarm: &SwarmKey, bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        if bytes[..2] != *MAGIC || bytes[CHECKED_BYTES..] != check(swarm, bytes) {
            return None;
        }
        let u64_at = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| bytes[at + i]));
        let segment = SegmentId(u64_at(8));
        let layout = || Layout::new(u64_at(16), bytes[4]).ok();
        let piece =
            |layout: &Layout| layout.piece(u32::from_be_bytes(std::array::from_fn(|i| bytes[24 + i])));
        match bytes[2] {
            1 => {
                let layout = layout()?;
                let digest = Digest(std::array::from_fn(|i| bytes[28 + i]));
                Some(Self::Kept { segment, layout, piece: piece(&layout)?, digest, own: bytes[3] & 1 == 1 })
            }
            2 => {
                let layout = layout()?;
                Some(Self::Lost { segment, layout, piece: piece(&layout)? })
            }
            3 => Some(Self::Forgotten { segment }),
            _ => None,
        }
    }
}

fn check(swarm: &SwarmKey, record: &[u8; RECORD_BYTES]) -> [u8; 4] {
    let hash = blake3::keyed_hash(&swarm.0, &record[..CHECKED_BYTES]);
    std::array::from_fn(|i| hash.as_bytes()[i])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back_and_every_flipped_bit_is_noticed() {
        let swarm = SwarmKey([3; 32]);
        let layout = Layout::new(70_000, 14).unwrap();
        let (segment, piece) = (SegmentId(u64::MAX - 1), layout.piece(4).unwrap());
        for record in [
            Record::Kept { segment, layout, piece, digest: Digest([7; 32]), own: true },
            Record::Lost { segment, layout, piece },
            Record::Forgotten { segment },
        ] {
            let bytes = record.encode(&swarm);
            assert_eq!(Record::decode(&swarm, &bytes), Some(record));
            assert_eq!(Record::decode(&SwarmKey([4; 32]), &bytes), None, "another swarm's log");
            for bit in 0..RECORD_BYTES * 8 {
                let mut bad = bytes;
                bad[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&swarm, &bad), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn a_piece_its_layout_does_not_have_is_no_record() {
        let swarm = SwarmKey([3; 32]);
        let long = Layout::new(70_000, 14).unwrap();
        let record = Record::Lost {
            segment: SegmentId(1),
            layout: Layout::new(1, 14).unwrap(),
            piece: long.piece(4).unwrap(),
        };
        assert_eq!(Record::decode(&swarm, &record.encode(&swarm)), None);
    }
}
