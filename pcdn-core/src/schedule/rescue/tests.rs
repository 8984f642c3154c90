use super::*;
use crate::id::PeerId;
use crate::schedule::{Handle, OriginView, Policy, SlotSet};
use crate::unit::{Rate, Time};

const PIECE: u32 = 64 << 10;
const NOW: Time = Time(10_000_000);

/// A player's next 64 pieces, at 1 MiB a second, an origin of 8 MB/s, and one neighbour that holds all.
struct Scene {
    pieces: Vec<Piece>,
    neighbours: Vec<Neighbour>,
    origin: OriginView,
    awaits: bool,
}

impl Scene {
    fn new() -> Self {
        let due = |slot: u64| NOW + Duration::from_micros(slot * 62_500);
        let piece = |slot: u64| Piece {
            len: PIECE,
            at: slot * u64::from(PIECE),
            due: due(slot),
            holders: 1,
            provable: true,
            ..Piece::empty()
        };
        let mut holds = SlotSet::default();
        (0..64).for_each(|slot| _ = holds.set(slot, true));
        let neighbour = Neighbour {
            handle: Handle(0),
            peer: PeerId([2; 32]),
            holds,
            rtt: Duration::from_millis(20),
            rate: 10_000_000,
            service: (Duration::from_millis(30), Duration::ZERO),
            pending: 0,
            flights: 0,
            failures: 0,
            quiet_until: Time::ZERO,
            complete: true,
            origin_rate: 0,
            superpeer: false,
        };
        let origin = OriginView {
            allowed: true,
            first_byte: Duration::from_millis(20),
            rate: 8_000_000,
            capacity: 8_000_000,
            used: 8 << 20,
            ..OriginView::default()
        };
        Self { pieces: (0..64).map(piece).collect(), neighbours: vec![neighbour], origin, awaits: false }
    }

    /// First slot and pieces of what the origin must be asked for.
    fn run(&self) -> Option<(u32, u32)> {
        let view = View {
            now: NOW,
            me: PeerId([1; 32]),
            policy: Policy::Balanced,
            pieces: &self.pieces,
            neighbours: &self.neighbours,
            flights: &[],
            origin: &self.origin,
            first_missing: Slot(0),
            whole: false,
            paced: false,
            awaits_company: self.awaits,
            copies: 1,
            len: 64 * u64::from(PIECE),
            missing_bytes: 64 * u64::from(PIECE),
            peer_rate: 0,
            limit: Rate::UNLIMITED,
            line: Rate::UNLIMITED,
            budget: u64::MAX,
            queued: Duration::ZERO,
        };
        due_run(&view).map(|(first, count)| (first.0, count))
    }
}

#[test]
fn a_neighbour_that_has_shown_what_it_gives_is_relied_on() {
    assert_eq!(Scene::new().run(), None);
}

#[test]
fn what_is_pressing_is_not_left_to_a_neighbour_that_has_given_nothing_yet() {
    let mut scene = Scene::new();
    scene.neighbours[0].service = (Duration::ZERO, Duration::ZERO);
    assert_eq!(scene.run().map(|(first, _)| first), Some(0));
    // What leaves time to see that its rate was a wrong guess, is.
    scene.pieces.iter_mut().for_each(|piece| piece.due += Duration::from_millis(600));
    assert_eq!(scene.run(), None);
}

#[test]
fn requests_grow_with_what_the_origin_has_given() {
    let mut scene = Scene::new();
    scene.neighbours.clear();
    // All of it is due soon.
    let soon = NOW + Duration::from_millis(50);
    scene.pieces.iter_mut().for_each(|piece| (piece.due, piece.holders) = (soon, 0));
    let mut asked = |used: u64| {
        scene.origin.used = used;
        scene.run().map(|(_, count)| count)
    };
    assert_eq!([asked(0), asked(1 << 16), asked(1 << 17), asked(1 << 20)], [4, 4, 8, 32].map(Some));
    // What is due at once is asked for at once.
    scene.pieces.iter_mut().for_each(|piece| piece.due = NOW);
    scene.origin.used = 1 << 16;
    assert_eq!(scene.run(), Some((0, 32)));
}

#[test]
fn while_company_is_awaited_only_what_would_be_late_is_asked_for_and_one_run_at_a_time() {
    let mut scene = Scene::new();
    scene.neighbours.clear();
    scene.pieces.iter_mut().for_each(|piece| piece.holders = 0);
    let hasty = scene.run().map(|(_, count)| count);
    scene.awaits = true;
    let patient = scene.run().map(|(_, count)| count);
    assert!(patient < hasty, "{patient:?} of {hasty:?}");
    let run = OriginRun { id: 1, first: Slot(0), count: 16, left: 1 << 20, asked: NOW, moved: NOW };
    scene.origin.runs.push(run);
    scene.pieces[..16].iter_mut().for_each(|piece| piece.fetching = true);
    assert_eq!(scene.run(), None);
}

#[test]
fn an_origin_that_gave_one_request_plenty_is_not_starved() {
    // Little was seen in sum so far, for nobody asked for more.
    let mut scene = Scene::new();
    scene.origin.capacity = 200_000;
    scene.neighbours[0].complete = false;
    scene.pieces.iter_mut().for_each(|piece| (piece.claims, piece.holders) = (1, 0));
    assert!(scene.run().is_some(), "a claim is no reason to wait where the origin has enough for all");
    scene.origin.rate = 200_000;
    assert_eq!(scene.run(), None, "it is where there is not");
}
