//! Contiguous runs from the origin.

use std::time::Duration;

use super::super::{Piece, Plan, Slot, View, mix, seed_of};
use super::Taken;
use crate::unit::Time;

/// Runs at once: one being sent and one asked for so that the connection never idles for a round trip.
pub(in crate::schedule) const RUNS: usize = 2;
/// A rescue may be a third.
pub(super) const RUNS_RESCUE: usize = 3;
/// Longest run of a node that is alone. Long, because every request costs a round trip and, on a connection that idled, a slow
/// start (three nodes beside one another with 4 MiB runs took 29 % longer than the line allows); company cuts it short.
const ALONE_BYTES: u64 = 32 << 20;
/// Of a stream, a node that is alone fetches what is due within this: far above what the origin needs, far below what a player
/// buffers. Company mostly comes some round trips after the start (measured: 25 ms on loopback, 6 MB fetched for nothing).
const ALONE_AHEAD: Duration = Duration::from_secs(4);

/// Whether another run may start: none is under way, or the last is nearly done, or there is room for a rescue.
pub(in crate::schedule) fn room(view: &View<'_>, runs: usize) -> bool {
    let left: u64 = view.origin.runs.iter().map(|run| run.left).sum();
    let rest = Duration::from_secs_f64(left as f64 / view.origin.rate.max(1) as f64);
    match view.origin.runs.len() {
        0 => true,
        n if n >= runs => false,
        _ if runs == RUNS_RESCUE => true,
        _ => rest < view.origin.first_byte * 2 + Duration::from_millis(30),
    }
}

/// How many pieces from `first` on, at most `max`, satisfy `fits` and lie one after another.
pub(super) fn stretch(view: &View<'_>, first: Slot, max: u32, fits: impl Fn(Slot, &Piece) -> bool) -> u32 {
    let pieces = view.pieces[first.0 as usize..].iter().zip(first.0..);
    // The engine cuts it where a segment lies at another URL.
    let run = pieces.take(max as usize).take_while(|(piece, slot)| fits(Slot(*slot), piece));
    (run.count() as u32).max(1)
}

/// The next missing piece in order of need: what is due first, else in order from a place of this node's own (so that nodes
/// that start together start at different places), around the end.
pub fn in_order(view: &View<'_>) -> Option<Slot> {
    let free = |slot: &Slot| !view.piece(*slot).under_way();
    let due = view.missing().filter(free).filter(|slot| view.piece(*slot).due < Time::NEVER);
    if let Some(slot) = due.min_by_key(|slot| view.piece(*slot).due) {
        return Some(slot);
    }
    if !view.whole {
        return None;
    }
    let len = view.pieces.len() as u64;
    let start = (mix(seed_of(&view.me), len) % len.max(1)) as u32;
    let from_start = view.missing().filter(|slot| slot.0 >= start).find(free);
    from_start.or_else(|| view.missing().find(free))
}

/// Fetches from `first` on as far as pieces are free, one long run, and a second when the first is nearly done.
pub fn ahead(view: &View<'_>, first: Slot, plan: &mut Plan) {
    let mut taken = Taken::default();
    fetch_ahead(view, first, plan, &mut taken);
}

/// The same, as part of a larger plan.
pub(super) fn alone(view: &View<'_>, plan: &mut Plan, taken: &mut Taken) {
    // A player's first, short request: who is near is about to be known.
    let first_under_way = !view.whole && view.origin.used == 0 && !view.origin.runs.is_empty();
    let first = in_order(view).filter(|slot| !first_under_way && !taken.has(*slot));
    if let Some(first) = first.filter(|slot| presses(view, view.piece(*slot))) {
        fetch_ahead(view, first, plan, taken);
    }
}

/// A stream's segments come one by one, and company with them: what is not due soon may yet be had from others. Whoever wants all
/// of it, to hold it, waits for nobody.
fn presses(view: &View<'_>, piece: &Piece) -> bool {
    !view.paced || view.whole || piece.due <= view.now + ALONE_AHEAD
}

fn fetch_ahead(view: &View<'_>, first: Slot, plan: &mut Plan, taken: &mut Taken) {
    if !view.may_fetch() || !room(view, RUNS) || !taken.runs.is_empty() {
        return;
    }
    taken.run(first, long(view, first), plan);
}

/// Pieces from `first` on that one long request can have.
pub(super) fn long(view: &View<'_>, first: Slot) -> u32 {
    let max = (ALONE_BYTES / u64::from(view.piece(first).len.max(1))).max(1) as u32;
    let free = |_, piece: &Piece| !piece.held && !piece.under_way() && presses(view, piece);
    stretch(view, first, max, free)
}
