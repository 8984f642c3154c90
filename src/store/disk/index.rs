//! What is kept, in memory: answers without touching the disk, and knows who leaves next.
//!
//! About 60 bytes a piece: 10 MB for 10 GiB in pieces of 64 KiB.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use pcdn_core::id::{Digest, SwarmKey};
use pcdn_core::layout::{Layout, PieceIndex, PieceKey, SegmentId};
use pcdn_core::store::Held;

use super::record::Record;

/// Everything kept, and how long ago it was used.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) swarms: HashMap<SwarmKey, Swarm>,
    /// Segments by the tick of their last use: the first is the next to leave.
    by_age: BTreeMap<u64, (SwarmKey, SegmentId)>,
    ticks: u64,
    /// Swarms whose segments stay.
    protected: HashSet<SwarmKey>,
    /// Bytes on disk: data files and logs, in allocated blocks.
    pub(super) used: u64,
}

/// One swarm's part.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    pub(super) segments: BTreeMap<SegmentId, Slot>,
    /// Records in the log, and so where the next one goes.
    pub(super) log_records: u64,
    /// Pieces kept, over all segments: the records a fresh log would have.
    pub(super) live: u64,
}

/// One segment.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) layout: Layout,
    pub(super) pieces: BTreeMap<PieceIndex, Piece>,
    /// Tells this segment from one of the same number that was forgotten: a write that began before must not count.
    pub(super) birth: u64,
    /// Allocated bytes of the data file.
    pub(super) charge: u64,
    tick: u64,
    read_at: Option<Instant>,
}

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) digest: Digest,
    pub(super) own: bool,
}

impl Index {
    pub(super) fn slot(&self, swarm: &SwarmKey, segment: SegmentId) -> Option<&Slot> {
        self.swarms.get(swarm)?.segments.get(&segment)
    }

    pub(super) fn slot_mut(&mut self, swarm: &SwarmKey, segment: SegmentId) -> Option<&mut Slot> {
        self.swarms.get_mut(swarm)?.segments.get_mut(&segment)
    }

    /// A new segment without pieces, used just now.
    pub(super) fn add(&mut self, swarm: &SwarmKey, segment: SegmentId, layout: Layout) -> &mut Slot {
        self.ticks += 1;
        let tick = self.ticks;
        self.by_age.insert(tick, (*swarm, segment));
        let slot = Slot { layout, pieces: BTreeMap::new(), birth: tick, charge: 0, tick, read_at: None };
        self.swarms.entry(*swarm).or_default().segments.entry(segment).insert_entry(slot).into_mut()
    }

    /// Takes a segment out; its bytes no longer count.
    pub(super) fn remove(&mut self, swarm: &SwarmKey, segment: SegmentId) -> Option<Slot> {
        let kept = self.swarms.get_mut(swarm)?;
        let slot = kept.segments.remove(&segment)?;
        kept.live -= slot.pieces.len() as u64;
        self.by_age.remove(&slot.tick);
        self.used -= slot.charge;
        Some(slot)
    }

    /// The segment was used now, and read now if `read_at` says so.
    pub(super) fn touch(&mut self, swarm: &SwarmKey, segment: SegmentId, read_at: Option<Instant>) {
        self.ticks += 1;
        let tick = self.ticks;
        let Some(slot) = self.slot_mut(swarm, segment) else { return };
        let before = std::mem::replace(&mut slot.tick, tick);
        slot.read_at = read_at.or(slot.read_at);
        self.by_age.remove(&before);
        self.by_age.insert(tick, (*swarm, segment));
    }

    pub(super) fn keep(&mut self, swarm: &SwarmKey, key: &PieceKey, piece: Piece) {
        let Some(kept) = self.swarms.get_mut(swarm) else { return };
        let Some(slot) = kept.segments.get_mut(&key.segment) else { return };
        kept.live += u64::from(slot.pieces.insert(key.piece, piece).is_none());
    }

    pub(super) fn lose(&mut self, swarm: &SwarmKey, key: &PieceKey) -> bool {
        let Some(kept) = self.swarms.get_mut(swarm) else { return false };
        let Some(slot) = kept.segments.get_mut(&key.segment) else { return false };
        let lost = slot.pieces.remove(&key.piece).is_some();
        kept.live -= u64::from(lost);
        lost
    }

    /// The data file of a segment now has `charge` allocated bytes.
    pub(super) fn recharge(&mut self, swarm: &SwarmKey, segment: SegmentId, charge: u64) {
        let Some(slot) = self.slot_mut(swarm, segment) else { return };
        let before = std::mem::replace(&mut slot.charge, charge);
        self.used = self.used - before + charge;
    }

    /// Replays one record of a log.
    pub(super) fn replay(&mut self, swarm: &SwarmKey, record: Record) {
        match record {
            Record::Kept { segment, layout, piece, digest, own } => {
                if self.slot(swarm, segment).is_none_or(|slot| slot.layout != layout) {
                    self.remove(swarm, segment);
                    self.add(swarm, segment, layout);
                }
                self.keep(swarm, &PieceKey { segment, piece }, Piece { digest, own });
            }
            Record::Lost { segment, piece, layout } => {
                if self.slot(swarm, segment).is_some_and(|slot| slot.layout == layout) {
                    self.lose(swarm, &PieceKey { segment, piece });
                }
            }
            Record::Forgotten { segment } => drop(self.remove(swarm, segment)),
        }
    }

    pub(super) fn held(&self, swarm: &SwarmKey) -> Vec<Held> {
        let Some(kept) = self.swarms.get(swarm) else { return Vec::new() };
        let mut held = Vec::with_capacity(kept.live as usize);
        for (segment, slot) in &kept.segments {
            held.extend(slot.pieces.iter().map(|(piece, Piece { digest, own })| Held {
                key: PieceKey { segment: *segment, piece: *piece },
                layout: slot.layout,
                digest: *digest,
                own: *own,
            }));
        }
        held
    }

    /// Whether segments of the swarm stay.
    pub(super) fn protect(&mut self, swarm: &SwarmKey, protected: bool) {
        match protected {
            true => self.protected.insert(*swarm),
            false => self.protected.remove(swarm),
        };
    }

    /// Segments whose leaving frees at least `bytes`, oldest first, without those read within `spare` (they are young, so few
    /// are passed over) and those that are protected.
    pub(super) fn oldest(
        &self,
        bytes: u64,
        keep: Option<(SwarmKey, SegmentId)>,
        spare: Duration,
    ) -> Vec<(SwarmKey, SegmentId)> {
        let (mut freed, mut leaving) = (0, Vec::new());
        for place in self.by_age.values() {
            let Some(slot) = self.slot(&place.0, place.1) else { continue };
            let read_now = slot.read_at.is_some_and(|at| at.elapsed() < spare);
            if freed >= bytes {
                break;
            }
            if !read_now && Some(*place) != keep && !self.protected.contains(&place.0) {
                freed += slot.charge;
                leaving.push(*place);
            }
        }
        leaving
    }
}
