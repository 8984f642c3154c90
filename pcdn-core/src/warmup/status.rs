//! How a job goes, for people and scripts.

use std::time::Duration;

use super::JobId;
use super::job::{Content, Job};
use super::lease::{Lease, LeaseId, Stage};
use crate::id::PeerId;
use crate::resource::Url;
use crate::superpeer::Region;
use crate::unit::Time;

/// A job, looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// Which.
    pub job: JobId,
    /// What is to be held.
    pub urls: Vec<Url>,
    /// The highest wave any of its contents is in, from 0.
    pub wave: u32,
    /// By region; one without a region if none was ordered.
    pub regions: Vec<RegionStatus>,
    /// Who holds what.
    pub holders: Vec<Holder>,
    /// Bytes read from the CDN.
    pub from_cdn: u64,
    /// Bytes given by peers.
    pub from_peers: u64,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Whether it is over: cancelled, or held to its end.
    pub over: bool,
    /// When all copies are there at the present rate; `None` before the first byte.
    pub eta: Option<Duration>,
}

/// Copies of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionStatus {
    /// Which.
    pub region: Option<Region>,
    /// Copies wanted.
    pub planned: u32,
    /// Copies whose peers say they hold everything, proven ones included.
    pub placed: u32,
    /// Copies that passed their last audit.
    pub proven: u32,
}

/// Who holds what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// By which lease.
    pub lease: LeaseId,
    /// Who.
    pub peer: PeerId,
    /// What.
    pub content: Content,
    /// How far.
    pub stage: Stage,
    /// Bytes held.
    pub held: u64,
}

pub(super) fn of(now: Time, id: JobId, job: &Job) -> Status {
    let leases = || job.leases.values();
    let regions = {
        let mut regions: Vec<RegionStatus> = Vec::new();
        for (index, share) in job.shares.iter().enumerate() {
            let of_share = || leases().filter(move |lease| lease.share == index);
            let count = |least: Stage| of_share().filter(|lease| lease.stage >= least).count() as u32;
            let (placed, proven) = (count(Stage::Placed), count(Stage::Proven));
            match regions.iter_mut().find(|status| status.region == share.region) {
                Some(status) => {
                    status.planned += share.target;
                    status.placed += placed;
                    status.proven += proven;
                }
                None => {
                    regions.push(RegionStatus {
                        region: share.region,
                        planned: share.target,
                        placed,
                        proven,
                    });
                }
            }
        }
        regions
    };
    let holder = |(id, lease): (&LeaseId, &Lease)| Holder {
        lease: *id,
        peer: lease.peer,
        content: job.shares[lease.share].content.clone(),
        stage: lease.stage,
        held: lease.held,
    };
    Status {
        job: id,
        urls: {
            let mut urls: Vec<Url> = job.order.contents.iter().map(|content| content.url.clone()).collect();
            // Renditions of one playlist may share its URL.
            urls.dedup();
            urls
        },
        wave: job.shares.iter().map(|share| share.wave).max().unwrap_or_default(),
        regions,
        holders: job.leases.iter().filter(|(_, lease)| lease.is_alive()).map(holder).collect(),
        from_cdn: leases().map(|lease| lease.from_cdn).sum(),
        from_peers: leases().map(|lease| lease.from_peers).sum(),
        cancelled: job.cancelled.is_some(),
        over: job.is_over(now),
        eta: eta(now, job),
    }
}

fn eta(now: Time, job: &Job) -> Option<Duration> {
    let wanted: u64 = job.shares.iter().map(|share| u64::from(share.target) * share.content.len).sum();
    let held: u64 = job.leases.values().filter(|lease| lease.is_alive()).map(|lease| lease.held).sum();
    let took = now.since(job.begun).as_secs_f64();
    let left = wanted.saturating_sub(held) as f64;
    (held > 0).then(|| Duration::from_secs_f64((took * left / held as f64).min(1e9)))
}
