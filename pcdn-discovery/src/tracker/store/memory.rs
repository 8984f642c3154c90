//! A store in this process: gone with it, and full again within one announce interval.
//!
//! Swarms live in a sharded map, so several threads serve different swarms at once.

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::unit::Time;

use super::{Ask, Member, PeerStore, Put, Size, Told};
use crate::tracker::networks::Networks;
use crate::tracker::service::Refusal;
use crate::tracker::wire::{Counts, InfoHash};
use swarm::Swarm;

mod choose;
mod columns;
mod swarm;

/// Shards of the map: with a few workers, two seldom want one at the same time.
const SHARDS: usize = 64;

/// Entries in memory. An entry takes 120 to 150 bytes with all that belongs to it, see the bench `tracker`.
#[derive(Debug)]
pub struct Memory {
    networks: Arc<Networks>,
    peers_per_swarm: usize,
    swarms: DashMap<InfoHash, Swarm>,
    // Counted apart: the map's own length takes every shard's lock.
    swarm_count: AtomicUsize,
    entry_count: AtomicUsize,
}

impl Memory {
    /// Empty. A swarm holds `peers_per_swarm` entries at most.
    pub fn new(peers_per_swarm: usize, networks: Arc<Networks>) -> Self {
        let (swarm_count, entry_count) = Default::default();
        let swarms = DashMap::with_shard_amount(SHARDS);
        Self { networks, peers_per_swarm: peers_per_swarm.max(1), swarms, swarm_count, entry_count }
    }

    /// An entry as it is, its expiry apart, which only its column knows.
    #[cfg(feature = "redis")]
    pub(super) fn member(&self, swarm: &InfoHash, peer: &PeerId, ip: IpAddr) -> Option<Member> {
        self.swarms.get(swarm)?.member(*swarm, peer, ip)
    }

    /// Whether a swarm takes another entry without giving one up.
    #[cfg(feature = "redis")]
    pub(super) fn has_room(&self, swarm: &InfoHash) -> bool {
        self.size(swarm)
            .is_none_or(|size| ((size.counts.seeds + size.counts.others) as usize) < self.peers_per_swarm)
    }

    fn count_left(&self, entries: usize) {
        self.entry_count.fetch_sub(entries, Ordering::Relaxed);
    }
}

impl PeerStore for Memory {
    fn warm(&self, swarms: &[InfoHash]) {
        // All locks first: a processor does not look ahead past one. Only tried, for a thread that holds one must not wait.
        let look = |swarm| {
            let hash = self.swarms.hash_usize(swarm);
            (swarm, hash as u64, self.swarms.shards()[self.swarms.determine_shard(hash)].try_read())
        };
        let looks: Vec<_> = swarms.iter().map(look).collect();
        let touched = looks.iter().fold(0, |sum, (wanted, hash, shard)| {
            let found = shard.as_ref().and_then(|shard| shard.get(*hash, |(swarm, _)| swarm == *wanted));
            sum ^ found.map_or(0, |(_, swarm)| swarm.get().touch())
        });
        black_box(touched);
    }

    fn put(
        &self,
        now: Time,
        dice: &mut Dice,
        entry: &Member,
        admit: &mut dyn FnMut(bool) -> Result<(), Refusal>,
        ask: &Ask,
        told: &mut Told<'_>,
    ) -> Result<Put, Refusal> {
        let place = self.swarms.entry(entry.swarm);
        let new_swarm = matches!(place, Entry::Vacant(_));
        let slot = match &place {
            Entry::Occupied(swarm) => swarm.get().slot(entry),
            Entry::Vacant(_) => None,
        };
        if slot.is_none() {
            admit(new_swarm)?;
            self.swarm_count.fetch_add(usize::from(new_swarm), Ordering::Relaxed);
            self.entry_count.fetch_add(1, Ordering::Relaxed);
        }
        let mut swarm = place.or_default();
        let full = slot.is_none() && swarm.len() >= self.peers_per_swarm;
        let evicted = if full { swarm.remove_random(dice) } else { None };
        self.count_left(usize::from(evicted.is_some()));
        let slot = swarm.put(entry, slot);
        if ask.want > 0 {
            swarm.choose(now, dice, &self.networks, ask, Some(slot), told);
        }
        Ok(Put { counts: swarm.counts(), evicted })
    }

    fn renew(
        &self,
        _: Time,
        swarm: &InfoHash,
        peer: &PeerId,
        ip: IpAddr,
        expires: Time,
        superpeer: bool,
    ) -> bool {
        self.swarms.get_mut(swarm).is_some_and(|mut swarm| swarm.renew(peer, ip, expires, superpeer))
    }

    fn find(&self, now: Time, dice: &mut Dice, swarm: &InfoHash, ask: &Ask, told: &mut Told<'_>) -> Counts {
        let Some(swarm) = self.swarms.get(swarm) else { return Counts::default() };
        swarm.choose(now, dice, &self.networks, ask, None, told);
        swarm.counts()
    }

    fn remove(&self, key: &InfoHash, peer: &PeerId, ip: IpAddr) -> bool {
        let Some(mut swarm) = self.swarms.get_mut(key) else { return false };
        let removed = swarm.remove(peer, ip);
        drop(swarm);
        self.count_left(usize::from(removed));
        let emptied = self.swarms.remove_if(key, |_, swarm| swarm.is_empty());
        self.swarm_count.fetch_sub(usize::from(emptied.is_some()), Ordering::Relaxed);
        removed
    }

    fn completed(&self, swarm: &InfoHash) {
        if let Some(mut swarm) = self.swarms.get_mut(swarm) {
            swarm.completed();
        }
    }

    fn size(&self, swarm: &InfoHash) -> Option<Size> {
        self.swarms.get(swarm).map(|swarm| swarm.size())
    }

    fn largest(&self, most: usize) -> Vec<(SwarmKey, Counts)> {
        let mut all: Vec<_> =
            self.swarms.iter().map(|swarm| (swarm.key().key(swarm.tail()), swarm.counts())).collect();
        all.sort_by_key(|(key, counts)| (std::cmp::Reverse(counts.seeds + counts.others), *key));
        all.truncate(most);
        all
    }

    fn expire(&self, now: Time, left: &mut dyn FnMut(PeerId, IpAddr)) {
        let mut gone = Vec::new();
        self.swarms.retain(|_, swarm| {
            swarm.expire(now, &mut gone);
            self.swarm_count.fetch_sub(usize::from(swarm.is_empty()), Ordering::Relaxed);
            !swarm.is_empty()
        });
        self.count_left(gone.len());
        gone.into_iter().for_each(|(id, ip)| left(id, ip));
    }

    fn swarms(&self) -> usize {
        self.swarm_count.load(Ordering::Relaxed)
    }

    fn entries(&self) -> usize {
        self.entry_count.load(Ordering::Relaxed)
    }

    fn is_stale(&self, _: Time, _: &InfoHash) -> bool {
        false
    }
}
