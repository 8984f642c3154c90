//! Warming up: a content is put on some peers before it is released, so that the first viewer finds it among peers.
//!
//! [`Planner`] decides; shells carry bytes. Peers *ask* for work ([`Planner::offer`]) and tell how it goes
//! ([`Planner::progress`]), so it works behind every NAT. What it hands out are leases: hold this content, until then, in the
//! background. Copies spread in waves that double: the first few peers read the CDN within a budget, all later ones take from
//! those before them.
//!
//! ```text
//!  Order ─► shares (content × region) ─► wave 0: 3 to 8 peers, CDN within the budget
//!                                        wave k: twice as many, from peers; begins when 80 % of the last hold half
//!  Offer ─► choice (superpeers, then availability × spare × room) ─► Task
//!  Progress ─► placed ─► Challenge ─► proven;  silent, failed ─► lost ─► repair below 80 %
//! ```
//!
//! It is pure: time and dice are given, and the same calls give the same plan.

mod choose;
mod job;
mod lease;
mod share;
mod size;
mod status;
mod wave;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::audit::{Audited, Challenge};
use crate::dice::Dice;
use crate::id::{Digest, PeerId, SwarmKey};
use crate::range::ByteRange;
use crate::receipt::{NetworkId, Subnet};
use crate::superpeer::Region;
use crate::unit::{Rate, Time};

pub use job::{Budget, Content, Order, RefusedOrder, Target};
pub use lease::{LeaseId, Stage};
pub use size::{Demand, replicas};
pub use status::{Holder, RegionStatus, Status};

use job::Job;

/// Jobs at once: a publisher's evening has tens.
const JOBS_MAX: usize = 256;
/// Peers whose offers are remembered: 200 B each.
const OFFERS_MAX: usize = 100_000;
/// Leases one peer holds at once, of all jobs: more would only compete with one another.
const LEASES_OF_PEER_MAX: usize = 16;
/// What ended is shown for so long.
const SHOWN_AFTER: Duration = Duration::from_secs(3_600);
/// Who is chosen is thought over this often at most: choosing looks at every offer.
const CHOOSE_EVERY: Duration = Duration::from_secs(1);
/// Verdicts of audits waiting to be fetched; the oldest are dropped.
const AUDITED_MAX: usize = 4_096;
/// A proven copy is asked again after this: long enough to cost nothing, short enough that a liar holds no lease for long.
const AUDIT_AGAIN: Duration = Duration::from_secs(300);

/// Names a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// How often peers call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// An idle peer asks for work again after this. Default 60 s (PPTV's peers asked hourly; a push then took hours to begin).
    pub ask: Duration,
    /// A peer with a lease tells how it goes this often. Default 5 s.
    pub report: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { ask: Duration::from_secs(60), report: Duration::from_secs(5) }
    }
}

impl Pace {
    /// Who was not heard for three of its own intervals is gone.
    fn silent(&self) -> Duration {
        self.report * 3 + Duration::from_secs(2)
    }

    fn stale(&self) -> Duration {
        self.ask * 3
    }
}

/// What a peer offers when it asks for work. The first part is its own word, and only decides where work is *tried*; the rest
/// is what others know of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Offer {
    /// Who.
    pub peer: PeerId,
    /// Bytes it lends and has free.
    pub free: u64,
    /// Bytes a second of its upload that nobody uses.
    pub spare: Rate,
    /// Whether nobody watches anything at it now.
    pub idle: bool,
    /// Whether it must not be asked: metered line, battery, or busy with more than half of its upload.
    pub busy: bool,
    /// Where it calls from.
    pub subnet: Subnet,
    /// Whose network that is.
    pub network: NetworkId,
    /// In which region.
    pub region: Region,
    /// Its share of a superpeer's priority, 0 to 1.
    pub superpeer: f64,
    /// How probable it is there at the release, 0 to 1; 0.5 if nothing is known.
    pub availability: f64,
}

/// Work for a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Names it in [`Planner::progress`].
    pub lease: LeaseId,
    /// What to hold.
    pub content: Content,
    /// Until when, from now.
    pub hold: Duration,
    /// Bytes it may read from the CDN; the rest comes from peers.
    pub cdn_bytes: u64,
    /// Bytes a second it may take in for this.
    pub rate: Rate,
}

/// How a lease goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Bytes held.
    pub held: u64,
    /// Bytes that came from the CDN, and from peers, for this lease.
    pub from_cdn: u64,
    /// See [`from_cdn`](Self::from_cdn).
    pub from_peers: u64,
    /// The answer to the last challenge.
    pub answer: Option<Digest>,
    /// It gives the lease back: its owner wants the room, or the content cannot be had.
    pub given_up: bool,
}

/// What the peer shall do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on holding.
    Hold {
        /// For so long, from now.
        hold: Duration,
        /// A question to be answered with the next report.
        challenge: Option<Challenge>,
    },
    /// Drop it: the job was cancelled, is over, or does not know this lease.
    Drop,
}

/// A part of a content, by which copies are audited. The shell reads it from where it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The content's swarm.
    pub swarm: SwarmKey,
    /// Which bytes.
    pub range: ByteRange,
    /// The bytes.
    pub bytes: Bytes,
}

/// Who holds what before it is released. See the [module](self).
#[derive(Debug)]
pub struct Planner {
    pace: Pace,
    dice: Dice,
    jobs: BTreeMap<JobId, Job>,
    offers: BTreeMap<PeerId, (Offer, Time)>,
    next_job: u64,
    next_lease: u64,
    audited: VecDeque<Audited>,
}

impl Planner {
    /// A planner without jobs.
    pub fn new(pace: Pace, dice: Dice) -> Self {
        Self {
            pace,
            dice,
            jobs: BTreeMap::new(),
            offers: BTreeMap::new(),
            next_job: 1,
            next_lease: 1,
            audited: VecDeque::new(),
        }
    }

    /// Begins a job.
    ///
    /// # Errors
    /// If the order makes no sense or there are too many jobs.
    pub fn push(&mut self, now: Time, order: Order) -> Result<JobId, RefusedOrder> {
        order.check(now)?;
        self.jobs.retain(|_, job| !job.is_over(now) || now.since(job.ends()) < SHOWN_AFTER);
        if self.jobs.len() >= JOBS_MAX {
            return Err(RefusedOrder::TooManyJobs);
        }
        let id = JobId(self.next_job);
        self.next_job += 1;
        let offers = Offers { all: &self.offers, stale: self.pace.stale() };
        self.jobs.insert(id, Job::new(now, order, &offers));
        Ok(id)
    }

    /// Ends a job: nobody is asked any more, and who holds is told to drop. False if there is no such job.
    pub fn cancel(&mut self, now: Time, id: JobId) -> bool {
        self.jobs.get_mut(&id).map(|job| job.cancel(now)).is_some()
    }

    /// A peer asks for work. It asks again after [`Pace::ask`], or sooner.
    pub fn offer(&mut self, now: Time, offer: Offer) -> Vec<Task> {
        if self.offers.len() >= OFFERS_MAX && !self.offers.contains_key(&offer.peer) {
            let stale = self.pace.stale();
            self.offers.retain(|_, (_, at)| now.since(*at) < stale);
            if self.offers.len() >= OFFERS_MAX {
                return Vec::new();
            }
        }
        self.offers.insert(offer.peer, (offer, now));
        let mut tasks = Vec::new();
        let mut room = offer.free;
        for id in self.by_deadline(now) {
            let held = self.leases_of(&offer.peer);
            if held + tasks.len() >= LEASES_OF_PEER_MAX || offer.busy {
                break;
            }
            let Some(job) = self.jobs.get_mut(&id) else { continue };
            let offers = Offers { all: &self.offers, stale: self.pace.stale() };
            let mut grants = Grants { room, most: LEASES_OF_PEER_MAX - held, tasks, next: self.next_lease };
            job.grant(now, &offer, &offers, &mut grants);
            (room, tasks, self.next_lease) = (grants.room, grants.tasks, grants.next);
        }
        tasks
    }

    /// A peer tells how a lease goes.
    pub fn progress(&mut self, now: Time, peer: &PeerId, id: LeaseId, progress: &Progress) -> Next {
        let silent = self.pace.silent();
        for job in self.jobs.values_mut() {
            let over = job.is_over(now);
            let Some(lease) = job.leases.get_mut(&id).filter(|lease| lease.peer == *peer) else { continue };
            let share = &job.shares[lease.share];
            let verdict = lease.report(now, progress, share.content.len);
            if let Some(verdict) = verdict {
                self.audited.push_back(verdict);
                if self.audited.len() > AUDITED_MAX {
                    self.audited.pop_front();
                }
            }
            if over || lease.stage == Stage::Lost {
                lease.stage = Stage::Lost;
                return Next::Drop;
            }
            let challenge = lease.challenge(now, share.sample.as_ref(), silent, &mut self.dice);
            return Next::Hold { hold: lease.until.since(now), challenge };
        }
        Next::Drop
    }

    /// Looks for silent peers and lets waves begin. To be called about every second.
    pub fn tick(&mut self, now: Time) {
        let (silent, stale) = (self.pace.silent(), self.pace.stale());
        self.offers.retain(|_, (_, at)| now.since(*at) < stale);
        for job in self.jobs.values_mut() {
            job.tick(now, silent);
        }
    }

    /// Contents of running jobs that have a copy to be audited and no sample, or one that was used up: the shell reads a random
    /// part and gives it to [`sample`](Self::sample).
    pub fn wants_samples(&self, now: Time) -> Vec<(JobId, Content)> {
        let running = self.jobs.iter().filter(|(_, job)| !job.is_over(now));
        let wanted =
            running.flat_map(|(id, job)| job.wants_samples(now).map(|content| (*id, content.clone())));
        wanted.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// A part of a content to audit copies by. It serves for one round.
    pub fn sample(&mut self, now: Time, id: JobId, content: &Content, sample: Sample) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.shares.iter_mut().filter(|share| share.content == *content).for_each(|share| {
                share.sample = Some((sample.clone(), now));
            });
        }
    }

    /// How audits ended since the last call: evidence about peers.
    pub fn audited(&mut self) -> Vec<Audited> {
        self.audited.drain(..).collect()
    }

    /// How a job goes.
    pub fn status(&self, now: Time, id: JobId) -> Option<Status> {
        self.jobs.get(&id).map(|job| status::of(now, id, job))
    }

    /// All jobs, those that ended within the hour too.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> + '_ {
        self.jobs.keys().copied()
    }

    /// Peers that asked for work lately.
    pub fn peers(&self) -> usize {
        self.offers.len()
    }

    /// Earliest deadline first; then what brings most for its bytes.
    fn by_deadline(&self, now: Time) -> Vec<JobId> {
        let mut open: Vec<(&JobId, &Job)> =
            self.jobs.iter().filter(|(_, job)| !job.is_over(now) && now < job.order.deadline).collect();
        open.sort_by(|(a, one), (b, other)| {
            let value = other.order.value().total_cmp(&one.order.value());
            one.order.deadline.cmp(&other.order.deadline).then(value).then(a.cmp(b))
        });
        open.into_iter().map(|(id, _)| *id).collect()
    }

    fn leases_of(&self, peer: &PeerId) -> usize {
        let leases = self.jobs.values().flat_map(|job| job.leases.values());
        leases.filter(|lease| lease.peer == *peer && lease.is_alive()).count()
    }
}

/// What peers offer, and for how long that is believed.
struct Offers<'o> {
    all: &'o BTreeMap<PeerId, (Offer, Time)>,
    stale: Duration,
}

impl Offers<'_> {
    fn fresh(&self, now: Time) -> impl Iterator<Item = &Offer> {
        self.all.values().filter(move |(_, at)| now.since(*at) < self.stale).map(|(offer, _)| offer)
    }
}

/// What one peer is given at once.
struct Grants {
    /// Bytes it has free.
    room: u64,
    /// Tasks at most.
    most: usize,
    tasks: Vec<Task>,
    /// The next lease's number.
    next: u64,
}

#[cfg(test)]
mod tests;
