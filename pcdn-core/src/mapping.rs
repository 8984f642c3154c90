//! Seam 4: what a URL's content is called.
//!
//! Two URLs of one content (tokens, sessions, CDN hosts) should map to one [`Rid`](crate::id::Rid); two contents never must.
//! When in doubt, split: a swarm split wrongly only loses peers, one merged wrongly is settled by hashes at a cost.
//!
//! ```
//! use pcdn_core::{id::Rid, mapping::*, resource::{Mapping, Url}};
//!
//! /// Names a film by the last part of its path.
//! #[derive(Debug)]
//! struct ByName;
//! #[async_trait::async_trait]
//! impl Mapper for ByName {
//!     async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
//!         let name = url.path_segments().and_then(|mut s| s.next_back()).ok_or(MapError::Unknown)?;
//!         Ok(Mapping::to(Rid(*blake3::hash(name.as_bytes()).as_bytes()), "by name"))
//!     }
//! }
//! ```

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::{Blame, BoxError, Judged};
use crate::resource::{Mapping, Url};

/// Maps a URL to a content.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Mapper: Send + Sync + Debug + 'static {
    /// The content at `url`. An error never stops playback: the node asks the next mapper, and without any it serves the URL
    /// from its origin alone.
    async fn map(&self, url: &Url) -> Result<Mapping, MapError>;
}

/// Why a URL was not mapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MapError {
    /// This mapper does not know the URL; ask the next.
    #[error("the mapper does not know this URL")]
    Unknown,
    /// Not a URL that content can be fetched from.
    #[error("not a URL to fetch from: {0}")]
    NotHttp(String),
    /// The mapping node did not answer.
    #[error("mapping node {node} does not answer")]
    Silent {
        /// Which.
        node: String,
    },
    /// Of an implementation outside this framework.
    #[error("{by}: {source}")]
    Other {
        /// Who says so.
        by: &'static str,
        /// Its error.
        source: BoxError,
    },
}

impl Judged for MapError {
    fn blame(&self) -> Blame {
        match self {
            Self::Silent { .. } => Blame::Local,
            _ => Blame::Config,
        }
    }
    fn transient(&self) -> bool {
        matches!(self, Self::Silent { .. } | Self::Other { .. })
    }
}
