//! Segments of a single file, read from the segment index (`sidx`) inside it.
//!
//! An index may lead to further ones; they are followed to a bounded depth, in the order of the media.

use std::time::Duration;

use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::value::span;
use crate::isobmff::{Sidx, boxes, has_moov};

/// Bytes in which an index is looked for when the manifest does not say where it is; the movie header stands before it.
pub const PROBE_BYTES: u64 = 64 << 10;
/// Longest index read: the most entries an index can have, 65,535 of 12 bytes.
pub const INDEX_BYTES_MAX: u64 = 1 << 20;
/// Indices inside each other; files seen have at most two levels.
pub const INDEX_DEPTH_MAX: u8 = 4;
/// Indices of one file. Packagers that nest them write one per some minutes.
pub const INDICES_MAX: u32 = 1_024;

/// What a file's index says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The headers, where the manifest does not say.
    Init(ByteRange),
    Segment {
        range: ByteRange,
        start: Duration,
        duration: Duration,
    },
    /// It has no index that can be read: the file is one segment.
    Whole,
}

/// Walks the index of one file.
#[derive(Debug)]
pub(super) struct Index {
    pub url: Url,
    /// To be dealt with, the last one first.
    stack: Vec<Item>,
    read: u32,
    /// From media time to presentation time.
    period: Duration,
    offset: Duration,
}

#[derive(Clone, Debug)]
enum Item {
    Found(Found),
    Index { range: ByteRange, depth: u8, probing: bool },
}

impl Index {
    /// Of the file at `url`, whose index is at `range` if the manifest says so. `period` is when its period starts, `offset`
    /// the media time at that moment.
    pub(super) fn new(url: Url, range: Option<ByteRange>, period: Duration, offset: Duration) -> Self {
        let probing = range.is_none();
        let range = range.or(ByteRange::new(0, PROBE_BYTES)).map(|range| bounded(range, INDEX_BYTES_MAX));
        let first = range.map(|range| Item::Index { range, depth: 0, probing });
        Self { url, stack: first.into_iter().collect(), read: 0, period, offset }
    }

    /// The bytes it must be fed before it goes on.
    pub(super) fn need(&self) -> Option<ByteRange> {
        match self.stack.last()? {
            Item::Index { range, .. } => Some(*range),
            Item::Found(_) => None,
        }
    }

    /// What is found next; nothing while it [needs](Self::need) bytes, and when it is done.
    pub(super) fn next(&mut self) -> Option<Found> {
        match self.stack.pop_if(|item| matches!(item, Item::Found(_)))? {
            Item::Found(found) => Some(found),
            Item::Index { .. } => None,
        }
    }

    /// Takes the bytes it needs, or as many of them as there are.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Some(Item::Index { range, depth, probing }) = self.stack.pop() else { return };
        self.read += 1;
        let found = boxes(bytes).find(|found| found.name == *b"sidx");
        let larger = found.and_then(|found| {
            let start = range.start().saturating_add(found.start);
            let all = ByteRange::new(start, range.start().saturating_add(found.end))?;
            // Asked for once more, as long as it says it is: then it begins where the range does, and is whole or never.
            (!found.is_whole(bytes.len()) && all != range && all.len() <= INDEX_BYTES_MAX).then_some(all)
        });
        if let (Some(all), true) = (larger, self.read < INDICES_MAX) {
            self.stack.push(Item::Index { range: all, depth, probing: false });
        } else if let Some((sidx, end)) =
            found.and_then(|found| Some((Sidx::read(found.payload)?, found.end)))
        {
            self.list(&sidx, range.start().saturating_add(end), depth);
        } else if depth == 0 {
            self.stack.push(Item::Found(Found::Whole));
            return;
        }
        if let Some(sidx) = found.filter(|_| probing && has_moov(bytes)) {
            self.stack.extend(ByteRange::new(0, sidx.start).map(|range| Item::Found(Found::Init(range))));
        }
    }

    /// Puts what an index lists, the first on top.
    fn list(&mut self, sidx: &Sidx, anchor: u64, depth: u8) {
        let scale = u64::from(sidx.timescale);
        let mut at = anchor.saturating_add(sidx.first_offset);
        let mut time = i128::from(sidx.earliest);
        let mut items = Vec::with_capacity(sidx.references.len());
        for reference in &sidx.references {
            let end = at.saturating_add(u64::from(reference.bytes));
            let start = self.period.saturating_add(span(time, scale)).saturating_sub(self.offset);
            let duration = span(i128::from(reference.duration), scale);
            time += i128::from(reference.duration);
            let Some(range) = ByteRange::new(at, end) else { continue };
            at = end;
            if !reference.index {
                items.push(Item::Found(Found::Segment { range, start, duration }));
            } else if depth + 1 < INDEX_DEPTH_MAX && self.read < INDICES_MAX {
                // It spans the media it indexes too; the index itself comes first.
                items.push(Item::Index {
                    range: bounded(range, PROBE_BYTES),
                    depth: depth + 1,
                    probing: false,
                });
            }
        }
        items.reverse();
        self.stack.append(&mut items);
    }

    /// How many items wait.
    pub(super) fn waiting(&self) -> usize {
        self.stack.len()
    }
}

fn bounded(range: ByteRange, max: u64) -> ByteRange {
    let end = range.end().min(range.start().saturating_add(max));
    ByteRange::new(range.start(), end).unwrap_or(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isobmff::make::{boxed, sidx};

    const SECOND: Duration = Duration::from_secs(1);

    /// Drives an index over a file to its end.
    fn all(file: &[u8], range: Option<ByteRange>) -> (Vec<Found>, usize) {
        let mut index = Index::new("http://a/v.mp4".parse().unwrap(), range, 10 * SECOND, SECOND);
        let (mut found, mut asked) = (Vec::new(), 0);
        loop {
            while let Some(next) = index.next() {
                found.push(next);
            }
            let Some(range) = index.need() else { return (found, asked) };
            asked += 1;
            let end = file.len().min(range.end() as usize);
            index.feed(&file[(range.start() as usize).min(end)..end]);
        }
    }

    fn segment(start: u64, end: u64, at: Duration, duration: Duration) -> Found {
        Found::Segment { range: ByteRange::new(start, end).unwrap(), start: at, duration }
    }

    #[test]
    fn an_index_is_found_behind_the_headers() {
        let headers = [boxed(b"ftyp", b"iso6"), boxed(b"moov", &[0; 200])].concat();
        let index = sidx(1000, 5, &[(false, 700, 2000), (false, 300, 1000)]);
        let (head, end) = (headers.len() as u64, (headers.len() + index.len()) as u64);
        let media = [
            segment(end + 5, end + 705, 10 * SECOND, 2 * SECOND),
            segment(end + 705, end + 1005, 12 * SECOND, SECOND),
        ];
        let file = [headers, index].concat();
        let init = Found::Init(ByteRange::new(0, head).unwrap());
        assert_eq!(all(&file, None), ([&[init][..], &media].concat(), 1));
        assert_eq!(all(&file, ByteRange::new(head, end)), (media.to_vec(), 1));
    }

    #[test]
    fn indices_lead_to_indices_in_the_order_of_the_media() {
        let (one, two) = (sidx(1000, 0, &[(false, 10, 1000)]), sidx(2000, 0, &[(false, 20, 1000)]));
        let spans = (one.len() as u32 + 10, two.len() as u32 + 20);
        let top = sidx(1000, 0, &[(true, spans.0, 1000), (true, spans.1, 1000), (false, 5, 1000)]);
        let file = [top, one, vec![0; 10], two, vec![0; 25]].concat();
        let len = file.len() as u64;
        let (found, asked) = all(&file, None);
        assert_eq!(asked, 3);
        assert_eq!(found[1], segment(len - 25, len - 5, 11 * SECOND, SECOND));
        assert_eq!(found[2], segment(len - 5, len, 12 * SECOND, SECOND));
        assert_eq!(found.len(), 3);
    }

    #[test]
    fn an_index_longer_than_the_range_is_asked_for_whole() {
        let file = sidx(0, 0, &[(false, 1, 1000); 6000]);
        assert!(file.len() as u64 > PROBE_BYTES);
        let (found, asked) = all(&file, None);
        assert_eq!((found.len(), asked), (6000, 2));
        assert_eq!(all(&file[..70_000], None), (vec![Found::Whole], 2), "and not a third time");
    }

    #[test]
    fn without_an_index_the_file_is_one_segment_and_loops_end() {
        assert_eq!(all(b"", None), (vec![Found::Whole], 1));
        assert_eq!(all(&[0xff; 100], ByteRange::new(0, 50)), (vec![Found::Whole], 1));
        // Two indices that lead to themselves: the second reference lies where the file is over.
        let mut looping = sidx(0, 0, &[(true, u32::MAX >> 1, 1); 2]);
        looping.extend(looping.clone());
        let (found, asked) = all(&looping.repeat(40), None);
        assert!(found.is_empty() && asked < 64, "{asked}");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let file = [sidx(0, 0, &[(true, 100, 1), (false, 0, 1), (true, 300, 7)]), bytes].concat();
            all(&file, None);
        }
    }
}
