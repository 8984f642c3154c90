//! The download algorithm: who is asked for what.
//!
//! Neighbours: each gets requests worth 1.5 × its bandwidth-delay product, at least two, at most two seconds of its rate; the
//! fastest choose first, so what is urgent arrives soonest, and superpeers before their equals. The origin: first what a player is about to miss, then this node's
//! duty, then what the phase and the policy allow. The end: a few pieces may be asked for twice.

mod in_turn;
pub mod next_run;

use std::fmt::Debug;
use std::time::Duration;

use super::buffer::Buffer;
use super::phase::Phase;
use super::{Flight, Handle, Neighbour, Piece, Plan, Policy, Slot, SlotSet, View, duty, rescue};
use crate::dice::Dice;
use crate::transport::Class;
use crate::unit::Time;

/// Turns ranks and the phase into requests.
pub trait Assign: Send + Debug {
    /// Adds what shall begin now to `plan`.
    fn assign(
        &mut self,
        view: &View<'_>,
        phase: Phase,
        buffer: &dyn Buffer,
        dice: &mut Dice,
        plan: &mut Plan,
    );
}

/// Requests to a neighbour: at least two, so that one is always behind the one being sent. One that needs more than
/// [`SLOW`] for a piece gets one: what waits behind it could be had elsewhere.
const WINDOW_MIN: u64 = 2;
const SLOW: Duration = Duration::from_secs(1);
/// At most this many, whatever the product: 4 MiB of 64 KiB pieces.
const WINDOW_MAX: u64 = 64;
/// A neighbour that failed this often in a row is on parole: one request at a time.
const PAROLE: u16 = 3;
/// Bytes asked for twice, as a part of the resource.
const DUPLICATES: f64 = 0.03;
/// Runs ahead of a player that may be fetched by whom they belong to, at least: two nodes alone would often own neither of two.
const RUNS_OPEN_MIN: u64 = 4;
/// What is due within this is asked of a neighbour as well as of the origin: a start is as fast as the faster of the two.
const RACE: Duration = Duration::from_millis(300);
/// A superpeer is asked for as many times more at once: where this node's own line is the bottleneck, it gives the greater part.
const SUPERPEER_PRODUCTS: u64 = 3;
/// A superpeer chooses before whoever would be no more than this much sooner: it has shown for days that it gives what it
/// promises, and no player notices a tenth of a second this side of [`URGENT`].
const PREFERENCE: Duration = Duration::from_millis(100);
/// A player waits for what is due within this.
const URGENT: Duration = Duration::from_secs(5);

/// The default algorithm.
#[derive(Debug, Default)]
pub struct EarliestArrival {
    duplicates: u64,
    /// Which run of others is left lying, and since when this node would fetch it.
    idle: Option<(u64, Time)>,
    /// When a neighbour that had given nothing yet was last tried on a thin line.
    tried: Time,
}

impl Assign for EarliestArrival {
    fn assign(&mut self, view: &View<'_>, phase: Phase, buffer: &dyn Buffer, _: &mut Dice, plan: &mut Plan) {
        let mut taken = Taken::default();
        if phase != Phase::Alone && in_turn::applies(view) {
            return in_turn::plan(view, &mut self.tried, plan, &mut taken);
        }
        let rescued = self.rescue(view, phase, plan, &mut taken);
        if view.is_limited() {
            // What this node owes the swarm would take the line from what its player needs, and what neighbours give costs nobody
            // anything: the origin gives what is left of the bound.
            self.ask_neighbours(view, buffer, plan, &mut taken);
            if !rescued && taken.bytes < view.budget {
                self.use_origin(view, phase, plan, &mut taken);
            }
            return;
        }
        if !rescued {
            self.use_origin(view, phase, plan, &mut taken);
        }
        self.ask_neighbours(view, buffer, plan, &mut taken);
    }
}

/// Slots given out by this very plan.
#[derive(Debug, Default)]
pub struct Taken {
    slots: SlotSet,
    runs: Vec<(Slot, u32)>,
    /// Bytes asked of neighbours.
    bytes: u64,
}

impl Taken {
    fn has(&self, slot: Slot) -> bool {
        self.slots.get(slot.0)
            || self.runs.iter().any(|(first, count)| (first.0..first.0 + count).contains(&slot.0))
    }

    fn ask(&mut self, view: &View<'_>, slot: Slot, from: Handle, class: Class, plan: &mut Plan) {
        self.slots.set(slot.0, true);
        self.bytes += u64::from(view.piece(slot).len);
        plan.ask(slot, from, class);
    }

    pub(super) fn run(&mut self, first: Slot, count: u32, plan: &mut Plan) {
        self.runs.push((first, count));
        plan.fetch(first, count);
    }
}

impl EarliestArrival {
    /// What a player is about to miss; says whether anything was. Then nothing else is asked of the origin.
    fn rescue(&mut self, view: &View<'_>, phase: Phase, plan: &mut Plan, taken: &mut Taken) -> bool {
        if !view.may_fetch() {
            return false;
        }
        rescue::needless(view).for_each(|run| plan.cut(run));
        if next_run::room(view, next_run::RUNS_RESCUE)
            && let Some((first, count)) = rescue::due_run(view)
        {
            // Where nobody else brings what follows, it is one request: a second one would take the line from what is pressing.
            let alone = phase == Phase::Alone && !view.waits() && view.origin.used > 0;
            let count = if alone { next_run::long(view, first) } else { count };
            taken.run(first, count, plan);
            return true;
        }
        false
    }

    /// What nobody waits for at once.
    fn use_origin(&mut self, view: &View<'_>, phase: Phase, plan: &mut Plan, taken: &mut Taken) {
        self.owe(view, phase, plan, taken);
        if phase == Phase::Alone && !view.waits() {
            // Whoever is left may still be tried; nothing depends on it.
            next_run::alone(view, plan, taken);
        }
    }

    /// This node's duty, and what the phase and the policy allow beside it.
    fn owe(&mut self, view: &View<'_>, phase: Phase, plan: &mut Plan, taken: &mut Taken) {
        if !view.may_fetch() || view.waits() || !next_run::room(view, next_run::RUNS) {
            return;
        }
        if let Some((first, count)) = rescue::stuck_run(view) {
            return taken.run(first, count, plan);
        }
        if phase == Phase::Alone {
            return;
        }
        let chosen = self.duty(view).or_else(|| match phase {
            Phase::Assist => rarest(view, duty::RUN_PIECES),
            _ if extra_allowed(view) => rarest(view, duty::RUN_PIECES),
            _ => None,
        });
        if let Some((first, count)) = chosen {
            taken.run(first, count, plan);
        }
    }

    /// The run this node owes the swarm: its own first, then what others leave lying, by rank and patience.
    fn duty(&mut self, view: &View<'_>) -> Option<(Slot, u32)> {
        let failing: Vec<&Neighbour> = view.neighbours.iter().filter(|n| n.failures >= PAROLE).collect();
        let lacks = |slot: Slot, piece: &Piece| lacking(view, &failing, slot, piece);
        let mut open: Vec<(u64, u32, Slot)> = Vec::new();
        // Players need what is next: an origin that is short of capacity must not spend it on what is far ahead. Of the runs
        // that are not all here only the first count, as many as there are nodes, so that about one is this node's own.
        let mut ahead = if view.whole { u64::MAX } else { view.downloaders().max(RUNS_OPEN_MIN) };
        for run in duty::Run::all(view) {
            if ahead == 0 {
                break;
            }
            let pieces = &view.pieces[run.first.0 as usize..run.end as usize];
            ahead -=
                u64::from(pieces.iter().any(|piece| !piece.held && (view.whole || piece.due < Time::NEVER)));
            let mut slots = pieces.iter().zip(run.first.0..);
            if let Some(at) = slots.position(|(piece, slot)| lacks(Slot(slot), piece)) {
                let rank = duty::rank(view, &run).saturating_sub(u32::from(view.copies) - 1);
                let due = pieces[at].due;
                let order = if due == Time::NEVER { turn(view, &run) } else { due.0 };
                open.push((order, rank, Slot(run.first.0 + at as u32)));
            }
        }
        let best = open.into_iter().map(|(order, rank, first)| (rank, order, first)).min();
        let Some((rank, _, first)) = best else {
            self.idle = self.idle.filter(|_| !view.paced);
            return None;
        };
        let run = duty::Run::of(view, first);
        if rank == 0 {
            self.idle = None;
        } else {
            // A download waits for its turn once; of a stream each run is waited for anew, as each comes anew.
            let waited_for = if view.paced { run.number } else { 0 };
            let (_, since) = match self.idle.filter(|(of, _)| *of == waited_for) {
                Some(idle) => idle,
                None => *self.idle.insert((waited_for, view.now)),
            };
            let patience = duty::PATIENCE * rank.min(8);
            if view.now.since(since) < patience {
                return None;
            }
        }
        let end = run.end;
        let count = next_run::stretch(view, first, end - first.0, lacks);
        Some((first, count))
    }

    fn ask_neighbours(&mut self, view: &View<'_>, buffer: &dyn Buffer, plan: &mut Plan, taken: &mut Taken) {
        // Under a bound of the node's own two would take the line from one another.
        let race = !view.is_limited() && self.duplicates < self.duplicates_max(view);
        let open = open(view, taken, race);
        let slow = self.slow(view);
        if open.count() == 0 && slow.is_empty() {
            return;
        }
        let piece_len = view.piece_len();
        // Most plans are made because one piece came, and nobody or only its giver has anything to give.
        let useful = |n: &Neighbour| open.meets(&n.holds) || (!slow.is_empty() && n.holds.count() > 0);
        let ready = view.neighbours.iter().filter(|n| n.quiet_until <= view.now);
        let roomy = ready.filter_map(|n| Some((n, room(n, piece_len)?)));
        let mut hungry: Vec<(Time, &Neighbour, usize)> = roomy
            .filter(|(n, _)| useful(n))
            .map(|(n, room)| (n.arrival(view.now, piece_len), n, room))
            .collect();
        let preferred = |arrival: Time, n: &Neighbour| {
            let wait = arrival.since(view.now);
            if n.superpeer { wait.saturating_sub(PREFERENCE) } else { wait }
        };
        if hungry.is_empty() {
            return;
        }
        hungry.sort_unstable_by_key(|(arrival, n, _)| (preferred(*arrival, n), n.handle));
        let mut wants = Wants::new(view, buffer, open, &hungry);
        if view.is_limited() {
            return self.ask_first_things_first(view, wants, &slow, hungry, plan, taken);
        }
        for (arrival, neighbour, room) in hungry {
            let chosen = wants.best_of(neighbour, room);
            let spare = room - chosen.len();
            for slot in chosen {
                let piece = view.piece(slot);
                self.duplicates += if piece.fetching { u64::from(piece.len) } else { 0 };
                wants.open.set(slot.0, false);
                taken.ask(view, slot, neighbour.handle, class(view, piece), plan);
            }
            if spare > 0 && !slow.is_empty() {
                self.again(view, &slow, neighbour, arrival, plan, taken);
            }
        }
    }

    /// Under the node's own bound the line is the bottleneck, not the neighbours: the first in rank goes first, to whoever has it and
    /// is soonest, and what does not fit is asked for when it is its turn.
    fn ask_first_things_first(
        &mut self,
        view: &View<'_>,
        mut wants: Wants,
        slow: &[&Flight],
        mut hungry: Vec<(Time, &Neighbour, usize)>,
        plan: &mut Plan,
        taken: &mut Taken,
    ) {
        wants.ranked.sort_unstable();
        // One that has given nothing yet may never: what is asked of it keeps the line idle, so only one of them is tried at a time.
        let unproven = |n: &Neighbour| n.service.0.is_zero();
        let mut trying = view.flights.iter().any(|flight| view.neighbour(flight.from).is_some_and(unproven));
        for (_, slot) in wants.ranked.iter().filter(|(_, slot)| wants.open.get(slot.0)) {
            if taken.bytes >= view.budget {
                return;
            }
            let able = |n: &Neighbour, room: usize| room > 0 && n.gives(*slot) && !(trying && unproven(n));
            let Some((_, neighbour, room)) = hungry.iter_mut().find(|(_, n, room)| able(n, *room)) else {
                continue;
            };
            *room -= 1;
            trying |= unproven(neighbour);
            taken.ask(view, *slot, neighbour.handle, class(view, view.piece(*slot)), plan);
        }
        for (arrival, neighbour, _) in hungry.into_iter().filter(|(_, _, room)| *room > 0) {
            if taken.bytes >= view.budget {
                return;
            }
            self.again(view, slow, neighbour, arrival, plan, taken);
        }
    }

    /// Requests worth a second one: near the end, or where a player waits.
    fn slow<'v>(&self, view: &'v View<'_>) -> Vec<&'v Flight> {
        let few = (view.len / 50).max(2 * view.neighbours.len() as u64 * u64::from(view.piece_len()));
        let ending = view.whole && view.missing_bytes <= few;
        let pressing = view.now + URGENT;
        let worth = |flight: &&Flight| {
            let piece = view.piece(flight.slot);
            (ending || piece.due <= pressing) && piece.flights == 1 && !piece.fetching
        };
        view.flights.iter().filter(worth).collect()
    }

    /// Asks a second neighbour for what the first is slow with.
    fn again(
        &mut self,
        view: &View<'_>,
        slow: &[&Flight],
        who: &Neighbour,
        arrival: Time,
        plan: &mut Plan,
        taken: &mut Taken,
    ) {
        let sooner = |expected: Time| arrival.since(view.now) * 2 < expected.since(view.now);
        let flight = slow.iter().find(|flight| {
            let expected = flight.expected.max(view.now + Duration::from_millis(50));
            let late = view.now > flight.expected;
            (late || sooner(expected))
                && flight.from != who.handle
                && who.gives(flight.slot)
                && !taken.has(flight.slot)
        });
        let Some(flight) = flight else { return };
        let bytes = u64::from(view.piece(flight.slot).len);
        if self.duplicates + bytes > self.duplicates_max(view) {
            return;
        }
        self.duplicates += bytes;
        taken.ask(view, flight.slot, who.handle, Class::Urgent, plan);
    }

    /// Bytes this node may ask for twice.
    fn duplicates_max(&self, view: &View<'_>) -> u64 {
        let piece = u64::from(view.piece_len());
        ((view.len as f64 * DUPLICATES) as u64).max(4 * piece)
    }
}

/// What the choosing neighbours can give, with its rank, computed once a plan.
struct Wants {
    ranked: Vec<(u64, Slot)>,
    /// What may be asked, without what was given out: many neighbours have nothing of it, and that is soon seen.
    open: SlotSet,
    /// Whether they are in order: worth it where several neighbours are to choose.
    sorted: bool,
}

/// What may be asked of neighbours now. `race`: also what a player waits for this very moment although the origin is
/// bringing it.
fn open(view: &View<'_>, taken: &Taken, race: bool) -> SlotSet {
    let racing = |piece: &Piece| race && piece.flights == 0 && piece.due <= view.now + RACE;
    let mut open = SlotSet::default();
    for slot in view.missing() {
        let piece = view.piece(slot);
        if piece.offered() && (racing(piece) || (!piece.under_way() && !taken.has(slot))) {
            open.set(slot.0, true);
        }
    }
    open
}

impl Wants {
    fn new(
        view: &View<'_>,
        buffer: &dyn Buffer,
        open: SlotSet,
        choosers: &[(Time, &Neighbour, usize)],
    ) -> Self {
        let mut common = SlotSet::default();
        choosers.iter().for_each(|(_, neighbour, _)| open.add_common(&neighbour.holds, &mut common));
        let rank = |slot: u32| Some((buffer.rank(view, Slot(slot))?, Slot(slot)));
        let mut ranked: Vec<(u64, Slot)> = common.iter().filter_map(rank).collect();
        let sorted = choosers.len() > 2;
        if sorted {
            ranked.sort_unstable();
        }
        Self { ranked, open, sorted }
    }

    /// The `room` lowest ranks this neighbour can give, in order.
    fn best_of(&self, neighbour: &Neighbour, room: usize) -> Vec<Slot> {
        if !self.open.meets(&neighbour.holds) {
            return Vec::new();
        }
        let mut best: Vec<(u64, Slot)> = Vec::with_capacity(room + 1);
        for (rank, slot) in &self.ranked {
            let worse = best.len() == room && best.last().is_some_and(|last| *last <= (*rank, *slot));
            if worse && self.sorted {
                break;
            }
            if worse || !neighbour.gives(*slot) || !self.open.get(slot.0) {
                continue;
            }
            let at = best.partition_point(|entry| entry < &(*rank, *slot));
            best.insert(at, (*rank, *slot));
            best.truncate(room);
        }
        best.into_iter().map(|(_, slot)| slot).collect()
    }
}

/// How many more requests a neighbour takes; `None` if none.
fn room(neighbour: &Neighbour, piece_len: u32) -> Option<usize> {
    if neighbour.failures >= PAROLE {
        return (neighbour.flights == 0).then_some(1);
    }
    let reach = neighbour.rtt + Duration::from_millis(60);
    let product = (neighbour.rate as f64 * reach.as_secs_f64() * 1.5 / f64::from(piece_len)).ceil() as u64;
    let two_seconds = neighbour.rate * 2 / u64::from(piece_len);
    let slow = neighbour.rate as f64 * SLOW.as_secs_f64() < f64::from(piece_len);
    let product = if neighbour.superpeer { product * SUPERPEER_PRODUCTS } else { product };
    let window = if slow { 1 } else { (product + 1).min(two_seconds).clamp(WINDOW_MIN, WINDOW_MAX) };
    let free = window.saturating_sub(u64::from(neighbour.flights));
    (free > 0).then_some(free as usize)
}

fn class(view: &View<'_>, piece: &Piece) -> Class {
    if piece.due <= view.now + URGENT { Class::Urgent } else { Class::Normal }
}

/// When a run's turn is in a download. One owner: each starts at another place. Several: all keep the same order, so that
/// they fetch a run at about the same time and the others can soon take it (witnessed, 8 nodes: 32 s with orders of their own).
fn turn(view: &View<'_>, run: &duty::Run) -> u64 {
    let seed = if view.copies <= 1 { super::seed_of(&view.me) } else { view.len };
    super::mix(seed, run.number)
}

/// Whether the swarm, as far as this node sees it, lacks origin copies of a piece that somebody wants within the horizon.
/// `failing` hold pieces and will hardly give them: if nobody else holds one, it is as if nobody had it.
fn lacking(view: &View<'_>, failing: &[&Neighbour], slot: Slot, piece: &Piece) -> bool {
    let wanted = view.whole || piece.due <= view.now + Duration::from_secs(120);
    if piece.held || piece.under_way() || !wanted {
        return false;
    }
    let coming = u16::from(piece.claims);
    match view.copies {
        0 | 1 => {
            coming == 0 && usize::from(piece.holders) <= failing.iter().filter(|n| n.gives(slot)).count()
        }
        copies => u16::from(piece.copies) + coming < u16::from(copies),
    }
}

/// The rarest run nobody has been asked for.
fn rarest(view: &View<'_>, pieces: u32) -> Option<(Slot, u32)> {
    let free = |piece: &Piece| !piece.held && !piece.under_way() && piece.claims == 0;
    let all_free = |_, piece: &Piece| free(piece);
    let wanted = |piece: &Piece| view.whole || piece.due < Time::NEVER;
    let first = view
        .missing()
        .filter(|slot| free(view.piece(*slot)) && wanted(view.piece(*slot)))
        .min_by_key(|slot| {
            // Where witnesses are wanted, a copy that makes a piece provable serves everyone.
            let enough = view.piece(*slot).copies >= view.copies && view.copies > 1;
            (enough, view.piece(*slot).holders, super::mix(super::seed_of(&view.me), u64::from(slot.0)))
        })?;
    Some((first, next_run::stretch(view, first, pieces, all_free)))
}

/// Whether the policy lets this node take more from the origin than its duty: a part of the resource, spent at the end,
/// where it evens out what neighbours do not deliver in time.
fn extra_allowed(view: &View<'_>) -> bool {
    if !view.whole {
        return false;
    }
    let nodes = view.neighbours.len() as f64 + 1.0;
    let part = match view.policy {
        Policy::Cost => return false,
        Policy::Balanced => BALANCED_PART.max(f64::from(view.copies) / nodes + 0.04),
        Policy::Speed => return true,
    };
    let left = (view.len as f64 * part) - view.origin.used as f64;
    if left < f64::from(view.piece_len()) {
        return false;
    }
    // Both sources together finish in `missing / (peers + origin)`; the origin's part of that must fit into what is left.
    let origin = (view.fair_share() as f64).max(1.0);
    let share = origin / (origin + view.peer_rate as f64);
    view.missing_bytes as f64 * share <= left
}

/// Of its bytes a node may take this part from the origin under `balanced`. With all uplinks full, 8 homes of 100/30 Mbit/s
/// obey makespan ≥ 28.3 s × (1 − part), 5 % of packet headers included: 0.19 measured 25.8 s at a share of 20.0 %.
const BALANCED_PART: f64 = 0.207;

/// Whom a plan asks for `slot`; for tests of schedulers.
pub fn asked(plan: &Plan, slot: Slot) -> Option<Handle> {
    plan.steps.iter().find_map(|step| match step {
        super::Step::Ask { slot: s, from, .. } if *s == slot => Some(*from),
        _ => None,
    })
}

#[cfg(test)]
mod tests;
