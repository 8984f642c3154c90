//! A small random world for schedulers: pieces, neighbours and an origin, without bytes.

use std::time::Duration;

use crate::dice::Dice;
use crate::id::PeerId;
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::schedule::{
    Flight, Handle, Neighbour, OriginRun, OriginView, Piece, Plan, Policy, Slot, SlotSet, Step, View,
};
use crate::unit::{Rate, Time};

const TICK: Duration = Duration::from_millis(200);
const PIECE_LOG2: u8 = 16;
const PIECE_BYTES: u64 = 1 << PIECE_LOG2;
/// Ticks after which a request nobody answers is given up, as the engine does.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) struct World {
    now: Time,
    dice: Dice,
    policy: Policy,
    pieces: Vec<Piece>,
    neighbours: Vec<Neighbour>,
    flights: Vec<Flight>,
    origin: OriginView,
    whole: bool,
    /// Until then it may be that somebody is found.
    company_by: Time,
    copies: u8,
    next_id: u64,
    /// Bytes a run of the origin gets in one tick.
    origin_tick: u64,
    /// Neighbours that never answer.
    mute: Vec<Handle>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed).fork("world");
        let whole = dice.chance(0.6);
        let policy = [Policy::Cost, Policy::Balanced, Policy::Speed][dice.below(3) as usize];
        let mut world = Self {
            now: Time(1_000_000),
            policy,
            pieces: Vec::new(),
            neighbours: Vec::new(),
            flights: Vec::new(),
            origin: OriginView {
                allowed: true,
                first_byte: Duration::from_millis(dice.below(300)),
                rate: 100_000 + dice.below(4_000_000),
                capacity: dice.below(10_000_000),
                ..OriginView::default()
            },
            whole,
            company_by: Time(1_000_000) + TICK * Dice::new(seed).fork("company").below(4) as u32,
            copies: 1 + dice.below(2) as u8,
            next_id: 1,
            origin_tick: 1 + dice.below(8 * PIECE_BYTES),
            mute: Vec::new(),
            dice,
        };
        world.cut();
        (0..world.dice.below(7)).for_each(|n| world.meet(Handle(n as u32)));
        world
    }

    /// Segments of one to twenty pieces; a stream's are due one after another.
    fn cut(&mut self) {
        for segment in 0..1 + self.dice.below(6) {
            let len = 1 + self.dice.below(20 * PIECE_BYTES);
            let layout = Layout::new(len, PIECE_LOG2).expect("a valid layout");
            for piece in layout.iter() {
                let at = self.pieces.len() as u64;
                let due = if self.whole { Time::NEVER } else { self.now + Duration::from_millis(500 * at) };
                self.pieces.push(Piece {
                    key: PieceKey { segment: SegmentId(segment), piece },
                    len: layout.piece_len(piece),
                    at: at * PIECE_BYTES,
                    due,
                    holders: 0,
                    flights: 0,
                    fetching: false,
                    claims: 0,
                    copies: 0,
                    provable: self.copies == 1 || self.dice.chance(0.5),
                    held: at == 0 && self.dice.chance(0.5),
                });
            }
        }
    }

    fn meet(&mut self, handle: Handle) {
        let mut holds = SlotSet::default();
        let share = self.dice.unit();
        for slot in 0..self.pieces.len() as u32 {
            if self.dice.chance(share) {
                holds.set(slot, true);
                self.pieces[slot as usize].holders += 1;
            }
        }
        if self.dice.chance(0.2) {
            self.mute.push(handle);
        }
        let ms = |n| Duration::from_millis(n);
        self.neighbours.push(Neighbour {
            handle,
            peer: PeerId([handle.0 as u8 + 1; 32]),
            complete: holds.count() as usize == self.pieces.len(),
            holds,
            rtt: ms(self.dice.below(200)),
            rate: 20_000 + self.dice.below(2_000_000),
            service: (ms(200), ms(50)),
            pending: 0,
            flights: 0,
            failures: 0,
            quiet_until: Time::ZERO,
            origin_rate: 0,
            superpeer: self.dice.chance(0.1),
        });
    }

    pub(super) fn missing(&self) -> usize {
        self.pieces.iter().filter(|piece| !piece.held).count()
    }

    pub(super) fn under_way(&self) -> bool {
        !self.flights.is_empty() || !self.origin.runs.is_empty()
    }

    pub(super) fn origin_ready(&self) -> bool {
        let due = |piece: &Piece| self.whole || piece.due <= self.now + Duration::from_secs(5);
        let wanted = self.pieces.iter().any(|piece| !piece.held && due(piece));
        self.origin.allowed && self.now >= self.origin.quiet_until && wanted
    }

    pub(super) fn view(&self, look: impl FnOnce(&View<'_>)) {
        let bytes = |missing: bool| {
            let counted = self.pieces.iter().filter(|piece| !missing || !piece.held);
            counted.map(|piece| u64::from(piece.len)).sum()
        };
        look(&View {
            now: self.now,
            me: PeerId([0x55; 32]),
            policy: self.policy,
            pieces: &self.pieces,
            neighbours: &self.neighbours,
            flights: &self.flights,
            origin: &self.origin,
            first_missing: Slot(self.pieces.iter().take_while(|piece| piece.held).count() as u32),
            whole: self.whole,
            paced: false,
            awaits_company: self.now < self.company_by,
            copies: self.copies,
            len: bytes(false),
            missing_bytes: bytes(true),
            peer_rate: self.neighbours.iter().map(|n| u64::from(n.flights.min(1)) * n.rate).sum(),
            limit: Rate::UNLIMITED,
            line: Rate::UNLIMITED,
            budget: u64::MAX,
            queued: Duration::ZERO,
        });
    }

    /// What the engine does with a plan whose steps can all be done.
    pub(super) fn carry_out(&mut self, plan: &Plan) {
        for step in &plan.steps {
            match *step {
                Step::Ask { slot, from, .. } => self.ask(slot, from),
                Step::Fetch { first, count } => self.fetch(first, count),
                Step::Drop { flight } => {
                    self.land(flight);
                }
                Step::Cut { run } => self.end_run(run),
            }
        }
    }

    fn ask(&mut self, slot: Slot, from: Handle) {
        let Some(neighbour) = self.neighbours.iter_mut().find(|n| n.handle == from) else { return };
        let len = self.pieces[slot.0 as usize].len;
        let expected = neighbour.arrival(self.now, len);
        neighbour.flights += 1;
        neighbour.pending += u64::from(len);
        self.pieces[slot.0 as usize].flights += 1;
        self.flights.push(Flight { id: self.next_id, slot, from, asked: self.now, expected });
        self.next_id += 1;
    }

    /// As the engine does, a run ends with its segment, or before the first piece that needs no fetching.
    fn fetch(&mut self, first: Slot, count: u32) {
        let start = first.0 as usize;
        let segment = self.pieces[start].key.segment;
        let free = |piece: &&Piece| !piece.held && !piece.fetching && piece.key.segment == segment;
        let count = self.pieces[start..].iter().take(count as usize).take_while(free).count();
        if count == 0 {
            return;
        }
        let run = start..start + count;
        let count = count as u32;
        let left = self.pieces[run.clone()].iter().map(|piece| u64::from(piece.len)).sum();
        self.pieces[run].iter_mut().for_each(|piece| piece.fetching = true);
        self.origin.runs.push(OriginRun {
            id: self.next_id,
            first,
            count,
            left,
            asked: self.now,
            moved: self.now,
        });
        self.next_id += 1;
    }

    fn land(&mut self, id: u64) -> Option<Flight> {
        let at = self.flights.iter().position(|flight| flight.id == id)?;
        let flight = self.flights.remove(at);
        let piece = &mut self.pieces[flight.slot.0 as usize];
        piece.flights -= 1;
        if let Some(neighbour) = self.neighbours.iter_mut().find(|n| n.handle == flight.from) {
            neighbour.flights -= 1;
            neighbour.pending -= u64::from(piece.len);
        }
        Some(flight)
    }

    fn end_run(&mut self, id: u64) {
        let Some(at) = self.origin.runs.iter().position(|run| run.id == id) else { return };
        let run = self.origin.runs.remove(at);
        let pieces = run.first.0 as usize..(run.first.0 + run.count) as usize;
        self.pieces[pieces].iter_mut().for_each(|piece| piece.fetching = false);
    }

    /// 200 ms pass.
    pub(super) fn tick(&mut self) {
        self.now += TICK;
        self.neighbours_answer();
        self.origin_gives();
        if self.dice.chance(0.02) && self.neighbours.len() > 1 {
            self.part();
        }
        if self.dice.chance(0.3) {
            // Statements came: what could not be checked now can.
            let slot = self.dice.below(self.pieces.len() as u64) as usize;
            self.pieces[slot].provable = true;
        }
    }

    fn neighbours_answer(&mut self) {
        for flight in self.flights.clone() {
            let mute = self.mute.contains(&flight.from);
            let late = self.now.since(flight.asked) > PATIENCE;
            let refused = !mute && self.dice.chance(0.03);
            if late || refused {
                self.land(flight.id);
                let now = self.now;
                let neighbour = self.neighbours.iter_mut().find(|n| n.handle == flight.from);
                let neighbour = neighbour.expect("requests of who left were given up");
                neighbour.failures += 1;
                neighbour.quiet_until = now + Duration::from_millis(500);
            } else if !mute && self.now >= flight.expected {
                self.land(flight.id);
                self.hold(flight.slot);
                let neighbour = self.neighbours.iter_mut().find(|n| n.handle == flight.from);
                neighbour.expect("requests of who left were given up").failures = 0;
            }
        }
    }

    fn origin_gives(&mut self) {
        for run in self.origin.runs.clone() {
            if self.dice.chance(0.02) {
                self.end_run(run.id);
                self.origin.quiet_until = self.now + Duration::from_secs(1);
                continue;
            }
            let left = run.left.saturating_sub(self.origin_tick);
            self.origin.used += run.left - left;
            let pieces = run.first.0..run.first.0 + run.count;
            let mut behind: u64 = pieces.clone().map(|slot| u64::from(self.pieces[slot as usize].len)).sum();
            for slot in pieces {
                behind -= u64::from(self.pieces[slot as usize].len);
                if left <= behind {
                    self.hold(Slot(slot));
                }
            }
            match self.origin.runs.iter_mut().find(|r| r.id == run.id) {
                Some(_) if left == 0 => self.end_run(run.id),
                Some(kept) => kept.left = left,
                None => {}
            }
        }
    }

    /// The piece is here: whoever else was asked for it is told not to send it.
    fn hold(&mut self, slot: Slot) {
        let piece = &mut self.pieces[slot.0 as usize];
        piece.held = true;
        piece.fetching = false;
        let others: Vec<u64> = self.flights.iter().filter(|f| f.slot == slot).map(|f| f.id).collect();
        others.into_iter().for_each(|id| {
            self.land(id);
        });
    }

    /// A neighbour leaves.
    fn part(&mut self) {
        let at = self.dice.below(self.neighbours.len() as u64) as usize;
        let gone = self.neighbours[at].handle;
        let flights: Vec<u64> = self.flights.iter().filter(|f| f.from == gone).map(|f| f.id).collect();
        flights.into_iter().for_each(|id| {
            self.land(id);
        });
        let neighbour = self.neighbours.remove(at);
        for (slot, piece) in self.pieces.iter_mut().enumerate() {
            piece.holders -= u16::from(neighbour.gives(Slot(slot as u32)));
        }
    }
}
