//! How busy the tracker is, and how much longer its peers shall wait therefore.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pcdn_core::unit::Time;

/// Longest stretch of the interval.
pub(super) const FACTOR_MAX: f64 = 4.0;
/// Part of a new measurement in the factor: a burst of one sweep does not move everyone's clock.
const WEIGHT: f64 = 0.3;

/// Counts requests and stretches intervals: 1 up to the capacity, then in proportion, at most [`FACTOR_MAX`].
#[derive(Debug)]
pub(super) struct Load {
    capacity: f64,
    requests: AtomicU32,
    /// The factor in thousandths.
    factor: AtomicU32,
    measured: AtomicU64,
}

impl Load {
    /// `capacity` in requests a second.
    pub(super) fn new(capacity: f64) -> Self {
        let (requests, measured) = Default::default();
        Self { capacity, requests, factor: AtomicU32::new(1_000), measured }
    }

    pub(super) fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn factor(&self) -> f64 {
        f64::from(self.factor.load(Ordering::Relaxed)) / 1_000.0
    }

    /// Looks at what came since the last call; to be called every few seconds, by one thread.
    pub(super) fn measure(&self, now: Time) {
        let since = now.since(Time(self.measured.swap(now.0, Ordering::Relaxed))).as_secs_f64();
        let requests = f64::from(self.requests.swap(0, Ordering::Relaxed));
        if since > 0.0 {
            let wanted = (requests / since / self.capacity).clamp(1.0, FACTOR_MAX);
            let factor = self.factor() * (1.0 - WEIGHT) + wanted * WEIGHT;
            self.factor.store((factor * 1_000.0).round() as u32, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_tracker_stretches_intervals_and_a_quiet_one_returns() {
        let load = Load::new(10.0);
        for second in 1..40 {
            (0..25).for_each(|_| load.request());
            load.measure(Time::from_secs(second));
        }
        assert!((2.4..2.6).contains(&load.factor()), "{}", load.factor());
        (40..80).for_each(|second| load.measure(Time::from_secs(second)));
        assert!(load.factor() < 1.01, "{}", load.factor());
        (0..1_000_000).for_each(|_| load.request());
        (80..99).for_each(|second| load.measure(Time::from_secs(second)));
        assert!(load.factor() <= FACTOR_MAX);
    }
}
