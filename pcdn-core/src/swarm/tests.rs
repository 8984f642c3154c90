//! The engine in a small world without time: everything arrives at once, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::id::{Identity, SwarmKey};
use crate::layout::PieceKey;
use crate::origin::OriginError;
use crate::range::ByteRange;
use crate::resource::Url;
use crate::schedule::{Handle, Hybrid};
use crate::transport::FetchError;
use crate::verify::manifest::Draft;
use crate::verify::{Manifest, PieceList};
use crate::wire::Message;

const LEN: usize = 3 << 20;

fn content() -> Bytes {
    (0..LEN).map(|i| (i * 131 % 253) as u8).collect::<Vec<u8>>().into()
}

fn segments() -> Vec<Segment> {
    let url = Url::parse("http://origin.example/file").unwrap();
    (0..3u64)
        .map(|i| Segment::of_file(SegmentId(i), url.clone(), i << 20..(i + 1) << 20, 16).unwrap())
        .collect()
}

fn manifest() -> Arc<Manifest> {
    let bytes = content();
    let lists = segments()
        .iter()
        .map(|s| PieceList::of(&s.layout, &bytes[s.offset as usize..(s.offset + s.layout.len()) as usize]))
        .collect();
    let draft = Draft {
        rule: crate::id::RuleId([0; 8]),
        rid: None,
        seq: 0,
        first: SegmentId(0),
        issued_ms: 0,
        ttl_s: 0,
        piece_log2: 16,
        lists,
        names: Vec::new(),
    };
    Arc::new(Manifest::parse(&draft.sign(&Identity::from_secret([99; 32]))).unwrap())
}

/// Nodes wired to one another, to one origin, and to nothing else.
struct World {
    now: Time,
    nodes: Vec<Swarm>,
    kept: Vec<BTreeMap<PieceKey, Bytes>>,
    read: Vec<Vec<u8>>,
    poisoned: Vec<usize>,
    /// Nodes that sign for nothing.
    mute: Vec<usize>,
    receipts: Vec<Vec<crate::receipt::Receipt>>,
    asked: Vec<crate::transport::Class>,
    origin_bytes: u64,
    inbox: VecDeque<(usize, Input)>,
    complete: Vec<bool>,
}

impl World {
    fn new(count: usize, set: impl Fn(usize, &mut SwarmSetup)) -> Self {
        let now = Time::ZERO;
        let nodes = (0..count)
            .map(|i| {
                let mut setup = SwarmSetup::new(SwarmKey([1; 32]), Identity::from_secret([i as u8 + 1; 32]));
                set(i, &mut setup);
                let mut swarm = Swarm::new(setup, Box::new(Hybrid::default()), Dice::new(i as u64), now);
                segments().into_iter().for_each(|s| swarm.handle(now, Input::Cut(Cut::Segment(s))));
                swarm.handle(now, Input::Cut(Cut::End));
                swarm
            })
            .collect();
        Self {
            now,
            nodes,
            kept: vec![BTreeMap::new(); count],
            read: vec![Vec::new(); count],
            poisoned: Vec::new(),
            mute: Vec::new(),
            receipts: vec![Vec::new(); count],
            asked: Vec::new(),
            origin_bytes: 0,
            inbox: VecDeque::new(),
            complete: vec![false; count],
        }
    }

    /// Node i's link to node j has handle j.
    fn link_all(&mut self) {
        let count = self.nodes.len();
        for (i, j) in (0..count).flat_map(|i| (0..count).map(move |j| (i, j))).filter(|(i, j)| i != j) {
            let peer = self.nodes[j].me;
            self.give(
                i,
                Input::LinkUp { link: Handle(j as u32), peer, remote: None, rtt: Duration::from_millis(5) },
            );
        }
    }

    fn give(&mut self, node: usize, input: Input) {
        self.nodes[node].handle(self.now, input);
        self.drain(node);
    }

    fn origin(&self, node: usize, range: ByteRange) -> Bytes {
        let bytes = content().slice(range.start() as usize..range.end() as usize);
        match self.poisoned.contains(&node) {
            true => bytes.iter().map(|b| b ^ 1).collect::<Vec<u8>>().into(),
            false => bytes,
        }
    }

    fn drain(&mut self, i: usize) {
        while let Some(output) = self.nodes[i].poll() {
            match output {
                Output::Send { message: Message::Receipt(_), .. } if self.mute.contains(&i) => {}
                Output::Note(Event::Receipted(receipt)) => self.receipts[i].push(*receipt),
                Output::Send { link, message } => {
                    let wire = crate::wire::encode(&self.nodes[i].setup.key, &message);
                    let message = crate::wire::decode(&wire).unwrap().message.unwrap();
                    self.inbox
                        .push_back((link.0 as usize, Input::Message { link: Handle(i as u32), message }));
                }
                Output::Ask { flight, link, fetch } => {
                    let ask = AskId((i as u64) << 32 | flight);
                    self.asked.push(fetch.class);
                    let input = Input::Ask { link: Handle(i as u32), ask, piece: fetch.piece };
                    self.inbox.push_back((link.0 as usize, input));
                }
                Output::Serve { ask, bytes } => {
                    let (to, flight) = ((ask.0 >> 32) as usize, ask.0 & 0xffff_ffff);
                    self.inbox.push_back((to, Input::Piece { flight, bytes: bytes.into_inner() }));
                    self.inbox.push_back((i, Input::AskGone { ask }));
                }
                Output::Refuse { ask, why } => {
                    let (to, flight) = ((ask.0 >> 32) as usize, ask.0 & 0xffff_ffff);
                    self.inbox.push_back((to, Input::Failed { flight, why: FetchError::Refused(why) }));
                }
                Output::Fetch { run, range, .. } => {
                    self.origin_bytes += range.len();
                    let bytes = self.origin(i, range);
                    self.inbox.push_back((i, Input::OriginBytes { run, bytes }));
                    self.inbox.push_back((i, Input::OriginEnd { run, result: Ok(()) }));
                }
                Output::Keep { key, kept, .. } => {
                    self.kept[i].insert(key, kept.bytes.into_inner());
                }
                Output::Load(key) => {
                    let bytes = self.kept[i].get(&key).cloned();
                    self.inbox.push_back((i, Input::Loaded { key, bytes }));
                }
                Output::Deliver { reader, bytes, .. } => {
                    self.read[i].extend_from_slice(&bytes);
                    self.inbox.push_back((i, Input::Pull { reader }));
                }
                Output::Complete => self.complete[i] = true,
                Output::Close(link) => {
                    self.inbox.push_back((link.0 as usize, Input::LinkDown { link: Handle(i as u32) }))
                }
                _ => {}
            }
        }
    }

    fn run(&mut self, seconds: u64) {
        let end = Time::from_secs(seconds);
        while self.now < end {
            while let Some((node, input)) = self.inbox.pop_front() {
                self.give(node, input);
            }
            self.now += Duration::from_millis(50);
            for node in 0..self.nodes.len() {
                if self.nodes[node].next_wake() <= self.now {
                    self.give(node, Input::Wake);
                }
            }
        }
    }

    fn whole(&self, node: usize) -> Vec<u8> {
        self.kept[node].values().flat_map(|b| b.iter().copied()).collect()
    }
}

#[test]
fn a_lone_node_takes_everything_from_the_origin_once() {
    let mut world = World::new(1, |_, _| {});
    world.give(0, Input::Whole(true));
    world.run(5);
    assert!(world.complete[0]);
    assert_eq!(world.whole(0), content());
    assert_eq!(world.origin_bytes, LEN as u64);
}

#[test]
fn with_a_manifest_a_swarm_costs_the_origin_little_more_than_one_copy() {
    let mut world = World::new(5, |_, _| {});
    for i in 0..5 {
        world.give(i, Input::Manifest(manifest(), None));
    }
    world.link_all();
    world.run(1);
    (0..5).for_each(|i| world.give(i, Input::Whole(true)));
    world.run(20);
    for i in 0..5 {
        assert!(world.complete[i], "{i} {:?}", world.nodes[i].report(world.now));
        assert_eq!(world.whole(i), content());
    }
    assert!(world.origin_bytes <= 3 * LEN as u64, "{} copies", world.origin_bytes as f64 / LEN as f64);
    let report = world.nodes[0].report(world.now);
    assert_eq!(report.integrity, Integrity::Signed);
}

#[test]
fn a_player_gets_all_bytes_in_order() {
    let mut world = World::new(3, |_, _| {});
    (0..3).for_each(|i| world.give(i, Input::Manifest(manifest(), None)));
    world.link_all();
    for i in 0..3 {
        world.give(i, Input::play(7, 100_000, LEN as u64 - 5));
        world.give(i, Input::Pull { reader: ReaderId(7) });
    }
    world.run(20);
    (0..3).for_each(|i| assert_eq!(world.read[i], content()[100_000..LEN - 5].to_vec(), "{i}"));
}

#[test]
fn without_a_manifest_two_witnesses_vouch_and_liars_are_banned() {
    let mut world = World::new(6, |_, _| {});
    world.poisoned = vec![4, 5];
    world.link_all();
    (0..6).for_each(|i| world.give(i, Input::Whole(true)));
    world.run(60);
    for i in 0..4 {
        assert!(world.complete[i], "{i} {:?}", world.nodes[i].report(world.now));
        assert_eq!(world.whole(i), content(), "{i}");
    }
    let banned: usize = (0..4).map(|i| world.nodes[i].report(world.now).banned.len()).sum();
    assert!(banned >= 4, "{banned}");
}

/// One that holds everything, and others that take it from there; `len` is cut into segments of 1 MiB.
fn seeded(takers: usize) -> World {
    let mut world = World::new(takers + 1, |_, _| {});
    world.give(0, Input::Whole(true));
    world.run(2);
    assert!(world.complete[0]);
    (0..=takers).for_each(|i| world.give(i, Input::Manifest(manifest(), None)));
    world.link_all();
    world
}

#[test]
fn accounts_of_sender_and_receiver_agree_once_all_is_here() {
    let mut world = seeded(3);
    (1..4).for_each(|i| world.give(i, Input::Whole(true)));
    world.run(10);
    let reports: Vec<Report> = (0..4).map(|i| world.nodes[i].report(world.now)).collect();
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    assert!(sum(|r| r.from_peers) > 0);
    assert_eq!(sum(|r| r.receipted), sum(|r| r.signed), "what is signed arrives");
    assert_eq!(sum(|r| r.signed), sum(|r| r.taken), "all that came is signed for");
    assert!(sum(|r| r.taken) >= sum(|r| r.from_peers));
    for (i, report) in reports.iter().enumerate() {
        let last: BTreeMap<[u8; 16], u64> =
            world.receipts[i].iter().map(|receipt| (receipt.session, receipt.tally.bytes)).collect();
        assert_eq!(last.values().sum::<u64>(), report.receipted, "the last of each session is its sum");
        assert!(world.receipts[i].iter().all(|r| r.is_signed() && r.up == world.nodes[i].me));
    }
}

#[test]
fn who_signs_for_nothing_gets_no_more_than_its_first_credit() {
    let given = |mute: bool| {
        let mut world = seeded(1);
        world.mute = if mute { vec![1] } else { Vec::new() };
        // Three MiB, three times over: more than the 4 MiB that are given on trust.
        for round in 1..=3 {
            world.give(1, Input::Whole(true));
            world.run(2 + round * 3);
            let count = world.nodes[1].board.count();
            (0..count).for_each(|slot| world.nodes[1].board.lose(crate::schedule::Slot(slot)));
            world.give(1, Input::Manifest(manifest(), None));
        }
        world.nodes[0].report(world.now).uploaded
    };
    let (mute, honest) = (given(true), given(false));
    assert!(mute <= (4 << 20) + (1 << 16), "{mute}");
    assert!(honest > mute + (1 << 20), "{honest} {mute}");
}

#[test]
fn a_receipt_for_more_than_was_sent_or_for_others_counts_nothing() {
    use crate::receipt::{Receipt, Tally};
    let mut world = seeded(1);
    world.give(1, Input::Whole(true));
    world.run(5);
    let before = world.nodes[0].report(world.now);
    let (up, key) = (world.nodes[0].me, world.nodes[1].setup.identity.clone());
    let other = Identity::from_secret([77; 32]);
    let session = world.receipts[0][0].session;
    let tally = |bytes: u64| Tally { bytes, pieces: 64, bad: 0 };
    let sign =
        |key: &Identity, up, bytes| Receipt::sign(key, session, up, SwarmKey([1; 32]), 0, tally(bytes));
    let more = before.uploaded;
    let forged = Receipt { signature: [0; 64], ..sign(&key, up, more) };
    for bad in [sign(&key, up, more + 1), sign(&other, up, more), sign(&key, other.peer_id(), more), forged] {
        world.give(0, Input::Message { link: Handle(1), message: Message::Receipt(bad) });
    }
    assert_eq!(world.nodes[0].report(world.now).receipted, before.receipted);
}

#[test]
fn in_the_background_the_origin_gives_no_more_than_allowed_until_somebody_reads() {
    let mut world = World::new(1, |_, _| {});
    world.give(0, Input::Background(Some(200_000)));
    world.give(0, Input::Whole(true));
    world.run(5);
    assert_eq!((world.origin_bytes, world.complete[0]), (3 << 16, false), "three whole pieces fit");
    world.give(0, Input::Background(Some(270_000)));
    world.run(10);
    assert_eq!(world.origin_bytes, 4 << 16, "counted from when it was first said");
    world.give(0, Input::play(7, 0, LEN as u64));
    world.give(0, Input::Pull { reader: ReaderId(7) });
    world.run(20);
    assert_eq!(world.read[0], content());
}

/// A holder that told its swarm every 200 ms how much it may still fetch took a quarter more than its budget: what was under way
/// then was allowed once more.
#[test]
fn a_bound_that_is_said_again_allows_nothing_twice() {
    let mut world = World::new(1, |_, _| {});
    world.give(0, Input::Background(Some(200_000)));
    world.give(0, Input::Whole(true));
    // Three pieces are under way, and none is here.
    for second in 1..5 {
        world.give(0, Input::Background(Some(200_000)));
        world.run(second);
    }
    assert_eq!(world.origin_bytes, 3 << 16);
}

#[test]
fn in_the_background_peers_are_asked_behind_everyone_else() {
    use crate::transport::Class;
    let mut world = seeded(1);
    let before = world.origin_bytes;
    world.give(1, Input::Background(Some(0)));
    world.give(1, Input::Whole(true));
    world.run(10);
    assert!(world.complete[1] && world.origin_bytes == before);
    assert!(!world.asked.is_empty() && world.asked.iter().all(|class| *class == Class::Background));
}

/// A viewer whose player asked for a segment just when the origin said that there is none waited for ever.
#[test]
fn whoever_reads_a_segment_that_has_left_is_told_so() {
    let mut world = World::new(1, |_, _| {});
    let swarm = &mut world.nodes[0];
    let broken = |swarm: &mut Swarm| {
        std::iter::from_fn(|| swarm.poll())
            .filter_map(|out| match out {
                Output::Broken { reader, .. } => Some(reader.0),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let gone = segments()[1].offset;
    swarm.handle(Time::ZERO, Input::play(1, gone, gone + 100));
    swarm.handle(Time::ZERO, Input::play(2, 0, 100));
    swarm.handle(Time::ZERO, Input::Cut(Cut::Retired(SegmentId(1))));
    assert_eq!(broken(swarm), [1], "it waits for what has left");
    swarm.handle(Time::ZERO, Input::play(3, gone + 70_000, gone + 70_001));
    swarm.handle(Time::ZERO, Input::play(4, segments()[2].offset, LEN as u64));
    assert_eq!(broken(swarm), [3], "it comes too late");
}

/// A player that had not read all that was here when the origin said that the content had changed waited for the rest for ever, and
/// its request hung: on a busy machine one in five.
#[test]
fn who_gets_to_what_nobody_has_after_the_origin_failed_for_good_is_told() {
    let refused = OriginError::Status { status: 403, retry_after: None };
    for (why, hope) in [(OriginError::Changed { what: "its ETag".into() }, 0), (refused, 8)] {
        let mut world = World::new(1, |_, _| {});
        let swarm = &mut world.nodes[0];
        let told = |swarm: &mut Swarm| std::iter::from_fn(|| swarm.poll()).collect::<Vec<_>>();
        let broken = |told: &[Output]| told.iter().any(|out| matches!(out, Output::Broken { .. }));
        swarm.handle(Time::ZERO, Input::play(1, 0, LEN as u64));
        let fetched = told(swarm).into_iter().find_map(|out| match out {
            Output::Fetch { run, range, .. } if range.start() == 0 => Some(run),
            _ => None,
        });
        let run = fetched.expect("a lone node asks the origin");
        let first = content().slice(..64 << 10);
        swarm.handle(Time::ZERO, Input::OriginBytes { run, bytes: first });
        swarm.handle(Time::ZERO, Input::OriginEnd { run, result: Err(why) });
        assert!(!broken(&told(swarm)), "what is here is given");
        swarm.handle(Time::ZERO, Input::Pull { reader: ReaderId(1) });
        assert!(told(swarm).iter().any(|out| matches!(out, Output::Deliver { .. })));
        swarm.handle(Time::ZERO, Input::Pull { reader: ReaderId(1) });
        let waited = (0..60).map(|tick| TICK * tick).find(|waited| {
            swarm.handle(Time::ZERO + *waited, Input::Wake);
            broken(&told(swarm))
        });
        assert_eq!(waited.map(|waited| waited.as_secs()), Some(hope));
    }
}
