//! What one address may do: how often it may ask, and how many peers it may be.
//!
//! Connection ids prove that an address is real, so limits by address hold. IPv4 hosts count one by one; an IPv6 customer
//! usually owns a whole /64, so that counts as one host.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;

use super::service::Refusal;

/// Limits of one address. Loopback is exempt: nobody can send from it but this machine itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// Requests at once, after a pause. Default 120: a node that returns with 50 swarms announces and asks in each.
    pub burst: f64,
    /// Requests per second in the long run. Default 16: 64 peers behind one address, each in 15 swarms, once a minute.
    pub per_second: f64,
    /// Peer ids behind one address. Default 64: a household or a small office behind one NAT.
    pub ids_per_address: usize,
    /// Swarms one peer takes part in. Default 4,096.
    pub swarms_per_peer: u32,
    /// Addresses remembered. Default 1,000,000, about 60 MB with one peer each.
    pub addresses_max: usize,
}

impl Default for Quota {
    fn default() -> Self {
        Self {
            burst: 120.0,
            per_second: 16.0,
            ids_per_address: 64,
            swarms_per_peer: 4096,
            addresses_max: 1_000_000,
        }
    }
}

/// Remembers what addresses have done.
#[derive(Debug)]
pub struct Guard {
    quota: Quota,
    hosts: DashMap<HostKey, Host>,
    /// Peers are told apart by a keyed hash of their ids, half of it: they choose those.
    ids: RandomState,
    // Counted apart: the map's own length takes every shard's lock.
    host_count: AtomicUsize,
}

/// What is kept of one host: 24 bytes, for there are as many as peers.
#[derive(Debug)]
struct Host {
    /// Token bucket: tokens left at `at_ms`.
    tokens: f32,
    /// Milliseconds of the clock, wrapping after 49 days: an idle host is forgotten within seconds.
    at_ms: u32,
    peers: Peers,
}

/// Peers that announced from one host, and in how many swarms each is now. At most `ids_per_address`.
#[derive(Debug)]
enum Peers {
    /// As it mostly is.
    One(Known),
    /// Boxed: few hosts have many peers, and all hosts pay for the room.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24")]
    Many(Box<Vec<Known>>),
}

/// {hash of the id, swarms}; nobody if in no swarm.
type Known = (u32, u32);

impl Guard {
    /// Holds everyone to `quota`.
    pub fn new(quota: Quota) -> Self {
        let hosts = DashMap::with_shard_amount(SHARDS);
        Self { quota, hosts, ids: RandomState::new(), host_count: AtomicUsize::new(0) }
    }

    /// One request from `ip`: takes a token.
    pub fn request(&self, now: Time, ip: IpAddr) -> Result<(), Refusal> {
        self.requests(now, ip, 1)
    }

    /// A request that costs as much as `cost` others, at most as much as a whole burst.
    pub fn requests(&self, now: Time, ip: IpAddr, cost: u32) -> Result<(), Refusal> {
        if ip.is_loopback() {
            return Ok(());
        }
        let mut host = match self.hosts.entry(host_of(ip)) {
            Entry::Occupied(host) => host.into_ref(),
            Entry::Vacant(_) if self.len() >= self.quota.addresses_max => return Err(Refusal::Full),
            Entry::Vacant(place) => {
                self.host_count.fetch_add(1, Ordering::Relaxed);
                let peers = Peers::One((0, 0));
                place.insert(Host { tokens: self.quota.burst as f32, at_ms: millis(now), peers })
            }
        };
        host.refill(now, &self.quota);
        let cost = (f64::from(cost)).min(self.quota.burst) as f32;
        if host.tokens < cost {
            return Err(Refusal::TooFast);
        }
        host.tokens -= cost;
        Ok(())
    }

    /// `peer` at `ip` enters one more swarm. To be called after [`request`](Self::request).
    pub fn enter(&self, ip: IpAddr, peer: &PeerId) -> Result<(), Refusal> {
        if ip.is_loopback() {
            return Ok(());
        }
        let id = self.hash_of(peer);
        let Some(mut host) = self.hosts.get_mut(&host_of(ip)) else { return Ok(()) };
        if let Some((_, swarms)) = host.peers.find(id) {
            if *swarms >= self.quota.swarms_per_peer {
                return Err(Refusal::TooManySwarms);
            }
            *swarms += 1;
        } else if host.peers.len() >= self.quota.ids_per_address {
            return Err(Refusal::TooManyIds);
        } else {
            host.peers.push(id);
        }
        Ok(())
    }

    /// `peer` at `ip` has left a swarm.
    pub fn leave(&self, ip: IpAddr, peer: &PeerId) {
        let id = self.hash_of(peer);
        let Some(mut host) = self.hosts.get_mut(&host_of(ip)) else { return };
        if let Some((_, swarms)) = host.peers.find(id) {
            *swarms -= 1;
            host.peers.drop_gone();
        }
    }

    fn hash_of(&self, peer: &PeerId) -> u32 {
        self.ids.hash_one(peer) as u32
    }

    /// Forgets addresses without peers whose bucket is full again: they are as good as new.
    pub fn forget_idle(&self, now: Time) {
        self.hosts.retain(|_, host| {
            host.refill(now, &self.quota);
            let stays = host.peers.len() > 0 || f64::from(host.tokens) < self.quota.burst;
            self.host_count.fetch_sub(usize::from(!stays), Ordering::Relaxed);
            stays
        });
    }

    /// Addresses remembered.
    pub fn len(&self) -> usize {
        self.host_count.load(Ordering::Relaxed)
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Host {
    fn refill(&mut self, now: Time, quota: &Quota) {
        // Threads read the clock apart: what seems to be before the last request was at the same time.
        let passed = (millis(now).wrapping_sub(self.at_ms) as i32).max(0);
        let gained = f64::from(passed) * quota.per_second / 1000.0;
        self.tokens = (f64::from(self.tokens) + gained).min(quota.burst) as f32;
        self.at_ms = self.at_ms.wrapping_add(passed as u32);
    }
}

impl Peers {
    fn all(&mut self) -> &mut [Known] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(many) => many,
        }
    }

    fn find(&mut self, id: u32) -> Option<&mut Known> {
        self.all().iter_mut().find(|(known, swarms)| *known == id && *swarms > 0)
    }

    fn len(&self) -> usize {
        match self {
            Self::One((_, swarms)) => usize::from(*swarms > 0),
            Self::Many(many) => many.len(),
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Self::One(one) if one.1 == 0 => *one = (id, 1),
            Self::One(one) => *self = Self::Many(Box::new(vec![*one, (id, 1)])),
            Self::Many(many) => many.push((id, 1)),
        }
    }

    fn drop_gone(&mut self) {
        if let Self::Many(many) = self {
            many.retain(|(_, swarms)| *swarms > 0);
            if let [last] = many[..] {
                *self = Self::One(last);
            }
        }
    }
}

fn millis(at: Time) -> u32 {
    (at.0 / 1_000) as u32
}

/// What counts as one host: an IPv4 address, an IPv6 /64.
fn host_of(ip: IpAddr) -> HostKey {
    match ip.to_canonical() {
        IpAddr::V4(ip) => HostKey::from(u32::from(ip)) | V4_MARK,
        IpAddr::V6(ip) => (u128::from(ip) >> 64) as HostKey,
    }
}

/// The upper half of an IPv6 address, or an IPv4 address in a range that IPv6 uses for multicast, so that no host is there.
type HostKey = u64;
const V4_MARK: HostKey = 0xff << 56;
/// Shards of the map: with a few workers, two seldom want one at the same time.
const SHARDS: usize = 64;

const _: () = assert!(size_of::<Host>() == 24);

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn small() -> Guard {
        Guard::new(Quota {
            burst: 3.0,
            per_second: 1.0,
            ids_per_address: 2,
            swarms_per_peer: 2,
            addresses_max: 3,
        })
    }

    #[test]
    fn the_bucket_empties_and_refills() {
        let guard = small();
        let host = ip("192.0.2.1");
        (0..3).for_each(|_| guard.request(Time::ZERO, host).unwrap());
        assert_eq!(guard.request(Time::ZERO, host), Err(Refusal::TooFast));
        assert_eq!(guard.request(Time::ZERO, ip("192.0.2.2")), Ok(()), "another host has its own");
        assert_eq!(guard.request(Time::from_secs(1), host), Ok(()));
        assert_eq!(guard.request(Time::from_secs(1), host), Err(Refusal::TooFast));
    }

    #[test]
    fn a_v6_customer_is_one_host_and_loopback_is_exempt() {
        let guard = small();
        for n in 1..=3 {
            guard.request(Time::ZERO, ip(&format!("2001:db8:0:1::{n}"))).unwrap();
        }
        assert_eq!(guard.request(Time::ZERO, ip("2001:db8:0:1::9")), Err(Refusal::TooFast));
        assert_eq!(guard.request(Time::ZERO, ip("2001:db8:0:2::9")), Ok(()));
        for _ in 0..100 {
            guard.request(Time::ZERO, ip("127.0.0.1")).unwrap();
        }
    }

    #[test]
    fn ids_and_swarms_have_their_limit_and_come_free_again() {
        let guard = small();
        let host = ip("192.0.2.1");
        guard.request(Time::ZERO, host).unwrap();
        let [a, b, c] = [1, 2, 3].map(|n| PeerId([n; 32]));
        guard.enter(host, &a).unwrap();
        guard.enter(host, &a).unwrap();
        assert_eq!(guard.enter(host, &a), Err(Refusal::TooManySwarms));
        guard.enter(host, &b).unwrap();
        assert_eq!(guard.enter(host, &c), Err(Refusal::TooManyIds));
        guard.leave(host, &b);
        guard.enter(host, &c).unwrap();
    }

    #[test]
    fn idle_addresses_are_forgotten_and_the_table_is_bounded() {
        let guard = small();
        for n in 1..=3 {
            guard.request(Time::ZERO, ip(&format!("192.0.2.{n}"))).unwrap();
        }
        assert_eq!(guard.request(Time::ZERO, ip("192.0.2.9")), Err(Refusal::Full));
        guard.enter(ip("192.0.2.1"), &PeerId([1; 32])).unwrap();
        guard.forget_idle(Time::ZERO + Duration::from_secs(5));
        assert_eq!(guard.len(), 1, "only the one with a peer stays");
    }
}
