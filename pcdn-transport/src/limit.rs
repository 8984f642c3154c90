//! Rate limits in three levels: the node, each swarm, each peer. What is sent must fit into all of them.
//!
//! One [`Limits`] may be given to several transports, which then share the node's rate; each of its levels is a token bucket with a
//! burst of 4 ms, 40 KiB at most.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::unit::{Rate, Time};
use tokio::time::Instant;

use crate::pacer::Pacer;

/// The smallest and the largest burst: two packets, and what one system call sends on a fast link.
const BURST: (u64, u64) = (2 * 1280, 32 * 1280);
/// Swarms, and peers, whose buckets are remembered; more, and those that have been full the longest are forgotten.
const BUCKETS_MAX: usize = 1024;
/// The clock starts here, so that no span since "long ago" is cut off at zero.
const START: Time = Time::from_secs(60);

/// Bytes of content a second, at most. Unlimited by default, which still yields to other traffic on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// All together.
    pub node: Rate,
    /// Each swarm.
    pub swarm: Rate,
    /// Each peer, over all its sessions and swarms.
    pub peer: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        Self { node: Rate::UNLIMITED, swarm: Rate::UNLIMITED, peer: Rate::UNLIMITED }
    }
}

/// The limits of a node. Cheap to clone; clones are the same limits.
#[derive(Clone, Debug)]
pub struct Limits {
    began: Instant,
    buckets: Arc<Mutex<Buckets>>,
}

impl Limits {
    /// Limits that hold from now on.
    pub fn new(rates: Rates) -> Self {
        Self { began: Instant::now(), buckets: Arc::new(Mutex::new(Buckets::new(rates))) }
    }

    /// The clock that all who share these limits go by.
    pub fn now(&self) -> Time {
        START + self.began.elapsed()
    }

    /// When that clock shows `at`.
    pub(crate) fn instant(&self, at: Time) -> Instant {
        self.began + at.since(START)
    }

    /// Changes the rates, for what is sent from now on.
    pub fn set(&self, rates: Rates) {
        self.lock().rates = rates;
    }

    /// Changes the node's rate alone.
    pub fn set_node(&self, rate: Rate) {
        self.lock().rates.node = rate;
    }

    /// Bytes that may go to `peer` for `swarm` now.
    pub fn allowed(&self, now: Time, swarm: &SwarmKey, peer: &PeerId) -> u64 {
        self.lock().allowed(now, swarm, peer)
    }

    /// Bytes that may go for `swarm` now, to whatever peer.
    pub(crate) fn allowed_for(&self, now: Time, swarm: &SwarmKey) -> u64 {
        self.lock().allowed_for(now, swarm)
    }

    /// When `bytes` may go, or a burst if that is less; after [`allowed`](Self::allowed) has said that they may not yet.
    pub fn ready_at(&self, swarm: &SwarmKey, peer: &PeerId, bytes: u64) -> Time {
        self.lock().ready_at(swarm, peer, bytes)
    }

    /// Takes what was sent.
    pub fn take(&self, swarm: &SwarmKey, peer: &PeerId, bytes: u64) {
        self.lock().take(swarm, peer, bytes);
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Limits {
    /// None.
    fn default() -> Self {
        Self::new(Rates::default())
    }
}

/// The buckets themselves: pure.
#[derive(Debug)]
struct Buckets {
    rates: Rates,
    node: Pacer,
    swarms: Level<SwarmKey>,
    peers: Level<PeerId>,
}

impl Buckets {
    fn new(rates: Rates) -> Self {
        Self { rates, node: full(), swarms: Level::default(), peers: Level::default() }
    }

    fn allowed(&mut self, now: Time, swarm: &SwarmKey, peer: &PeerId) -> u64 {
        self.allowed_for(now, swarm).min(self.peers.fill(now, self.rates.peer, peer))
    }

    fn allowed_for(&mut self, now: Time, swarm: &SwarmKey) -> u64 {
        self.node.fill(now, self.rates.node).min(self.swarms.fill(now, self.rates.swarm, swarm))
    }

    fn ready_at(&self, swarm: &SwarmKey, peer: &PeerId, bytes: u64) -> Time {
        let (swarms, peers) = (&self.swarms, &self.peers);
        self.node
            .ready_at(self.rates.node, bytes)
            .max(swarms.ready_at(self.rates.swarm, swarm, bytes))
            .max(peers.ready_at(self.rates.peer, peer, bytes))
    }

    fn take(&mut self, swarm: &SwarmKey, peer: &PeerId, bytes: u64) {
        self.node.take(bytes);
        self.swarms.take(swarm, bytes);
        self.peers.take(peer, bytes);
    }
}

fn full() -> Pacer {
    Pacer::new(BURST.0, BURST.1)
}

/// The buckets of one level. While it has no limit it has no buckets.
#[derive(Debug)]
struct Level<K> {
    buckets: BTreeMap<K, (Pacer, Time)>,
}

impl<K> Default for Level<K> {
    fn default() -> Self {
        Self { buckets: BTreeMap::new() }
    }
}

impl<K: Ord + Copy + Debug> Level<K> {
    fn fill(&mut self, now: Time, rate: Rate, key: &K) -> u64 {
        if rate.is_unlimited() {
            self.buckets.clear();
            return u64::MAX;
        }
        if self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(key) {
            self.forget(now);
        }
        let (bucket, used) = self.buckets.entry(*key).or_insert_with(|| (full(), now));
        *used = now;
        bucket.fill(now, rate)
    }

    fn ready_at(&self, rate: Rate, key: &K, bytes: u64) -> Time {
        self.buckets.get(key).map_or(Time::ZERO, |(bucket, _)| bucket.ready_at(rate, bytes))
    }

    fn take(&mut self, key: &K, bytes: u64) {
        if let Some((bucket, _)) = self.buckets.get_mut(key) {
            bucket.take(bytes);
        }
    }

    /// A bucket not looked at for a second is full again; failing those, the one not looked at the longest goes.
    fn forget(&mut self, now: Time) {
        self.buckets.retain(|_, (_, used)| now.since(*used) < Duration::from_secs(1));
        if self.buckets.len() >= BUCKETS_MAX {
            let oldest = self.buckets.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            oldest.map(|key| self.buckets.remove(&key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWARMS: [SwarmKey; 2] = [SwarmKey([1; 32]), SwarmKey([2; 32])];

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    /// Everybody takes all it is given for `seconds`; what each swarm and peer got.
    fn run(rates: Rates, seconds: u64) -> [[u64; 3]; 2] {
        let mut buckets = Buckets::new(rates);
        let mut got = [[0; 3]; 2];
        for ms in 0..seconds * 1000 {
            for (s, swarm) in SWARMS.iter().enumerate() {
                for p in 0..3u8 {
                    let now = Time::from_millis(ms);
                    while buckets.allowed(now, swarm, &peer(p)) >= 1280 {
                        buckets.take(swarm, &peer(p), 1280);
                        got[s][usize::from(p)] += 1280;
                        if rates == Rates::default() {
                            break;
                        }
                    }
                }
            }
        }
        got
    }

    #[test]
    fn each_level_holds_and_is_used() {
        let slack = 3 * BURST.1;
        let (node, swarm, peer) = (Rate(1_000_000), Rate(400_000), Rate(250_000));
        let sum = |got: [[u64; 3]; 2]| got.iter().flatten().sum::<u64>();
        let near = |got: u64, rate: Rate| {
            let most = 10 * rate.0;
            assert!(got <= most + slack && got + slack >= most, "{got} of {most}");
        };
        near(sum(run(Rates { node, ..Rates::default() }, 10)), node);
        let got = run(Rates { swarm, ..Rates::default() }, 10);
        got.iter().for_each(|of| near(of.iter().sum(), swarm));
        let got = run(Rates { peer, ..Rates::default() }, 10);
        (0..3).for_each(|p| near(got[0][p] + got[1][p], peer));
        let got = run(Rates { node: Rate(600_000), swarm, peer }, 10);
        near(sum(got), Rate(600_000));
        assert!(got.iter().all(|of| of.iter().sum::<u64>() <= 10 * swarm.0 + slack));
        assert!(sum(run(Rates::default(), 1)) > 0);
    }

    #[test]
    fn nobody_can_make_the_tables_grow() {
        let mut buckets = Buckets::new(Rates { peer: Rate(1000), swarm: Rate(1000), node: Rate(1000) });
        for n in 0..3000u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            buckets.allowed(Time::from_millis(1), &SwarmKey(key), &PeerId(key));
        }
        assert!(buckets.peers.buckets.len() <= BUCKETS_MAX && buckets.swarms.buckets.len() <= BUCKETS_MAX);
    }
}
