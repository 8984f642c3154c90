//! One swarm, as columns.
//!
//! A choice draws many entries and takes few. What it looks at (network, expiry, seed) is 24 bytes an entry and lies
//! together; ids, addresses and ports lie apart and are touched for the chosen alone.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;

use crate::tracker::reach::Reach;
use crate::tracker::wire::{Counts, Listed, Ports};

/// Entries of one network (IPv4 /24, IPv6 /48) in one answer, as long as others exist: a network is what one party can fill.
const PER_NETWORK: usize = 3;
/// Entries drawn for each one wanted: enough to find other networks where a few fill most of a swarm, at bounded cost.
const DRAWN_PER_WANTED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Swarm {
    hot: Vec<Hot>,
    cold: Vec<Cold>,
    index: HashMap<(PeerId, IpAddr), u32>,
    seeds: u32,
    /// No entry expires before this.
    quiet_until: Time,
}

#[derive(Clone, Copy, Debug)]
struct Hot {
    network: u64,
    expires: Time,
    seed: bool,
    reach: Reach,
}

#[derive(Clone, Copy, Debug)]
struct Cold {
    id: PeerId,
    ip: IpAddr,
    ports: Ports,
}

/// One entry.
pub(super) struct Member {
    pub(super) id: PeerId,
    pub(super) ip: IpAddr,
    pub(super) ports: Ports,
    pub(super) seed: bool,
    pub(super) expires: Time,
}

/// Who is to be given something.
pub(super) struct Asker {
    pub(super) id: Option<PeerId>,
    pub(super) ip: IpAddr,
    pub(super) seed: bool,
}

impl Swarm {
    pub(super) fn len(&self) -> usize {
        self.hot.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hot.is_empty()
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { seeds: self.seeds, others: self.hot.len() as u32 - self.seeds }
    }

    pub(super) fn knows(&self, id: &PeerId, ip: IpAddr) -> bool {
        self.index.contains_key(&(*id, ip))
    }

    /// Adds or renews an entry.
    pub(super) fn put(&mut self, member: Member) {
        let Member { id, ip, ports, seed, expires } = member;
        let hot = Hot { network: network_of(ip), expires, seed, reach: Reach::of(ip) };
        let cold = Cold { id, ip, ports };
        if let Some(&at) = self.index.get(&(id, ip)) {
            let at = at as usize;
            self.seeds -= u32::from(self.hot[at].seed);
            self.hot[at] = hot;
            self.cold[at] = cold;
        } else {
            self.index.insert((id, ip), self.hot.len() as u32);
            self.hot.push(hot);
            self.cold.push(cold);
        }
        self.seeds += u32::from(seed);
        self.quiet_until = if self.hot.len() == 1 { expires } else { self.quiet_until.min(expires) };
    }

    pub(super) fn remove(&mut self, id: &PeerId, ip: IpAddr) -> Option<(PeerId, IpAddr)> {
        let at = *self.index.get(&(*id, ip))?;
        Some(self.remove_at(at as usize))
    }

    pub(super) fn remove_random(&mut self, dice: &mut Dice) -> Option<(PeerId, IpAddr)> {
        let at = dice.below(self.hot.len() as u64) as usize;
        (at < self.hot.len()).then(|| self.remove_at(at))
    }

    fn remove_at(&mut self, at: usize) -> (PeerId, IpAddr) {
        let hot = self.hot.swap_remove(at);
        let cold = self.cold.swap_remove(at);
        self.index.remove(&(cold.id, cold.ip));
        if let Some(moved) = self.cold.get(at) {
            self.index.insert((moved.id, moved.ip), at as u32);
        }
        self.seeds -= u32::from(hot.seed);
        (cold.id, cold.ip)
    }

    /// Moves what has expired to `gone`. A look at one number when nothing has.
    pub(super) fn expire(&mut self, now: Time, gone: &mut Vec<(PeerId, IpAddr)>) {
        if now < self.quiet_until {
            return;
        }
        let mut at = 0;
        while at < self.hot.len() {
            if self.hot[at].expires <= now { gone.push(self.remove_at(at)) } else { at += 1 }
        }
        self.quiet_until = self.hot.iter().map(|hot| hot.expires).min().unwrap_or(Time::NEVER);
    }

    /// Up to `want` entries for `asker`, uniformly drawn: never itself, no seeds for a seed, nobody it cannot reach, and at
    /// most [`PER_NETWORK`] of one network while others were drawn.
    pub(super) fn choose(&self, now: Time, dice: &mut Dice, asker: &Asker, want: usize) -> Vec<Listed> {
        let far = Reach::of(asker.ip);
        let mut chosen = Vec::with_capacity(want.min(self.hot.len()));
        let mut crowded = Vec::new();
        let mut networks: Vec<(u64, usize)> = Vec::with_capacity(want);
        for at in draw(dice, self.hot.len(), want.saturating_mul(DRAWN_PER_WANTED)) {
            if chosen.len() == want {
                break;
            }
            let hot = &self.hot[at];
            let useless = hot.expires <= now || hot.reach < far || (asker.seed && hot.seed);
            if useless || asker.id == Some(self.cold[at].id) {
                continue;
            }
            let known = networks.iter_mut().find(|(network, _)| *network == hot.network);
            match known {
                Some((_, count)) if *count >= PER_NETWORK => crowded.push(at),
                Some((_, count)) => {
                    *count += 1;
                    chosen.push(self.listed(at));
                }
                None => {
                    networks.push((hot.network, 1));
                    chosen.push(self.listed(at));
                }
            }
        }
        let room = want - chosen.len();
        chosen.extend(crowded.into_iter().take(room).map(|at| self.listed(at)));
        chosen
    }

    fn listed(&self, at: usize) -> Listed {
        let Cold { id, ip, ports } = self.cold[at];
        Listed { id, ip, ports, seed: self.hot[at].seed }
    }
}

/// The /24 of an IPv4 address, the /48 of an IPv6 one, as numbers that never meet.
fn network_of(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(u32::from(ip) >> 8),
        IpAddr::V6(ip) => (u128::from(ip) >> 80) as u64 | 1 << 63,
    }
}

/// `most` different numbers below `len` in random order, or all of them.
fn draw(dice: &mut Dice, len: usize, most: usize) -> Vec<usize> {
    if len <= most.saturating_mul(2) {
        let mut all: Vec<usize> = (0..len).collect();
        dice.shuffle(&mut all);
        all.truncate(most);
        return all;
    }
    // At most half of the numbers are wanted, so two draws a number are enough on average.
    let mut seen = HashSet::with_capacity(most);
    let mut drawn = Vec::with_capacity(most);
    while drawn.len() < most {
        let at = dice.below(len as u64) as usize;
        if seen.insert(at) {
            drawn.push(at);
        }
    }
    drawn
}
