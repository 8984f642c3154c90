//! Files and directories: what is found, where manifests lie, and how they are written.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::PublishError;

/// What a manifest's name has more than its file's: `film.mp4.pcdn`.
pub const MANIFEST_EXTENSION: &str = "pcdn";
/// Directories inside one another, at most: above it there is a loop.
const DEPTH_MAX: usize = 32;

/// Where the manifest of the file at `path` lies: beside it, as `film.mp4.pcdn`.
pub fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(MANIFEST_EXTENSION);
    PathBuf::from(name)
}

pub(super) fn canonical(path: &Path) -> Result<PathBuf, PublishError> {
    fs::canonicalize(path).map_err(|source| PublishError::Io {
        doing: "opening",
        path: path.to_owned(),
        source,
    })
}

/// All files in `dir` and below, in order.
pub(super) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, PublishError> {
    let mut files = Vec::new();
    collect(dir, 0, &mut files)?;
    // Directories list in no order; reports have one.
    files.sort_unstable();
    Ok(files)
}

fn collect(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), PublishError> {
    if depth > DEPTH_MAX {
        return Err(PublishError::TooDeep { path: dir.to_owned(), limit: DEPTH_MAX });
    }
    let failed = |source| PublishError::Io { doing: "listing", path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(failed)?);
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let manifest = path.extension() == Some(OsStr::new(MANIFEST_EXTENSION));
        if kind.is_dir() && !hidden {
            collect(&path, depth + 1, files)?;
        } else if kind.is_file() && !hidden && !manifest {
            files.push(path);
        }
    }
    Ok(())
}

/// Writes a manifest whole or not at all, over an older one: a server never sends half of it. Everybody may read it.
///
/// # Errors
/// If the file system says no.
pub fn write_manifest(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    write(path, bytes, File::sync_all)
}

/// The same without waiting for the disk, which may take longer than a live stream's viewers do. What a loss of power may
/// destroy is of no use after it.
///
/// # Errors
/// As of [`write_manifest`].
pub fn write_live(path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    write(path, bytes, |_| Ok(()))
}

fn write(path: &Path, bytes: &[u8], settle: impl Fn(&File) -> io::Result<()>) -> Result<(), PublishError> {
    // Hidden, so that neither servers nor the next run take it for content if it is left behind.
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    let beside = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| settle(&file)))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // Half a file helps nobody; that it could not be removed either would only hide why.
        let _ = fs::remove_file(&beside);
        PublishError::Io { doing: "writing", path: path.to_owned(), source }
    })
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_millis() as u64)
}
