//! Open files, and what must be synced before a clean stop.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use pcdn_core::id::SwarmKey;
use pcdn_core::layout::SegmentId;
use pcdn_core::store::StoreError;

use super::Keeper;
use crate::store::disk::files;

/// Data and log files kept open: opening costs 10 to 20 µs, and a default process may have 1024 of all kinds.
const OPEN_FILES_MAX: usize = 96;

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handle {
    Log(SwarmKey),
    Data(SwarmKey, SegmentId),
}

impl Keeper {
    pub(in crate::store::disk) fn take_dirty(&mut self) -> BTreeSet<(SwarmKey, SegmentId)> {
        std::mem::take(&mut self.dirty)
    }

    pub(in crate::store::disk) fn still_dirty(&mut self, dirty: BTreeSet<(SwarmKey, SegmentId)>) {
        self.dirty.extend(dirty);
    }

    pub(in crate::store::disk) fn data_file_if_kept(
        &mut self,
        swarm: &SwarmKey,
        segment: SegmentId,
    ) -> Result<Option<Arc<File>>, StoreError> {
        if self.index.slot(swarm, segment).is_none() {
            return Ok(None);
        }
        unless_gone(self.data_file(swarm, segment, false))
    }

    pub(in crate::store::disk) fn log_file_if_kept(
        &mut self,
        swarm: &SwarmKey,
    ) -> Result<Option<Arc<File>>, StoreError> {
        if !self.index.swarms.contains_key(swarm) {
            return Ok(None);
        }
        unless_gone(self.log_file(swarm, false))
    }

    /// What a process before this one wrote, and died before it could sync, is to be synced by this one.
    pub(in crate::store::disk) fn inherit(&mut self, swarm: &SwarmKey, segment: SegmentId) {
        if !self.lock.clean() {
            self.dirty.insert((*swarm, segment));
        }
    }

    /// All is synced, unless something was written meanwhile, or lost by the machine before.
    pub(in crate::store::disk) fn mark_clean_if_so(&mut self) -> Result<(), StoreError> {
        let so = self.dirty.is_empty() && self.reserved == 0 && self.lock.trusted();
        if so { self.lock.mark(true) } else { Ok(()) }
    }

    pub(super) fn data_file(
        &mut self,
        swarm: &SwarmKey,
        segment: SegmentId,
        create: bool,
    ) -> Result<Arc<File>, StoreError> {
        let path = self.data_path(swarm, segment);
        self.file(Handle::Data(*swarm, segment), swarm, &path, create)
    }

    pub(super) fn log_file(&mut self, swarm: &SwarmKey, create: bool) -> Result<Arc<File>, StoreError> {
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

    pub(super) fn close(&mut self, handle: Handle) {
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
