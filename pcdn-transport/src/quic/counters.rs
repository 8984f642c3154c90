//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Callers turned away: too many at a time, too many sessions, or nobody to take them.
    pub refused: u64,
    /// Callers and called that did not prove to have the swarm secret.
    pub strangers: u64,
    /// Requests and messages that proven peers got wrong; each ended its session.
    pub malformed: u64,
    /// Fetches of peers met before that were taken in early data.
    pub early: u64,
    /// Content bytes sent, repeats left out.
    pub content_sent: u64,
}

/// The counters at work.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) refused: AtomicU64,
    pub(super) strangers: AtomicU64,
    pub(super) malformed: AtomicU64,
    pub(super) early: AtomicU64,
    pub(super) content_sent: AtomicU64,
}

impl Tally {
    pub(super) fn one(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Counters {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counters {
            refused: read(&self.refused),
            strangers: read(&self.strangers),
            malformed: read(&self.malformed),
            early: read(&self.early),
            content_sent: read(&self.content_sent),
        }
    }
}
