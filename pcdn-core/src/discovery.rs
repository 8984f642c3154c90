//! Seam 2: who else is there.
//!
//! A node keeps several discoveries, asks them all and merges what they say. Discovery gives candidates, never truth: a
//! transport proves who a peer is, and verification what its bytes are worth.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;

use crate::error::{Blame, BoxError, Judged};
use crate::id::{PeerId, SwarmKey};
use crate::peer::PeerRecord;

/// A stream that can be kept in a trait object.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send + 'static>>;

/// Finds peers of a swarm. All methods are cancel-safe; any may be called at any time.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Discovery: Send + Sync + Debug + 'static {
    /// Tells that `me` takes part in `key`. To be renewed within [`Lease::renew_in`].
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError>;
    /// Takes it back. Best effort: an entry expires anyway.
    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError>;
    /// Peers of `key`, up to about `want`, as they are found: a tracker answers at once, a DHT over seconds. Never the asker
    /// itself where the implementation can know it.
    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>>;
}

/// How long an announcement holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Announce again within this.
    pub renew_in: Duration,
}

/// Why nobody was found or told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Nobody answered in time.
    #[error("{node} does not answer")]
    Silent {
        /// Who.
        node: String,
    },
    /// It refused, with its words.
    #[error("{node} refuses: {why}")]
    Refused {
        /// Who.
        node: String,
        /// Its words, cut to 200 characters.
        why: String,
    },
    /// The address cannot be used.
    #[error("{node} is no usable address: {why}")]
    Address {
        /// What was given.
        node: String,
        /// Why not.
        why: String,
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

impl Judged for DiscoveryError {
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
