//! Manifests that change: what appears, what goes, when they are wanted again.

use std::time::Duration;

use pcdn_core::fragment::Seek;
use pcdn_core::layout::SegmentId;

use super::*;
use crate::dash::{WallClock, name_of};

fn ids(paths: &[&str]) -> Vec<SegmentId> {
    paths.iter().map(|path| name_of(&url(HOME).join(path).unwrap(), &url(HOME), None)).collect()
}

fn retired(cuts: &[Cut]) -> Vec<SegmentId> {
    cuts.iter().filter_map(|cut| if let Cut::Retired(id) = cut { Some(*id) } else { None }).collect()
}

fn by_timeline(attributes: &str, line: &str) -> String {
    format!(
        r#"<MPD type="dynamic" {attributes}><Period start="PT0S"><AdaptationSet><SegmentTemplate media="$Time$" initialization="i"><SegmentTimeline>{line}</SegmentTimeline></SegmentTemplate><Representation id="v"/></AdaptationSet></Period></MPD>"#
    )
}

#[test]
fn a_timeline_lists_what_is_new_and_retires_what_left_it() {
    let mut slicing = open(Dash::default());
    let first = give(&mut *slicing, Time::ZERO, &by_timeline("", "<S t='0' d='2' r='2'/>")).unwrap();
    assert_eq!(shorts(&first), ["i init", "0=0+2000", "2=2000+2000", "4=4000+2000"]);
    let same = give(&mut *slicing, Time::ZERO, &by_timeline("", "<S t='0' d='2' r='2'/>")).unwrap();
    assert_eq!(same, []);
    let next = give(&mut *slicing, Time::ZERO, &by_timeline("", "<S t='4' d='2' r='1'/>")).unwrap();
    assert_eq!(shorts(&next), ["6=6000+2000"]);
    let mut gone = ids(&["0", "2"]);
    gone.sort_unstable();
    assert_eq!(retired(&next), gone);
}

#[test]
fn the_time_shift_buffer_cuts_a_long_timeline() {
    let text = by_timeline(r#"timeShiftBufferDepth="PT4S""#, "<S t='0' d='2' r='9'/>");
    assert_eq!(shorts(&cuts(&text)), ["i init", "14=14000+2000", "16=16000+2000", "18=18000+2000"]);
}

#[test]
fn viewers_who_join_later_list_the_same_by_the_same_names() {
    let early = listings(&cuts(&by_timeline("", "<S t='0' d='2' r='5'/>")));
    let late = listings(&cuts(&by_timeline("", "<S t='6' d='2' r='5'/>")));
    let common =
        |of: &[Listing]| of.iter().filter(|it| !it.init).map(|it| (it.id, it.start)).collect::<Vec<_>>();
    assert_eq!(common(&early)[3..], common(&late)[..3]);
}

#[test]
fn a_run_without_end_reaches_to_now_if_somebody_knows_when_that_is() {
    let text = by_timeline(r#"availabilityStartTime="1970-01-01T00:00:10Z""#, "<S t='0' d='2' r='-1'/>");
    assert_eq!(shorts(&cuts(&text)), ["i init", "0=0+2000"]);
    let clock = WallClock { at: Time::ZERO, unix_ms: 15_900 };
    let known = give(&mut *open(Dash::with_clock(clock)), Time::ZERO, &text).unwrap();
    assert_eq!(shorts(&known), ["i init", "0=0+2000", "2=2000+2000"]);
}

const BY_NUMBER: &str = r#"<MPD type="dynamic" availabilityStartTime="1970-01-01T00:00:10Z" minimumUpdatePeriod="PT500S" timeShiftBufferDepth="PT4S"><Period start="PT0S"><AdaptationSet><SegmentTemplate duration="2" media="$Number$"/><Representation id="v"/></AdaptationSet></Period></MPD>"#;

#[test]
fn numbers_run_with_the_clock() {
    let clock = WallClock { at: Time::from_secs(100), unix_ms: 15_900 };
    let mut slicing = open(Dash::with_clock(clock));
    let at = |secs| Time::from_secs(secs);
    assert_eq!(shorts(&give(&mut *slicing, at(100), BY_NUMBER).unwrap()), ["1=0+2000", "2=2000+2000"]);
    assert_eq!(document_need(&*slicing), Some((url(HOME), at(102))), "somebody must look at the clock");
    assert_eq!(shorts(&give(&mut *slicing, at(101), BY_NUMBER).unwrap()), ["3=4000+2000"]);
    let later = give(&mut *slicing, at(105), BY_NUMBER).unwrap();
    assert_eq!(shorts(&later), ["4=6000+2000", "5=8000+2000"]);
    let mut gone = ids(&["1", "2"]);
    gone.sort_unstable();
    assert_eq!(retired(&later), gone);
}

#[test]
fn numbers_without_a_clock_list_nothing_and_before_the_start_neither() {
    assert_eq!(shorts(&cuts(BY_NUMBER)), [""; 0]);
    let clock = WallClock { at: Time::ZERO, unix_ms: 9_000 };
    assert_eq!(shorts(&give(&mut *open(Dash::with_clock(clock)), Time::ZERO, BY_NUMBER).unwrap()), [""; 0]);
}

#[test]
fn decades_of_numbers_list_their_last_hours() {
    let text = BY_NUMBER
        .replace(r#"timeShiftBufferDepth="PT4S""#, "")
        .replace("1970-01-01T00:00:10Z", "1970-01-01T00:00:00Z");
    let clock = WallClock { at: Time::ZERO, unix_ms: 1_772_323_200_000 };
    let listed = listings(&give(&mut *open(Dash::with_clock(clock)), Time::ZERO, &text).unwrap());
    assert_eq!(listed.len(), 4 * 1800 + 1);
    assert_eq!(listed.last().unwrap().url, url("https://cdn.test/a/886161600"));
}

#[test]
fn an_availability_offset_counts_if_segments_are_whole_by_then() {
    let clock = WallClock { at: Time::ZERO, unix_ms: 11_000 };
    let listed = |attributes: &str| {
        let text = BY_NUMBER.replace("media=", &format!("{attributes} media="));
        listings(&give(&mut *open(Dash::with_clock(clock)), Time::ZERO, &text).unwrap()).len()
    };
    assert_eq!(listed(""), 0);
    assert_eq!(listed(r#"availabilityTimeOffset="1.5""#), 1);
    assert_eq!(listed(r#"availabilityTimeOffset="1.5" availabilityTimeComplete="false""#), 0);
    assert_eq!(listed(r#"availabilityTimeOffset="INF""#), 0, "an open period has no end to list to");
}

#[test]
fn headers_shared_by_renditions_go_with_the_last() {
    let text = |reps: &str| {
        format!(
            r#"<MPD type="dynamic"><Period start="PT0S"><AdaptationSet><SegmentTemplate initialization="i" media="$RepresentationID$"/>{reps}</AdaptationSet></Period></MPD>"#
        )
    };
    let (a, b) = (r#"<Representation id="a"/>"#, r#"<Representation id="b"/>"#);
    let mut slicing = open(Dash::default());
    assert_eq!(
        shorts(&give(&mut *slicing, Time::ZERO, &text(&[a, b].concat())).unwrap()),
        ["i init", "a", "i init", "b"]
    );
    assert_eq!(retired(&give(&mut *slicing, Time::ZERO, &text(b)).unwrap()), ids(&["a"]));
    let mut rest = ids(&["b", "i"]);
    rest.sort_unstable();
    assert_eq!(retired(&give(&mut *slicing, Time::ZERO, &text("")).unwrap()), rest);
}

#[test]
fn manifests_are_wanted_again_as_they_say() {
    let wanted = |attributes: &str| {
        let mut slicing = open(Dash::default());
        give(&mut *slicing, Time::from_secs(10), &by_timeline(attributes, "<S t='0' d='2'/>")).unwrap();
        document_need(&*slicing).unwrap().1.since(Time::from_secs(10))
    };
    assert_eq!(wanted(r#"minimumUpdatePeriod="PT5S""#), Duration::from_secs(5));
    assert_eq!(wanted(r#"minimumUpdatePeriod="PT0S" maxSegmentDuration="PT3S""#), Duration::from_secs(3));
    assert_eq!(wanted(r#"minimumUpdatePeriod="PT0S""#), Duration::from_secs(2));
    assert_eq!(wanted(r#"minimumUpdatePeriod="PT0.01S""#), Duration::from_secs(1));
    assert_eq!(wanted(r#"minimumUpdatePeriod="P1Y""#), Duration::from_secs(3600));
    let moved =
        by_timeline("", "<S t='0' d='2'/>").replace("<Period", "<Location>/b/n.mpd</Location><Period");
    let mut slicing = open(Dash::default());
    give(&mut *slicing, Time::ZERO, &moved).unwrap();
    assert_eq!(document_need(&*slicing).unwrap().0, url("https://cdn.test/b/n.mpd"));
}

#[test]
fn a_manifest_that_goes_on_elsewhere_names_segments_as_before() {
    let text = by_timeline("", "<S t='0' d='2' r='2'/>").replace("<Period", "<BaseURL>/a/</BaseURL><Period");
    let mut slicing = open(Dash::default());
    give(&mut *slicing, Time::ZERO, &text).unwrap();
    let elsewhere = url("https://b.test/sessions/1/m.mpd");
    slicing.supply(Time::ZERO, Part::Document(elsewhere, Bytes::from(text))).unwrap();
    assert_eq!(drain(&mut *slicing), []);
}

#[test]
fn a_live_stream_ends_when_its_manifest_turns_static() {
    let mut slicing = open(Dash::default());
    give(&mut *slicing, Time::ZERO, &by_timeline("", "<S t='0' d='2' r='2'/>")).unwrap();
    let last = by_timeline(r#"mediaPresentationDuration="PT8S""#, "<S t='0' d='2' r='3'/>")
        .replace("dynamic", "static");
    let cuts = give(&mut *slicing, Time::ZERO, &last).unwrap();
    assert_eq!(shorts(&cuts), ["6=6000+2000"]);
    assert_eq!((cuts.last(), slicing.need()), (Some(&Cut::End), Need::Nothing));
    assert_eq!(give(&mut *slicing, Time::ZERO, &last).unwrap(), []);
}

#[test]
fn positions_are_found_by_time_and_behind_the_edge() {
    let mut slicing = open(Dash::default());
    assert_eq!(slicing.locate(&Seek::Live { behind: 1 }), None);
    give(&mut *slicing, Time::ZERO, &by_timeline("", "<S t='10' d='2' r='3'/>")).unwrap();
    let name = |path: &str| Some(ids(&[path])[0]);
    let at = |ms| slicing.locate(&Seek::Media(Duration::from_millis(ms)));
    assert_eq!(
        (at(0), at(10_000), at(13_999), at(14_000), at(99_000)),
        (name("10"), name("10"), name("12"), name("14"), name("16"))
    );
    let behind = |behind| slicing.locate(&Seek::Live { behind });
    assert_eq!((behind(1), behind(3), behind(99)), (name("16"), name("12"), name("10")));
    assert_eq!(slicing.locate(&Seek::Byte(0)), None);
}

#[test]
fn a_manifest_nobody_can_fetch_ends_the_stream() {
    let mut slicing = open(Dash::default());
    slicing.supply(Time::ZERO, Part::End).unwrap();
    assert_eq!((drain(&mut *slicing), slicing.need()), (vec![Cut::End], Need::Nothing));
}
