//! The log of a swarm: appended to, and rewritten when it says much more than it need.

use std::fs;

use pcdn_core::id::SwarmKey;
use pcdn_core::store::StoreError;

use super::Keeper;
use super::handles::Handle;
use crate::store::disk::files;
use crate::store::disk::index::Piece;
use crate::store::disk::record::{RECORD_BYTES, Record};

/// A log below this is not worth rewriting: 64 KiB.
const COMPACT_RECORDS_MIN: u64 = 1024;
/// A log is rewritten when it is so many times longer than it need be: rewriting costs as much as it saves.
const COMPACT_FACTOR: u64 = 4;

impl Keeper {
    /// Appends a record. It goes where the last whole one ended, so half a record of a full disk is written over.
    pub(super) fn append(&mut self, swarm: &SwarmKey, record: &Record) -> Result<(), StoreError> {
        let at = self.index.swarms.entry(*swarm).or_default().log_records;
        let log = self.log_file(swarm, true)?;
        let written = files::write_all_at(&log, &record.encode(swarm), at * RECORD_BYTES as u64);
        written.map_err(|source| files::failed("writing to", &self.log_path(swarm), source))?;
        self.set_log_records(swarm, at + 1);
        Ok(())
    }

    /// Appends a record that may be missing: without it the log says more than there is, which readers notice.
    pub(super) fn say(&mut self, swarm: &SwarmKey, record: &Record) {
        if let Err(error) = self.append(swarm, record) {
            tracing::warn!(swarm = %swarm.short(), %error, "the piece store's log is behind");
        }
    }

    pub(in crate::store::disk) fn set_log_records(&mut self, swarm: &SwarmKey, records: u64) {
        let Some(kept) = self.index.swarms.get_mut(swarm) else { return };
        let before = std::mem::replace(&mut kept.log_records, records);
        self.index.used = self.index.used - log_charge(before) + log_charge(records);
    }

    /// Rewrites a log that became too long for what it says.
    pub(super) fn compact_if_long(&mut self, swarm: &SwarmKey) -> Result<(), StoreError> {
        let long = |live: u64| COMPACT_RECORDS_MIN.max(live * COMPACT_FACTOR);
        let due = self.index.swarms.get(swarm).is_some_and(|kept| kept.log_records > long(kept.live));
        if due { self.compact(swarm) } else { Ok(()) }
    }

    /// Rewrites a log to what is live: beside it, synced, then renamed over it.
    pub(in crate::store::disk) fn compact(&mut self, swarm: &SwarmKey) -> Result<(), StoreError> {
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
}

/// What a log of so many records takes on the disk.
pub(super) fn log_charge(records: u64) -> u64 {
    files::in_blocks(records * RECORD_BYTES as u64)
}
