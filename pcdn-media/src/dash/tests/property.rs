//! Bytes from outside: any of them end, and fast.

use proptest::prelude::*;

use super::*;
use crate::dash::{Mpd, RewriteOptions, WallClock, rewrite};

/// Pieces of manifests, so that random sequences of them reach deep.
const WORDS: [&str; 44] = [
    "<MPD type='dynamic' availabilityStartTime='1970-01-01T00:00:00Z'>",
    "<MPD mediaPresentationDuration='PT9S'>",
    "</MPD>",
    "<Period>",
    "<Period start='PT1S' duration='PT5S'>",
    "</Period>",
    "<AdaptationSet>",
    "</AdaptationSet>",
    "<Representation id='a' bandwidth='1'>",
    "<Representation id='b'/>",
    "</Representation>",
    "<BaseURL>",
    "</BaseURL>",
    "http://x.test/",
    "/r/",
    "&amp;",
    "&#x41;",
    "&z;",
    "<![CDATA[c/]]>",
    "<!-- c -->",
    "<?pi?>",
    "\u{feff}",
    "é",
    "<SegmentTemplate media='$Number$' duration='1' timescale='18446744073709551615'>",
    "<SegmentTemplate media='/$Time%09d$' duration='18446744073709551615'/>",
    "<SegmentTemplate presentationTimeOffset='-9223372036854775808' startNumber='18446744073709551615' media='$Number$'>",
    "</SegmentTemplate>",
    "<SegmentTimeline>",
    "</SegmentTimeline>",
    "<S t='18446744073709551615' d='18446744073709551615' r='3'/>",
    "<S t='0' d='1' r='-1'/>",
    "<S d='7' r='2'/>",
    "<SegmentList duration='1' startNumber='18446744073709551615'>",
    "</SegmentList>",
    "<SegmentURL media='m' mediaRange='1-2'/>",
    "<SegmentBase indexRange='0-100'/>",
    "<SegmentBase>",
    "</SegmentBase>",
    "<Initialization range='0-9'/>",
    "<Location>",
    "</Location>",
    "<PatchLocation>",
    "</PatchLocation>",
    "<x:y xmlns='q'/>",
];

/// Everything this module can do with some bytes.
fn all(text: &[u8]) {
    let clock = WallClock { at: Time::ZERO, unix_ms: 50_000 };
    for dash in [Dash::default(), Dash::with_clock(clock)] {
        let mut slicing = open(dash);
        if slicing.supply(Time::ZERO, Part::Document(url(HOME), Bytes::copy_from_slice(text))).is_err() {
            continue;
        }
        for _ in 0..40 {
            while slicing.cut().is_some() {}
            let Need::Range { url, range } = slicing.need() else { break };
            slicing
                .supply(Time::ZERO, Part::Range(url, range, Bytes::from_static(b"\0\0\0\x08free")))
                .unwrap();
        }
        slicing.locate(&pcdn_core::fragment::Seek::Live { behind: 2 });
    }
    for moved in [false, true] {
        let options = RewriteOptions { moved, live_start: Some(3) };
        if let Ok(new) = rewrite(text, &url(HOME), &mut |url| format!("http://gw/{}", url.path()), &options) {
            assert!(
                Mpd::parse(text).is_err() || Mpd::parse(&new).is_ok(),
                "{}",
                String::from_utf8_lossy(&new)
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        all(&bytes);
    }

    #[test]
    fn random_manifests_never_panic(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..30)) {
        all(words.concat().as_bytes());
    }

    #[test]
    fn broken_manifests_never_panic(at: prop::sample::Index, with in prop::sample::select(&WORDS[..]), cut in 0usize..40) {
        let good = include_str!("../../../tests/data/dash/film.mpd").as_bytes();
        let at = at.index(good.len());
        let end = good.len().min(at + cut);
        all(&[&good[..at], with.as_bytes(), &good[end..]].concat());
    }

    #[test]
    fn a_manifest_without_urls_that_lead_away_is_not_touched(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 0..20)) {
        let text = words.concat().replace("http://x.test/", "x/").replace("/r/", "r/").replace("'/$", "'$").replace("<PatchLocation>", "");
        if let Ok(new) = rewrite(text.as_bytes(), &url(HOME), &mut |_| panic!("nothing leads away"), &RewriteOptions::default()) {
            prop_assert_eq!(new, text.as_bytes());
        }
    }
}

/// Half a day of 2 s segments; how fast, says the bench.
#[test]
fn twenty_thousand_segments_are_all_cut() {
    let lines: String =
        (0..20_000).map(|n| format!("<S t=\"{}\" d=\"{}\"/>", n * 2000, 1999 + n % 3)).collect();
    let text = film(&format!(
        "<SegmentTemplate timescale=\"90000\" media=\"v/$Time$.m4s?token=abc\"><SegmentTimeline>{lines}</SegmentTimeline></SegmentTemplate><Representation id=\"v\"/>"
    ));
    let text = text.replace("PT8S", "PT1000S");
    let mut slicing = open(Dash::default());
    assert_eq!(give(&mut *slicing, Time::ZERO, &text).unwrap().len(), 1 + 20_000 + 1);
}

/// Inputs made to be slow: each is bounded by its own length or by a limit, or this test would not end.
#[test]
fn hostile_manifests_come_to_an_end() {
    let attributes: String = (0..50_000).map(|n| format!(" xmlns:a{n}='u'")).collect();
    all(format!("<MPD{attributes}>{}</MPD>", "<Period/>".repeat(900)).as_bytes());
    all(film(&"<BaseURL>x/</BaseURL>".repeat(40_000)).as_bytes());
    all(film(
        &"<SegmentTemplate><SegmentTimeline><S d='1'/></SegmentTimeline></SegmentTemplate>".repeat(5_000),
    )
    .as_bytes());
    all(film(&format!(
        "<SegmentTemplate media='{}'/>{}",
        "$RepresentationID$".repeat(400),
        "<Representation id='xxxxxxxxxxxxxxxxxxxx'/>".repeat(800)
    ))
    .as_bytes());
    all(film(&format!("<SegmentBase/><BaseURL>v</BaseURL>{}", "<Representation/>".repeat(2_000))).as_bytes());
}
