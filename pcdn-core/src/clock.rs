//! Where shells read the time. Cores never do: they are given `now`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::unit::Time;

/// A monotonic clock. The facade has the real one; tests and the simulator turn [`ManualClock`].
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// A clock that stands until it is turned.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// Moves the hands forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as u64, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}
