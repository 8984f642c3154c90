//! What is remembered of origin hosts between requests. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::origin::OriginError;
use pcdn_core::unit::Time;

use super::retry::{Budget, RETRY_AFTER_MAX};

/// Hosts remembered. A node meets a handful of CDN hosts; the bound is against a playlist that names thousands.
const HOSTS_MAX: usize = 1024;
/// How long a host that ignored a range is not asked for one far inside a resource.
const NO_RANGES_FOR: Duration = Duration::from_secs(600);

/// One host's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Retries it may still cost.
    pub(super) budget: Budget,
    waits_until: Time,
    /// With which status it asked us to wait.
    wait_status: u16,
    no_ranges_until: Time,
    seen: Time,
}

impl Host {
    /// Until when it asked not to be asked.
    pub(super) fn waits_until(&self) -> Time {
        self.waits_until
    }

    /// Whether it may not be asked now, because it said so in answer to an earlier request.
    pub(super) fn waiting(&self, now: Time) -> Option<OriginError> {
        let left = self.waits_until.since(now);
        let error = OriginError::Status { status: self.wait_status, retry_after: Some(left) };
        (!left.is_zero()).then_some(error)
    }

    /// Whether it lately ignored a range.
    pub(super) fn without_ranges(&self, now: Time) -> bool {
        now < self.no_ranges_until
    }

    /// It ignored a range.
    pub(super) fn ignored_range(&mut self, now: Time) {
        self.no_ranges_until = now + NO_RANGES_FOR;
    }

    /// It answered a range with that range.
    pub(super) fn served_range(&mut self) {
        self.no_ranges_until = Time::ZERO;
    }

    /// A request failed with `error`.
    pub(super) fn failed(&mut self, now: Time, error: &OriginError) {
        if let OriginError::Status { status: status @ (429 | 503), retry_after: Some(after) } = error {
            self.waits_until = now + (*after).min(RETRY_AFTER_MAX);
            self.wait_status = *status;
        }
    }
}

/// All hosts, by `host:port`.
#[derive(Debug, Default)]
pub(super) struct Hosts(BTreeMap<String, Host>);

impl Hosts {
    /// The memory of `host`, made if there is none; the longest unused one makes room.
    pub(super) fn at(&mut self, now: Time, host: &str) -> &mut Host {
        if self.0.len() >= HOSTS_MAX && !self.0.contains_key(host) {
            let oldest = self.0.iter().min_by_key(|(_, host)| host.seen).map(|(name, _)| name.clone());
            oldest.map(|name| self.0.remove(&name));
        }
        let entry = self.0.entry(host.to_owned()).or_default();
        entry.seen = now;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_asks_for_time_gets_it_up_to_a_minute() {
        let mut host = Host::default();
        let busy = |secs| OriginError::Status { status: 503, retry_after: Some(Duration::from_secs(secs)) };
        host.failed(Time::ZERO, &busy(5));
        assert!(matches!(host.waiting(Time::from_secs(4)), Some(OriginError::Status { status: 503, .. })));
        assert!(host.waiting(Time::from_secs(5)).is_none());
        host.failed(Time::ZERO, &busy(100_000));
        assert!(host.waiting(Time::from_secs(60)).is_none());
    }

    #[test]
    fn ignored_ranges_are_forgotten_after_ten_minutes_or_a_good_answer() {
        let mut host = Host::default();
        host.ignored_range(Time::ZERO);
        assert!(host.without_ranges(Time::from_secs(599)) && !host.without_ranges(Time::from_secs(600)));
        host.served_range();
        assert!(!host.without_ranges(Time::ZERO));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_longest_unused() {
        let mut hosts = Hosts::default();
        for n in 0..HOSTS_MAX as u64 * 2 {
            hosts.at(Time(n), &format!("h{n}:80"));
        }
        assert_eq!(hosts.0.len(), HOSTS_MAX);
        assert!(!hosts.0.contains_key("h0:80") && hosts.0.contains_key("h2047:80"));
    }
}
