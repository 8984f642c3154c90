//! Where this node can be reached, as far as it can know, and the records it signs of that.
//!
//! A node that listens on a given address knows that one. Behind a NAT, or listening everywhere, it depends on others: each
//! neighbour says from where it sees the node. Such an address counts if all who are as far away say the same, or two do.
//! What the transport found out itself, by asking trackers over the very socket that others dial ([`Appearance`]), counts more.
//! One neighbour alone can lie, but only to itself: the others pass on no record whose address is not where they see its
//! peer themselves.
//!
//! A private address is in the records for neighbours in the same private network and in no other one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::id::{Identity, PeerId, SwarmKey};
use crate::peer::{Appearance, Facts, PeerAddr, Reach, Scheme, SignedRecord};
use crate::unit::Time;

/// A record is signed anew after this, a third of its life: who holds one can pass it on for a while yet.
const RENEW: Duration = Duration::from_secs(600);
/// Reports kept, one of each neighbour: as many as there may be neighbours.
const REPORTS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Whereabouts {
    bound: Vec<PeerAddr>,
    appearance: Appearance,
    seen: BTreeMap<PeerId, PeerAddr>,
    /// The last record for those on this machine, in this site, in the world, and when it was signed.
    signed: [Option<(Time, SignedRecord)>; 3],
}

impl Whereabouts {
    pub(super) fn new(bound: Vec<PeerAddr>) -> Self {
        let appearance = Appearance::default();
        Self { bound, appearance, seen: BTreeMap::new(), signed: [None, None, None] }
    }

    /// What the transports found out.
    pub(super) fn found(&mut self, appearance: Appearance) {
        self.appearance = appearance;
    }

    /// A neighbour, itself seen at `its`, sees this node at `addr`. An address that reaches less far than the neighbour is
    /// nothing it can see.
    pub(super) fn seen(&mut self, by: PeerId, its: PeerAddr, addr: PeerAddr) {
        let room = self.seen.len() < REPORTS_MAX || self.seen.contains_key(&by);
        let listens = self.bound.iter().any(|bound| bound.scheme == addr.scheme);
        if room && listens && addr.is_dialable() && addr.reach() == its.reach() {
            self.seen.insert(by, addr);
        }
    }

    pub(super) fn forget(&mut self, by: &PeerId) {
        self.seen.remove(by);
    }

    /// Its addresses for those from whom it is `near`, the nearest first.
    pub(super) fn addrs(&self, near: Reach) -> Vec<PeerAddr> {
        let given = |addr: &&PeerAddr| addr.scheme == Scheme::Mem || !addr.addr.ip().is_unspecified();
        let mut addrs: Vec<PeerAddr> = self
            .bound
            .iter()
            .filter(given)
            .chain(&self.appearance.addrs)
            .copied()
            .chain(self.agreed())
            .collect();
        addrs.retain(|addr| addr.reach() >= near && addr.is_dialable());
        addrs.sort_by_key(PeerAddr::reach);
        let mut once: Vec<PeerAddr> = Vec::new();
        for addr in addrs {
            if once.len() < Facts::ADDRS_MAX && !once.contains(&addr) {
                once.push(addr);
            }
        }
        once
    }

    /// The ports that who is so far away can dial at the address it sees: behind a NAT not the ones listened on.
    pub(super) fn ports(&self, near: Reach) -> Vec<(Scheme, u16)> {
        let port = |bound: &PeerAddr| {
            let known = |addr: &&PeerAddr| {
                near == Reach::World && addr.scheme == bound.scheme && addr.reach() == near
            };
            (bound.scheme, self.appearance.addrs.iter().find(known).unwrap_or(bound).addr.port())
        };
        self.bound.iter().map(port).collect()
    }

    fn agreed(&self) -> Vec<PeerAddr> {
        let mut votes: BTreeMap<(Scheme, Reach, bool), BTreeMap<PeerAddr, usize>> = BTreeMap::new();
        for addr in self.seen.values() {
            let group = votes.entry((addr.scheme, addr.reach(), addr.addr.is_ipv4())).or_default();
            *group.entry(*addr).or_default() += 1;
        }
        // Behind a symmetric NAT every neighbour sees another port.
        let agreed = |group: BTreeMap<PeerAddr, usize>| {
            let alone = group.len() == 1;
            let (addr, count) = group.into_iter().max_by_key(|(_, count)| *count)?;
            (alone || count >= 2).then_some(addr)
        };
        let known = |kind: &(Scheme, Reach, bool)| {
            self.appearance.addrs.iter().any(|addr| *kind == (addr.scheme, addr.reach(), addr.addr.is_ipv4()))
        };
        votes.into_iter().filter(|(kind, _)| !known(kind)).filter_map(|(_, group)| agreed(group)).collect()
    }

    /// The record for those from whom it is `near`; none while no address is known that they could use.
    pub(super) fn record(
        &mut self,
        now: Time,
        now_ms: u64,
        near: Reach,
        key: &Identity,
        swarm: &SwarmKey,
        flags: u8,
    ) -> Option<SignedRecord> {
        let addrs = self.addrs(near);
        let last = &mut self.signed[near as usize];
        let nat = self.appearance.nat.code();
        let stands = |record: &SignedRecord| {
            let facts = record.facts();
            facts.addrs == addrs && facts.flags == flags && facts.nat == nat
        };
        if let Some((at, record)) = last
            && now.since(*at) < RENEW
            && stands(record)
        {
            return Some(record.clone());
        }
        // Of two signed in the same millisecond neither would be the later one.
        let seq = last.as_ref().map_or(now_ms, |(_, old)| now_ms.max(old.facts().seq + 1));
        let facts =
            Facts { id: key.peer_id(), seq, lifetime_s: Facts::LIFETIME_S_MAX, flags, nat, up: 0, addrs };
        let record = facts.sign(key, swarm)?;
        *last = Some((now, record.clone()));
        Some(record)
    }
}

/// Whether who is seen at `remote` may be passed on at the addresses of `record`: of the kind it is seen by, it names no
/// other. Nobody can make its neighbours send others to a stranger's door.
pub(super) fn is_where_seen(record: &SignedRecord, remote: &PeerAddr) -> bool {
    let same_kind =
        |addr: &&PeerAddr| addr.reach() == remote.reach() && addr.addr.is_ipv4() == remote.addr.is_ipv4();
    record.facts().addrs.iter().filter(same_kind).all(|addr| addr.addr.ip() == remote.addr.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> PeerAddr {
        text.parse().unwrap()
    }

    fn everywhere() -> Whereabouts {
        Whereabouts::new(vec![addr("udp://0.0.0.0:4000")])
    }

    fn texts(of: &Whereabouts, near: Reach) -> Vec<String> {
        of.addrs(near).iter().map(PeerAddr::to_string).collect()
    }

    #[test]
    fn an_address_is_what_all_say_or_two() {
        let mut me = everywhere();
        assert_eq!(me.addrs(Reach::World), []);
        let far = addr("udp://203.0.113.9:4000");
        me.seen(PeerId([1; 32]), far, addr("udp://198.51.100.1:4000"));
        assert_eq!(texts(&me, Reach::World), ["udp://198.51.100.1:4000"]);
        me.seen(PeerId([2; 32]), far, addr("udp://198.51.100.66:4000"));
        assert_eq!(me.addrs(Reach::World), [], "one against one is no knowledge");
        me.seen(PeerId([3; 32]), far, addr("udp://198.51.100.1:4000"));
        assert_eq!(texts(&me, Reach::World), ["udp://198.51.100.1:4000"]);
        (1..=3).for_each(|n| me.forget(&PeerId([n; 32])));
        assert_eq!(me.addrs(Reach::World), []);
    }

    #[test]
    fn what_the_transport_found_out_counts_more_and_is_in_the_record() {
        let (key, swarm) = (Identity::from_secret([1; 32]), SwarmKey([2; 32]));
        let mut me = everywhere();
        let far = addr("udp://203.0.113.9:4000");
        me.seen(PeerId([1; 32]), far, addr("udp://198.51.100.1:5555"));
        let found = addr("udp://198.51.100.1:4444");
        me.found(Appearance { addrs: vec![found], nat: crate::peer::Nat::Cone });
        assert_eq!(me.addrs(Reach::World), [found]);
        assert_eq!(me.ports(Reach::World), [(Scheme::Udp, 4444)]);
        assert_eq!(me.ports(Reach::Site), [(Scheme::Udp, 4000)]);
        let record = me.record(Time::ZERO, 0, Reach::World, &key, &swarm, 0).unwrap();
        assert_eq!((record.facts().nat, &record.facts().addrs[..]), (2, &[found][..]));
        me.found(Appearance { addrs: vec![found], nat: crate::peer::Nat::Open });
        let newer = me.record(Time::ZERO, 0, Reach::World, &key, &swarm, 0).unwrap();
        assert!(newer.facts().nat == 1 && newer.facts().seq > record.facts().seq);
    }

    #[test]
    fn a_private_address_is_for_the_private_network() {
        let mut me = everywhere();
        me.seen(PeerId([1; 32]), addr("udp://192.168.0.9:4000"), addr("udp://192.168.0.2:4000"));
        me.seen(PeerId([2; 32]), addr("udp://203.0.113.9:4000"), addr("udp://198.51.100.1:4000"));
        assert_eq!(texts(&me, Reach::World), ["udp://198.51.100.1:4000"]);
        assert_eq!(texts(&me, Reach::Site), ["udp://192.168.0.2:4000", "udp://198.51.100.1:4000"]);
        // From outside nobody sees this node at a private address.
        me.seen(PeerId([3; 32]), addr("udp://203.0.113.9:4000"), addr("udp://10.0.0.1:4000"));
        assert!(!texts(&me, Reach::Site).contains(&"udp://10.0.0.1:4000".to_owned()));
    }

    #[test]
    fn records_are_renewed_in_time_and_when_something_changed() {
        let (key, swarm) = (Identity::from_secret([1; 32]), SwarmKey([2; 32]));
        let mut me = Whereabouts::new(vec![addr("udp://198.51.100.1:4000")]);
        let at = |me: &mut Whereabouts, s: u64, flags| {
            me.record(Time::from_secs(s), s * 1_000, Reach::World, &key, &swarm, flags).unwrap()
        };
        let first = at(&mut me, 0, 0);
        assert_eq!(at(&mut me, 599, 0), first);
        assert_eq!(at(&mut me, 600, 0).facts().seq, 600_000);
        assert!(at(&mut me, 600, Facts::SEED).facts().seq > 600_000);
        assert!(everywhere().record(Time::ZERO, 0, Reach::World, &key, &swarm, 0).is_none());
    }

    #[test]
    fn nobody_is_passed_on_at_another_address_than_it_is_seen_at() {
        let (key, swarm) = (Identity::from_secret([1; 32]), SwarmKey([2; 32]));
        let bound = |texts: &[&str]| {
            let mut me = Whereabouts::new(texts.iter().map(|text| addr(text)).collect());
            me.record(Time::ZERO, 0, Reach::Machine, &key, &swarm, 0).unwrap()
        };
        let own = bound(&["udp://198.51.100.1:4000", "udp://192.168.0.2:4000", "udp://[2001:db8::1]:4000"]);
        for seen in ["udp://198.51.100.1:5000", "udp://192.168.0.2:4000", "udp://[2001:db8::1]:1"] {
            assert!(is_where_seen(&own, &addr(seen)), "{seen}");
        }
        assert!(!is_where_seen(&own, &addr("udp://198.51.100.2:4000")));
        assert!(!is_where_seen(&own, &addr("udp://192.168.0.3:4000")));
    }
}
