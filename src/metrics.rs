//! What a node counts, in the text form of OpenMetrics.
//!
//! No metric has a content, a URL, a peer or an address as a label: those live in the JSON API, where they cannot fill a
//! time-series database. All series exist from the start, at zero.

mod ledger;
mod text;

use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use ledger::Ledger;
pub(crate) use text::{CONTENT_TYPE, render};

/// What a gateway counts.
#[derive(Debug, Default)]
pub struct GatewayCounters {
    /// By hundreds of the status: 1xx to 5xx.
    by_class: [AtomicU64; 5],
    in_flight: AtomicU64,
    aborts: AtomicU64,
    delivered: AtomicU64,
}

/// One request being answered; ends when dropped.
#[derive(Debug)]
pub(crate) struct UnderWay<'c>(&'c GatewayCounters);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl GatewayCounters {
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    pub(crate) fn answered(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.by_class[class].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn aborted(&self) {
        self.aborts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn delivered(&self, bytes: u64) {
        self.delivered.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bodies that their client did not take to the end.
    pub fn aborts(&self) -> u64 {
        self.aborts.load(Ordering::Relaxed)
    }

    /// Bytes of bodies handed to clients.
    pub fn delivered_bytes(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    fn class(&self, hundreds: usize) -> u64 {
        self.by_class[hundreds - 1].load(Ordering::Relaxed)
    }

    fn requests_in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }
}
