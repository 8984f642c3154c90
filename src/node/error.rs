//! Why a resource cannot be opened or read on.

use pcdn_core::error::{Blame, Judged};
use pcdn_core::fragment::FragmentError;
use pcdn_core::origin::OriginError;

/// Why a resource cannot be opened or read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The origin.
    #[error(transparent)]
    Origin(#[from] OriginError),
    /// It cannot be cut: pass it through from the origin.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Not an http(s) URL.
    #[error("{0}")]
    Url(String),
    /// The bytes cannot be proven by what `--integrity` demands, nor had from the origin.
    #[error("integrity: {0}")]
    Integrity(String),
    /// The store.
    #[error(transparent)]
    Store(#[from] pcdn_core::store::StoreError),
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closed,
}

impl Judged for OpenError {
    fn blame(&self) -> Blame {
        match self {
            Self::Origin(e) => e.blame(),
            Self::Fragment(e) => e.blame(),
            Self::Store(e) => e.blame(),
            Self::Url(_) => Blame::Config,
            Self::Integrity(_) => Blame::Peer,
            Self::Closed => Blame::Local,
        }
    }
    fn transient(&self) -> bool {
        match self {
            Self::Origin(e) => e.transient(),
            Self::Store(e) => e.transient(),
            _ => false,
        }
    }
}
