//! The identity file: a node's secret key, kept from one start to the next.
//!
//! Two lines of text, readable by their owner only:
//!
//! ```text
//! pcdn-identity-1
//! <64 hex digits: the Ed25519 secret>
//! ```
//!
//! Whoever has it can speak as this node, and sign as this publisher.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use pcdn_core::error::{Blame, Judged};
use pcdn_core::id::Digest;
pub use pcdn_core::id::Identity;

/// First line of the file.
const VERSION: &str = "pcdn-identity-1";
/// The file is 81 bytes; room for another line end or two.
const FILE_BYTES_MAX: u64 = 128;

/// The identity in the file at `path`; if there is none, a new one is drawn and written there first. Two processes that start
/// at once get the same one.
///
/// # Errors
/// Says what is wrong and what to do. An existing file is never overwritten, and refused if others may read it.
pub fn load_or_create(path: impl AsRef<Path>) -> Result<Identity, IdentityError> {
    let path = path.as_ref();
    match load(path) {
        Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        loaded => return loaded,
    }
    let identity = ephemeral()?;
    match write_new(path, &identity) {
        Ok(()) => Ok(identity),
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => load(path),
        Err(source) => Err(IdentityError::Io { doing: "writing", path: path.to_owned(), source }),
    }
}

/// The identity in the file at `path`.
///
/// # Errors
/// As [`load_or_create`], and if there is no such file.
pub fn load(path: impl AsRef<Path>) -> Result<Identity, IdentityError> {
    let path = path.as_ref();
    let failed = |source| IdentityError::Io { doing: "reading", path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    refuse_if_exposed(&file, path).map_err(failed)??;
    let mut text = String::new();
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() != io::ErrorKind::InvalidData => Err(failed(error)),
        _ => parse(&text).ok_or_else(|| IdentityError::Malformed { path: path.to_owned() }),
    }
}

/// An identity for this process only.
///
/// # Errors
/// If the system has no randomness to give.
pub fn ephemeral() -> Result<Identity, IdentityError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| IdentityError::NoRandomness(error.to_string()))?;
    Ok(Identity::from_secret(secret))
}

fn parse(text: &str) -> Option<Identity> {
    let mut lines = text.lines().map(str::trim_end);
    let (version, secret, rest) = (lines.next()?, lines.next()?, lines.next());
    let secret: Digest = secret.parse().ok()?;
    (version == VERSION && rest.is_none()).then(|| Identity::from_secret(secret.0))
}

/// Beside it, synced, then linked into place if nothing is there: no reader sees half a file.
fn write_new(path: &Path, identity: &Identity) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Made with mode 0600.
    let mut file = tempfile::Builder::new().prefix(".pcdn-identity").tempfile_in(dir)?;
    writeln!(file, "{VERSION}\n{}", Digest(identity.secret()))?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    Ok(())
}

#[cfg(unix)]
fn refuse_if_exposed(file: &File, path: &Path) -> io::Result<Result<(), IdentityError>> {
    use std::os::unix::fs::PermissionsExt;
    let mode = file.metadata()?.permissions().mode() & 0o777;
    let exposed = mode & 0o077 != 0;
    Ok(if exposed { Err(IdentityError::Exposed { path: path.to_owned(), mode }) } else { Ok(()) })
}

#[cfg(not(unix))]
fn refuse_if_exposed(_: &File, _: &Path) -> io::Result<Result<(), IdentityError>> {
    Ok(Ok(()))
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Others may read the secret.
    #[error("{} can be read by others (mode {mode:03o}): run `chmod 600 {}`, or delete it if it leaked", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no identity file.
    #[error("{} is no pcdn identity file: it wants the line {VERSION} and a line of 64 lower-case hex digits; move it away and a new one is made", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{doing} the identity file {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The system's generator failed.
    #[error("the system gives no randomness: {0}")]
    NoRandomness(String),
}

impl Judged for IdentityError {
    fn blame(&self) -> Blame {
        match self {
            Self::NoRandomness(_) => Blame::Local,
            _ => Blame::Config,
        }
    }
    fn transient(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use pcdn_core::id::PeerId;

    use super::*;

    #[test]
    fn what_was_created_is_loaded_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let made = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap().peer_id(), made.peer_id());
        assert_ne!(ephemeral().unwrap().peer_id(), made.peer_id());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            let refused = load_or_create(&path).unwrap_err();
            assert!(refused.to_string().contains("chmod 600"), "{refused}");
        }
    }

    #[test]
    fn what_is_no_identity_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let hex = "ab".repeat(32);
        let good = format!("{VERSION}\r\n{hex}\r\n");
        assert!(parse(&good).is_some());
        let bad = ["", "\n", &hex, &format!("pcdn-identity-2\n{hex}"), &format!("{VERSION}\n{}", &hex[2..])];
        for (number, text) in bad.into_iter().enumerate() {
            let path = dir.path().join(number.to_string());
            write_private(&path, text.as_bytes());
            assert!(matches!(load_or_create(&path), Err(IdentityError::Malformed { .. })), "{text:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let path = dir.path().join("binary");
        write_private(&path, &[0xff; 5000]);
        assert!(matches!(load_or_create(&path), Err(IdentityError::Malformed { .. })));
    }

    #[test]
    fn two_that_start_at_once_agree() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.key");
        let ids: Vec<PeerId> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| load_or_create(&path).unwrap().peer_id());
            let threads: Vec<_> = (0..8).map(|_| start()).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    fn write_private(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
