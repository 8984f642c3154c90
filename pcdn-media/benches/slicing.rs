//! How fast live FLV is cut, and given to players: `cargo bench -p pcdn-media --bench slicing`.
//!
//! The floor is what no slicer can avoid: one BLAKE3 pass over the bytes, which names the slice, and one copy.
//! On a busy 2-core AMD EPYC with AVX-512: 3.5 GB/s with keyframes 2 s apart, 3.4 with 0.5 s, 1.4 with keyframes only, of a
//! floor of 3.7; reading tags 22 GB/s, joining 13 GB/s.

#![allow(clippy::print_stdout)] // it prints its result

use std::hint::black_box;
use std::time::{Duration, Instant};

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

/// Bytes of one pass, and passes of which the best counts.
const STREAM_BYTES: usize = 32 << 20;
const PASSES: usize = 50;
/// What a socket gives at once.
const CHUNK: usize = 64 << 10;

fn main() {
    for (name, gop_ms, key_bytes, inter_bytes) in [
        ("6 Mbit/s, keyframes 2 s apart", 2_000, 150_000, 27_000),
        ("6 Mbit/s, keyframes 0.5 s apart", 500, 120_000, 22_000),
        ("all keyframes", 40, 30_000, 0),
    ] {
        let stream = stream(gop_ms, key_bytes, inter_bytes);
        let mut slices = Vec::new();
        self::slices(&stream, |slice| slices.push(slice));
        println!("flv, {name}: {} slices of {} kB", slices.len(), stream.len() / 1000 / slices.len().max(1));
        let floor = best(&stream, || {
            slices.iter().for_each(|slice| {
                let copy = slice.bytes.to_vec();
                let layout = Layout::new(copy.len() as u64, PIECE_LOG2).expect("a slice was laid out");
                black_box(PieceList::of(&layout, &copy).root());
            })
        });
        let read = best(&stream, || read(&stream));
        let cut = best(&stream, || self::slices(&stream, |slice| drop(black_box(slice))));
        let play = best(&stream, || play(&slices));
        println!("  floor (hash and copy)  {floor:6.2} GB/s");
        println!("  read tags              {read:6.2} GB/s");
        println!("  slice                  {cut:6.2} GB/s   {:.2} of the floor", cut / floor);
        println!("  join                   {play:6.2} GB/s");
    }
}

/// GB/s of the best pass of `work` over `stream`.
fn best(stream: &Bytes, mut work: impl FnMut()) -> f64 {
    let pass = |_| {
        let start = Instant::now();
        work();
        start.elapsed()
    };
    let best = (0..PASSES).map(pass).min().unwrap_or(Duration::MAX);
    stream.len() as f64 / best.as_secs_f64() / 1e9
}

fn chunks(stream: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    (0..stream.len()).step_by(CHUNK).map(|at| stream.slice(at..stream.len().min(at + CHUNK)))
}

fn read(stream: &Bytes) {
    let mut reader = Reader::default();
    for mut chunk in chunks(stream) {
        while let Some(tag) = reader.read(&mut chunk).expect("it is FLV") {
            black_box(tag);
        }
    }
}

fn slices(stream: &Bytes, mut each: impl FnMut(Slice)) {
    let url = "http://origin.test/live.flv".parse().expect("a URL");
    let resource = Resource { url, rid: Rid([1; 32]), head: Some(ResourceHead::default()) };
    let mut slicing = Flv::default().open(&resource).expect("a live stream opens");
    for chunk in chunks(stream) {
        slicing.supply(Time::ZERO, Part::Bytes(chunk)).expect("it is FLV");
        while let Some(cut) = slicing.cut() {
            if let Cut::Sliced(slice) = cut {
                each(slice);
            }
        }
    }
}

fn play(slices: &[Slice]) {
    let mut output = Output::new(Kinds { audio: true, video: true });
    black_box(output.head(&slices[0].setup));
    for Slice { segment, bytes, setup, .. } in slices {
        black_box(output.push(&SliceView { bytes, setup, start: segment.start, duration: segment.duration }));
    }
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
