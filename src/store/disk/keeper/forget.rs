//! Dropping segments and swarms: out of the index at once, off the disk when the lock is let go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pcdn_core::id::SwarmKey;
use pcdn_core::layout::SegmentId;

use super::Keeper;
use super::handles::Handle;
use super::log::log_charge;
use crate::store::disk::files;
use crate::store::disk::record::Record;

impl Keeper {
    /// Takes a segment out of the index and moves its file to the trash; the caller deletes what is returned.
    #[must_use]
    pub(in crate::store::disk) fn doom(&mut self, swarm: &SwarmKey, segment: SegmentId) -> Vec<PathBuf> {
        if self.index.remove(swarm, segment).is_none() {
            return Vec::new();
        }
        self.dirty.remove(&(*swarm, segment));
        self.close(Handle::Data(*swarm, segment));
        if self.index.swarms.get(swarm).is_some_and(|kept| kept.segments.is_empty()) {
            return self.doom_swarm(swarm);
        }
        self.say(swarm, &Record::Forgotten { segment });
        self.bury(&self.data_path(swarm, segment)).into_iter().collect()
    }

    /// The same for a whole swarm.
    #[must_use]
    pub(in crate::store::disk) fn doom_swarm(&mut self, swarm: &SwarmKey) -> Vec<PathBuf> {
        let Some(kept) = self.index.swarms.get(swarm) else { return Vec::new() };
        let (segments, log) =
            (kept.segments.keys().copied().collect::<Vec<_>>(), log_charge(kept.log_records));
        for segment in segments {
            self.index.remove(swarm, segment);
            self.dirty.remove(&(*swarm, segment));
        }
        self.index.used -= log;
        self.index.swarms.remove(swarm);
        self.open
            .retain(|(handle, _)| !matches!(handle, Handle::Log(of) | Handle::Data(of, _) if of == swarm));
        self.bury(&self.swarm_dir(swarm)).into_iter().collect()
    }

    /// Moves a file or directory out of the way at once; deleting a large one takes milliseconds. `None` if there was nothing.
    pub(in crate::store::disk) fn bury(&mut self, path: &Path) -> Option<PathBuf> {
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
}
