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

    /// Waits until `bytes` more may pass, first come first served. Whoever gives up waiting has taken nothing.
    pub(crate) async fn take(&self, bytes: usize) {
        if Rate(self.rate.load(Ordering::Relaxed)).is_unlimited() {
            return;
        }
        // The lock is kept while waiting: that is the queue.
        let mut paid = self.paid_until.lock().await;
        tokio::time::sleep_until(*paid).await;
        let rate = Rate(self.rate.load(Ordering::Relaxed));
        if !rate.is_unlimited() {
            let earliest = Instant::now() - BURST;
            *paid = (*paid).max(earliest) + rate.time_for(bytes as u64);
        }
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
        assert!((9.7..10.1).contains(&took), "{took}");
    }

    /// Requests that were given up while they waited had taken their part, so the rest waited for nothing.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing() {
        let throttle = std::sync::Arc::new(Throttle::new(Rate(100_000)));
        let start = Instant::now();
        throttle.take(100_000).await;
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let throttle = throttle.clone();
                tokio::spawn(async move { throttle.take(100_000).await })
            })
            .collect();
        tokio::task::yield_now().await;
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        tokio::task::yield_now().await;
        throttle.take(1).await;
        assert!(start.elapsed() < Duration::from_millis(1_100), "{:?}", start.elapsed());
    }
}
