//! Pictures as fragmented MP4 (ISO/IEC 14496-12), as HLS and DASH list it: an initialisation segment, and fragments of two seconds.

use super::{FPS, Film, GOP};

/// Sample flags (8.8.3.1): depends on no other; depends on others and is none to start from.
const KEY: u32 = 0x0200_0000;
const BETWEEN: u32 = 0x0101_0000;
/// The identity matrix of a picture (8.2.2).
const UPRIGHT: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The initialisation segment.
pub(in crate::demo) fn init(film: &Film) -> Vec<u8> {
    let brands: &[u8] = b"iso6\0\0\0\x01iso6mp41dash";
    let movie = [movie_header(), track(film), boxed(b"mvex", &[&track_extends()])].concat();
    [boxed(b"ftyp", &[brands]), boxed(b"moov", &[&movie])].concat()
}

/// Fragment `index`: the pictures from its keyframe to before the next.
pub(in crate::demo) fn fragment(film: &Film, index: u64) -> Vec<u8> {
    let pictures: Vec<Vec<u8>> = (0..GOP).map(|at| film.picture(index * GOP + at)).collect();
    // The offset of the data is known once the rest is as long as it will be.
    let length = movie_fragment(index, &pictures, 0).len() as u32;
    let head = movie_fragment(index, &pictures, length + 8);
    [head, boxed(b"mdat", &[&pictures.concat()])].concat()
}

fn movie_fragment(index: u64, pictures: &[Vec<u8>], data_at: u32) -> Vec<u8> {
    let header = full(b"mfhd", 0, 0, &[&words(&[index as u32 + 1])]);
    // The data lies by this fragment (8.8.7).
    let track = full(b"tfhd", 0, 0x02_0000, &[&words(&[1])]);
    let time = full(b"tfdt", 1, 0, &[&(index * GOP).to_be_bytes()]);
    let sizes: Vec<u32> = pictures.iter().map(|picture| picture.len() as u32).collect();
    // With an offset, flags of the first and a size of each sample (8.8.8).
    let run = full(b"trun", 0, 0x205, &[&words(&[pictures.len() as u32, data_at, KEY]), &words(&sizes)]);
    boxed(b"moof", &[&header, &boxed(b"traf", &[&track, &time, &run])])
}

fn movie_header() -> Vec<u8> {
    // Times, scale, duration, rate, volume and reserved, matrix, reserved, next track.
    let head = words(&[0, 0, FPS as u32, 0, 0x1_0000, 0x0100_0000, 0, 0]);
    full(b"mvhd", 0, 0, &[&head, &words(&UPRIGHT), &[0; 24], &words(&[2])])
}

fn track(film: &Film) -> Vec<u8> {
    let (width, height) = film.pixels();
    let side = |pixels: u16| u32::from(pixels) << 16;
    let header = full(
        b"tkhd",
        0,
        3,
        &[&words(&[0, 0, 1, 0, 0, 0, 0, 0, 0]), &words(&UPRIGHT), &words(&[side(width), side(height)])],
    );
    let media = [
        full(b"mdhd", 0, 0, &[&words(&[0, 0, FPS as u32, 0, 0x55C4_0000])]),
        full(b"hdlr", 0, 0, &[&[0; 4], b"vide", &[0; 12], b"video\0"]),
        boxed(b"minf", &[&full(b"vmhd", 0, 1, &[&[0; 8]]), &data_information(), &samples(film)]),
    ];
    boxed(b"trak", &[&header, &boxed(b"mdia", &[&media.concat()])])
}

fn data_information() -> Vec<u8> {
    let here = full(b"url ", 0, 1, &[]);
    boxed(b"dinf", &[&full(b"dref", 0, 0, &[&words(&[1]), &here])])
}

fn samples(film: &Film) -> Vec<u8> {
    let none = |kind, fields| full(kind, 0, 0, &[&words(&vec![0; fields])]);
    let description = full(b"stsd", 0, 0, &[&words(&[1]), &sample_entry(film)]);
    boxed(
        b"stbl",
        &[&description, &none(b"stts", 1), &none(b"stsc", 1), &none(b"stsz", 2), &none(b"stco", 1)],
    )
}

/// What the samples are (12.1.3 and ISO/IEC 14496-15).
fn sample_entry(film: &Film) -> Vec<u8> {
    let (width, height) = film.pixels();
    let mut head = vec![0; 6];
    head.extend([0, 1]);
    head.extend([0; 16]);
    head.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
    head.extend(words(&[0x48_0000, 0x48_0000, 0, 0x1_0000]));
    head.extend([0; 30]);
    head.extend([0x00, 0x18, 0xFF, 0xFF]);
    boxed(b"avc1", &[&head, &boxed(b"avcC", &[&film.coder().configuration()])])
}

fn track_extends() -> Vec<u8> {
    full(b"trex", 0, 0, &[&words(&[1, 1, 1, 0, BETWEEN])])
}

fn full(kind: &[u8; 4], version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    boxed(kind, &[&head[..], &parts.concat()])
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend((length as u32).to_be_bytes());
    out.extend(kind);
    parts.iter().for_each(|part| out.extend(*part));
    out
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_be_bytes()).collect()
}
