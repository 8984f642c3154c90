//! Readers: a player or a download that takes the resource's bytes in order.
//!
//! A piece is due when a reader's virtual play head gets to it: see [`pace`](super::pace).

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::pace::{Most, Pacing};
use super::{Input, Output, ReaderId, Source, Swarm};
use crate::id::Digest;
use crate::layout::{PieceKey, SegmentId};
use crate::origin::OriginError;
use crate::schedule::Slot;
use crate::store::{Held, Kept};
use crate::swarm::report::Event;
use crate::unit::{Rate, Time};
use crate::verify::Verified;

mod broken;

use broken::gone_error;

/// A wait longer than this is a stall.
const STALL: Duration = Duration::from_millis(250);
/// Who has waited for so long is given what has come of a piece, instead of waiting for its end: at 2 Mbit/s that is another 250 ms,
/// which a player of the origin alone does not wait for. Who waits less is downloading faster than it is worth a delivery more.
const PART_AFTER: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(super) struct Readers {
    /// How far ahead pieces are due at all.
    ahead: Duration,
    all: BTreeMap<ReaderId, Reader>,
    loading: bool,
    /// What a player is expected to read although no reader is there yet.
    expected: Vec<Expected>,
    /// Bytes of the content played a second in the mean, if known.
    told: Option<Rate>,
}

/// A segment a player is expected to play: it reads ahead of that, but not earlier than it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Which.
    pub segment: SegmentId,
    /// When it begins to play it.
    pub from: Time,
    /// When it has played it.
    pub until: Time,
}

/// Segments of the store remembered before they are cut: two days of a stream in segments of six seconds.
const HELD_EARLY_MAX: usize = 32_768;
/// Segments expected at once: two minutes ahead of several players, in segments of two seconds.
const EXPECTED_MAX: usize = 512;

#[derive(Debug)]
struct Reader {
    /// Next byte to deliver.
    at: u64,
    end: u64,
    playing: bool,
    opened: Time,
    /// Since when it waits for bytes; `None` while it has not pulled.
    waits: Option<Time>,
    stalled: bool,
    pacing: Pacing,
}

impl Readers {
    /// For readers whose pieces are due so far `ahead` of them.
    pub(super) fn new(ahead: Duration) -> Self {
        Self { ahead, ..Self::default() }
    }

    /// Whether nobody reads.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.expected.is_empty()
    }

    /// A load is done: the next may begin, without waiting for a tick.
    pub(super) fn loaded(&mut self) {
        self.loading = false;
    }

    pub(super) fn retire(&mut self, id: SegmentId) {
        self.expected.retain(|expected| expected.segment != id);
    }
}

impl Swarm {
    pub(super) fn read(&mut self, now: Time, id: ReaderId, bytes: Range<u64>, playing: bool, had: u64) {
        let Range { start: at, end } = bytes;
        if self.readers.all.len() >= self.setup.limits.readers {
            let why = OriginError::Other { by: "pcdn", source: "too many readers of one resource".into() };
            return self.out.push_back(Output::Broken { reader: id, why });
        }
        if at < end && self.board.is_gone(at) {
            return self.out.push_back(Output::Broken { reader: id, why: gone_error() });
        }
        let mut pacing = Pacing::new(now);
        if had > 0 {
            pacing.given(now, at.saturating_sub(had), had);
            self.report.start.get_or_insert(Duration::ZERO);
        }
        let reader = Reader { at, end, playing, opened: now, waits: None, stalled: false, pacing };
        self.readers.all.insert(id, reader);
        self.refresh_readers(now);
        self.dirty = true;
    }

    /// What players are expected to read; takes the place of what was expected before.
    pub(super) fn expect(&mut self, now: Time, mut expected: Vec<Expected>) {
        expected.truncate(EXPECTED_MAX);
        self.readers.expected = expected;
        self.refresh_readers(now);
        self.dirty = true;
    }

    /// How fast the content plays in the mean.
    pub(super) fn plays(&mut self, now: Time, pace: Rate) {
        self.readers.told = Some(pace);
        self.line.plays(pace);
        self.refresh_readers(now);
        self.dirty = true;
    }

    pub(super) fn pull(&mut self, now: Time, id: ReaderId) {
        let Some(reader) = self.readers.all.get_mut(&id) else { return };
        reader.waits = Some(now);
        reader.pacing.pulled(now);
        self.deliver(now);
        self.break_stranded(now);
    }

    pub(super) fn read_end(&mut self, now: Time, id: ReaderId) {
        self.readers.all.remove(&id);
        self.refresh_readers(now);
        self.dirty = true;
    }

    /// Gives every waiting reader what is here.
    pub(super) fn deliver(&mut self, now: Time) {
        let ids: Vec<ReaderId> =
            self.readers.all.iter().filter(|(_, r)| r.waits.is_some()).map(|(id, _)| *id).collect();
        for id in ids {
            self.deliver_to(now, id);
        }
    }

    fn deliver_to(&mut self, now: Time, id: ReaderId) {
        let Some(reader) = self.readers.all.get_mut(&id) else { return };
        let Some(slot) = self.board.slot_at(reader.at) else { return };
        let piece = self.board.piece(slot);
        // Nobody is given what follows what is to be compared, nor a part of that.
        let before = self.board.slots_of(piece.key.segment).start..slot.0 + u32::from(!piece.held);
        if self.doubts.is_open(before) {
            return;
        }
        if !piece.held {
            return self.deliver_part_to(now, id, slot);
        }
        let (skip, key) = (reader.at - piece.at, piece.key);
        let Some(bytes) = self.board.hot(slot).cloned() else {
            return self.load_for_reader(key);
        };
        let part = bytes.into_inner().slice(skip as usize..);
        let source = self.board.fact(slot).source.unwrap_or(Source::Cache);
        self.hand_out(now, id, part, source);
    }

    /// Gives a reader that has waited, or has had nothing yet, what has come of the piece it is at. Only of what this node itself
    /// fetches from the origin, and of which nobody has said what it is: where something is to be compared, all of it is.
    fn deliver_part_to(&mut self, now: Time, id: ReaderId, slot: Slot) {
        let Some(reader) = self.readers.all.get(&id) else { return };
        let hurry = |since| !reader.pacing.has_started() || now.since(since) >= PART_AFTER;
        if !reader.waits.is_some_and(hurry) {
            return;
        }
        let piece = self.board.piece(slot);
        if !self.proof.is_untold(slot, &piece.key) {
            return;
        }
        let skip = (reader.at - piece.at) as usize;
        if let Some(part @ [_, ..]) = self.origin.part_of(slot).get(skip..) {
            let part = Bytes::copy_from_slice(part);
            self.hand_out(now, id, part, Source::Origin);
        }
    }

    fn hand_out(&mut self, now: Time, id: ReaderId, mut part: Bytes, source: Source) {
        let Some(reader) = self.readers.all.get_mut(&id) else { return };
        let take = (part.len() as u64).min(reader.end.saturating_sub(reader.at));
        if take == 0 {
            return;
        }
        part.truncate(take as usize);
        let waited = now.since(reader.waits.take().unwrap_or(now));
        if reader.pacing.given(now, reader.at, take) {
            self.report.start.get_or_insert(now.since(reader.opened));
        } else if reader.stalled {
            self.report.stalls += 1;
            self.report.stalled += waited;
        }
        reader.stalled = false;
        reader.at += take;
        let own = source == Source::Origin;
        let bytes = if own { Verified::from_origin(part) } else { Verified::checked(part) };
        self.out.push_back(Output::Deliver { reader: id, bytes, source });
    }

    fn load_for_reader(&mut self, key: PieceKey) {
        if !self.readers.loading {
            self.readers.loading = true;
            self.out.push_back(Output::Load(key));
        }
    }

    /// Sets when each piece is due: the soonest any player's virtual head gets to it.
    pub(super) fn refresh_readers(&mut self, now: Time) {
        self.readers.loading = false;
        let most = Most { fair: self.fair_share() as f64, line: self.bound() };
        let mut windows = Vec::new();
        for reader in self.readers.all.values_mut().filter(|reader| reader.playing && reader.at < reader.end)
        {
            let demands = reader.pacing.demands(now, reader.at, reader.end, most, self.readers.told);
            let waits = reader.waits.is_some_and(|since| now.since(since) > STALL);
            let dry = demands.iter().all(|demand| demand.ahead == 0.0) && reader.pacing.has_started();
            if waits && dry && !reader.stalled {
                reader.stalled = true;
                reader.pacing.stalled(reader.at, self.readers.told);
                self.out.push_back(Output::Note(Event::Stalled));
            }
            windows.extend(demands.into_iter().map(|demand| (reader.at, demand)));
        }
        self.board.clear_dues();
        for (at, demand) in windows {
            self.board.set_dues(now, at, &demand, self.readers.ahead);
        }
        for expected in self.readers.expected.iter().filter(|e| e.from <= now + self.readers.ahead) {
            self.board.expect(expected.segment, expected.from, expected.until);
        }
        self.deliver(now);
        self.break_stranded(now);
    }

    /// What the origin alone would give this node, as far as its own bound lets it through.
    pub(super) fn fair_share(&self) -> u64 {
        let downloaders = 1 + self.links.all().iter().filter(|n| !n.complete).count() as u64;
        (self.origin.view_capacity() / downloaders).min(self.bound().0)
    }

    /// A piece is here and right: it is kept, told, and given to whoever waits.
    pub(super) fn keep(&mut self, now: Time, slot: Slot, bytes: Bytes, digest: Digest, source: Source) {
        let key = self.board.piece(slot).key;
        let Some(layout) = self.board.segment(key.segment).map(|segment| segment.layout) else { return };
        let own = source == Source::Origin;
        let shared = self.proof.may_share(slot, &key, &digest);
        let bytes = if own { Verified::from_origin(bytes) } else { Verified::checked(bytes) };
        self.board.hold(slot, digest, own, shared, source);
        self.board.warm(slot, bytes.clone(), self.setup.limits.cache_bytes);
        // Whoever looks at it may say how the content plays: that comes before the next plan.
        self.hold_plan |= slot == Slot(0) && !self.setup.stream;
        self.out.push_back(Output::Keep { key, layout, kept: Kept { bytes, digest, own } });
        self.dirty = true;
        self.deliver(now);
    }

    /// What the store holds already counts as here; it is hashed when it is first used.
    pub(super) fn held(&mut self, held: Vec<Held>) {
        for entry in held {
            if self.board.segment(entry.key.segment).is_none() {
                if self.held_early.len() < HELD_EARLY_MAX {
                    self.held_early.entry(entry.key.segment).or_default().push(entry);
                }
                continue;
            }
            let fits = self.board.segment(entry.key.segment).is_some_and(|s| s.layout == entry.layout);
            let Some(slot) = self.board.slot_of(&entry.key).filter(|_| fits) else { continue };
            if self.board.piece(slot).held {
                continue;
            }
            let shared = self.proof.may_share(slot, &entry.key, &entry.digest);
            self.board.hold(slot, entry.digest, entry.own, shared, Source::Cache);
            self.report.from_cache += u64::from(self.board.piece(slot).len);
            if entry.own {
                let liars = self.proof.own(slot, &entry.key, entry.digest, &mut self.board);
                debug_assert!(liars.is_empty(), "nobody has said anything before the store was read");
            }
        }
        self.dirty = true;
    }
}

impl Input {
    /// A player's read of all from `at` to `end`.
    pub fn play(reader: u64, at: u64, end: u64) -> Self {
        Input::Read { reader: ReaderId(reader), at, end, playing: true, had: 0 }
    }
}

#[cfg(test)]
mod tests;
