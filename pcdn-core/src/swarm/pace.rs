//! How fast a reader is assumed to play. Pure.
//!
//! A player that reads greedily hides how much it has buffered, so each reader has a *virtual play head* that starts with the
//! first byte. How fast it moves is, from the best knowledge to the least:
//!
//! 1. what the player was measured to take, once it pauses because its buffer is full;
//! 2. twice what the content plays at in the mean, if that is known ([`Input::Plays`](super::Input::Plays)); faster, step by step,
//!    while the player still takes all it gets though its buffer would have to be full;
//! 3. what the origin alone would give this node, so that peers never make anything slower.
//!
//! The first seconds of media are wanted at once in any case: a start is as fast as the fastest source.

use std::time::Duration;

use crate::unit::{Rate, Time};

/// Pace assumed of a player until it is known or measured: 10 Mbit/s, a full-HD stream.
const PACE_GUESS: f64 = 1_250_000.0;
/// No medium is believed to play slower than this.
const PACE_MIN: f64 = 16_000.0;
/// A player that left this part of the time unread has filled its buffer: its pace can be measured.
const PAUSED_PART: f64 = 0.25;
/// Time over which that is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// What a player with a full buffer is assumed to have in it at least.
const FULL_BUFFER: Duration = Duration::from_secs(2);
/// Players start with so much media at most (ExoPlayer wants 2.5 s, VLC 1 s, browsers less).
const START: Duration = Duration::from_millis(2_500);
/// Over a mean that is measured, and one that is told: a film's scenes differ more than five seconds of one.
const OVER_MEASURED: f64 = 1.25;
const OVER_TOLD: f64 = 2.0;
/// Players buffer so much at most; one that takes all it gets beyond plays faster than was told, or only downloads.
const BUFFER_MAX: Duration = Duration::from_secs(30);
/// For each window in which one did, its pace is assumed to be higher by this.
const HUNGRY: f64 = 1.5;
/// Windows after which nothing told is believed: more than ten times the mean.
const HUNGRY_MAX: i32 = 5;

/// What a reader wants from where it is on: bytes up to `end` at `pace` bytes a second, `ahead` of which it has in hand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Demand {
    pub(super) end: u64,
    pub(super) pace: f64,
    pub(super) ahead: f64,
}

/// What a player can take at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct Most {
    /// What the origin alone would give this node, in bytes per second.
    pub(super) fair: f64,
    /// What comes in at most: no pace beyond it can be kept up, whatever it is guessed from.
    pub(super) line: Rate,
}

/// A reader's virtual play head.
#[derive(Debug)]
pub(super) struct Pacing {
    /// When the first byte was delivered, and which it was.
    started: Option<(Time, u64)>,
    /// When the last bytes were delivered.
    delivered: Time,
    /// Time it left delivered bytes unread, and bytes taken, in the current window.
    window: Time,
    paused: Duration,
    taken: u64,
    /// Bytes per second, once measured.
    measured: Option<f64>,
    /// Windows in a row in which it took all it got though its buffer was full.
    hungry: i32,
    /// Bytes played at the told pace, and until when.
    head: f64,
    moved: Time,
}

impl Pacing {
    pub(super) fn new(now: Time) -> Self {
        Self {
            started: None,
            delivered: now,
            window: now,
            paused: Duration::ZERO,
            taken: 0,
            measured: None,
            hungry: 0,
            head: 0.0,
            moved: now,
        }
    }

    /// It is ready for more.
    pub(super) fn pulled(&mut self, now: Time) {
        if self.started.is_some() {
            self.paused += now.since(self.delivered);
        }
    }

    /// It was given `bytes` bytes from `at` on; says whether they were its first.
    pub(super) fn given(&mut self, now: Time, at: u64, bytes: u64) -> bool {
        let first = self.started.is_none();
        if first {
            (self.started, self.moved) = (Some((now, at)), now);
        }
        self.taken += bytes;
        self.delivered = now;
        first
    }

    pub(super) fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// It had to wait at byte `at`: if it plays already, what is told of its pace is wrong.
    pub(super) fn stalled(&mut self, at: u64, told: Option<Rate>) {
        let started = self.started.zip(told);
        if started.is_some_and(|((_, from), told)| at > from.saturating_add(start_bytes(told))) {
            self.hungry = HUNGRY_MAX;
        }
    }

    /// What it wants, being at byte `at` of a range that ends at `end`; `told` says how fast the content plays in the mean.
    pub(super) fn demands(
        &mut self,
        now: Time,
        at: u64,
        end: u64,
        most: Most,
        told: Option<Rate>,
    ) -> Vec<Demand> {
        self.measure(now, at, told);
        let line = most.line.0 as f64;
        let fastest = PACE_GUESS.max(most.fair).min(line);
        if let Some(pace) = self.measured {
            let ahead = pace * FULL_BUFFER.as_secs_f64();
            return vec![Demand { end, pace: pace * OVER_MEASURED, ahead }];
        }
        let (since, from) = self.started.unwrap_or((now, at));
        let read = at.saturating_sub(from) as f64;
        let Some(told) = told.filter(|_| self.hungry < HUNGRY_MAX) else {
            let played = fastest * now.since(since).as_secs_f64();
            return vec![Demand { end, pace: fastest, ahead: (read - played).max(0.0) }];
        };
        let slowest = ((told.0 as f64).max(PACE_MIN) * OVER_TOLD).min(line);
        let pace = (slowest * HUNGRY.powi(self.hungry)).min(fastest).max(slowest);
        self.head = (self.head + pace * now.since(self.moved).as_secs_f64()).min(read);
        self.moved = now;
        let begun = from.saturating_add(start_bytes(told));
        let start = Demand { end: begun.min(end), pace: f64::INFINITY, ahead: 0.0 };
        let rest = Demand { end, pace, ahead: read - self.head };
        if at < begun { vec![start, rest] } else { vec![rest] }
    }

    /// A window is over: was the player pausing, and how fast did it read?
    fn measure(&mut self, now: Time, at: u64, told: Option<Rate>) {
        let span = now.since(self.window);
        if span < WINDOW {
            return;
        }
        let paused = self.paused.as_secs_f64() / span.as_secs_f64() >= PAUSED_PART;
        self.measured = paused.then(|| (self.taken as f64 / span.as_secs_f64()).max(PACE_MIN));
        self.hungry = match (paused, told.zip(self.started)) {
            (false, Some((told, (since, from)))) => {
                let full = told.bytes_in(now.since(since) + BUFFER_MAX);
                self.hungry + i32::from(at.saturating_sub(from) > full)
            }
            _ => 0,
        };
        (self.window, self.paused, self.taken) = (now, Duration::ZERO, 0);
    }
}

/// What a player wants before it starts.
fn start_bytes(told: Rate) -> u64 {
    told.bytes_in(START)
}

#[cfg(test)]
mod tests;
