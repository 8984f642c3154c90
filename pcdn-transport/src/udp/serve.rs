//! The answering side of a session: requests of the peer, from REQ to the last sub-piece sent.
//!
//! A request waits for the provider, then for its turn. What is still to be sent is a set of sub-pieces beside the granted
//! bytes; a sub-piece sent is forgotten, for only the asker knows what arrived. For a second the bytes of a finished piece
//! stay at hand without their slot, so that the repair of a lost tail does not queue for a new one.

mod job;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::SwarmKey;
use pcdn_core::transport::{Class, Fetch, Grant, Refuse};
use pcdn_core::unit::Time;

use super::frame::{DATA_OVERHEAD, Data, Frame, Req};
use job::{Job, fetch_of};

/// Requests of one peer that wait or are being sent, at most; each costs about 300 bytes and perhaps a task.
pub(super) const REQUESTS_MAX: usize = 256;
/// Finished fetches remembered, to answer a late query with DONE.
const FINISHED_MAX: usize = 64;
/// Finished fetches whose bytes stay at hand, at most 8 MiB and mostly shared with the store.
const WARM_MAX: usize = 8;
/// How long they stay: a few round trips.
const WARM_FOR: Duration = Duration::from_secs(1);
/// A request that got no DATA by then is acknowledged by GOT.
const GOT_AFTER: Duration = Duration::from_millis(5);
/// DONE follows the last DATA a little later, so that one lost burst does not take both.
const DONE_AFTER: Duration = Duration::from_millis(2);
/// When a refused peer may ask again.
const RETRY: Duration = Duration::from_millis(100);

/// What the provider is to be told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Open(u32, Fetch),
    Abandon(u32),
}

#[derive(Debug, Default)]
pub(crate) struct Serve {
    jobs: BTreeMap<u32, Job>,
    /// Granted fetches with something to send, in order, by class.
    queues: [VecDeque<u32>; 3],
    finished: VecDeque<Finished>,
    replies: VecDeque<(Time, Reply)>,
    demands: Vec<Demand>,
}

#[derive(Debug)]
struct Finished {
    fetch: u32,
    ask: u16,
    at: Time,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reply {
    Got(u32),
    Done(u32, u16),
    Refuse(u32, Refuse),
}

impl Serve {
    /// A REQ came.
    pub(crate) fn req(&mut self, now: Time, req: Req) {
        let id = req.fetch;
        let Some(fetch) = fetch_of(&req) else {
            self.reply(now, Reply::Refuse(id, Refuse::Bad));
            return;
        };
        if let Some(job) = self.jobs.get_mut(&id) {
            let news = req.ask > job.req.ask && job.is_for(&req);
            if news && req.sub_bytes != job.req.sub_bytes {
                // Cut anew, for the sub-pieces were too large for the path: what was asked for before is void.
                (job.req, job.sent) = (req, 0);
            } else if news {
                job.req.subs.extend(&req.subs);
                job.req.ask = req.ask;
            }
            self.reply(if news { now + GOT_AFTER } else { now }, Reply::Got(id));
            return;
        }
        if let Some(at) = self.finished.iter().position(|done| done.fetch == id) {
            if req.ask <= self.finished[at].ask {
                self.reply(now, Reply::Done(id, self.finished[at].ask));
                return;
            }
            let done = self.finished.remove(at).expect("the position was just found");
            if now.since(done.at) < WARM_FOR && done.bytes.len() == req.len as usize {
                self.queues[queue(req.class)].push_front(id);
                self.jobs.insert(id, Job::new(now, req, Some(done.bytes)));
                return;
            }
        }
        if self.jobs.len() >= REQUESTS_MAX {
            self.reply(now, Reply::Refuse(id, Refuse::Busy(RETRY)));
            return;
        }
        self.reply(now + GOT_AFTER, Reply::Got(id));
        self.jobs.insert(id, Job::new(now, req, None));
        self.demands.push(Demand::Open(id, fetch));
    }

    /// The peer wants it no more.
    pub(crate) fn cancel(&mut self, id: u32) {
        if let Some(job) = self.jobs.remove(&id) {
            self.queues[queue(job.req.class)].retain(|queued| *queued != id);
            if job.bytes.is_none() {
                self.demands.push(Demand::Abandon(id));
            }
        }
    }

    /// The provider said yes.
    pub(crate) fn granted(&mut self, now: Time, id: u32, grant: Grant) {
        let Some(job) = self.jobs.get_mut(&id).filter(|job| job.bytes.is_none()) else { return };
        if grant.bytes().len() != job.req.len as usize {
            self.refused(now, id, Refuse::Bad);
            return;
        }
        job.bytes = Some(grant.bytes().clone());
        job.grant = Some(grant);
        self.queues[queue(job.req.class)].push_back(id);
    }

    /// The provider said no.
    pub(crate) fn refused(&mut self, now: Time, id: u32, why: Refuse) {
        if self.jobs.remove(&id).is_some() {
            self.reply(now, Reply::Refuse(id, why));
        }
    }

    /// Drops everything, for the session is over.
    pub(crate) fn abandon_all(&mut self) {
        let waiting: Vec<u32> =
            self.jobs.iter().filter(|(_, job)| job.bytes.is_none()).map(|(id, _)| *id).collect();
        self.demands.extend(waiting.into_iter().map(Demand::Abandon));
        self.jobs.clear();
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.finished.clear();
        self.replies.clear();
    }

    /// What the provider is to be told since the last call.
    pub(crate) fn drain_demands(&mut self) -> impl Iterator<Item = Demand> + '_ {
        self.demands.drain(..)
    }

    /// Whether something of `class` can be sent.
    pub(crate) fn has_data(&self, class: Class) -> bool {
        !self.queues[queue(class)].is_empty()
    }

    /// Swarm and content bytes of the next DATA of `class`.
    pub(crate) fn next_data(&self, class: Class) -> Option<(SwarmKey, usize)> {
        let job = self.jobs.get(self.queues[queue(class)].front()?)?;
        let sub = job.req.subs.first()?;
        Some((job.req.swarm, job.span(sub).len()))
    }

    /// Puts the first fetch of a swarm that `may` send in front, if there is one.
    pub(crate) fn prefer(&mut self, class: Class, may: impl Fn(&SwarmKey) -> bool) {
        let (jobs, queue) = (&self.jobs, &mut self.queues[queue(class)]);
        let fits = |id: &u32| jobs.get(id).is_some_and(|job| may(&job.req.swarm));
        if let Some(at @ 1..) = queue.iter().position(fits)
            && let Some(id) = queue.remove(at)
        {
            queue.push_front(id);
        }
    }

    /// Appends the next DATA of `class` to `out` and gives its content's length.
    pub(crate) fn write_data(&mut self, now: Time, class: Class, out: &mut Vec<u8>) -> Option<usize> {
        let id = *self.queues[queue(class)].front()?;
        let job = self.jobs.get_mut(&id)?;
        let bytes = job.bytes.as_ref()?;
        let sub = job.req.subs.first()?;
        job.req.subs.remove(sub);
        job.sent = job.sent.saturating_add(1);
        let (last, ask) = (job.req.subs.is_empty(), job.req.ask);
        let content = &bytes[job.span(sub)];
        Frame::Data(Data { fetch: id, ask, sub, last, stamp: now.0 as u32, content }).encode(out);
        debug_assert!(content.len() + DATA_OVERHEAD <= out.len());
        let len = content.len();
        let sent_whole = last.then(|| bytes.clone());
        self.replies.retain(|(_, reply)| *reply != Reply::Got(id));
        if let Some(bytes) = sent_whole {
            self.queues[queue(class)].pop_front();
            self.jobs.remove(&id);
            self.reply(now + DONE_AFTER, Reply::Done(id, ask));
            self.remember(Finished { fetch: id, ask, at: now, bytes });
        }
        Some(len)
    }

    /// Whether a reply is due.
    pub(crate) fn has_reply(&self, now: Time) -> bool {
        self.replies.iter().any(|(at, _)| *at <= now)
    }

    /// The next reply that is due, or, if a packet goes out anyway (`all`), that will be.
    pub(crate) fn next_reply(&mut self, now: Time, all: bool) -> Option<Frame<'static>> {
        loop {
            let at = self.replies.iter().position(|(at, _)| all || *at <= now)?;
            let (_, reply) = self.replies.remove(at)?;
            return Some(match reply {
                Reply::Got(fetch) => match self.jobs.get(&fetch) {
                    Some(job) => Frame::Got { fetch, ask: job.req.ask, sent: job.sent },
                    None => continue,
                },
                Reply::Done(fetch, ask) => Frame::Done { fetch, ask },
                Reply::Refuse(fetch, why) => {
                    let (code, retry_ms) = code_of(why);
                    Frame::Refuse { fetch, code, retry_ms }
                }
            });
        }
    }

    /// When [`wake`](Self::wake) or a reply has something to do.
    pub(crate) fn next_wake(&self) -> Time {
        let replies = self.replies.iter().map(|(at, _)| *at);
        replies.chain(self.jobs.values().map(|job| job.until)).min().unwrap_or(Time::NEVER)
    }

    /// Drops unsent what is of no use any more.
    pub(crate) fn wake(&mut self, now: Time) {
        let late: Vec<u32> =
            self.jobs.iter().filter(|(_, job)| now >= job.until).map(|(id, _)| *id).collect();
        late.into_iter().for_each(|id| self.cancel(id));
        while self.finished.iter().any(|done| now.since(done.at) >= WARM_FOR && !done.bytes.is_empty()) {
            self.finished
                .iter_mut()
                .filter(|d| now.since(d.at) >= WARM_FOR)
                .for_each(|d| d.bytes = Bytes::new());
        }
    }

    /// Only REQUESTS_MAX + FINISHED_MAX fetches have replies, and a newer one replaces an older.
    fn reply(&mut self, at: Time, reply: Reply) {
        self.replies.retain(|(_, queued)| queued.fetch() != reply.fetch());
        if self.replies.len() >= REQUESTS_MAX + FINISHED_MAX {
            self.replies.pop_front();
        }
        self.replies.push_back((at, reply));
    }

    fn remember(&mut self, done: Finished) {
        self.finished.push_back(done);
        if self.finished.len() > FINISHED_MAX {
            self.finished.pop_front();
        }
        if let Some(cooled) = self.finished.iter_mut().rev().nth(WARM_MAX) {
            cooled.bytes = Bytes::new();
        }
    }
}

impl Reply {
    fn fetch(&self) -> u32 {
        match *self {
            Reply::Got(fetch) | Reply::Done(fetch, _) | Reply::Refuse(fetch, _) => fetch,
        }
    }
}

fn queue(class: Class) -> usize {
    class as usize
}

/// A refusal's wire form.
fn code_of(why: Refuse) -> (u8, u32) {
    match why {
        Refuse::Busy(retry) => (1, u32::try_from(retry.as_millis()).unwrap_or(u32::MAX)),
        Refuse::NotHere => (2, 0),
        Refuse::NoSwarm => (3, 0),
        Refuse::Bad => (4, 0),
    }
}

/// A refusal from its wire form; what is unknown is bad.
pub(crate) fn refuse_of(code: u8, retry_ms: u32) -> Refuse {
    match code {
        1 => Refuse::Busy(Duration::from_millis(retry_ms.into())),
        2 => Refuse::NotHere,
        3 => Refuse::NoSwarm,
        _ => Refuse::Bad,
    }
}

#[cfg(test)]
mod tests;
