//! What a tracker knows of how good peers are: receipts that uploaders report, witnesses that it draws, and the superpeers and
//! the earned weight that follow from both.
//!
//! The rules are [`pcdn_core::receipt`] and [`pcdn_core::superpeer`]; here is what only a tracker can add: who announced from
//! where, since when, and where a candidate can be dialled. Time is given, so all of it runs in virtual time.

mod book;
pub mod http;
mod probes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pcdn_core::dice::Dice;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::ledger::Entry;
use pcdn_core::peer::PeerRecord;
use pcdn_core::receipt::{Book, Earned, NetworkId, Receipt, Refused, Subnet};
use pcdn_core::superpeer::{Need, Region, Rules, Sighting, Status, Superpeers, Witness};
use pcdn_core::unit::Time;

use super::wire;
pub use probes::Probe;
use probes::Probes;

/// Peers remembered, 300 B each.
const PEERS_MAX: usize = 100_000;
/// Swarms of one peer that are remembered for what it could consume there.
const SWARMS_MAX: usize = 64;
/// A peer that did not announce for so long is forgotten, in seconds: an announce interval is minutes.
const FORGOTTEN_S: u64 = 3_600;

/// Everything of it. All methods are short and may be called from several threads.
#[derive(Debug)]
pub struct Standings {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    key: Identity,
    peers: BTreeMap<PeerId, Seen>,
    /// The same peers, to draw from.
    order: Vec<PeerId>,
    book: Book,
    superpeers: Superpeers,
    probes: Probes,
}

/// What announces showed of a peer.
#[derive(Debug)]
struct Seen {
    record: PeerRecord,
    from: IpAddr,
    network: NetworkId,
    region: Region,
    at: Time,
    /// Since when it is in which swarm.
    swarms: BTreeMap<SwarmKey, Time>,
    proven: bool,
}

impl Seen {
    fn witness(&self) -> Witness {
        Witness { peer: self.record.id, subnet: Subnet::of(self.from), network: self.network }
    }
}

/// An announce, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Announced<'a> {
    /// Who, and where it can be dialled.
    pub record: &'a PeerRecord,
    /// Where the announce came from.
    pub from: SocketAddr,
    /// Of which swarm.
    pub swarm: SwarmKey,
    /// Whose network that is, by the operator's table.
    pub network: NetworkId,
    /// In which region.
    pub region: Region,
    /// Whether an application's token came with it.
    pub proven: bool,
}

impl Standings {
    /// Nothing is known. `now` counts from 1970; `key` signs what is said of superpeers.
    pub fn new(now: Time, key: Identity, rules: Rules) -> Self {
        let inner = Inner {
            key,
            peers: BTreeMap::new(),
            order: Vec::new(),
            book: Book::default(),
            superpeers: Superpeers::new(rules, now),
            probes: Probes::default(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// Who signs.
    pub fn tracker(&self) -> PeerId {
        self.inner().key.peer_id()
    }

    /// A panic elsewhere leaves sums that are at worst short of one receipt.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer announced itself.
    pub fn seen(&self, now: Time, announced: &Announced<'_>) {
        self.inner().seen(now, announced);
    }

    /// The same, of a native announce. Networks and regions are the operator's to know: here all are unknown.
    pub(crate) fn heard(&self, now: Time, from: SocketAddr, announce: &wire::Announce) {
        if announce.event == wire::Event::Stopped {
            return;
        }
        let ip = from.ip().to_canonical();
        let (id, ports, traits) = (announce.peer, announce.ports, announce.traits);
        let listed = wire::Listed { id, ip, ports, seed: announce.seed, traits };
        if let Some(record) = wire::records(&[listed]).first() {
            let (network, region) = (NetworkId::default(), Region::default());
            let swarm = announce.swarm;
            self.seen(now, &Announced { record, from, swarm, network, region, proven: false });
        }
    }

    /// Receipts that an uploader reports; one answer each.
    pub fn receipts(&self, now: Time, receipts: &[Receipt]) -> Vec<Result<(), Refused>> {
        let mut inner = self.inner();
        receipts.iter().map(|receipt| inner.receipt(now, receipt)).collect()
    }

    /// Whom `witness` shall dial, if it was drawn.
    pub fn probes(&self, now: Time, witness: &PeerId) -> Vec<Probe> {
        let inner = self.inner();
        inner.probes.of(now, witness, |about| inner.peers.get(about).map(|seen| seen.record.clone()))
    }

    /// What a witness saw; false if it was not drawn for it.
    pub fn sighting(&self, now: Time, sighting: Sighting) -> bool {
        let mut inner = self.inner();
        let Inner { probes, superpeers, .. } = &mut *inner;
        probes.report(now, sighting, superpeers)
    }

    /// Draws witnesses, closes rounds, reviews standings, forgets who is gone. To be called every few seconds.
    pub fn tick(&self, now: Time, dice: &mut Dice) {
        self.inner().tick(now, dice);
    }

    /// A peer's part of a superpeer's priority, 0 to 1: what handouts weigh it by.
    pub fn share(&self, now: Time, peer: &PeerId) -> f64 {
        self.inner().superpeers.share(now, peer)
    }

    /// What is signed for a superpeer; `None` for others.
    pub fn status(&self, now: Time, peer: &PeerId) -> Option<Status> {
        let inner = self.inner();
        inner.superpeers.standing(peer).is_super().then(|| inner.status(now, *peer))
    }

    /// The same of all superpeers.
    pub fn statuses(&self, now: Time) -> Vec<Status> {
        let inner = self.inner();
        inner.superpeers.all().map(|(peer, _, _)| inner.status(now, peer)).collect()
    }

    /// What a peer has earned this week.
    pub fn earned(&self, now: Time, peer: &PeerId) -> Earned {
        self.inner().book.earned_by(book::minute(now), peer)
    }

    /// What everyone has earned this week, for a ledger.
    pub fn entries(&self, now: Time) -> Vec<Entry> {
        self.inner().entries(now)
    }
}

impl Inner {
    fn seen(&mut self, now: Time, announced: &Announced<'_>) {
        let Announced { record, from, swarm, network, region, proven } = announced;
        if !self.peers.contains_key(&record.id) {
            if self.peers.len() >= PEERS_MAX {
                return;
            }
            self.order.push(record.id);
        }
        let from = from.ip().to_canonical();
        let seen = self.peers.entry(record.id).or_insert_with(|| Seen {
            record: (*record).clone(),
            from,
            network: *network,
            region: *region,
            at: now,
            swarms: BTreeMap::new(),
            proven: false,
        });
        seen.record = (*record).clone();
        (seen.from, seen.network, seen.region, seen.at) = (from, *network, *region, now);
        seen.proven |= proven;
        if seen.swarms.len() < SWARMS_MAX || seen.swarms.contains_key(swarm) {
            seen.swarms.entry(*swarm).or_insert(now);
        }
        self.superpeers.seen(now, record.id, from, *region);
    }

    fn tick(&mut self, now: Time, dice: &mut Dice) {
        let gone = |seen: &Seen| now.since(seen.at).as_secs() > FORGOTTEN_S;
        self.peers.retain(|_, seen| !gone(seen));
        self.order.retain(|peer| self.peers.contains_key(peer));
        self.book.expire(book::minute(now));
        let peers = &self.peers;
        self.probes.tick(
            now,
            dice,
            &self.order,
            |peer| peers.get(peer).map(Seen::witness),
            &mut self.superpeers,
        );
        if now >= self.superpeers.next_review() {
            let needs = self.needs();
            for change in self.superpeers.review(now, &needs) {
                tracing::info!(peer = %change.peer.short(), to = ?change.to, "standing changed");
            }
        }
    }

    /// How many peers each region has. What its swarms demand is not known here, so the quota is by peers alone.
    fn needs(&self) -> BTreeMap<Region, Need> {
        let mut needs: BTreeMap<Region, Need> = BTreeMap::new();
        self.peers.values().for_each(|seen| needs.entry(seen.region).or_default().peers += 1);
        needs
    }

    fn status(&self, now: Time, peer: PeerId) -> Status {
        Status::sign(&self.key, peer, self.superpeers.share(now, &peer), now.0 / 1_000)
    }
}
