//! HLS: a media playlist of 20,000 segments.
//!
//! References: quick-m3u8 reads lines and their tags, borrowed from the text; m3u8-rs a whole playlist. Neither resolves a URL,
//! names a segment, or has limits. Ours is given twice: to the model (URLs resolved), and to the list of named segments.

use std::hint::black_box;

use m3u8_rs::parse_media_playlist_res;
use pcdn_core::Bytes;
use pcdn_core::resource::Url;
use pcdn_media::Hls;
use pcdn_media::hls::Playlist;
use quick_m3u8::Reader;
use quick_m3u8::config::ParsingOptionsBuilder;

use crate::{SEGMENTS, listed, timing};

pub(crate) fn run() {
    compare("short names", playlist(|n| format!("#EXTINF:4.000,\nhd/segment-{n:06}.m4s\n")));
    compare(
        "signed URLs, dates",
        playlist(|n| {
            let (h, m, s) = (n / 900 % 24, n / 15 % 60, n % 15 * 4);
            let date = format!("#EXT-X-PROGRAM-DATE-TIME:2026-03-01T{h:02}:{m:02}:{s:02}.000Z");
            let url =
                format!("https://edge7.cdn.example/live/one/hd/{n}.ts?expires=1772323200&sig={:032x}", n * n);
            format!("{date}\n#EXTINF:4.000,\n{url}\n")
        }),
    );
    compare(
        "ranges of one file",
        playlist(|n| format!("#EXTINF:4.000,\n#EXT-X-BYTERANGE:1500000@{}\nfilm.mp4\n", n * 1_500_000)),
    );
}

fn playlist(segment: impl Fn(usize) -> String) -> Bytes {
    let head = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n";
    (head.to_owned() + &(0..SEGMENTS).map(segment).collect::<String>() + "#EXT-X-ENDLIST\n").into()
}

fn compare(name: &str, document: Bytes) {
    let url: Url = "https://edge7.cdn.example/live/one/index.m3u8".parse().expect("a URL");
    assert!(listed(&Hls, &url, &document) >= SEGMENTS);
    assert_eq!(lines(&document), quick(&document), "a reference must read what we read");
    assert_eq!((ours(&document, &url), m3u8(&document)), (SEGMENTS, SEGMENTS));
    println!("hls, {SEGMENTS} segments, {name}: {} kB", document.len() / 1000);
    let [list, parse, quick, m3u8] = timing::best([
        &mut || listed(&Hls, &url, &document),
        &mut || ours(&document, &url),
        &mut || quick(&document),
        &mut || m3u8(&document),
    ]);
    timing::millis("list (names, window)", list, None);
    timing::millis("parse", parse, None);
    timing::millis("quick-m3u8, lines", quick, Some(list));
    timing::millis("m3u8-rs, parse", m3u8, Some(list));
}

fn lines(document: &[u8]) -> usize {
    document.iter().filter(|byte| **byte == b'\n').count()
}

fn ours(document: &[u8], url: &Url) -> usize {
    match Playlist::parse(document, url) {
        Ok(Playlist::Media(media)) => black_box(media).segments.len(),
        other => panic!("{other:?}"),
    }
}

fn m3u8(document: &[u8]) -> usize {
    black_box(parse_media_playlist_res(document).expect("it reads it")).segments.len()
}

/// Reads all lines and their tags; how many there are.
fn quick(document: &[u8]) -> usize {
    let options = ParsingOptionsBuilder::new().with_parsing_for_all_tags().build();
    let mut reader = Reader::from_bytes(document, options);
    let mut lines = Vec::new();
    while let Some(line) = reader.read_line().expect("it reads it") {
        lines.push(line);
    }
    black_box(&lines).len()
}
