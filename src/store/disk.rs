//! Pieces on disk, kept so that a crash at any moment loses little and never delivers wrong bytes.
//!
//! ```text
//! dir/LOCK                        held while in use; which boot used it last, and whether it stopped cleanly
//! dir/v1/5a/<swarm>/have.log      64-byte records, appended: what is kept, with each piece's digest
//! dir/v1/5a/<swarm>/<segment>.d   the segment's bytes, each piece at its own offset; sparse
//! dir/v1/trash/                   what is being deleted
//! ```
//!
//! A piece is written to its data file, then a record to the log; nothing is synced. If the process dies, the kernel still
//! has both, and all but the pieces in flight are there at the next start. If the machine dies, the log may know more than
//! the data; so may a log with a flipped bit know less. Neither matters: whoever reads a piece hashes it, and a piece that
//! is not what its digest says is fetched again. A log is believed up to its first bad record and cut there.
//!
//! Room is counted in allocated blocks. Above 95 % of the quota whole segments leave, least recently used first, down to
//! 85 %; never one that was read in the last seconds.
//!
//! All calls block, so asynchronous shells call them on a blocking pool. Measured on two shared cores and ext4, release build:
//! a put of 64 KiB 135 µs, a get from the page cache 9 µs, opening a store of 10 GiB (163,840 pieces) 42 ms.

mod files;
mod index;
mod keeper;
mod record;
mod recover;
mod upkeep;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::store::{Held, Kept, Store, StoreError, fits};
use pcdn_core::unit::{ByteSize, Span};
use serde::{Deserialize, Serialize};

use files::Lock;
use keeper::{Found, Keeper};
pub use upkeep::{Checked, Damaged, Stats, SwarmSize};

/// How much a [`Disk`] may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskConfig {
    /// Most bytes on disk, in allocated blocks. Default 10 GiB. A few pieces per writing thread may be above it briefly.
    pub quota: ByteSize,
    /// A segment read so recently is not evicted: somebody is watching it. Default 5 s.
    pub spare_read_within: Span,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self { quota: ByteSize::gib(10), spare_read_within: Span(Duration::from_secs(5)) }
    }
}

/// Pieces on disk; see the [module](self) for what it promises.
///
/// ```
/// use pcdn::store::{Disk, DiskConfig, Store, StoreError};
/// let dir = tempfile::tempdir()?;
/// let disk = Disk::open(dir.path(), DiskConfig::default())?;
/// assert!(matches!(Disk::open(dir.path(), DiskConfig::default()), Err(StoreError::Locked(_))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Disk {
    dir: PathBuf,
    config: DiskConfig,
    /// Short critical sections: finding a place, opening a file, appending 64 bytes. Data moves outside.
    keeper: Mutex<Keeper>,
    /// Flushes come one at a time.
    flushing: Mutex<()>,
}

impl Disk {
    /// Opens the store in `dir`, made if need be (readable by its owner only), and reads its logs: 42 ms for 10 GiB.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if a living process (this one too) has it open; [`StoreError::Io`] if it cannot be read.
    pub fn open(dir: impl Into<PathBuf>, config: DiskConfig) -> Result<Self, StoreError> {
        let dir = dir.into();
        files::create_dir(&dir)?;
        let lock = Lock::take(&dir)?;
        let mut keeper = Keeper::new(&dir, lock, config.quota.0)?;
        recover::all(&mut keeper)?;
        let disk = Self { dir, config, keeper: Mutex::new(keeper), flushing: Mutex::new(()) };
        // The quota may be smaller than last time.
        let over = {
            let mut keeper = disk.keeper();
            let target = keeper.low_water();
            if keeper.over_high_water(0) { keeper.evict_to(target, None, Duration::ZERO) } else { Vec::new() }
        };
        files::delete(over);
        Ok(disk)
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether what it lists was surely written: it was stopped cleanly, or the machine did not restart since, or all of it
    /// was [verified](Self::verify). If not, a listed piece may be damaged; readers hash all pieces anyway.
    pub fn trusted(&self) -> bool {
        self.keeper().trusted()
    }

    /// A panic of another thread leaves the index at worst behind the log, which is repaired at the next open.
    fn keeper(&self) -> MutexGuard<'_, Keeper> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One attempt: makes room, writes the bytes, then says so in the log.
    fn write(
        &self,
        swarm: &SwarmKey,
        key: &PieceKey,
        layout: &Layout,
        piece: &Kept,
    ) -> Result<(), StoreError> {
        let len = piece.bytes.len() as u64;
        let (place, doomed) = {
            let mut keeper = self.keeper();
            let mut doomed = Vec::new();
            let place = keeper.place(swarm, key, layout, len, self.config.spare_read_within.0, &mut doomed);
            (place, doomed)
        };
        files::delete(doomed);
        let place = place?;
        let written = files::write_all_at(&place.file, &piece.bytes, layout.bytes_of(key.piece).start);
        let mut keeper = self.keeper();
        keeper.release(len);
        let path = || keeper.data_path(swarm, key.segment);
        let kept = match written.map_err(|source| files::failed("writing a piece to", &path(), source)) {
            Ok(()) => keeper.record(swarm, key, piece, &place),
            Err(error) => Err(error),
        };
        let doomed = if kept.is_err() { keeper.abandon(swarm, key.segment) } else { Vec::new() };
        drop(keeper);
        files::delete(doomed);
        kept
    }

    /// A piece as it lies on the disk. `read_at` makes its segment young; the upkeep reads without.
    fn read(
        &self,
        swarm: &SwarmKey,
        key: &PieceKey,
        read_at: Option<Instant>,
    ) -> Result<Option<Bytes>, StoreError> {
        let Some(Found { file, bytes }) = self.keeper().find(swarm, key, read_at)? else { return Ok(None) };
        let mut buffer = vec![0; (bytes.end - bytes.start) as usize];
        match files::read_exact_at(&file, &mut buffer, bytes.start) {
            Ok(()) => Ok(Some(Bytes::from(buffer))),
            // Somebody cut the file short behind our back: that piece is lost.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.keeper().lose(swarm, key);
                Ok(None)
            }
            Err(error) => {
                let path = self.keeper().data_path(swarm, key.segment);
                Err(files::failed("reading a piece from", &path, error))
            }
        }
    }

    /// Data before the logs that speak of it.
    fn sync(&self, dirty: &BTreeSet<(SwarmKey, SegmentId)>) -> Result<(), StoreError> {
        for (swarm, segment) in dirty {
            let file = self.keeper().data_file_if_kept(swarm, *segment)?;
            let synced = file.map_or(Ok(()), |file| file.sync_data());
            synced.map_err(|source| {
                files::failed("syncing", &self.keeper().data_path(swarm, *segment), source)
            })?;
        }
        let swarms: BTreeSet<&SwarmKey> = dirty.iter().map(|(swarm, _)| swarm).collect();
        for swarm in swarms {
            let log = self.keeper().log_file_if_kept(swarm)?;
            let synced = log.map_or(Ok(()), |file| file.sync_data());
            synced.map_err(|source| files::failed("syncing", &self.keeper().log_path(swarm), source))?;
        }
        Ok(())
    }
}

impl Store for Disk {
    fn held(&self, swarm: &SwarmKey) -> Result<Vec<Held>, StoreError> {
        Ok(self.keeper().index.held(swarm))
    }

    fn put(&self, swarm: &SwarmKey, key: &PieceKey, layout: &Layout, piece: &Kept) -> Result<(), StoreError> {
        fits(key, layout, &piece.bytes)?;
        match self.write(swarm, key, layout, piece) {
            // The disk is full before the quota is: others use it too. Give back a twentieth, try once more.
            Err(StoreError::Io { source, .. }) if no_room(&source) => {
                let freed = {
                    let mut keeper = self.keeper();
                    let target = keeper.index.used - keeper.index.used / 20;
                    keeper.evict_to(target, Some((*swarm, key.segment)), self.config.spare_read_within.0)
                };
                files::delete(freed);
                match self.write(swarm, key, layout, piece) {
                    Err(StoreError::Io { what, source }) if no_room(&source) => {
                        Err(StoreError::Full(format!("{what}: {source}")))
                    }
                    other => other,
                }
            }
            other => other,
        }
    }

    fn get(&self, swarm: &SwarmKey, key: &PieceKey) -> Result<Option<Bytes>, StoreError> {
        self.read(swarm, key, Some(Instant::now()))
    }

    fn forget(&self, swarm: &SwarmKey, segment: Option<SegmentId>) -> Result<(), StoreError> {
        let doomed = match segment {
            Some(segment) => self.keeper().doom(swarm, segment),
            None => self.keeper().doom_swarm(swarm),
        };
        files::delete(doomed);
        Ok(())
    }

    fn protect(&self, swarm: &SwarmKey, protected: bool) -> Result<(), StoreError> {
        self.keeper().index.protect(swarm, protected);
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let dirty = self.keeper().take_dirty();
        if let Err(error) = self.sync(&dirty) {
            self.keeper().still_dirty(dirty);
            return Err(error);
        }
        self.keeper().mark_clean_if_so()
    }
}

fn no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

#[cfg(test)]
mod tests;
