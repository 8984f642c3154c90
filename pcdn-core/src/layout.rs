//! How a segment divides into pieces and a piece into sub-pieces: the only place that divides.
//!
//! Raw numbers from the wire become a [`PieceIndex`] only through a [`Layout`], which knows how many there are.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A segment of a resource. Derived from the content (offset ÷ size, media sequence, keyframe tick), never counted from
/// where a node joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentId(pub u64);

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a piece inside its segment; valid for the [`Layout`] that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The first of any segment.
    pub(crate) const FIRST: Self = Self(0);

    /// As a number, for the wire and for indexing.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Position of a sub-piece (one datagram's content) inside its piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubIndex(pub u16);

/// A piece of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceKey {
    /// The segment.
    pub segment: SegmentId,
    /// The piece inside it.
    pub piece: PieceIndex,
}

/// Smallest piece: below it the bitmap and the requests cost more than the spread gains (RFC 7574 uses 1 KiB chunks with
/// ranges instead; we have 16 KiB = 13 datagrams).
pub const PIECE_LOG2_MIN: u8 = 14;
/// Largest piece, 1 MiB: what a node buffers per request in flight.
pub const PIECE_LOG2_MAX: u8 = 20;
/// Pieces of one segment at most, so that its bitmap is at most 2 KiB.
pub const PIECES_MAX: u32 = 16_384;

/// Pieces of a stream's segment at most: its piece list is 16 KiB, so that a statement on it fits into one message, and a piece
/// of 16 KiB takes 131 ms of a 1 Mbit/s uplink.
pub const STREAM_PIECES_MAX: u32 = 512;

/// Length of a segment and of its pieces. All pieces are equally long, but the last may be shorter.
///
/// A segment of 0 bytes has no piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Layout {
    len: u64,
    piece_log2: u8,
}

impl Layout {
    /// A segment of `len` bytes in pieces of `2^piece_log2` bytes.
    ///
    /// # Errors
    /// If the piece size is outside [`PIECE_LOG2_MIN`]..=[`PIECE_LOG2_MAX`] or there would be more than [`PIECES_MAX`].
    pub fn new(len: u64, piece_log2: u8) -> Result<Self, LayoutError> {
        if !(PIECE_LOG2_MIN..=PIECE_LOG2_MAX).contains(&piece_log2) {
            return Err(LayoutError::PieceSize(piece_log2));
        }
        if len.div_ceil(1 << piece_log2) > PIECES_MAX as u64 {
            return Err(LayoutError::TooLong { len, piece_log2 });
        }
        Ok(Self { len, piece_log2 })
    }

    /// A segment of a stream, `len` bytes: pieces of 16 KiB, or larger where there would be more than [`STREAM_PIECES_MAX`].
    ///
    /// # Errors
    /// If it is longer than 512 MiB.
    pub fn of_stream(len: u64) -> Result<Self, LayoutError> {
        let mut piece_log2 = PIECE_LOG2_MIN;
        while piece_log2 < PIECE_LOG2_MAX && len.div_ceil(1 << piece_log2) > STREAM_PIECES_MAX as u64 {
            piece_log2 += 1;
        }
        if len.div_ceil(1 << piece_log2) > STREAM_PIECES_MAX as u64 {
            return Err(LayoutError::TooLong { len, piece_log2 });
        }
        Self::new(len, piece_log2)
    }

    /// Length of the segment in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the segment has no byte, and so no piece.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// log2 of the piece length.
    pub fn piece_log2(&self) -> u8 {
        self.piece_log2
    }

    /// Length of every piece but perhaps the last.
    pub fn piece_bytes(&self) -> u64 {
        1 << self.piece_log2
    }

    /// Number of pieces.
    pub fn pieces(&self) -> u32 {
        self.len.div_ceil(self.piece_bytes()) as u32
    }

    /// The piece numbered `index`, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.pieces()).then_some(PieceIndex(index))
    }

    /// The piece that holds byte `at` of the segment.
    pub fn piece_at(&self, at: u64) -> Option<PieceIndex> {
        (at < self.len).then_some(PieceIndex((at >> self.piece_log2) as u32))
    }

    /// Where `piece` lies in the segment, in bytes.
    pub fn bytes_of(&self, piece: PieceIndex) -> Range<u64> {
        let start = (piece.0 as u64) << self.piece_log2;
        start..(start + self.piece_bytes()).min(self.len)
    }

    /// Length of `piece` in bytes.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let range = self.bytes_of(piece);
        (range.end - range.start) as u32
    }

    /// All pieces in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.pieces()).map(PieceIndex)
    }

    /// Number of sub-pieces of `sub_bytes` bytes in `piece`. The sub-piece is a unit of the wire, chosen per path.
    pub fn subs(&self, piece: PieceIndex, sub_bytes: u16) -> u16 {
        self.piece_len(piece).div_ceil(u32::from(sub_bytes.max(1))) as u16
    }
}

/// A length that cannot be cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The piece size is out of bounds.
    #[error("piece size 2^{0} is outside 2^{PIECE_LOG2_MIN}..=2^{PIECE_LOG2_MAX}")]
    PieceSize(u8),
    /// Too many pieces.
    #[error(
        "a segment of {len} bytes has more than {PIECES_MAX} pieces of 2^{piece_log2} bytes; use larger pieces"
    )]
    TooLong {
        /// Length of the segment.
        len: u64,
        /// log2 of the piece length.
        piece_log2: u8,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_tile_the_segment(len in 0u64..(1 << 27), log2 in PIECE_LOG2_MIN..=PIECE_LOG2_MAX) {
            let Ok(layout) = Layout::new(len, log2) else { return Ok(()) };
            let mut at = 0;
            for piece in layout.iter() {
                let bytes = layout.bytes_of(piece);
                prop_assert_eq!(bytes.start, at);
                prop_assert!(bytes.end > bytes.start);
                prop_assert_eq!(layout.piece_at(bytes.start), Some(piece));
                prop_assert_eq!(layout.piece_at(bytes.end - 1), Some(piece));
                at = bytes.end;
            }
            prop_assert_eq!(at, len);
            prop_assert_eq!(layout.piece(layout.pieces()), None);
            prop_assert_eq!(layout.piece_at(len), None);
        }
    }

    #[test]
    fn bounds_hold() {
        assert!(Layout::new(1, 13).is_err());
        assert!(Layout::new(1, 21).is_err());
        assert!(Layout::new((PIECES_MAX as u64) << 14, 14).is_ok());
        assert!(Layout::new(((PIECES_MAX as u64) << 14) + 1, 14).is_err());
        assert_eq!(Layout::new(0, 16).unwrap().pieces(), 0);
    }

    #[test]
    fn pieces_of_a_stream_grow_with_its_segments() {
        let pieces = |len| Layout::of_stream(len).map(|layout| (layout.piece_log2(), layout.pieces()));
        assert_eq!(pieces(0), Ok((14, 0)));
        assert_eq!(pieces(8 << 20), Ok((14, 512)));
        assert_eq!(pieces((8 << 20) + 1), Ok((15, 257)));
        assert_eq!(pieces(512 << 20), Ok((20, 512)));
        assert!(pieces((512 << 20) + 1).is_err());
    }

    #[test]
    fn a_piece_of_64_kib_is_52_sub_pieces_of_1280() {
        let layout = Layout::new(1 << 20, 16).unwrap();
        assert_eq!(layout.subs(layout.piece(0).unwrap(), 1280), 52);
    }
}
