//! HLS playlists: read, listed load by load, and rewritten for a gateway.

use pcdn_core::fragment::{Cut, Part};
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;
use pcdn_media::Hls;
use pcdn_media::hls::name::Names;
use pcdn_media::hls::{Media, Playlist, RewriteOptions, rewrite};

use super::media::{self, Books, loads};
use crate::{Seed, Target};

/// A segment of a dozen bytes becomes one of 250 in the model, and its URL grows by the playlist's.
const ALLOCATION: (usize, usize) = (100, 64 << 10);

const WORDS: &[&str] = &[
    "#EXTM3U\n",
    "#EXTINF:4,\ns.ts\n",
    "#EXT-X-BYTERANGE:7\n",
    "#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n",
    "#EXT-X-DISCONTINUITY\n",
    "#EXT-X-GAP\n",
    "#EXT-X-ENDLIST\n",
    "#EXT-X-PROGRAM-DATE-TIME:2026-03-01T00:00:00Z\n",
    "#EXT-X-DEFINE:NAME=\"a\",VALUE=\"{\"\n",
    "#EXT-X-DEFINE:NAME=\"b\",VALUE=\"{$a}$b}\"\n",
    "{$a}",
    "{$b}",
    "#EXT-X-MAP:URI=\"i.mp4\"\n",
    "#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n",
    "#EXT-X-PART:DURATION=1,URI=\"p.ts\"\n",
    "#EXT-X-SKIP:SKIPPED-SEGMENTS=3\n",
    "#EXT-X-SERVER-CONTROL:CAN-SKIP-UNTIL=1,HOLD-BACK=3\n",
    "#EXT-X-STREAM-INF:BANDWIDTH=1\n",
    "http://other.test/",
    "//",
    "../",
    "data:,",
    "\"",
    "\r",
];

pub fn targets() -> Vec<Target> {
    let seeds = || Seed::files(&["tests/fuzz/corpus/hls", "pcdn-media/tests/data/hls"]);
    vec![
        Target { words: WORDS, ..Target::of("hls list", seeds(), list, ALLOCATION) },
        Target { words: WORDS, ..Target::of("hls rewrite", seeds(), rewritten, ALLOCATION) },
    ]
}

/// By HTTP as the gateway, for `http:x` is relative where schemes are the same, and no URL where not.
fn home() -> Url {
    "http://cdn.test:8443/film/one/index.m3u8?who=me&x=1".parse().expect("a URL")
}

/// Loads a playlist again and again, as a node does that follows it.
fn list(input: &[u8]) -> bool {
    let url = home();
    let mut slicing = media::open(&Hls, &url);
    let mut books = Books::default();
    for load in loads(input, b"#EXTM3U") {
        if let Ok(Playlist::Media(media)) = Playlist::parse(&load, &url) {
            names(&media);
        }
        let mut changed = false;
        for _ in 0..2 {
            if slicing.supply(Time::ZERO, Part::Document(url.clone(), load.clone())).is_err() {
                return false;
            }
            let mut changes = 0;
            let all = books.drain(&mut *slicing, |cut| {
                changes += usize::from(matches!(cut, Cut::Listed(_) | Cut::Retired(_)));
            });
            // What changed nothing at first may be of an edge that lags, and is believed when it is told again and again.
            assert!(!changed || changes == 0, "what was taken must change nothing when it comes again");
            changed = changes > 0;
            if !all {
                return true;
            }
        }
    }
    true
}

fn names(media: &Media) {
    let names = Names::of(media);
    for (index, segment) in media.segments.iter().enumerate() {
        assert!(names.segment(index).is_some(), "every segment must have a name");
        assert_eq!(names.map(index).is_some(), segment.map.is_some(), "so must every map");
    }
}

fn rewritten(input: &[u8]) -> bool {
    let url = home();
    let before = Playlist::parse(input, &url);
    let mut taken = false;
    for (keys_through_gateway, live_start) in [(true, None), (false, None), (true, Some(1)), (true, Some(5))]
    {
        let options = RewriteOptions { keys_through_gateway, live_start, ..RewriteOptions::default() };
        let Ok(out) = rewrite(input, &url, &mut media::mirrored, &options) else { continue };
        taken = true;
        // What was held back once would be held back again.
        if live_start != Some(5) {
            let again = rewrite(&out, &media::mirror(&url), &mut media::mirrored, &options);
            let again = again.map(|again| text(&again)).map_err(|error| error.to_string());
            assert_eq!(again, Ok(text(&out)), "a rewritten playlist must stay as it is");
        }
        let after = Playlist::parse(&out, &media::mirror(&url));
        match (&before, &after) {
            (Ok(Playlist::Media(before)), Ok(Playlist::Media(after))) if live_start != Some(5) => {
                same_segments(before, after);
            }
            (Ok(_), after) => {
                assert!(after.is_ok(), "what was a playlist must stay one: {after:?} {}", text(&out))
            }
            (Err(_), _) => {}
        }
    }
    taken
}

fn same_segments(before: &Media, after: &Media) {
    assert_eq!(before.segments.len(), after.segments.len(), "no segment may come or go");
    for (before, after) in before.segments.iter().zip(&after.segments) {
        assert_eq!(media::mirror(&before.url), after.url, "a segment must lead through the gateway");
        assert_eq!((before.range, before.duration), (after.range, after.duration));
        let maps = [before, after].map(|one| one.map.as_ref());
        if let [Some(before), Some(after)] = maps {
            assert_eq!((media::mirror(&before.url), before.range), (after.url.clone(), after.range));
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
