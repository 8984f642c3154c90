//! Where a download goes: a file that appears when it is whole, or standard output.

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pcdn_core::resource::Url;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Exit, Failure};
use crate::config::Config;

/// Chunks between the network and the disk: a megabyte of pieces rides out a slow write; more would only be memory.
const CHUNKS: usize = 16;

/// Directories in a store: `v1`, a prefix, a swarm.
const STORE_DEPTH: u32 = 3;

/// What a disk shall have left beside a file and its pieces, for the store's own records and for whoever else writes there.
const SPARE: u64 = 1 << 20;

/// Where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Pipe,
    File {
        path: PathBuf,
        /// No data directory was named: the store is a directory beside the file.
        own_store: bool,
    },
}

impl Target {
    pub(super) fn of(url: &Url, config: &Config) -> Result<Self, Failure> {
        let own_store = config.node.data_dir.is_none();
        match config.get.out.as_deref() {
            Some("-") if config.json => Err(Failure::new(
                Exit::Usage,
                "--out - and --json both want standard output; give --out FILE",
            )),
            Some("-") => Ok(Self::Pipe),
            Some(path) if Path::new(path).is_dir() || path.ends_with('/') => {
                Err(Failure::new(Exit::Usage, format!("--out {path} is a directory; give --out FILE")))
            }
            Some(path) => Ok(Self::File { path: path.into(), own_store }),
            None => {
                let name = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
                // A name from a URL must stay in this directory and be seen by `ls`.
                if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
                    return Err(Failure::new(Exit::Usage, "the URL names no file; give --out FILE"));
                }
                Ok(Self::File { path: name.into(), own_store })
            }
        }
    }

    pub(super) fn is_pipe(&self) -> bool {
        *self == Self::Pipe
    }

    /// The directory this run's pieces are kept in, if it is this file's own.
    pub(super) fn store_beside(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, own_store: true } => Some(with(path, ".part.pcdn")),
            _ => None,
        }
    }

    /// Whether it is there already: an earlier run was cut off.
    pub(super) fn has_store(&self) -> bool {
        self.store_beside().is_some_and(|dir| dir.exists())
    }

    /// The same, with its pieces kept in memory.
    pub(super) fn without_store(self) -> Self {
        match self {
            Self::File { path, .. } => Self::File { path, own_store: false },
            pipe => pipe,
        }
    }

    /// Whether the disk has room for a file of `len` bytes, but not for its pieces, too. One that has room for neither is left to fail,
    /// and what pieces there are already take none.
    pub(super) fn lacks_room(&self, len: u64) -> bool {
        let Some(dir) = self.store_beside() else { return false };
        let (Some(free), held) = (free(&dir), held(&dir)) else { return false };
        len <= free && free < len.saturating_add(len.saturating_sub(held)).saturating_add(SPARE)
    }

    /// Removes that directory. Best effort: the file is there, and the next run of the same name uses or removes it.
    pub(super) async fn forget_store(&self) {
        let Some(dir) = self.store_beside() else { return };
        if let Err(error) = tokio::fs::remove_dir_all(&dir).await {
            tracing::debug!(%error, dir = %dir.display(), "the store beside the file stays");
        }
    }

    fn part(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, .. } => Some(with(path, ".part")),
            Self::Pipe => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pipe => f.write_str("standard output"),
            Self::File { path, .. } => path.display().fmt(f),
        }
    }
}

/// Room on the disk of `dir`.
fn free(dir: &Path) -> Option<u64> {
    crate::cli::doctor::free(dir).map(|free| free.0)
}

/// Bytes of the files in and below `dir`, a store's directory.
fn held(dir: &Path) -> u64 {
    fn sum(dir: &Path, deeper: u32) -> u64 {
        let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
        let sizes = entries.flatten().map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() && deeper > 0 => sum(&entry.path(), deeper - 1),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        });
        sizes.sum()
    }
    sum(dir, STORE_DEPTH)
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A download being written and hashed, in a thread that may block.
pub(super) struct Output {
    chunks: mpsc::Sender<Bytes>,
    writer: JoinHandle<std::io::Result<Written>>,
    name: String,
}

/// A download that was written.
pub(super) struct Written {
    pub(super) bytes: u64,
    sha256: [u8; 32],
}

impl Output {
    pub(super) fn create(target: &Target) -> Result<Self, Failure> {
        Self::after(target, 0)
    }

    /// The same; the first `written` bytes are there already and are only hashed.
    pub(super) fn after(target: &Target, written: u64) -> Result<Self, Failure> {
        let part = target.part();
        let name = part.as_ref().map_or_else(|| target.to_string(), |part| part.display().to_string());
        let out: Box<dyn Write + Send> = match part {
            Some(part) => Box::new(
                File::create(part).map_err(|e| Failure::disk(format!("{name} cannot be written"), &e))?,
            ),
            None => Box::new(std::io::stdout()),
        };
        let (chunks, incoming) = mpsc::channel(CHUNKS);
        let writer = tokio::task::spawn_blocking(move || write_all(incoming, out, written));
        Ok(Self { chunks, writer, name })
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        if self.chunks.send(bytes).await.is_ok() {
            return Ok(());
        }
        // The writer is gone, and says why.
        match (&mut self.writer).await {
            Ok(Err(e)) => Err(broken(&self.name, &e)),
            _ => Err(Failure::other(format!("{}: writing ended early", self.name))),
        }
    }

    pub(super) async fn close(self) -> Result<Written, Failure> {
        drop(self.chunks);
        let written = self.writer.await.map_err(Failure::other)?;
        written.map_err(|e| broken(&self.name, &e))
    }
}

/// Why nothing more can be written. A reader that went away is no fault of the disk.
fn broken(name: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => {
            Failure::other(format!("{name}: its reader has gone before the end; let it read on"))
        }
        _ => Failure::disk(name, error),
    }
}

fn write_all(
    mut chunks: mpsc::Receiver<Bytes>,
    mut out: Box<dyn Write + Send>,
    mut written: u64,
) -> std::io::Result<Written> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(chunk) = chunks.blocking_recv() {
        let there = written.min(chunk.len() as u64);
        written -= there;
        out.write_all(&chunk[there as usize..])?;
        hash.update(&chunk);
        bytes += chunk.len() as u64;
    }
    out.flush()?;
    Ok(Written { bytes, sha256: hash.finalize().into() })
}

impl Written {
    /// Compares with the hash it must have and gives the file its name. Returns the hash.
    pub(super) fn finish(self, target: &Target, must_be: Option<&str>) -> Result<String, Failure> {
        let hex = pcdn_core::id::Digest(self.sha256).to_string();
        let (part, path) = match (target.part(), target) {
            (Some(part), Target::File { path, .. }) => (part, path),
            _ => return check(&hex, must_be, target),
        };
        if let Err(failure) = check(&hex, must_be, target) {
            // Wrong bytes are of no use to anybody; that they cannot be removed would not change the verdict.
            let _ = std::fs::remove_file(part);
            return Err(failure);
        }
        std::fs::rename(&part, path)
            .map_err(|e| Failure::disk(format!("{} cannot be renamed", part.display()), &e))?;
        Ok(hex)
    }
}

fn check(hex: &str, must_be: Option<&str>, target: &Target) -> Result<String, Failure> {
    match must_be {
        Some(wanted) if !wanted.eq_ignore_ascii_case(hex) => {
            let line = format!(
                "{target}: sha256 is {hex} and not the one asked for; the origin has other content, or the hash is of another file"
            );
            Err(Failure::new(Exit::Integrity, line))
        }
        _ => Ok(hex.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(out: Option<&str>) -> Config {
        let mut config = Config::default();
        config.get.out = out.map(str::to_owned);
        config
    }

    fn name(url: &str) -> Result<String, Exit> {
        Target::of(&url.parse().unwrap(), &config(None)).map(|t| t.to_string()).map_err(|f| f.exit)
    }

    #[test]
    fn the_name_comes_from_the_url_and_stays_here() {
        assert_eq!(name("http://h/a/film.mp4?x=1"), Ok("film.mp4".into()));
        for url in ["http://h/", "http://h", "http://h/a/", "http://h/.bashrc"] {
            assert_eq!(name(url), Err(Exit::Usage), "{url}");
        }
    }

    async fn written(target: &Target, must_be: Option<&str>) -> Result<String, Exit> {
        let mut output = Output::create(target).unwrap();
        for chunk in ["ab", "c"] {
            output.write(Bytes::from(chunk)).await.unwrap();
        }
        let written = output.close().await.unwrap();
        assert_eq!(written.bytes, 3);
        written.finish(target, must_be).map_err(|f| f.exit)
    }

    #[test]
    fn a_directory_is_refused_before_anything_is_fetched() {
        let dir = tempfile::tempdir().unwrap();
        for out in [dir.path().to_str().unwrap(), "films/"] {
            let target = Target::of(&"http://h/film.mp4".parse().unwrap(), &config(Some(out)));
            assert_eq!(target.map_err(|failure| failure.exit), Err(Exit::Usage), "{out}");
        }
    }

    /// A download that fitted the disk failed, for its pieces did not fit beside it.
    #[test]
    fn pieces_are_kept_elsewhere_where_the_disk_has_room_for_the_file_alone() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::File { path: dir.path().join("film"), own_store: true };
        std::fs::create_dir(target.store_beside().unwrap()).unwrap();
        // Others write there, too, meanwhile.
        let room = free(dir.path()).unwrap() / 4 * 3;
        assert!(target.lacks_room(room) && !target.lacks_room(room * 2) && !target.lacks_room(room / 3));
        assert!(!target.without_store().lacks_room(room));
    }

    #[tokio::test]
    async fn what_is_written_already_is_hashed_only() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target::File { path: dir.path().join("film"), own_store: true };
        let mut output = Output::after(&target, 3).unwrap();
        for chunk in ["ab", "cd", "ef"] {
            output.write(Bytes::from(chunk)).await.unwrap();
        }
        let written = output.close().await.unwrap();
        assert_eq!(written.bytes, 6);
        let all = Sha256::digest("abcdef");
        assert_eq!(written.sha256[..], all[..]);
        assert_eq!(std::fs::read(target.part().unwrap()).unwrap(), b"def");
    }

    #[tokio::test]
    async fn a_file_appears_only_when_it_is_right() {
        const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film");
        let target = Target::File { path: path.clone(), own_store: true };
        assert_eq!(written(&target, Some(&"0".repeat(64))).await, Err(Exit::Integrity));
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
        assert_eq!(written(&target, Some(&ABC.to_uppercase())).await.as_deref(), Ok(ABC));
        assert_eq!(std::fs::read(&path).unwrap(), b"abc");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_not_there_is_a_disk_failure() {
        let target = Target::File { path: "/nonexistent/x".into(), own_store: false };
        assert_eq!(Output::create(&target).err().map(|f| f.exit), Some(Exit::Disk));
    }
}
