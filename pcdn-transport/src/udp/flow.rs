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
//! are sending, for they share one uplink. *Queue* is the least one-way delay of a round above that of the path
//! alone ([`Base`]): a pause of the receiver's processor delays some packets of a round, a queue delays all.
//!
//! Loss below 5 % is repaired, not obeyed. Above, the window shrinks by the loss each round; if it has halved and the
//! loss has not fallen, the loss is the path's own and only what exceeds it counts from then on.

mod floor;
mod loss;
mod round;

use std::time::Duration;

use pcdn_core::unit::Time;

use super::frame::Feedback;
use crate::base::{Base, OneWay};
pub(crate) use crate::company::Company;
use crate::company::WINDOW_MIN;
pub(crate) use crate::pacer::Pacer;
use floor::Floor;
use loss::Loss;
use round::{Round, START_QUEUE};

/// Packets under way at the start, before anything is known: 21 KB, a little above RFC 6928's ten.
const INITIAL: f64 = 16.0;
/// Never more: 10 Gbit/s times 10 ms, or 100 Mbit/s times a second.
const WINDOW_MAX: f64 = 10_000.0;
/// Delay that all sessions together put into the bottleneck's queue. A video call beside it does not notice.
const TARGET: Duration = Duration::from_millis(8);
/// Packets other than DATA that a round may hold without its figures becoming worthless.
const UNREPORTED_MAX: u64 = 3;
/// All sessions halve their windows at the same moments, to see the path without their own queue.
const LULL_EVERY: Duration = Duration::from_secs(5);
/// No report for this long, or four round trips, is silence.
const PATIENCE_MIN: Duration = Duration::from_millis(120);
/// Before any report: longer than most round trips.
const PATIENCE_FIRST: Duration = Duration::from_millis(400);

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
    trips: Base,
    delays: OneWay,
    delay_origin: Option<u32>,
    round: Round,
    /// Packets a second in the best round so far of the start.
    best_rate: f64,
    rounds_without_growth: u32,
    loss: Loss,
    /// For urgent DATA.
    floor: Floor,
    /// Packets a second that arrived in the last round.
    rate: f64,
    /// After the start the session all but stops for a moment, to see the path without its own queue.
    hush_until: Time,
    last_heard: Time,
    retries: u32,
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
            trips: Base::default(),
            delays: OneWay::default(),
            delay_origin: None,
            round: Round { void: true, ..Round::default() },
            best_rate: 0.0,
            rounds_without_growth: 0,
            loss: Loss::default(),
            floor: Floor::default(),
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
    }

    /// How many more packets may go now.
    pub(crate) fn room(&mut self, now: Time, urgent: bool) -> usize {
        let mut window = self.window_for(urgent);
        if now < self.hush_until {
            window = window.min(WINDOW_MIN);
            self.round.void = true;
        } else if self.in_lull(now) {
            window = window.min((window / 2.0).max(WINDOW_MIN));
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
    pub(crate) fn pace(&self, packet: usize, rtt: Duration, urgent: bool) -> u64 {
        let rtt = if self.rtt.is_zero() { rtt } else { self.rtt }.as_secs_f64().max(0.0001);
        let haste = if self.starting { 2.0 } else { 1.25 };
        (self.window_for(urgent) * haste / rtt * packet as f64) as u64
    }

    fn window_for(&self, urgent: bool) -> f64 {
        if urgent { self.window.max(self.floor.window()) } else { self.window }
    }

    /// The window, packets.
    pub(crate) fn window(&self) -> f64 {
        self.window
    }

    /// Loss lately, of a thousand.
    pub(crate) fn loss_permille(&self) -> u16 {
        (self.loss.mean() * 1000.0) as u16
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
        if self.retries > 0 {
            (self.retries, self.hush_until) = (0, now);
        }
        let settled = std::mem::replace(&mut self.settled, highest + 1);
        let arrived = report.received.wrapping_sub(self.received as u32) as i32;
        let arrived = u64::from(arrived.max(0) as u32).min(self.settled - settled + LATE_MAX);
        self.received += arrived;
        let rtt = Duration::from_micros((elapsed - report.waited).into());
        self.rtt = if self.rtt.is_zero() { rtt } else { (self.rtt * 3 + rtt) / 4 };
        self.trips.see(now, rtt.as_micros() as i64);
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

    /// Nothing was heard for long: what is under way is taken for lost, so that a few more can go and be answered. Once this may
    /// be a lost report or a peer whose processor was busy, so the window stays; it halves when the few are not answered either.
    pub(crate) fn wake(&mut self, now: Time) {
        if now < self.next_wake() {
            return;
        }
        self.retries += 1;
        self.last_heard = now;
        self.settled = self.sent;
        self.starting = false;
        if self.retries > 1 {
            self.window = self.window.min((self.window / 2.0).max(WINDOW_MIN));
        }
        self.hush_until = now + self.patience();
        self.round = Round { ends_at: self.sent, void: true, ..Round::default() };
    }

    fn patience(&self) -> Duration {
        let once = if self.rtt.is_zero() { PATIENCE_FIRST } else { (self.rtt * 4).max(PATIENCE_MIN) };
        once * 2u32.pow(self.retries.min(4))
    }

    /// Microseconds of queue that `delay`, the time on the way plus the difference of two clocks, stands for.
    fn queue(&mut self, now: Time, delay: u32) -> i64 {
        let origin = *self.delay_origin.get_or_insert(delay);
        let delay = i64::from(delay.wrapping_sub(origin) as i32);
        self.delays.see(now, delay, self.trips.has_risen())
    }

    fn in_lull(&self, now: Time) -> bool {
        let lasts = (self.rtt * 3 / 2).clamp(Duration::from_millis(20), Duration::from_millis(300));
        !self.starting && now.0 % (LULL_EVERY.as_micros() as u64) < lasts.as_micros() as u64
    }
}

/// Packets taken for lost that may still arrive and be counted later: the width of the replay window.
const LATE_MAX: u64 = 2048;

#[cfg(test)]
mod tests;
