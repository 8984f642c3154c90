//! One fetch: what of it is here, asked for, lost.

use std::ops::Range;
use std::time::Duration;

use pcdn_core::layout::PIECE_LOG2_MAX;
use pcdn_core::transport::{Chunk, Fetch};
use pcdn_core::unit::Time;

use super::run::Run;
use crate::udp::frame::Req;
use crate::udp::rtt::Rtt;
use crate::udp::subs::SubSet;
use crate::want;

/// Later packets that make a missing one lost; three, as in RFC 9002 section 6.1.1.
const OVERTAKEN_BY: u8 = 3;
/// On a lossy path a REQ goes again after this long: not in the same burst of losses.
const REPEAT_AFTER: Duration = Duration::from_millis(4);
/// A silent fetch is asked about at most this rarely.
const QUERY_EVERY_MAX: Duration = Duration::from_secs(1);

/// One fetch.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) fetch: Fetch,
    pub(super) sub_bytes: u16,
    pub(super) deadline: Time,
    pub(super) ranges: Vec<Range<u32>>,
    pub(super) missing: SubSet,
    /// Missing and known to be lost, to be asked for with the next REQ.
    pub(super) lost: SubSet,
    /// Of each sub-piece: the ask it was last part of, and how many packets have overtaken it since.
    pub(super) asked: Vec<(u16, u8)>,
    pub(super) ask: u16,
    /// The latest ask the server is known to have seen.
    pub(super) seen: u16,
    /// Whether a REQ is due.
    pub(super) due: bool,
    pub(super) query_at: Time,
    pub(super) queries: u32,
    /// When the latest REQ goes once more, unless its answer comes first.
    pub(super) repeat_at: Option<Time>,
    pub(super) overtaken_until: Option<Time>,
    pub(super) run: Run,
    /// Whether anything came since the latest ask.
    pub(super) came: bool,
    /// The first ask since it was last cut anew; what was sent for earlier ones no longer fits.
    pub(super) recut_at: u16,
}

impl Want {
    /// `None` if the fetch is not one that can be asked for.
    pub(super) fn new(now: Time, fetch: Fetch, sub_bytes: u16) -> Option<Self> {
        if fetch.len == 0 || fetch.len > 1 << PIECE_LOG2_MAX {
            return None;
        }
        let ranges = want::ranges(&fetch.want, fetch.len);
        let (missing, asked) = cut(&ranges, sub_bytes, fetch.len);
        Some(Self {
            sub_bytes,
            deadline: now + fetch.within,
            ranges,
            lost: missing.clone(),
            missing,
            asked,
            ask: 0,
            seen: 0,
            due: true,
            query_at: Time::NEVER,
            queries: 0,
            repeat_at: None,
            overtaken_until: None,
            run: Run::default(),
            came: false,
            recut_at: 0,
            fetch,
        })
    }

    /// Cuts what is missing into sub-pieces of `sub_bytes`, to be asked for anew.
    pub(super) fn recut(&mut self, sub_bytes: u16) {
        let missing: Vec<Range<u32>> = self.missing.iter().map(|sub| self.span(sub)).collect();
        let clip = |span: &Range<u32>| {
            let within = |range: &Range<u32>| range.start.max(span.start)..range.end.min(span.end);
            self.ranges.iter().map(within).filter(|part| part.start < part.end).collect::<Vec<_>>()
        };
        let ranges: Vec<Range<u32>> = missing.iter().flat_map(clip).collect();
        (self.ranges, self.sub_bytes) = (ranges, sub_bytes);
        (self.missing, self.asked) = cut(&self.ranges, sub_bytes, self.fetch.len);
        self.lost = self.missing.clone();
        (self.due, self.overtaken_until) = (true, None);
        self.recut_at = self.ask.saturating_add(1);
    }

    /// The bytes of sub-piece `sub` in the piece.
    pub(super) fn span(&self, sub: u16) -> Range<u32> {
        let start = u32::from(sub) * u32::from(self.sub_bytes);
        start..(start + u32::from(self.sub_bytes)).min(self.fetch.len)
    }

    pub(super) fn keep(&mut self, sub: u16, content: &[u8], mut give: impl FnMut(Chunk)) {
        let span = self.span(sub);
        for range in &self.ranges {
            let (start, end) = (span.start.max(range.start), span.end.min(range.end));
            if start < end {
                let part = &content[(start - span.start) as usize..(end - span.start) as usize];
                self.run.push(start, part, &mut give);
            }
        }
    }

    pub(super) fn heard(&mut self, now: Time, rtt: &Rtt, ask: u16) {
        self.seen = self.seen.max(ask);
        self.came = true;
        self.queries = 0;
        self.query_at = now + 2 * rtt.patience();
    }

    /// All missing below `before` that were part of `ask` or an earlier one should have come by now.
    pub(super) fn overtake(&mut self, now: Time, rtt: &Rtt, ask: u16, before: u16, reordering: u32) {
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

    pub(super) fn next_wake(&self) -> Time {
        let soon = [self.overtaken_until, self.repeat_at].into_iter().flatten().min();
        self.deadline.min(self.query_at).min(soon.unwrap_or(Time::NEVER))
    }

    pub(super) fn wake(&mut self, now: Time, rtt: &Rtt) {
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

    pub(super) fn req(&mut self, now: Time, rtt: &Rtt, id: u32, lossy: bool) -> Req {
        self.due = false;
        let fresh = !self.lost.is_empty();
        if fresh {
            self.ask = self.ask.saturating_add(1);
            self.came = false;
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

/// The sub-pieces that `ranges` need, and that none was asked for yet.
fn cut(ranges: &[Range<u32>], sub_bytes: u16, len: u32) -> (SubSet, Vec<(u16, u8)>) {
    let sub = u32::from(sub_bytes);
    let mut missing = SubSet::default();
    for range in ranges {
        (range.start / sub..range.end.div_ceil(sub)).for_each(|sub| missing.insert(sub as u16));
    }
    (missing, vec![(0, 0); len.div_ceil(sub) as usize])
}
