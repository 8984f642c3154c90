//! Where a mapping node keeps its records.

use pcdn_core::async_trait;
use pcdn_core::error::{Blame, BoxError, Judged};

pub mod contract;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "redis")]
mod redis;

pub use memory::Memory;
#[cfg(feature = "postgres")]
pub use postgres::Postgres;
#[cfg(feature = "redb")]
pub use redb::Redb;
#[cfg(feature = "redis")]
pub use redis::Redis;

/// What a value is; each kind has its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Contents, by RID.
    Entries,
    /// RIDs that publishers gave to URLs, by the hash of the canonical URL.
    Urls,
    /// Signed manifests, by RID and generation. Up to 64 MiB each.
    Manifests,
    /// The rules; one key.
    Rules,
}

impl Space {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Entries, Self::Urls, Self::Manifests, Self::Rules];

    /// Its name in a database.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Urls => "urls",
            Self::Manifests => "manifests",
            Self::Rules => "rules",
        }
    }
}

/// Keeps values by keys. What [`put`](Self::put) returned from survives a crash of the node, but for stores that say otherwise; a
/// reader sees the old or the new value, never a part. Several nodes may use one store: the last one to put wins.
#[async_trait]
pub trait MapStore: Send + Sync + std::fmt::Debug + 'static {
    /// The value of a key.
    async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, MapStoreError>;
    /// Sets it. Keys are at most 64 bytes.
    async fn put(&self, space: Space, key: &[u8], value: &[u8]) -> Result<(), MapStoreError>;
    /// Forgets it; no error if there is none.
    async fn remove(&self, space: Space, key: &[u8]) -> Result<(), MapStoreError>;
    /// How many there are; for figures, may be an estimate.
    async fn count(&self, space: Space) -> Result<u64, MapStoreError>;
}

/// A store that does not do it.
#[derive(Debug, thiserror::Error)]
#[error("the store ({by}): {source}")]
pub struct MapStoreError {
    /// Which kind.
    pub by: &'static str,
    /// What it said.
    pub source: BoxError,
}

impl MapStoreError {
    /// Of the engine `by`.
    pub fn new(by: &'static str, source: impl Into<BoxError>) -> Self {
        Self { by, source: source.into() }
    }
}

impl Judged for MapStoreError {
    fn blame(&self) -> Blame {
        Blame::Local
    }
    fn transient(&self) -> bool {
        true
    }
}
