//! HLS: playlists (RFC 8216 and its second edition) into listed segments, and playlists rewritten for a gateway.
//!
//! A playlist is never shared among peers: the node fetches it from the origin, and what it lists is what peers share. So
//! everything rests on how a segment is [named](name): by the playlist's own words, without host, token and join time.
//!
//! | module | does |
//! |---|---|
//! | [`model`] | what a playlist says, as data |
//! | [`name`] | the number of a segment that two nodes agree on |
//! | `parse`, `define`, `lines` | text to model, in one pass, within bounds |
//! | `slicing`, `window` | reloads a playlist and says what came and what left |
//! | `rewrite` | the text again, with URIs that lead through the gateway |

mod define;
mod lines;
pub mod model;
pub mod name;
mod parse;
mod rewrite;
mod slicing;
mod window;

use pcdn_core::fragment::{Fit, FragmentError, Fragmenter, Slicing};
use pcdn_core::id::RuleId;
use pcdn_core::resource::{Resource, ResourceHint};

pub use define::Variables;
pub use model::{Master, Media, Playlist};
pub use rewrite::{RewriteOptions, import, rewrite, strip_skip};

use crate::probe;

/// log2 of the length of a piece of a segment: 16 KiB, so that a live piece takes 131 ms of a 1 Mbit/s uplink.
pub const PIECE_LOG2: u8 = 14;
/// Bytes of a playlist at most: a day of two-second segments with 300-byte lines is 13 MB.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Segments and parts of a playlist at most: two days of two-second segments.
pub const SEGMENTS_MAX: usize = 100_000;
/// Bytes of a line at most: signed URLs reach 4 KiB, and most servers refuse more than 8.
pub const LINE_BYTES_MAX: usize = 16 << 10;
/// Variants, I-frame streams, alternatives, session keys or session data of a master playlist at most, each; the largest
/// real ladders times languages have about 100.
pub const VARIANTS_MAX: usize = 1_000;
/// Variables a playlist may define; real ones define a handful.
pub const VARIABLES_MAX: usize = 256;
/// Bytes all variables together may expand to, lest four bytes of reference become 16 KiB in each of 100,000 lines.
pub const EXPANDED_BYTES_MAX: usize = DOCUMENT_BYTES_MAX;
/// Bytes of all resolved URLs at most: short relative URIs under a long base grow, this far and no further.
pub const URL_BYTES_MAX: usize = 64 << 20;

/// Changes whenever equal parameters would cut differently.
const VERSION: u32 = 1;
const NAME: &str = "hls";

/// Cuts HLS: the renditions of a master playlist, the segments of a media playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hls;

impl Fragmenter for Hls {
    fn name(&self) -> &'static str {
        NAME
    }

    fn rule(&self) -> RuleId {
        RuleId::of(NAME, VERSION, &format!("piece={PIECE_LOG2}"))
    }

    fn fit(&self, hint: &ResourceHint) -> Fit {
        match probe::kind(hint) {
            probe::Kind::Hls => Fit::Sure,
            _ => Fit::No,
        }
    }

    fn open(&self, resource: &Resource) -> Result<Box<dyn Slicing>, FragmentError> {
        Ok(Box::new(slicing::HlsSlicing::new(resource.url.clone())))
    }
}

/// What is wrong with the line at byte `at`.
fn malformed(what: impl Into<String>, at: usize) -> FragmentError {
    FragmentError::Malformed { kind: NAME, what: what.into(), at: at as u64 }
}

/// That `count` reached a bound.
fn at_most(limit: usize, count: usize, what: &'static str) -> Result<(), FragmentError> {
    if count > limit {
        return Err(FragmentError::TooMuch { kind: NAME, limit: limit as u64, what });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
