//! Superpeers: peers so good and so steady that others are sent to them first.
//!
//! A peer becomes one by what *others* can show of it: witnesses that the tracker drew and that dialled it, receipts that
//! downloaders signed, audits it passed (by who holds the same, drawn likewise, or by auditors that the operator trusts), stake a
//! ledger knows of. Nothing it says of itself can help it; there is no
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
mod panel;
mod record;
mod sighting;
mod status;
mod track;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::id::{PeerId, SwarmKey};
use serde::{Deserialize, Serialize};

use crate::unit::{Rate, Time};

pub use draw::{Draw, Witness};
pub use evidence::Evidence;
pub use judge::{Facts, Gate, Judgement, judge};
pub use panel::{HOLDERS_MIN, Panel};
pub use sighting::Sighting;
pub use status::Status;
pub use track::Standing;

/// Candidates remembered: 2 KB each, 100 MB in all. Beyond, new ones wait until old ones are forgotten.
const CANDIDATES_MAX: usize = 50_000;
/// Superpeers of a region at least, however few peers it has: one alone would be a single point of failure.
const REGION_MIN: u64 = 2;
/// Of a region's peers at most, in per cent: priority given to everybody is given to nobody.
const REGION_PERCENT: u64 = 5;
/// Superpeers are enough once their spare upload is this share of what the region's swarms demand, in per cent.
const SPARE_PERCENT: u64 = 30;

/// A region as the operator's table numbers it; 0 if the table does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

/// What an operator demands. The defaults are those of the notes on roles, section 5; the reasons stand beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Stake a superpeer must have, in the ledger's unit; `None` without a ledger, which is the default.
    pub stake: Option<u64>,
    /// Standings are reviewed so often. Default 10 min: an hour of good windows promotes, half an hour of bad ones demotes.
    pub window: Duration,
    /// A candidate is probed so often, and each such slot counts once. Default 5 min.
    pub slot: Duration,
    /// Its address must have held for so long. Default a day: peers with one session had half the residual life of those with
    /// several, and dynamic addresses explain it (Bremler-Barr and Goldschmidt on Skype's supernodes).
    pub address: Duration,
    /// What it must give; ten times as much is a full mark. Default 20 Mbit/s, ten viewers of 2 Mbit/s: below, it is no help to
    /// a swarm.
    pub upload: Rate,
    /// Bytes it must have proved to hold; eight times as much is a full mark. Default 8 GiB, some ten films.
    pub proven: u64,
    /// In so many audits at least, 98 % of them passed. Default 50: with fewer, 98 % means little.
    pub audits: u32,
    /// A new one gets no full share for so long. Default a day: what it was good for so far was less work.
    pub probation: Duration,
    /// Whoever fell waits so long, twice as long each time, fourteen times as long at most. Default a day.
    pub cool_down: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

impl Default for Rules {
    fn default() -> Self {
        Self {
            stake: None,
            window: Duration::from_secs(600),
            slot: Duration::from_secs(300),
            address: DAY,
            upload: Rate::from_mbit(20),
            proven: 8 << 30,
            audits: 50,
            probation: DAY,
            cool_down: DAY,
        }
    }
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
    candidates: Candidates,
    next_review: Time,
}

/// Everybody that is known, to be kept over restarts. What is in it is nobody's business but [`Superpeers`]'.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Candidates(BTreeMap<PeerId, Candidate>);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Candidate {
    region: Region,
    record: record::Record,
    track: track::Track,
}

impl Superpeers {
    /// Nobody is known yet; the first review is one window after `now`.
    pub fn new(rules: Rules, now: Time) -> Self {
        Self::restored(rules, now, Candidates::default())
    }

    /// The same with who was known before.
    pub fn restored(rules: Rules, now: Time, candidates: Candidates) -> Self {
        Self { rules, candidates, next_review: now + rules.window }
    }

    /// What is to be kept over a restart.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// What it goes by.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// A peer announced itself: from where, as the tracker saw it, and in which region that is. Only who announces is a
    /// candidate.
    pub fn seen(&mut self, now: Time, peer: PeerId, from: IpAddr, region: Region) {
        if self.candidates.0.len() >= CANDIDATES_MAX && !self.candidates.0.contains_key(&peer) {
            return;
        }
        let candidate = self.candidates.0.entry(peer).or_default();
        candidate.region = region;
        candidate.record.seen(now, from);
    }

    /// The address that a peer is known at, and its age counted of.
    pub fn address(&self, peer: &PeerId) -> Option<IpAddr> {
        self.candidates.0.get(peer)?.record.address()
    }

    /// Whose stake matters now, at most `most`: superpeers, and whom nothing but the stake keeps from being one. Nobody if none
    /// is demanded.
    pub fn stakes_wanted(&self, now: Time, most: usize) -> Vec<PeerId> {
        if self.rules.stake.is_none() {
            return Vec::new();
        }
        let wanted = |candidate: &Candidate| {
            candidate.track.standing().is_super()
                || judge(&candidate.record.facts(now), &self.rules)
                    .shut
                    .iter()
                    .all(|gate| *gate == Gate::Stake)
        };
        self.candidates.0.iter().filter(|(_, c)| wanted(c)).map(|(peer, _)| *peer).take(most).collect()
    }

    /// A peer does not want to be one (it is on a metered line, or its owner said so), or wants to again.
    pub fn opt_out(&mut self, peer: &PeerId, out: bool) {
        if let Some(candidate) = self.candidates.0.get_mut(peer) {
            candidate.record.opt_out(out);
        }
    }

    /// A peer has left swarms: it is not proven to hold anything of them any more, and nothing is held against it.
    pub fn left(&mut self, peer: &PeerId, of: impl Fn(&SwarmKey) -> bool) {
        if let Some(candidate) = self.candidates.0.get_mut(peer) {
            candidate.record.left(of);
        }
    }

    /// Whether it is worth asking what a peer holds: it is a superpeer, or gives enough, is reached and wants to be one.
    pub fn is_worth_auditing(&self, now: Time, peer: &PeerId) -> bool {
        let decided = [Gate::Reached, Gate::Willing, Gate::Upload, Gate::Honest];
        let open = |candidate: &Candidate| {
            let judgement = judge(&candidate.record.facts(now), &self.rules);
            !judgement.shut.iter().any(|gate| decided.contains(gate))
        };
        self.candidates.0.get(peer).is_some_and(|c| c.track.standing().is_super() || open(c))
    }

    /// Others showed something of a peer; what demotes at once is in the answer.
    pub fn handle(&mut self, now: Time, evidence: &Evidence) -> Option<Change> {
        let peer = evidence.about();
        let candidate = self.candidates.0.get_mut(&peer)?;
        let ruin = candidate.record.take(now, evidence, self.rules.slot);
        let to = ruin.then(|| candidate.track.fall(now, &self.rules)).flatten()?;
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
        self.next_review = now + self.rules.window;
        self.candidates.0.retain(|_, candidate| !candidate.record.is_stale(now));
        let mut changes = Vec::new();
        let mut ready: Vec<(Region, f64, PeerId)> = Vec::new();
        let mut held: BTreeMap<Region, u64> = BTreeMap::new();
        for (peer, candidate) in &mut self.candidates.0 {
            let judgement = judge(&candidate.record.facts(now), &self.rules);
            if let Some(to) = candidate.track.window(now, &judgement, &self.rules) {
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
            let Some(candidate) = self.candidates.0.get_mut(&peer).filter(|_| *count < quota) else {
                continue;
            };
            *count += 1;
            changes.push(Change { peer, to: candidate.track.promote(now, &self.rules) });
        }
        changes
    }

    /// Where a peer stands.
    pub fn standing(&self, peer: &PeerId) -> Standing {
        self.candidates.0.get(peer).map_or(Standing::Ordinary, |candidate| candidate.track.standing())
    }

    /// How much of a superpeer's priority a peer has now: 0 for ordinary ones, a quarter on probation, 1 for full ones.
    pub fn share(&self, now: Time, peer: &PeerId) -> f64 {
        self.standing(peer).share(now)
    }

    /// What is known of a peer and how it is judged by that; `None` if it never announced.
    pub fn judgement(&self, now: Time, peer: &PeerId) -> Option<(Facts, Judgement)> {
        let facts = self.candidates.0.get(peer)?.record.facts(now);
        Some((facts, judge(&facts, &self.rules)))
    }

    /// Everyone that is a superpeer now.
    pub fn all(&self) -> impl Iterator<Item = (PeerId, Region, Standing)> + '_ {
        let all = self.candidates.0.iter().map(|(peer, c)| (*peer, c.region, c.track.standing()));
        all.filter(|(_, _, standing)| standing.is_super())
    }

    /// Candidates known.
    pub fn len(&self) -> usize {
        self.candidates.0.len()
    }

    /// Whether nobody is known.
    pub fn is_empty(&self) -> bool {
        self.candidates.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
