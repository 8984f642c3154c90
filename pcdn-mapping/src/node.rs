//! The mapping node: maps URLs for others, reads their contents once, and signs what the pieces hash to.
//!
//! A mapping node makes two things possible that offline rules cannot: names that only a publisher knows, and the *signed* rung of
//! proof for contents whose origin publishes no manifest. It is never needed for playing.
//!
//! | read | for |
//! |---|---|
//! | `queue.rs` | which content is looked at next, and when again; pure |
//! | `entry.rs` | what is known of a content |
//! | [`MapStore`], `store/` | where that is kept: in memory, in a directory |
//! | `catalog.rs` | entries, URLs, manifests and rules as the store's values |
//! | `desk.rs` | what each request means |
//! | `worker.rs`, `reading.rs` | the shell that looks at contents and reads them |
//! | `tokens.rs` | who may change what |
//! | `http.rs` | the HTTP API |
//!
//! The parts that reach into the world are given: an [`Origin`] that refuses what may not be fetched, a
//! [`Cutter`] that cuts as viewers do, a [`MapStore`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pcdn_core::clock::Clock;
use pcdn_core::fragment::{FragmentError, Listing, Segment};
use pcdn_core::id::{Identity, RuleId};
use pcdn_core::origin::{Origin, OriginError};
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::unit::{ByteSize, Rate};

mod catalog;
mod desk;
mod entry;
pub mod http;
mod queue;
mod reading;
pub mod store;
mod tokens;
mod worker;

#[cfg(test)]
mod tests;

pub use catalog::CatalogError;
pub use desk::{Desk, DeskError};
pub use entry::{Entry, Generation};
pub use store::{MapStore, MapStoreError, Space};
pub use tokens::{TokenError, Tokens};

/// Cuts a resource of which the head is known exactly as viewers do, or says why they do not.
pub type Cutter =
    Arc<dyn Fn(&Url, &ResourceHead) -> Result<(RuleId, Vec<Segment>), FragmentError> + Send + Sync>;

/// Lists all segments of the playlist at a URL exactly as viewers do, or says why there is nothing to be listed for good: it goes
/// on, or names other playlists only.
pub type Lister =
    Arc<dyn Fn(Url) -> BoxFuture<'static, Result<(RuleId, Vec<Listing>), ListError>> + Send + Sync>;

/// Why a playlist is not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The origin's fault, or a passing one.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// It has no list, and stays so until it changes.
    #[error("{0}")]
    Never(String),
}

/// What a mapping node is made of.
pub struct Parts {
    /// Who signs. Viewers pin its public half.
    pub key: Identity,
    /// Where records are kept.
    pub store: Arc<dyn MapStore>,
    /// Fetches contents; it decides which addresses may be reached.
    pub origin: Arc<dyn Origin>,
    /// Cuts contents.
    pub cut: Cutter,
    /// Lists playlists.
    pub list: Lister,
    /// Who may change what.
    pub tokens: Tokens,
    /// The time since the start.
    pub clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts").field("key", &self.key).field("store", &self.store).finish_non_exhaustive()
    }
}

/// Choices that are not parts.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Hosts whose contents are read, `HOST[:PORT]` with globs. Default none: then only what publishers register is mapped.
    pub allow: Vec<String>,
    /// Rules served until others are published. Default: each allowed host is asked about, URL by URL.
    pub rules: Option<String>,
    /// The longest content read. Default 64 GiB, whose manifest is 33 MB.
    pub size_max: ByteSize,
    /// Bytes a second read from origins, for each content. Default 50 MB/s: a tenth of what most origins give.
    pub rate: Rate,
    /// How long an answer is believed, and how often a content that is asked for is looked at. Default 5 min.
    pub ttl: Duration,
    /// Where viewers of all contents meet, told with every answer. Default none.
    pub trackers: Vec<String>,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            allow: Vec::new(),
            rules: None,
            size_max: ByteSize::gib(64),
            rate: Rate(50_000_000),
            ttl: Duration::from_secs(300),
            trackers: Vec::new(),
        }
    }
}
