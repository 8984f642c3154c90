//! Support: where earned weight is told to, and stakes are asked of.
//!
//! pcdn has no money of its own. A collector of receipts tells an operator's books who earned what, and may ask them what
//! somebody has at stake.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::error::{Blame, BoxError, Judged};
use crate::id::PeerId;

/// Books outside. Called every few minutes; both methods are cancel-safe.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait Ledger: Send + Sync + Debug + 'static {
    /// Tells what peers have earned. An entry replaces an earlier one of the same peer and week, so telling twice is the same
    /// as telling once.
    async fn record(&self, entries: &[Entry]) -> Result<(), LedgerError>;
    /// What `peer` has at stake, in the operator's unit; 0 if nothing is known of it.
    async fn stake(&self, peer: &PeerId) -> Result<u64, LedgerError>;
}

/// What one peer has earned in one week so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub peer: PeerId,
    /// Weeks since 1970.
    pub week: u32,
    /// Bytes it was signed for.
    pub bytes: u64,
    /// What of them counts: see [`Earned::credit`](crate::receipt::Earned::credit).
    pub credit: u64,
    /// Whether it is a superpeer.
    pub superpeer: bool,
}

/// Why the books were not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LedgerError {
    /// The file cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with its path.
        what: String,
        /// The system's words.
        source: std::io::Error,
    },
    /// The other side refuses, with its words.
    #[error("{ledger} refuses: {why}")]
    Refused {
        /// Who.
        ledger: String,
        /// Its words, cut to 200 characters.
        why: String,
    },
    /// Nobody answers.
    #[error("{ledger} does not answer: {why}")]
    Silent {
        /// Who.
        ledger: String,
        /// What happened.
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

impl Judged for LedgerError {
    fn blame(&self) -> Blame {
        match self {
            Self::Refused { .. } => Blame::Config,
            _ => Blame::Local,
        }
    }
    fn transient(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}
