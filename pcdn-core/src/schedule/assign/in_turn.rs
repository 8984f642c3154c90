//! A player on a thin line that may soon have to wait: one thing after another, in the order of need.
//!
//! Where the line is the bottleneck, whatever comes out of turn comes at the cost of what the player waits for, and what was asked of
//! somebody who does not bring it has cost its turn. From the CDN alone all comes in order and the line never idles. So, as long as
//! something presses:
//!
//! - no more is under way than the line brings within [`QUEUE`], of it all that is due first;
//! - a piece is asked of a neighbour that has already given something and brings it in time, else of the origin, in one run at a time
//!   that begins when the one before it ends;
//! - who has given nothing yet is tried with one piece that is not due next, one neighbour after another.

use std::cmp::Reverse;
use std::time::Duration;

use super::super::{Flight, Neighbour, OriginRun, Plan, Slot, View, rescue};
use super::{PAROLE, Taken, class};
use crate::unit::{Rate, Time};

/// What may be under way: two ticks, so that the line does not idle between two plans. What is asked last waits for so long.
const QUEUE: Duration = Duration::from_millis(400);
/// A run from the origin takes the line for so long: each costs a request, and a neighbour that is tried meanwhile waits for its end,
/// as transports between peers give way.
const RUN: Duration = Duration::from_millis(500);
/// Shortest run, as for any rescue.
const RUN_BYTES_MIN: u64 = 256 << 10;
/// A request that is this late is not believed in any more: one tick.
const LATE: Duration = Duration::from_millis(200);
/// What is due within what the line brings in this time is not left to a neighbour that has given nothing yet: that it gives nothing
/// shows after about half a second, and as much passes until the origin has brought the piece.
const NEAR: Duration = Duration::from_secs(1);
/// Among neighbours that bring a piece within this of one another the one goes on that is sending already.
const SAME: Duration = Duration::from_millis(150);
/// Where somebody gives enough, others are tried so seldom: what comes out of turn holds up what does not.
const TRIALS: Duration = Duration::from_secs(2);
/// The next run is asked for so long before the one before it ends, beside the time to its first byte.
const OVERLAP: Duration = Duration::from_millis(30);

/// Whether a player presses on a thin line. Where others take much of the origin, it may be that which is thin, and not the line.
pub(super) fn applies(view: &View<'_>) -> bool {
    let is_thin = !view.whole && !view.line.is_unlimited() && !rescue::is_crowded(view);
    is_thin && rescue::presses(view)
}

/// Adds what shall begin now.
pub(super) fn plan(view: &View<'_>, tried: &mut Time, plan: &mut Plan, taken: &mut Taken) {
    let mut turn = Turn::new(view);
    let mut wanted: Vec<(Time, Slot)> = (view.first_missing.0..view.pieces.len() as u32)
        .map(|slot| (view.pieces[slot as usize].due, Slot(slot)))
        .filter(|(due, slot)| *due < Time::NEVER && !view.piece(*slot).held)
        .collect();
    wanted.sort_unstable();
    for (_, slot) in wanted {
        turn.ahead += u64::from(view.piece(slot).len);
        if view.piece(slot).fetching || turn.is_coming(slot) || taken.has(slot) {
            continue;
        }
        turn.is_over |= !(turn.ask(slot, plan, taken) || turn.fetch(slot, plan, taken));
        if turn.is_over && (!turn.may_try(*tried) || turn.try_one(slot, tried, plan, taken)) {
            break;
        }
    }
    if let Some(at) = turn.wake {
        plan.wake_at(at);
    }
}

struct Turn<'v> {
    view: &'v View<'v>,
    /// Bytes on their way through the line.
    on_way: u64,
    /// How long the origin still takes for what it was asked for.
    rest: Duration,
    /// Bytes that are due up to the piece looked at.
    ahead: u64,
    /// Bytes asked of each neighbour, with this plan's.
    pending: Vec<u64>,
    /// What neighbours that have shown what they give bring in all, in bytes per second.
    peers: u64,
    /// Somebody is tried.
    trying: bool,
    /// What follows has to wait.
    is_over: bool,
    /// When more can be asked for.
    wake: Option<Time>,
}

impl<'v> Turn<'v> {
    fn new(view: &'v View<'v>) -> Self {
        let proven = |flight: &&Flight| view.neighbour(flight.from).is_some_and(Neighbour::is_proven);
        let believed = view.flights.iter().filter(proven).filter(|flight| view.now <= flight.expected + LATE);
        let flying: u64 = believed.map(|flight| u64::from(view.piece(flight.slot).len)).sum();
        let rest: Duration = view.origin.runs.iter().map(|run| rest(view, run)).sum();
        Self {
            view,
            on_way: flying + view.line.bytes_in(rest),
            rest,
            ahead: 0,
            pending: view.neighbours.iter().map(|n| n.pending).collect(),
            peers: view.neighbours.iter().filter(|n| is_good(view, n)).map(|n| n.rate).sum(),
            trying: view.flights.iter().any(|flight| !proven(&flight)),
            is_over: false,
            wake: None,
        }
    }

    /// Whether a neighbour that has shown what it gives is bringing it.
    fn is_coming(&self, slot: Slot) -> bool {
        self.view.flights.iter().filter(|flight| flight.slot == slot).any(|flight| {
            let from = self.view.neighbour(flight.from).is_some_and(|n| n.is_proven() && n.failures < PAROLE);
            from && self.view.now <= flight.expected + LATE
        })
    }

    /// Asks who brings it in time, or no later than the origin would; says whether that is so, though it may be too early to ask.
    fn ask(&mut self, slot: Slot, plan: &mut Plan, taken: &mut Taken) -> bool {
        let (view, piece) = (self.view, self.view.piece(slot));
        // What they bring would wait for the origin's bytes, and be late.
        let enough = self.peers >= rate(view).0 / 2 || !view.may_fetch();
        if self.is_over || !piece.offered() || piece.flights > 1 || !enough {
            return false;
        }
        let through = view.line.time_for(self.on_way);
        let hope = |at: usize, n: &Neighbour| {
            let queued = (self.pending[at] + u64::from(piece.len)) as f64 / n.rate.max(1) as f64;
            view.now + n.rtt + Duration::from_secs_f64(queued.min(3_600.0)).max(through)
        };
        let asked = |n: &Neighbour| view.flights.iter().any(|f| f.slot == slot && f.from == n.handle);
        let able = |n: &Neighbour| is_good(view, n) && n.gives(slot) && !asked(n);
        let all = view.neighbours.iter().enumerate().filter(|(_, n)| able(n));
        // Two that send at once share the line, and what comes first is not what is due first: one goes on while it fills the line.
        let later = |hope: Time| hope.since(view.now + through + SAME) > Duration::ZERO;
        let all = all.map(|(at, n)| (hope(at, n), Reverse(self.pending[at]), at));
        let best = all
            .min_by_key(|(hope, pending, at)| (if later(*hope) { *hope } else { view.now }, *pending, *at));
        let Some((hope, _, at)) = best else { return false };
        let by_origin = view.now + view.origin.first_byte + through + rate(view).time_for(RUN_BYTES_MIN);
        if hope + LATE / 2 > piece.due && hope > by_origin && view.may_fetch() {
            return false;
        }
        let asks = view.neighbours[at].rtt + OVERLAP;
        if self.on_way >= view.line.bytes_in(QUEUE).max(1) || self.rest > asks {
            self.wake_in(self.rest.saturating_sub(asks));
            self.is_over = true;
            return true;
        }
        self.give(at, slot, plan, taken);
        true
    }

    fn wake_in(&mut self, wait: Duration) {
        if !wait.is_zero() {
            let at = self.view.now + wait;
            self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
        }
    }

    fn give(&mut self, at: usize, slot: Slot, plan: &mut Plan, taken: &mut Taken) {
        let (piece, handle) = (self.view.piece(slot), self.view.neighbours[at].handle);
        self.on_way += u64::from(piece.len);
        self.pending[at] += u64::from(piece.len);
        taken.ask(self.view, slot, handle, class(self.view, piece), plan);
    }

    /// Asks the origin for what begins with `slot`, unless a run is under way that has more than a moment to go.
    fn fetch(&mut self, slot: Slot, plan: &mut Plan, taken: &mut Taken) -> bool {
        let asks = self.view.origin.first_byte + OVERLAP;
        self.wake_in(self.rest.saturating_sub(asks));
        if !self.view.may_fetch() || self.rest > asks || !taken.runs.is_empty() || self.is_over {
            return false;
        }
        let most = self.view.line.bytes_in(RUN).max(RUN_BYTES_MIN);
        let mut bytes = 0;
        let fits = |slot: &u32| {
            let piece = self.view.piece(Slot(*slot));
            let none =
                piece.held || piece.fetching || piece.due == Time::NEVER || self.is_coming(Slot(*slot));
            bytes += u64::from(piece.len);
            !none && (bytes <= most || bytes == u64::from(piece.len))
        };
        let count = (slot.0..self.view.pieces.len() as u32).take_while(fits).count() as u32;
        taken.run(slot, count, plan);
        self.is_over = true;
        true
    }

    /// Whether there is somebody who has given nothing yet, and may be tried now.
    fn may_try(&self, tried: Time) -> bool {
        let view = self.view;
        let paused = self.peers >= view.line.0 / 2 && view.now.since(tried) < TRIALS;
        let opens = is_first_run(view) && self.rest > OVERLAP * 2;
        !self.trying && !paused && !opens && view.neighbours.iter().any(|n| is_new(view, n))
    }

    /// Asks somebody who has given nothing yet for a piece that is not due next.
    fn try_one(&mut self, slot: Slot, tried: &mut Time, plan: &mut Plan, taken: &mut Taken) -> bool {
        let (view, piece) = (self.view, self.view.piece(slot));
        let is_near = self.ahead < view.line.bytes_in(NEAR);
        if is_near || piece.under_way() || !piece.offered() || taken.has(slot) {
            return false;
        }
        let able = |n: &Neighbour| is_new(view, n) && n.gives(slot);
        let all = view.neighbours.iter().enumerate().filter(|(_, n)| able(n));
        let Some((.., at)) = all.map(|(at, n)| (n.failures, n.rtt, at)).min() else { return false };
        self.trying = true;
        *tried = view.now;
        self.give(at, slot, plan, taken);
        true
    }
}

/// Whether it has shown what it gives, and may be asked.
fn is_good(view: &View<'_>, neighbour: &Neighbour) -> bool {
    neighbour.is_proven() && neighbour.failures == 0 && neighbour.quiet_until <= view.now
}

/// Whether it has given nothing yet, and may be asked.
fn is_new(view: &View<'_>, neighbour: &Neighbour) -> bool {
    !neighbour.is_proven() && neighbour.quiet_until <= view.now && neighbour.flights == 0
}

/// What the origin brings through the line, in bytes per second.
fn rate(view: &View<'_>) -> Rate {
    Rate(view.line.0.min(view.origin.rate).max(1))
}

/// Whether the run under way is the first of all: what comes beside it makes the start later.
fn is_first_run(view: &View<'_>) -> bool {
    let all = |run: &OriginRun| -> u64 {
        let slots = run.first.0..(run.first.0 + run.count).min(view.pieces.len() as u32);
        slots.map(|slot| u64::from(view.piece(Slot(slot)).len)).sum()
    };
    view.origin.runs.iter().any(|run| view.origin.used + run.left <= all(run))
}

/// How long what is left of a run takes.
fn rest(view: &View<'_>, run: &OriginRun) -> Duration {
    let waits = if run.moved == run.asked { view.origin.first_byte } else { Duration::ZERO };
    (rate(view).time_for(run.left) + waits).saturating_sub(view.now.since(run.moved))
}

#[cfg(test)]
mod tests;
