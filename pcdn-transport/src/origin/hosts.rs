//! What is remembered of origin hosts between requests. Pure.

use std::collections::BTreeMap;

use pcdn_core::unit::Time;

use super::retry::Budget;

/// Hosts remembered. A node meets a handful of CDN hosts; the bound is against a playlist that names thousands.
const HOSTS_MAX: usize = 1024;

/// One host's memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    /// Retries it may still cost.
    pub(super) budget: Budget,
    seen: Time,
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
    fn the_table_is_bounded_and_forgets_the_longest_unused() {
        let mut hosts = Hosts::default();
        for n in 0..HOSTS_MAX as u64 * 2 {
            hosts.at(Time(n), &format!("h{n}:80"));
        }
        assert_eq!(hosts.0.len(), HOSTS_MAX);
        assert!(!hosts.0.contains_key("h0:80") && hosts.0.contains_key("h2047:80"));
    }
}
