//! Congestion by delay: what a node gives must not be felt by whoever else lives behind its uplink.
//!
//! quinn's own controllers fill a queue until it overflows: 300 ms of a home's. This one keeps about [`TARGET`] in it, all
//! sessions of the node together, by the law of FAST TCP (Wei, Jin, Low, Hegde 2006) that the UDP transport uses, too. Each
//! round trip
//!
//! ```text
//! window ← ¾ window + ¼ (window · (base + TARGET) / (base + queue) + a few packets)
//! ```
//!
//! where the few are more for those with small windows ([`Company`](crate::company::Company)). Far above the target somebody else
//! fills the queue, or many began at once: then half of the way is gone in a round. A session sees the least round trip of two
//! rounds above that of the path alone ([`Base`](crate::base::Base)): busy processors delay some packets, a queue delays all. *Queue* is
//! what most sessions of the node see (`shares`), for it is the uplink they share that is to be kept short; their
//! acknowledgements also wait in the uplinks of others. Every five seconds, and when one has found its window, all sessions of
//! the node ebb at the same moment, so that each sees the path without the others' queue; until the queue is what it was, nothing
//! is concluded from it. Who joins others cannot tell their queue from the path until then, and goes by what they see: it would
//! double until its own stood on top of theirs. Loss below 5 % of a round is repaired, not obeyed. Beside a greedy flow it yields,
//! which is the intent. The window is kept by [`Room`], not by quinn.
//!
//! Measured in virtual time (`tests/bars.rs`; 300 ms of buffer): one home of 20 Mbit/s to eight peers, 14 ms of queue at 95 %
//! goodput, 95 % with 3 % loss, 94 % where half of all arrivals find a machine busy for up to 20 ms; seven that join one after
//! another have 60 ms for a moment; 4 % is what it takes beside a greedy flow; eight homes of 30 Mbit/s, each to all others, 8 ms at
//! 99 % of every line, shares within a tenth of each other. CUBIC: 260 ms of queue.

mod shares;
mod trip;

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pcdn_core::unit::Rate;
use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

pub(super) use shares::Shares;
use trip::Trips;

use super::room::Room;

/// Delay that all sessions together put into the bottleneck's queue. A video call beside it does not notice.
const TARGET: Duration = Duration::from_millis(8);
/// The first doubling ends at this much queue.
const START_QUEUE: Duration = Duration::from_millis(10);
/// And where the node's other sessions see so much, which is less than they keep: one more does not add its own.
const OTHERS_QUEUE: Duration = Duration::from_millis(4);
/// A window at least, packets: RFC 9002, section 7.2. Of more than four sessions each keeps less
/// ([`Company::floor`](crate::company::Company::floor)), one at least: two of each of eight took 16 % of a line beside a greedy flow.
const WINDOW_MIN: f64 = 2.0;
/// quinn's window is so much larger than the one kept for it: what is lost is sent again beyond it, and its pacing, which follows
/// from its window, shall hold back nothing.
const BEYOND: f64 = 2.0;
/// And so many bytes more.
const SPARE: f64 = 64.0 * 1024.0;
/// Where a round trip takes no longer, pauses between bursts would be shorter than timers can make them.
const PACED: Duration = Duration::from_millis(2);
/// Bytes under way at most: 1 Gbit/s over 100 ms, beyond what a connection may send unacknowledged.
const WINDOW_MAX: f64 = 12_500_000.0;
/// Packets under way at the start: RFC 9002, section 7.2.
const INITIAL: f64 = 10.0;
/// The part of the way to its goal that a window goes in a round: what it sees is up to two rounds old.
const GAIN: f64 = 0.25;
/// Goals are bounded.
const GROW_MAX: f64 = 1.5;
const SHRINK_MAX: f64 = 0.5;
/// So much queue in the least of two rounds is no busy processor. Whoever else lives here waits, and rounds are long: as slowly as
/// below it, eight sessions were in the way of a greedy flow for three seconds.
const FAR: Duration = Duration::from_millis(32);
/// Then this part of the way is gone in a round, and the goal is no less than this part of the window.
const GAIN_FAR: f64 = 0.5;
const SHRINK_FAR: f64 = 0.25;
/// Loss of a round that is obeyed.
const LOSS_FELT: f64 = 0.05;
/// Rounds of the start whose rate did not grow by so much end it.
const FLAT_ROUNDS: u32 = 3;
const GROWTH: f64 = 1.15;

/// What answers may hand to quinn, if `controller` is one of ours.
pub(super) fn room(controller: Box<dyn Controller>) -> Option<Arc<Room>> {
    controller.into_any().downcast::<Delay>().ok().map(|delay| delay.room)
}

/// Makes the controllers of a node's sessions.
#[derive(Debug, Default)]
pub(super) struct Delays {
    shares: Arc<Shares>,
}

impl ControllerFactory for Delays {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Delay::new(now, mtu, Arc::clone(&self.shares)))
    }
}

/// The controller of one session. Pure but for the count of sessions it shares with the others.
#[derive(Clone, Debug)]
struct Delay {
    shares: Arc<Shares>,
    room: Arc<Room>,
    number: u64,
    mtu: f64,
    window: f64,
    /// Packets of it at least.
    floor: f64,
    /// What answers may use: the window, or less of it at ebb.
    told: f64,
    starting: bool,
    trips: Trips,
    round: Round,
    best_rate: f64,
    flat_rounds: u32,
    /// The least of the round before.
    before: Option<Duration>,
    /// It has seen the path without the queue of the node's other sessions: it began before them, or there was an ebb.
    vetted: bool,
    /// The queue still fills after an ebb.
    refills: bool,
}

/// What is gathered between two moments a round trip apart.
#[derive(Clone, Debug)]
struct Round {
    began: Instant,
    /// The session's window when it began.
    window: f64,
    least: Option<Duration>,
    acked: u64,
    lost: u64,
    /// Whether there was more to send than could be.
    filled: bool,
    /// Whether there was nothing to send for a part of it: then its rate says nothing of the path.
    idle: bool,
    /// A packet sent in this round is acknowledged.
    over: bool,
    /// The window was not used as it is, so nothing follows for it.
    void: bool,
}

impl Round {
    fn new(now: Instant, window: f64) -> Self {
        Self {
            began: now,
            window,
            least: None,
            acked: 0,
            lost: 0,
            filled: false,
            idle: false,
            over: false,
            void: false,
        }
    }
}

impl Delay {
    fn new(now: Instant, mtu: u16, shares: Arc<Shares>) -> Self {
        let (number, vetted) = shares.join(now);
        let mtu = f64::from(mtu);
        let window = INITIAL * mtu;
        let (trips, round) = (Trips::new(now), Round::new(now, window));
        let (starting, best_rate, flat_rounds, before) = (true, 0.0, 0, None);
        Self {
            shares,
            room: Room::new(window as u64),
            number,
            mtu,
            window,
            floor: WINDOW_MIN,
            told: window,
            starting,
            trips,
            round,
            best_rate,
            flat_rounds,
            before,
            vetted,
            refills: false,
        }
    }

    fn queue(&self) -> Duration {
        self.round.least.unwrap_or_default().saturating_sub(self.trips.base())
    }

    /// The queue behind a packet that took `least`, which a start must not add to: who joins others takes theirs for the path, and
    /// would double until it overflows.
    fn stands(&self, least: Option<Duration>, now: Instant) -> Duration {
        let own = least.unwrap_or_default().saturating_sub(self.trips.base());
        let others = if self.vetted { None } else { self.shares.common(now) };
        match others {
            Some(others) if others >= OTHERS_QUEUE => own.max(others).max(START_QUEUE),
            _ => own,
        }
    }

    /// `rtt` is what quinn has smoothed, and its least.
    fn acked(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: (Duration, Duration),
    ) {
        let trip = self.trips.see(now, now.duration_since(sent), rtt.0, rtt.1);
        self.round.least = Some(self.round.least.map_or(trip, |least| least.min(trip)));
        self.round.acked += bytes;
        // quinn is kept short of data. There is more if an answer waits for room.
        let more = !app_limited || self.room.is_wanted();
        self.round.filled |= more;
        self.round.idle |= !more;
        self.round.over |= sent >= self.round.began;
        if self.starting && more && self.stands(Some(trip), now) < START_QUEUE {
            // One more for each that arrived doubles the window in a round trip.
            self.set(self.window + bytes as f64);
        }
    }

    fn acks_end(&mut self, now: Instant, under_way: u64, dry: bool) {
        if self.round.over {
            self.end_round(now);
        }
        self.room.settle(under_way, dry);
        self.tell(now);
    }

    fn lost(&mut self, now: Instant, persistent: bool, bytes: u64) {
        self.round.lost += bytes;
        self.room.lost(bytes);
        if persistent {
            // Nothing has come through for long: begin anew, with little.
            (self.starting, self.best_rate, self.flat_rounds) = (true, 0.0, 0);
            self.set(0.0);
            self.round = Round::new(now, self.window);
            self.tell(now);
        }
    }

    fn end_round(&mut self, now: Instant) {
        let round = std::mem::replace(&mut self.round, Round::new(now, self.window));
        if round.filled {
            self.shares.sending(now, self.number, self.window / self.mtu);
        }
        // What was sent at ebb, and after it until the queue is what it was, says nothing of the windows there are.
        let refills = std::mem::replace(&mut self.refills, round.void);
        if round.void || refills {
            self.vetted |= round.least.is_some();
            self.before = None;
            return;
        }
        // A queue is still there in the next round. A machine that was busy mostly is not any more.
        let least = round.least.into_iter().chain(std::mem::replace(&mut self.before, round.least)).min();
        let least = least.unwrap_or_default();
        let seen = least.saturating_sub(self.trips.base());
        let lately = least.saturating_sub(self.trips.lately());
        let queue = self.shares.queue(now, self.vetted.then_some(self.number), seen, lately);
        let rate = round.acked as f64 / now.duration_since(round.began).as_secs_f64().max(1e-6);
        let company = self.shares.company(now);
        self.floor = company.floor().min(WINDOW_MIN);
        let few = company.few(self.window / self.mtu) * self.mtu;
        let loss = round.lost as f64 / ((round.lost + round.acked) as f64).max(1.0);
        if self.starting {
            self.judge_start(self.stands(Some(least), now), &round, rate, loss, few);
            if !self.starting {
                self.shares.hurry(now);
            }
        } else {
            self.steer(queue, loss, few, round.filled);
        }
    }

    /// Ends the doubling once a queue stands, or the rate grows no more, or the loss is plain. What is seen by then was caused by
    /// the window that the round began with; the window there is now is up to twice that.
    fn judge_start(&mut self, queue: Duration, round: &Round, rate: f64, loss: f64, few: f64) {
        if !round.idle {
            let grew = rate > self.best_rate * GROWTH;
            self.flat_rounds = if grew { 0 } else { self.flat_rounds + 1 };
            self.best_rate = self.best_rate.max(rate);
        }
        let base = self.trips.base();
        let fits = if queue >= START_QUEUE {
            round.window * (base + TARGET).as_secs_f64() / (base + queue).as_secs_f64()
        } else if loss > LOSS_FELT {
            self.window * SHRINK_MAX
        } else if self.flat_rounds >= FLAT_ROUNDS {
            self.best_rate * (base + TARGET).as_secs_f64()
        } else {
            return;
        };
        self.starting = false;
        self.set(self.window.min(fits + few));
    }

    fn steer(&mut self, queue: Duration, loss: f64, few: f64, filled: bool) {
        let base = self.trips.base();
        // With hardly a queue a long path would take many round trips to fill by the law alone.
        let law = if queue < TARGET / 4 {
            GROW_MAX
        } else {
            (base + TARGET).as_secs_f64() / (base + queue).as_secs_f64()
        };
        let far = queue >= FAR;
        let (shrink, gain) = if far { (SHRINK_FAR, GAIN_FAR) } else { (SHRINK_MAX, GAIN) };
        let mut goal = self.window * law.clamp(shrink, GROW_MAX) + few;
        if loss > LOSS_FELT {
            goal = goal.min(self.window * (1.0 - 2.0 * (loss - LOSS_FELT)).max(SHRINK_MAX));
        }
        if goal < self.window || filled {
            self.set(self.window + (goal - self.window) * gain);
        }
    }

    fn set(&mut self, window: f64) {
        self.window = window.clamp(self.floor * self.mtu, WINDOW_MAX);
    }

    /// A little faster than a window in a round trip, so that pacing is never what limits it.
    fn pace(&self) -> Rate {
        match self.trips.smoothed() {
            Some(trip) if trip > PACED => {
                let haste = if self.starting { 2.0 } else { 1.25 };
                Rate((self.told * haste / trip.as_secs_f64()) as u64)
            }
            _ => Rate::UNLIMITED,
        }
    }

    /// At ebb half of what the path alone would hold: then every queue of this node's drains.
    fn tell(&mut self, now: Instant) {
        self.told = self.window;
        if !self.starting && self.shares.is_ebb(now, self.trips.base() + self.queue()) {
            self.round.void = true;
            let base = self.trips.base().as_secs_f64();
            let alone = base / (base + self.queue().as_secs_f64()).max(1e-6);
            self.told = (self.window * alone / 2.0).max(self.floor * self.mtu);
        }
        self.room.allow(self.told as u64, self.pace());
    }
}

impl Controller for Delay {
    fn on_sent(&mut self, _: Instant, bytes: u64, _: u64) {
        self.room.sent(bytes);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.acked(now, sent, bytes, app_limited, (rtt.get(), rtt.min()));
    }

    fn on_end_acks(&mut self, now: Instant, under_way: u64, app_limited: bool, _: Option<u64>) {
        self.acks_end(now, under_way, app_limited);
    }

    fn on_congestion_event(&mut self, now: Instant, _: Instant, persistent: bool, lost: u64) {
        self.lost(now, persistent, lost);
    }

    fn on_mtu_update(&mut self, mtu: u16) {
        self.mtu = f64::from(mtu);
        self.set(self.window);
    }

    /// Not what answers may use, which `room` says.
    fn window(&self) -> u64 {
        (self.told * BEYOND + SPARE) as u64
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        (INITIAL * self.mtu) as u64
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests;
