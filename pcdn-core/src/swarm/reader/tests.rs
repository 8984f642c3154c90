use super::*;
use crate::dice::Dice;
use crate::fragment::{Cut, Segment};
use crate::id::{Identity, RuleId, SwarmKey};
use crate::resource::Url;
use crate::schedule::Hybrid;
use crate::swarm::SwarmSetup;
use crate::testing::manifest_of;
use crate::verify::Manifest;

const PIECE: u64 = 64 << 10;

fn ms(ms: u64) -> Time {
    Time::ZERO + Duration::from_millis(ms)
}

/// A lone node, to which two segments of four pieces were cut.
fn swarm() -> Swarm {
    let setup = SwarmSetup::new(SwarmKey([1; 32]), Identity::from_secret([1; 32]));
    let mut swarm = Swarm::new(setup, Box::new(Hybrid::default()), Dice::new(1), Time::ZERO);
    let url = Url::parse("http://origin.example/file").unwrap();
    for id in 0..2 {
        let bytes = id * 4 * PIECE..(id + 1) * 4 * PIECE;
        let segment = Segment::of_file(SegmentId(id), url.clone(), bytes, 16).unwrap();
        swarm.handle(Time::ZERO, Input::Cut(Cut::Segment(segment)));
    }
    swarm
}

/// A run of the origin's: its name, its first byte and its length.
type Asked = (u64, u64, u64);
/// What a reader was given: how much, and from whom.
type Given = (usize, Source);

fn drain(swarm: &mut Swarm) -> (Vec<Asked>, Vec<Given>) {
    let (mut asked, mut given) = (Vec::new(), Vec::new());
    while let Some(output) = swarm.poll() {
        match output {
            Output::Fetch { run, range, .. } => asked.push((run, range.start(), range.len())),
            Output::Deliver { bytes, source, .. } => given.push((bytes.into_inner().len(), source)),
            _ => {}
        }
    }
    (asked, given)
}

/// A player of the origin alone has each byte when it comes. Behind an origin of 2 Mbit/s one of a node waited for the first 64 KiB to
/// be whole: a quarter of a second more.
#[test]
fn who_waits_is_given_what_has_come_of_a_piece() {
    let mut swarm = swarm();
    swarm.handle(ms(0), Input::play(1, 0, 8 * PIECE));
    swarm.handle(ms(0), Input::Pull { reader: ReaderId(1) });
    let (asked, _) = drain(&mut swarm);
    let run = asked.iter().find(|(_, start, _)| *start == 0).expect("a lone node asks the origin").0;
    let mut come = |at, bytes: usize| {
        swarm.handle(ms(at), Input::OriginBytes { run, bytes: vec![7; bytes].into() });
        let given = drain(&mut swarm).1;
        given.iter().for_each(|_| swarm.handle(ms(at), Input::Pull { reader: ReaderId(1) }));
        given
    };
    assert_eq!(come(1, 1_000), [(1_000, Source::Origin)], "the first byte is wanted at once");
    assert_eq!(come(2, 1_000), [], "a moment later the next is not worth a delivery of its own");
    assert_eq!(come(30, 1_000), [(2_000, Source::Origin)], "who has waited gets all there is");
    assert_eq!(
        come(31, PIECE as usize - 3_000),
        [(PIECE as usize - 3_000, Source::Origin)],
        "the rest of it"
    );
    assert_eq!(swarm.report(ms(31)).from_origin, PIECE);
}

#[test]
fn nobody_is_given_a_part_of_what_somebody_else_reads() {
    let mut swarm = swarm();
    for (reader, at) in [(1, 0), (2, 2_000)] {
        swarm.handle(ms(0), Input::play(reader, at, 8 * PIECE));
        swarm.handle(ms(0), Input::Pull { reader: ReaderId(reader) });
    }
    let run = drain(&mut swarm).0[0].0;
    swarm.handle(ms(1), Input::OriginBytes { run, bytes: vec![7; 1_000].into() });
    assert_eq!(drain(&mut swarm).1, [(1_000, Source::Origin)], "the second reader is further on");
    swarm.handle(ms(1), Input::OriginBytes { run, bytes: vec![7; 1_500].into() });
    assert_eq!(drain(&mut swarm).1, [(500, Source::Origin)], "and has its first bytes now");
}

#[test]
fn what_has_begun_is_asked_for_where_it_begins_and_once() {
    let mut swarm = swarm();
    swarm.handle(ms(0), Input::OriginBegun { segment: SegmentId(1), bytes: PIECE + 1 });
    assert_eq!(drain(&mut swarm).0, [(0, 4 * PIECE, PIECE)], "whole pieces of the second segment");
    swarm.handle(ms(1), Input::OriginBegun { segment: SegmentId(1), bytes: PIECE });
    swarm.handle(ms(1), Input::OriginBegun { segment: SegmentId(7), bytes: PIECE });
    assert_eq!(drain(&mut swarm).0, [], "it is on its way, and that one was never cut");
}

#[test]
fn who_came_with_its_first_bytes_has_started() {
    let mut swarm = swarm();
    let read =
        |reader, had| Input::Read { reader: ReaderId(reader), at: 1_000, end: PIECE, playing: true, had };
    swarm.handle(ms(5), read(1, 0));
    assert_eq!(swarm.report(ms(5)).start, None);
    swarm.handle(ms(5), read(2, 1_000));
    assert_eq!(swarm.report(ms(5)).start, Some(Duration::ZERO));
}

#[test]
fn of_what_is_signed_nobody_is_given_a_part() {
    let (mut swarm, bytes) = (swarm(), vec![7; PIECE as usize]);
    let raw = manifest_of(&bytes.repeat(8), RuleId([0; 8]), 4 * PIECE, 16, &Identity::from_secret([9; 32]));
    let manifest = Manifest::parse(&raw).unwrap();
    swarm.handle(ms(0), Input::Manifest(manifest.into(), None));
    swarm.handle(ms(0), Input::play(1, 0, 8 * PIECE));
    swarm.handle(ms(0), Input::Pull { reader: ReaderId(1) });
    let run = drain(&mut swarm).0[0].0;
    let (part, rest) = bytes.split_at(1_000);
    swarm.handle(ms(50), Input::OriginBytes { run, bytes: part.to_vec().into() });
    assert_eq!(drain(&mut swarm).1, []);
    swarm.handle(ms(51), Input::OriginBytes { run, bytes: rest.to_vec().into() });
    assert_eq!(drain(&mut swarm).1, [(PIECE as usize, Source::Origin)]);
}
