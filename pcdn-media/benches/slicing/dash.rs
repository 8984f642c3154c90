//! DASH: a manifest of 20,000 segments.
//!
//! Reference: dash-mpd-core reads a manifest by serde. It neither expands timelines, nor resolves a URL, nor names a segment, nor
//! has limits. Ours is given twice: to the model, and to the list of named segments.

use std::hint::black_box;

use pcdn_core::Bytes;
use pcdn_core::resource::Url;
use pcdn_media::Dash;
use pcdn_media::dash::Mpd;

use crate::{SEGMENTS, listed, timing};

pub(crate) fn run() {
    let each = |entry: &dyn Fn(usize) -> String| (0..SEGMENTS).map(entry).collect::<String>();
    let timeline = each(&|n| format!("<S t=\"{}\" d=\"{}\"/>\n", n * 2_000, 1_999 + n % 3));
    compare(
        "timeline",
        manifest(&format!(
            "<SegmentTemplate timescale=\"1000\" initialization=\"$RepresentationID$/init.mp4\" media=\"$RepresentationID$/$Time$.m4s\">\
         <SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate>"
        )),
    );
    let urls = each(&|n| {
        format!("<SegmentURL media=\"hd/segment-{n:06}.m4s?expires=1772323200&amp;sig={:016x}\"/>\n", n * n)
    });
    compare("list of URLs", list(&urls));
    let ranges =
        each(&|n| format!("<SegmentURL mediaRange=\"{}-{}\"/>\n", n * 1_500_000, (n + 1) * 1_500_000 - 1));
    compare("list of ranges", list(&ranges));
}

fn list(urls: &str) -> Bytes {
    manifest(&format!(
        "<BaseURL>film.mp4</BaseURL><SegmentList timescale=\"1000\" duration=\"2000\">{urls}</SegmentList>"
    ))
}

fn manifest(inside: &str) -> Bytes {
    format!(
        "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT{}S\">\
         <Period><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"v1\" bandwidth=\"6000000\" codecs=\"avc1.640028\">\
         {inside}</Representation></AdaptationSet></Period></MPD>",
        SEGMENTS * 2
    )
    .into()
}

fn compare(name: &str, document: Bytes) {
    let url: Url = "https://edge7.cdn.example/live/one/index.mpd".parse().expect("a URL");
    assert!(listed(&Dash::default(), &url, &document) >= SEGMENTS);
    let text = std::str::from_utf8(&document).expect("it is text");
    assert_eq!(ours(&document), core(text), "a reference must read what we read");
    println!("dash, {SEGMENTS} segments, {name}: {} kB", document.len() / 1000);
    let [list, parse, core] = timing::best([
        &mut || listed(&Dash::default(), &url, &document),
        &mut || ours(&document),
        &mut || core(text),
    ]);
    timing::millis("list (names)", list, None);
    timing::millis("parse", parse, None);
    timing::millis("dash-mpd-core, parse", core, Some(list));
}

/// How many entries or URLs there are.
fn ours(document: &[u8]) -> usize {
    let mpd = black_box(Mpd::parse(document).expect("it is well formed"));
    let it = mpd.periods[0].sets[0].representations[0].segments.as_ref().expect("it has segments");
    it.timeline.as_ref().map_or(0, |it| it.len()) + it.urls.as_ref().map_or(0, |it| it.len())
}

fn core(text: &str) -> usize {
    let mpd = black_box(dash_mpd_core::parse(text).expect("it reads it"));
    let it = &mpd.periods[0].adaptations[0].representations[0];
    let template = it.SegmentTemplate.iter().filter_map(|it| it.SegmentTimeline.as_ref());
    let entries: usize = template.map(|it| it.segments.len()).sum();
    entries + it.SegmentList.as_ref().map_or(0, |it| it.segment_urls.len())
}
