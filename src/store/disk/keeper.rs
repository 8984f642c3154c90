//! The index and the files it speaks of, kept in step. All of it runs under one short lock.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File};
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
use super::record::{RECORD_BYTES, Record};

/// Data and log files kept open: opening costs 10 to 20 µs, and a default process may have 1024 of all kinds.
const OPEN_FILES_MAX: usize = 96;
/// A log below this is not worth rewriting: 64 KiB.
const COMPACT_RECORDS_MIN: u64 = 1024;
/// A log is rewritten when it is so many times longer than it need be: rewriting costs as much as it saves.
const COMPACT_FACTOR: u64 = 4;
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handle {
    Log(SwarmKey),
    Data(SwarmKey, SegmentId),
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
            return Err(StoreError::Full(format!("{} of {} bytes used by pieces in use", self.total(), self.quota)));
        }
        if self.index.slot(swarm, key.segment).is_none() {
            // What lies there under this name is not ours: bytes of a forgotten segment must not seem kept.
            doomed.extend(self.to_trash(&self.data_path(swarm, key.segment)));
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
        let kept = &self.index.swarms[swarm];
        if kept.log_records > COMPACT_RECORDS_MIN.max(kept.live * COMPACT_FACTOR) {
            self.compact(swarm)?;
        }
        Ok(())
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
    ) -> Result<Option<(Arc<File>, Range<u64>)>, StoreError> {
        let Some(slot) = self.index.slot(swarm, key.segment) else { return Ok(None) };
        if !slot.pieces.contains_key(&key.piece) {
            return Ok(None);
        }
        let bytes = slot.layout.bytes_of(key.piece);
        if read_at.is_some() {
            self.index.touch(swarm, key.segment, read_at);
        }
        match self.data_file(swarm, key.segment, false) {
            Ok(file) => Ok(Some((file, bytes))),
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

    // Forgetting.

    /// Takes a segment out of the index and moves its file to the trash; the caller deletes what is returned.
    #[must_use]
    pub(super) fn doom(&mut self, swarm: &SwarmKey, segment: SegmentId) -> Vec<PathBuf> {
        if self.index.remove(swarm, segment).is_none() {
            return Vec::new();
        }
        self.dirty.remove(&(*swarm, segment));
        self.close(Handle::Data(*swarm, segment));
        if self.index.swarms.get(swarm).is_some_and(|kept| kept.segments.is_empty()) {
            return self.doom_swarm(swarm);
        }
        self.say(swarm, &Record::Forgotten { segment });
        self.to_trash(&self.data_path(swarm, segment)).into_iter().collect()
    }

    /// The same for a whole swarm.
    #[must_use]
    pub(super) fn doom_swarm(&mut self, swarm: &SwarmKey) -> Vec<PathBuf> {
        let Some(kept) = self.index.swarms.get(swarm) else { return Vec::new() };
        let (segments, log) = (kept.segments.keys().copied().collect::<Vec<_>>(), log_charge(kept.log_records));
        for segment in segments {
            self.index.remove(swarm, segment);
            self.dirty.remove(&(*swarm, segment));
        }
        self.index.used -= log;
        self.index.swarms.remove(swarm);
        self.open.retain(|(handle, _)| !matches!(handle, Handle::Log(of) | Handle::Data(of, _) if of == swarm));
        self.to_trash(&self.swarm_dir(swarm)).into_iter().collect()
    }

    /// Moves a file or directory out of the way at once; deleting a large one takes milliseconds. `None` if there was nothing.
    pub(super) fn to_trash(&mut self, path: &Path) -> Option<PathBuf> {
        self.trashed += 1;
        let grave = self.trash_dir().join(self.trashed.to_string());
        match fs::rename(path, &grave) {
            Ok(()) => Some(grave),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => {
                // An old grave of that name, or a trash that somebody removed.
                files::delete(vec![path.to_owned()]);
                None
            }
        }
    }

    // The log.

    /// Appends a record. It goes where the last whole one ended, so half a record of a full disk is written over.
    fn append(&mut self, swarm: &SwarmKey, record: &Record) -> Result<(), StoreError> {
        let at = self.index.swarms.entry(*swarm).or_default().log_records;
        let log = self.log_file(swarm, true)?;
        let written = files::write_all_at(&log, &record.encode(swarm), at * RECORD_BYTES as u64);
        written.map_err(|source| files::failed("writing to", &self.log_path(swarm), source))?;
        self.set_log_records(swarm, at + 1);
        Ok(())
    }

    /// Appends a record that may be missing: without it the log says more than there is, which readers notice.
    fn say(&mut self, swarm: &SwarmKey, record: &Record) {
        if let Err(error) = self.append(swarm, record) {
            tracing::warn!(swarm = %swarm.short(), %error, "the piece store's log is behind");
        }
    }

    pub(super) fn set_log_records(&mut self, swarm: &SwarmKey, records: u64) {
        let Some(kept) = self.index.swarms.get_mut(swarm) else { return };
        let before = std::mem::replace(&mut kept.log_records, records);
        self.index.used = self.index.used - log_charge(before) + log_charge(records);
    }

    /// Rewrites a log to what is live: beside it, synced, then renamed over it.
    pub(super) fn compact(&mut self, swarm: &SwarmKey) -> Result<(), StoreError> {
        let Some(kept) = self.index.swarms.get(swarm) else { return Ok(()) };
        let mut fresh = Vec::with_capacity(kept.live as usize * RECORD_BYTES);
        for (segment, slot) in &kept.segments {
            for (piece, Piece { digest, own }) in &slot.pieces {
                let (segment, layout, piece, digest, own) = (*segment, slot.layout, *piece, *digest, *own);
                fresh.extend(Record::Kept { segment, layout, piece, digest, own }.encode(swarm));
            }
        }
        let (live, log) = (kept.live, self.log_path(swarm));
        let beside = log.with_extension("new");
        let replaced = files::open(&beside, true)
            .and_then(|file| {
                file.set_len(0)?;
                files::write_all_at(&file, &fresh, 0)?;
                file.sync_data()
            })
            .and_then(|()| fs::rename(&beside, &log));
        replaced.map_err(|source| files::failed("rewriting", &log, source))?;
        self.close(Handle::Log(*swarm));
        self.set_log_records(swarm, live);
        Ok(())
    }

    // Flushing.

    pub(super) fn take_dirty(&mut self) -> BTreeSet<(SwarmKey, SegmentId)> {
        std::mem::take(&mut self.dirty)
    }

    pub(super) fn still_dirty(&mut self, dirty: BTreeSet<(SwarmKey, SegmentId)>) {
        self.dirty.extend(dirty);
    }

    pub(super) fn data_file_if_kept(
        &mut self,
        swarm: &SwarmKey,
        segment: SegmentId,
    ) -> Result<Option<Arc<File>>, StoreError> {
        if self.index.slot(swarm, segment).is_none() {
            return Ok(None);
        }
        unless_gone(self.data_file(swarm, segment, false))
    }

    pub(super) fn log_file_if_kept(&mut self, swarm: &SwarmKey) -> Result<Option<Arc<File>>, StoreError> {
        if !self.index.swarms.contains_key(swarm) {
            return Ok(None);
        }
        unless_gone(self.log_file(swarm, false))
    }

    /// All is synced, unless something was written meanwhile.
    pub(super) fn mark_clean_if_so(&mut self) -> Result<(), StoreError> {
        if self.dirty.is_empty() && self.reserved == 0 { self.lock.mark(true) } else { Ok(()) }
    }

    // Open files.

    fn data_file(&mut self, swarm: &SwarmKey, segment: SegmentId, create: bool) -> Result<Arc<File>, StoreError> {
        let path = self.data_path(swarm, segment);
        self.file(Handle::Data(*swarm, segment), swarm, &path, create)
    }

    fn log_file(&mut self, swarm: &SwarmKey, create: bool) -> Result<Arc<File>, StoreError> {
        let path = self.log_path(swarm);
        self.file(Handle::Log(*swarm), swarm, &path, create)
    }

    fn file(
        &mut self,
        handle: Handle,
        swarm: &SwarmKey,
        path: &Path,
        create: bool,
    ) -> Result<Arc<File>, StoreError> {
        if let Some((_, file)) = self.open.iter().rev().find(|(of, _)| *of == handle) {
            return Ok(file.clone());
        }
        let opened = match files::open(path, create) {
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => {
                files::create_dir(&self.swarm_dir(swarm))?;
                files::open(path, true)
            }
            opened => opened,
        };
        let file = Arc::new(opened.map_err(|source| files::failed("opening", path, source))?);
        if self.open.len() == OPEN_FILES_MAX {
            self.open.pop_front();
        }
        self.open.push_back((handle, file.clone()));
        Ok(file)
    }

    fn close(&mut self, handle: Handle) {
        self.open.retain(|(of, _)| *of != handle);
    }
}

fn unless_gone(file: Result<Arc<File>, StoreError>) -> Result<Option<Arc<File>>, StoreError> {
    match file {
        Ok(file) => Ok(Some(file)),
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn log_charge(records: u64) -> u64 {
    files::in_blocks(records * RECORD_BYTES as u64)
}

fn percent(of: u64, share: u64) -> u64 {
    (u128::from(of) * u128::from(share) / 100) as u64
}
