//! The index and the files it speaks of, kept in step. All of it runs under one short lock.

mod forget;
mod handles;
mod log;

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::store::{Kept, StoreError};

use super::files::{self, Lock};
use super::index::{Index, Piece};
use super::record::Record;
use handles::Handle;

/// Name of a swarm's log.
const LOG: &str = "have.log";

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    root: PathBuf,
    lock: Lock,
    quota: u64,
    /// What is kept.
    pub(super) index: Index,
    /// Bytes of writes under way.
    reserved: u64,
    open: VecDeque<(Handle, Arc<File>)>,
    /// Written since the last flush.
    dirty: BTreeSet<(SwarmKey, SegmentId)>,
    trashed: u64,
    /// Segments that left for want of room, since the start.
    pub(super) evicted: u64,
    /// Logs that were cut at a bad record when the store was opened.
    pub(super) torn: u64,
}

/// Where a piece lies.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) file: Arc<File>,
    pub(super) bytes: Range<u64>,
}

/// Where a write goes.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) file: Arc<File>,
    birth: u64,
}

impl Keeper {
    pub(super) fn new(dir: &Path, lock: Lock, quota: u64) -> Result<Self, StoreError> {
        let keeper = Self {
            root: dir.join("v1"),
            lock,
            quota,
            index: Index::default(),
            reserved: 0,
            open: VecDeque::new(),
            dirty: BTreeSet::new(),
            trashed: 0,
            evicted: 0,
            torn: 0,
        };
        files::create_dir(&keeper.trash_dir())?;
        Ok(keeper)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn trash_dir(&self) -> PathBuf {
        self.root.join("trash")
    }

    pub(super) fn swarm_dir(&self, swarm: &SwarmKey) -> PathBuf {
        let name = swarm.to_string();
        self.root.join(&name[..2]).join(name)
    }

    pub(super) fn log_path(&self, swarm: &SwarmKey) -> PathBuf {
        self.swarm_dir(swarm).join(LOG)
    }

    pub(super) fn data_path(&self, swarm: &SwarmKey, segment: SegmentId) -> PathBuf {
        self.swarm_dir(swarm).join(format!("{:016x}.d", segment.0))
    }

    pub(super) fn trusted(&self) -> bool {
        self.lock.trusted()
    }

    pub(super) fn trust(&mut self) {
        self.lock.trust();
    }

    // Room.

    pub(super) fn low_water(&self) -> u64 {
        percent(self.quota, 85)
    }

    pub(super) fn over_high_water(&self, more: u64) -> bool {
        self.total().saturating_add(more) > percent(self.quota, 95)
    }

    fn total(&self) -> u64 {
        self.index.used.saturating_add(self.reserved)
    }

    /// Drops the segments that were not used for longest until `target` bytes are left. The caller deletes what is returned,
    /// after it let the lock go.
    #[must_use]
    pub(super) fn evict_to(
        &mut self,
        target: u64,
        keep: Option<(SwarmKey, SegmentId)>,
        spare: Duration,
    ) -> Vec<PathBuf> {
        let excess = self.total().saturating_sub(target);
        let leaving = self.index.oldest(excess, keep, spare);
        self.evicted += leaving.len() as u64;
        leaving.into_iter().flat_map(|(swarm, segment)| self.doom(&swarm, segment)).collect()
    }

    // Writing: `place`, then the bytes without the lock, then `release`, then `record` or `abandon`.

    /// A place for a piece of `len` bytes. What had to leave for it is added to `doomed`, even if there is no place.
    pub(super) fn place(
        &mut self,
        swarm: &SwarmKey,
        key: &PieceKey,
        layout: &Layout,
        len: u64,
        spare: Duration,
        doomed: &mut Vec<PathBuf>,
    ) -> Result<Place, StoreError> {
        self.lock.mark(false)?;
        if self.index.slot(swarm, key.segment).is_some_and(|slot| slot.layout != *layout) {
            doomed.extend(self.doom(swarm, key.segment));
        }
        let need = files::in_blocks(len);
        if self.over_high_water(need) {
            let target = self.low_water().saturating_sub(need);
            doomed.extend(self.evict_to(target, Some((*swarm, key.segment)), spare));
        }
        if self.total().saturating_add(need) > self.quota {
            return Err(StoreError::Full(format!(
                "{} of {} bytes used by pieces in use",
                self.total(),
                self.quota
            )));
        }
        if self.index.slot(swarm, key.segment).is_none() {
            // What lies there under this name is not ours: bytes of a forgotten segment must not seem kept.
            doomed.extend(self.bury(&self.data_path(swarm, key.segment)));
            self.index.add(swarm, key.segment, *layout);
        }
        self.index.touch(swarm, key.segment, None);
        let file = match self.data_file(swarm, key.segment, true) {
            Ok(file) => file,
            Err(error) => {
                doomed.extend(self.abandon(swarm, key.segment));
                return Err(error);
            }
        };
        self.reserved += need;
        let birth = self.index.slot(swarm, key.segment).map_or(0, |slot| slot.birth);
        Ok(Place { file, birth })
    }

    /// The write of `len` bytes ended, well or not.
    pub(super) fn release(&mut self, len: u64) {
        self.reserved -= files::in_blocks(len);
    }

    /// The write failed: a segment without a piece does not stay.
    #[must_use]
    pub(super) fn abandon(&mut self, swarm: &SwarmKey, segment: SegmentId) -> Vec<PathBuf> {
        let empty = self.index.slot(swarm, segment).is_some_and(|slot| slot.pieces.is_empty());
        if empty { self.doom(swarm, segment) } else { Vec::new() }
    }

    /// The bytes are written: says so in the log and in the index. If the segment left meanwhile, so did the piece.
    pub(super) fn record(
        &mut self,
        swarm: &SwarmKey,
        key: &PieceKey,
        piece: &Kept,
        place: &Place,
    ) -> Result<(), StoreError> {
        let Some(slot) = self.index.slot(swarm, key.segment).filter(|slot| slot.birth == place.birth) else {
            return Ok(());
        };
        let layout = slot.layout;
        let Kept { digest, own, .. } = *piece;
        self.append(swarm, &Record::Kept { segment: key.segment, layout, piece: key.piece, digest, own })?;
        self.index.keep(swarm, key, Piece { digest, own });
        self.dirty.insert((*swarm, key.segment));
        if let Ok(meta) = place.file.metadata() {
            self.charge(swarm, key.segment, files::allocated(&meta));
        }
        self.compact_if_long(swarm)
    }

    /// Notes what a data file takes. Some file systems tell late, so it is never less than its pieces.
    pub(super) fn charge(&mut self, swarm: &SwarmKey, segment: SegmentId, allocated: u64) {
        let Some(slot) = self.index.slot(swarm, segment) else { return };
        let pieces = (slot.pieces.len() as u64 * slot.layout.piece_bytes()).min(slot.layout.len());
        self.index.recharge(swarm, segment, allocated.max(files::in_blocks(pieces)));
    }

    // Reading.

    /// The file and place of a piece; `read_at` makes its segment young.
    pub(super) fn find(
        &mut self,
        swarm: &SwarmKey,
        key: &PieceKey,
        read_at: Option<Instant>,
    ) -> Result<Option<Found>, StoreError> {
        let Some(slot) = self.index.slot(swarm, key.segment) else { return Ok(None) };
        if !slot.pieces.contains_key(&key.piece) {
            return Ok(None);
        }
        let bytes = slot.layout.bytes_of(key.piece);
        if read_at.is_some() {
            self.index.touch(swarm, key.segment, read_at);
        }
        match self.data_file(swarm, key.segment, false) {
            Ok(file) => Ok(Some(Found { file, bytes })),
            // Somebody deleted it behind our back: all of the segment is lost.
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                files::delete(self.doom(swarm, key.segment));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The piece turned out damaged.
    pub(super) fn lose(&mut self, swarm: &SwarmKey, key: &PieceKey) {
        let Some(layout) = self.index.slot(swarm, key.segment).map(|slot| slot.layout) else { return };
        if self.index.lose(swarm, key) {
            self.say(swarm, &Record::lost(key, layout));
        }
    }
}

fn percent(of: u64, share: u64) -> u64 {
    (u128::from(of) * u128::from(share) / 100) as u64
}
