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
/// The same for an origin that nobody says has rules, and that most likely has none.
const AGAIN_UNASKED: Duration = Duration::from_secs(300);
const AGAIN_UNASKED_MAX: Duration = Duration::from_secs(3600);

/// What is known of the node now.
#[derive(Debug)]
pub(super) struct Standing {
    held: Option<Arc<Held>>,
    due: Time,
    failures: u32,
    /// Since when it is fetched.
    fetching: Option<Time>,
    unasked: bool,
}

impl Standing {
    pub(super) fn new(held: Option<Arc<Held>>, unasked: bool) -> Self {
        Self { held, due: Time::ZERO, failures: 0, fetching: None, unasked }
    }

    /// The rules in force, and whether the caller is to fetch newer ones.
    pub(super) fn begin(&mut self, now: Time) -> (Option<Arc<Held>>, bool) {
        let begin = self.fetching.is_none() && self.due <= now;
        self.fetching = self.fetching.or(begin.then_some(now));
        (self.held.clone(), begin)
    }

    pub(super) fn held(&self) -> Option<Arc<Held>> {
        self.held.clone()
    }

    /// For how long it has been fetched by now, if it is.
    pub(super) fn fetching_for(&self, now: Time) -> Option<Duration> {
        self.fetching.map(|since| now.since(since))
    }

    pub(super) fn fetched(&mut self, now: Time, held: Arc<Held>, max_age: Option<Duration>) {
        let age = max_age.unwrap_or(AGE).clamp(AGE_MIN, AGE_MAX);
        *self = Self { held: Some(held), due: now + age, failures: 0, fetching: None, ..*self };
    }

    pub(super) fn failed(&mut self, now: Time) {
        let (again, longest) = match self.unasked {
            true => (AGAIN_UNASKED, AGAIN_UNASKED_MAX),
            false => (AGAIN, AGAIN_MAX),
        };
        self.due = now + again.saturating_mul(1 << self.failures.min(6)).min(longest);
        self.failures += 1;
        self.fetching = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_fetch_at_a_time_and_ever_later_after_failures() {
        let mut standing = Standing::new(None, false);
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
