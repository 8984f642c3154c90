use std::collections::{BTreeMap, BTreeSet};

use pcdn_core::layout::SegmentId;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::hls::name::Names;

/// Numbers of the segments of a playlist that lists `uris`.
fn names(uris: &[&str]) -> Vec<SegmentId> {
    named(uris.iter().map(|uri| format!("#EXTINF:1,\n{uri}\n")).collect())
}

fn named(lines: String) -> Vec<SegmentId> {
    let media = media(format!("#EXTM3U\n{lines}").as_bytes());
    let names = Names::of(&media);
    (0..media.segments.len()).map(|index| names.segment(index).unwrap()).collect()
}

fn distinct(ids: &[SegmentId]) -> usize {
    ids.iter().collect::<BTreeSet<_>>().len()
}

fn check_equal(ours: &[&str], theirs: &[&str]) {
    assert_eq!(names(ours), names(theirs), "{ours:?} {theirs:?}");
    assert_eq!(distinct(&names(ours)), ours.len(), "{ours:?}");
}

fn check_distinct(uris: &[&str], want: usize) {
    assert_eq!(distinct(&names(uris)), want, "{uris:?}");
}

#[test]
fn viewers_with_other_hosts_and_tokens_agree() {
    check_equal(&["a.ts", "b.ts"], &["https://edge7.example:8443/film/a.ts", "/film/./b.ts"]);
    check_equal(&["a.ts?token=1", "b.ts?token=1"], &["a.ts?token=2", "b.ts?token=3#x"]);
    // SRS gives each viewer a random context on every URL.
    check_equal(&["s-1.ts?hls_ctx=x81", "s-2.ts?hls_ctx=x81"], &["s-1.ts?hls_ctx=p9", "s-2.ts?hls_ctx=p9"]);
    check_equal(&["v.php?id=1&u=ann", "v.php?id=2&u=ann"], &["v.php?u=bob&id=1", "v.php?u=bob&id=2"]);
    check_equal(&["v?id=1&Sig=q", "v?id=2&Sig=r"], &["v?id=1&Sig=s", "v?id=2&Sig=t"]);
    check_equal(&["?id=4", "?id=5"], &["http://b/film/index.m3u8?id=4", "http://b/film/index.m3u8?id=5"]);
}

#[test]
fn a_directory_may_move() {
    let at = |base: &str| {
        let text = b"#EXTM3U\n#EXTINF:1,\na.ts\n#EXTINF:1,\nhd/b.ts\n#EXTINF:1,\n../c.ts\n";
        let Ok(Playlist::Media(media)) = Playlist::parse(text, &url(base)) else {
            panic!("no media playlist")
        };
        let names = Names::of(&media);
        [0, 1, 2].map(|index| names.segment(index).unwrap())
    };
    assert_eq!(at("http://a/film/index.m3u8"), at("https://b:81/secret-token/77/film/index.m3u8?x=1"));
    assert_eq!(distinct(&at("http://a/film/index.m3u8")), 3);
}

#[test]
fn different_contents_differ() {
    check_distinct(&["a.ts", "b.ts", "A.ts", "a%2Ets"], 4);
    check_distinct(&["v?id=1", "v?id=2", "v?id=2&part=1", "v"], 4);
    check_distinct(&["v?1", "v?2"], 2);
    check_distinct(&["v?token=1", "v?token=2"], 2);
    check_distinct(&["v?id=1&token=1", "v?id=1&token=2"], 2);
    check_distinct(&["v?a=1&b=2", "v?b=2&a=1"], 2);
    check_distinct(&["v?a=1&a=2", "v?a=2&a=1"], 2);
    check_distinct(&["http://ads.example/1.ts", "http://film.example/1.ts"], 2);
    check_distinct(&["a.ts", "a.ts", "a.ts#x"], 1);
    let crowded = |last: &str| format!("v?{}{last}", "x&".repeat(100));
    check_distinct(&[&crowded("1"), &crowded("2"), "v"], 3);
}

#[test]
fn a_name_does_not_depend_on_the_window() {
    let check = |name: fn(u64) -> String| {
        let early: Vec<_> = (10..15).map(name).collect();
        let late: Vec<_> = (12..18).map(name).collect();
        let (early, late) = (early.iter().map(String::as_str).collect::<Vec<_>>(), late);
        let late: Vec<_> = late.iter().map(String::as_str).collect();
        assert_eq!(names(&early)[2..], names(&late)[..3], "{early:?}");
    };
    check(|n| format!("seg{n}.ts"));
    check(|n| format!("seg.php?n={n}&sig={}", n * 7));
    check(|n| format!("?n={n}&user=3"));
}

#[test]
fn byte_ranges_and_dates_are_part_of_a_name() {
    let ids = named(
        "#EXTINF:1,\n#EXT-X-BYTERANGE:5@0\nf\n#EXTINF:1,\n#EXT-X-BYTERANGE:5\nf\n#EXTINF:1,\nf\n".into(),
    );
    assert_eq!(distinct(&ids), 3);
    let dated = |hour: u32, both: bool| {
        let date = |minute| format!("#EXT-X-PROGRAM-DATE-TIME:2024-01-01T{hour:02}:{minute:02}:00Z\n");
        named(format!(
            "{}#EXTINF:1,\n0.ts\n{}#EXTINF:1,\n1.ts\n",
            date(0),
            if both { date(1) } else { String::new() }
        ))
    };
    assert_eq!(distinct(&[dated(1, true), dated(2, true)].concat()), 4, "a restarted packager");
    assert_eq!(dated(1, false), dated(2, false), "a date on some says nothing");
    assert_eq!(dated(1, false), names(&["0.ts", "1.ts"]));
}

#[test]
fn init_segments_have_names_too() {
    let media = media(VOD);
    let names = Names::of(&media);
    assert_eq!(names.map(0), names.map(4));
    let all: BTreeSet<_> =
        (0..5).flat_map(|index| [names.map(index), names.segment(index)]).flatten().collect();
    assert_eq!(all.len(), 2 + 5);
    assert_eq!((names.segment(5), names.map(5)), (None, None));
}

#[test]
fn names_never_change_between_versions() {
    let ids = names(&["a.ts", "v?id=1", "v?id=2"]);
    assert_eq!(
        ids,
        [17_711_902_019_776_773_849, 15_500_040_415_519_032_219, 149_288_734_826_502_197].map(SegmentId)
    );
}

proptest! {
    /// Names are found faster where paths rise; that must be all it does.
    #[test]
    fn the_order_of_a_playlist_names_nothing(uris in vec("[ab]{1,2}(\\?[nu]=[01](&token=[01])?)?", 1..12)) {
        let forward: Vec<&str> = uris.iter().map(String::as_str).collect();
        let backward: Vec<&str> = forward.iter().rev().copied().collect();
        let mut sorted = forward.clone();
        sorted.sort_unstable();
        let by_uri = |uris: &[&str]| uris.iter().map(|uri| (*uri).to_owned()).zip(names(uris)).collect::<BTreeMap<_, _>>();
        prop_assert_eq!(by_uri(&forward), by_uri(&backward));
        prop_assert_eq!(by_uri(&forward), by_uri(&sorted));
    }
}
