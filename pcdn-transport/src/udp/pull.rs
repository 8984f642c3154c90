//! The asking side: which sub-pieces are here, which are asked for, which must be asked for again.
//!
//! A REQ names all sub-pieces at once; they wait in the server's queue, not in the network. The server sends the lowest
//! first and writes on each the latest *ask* it has seen, so a gap means a loss: a missing sub-piece asked for by then is
//! *overtaken*, and after three packets that overtook it, or a little time, it is asked for again under a new ask number.
//! Only when nothing of a fetch has come for a while is the request itself repeated, unchanged: a server that knows it
//! answers GOT or DONE and sends nothing twice.

mod run;
mod size;
mod want;

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::transport::{Chunk, Fetch, FetchError, Refuse};
use pcdn_core::unit::Time;

use super::frame::{Data, Req};
use super::rtt::Rtt;
use super::subs::SUBS_MAX;
use size::PathSize;
use want::Want;

/// On a path that reorders more than that, time alone decides: so many eighths of a round trip at most.
const REORDERING_MAX: u32 = 8;
/// So many sub-pieces without one that came twice make the path one eighth more orderly.
const ORDERLY_AFTER: u32 = 1000;
/// So many sub-pieces sent and none come: not chance.
const VAIN_SUBS: u16 = 3;
/// Fetches of one session under way at most; the serving side queues no more either.
pub(crate) const FETCHES_MAX: usize = 256;

/// What became of a fetch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Chunk(u32, Chunk),
    Whole(u32),
    Failed(u32, FetchError),
}

/// All fetches of a session.
#[derive(Debug, Default)]
pub(crate) struct Pull {
    last_id: u32,
    wants: BTreeMap<u32, Want>,
    progress: Vec<Progress>,
    duplicates: u64,
    /// How much the path reorders, in eighths of a round trip; learnt from what was asked for again and came twice.
    reordering: u32,
    orderly: u32,
    /// Whether requests go twice, for the path loses some.
    lossy: bool,
    path: PathSize,
}

impl Pull {
    /// Begins a fetch and gives its number.
    pub(crate) fn begin(&mut self, now: Time, fetch: Fetch, sub_bytes: u16) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        match Want::new(now, fetch, self.path.for_next(now, sub_bytes)) {
            Some(want) if want.missing.is_empty() => self.progress.push(Progress::Whole(id)),
            Some(_) if self.wants.len() >= FETCHES_MAX => {
                let busy = Refuse::Busy(Duration::from_millis(100));
                self.progress.push(Progress::Failed(id, FetchError::Refused(busy)));
            }
            Some(want) => drop(self.wants.insert(id, want)),
            None => self.progress.push(Progress::Failed(id, FetchError::Refused(Refuse::Bad))),
        }
        id
    }

    /// Forgets a fetch; whether it was under way.
    pub(crate) fn cancel(&mut self, id: u32) -> bool {
        self.wants.remove(&id).is_some()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.wants.is_empty()
    }

    /// Says whether the path loses packets.
    pub(crate) fn set_lossy(&mut self, lossy: bool) {
        self.lossy = lossy;
    }

    /// Sub-pieces that came more than once.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// What happened since the last call.
    pub(crate) fn drain_progress(&mut self) -> impl Iterator<Item = Progress> + '_ {
        self.progress.drain(..)
    }

    /// A sub-piece came. `false` if nobody waits for this fetch (any more).
    pub(crate) fn data(&mut self, now: Time, rtt: &Rtt, data: &Data<'_>) -> bool {
        let Some(want) = self.wants.get_mut(&data.fetch) else { return false };
        if data.ask > want.ask || (data.ask >= want.recut_at && usize::from(data.sub) >= want.asked.len()) {
            self.fail(data.fetch, FetchError::Violation("a sub-piece nobody asked for".into()));
            return true;
        }
        if data.ask < want.recut_at {
            return true;
        }
        let span = want.span(data.sub);
        if data.content.len() != span.len() {
            self.fail(data.fetch, FetchError::Violation("a sub-piece of the wrong length".into()));
            return true;
        }
        want.heard(now, rtt, data.ask);
        if want.sub_bytes == self.path.bytes() {
            self.path.came();
        }
        if want.missing.remove(data.sub) {
            want.lost.remove(data.sub);
            want.keep(data.sub, data.content, |chunk| self.progress.push(Progress::Chunk(data.fetch, chunk)));
        } else {
            self.duplicates += 1;
            self.reordering = (self.reordering + 1).min(REORDERING_MAX);
            self.orderly = 0;
        }
        self.orderly += 1;
        if self.orderly >= ORDERLY_AFTER {
            (self.reordering, self.orderly) = (self.reordering.saturating_sub(1), 0);
        }
        if want.missing.is_empty() {
            self.finish(data.fetch);
        } else {
            let before = if data.last { SUBS_MAX } else { data.sub };
            want.overtake(now, rtt, data.ask, before, self.reordering);
        }
        true
    }

    /// The server has the request and will come to it.
    pub(crate) fn got(&mut self, now: Time, rtt: &Rtt, id: u32, ask: u16, sent: u16) {
        self.judge_size(now, id, ask, sent);
        if let Some(want) = self.wants.get_mut(&id) {
            // Not `heard`: a server that only says GOT is asked ever more rarely.
            want.seen = want.seen.max(ask.min(want.ask));
            want.query_at = want.query_at.max(now + rtt.patience());
        }
    }

    /// The server has sent all it was asked for; what is missing is lost or late.
    pub(crate) fn done(&mut self, now: Time, rtt: &Rtt, id: u32, ask: u16) {
        self.judge_size(now, id, ask, SUBS_MAX);
        if let Some(want) = self.wants.get_mut(&id) {
            let came = want.came;
            want.heard(now, rtt, ask.min(want.ask));
            want.came = came;
            want.overtake(now, rtt, ask, SUBS_MAX, self.reordering);
        }
    }

    /// The server says that it has sent `sent` sub-pieces of `ask`. If nothing came while such small packets do come, the path may
    /// be too narrow for full ones.
    fn judge_size(&mut self, now: Time, id: u32, ask: u16, sent: u16) {
        let Some(want) = self.wants.get(&id) else { return };
        let vain = ask == want.ask && !want.came && sent >= VAIN_SUBS && want.sub_bytes == self.path.bytes();
        if vain && self.path.in_vain(now) {
            let bytes = self.path.bytes();
            self.wants.values_mut().for_each(|want| want.recut(bytes));
        }
    }

    pub(crate) fn refused(&mut self, id: u32, why: Refuse) {
        self.fail(id, FetchError::Refused(why));
    }

    /// Ends every fetch, for the session is over.
    pub(crate) fn fail_all(&mut self, why: &FetchError) {
        while let Some(id) = self.wants.keys().next().copied() {
            self.fail(id, why.clone());
        }
    }

    /// When [`wake`](Self::wake) has something to do.
    pub(crate) fn next_wake(&self) -> Time {
        self.wants.values().map(Want::next_wake).min().unwrap_or(Time::NEVER)
    }

    pub(crate) fn wake(&mut self, now: Time, rtt: &Rtt) {
        let mut late = Vec::new();
        for (id, want) in &mut self.wants {
            if now >= want.deadline {
                late.push(*id);
            }
            want.wake(now, rtt);
        }
        late.into_iter().for_each(|id| self.fail(id, FetchError::Timeout));
    }

    /// Whether [`next_req`](Self::next_req) has one.
    pub(crate) fn has_req(&self) -> bool {
        self.wants.values().any(|want| want.due)
    }

    /// The next REQ to send.
    pub(crate) fn next_req(&mut self, now: Time, rtt: &Rtt) -> Option<Req> {
        let (id, want) = self.wants.iter_mut().find(|(_, want)| want.due)?;
        Some(want.req(now, rtt, *id, self.lossy))
    }

    fn finish(&mut self, id: u32) {
        if let Some(mut want) = self.wants.remove(&id) {
            self.progress.extend(want.run.flush().map(|chunk| Progress::Chunk(id, chunk)));
            self.progress.push(Progress::Whole(id));
        }
    }

    fn fail(&mut self, id: u32, why: FetchError) {
        if let Some(mut want) = self.wants.remove(&id) {
            self.progress.extend(want.run.flush().map(|chunk| Progress::Chunk(id, chunk)));
            self.progress.push(Progress::Failed(id, why));
        }
    }
}

#[cfg(test)]
mod tests;
