//! How long a path takes when nobody fills a queue in it. For all transports that decide by delay.
//!
//! The least of the last half minute would do if only routes changed. But a neighbour in the same home may upload for minutes:
//! half a minute later its queue would be taken for the path, and 8 ms more be kept in it, as if by an equal. So a rise by more than
//! [`RISE`] is a queue until it has stood for [`LONG`]; that is how long RFC 6817 (section 4.2) remembers.

use std::time::Duration;

use pcdn_core::unit::Time;

/// Longer than the pause between two moments at which all sessions of a node send less, so that one is always covered; short
/// enough for clocks that drift (100 ppm are 3 ms in half a minute) and for routes that change a little.
const SHORT: Duration = Duration::from_secs(15);
/// Whoever uploads for longer is taken for the path.
const LONG: Duration = Duration::from_secs(300);
/// Twice what the transports themselves keep in a queue, and beyond what a wireless link varies by over seconds.
const RISE: Duration = Duration::from_millis(16);

/// Round trips of a path: the least without anybody's queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    short: Least,
    long: Least,
}

impl Default for Base {
    fn default() -> Self {
        Self { short: Least::over(SHORT), long: Least::over(LONG) }
    }
}

impl Base {
    /// A round trip of so many microseconds.
    pub(crate) fn see(&mut self, at: Time, micros: i64) {
        self.short.see(at, micros);
        self.long.see(at, micros);
    }

    /// Microseconds that the path alone takes, as far as is known.
    pub(crate) fn get(&self) -> Option<i64> {
        if self.has_risen() { self.long.get() } else { self.short.get() }
    }

    /// The least of the last 15 to 30 seconds, whoever caused it.
    pub(crate) fn lately(&self) -> Option<i64> {
        self.short.get()
    }

    /// Whether somebody fills a queue, and has for half a minute.
    pub(crate) fn has_risen(&self) -> bool {
        let both = self.short.get().zip(self.long.get());
        both.is_some_and(|(short, long)| short - long > RISE.as_micros() as i64)
    }
}

/// The least value of one to two spans: a minimum that forgets, in two buckets.
#[derive(Clone, Copy, Debug)]
struct Least {
    span: Duration,
    now: Option<i64>,
    before: Option<i64>,
    since: Time,
}

impl Least {
    fn over(span: Duration) -> Self {
        Self { span, now: None, before: None, since: Time::ZERO }
    }

    fn see(&mut self, at: Time, value: i64) {
        if at.since(self.since) >= self.span {
            self.before = self.now.take();
            self.since = at;
        }
        self.now = Some(self.now.map_or(value, |least| least.min(value)));
    }

    fn get(&self) -> Option<i64> {
        self.now.into_iter().chain(self.before).min()
    }
}

/// One-way delays beside the round trips: two clocks differ and drift, so it cannot be remembered for long what they showed;
/// while somebody fills a queue it stays what it was before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneWay {
    lately: Least,
    base: Option<i64>,
}

impl Default for OneWay {
    fn default() -> Self {
        Self { lately: Least::over(SHORT), base: None }
    }
}

impl OneWay {
    /// `delay` is what the clocks show, `risen` whether the round trips say that somebody fills a queue. Gives the queue of it,
    /// in the same unit.
    pub(crate) fn see(&mut self, at: Time, delay: i64, risen: bool) -> i64 {
        self.lately.see(at, delay);
        let lately = self.lately.get().unwrap_or(delay);
        let base = self.base.filter(|_| risen).map_or(lately, |base| base.min(lately));
        self.base = Some(base);
        delay - base
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000;

    fn run(base: &mut Base, seconds: std::ops::Range<u64>, micros: i64) {
        seconds.for_each(|second| base.see(Time::from_secs(second), micros));
    }

    #[test]
    fn a_route_that_changes_a_little_is_followed() {
        let mut base = Base::default();
        run(&mut base, 0..100, 20 * MS);
        run(&mut base, 100..110, 30 * MS);
        assert_eq!(base.get(), Some(20 * MS));
        run(&mut base, 110..135, 30 * MS);
        assert_eq!((base.get(), base.has_risen()), (Some(30 * MS), false));
        run(&mut base, 135..136, 18 * MS);
        assert_eq!(base.get(), Some(18 * MS));
    }

    /// Half a minute into a foreign upload its queue was taken for the path; QUIC sessions then took 27 % of the line instead of 5.
    #[test]
    fn an_upload_of_minutes_is_not_taken_for_the_path() {
        let mut base = Base::default();
        run(&mut base, 0..10, 20 * MS);
        run(&mut base, 10..300, 250 * MS);
        assert_eq!((base.get(), base.lately(), base.has_risen()), (Some(20 * MS), Some(250 * MS), true));
        run(&mut base, 300..301, 22 * MS);
        assert_eq!((base.get(), base.has_risen()), (Some(22 * MS), false));
        run(&mut base, 301..1_000, 250 * MS);
        assert_eq!(base.get(), Some(250 * MS), "it is the route");
    }

    #[test]
    fn clocks_that_drift_are_followed_but_not_during_an_upload() {
        let (mut base, mut one_way) = (Base::default(), OneWay::default());
        let mut see = |second: u64, queue: i64| {
            let at = Time::from_secs(second);
            base.see(at, 20 * MS + queue);
            // 100 ppm; the origin of the clocks is anywhere.
            one_way.see(at, 100 * second as i64 - 7_000_000 + queue, base.has_risen())
        };
        for second in 0..600 {
            let seen = see(second, 0);
            assert!((0..=3 * MS).contains(&seen), "{seen}");
        }
        for second in 600..900 {
            let seen = see(second, 250 * MS);
            assert!((250 * MS..=283 * MS).contains(&seen), "{seen}");
        }
        let seen = see(900, 0);
        assert!((0..=3 * MS).contains(&seen), "over, and the clocks are believed again: {seen}");
    }
}
