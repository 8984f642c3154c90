//! The node's own bound on what comes in: no more is asked than that lets through soon.
//!
//! The shell holds back what is asked beyond the bound, so a request that waits there says nothing of whom it goes to. Asked late it
//! is for what is most pressing then, and its time-out begins when it goes out ([`Input::Sent`](super::Input::Sent)).

use std::time::Duration;

use super::Swarm;
use super::line::Want;
use crate::schedule::Slot;
use crate::unit::{Rate, Time};

/// What is asked ahead of what the bound has let through: two ticks, so that the line never idles between two plans, and what is
/// pressing is never further back than this.
const AHEAD: Duration = Duration::from_millis(400);
/// The same for what a player waits for: a run from the origin, see [`RUN`], does not keep it waiting.
const AHEAD_PRESSING: Duration = Duration::from_millis(1_000);
/// A player waits for what is due within this.
const PRESSING: Duration = Duration::from_millis(500);
/// A run from the origin may take the bound for so long: each costs a request.
const RUN: Duration = Duration::from_millis(500);
/// Where one piece takes the line for longer, two that are asked at once delay one another.
const PIECE_LONG: Duration = Duration::from_millis(210);
/// A request that the shell holds back for longer is taken back, to be asked of whoever is best then. As long as the longest
/// time-out of one that goes out at once.
pub(super) const HELD_BACK_MAX: Duration = Duration::from_secs(15);

/// The bound, and how far what was asked reaches.
#[derive(Debug)]
pub(super) struct Limit {
    rate: Rate,
    /// Of each neighbour's bytes alone.
    neighbour: Rate,
    /// When the bound will have let through what was asked.
    until: Time,
    /// Bytes asked of neighbours that the shell has not let go out.
    held_back: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self { rate: Rate::UNLIMITED, neighbour: Rate::UNLIMITED, until: Time::ZERO, held_back: 0 }
    }
}

impl Limit {
    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Whether the shell may hold a request back.
    pub(super) fn holds_back(&self) -> bool {
        !self.rate.is_unlimited() || !self.neighbour.is_unlimited()
    }

    /// Bytes that may be asked for now. What does not fit may still go once anything does: else no piece would fit a low bound.
    pub(super) fn budget(&self, now: Time, pressing: bool) -> u64 {
        if self.rate.is_unlimited() {
            return u64::MAX;
        }
        let ahead = if pressing { AHEAD_PRESSING } else { AHEAD };
        let left = ahead.saturating_sub(self.wait(now));
        let by_time = if left.is_zero() { 0 } else { self.rate.bytes_in(left).max(1) };
        // Whatever the shell was believed to let through, what it holds back says.
        let by_queue = self.rate.bytes_in(ahead).max(1).saturating_sub(self.held_back);
        by_time.min(by_queue)
    }

    /// The same in one run from the origin.
    fn run_budget(&self, now: Time, pressing: bool) -> u64 {
        match self.budget(now, pressing) {
            0 | u64::MAX => self.budget(now, pressing),
            some => some.max(self.rate.bytes_in(RUN)),
        }
    }

    /// How long what is asked now waits for its turn.
    pub(super) fn wait(&self, now: Time) -> Duration {
        self.until.since(now)
    }

    /// When there is a budget again.
    pub(super) fn next(&self, now: Time) -> Time {
        match self.budget(now, false) {
            0 => (now + self.wait(now).saturating_sub(AHEAD)).max(now + Duration::from_millis(1)),
            _ => Time::NEVER,
        }
    }

    pub(super) fn asked(&mut self, now: Time, bytes: u64) {
        if !self.rate.is_unlimited() {
            self.until = self.until.max(now) + self.rate.time_for(bytes);
        }
    }

    /// So many bytes that were asked for do not come.
    pub(super) fn spared(&mut self, bytes: u64) {
        if !self.rate.is_unlimited() {
            self.until = Time(self.until.0.saturating_sub(self.rate.time_for(bytes).as_micros() as u64));
        }
    }

    pub(super) fn held(&mut self, bytes: u64) {
        self.held_back += bytes;
    }

    pub(super) fn let_go(&mut self, bytes: u64) {
        self.held_back = self.held_back.saturating_sub(bytes);
    }
}

impl Swarm {
    pub(super) fn set_limit(&mut self, now: Time, rate: Rate, neighbour: Rate) {
        // What was asked is as many bytes as before, whatever time they take now.
        let asked =
            if self.limit.rate.is_unlimited() { 0 } else { self.limit.rate.bytes_in(self.limit.wait(now)) };
        // A bound of nothing would stop what nothing starts again.
        (self.limit.rate, self.limit.neighbour) = (Rate(rate.0.max(1)), Rate(neighbour.0.max(1)));
        self.limit.until = now;
        self.limit.asked(now, asked);
        self.links.bound(self.limit.neighbour);
        self.dirty = true;
    }

    /// What comes in at most: by the node's own bound, and by its line where that is full.
    pub(super) fn bound(&self) -> Rate {
        Rate(self.limit.rate().0.min(self.line.bound().0))
    }

    /// What the line carries, where that is little.
    pub(super) fn carries(&self, now: Time) -> Rate {
        if self.setup.follow {
            return Rate::UNLIMITED;
        }
        Rate(self.limit.rate().0.min(self.line.carries(now).0))
    }

    /// Bytes that may be asked for now.
    pub(super) fn budget(&self, now: Time, pressing: bool) -> u64 {
        self.limit.budget(now, pressing).min(self.line_room(now, pressing))
    }

    fn line_room(&self, now: Time, pressing: bool) -> u64 {
        let want = match pressing {
            true => Want::Pressing,
            false if self.whole => Want::Whole,
            false => Want::Ahead,
        };
        self.line.room(now, self.on_way, want)
    }

    /// Bytes on their way through the line, as far as anything is known of it.
    pub(super) fn count_on_way(&mut self, now: Time) {
        let seen = self.line.seen();
        let most = if self.line.is_full() { AHEAD_PRESSING } else { RUN };
        let run = seen.map_or(0, |rate| rate.bytes_in(most));
        self.on_way = self.flights.on_way(now, seen, self.origin.came) + self.origin.to_come(now).min(run);
    }

    /// How long what is on its way, and `more` bytes, take if the line is full.
    pub(super) fn queued(&self, more: u64) -> Duration {
        match self.line.is_full() {
            true => self.line.bound().time_for(self.on_way + more).min(HELD_BACK_MAX),
            false => Duration::ZERO,
        }
    }

    /// How long what is on its way, and `more` bytes, take through the line if it is full, or thin and a player's.
    pub(super) fn passes(&self, now: Time, more: u64) -> Duration {
        match self.is_thin_for_player(now) {
            true => self.line.carries(now).time_for(self.on_way + more).min(HELD_BACK_MAX),
            false => self.queued(more),
        }
    }

    /// Whether a player reads what can be asked for. Of a stream that can only be followed no more comes than there is, which says
    /// nothing of the line.
    pub(super) fn is_asked_for_player(&self) -> bool {
        !self.whole && !self.setup.follow
    }

    /// Whether a player's line is thin. Downloads are asked for as much as they bear, and it shows which source is slow.
    pub(super) fn is_thin_for_player(&self, now: Time) -> bool {
        self.is_asked_for_player() && !self.line.carries(now).is_unlimited()
    }

    /// Whether a piece of `len` bytes takes the line for so long, as it has been seen so far, that whatever is asked at once delays
    /// one another.
    fn takes_long(&self, len: u32) -> bool {
        self.line.seen().is_some_and(|seen| seen.time_for(u64::from(len)) > PIECE_LONG)
    }

    /// Whether a piece that the origin is bringing may be asked of a neighbour as well. On a thin line the two take it from one
    /// another; where others take from the origin, it may be that which is thin.
    pub(super) fn may_race(&self, len: u32) -> bool {
        let crowded = self.links.origin_rate();
        !self.takes_long(len) || self.line.seen().is_some_and(|seen| crowded > seen.0 / 2)
    }

    /// Whether somebody has been asked for something.
    pub(super) fn awaits_bytes(&self) -> bool {
        self.origin.is_busy() || !self.flights.all().is_empty()
    }

    /// Bytes of neighbours that may be asked for now, if `slot` is among them.
    pub(super) fn budget_for(&mut self, now: Time, slot: Slot) -> u64 {
        let pressing = self.presses(now, slot);
        let room = self.line_room(now, pressing);
        if room == 0 && self.line.refused(now, self.on_way) {
            // What was planned without a bound is planned anew.
            self.wake = now;
        }
        self.limit.budget(now, pressing).min(room)
    }

    /// The same of the origin, in one run from `slot` on.
    pub(super) fn run_budget_for(&self, now: Time, slot: Slot) -> u64 {
        let pressing = self.presses(now, slot);
        let by_limit = self.limit.run_budget(now, pressing);
        // Two runs beside one another would take the line from the one that is due first.
        let fills = |rate: Rate| self.origin.to_come(now) >= rate.bytes_in(RUN);
        let bounds = self.line.is_full()
            || (!self.whole && self.line.opens(now) && self.takes_long(self.board.piece(slot).len));
        if bounds && self.line.seen().is_some_and(fills) {
            return 0;
        }
        if !self.line.is_full() {
            return by_limit;
        }
        match self.line_room(now, pressing) {
            0 => 0,
            some => by_limit.min(some.max(self.line.bound().bytes_in(RUN))),
        }
    }

    fn presses(&self, now: Time, slot: Slot) -> bool {
        self.board.piece(slot).due <= now + PRESSING
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_ahead_is_bounded_and_comes_back_with_time() {
        let at = Time::from_millis;
        let mut limit = Limit::default();
        assert_eq!(limit.budget(at(0), false), u64::MAX);
        limit.rate = Rate(100_000);
        assert_eq!(limit.budget(at(0), false), 40_000);
        limit.asked(at(0), 60_000);
        assert_eq!(limit.budget(at(0), false), 0);
        assert_eq!(limit.budget(at(0), true), 40_000, "a player waits");
        assert_eq!(limit.next(at(0)), at(200));
        assert_eq!(limit.budget(at(300), false), 10_000);
        limit.spared(60_000);
        assert_eq!(limit.budget(at(300), false), 40_000);
        assert_eq!(limit.run_budget(at(300), false), 50_000);
        // The shell lets less through than it was believed to.
        limit.held(50_000);
        assert_eq!((limit.budget(at(900), false), limit.run_budget(at(900), false)), (0, 0));
        limit.let_go(50_000);
        assert_eq!(limit.budget(at(900), false), 40_000);
    }
}
