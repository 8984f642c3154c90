//! Who provides what, as a DHT node remembers it for others. Pure: time and dice are arguments.
//!
//! libp2p's own store keeps the first 20 providers of a key and turns away all later ones, and answers everybody with the same.
//! Of 60 providers among 100 nodes, 31 to 34 were ever found. This one keeps 512, replaces at random when it is full, and
//! answers with a random sample, so that a few answers together know nearly all.
//!
//! Whoever wants to push the true providers of a key out needs addresses in many networks, not many keys.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::peer::PeerAddr;
use pcdn_core::unit::Time;

use super::place;

/// What is provided: a swarm's key, blinded in a private network.
pub(super) type Key = [u8; 32];

/// Addresses kept of a provider: two transports, IPv4 and IPv6.
pub(super) const ADDRS_KEPT: usize = 4;

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Providers of a key. 512 is 17 times what one look-up takes.
    pub(super) per_key: usize,
    /// Providers of a key in one network (IPv4 /24, IPv6 /48). 4 leaves room for a household or a rack.
    pub(super) per_key_and_network: usize,
    /// Records of one network over all keys: 1/32 of all there is room for.
    pub(super) per_network: u32,
    /// Keys.
    pub(super) keys: usize,
    /// Records over all keys. About 200 B each, so 52 MB when full.
    pub(super) records: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_key: 512, per_key_and_network: 4, per_network: 8_192, keys: 100_000, records: 262_144 }
    }
}

/// One who provides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// Who.
    pub(super) id: PeerId,
    /// Where its transports are, as seen. Never empty; all of one host count as the first.
    pub(super) addrs: Vec<PeerAddr>,
    /// Where it is as a DHT node, if this node has reached it there.
    pub(super) contact: Option<SocketAddr>,
    /// Until when this holds.
    pub(super) expires: Time,
}

/// A network: nobody has many of these, anybody has many addresses in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Network {
    V4([u8; 3]),
    V6([u8; 6]),
}

impl Network {
    /// The network of a public host. Private hosts are on our own network, and not counted.
    pub(super) fn of(ip: IpAddr) -> Option<Self> {
        if !place::is_public(ip) {
            return None;
        }
        Some(match ip {
            IpAddr::V4(ip) => Self::V4([ip.octets()[0], ip.octets()[1], ip.octets()[2]]),
            IpAddr::V6(ip) => Self::V6(std::array::from_fn(|at| ip.octets()[at])),
        })
    }
}

impl Provider {
    fn network(&self) -> Option<Network> {
        Network::of(self.addrs.first()?.addr.ip())
    }
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Providers {
    limits: Limits,
    /// Where each key's shelf is.
    places: BTreeMap<Key, usize>,
    shelves: Vec<(Key, Vec<Provider>)>,
    networks: BTreeMap<Network, u32>,
    records: usize,
}

impl Providers {
    /// An empty table.
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Records, and keys they are of.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.records, self.shelves.len())
    }

    /// Remembers that `provider` provides `key`, in place of what it told before; another gives way at random where there is
    /// no room. False if its network has used up its share.
    pub(super) fn add(&mut self, now: Time, key: Key, provider: Provider, dice: &mut Dice) -> bool {
        self.remove(&key, &provider.id);
        let network = provider.network();
        let used = network.and_then(|network| self.networks.get(&network)).copied().unwrap_or(0);
        if provider.addrs.is_empty() || provider.expires <= now || used >= self.limits.per_network {
            return false;
        }
        self.make_room(&key, network, dice);
        let next = self.shelves.len();
        let at = *self.places.entry(key).or_insert(next);
        if at == next {
            self.shelves.push((key, Vec::new()));
        }
        self.shelves[at].1.push(provider);
        self.records += 1;
        if let Some(network) = network {
            *self.networks.entry(network).or_insert(0) += 1;
        }
        true
    }

    /// Forgets that `id` provides `key`.
    pub(super) fn remove(&mut self, key: &Key, id: &PeerId) {
        let Some(&shelf) = self.places.get(key) else { return };
        if let Some(at) = self.shelves[shelf].1.iter().position(|provider| provider.id == *id) {
            self.take(shelf, at);
        }
    }

    /// At most `want` of those who provide `key`, drawn anew each time.
    pub(super) fn sample(&self, now: Time, key: &Key, want: usize, dice: &mut Dice) -> Vec<&Provider> {
        let shelf = self.places.get(key).map_or(&[][..], |&at| &self.shelves[at].1);
        let mut all: Vec<&Provider> = shelf.iter().filter(|provider| provider.expires > now).collect();
        for at in 0..want.min(all.len()) {
            let other = at + dice.below((all.len() - at) as u64) as usize;
            all.swap(at, other);
        }
        all.truncate(want);
        all
    }

    /// The record of one provider of `key`.
    pub(super) fn get(&self, now: Time, key: &Key, id: &PeerId) -> Option<&Provider> {
        let shelf = &self.shelves[*self.places.get(key)?].1;
        shelf.iter().find(|provider| provider.id == *id && provider.expires > now)
    }

    /// Drops what has expired. Looks at every record: to be called once in a while.
    pub(super) fn sweep(&mut self, now: Time) {
        for shelf in (0..self.shelves.len()).rev() {
            for at in (0..self.shelves[shelf].1.len()).rev() {
                if self.shelves[shelf].1[at].expires <= now && !self.take(shelf, at) {
                    break;
                }
            }
        }
    }

    fn make_room(&mut self, key: &Key, network: Option<Network>, dice: &mut Dice) {
        if let Some(&shelf) = self.places.get(key) {
            let all = &self.shelves[shelf].1;
            let like = |provider: &Provider| network.is_some() && provider.network() == network;
            let neighbours: Vec<usize> = (0..all.len()).filter(|&at| like(&all[at])).collect();
            if neighbours.len() >= self.limits.per_key_and_network
                && let Some(&at) = dice.pick(&neighbours)
            {
                self.take(shelf, at);
            } else if all.len() >= self.limits.per_key {
                let at = dice.below(all.len() as u64) as usize;
                self.take(shelf, at);
            }
        } else if self.shelves.len() >= self.limits.keys {
            let shelf = dice.below(self.shelves.len() as u64) as usize;
            while self.take(shelf, 0) {}
        }
        if self.records >= self.limits.records && !self.shelves.is_empty() {
            let shelf = dice.below(self.shelves.len() as u64) as usize;
            let at = dice.below(self.shelves[shelf].1.len() as u64) as usize;
            self.take(shelf, at);
        }
    }

    /// Takes one record away; false if its shelf went with it.
    fn take(&mut self, shelf: usize, at: usize) -> bool {
        let (key, all) = &mut self.shelves[shelf];
        let key = *key;
        let gone = all.swap_remove(at);
        let more = !all.is_empty();
        self.records -= 1;
        if let Some(network) = gone.network()
            && let Some(count) = self.networks.get_mut(&network)
        {
            *count -= 1;
            if *count == 0 {
                self.networks.remove(&network);
            }
        }
        if !more {
            self.places.remove(&key);
            self.shelves.swap_remove(shelf);
            if let Some((moved, _)) = self.shelves.get(shelf) {
                self.places.insert(*moved, shelf);
            }
        }
        more
    }
}

#[cfg(test)]
mod tests;
