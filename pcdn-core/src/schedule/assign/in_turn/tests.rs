use super::*;
use crate::id::PeerId;
use crate::schedule::{Handle, OriginView, Piece, Policy, SlotSet, Step};

const PIECE: u32 = 64 << 10;
const NOW: Time = Time(10_000_000);
/// A line of 2 Mbit/s: a piece takes it a quarter second.
const LINE: Rate = Rate(250_000);

/// Pieces and of whom they are asked, or how many of them follow.
type Pairs = Vec<(u32, u32)>;

/// A player that waits for 16 pieces, an origin as fast as the line, and neighbours that hold all.
struct Scene {
    pieces: Vec<Piece>,
    neighbours: Vec<Neighbour>,
    flights: Vec<Flight>,
    origin: OriginView,
    line: Rate,
}

impl Scene {
    fn new(neighbours: Vec<Neighbour>) -> Self {
        let piece = |slot: u64| Piece {
            len: PIECE,
            at: slot * u64::from(PIECE),
            due: NOW,
            holders: 1,
            provable: true,
            ..Piece::empty()
        };
        let first_byte = Duration::from_millis(20);
        let origin =
            OriginView { allowed: true, first_byte, rate: LINE.0, used: 1 << 20, ..OriginView::default() };
        Self { pieces: (0..16).map(piece).collect(), neighbours, flights: Vec::new(), origin, line: LINE }
    }

    /// The origin is asked for `count` pieces from `first` on and has brought nothing yet.
    fn fetches(&mut self, first: u32, count: u32) {
        let left = u64::from(PIECE) * u64::from(count);
        (first..first + count).for_each(|slot| self.pieces[slot as usize].fetching = true);
        self.origin.runs.push(OriginRun { id: 1, first: Slot(first), count, left, asked: NOW, moved: NOW });
    }

    fn flies(&mut self, slot: u32, from: u32, expected: Time) {
        self.pieces[slot as usize].flights = 1;
        self.flights.push(Flight { id: 1, slot: Slot(slot), from: Handle(from), asked: NOW, expected });
    }

    fn with<T>(&self, of: impl Fn(&View<'_>) -> T) -> T {
        let len = 16 * u64::from(PIECE);
        of(&View {
            now: NOW,
            me: PeerId([9; 32]),
            policy: Policy::Balanced,
            pieces: &self.pieces,
            neighbours: &self.neighbours,
            flights: &self.flights,
            origin: &self.origin,
            first_missing: Slot(0),
            whole: false,
            paced: false,
            awaits_company: false,
            copies: 1,
            len,
            missing_bytes: len,
            peer_rate: 0,
            limit: Rate::UNLIMITED,
            line: self.line,
            queued: Duration::ZERO,
            budget: u64::MAX,
        })
    }

    /// What begins: pieces asked of neighbours, and runs.
    fn plan(&self) -> (Pairs, Pairs) {
        let steps = self.with(|view| {
            let (mut plan, mut tried) = (Plan::default(), Time::ZERO);
            super::plan(view, &mut tried, &mut plan, &mut Taken::default());
            plan.steps
        });
        let asked = |step: &Step| match step {
            Step::Ask { slot, from, .. } => Some((slot.0, from.0)),
            _ => None,
        };
        let fetched = |step: &Step| match step {
            Step::Fetch { first, count } => Some((first.0, *count)),
            _ => None,
        };
        (steps.iter().filter_map(asked).collect(), steps.iter().filter_map(fetched).collect())
    }
}

fn neighbour(handle: u32, proven: bool) -> Neighbour {
    let mut holds = SlotSet::default();
    (0..16).for_each(|slot| _ = holds.set(slot, true));
    Neighbour {
        handle: Handle(handle),
        peer: PeerId([handle as u8; 32]),
        holds,
        rtt: Duration::from_millis(20),
        rate: 1_000_000,
        service: (if proven { Duration::from_millis(30) } else { Duration::ZERO }, Duration::ZERO),
        pending: 0,
        flights: 0,
        failures: 0,
        quiet_until: Time::ZERO,
        complete: true,
        origin_rate: 0,
        superpeer: false,
    }
}

#[test]
fn it_is_for_players_on_thin_lines_that_no_crowd_makes_thin() {
    let applies = |scene: &Scene| scene.with(applies);
    let mut scene = Scene::new(vec![neighbour(0, false)]);
    assert!(applies(&scene));
    scene.neighbours[0].origin_rate = LINE.0;
    assert!(!applies(&scene), "it may be the origin that is thin");
    scene.neighbours[0].origin_rate = 0;
    scene.line = Rate::UNLIMITED;
    assert!(!applies(&scene));
    scene.line = LINE;
    scene.pieces.iter_mut().for_each(|piece| piece.due = NOW + Duration::from_secs(60));
    assert!(!applies(&scene), "nothing presses");
}

#[test]
fn who_has_shown_what_it_gives_is_asked_in_order_for_as_much_as_the_line_brings_soon() {
    let scene = Scene::new(vec![neighbour(0, true), neighbour(1, true)]);
    assert_eq!(scene.plan(), (vec![(0, 0), (1, 0)], vec![]), "0.4 s of the line, all of one neighbour");
}

#[test]
fn what_presses_is_the_origins_and_who_has_given_nothing_is_tried_with_what_does_not() {
    let scene = Scene::new(vec![neighbour(0, false), neighbour(1, false)]);
    assert_eq!(scene.plan(), (vec![(4, 0)], vec![(0, 4)]), "one of them, behind a second of the line");
}

#[test]
fn nothing_is_asked_beside_the_first_run_of_all() {
    let mut scene = Scene::new(vec![neighbour(0, false)]);
    scene.origin.used = 0;
    scene.fetches(0, 4);
    assert_eq!(scene.plan(), (vec![], vec![]));
}

#[test]
fn one_run_follows_another_and_neighbours_follow_a_run() {
    let mut scene = Scene::new(vec![neighbour(0, true)]);
    scene.fetches(0, 2);
    assert_eq!(scene.plan(), (vec![], vec![]), "half a second of it is to come");
    // All but the last 40 ms.
    scene.origin.runs[0].left = LINE.bytes_in(Duration::from_millis(40));
    scene.origin.runs[0].asked = Time::ZERO;
    assert_eq!(scene.plan().0.first(), Some(&(2, 0)));
    scene.neighbours.clear();
    assert_eq!(scene.plan(), (vec![], vec![(2, 4)]));
}

#[test]
fn what_is_late_is_fetched_and_what_is_coming_is_not() {
    let mut scene = Scene::new(vec![neighbour(0, true)]);
    scene.neighbours[0].failures = 1;
    scene.flies(0, 0, NOW + Duration::from_millis(100));
    assert_eq!(scene.plan().1, vec![(1, 4)]);
    scene.flights[0].expected = Time(NOW.0 - 300_000);
    assert_eq!(scene.plan().1, vec![(0, 4)]);
}
