//! Plain files: fixed-size segments on a grid that starts at byte 0.
//!
//! The grid follows from the length alone, so all segments are known before a byte is fetched and any byte is found by a
//! division. Defaults: segments of 4 MiB (64 pieces: a bitmap of 8 bytes) in pieces of 64 KiB. Files above 64 GiB get
//! larger pieces and segments, so that no file has more than [`SEGMENTS_MAX`] segments; that too follows from the length.

use std::ops::Range;

use pcdn_core::fragment::{Cut, Fit, FragmentError, Fragmenter, Need, Part, Seek, Segment, Slicing};
use pcdn_core::id::RuleId;
use pcdn_core::layout::{Layout, LayoutError, PIECE_LOG2_MAX, PieceKey, SegmentId};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHead, ResourceHint, Url};
use pcdn_core::unit::Time;

/// Default length of a segment: 4 MiB, one second of a 33 Mbit/s link.
pub const SEGMENT_BYTES: u64 = 4 << 20;
/// Default log2 of a piece's length: 64 KiB, 17 µs to hash and 105 ms of a 5 Mbit/s uplink.
pub const PIECE_LOG2: u8 = 16;
/// Segments of one file at most. With defaults this is 64 GiB, whose signed manifest with all piece lists is 33 MB, half of
/// [`MANIFEST_BYTES_MAX`](pcdn_core::verify::manifest::MANIFEST_BYTES_MAX); longer files get larger pieces.
pub const SEGMENTS_MAX: u64 = 16_384;

/// Changes whenever equal parameters would cut differently.
const VERSION: u32 = 1;
const NAME: &str = "file";

/// Cuts any resource whose length is known.
///
/// ```
/// use pcdn_core::fragment::Fragmenter;
/// use pcdn_media::File;
/// assert_ne!(File::default().rule(), File::with(1 << 20, 14)?.rule());
/// # Ok::<(), pcdn_media::file::ParameterError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    segment_bytes: u64,
    piece_log2: u8,
}

impl Default for File {
    fn default() -> Self {
        Self { segment_bytes: SEGMENT_BYTES, piece_log2: PIECE_LOG2 }
    }
}

impl File {
    /// With segments of `segment_bytes` in pieces of `2^piece_log2` bytes. Peers with other numbers never meet.
    ///
    /// # Errors
    /// If a segment is no whole number of pieces (at least one), or [`Layout`] refuses the numbers.
    pub fn with(segment_bytes: u64, piece_log2: u8) -> Result<Self, ParameterError> {
        let layout = Layout::new(segment_bytes, piece_log2)?;
        if layout.is_empty() || !segment_bytes.is_multiple_of(layout.piece_bytes()) {
            return Err(ParameterError::NotWhole { segment_bytes, piece_log2 });
        }
        Ok(Self { segment_bytes, piece_log2 })
    }

    /// The grid of a file of `len` bytes.
    ///
    /// # Errors
    /// If the file is longer than [`SEGMENTS_MAX`] of the largest segments, in the range of 10^14 bytes.
    pub fn grid(&self, len: u64) -> Result<Grid, FragmentError> {
        let Self { mut segment_bytes, mut piece_log2 } = *self;
        while len.div_ceil(segment_bytes) > SEGMENTS_MAX {
            // Pieces grow along while they may; then segments get more of them, as many as a layout allows.
            piece_log2 = (piece_log2 + 1).min(PIECE_LOG2_MAX);
            let grown = segment_bytes.checked_mul(2).filter(|bytes| Layout::new(*bytes, piece_log2).is_ok());
            let limit = segment_bytes.saturating_mul(SEGMENTS_MAX);
            segment_bytes = grown.ok_or(FragmentError::TooMuch { kind: NAME, limit, what: "bytes" })?;
        }
        Ok(Grid { len, segment_bytes, piece_log2 })
    }
}

impl Fragmenter for File {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rule(&self) -> RuleId {
        RuleId::of(NAME, VERSION, &format!("segment={} piece=2^{}", self.segment_bytes, self.piece_log2))
    }

    fn fit(&self, _: &ResourceHint) -> Fit {
        Fit::Maybe
    }

    fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError> {
        let grid = resource.head.as_ref().map(|head| self.grid_of(head)).transpose()?;
        Ok(Box::new(FileSlicing { file: *self, url: resource.url.clone(), grid, next: 0, ended: false }))
    }
}

impl File {
    fn grid_of(&self, head: &ResourceHead) -> Result<Grid, FragmentError> {
        self.grid(head.len.ok_or(FragmentError::LengthUnknown)?)
    }
}

/// One file being cut: needs the head unless it is known, then gives every segment in order.
#[derive(Debug)]
struct FileSlicing {
    file: File,
    url: Url,
    grid: Option<Grid>,
    /// Number of the segment cut next.
    next: u64,
    ended: bool,
}

impl Slicing for FileSlicing {
    fn need(&self) -> Need {
        match self.grid {
            None => Need::Head(self.url.clone()),
            Some(_) => Need::Nothing,
        }
    }

    fn supply(&mut self, _: Time, part: Part) -> Result<(), FragmentError> {
        if let (None, Part::Head(_, head)) = (self.grid, part) {
            self.grid = Some(self.file.grid_of(&head)?);
        }
        Ok(())
    }

    fn cut(&mut self) -> Option<Cut> {
        let grid = self.grid.filter(|_| !self.ended)?;
        let id = SegmentId(self.next);
        let Some(bytes) = grid.segment(id) else {
            self.ended = true;
            return Some(Cut::End);
        };
        self.next += 1;
        let segment = Segment::of_file(id, self.url.clone(), bytes, grid.piece_log2);
        Some(Cut::Segment(segment.expect("a grid has only segments that can be laid out")))
    }

    fn locate(&self, seek: &Seek) -> Option<SegmentId> {
        match seek {
            Seek::Byte(at) => self.grid?.locate(*at),
            Seek::Media(_) | Seek::Live { .. } => None,
        }
    }
}

/// Where the segments and pieces of one file lie. A file of 0 bytes has no segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    len: u64,
    segment_bytes: u64,
    piece_log2: u8,
}

impl Grid {
    /// Length of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Length of every segment but perhaps the last.
    pub fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// log2 of the length of every piece but perhaps the last.
    pub fn piece_log2(&self) -> u8 {
        self.piece_log2
    }

    /// Number of segments, at most [`SEGMENTS_MAX`].
    pub fn segments(&self) -> u64 {
        self.len.div_ceil(self.segment_bytes)
    }

    /// Which bytes of the file are segment `id`.
    pub fn segment(&self, id: SegmentId) -> Option<Range<u64>> {
        let start = id.0.checked_mul(self.segment_bytes).filter(|start| *start < self.len)?;
        Some(start..self.len.min(start + self.segment_bytes))
    }

    /// The layout of segment `id`.
    pub fn layout(&self, id: SegmentId) -> Option<Layout> {
        let bytes = self.segment(id)?;
        Layout::new(bytes.end - bytes.start, self.piece_log2).ok()
    }

    /// The segment that holds byte `at` of the file.
    pub fn locate(&self, at: u64) -> Option<SegmentId> {
        (at < self.len).then_some(SegmentId(at / self.segment_bytes))
    }

    /// The pieces that hold bytes `range` of the file, in order; what lies beyond its end is left out.
    pub fn pieces(&self, range: ByteRange) -> impl Iterator<Item = PieceKey> + use<> {
        let grid = *self;
        let step = 1u64 << self.piece_log2;
        let inside = ByteRange::new(0, self.len).and_then(|whole| whole.intersect(&range));
        // Segments are whole numbers of pieces, so pieces of the whole file lie on one grid too.
        let numbers = inside.map_or(0..0, |range| range.start() / step..range.end().div_ceil(step));
        numbers.map(move |number| {
            let segment = SegmentId(number * step / grid.segment_bytes);
            let layout = grid.layout(segment).expect("the piece begins inside the file");
            let piece =
                layout.piece_at(number * step % grid.segment_bytes).expect("the piece begins inside it");
            PieceKey { segment, piece }
        })
    }
}

/// Numbers a file cannot be cut by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// Outside the bounds of a layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// Pieces would cross segments.
    #[error("a segment of {segment_bytes} bytes is no whole number of pieces of 2^{piece_log2} bytes")]
    NotWhole {
        /// Length of a segment.
        segment_bytes: u64,
        /// log2 of the length of a piece.
        piece_log2: u8,
    },
}

#[cfg(test)]
mod tests;
