//! Files and directories of the store: who may read them, what they cost, and the lock.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pcdn_core::store::StoreError;

/// What a file system hands out at least; rounds what is not written yet.
const BLOCK_BYTES: u64 = 4096;
/// How a LOCK file of ours begins.
const LOCK_MAGIC: &str = "pcdn-store 1";
/// More than a LOCK file of ours ever has.
const LOCK_BYTES_MAX: u64 = 256;

/// Makes `dir` and what leads to it, open to its owner only. One that exists keeps its mode.
pub(super) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|source| failed("making the directory", dir, source))
}

/// Opens for reading and writing; if it is made now, only its owner may read it.
pub(super) fn open(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

pub(super) fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::write_all_at(file, bytes, at);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < bytes.len() {
            match std::os::windows::fs::FileExt::seek_write(file, &bytes[done..], at + done as u64)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, buffer, at);
    #[cfg(windows)]
    {
        let mut done = 0;
        while done < buffer.len() {
            match std::os::windows::fs::FileExt::seek_read(file, &mut buffer[done..], at + done as u64)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }
}

/// What a file takes on the disk.
pub(super) fn allocated(meta: &Metadata) -> u64 {
    #[cfg(unix)]
    return std::os::unix::fs::MetadataExt::blocks(meta) * 512; // the unit of st_blocks, whatever the file system's is
    #[cfg(not(unix))]
    return in_blocks(meta.len());
}

/// `bytes`, rounded up to whole blocks.
pub(super) fn in_blocks(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES) * BLOCK_BYTES
}

/// Deletes what was moved to the trash. What fails stays there for the next start.
pub(super) fn delete(doomed: Vec<PathBuf>) {
    for path in doomed {
        let deleted = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = deleted.or_else(gone_is_fine) {
            tracing::warn!(path = %path.display(), %error, "cannot delete from the piece store");
        }
    }
}

pub(super) fn gone_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

pub(super) fn failed(what: &str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { what: format!("{what} {}", path.display()), source }
}

/// The LOCK file, held as long as the store is open.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    /// This boot of the machine; empty where the system does not tell.
    boot: String,
    /// What the file says now.
    clean: bool,
    trusted: bool,
}

impl Lock {
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join("LOCK");
        let mut file = open(&path, true).map_err(|source| failed("opening", &path, source))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(dir.display().to_string())),
            Err(TryLockError::Error(source)) => return Err(failed("locking", &path, source)),
        }
        let mut text = Vec::new();
        let read = Read::by_ref(&mut file).take(LOCK_BYTES_MAX).read_to_end(&mut text);
        read.map_err(|source| failed("reading", &path, source))?;
        let text = String::from_utf8_lossy(&text);
        if !text.is_empty() && !text.starts_with(LOCK_MAGIC) {
            let source = io::Error::new(
                io::ErrorKind::InvalidData,
                "it is not from a pcdn store; choose another directory",
            );
            return Err(failed("reading", &path, source));
        }
        let boot =
            fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        let mut words = text.split_whitespace().skip(LOCK_MAGIC.split(' ').count());
        let clean = text.is_empty() || words.next() == Some("clean");
        let trusted = clean || (!boot.is_empty() && words.next() == Some(&boot));
        Ok(Self { file, path, boot, clean, trusted })
    }

    /// Whether the log was surely not ahead of the data when the store was opened.
    pub(super) fn trusted(&self) -> bool {
        self.trusted
    }

    /// Every piece was read and found sound, or dropped.
    pub(super) fn trust(&mut self) {
        self.trusted = true;
    }

    /// Whether it was stopped cleanly and nothing was written since.
    pub(super) fn clean(&self) -> bool {
        self.clean
    }

    /// Says whether all that was written is safe on the disk. Synced: it happens once at a start and once at a stop.
    pub(super) fn mark(&mut self, clean: bool) -> Result<(), StoreError> {
        if self.clean == clean {
            return Ok(());
        }
        // Both states are equally long, so the file never needs room it does not have.
        let state = if clean { "clean" } else { "dirty" };
        let text = format!("{LOCK_MAGIC} {state} {}\n", self.boot);
        let written = write_all_at(&self.file, text.as_bytes(), 0)
            .and_then(|()| self.file.set_len(text.len() as u64))
            .and_then(|()| self.file.sync_data());
        written.map_err(|source| failed("writing", &self.path, source))?;
        self.clean = clean;
        Ok(())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is being started at this moment has the file open until it runs its own program,
        // and whoever opened the store again meanwhile was told that it is in use.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_though_a_process_that_is_being_started_has_its_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        let inherited = lock.file.try_clone().unwrap();
        assert!(matches!(Lock::take(dir.path()), Err(StoreError::Locked(_))));
        drop(lock);
        drop(Lock::take(dir.path()).unwrap());
        drop(inherited);
    }
}
