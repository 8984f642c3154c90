//! When the node is asked for its rules, and which ones hold until it answers. Pure.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::unit::Time;

use super::rules::Held;

/// Rules hold so long if their node does not say; and whatever it says, between these bounds: a typing error there must neither
/// flood it nor freeze its viewers.
const AGE: Duration = Duration::from_secs(300);
const AGE_MIN: Duration = Duration::from_secs(5);
const AGE_MAX: Duration = Duration::from_secs(86_400);
/// A node that failed is asked again after this, doubling with each failure.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(60);

/// What is known of the node now.
#[derive(Debug)]
pub(super) struct Standing {
    held: Option<Arc<Held>>,
    due: Time,
    failures: u32,
    fetching: bool,
}

impl Standing {
    pub(super) fn new(held: Option<Arc<Held>>) -> Self {
        Self { held, due: Time::ZERO, failures: 0, fetching: false }
    }

    /// The rules in force, and whether the caller is to fetch newer ones.
    pub(super) fn begin(&mut self, now: Time) -> (Option<Arc<Held>>, bool) {
        let begin = !self.fetching && self.due <= now;
        self.fetching |= begin;
        (self.held.clone(), begin)
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.clone()
    }

    pub(super) fn is_fetching(&self) -> bool {
        self.fetching
    }

    pub(super) fn fetched(&mut self, now: Time, held: Arc<Held>, max_age: Option<Duration>) {
        let age = max_age.unwrap_or(AGE).clamp(AGE_MIN, AGE_MAX);
        *self = Self { held: Some(held), due: now + age, failures: 0, fetching: false };
    }

    pub(super) fn failed(&mut self, now: Time) {
        self.due = now + AGAIN.saturating_mul(1 << self.failures.min(6)).min(AGAIN_MAX);
        self.failures += 1;
        self.fetching = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fetch_at_a_time_and_ever_later_after_failures() {
        let mut standing = Standing::new(None);
        assert!(standing.begin(Time::ZERO).1);
        assert!(!standing.begin(Time::ZERO).1, "one is under way");
        let mut now = Time::ZERO;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            standing.failed(now);
            let due = now + Duration::from_secs(seconds);
            assert!(!standing.begin(due - Duration::from_millis(1)).1);
            assert!(standing.begin(due).1, "{seconds}");
            now = due;
        }
    }
}
