//! Who takes part in which swarm, and who is handed out to whom: the rules, around a [`PeerStore`] that keeps the entries.
//!
//! An entry belongs to a peer id *and* the address it announced from. So nobody can move a peer away by announcing its id
//! from elsewhere: that only adds an entry, which a handshake with the true owner of the id will expose.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::unit::Time;

use super::guard::{Guard, Quota};
use super::load::Load;
use super::networks::Networks;
use super::nodes::Nodes;
use super::service::Refusal;
use super::store::{Ask, Member, Memory, PeerStore, Put, Size, Told};
use super::wire::bep15::Plain;
use super::wire::report::{Change, Entry};
use super::wire::{Announce, Counts, Event, Find, InfoHash, Listed, Ports, Report, Reported, Traits};
use pcdn_core::peer::Scheme;

/// Superpeers at most, one in twenty of a million.
const SUPERPEERS_MAX: usize = 50_000;

/// Bounds and times of a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How often a peer announces. Default 60 s; each answer names a time within ±10 % of it, so that peers that came
    /// together do not return together. An entry expires after 2.5 intervals: two lost renewals are forgiven.
    pub interval: Duration,
    /// Entries of one swarm. Default 100,000, about 13 MB with what is remembered of their addresses; a newcomer to a full swarm
    /// replaces a random one.
    pub peers_per_swarm: usize,
    /// Swarms. Default 1,000,000.
    pub swarms_max: usize,
    /// Peers in one answer. Default 50; a datagram holds about 27.
    pub want_max: usize,
    /// Requests a second up to which intervals are as above; beyond they grow in proportion, up to four times. Default 50,000:
    /// what one core answers.
    pub capacity: f64,
    /// What one address may do.
    pub quota: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            peers_per_swarm: 100_000,
            swarms_max: 1_000_000,
            want_max: 50,
            capacity: 50_000.0,
            quota: Quota::default(),
        }
    }
}

/// What an asker gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handout {
    /// When to announce next.
    pub interval: Duration,
    /// Size of the swarm.
    pub counts: Counts,
    /// Some of it, in random order.
    pub peers: Vec<Listed>,
}

/// The tracker's memory. Shared by all threads; every method is one short look under one or two shard locks.
#[derive(Debug)]
pub struct Table {
    limits: Limits,
    store: Arc<dyn PeerStore>,
    networks: Arc<Networks>,
    guard: Guard,
    nodes: Nodes,
    load: Load,
    /// Their parts of the full priority.
    superpeers: DashMap<PeerId, f64>,
}

/// A peer that comes in, whatever it speaks.
struct Comer<'a> {
    hash: InfoHash,
    tail: [u8; 12],
    id: PeerId,
    ports: Ports,
    seed: bool,
    event: Event,
    plain: bool,
    traits: &'a Traits,
    want: usize,
}

impl Table {
    /// Empty, in memory, with no network near to any other.
    pub fn new(limits: Limits) -> Self {
        let networks = Arc::new(Networks::default());
        let store = Arc::new(Memory::new(limits.peers_per_swarm, networks.clone()));
        Self::with_store(limits, store, networks)
    }

    /// With entries in `store`, and near what `networks` says is near.
    pub fn with_store(limits: Limits, store: Arc<dyn PeerStore>, networks: Arc<Networks>) -> Self {
        let guard = Guard::new(limits.quota.clone());
        let (nodes, load, superpeers) = (Nodes::new(), Load::new(limits.capacity), DashMap::new());
        Self { limits, store, networks, guard, nodes, load, superpeers }
    }

    /// `from` takes part in a swarm, or leaves it.
    pub fn announce(
        &self,
        now: Time,
        dice: &mut Dice,
        from: IpAddr,
        it: &Announce,
    ) -> Result<Handout, Refusal> {
        let from = from.to_canonical();
        self.request(now, from, 1)?;
        let comer = Comer {
            hash: InfoHash::of(&it.swarm),
            tail: InfoHash::tail(&it.swarm),
            id: it.peer,
            ports: it.ports,
            seed: it.seed,
            event: it.event,
            plain: false,
            traits: &it.traits,
            want: self.want(it.want),
        };
        let mut peers = Vec::new();
        let counts = self.come(now, dice, from, &comer, &mut Told::Records(&mut peers))?;
        Ok(Handout { interval: self.interval(dice, it.traits.position.is_some()), counts, peers })
    }

    /// A BitTorrent client takes part in a swarm, or leaves it. It has a UDP port for BitTorrent, whatever runs there.
    pub fn plain(
        &self,
        now: Time,
        dice: &mut Dice,
        from: IpAddr,
        it: &Plain,
        told: &mut Told<'_>,
    ) -> Result<(Duration, Counts), Refusal> {
        let from = from.to_canonical();
        self.request(now, from, 1)?;
        let mut ports = Ports::default();
        ports.push(Scheme::Udp, it.port);
        let comer = Comer {
            hash: it.hash,
            tail: [0; 12],
            id: it.peer,
            ports,
            seed: it.left == 0,
            event: it.event,
            plain: true,
            traits: &Traits::default(),
            want: self.want(it.want),
        };
        let counts = self.come(now, dice, from, &comer, told)?;
        Ok((self.interval(dice, false), counts))
    }

    fn come(
        &self,
        now: Time,
        dice: &mut Dice,
        from: IpAddr,
        it: &Comer<'_>,
        told: &mut Told<'_>,
    ) -> Result<Counts, Refusal> {
        if it.event == Event::Stopped {
            self.remove(&it.hash, &it.id, from);
            return Ok(Counts::default());
        }
        let put = self.put(now, dice, from, it, told)?;
        if it.event == Event::Completed {
            self.store.completed(&it.hash);
        }
        Ok(put.counts)
    }

    fn put(
        &self,
        now: Time,
        dice: &mut Dice,
        from: IpAddr,
        it: &Comer<'_>,
        told: &mut Told<'_>,
    ) -> Result<Put, Refusal> {
        if it.ports.is_empty() {
            return Err(Refusal::NoPort);
        }
        let network = self.networks.network_of(from);
        let superpeer = !it.plain && self.is_preferred(&it.id, dice);
        let member = Member {
            swarm: it.hash,
            tail: it.tail,
            id: it.id,
            ip: from,
            ports: it.ports,
            seed: it.seed,
            plain: it.plain,
            // Who calls itself a superpeer is none.
            traits: Traits { superpeer, ..*it.traits },
            network,
            expires: self.expiry(now),
        };
        let ask =
            Ask { id: Some(it.id), ip: from, network, seed: it.seed, traits: *it.traits, want: it.want };
        // Locks are taken in one order, swarm before host, here and everywhere.
        let mut admit = |new_swarm: bool| {
            if new_swarm && self.swarms() >= self.limits.swarms_max {
                return Err(Refusal::Full);
            }
            self.guard.enter(from, &it.id)
        };
        let put = self.store.put(now, dice, &member, &mut admit, &ask, told)?;
        if let Some((id, ip)) = put.evicted {
            self.guard.leave(ip, &id);
        }
        Ok(put)
    }

    /// `from` says what changed in all that it holds; the rest is renewed.
    pub fn report(
        &self,
        now: Time,
        dice: &mut Dice,
        from: SocketAddr,
        it: &Report,
    ) -> Result<Reported, Refusal> {
        let ip = from.ip().to_canonical();
        let node = (it.peer, ip);
        // What it renews is work as well: a list of 4,096 costs as much as 64 requests.
        self.request(now, ip, 1 + (it.entries.len() as u32 + self.nodes.held(&node)) / 64)?;
        if it.ports.is_empty() {
            return Err(Refusal::NoPort);
        }
        let due = self.nodes.report(now, node, &it.entries, self.limits.interval / 2, self.expiry(now))?;
        let mut gone = due.renew;
        let superpeer = self.is_preferred(&it.peer, dice);
        gone.retain(|hash| !self.store.renew(now, hash, &it.peer, ip, self.expiry(now), superpeer));
        for entry in &it.entries {
            if self.change(now, dice, ip, it, entry).is_err() {
                gone.push(entry.hash);
            }
        }
        self.nodes.forget(&node, &gone);
        let live = it.entries.iter().any(|entry| entry.position.is_some());
        let superpeer = self.superpeers.contains_key(&it.peer);
        Ok(Reported {
            interval_s: whole_seconds(self.interval(dice, live)),
            soonest_s: whole_seconds(self.limits.interval / 12),
            held: self.nodes.held(&node),
            observed: SocketAddr::new(ip, from.port()),
            duties: if superpeer { Reported::SUPERPEER } else { 0 },
            list_version: 0,
        })
    }

    fn change(
        &self,
        now: Time,
        dice: &mut Dice,
        from: IpAddr,
        it: &Report,
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let traits = Traits { have: entry.have, position: entry.position, ..it.traits };
        let comer = Comer {
            hash: entry.hash,
            tail: [0; 12],
            id: it.peer,
            ports: it.ports,
            seed: entry.have == u8::MAX,
            event: if entry.change == Change::Left { Event::Stopped } else { Event::None },
            plain: false,
            traits: &traits,
            want: 0,
        };
        self.come(now, dice, from, &comer, &mut Told::Addresses(&mut Vec::new())).map(drop)
    }

    /// `from` only looks.
    pub fn find(&self, now: Time, dice: &mut Dice, from: IpAddr, it: &Find) -> Result<Handout, Refusal> {
        let from = from.to_canonical();
        self.request(now, from, 1)?;
        let network = self.networks.network_of(from);
        let want = self.want(it.want);
        let ask = Ask { id: it.asker, ip: from, network, seed: it.seed, traits: it.traits, want };
        let mut peers = Vec::with_capacity(want);
        let swarm = InfoHash::of(&it.swarm);
        let counts = self.store.find(now, dice, &swarm, &ask, &mut Told::Records(&mut peers));
        Ok(Handout { interval: self.interval(dice, false), counts, peers })
    }

    /// `from` asks how large swarms are, which costs as much as one request for every 16 of them.
    pub fn scrape(
        &self,
        now: Time,
        from: IpAddr,
        swarms: impl ExactSizeIterator<Item = InfoHash>,
    ) -> Result<impl Iterator<Item = (InfoHash, Size)>, Refusal> {
        self.request(now, from.to_canonical(), 1 + swarms.len() as u32 / 16)?;
        Ok(swarms.map(|hash| (hash, self.store.size(&hash).unwrap_or_default())))
    }

    /// These are superpeers, each with its part of the full priority (0 to 1), and no others: they are handed out first from
    /// their next announce or report on. At most 50,000. Who decides this goes by the evidence of others.
    pub fn prefer(&self, superpeers: &[(PeerId, f64)]) {
        let superpeers: BTreeMap<PeerId, f64> = superpeers.iter().take(SUPERPEERS_MAX).copied().collect();
        self.superpeers.retain(|peer, _| superpeers.contains_key(peer));
        superpeers.into_iter().for_each(|(peer, share)| _ = self.superpeers.insert(peer, share));
    }

    /// Whether a peer is handed out as a superpeer until it is heard of again: on probation, as seldom as its part says.
    fn is_preferred(&self, peer: &PeerId, dice: &mut Dice) -> bool {
        self.superpeers.get(peer).is_some_and(|share| dice.unit() < *share)
    }

    /// Whose networks are whose.
    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// Drops what has expired; to be called every few seconds. Answers are right without it, for a choice passes over
    /// expired entries, but memory would only grow.
    pub fn expire(&self, now: Time) {
        self.store.expire(now, &mut |id, ip| self.guard.leave(ip, &id));
        self.nodes.expire(now);
        self.guard.forget_idle(now);
        self.load.measure(now);
    }

    /// The `most` largest swarms, largest first. A swarm that only BitTorrent clients announced ends with 12 zeros.
    pub fn largest(&self, most: usize) -> Vec<(SwarmKey, Counts)> {
        self.store.largest(most)
    }

    /// The size of one swarm, if anybody takes part.
    pub fn counts(&self, key: &SwarmKey) -> Option<Counts> {
        self.store.size(&InfoHash::of(key)).map(|size| size.counts)
    }

    /// Swarms now.
    pub fn swarms(&self) -> usize {
        self.store.swarms()
    }

    /// Entries now: a peer counts once for each swarm and address family.
    pub fn entries(&self) -> usize {
        self.store.entries()
    }

    /// How much longer than [`Limits::interval`] peers are asked to wait, 1 to 4.
    pub fn load_factor(&self) -> f64 {
        self.load.factor()
    }

    /// Where entries live.
    pub fn store(&self) -> &Arc<dyn PeerStore> {
        &self.store
    }

    /// Whether `peer` takes part in any swarm from `ip`.
    pub(super) fn has(&self, ip: IpAddr, peer: &PeerId) -> bool {
        self.guard.has(ip, peer)
    }

    /// Whether `ip` may call others together; that costs as much as a request.
    pub(super) fn may_call(&self, now: Time, ip: IpAddr) -> bool {
        self.request(now, ip, 1).is_ok()
    }

    fn request(&self, now: Time, from: IpAddr, cost: u32) -> Result<(), Refusal> {
        self.load.request();
        self.guard.requests(now, from, cost)
    }

    fn want(&self, asked: u16) -> usize {
        usize::from(asked).min(self.limits.want_max)
    }

    /// An entry outlives two lost renewals, at the pace that is asked for now.
    fn expiry(&self, now: Time) -> Time {
        now + self.limits.interval.mul_f64(2.5 * self.load.factor())
    }

    /// When to come again: live swarms move, so twice as often there.
    fn interval(&self, dice: &mut Dice, live: bool) -> Duration {
        let pace = if live { 0.5 } else { 1.0 } * self.load.factor();
        self.limits.interval.mul_f64(pace * (0.9 + 0.2 * dice.unit()))
    }

    fn remove(&self, swarm: &InfoHash, peer: &PeerId, from: IpAddr) {
        if self.store.remove(swarm, peer, from) {
            self.guard.leave(from, peer);
        }
    }
}

pub(super) fn whole_seconds(span: Duration) -> u32 {
    span.as_secs().clamp(1, u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests;
