//! Who shall hold: superpeers, then who is likely there with room and spare upload, spread over networks.

use std::collections::{BTreeMap, BTreeSet};

use super::Offer;
use crate::id::PeerId;
use crate::receipt::{NetworkId, Subnet};

/// Of a share's copies one network holds at most a tenth while others offer: a network that fails takes a tenth with it.
const NETWORK_DIVISOR: usize = 10;

/// A network, or where the operator's table does not know it, a subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Network(NetworkId),
    Subnet(Subnet),
}

impl Place {
    pub(super) fn of(network: NetworkId, subnet: Subnet) -> Self {
        if network == NetworkId::default() { Self::Subnet(subnet) } else { Self::Network(network) }
    }
}

/// Who must not be asked, and where copies are already.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// Who holds, or failed to.
    pub(super) peers: BTreeSet<PeerId>,
    /// Where the copies are that are left.
    pub(super) places: Vec<Place>,
}

/// The best `count` of `offers` for copies of `len` bytes, `target` of them in all. The bound on networks gives way where nobody
/// else offers: a copy in a crowded network is better than none.
pub(super) fn choose(
    offers: &[Offer],
    count: usize,
    target: usize,
    len: u64,
    taken: &Taken,
) -> BTreeSet<PeerId> {
    let able = |offer: &&Offer| !offer.busy && offer.free >= len && !taken.peers.contains(&offer.peer);
    let mut ranked: Vec<&Offer> = offers.iter().filter(able).collect();
    ranked.sort_by(|a, b| rank(b).total_cmp(&rank(a)).then(a.peer.cmp(&b.peer)));
    let most = target.div_ceil(NETWORK_DIVISOR).max(1);
    let mut places: BTreeMap<Place, usize> = BTreeMap::new();
    taken.places.iter().for_each(|place| *places.entry(*place).or_default() += 1);
    let mut chosen = BTreeSet::new();
    let mut crowded = Vec::new();
    for offer in ranked {
        let in_place = places.entry(Place::of(offer.network, offer.subnet)).or_default();
        if chosen.len() >= count {
            break;
        }
        if *in_place < most {
            *in_place += 1;
            chosen.insert(offer.peer);
        } else {
            crowded.push(offer.peer);
        }
    }
    let left = count.saturating_sub(chosen.len());
    chosen.extend(crowded.into_iter().take(left));
    chosen
}

/// Superpeers before all others, each kind by what can be expected of it. Idle ones come before ones in use.
fn rank(offer: &Offer) -> f64 {
    let worth = offer.availability.clamp(0.0, 1.0) * offer.spare.0 as f64 * (offer.free as f64).sqrt();
    // Below one, so that it orders within a kind and never across.
    let within = worth / (worth + 1e12);
    2.0 * offer.superpeer.clamp(0.0, 1.0).ceil() + f64::from(u8::from(offer.idle)) + within
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::superpeer::Region;
    use crate::unit::Rate;

    fn offer(n: u8, network: u32) -> Offer {
        Offer {
            peer: PeerId([n; 32]),
            free: 1 << 30,
            spare: Rate::from_mbit(20),
            idle: true,
            busy: false,
            subnet: Subnet::of([10, n, 0, 1].into()),
            network: NetworkId(network),
            region: Region(1),
            superpeer: 0.0,
            availability: 0.5,
        }
    }

    fn picks(offers: &[Offer], count: usize) -> Vec<u8> {
        choose(offers, count, count, 1 << 20, &Taken::default()).into_iter().map(|peer| peer.0[0]).collect()
    }

    #[test]
    fn superpeers_come_first_then_what_can_be_expected() {
        let mut offers: Vec<Offer> = (1..=6).map(|n| offer(n, u32::from(n))).collect();
        offers[0].superpeer = 0.25;
        offers[1].spare = Rate::from_mbit(200);
        offers[2].availability = 0.9;
        offers[3].idle = false;
        offers[4].free = 1_000;
        offers[5].busy = true;
        assert_eq!(picks(&offers, 1), [1]);
        assert_eq!(picks(&offers, 2), [1, 2]);
        assert_eq!(picks(&offers, 3), [1, 2, 3]);
        assert_eq!(picks(&offers, 6), [1, 2, 3, 4], "no room, or busy: not at all");
    }

    #[test]
    fn who_holds_or_failed_is_not_asked_again() {
        let offers = [offer(1, 1), offer(2, 2)];
        let taken = Taken { peers: [PeerId([1; 32])].into(), places: Vec::new() };
        assert_eq!(choose(&offers, 2, 3, 1, &taken), BTreeSet::from([PeerId([2; 32])]));
    }

    proptest! {
        /// While other networks offer, none holds more than a tenth (or one), and never are there fewer than could be.
        #[test]
        fn networks_are_spread(networks in proptest::collection::vec(1u32..8, 1..60), count in 1usize..40) {
            let offers: Vec<Offer> = networks.iter().zip(1..).map(|(network, n)| offer(n, *network)).collect();
            let chosen = choose(&offers, count, count, 1, &Taken::default());
            prop_assert_eq!(chosen.len(), count.min(offers.len()));
            let most = count.div_ceil(10);
            let mut in_network: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
            for offer in &offers {
                let entry = in_network.entry(offer.network.0).or_default();
                entry.0 += 1;
                entry.1 += usize::from(chosen.contains(&offer.peer));
            }
            let spread: usize = in_network.values().map(|(all, _)| (*all).min(most)).sum();
            if spread >= count {
                prop_assert!(in_network.values().all(|(_, held)| *held <= most));
            }
        }
    }
}
