//! One content in one region: how many copies, in which wave.

use std::collections::{BTreeMap, BTreeSet};

use super::choose::{Taken, choose};
use super::lease::{Lease, LeaseId, Stage};
use super::{CHOOSE_EVERY, Content, Offer, Offers, Sample, wave};
use crate::id::PeerId;
use crate::superpeer::Region;
use crate::unit::Time;

/// Copies are made anew once fewer than this part of the target is left, in per cent; above, what is left does.
const REPAIR_PERCENT: usize = 80;

/// Who shall hold next, when that was thought over, and how many offered then.
#[derive(Clone, Debug)]
struct Choice {
    at: Time,
    offers: usize,
    peers: BTreeSet<PeerId>,
}

#[derive(Clone, Debug)]
pub(super) struct Share {
    pub(super) content: Content,
    /// Only peers from here; `None` takes all.
    pub(super) region: Option<Region>,
    pub(super) target: u32,
    pub(super) wave: u32,
    size: u32,
    in_wave: Vec<LeaseId>,
    full: bool,
    /// By what copies are audited, and since when.
    pub(super) sample: Option<(Sample, Time)>,
    chosen: Option<Choice>,
}

impl Share {
    pub(super) fn new(content: Content, region: Option<Region>, target: u32) -> Self {
        Self {
            content,
            region,
            target,
            wave: 0,
            size: wave::first(target),
            in_wave: Vec::new(),
            full: false,
            sample: None,
            chosen: None,
        }
    }

    /// Copies that may be begun now.
    pub(super) fn open(&self, alive: usize) -> usize {
        let missing = (self.target as usize).saturating_sub(alive);
        (self.size as usize).saturating_sub(self.in_wave.len()).min(missing)
    }

    /// Lets the next wave begin, and notes whether copies are missing again.
    pub(super) fn advance(&mut self, leases: &BTreeMap<LeaseId, Lease>, index: usize) {
        let alive = leases.values().filter(|lease| lease.share == index && lease.is_alive()).count();
        // What is lost frees its place in the wave.
        self.in_wave.retain(|id| leases.get(id).is_some_and(Lease::is_alive));
        let target = self.target as usize;
        if alive >= target {
            self.full = true;
        } else if self.full && alive * 100 < target * REPAIR_PERCENT {
            self.full = false;
        }
        if self.full || self.in_wave.len() < self.size as usize {
            return;
        }
        let held: Vec<u64> = self.in_wave.iter().filter_map(|id| Some(leases.get(id)?.held)).collect();
        if wave::is_ready(&held, self.content.len) {
            self.wave += 1;
            self.size = wave::next(self.size, (target - alive) as u32);
            self.in_wave.clear();
            self.chosen = None;
        }
    }

    /// Whether `peer` is among those that shall hold a copy next.
    pub(super) fn wants(&mut self, now: Time, peer: &PeerId, offers: &Offers<'_>, taken: &Taken) -> bool {
        let open = if self.full { 0 } else { self.open(taken.places.len()) };
        if open == 0 || taken.peers.contains(peer) {
            return false;
        }
        let count = offers.all.len();
        let holds = |choice: &Choice| {
            let used_up = choice.peers.is_empty() && choice.offers != count;
            now.since(choice.at) < CHOOSE_EVERY && !used_up
        };
        if !self.chosen.as_ref().is_some_and(holds) {
            let from_here = |offer: &&Offer| self.region.is_none_or(|region| region == offer.region);
            let here: Vec<Offer> = offers.fresh(now).filter(from_here).copied().collect();
            let peers = choose(&here, open, self.target as usize, self.content.len, taken);
            self.chosen = Some(Choice { at: now, offers: count, peers });
        }
        self.chosen.as_mut().is_some_and(|choice| choice.peers.remove(peer))
    }

    pub(super) fn granted(&mut self, id: LeaseId) {
        self.in_wave.push(id);
    }

    /// Whether a sample is missing for one of its copies.
    pub(super) fn wants_sample(&self, now: Time, leases: &BTreeMap<LeaseId, Lease>, index: usize) -> bool {
        let mut due = leases.values().filter(|lease| lease.share == index && lease.is_due(now));
        let taken = self.sample.as_ref().map(|(_, taken)| *taken);
        due.any(|lease| {
            taken.is_none() || lease.stage == Stage::Proven && taken < Some(now - super::AUDIT_AGAIN / 2)
        })
    }
}
