//! Live streams: manifests that keep up.

use std::time::Duration;

use pcdn_core::Bytes;
use pcdn_core::fragment::{Segment, Slice};
use pcdn_core::layout::Layout;
use pcdn_media::hls::{Playlist as Parsed, name::Names};

use super::stream::files;
use super::*;
use crate::publish::hashes::Hashes;
use crate::publish::playlist::Playlist;
use crate::publish::sign::document_of;

fn playlist(numbers: std::ops::Range<u32>) -> String {
    let lines: String = numbers.clone().map(|n| format!("#EXTINF:1,\n{n}.ts\n")).collect();
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:{}\n{lines}", numbers.start)
}

/// What a viewer calls the segments of `text`.
fn names(text: &str) -> Vec<SegmentId> {
    let at = "https://cdn.example/live/index.m3u8".parse().unwrap();
    let Ok(Parsed::Media(media)) = Parsed::parse(text.as_bytes(), &at) else { panic!("{text}") };
    let names = Names::of(&media);
    (0..media.segments.len()).filter_map(|index| names.segment(index)).collect()
}

fn written(path: &Path) -> Manifest {
    Manifest::parse(&fs::read(manifest_path(path)).unwrap()).unwrap()
}

#[test]
fn a_live_playlist_is_followed_and_numbers_rise_over_restarts() {
    let dir = files(&["0.ts", "1.ts", "2.ts", "3.ts"]);
    let path = dir.path().join("index.m3u8");
    let mut follow = Follow::new(dir.path(), None, None, key()).unwrap();
    assert!(follow.look().is_empty(), "nothing is there yet");
    let mut follow = Follow::new(dir.path(), None, None, key()).unwrap();
    fs::write(&path, playlist(0..2)).unwrap();
    assert_eq!(follow.look().len(), 1);
    let first = written(&path);
    assert_eq!(first.ids(), names(&playlist(0..2)));
    assert!(follow.look().is_empty(), "nothing is new");
    fs::write(&path, playlist(1..4)).unwrap();
    assert_eq!(follow.look().len(), 1);
    let second = written(&path);
    assert_eq!(second.ids(), names(&playlist(0..4)), "what left lately is kept, before the rest");
    assert!(second.seq > first.seq);
    let mut again = Follow::new(&path, None, None, key()).unwrap();
    assert_eq!(again.look().len(), 1);
    let third = written(&path);
    assert_eq!(third.ids(), names(&playlist(1..4)));
    assert!(third.seq > second.seq);
}

#[test]
fn a_playlist_that_makes_no_sense_for_a_moment_is_no_harm() {
    let dir = files(&["0.ts"]);
    let path = dir.path().join("all.mpd");
    fs::write(&path, "<MPD ").unwrap();
    let mut follow = Follow::new(&path, None, None, key()).unwrap();
    assert!(follow.look().iter().all(Result::is_err));
    let text = "<MPD mediaPresentationDuration=\"PT1S\"><Period><AdaptationSet><SegmentTemplate duration=\"1\" media=\"0.ts\"/>\
                <Representation id=\"v\"/></AdaptationSet></Period></MPD>";
    fs::write(&path, text).unwrap();
    let signed: Vec<_> = follow.look().into_iter().collect::<Result<_, _>>().unwrap();
    assert_eq!(signed.iter().map(|signed| signed.segments).collect::<Vec<_>>(), [1]);
}

#[test]
fn segments_are_hashed_once_and_leave_after_twenty_seconds() {
    let dir = files(&["0.ts", "1.ts", "2.ts"]);
    let path = dir.path().join("index.m3u8");
    fs::write(&path, playlist(0..2)).unwrap();
    let mut signed = Playlist::new(document_of(&path, None).unwrap(), &manifest_path(&path), None);
    let ids = |made: Option<Vec<u8>>| made.map(|bytes| Manifest::parse(&bytes).unwrap().ids());
    assert_eq!(ids(signed.sign(1_000, &key()).unwrap().manifest), Some(names(&playlist(0..2))));
    assert_eq!(ids(signed.sign(2_000, &key()).unwrap().manifest), None, "nothing new");
    fs::write(&path, playlist(2..3)).unwrap();
    assert_eq!(ids(signed.sign(3_000, &key()).unwrap().manifest), Some(names(&playlist(0..3))));
    assert_eq!(signed.hashed(), 3);
    assert_eq!(ids(signed.sign(2_000 + 19_999, &key()).unwrap().manifest), None, "all are still named");
    let late = signed.sign(2_000 + 20_000, &key()).unwrap().manifest;
    assert_eq!(ids(late), Some(names(&playlist(2..3))));
    assert_eq!(signed.hashed(), 3);
    fs::write(dir.path().join("2.ts"), content(999)).unwrap();
    let other = signed.sign(200_000, &key()).unwrap().manifest.unwrap();
    let (layout, root) = Manifest::parse(&other).unwrap().segment(names(&playlist(2..3))[0]).unwrap();
    assert_eq!((layout.len(), root.0), (999, *blake3::hash(&content(999)).as_bytes()));
}

#[test]
fn parts_of_a_growing_file_are_hashed_once() {
    let dir = files(&["all.ts"]);
    let path = dir.path().join("all.ts");
    let range = pcdn_core::range::ByteRange::new(100, 200);
    let mut hashes = Hashes::default();
    let list = hashes.of(&path, range).unwrap().unwrap();
    assert_eq!(list.root().0, *blake3::hash(&content(300)[100..200]).as_bytes());
    fs::write(&path, content(5_000)).unwrap();
    assert_eq!(hashes.of(&path, range).unwrap(), Some(list));
    assert_eq!(hashes.hashed(), 1);
    let beyond = pcdn_core::range::ByteRange::new(4_000, 5_001);
    assert_eq!(hashes.of(&path, beyond).unwrap(), None, "not whole yet");
}

fn slice(byte: u8, settled: bool) -> Slice {
    let bytes = Bytes::from(vec![byte; 40_000]);
    let layout = Layout::of_stream(40_000).unwrap();
    let at = "http://h/live.flv".parse().unwrap();
    let segment = Segment::of_file(SegmentId(u64::from(byte)), at, 0..40_000, layout.piece_log2()).unwrap();
    let segment = Segment { discontinuity: !settled, ..segment };
    Slice { segment, bytes, setup: Bytes::new(), offset: Duration::ZERO, before: None }
}

#[test]
fn slices_are_signed_as_they_come_the_newest_only() {
    let rule = pcdn_media::Flv::default().rule();
    let mut signer = SliceSigner::new(key(), rule, None, 500);
    let mut take = |byte, settled, now| {
        let made = signer.take(&slice(byte, settled), now).unwrap();
        made.map(|bytes| Manifest::parse(&bytes).unwrap())
    };
    assert_eq!(take(1, false, 100), None, "provisional");
    let first = take(2, true, 100).unwrap();
    assert_eq!((first.seq, first.rule, first.ids()), (501, rule, vec![SegmentId(2)]));
    assert_eq!(take(2, true, 100), None, "known");
    let last = (3..100).filter_map(|byte| take(byte, true, 1_000)).last().unwrap();
    assert_eq!((last.len(), last.ids()[63]), (64, SegmentId(99)));
    assert_eq!(last.segment(SegmentId(99)).unwrap().1.0, *blake3::hash(&[99; 40_000]).as_bytes());
}

#[test]
fn a_manifest_of_slices_is_no_longer_than_viewers_lag_behind() {
    let rule = pcdn_media::Flv::default().rule();
    let lasting = |seconds: u64, byte: u8| {
        let slice = slice(byte, true);
        let segment = Segment { duration: Some(Duration::from_secs(seconds)), ..slice.segment };
        Slice { segment, ..slice }
    };
    for (seconds, named) in [(1, 5), (2, 2), (10, 1)] {
        let mut signer = SliceSigner::new(key(), rule, None, 0);
        (0..40).for_each(|byte| drop(signer.take(&lasting(seconds, byte), 0).unwrap()));
        assert_eq!(signer.len(), named, "of {seconds} s each");
    }
}
