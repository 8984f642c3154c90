//! Viewers that never talked cut the same slices.

use std::time::Duration;

use pcdn_core::fragment::Slice;
use pcdn_core::id::Digest;
use pcdn_core::layout::SegmentId;
use proptest::prelude::*;

use super::super::slicer::Slicer;
use super::super::tag::Kind;
use super::super::*;
use super::stream::*;

/// What all must agree on: everything but where it lies on the connection's own timeline.
#[derive(Clone, Debug, PartialEq)]
struct Shared {
    id: SegmentId,
    duration: Option<Duration>,
    len: u64,
    key: bool,
}

fn shared(stream: bytes::Bytes) -> Vec<Shared> {
    shares(&settled(stream))
}

fn shares(slices: &[Slice]) -> Vec<Shared> {
    let share = |slice: &Slice| Shared {
        id: slice.segment.id,
        duration: slice.segment.duration,
        len: slice.segment.layout.len(),
        key: slice.segment.key,
    };
    slices.iter().map(share).collect()
}

/// The parts of a connection from its first boundary on.
fn settled(stream: bytes::Bytes) -> Vec<Slice> {
    let mut parts = parts(stream);
    let first = parts.iter().position(|part| !provisional(part)).unwrap_or(parts.len());
    linked(&parts[first..]);
    assert!(parts[..first].iter().all(|part| part.before.is_none()));
    parts.split_off(first)
}

/// How many parts of one who was there from the start a joiner must have, whose first mark is at `first_mark`: all from its first
/// anchor on, which comes within twelve least durations (the rule's own tests have the mean, less than three).
fn due(all: &[Slice], first_mark: i64, least: i64) -> usize {
    let known = Duration::from_millis((first_mark + 12 * least) as u64);
    all.iter().filter(|slice| slice.segment.start.unwrap() >= known).count()
}

/// Links, names, places and durations of an unbroken run of parts, which begins with a slice.
fn linked(parts: &[Slice]) {
    for pair in parts.windows(2) {
        let lasts = pair[0].segment.duration.unwrap();
        assert_eq!(pair[1].before, Some(pair[0].segment.id));
        assert_eq!(pair[1].segment.start, Some(pair[0].segment.start.unwrap() + lasts));
        assert!(pair[1].offset.is_zero() || pair[1].offset == pair[0].offset + lasts);
    }
    for part in parts {
        assert!(!provisional(part));
        let root = Digest(*blake3::hash(&part.bytes).as_bytes());
        assert_eq!(part.segment.id, id_of(&part.setup, part.offset, &root));
    }
    assert!(parts.first().is_none_or(|first| first.offset.is_zero()));
    for slice in whole(parts) {
        assert!(slice.segment.duration.unwrap() >= Duration::from_millis(MIN_MS as u64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_joiner_has_every_part_from_its_first_settled_one(
        seed in any::<u64>(), shape in 0..Shape::ALL.len(), join in 0i64..50_000, server in 0..Server::ALL.len(),
        epoch in prop_oneof![Just(0i64), 0..1i64 << 33],
    ) {
        let shape = Shape::ALL[shape];
        let programme = programme(seed, shape, 90_000);
        let whole = settled(serve(&programme, 0, Server::Absolute, epoch));
        let (all, mine) = (shares(&whole), shared(serve(&programme, join, Server::ALL[server], epoch)));
        prop_assert!(all.ends_with(&mine), "{shape:?} {} of {}", mine.len(), all.len());
        // Without keyframes a joiner waits KEYFRAMES_MAX_MS; sound alone is judged sooner.
        prop_assert!(mine.len() >= 2, "{shape:?} from {join}: {}", mine.len());
        let (wait, least) = shape.first_mark();
        let due = due(&whole, join + wait, least);
        prop_assert!(mine.len() >= due, "{shape:?} from {join}: {} of {due}", mine.len());
        let until_a_picture = Duration::from_millis(PART_MS as u64 + 40);
        prop_assert!(whole.iter().all(|part| part.segment.duration < Some(until_a_picture)));
    }

    #[test]
    fn configuration_that_changes_or_comes_late_parts_nobody(
        seed in any::<u64>(), video_at in 0i64..40_000, audio_at in 0i64..40_000, join in 0i64..45_000,
        server in 0..Server::ALL.len(), late in any::<bool>(),
    ) {
        let shape = Shape::Gop(480);
        let mut programme = programme(seed, shape, 80_000);
        if late {
            // The microphone is switched on.
            programme.retain(|moment| moment.kind == Kind::Video || moment.at >= audio_at);
        }
        for (kind, at, body) in
            [(Kind::Video, video_at, video_config(shape, 2)), (Kind::Audio, audio_at, audio_config(2))]
        {
            let index = programme.iter().position(|moment| moment.at >= at).unwrap();
            programme.insert(index, Moment { kind, at, body });
        }
        let whole = settled(serve(&programme, 0, Server::Absolute, 0));
        let (all, mine) = (shares(&whole), shared(serve(&programme, join, Server::ALL[server], 0)));
        prop_assert!(all.ends_with(&mine), "{} of {}", mine.len(), all.len());
        let (wait, least) = shape.first_mark();
        let due = due(&whole, join + wait, least);
        prop_assert!(mine.len() >= due, "{} of {due}", mine.len());
        // In the last 20 s of the programme are 50 parts at least, the open slice's among them.
        prop_assert!(due >= 40, "{due}");
    }
}

#[test]
fn repeated_headers_and_lost_scripts_change_nothing() {
    let programme = programme(3, Shape::Gop(480), 30_000);
    let mut nagging = programme.clone();
    for index in (2..programme.len()).rev().step_by(100) {
        nagging.insert(index, programme[0].clone());
        nagging.insert(index, programme[1].clone());
    }
    let plain = parts(serve(&programme, 0, Server::Absolute, 0));
    assert_eq!(plain, parts(serve(&nagging, 0, Server::Absolute, 0)));
    assert!(plain.len() > 10);
}

#[test]
fn lost_tags_change_the_slices_they_lie_in_and_no_other() {
    let programme = programme(4, Shape::Gop(2000), 60_000);
    let whole_of = |programme| shares(&whole(&settled(serve(programme, 0, Server::Absolute, 0))));
    let all = whole_of(&programme);
    // From the middle of a picture group to the middle of the next.
    let lost: Vec<Moment> =
        programme.iter().filter(|moment| !(21_100..23_300).contains(&moment.at)).cloned().collect();
    let mine = whole_of(&lost);
    let (same, other): (Vec<_>, Vec<_>) = mine.iter().partition(|slice| all.contains(slice));
    assert_eq!((other.len(), same.len() + 2), (1, all.len()), "two slices became one");
}

#[test]
fn after_a_restart_of_the_encoder_all_agree_again_and_what_was_open_is_gone() {
    let before = programme(5, Shape::Gop(480), 20_000);
    let after = programme(6, Shape::Gop(480), 20_000);
    let end = Moment { kind: Kind::Video, at: 20_000, body: vec![0x17, 2, 0, 0, 0] };
    for said in [true, false] {
        let mut restarted = before.clone();
        restarted.extend(said.then(|| end.clone()));
        restarted.extend(after.iter().cloned());
        let all = parts(serve(&restarted, 0, Server::Absolute, 77));
        let index = all.iter().rposition(provisional).unwrap() + 1;
        let before_break = all.iter().position(|s| s.segment.start > Some(Duration::from_secs(10))).unwrap();
        assert!(index > before_break, "the second half begins with provisional slices");
        linked(&all[index..]);
        let joiner = parts(serve(&after, 3000, Server::Rebased, 0));
        let settled = |slices: &[Slice]| -> Vec<SegmentId> {
            slices.iter().filter(|slice| !provisional(slice)).map(|slice| slice.segment.id).collect()
        };
        assert!(settled(&joiner).len() > 4);
        assert!(settled(&all).ends_with(&settled(&joiner)), "end of sequence said: {said}");
        let starts: Vec<_> = all.iter().map(|slice| slice.segment.start.unwrap()).collect();
        assert!(starts.is_sorted(), "the timeline goes on");
        assert!(starts.last().unwrap() > &Duration::from_secs(35));
    }
}

/// Such content was once cut by time alone, a minute long.
#[test]
fn content_that_repeats_is_cut_alike_by_all_that_settled() {
    let mut programme = programme(7, Shape::Gop(400), 200_000);
    let key = programme[2].body.clone();
    let is_key = |moment: &&mut Moment| moment.kind == Kind::Video && moment.body.starts_with(&[0x17, 1]);
    // The picture freezes after 20 s: every keyframe is the same.
    programme.iter_mut().filter(is_key).filter(|moment| moment.at > 20_000).for_each(|moment| {
        moment.body.clone_from(&key);
    });
    let all = shared(serve(&programme, 0, Server::Absolute, 0));
    let slices = shares(&whole(&settled(serve(&programme, 0, Server::Absolute, 0))));
    let frozen = &slices[slices.len() - 100..];
    assert!(frozen.iter().all(|slice| slice.duration == Some(Duration::from_millis(1_200))));
    let mine = shared(serve(&programme, 5_000, Server::Rebased, 0));
    assert!(all.ends_with(&mine) && mine.len() > 450);
}

#[test]
fn a_slice_never_outgrows_its_bound() {
    let mut slicer = Slicer::default();
    let big = |first: u8, at: u32| tag::Tag {
        kind: Kind::Video,
        timestamp: at,
        body: [vec![first, 1], vec![at as u8; 9 << 20]].concat().into(),
    };
    slicer.tag(&big(0x17, 0));
    (1..9).for_each(|i| slicer.tag(&big(0x27, i * 40)));
    let cut: Vec<_> = std::iter::from_fn(|| slicer.next()).collect();
    assert_eq!(cut.iter().map(|slice| slice.key).collect::<Vec<_>>(), [true, false]);
    assert!(cut.iter().all(|slice| slice.bytes.len() <= SLICE_BYTES_MAX));
}

/// nginx's RTMP module sends a client that joins sounds at once, and pictures from the next keyframe on. A player was once given some
/// of these sounds, and a gap.
#[test]
fn sounds_before_the_first_picture_are_not_given_in_part() {
    let mut programme = programme(9, Shape::Gop(2000), 30_000);
    programme.retain(|moment| moment.kind == Kind::Audio || moment.at >= 1_900);
    let first = &parts(serve(&programme, 0, Server::NoCache, 0))[0];
    assert_eq!((first.segment.key, Kinds::of(&first.bytes)), (true, Kinds { audio: true, video: true }));
}

#[test]
fn a_viewer_can_start_with_the_first_part() {
    let programme = programme(8, Shape::Gop(480), 10_000);
    let all = parts(serve(&programme, 3000, Server::Rebased, 0));
    assert!(provisional(&all[0]) && all[0].segment.key);
    assert_eq!(all[0].segment.start, Some(Duration::ZERO));
    assert_eq!(all[0].segment.duration, Some(Duration::from_millis(PART_MS as u64)));
    assert!(all[0].before.is_none() && all[1].before.is_none());
}
