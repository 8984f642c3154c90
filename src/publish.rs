//! What a publisher does: sign files and streams, and look how a resource is cut.
//!
//! A manifest lies beside what it is of: `film.mp4.pcdn` names the segments of a file by their place on its grid,
//! `index.m3u8.pcdn` those that the playlist lists, by the names that viewers give them. Those names count from the playlist
//! ([`pcdn_media::relative`]), so a directory can be signed before anybody knows where it will be served.
//!
//! | part | signs |
//! |---|---|
//! | `sign` | a file, a playlist, a directory, once |
//! | `remote` | a file that lies at an origin only, once |
//! | `follow` | playlists, whenever the packager beside changes them |
//! | `slices` | a continuous stream, slice by slice |
//! | `playlist`, `local`, `hashes` | one playlist: its manifest, its files, their hashes |
//! | `inspect` | nothing: it reports how a resource is cut |
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

mod disk;
mod follow;
mod hashes;
mod inspect;
mod local;
mod outline;
mod playlist;
mod remote;
mod sign;
mod slices;

use std::io;
use std::path::PathBuf;

use pcdn_core::error::{Blame, Judged};
use pcdn_core::fragment::FragmentError;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;

pub(crate) use disk::now_ms;
pub use disk::{MANIFEST_EXTENSION, manifest_path, write_live, write_manifest};
pub use follow::{Follow, LOOK_EVERY};
pub(crate) use inspect::list_as_viewers_do;
pub use inspect::{
    Inspection, Inspector, Rendition, SegmentReport, Source, inspect, inspect_file, read_slices, report_slice,
};
pub use local::is_playlist;
pub(crate) use outline::cut_as_viewers_do;
pub use outline::is_document;
pub use remote::sign_url;
pub use sign::{Signed, fragmenter_of, sign_dir, sign_file, sign_one};
pub use slices::SliceSigner;

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
    /// The origin does not give it.
    #[error("{source}")]
    Origin {
        /// Where it was asked for.
        url: Box<Url>,
        /// What it said.
        source: OriginError,
    },
    /// The playlist has no such rendition.
    #[error("there is no rendition {asked}; there are {count}, counted from 0")]
    NoRendition {
        /// Which was asked for.
        asked: u32,
        /// How many there are.
        count: usize,
    },
    /// A file where a stream was expected.
    #[error("it is a file, not a live stream; sign the file itself, where it lies")]
    NotLive,
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
            Self::Origin { source, .. } => source.blame(),
            Self::Io { .. } | Self::Changed { .. } => Blame::Local,
            Self::NeedsMore(_) | Self::TooLong { .. } | Self::TooDeep { .. } => Blame::Config,
            Self::NoRendition { .. } | Self::NotLive => Blame::Config,
        }
    }
    fn transient(&self) -> bool {
        match self {
            Self::Origin { source, .. } => source.transient(),
            _ => matches!(self, Self::Changed { .. }),
        }
    }
}

#[cfg(test)]
mod tests;
