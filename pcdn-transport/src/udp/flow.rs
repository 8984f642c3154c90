//! Congestion: how much of what a peer asked for may be under way to it. Delay speaks first, loss only when it is plain.
//!
//! The window follows the law of FAST TCP (Wei, Jin, Low, Hegde 2006) with a share proportional to the rate: each round trip
//!
//! ```text
//! window ← ½ window + ½ (window · (base + TARGET) / (base + queue) + FEW)
//! ```
//!
//! so that all sessions over one bottleneck together keep about `TARGET` of queue there, plus `FEW` packets each. The fixed
//! part makes unequal sessions converge and late comers leave room; it is divided by the number of this node's sessions that
//! are sending, for they share one uplink. *Queue* is the least one-way delay of a round above the least one of the last
//! half minute: a pause of the receiver's processor delays some packets of a round, a queue delays all.
//!
//! Loss below 5 % is repaired, not obeyed. Above, the window shrinks by the loss each round; if it has halved and the
//! loss has not fallen, the loss is the path's own and only what exceeds it counts from then on.

mod least;
mod pacer;

use std::time::Duration;

use pcdn_core::unit::Time;

use super::frame::Feedback;
use least::Least;
pub(crate) use pacer::Pacer;

/// Packets under way at the start, before anything is known: 21 KB, a little above RFC 6928's ten.
const INITIAL: f64 = 16.0;
/// Never fewer: below that no loss could be told from reordering.
const WINDOW_MIN: f64 = 4.0;
/// Never more: 10 Gbit/s times 10 ms, or 100 Mbit/s times a second.
const WINDOW_MAX: f64 = 10_000.0;
/// Delay that all sessions together put into the bottleneck's queue. A video call beside it does not notice.
const TARGET: Duration = Duration::from_millis(8);
/// Packets that all sessions of this node together put there beyond that.
const FEW: f64 = 4.0;
/// Packets other than DATA that a round may hold without its figures becoming worthless.
const UNREPORTED_MAX: u64 = 3;
/// A session far below the mean takes so many times its part of the few.
const EVEN_OUT: f64 = 8.0;
/// The first doubling ends at this much queue.
const START_QUEUE: Duration = Duration::from_millis(10);
/// Growth and shrinking in one round are bounded.
const GROW_MAX: f64 = 1.25;
const SHRINK_MAX: f64 = 0.5;
/// Loss beyond the path's own that is obeyed.
const LOSS_FELT: f64 = 0.05;
/// Loss is averaged over about so many packets, or a round if that is more.
const LOSS_MEMORY: f64 = 80.0;
/// What was found to be the path's own loss is believed this long.
const PATH_LOSS_FOR: Duration = Duration::from_secs(10);
/// More than this is never believed to be the path's own.
const PATH_LOSS_MAX: f64 = 0.2;
/// All sessions halve their windows at the same moments, to see the path without their own queue.
const LULL_EVERY: Duration = Duration::from_secs(5);
/// The pause after the start takes two round trips, at most this.
const HUSH_MAX: Duration = Duration::from_millis(200);

/// The sessions of this node that are sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Company {
    pub(crate) senders: usize,
    /// Their mean window, packets.
    pub(crate) window: f64,
}

impl Company {
    pub(crate) const ALONE: Self = Self { senders: 1, window: 0.0 };

    /// This session's part of [`FEW`]: more for those with small windows, so that shares become equal.
    fn few(&self, window: f64) -> f64 {
        let part = FEW / self.senders.max(1) as f64;
        if self.senders < 2 { part } else { part * (self.window / window).powi(2).clamp(0.0, EVEN_OUT) }
    }
}

/// The controller of one session. Pure: it is told what was sent and what the peer reports.
#[derive(Debug)]
pub(crate) struct Flow {
    window: f64,
    starting: bool,
    /// Packet numbers are counts: this many were sent.
    sent: u64,
    /// All before this number have arrived or are lost.
    settled: u64,
    /// The latest DATA, plus one; other packets need no window.
    data_sent: u64,
    received: u64,
    rtt: Duration,
    rtt_least: Least,
    delay_least: Least,
    delay_origin: Option<u32>,
    round: Round,
    /// Packets a second in the best round so far of the start.
    best_rate: f64,
    rounds_without_growth: u32,
    loss: f64,
    /// Loss in the last round.
    loss_now: f64,
    path_loss: Option<(f64, Time)>,
    trial: Option<Trial>,
    /// Packets a second that arrived in the last round.
    rate: f64,
    /// After the start the session all but stops for a moment, to see the path without its own queue.
    hush_until: Time,
    last_heard: Time,
    retries: u32,
}

/// How things stood when loss was first felt.
#[derive(Clone, Copy, Debug)]
struct Trial {
    window: f64,
    loss: f64,
    rate: f64,
}

/// What is gathered during a round trip.
#[derive(Debug, Default)]
struct Round {
    ends_at: u64,
    settled: u64,
    received: u64,
    clock: u32,
    queue: Option<i64>,
    /// Whether the window was used up in it.
    filled: bool,
    /// Whether its figures mean nothing.
    void: bool,
}

impl Flow {
    pub(crate) fn new() -> Self {
        Self {
            window: INITIAL,
            starting: true,
            sent: 0,
            settled: 0,
            data_sent: 0,
            received: 0,
            rtt: Duration::ZERO,
            rtt_least: Least::default(),
            delay_least: Least::default(),
            delay_origin: None,
            round: Round { void: true, ..Round::default() },
            best_rate: 0.0,
            rounds_without_growth: 0,
            loss: 0.0,
            loss_now: 0.0,
            path_loss: None,
            trial: None,
            rate: 0.0,
            hush_until: Time::ZERO,
            last_heard: Time::ZERO,
            retries: 0,
        }
    }

    /// Packet `number` goes out.
    pub(crate) fn sent(&mut self, now: Time, number: u64, data: bool) {
        if data {
            if self.under_way() == 0 {
                self.resume(now, number);
            }
            self.data_sent = number + 1;
        }
        self.sent = number + 1;
    }

    /// The first DATA after a pause, however short: packets in between needed no report and count as arrived.
    fn resume(&mut self, now: Time, number: u64) {
        let unreported = number - self.settled;
        if unreported > UNREPORTED_MAX || now.since(self.last_heard) > self.patience() {
            self.round = Round { ends_at: number + 1, void: true, ..Round::default() };
        }
        self.settled = number;
        self.last_heard = now;
        self.retries = 0;
    }

    /// How many more packets may go now.
    pub(crate) fn room(&mut self, now: Time) -> usize {
        let mut window = self.window;
        if now < self.hush_until {
            window = WINDOW_MIN;
            self.round.void = true;
        } else if self.in_lull(now) {
            window = (window / 2.0).max(WINDOW_MIN);
            self.round.void = true;
        }
        let room = (window as u64).saturating_sub(self.under_way());
        self.round.filled |= room == 0;
        room as usize
    }

    /// Packets neither settled nor given up, while DATA is among them.
    pub(crate) fn under_way(&self) -> u64 {
        if self.data_sent > self.settled { self.sent - self.settled } else { 0 }
    }

    /// Bytes a second at which to send, given `packet` bytes each.
    pub(crate) fn pace(&self, packet: usize, rtt: Duration) -> u64 {
        let rtt = if self.rtt.is_zero() { rtt } else { self.rtt }.as_secs_f64().max(0.0001);
        let haste = if self.starting { 2.0 } else { 1.25 };
        (self.window * haste / rtt * packet as f64) as u64
    }

    /// The window, packets.
    pub(crate) fn window(&self) -> f64 {
        self.window
    }

    /// Loss lately, of a thousand.
    pub(crate) fn loss_permille(&self) -> u16 {
        (self.loss * 1000.0) as u16
    }

    /// Takes a report; `highest` is its packet number in full. Gives the round trip it shows.
    pub(crate) fn feedback(
        &mut self,
        now: Time,
        report: &Feedback,
        highest: u64,
        company: Company,
    ) -> Option<Duration> {
        if highest >= self.sent || highest + 1 < self.settled {
            return None;
        }
        let elapsed = (now.0 as u32).wrapping_sub(report.stamp);
        if report.waited > elapsed || elapsed > 60_000_000 {
            return None;
        }
        self.last_heard = now;
        self.retries = 0;
        let settled = std::mem::replace(&mut self.settled, highest + 1);
        let arrived = report.received.wrapping_sub(self.received as u32) as i32;
        let arrived = u64::from(arrived.max(0) as u32).min(self.settled - settled + LATE_MAX);
        self.received += arrived;
        let rtt = Duration::from_micros((elapsed - report.waited).into());
        self.rtt = if self.rtt.is_zero() { rtt } else { (self.rtt * 3 + rtt) / 4 };
        self.rtt_least.see(now, rtt.as_micros() as i64);
        let queue = self.queue(now, report.delay);
        self.round.queue = Some(self.round.queue.map_or(queue, |least| least.min(queue)));
        if self.starting && queue < START_QUEUE.as_micros() as i64 {
            // One more for each that arrived doubles the window in a round trip.
            self.window = (self.window + arrived.min(self.settled - settled) as f64).min(WINDOW_MAX);
        }
        if self.settled >= self.round.ends_at {
            self.end_round(now, report.clock, company);
        }
        Some(rtt)
    }

    /// When [`wake`](Self::wake) has something to do.
    pub(crate) fn next_wake(&self) -> Time {
        if self.under_way() == 0 { Time::NEVER } else { self.last_heard + self.patience() }
    }

    /// Nothing was heard for long: what is under way is taken for lost, so that sending goes on and can be answered.
    pub(crate) fn wake(&mut self, now: Time) {
        if now < self.next_wake() {
            return;
        }
        self.retries += 1;
        self.last_heard = now;
        self.settled = self.sent;
        self.starting = false;
        self.window = (self.window / 2.0).max(WINDOW_MIN);
        self.round = Round { ends_at: self.sent, void: true, ..Round::default() };
    }

    fn patience(&self) -> Duration {
        (self.rtt * 4).max(Duration::from_millis(250)) * 2u32.pow(self.retries.min(4))
    }

    /// Microseconds of queue that `delay`, the time on the way plus the difference of two clocks, stands for.
    fn queue(&mut self, now: Time, delay: u32) -> i64 {
        let origin = *self.delay_origin.get_or_insert(delay);
        let delay = i64::from(delay.wrapping_sub(origin) as i32);
        self.delay_least.see(now, delay);
        delay - self.delay_least.get().unwrap_or(delay)
    }

    fn in_lull(&self, now: Time) -> bool {
        let lasts = (self.rtt * 3 / 2).clamp(Duration::from_millis(20), Duration::from_millis(300));
        !self.starting && now.0 % (LULL_EVERY.as_micros() as u64) < lasts.as_micros() as u64
    }

    fn end_round(&mut self, now: Time, clock: u32, company: Company) {
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
            let lost = 1.0 - (arrived as f64 / over as f64).min(1.0);
            self.loss_now = lost;
            self.loss += (lost - self.loss) * (over as f64 / (over as f64 + LOSS_MEMORY));
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

    fn base(&self) -> Duration {
        Duration::from_micros(self.rtt_least.get().unwrap_or(100_000).max(1) as u64)
    }

    /// Ends the doubling once a queue stands, or the rate has not grown for three rounds, or the loss is plain.
    fn judge_start(&mut self, now: Time, queue: Duration, rate: Option<f64>, filled: bool, company: Company) {
        if let Some(rate) = rate.filter(|_| filled) {
            let grew = rate > self.best_rate * 1.15;
            self.rounds_without_growth = if grew { 0 } else { self.rounds_without_growth + 1 };
            self.best_rate = self.best_rate.max(rate);
        }
        if queue < START_QUEUE && self.rounds_without_growth < 3 && self.loss < 3.0 * LOSS_FELT {
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
        let excess = self.excess_loss(now);
        if excess > LOSS_FELT {
            goal = goal.min(self.window * (1.0 - 2.0 * excess).max(SHRINK_MAX));
        }
        if goal < self.window || filled {
            self.window = ((self.window + goal) / 2.0).clamp(WINDOW_MIN, WINDOW_MAX);
        }
    }

    /// Loss beyond the path's own, and the trial that tells them apart.
    fn excess_loss(&mut self, now: Time) -> f64 {
        // The path's own loss cannot be more than what is lost now.
        self.path_loss = self
            .path_loss
            .filter(|(_, until)| now < *until)
            .map(|(loss, until)| (loss.min(self.loss), until));
        let excess = self.loss - self.path_loss.map_or(0.0, |(loss, _)| loss);
        if excess <= LOSS_FELT {
            self.trial = None;
            return excess;
        }
        let trial =
            *self.trial.get_or_insert(Trial { window: self.window, loss: self.loss, rate: self.rate });
        if self.window <= trial.window / 2.0 {
            self.trial = None;
            // An overfull link would deliver as much as before; a lossy one delivers less of less.
            if self.loss_now > trial.loss / 3.0 && self.rate < trial.rate * 0.85 {
                self.path_loss = Some((self.loss.min(PATH_LOSS_MAX), now + PATH_LOSS_FOR));
                return 0.0;
            }
        }
        excess
    }
}

/// Packets taken for lost that may still arrive and be counted later: the width of the replay window.
const LATE_MAX: u64 = 2048;

#[cfg(test)]
mod tests;
