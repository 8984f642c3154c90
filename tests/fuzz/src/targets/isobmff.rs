//! MP4 files: boxes, and the index by which a file is cut.

use bytes::Bytes;
use pcdn_core::fragment::{Cut, Need, Part};
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;
use pcdn_media::Dash;
use pcdn_media::isobmff::{Sidx, boxes, has_moov};

use super::MODEST;
use super::media::{self, Books};
use crate::{Seed, Target};

/// The indices of one file that are asked for at most, and some that are asked for twice because they are long.
const ASKED_MAX: usize = 2 * pcdn_media::dash::INDICES_MAX as usize;

pub fn targets() -> Vec<Target> {
    let seeds = || Seed::files(&["tests/fuzz/corpus/isobmff"]);
    vec![
        Target::of("mp4 boxes", seeds(), walk, MODEST),
        Target::of("mp4 index", seeds(), index, (64, 256 << 10)),
    ]
}

/// Boxes follow one another, and none is longer than what of it is there.
fn walk(input: &[u8]) -> bool {
    let (mut at, mut whole) = (0, 0);
    for found in boxes(input) {
        assert_eq!(found.start, at, "boxes must follow one another");
        assert!(found.end >= at + 8, "a box must have a header");
        assert!(found.payload.len() as u64 <= found.end - at - 8, "no more of it than it says");
        at = found.end;
        whole += usize::from(found.is_whole(input.len()));
        if let Some(index) = Sidx::read(found.payload) {
            assert!(index.references.len() * 12 <= found.payload.len(), "entries must be there");
        }
    }
    has_moov(input);
    whole > 0
}

/// Cuts a file by its index. A file may ask for a part of itself, and lead anywhere.
fn index(input: &[u8]) -> bool {
    let file = Bytes::copy_from_slice(input);
    let mut ended = false;
    for segments in ["<SegmentBase/>", "<SegmentBase indexRange=\"0-99\"/>"] {
        let url: Url = "http://cdn.test/film.mpd".parse().expect("a URL");
        let text = format!(
            "<MPD><Period><AdaptationSet><Representation><BaseURL>v.mp4</BaseURL>{segments}</Representation></AdaptationSet></Period></MPD>"
        );
        let mut slicing = media::open(&Dash::default(), &url);
        slicing.supply(Time::ZERO, Part::Document(url, text.into())).expect("a good manifest");
        let mut books = Books::default();
        for asked in 0.. {
            assert!(asked <= ASKED_MAX, "a file must come to an end");
            let all = books.drain(&mut *slicing, |cut| ended |= *cut == Cut::End);
            let Need::Range { url, range } = slicing.need() else { break };
            if !all {
                break;
            }
            let end = file.len().min(usize::try_from(range.end()).unwrap_or(usize::MAX));
            let start = end.min(usize::try_from(range.start()).unwrap_or(usize::MAX));
            let part = Part::Range(url, range, file.slice(start..end));
            if slicing.supply(Time::ZERO, part).is_err() {
                break;
            }
        }
    }
    ended
}
