//! How resources are cut: the fragmenters of **pcdn**.
//!
//! All are pure: they are given bytes and heads, and say where segments begin. Two nodes that never talked, and joined at
//! different moments, cut the same segments.
//!
//! | module | cuts |
//! |---|---|
//! | [`hls`] | HLS playlists: each listed segment is a segment |
//! | [`dash`] | DASH manifests: likewise |
//! | [`flv`] | FLV streams at keyframes, FLV files on the grid |
//! | [`file`](mod@file) | anything with a length, on a fixed grid |
//! | [`duration`] | nothing: it says how long a file plays |
//! | [`isobmff`] | nothing: boxes of MP4 files, as far as an index needs them |
//! | [`probe`] | nothing: it says of which kind a resource is |
//! | [`relative`] | nothing: it says where something lies as seen from a playlist |

pub mod dash;
pub mod duration;
pub mod file;
pub mod flv;
pub mod hls;
pub mod isobmff;
pub mod probe;
pub mod relative;

use std::sync::Arc;

use pcdn_core::fragment::Fragmenter;

pub use dash::Dash;
pub use file::File;
pub use flv::Flv;
pub use hls::Hls;

/// The fragmenters of this crate with their defaults, in probe order: a node takes the first that is sure, else the first
/// that says maybe, so the plain file stands last.
pub fn standard() -> Vec<Arc<dyn Fragmenter>> {
    with(Dash::default())
}

/// The same with the time of day, which some live DASH manifests cannot be listed without.
pub fn standard_at(clock: dash::WallClock) -> Vec<Arc<dyn Fragmenter>> {
    with(Dash::with_clock(clock))
}

fn with(dash: Dash) -> Vec<Arc<dyn Fragmenter>> {
    vec![Arc::new(Hls), Arc::new(dash), Arc::new(Flv::default()), Arc::new(File::default())]
}
