//! Proof that bytes are right.
//!
//! Two iron rules: a player gets, and a node uploads, only bytes that this node fetched from the origin itself or checked
//! against an anchor. [`Verified`] is that rule as a type: nothing outside this module can make one.

pub mod list;
pub mod manifest;
pub mod witness;

use std::ops::Deref;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use list::PieceList;
pub use manifest::Manifest;

/// Something that was checked, or came from the origin itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified<T>(T);

impl Verified<Bytes> {
    /// Bytes this node fetched from the origin itself. The engine alone can say so.
    pub(crate) fn from_origin(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Bytes whose digest was compared with the one an anchor demands.
    pub(crate) fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// Bytes a test vouches for.
    #[cfg(any(test, feature = "testing"))]
    pub fn for_test(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, without the proof.
    pub fn into_inner(self) -> Bytes {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// How bytes from peers are proven, weakest first: the rungs of the ladder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Integrity {
    /// Spot checks against the origin. Bounds damage, does not prevent it: for closed swarms, by explicit choice.
    Sampled,
    /// Several peers that fetched the piece from the origin say the same, and the origin arbitrates. Costs `k` copies.
    Witnessed,
    /// The publisher's manifest, signed or taken from the origin beside the content. Costs one copy.
    Signed,
    /// Everything came from the origin itself.
    Origin,
}

impl Integrity {
    /// The text form used in options and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Integrity::Sampled => "sampled",
            Integrity::Witnessed => "witnessed",
            Integrity::Signed => "signed",
            Integrity::Origin => "origin",
        }
    }
}
