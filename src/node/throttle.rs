//! Download limits: token buckets over bytes from peers and origins together.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use pcdn_core::unit::Rate;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Bytes that may pass at once after a pause, as time at the rate.
const BURST: Duration = Duration::from_millis(100);
/// Over how long it is measured what each taker takes; one that takes nothing for so long counts no more.
const SPAN: Duration = Duration::from_secs(1);

/// Lets bytes pass at no more than a rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: AtomicU64,
    /// When the bytes let through so far would have passed at the rate.
    paid_until: Mutex<Instant>,
    /// Bytes let through that did not come.
    returned: AtomicU64,
    /// Those who took something within the last spans: swarms, so no more than are open.
    takers: std::sync::Mutex<Vec<Taker>>,
}

/// What one taker took in the span under way, and in the one before.
#[derive(Debug)]
struct Taker {
    who: u64,
    since: Instant,
    now: u64,
    before: u64,
}

impl Taker {
    fn turn(&mut self) {
        let spent = self.since.elapsed();
        if spent >= SPAN {
            self.before = if spent < SPAN * 2 { self.now } else { 0 };
            (self.now, self.since) = (0, Instant::now());
        }
    }

    /// Bytes per second, at least.
    fn rate(&self) -> u64 {
        self.before.max(self.now)
    }
}

impl Throttle {
    pub(crate) fn new(rate: Rate) -> Self {
        let (rate, paid_until) = (AtomicU64::new(rate.0), Mutex::new(Instant::now()));
        Self { rate, paid_until, returned: AtomicU64::new(0), takers: std::sync::Mutex::default() }
    }

    /// Changes the rate, for the bytes that come from now on.
    pub(crate) fn set(&self, rate: Rate) {
        self.rate.store(rate.0, Ordering::Relaxed);
    }

    pub(crate) fn rate(&self) -> Rate {
        Rate(self.rate.load(Ordering::Relaxed))
    }

    /// What of the rate `who` may count on: its part among those who take, or what the others leave if that is more.
    pub(crate) fn share(&self, who: u64) -> Rate {
        let rate = self.rate();
        if rate.is_unlimited() {
            return rate;
        }
        let mut takers = self.takers();
        takers.iter_mut().for_each(Taker::turn);
        takers.retain(|taker| taker.rate() > 0);
        let others = takers.iter().filter(|taker| taker.who != who);
        let (count, taken) = others.fold((0, 0), |(count, sum), taker| (count + 1, sum + taker.rate()));
        Rate((rate.0 / (count + 1)).max(rate.0.saturating_sub(taken)))
    }

    /// Waits until `bytes` more may pass to `who`, first come first served. Whoever gives up waiting has taken nothing.
    pub(crate) async fn take(&self, who: u64, bytes: usize) {
        if self.rate().is_unlimited() {
            return;
        }
        {
            // The lock is kept while waiting: that is the queue.
            let mut paid = self.paid_until.lock().await;
            let returned = self.rate().time_for(self.returned.swap(0, Ordering::Relaxed));
            *paid = paid.checked_sub(returned).unwrap_or(*paid);
            tokio::time::sleep_until(*paid).await;
            let rate = self.rate();
            if !rate.is_unlimited() {
                let earliest = Instant::now() - BURST;
                *paid = (*paid).max(earliest) + rate.time_for(bytes as u64);
            }
        }
        let mut takers = self.takers();
        match takers.iter_mut().find(|taker| taker.who == who) {
            Some(taker) => {
                taker.turn();
                taker.now += bytes as u64;
            }
            None => takers.push(Taker { who, since: Instant::now(), now: bytes as u64, before: 0 }),
        }
    }

    /// What was taken does not come after all: it is there for whoever takes next.
    fn give_back(&self, bytes: usize) {
        if !self.rate().is_unlimited() {
            self.returned.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    fn takers(&self) -> MutexGuard<'_, Vec<Taker>> {
        // Plain data, whole after every statement: a panic elsewhere leaves nothing half done.
        self.takers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one request took of each throttle it passed. Unless it was spent, it is given back.
#[derive(Debug)]
pub(crate) struct Taken<const N: usize> {
    throttles: [Arc<Throttle>; N],
    bytes: usize,
}

impl<const N: usize> Taken<N> {
    /// Waits until all of `throttles` let `bytes` pass to `who`.
    pub(crate) async fn of(throttles: [Arc<Throttle>; N], who: u64, bytes: usize) -> Self {
        let mut taken = Self { throttles, bytes: 0 };
        for at in 0..N {
            taken.throttles[at].take(who, bytes).await;
        }
        taken.bytes = bytes;
        taken
    }

    /// The bytes came.
    pub(crate) fn spend(mut self) {
        self.bytes = 0;
    }
}

impl<const N: usize> Drop for Taken<N> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.throttles.iter().for_each(|throttle| throttle.give_back(self.bytes));
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
            throttle.take(1, 10_000).await;
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.7..10.1).contains(&took), "{took}");
    }

    /// Requests that were given up while they waited had taken their part, so the rest waited for nothing.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_takes_nothing() {
        let throttle = std::sync::Arc::new(Throttle::new(Rate(100_000)));
        let start = Instant::now();
        throttle.take(1, 100_000).await;
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let throttle = throttle.clone();
                tokio::spawn(async move { throttle.take(1, 100_000).await })
            })
            .collect();
        tokio::task::yield_now().await;
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        tokio::task::yield_now().await;
        throttle.take(1, 1).await;
        assert!(start.elapsed() < Duration::from_millis(1_100), "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_is_what_the_others_leave_and_never_less_than_ones_part() {
        let throttle = Throttle::new(Rate(100_000));
        assert_eq!(throttle.share(1), Rate(100_000), "nobody else takes anything");
        throttle.take(2, 20_000).await;
        assert_eq!((throttle.share(1), throttle.share(2)), (Rate(80_000), Rate(100_000)));
        throttle.take(3, 70_000).await;
        assert_eq!((throttle.share(1), throttle.share(2)), (Rate(33_333), Rate(50_000)));
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(throttle.share(1), Rate(100_000), "they have stopped");
        assert_eq!(Throttle::new(Rate::UNLIMITED).share(1), Rate::UNLIMITED);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_given_back() {
        let throttle = Throttle::new(Rate(100_000));
        throttle.take(1, 100_000).await;
        throttle.give_back(100_000);
        let start = Instant::now();
        throttle.take(1, 1).await;
        assert!(start.elapsed() < Duration::from_millis(1));
    }
}
