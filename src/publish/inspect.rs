//! How a resource is cut, for people and for scripts: the report, in the shape of `pcdn inspect --json`.
//!
//! | part | of |
//! |---|---|
//! | `file` | what follows from the head alone |
//! | `stream` | playlists and manifests: what they list, and how long that is |
//! | `follow` | live ones, segment by segment |
//! | `source` | where the bytes come from: an origin, or this machine |

mod file;
mod follow;
mod source;
mod stream;

use pcdn_core::fragment::Segment;
use pcdn_core::id::{Digest, Rid, RuleId, SwarmKey};
use pcdn_core::range::ByteRange;
use serde::{Deserialize, Serialize};

pub use file::{inspect, inspect_file};
pub use follow::{read_slices, report_slice};
pub use source::Source;
pub use stream::Inspector;
pub(crate) use stream::list_as_viewers_do;

/// The report, in the shape of `inspect --json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// The resource.
    pub url: String,
    /// The name of the fragmenter that cut it.
    pub kind: String,
    /// Whether it has no end yet.
    pub live: bool,
    /// Its name, where its URL is known.
    pub rid: Option<Rid>,
    /// How it is cut.
    pub rule: RuleId,
    /// Where its peers meet, where its name is known.
    pub swarm: Option<SwarmKey>,
    /// Length of all segments.
    pub bytes: u64,
    /// Its renditions; empty for what has but one.
    pub renditions: Vec<Rendition>,
    /// Its segments, in order.
    pub segments: Vec<SegmentReport>,
}

/// One rendition of a resource that has several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Its number.
    pub id: u64,
    /// Where it is.
    pub url: String,
    /// Bits per second.
    pub bandwidth: Option<u64>,
    /// As in the playlist.
    pub codecs: Option<String>,
    /// `WIDTHxHEIGHT`.
    pub resolution: Option<String>,
    /// Where its peers meet.
    pub swarm: Option<SwarmKey>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SegmentReport {
    /// Its number.
    pub id: u64,
    /// Where its bytes are.
    pub url: String,
    /// Which of them, end exclusive; `null` is all.
    pub range: Option<ByteRange>,
    /// Its length.
    pub bytes: u64,
    /// Start in media time.
    pub start_s: Option<f64>,
    /// Duration in media time.
    pub duration_s: Option<f64>,
    /// Number of its pieces.
    pub pieces: u32,
    /// Length of each, but perhaps the last.
    pub piece_bytes: u64,
    /// Headers every player needs.
    pub init: bool,
    /// Starts with a keyframe.
    pub key: bool,
    /// Timestamps or codecs break before it.
    pub discontinuity: bool,
    /// Its ordinary BLAKE3 hash, if hashing was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blake3: Option<Digest>,
    /// Of a continuous stream's slice: the parts in which peers exchange it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<SegmentReport>,
}

fn report(segment: &Segment, blake3: Option<Digest>) -> SegmentReport {
    SegmentReport {
        id: segment.id.0,
        url: segment.url.to_string(),
        range: segment.range,
        bytes: segment.layout.len(),
        start_s: segment.start.map(|span| span.as_secs_f64()),
        duration_s: segment.duration.map(|span| span.as_secs_f64()),
        pieces: segment.layout.pieces(),
        piece_bytes: segment.layout.piece_bytes(),
        init: segment.init,
        key: segment.key,
        discontinuity: segment.discontinuity,
        blake3,
        parts: Vec::new(),
    }
}
