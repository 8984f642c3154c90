//! Support: the S of P2SP, an ordinary server of the content.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::discovery::BoxStream;
use crate::error::{Blame, BoxError, Judged};
use crate::range::ByteRange;
use crate::resource::{ResourceHead, Url};

/// Fetches from origins. Cancel-safe: dropping a body closes the transfer.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Origin: Send + Sync + Debug + 'static {
    /// What the origin says of `url`.
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError>;
    /// Opens a transfer. An implementation retries what is transient within its budget before it reports it, and promises
    /// that the body is exactly what was asked: the asked range of the asked version, or an error.
    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError>;
    /// Whether `url` still has the content that `known` tells of, asked as cheaply as it can be: what the origin says of it now,
    /// or [`OriginError::Changed`]. An origin that says neither fails.
    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError>;
}

/// What to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginGet {
    /// Where.
    pub url: Url,
    /// Which bytes; `None` is all.
    pub range: Option<ByteRange>,
    /// The version to insist on: sent as `If-Range`; another version is [`OriginError::Changed`].
    pub validator: Option<String>,
    /// Length of the whole resource, if known: an answer that says otherwise is [`OriginError::Changed`].
    pub len: Option<u64>,
}

impl OriginGet {
    /// All of `url`, whatever its version.
    pub fn whole(url: Url) -> Self {
        Self { url, range: None, validator: None, len: None }
    }
}

/// A transfer under way.
pub struct OriginBody {
    /// The response's head; `len` is the whole resource's.
    pub head: ResourceHead,
    /// The bytes in order. Ends after an `Err`, or after exactly the asked range.
    pub bytes: BoxStream<Result<Bytes, OriginError>>,
}

impl Debug for OriginBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginBody").field("head", &self.head).finish_non_exhaustive()
    }
}

/// Why the origin did not give it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// It answered with this status.
    #[error("the origin answers {status}")]
    Status {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, if it sent one.
        retry_after: Option<Duration>,
    },
    /// No connection, or it broke.
    #[error("the origin cannot be reached: {why}")]
    Unreachable {
        /// What the network said.
        why: String,
    },
    /// Too slow or silent.
    #[error("the origin is silent for {0:?}")]
    Silent(Duration),
    /// The content at the URL is another one now.
    #[error("the content at the URL has changed: {what}")]
    Changed {
        /// What differs.
        what: String,
    },
    /// An answer against the rules of HTTP.
    #[error("the origin's answer makes no sense: {what}")]
    Malformed {
        /// What is wrong.
        what: String,
    },
    /// An address this node does not fetch from (loopback, private, not allowed).
    #[error("{host} is refused as an origin: {why}")]
    Forbidden {
        /// Which host.
        host: String,
        /// Why, and which option allows it.
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

impl Judged for OriginError {
    fn blame(&self) -> Blame {
        match self {
            Self::Forbidden { .. } => Blame::Config,
            _ => Blame::Origin,
        }
    }
    fn transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..=599),
            Self::Unreachable { .. } | Self::Silent(_) | Self::Malformed { .. } | Self::Other { .. } => true,
            Self::Changed { .. } | Self::Forbidden { .. } => false,
        }
    }
}
