//! The rescue point: from which piece on the origin must be asked so that the player never waits.
//!
//! For a gap of missing pieces, fetching it from the origin takes T = first byte + bytes ÷ rate, on the pessimistic side of
//! what was measured. The origin is asked once the gap's first piece is due within 1.5·T + 0.5 s and no neighbour is expected
//! to deliver it in time. This is what makes "never worse than the origin alone" true.
//!
//! Where the origin has less for everyone than players take, rescues would only take from one another what each fetches
//! twice. Then nobody would have played without a stall from the origin alone, and a piece that a neighbour is fetching
//! already is waited for until that neighbour's claim runs out.

use std::time::Duration;

use super::assign::next_run;
use super::{Neighbour, OriginRun, Piece, Slot, View};
use crate::unit::Time;

/// Margin beside the estimate: a tick, a scheduling delay, a little jitter.
const MARGIN: Duration = Duration::from_millis(500);
/// Shortest rescue: below it the request costs more than the bytes.
const RUN_BYTES_MIN: u64 = 256 << 10;
/// Longest rescue in one request, so that it can be cut short when peers catch up.
const RUN_BYTES_MAX: u64 = 2 << 20;
/// Longest where the origin is starved.
const RUN_BYTES_STARVED: u64 = 512 << 10;
/// The first request of all: company may be found while it runs, and then has most of what would follow. Of what is not due at
/// once the next has four times what came, up to the longest: by then more is known of the company and of the origin.
const RUN_BYTES_FIRST: u64 = 256 << 10;
/// The margin while company is awaited: it mostly is here within a fraction of a second, and has what would be fetched. A tick.
const MARGIN_WAITING: Duration = Duration::from_millis(200);
/// A run is not cut before it has run so long: estimates waver, and a new request costs a round trip.
const YOUNG: Duration = Duration::from_millis(300);
/// Over how much of what is due the players' demand is measured: shorter is one or two pieces of a slow stream.
const DEMAND: Duration = Duration::from_secs(5);
/// A neighbour may take this many times as long as the origin to bring the last pieces: they are paid for twice otherwise.
const STUCK: u32 = 2;
/// With less than this part of the demand as its fair share, a node cannot play from the origin alone.
const STARVED: f64 = 0.9;
/// A request that is this late is not believed in any more: one tick.
const LATE: Duration = Duration::from_millis(200);
/// A neighbour that failed this often in a row is not hoped for.
const FAILING: u16 = 3;
/// What is due within this is not left to a neighbour that has given nothing yet: its rate is a guess, and that it was wrong shows
/// some 300 ms after a piece was asked of it.
const UNPROVEN: Duration = Duration::from_millis(500);
/// A piece shall be here this long before it is due: half a tick.
const EARLY: Duration = Duration::from_millis(100);

/// The run the origin must be asked for now, if any: first slot and pieces.
pub fn due_run(view: &View<'_>) -> Option<(Slot, u32)> {
    if view.origin.used == 0 && !view.origin.runs.is_empty() {
        // The first request is under way and has brought nothing yet: neighbours are just telling what they have.
        return None;
    }
    if view.waits() && !next_run::room(view, next_run::RUNS) {
        // One request after another: what is not yet asked for may not be needed.
        return None;
    }
    let limit = view.now + threshold(view, RUN_BYTES_MIN);
    let at_risk = |piece: &Piece| piece.due <= limit && !piece.held && !piece.fetching;
    // Most plans end here: nothing is pressing, or nobody plays.
    let from = view.pieces.iter().position(at_risk)? as u32;
    let mut hopes = Hopes::new(view);
    let first = (from..view.pieces.len() as u32).map(Slot).find(|slot| {
        let piece = view.piece(*slot);
        at_risk(piece) && !hopes.fulfils(*slot, piece)
    })?;
    Some((first, gap(view, first, hopes.starved)))
}

/// How many pieces from `first` on are asked for at once.
fn gap(view: &View<'_>, first: Slot, starved: bool) -> u32 {
    let mut bytes = 0;
    let belongs = |piece: &&Piece| {
        let coming = piece.under_way() || (starved && (piece.claims > 0 || piece.offered()));
        let needless = piece.held || piece.fetching || piece.due == Time::NEVER;
        // What is short enough to be sent at once goes on over what others might bring.
        let safe = coming && bytes > 0 && (starved || bytes >= RUN_BYTES_MIN);
        let later = piece.due > view.now + threshold(view, bytes) + margin(view);
        if needless || safe || bytes >= longest(view, piece, starved) || (later && bytes >= RUN_BYTES_MIN) {
            return false;
        }
        bytes += u64::from(piece.len);
        true
    };
    view.pieces[first.0 as usize..].iter().take_while(belongs).count().max(1) as u32
}

/// Bytes after which a request ends before `piece`.
fn longest(view: &View<'_>, piece: &Piece, starved: bool) -> u64 {
    match view.origin.used {
        // Many wait for what a starved origin gives to one: shorter runs are there sooner.
        1.. if starved => RUN_BYTES_STARVED,
        1.. if piece.due <= view.now => RUN_BYTES_MAX,
        used => (used * 4).clamp(RUN_BYTES_FIRST, RUN_BYTES_MAX),
    }
}

/// Whether a player will soon wait for something that is not here, whoever has been asked for it.
pub fn presses(view: &View<'_>) -> bool {
    let limit = view.now + threshold(view, RUN_BYTES_MIN);
    view.pieces[view.first_missing.0 as usize..].iter().any(|piece| piece.due <= limit && !piece.held)
}

/// The run a download takes from the origin at its end: every missing piece was asked of some neighbour, and the origin would
/// bring these much sooner. Without this, the slowest (or a dead) neighbour decides when the download is done.
pub fn stuck_run(view: &View<'_>) -> Option<(Slot, u32)> {
    if !view.whole || view.missing().any(|slot| !view.piece(slot).under_way()) {
        return None;
    }
    let hopes = Hopes::new(view);
    let stuck = |slot: &Slot| {
        let piece = view.piece(*slot);
        let rescued = view.now + transfer(view, u64::from(piece.len)) * STUCK + MARGIN;
        !piece.held && !piece.fetching && hopes.in_flight(*slot).is_none_or(|expected| expected > rescued)
    };
    let first = view.missing().find(stuck)?;
    let segment = view.piece(first).key.segment;
    let run = (first.0..view.pieces.len() as u32).map(Slot).take_while(stuck);
    let count = run.take_while(|slot| view.piece(*slot).key.segment == segment).count() as u32;
    Some((first, count))
}

/// Runs under way whose pieces neighbours have got meanwhile and would bring sooner: to go on is paid for, helps nobody, and
/// where the origin is crowded keeps it from those who need it (simulator, `flash10k` with 2,000 homes: 12.4 s in the median
/// and 146 copies from an origin that was never idle; 4.8 s and 98 copies since downloads do so, too).
pub fn needless(view: &View<'_>) -> impl Iterator<Item = u64> {
    let rate = crowded_rate(view);
    let helped = |run: &&OriginRun| {
        if view.now.since(run.asked) < YOUNG {
            return false;
        }
        // From the last piece back: what is left of the run before each is what the origin sends first.
        let end = (run.first.0 + run.count).min(view.pieces.len() as u32);
        let mut ahead = run.left as f64;
        let to_come = |slot: Slot| {
            let left = ahead;
            ahead -= f64::from(view.piece(slot).len);
            (!view.piece(slot).held && ahead >= 0.0).then_some((slot, left))
        };
        let rest: Vec<(Slot, f64)> = (run.first.0..end).rev().map(Slot).map_while(to_come).collect();
        // A quarter may come later than by the origin. The piece being sent is finished in any case, so a run of two is not
        // worth a new connection.
        let spared = rest.len() / 4;
        let offered = rest.iter().filter(|(slot, _)| view.piece(*slot).offered()).count();
        if rest.len() <= 2 || offered + spared < rest.len() {
            return false;
        }
        let mut hopes = Hopes::new(view);
        let mut later = rest.iter().filter(|(slot, left)| {
            let sent = view.now + Duration::from_secs_f64((left / rate as f64).min(3_600.0));
            hopes.offered(*slot, view.piece(*slot)).is_none_or(|hope| hope >= sent)
        });
        later.nth(spared).is_none()
    };
    let runs: Vec<u64> = view.origin.runs.iter().filter(helped).map(|run| run.id).collect();
    runs.into_iter()
}

/// How long before it is due a gap of `bytes` must be asked for.
pub fn threshold(view: &View<'_>, bytes: u64) -> Duration {
    transfer(view, bytes).mul_f64(1.5) + margin(view)
}

fn margin(view: &View<'_>) -> Duration {
    if view.waits() { MARGIN_WAITING } else { MARGIN }
}

/// How long a gap of `bytes` takes from the origin.
fn transfer(view: &View<'_>, bytes: u64) -> Duration {
    view.origin.first_byte + Duration::from_secs_f64(bytes as f64 / view.origin.rate.max(1) as f64)
}

/// What the origin gives this node now: where it is crowded, its share, whatever was measured in a quieter moment.
fn crowded_rate(view: &View<'_>) -> u64 {
    let share = if view.origin.capacity > 0 { share(view) } else { u64::MAX };
    view.origin.rate.min(share).max(1)
}

/// This node's share of the origin if all take as much. Capacity is what was seen in sum, which says little before many have
/// asked: one request alone may have got more.
fn share(view: &View<'_>) -> u64 {
    view.origin.capacity.max(view.origin.rate) / view.downloaders()
}

/// Whether others take so much of the origin that it may be that which is thin, not the line.
pub(super) fn is_crowded(view: &View<'_>) -> bool {
    let others: u64 = view.neighbours.iter().map(|n| n.origin_rate).sum();
    others > view.line.0.min(view.origin.rate) / 2
}

/// Whether the origin's fair share for this node is less than its players take.
fn starved(view: &View<'_>) -> bool {
    // What a thin line does not let through is not the origin's fault as long as others leave most of it.
    if !view.line.is_unlimited() && !is_crowded(view) {
        return false;
    }
    // Held pieces count, too: what is wanted is the pace, not the gap.
    let mut dues = view.pieces.iter().filter(|piece| piece.due < Time::NEVER);
    let Some(first) = dues.next() else { return false };
    let end = first.due.max(view.now) + DEMAND;
    let bytes: u64 = dues.take_while(|piece| piece.due <= end).map(|piece| u64::from(piece.len)).sum();
    let demand = (bytes as f64 / DEMAND.as_secs_f64()).min(view.line.0 as f64);
    (share(view) as f64) < demand * STARVED
}

/// What neighbours may be hoped to bring, piece by piece in the order of need: each hope makes a neighbour's queue longer.
struct Hopes<'v> {
    view: &'v View<'v>,
    starved: bool,
    /// Bytes hoped for from each neighbour beside those it was asked for.
    queued: Vec<u64>,
    /// Bytes hoped for from all of them: they share what the node's own bound lets through.
    hoped: u64,
}

impl<'v> Hopes<'v> {
    fn new(view: &'v View<'v>) -> Self {
        Self { view, starved: starved(view), queued: vec![0; view.neighbours.len()], hoped: 0 }
    }

    /// Whether a piece will come in time, or no later than the origin would bring it.
    fn fulfils(&mut self, slot: Slot, piece: &Piece) -> bool {
        if self.starved && piece.claims > 0 {
            return true;
        }
        let hope = if piece.flights > 0 { self.in_flight(slot) } else { self.offered(slot, piece) };
        let transfer = Duration::from_secs_f64(RUN_BYTES_MIN as f64 / crowded_rate(self.view) as f64);
        // The origin's bytes would wait for the node's own bound as well.
        let rescued =
            self.view.now + self.view.origin.first_byte + transfer + self.passes() + self.view.queued;
        hope.is_some_and(|hope| hope + EARLY <= piece.due || hope <= rescued)
    }

    fn in_flight(&self, slot: Slot) -> Option<Time> {
        let trusted = |from| self.view.neighbour(from).is_some_and(|n| n.failures < FAILING);
        let flights = self.view.flights.iter().filter(|flight| flight.slot == slot && trusted(flight.from));
        flights.map(|flight| flight.expected).filter(|expected| self.view.now <= *expected + LATE).min()
    }

    fn offered(&mut self, slot: Slot, piece: &Piece) -> Option<Time> {
        if !piece.offered() {
            return None;
        }
        // Where the origin is starved nothing is lost by trying.
        let pressing = !self.starved && piece.due <= self.view.now + UNPROVEN;
        let unproven = !pressing;
        let willing = |n: &&Neighbour| {
            n.gives(slot) && n.failures == 0 && n.quiet_until <= self.view.now && (unproven || n.is_proven())
        };
        let arrival = |at: usize, n: &Neighbour| {
            let bytes = (n.pending + self.queued[at]) as f64 + f64::from(piece.len);
            self.view.now
                + n.rtt
                + Duration::from_secs_f64((bytes / n.rate.max(1) as f64).min(3_600.0)).max(self.view.queued)
        };
        let all = self.view.neighbours.iter().enumerate().filter(|(_, n)| willing(n));
        let (at, hope) = all.map(|(at, n)| (at, arrival(at, n))).min_by_key(|(at, hope)| (*hope, *at))?;
        self.queued[at] += u64::from(piece.len);
        self.hoped += u64::from(piece.len);
        Some(hope)
    }

    /// How long the node's own bound takes for what is hoped for.
    fn passes(&self) -> Duration {
        match self.view.is_limited() {
            true => self.view.limit.time_for(self.hoped).min(Duration::from_secs(3_600)),
            false => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests;
