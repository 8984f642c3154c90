//! Support: where verified pieces are kept.
//!
//! A plain synchronous seam: shells call it on a blocking pool, the engine only says keep, load and forget. What comes back
//! from a store is *not* trusted: it is hashed again against the digest the store kept beside it, so a damaged cache loses
//! pieces and never delivers wrong bytes.

pub mod memory;

use std::fmt::Debug;

use bytes::Bytes;

use crate::error::{Blame, BoxError, Judged};
use crate::id::{Digest, SwarmKey};
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::verify::Verified;

pub use memory::Memory;

/// Keeps pieces. Methods may block on a disk for milliseconds; all are safe to call from several threads.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
pub trait Store: Send + Sync + Debug + 'static {
    /// Every piece of the swarm that is kept. Fast: answers from an index, reads no piece.
    fn held(&self, swarm: &SwarmKey) -> Result<Vec<Held>, StoreError>;
    /// Keeps one piece. `layout` is its segment's; a segment kept under another layout is forgotten first.
    fn put(&self, swarm: &SwarmKey, key: &PieceKey, layout: &Layout, piece: &Kept) -> Result<(), StoreError>;
    /// A kept piece, unchecked; `None` if it is not (any more) there.
    fn get(&self, swarm: &SwarmKey, key: &PieceKey) -> Result<Option<Bytes>, StoreError>;
    /// Drops a segment, or with `None` the whole swarm.
    fn forget(&self, swarm: &SwarmKey, segment: Option<SegmentId>) -> Result<(), StoreError>;
    /// Whether pieces of the swarm may leave for want of room. A protected swarm leaves by [`forget`](Self::forget) alone; a store
    /// full of protected pieces refuses new ones. Not kept over restarts: who protects does so again.
    fn protect(&self, swarm: &SwarmKey, protected: bool) -> Result<(), StoreError>;
    /// Writes everything through; called before a clean stop.
    fn flush(&self) -> Result<(), StoreError>;
}

/// A piece as it is given to a store.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The bytes.
    pub bytes: Verified<Bytes>,
    /// Its chaining value, kept beside it.
    pub digest: Digest,
    /// Whether this node fetched it from the origin itself (and so may witness it).
    pub own: bool,
}

/// A piece as a store lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which piece.
    pub key: PieceKey,
    /// Its segment's layout.
    pub layout: Layout,
    /// Its chaining value.
    pub digest: Digest,
    /// Whether this node fetched it from the origin itself.
    pub own: bool,
}

/// Why a store did not keep or give a piece.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room, even after eviction.
    #[error("the store is full ({0})")]
    Full(String),
    /// Another process uses the same directory.
    #[error("{0} is in use by another pcdn; give this one its own --data-dir")]
    Locked(String),
    /// The disk said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with its path.
        what: String,
        /// The system's words.
        source: std::io::Error,
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

/// Whether `bytes` are as long as piece `key` of `layout`: every store refuses others.
///
/// # Errors
/// If the layout has no such piece or the length differs; a mistake of the caller.
pub fn fits(key: &PieceKey, layout: &Layout, bytes: &[u8]) -> Result<(), StoreError> {
    let want = layout.piece(key.piece.get()).map(|piece| layout.piece_len(piece) as usize);
    if want == Some(bytes.len()) {
        return Ok(());
    }
    let (segment, piece, len) = (key.segment, key.piece.get(), bytes.len());
    Err(StoreError::Other {
        by: "store",
        source: format!("piece {segment}/{piece} cannot be {len} bytes long").into(),
    })
}

impl Judged for StoreError {
    fn blame(&self) -> Blame {
        match self {
            Self::Locked(_) => Blame::Config,
            _ => Blame::Local,
        }
    }
    fn transient(&self) -> bool {
        matches!(self, Self::Full(_))
    }
}
