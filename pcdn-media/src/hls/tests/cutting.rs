use pcdn_core::conformance::fragmenter::{Sample, fragmenter};
use pcdn_core::fragment::{Cut, Listing, Need, Part, Rendition, Seek};
use pcdn_core::id::Rid;
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{Resource, ResourceHead};
use pcdn_core::unit::Time;

use super::*;

fn resource() -> Resource {
    Resource { url: base(), rid: Rid([0; 32]), head: None }
}

/// A node that follows one playlist.
struct Node {
    slicing: Box<dyn Slicing>,
    now: Time,
}

impl Node {
    fn new() -> Self {
        Self { slicing: Hls.open(&resource()).unwrap(), now: Time::ZERO }
    }

    fn load(&mut self, text: impl Into<Bytes>) -> Vec<Cut> {
        self.slicing.supply(self.now, Part::Document(base(), text.into())).unwrap();
        std::iter::from_fn(|| self.slicing.cut()).collect()
    }

    /// Names of what is listed, `-` before what is retired, `!` after a break.
    fn see(&mut self, text: impl Into<Bytes>) -> String {
        let words = self.load(text).into_iter().map(|cut| match cut {
            Cut::Listed(listing) => {
                let name = listing.url.path().rsplit('/').next().unwrap().to_owned();
                format!("{name}{}", if listing.discontinuity { "!" } else { "" })
            }
            Cut::Retired(_) => "-".to_owned(),
            Cut::End => "end".to_owned(),
            other => panic!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// Milliseconds until the next load.
    fn wait(&self) -> u128 {
        let Need::Document { at, url } = self.slicing.need() else { panic!("it needs nothing") };
        assert_eq!(url, base());
        at.since(self.now).as_millis()
    }
}

fn listings(cuts: &[Cut]) -> Vec<&Listing> {
    cuts.iter().filter_map(|cut| if let Cut::Listed(listing) = cut { Some(listing) } else { None }).collect()
}

#[test]
fn the_contract_holds() {
    for text in [MASTER, VOD, ODD, b"#EXTM3U\n#EXT-X-ENDLIST\n"] {
        let sample = Sample {
            resource: resource(),
            head: ResourceHead::default(),
            documents: vec![(base(), Bytes::from_static(text))],
            body: Bytes::from_static(text),
            tiles: false,
        };
        fragmenter(|| Hls, &sample);
    }
}

#[test]
fn a_master_playlist_offers_each_rendition_once() {
    let mut node = Node::new();
    let cuts = node.load(MASTER);
    let offers = cuts
        .iter()
        .filter_map(|cut| if let Cut::Rendition(rendition) = cut { Some(rendition) } else { None });
    let offers: Vec<&Rendition> = offers.collect();
    let names: Vec<_> = offers.iter().map(|offer| (offer.index, offer.name.as_str())).collect();
    assert_eq!(names, [(0, "720p"), (1, "1080p"), (2, "audio English"), (3, "subtitles Deutsch, kurz")]);
    assert_eq!((offers[0].bandwidth, offers[0].resolution), (Some(1_280_000), Some((1280, 720))));
    assert_eq!(cuts.last(), Some(&Cut::End));
    assert_eq!(node.slicing.need(), Need::Nothing);
}

#[test]
fn a_film_lists_init_segments_before_their_users_and_no_gaps() {
    let mut node = Node::new();
    let cuts = node.load(VOD);
    let seen: Vec<_> = listings(&cuts)
        .iter()
        .map(|one| (one.url.path(), one.init, one.start.map(|start| start.as_millis()), one.discontinuity))
        .collect();
    let want = [
        ("/film/film.mp4", true, None, false),
        ("/film/film.mp4", false, Some(0), false),
        ("/film/film.mp4", false, Some(6_006), false),
        ("/film/ad/init.mp4", true, None, false),
        ("/film/ad/1.m4s", false, Some(12_012), true),
        ("/film/film.mp4", false, Some(20_012), true),
    ];
    assert_eq!(seen, want);
    let id = |index: usize| Some(listings(&cuts)[index].id);
    let at = |seconds| node.slicing.locate(&Seek::Media(secs(seconds)));
    assert_eq!((at(0.0), at(6.1), at(12.5), at(23.5)), (id(1), id(2), id(4), id(5)));
    assert_eq!((at(17.0), at(23.6)), (None, None), "a gap, and past the end");
    let behind = |behind| node.slicing.locate(&Seek::Live { behind });
    assert_eq!((behind(0), behind(1), behind(2), behind(99)), (None, id(5), id(4), id(1)));
}

#[test]
fn a_live_window_moves() {
    let mut node = Node::new();
    assert_eq!(node.wait(), 0);
    let name = |n| format!("{n}.ts");
    assert_eq!(node.see(live(10, 3, name)), "10.ts 11.ts 12.ts");
    assert_eq!(node.wait(), 4_000);
    node.now = Time::from_secs(4);
    assert_eq!(node.see(live(10, 3, name)), "");
    assert_eq!(node.wait(), 2_000, "nothing new: half the target duration");
    assert_eq!(node.see(live(11, 4, name)), "13.ts 14.ts -");
    assert_eq!(node.wait(), 4_000);
    assert_eq!(node.see(live(20, 2, name)), "20.ts! 21.ts - - - -", "the window was lost");
    assert_eq!(node.see(live(21, 1, name)), "-");
    assert_eq!(node.see([&live(21, 1, name)[..], b"#EXT-X-ENDLIST\n"].concat()), "end");
    assert_eq!(node.slicing.need(), Need::Nothing);
    assert_eq!(node.see(live(22, 1, name)), "", "nothing comes after the end");
}

#[test]
fn an_edge_that_lags_is_not_believed() {
    let mut node = Node::new();
    let name = |n| format!("{n}.ts");
    node.see(live(10, 4, name));
    for stale in [live(8, 4, name), live(9, 4, name), live(7, 3, name)] {
        assert_eq!(node.see(stale), "");
    }
    assert_eq!(node.see(live(11, 4, name)), "14.ts -");
    assert_eq!(node.see(live(8, 7, name)), "", "a longer window with the same end");
    for _ in 0..3 {
        assert_eq!(node.see(live(9, 4, name)), "");
    }
    assert_eq!(node.see(live(9, 4, name)), "- - - - 9.ts! 10.ts 11.ts 12.ts", "it insists");
}

#[test]
fn a_restarted_packager_is_a_break() {
    let mut node = Node::new();
    let name = |n| format!("{n}.ts");
    node.see(live(100, 3, name));
    assert_eq!(node.see(live(0, 2, name)), "- - - 0.ts! 1.ts", "numbers fall back");
    assert_eq!(node.see(live(0, 3, |n| format!("b{n}.ts"))), "- - b0.ts! b1.ts b2.ts", "other names");
}

#[test]
fn tokens_that_change_with_each_load_change_nothing() {
    let mut node = Node::new();
    node.see(live(5, 3, |n| format!("{n}.ts?token=a{n}")));
    assert_eq!(node.see(live(6, 3, |n| format!("http://edge2.example/film/{n}.ts?token=b{n}"))), "8.ts -");
}

#[test]
fn an_event_grows_and_a_loop_is_listed_once() {
    let mut node = Node::new();
    let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-PLAYLIST-TYPE:EVENT\n#EXTINF:2,\nslate.ts\n#EXTINF:2,\nslate.ts\n";
    assert_eq!(node.see(head), "slate.ts");
    let more = "#EXTINF:2,\na.ts\n#EXTINF:2,\nslate.ts\n";
    assert_eq!(node.see(format!("{head}{more}")), "a.ts");
    let slate = node.slicing.locate(&Seek::Live { behind: 1 });
    assert_eq!(node.slicing.locate(&Seek::Media(secs(0.5))), slate);
    assert_eq!(node.see(format!("{head}{more}#EXT-X-ENDLIST")), "end");
}

#[test]
fn two_nodes_that_joined_apart_list_alike() {
    let ids = |first| -> Vec<SegmentId> {
        let mut node = Node::new();
        let loads = (first..30).flat_map(|n| node.load(live(n, 5, |n| format!("v.php?n={n}&sig={}", n * 3))));
        listings(&loads.collect::<Vec<_>>()).iter().map(|listing| listing.id).collect()
    };
    let (early, late) = (ids(3), ids(17));
    assert_eq!(early[early.len() - late.len()..], late[..]);
}

#[test]
fn dates_place_segments_and_count_from_the_first_seen() {
    let dated = |first: u64, gap: u64| -> Bytes {
        let one =
            |n| format!("#EXT-X-PROGRAM-DATE-TIME:2024-01-01T00:{:02}:00Z\n#EXTINF:4,\n{n}.ts\n", n + gap);
        let segments: String = (first..first + 3).map(one).collect();
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:{first}\n{segments}").into()
    };
    let mut node = Node::new();
    let starts =
        |cuts: &[Cut]| listings(cuts).iter().map(|one| one.start.unwrap().as_secs()).collect::<Vec<_>>();
    assert_eq!(starts(&node.load(dated(5, 0))), [0, 60, 120]);
    assert_eq!(starts(&node.load(dated(6, 0))), [180]);
    assert_eq!(starts(&node.load(dated(0, 30))), [25 * 60, 26 * 60, 27 * 60], "also over a restart");
    let mut undated = Node::new();
    assert_eq!(starts(&undated.load(live(7, 2, |n| n.to_string()))), [0, 4]);
    assert_eq!(
        starts(&undated.load(live(12, 2, |n| n.to_string()))),
        [20, 24],
        "lost segments take their time"
    );
}

#[test]
fn one_bad_reload_is_forgiven_and_a_bad_start_is_not() {
    let mut node = Node::new();
    let page = || Part::Document(base(), Bytes::from_static(b"<html>"));
    assert!(node.slicing.supply(Time::ZERO, page()).is_err());
    let mut node = Node::new();
    node.see(live(1, 3, |n| n.to_string()));
    for _ in 0..3 {
        node.slicing.supply(node.now, page()).unwrap();
        assert_eq!(node.wait(), 2_000);
    }
    assert!(node.slicing.supply(node.now, page()).is_err());
    assert_eq!(node.see("#EXTM3U\n#EXT-X-SKIP:SKIPPED-SEGMENTS=9"), "", "a delta is no window");
}

/// Numbers that cannot be counted on made one place of all segments, and every load a stream set back. Found by fuzzing.
#[test]
fn the_highest_sequence_numbers_are_one_stream_too() {
    let text: Vec<u8> =
        [&live(u64::MAX - 1, 1, |_| "a.ts".into())[..], b"#EXTINF:4,\nb.ts\n#EXTINF:4,\nc.ts\n"].concat();
    let mut node = Node::new();
    assert_eq!(node.see(text.clone()), "a.ts b.ts c.ts");
    assert_eq!(node.see(text), "");
}
