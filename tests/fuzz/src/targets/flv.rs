//! FLV streams: read, cut live, and joined for players.

use std::time::Duration;

use bytes::Bytes;
use pcdn_core::fragment::{Cut, Fragmenter, Part, Slice};
use pcdn_core::id::{Digest, Rid};
use pcdn_core::resource::{Resource, ResourceHead};
use pcdn_core::unit::Time;
use pcdn_core::verify::PieceList;
use pcdn_media::Flv;
use pcdn_media::flv::join::{Output, SliceView};
use pcdn_media::flv::tag::{HEADER_LEN, Kind, Reader, TRAILER_LEN};
use pcdn_media::flv::{Kinds, id_of};

use crate::{Seed, Target};

/// Room is made for 256 KiB of a tag that has not come, and for a slice as long as the one before.
const ALLOCATION: (usize, usize) = (8, 512 << 10);

pub fn targets() -> Vec<Target> {
    let seeds = || Seed::files(&["tests/fuzz/corpus/flv"]);
    vec![Target::of("flv cut", seeds(), cut, ALLOCATION), Target::of("flv join", seeds(), join, ALLOCATION)]
}

/// Cuts a live stream; how its bytes are chunked must not matter.
fn cut(input: &[u8]) -> bool {
    let whole = cuts(input, usize::MAX);
    for chunk in [5, 1_021] {
        assert_eq!(whole, cuts(input, chunk), "cuts must not depend on chunks of {chunk} bytes");
    }
    let slices =
        whole.0.iter().filter_map(|cut| if let Cut::Sliced(slice) = cut { Some(slice) } else { None });
    let slices: Vec<&Slice> = slices.collect();
    slices.iter().for_each(|slice| check(slice));
    for pair in slices.windows(2) {
        let follows = pair[1].before.is_none_or(|before| before == pair[0].segment.id);
        assert!(follows, "a slice follows the one cut before it, or none");
        assert!(pair[0].segment.start <= pair[1].segment.start, "time must not go back");
    }
    play(&slices);
    whole.1
}

/// All cuts, and whether the stream was taken to its end.
fn cuts(input: &[u8], chunk: usize) -> (Vec<Cut>, bool) {
    let url = "http://cdn.test/live.flv".parse().expect("a URL");
    let resource = Resource { url, rid: Rid([1; 32]), head: Some(ResourceHead::default()) };
    let mut slicing = Flv::default().open(&resource).expect("a live stream opens");
    let (mut cuts, mut taken) = (Vec::new(), true);
    for part in input.chunks(chunk) {
        taken = slicing.supply(Time::ZERO, Part::Bytes(Bytes::copy_from_slice(part))).is_ok();
        cuts.extend(std::iter::from_fn(|| slicing.cut()));
        if !taken {
            break;
        }
    }
    (cuts, taken)
}

/// A slice is what its number says, in whole tags.
fn check(slice: &Slice) {
    let layout = slice.segment.layout;
    assert_eq!(layout.len(), slice.bytes.len() as u64);
    let root: Digest = PieceList::of(&layout, &slice.bytes).root();
    assert_eq!(slice.segment.id, id_of(&slice.setup, slice.offset, &root), "its number must follow from its bytes");
    for run in [&slice.bytes, &slice.setup] {
        let tags = read(&[&pcdn_media::flv::tag::stream_header(true, true)[..], run].concat());
        let len: usize = tags.iter().map(|(_, _, body)| HEADER_LEN + body + TRAILER_LEN).sum();
        assert_eq!(len, run.len(), "a slice must be whole tags");
    }
}

fn play(slices: &[&Slice]) {
    let Some(first) = slices.first() else { return };
    let mut output = Output::new(Kinds::of(&first.bytes));
    let mut out = output.head(&first.setup).to_vec();
    for slice in slices {
        let (bytes, setup, offset) = (&slice.bytes, &slice.setup, slice.offset);
        let (start, duration) = (slice.segment.start, slice.segment.duration);
        out.extend(output.push(&SliceView { bytes, setup, offset, start, duration }));
    }
    check_output(&out);
}

/// Takes any bytes for slices, as those of peers are; a player must be given whole tags in rising time.
fn join(input: &[u8]) -> bool {
    let body = input.get(13..).unwrap_or_default();
    let (setup, bytes) = body.split_at(body.len().min(200));
    let mut output = Output::new(Kinds::of(bytes));
    let mut out = output.head(setup).to_vec();
    let offset = Duration::ZERO;
    let view = SliceView { bytes, setup: body, offset, start: None, duration: None };
    out.extend(output.push(&view));
    let offset = Duration::from_millis(input.len() as u64 * 40);
    out.extend(output.push(&SliceView { bytes: body, setup: bytes, offset, ..view }));
    check_output(&out);
    input.starts_with(b"FLV")
}

fn check_output(out: &[u8]) {
    let tags = read(out);
    let len: usize = tags.iter().map(|(_, _, body)| HEADER_LEN + body + TRAILER_LEN).sum();
    assert_eq!(13 + len, out.len(), "a player must be given whole tags");
    let mut at = 13;
    for (_, _, body) in &tags {
        at += HEADER_LEN + body;
        let told = u32::from_be_bytes(out[at..at + TRAILER_LEN].try_into().expect("four bytes"));
        assert_eq!(told as usize, HEADER_LEN + body, "PreviousTagSize must be true");
        at += TRAILER_LEN;
    }
    for kind in [Kind::Video, Kind::Audio] {
        let times: Vec<u32> = tags.iter().filter(|tag| tag.0 == kind).map(|tag| tag.1).collect();
        let rise = times.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) as i32 >= 0);
        assert!(rise, "{kind:?} must not go back: {times:?}");
    }
}

/// Kind, time and length of the body of each tag of a good stream.
fn read(stream: &[u8]) -> Vec<(Kind, u32, usize)> {
    let mut reader = Reader::default();
    let mut chunk = Bytes::copy_from_slice(stream);
    let mut next = || reader.read(&mut chunk).expect("our own stream is good");
    std::iter::from_fn(|| next().map(|tag| (tag.kind, tag.timestamp, tag.body.len()))).collect()
}
