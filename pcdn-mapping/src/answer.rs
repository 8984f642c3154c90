//! What a mapping node says, for both sides: the bodies of its HTTP API.

use pcdn_core::id::{PeerId, Rid};
use pcdn_core::resource::{Generations, Url};
use serde::{Deserialize, Serialize};

/// Longest answer read, but for manifests: a batch of 100 URLs with all their places.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// URLs in one `POST /v1/map:batch`.
pub const BATCH_MAX: usize = 100;
/// Places of one content.
pub const PLACES_MAX: usize = 16;
/// Where an origin says who maps its URLs.
pub const WELL_KNOWN: &str = "/.well-known/pcdn.json";

/// What the node has of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It was read: generation, length and manifest are there.
    Ready,
    /// It is being read; ask again. Only the name is known.
    Hashing,
    /// Its name only: it is of a kind that is not read (a live stream, a playlist that goes on), or of a host the node may not read.
    Named,
}

/// `GET /v1/map?url=` and `GET /v1/rid/{rid}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapAnswer {
    /// The URL that was asked about, as it was asked; absent if it was asked by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<Url>,
    /// The content.
    pub rid: Rid,
    /// What the node has of it.
    pub state: State,
    /// What tells one generation from the next.
    pub generations: Generations,
    /// The newest one, hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Its length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// What the origin called it: strong ETag or `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<String>,
    /// Where its signed manifest is, relative to this answer's URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<String>,
    /// Where it can be fetched, best first.
    #[serde(default)]
    pub urls: Vec<Url>,
    /// Where its viewers meet.
    #[serde(default)]
    pub trackers: Vec<String>,
    /// How long this may be believed, seconds.
    pub ttl_s: u32,
    /// What decided.
    pub by: String,
}

/// `POST /v1/map:batch`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// At most [`BATCH_MAX`].
    pub urls: Vec<Url>,
}

/// The answer to it: one for each URL, in order; `null` where there is none.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BatchAnswer {
    /// The answers.
    pub answers: Vec<Option<MapAnswer>>,
}

/// `PUT /v1/map`: these URLs are one content.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishBody {
    /// Its places, best first, at most [`PLACES_MAX`]; the publisher's token must cover all their hosts.
    pub urls: Vec<Url>,
    /// Its name; left out, that of the first URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rid: Option<Rid>,
    /// Where its viewers meet.
    #[serde(default)]
    pub trackers: Vec<String>,
}

/// `POST /v1/purge`: these URLs have another content now.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeBody {
    /// At most [`BATCH_MAX`]; the publisher's token must cover all their hosts.
    pub urls: Vec<Url>,
}

/// Any answer that is no success.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Problem {
    /// In words.
    pub error: String,
}

/// [`WELL_KNOWN`]: who maps an origin's URLs. All URLs may be relative to it. TLS proves that the origin says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The rule file; left out, the mapping node's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<String>,
    /// The mapping node; left out, nobody is asked about single URLs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<String>,
    /// Where the origin's viewers meet.
    #[serde(default)]
    pub trackers: Vec<String>,
    /// Whose signatures count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PeerId>,
}
