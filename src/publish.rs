//! What a publisher does before the first viewer comes: sign files, and look how a resource is cut.
//!
//! ```
//! use pcdn::{identity, publish};
//! use pcdn_core::verify::Manifest;
//! let dir = tempfile::tempdir()?;
//! let film = dir.path().join("film.mp4");
//! std::fs::write(&film, vec![7; 5_000_000])?;
//!
//! let key = identity::load_or_create(dir.path().join("publisher.key"))?;
//! let manifest = publish::sign_file(&film, &pcdn_media::File::default(), &key, None)?;
//! publish::write_manifest(&publish::manifest_path(&film), &manifest)?;
//! assert_eq!(Manifest::parse(&manifest)?.bytes(), 5_000_000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod inspect;
mod sign;

use std::io;
use std::path::PathBuf;

use pcdn_core::error::{Blame, Judged};
use pcdn_core::fragment::FragmentError;

pub use inspect::{Inspection, Rendition, SegmentReport, inspect, inspect_file};
pub use sign::{MANIFEST_EXTENSION, Signed, manifest_path, sign_dir, sign_file, write_manifest};

/// Why something was not signed or inspected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The file system said no.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The resource's bytes could not be read.
    #[error("reading the resource at byte {at}: {source}")]
    Body {
        /// How far it was read.
        at: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// The content is longer or shorter than it was said to be.
    #[error(
        "the content changed while it was read: {said} bytes announced, it ended or went on at byte {at}; try again when it is still"
    )]
    Changed {
        /// The length it had first.
        said: u64,
        /// Where it differed.
        at: u64,
    },
    /// It cannot be cut.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// This kind of resource needs documents that are not here.
    #[error("a resource of kind {0} cannot be inspected from its bytes alone; give its URL")]
    NeedsMore(&'static str),
    /// Nobody could read the manifest.
    #[error(
        "the manifest would have {bytes} bytes, above the limit of {limit}; cut the file with larger pieces"
    )]
    TooLong {
        /// Its length.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The directory goes on too deep.
    #[error("{} is more than {limit} directories deep", path.display())]
    TooDeep {
        /// Which.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
}

impl Judged for PublishError {
    fn blame(&self) -> Blame {
        match self {
            Self::Body { .. } | Self::Fragment(_) => Blame::Origin,
            Self::Io { .. } | Self::Changed { .. } => Blame::Local,
            Self::NeedsMore(_) | Self::TooLong { .. } | Self::TooDeep { .. } => Blame::Config,
        }
    }
    fn transient(&self) -> bool {
        matches!(self, Self::Changed { .. })
    }
}

#[cfg(test)]
mod tests;
