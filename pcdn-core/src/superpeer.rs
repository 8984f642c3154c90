//! Superpeers: peers so good and so steady that others are sent to them first.
//!
//! A peer becomes one by what *others* can show of it: witnesses that the tracker drew and that dialled it, receipts that
//! downloaders signed, audits it passed, stake a ledger knows of. Nothing it says of itself can help it; there is no
//! [`Evidence`] for that. The one thing it may say is that it does not want to ([`Superpeers::opt_out`]).
//!
//! ```text
//!  Draw (5 witnesses) ─► Evidence ┐
//!  Book ─ Counted ─────► Evidence ├─► Record ─► Facts ─► judge: gates, score ─► Track: windows, hysteresis
//!  Audit ─ Audited ────► Evidence ┘                                               │
//!                                            quotas of a region ─► review ◄───────┘ ─► Change
//! ```
//!
//! [`Superpeers`] is pure: give it [`Evidence`] as it comes, and let it [`review`](Superpeers::review) whenever
//! [`next_review`](Superpeers::next_review) is due. `now` may count from anywhere; a shell that keeps the state over restarts
//! lets it count from 1970.

mod draw;
mod evidence;
mod judge;
mod record;
mod sighting;
mod status;
mod track;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::id::PeerId;
use crate::unit::Time;

pub use draw::{Draw, Witness};
pub use evidence::Evidence;
pub use judge::{Facts, Gate, Judgement, judge};
pub use sighting::Sighting;
pub use status::Status;
pub use track::Standing;

/// Standings are reviewed so often: an hour of good windows promotes, half an hour of bad ones demotes.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Candidates remembered: 2 KB each, 100 MB in all. Beyond, new ones wait until old ones are forgotten.
const CANDIDATES_MAX: usize = 50_000;
/// Superpeers of a region at least, however few peers it has: one alone would be a single point of failure.
const REGION_MIN: u64 = 2;
/// Of a region's peers at most, in per cent: priority given to everybody is given to nobody.
const REGION_PERCENT: u64 = 5;
/// Superpeers are enough once their spare upload is this share of what the region's swarms demand, in per cent.
const SPARE_PERCENT: u64 = 30;

/// A region as the operator's table numbers it; 0 if the table does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(pub u16);

/// How a region is doing, as the tracker sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Peers announced there.
    pub peers: u64,
    /// Bytes a second its swarms ask of peers.
    pub demand: u64,
    /// Bytes a second its superpeers could give beyond what they give.
    pub spare: u64,
}

impl Need {
    /// How many superpeers the region may have when it has `now` of them.
    fn quota(&self, now: u64) -> u64 {
        let most = REGION_MIN.max(self.peers * REGION_PERCENT / 100);
        let enough = self.spare.saturating_mul(100) >= self.demand.saturating_mul(SPARE_PERCENT);
        if enough && self.demand > 0 { most.min(now.max(REGION_MIN)) } else { most }
    }
}

/// What an operator demands beyond the constants here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Stake a superpeer must have, in the ledger's unit; `None` without a ledger.
    pub stake: Option<u64>,
}

/// A standing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Whose.
    pub peer: PeerId,
    /// To what.
    pub to: Standing,
}

/// All candidates and their standings. See the [module](self) for how it is driven.
#[derive(Debug)]
pub struct Superpeers {
    rules: Rules,
    candidates: BTreeMap<PeerId, Candidate>,
    next_review: Time,
}

#[derive(Debug, Default)]
struct Candidate {
    region: Region,
    record: record::Record,
    track: track::Track,
}

impl Superpeers {
    /// Nobody is known yet; the first review is one window after `now`.
    pub fn new(rules: Rules, now: Time) -> Self {
        Self { rules, candidates: BTreeMap::new(), next_review: now + WINDOW }
    }

    /// A peer announced itself: from where, as the tracker saw it, and in which region that is. Only who announces is a
    /// candidate.
    pub fn seen(&mut self, now: Time, peer: PeerId, from: IpAddr, region: Region) {
        if self.candidates.len() >= CANDIDATES_MAX && !self.candidates.contains_key(&peer) {
            return;
        }
        let candidate = self.candidates.entry(peer).or_default();
        candidate.region = region;
        candidate.record.seen(now, from);
    }

    /// A peer does not want to be one (it is on a metered line, or its owner said so), or wants to again.
    pub fn opt_out(&mut self, peer: &PeerId, out: bool) {
        if let Some(candidate) = self.candidates.get_mut(peer) {
            candidate.record.opt_out(out);
        }
    }

    /// Others showed something of a peer; what demotes at once is in the answer.
    pub fn handle(&mut self, now: Time, evidence: &Evidence) -> Option<Change> {
        let peer = evidence.about();
        let candidate = self.candidates.get_mut(&peer)?;
        let ruin = candidate.record.take(now, evidence);
        let to = ruin.then(|| candidate.track.fall(now)).flatten()?;
        Some(Change { peer, to })
    }

    /// When to [`review`](Self::review) next.
    pub fn next_review(&self) -> Time {
        self.next_review
    }

    /// Ends a window: judges everyone and fills the regions' quotas, best first. Cost: about 2 µs a candidate.
    pub fn review(&mut self, now: Time, needs: &BTreeMap<Region, Need>) -> Vec<Change> {
        if now < self.next_review {
            return Vec::new();
        }
        self.next_review = now + WINDOW;
        self.candidates.retain(|_, candidate| !candidate.record.is_stale(now));
        let mut changes = Vec::new();
        let mut ready: Vec<(Region, f64, PeerId)> = Vec::new();
        let mut held: BTreeMap<Region, u64> = BTreeMap::new();
        for (peer, candidate) in &mut self.candidates {
            let judgement = judge(&candidate.record.facts(now), &self.rules);
            if let Some(to) = candidate.track.window(now, &judgement) {
                changes.push(Change { peer: *peer, to });
            }
            if candidate.track.standing().is_super() {
                *held.entry(candidate.region).or_default() += 1;
            } else if candidate.track.is_ready(now) {
                ready.push((candidate.region, judgement.score, *peer));
            }
        }
        ready.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.2.cmp(&b.2)));
        for (region, _, peer) in ready {
            let count = held.entry(region).or_default();
            let quota = needs.get(&region).copied().unwrap_or_default().quota(*count);
            let Some(candidate) = self.candidates.get_mut(&peer).filter(|_| *count < quota) else { continue };
            *count += 1;
            changes.push(Change { peer, to: candidate.track.promote(now) });
        }
        changes
    }

    /// Where a peer stands.
    pub fn standing(&self, peer: &PeerId) -> Standing {
        self.candidates.get(peer).map_or(Standing::Ordinary, |candidate| candidate.track.standing())
    }

    /// How much of a superpeer's priority a peer has now: 0 for ordinary ones, a quarter on probation, 1 for full ones.
    pub fn share(&self, now: Time, peer: &PeerId) -> f64 {
        self.standing(peer).share(now)
    }

    /// What is known of a peer and how it is judged by that; `None` if it never announced.
    pub fn judgement(&self, now: Time, peer: &PeerId) -> Option<(Facts, Judgement)> {
        let facts = self.candidates.get(peer)?.record.facts(now);
        Some((facts, judge(&facts, &self.rules)))
    }

    /// Everyone that is a superpeer now.
    pub fn all(&self) -> impl Iterator<Item = (PeerId, Region, Standing)> + '_ {
        let all = self.candidates.iter().map(|(peer, c)| (*peer, c.region, c.track.standing()));
        all.filter(|(_, _, standing)| standing.is_super())
    }

    /// Candidates known.
    pub fn len(&self) -> usize {
        self.candidates.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }
}

#[cfg(test)]
mod tests;
