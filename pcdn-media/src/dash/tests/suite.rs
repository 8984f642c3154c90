//! The contract every fragmenter keeps, on samples of each kind; indices inside files; the probe.

use pcdn_core::conformance::fragmenter::{self as suite, Sample};
use pcdn_core::fragment::Fit;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, ResourceHint};

use super::*;
use crate::isobmff::make::{boxed, sidx};

const FILM: &str = include_str!("../../../tests/data/dash/film.mpd");
const LIVE: &str = include_str!("../../../tests/data/dash/live.mpd");
const ON_DEMAND: &str = include_str!("../../../tests/data/dash/on-demand.mpd");

fn sample(text: &str, files: Vec<(Url, Bytes)>) -> Sample {
    let mut documents = vec![(url(HOME), Bytes::copy_from_slice(text.as_bytes()))];
    documents.extend(files);
    Sample {
        resource: resource(HOME),
        head: ResourceHead { content_type: Some("application/dash+xml".into()), ..ResourceHead::default() },
        documents,
        body: Bytes::new(),
        tiles: false,
    }
}

fn on_demand_files() -> Vec<(Url, Bytes)> {
    let video = [
        boxed(b"ftyp", b"iso6"),
        boxed(b"moov", &[0; 680]),
        sidx(0, 0, &[(false, 9000, 4000), (false, 8000, 4000)]),
    ];
    let audio = [boxed(b"ftyp", b"iso6"), boxed(b"moov", &[0; 40]), sidx(0, 0, &[(false, 500, 8000)])];
    vec![
        (url("https://cdn.test/a/v.mp4"), Bytes::from(video.concat())),
        (url("https://cdn.test/a/a.mp4"), Bytes::from(audio.concat())),
    ]
}

#[test]
fn it_keeps_the_contract() {
    suite::fragmenter(Dash::default, &sample(FILM, Vec::new()));
    suite::fragmenter(Dash::default, &sample(ON_DEMAND, on_demand_files()));
}

#[test]
fn a_film_lists_all_its_representations() {
    let cuts = suite::run(&Dash::default(), &resource(HOME), &sample(FILM, Vec::new()), 1);
    let listed = shorts(&cuts);
    assert_eq!(listed.len(), 2 * (1 + 3) + (1 + 4) + 1);
    assert_eq!(
        listed[..3],
        ["video/720p/init.mp4 init", "video/720p/00001.m4s=0+4000", "video/720p/00002.m4s=4000+4000"]
    );
    assert_eq!(listed.last().unwrap(), "subtitles/de.vtt");
}

#[test]
fn indices_are_asked_for_and_listed() {
    let cuts = suite::run(&Dash::default(), &resource(HOME), &sample(ON_DEMAND, on_demand_files()), 1);
    assert_eq!(
        shorts(&cuts),
        [
            "v.mp4@0-700 init",
            "v.mp4@764-9764=0+4000",
            "v.mp4@9764-17764=4000+4000",
            "a.mp4@0-60 init",
            "a.mp4@112-612=0+8000",
        ]
    );
    let mut slicing = open(Dash::default());
    assert_eq!(
        give(&mut *slicing, Time::ZERO, ON_DEMAND).unwrap().len(),
        2 + 1,
        "renditions, and headers the manifest names"
    );
    let range = ByteRange::new(700, 764).unwrap();
    assert_eq!(slicing.need(), Need::Range { url: url("https://cdn.test/a/v.mp4"), range });
    let wrong = ByteRange::new(0, 1).unwrap();
    slicing.supply(Time::ZERO, Part::Range(url("https://cdn.test/a/v.mp4"), wrong, Bytes::new())).unwrap();
    assert_eq!(drain(&mut *slicing), [], "what was not asked for is passed over");
    slicing.supply(Time::ZERO, Part::Range(url("https://cdn.test/a/v.mp4"), range, Bytes::new())).unwrap();
    assert_eq!(shorts(&drain(&mut *slicing)), ["v.mp4"], "without an index the file is one segment");
}

#[test]
fn a_live_sample_begins_and_goes_on() {
    let mut slicing = open(Dash::default());
    let listed = shorts(&give(&mut *slicing, Time::ZERO, LIVE).unwrap());
    assert_eq!(listed.len(), 1 + 4);
    assert_eq!(listed[1], "live/v1/t-81000000.m4s=900000+2000");
    assert!(document_need(&*slicing).is_some());
}

#[test]
fn it_knows_its_kind_and_its_rule_stays() {
    let fit = |url: &str| {
        Dash::default().fit(&ResourceHint {
            url: super::url(url),
            content_type: None,
            first_bytes: Vec::new(),
        })
    };
    assert_eq!(
        (fit("http://a/x.mpd"), fit("http://a/x.m3u8"), fit("http://a/")),
        (Fit::Sure, Fit::No, Fit::No)
    );
    let clock = crate::dash::WallClock { at: Time::ZERO, unix_ms: 1 };
    assert_eq!(Dash::default().rule(), Dash::with_clock(clock).rule());
    assert_eq!(Dash::default().rule(), pcdn_core::id::RuleId::of("dash", 1, "piece=14"));
}
