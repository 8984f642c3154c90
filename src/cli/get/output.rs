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
        let part = target.part();
        let name = part.as_ref().map_or_else(|| target.to_string(), |part| part.display().to_string());
        let out: Box<dyn Write + Send> = match part {
            Some(part) => Box::new(
                File::create(part).map_err(|e| Failure::disk(format!("{name} cannot be written"), &e))?,
            ),
            None => Box::new(std::io::stdout()),
        };
        let (chunks, incoming) = mpsc::channel(CHUNKS);
        let writer = tokio::task::spawn_blocking(move || write_all(incoming, out));
        Ok(Self { chunks, writer, name })
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        if self.chunks.send(bytes).await.is_ok() {
            return Ok(());
        }
        // The writer is gone, and says why.
        match (&mut self.writer).await {
            Ok(Err(e)) => Err(Failure::disk(&self.name, &e)),
            _ => Err(Failure::other(format!("{}: writing ended early", self.name))),
        }
    }

    pub(super) async fn close(self) -> Result<Written, Failure> {
        drop(self.chunks);
        let written = self.writer.await.map_err(Failure::other)?;
        written.map_err(|e| Failure::disk(&self.name, &e))
    }
}

fn write_all(mut chunks: mpsc::Receiver<Bytes>, mut out: Box<dyn Write + Send>) -> std::io::Result<Written> {
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    while let Some(chunk) = chunks.blocking_recv() {
        out.write_all(&chunk)?;
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
