//! How fast bytes have come in lately.

use std::time::Duration;

use tokio::time::Instant;

/// A rate over less than this would be noise.
const SPAN_MIN: Duration = Duration::from_millis(100);
/// How long ago "lately" ends: a rate measured over a longer silence starts anew.
const SPAN_MAX: Duration = Duration::from_secs(2);

/// Bytes a second, from a counter that is looked at now and then.
#[derive(Debug)]
pub(super) struct Gauge {
    at: Instant,
    total: u64,
    rate: u64,
}

impl Gauge {
    pub(super) fn new(now: Instant) -> Self {
        Self { at: now, total: 0, rate: 0 }
    }

    /// The counter stands at `total`. Gives the rate: half of it the newest span, half what was before.
    pub(super) fn look(&mut self, now: Instant, total: u64) -> u64 {
        let span = now.duration_since(self.at);
        if span < SPAN_MIN {
            return self.rate;
        }
        let newest = (total.saturating_sub(self.total) as f64 / span.as_secs_f64()) as u64;
        self.rate = if span > SPAN_MAX { newest } else { newest.midpoint(self.rate) };
        (self.at, self.total) = (now, total);
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_a_steady_rate_and_ignores_looks_in_between() {
        let begun = Instant::now();
        let mut gauge = Gauge::new(begun);
        for tick in 1..200u64 {
            gauge.look(begun + Duration::from_millis(tick * 20), tick * 20_000);
        }
        let rate = gauge.look(begun + Duration::from_secs(4), 4_000_000);
        assert!((990_000..=1_010_000).contains(&rate), "{rate}");
        assert_eq!(gauge.look(begun + Duration::from_millis(4_050), 9_000_000), rate);
    }
}
