//! Round trip time: smoothed, its variation, its minimum, and the patience that follows from them.

use std::time::Duration;

/// Assumed until measured: most paths inside one country are shorter.
const INITIAL: Duration = Duration::from_millis(100);
/// Added to every time-out: timers and schedulers of either side are late by about this much.
const SLACK: Duration = Duration::from_millis(20);

/// The estimator of RFC 6298, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    smooth: u64,
    variation: u64,
    least: u64,
}

impl Rtt {
    /// Takes one measurement.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let rtt = (rtt.as_micros() as u64).max(1);
        if self.smooth == 0 {
            *self = Self { smooth: rtt, variation: rtt / 2, least: rtt };
            return;
        }
        self.least = self.least.min(rtt);
        self.variation = (3 * self.variation + self.smooth.abs_diff(rtt)) / 4;
        self.smooth = (7 * self.smooth + rtt) / 8;
    }

    /// The smoothed value; [`Duration::ZERO`] until measured.
    pub(crate) fn measured(&self) -> Duration {
        Duration::from_micros(self.smooth)
    }

    /// The smoothed value, or an assumption.
    pub(crate) fn smooth(&self) -> Duration {
        if self.smooth == 0 { INITIAL } else { Duration::from_micros(self.smooth) }
    }

    /// The smallest value seen; zero until measured.
    pub(crate) fn least(&self) -> Duration {
        Duration::from_micros(self.least)
    }

    /// After this long an answer is late.
    pub(crate) fn patience(&self) -> Duration {
        match self.smooth {
            0 => 2 * INITIAL,
            smooth => Duration::from_micros(smooth + 4 * self.variation) + SLACK,
        }
    }

    /// After this long it is worth asking whether a request arrived. An unneeded question costs a hundred bytes, a late one the
    /// whole wait.
    pub(crate) fn doubt(&self) -> Duration {
        match self.smooth {
            0 => 2 * INITIAL,
            smooth => Duration::from_micros(smooth + 2 * self.variation) + SLACK / 2,
        }
    }

    /// How long an overtaken packet may still come.
    pub(crate) fn reordering(&self) -> Duration {
        (self.smooth() / 8).clamp(Duration::from_millis(2), Duration::from_millis(50))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_path_converges_and_the_minimum_stays() {
        let mut rtt = Rtt::default();
        assert_eq!(rtt.measured(), Duration::ZERO);
        rtt.sample(Duration::from_millis(30));
        (0..60).for_each(|_| rtt.sample(Duration::from_millis(50)));
        assert_eq!(rtt.least(), Duration::from_millis(30));
        assert!(rtt.smooth().abs_diff(Duration::from_millis(50)) < Duration::from_millis(1));
        assert!(rtt.patience() < Duration::from_millis(75));
    }
}
