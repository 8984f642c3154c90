//! What is remembered of origin hosts between requests. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::unit::Time;

use super::retry::Budget;

/// Hosts remembered. A node meets a handful of CDN hosts; the bound is against a playlist that names thousands.
const HOSTS_MAX: usize = 1024;
/// How long a host that ignored a range is not asked for one far inside a resource.
const NO_RANGES_FOR: Duration = Duration::from_secs(600);

/// One host's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Retries it may still cost.
    pub(super) budget: Budget,
    no_ranges_until: Time,
    wrong_ranges_until: Time,
    seen: Time,
}

impl Host {
    /// Whether it lately ignored a range.
    pub(super) fn without_ranges(&self, now: Time) -> bool {
        now < self.no_ranges_until
    }

    /// It ignored a range.
    pub(super) fn ignored_range(&mut self, now: Time) {
        self.no_ranges_until = now + NO_RANGES_FOR;
    }

    /// Whether it lately answered a range with nonsense: then it is asked for none at all.
    pub(super) fn with_wrong_ranges(&self, now: Time) -> bool {
        now < self.wrong_ranges_until
    }

    /// It answered a range with another one, or with what is none.
    pub(super) fn garbled_range(&mut self, now: Time) {
        self.ignored_range(now);
        self.wrong_ranges_until = now + NO_RANGES_FOR;
    }

    /// It answered a range with that range. Nonsense is not made good by that: some ranges are right at such an origin.
    pub(super) fn served_range(&mut self, now: Time) {
        if !self.with_wrong_ranges(now) {
            self.no_ranges_until = Time::ZERO;
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
    fn ignored_ranges_are_forgotten_after_ten_minutes_or_a_good_answer() {
        let mut host = Host::default();
        host.ignored_range(Time::ZERO);
        assert!(host.without_ranges(Time::from_secs(599)) && !host.without_ranges(Time::from_secs(600)));
        host.served_range(Time::ZERO);
        assert!(!host.without_ranges(Time::ZERO));
        host.garbled_range(Time::ZERO);
        host.served_range(Time::ZERO);
        assert!(host.without_ranges(Time::from_secs(599)) && host.with_wrong_ranges(Time::from_secs(599)));
        assert!(!host.without_ranges(Time::from_secs(600)) && !host.with_wrong_ranges(Time::from_secs(600)));
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
