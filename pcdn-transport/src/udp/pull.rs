//! The asking side: which sub-pieces are here, which are asked for, which must be asked for again.
//!
//! A REQ names all sub-pieces at once; they wait in the server's queue, not in the network. The server sends the lowest
//! first and writes on each the latest *ask* it has seen, so a gap means a loss: a missing sub-piece asked for by then is
//! *overtaken*, and after three packets that overtook it, or a little time, it is asked for again under a new ask number.
//! Only when nothing of a fetch has come for a while is the request itself repeated, unchanged: a server that knows it
//! answers GOT or DONE and sends nothing twice.

mod run;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use pcdn_core::layout::PIECE_LOG2_MAX;
use pcdn_core::transport::{Chunk, Fetch, FetchError, Refuse};
use pcdn_core::unit::Time;

use super::frame::{Data, Req};
use super::rtt::Rtt;
use super::subs::{SUBS_MAX, SubSet};
use crate::want;
use run::Run;

/// Later packets that make a missing one lost; three, as in RFC 9002 section 6.1.1.
const OVERTAKEN_BY: u8 = 3;
/// On a path that reorders more than that, time alone decides: so many eighths of a round trip at most.
const REORDERING_MAX: u32 = 8;
/// So many sub-pieces without one that came twice make the path one eighth more orderly.
const ORDERLY_AFTER: u32 = 1000;
/// On a lossy path a REQ goes again after this long: not in the same burst of losses.
const REPEAT_AFTER: Duration = Duration::from_millis(4);
/// A silent fetch is asked about at most this rarely.
const QUERY_EVERY_MAX: Duration = Duration::from_secs(1);
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
}

/// One fetch.
#[derive(Debug)]
struct Want {
    fetch: Fetch,
    sub_bytes: u16,
    deadline: Time,
    ranges: Vec<Range<u32>>,
    missing: SubSet,
    /// Missing and known to be lost, to be asked for with the next REQ.
    lost: SubSet,
    /// Of each sub-piece: the ask it was last part of, and how many packets have overtaken it since.
    asked: Vec<(u16, u8)>,
    ask: u16,
    /// The latest ask the server is known to have seen.
    seen: u16,
    /// Whether a REQ is due.
    due: bool,
    query_at: Time,
    queries: u32,
    /// When the latest REQ goes once more, unless its answer comes first.
    repeat_at: Option<Time>,
    overtaken_until: Option<Time>,
    run: Run,
}

impl Pull {
    /// Begins a fetch and gives its number.
    pub(crate) fn begin(&mut self, now: Time, fetch: Fetch, sub_bytes: u16) -> u32 {
        self.last_id = self.last_id.wrapping_add(1);
        let id = self.last_id;
        match Want::new(now, fetch, sub_bytes) {
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
        if data.ask > want.ask || usize::from(data.sub) >= want.asked.len() {
            self.fail(data.fetch, FetchError::Violation("a sub-piece nobody asked for".into()));
            return true;
        }
        let span = want.span(data.sub);
        if data.content.len() != span.len() {
            self.fail(data.fetch, FetchError::Violation("a sub-piece of the wrong length".into()));
            return true;
        }
        want.heard(now, rtt, data.ask);
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
    pub(crate) fn got(&mut self, now: Time, rtt: &Rtt, id: u32, ask: u16) {
        if let Some(want) = self.wants.get_mut(&id) {
            // Not `heard`: a server that only says GOT is asked ever more rarely.
            want.seen = want.seen.max(ask.min(want.ask));
            want.query_at = want.query_at.max(now + rtt.patience());
        }
    }

    /// The server has sent all it was asked for; what is missing is lost or late.
    pub(crate) fn done(&mut self, now: Time, rtt: &Rtt, id: u32, ask: u16) {
        if let Some(want) = self.wants.get_mut(&id) {
            want.heard(now, rtt, ask.min(want.ask));
            want.overtake(now, rtt, ask, SUBS_MAX, self.reordering);
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

impl Want {
    /// `None` if the fetch is not one that can be asked for.
    fn new(now: Time, fetch: Fetch, sub_bytes: u16) -> Option<Self> {
        if fetch.len == 0 || fetch.len > 1 << PIECE_LOG2_MAX {
            return None;
        }
        let ranges = want::ranges(&fetch.want, fetch.len);
        let sub = u32::from(sub_bytes);
        let mut missing = SubSet::default();
        for range in &ranges {
            (range.start / sub..range.end.div_ceil(sub)).for_each(|sub| missing.insert(sub as u16));
        }
        Some(Self {
            sub_bytes,
            deadline: now + fetch.within,
            ranges,
            lost: missing.clone(),
            missing,
            asked: vec![(0, 0); fetch.len.div_ceil(sub) as usize],
            ask: 0,
            seen: 0,
            due: true,
            query_at: Time::NEVER,
            queries: 0,
            repeat_at: None,
            overtaken_until: None,
            run: Run::default(),
            fetch,
        })
    }

    /// The bytes of sub-piece `sub` in the piece.
    fn span(&self, sub: u16) -> Range<u32> {
        let start = u32::from(sub) * u32::from(self.sub_bytes);
        start..(start + u32::from(self.sub_bytes)).min(self.fetch.len)
    }

    fn keep(&mut self, sub: u16, content: &[u8], mut give: impl FnMut(Chunk)) {
        let span = self.span(sub);
        for range in &self.ranges {
            let (start, end) = (span.start.max(range.start), span.end.min(range.end));
            if start < end {
                let part = &content[(start - span.start) as usize..(end - span.start) as usize];
                self.run.push(start, part, &mut give);
            }
        }
    }

    fn heard(&mut self, now: Time, rtt: &Rtt, ask: u16) {
        self.seen = self.seen.max(ask);
        self.queries = 0;
        self.query_at = now + 2 * rtt.patience();
    }

    /// All missing below `before` that were part of `ask` or an earlier one should have come by now.
    fn overtake(&mut self, now: Time, rtt: &Rtt, ask: u16, before: u16, reordering: u32) {
        let mut any = false;
        for sub in self.missing.iter().take_while(|sub| *sub < before) {
            let (asked, overtaken) = &mut self.asked[usize::from(sub)];
            if *asked > ask || self.lost.contains(sub) {
                continue;
            }
            *overtaken = overtaken.saturating_add(1);
            if *overtaken >= OVERTAKEN_BY && reordering == 0 {
                self.lost.insert(sub);
                self.due = true;
            } else {
                any = true;
            }
        }
        if any && self.overtaken_until.is_none() {
            self.overtaken_until = Some(now + rtt.reordering() * reordering.max(1));
        }
    }

    fn next_wake(&self) -> Time {
        let soon = [self.overtaken_until, self.repeat_at].into_iter().flatten().min();
        self.deadline.min(self.query_at).min(soon.unwrap_or(Time::NEVER))
    }

    fn wake(&mut self, now: Time, rtt: &Rtt) {
        if self.overtaken_until.is_some_and(|until| now >= until) {
            self.overtaken_until = None;
            for sub in self.missing.iter().filter(|sub| self.asked[usize::from(*sub)].1 > 0) {
                self.lost.insert(sub);
                self.due = true;
            }
        }
        if self.repeat_at.is_some_and(|at| now >= at) {
            self.repeat_at = None;
            self.due |= self.seen < self.ask;
        }
        if now >= self.query_at {
            self.queries += 1;
            self.due = true;
            self.query_at = now + query_interval(rtt, self.queries);
        }
    }

    fn req(&mut self, now: Time, rtt: &Rtt, id: u32, lossy: bool) -> Req {
        self.due = false;
        let fresh = !self.lost.is_empty();
        if fresh {
            self.ask = self.ask.saturating_add(1);
        }
        let mut subs = std::mem::take(&mut self.lost);
        if subs.is_empty() {
            // A query. What the server may not know of is said again, for the REQ that asked for it may be lost.
            self.missing
                .iter()
                .filter(|sub| self.asked[usize::from(*sub)].0 > self.seen)
                .for_each(|sub| subs.insert(sub));
        }
        subs.iter().for_each(|sub| self.asked[usize::from(sub)] = (self.ask, 0));
        if subs.is_empty() {
            // The server knew of everything; should it have forgotten, this is what it must send.
            subs = self.missing.clone();
        }
        self.query_at = self.query_at.min(now + query_interval(rtt, self.queries)).max(now + rtt.doubt());
        self.repeat_at = (fresh && lossy).then(|| now + REPEAT_AFTER);
        Req {
            fetch: id,
            ask: self.ask,
            swarm: self.fetch.swarm,
            segment: self.fetch.piece.segment.0,
            piece: self.fetch.piece.piece.get(),
            len: self.fetch.len,
            class: self.fetch.class,
            within_ms: u32::try_from(self.deadline.since(now).as_millis()).unwrap_or(u32::MAX),
            sub_bytes: self.sub_bytes,
            subs,
        }
    }
}

fn query_interval(rtt: &Rtt, queries: u32) -> Duration {
    (rtt.doubt() * 2u32.saturating_pow(queries.min(8))).min(QUERY_EVERY_MAX.max(rtt.patience()))
}

#[cfg(test)]
mod tests;
