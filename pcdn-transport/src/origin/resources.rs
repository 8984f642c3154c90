//! What is remembered of single resources between requests. Pure.
//!
//! Whether ranges are served, and whether to come back later (`Retry-After`), an origin says of one resource: of a segment that is not
//! there yet, of a path that another server answers. Taken for the whole host, it would silence a stream that plays on, or keep all of a
//! CDN from being shared for the sake of one script.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;

use super::retry::RETRY_AFTER_MAX;

/// Resources remembered, by hash of their URL: 64 KiB at most. What is forgotten costs one request to learn anew.
const RESOURCES_MAX: usize = 1024;
/// How long a resource of which a range was ignored is not asked for one far inside.
const NO_RANGES_FOR: Duration = Duration::from_secs(600);

/// One resource's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Resource {
    waits_until: Time,
    /// With which status it was said.
    wait_status: u16,
    no_ranges_until: Time,
    wrong_ranges_until: Time,
    seen: Time,
}

impl Resource {
    /// A request failed with `error`.
    pub(super) fn failed(&mut self, now: Time, error: &OriginError) {
        if let OriginError::Status { status: status @ (429 | 503), retry_after: Some(after) } = error {
            self.waits_until = now + (*after).min(RETRY_AFTER_MAX);
            self.wait_status = *status;
        }
    }

    /// Until when it shall not be asked for.
    pub(super) fn waits_until(&self) -> Time {
        self.waits_until
    }

    /// Why it may not be asked for now: what was said the last time.
    pub(super) fn refusal(&self, now: Time) -> Option<OriginError> {
        let left = self.waits_until.since(now);
        let error = OriginError::Status { status: self.wait_status, retry_after: Some(left) };
        (!left.is_zero()).then_some(error)
    }

    /// Whether a range was lately ignored, or answered with nonsense.
    pub(super) fn is_without_ranges(&self, now: Time) -> bool {
        now < self.no_ranges_until
    }

    /// A range was ignored.
    pub(super) fn ignored_range(&mut self, now: Time) {
        self.no_ranges_until = now + NO_RANGES_FOR;
    }

    /// Whether a range was lately answered with nonsense: then it is asked for none at all.
    pub(super) fn has_wrong_ranges(&self, now: Time) -> bool {
        now < self.wrong_ranges_until
    }

    /// A range was answered with another one, or with what is none.
    pub(super) fn garbled_range(&mut self, now: Time) {
        self.ignored_range(now);
        self.wrong_ranges_until = now + NO_RANGES_FOR;
    }

    /// A range was answered with that range. Nonsense is not made good by that: some ranges are right at such an origin.
    pub(super) fn served_range(&mut self, now: Time) {
        if !self.has_wrong_ranges(now) {
            self.no_ranges_until = Time::ZERO;
        }
    }
}

/// All resources, by URL.
#[derive(Debug, Default)]
pub(super) struct Resources(BTreeMap<u64, Resource>);

impl Resources {
    /// The memory of `url`, made if there is none; the longest unused one makes room.
    pub(super) fn at(&mut self, now: Time, url: &Url) -> &mut Resource {
        let name = name(url);
        if self.0.len() >= RESOURCES_MAX && !self.0.contains_key(&name) {
            let oldest = self.0.iter().min_by_key(|(_, known)| known.seen).map(|(name, _)| *name);
            oldest.map(|name| self.0.remove(&name));
        }
        let entry = self.0.entry(name).or_default();
        entry.seen = now;
        entry
    }
}

fn name(url: &Url) -> u64 {
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(n: usize) -> Url {
        format!("http://cdn.example/{n}").parse().unwrap()
    }

    fn busy(secs: u64) -> OriginError {
        OriginError::Status { status: 503, retry_after: Some(Duration::from_secs(secs)) }
    }

    #[test]
    fn what_asks_for_time_gets_it_up_to_a_minute() {
        let mut one = Resource::default();
        one.failed(Time::ZERO, &busy(5));
        assert!(matches!(one.refusal(Time::from_secs(4)), Some(OriginError::Status { status: 503, .. })));
        assert!(one.refusal(Time::from_secs(5)).is_none());
        one.failed(Time::ZERO, &busy(100_000));
        assert!(one.refusal(Time::from_secs(60)).is_none());
    }

    /// One segment that was not there yet silenced the whole CDN, and every player with it.
    #[test]
    fn no_other_resource_waits_for_it() {
        let mut all = Resources::default();
        all.at(Time::ZERO, &url(1)).failed(Time::ZERO, &busy(5));
        assert!(all.at(Time::ZERO, &url(2)).refusal(Time::ZERO).is_none());
        let (now, second) = (Time::ZERO, all.at(Time::ZERO, &url(2)));
        second.failed(now, &OriginError::Status { status: 503, retry_after: None });
        second.failed(now, &OriginError::Status { status: 404, retry_after: Some(Duration::MAX) });
        assert!(second.refusal(now).is_none());
    }

    #[test]
    fn ignored_ranges_are_forgotten_after_ten_minutes_or_a_good_answer() {
        let mut one = Resource::default();
        one.ignored_range(Time::ZERO);
        assert!(one.is_without_ranges(Time::from_secs(599)) && !one.is_without_ranges(Time::from_secs(600)));
        one.served_range(Time::ZERO);
        assert!(!one.is_without_ranges(Time::ZERO));
    }

    #[test]
    fn wrong_ranges_are_not_made_good_by_a_right_one() {
        let mut one = Resource::default();
        one.garbled_range(Time::ZERO);
        one.served_range(Time::ZERO);
        assert!(one.is_without_ranges(Time::from_secs(599)) && one.has_wrong_ranges(Time::from_secs(599)));
        assert!(!one.is_without_ranges(Time::from_secs(600)) && !one.has_wrong_ranges(Time::from_secs(600)));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_longest_unused() {
        let mut all = Resources::default();
        (0..RESOURCES_MAX + 1).for_each(|n| all.at(Time(n as u64), &url(n)).failed(Time::ZERO, &busy(60)));
        assert_eq!(all.0.len(), RESOURCES_MAX);
        assert!(all.0.contains_key(&name(&url(1))) && !all.0.contains_key(&name(&url(0))));
    }
}
