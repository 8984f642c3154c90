//! FLV: a live stream cut, and given to players.
//!
//! The floor is what no slicer can avoid: one BLAKE3 pass over the bytes, which names the slice, and one copy. Reference:
//! scuffle-flv demuxes a whole file that lies in memory; our reader gets it in chunks, as a socket gives it.

use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

use pcdn_core::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::fragment::{Cut, Fragmenter, Part, Slice};
use pcdn_core::id::Rid;
use pcdn_core::layout::Layout;
use pcdn_core::resource::{Resource, ResourceHead};
use pcdn_core::unit::Time;
use pcdn_core::verify::PieceList;
use pcdn_media::flv::join::{Output, SliceView};
use pcdn_media::flv::tag::{self, Kind, Reader};
use pcdn_media::flv::{Flv, Kinds, PIECE_LOG2};
use scuffle_flv::file::FlvFile;

use crate::timing;

/// Bytes of one turn.
const STREAM_BYTES: usize = 32 << 20;
/// What a socket gives at once.
const CHUNK: usize = 64 << 10;

pub(crate) fn run() {
    for (name, gop_ms, key_bytes, inter_bytes) in [
        ("6 Mbit/s, keyframes 2 s apart", 2_000, 150_000, 27_000),
        ("6 Mbit/s, keyframes 0.5 s apart", 500, 120_000, 22_000),
        ("all keyframes", 40, 30_000, 0),
    ] {
        let stream = stream(gop_ms, key_bytes, inter_bytes);
        let mut slices = Vec::new();
        self::slices(&stream, |slice| slices.push(slice));
        assert_eq!(read(&stream, CHUNK), scuffle(&stream), "a reference must read what we read");
        println!("flv, {name}: {} slices of {} kB", slices.len(), stream.len() / 1000 / slices.len().max(1));
        let times = timing::best([
            &mut || floor(&slices),
            &mut || read(&stream, CHUNK),
            &mut || read(&stream, usize::MAX),
            &mut || scuffle(&stream),
            &mut || {
                let mut count = 0;
                self::slices(&stream, |_| count += 1);
                count
            },
            &mut || play(&slices),
        ]);
        let rate = |time: Duration| stream.len() as f64 / time.as_secs_f64() / 1e9;
        let [floor, read, whole, scuffle, cut, play] = times.map(rate);
        timing::line("floor (hash and copy)", floor, "GB/s", "");
        timing::line("read tags", read, "GB/s", "");
        timing::line("read tags, one chunk", whole, "GB/s", "");
        timing::line("scuffle-flv, demux", scuffle, "GB/s", &format!("ours is {:.2} of it", whole / scuffle));
        timing::line("slice", cut, "GB/s", &format!("{:.2} of the floor", cut / floor));
        timing::line("join", play, "GB/s", "");
    }
}

fn chunks(stream: &Bytes, len: usize) -> impl Iterator<Item = Bytes> + '_ {
    (0..stream.len()).step_by(len).map(move |at| stream.slice(at..stream.len().min(at.saturating_add(len))))
}

fn floor(slices: &[Slice]) -> usize {
    for slice in slices {
        let copy = slice.bytes.to_vec();
        let layout = Layout::new(copy.len() as u64, PIECE_LOG2).expect("a slice was laid out");
        black_box(PieceList::of(&layout, &copy).root());
    }
    slices.len()
}

/// How many tags there are.
fn read(stream: &Bytes, chunk: usize) -> usize {
    let mut reader = Reader::default();
    let mut count = 0;
    for mut chunk in chunks(stream, chunk) {
        while let Some(tag) = reader.read(&mut chunk).expect("it is FLV") {
            black_box(tag);
            count += 1;
        }
    }
    count
}

fn scuffle(stream: &Bytes) -> usize {
    let file = FlvFile::demux(&mut Cursor::new(stream.clone())).expect("it is FLV");
    black_box(&file).tags.len()
}

fn slices(stream: &Bytes, mut each: impl FnMut(Slice)) {
    let url = "http://origin.test/live.flv".parse().expect("a URL");
    let resource = Resource { url, rid: Rid([1; 32]), head: Some(ResourceHead::default()) };
    let mut slicing = Flv::default().open(&resource).expect("a live stream opens");
    for chunk in chunks(stream, CHUNK) {
        slicing.supply(Time::ZERO, Part::Bytes(chunk)).expect("it is FLV");
        while let Some(cut) = slicing.cut() {
            if let Cut::Sliced(slice) = cut {
                each(slice);
            }
        }
    }
}

fn play(slices: &[Slice]) -> usize {
    let mut output = Output::new(Kinds { audio: true, video: true });
    black_box(output.head(&slices[0].setup));
    for Slice { segment, bytes, setup, offset, .. } in slices {
        let (offset, start, duration) = (*offset, segment.start, segment.duration);
        black_box(output.push(&SliceView { bytes, setup, offset, start, duration }));
    }
    slices.len()
}

/// 25 pictures and 43 sounds a second.
fn stream(gop_ms: u32, key_bytes: usize, inter_bytes: usize) -> Bytes {
    let mut dice = Dice::new(1);
    let mut body: Vec<u8> = (0..1 << 20).map(|_| dice.next_u64() as u8).collect();
    let mut stream = tag::stream_header(true, true).to_vec();
    let mut sound_at = 0;
    for at in (0..).step_by(40) {
        if stream.len() >= STREAM_BYTES && at % gop_ms == 0 {
            break;
        }
        let (first, len) = if at % gop_ms == 0 { (0x17, key_bytes) } else { (0x27, inter_bytes) };
        body[..5].copy_from_slice(&[first, 1, 0, 0, 0]);
        body[5..9].copy_from_slice(&at.to_be_bytes());
        tag::write(&mut stream, Kind::Video, at, &body[..len]);
        while sound_at < at + 40 {
            tag::write(&mut stream, Kind::Audio, sound_at, &[[0xaf, 1].as_slice(), &body[9..400]].concat());
            sound_at += 23;
        }
    }
    stream.into()
}
