//! What a tracker knows of how good peers are: receipts that uploaders report, witnesses that it draws, audits by who holds the
//! same, drawn likewise, and by auditors it trusts, stakes its operator's ledger knows of, and the superpeers and the earned weight that follow from them.
//!
//! The rules are [`pcdn_core::receipt`] and [`pcdn_core::superpeer`]; here is what only a tracker can add: who announced from
//! where, since when, and where a candidate can be dialled. Time is given, so all of it runs in virtual time.
//!
//! Announces and reports are not signed, so anybody may announce anybody's id from an address of its own. Therefore a peer's
//! address is where *witnesses* reached it: other addresses are tried when that one fails, and change nothing before.

mod audits;
mod book;
mod complaints;
mod holders;
pub mod http;
mod keep;
#[cfg(test)]
mod life_tests;
#[cfg(test)]
mod panel_tests;
mod probes;
mod seen;
pub(crate) mod shell;
#[cfg(test)]
mod tests;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pcdn_core::audit::Verdict;
use pcdn_core::dice::Dice;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::ledger::Entry;
use pcdn_core::peer::PeerRecord;
use pcdn_core::receipt::{Book, Earned, NetworkId, Receipt, Refused};
use pcdn_core::superpeer::{
    Evidence, Facts, Judgement, Need, Region, Rules, Sighting, Standing, Status, Superpeers,
};
use pcdn_core::unit::Time;

use super::wire::InfoHash;
use audits::Audits;
use complaints::Complaints;
pub use keep::Kept;
pub use probes::Probe;
use probes::Probes;
use seen::Seen;
pub use shell::StandingConfig;
pub use verdicts::RefusedVerdict;
use verdicts::Verdicts;

/// Peers remembered, 400 B each.
const PEERS_MAX: usize = 100_000;
/// A peer that did not announce for so long is forgotten, in seconds: an announce interval is minutes.
const FORGOTTEN_S: u64 = 3_600;
/// Stakes asked for at once: a ledger behind HTTP takes milliseconds each.
const STAKES_MAX: usize = 256;

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
    audits: Audits,
    verdicts: Verdicts,
    complaints: Complaints,
}

/// What standings go by.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Signs what is said of superpeers.
    pub key: Identity,
    /// What is demanded of them.
    pub rules: Rules,
    /// Whose verdicts count alone. Those of others count where they were drawn and agree.
    pub auditors: BTreeSet<PeerId>,
}

/// An announce or a report, as far as it matters here.
#[derive(Clone, Debug)]
pub struct Announced<'a> {
    /// Who, and where it can be dialled.
    pub record: &'a PeerRecord,
    /// Where it came from.
    pub from: SocketAddr,
    /// Of which swarms.
    pub swarms: &'a [InfoHash],
    /// Those that it has left.
    pub left: &'a [InfoHash],
    /// Whose network that is, by the operator's table.
    pub network: NetworkId,
    /// In which region.
    pub region: Region,
    /// Whether an application's token came with it.
    pub proven: bool,
    /// Whether it says that its uplink costs money: then it is left alone.
    pub metered: bool,
}

/// How a peer is judged, and by what.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Where it stands.
    pub standing: Standing,
    /// Its part of a superpeer's priority, 0 to 1.
    pub share: f64,
    /// What others showed of it.
    pub facts: Facts,
    /// What follows.
    pub judgement: Judgement,
}

impl Standings {
    /// Nothing is known. `now` counts from 1970.
    pub fn new(now: Time, setup: Setup) -> Self {
        Self::restored(now, setup, Kept::default())
    }

    /// The same with what was known before a restart.
    pub fn restored(now: Time, setup: Setup, kept: Kept) -> Self {
        let secret = blake3::derive_key("pcdn tracker holders v1", &setup.key.sign(b"pcdn-holders-1\0"));
        let inner = Inner {
            key: setup.key,
            peers: BTreeMap::new(),
            order: Vec::new(),
            book: kept.book,
            superpeers: Superpeers::restored(setup.rules, now, kept.candidates),
            probes: Probes::new(setup.rules.slot),
            audits: Audits::new(setup.rules.slot, secret),
            verdicts: Verdicts::of(setup.auditors, kept.verdicts),
            complaints: Complaints::default(),
        };
        Self { inner: Mutex::new(inner) }
    }

    /// What is to be kept over a restart.
    pub fn kept(&self) -> Kept {
        let inner = self.inner();
        let (candidates, book) = (inner.superpeers.candidates().clone(), inner.book.clone());
        Kept { candidates, book, verdicts: inner.verdicts.heard() }
    }

    /// Who signs.
    pub fn tracker(&self) -> PeerId {
        self.inner().key.peer_id()
    }

    /// A panic elsewhere leaves sums that are at worst short of one receipt.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A peer announced itself, or reported.
    pub fn seen(&self, now: Time, announced: &Announced<'_>) {
        self.inner().seen(now, announced);
    }

    /// Receipts that an uploader reports; one answer each.
    pub fn receipts(&self, now: Time, receipts: &[Receipt]) -> Vec<Result<(), Refused>> {
        let mut inner = self.inner();
        receipts.iter().map(|receipt| inner.receipt(now, receipt)).collect()
    }

    /// What auditors and drawn members of panels found; one answer each.
    pub fn verdicts(&self, now: Time, verdicts: &[Verdict]) -> Vec<Result<(), RefusedVerdict>> {
        let mut inner = self.inner();
        verdicts.iter().map(|verdict| inner.verdict(now, verdict)).collect()
    }

    /// Whom `witness` shall dial or audit, if it was drawn.
    pub fn probes(&self, now: Time, witness: &PeerId) -> Vec<Probe> {
        let inner = self.inner();
        let dials = inner.probes.of(now, witness).into_iter();
        dials.chain(inner.audits.of(now, witness)).collect()
    }

    /// What a witness saw; false if it was not drawn for it.
    pub fn sighting(&self, now: Time, sighting: Sighting) -> bool {
        self.inner().sighting(now, sighting)
    }

    /// Whose stake a ledger is to be asked for.
    pub fn stakes_wanted(&self, now: Time) -> Vec<PeerId> {
        self.inner().superpeers.stakes_wanted(now, STAKES_MAX)
    }

    /// What a ledger says that a peer has at stake.
    pub fn stake(&self, now: Time, peer: PeerId, amount: u64) {
        self.inner().superpeers.handle(now, &Evidence::stake(peer, amount));
    }

    /// Draws witnesses, closes rounds, reviews standings, forgets who is gone. To be called every few seconds.
    pub fn tick(&self, now: Time, dice: &mut Dice) {
        self.inner().tick(now, dice);
    }

    /// A peer's part of a superpeer's priority, 0 to 1: what handouts weigh it by.
    pub fn share(&self, now: Time, peer: &PeerId) -> f64 {
        self.inner().superpeers.share(now, peer)
    }

    /// The shares of all superpeers.
    pub fn shares(&self, now: Time) -> Vec<(PeerId, f64)> {
        self.inner().superpeers.all().map(|(peer, _, standing)| (peer, standing.share(now))).collect()
    }

    /// How a peer is judged; `None` if it never announced.
    pub fn report(&self, now: Time, peer: &PeerId) -> Option<Report> {
        let superpeers = &self.inner().superpeers;
        let (facts, judgement) = superpeers.judgement(now, peer)?;
        let standing = superpeers.standing(peer);
        Some(Report { standing, share: standing.share(now), facts, judgement })
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
        let id = announced.record.id;
        let from = announced.from.ip().to_canonical();
        if !self.peers.contains_key(&id) {
            if self.peers.len() >= PEERS_MAX {
                return;
            }
            self.order.push(id);
            let home = self.superpeers.address(&id).unwrap_or(from);
            self.peers.insert(id, Seen::new(home));
        }
        let Some(seen) = self.peers.get_mut(&id) else { return };
        seen.take(now, from, announced);
        self.superpeers.seen(now, id, seen.home(), seen.region());
        if from == seen.home() {
            if !announced.left.is_empty() {
                self.superpeers.left(&id, |swarm| announced.left.contains(&InfoHash::of(swarm)));
            }
            if let Some(witness) = seen.witness() {
                // Reports tell what has changed, so the rest is entered again now and then.
                self.audits.holders.enter(&witness, announced.swarms.iter().copied());
                if seen.is_entered_again(now) {
                    self.audits.holders.enter(&witness, seen.swarms());
                }
            }
            self.superpeers.opt_out(&id, announced.metered);
        }
    }

    fn sighting(&mut self, now: Time, sighting: Sighting) -> bool {
        let nonce = sighting.draw;
        let taken = self.probes.report(sighting);
        if taken && self.probes.is_over(now, &nonce) {
            self.close(now, &nonce);
        }
        taken
    }

    /// A round is over: where it reached a candidate is its address, and what it saw is evidence.
    fn close(&mut self, now: Time, nonce: &[u8; 16]) {
        let Some((probe, evidence)) = self.probes.close(now, nonce) else { return };
        let Some((reached, evidence)) = evidence else { return };
        let id = probe.about.id;
        if let Some(seen) = self.peers.get_mut(&id) {
            seen.tried(now, probe.at, reached);
            self.superpeers.seen(now, id, seen.home(), seen.region());
        }
        self.handle(now, &evidence);
    }

    fn handle(&mut self, now: Time, evidence: &Evidence) {
        if let Some(change) = self.superpeers.handle(now, evidence) {
            tracing::info!(peer = %change.peer.short(), to = ?change.to, "standing changed");
        }
    }

    fn tick(&mut self, now: Time, dice: &mut Dice) {
        self.peers.retain(|_, seen| seen.lives(now, FORGOTTEN_S));
        self.order.retain(|peer| self.peers.contains_key(peer));
        self.book.expire(book::minute(now));
        self.verdicts.expire(book::minute(now));
        self.complaints.expire(book::minute(now));
        self.probes.over(now).iter().for_each(|nonce| self.close(now, nonce));
        let peers = &self.peers;
        self.probes.draw(now, dice, &self.order, |peer| peers.get(peer));
        self.close_panels(now);
        self.draw_panels(now, dice);
        if now >= self.superpeers.next_review() {
            self.audits.holders.sweep(|peer| self.peers.contains_key(peer));
            let needs = self.needs();
            for change in self.superpeers.review(now, &needs) {
                tracing::info!(peer = %change.peer.short(), to = ?change.to, "standing changed");
            }
        }
    }

    /// How many peers each region has. What its swarms demand is not known here, so the quota is by peers alone.
    fn needs(&self) -> BTreeMap<Region, Need> {
        let mut needs: BTreeMap<Region, Need> = BTreeMap::new();
        self.peers.values().for_each(|seen| needs.entry(seen.region()).or_default().peers += 1);
        needs
    }

    fn status(&self, now: Time, peer: PeerId) -> Status {
        Status::sign(&self.key, peer, self.superpeers.share(now, &peer), now.0 / 1_000)
    }
}
