//! Who is in which swarm, to draw panels from: a sample of each swarm, one peer of a subnet.
//!
//! What is kept is the part of a swarm whose subnets, hashed under a secret of this tracker, come first. So nobody can choose an
//! address to be in it, a thousand keys of one rack are one entry, and a swarm of a million costs as much as one of fifty.

use std::collections::BTreeMap;

use pcdn_core::id::PeerId;
use pcdn_core::superpeer::Witness;

use crate::tracker::wire::InfoHash;

/// Subnets of a swarm that are remembered: three times as many as a content needs to be audited.
const SUBNETS_MAX: usize = 32;
/// Swarms remembered, 3 KB each at most. Those that come later are not audited until others have ended.
const SWARMS_MAX: usize = 20_000;

/// A peer's place in a swarm's sample: the hash of its subnet.
type Lot = u64;

#[derive(Debug)]
pub(super) struct Holders {
    secret: [u8; 32],
    swarms: BTreeMap<InfoHash, BTreeMap<Lot, (Lot, PeerId)>>,
}

impl Holders {
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self { secret, swarms: BTreeMap::new() }
    }

    /// `witness` is in `swarms`.
    pub(super) fn enter(&mut self, witness: &Witness, swarms: impl Iterator<Item = InfoHash>) {
        let place = self.lot(&witness.subnet.bytes());
        let own = (self.lot(&witness.peer.0), witness.peer);
        for swarm in swarms {
            if self.swarms.len() >= SWARMS_MAX && !self.swarms.contains_key(&swarm) {
                continue;
            }
            let sample = self.swarms.entry(swarm).or_default();
            let held = sample.entry(place).or_insert(own);
            *held = own.min(*held);
            if sample.len() > SUBNETS_MAX {
                sample.pop_last();
            }
        }
    }

    /// Those of a swarm's sample that still are where they were; the others are forgotten.
    pub(super) fn of(&mut self, swarm: &InfoHash, seen: impl Fn(&PeerId) -> Option<Witness>) -> Vec<Witness> {
        let Some(sample) = self.swarms.get(swarm) else { return Vec::new() };
        let there = |(place, (_, peer)): (&Lot, &(Lot, PeerId))| {
            let witness = seen(peer).filter(|witness| self.lot(&witness.subnet.bytes()) == *place);
            witness.ok_or(*place)
        };
        let all: Vec<Result<Witness, Lot>> = sample.iter().map(there).collect();
        if let Some(sample) = self.swarms.get_mut(swarm) {
            all.iter().filter_map(|one| one.err()).for_each(|place| _ = sample.remove(&place));
        }
        all.into_iter().filter_map(Result::ok).collect()
    }

    /// Forgets swarms of which nobody is left.
    pub(super) fn sweep(&mut self, lives: impl Fn(&PeerId) -> bool) {
        self.swarms.retain(|_, sample| {
            sample.retain(|_, (_, peer)| lives(peer));
            !sample.is_empty()
        });
    }

    fn lot(&self, of: &[u8]) -> Lot {
        let hash = blake3::keyed_hash(&self.secret, of);
        let mut lot = [0; 8];
        lot.copy_from_slice(&hash.as_bytes()[..8]);
        u64::from_be_bytes(lot)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use pcdn_core::receipt::{NetworkId, Subnet};

    use super::*;

    const FILM: InfoHash = InfoHash([4; 20]);

    fn at(n: u32, ip: [u8; 4]) -> Witness {
        let mut peer = PeerId([0; 32]);
        peer.0[..4].copy_from_slice(&n.to_be_bytes());
        Witness { peer, subnet: Subnet::of(IpAddr::V4(Ipv4Addr::from(ip))), network: NetworkId(0) }
    }

    #[test]
    fn a_rack_of_thousands_is_one_of_many() {
        let mut holders = Holders::new([1; 32]);
        let all: Vec<Witness> = (0..5_000)
            .map(|n| at(n, [198, 51, 100, n as u8]))
            .chain((0..20).map(|n| at(10_000 + n, [10, n as u8, 0, 1])))
            .collect();
        all.iter().for_each(|witness| holders.enter(witness, [FILM].into_iter()));
        let seen = |peer: &PeerId| all.iter().find(|witness| witness.peer == *peer).copied();
        let sample = holders.of(&FILM, seen);
        assert_eq!(sample.len(), 21);
        assert_eq!(sample.iter().filter(|witness| witness.subnet == all[0].subnet).count(), 1);
    }

    #[test]
    fn a_swarm_of_any_size_is_a_sample_and_who_has_left_or_moved_is_not_in_it() {
        let mut holders = Holders::new([1; 32]);
        let mut all: Vec<Witness> = (0..1_000).map(|n| at(n, [10, (n / 250) as u8, n as u8, 1])).collect();
        all.iter().for_each(|witness| holders.enter(witness, [FILM].into_iter()));
        let sample = holders.of(&FILM, |peer| all.iter().find(|witness| witness.peer == *peer).copied());
        assert_eq!(sample.len(), SUBNETS_MAX);
        let (gone, moved) = (sample[0].peer, sample[1].peer);
        all.retain(|witness| witness.peer != gone);
        let place = Subnet::of(IpAddr::V4(Ipv4Addr::new(11, 0, 0, 1)));
        all.iter_mut().filter(|witness| witness.peer == moved).for_each(|witness| witness.subnet = place);
        let sample = holders.of(&FILM, |peer| all.iter().find(|witness| witness.peer == *peer).copied());
        assert!(
            sample.len() == SUBNETS_MAX - 2 && sample.iter().all(|it| it.peer != gone && it.peer != moved)
        );
        holders.sweep(|_| false);
        assert!(holders.swarms.is_empty());
    }

    #[test]
    fn swarms_are_bounded() {
        let mut holders = Holders::new([1; 32]);
        let swarms = (0..30_000u32).map(|n| {
            let mut hash = InfoHash([0; 20]);
            hash.0[..4].copy_from_slice(&n.to_be_bytes());
            hash
        });
        holders.enter(&at(1, [10, 0, 0, 1]), swarms);
        assert_eq!(holders.swarms.len(), SWARMS_MAX);
    }
}
