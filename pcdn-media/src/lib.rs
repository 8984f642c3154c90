//! How resources are cut: the fragmenters of **pcdn**.
//!
//! All are pure: they are given bytes and heads, and say where segments begin. Two nodes that never talked, and joined at
//! different moments, cut the same segments.
//!
//! | module | cuts |
//! |---|---|
//! | [`file`](mod@file) | anything with a length, on a fixed grid |
//! | [`probe`] | nothing: it says of which kind a resource is |

pub mod file;
pub mod probe;

use std::sync::Arc;

use pcdn_core::fragment::Fragmenter;

pub use file::File;

/// The fragmenters of this crate with their defaults, in probe order: a node takes the first that is sure, else the first
/// that says maybe, so the plain file stands last.
pub fn standard() -> Vec<Arc<dyn Fragmenter>> {
    vec![Arc::new(File::default())]
}
