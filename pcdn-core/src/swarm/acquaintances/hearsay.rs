//! What is heard, and how much of it is taken.

use std::collections::BTreeMap;

use super::Acquaintances;
use super::known::{Known, Source, add_source};
use super::teller::Teller;
use crate::id::PeerId;
use crate::peer::{PeerAddr, PeerRecord, Prefix, Reach, SignedRecord};
use crate::unit::Time;

/// Heard of in one /24 or /48.
pub(super) const SUBNET_MAX: usize = 2;
/// Of those known, a quarter at most are heard of in one /16 or /32, once there are more than this many.
const NETWORK_FREE: usize = 32;
/// Tellers remembered, linked or not: a muted one shall not come back clean at once. With full lines
/// 2.5 MiB.
const TELLERS_MAX: usize = 256;

impl Acquaintances {
    /// Discovery found a peer. Its word counts without proof: it is asked for that, and it is bounded by whoever calls it.
    pub(in crate::swarm) fn found(&mut self, now: Time, record: PeerRecord) {
        if record.id == self.me || record.addrs.is_empty() {
            return;
        }
        if let Some(mut known) = self.take(&record.id) {
            known.sample = false;
            add_source(&mut known.sources, Source::Found);
            // The newest word of discovery is the best of those that nobody signed.
            known.addrs.retain(|addr| !record.addrs.contains(addr));
            known.addrs.splice(0..0, record.addrs);
            known.addrs.truncate(PeerRecord::ADDRS_MAX);
            self.insert(record.id, known);
        } else if self.make_room() {
            let addrs = record.addrs.into_iter().take(PeerRecord::ADDRS_MAX).collect();
            let known = Known { addrs, seed: record.seed, ..self.stranger(now, &record.id, Source::Found) };
            self.insert(record.id, known);
        }
    }

    /// A neighbour tells of a peer, in a record whose signature was checked. `near`: from how near the neighbour is seen.
    pub(in crate::swarm) fn told(
        &mut self,
        now: Time,
        now_ms: u64,
        teller: PeerId,
        near: Reach,
        record: SignedRecord,
    ) {
        let id = record.id();
        if id == self.me || id == teller || record.reach() < near || !record.holds_at(now_ms) {
            return;
        }
        if let Some(known) = self.peers.get_mut(&id) {
            add_source(&mut known.sources, Source::Told(teller));
            return self.renew(record);
        }
        self.quiet_until = Time::ZERO;
        let Some(ledger) = self.teller(now, teller) else { return };
        ledger.wait(now, record);
        self.admit(now, teller);
        if self.is_sound(now, &teller) {
            self.agree(now, teller, id);
        }
    }

    /// A neighbour has no link any more to peers it told of.
    pub(in crate::swarm) fn untold(&mut self, teller: PeerId, gone: &[PeerId]) {
        if let Some(ledger) = self.tellers.get_mut(&teller) {
            ledger.waiting.retain(|record| !gone.contains(&record.id()));
        }
        for id in gone {
            let Some(known) = self.peers.get_mut(id) else { continue };
            known.sources.retain(|source| *source != Source::Told(teller));
            if known.sources.is_empty() && !known.proven && !known.busy() {
                self.remove(id);
            }
        }
    }

    /// A peer came, or its own words say where it is. It is linked.
    pub(in crate::swarm) fn met(&mut self, now: Time, peer: PeerId, addrs: Vec<PeerAddr>) {
        self.reached(now, &peer);
        if let Some(known) = self.peers.get_mut(&peer) {
            for addr in addrs {
                if known.addrs.len() < PeerRecord::ADDRS_MAX && !known.addrs.contains(&addr) {
                    known.addrs.push(addr);
                }
            }
        }
    }

    /// A known peer has signed a record; the latest counts.
    pub(in crate::swarm) fn renew(&mut self, record: SignedRecord) {
        let id = record.id();
        let newer =
            |known: &Known| known.record.as_ref().is_none_or(|old| old.facts().seq < record.facts().seq);
        if self.peers.get(&id).is_some_and(newer)
            && let Some(mut known) = self.take(&id)
        {
            known.sign(record);
            self.insert(id, known);
        }
    }

    /// Whoever breaks the rules of the exchange is listened to no more for a while, whatever link it comes over.
    pub(in crate::swarm) fn mute(&mut self, now: Time, teller: PeerId) {
        if let Some(ledger) = self.teller(now, teller) {
            ledger.mute(now);
            self.disown(teller);
        }
    }

    pub(in crate::swarm) fn is_muted(&self, now: Time, teller: &PeerId) -> bool {
        self.tellers.get(teller).is_some_and(|ledger| ledger.is_muted(now))
    }

    /// Takes from a teller's line as far as it is believed.
    pub(super) fn admit(&mut self, now: Time, teller: PeerId) {
        loop {
            let most = self.heard_max / 5;
            let Some(ledger) = self.tellers.get_mut(&teller) else { return };
            if ledger.kept >= ledger.believed(now).min(most) || ledger.waiting.is_empty() {
                return;
            }
            // By lot: of what all neighbours tell, the first ones would be the same.
            let at = self.dice.below(ledger.waiting.len() as u64) as usize;
            let record = ledger.waiting.swap_remove(at);
            let (id, home) = (record.id(), record.facts().addrs[0]);
            if let Some(known) = self.peers.get_mut(&id) {
                add_source(&mut known.sources, Source::Told(teller));
                self.renew(record);
            } else if self.has_place_for(&home) && self.make_room() {
                let mut known = self.stranger(now, &id, Source::Told(teller));
                known.charged = Some(teller);
                known.sign(record);
                self.insert(id, known);
            }
        }
    }

    /// Whether a teller's word counts together with another's: what only it told of was there, each time somebody looked.
    pub(super) fn is_sound(&self, now: Time, teller: &PeerId) -> bool {
        self.tellers.get(teller).is_some_and(|ledger| ledger.is_sound(now))
    }

    /// Takes from a teller's line what another one says as well.
    pub(super) fn corroborate(&mut self, now: Time, teller: PeerId) {
        let Some(ledger) = self.tellers.get(&teller).filter(|ledger| ledger.is_sound(now)) else { return };
        let ids: Vec<PeerId> = ledger.waiting.iter().map(|record| record.id()).collect();
        ids.into_iter().for_each(|id| self.agree(now, teller, id));
    }

    /// Takes what a sound teller has in line if another one has it, too. Nobody is charged with it: both answer for it.
    fn agree(&mut self, now: Time, teller: PeerId, id: PeerId) {
        let has = |ledger: &Teller| ledger.waiting.iter().any(|record| record.id() == id);
        let agrees =
            |(other, ledger): &(&PeerId, &Teller)| **other != teller && ledger.is_sound(now) && has(ledger);
        let others: Vec<PeerId> = self.tellers.iter().filter(agrees).map(|(other, _)| *other).collect();
        let Some(ledger) = self.tellers.get_mut(&teller).filter(|_| !others.is_empty()) else { return };
        let Some(at) = ledger.waiting.iter().position(|record| record.id() == id) else { return };
        let record = ledger.waiting[at].clone();
        if self.peers.contains_key(&id) || !self.has_place_for(&record.facts().addrs[0]) || !self.make_room()
        {
            return;
        }
        let mut known = self.stranger(now, &id, Source::Told(teller));
        others.iter().for_each(|other| add_source(&mut known.sources, Source::Told(*other)));
        known.sign(record);
        self.insert(id, known);
        for other in others.iter().chain([&teller]) {
            if let Some(ledger) = self.tellers.get_mut(other) {
                ledger.waiting.retain(|record| record.id() != id);
            }
        }
    }

    /// One peer of each teller whose word is worth nothing yet.
    pub(super) fn samples(&mut self, now: Time) -> Vec<(PeerId, SignedRecord)> {
        let tellers: Vec<PeerId> =
            self.tellers.iter().filter(|(_, ledger)| ledger.may_be_tried(now)).map(|(id, _)| *id).collect();
        let mut samples = Vec::new();
        for teller in tellers {
            let Some(ledger) = self.tellers.get_mut(&teller) else { continue };
            ledger.waiting.retain(|record| {
                let known = self.peers.get_mut(&record.id());
                known.map(|known| add_source(&mut known.sources, Source::Told(teller))).is_none()
            });
            if let Some(record) = self.dice.pick(&ledger.waiting).cloned()
                && self.has_place_for(&record.facts().addrs[0])
            {
                samples.push((teller, record));
            }
        }
        samples
    }

    /// A sample is to be dialled: it is heard of from now on.
    pub(super) fn draw_sample(&mut self, now: Time, teller: PeerId, record: SignedRecord) -> bool {
        let id = record.id();
        if self.peers.contains_key(&id) || !self.make_room() {
            return false;
        }
        let Some(ledger) = self.tellers.get_mut(&teller) else { return false };
        ledger.waiting.retain(|waiting| waiting.id() != id);
        let mut known = self.stranger(now, &id, Source::Told(teller));
        (known.charged, known.sample) = (Some(teller), true);
        known.sign(record);
        self.insert(id, known);
        true
    }

    fn has_place_for(&self, home: &PeerAddr) -> bool {
        if home.reach() != Reach::World {
            return true;
        }
        let ip = home.addr.ip();
        let of = |map: &BTreeMap<Prefix, usize>, prefix| map.get(&prefix).copied().unwrap_or(0);
        let network = of(&self.networks, Prefix::network(ip));
        of(&self.subnets, Prefix::subnet(ip)) < SUBNET_MAX
            && (self.peers.len() < NETWORK_FREE || (network + 1) * 4 <= self.peers.len() + 1)
    }

    /// Whether one more may be heard of; a full house loses one that was tried in vain, or any.
    fn make_room(&mut self) -> bool {
        if self.heard < self.heard_max {
            return true;
        }
        let idle = || self.peers.iter().filter(|(_, known)| !known.proven && !known.busy());
        let in_vain = idle().find(|(_, known)| known.tries > 0).map(|(id, _)| *id);
        let pick = in_vain.or_else(|| {
            let ids: Vec<PeerId> = idle().filter(|(_, known)| !known.is_found()).map(|(id, _)| *id).collect();
            self.dice.pick(&ids).copied()
        });
        pick.is_some_and(|id| self.remove(&id))
    }

    pub(super) fn teller(&mut self, now: Time, teller: PeerId) -> Option<&mut Teller> {
        if !self.tellers.contains_key(&teller) && self.tellers.len() >= TELLERS_MAX {
            // One that answers for nobody and owes nothing.
            let idle = self.tellers.iter().find(|(_, ledger)| ledger.is_idle(now)).map(|(id, _)| *id);
            self.tellers.remove(&idle?);
        }
        Some(self.tellers.entry(teller).or_default())
    }
}
