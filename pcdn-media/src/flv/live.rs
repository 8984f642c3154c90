//! Live FLV as a [`Slicing`]: slices with names, links and a window.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::fragment::{Cut, FragmentError, Need, Part, Seek, Segment, Slice, Slicing};
use pcdn_core::id::{Digest, hash_field};
use pcdn_core::layout::{Layout, SegmentId};
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;
use pcdn_core::verify::PieceList;

use super::slicer::{Finished, Slicer};
use super::tag::Reader;

/// Slices older than this, counted from the newest, leave the window: twice what viewers lag behind at most.
const WINDOW: Duration = Duration::from_secs(60);
/// Slices of the window at least, however long they are.
const WINDOW_SLICES_MIN: usize = 3;
/// Slices of the window at most: a stream whose time stands still is cut by size and would fill it for ever.
const WINDOW_SLICES_MAX: usize = 128;

/// Bits of a slice's number: all that a JSON number keeps with every reader (RFC 8259, section 6). A window has 128 slices, so
/// two of them meet in one of 10^12 windows.
const ID_BITS: u32 = 53;

/// The number of a slice: the first 53 bits of a hash over its setup and `root`, the BLAKE3 hash of its bytes. Whoever holds
/// both can check it.
pub fn id_of(setup: &[u8], root: &Digest) -> SegmentId {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn flv slice 2");
    hash_field(&mut hasher, setup);
    hasher.update(root.as_bytes());
    let first = *hasher.finalize().as_bytes().first_chunk().expect("32 bytes hold 8");
    SegmentId(u64::from_be_bytes(first) >> (u64::BITS - ID_BITS))
}

/// Whether a slice was cut before the first boundary that all viewers share: to be played, not to be offered.
pub fn provisional(slice: &Slice) -> bool {
    slice.segment.discontinuity
}

/// One connection being cut.
#[derive(Debug)]
pub(super) struct Live {
    url: Url,
    reader: Reader,
    slicer: Slicer,
    ready: VecDeque<Cut>,
    /// The slices of the window with their start and end, oldest first.
    window: VecDeque<(SegmentId, Duration, Duration)>,
    /// The last slice that was not provisional, and where it ends.
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
        let id = id_of(&finished.setup, &PieceList::of(&layout, &finished.bytes).root());
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
            before,
        }));
        self.window.push_back((id, start, end));
        self.retire(end);
        Ok(())
    }

    fn retire(&mut self, newest: Duration) {
        while self.window.len() > WINDOW_SLICES_MIN {
            let (id, _, end) = self.window[0];
            if end + WINDOW > newest && self.window.len() <= WINDOW_SLICES_MAX {
                break;
            }
            self.window.pop_front();
            // Content that repeats has the same number again.
            if self.window.iter().all(|(other, ..)| *other != id) {
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
        match seek {
            Seek::Byte(_) => None,
            Seek::Media(at) => {
                self.window.iter().find(|(_, start, end)| (start..end).contains(&at)).map(|(id, ..)| *id)
            }
            Seek::Live { behind } => {
                // Farther back than the window: its oldest.
                let behind = (*behind as usize).clamp(1, self.window.len().max(1));
                self.window.iter().nth_back(behind - 1).map(|(id, ..)| *id)
            }
        }
    }
}
