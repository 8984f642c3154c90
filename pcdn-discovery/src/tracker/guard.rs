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
    /// Requests at once, after a pause, at most 500. Default 120: a node that returns with 50 swarms announces and asks in each.
    pub burst: f64,
    /// Requests per second in the long run. Default 16: 64 peers behind one address, each in 15 swarms, once a minute.
    pub per_second: f64,
    /// Peer ids behind one address. Default 64: a household or a small office behind one NAT.
    pub ids_per_address: usize,
    /// Swarms one peer takes part in. Default 4,096.
    pub swarms_per_peer: u32,
    /// Addresses remembered. Default 1,000,000, about 50 MB with one peer each.
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
    /// The peers of hosts that have several, at most `ids_per_address` each. Locked after the host.
    crowds: DashMap<HostKey, Vec<Known>>,
    /// Peers are told apart by a keyed hash of their ids, half of it: they choose those.
    ids: RandomState,
    // Counted apart: the map's own length takes every shard's lock.
    host_count: AtomicUsize,
}

/// What is kept of one host: 12 bytes, for there are as many as peers.
#[derive(Debug)]
struct Host {
    /// Milliseconds of the clock, wrapping after 49 days: an idle host is forgotten within seconds.
    at_ms: u32,
    /// Token bucket: what is left at `at_ms`, in 1/[`TOKEN`].
    tokens: u16,
    /// Swarms of the one peer that announced from here; 0 if none did, [`MANY`] if several.
    swarms: u16,
    /// Keyed hash of that peer's id.
    peer: u32,
}

/// A peer by the hash of its id, and in how many swarms it is.
type Known = (u32, u16);

/// A token in the units of [`Host::tokens`].
const TOKEN: u16 = 128;
/// Tokens of a bucket at most, and swarms of one peer: what fits into 16 bits.
const BURST_MAX: f64 = 500.0;
const MANY: u16 = u16::MAX;

impl Guard {
    /// Holds everyone to `quota`.
    pub fn new(quota: Quota) -> Self {
        let hosts = DashMap::with_shard_amount(SHARDS);
        let (crowds, host_count) = Default::default();
        Self { quota, hosts, crowds, ids: RandomState::new(), host_count }
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
                place.insert(Host { at_ms: millis(now), tokens: self.quota.full(), swarms: 0, peer: 0 })
            }
        };
        host.refill(now, &self.quota);
        let cost = u16::try_from(cost).unwrap_or(u16::MAX).saturating_mul(TOKEN).min(self.quota.full());
        host.tokens = host.tokens.checked_sub(cost).ok_or(Refusal::TooFast)?;
        Ok(())
    }

    /// `peer` at `ip` enters one more swarm. To be called after [`request`](Self::request).
    pub fn enter(&self, ip: IpAddr, peer: &PeerId) -> Result<(), Refusal> {
        if ip.is_loopback() {
            return Ok(());
        }
        let (id, key) = (self.hash_of(peer), host_of(ip));
        let Some(mut host) = self.hosts.get_mut(&key) else { return Ok(()) };
        match host.swarms {
            0 => (host.peer, host.swarms) = (id, 1),
            MANY => self.enter_crowd(&mut self.crowds.entry(key).or_default(), id)?,
            swarms if host.peer == id => host.swarms = self.one_more(swarms)?,
            swarms => {
                let mut crowd = vec![(host.peer, swarms)];
                self.enter_crowd(&mut crowd, id)?;
                self.crowds.insert(key, crowd);
                host.swarms = MANY;
            }
        }
        Ok(())
    }

    fn enter_crowd(&self, crowd: &mut Vec<Known>, id: u32) -> Result<(), Refusal> {
        match crowd.iter().position(|(known, _)| *known == id) {
            Some(at) => crowd[at].1 = self.one_more(crowd[at].1)?,
            None if crowd.len() >= self.quota.ids_per_address => return Err(Refusal::TooManyIds),
            None => crowd.push((id, 1)),
        }
        Ok(())
    }

    fn one_more(&self, swarms: u16) -> Result<u16, Refusal> {
        let most = self.quota.swarms_per_peer.min(u32::from(MANY - 1));
        if u32::from(swarms) < most { Ok(swarms + 1) } else { Err(Refusal::TooManySwarms) }
    }

    /// `peer` at `ip` has left a swarm.
    pub fn leave(&self, ip: IpAddr, peer: &PeerId) {
        let (id, key) = (self.hash_of(peer), host_of(ip));
        let Some(mut host) = self.hosts.get_mut(&key) else { return };
        if host.swarms != MANY {
            host.swarms -= u16::from(host.swarms > 0 && host.peer == id);
            return;
        }
        let Entry::Occupied(mut crowd) = self.crowds.entry(key) else { return };
        let peers = crowd.get_mut();
        peers.iter_mut().filter(|(known, _)| *known == id).for_each(|(_, swarms)| *swarms -= 1);
        peers.retain(|(_, swarms)| *swarms > 0);
        if let [last] = peers[..] {
            (host.peer, host.swarms) = last;
            crowd.remove();
        }
    }

    /// Whether `peer` takes part in any swarm from `ip`. Of loopback nothing is remembered, and everything believed.
    pub fn has(&self, ip: IpAddr, peer: &PeerId) -> bool {
        if ip.is_loopback() {
            return true;
        }
        let (id, key) = (self.hash_of(peer), host_of(ip));
        let Some(host) = self.hosts.get(&key).map(|host| (host.swarms, host.peer)) else { return false };
        match host {
            (MANY, _) => {
                self.crowds.get(&key).is_some_and(|crowd| crowd.iter().any(|(known, _)| *known == id))
            }
            (swarms, known) => swarms > 0 && known == id,
        }
    }

    fn hash_of(&self, peer: &PeerId) -> u32 {
        self.ids.hash_one(peer) as u32
    }

    /// Forgets addresses without peers whose bucket is full again: they are as good as new.
    pub fn forget_idle(&self, now: Time) {
        self.hosts.retain(|_, host| {
            host.refill(now, &self.quota);
            let stays = host.swarms > 0 || host.tokens < self.quota.full();
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
        let gained = (f64::from(passed) * quota.per_second * f64::from(TOKEN) / 1000.0) as u64;
        // What is less than a unit is gained the next time.
        if gained > 0 {
            self.tokens = (u64::from(self.tokens) + gained).min(quota.full().into()) as u16;
            self.at_ms = self.at_ms.wrapping_add(passed as u32);
        }
    }
}

impl Quota {
    /// A full bucket.
    fn full(&self) -> u16 {
        (self.burst.clamp(1.0, BURST_MAX) * f64::from(TOKEN)) as u16
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

const _: () = assert!(size_of::<Host>() == 12);

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
        assert!(guard.has(host, &a) && guard.has(host, &b) && !guard.has(host, &c));
        guard.leave(host, &b);
        assert!(guard.has(host, &a) && !guard.has(host, &b) && !guard.has(ip("192.0.2.9"), &a));
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
