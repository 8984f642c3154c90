//! Spreads packets over time, in bursts large enough for one system call and small enough for any queue.

use std::time::Duration;

use pcdn_core::unit::{Rate, Time};

/// A burst lasts this long at the current rate: timers of ordinary systems are late by a millisecond or two.
const BURST: Duration = Duration::from_millis(4);

/// A token bucket over bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pacer {
    tokens: f64,
    filled: Time,
    burst_min: u64,
    burst_max: u64,
}

impl Pacer {
    /// Bursts of 4 ms, at least `burst_min` and at most `burst_max` bytes. Starts full.
    pub(crate) fn new(burst_min: u64, burst_max: u64) -> Self {
        Self { tokens: burst_max as f64, filled: Time::ZERO, burst_min, burst_max }
    }

    /// Fills up at `rate` and gives the bytes that may go now.
    pub(crate) fn fill(&mut self, now: Time, rate: Rate) -> u64 {
        if rate.is_unlimited() {
            self.filled = now;
            return u64::MAX;
        }
        let gained = rate.0 as f64 * now.since(self.filled).as_secs_f64();
        self.filled = self.filled.max(now);
        self.tokens = (self.tokens + gained).min(self.burst(rate) as f64);
        self.tokens.max(0.0) as u64
    }

    /// Takes what was sent.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.tokens -= bytes as f64;
    }

    /// When `bytes` may go, or a full burst if that is less.
    pub(crate) fn ready_at(&self, rate: Rate, bytes: u64) -> Time {
        let lacking = bytes.min(self.burst(rate)) as f64 - self.tokens;
        if lacking <= 0.0 || rate.is_unlimited() {
            return self.filled;
        }
        match rate.0 {
            0 => Time::NEVER,
            rate => {
                self.filled
                    + Duration::from_secs_f64((lacking / rate as f64).min(3600.0))
                    + Duration::from_micros(1)
            }
        }
    }

    fn burst(&self, rate: Rate) -> u64 {
        rate.bytes_in(BURST).clamp(self.burst_min, self.burst_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn never_more_than_the_rate_and_one_burst(rate in 10_000u64..50_000_000, gaps in proptest::collection::vec(0u64..20_000, 1..200)) {
            let mut pacer = Pacer::new(4000, 40_000);
            let (mut now, mut sent) = (Time::ZERO, 0);
            for gap in gaps {
                now += Duration::from_micros(gap);
                while pacer.fill(now, Rate(rate)) >= 1300 {
                    pacer.take(1300);
                    sent += 1300;
                }
            }
            proptest::prop_assert!(sent <= Rate(rate).bytes_in(now.since(Time::ZERO)) + 40_000);
        }
    }

    #[test]
    fn waking_at_the_promised_time_keeps_the_rate() {
        let (mut pacer, rate) = (Pacer::new(4000, 40_000), Rate(1_000_000));
        let (mut now, mut sent) = (Time::ZERO, 0u64);
        while now < Time::from_secs(10) {
            while pacer.fill(now, rate) >= 1300 {
                pacer.take(1300);
                sent += 1300;
            }
            now = pacer.ready_at(rate, 2600);
        }
        assert!((9_950_000..10_100_000).contains(&sent), "{sent}");
    }
}
