//! What a round trip teaches: the end of the start, and the law from then on.

use std::time::Duration;

use pcdn_core::unit::Time;

use super::loss::LOSS_FELT;
use super::{Flow, INITIAL, TARGET, WINDOW_MAX};
use crate::company::{Company, WINDOW_MIN};

/// The first doubling ends at this much queue.
pub(super) const START_QUEUE: Duration = Duration::from_millis(10);
/// Growth and shrinking in one round are bounded.
const GROW_MAX: f64 = 1.25;
const SHRINK_MAX: f64 = 0.5;
/// The window is not shrunk by loss below what arrives in a round trip, and a little: a lossy path delivers a share of whatever
/// it is given, and obeying it would end at nothing. What is lost at most in a queue too short to be seen follows: a tenth.
const ARRIVING: f64 = 1.12;
/// The pause after the start takes two round trips, at most this.
const HUSH_MAX: Duration = Duration::from_millis(200);

/// What is gathered during a round trip.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) ends_at: u64,
    pub(super) settled: u64,
    pub(super) received: u64,
    pub(super) clock: u32,
    pub(super) queue: Option<i64>,
    /// Whether the window was used up in it.
    pub(super) filled: bool,
    /// Whether its figures mean nothing.
    pub(super) void: bool,
}

impl Flow {
    pub(super) fn end_round(&mut self, now: Time, clock: u32, company: Company) {
        let next = Round {
            ends_at: self.sent,
            settled: self.settled,
            received: self.received,
            clock,
            ..Round::default()
        };
        let round = std::mem::replace(&mut self.round, next);
        let queue = Duration::from_micros(round.queue.unwrap_or(0).max(0) as u64);
        let over = if round.void { 0 } else { self.settled - round.settled };
        let arrived = if round.void { 0 } else { self.received - round.received };
        if over > 0 {
            self.loss.round(over, arrived);
            self.floor.round(over, arrived, company.senders);
        }
        let spent = f64::from(clock.wrapping_sub(round.clock)) / 1e6;
        let rate = if over < WINDOW_MIN as u64 || spent <= 0.0 { None } else { Some(arrived as f64 / spent) };
        self.rate = rate.unwrap_or(self.rate);
        if self.starting {
            self.judge_start(now, queue, rate, round.filled, company);
        } else if over > 0 {
            self.steer(now, queue, round.filled, company);
        }
    }

    pub(super) fn base(&self) -> Duration {
        Duration::from_micros(self.trips.get().unwrap_or(100_000).max(1) as u64)
    }

    /// Ends the doubling once a queue stands, or the rate has not grown for three rounds, or the loss is plain.
    fn judge_start(&mut self, now: Time, queue: Duration, rate: Option<f64>, filled: bool, company: Company) {
        if let Some(rate) = rate.filter(|_| filled) {
            let grew = rate > self.best_rate * 1.15;
            self.rounds_without_growth = if grew { 0 } else { self.rounds_without_growth + 1 };
            self.best_rate = self.best_rate.max(rate);
        }
        if queue < START_QUEUE && self.rounds_without_growth < 3 && self.loss.mean() < 3.0 * LOSS_FELT {
            return;
        }
        self.starting = false;
        if let Some(rate) = rate {
            let fits = rate * (self.base() + TARGET).as_secs_f64() + company.few(self.window);
            self.window = self.window.min(fits).max(INITIAL / 2.0);
        }
        self.hush_until = now + (self.rtt + self.base()).min(HUSH_MAX);
    }

    fn steer(&mut self, now: Time, queue: Duration, filled: bool, company: Company) {
        let base = self.base();
        // With hardly a queue a long path would take many round trips to fill by the law alone.
        let law = if queue < TARGET / 4 {
            GROW_MAX
        } else {
            (base + TARGET).as_secs_f64() / (base + queue).as_secs_f64()
        };
        let factor = law.clamp(SHRINK_MAX, GROW_MAX);
        let mut goal = self.window * factor + company.few(self.window);
        let floor = company.floor();
        let excess = self.loss.excess(now, self.window, self.rate, self.window <= 2.0 * floor);
        if excess > LOSS_FELT {
            let arriving = (ARRIVING * (1.0 - self.loss.mean())).min(1.0);
            goal = goal.min(self.window * (1.0 - 2.0 * excess).max(SHRINK_MAX).max(arriving));
        }
        if goal < self.window || filled {
            self.window = ((self.window + goal) / 2.0).clamp(floor, WINDOW_MAX);
        }
    }
}
