//! Which trackers a swarm belongs to, and which are passed over. Pure.

use std::time::Duration;

use pcdn_core::id::SwarmKey;
use pcdn_core::unit::Time;

use crate::tracker::wire::InfoHash;

/// Trackers that hold a swarm: with one dead the other is there at once.
pub const REPLICAS: usize = 2;
/// How long a silent tracker is passed over, at first and at most; it doubles each time.
const PASS_OVER: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(15 * 60));

/// The order of the trackers for each swarm.
#[derive(Debug)]
pub(super) struct Order {
    trackers: Vec<Place>,
}

#[derive(Debug)]
struct Place {
    name: String,
    /// Times it was silent in a row.
    silent: u32,
    passed_over_until: Time,
}

impl Order {
    /// Of trackers with these names.
    pub(super) fn new(names: Vec<String>) -> Self {
        let place = |name| Place { name, silent: 0, passed_over_until: Time::ZERO };
        Self { trackers: names.into_iter().map(place).collect() }
    }

    /// All trackers, those of `key` first. Those that are passed over come last: rather they than nobody.
    pub(super) fn of(&self, now: Time, key: &SwarmKey) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.trackers.len()).collect();
        order.sort_by_cached_key(|at| {
            let tracker = &self.trackers[*at];
            (tracker.passed_over_until > now, std::cmp::Reverse(weight(&tracker.name, key)))
        });
        order
    }

    /// A tracker has answered, or has not.
    pub(super) fn heard(&mut self, now: Time, tracker: usize, answers: bool) {
        let place = &mut self.trackers[tracker];
        if answers {
            place.silent = 0;
            place.passed_over_until = Time::ZERO;
        } else if place.passed_over_until <= now {
            // Calls that were under way together count once.
            let pause = PASS_OVER.0 * 2u32.saturating_pow(place.silent.min(10));
            place.silent += 1;
            place.passed_over_until = now + pause.min(PASS_OVER.1);
        }
    }
}

/// The rank of a tracker for a swarm, the same at every node (highest random weight, Thaler and Ravishankar 1998).
fn weight(name: &str, key: &SwarmKey) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn tracker order v1");
    // The wire form of the key: nodes that know no more come to the same order.
    hasher.update(&InfoHash::of(key).0).update(name.as_bytes());
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> Order {
        Order::new(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn key(n: u8) -> SwarmKey {
        SwarmKey([n; 32])
    }

    fn first<'a>(order: &Order, names: &[&'a str], n: u8) -> [&'a str; 2] {
        let all = order.of(Time::ZERO, &key(n));
        [names[all[0]], names[all[1]]]
    }

    #[test]
    fn every_node_comes_to_the_same_order_whatever_order_it_was_given() {
        let (one, other) = (["a:1", "b:1", "c:1", "d:1"], ["d:1", "b:1", "a:1", "c:1"]);
        for n in 0..100 {
            assert_eq!(first(&order(&one), &one, n), first(&order(&other), &other, n));
        }
    }

    #[test]
    fn swarms_are_spread_and_a_new_tracker_moves_only_its_share() {
        let (four, five) = (["a:1", "b:1", "c:1", "d:1"], ["a:1", "b:1", "c:1", "d:1", "e:1"]);
        let mut at = std::collections::BTreeMap::new();
        let mut moved = 0;
        for n in 0..=255 {
            let (before, after) = (first(&order(&four), &four, n)[0], first(&order(&five), &five, n)[0]);
            *at.entry(after).or_insert(0) += 1;
            assert!(before == after || after == "e:1", "nothing moves between the old ones");
            moved += usize::from(before != after);
        }
        assert!(at.values().all(|swarms| (25..90).contains(swarms)), "{at:?}");
        assert!((25..90).contains(&moved), "a fifth of 256: {moved}");
    }

    #[test]
    fn a_silent_tracker_is_passed_over_for_longer_and_longer_and_forgiven_at_once() {
        let mut order = order(&["a:1", "b:1", "c:1"]);
        let best = order.of(Time::ZERO, &key(1))[0];
        let at = |seconds| Time::from_secs(seconds);
        let passed_over = |order: &Order, seconds| order.of(at(seconds), &key(1)).last() == Some(&best);
        order.heard(at(10), best, false);
        order.heard(at(11), best, false);
        assert!(passed_over(&order, 69) && !passed_over(&order, 70), "60 s, and twice at once is once");
        order.heard(at(70), best, false);
        assert!(passed_over(&order, 189) && !passed_over(&order, 190));
        let mut now = 190;
        for _ in 0..10 {
            order.heard(at(now), best, false);
            now += 15 * 60;
            assert!(!passed_over(&order, now), "15 minutes at most");
        }
        order.heard(at(now), best, false);
        assert!(passed_over(&order, now + 1));
        order.heard(at(now + 2), best, true);
        assert!(!passed_over(&order, now + 3));
    }
}
