//! The node's download limit: a token bucket over bytes from peers and origins together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pcdn_core::unit::Rate;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Bytes that may pass at once after a pause, as time at the rate.
const BURST: Duration = Duration::from_millis(100);

/// Lets bytes pass at no more than a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: AtomicU64,
    /// When the bytes let through so far would have passed at the rate.
    paid_until: Mutex<Instant>,
}

impl Throttle {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate: AtomicU64::new(rate.0), paid_until: Mutex::new(Instant::now()) }
    }

    /// Changes the rate, for the bytes that come from now on.
    pub(crate) fn set(&self, rate: Rate) {
        self.rate.store(rate.0, Ordering::Relaxed);
    }

    /// Waits until `bytes` more may pass.
    pub(crate) async fn take(&self, bytes: usize) {
        let rate = Rate(self.rate.load(Ordering::Relaxed));
        if rate.is_unlimited() {
            return;
        }
        let until = {
            let mut paid = self.paid_until.lock().await;
            let earliest = Instant::now() - BURST;
            *paid = (*paid).max(earliest) + rate.time_for(bytes as u64);
            *paid
        };
        tokio::time::sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_seconds_of_bytes_take_ten_seconds() {
        let throttle = Throttle::new(Rate(100_000));
        let start = Instant::now();
        for _ in 0..100 {
            throttle.take(10_000).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.8..10.1).contains(&took), "{took}");
    }
}
