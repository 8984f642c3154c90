//! DASH manifests: read, listed load by load, and rewritten for a gateway.

use std::collections::BTreeSet;

use bytes::Bytes;
use pcdn_core::fragment::{Cut, Listing, Need, Part, Slicing};
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;
use pcdn_media::Dash;
use pcdn_media::dash::{Names, RewriteOptions, WallClock, name_of, rewrite};

use super::media::{self, Books, loads};
use crate::{Seed, Target};

/// An element of a dozen bytes becomes a representation of some hundred in the model; tables grow by doubling.
const ALLOCATION: (usize, usize) = (200, 1 << 20);
/// Indices given to one manifest at most.
const INDICES_MAX: usize = 20;

const WORDS: &[&str] = &[
    "<MPD type='dynamic' availabilityStartTime='1970-01-01T00:00:00Z'>",
    "<MPD mediaPresentationDuration='PT9S'>",
    "</MPD>",
    "<Period>",
    "<Period start='PT1S' duration='PT5S'>",
    "</Period>",
    "<AdaptationSet>",
    "</AdaptationSet>",
    "<Representation id='b' bandwidth='1'/>",
    "<BaseURL>http://x.test/</BaseURL>",
    "<BaseURL>/r/</BaseURL>",
    "<BaseURL>../</BaseURL>",
    "<SegmentTemplate media='$Number$' duration='1'/>",
    "<SegmentTemplate media='/$Time%09d$' duration='18446744073709551615'/>",
    "<SegmentTimeline><S t='0' d='1' r='-1'/></SegmentTimeline>",
    "<S d='7' r='2'/>",
    "<SegmentList duration='1'><SegmentURL media='m?n=1' mediaRange='1-2'/></SegmentList>",
    "<SegmentBase indexRange='0-100'/>",
    "<Initialization sourceURL='//y.test/i' range='0-9'/>",
    "<Location>m2.mpd</Location>",
    "<PatchLocation>p</PatchLocation>",
    "<x:y xmlns='q'/>",
    "<![CDATA[c/]]>",
    "<!-- c -->",
    "&amp;",
    "&#x2f;",
    "$$",
    "../",
    "?n=",
];

pub fn targets() -> Vec<Target> {
    let one = ["tests/fuzz/corpus/dash", "pcdn-media/tests/data/dash"];
    let several = [&one[..], &["tests/fuzz/corpus/dash-reloads"]].concat();
    vec![
        Target { words: WORDS, ..Target::of("dash list", Seed::files(&several), list, ALLOCATION) },
        Target { words: WORDS, ..Target::of("dash rewrite", Seed::files(&one), rewritten, ALLOCATION) },
    ]
}

/// By HTTP as the gateway, for `http:x` is relative where schemes are the same, and no URL where not.
fn home() -> Url {
    "http://cdn.test:8443/film/one/all.mpd?who=me".parse().expect("a URL")
}

/// Every minute of a clock in the year 1970 has segments of a live manifest with the shortest words.
const CLOCK: WallClock = WallClock { at: Time::ZERO, unix_ms: 1_767_225_600_000 };

/// Loads a manifest again and again, as a node does that follows it.
fn list(input: &[u8]) -> bool {
    let mut taken = false;
    for dash in [Dash::default(), Dash::with_clock(CLOCK)] {
        taken |= list_by(&dash, input);
    }
    taken
}

fn list_by(dash: &Dash, input: &[u8]) -> bool {
    let url = home();
    let mut slicing = media::open(dash, &url);
    let mut books = Books::default();
    for load in loads(input, b"<?xml") {
        let plain = Names::of_document(&load, &url).is_ok_and(|names| names.kept().next().is_none());
        for again in [false, true] {
            if slicing.supply(Time::ZERO, Part::Document(url.clone(), load.clone())).is_err() {
                return false;
            }
            let mut changes = 0;
            let mut look = |cut: &Cut| {
                changes += usize::from(matches!(cut, Cut::Listed(_) | Cut::Retired(_)));
                if let (Cut::Listed(one), true) = (cut, plain) {
                    assert_eq!(
                        one.id,
                        name_of(&one.url, &url, one.range),
                        "{} must have its plain name",
                        one.url
                    );
                }
            };
            if !drain(&mut *slicing, &mut books, &mut look) {
                return true;
            }
            assert!(!again || changes == 0, "the same load again must change nothing");
        }
    }
    true
}

/// Takes all that is cut, and gives it the index it needs. Whether that was all.
fn drain(slicing: &mut dyn Slicing, books: &mut Books, mut each: impl FnMut(&Cut)) -> bool {
    for _ in 0..INDICES_MAX {
        if !books.drain(slicing, &mut each) {
            return false;
        }
        let Need::Range { url, range } = slicing.need() else { return true };
        let part = Part::Range(url, range, Bytes::from_static(INDEX));
        slicing.supply(Time::ZERO, part).expect("an index is taken");
    }
    false
}

/// Headers and an index of two segments.
const INDEX: &[u8] = b"\0\0\0\x08moov\0\0\0\x38sidx\0\0\0\0\0\0\0\x01\0\0\x03\xe8\0\0\0\0\0\0\0\0\0\0\0\x02\
    \0\0\0\x64\0\0\x07\xd0\x90\0\0\0\0\0\0\x64\0\0\x07\xd0\x90\0\0\0";

fn rewritten(input: &[u8]) -> bool {
    let url = home();
    let mut taken = false;
    for (moved, live_start) in [(false, None), (true, None), (false, Some(3))] {
        let options = RewriteOptions { moved, live_start };
        let Ok(out) = rewrite(input, &url, &mut media::mirrored, &options) else { continue };
        taken = true;
        let shown = || String::from_utf8_lossy(&out).into_owned();
        // A manifest that was moved is where the player believes once it is rewritten.
        let again = RewriteOptions { moved: false, live_start };
        let again = rewrite(&out, &media::mirror(&url), &mut media::mirrored, &again);
        let again = again.map(|again| String::from_utf8_lossy(&again).into_owned());
        assert_eq!(
            again.map_err(|error| error.to_string()),
            Ok(shown()),
            "a rewritten manifest must stay as it is"
        );
        let (before, after) = (listings(input, &url), listings(&out, &media::mirror(&url)));
        assert_eq!(before.is_some(), after.is_some(), "what was a manifest must stay one: {}", shown());
        let (Some(before), Some(after)) = (before, after) else { continue };
        // The origin's hosts do not count in names, so two of its URLs may be one segment and two at the gateway.
        let there: BTreeSet<_> = after.iter().map(|one| (one.url.as_str(), one.range, one.start)).collect();
        let all = after.len() == media::CUTS_MAX || has_template_for_host(&shown());
        // A reference to nothing leads to the manifest itself, which is no segment and may lie elsewhere now.
        for one in before.iter().filter(|one| !all && one.url != url) {
            let led = media::mirrored(&one.url);
            assert!(
                there.contains(&(led.as_str(), one.range, one.start)),
                "{led} must be listed: {}",
                shown()
            );
        }
        for one in after.iter().filter(|_| !all) {
            let through = !matches!(one.url.scheme(), "http" | "https") || media::mirror(&one.url) == one.url;
            assert!(through, "{} must lead through the gateway: {}", one.url, shown());
        }
    }
    taken
}

/// Whether a host is a template, which is left alone.
fn has_template_for_host(text: &str) -> bool {
    let hosts = text.split("//").skip(1).filter_map(|after| after.split(['/', '"', '\'']).next());
    hosts.into_iter().any(|host| host.contains('$'))
}

/// What a manifest lists at once; `None` if it is none.
fn listings(text: &[u8], url: &Url) -> Option<Vec<Listing>> {
    let mut slicing = media::open(&Dash::with_clock(CLOCK), url);
    slicing.supply(Time::ZERO, Part::Document(url.clone(), Bytes::copy_from_slice(text))).ok()?;
    let mut listings = Vec::new();
    drain(&mut *slicing, &mut Books::default(), |cut| {
        if let Cut::Listed(one) = cut {
            listings.push(one.clone());
        }
    });
    Some(listings)
}
