//! Serving: who gets the next slot.
//!
//! A bounded number of pieces is handed to the transports at once; the rest waits here, and the neighbour that was given the
//! fewest bytes goes first; those of superpeers count half. How slots share the line is the transport's business. Of a continuous
//! stream no more is taken on than is given in time: see [`width`].

mod width;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use super::{AskId, Output, Swarm};
use crate::layout::{PieceKey, SegmentId};
use crate::schedule::{Handle, Slot};
use crate::transport::Refuse;
use crate::unit::Time;
use crate::verify::{Verified, list};
use width::Width;

/// What a neighbour is told to wait that asks for a slice more than is given in time: it asks another, or the same again while
/// the slice is of use.
const BUSY_STREAM: Duration = Duration::from_millis(100);

/// What a neighbour with a full queue is told to wait.
const BUSY: Duration = Duration::from_millis(300);

/// A superpeer gets this many times as much before it waits for others: that is what it has of being one.
const SUPERPEER_DIVISOR: u64 = 2;

#[derive(Debug)]
pub(super) struct Uploads {
    slots: usize,
    per_peer: usize,
    /// Requests in line; no neighbour's line is empty.
    waiting: BTreeMap<Handle, VecDeque<(AskId, Slot)>>,
    active: BTreeMap<AskId, (Handle, Time)>,
    /// How many of the active ones are each neighbour's.
    serving: BTreeMap<Handle, u32>,
    loading: BTreeMap<Slot, Vec<AskId>>,
    /// How many at once are given in time, of a stream.
    width: Width,
}

impl Uploads {
    pub(super) fn new(slots: usize, per_peer: usize) -> Self {
        Self {
            slots,
            per_peer,
            waiting: BTreeMap::new(),
            active: BTreeMap::new(),
            serving: BTreeMap::new(),
            loading: BTreeMap::new(),
            width: Width::default(),
        }
    }

    /// The next request in line of `link` gets a slot.
    fn begin(&mut self, now: Time, link: Handle) -> Option<(AskId, Slot)> {
        let queue = self.waiting.get_mut(&link)?;
        let next = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&link);
        }
        let (ask, slot) = next?;
        self.active.insert(ask, (link, now));
        *self.serving.entry(link).or_default() += 1;
        Some((ask, slot))
    }

    /// A request gives its slot back; false if it had none.
    fn end(&mut self, ask: AskId) -> bool {
        let Some((link, _)) = self.active.remove(&ask) else { return false };
        if let Some(count) = self.serving.get_mut(&link) {
            *count -= 1;
            if *count == 0 {
                self.serving.remove(&link);
            }
        }
        true
    }

    pub(super) fn drop_link(&mut self, link: Handle) {
        self.waiting.remove(&link);
        if self.serving.remove(&link).is_some() {
            self.active.retain(|_, (of, _)| *of != link);
        }
    }

    pub(super) fn refuse_all(&mut self, out: &mut VecDeque<Output>) {
        for (_, queue) in std::mem::take(&mut self.waiting) {
            out.extend(queue.into_iter().map(|(ask, _)| Output::Refuse { ask, why: Refuse::NoSwarm }));
        }
    }
}

impl Uploads {
    /// Nothing of these slots is given any more.
    pub(super) fn retire(&mut self, slots: &std::ops::Range<u32>, out: &mut VecDeque<Output>) {
        let mut refused = Vec::new();
        for queue in self.waiting.values_mut() {
            queue.retain(|(ask, slot)| {
                let stays = !slots.contains(&slot.0);
                refused.extend((!stays).then_some(*ask));
                stays
            });
        }
        self.waiting.retain(|_, queue| !queue.is_empty());
        for slot in slots.clone().map(Slot) {
            for ask in self.loading.remove(&slot).unwrap_or_default() {
                self.end(ask);
                refused.push(ask);
            }
        }
        out.extend(refused.into_iter().map(|ask| Output::Refuse { ask, why: Refuse::NotHere }));
    }

    /// The first `count` slots are gone.
    pub(super) fn drop_front(&mut self, count: u32) {
        let waiting = self.waiting.values_mut().flatten();
        waiting.for_each(|(_, slot)| *slot = slot.down(count));
        let loading = std::mem::take(&mut self.loading);
        self.loading = loading.into_iter().map(|(slot, asks)| (slot.down(count), asks)).collect();
    }
}

impl Swarm {
    /// The key of a piece that is here and given to others; `None` if it is not.
    pub fn given(&self, segment: SegmentId, piece: u32) -> Option<PieceKey> {
        let piece = self.board.segment(segment)?.layout.piece(piece)?;
        let key = PieceKey { segment, piece };
        let shared = |slot: &Slot| self.board.fact(*slot).shared;
        self.board.slot_of(&key).filter(shared).filter(|_| self.setup.give).map(|_| key)
    }

    pub(super) fn asked(&mut self, now: Time, link: Handle, ask: AskId, key: PieceKey) {
        let slot = self.board.slot_of(&key).filter(|slot| self.board.fact(*slot).shared);
        let refusal = match slot {
            _ if !self.setup.give => Some(Refuse::NoSwarm),
            None => Some(Refuse::NotHere),
            Some(_) if !self.receipts.trusts(link) => Some(Refuse::Busy(BUSY)),
            Some(_) if self.upload.waiting.get(&link).is_some_and(|q| q.len() >= self.upload.per_peer) => {
                Some(Refuse::Busy(BUSY))
            }
            Some(_) if self.slices.flow() && !self.upload.width.has_room(self.upload.active.len()) => {
                Some(Refuse::Busy(BUSY_STREAM))
            }
            Some(slot) => {
                self.upload.waiting.entry(link).or_default().push_back((ask, slot));
                None
            }
        };
        if let Some(why) = refusal {
            self.out.push_back(Output::Refuse { ask, why });
        }
        self.serve_next(now);
    }

    pub(super) fn ask_gone(&mut self, now: Time, ask: AskId) {
        if let Some((link, since)) = self.upload.active.get(&ask) {
            let rtt = self.links.get(*link).map_or(Duration::ZERO, |neighbour| neighbour.rtt);
            let took = now.since(*since).saturating_sub(rtt);
            self.upload.width.given(self.upload.active.len(), took);
        }
        if !self.upload.end(ask) {
            self.upload.waiting.retain(|_, queue| {
                queue.retain(|(other, _)| *other != ask);
                !queue.is_empty()
            });
        }
        self.serve_next(now);
    }

    pub(super) fn serve_next(&mut self, now: Time) {
        while self.upload.active.len() < self.upload.slots {
            let served = |link: &Handle| {
                let active = self.upload.serving.get(link).copied().unwrap_or_default();
                let given = self.links.side(*link).map_or(0, |side| side.to);
                let superpeer = self.links.get(*link).is_some_and(|neighbour| neighbour.superpeer);
                (active, if superpeer { given / SUPERPEER_DIVISOR } else { given })
            };
            let Some(link) = self
                .upload
                .waiting
                .keys()
                .copied()
                .filter(|link| self.receipts.trusts(*link))
                .min_by_key(served)
            else {
                return;
            };
            let Some((ask, slot)) = self.upload.begin(now, link) else { return };
            // Counted before it is loaded, so that many loads at once are not given on trust; one that fails is forgiven as one
            // that is cancelled.
            self.receipts.gave(link, u64::from(self.board.piece(slot).len));
            match self.board.hot(slot).cloned() {
                Some(bytes) => self.serve(ask, link, bytes),
                None => {
                    let waiters = self.upload.loading.entry(slot).or_default();
                    waiters.push(ask);
                    if waiters.len() == 1 {
                        self.out.push_back(Output::Load(self.board.piece(slot).key));
                    }
                }
            }
        }
    }

    fn serve(&mut self, ask: AskId, link: Handle, bytes: Verified<Bytes>) {
        self.report.uploaded += bytes.len() as u64;
        if let Some(side) = self.links.side_mut(link) {
            side.to += bytes.len() as u64;
        }
        self.out.push_back(Output::Serve { ask, bytes });
    }

    /// A piece came from the store. It is hashed again: a damaged cache loses pieces, it never gives wrong bytes.
    pub(super) fn loaded(&mut self, now: Time, key: PieceKey, bytes: Option<Bytes>) {
        let Some(slot) = self.board.slot_of(&key) else { return };
        let right = bytes.filter(|bytes| {
            let layout = self.board.segment(key.segment).map(|segment| segment.layout);
            let whole = bytes.len() == self.board.piece(slot).len as usize;
            let found = layout.filter(|_| whole).map(|layout| list::digest(&layout, key.piece, bytes));
            found.is_some() && found == self.board.fact(slot).digest
        });
        let waiters = self.upload.loading.remove(&slot).unwrap_or_default();
        self.readers.loaded();
        match right {
            Some(bytes) => {
                let bytes = Verified::checked(bytes);
                self.board.warm(slot, bytes.clone(), self.setup.limits.cache_bytes);
                for ask in waiters {
                    if let Some((link, _)) = self.upload.active.get(&ask).copied() {
                        self.serve(ask, link, bytes.clone());
                    }
                }
            }
            None => {
                self.board.lose(slot);
                self.dirty = true;
                for ask in waiters {
                    self.upload.end(ask);
                    self.out.push_back(Output::Refuse { ask, why: Refuse::NotHere });
                }
            }
        }
        self.deliver(now);
        self.serve_next(now);
    }
}
