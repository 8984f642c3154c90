//! A job: what a publisher ordered, and how it is carried out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::choose::Taken;
use super::lease::{Lease, LeaseId, Stage};
use super::share::Share;
use super::size::{Demand, replicas};
use super::{Grants, Offer, Offers, Task};
use crate::resource::Url;
use crate::superpeer::Region;
use crate::unit::{Rate, Time};

/// Contents of one job.
const CONTENTS_MAX: usize = 1_024;
/// Copies of one content in one region.
const COPIES_MAX: u32 = 10_000;
/// Later waves may read the CDN for what no peer has (the last pieces of a lost holder), in per cent of the content.
const LATER_PERCENT: u64 = 5;
/// What is kept of the CDN budget for later waves, in per cent.
const LATER_BUDGET_PERCENT: u64 = 5;
/// The longest a lease may reach beyond the release: a day.
const HOLD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// What to hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// Where it is.
    pub url: Url,
    /// Which rendition of the playlist at that URL, all its segments one after another; `None` is the resource itself.
    pub rendition: Option<u32>,
    /// How long it is.
    pub len: u64,
}

/// How many copies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many in each region.
    Copies(u32),
    /// So many per cent of the peers that offer, in each region.
    Percent(f64),
    /// As many as these viewers need, in each region.
    Viewers(Demand),
}

/// What it may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes from the CDN, all peers together.
    pub cdn_bytes: u64,
    /// Bytes a second one peer may take in for it.
    pub peer_rate: Rate,
}

/// What a publisher wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Contents.
    pub contents: Vec<Content>,
    /// Where; none is anywhere.
    pub regions: Vec<Region>,
    /// How many copies.
    pub target: Target,
    /// When they must be there: the release.
    pub deadline: Time,
    /// How long they are held beyond that.
    pub hold: Duration,
    /// What it may cost.
    pub budget: Budget,
    /// Bytes that viewers are expected to take, for the order among jobs of one deadline.
    pub forecast: u64,
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedOrder {
    /// Nothing is to be held.
    #[error("it names no content")]
    Empty,
    /// Too much is to be held.
    #[error("more than {CONTENTS_MAX} contents: make several jobs")]
    TooManyContents,
    /// No copy, or too many.
    #[error("copies must be 1 to {COPIES_MAX}")]
    Copies,
    /// The release is over.
    #[error("the deadline is over")]
    Late,
    /// Held for too long.
    #[error("peers hold a content for a day after the release at most")]
    Hold,
    /// There are too many jobs.
    #[error("too many jobs: cancel one, or wait until one is over")]
    TooManyJobs,
}

impl Order {
    pub(super) fn check(&self, now: Time) -> Result<(), RefusedOrder> {
        let copies = match self.target {
            Target::Copies(copies) => (1..=COPIES_MAX).contains(&copies),
            Target::Percent(percent) => percent > 0.0 && percent <= 100.0,
            Target::Viewers(demand) => demand.arrivals > 0,
        };
        match () {
            () if self.contents.is_empty() => Err(RefusedOrder::Empty),
            () if self.contents.len() > CONTENTS_MAX => Err(RefusedOrder::TooManyContents),
            () if !copies => Err(RefusedOrder::Copies),
            () if self.deadline <= now => Err(RefusedOrder::Late),
            () if self.hold > HOLD_MAX => Err(RefusedOrder::Hold),
            () => Ok(()),
        }
    }

    /// Forecast bytes for each byte that must be placed.
    pub(super) fn value(&self) -> f64 {
        let len: u64 = self.contents.iter().map(|content| content.len).sum();
        self.forecast as f64 / (len as f64).max(1.0)
    }
}

/// See [`super::Planner`].
#[derive(Debug)]
pub(super) struct Job {
    pub(super) order: Order,
    pub(super) begun: Time,
    pub(super) cancelled: Option<Time>,
    pub(super) shares: Vec<Share>,
    pub(super) leases: BTreeMap<LeaseId, Lease>,
    /// Bytes of the CDN budget not yet promised to anybody.
    cdn_left: u64,
}

impl Job {
    pub(super) fn new(now: Time, order: Order, offers: &Offers<'_>) -> Self {
        let regions: Vec<Option<Region>> = match order.regions.is_empty() {
            true => vec![None],
            false => order.regions.iter().copied().map(Some).collect(),
        };
        let share = |(content, region): (&_, Option<Region>)| {
            Share::new(Clone::clone(content), region, copies(now, &order.target, region, offers))
        };
        let pairs = order.contents.iter().flat_map(|content| regions.iter().map(move |r| (content, *r)));
        let shares = pairs.map(share).collect();
        let cdn_left = order.budget.cdn_bytes;
        Self { order, begun: now, cancelled: None, shares, leases: BTreeMap::new(), cdn_left }
    }

    /// When peers may drop what they hold for it.
    pub(super) fn ends(&self) -> Time {
        self.cancelled.unwrap_or(self.order.deadline + self.order.hold)
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        now >= self.ends()
    }

    pub(super) fn cancel(&mut self, now: Time) {
        self.cancelled.get_or_insert(now);
    }

    /// Gives a peer what it is chosen for.
    pub(super) fn grant(&mut self, now: Time, offer: &Offer, offers: &Offers<'_>, grants: &mut Grants) {
        let (until, rate) = (self.ends(), self.order.budget.peer_rate);
        for index in 0..self.shares.len() {
            let len = self.shares[index].content.len;
            if grants.tasks.len() >= grants.most || grants.room < len {
                continue;
            }
            let taken = self.taken(index);
            let share = &mut self.shares[index];
            if !share.wants(now, &offer.peer, offers, &taken) {
                continue;
            }
            let (content, wave, lease) = (share.content.clone(), share.wave, LeaseId(grants.next));
            share.granted(lease);
            grants.next += 1;
            grants.room -= len;
            let cdn_bytes = self.allow(index, wave);
            self.leases.insert(lease, Lease::new(now, offer, index, cdn_bytes, until));
            grants.tasks.push(Task { lease, content, hold: until.since(now), cdn_bytes, rate });
        }
    }

    /// Who holds this content for the job or failed to, and where this share's copies are.
    fn taken(&self, index: usize) -> Taken {
        let content = &self.shares[index].content;
        let same = self.leases.values().filter(|lease| self.shares[lease.share].content == *content);
        let alive = self.leases.values().filter(|lease| lease.share == index && lease.is_alive());
        Taken {
            peers: same.map(|lease| lease.peer).collect(),
            places: alive.map(|lease| lease.place).collect(),
        }
    }

    /// What one copy may read from the CDN: of the first wave an equal part of the budget, later a little.
    fn allow(&mut self, index: usize, wave: u32) -> u64 {
        let len = self.shares[index].content.len;
        let bytes = if wave == 0 {
            let firsts: u64 =
                self.shares.iter().map(|share| u64::from(super::wave::first(share.target))).sum();
            let budget = self.order.budget.cdn_bytes;
            (budget - budget * LATER_BUDGET_PERCENT / 100) / firsts.max(1)
        } else {
            len * LATER_PERCENT / 100
        };
        let bytes = bytes.min(len).min(self.cdn_left);
        self.cdn_left -= bytes;
        bytes
    }

    pub(super) fn tick(&mut self, now: Time, silent: Duration) {
        for lease in self.leases.values_mut().filter(|lease| lease.is_alive()) {
            if lease.is_silent(now, silent) {
                lease.stage = Stage::Lost;
            }
            if lease.stage == Stage::Lost {
                self.cdn_left += lease.cdn_bytes.saturating_sub(lease.from_cdn);
                lease.cdn_bytes = lease.cdn_bytes.min(lease.from_cdn);
            }
        }
        for (index, share) in self.shares.iter_mut().enumerate() {
            share.advance(&self.leases, index);
        }
    }

    pub(super) fn wants_samples(&self, now: Time) -> impl Iterator<Item = &Content> {
        let wanting = self
            .shares
            .iter()
            .enumerate()
            .filter(move |(index, share)| share.wants_sample(now, &self.leases, *index));
        wanting.map(|(_, share)| &share.content)
    }
}

fn copies(now: Time, target: &Target, region: Option<Region>, offers: &Offers<'_>) -> u32 {
    let here = || {
        offers.fresh(now).filter(|offer| region.is_none_or(|region| region == offer.region) && !offer.busy)
    };
    let count = here().count();
    let copies = match target {
        Target::Copies(copies) => *copies,
        Target::Percent(percent) => (count as f64 * percent / 100.0).ceil() as u32,
        Target::Viewers(demand) => {
            let mean = |of: fn(&Offer) -> f64| here().map(of).sum::<f64>() / (count as f64).max(1.0);
            let spare = Rate(mean(|offer| offer.spare.0 as f64) as u64);
            replicas(demand, spare, mean(|offer| offer.availability))
        }
    };
    copies.clamp(1, COPIES_MAX)
}
