//! What is under way from the origin, and what is known of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::SILENCE_SEEN;
use crate::schedule::{OriginRun, OriginView, Slot};
use crate::swarm::meter::Meter;
use crate::unit::Time;

/// First byte assumed before the first was measured: a distant CDN edge with a handshake.
const FIRST_BYTE_GUESS: Duration = Duration::from_millis(150);
/// Rate assumed before the first transfer: 8 Mbit/s.
const RATE_GUESS: u64 = 1_000_000;

/// What is under way, and what is known of the origin.
#[derive(Debug)]
pub(in crate::swarm) struct Runs {
    pub(super) runs: BTreeMap<u64, Run>,
    pub(super) next: u64,
    /// Time to the first byte, and bytes per second, once measured.
    pub(super) first_byte: Option<Duration>,
    pub(super) rate: Option<u64>,
    pub(super) capacity: f64,
    pub(super) meter: Meter,
    pub(super) quiet_until: Time,
    pub(super) failures: u32,
    pub(super) forbidden: bool,
    pub(super) over: Option<Over>,
    pub(super) used: u64,
    /// Bytes that came, useful or not.
    pub(in crate::swarm) came: u64,
}

/// The origin has failed for good.
#[derive(Debug)]
pub(super) struct Over {
    pub(super) why: String,
    /// How long a reader that gets to what nobody has may wait for peers all the same.
    pub(super) hope: Duration,
}

impl Runs {
    /// Nothing under way; `allowed` says whether anything ever will be.
    pub(in crate::swarm) fn new(allowed: bool) -> Self {
        Self {
            runs: BTreeMap::new(),
            next: 0,
            first_byte: None,
            rate: None,
            capacity: 0.0,
            meter: Meter::default(),
            quiet_until: Time::ZERO,
            failures: 0,
            forbidden: !allowed,
            over: None,
            used: 0,
            came: 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) first: Slot,
    /// The next piece to be filled.
    pub(super) at: u32,
    /// One past the last piece wanted.
    pub(super) end: u32,
    /// Bytes asked for and not yet here, whatever is still wanted of them.
    pub(super) left: u64,
    pub(super) buffer: BytesMut,
    pub(super) asked: Time,
    /// How long what was on its way then took through the full line.
    pub(super) queued: Duration,
    pub(super) first_byte: Option<Time>,
    pub(super) bytes: u64,
    /// Bytes that came with the first one: they say nothing of the rate.
    pub(super) at_once: u64,
    /// When it was asked for, or last brought something.
    pub(super) moved: Time,
    /// Fetched a second time, to compare: see `audit`.
    pub(super) audit: bool,
}

impl Run {
    /// The next piece, once all of it is here. One that came in one chunk is a slice of that chunk, not a copy.
    pub(super) fn take_piece(&mut self, arrived: &mut Bytes, len: usize) -> Option<Bytes> {
        if self.buffer.is_empty() && arrived.len() >= len {
            return Some(arrived.split_to(len));
        }
        self.buffer.extend_from_slice(arrived);
        arrived.clear();
        (self.buffer.len() >= len).then(|| self.buffer.split_to(len).freeze())
    }
}

impl Runs {
    pub(in crate::swarm) fn view(&self) -> OriginView {
        let runs = self.runs.iter().filter(|(_, run)| !run.audit).map(|(id, run)| OriginRun {
            id: *id,
            first: run.first,
            count: run.end - run.first.0,
            left: run.left,
            asked: run.asked,
            moved: run.moved,
        });
        OriginView {
            allowed: !self.forbidden,
            quiet_until: self.quiet_until,
            first_byte: self.first_byte(),
            rate: self.rate(),
            capacity: self.capacity as u64,
            runs: runs.collect(),
            used: self.used,
        }
    }

    /// Useful bytes taken so far, and those asked for.
    pub(in crate::swarm) fn taken(&self) -> u64 {
        self.used + self.runs.values().map(|run| run.left).sum::<u64>()
    }

    /// Why the origin gives no more, if it has failed for good and who waits `since` then need not hope for peers any more.
    pub(in crate::swarm) fn hopeless(&self, now: Time, since: Time) -> Option<&str> {
        self.over.as_ref().filter(|over| now.since(since) >= over.hope).map(|over| over.why.as_str())
    }

    /// Whether it may be asked now.
    pub(in crate::swarm) fn is_allowed(&self, now: Time) -> bool {
        !self.forbidden && now >= self.quiet_until
    }

    pub(super) fn first_byte(&self) -> Duration {
        self.first_byte.unwrap_or(FIRST_BYTE_GUESS)
    }

    pub(super) fn rate(&self) -> u64 {
        self.rate.unwrap_or(RATE_GUESS)
    }

    pub(in crate::swarm) fn is_busy(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Bytes to come of runs that are not silent.
    pub(in crate::swarm) fn to_come(&self, now: Time) -> u64 {
        let moves = |run: &&Run| now.since(run.moved) < SILENCE_SEEN;
        self.runs.values().filter(moves).map(|run| run.left).sum()
    }

    pub(in crate::swarm) fn rate_now(&self, now: Time) -> u64 {
        self.meter.rate(now)
    }

    pub(in crate::swarm) fn view_capacity(&self) -> u64 {
        self.capacity as u64
    }

    /// What has come of a piece that is being fetched.
    pub(in crate::swarm) fn part_of(&self, slot: Slot) -> &[u8] {
        let run = self.runs.values().find(|run| run.at == slot.0 && !run.audit);
        run.map_or(&[], |run| &run.buffer)
    }

    pub(in crate::swarm) fn audits(&self) -> usize {
        self.runs.values().filter(|run| run.audit).count()
    }
}

impl Runs {
    /// Runs that still want one of these slots.
    pub(in crate::swarm) fn touching(&self, slots: &Range<u32>) -> Vec<u64> {
        let touches = |run: &Run| run.at < slots.end && slots.start < run.end;
        self.runs.iter().filter(|(_, run)| touches(run)).map(|(id, _)| *id).collect()
    }

    /// The first `count` slots are gone.
    pub(in crate::swarm) fn drop_front(&mut self, count: u32) {
        for run in self.runs.values_mut() {
            run.first = run.first.down(count);
            run.at = run.at.saturating_sub(count);
            run.end = run.end.saturating_sub(count);
        }
    }
}
