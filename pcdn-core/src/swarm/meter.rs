//! Bytes per second over the last two seconds.

use std::time::Duration;

use crate::unit::Time;

const BUCKETS: usize = 8;
const BUCKET: Duration = Duration::from_millis(250);

/// Counts bytes in eight buckets of a quarter second.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter {
    buckets: [u64; BUCKETS],
    /// Number of the newest bucket since time began.
    newest: u64,
    started: Option<Time>,
}

impl Meter {
    pub(super) fn add(&mut self, now: Time, bytes: u64) {
        self.turn(now);
        self.started.get_or_insert(now);
        self.buckets[(self.newest % BUCKETS as u64) as usize] += bytes;
    }

    /// The mean rate since two seconds ago, or since the first byte if that is later.
    pub(super) fn rate(&self, now: Time) -> u64 {
        let Some(started) = self.started else { return 0 };
        let newest = now.0 / BUCKET.as_micros() as u64;
        let age = newest.saturating_sub(self.newest);
        let kept = BUCKETS as u64 - age.min(BUCKETS as u64);
        let sum: u64 = (0..kept)
            .map(|back| self.buckets[((self.newest + BUCKETS as u64 - back) % BUCKETS as u64) as usize])
            .sum();
        let span = now.since(started).clamp(BUCKET, BUCKET * BUCKETS as u32);
        (sum as f64 / span.as_secs_f64()) as u64
    }

    fn turn(&mut self, now: Time) {
        let bucket = now.0 / BUCKET.as_micros() as u64;
        if bucket.saturating_sub(self.newest) >= BUCKETS as u64 {
            self.buckets = [0; BUCKETS];
            self.newest = bucket;
        }
        while self.newest < bucket {
            self.newest += 1;
            self.buckets[(self.newest % BUCKETS as u64) as usize] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_reads_as_its_rate_and_silence_as_nothing() {
        let mut meter = Meter::default();
        for ms in (0..5_000).step_by(10) {
            meter.add(Time::from_millis(ms), 1_000);
        }
        let rate = meter.rate(Time::from_millis(5_000));
        assert!((85_000..115_000).contains(&rate), "{rate}");
        assert_eq!(meter.rate(Time::from_millis(9_000)), 0);
    }
}
