//! What an origin asked not to be asked for a while. Pure.
//!
//! `Retry-After` is said of one resource: a segment that is not there yet, a player's quota at one edge. Taken for the whole host it
//! would silence a stream that plays on, and be worse than having no pcdn; a host that means all of itself says so at each URL.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;

use super::retry::RETRY_AFTER_MAX;

/// URLs remembered, by hash: 24 KiB at most. Beyond, the one that may be asked again soonest is.
const URLS_MAX: usize = 1024;

/// URLs that may not be asked now.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<u64, Wait>);

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Time,
    /// With which status it was said.
    status: u16,
}

impl Waits {
    /// A request for `url` failed with `error`.
    pub(super) fn failed(&mut self, now: Time, url: &Url, error: &OriginError) {
        let OriginError::Status { status: status @ (429 | 503), retry_after: Some(after) } = error else {
            return;
        };
        if self.0.len() >= URLS_MAX {
            self.0.retain(|_, wait| wait.until > now);
        }
        if self.0.len() >= URLS_MAX
            && let Some(soonest) = self.0.iter().min_by_key(|(_, wait)| wait.until).map(|(url, _)| *url)
        {
            self.0.remove(&soonest);
        }
        self.0.insert(name(url), Wait { until: now + (*after).min(RETRY_AFTER_MAX), status: *status });
    }

    /// Until when `url` shall not be asked.
    pub(super) fn until(&self, url: &Url) -> Time {
        self.0.get(&name(url)).map_or(Time::ZERO, |wait| wait.until)
    }

    /// Why `url` may not be asked now: what it said the last time.
    pub(super) fn refusal(&self, now: Time, url: &Url) -> Option<OriginError> {
        let wait = self.0.get(&name(url))?;
        let left = wait.until.since(now);
        (!left.is_zero()).then_some(OriginError::Status { status: wait.status, retry_after: Some(left) })
    }
}

fn name(url: &Url) -> u64 {
    let mut hasher = DefaultHasher::new();
    url.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn url(n: usize) -> Url {
        format!("http://cdn.example/{n}").parse().unwrap()
    }

    fn busy(secs: u64) -> OriginError {
        OriginError::Status { status: 503, retry_after: Some(Duration::from_secs(secs)) }
    }

    #[test]
    fn a_url_that_asks_for_time_gets_it_up_to_a_minute() {
        let mut waits = Waits::default();
        waits.failed(Time::ZERO, &url(1), &busy(5));
        let refusal = waits.refusal(Time::from_secs(4), &url(1));
        assert!(matches!(refusal, Some(OriginError::Status { status: 503, .. })));
        assert!(waits.refusal(Time::from_secs(5), &url(1)).is_none());
        waits.failed(Time::ZERO, &url(1), &busy(100_000));
        assert!(waits.refusal(Time::from_secs(60), &url(1)).is_none());
    }

    /// One segment that was not there yet silenced the whole CDN, and every player with it.
    #[test]
    fn no_other_url_waits_for_it() {
        let mut waits = Waits::default();
        waits.failed(Time::ZERO, &url(1), &busy(5));
        assert!(waits.refusal(Time::ZERO, &url(2)).is_none());
        waits.failed(Time::ZERO, &url(2), &OriginError::Status { status: 503, retry_after: None });
        waits.failed(
            Time::ZERO,
            &url(2),
            &OriginError::Status { status: 404, retry_after: Some(Duration::MAX) },
        );
        assert!(waits.refusal(Time::ZERO, &url(2)).is_none());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_may_be_asked_soonest() {
        let mut waits = Waits::default();
        (0..URLS_MAX + 1).for_each(|n| waits.failed(Time(n as u64), &url(n), &busy(10)));
        assert_eq!(waits.0.len(), URLS_MAX);
        assert!(waits.refusal(Time::ZERO, &url(0)).is_none() && waits.refusal(Time::ZERO, &url(1)).is_some());
        waits.failed(Time::from_secs(60), &url(0), &busy(10));
        assert_eq!(waits.0.len(), 1, "what is over leaves first");
    }
}
