//! Runs of pieces from the origin: the bytes come in order, pieces fall out of them.

mod runs;

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::proof::Verdict;
use super::{Output, Source, Swarm, TICK};
use crate::error::Judged;
use crate::layout::SegmentId;
use crate::origin::OriginError;
use crate::range::ByteRange;
use crate::resource::Url;
use crate::schedule::{Handle, Slot};
use crate::swarm::report::Event;
use crate::unit::Time;
use crate::verify::list;
use crate::wire::Message;
use runs::{Over, Run};

pub(super) use runs::Runs;

/// Capacity seen is forgotten over this long.
const CAPACITY_MEMORY: f64 = 30.0;
/// First pause after a failure; doubles to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// Failures in a row after which readers are told, though it is tried on: about 8 s of pauses.
const FAILURES_TOLD: u32 = 6;
/// How long a reader waits for peers where the origin has failed for good: as long as for an origin that may come back.
const HOPE: Duration = Duration::from_secs(8);
/// The share of a crowded origin is not believed to be less than this, so that no claim holds for ever.
const MIN_SHARE: u64 = 64 << 10;
/// A run says something of the rate once it has sent for this long, or sent nothing for that long.
const RATE_SEEN: Duration = Duration::from_millis(250);
const SILENCE_SEEN: Duration = Duration::from_millis(800);
/// A run that brings nothing for this long has failed, whatever the origin's own time-outs are: its pieces are free again.
const SILENT: Duration = Duration::from_secs(15);
/// Runs at once, whatever a scheduler plans.
const RUNS_MAX: usize = 4;

impl Swarm {
    pub(super) fn fetch(&mut self, now: Time, first: Slot, count: u32) {
        let last = self.board.count().min(first.0.saturating_add(count));
        if first.0 >= last {
            return;
        }
        let (mut left, mut budget) = (self.origin_left(), self.run_budget_for(now, first));
        let mut end = first.0;
        while end < last {
            let piece = self.board.piece(Slot(end));
            let here = piece.held || piece.fetching;
            let len = u64::from(piece.len);
            if here || len > left || budget == 0 || (end > first.0 && !self.board.continues(Slot(end))) {
                break;
            }
            left -= len;
            budget = budget.saturating_sub(len);
            end += 1;
        }
        if end > first.0 && self.origin.runs.len() < RUNS_MAX {
            self.start_run(now, first, end, false);
        }
    }

    /// The first `bytes` bytes of a segment are on their way: whole pieces of them, or the first piece.
    pub(super) fn origin_begun(&mut self, now: Time, segment: SegmentId, bytes: u64) {
        let slots = self.board.slots_of(segment);
        if slots.is_empty() {
            return;
        }
        let first = Slot(slots.start);
        let end = self.board.piece(first).at.saturating_add(bytes);
        let within = |slot: &u32| {
            let piece = self.board.piece(Slot(*slot));
            piece.at + u64::from(piece.len) <= end
        };
        let count = slots.take_while(within).count().max(1) as u32;
        self.fetch(now, first, count);
    }

    /// Fetches one piece a second time from the origin, or for the first time to learn whom to believe.
    pub(super) fn fetch_to_audit(&mut self, now: Time, slot: Slot) {
        let allowed = !self.origin.forbidden && self.origin_left() >= u64::from(self.board.piece(slot).len);
        if !self.board.piece(slot).fetching && allowed {
            self.start_run(now, slot, slot.0 + 1, true);
        }
    }

    fn start_run(&mut self, now: Time, first: Slot, end: u32, audit: bool) {
        let key = self.board.piece(first).key;
        let Some(segment) = self.board.segment(key.segment) else { return };
        let url = segment.url.clone();
        let base = segment.range.map_or(0, |range| range.start());
        let from = segment.layout.bytes_of(key.piece).start;
        let bytes: u64 = (first.0..end).map(|slot| u64::from(self.board.piece(Slot(slot)).len)).sum();
        let Some(range) = ByteRange::new(base + from, base + from + bytes) else { return };
        for slot in first.0..end {
            self.board.piece_mut(Slot(slot)).fetching = true;
        }
        let run = self.origin.next;
        self.origin.next += 1;
        let state = Run {
            first,
            at: first.0,
            end,
            left: bytes,
            buffer: BytesMut::new(),
            asked: now,
            queued: self.passes(now, 0),
            first_byte: None,
            bytes: 0,
            at_once: 0,
            moved: now,
            audit,
        };
        self.limit.asked(now, bytes);
        self.origin.runs.insert(run, state);
        for claim in self.claims(first.0..end) {
            self.tell_takers(&claim);
        }
        self.open(run, url, range);
    }

    fn open(&mut self, run: u64, url: Url, range: ByteRange) {
        self.out.push_back(Output::Fetch { run, url, range });
    }

    /// A new neighbour is told what is on its way.
    pub(super) fn tell_claims(&mut self, link: Handle) {
        let under_way = self.origin.runs.values().filter(|run| !run.audit).map(|run| run.at..run.end);
        for slots in under_way.collect::<Vec<_>>() {
            for claim in self.claims(slots) {
                self.tell(link, claim);
            }
        }
    }

    /// What is said of these slots, one message a segment, so that neighbours wait for them instead of fetching them too.
    fn claims(&self, slots: Range<u32>) -> Vec<Message> {
        let bytes: u64 = slots.clone().map(|slot| u64::from(self.board.piece(Slot(slot)).len)).sum();
        // Where the origin is crowded, its share is a better guess than the rate of a quieter moment.
        let rate = self.origin.rate().min(self.fair_share().max(MIN_SHARE)).max(1);
        let transfer = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let within = (self.origin.first_byte() + transfer) * 2 + Duration::from_secs(1);
        let within_ms = within.as_millis().min(30_000) as u32;
        let mut claims = Vec::new();
        let mut at = slots.start;
        while at < slots.end {
            let key = self.board.piece(Slot(at)).key;
            let stop = self.board.slots_of(key.segment).end.min(slots.end);
            let (first, count) = (key.piece.get(), stop - at);
            claims.push(Message::Claim { segment: key.segment, first, count, within_ms });
            at = stop;
        }
        claims
    }

    pub(super) fn origin_bytes(&mut self, now: Time, id: u64, bytes: Bytes) {
        let Some(run) = self.origin.runs.get_mut(&id) else { return };
        let len = bytes.len() as u64;
        if run.first_byte.is_none() {
            (run.first_byte, run.at_once) = (Some(now), len);
            let took = now.since(run.asked);
            // Pessimistic: rises at once, falls slowly. What was guessed counts for nothing.
            self.origin.first_byte = match self.origin.first_byte {
                None => Some(took),
                // What waited in front of a full line says nothing of the origin.
                Some(seen) if took > seen => Some(if run.queued.is_zero() { took } else { seen }),
                Some(seen) => Some((seen * 7 + took) / 8),
            };
        }
        run.bytes += len;
        run.moved = now;
        run.left = run.left.saturating_sub(len);
        self.origin.meter.add(now, len);
        self.line.came(now, len, !self.is_asked_for_player());
        self.origin.came += len;
        self.origin.failures = 0;
        self.fill_pieces(now, id, bytes);
    }

    /// Takes a run off the books; what it has not brought does not come.
    fn remove_run(&mut self, id: u64) -> Option<Run> {
        let run = self.origin.runs.remove(&id)?;
        self.limit.spared(run.left);
        Some(run)
    }

    /// Makes pieces of what has arrived.
    fn fill_pieces(&mut self, now: Time, id: u64, mut arrived: Bytes) {
        while let Some(run) = self.origin.runs.get_mut(&id) {
            if run.at >= run.end {
                return;
            }
            let slot = Slot(run.at);
            let len = self.board.piece(slot).len as usize;
            let Some(bytes) = run.take_piece(&mut arrived, len) else { return self.deliver(now) };
            run.at += 1;
            let (audit, done) = (run.audit, run.at >= run.end && run.left > 0);
            if done {
                // Cut short: what is still on its way is not wanted.
                self.remove_run(id);
                self.out.push_back(Output::Abort { run: id });
            }
            self.own_piece(now, slot, bytes, audit);
        }
    }

    /// A piece fetched from the origin by this node: the truth, and what others said is judged by it.
    fn own_piece(&mut self, now: Time, slot: Slot, bytes: Bytes, audit: bool) {
        let piece = self.board.piece_mut(slot);
        piece.fetching = false;
        let (key, len) = (piece.key, u64::from(piece.len));
        let Some(layout) = self.board.segment(key.segment).map(|s| s.layout) else { return };
        let digest = list::digest(&layout, key.piece, &bytes);
        let unlike = self.proof.judge(slot, &key, &digest) == Verdict::Wrong;
        let liars = self.proof.own(slot, &key, digest, &mut self.board);
        if unlike || liars.iter().any(|liar| self.proof.is_heard(liar)) {
            self.doubt(now, key.segment);
        }
        for liar in liars {
            self.report.rejected_pieces += 1;
            self.ban(now, liar, "it said the origin has other bytes");
        }
        self.compared(slot, digest);
        self.origin.used += len;
        self.dirty = true;
        if self.board.piece(slot).held {
            self.report.wasted += if audit { 0 } else { len };
            self.report.from_origin += len;
            if self.board.fact(slot).digest.is_some_and(|had| had != digest) {
                // What a peer gave was wrong (possible on the sampled rung only): the origin's bytes replace it.
                self.board.lose(slot);
            } else {
                return;
            }
        } else {
            self.report.from_origin += len;
        }
        self.note_unkept(now, slot);
        self.cancel_others(slot);
        self.keep(now, slot, bytes, digest, Source::Origin);
    }

    pub(super) fn origin_end(&mut self, now: Time, id: u64, result: Result<(), OriginError>) {
        let Some(run) = self.remove_run(id) else { return };
        for slot in run.at..run.end {
            self.board.piece_mut(Slot(slot)).fetching = false;
        }
        if let (Some(first), true) = (run.first_byte, run.bytes - run.at_once >= 64 << 10) {
            let span = run.moved.since(first).max(Duration::from_millis(1)).as_secs_f64();
            let rate = ((run.bytes - run.at_once) as f64 / span) as u64;
            // Pessimistic: falls at once by half, rises slowly. What was guessed counts for nothing.
            self.origin.rate = match self.origin.rate {
                None => Some(rate),
                Some(seen) if rate < seen => Some((seen + rate) / 2),
                Some(seen) => Some((seen * 3 + rate) / 4),
            };
        }
        self.dirty = true;
        let whole = run.at >= run.end;
        let why = match result {
            Ok(()) if whole => return,
            Ok(()) => OriginError::Malformed { what: "it ended early".to_owned() },
            Err(why) => why,
        };
        if self.setup.stream && !why.transient() {
            return self.segment_lost(run.first, why);
        }
        self.origin_failed(now, why);
    }

    /// The origin refuses a segment of a stream: whoever waits for it is told, and nothing more is said of it.
    fn segment_lost(&mut self, slot: Slot, why: OriginError) {
        let segment = self.board.piece(slot).key.segment;
        self.note(Event::OriginFailed { why: why.to_string() });
        self.break_readers_of(segment, why);
        self.retire(segment);
    }

    fn origin_failed(&mut self, now: Time, why: OriginError) {
        // Runs that fail together fail once: two at a time must not make half the patience of it.
        self.origin.failures += u32::from(now >= self.origin.quiet_until);
        let doubled = PAUSE * 2u32.saturating_pow(self.origin.failures.saturating_sub(1).min(10));
        let mut pause = doubled.min(PAUSE_MAX);
        if let OriginError::Status { retry_after: Some(after), .. } = &why {
            pause = pause.max((*after).min(Duration::from_secs(60)));
        }
        self.origin.quiet_until = now + pause;
        self.note(Event::OriginFailed { why: why.to_string() });
        let fatal = !why.transient();
        if fatal {
            self.origin.forbidden = true;
            // Of what has changed nobody fetches more. What this node is refused, others may still get and give.
            let hope = if matches!(why, OriginError::Changed { .. }) { Duration::ZERO } else { HOPE };
            self.origin.over.get_or_insert(Over { why: why.to_string(), hope });
        }
        if fatal || self.origin.failures >= FAILURES_TOLD {
            self.break_readers(why);
        }
    }

    pub(super) fn cut_run(&mut self, id: u64) {
        let Some(run) = self.origin.runs.get_mut(&id).filter(|run| !run.audit) else { return };
        // The piece being filled is finished: half a piece is worth nothing.
        let end = run.end.min(if run.buffer.is_empty() { run.at } else { run.at + 1 });
        let (given_back, stop) = (end..run.end, run.at >= end);
        run.end = end;
        if stop {
            self.remove_run(id);
            self.out.push_back(Output::Abort { run: id });
        }
        let mut at = given_back.start;
        while at < given_back.end {
            let key = self.board.piece(Slot(at)).key;
            self.tell_takers(&Message::Claim {
                segment: key.segment,
                first: key.piece.get(),
                count: 0,
                within_ms: 0,
            });
            at = self.board.slots_of(key.segment).end;
        }
        for slot in given_back {
            self.board.piece_mut(Slot(slot)).fetching = false;
        }
        self.dirty = true;
    }

    /// Ends a run at once, whatever it is for.
    pub(super) fn drop_run(&mut self, id: u64) {
        let Some(run) = self.remove_run(id) else { return };
        for slot in run.at..run.end {
            self.board.piece_mut(Slot(slot)).fetching = false;
        }
        self.out.push_back(Output::Abort { run: id });
        self.dirty = true;
    }

    /// Watches what the origin gives to this node and its neighbours together.
    pub(super) fn refresh_origin(&mut self, now: Time) {
        let silent = |run: &Run| now.since(run.moved) > SILENT;
        let silent: Vec<u64> =
            self.origin.runs.iter().filter(|(_, run)| silent(run)).map(|(id, _)| *id).collect();
        for id in silent {
            self.out.push_back(Output::Abort { run: id });
            self.origin_end(now, id, Err(OriginError::Silent(SILENT)));
        }
        let mine = self.origin.meter.rate(now) as f64;
        let sum = mine + self.links.origin_rate() as f64;
        if sum > self.origin.capacity {
            self.origin.capacity = sum;
        } else if !self.origin.runs.is_empty() {
            let fade = TICK.as_secs_f64() / CAPACITY_MEMORY;
            self.origin.capacity += (sum - self.origin.capacity) * fade;
        }
        if let Some(rate) = self.running_rate(now) {
            // A run under way that is slower than believed is believed at once.
            let rate = rate.max(10_000);
            if rate < self.origin.rate() {
                self.origin.rate = Some(rate);
            }
        }
    }

    /// What the slowest judge of a run under way says: it has run for a while, or been silent for long.
    fn running_rate(&self, now: Time) -> Option<u64> {
        let seen = |run: &Run| {
            let (since, enough) = match run.first_byte {
                Some(first) => (first, RATE_SEEN),
                None => (run.asked, SILENCE_SEEN),
            };
            let span = now.since(since);
            (span > enough).then(|| (run.bytes as f64 / span.as_secs_f64()) as u64)
        };
        self.origin.runs.values().filter_map(seen).min()
    }
}
