//! The least value of the last 15 to 30 seconds.

use std::time::Duration;

use pcdn_core::unit::Time;

/// Longer than the pause between two lulls, so that at least one is always covered; short enough for clocks that drift
/// (100 ppm are 3 ms in half a minute) and for routes that change.
const BUCKET: Duration = Duration::from_secs(15);

/// A minimum that forgets, in two buckets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Least {
    now: Option<i64>,
    before: Option<i64>,
    since: Time,
}

impl Least {
    pub(super) fn see(&mut self, at: Time, value: i64) {
        if at.since(self.since) >= BUCKET {
            self.before = self.now.take();
            self.since = at;
        }
        self.now = Some(self.now.map_or(value, |least| least.min(value)));
    }

    pub(super) fn get(&self) -> Option<i64> {
        match (self.now, self.before) {
            (Some(now), Some(before)) => Some(now.min(before)),
            (now, before) => now.or(before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_remembered_for_a_while_and_then_forgotten() {
        let mut least = Least::default();
        least.see(Time::from_secs(0), 5);
        least.see(Time::from_secs(16), 9);
        assert_eq!(least.get(), Some(5));
        least.see(Time::from_secs(32), 9);
        assert_eq!(least.get(), Some(9));
    }
}
