//! Every way to address segments, with what is inherited, and the traps.

use pcdn_core::fragment::FragmentError;

use super::*;
use crate::dash::{Mpd, name_of};

fn check(text: &str, want: &[&str]) {
    assert_eq!(shorts(&cuts(text)), want, "{text}");
}

#[test]
fn templates_by_number() {
    check(
        &film(
            r#"<SegmentTemplate timescale="10" duration="30" startNumber="5" media="$RepresentationID$/$Number%03d$.m4s" initialization="$RepresentationID$/i.mp4"/><Representation id="v"/>"#,
        ),
        &["v/i.mp4 init", "v/005.m4s=0+3000", "v/006.m4s=3000+3000", "v/007.m4s=6000+3000"],
    );
    check(
        &film(
            r#"<SegmentTemplate duration="4" endNumber="1" media="$Number$-$Time$"/><Representation id="v"/>"#,
        ),
        &["1-0=0+4000"],
    );
    check(
        r#"<MPD><Period><AdaptationSet><Representation><SegmentTemplate duration="4" endNumber="2" media="$Number$"/></Representation></AdaptationSet></Period></MPD>"#,
        &["1=0+4000", "2=4000+4000"],
    );
    check(&film(r#"<SegmentTemplate media="all.m4s"/><Representation id="v"/>"#), &["all.m4s"]);
}

#[test]
fn templates_by_timeline() {
    check(
        &film(
            r#"<Representation id="v" bandwidth="9"><SegmentTemplate timescale="2" media="$Bandwidth$-$Time$-$Number$"><SegmentTimeline><S t="0" d="4" r="1"/><S d="2"/><S t="12" d="4"/></SegmentTimeline></SegmentTemplate></Representation>"#,
        ),
        &["9-0-1=0+2000", "9-4-2=2000+2000", "9-8-3=4000+1000", "9-12-4=6000+2000"],
    );
}

#[test]
fn a_run_without_end_reaches_to_the_next_entry_or_the_end_of_the_period() {
    check(
        &film(
            r#"<SegmentTemplate media="$Time$"><SegmentTimeline><S t="0" d="2" r="-1"/><S t="5" d="3"/></SegmentTimeline></SegmentTemplate><Representation id="v"/>"#,
        ),
        &["0=0+2000", "2=2000+2000", "4=4000+2000", "5=5000+3000"],
    );
    // The media begin at 100 s: without subtracting that there would be one segment too many, or too few.
    check(
        &film(
            r#"<SegmentTemplate presentationTimeOffset="100" media="$Time$"><SegmentTimeline><S t="100" d="1" r="-1"/></SegmentTimeline></SegmentTemplate><Representation id="v"/>"#,
        ),
        &[
            "100=0+1000",
            "101=1000+1000",
            "102=2000+1000",
            "103=3000+1000",
            "104=4000+1000",
            "105=5000+1000",
            "106=6000+1000",
            "107=7000+1000",
        ],
    );
}

#[test]
fn a_duration_that_promises_more_than_exists_lists_what_it_promises() {
    // 8 s of 0.75 s segments: 10.67 of them. Whoever asks for the last may be told there is none.
    let text =
        film(r#"<SegmentTemplate timescale="100" duration="75" media="$Number$"/><Representation id="v"/>"#);
    assert_eq!(listings(&cuts(&text)).len(), 11);
}

#[test]
fn lists() {
    check(
        &film(
            r#"<SegmentList duration="4"><Initialization sourceURL="i.mp4" range="0-9"/><SegmentURL media="1.ts"/><SegmentURL media="2.ts"/></SegmentList><Representation id="v"/>"#,
        ),
        &["i.mp4@0-10 init", "1.ts=0+4000", "2.ts=4000+4000"],
    );
    check(
        &film(
            r#"<Representation id="v"><BaseURL>v.mp4</BaseURL><SegmentList duration="4"><Initialization range="0-9"/><SegmentURL mediaRange="10-19"/><SegmentURL mediaRange="20-29"/></SegmentList></Representation>"#,
        ),
        &["v.mp4@0-10 init", "v.mp4@10-20=0+4000", "v.mp4@20-30=4000+4000"],
    );
    check(
        &film(
            r#"<Representation id="v"><SegmentList><SegmentTimeline><S t="0" d="3"/><S d="5"/></SegmentTimeline><SegmentURL media="a"/><SegmentURL media="b"/></SegmentList></Representation>"#,
        ),
        &["a=0+3000", "b=3000+5000"],
    );
}

#[test]
fn single_files() {
    check(&film(r#"<Representation id="s"><BaseURL>de.vtt</BaseURL></Representation>"#), &["de.vtt"]);
    check(&film(r#"<Representation id="s"/>"#), &[]);
}

#[test]
fn base_urls_of_all_levels_count_and_the_first_of_each() {
    check(
        r#"<MPD mediaPresentationDuration="PT1S"><BaseURL>https://b.test/x/</BaseURL><BaseURL>https://c.test/</BaseURL>
        <Period><BaseURL> p/ </BaseURL><AdaptationSet><BaseURL>../s&amp;t/</BaseURL>
        <Representation id="v"><BaseURL><![CDATA[r/]]></BaseURL><SegmentTemplate duration="1" media="$Number$?a&#61;b"/></Representation>
        <Representation id="w"><BaseURL>/root/</BaseURL><SegmentTemplate duration="1" media="$Number$"/></Representation>
        <Representation id="x"><BaseURL>file:///etc/</BaseURL><SegmentTemplate duration="1" media="passwd"/></Representation>
        </AdaptationSet></Period></MPD>"#,
        &["https://b.test/x/s&t/r/1?a=b=0+1000", "https://b.test/root/1=0+1000"],
    );
}

#[test]
fn addressing_is_inherited_attribute_by_attribute_within_its_way() {
    check(
        r#"<MPD mediaPresentationDuration="PT4S"><Period><SegmentTemplate timescale="2" duration="4" media="p$Number$" initialization="i"/>
        <AdaptationSet><SegmentTemplate media="s$Number$"/>
        <Representation id="a"/><Representation id="b"><SegmentTemplate startNumber="7"/></Representation>
        <Representation id="c"><SegmentList duration="4"><SegmentURL media="c1"/></SegmentList></Representation>
        </AdaptationSet></Period></MPD>"#,
        &["i init", "s1=0+2000", "s2=2000+2000", "i init", "s7=0+2000", "s8=2000+2000", "c1=0+4000"],
    );
}

#[test]
fn periods_follow_each_other_and_one_id_in_two_of_them_is_one_rendition() {
    let text = r#"<MPD mediaPresentationDuration="PT10S">
        <Period duration="PT4S"><BaseURL>one/</BaseURL><AdaptationSet><SegmentTemplate duration="4" media="$Number$"/><Representation id="v"/></AdaptationSet></Period>
        <Period><BaseURL>two/</BaseURL><AdaptationSet><SegmentTemplate duration="4" media="$Number$"/><Representation id="v"/><Representation id="w"/></AdaptationSet></Period>
        <Period xlink:href="https://ads.test/p" start="PT8S"/></MPD>"#;
    let cuts = cuts(text);
    assert_eq!(
        shorts(&cuts),
        ["one/1=0+4000", "two/1=4000+4000 break", "w"].map(|it| if it == "w" {
            "two/1=4000+4000 break"
        } else {
            it
        })
    );
    let names: Vec<_> = cuts
        .iter()
        .filter_map(
            |cut| if let Cut::Rendition(it) = cut { Some((it.index, it.name.as_str())) } else { None },
        )
        .collect();
    assert_eq!(names, [(0, "v"), (1, "w")]);
    let ids = listings(&cuts);
    assert_eq!(ids.iter().map(|it| it.rendition).collect::<Vec<_>>(), [0, 0, 1]);
    assert_ne!(ids[0].id, ids[1].id, "one representation id in two periods is not one content");
    assert_eq!(cuts.last(), Some(&Cut::End));
    assert_eq!(Mpd::parse(text.as_bytes()).unwrap().notes.len(), 1);
}

#[test]
fn starts_and_durations_of_periods_have_defaults() {
    let spans = |inside: &str| {
        let text = format!("<MPD mediaPresentationDuration=\"PT10S\">{inside}</MPD>");
        let spans = Mpd::parse(text.as_bytes()).unwrap().spans();
        spans
            .iter()
            .map(|it| (it.start.map(|at| at.as_secs()), it.duration.map(|at| at.as_secs())))
            .collect::<Vec<_>>()
    };
    assert_eq!(spans(r#"<Period/>"#), [(Some(0), Some(10))]);
    assert_eq!(spans(r#"<Period/><Period start="PT4S"/>"#), [(Some(0), Some(4)), (Some(4), Some(6))]);
    assert_eq!(spans(r#"<Period duration="PT3S"/><Period/>"#), [(Some(0), Some(3)), (Some(3), Some(7))]);
    assert_eq!(spans(r#"<Period/><Period/>"#), [(Some(0), None), (None, None)]);
    assert_eq!(spans(r#"<Period duration="PT30S"/>"#), [(Some(0), Some(10))]);
    assert_eq!(Mpd::parse(br#"<MPD type="dynamic"><Period/></MPD>"#).unwrap().spans()[0].start, None);
}

#[test]
fn renditions_say_what_they_are() {
    let text = film(
        r#"<Representation id="v" bandwidth="800000" codecs="avc1.64001f" width="1280" height="720"><BaseURL>v</BaseURL></Representation>"#,
    );
    let Cut::Rendition(it) = &cuts(&text)[0] else { panic!("a rendition comes first") };
    assert_eq!(
        (it.bandwidth, it.codecs.as_deref(), it.resolution),
        (Some(800_000), Some("avc1.64001f"), Some((1280, 720)))
    );
    let text = text
        .replace("<AdaptationSet>", r#"<AdaptationSet codecs="x" width="1" height="2">"#)
        .replace("codecs=\"avc1.64001f\" width=\"1280\"", "");
    let Cut::Rendition(it) = &cuts(&text)[0] else { panic!("a rendition comes first") };
    assert_eq!((it.codecs.as_deref(), it.resolution), (Some("x"), Some((1, 720))));
}

#[test]
fn hosts_tokens_and_join_times_do_not_name() {
    let text = |query: &str| {
        film(&format!(
            r#"<SegmentTemplate duration="4" media="$Number$.m4s?token={query}"/><Representation id="v"/>"#
        ))
    };
    let one = listings(&cuts(&text("a")));
    let mut other = Dash::default().open(&resource("http://mirror.test:81/a/m.mpd")).unwrap();
    other
        .supply(Time::ZERO, Part::Document(url("http://mirror.test:81/a/m.mpd"), Bytes::from(text("b"))))
        .unwrap();
    let two = listings(&drain(&mut *other));
    assert_eq!(
        one.iter().map(|it| it.id).collect::<Vec<_>>(),
        two.iter().map(|it| it.id).collect::<Vec<_>>()
    );
    assert_eq!(one[0].id, name_of(&url("https://any.test/a/1.m4s"), &url(HOME), None));
}

#[test]
fn queries_that_tell_segments_apart_name_them() {
    let text = film(
        r#"<SegmentTemplate duration="4" media="s?n=$Number$&amp;token=x&amp;u=1"/><Representation id="v"/>"#,
    );
    let ids: Vec<_> = listings(&cuts(&text)).iter().map(|it| it.id).collect();
    assert_ne!(ids[0], ids[1]);
    let names = crate::dash::Names::of_document(text.as_bytes(), &url(HOME)).unwrap();
    assert_eq!(names.kept().collect::<Vec<_>>(), ["n"]);
    assert_eq!(ids[1], names.name_of(&url("http://b.test/a/s?u=2&token=y&n=2"), None));
}

#[test]
fn prefixes_and_foreign_namespaces_are_told_apart() {
    check(
        r#"<m:MPD xmlns:m="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT1S"><m:Period><BaseURL>no/</BaseURL>
        <m:AdaptationSet><x xmlns:m="urn:x"><m:BaseURL>no/</m:BaseURL></x><m:BaseURL xmlns:m="urn:y">no/</m:BaseURL>
        <m:BaseURL>yes/</m:BaseURL><m:Representation id="v"><m:SegmentTemplate media="s"/></m:Representation></m:AdaptationSet></m:Period></m:MPD>"#,
        &["yes/s"],
    );
}

#[test]
fn what_is_no_manifest_is_refused_with_its_place() {
    let fault = |text: &str| match Mpd::parse(text.as_bytes()) {
        Err(FragmentError::Malformed { kind: "dash", what, at }) => (what, at),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(fault("<html/>"), ("no MPD".into(), 0));
    assert_eq!(fault("").0, "ends too early");
    assert_eq!(fault("<MPD><Period>").0, "ends too early");
    assert_eq!(fault("<MPD/><MPD/>"), ("no MPD".into(), 6));
    assert_eq!(fault(r#"<MPD mediaPresentationDuration="8"/>"#).0, r#"mediaPresentationDuration is "8""#);
    assert_eq!(
        fault(&film("<SegmentTemplate><SegmentTimeline><S t='0'/></SegmentTimeline></SegmentTemplate>")).0,
        "an S without @d"
    );
    assert_eq!(fault(&film("<SegmentTemplate timescale='0'/>")).0, r#"timescale is "0""#);
    assert_eq!(fault("<MPD type></MPD>").0, "an attribute without a value");
    assert_eq!(fault("<MPD><BaseURL>&bomb;</BaseURL></MPD>"), ("an unknown entity".into(), 14));
    assert_eq!(fault("\u{feff}<MPD><BaseURL>&bomb;</BaseURL></MPD>").1, 17);
    assert!(Mpd::parse(b"<MPD>\xff</MPD>").is_err());
    let bomb = "<!DOCTYPE MPD [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><MPD><BaseURL>&b;</BaseURL></MPD>";
    assert_eq!(fault(bomb).0, "an unknown entity");
}

#[test]
fn bounds_hold() {
    let much = |text: String| match give(&mut *open(Dash::default()), Time::ZERO, &text) {
        Err(FragmentError::TooMuch { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(much(" ".repeat((16 << 20) + 1)), "bytes");
    assert_eq!(much(format!("<MPD>{}", "<a>".repeat(64))), "levels");
    assert_eq!(much(format!("<MPD>{}</MPD>", "<Period/>".repeat(1001))), "periods");
    assert_eq!(much(film(&"<Representation/>".repeat(10_000))), "adaptation sets and representations");
    assert_eq!(much(film(&format!("<Representation id='{}'/>", "x".repeat(9000)))), "bytes of a value");
    for run in ["<S d='1' r='500000'/>", "<S d='9223372036854775807' r='9223372036854775807'/>"] {
        let line = format!(
            "<SegmentTemplate timescale='1000000' media='$Time$'><SegmentTimeline>{run}</SegmentTimeline></SegmentTemplate><Representation id='v'/>"
        );
        assert_eq!(much(film(&line)), "segments", "{run}");
    }
    // One timeline for many: they share it in memory, and it counts for each.
    let line = "<SegmentTemplate media='$Time$'><SegmentTimeline><S d='1' r='2000'/></SegmentTimeline></SegmentTemplate>";
    assert_eq!(much(film(&format!("{line}{}", "<Representation/>".repeat(300)))), "segments");
    let forever = r#"<MPD mediaPresentationDuration="P99999999Y"><Period><AdaptationSet><SegmentTemplate timescale="4294967295" duration="1" media="$Number$"/><Representation id="v"/></AdaptationSet></Period></MPD>"#;
    assert_eq!(much(forever.into()), "segments");
}

/// Without a base URL a reference that names no file means the manifest. Fuzzing found it listed as media, and lost when a
/// gateway gave a moved manifest its base.
#[test]
fn a_manifest_is_no_segment_of_itself() {
    for inside in [
        "<Representation id='v'/>",
        "<SegmentBase/><Representation id='v'/>",
        "<SegmentBase><Initialization range='0-9'/></SegmentBase><Representation id='v'/>",
        "<SegmentList duration='4'><Initialization range='0-9'/><SegmentURL mediaRange='10-19'/></SegmentList><Representation id='v'/>",
    ] {
        let text = film(&format!("{inside}<Representation id='w'><BaseURL>w.mp4</BaseURL></Representation>"));
        let all = shorts(&cuts(&text));
        assert!(all.iter().all(|it| it.starts_with("w.mp4")), "{inside}: {all:?}");
    }
}
