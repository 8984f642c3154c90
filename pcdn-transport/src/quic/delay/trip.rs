//! How long a round trip takes, without what the other end waits before it acknowledges.
//!
//! An acknowledgement comes after ten packets or 25 ms. A session with two packets under way would see 25 ms of "queue", keep
//! its small window because of that, and see them again: in a swarm of eight homes one session of each took the line and the
//! others starved. What the other end says it waited is known to quinn alone, which tells its smoothed estimate; the newest
//! sample in it can be told from two of them (RFC 9002, section 5.3: smoothed ← ⅞ smoothed + ⅛ sample).

use std::time::{Duration, Instant};

use pcdn_core::unit::Time;

use crate::base::Base;

/// The round trips of one session.
#[derive(Clone, Debug)]
pub(super) struct Trips {
    smoothed: Option<Duration>,
    begun: Instant,
    base: Base,
}

impl Trips {
    pub(super) fn new(now: Instant) -> Self {
        Self { smoothed: None, begun: now, base: Base::default() }
    }

    /// A packet took `took` until its acknowledgement came; gives what the path had of it. `smoothed` and `least` are quinn's
    /// estimates, as the acknowledgement before this one left them.
    pub(super) fn see(
        &mut self,
        now: Instant,
        took: Duration,
        smoothed: Duration,
        least: Duration,
    ) -> Duration {
        let newest = match self.smoothed.replace(smoothed) {
            Some(before) if before != smoothed => (smoothed * 8).saturating_sub(before * 7).max(least),
            _ => took,
        };
        let trip = newest.min(took);
        let at = Time(now.duration_since(self.begun).as_micros() as u64);
        self.base.see(at, trip.as_micros() as i64);
        trip
    }

    /// quinn's estimate, when it was seen last.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// What the path alone takes, without anybody's queue.
    pub(super) fn base(&self) -> Duration {
        duration(self.base.get())
    }

    /// The least of the last 15 to 30 seconds.
    pub(super) fn lately(&self) -> Duration {
        duration(self.base.lately())
    }
}

/// No less than the grain of any clock that sends packets; the law divides by it.
fn duration(micros: Option<i64>) -> Duration {
    Duration::from_micros(micros.map_or(0, |micros| micros as u64).max(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn what_the_other_end_waits_is_no_queue() {
        let now = Instant::now();
        let (mut trips, mut smoothed) = (Trips::new(now), ms(40));
        let mut seen = Vec::new();
        // 40 ms of path, and 25 ms until two packets are acknowledged.
        for _ in 0..20 {
            seen.push(trips.see(now, ms(65), smoothed, ms(40)));
            smoothed = (smoothed * 7 + ms(40)) / 8;
            smoothed += Duration::from_nanos(8); // as clocks have it
        }
        assert!(seen[1..].iter().all(|trip| *trip < ms(41)), "{seen:?}");
        assert!(trips.base() < ms(41));
    }

    #[test]
    fn a_queue_is_seen() {
        let now = Instant::now();
        let (mut trips, mut smoothed) = (Trips::new(now), ms(40));
        trips.see(now, ms(40), smoothed, ms(40));
        for _ in 0..20 {
            smoothed = (smoothed * 7 + ms(60)) / 8;
            let trip = trips.see(now, ms(85), smoothed, ms(40));
            assert!(trip > ms(59) && trip < ms(61), "{trip:?}");
        }
        assert_eq!(trips.base(), ms(40));
    }
}
