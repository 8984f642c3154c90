//! Who takes part in which swarm, and who is handed out to whom.
//!
//! Swarms live in a sharded map, so several threads serve different swarms at once. A swarm is a set of
//! columns: what a choice looks at lies together, the rest apart.
//!
//! An entry belongs to a peer id *and* the address it announced from. So nobody can move a peer away by announcing its id
//! from elsewhere: that only adds an entry, which a handshake with the true owner of the id will expose.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::{DashMap, Entry};
use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::unit::Time;

use super::guard::{Guard, Quota};
use super::service::Refusal;
use super::wire::{Announce, Counts, Event, Find, Listed};
use swarm::{Asker, Member, Swarm};

mod swarm;

/// Bounds and times of a [`Table`].
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// How often a peer announces. Default 60 s; each answer names a time within ±10 % of it, so that peers that came
    /// together do not return together. An entry expires after 2.5 intervals: two lost renewals are forgiven.
    pub interval: Duration,
    /// Entries of one swarm. Default 10,000, about 5 MB with what is remembered of their addresses; a newcomer to a full swarm replaces a random one.
    pub peers_per_swarm: usize,
    /// Swarms. Default 1,000,000.
    pub swarms_max: usize,
    /// Peers in one answer. Default 50; a datagram holds about 27.
    pub want_max: usize,
    /// What one address may do.
    pub quota: Quota,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            peers_per_swarm: 10_000,
            swarms_max: 1_000_000,
            want_max: 50,
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
    swarms: DashMap<SwarmKey, Swarm>,
    guard: Guard,
    // Counted apart: the map's own length takes every shard's lock.
    swarm_count: AtomicUsize,
    entry_count: AtomicUsize,
}

impl Table {
    /// Empty.
    pub fn new(limits: Limits) -> Self {
        let guard = Guard::new(limits.quota.clone());
        let (swarm_count, entry_count) = Default::default();
        Self { limits, swarms: DashMap::new(), guard, swarm_count, entry_count }
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
        self.guard.request(now, from)?;
        if it.event == Event::Stopped {
            self.remove(&it.swarm, it.peer, from);
            return Ok(self.handout(dice, Counts::default(), Vec::new()));
        }
        if it.ports.is_empty() {
            return Err(Refusal::NoPort);
        }
        // Locks are taken in one order, swarm before host, here and everywhere.
        let entry = self.swarms.entry(it.swarm);
        let known = matches!(&entry, Entry::Occupied(swarm) if swarm.get().knows(&it.peer, from));
        if !known {
            self.admit(&entry, from, &it.peer)?;
        }
        let mut swarm = entry.or_default();
        if !known && swarm.len() >= self.limits.peers_per_swarm {
            let victim = swarm.remove_random(dice);
            self.left(victim);
        }
        swarm.put(Member {
            id: it.peer,
            ip: from,
            ports: it.ports,
            seed: it.seed,
            expires: self.expiry(now),
        });
        let asker = Asker { id: Some(it.peer), ip: from, seed: it.seed };
        let peers = swarm.choose(now, dice, &asker, self.want(it.want));
        Ok(self.handout(dice, swarm.counts(), peers))
    }

    /// A new entry: checks the bounds and counts it.
    fn admit(&self, entry: &Entry<'_, SwarmKey, Swarm>, from: IpAddr, peer: &PeerId) -> Result<(), Refusal> {
        let new_swarm = matches!(entry, Entry::Vacant(_));
        if new_swarm && self.swarms() >= self.limits.swarms_max {
            return Err(Refusal::Full);
        }
        self.guard.enter(from, peer)?;
        self.swarm_count.fetch_add(usize::from(new_swarm), Ordering::Relaxed);
        self.entry_count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// `from` only looks.
    pub fn find(&self, now: Time, dice: &mut Dice, from: IpAddr, it: &Find) -> Result<Handout, Refusal> {
        let from = from.to_canonical();
        self.guard.request(now, from)?;
        let asker = Asker { id: it.asker, ip: from, seed: it.seed };
        let (counts, peers) = match self.swarms.get(&it.swarm) {
            Some(swarm) => (swarm.counts(), swarm.choose(now, dice, &asker, self.want(it.want))),
            None => Default::default(),
        };
        Ok(self.handout(dice, counts, peers))
    }

    /// Drops what has expired; to be called every few seconds. Answers are right without it, for a choice passes over
    /// expired entries, but memory would only grow.
    pub fn expire(&self, now: Time) {
        let mut gone = Vec::new();
        self.swarms.retain(|_, swarm| {
            swarm.expire(now, &mut gone);
            self.swarm_count.fetch_sub(usize::from(swarm.is_empty()), Ordering::Relaxed);
            !swarm.is_empty()
        });
        gone.into_iter().for_each(|member| self.left(Some(member)));
        self.guard.forget_idle(now);
    }

    /// The `most` largest swarms, largest first.
    pub fn largest(&self, most: usize) -> Vec<(SwarmKey, Counts)> {
        let mut all: Vec<_> = self.swarms.iter().map(|swarm| (*swarm.key(), swarm.counts())).collect();
        all.sort_by_key(|(key, counts)| (std::cmp::Reverse(counts.seeds + counts.others), *key));
        all.truncate(most);
        all
    }

    /// The size of one swarm, if anybody takes part.
    pub fn counts(&self, key: &SwarmKey) -> Option<Counts> {
        self.swarms.get(key).map(|swarm| swarm.counts())
    }

    /// Swarms now.
    pub fn swarms(&self) -> usize {
        self.swarm_count.load(Ordering::Relaxed)
    }

    /// Entries now: a peer counts once for each swarm and address family.
    pub fn entries(&self) -> usize {
        self.entry_count.load(Ordering::Relaxed)
    }

    fn want(&self, asked: u16) -> usize {
        usize::from(asked).min(self.limits.want_max)
    }

    fn expiry(&self, now: Time) -> Time {
        now + self.limits.interval.mul_f64(2.5)
    }

    fn handout(&self, dice: &mut Dice, counts: Counts, peers: Vec<Listed>) -> Handout {
        Handout { interval: self.limits.interval.mul_f64(0.9 + 0.2 * dice.unit()), counts, peers }
    }

    fn remove(&self, key: &SwarmKey, peer: PeerId, from: IpAddr) {
        let Some(mut swarm) = self.swarms.get_mut(key) else { return };
        let member = swarm.remove(&peer, from);
        drop(swarm);
        self.left(member);
        let emptied = self.swarms.remove_if(key, |_, swarm| swarm.is_empty());
        self.swarm_count.fetch_sub(usize::from(emptied.is_some()), Ordering::Relaxed);
    }

    fn left(&self, member: Option<(PeerId, IpAddr)>) {
        let Some((id, ip)) = member else { return };
        self.entry_count.fetch_sub(1, Ordering::Relaxed);
        self.guard.leave(ip, &id);
    }
}

#[cfg(test)]
mod tests;
