//! What a tracker was asked, and what it answered.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Refusal;
use crate::tracker::wire::Request;

/// What was asked and answered since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connection ids issued.
    pub connects: AtomicU64,
    /// Announces accepted, UDP and HTTP.
    pub announces: AtomicU64,
    /// Finds answered, UDP and HTTP.
    pub finds: AtomicU64,
    /// Reports accepted.
    pub reports: AtomicU64,
    /// Scrapes answered, UDP and HTTP.
    pub scrapes: AtomicU64,
    /// Questions of where a node is seen, and calls to another.
    pub words: AtomicU64,
    /// Datagrams that got no answer.
    pub dropped: AtomicU64,
    /// By [`Refusal`].
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    /// How often `why` was the answer.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why.place()].load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, result: Result<&Request, Refusal>) {
        let counter = match result {
            Ok(Request::Announce(_)) => &self.announces,
            Ok(Request::Find(_)) => &self.finds,
            Ok(Request::Report(_)) => &self.reports,
            Err(why) => &self.refused[why.place()],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}
