//! All pieces of the resource and what is known of each. Knows no peer and no source.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::bitmap::Bitmap;
use crate::fragment::Segment;
use crate::id::Digest;
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::schedule::{Piece, Slot};
use crate::swarm::Source;
use crate::swarm::pace::Demand;
use crate::unit::Time;
use crate::verify::Verified;

/// The pieces in order, and the segments they belong to.
#[derive(Debug, Default)]
pub struct Board {
    pieces: Vec<Piece>,
    facts: Vec<Fact>,
    segments: BTreeMap<SegmentId, Entry>,
    by_first: Vec<SegmentId>,
    hot: BTreeMap<Slot, Verified<Bytes>>,
    hot_order: VecDeque<Slot>,
    hot_bytes: u64,
    changed: BTreeSet<SegmentId>,
    len: u64,
    missing: u32,
    missing_bytes: u64,
    closed: bool,
    /// No piece before this slot is missing.
    head: u32,
    /// Slots that may have a due time.
    due: Range<u32>,
}

/// What is known of a piece beside what a scheduler sees.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fact {
    /// Its digest, once it is here.
    pub(super) digest: Option<Digest>,
    /// Fetched from the origin by this node.
    pub(super) own: bool,
    /// May be given to peers.
    pub(super) shared: bool,
    /// Where it came from.
    pub(super) source: Option<Source>,
}

#[derive(Debug)]
struct Entry {
    segment: Segment,
    first: u32,
}

impl Board {
    pub(super) fn add(&mut self, segment: Segment) {
        if self.segments.contains_key(&segment.id) {
            return;
        }
        let first = self.pieces.len() as u32;
        for piece in segment.layout.iter() {
            let bytes = segment.layout.bytes_of(piece);
            let len = segment.layout.piece_len(piece);
            let key = PieceKey { segment: segment.id, piece };
            self.pieces.push(Piece { key, len, at: segment.offset + bytes.start, ..Piece::empty() });
            self.facts.push(Fact::default());
            self.missing += 1;
            self.missing_bytes += u64::from(len);
            self.len += u64::from(len);
        }
        self.by_first.push(segment.id);
        self.segments.insert(segment.id, Entry { segment, first });
    }

    /// A segment left the live window: nobody wants or gives its pieces any more. Its slots stay, empty, until all before them
    /// are empty too: see [`drop_front`](Self::drop_front).
    pub(super) fn retire(&mut self, id: SegmentId) -> Range<u32> {
        let slots = self.slots_of(id);
        if self.segments.remove(&id).is_none() {
            return 0..0;
        }
        for slot in slots.clone() {
            self.cool(Slot(slot));
            let piece = &mut self.pieces[slot as usize];
            if !piece.held {
                self.missing -= 1;
                self.missing_bytes -= u64::from(piece.len);
            }
            self.len -= u64::from(piece.len);
            *piece = Piece { key: piece.key, at: piece.at, held: true, ..Piece::empty() };
            self.facts[slot as usize] = Fact::default();
        }
        self.by_first.retain(|other| *other != id);
        self.changed.remove(&id);
        slots
    }

    /// Slots in front that belong to no segment any more.
    pub(super) fn empty_front(&self) -> u32 {
        match self.by_first.first() {
            Some(first) => self.slots_of(*first).start,
            None => self.count(),
        }
    }

    /// Drops the first `count` slots, which are [empty](Self::empty_front); all others move down by as many.
    pub(super) fn drop_front(&mut self, count: u32) {
        debug_assert!(count <= self.empty_front());
        self.pieces.drain(..count as usize);
        self.facts.drain(..count as usize);
        self.segments.values_mut().for_each(|entry| entry.first -= count);
        self.hot = std::mem::take(&mut self.hot).into_iter().map(|(slot, b)| (slot.down(count), b)).collect();
        self.hot_order.iter_mut().for_each(|slot| *slot = slot.down(count));
        self.head = self.head.saturating_sub(count);
        self.due = self.due.start.saturating_sub(count)..self.due.end.saturating_sub(count);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// All pieces in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes of all pieces.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is no piece.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The first piece not here; one past the last if there is none.
    pub(super) fn first_missing(&mut self) -> Slot {
        while self.pieces.get(self.head as usize).is_some_and(|piece| piece.held) {
            self.head += 1;
        }
        Slot(self.head)
    }

    /// Pieces not here.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// Their bytes.
    pub fn missing_bytes(&self) -> u64 {
        self.missing_bytes
    }

    /// Every segment with its layout and what is held of it.
    pub fn segments(&self) -> impl Iterator<Item = (SegmentId, Layout, Bitmap)> + '_ {
        self.segments.iter().map(|(id, entry)| {
            let mut map = Bitmap::new(entry.segment.layout.pieces());
            for i in 0..map.len() {
                if self.pieces[(entry.first + i) as usize].held {
                    map.set(i);
                }
            }
            (*id, entry.segment.layout, map)
        })
    }

    pub(super) fn piece(&self, slot: Slot) -> &Piece {
        &self.pieces[slot.0 as usize]
    }

    pub(super) fn piece_mut(&mut self, slot: Slot) -> &mut Piece {
        &mut self.pieces[slot.0 as usize]
    }

    pub(super) fn fact(&self, slot: Slot) -> &Fact {
        &self.facts[slot.0 as usize]
    }

    pub(super) fn fact_mut(&mut self, slot: Slot) -> &mut Fact {
        &mut self.facts[slot.0 as usize]
    }

    pub(super) fn count(&self) -> u32 {
        self.pieces.len() as u32
    }

    pub(super) fn segment(&self, id: SegmentId) -> Option<&Segment> {
        self.segments.get(&id).map(|entry| &entry.segment)
    }

    pub(super) fn segment_ids(&self) -> impl Iterator<Item = SegmentId> + '_ {
        self.by_first.iter().copied()
    }

    /// The slots of a segment, as numbers.
    pub(super) fn slots_of(&self, id: SegmentId) -> Range<u32> {
        match self.segments.get(&id) {
            Some(entry) => entry.first..entry.first + entry.segment.layout.pieces(),
            None => 0..0,
        }
    }

    pub(super) fn slot_of(&self, key: &PieceKey) -> Option<Slot> {
        let entry = self.segments.get(&key.segment)?;
        entry.segment.layout.piece(key.piece.get()).map(|piece| Slot(entry.first + piece.get()))
    }

    /// Whether `slot` lies right behind the slot before it in the same URL, so that one range request can have both.
    pub(super) fn continues(&self, slot: Slot) -> bool {
        let Some(before) = slot.0.checked_sub(1) else { return false };
        let (a, b) = (self.pieces[before as usize].key.segment, self.piece(slot).key.segment);
        if a == b {
            return true;
        }
        let (Some(a), Some(b)) = (self.segment(a), self.segment(b)) else { return false };
        match (a.range, b.range) {
            (Some(left), Some(right)) => left.end() == right.start() && a.url == b.url,
            _ => false,
        }
    }

    /// The slot that holds byte `at` of the resource.
    pub(super) fn slot_at(&self, at: u64) -> Option<Slot> {
        let after = self.pieces.partition_point(|piece| piece.at <= at);
        let slot = after.checked_sub(1)?;
        let piece = &self.pieces[slot];
        (at < piece.at + u64::from(piece.len)).then_some(Slot(slot as u32))
    }

    /// Whether the byte at `at` was of a segment that has left.
    pub(super) fn is_gone(&self, at: u64) -> bool {
        match self.pieces.partition_point(|piece| piece.at <= at).checked_sub(1) {
            Some(slot) => self.pieces[slot].len == 0,
            None => !self.pieces.is_empty(),
        }
    }

    /// A piece is here. `shared`: it may be given on.
    pub(super) fn hold(&mut self, slot: Slot, digest: Digest, own: bool, shared: bool, source: Source) {
        let fact = &mut self.facts[slot.0 as usize];
        *fact = Fact { digest: Some(digest), own: own || fact.own, shared, source: Some(source) };
        let piece = &mut self.pieces[slot.0 as usize];
        let segment = piece.key.segment;
        if !piece.held {
            piece.held = true;
            self.missing -= 1;
            self.missing_bytes -= u64::from(piece.len);
        }
        if shared {
            self.changed.insert(segment);
        }
    }

    /// A piece is not here after all.
    pub(super) fn lose(&mut self, slot: Slot) {
        self.cool(slot);
        self.facts[slot.0 as usize] = Fact::default();
        let piece = &mut self.pieces[slot.0 as usize];
        if piece.held {
            self.head = self.head.min(slot.0);
            piece.held = false;
            self.missing += 1;
            self.missing_bytes += u64::from(piece.len);
            self.changed.insert(piece.key.segment);
        }
    }

    /// Keeps bytes in memory, the oldest leaving when there are more than `max`.
    pub(super) fn warm(&mut self, slot: Slot, bytes: Verified<Bytes>, max: u64) {
        self.hot_bytes += bytes.len() as u64;
        if let Some(old) = self.hot.insert(slot, bytes) {
            self.hot_bytes -= old.len() as u64;
        } else {
            self.hot_order.push_back(slot);
        }
        while self.hot_bytes > max && self.hot_order.len() > 1 {
            let Some(oldest) = self.hot_order.pop_front() else { break };
            if let Some(bytes) = self.hot.remove(&oldest) {
                self.hot_bytes -= bytes.len() as u64;
            }
        }
    }

    fn cool(&mut self, slot: Slot) {
        if let Some(bytes) = self.hot.remove(&slot) {
            self.hot_bytes -= bytes.len() as u64;
            self.hot_order.retain(|other| *other != slot);
        }
    }

    /// The bytes, if they are in memory.
    pub(super) fn hot(&self, slot: Slot) -> Option<&Verified<Bytes>> {
        self.hot.get(&slot)
    }

    /// Nobody waits for anything.
    pub(super) fn clear_dues(&mut self) {
        for slot in self.due.clone() {
            self.pieces[slot as usize].due = Time::NEVER;
        }
        self.due = 0..0;
    }

    /// A reader at byte `at` wants this.
    pub(super) fn set_dues(&mut self, now: Time, at: u64, demand: &Demand, horizon: Duration) {
        let Demand { end, pace, ahead } = *demand;
        let Some(first) = self.slot_at(at) else { return };
        let mut last = first.0;
        for piece in &mut self.pieces[first.0 as usize..] {
            let bytes = piece.at.saturating_sub(at) as f64 + ahead;
            let wait = Duration::from_secs_f64(bytes / pace.max(1.0));
            if wait > horizon || piece.at >= end {
                break;
            }
            piece.due = piece.due.min(now + wait);
            last += 1;
        }
        self.due = match self.due.is_empty() {
            true => first.0..last,
            false => self.due.start.min(first.0)..self.due.end.max(last),
        };
    }

    /// A segment is expected to be played from `from` to `until`, byte by byte at an even pace.
    pub(super) fn expect(&mut self, id: SegmentId, from: Time, until: Time) {
        let slots = self.slots_of(id);
        let span = until.since(from).as_secs_f64();
        let pieces = slots.len().max(1) as f64;
        for (i, slot) in slots.clone().enumerate() {
            let due = from + Duration::from_secs_f64(span * i as f64 / pieces);
            let piece = &mut self.pieces[slot as usize];
            piece.due = piece.due.min(due);
        }
        self.due = match (self.due.is_empty(), slots.is_empty()) {
            (_, true) => self.due.clone(),
            (true, _) => slots,
            _ => self.due.start.min(slots.start)..self.due.end.max(slots.end),
        };
    }

    /// Segments whose shared pieces changed since the last call.
    pub(super) fn take_changed(&mut self) -> BTreeSet<SegmentId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn changed(&self) -> impl Iterator<Item = &SegmentId> {
        self.changed.iter()
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What may be given of a segment.
    pub(super) fn shared_map(&self, id: SegmentId) -> Option<(Layout, Bitmap)> {
        let layout = self.segments.get(&id)?.segment.layout;
        let mut map = Bitmap::new(layout.pieces());
        for (i, slot) in self.slots_of(id).enumerate() {
            if self.facts[slot as usize].shared {
                map.set(i as u32);
            }
        }
        Some((layout, map))
    }
}
