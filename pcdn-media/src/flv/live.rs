//! Live FLV as a [`Slicing`]: parts of slices with names, links and a window.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pcdn_core::fragment::{Cut, FragmentError, Need, Part, Seek, Segment, Slice, Slicing};
use pcdn_core::id::{Digest, hash_field};
use pcdn_core::layout::{Layout, LayoutError, SegmentId};
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;
use pcdn_core::verify::PieceList;

use super::slicer::{Finished, Slicer};
use super::tag::Reader;

/// Parts older than this, counted from the newest, leave the window: twice what viewers lag behind at most.
const WINDOW: Duration = Duration::from_secs(60);
/// Parts of the window at least, however long they are.
const WINDOW_PARTS_MIN: usize = 3;
/// Parts of the window at most: a stream whose time stands still is cut by size and would fill it for ever. A minute has 200.
const WINDOW_PARTS_MAX: usize = 256;

/// Bits of a part's number: all that a JSON number keeps with every reader (RFC 8259, section 6). A window has 256 parts, so
/// two of them meet in one of 10^11 windows.
const ID_BITS: u32 = 53;

/// The number of a part: the first 53 bits of a hash over its setup, how long after its slice it begins, and `root`, the BLAKE3
/// hash of its bytes. Whoever holds them can check it.
pub fn id_of(setup: &[u8], offset: Duration, root: &Digest) -> SegmentId {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn flv part 1");
    hash_field(&mut hasher, setup);
    hasher.update(&millis(offset).to_be_bytes());
    hasher.update(root.as_bytes());
    number(&hasher)
}

fn number(hasher: &blake3::Hasher) -> SegmentId {
    let first = *hasher.finalize().as_bytes().first_chunk().expect("32 bytes hold 8");
    SegmentId(u64::from_be_bytes(first) >> (u64::BITS - ID_BITS))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whether a part was cut before the first boundary that all viewers share: to be played, not to be offered.
pub fn provisional(part: &Slice) -> bool {
    part.segment.discontinuity
}

/// Gathers parts until their slice is whole, for those who look at a stream and do not play it.
#[derive(Debug, Default)]
pub struct Gather {
    parts: Vec<Slice>,
}

impl Gather {
    /// Takes the next part. If a slice begins with it, the one before is whole, and these are its parts.
    pub fn push(&mut self, part: Slice) -> Option<Vec<Slice>> {
        let last = self.parts.last().map(|last| last.segment.id);
        let mut before = Vec::new();
        if last.is_none() || part.before != last || part.offset.is_zero() {
            before = std::mem::take(&mut self.parts);
        }
        let whole = last.is_some() && part.before == last && !before.is_empty();
        // The rest of a slice whose beginning was not seen is none.
        if part.offset.is_zero() || !self.parts.is_empty() {
            self.parts.push(part);
        }
        whole.then_some(before)
    }
}

/// A slice of all its parts: its bytes are theirs, its number is a hash over their numbers. `None` without parts.
///
/// # Errors
/// If it is longer than a slice may be; slicers cut none so long.
pub fn put_together(parts: &[Slice]) -> Result<Option<Slice>, LayoutError> {
    let Some(first) = parts.first() else { return Ok(None) };
    let mut hasher = blake3::Hasher::new_derive_key("pcdn flv slice 3");
    let mut bytes = BytesMut::with_capacity(parts.iter().map(|part| part.bytes.len()).sum());
    for part in parts {
        hasher.update(&part.segment.id.0.to_be_bytes());
        bytes.extend_from_slice(&part.bytes);
    }
    let segment = Segment {
        id: number(&hasher),
        layout: Layout::of_stream(bytes.len() as u64)?,
        duration: Some(parts.iter().filter_map(|part| part.segment.duration).sum()),
        ..first.segment.clone()
    };
    Ok(Some(Slice { segment, bytes: bytes.freeze(), ..first.clone() }))
}

/// A part of the window.
#[derive(Debug)]
struct Placed {
    id: SegmentId,
    start: Duration,
    end: Duration,
    /// A slice begins with it.
    begins: bool,
}

/// One connection being cut.
#[derive(Debug)]
pub(super) struct Live {
    url: Url,
    reader: Reader,
    slicer: Slicer,
    ready: VecDeque<Cut>,
    /// The parts of the window, oldest first.
    window: VecDeque<Placed>,
    /// The last part that was not provisional, and where it ends.
    last: Option<(SegmentId, Duration)>,
    /// Bytes cut so far.
    offset: u64,
    ended: bool,
}

impl Live {
    pub(super) fn new(url: Url) -> Self {
        Self {
            url,
            reader: Reader::default(),
            slicer: Slicer::default(),
            ready: VecDeque::new(),
            window: VecDeque::new(),
            last: None,
            offset: 0,
            ended: false,
        }
    }

    fn bytes(&mut self, mut chunk: Bytes) -> Result<(), FragmentError> {
        while let Some(tag) = self.reader.read(&mut chunk)? {
            self.slicer.announce(self.reader.announces_pictures());
            self.slicer.tag(&tag);
            while let Some(finished) = self.slicer.next() {
                self.name(finished)?;
            }
        }
        Ok(())
    }

    fn name(&mut self, finished: Finished) -> Result<(), FragmentError> {
        let layout = Layout::of_stream(finished.bytes.len() as u64)?;
        // The root is the plain hash of the bytes; hashed in one go, which takes 16 KiB at a time in the widest registers.
        let offset = Duration::from_millis(finished.offset_ms);
        let id = id_of(&finished.setup, offset, &PieceList::of(&layout, &finished.bytes).root());
        let start = Duration::from_millis(finished.start_ms);
        let duration = Duration::from_millis(finished.duration_ms);
        let end = start + duration;
        let settled = !finished.provisional;
        let before = self.last.filter(|(_, end)| settled && *end == start).map(|(id, _)| id);
        self.last = settled.then_some((id, end));
        let segment = Segment {
            id,
            url: self.url.clone(),
            range: None,
            layout,
            offset: self.offset,
            start: Some(start),
            duration: Some(duration),
            init: false,
            key: finished.key,
            discontinuity: finished.provisional,
        };
        self.offset += layout.len();
        self.ready.push_back(Cut::Sliced(Slice {
            segment,
            bytes: finished.bytes,
            setup: finished.setup,
            offset,
            before,
        }));
        self.window.push_back(Placed { id, start, end, begins: offset.is_zero() });
        self.retire(end);
        Ok(())
    }

    fn retire(&mut self, newest: Duration) {
        while self.window.len() > WINDOW_PARTS_MIN {
            let Placed { id, end, .. } = self.window[0];
            if end + WINDOW > newest && self.window.len() <= WINDOW_PARTS_MAX {
                break;
            }
            self.window.pop_front();
            // Content that repeats has the same number again.
            if self.window.iter().all(|other| other.id != id) {
                self.ready.push_back(Cut::Retired(id));
            }
        }
    }
}

impl Slicing for Live {
    fn need(&self) -> Need {
        match self.ended {
            true => Need::Nothing,
            false => Need::Stream(self.url.clone()),
        }
    }

    fn supply(&mut self, _: Time, part: Part) -> Result<(), FragmentError> {
        match part {
            Part::Bytes(chunk) if !self.ended => {
                let taken = self.bytes(chunk);
                self.ended = taken.is_err();
                taken
            }
            Part::End if !self.ended => {
                // What was open has no end that others know: it is dropped.
                self.ended = true;
                self.ready.push_back(Cut::End);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn cut(&mut self) -> Option<Cut> {
        self.ready.pop_front()
    }

    fn locate(&self, seek: &Seek) -> Option<SegmentId> {
        let begins = || self.window.iter().filter(|part| part.begins);
        match seek {
            Seek::Byte(_) => None,
            Seek::Media(at) => {
                let there = self.window.back().is_some_and(|newest| *at < newest.end);
                begins().rfind(|part| there && part.start <= *at).map(|part| part.id)
            }
            Seek::Live { behind } => {
                // Farther back than the window: its oldest.
                let behind = (*behind as usize).clamp(1, begins().count().max(1));
                begins().nth_back(behind - 1).map(|part| part.id)
            }
        }
    }
}
