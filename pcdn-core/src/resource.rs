//! What a user asks for: a URL, and what the origin and the mapper say of it.

use std::time::Duration;

pub use url::Url;

use crate::id::Rid;

/// A content and how to get it, as a [`Fragmenter`](crate::fragment::Fragmenter) is given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The URL to fetch from. May hold credentials; never leaves this node but towards the origin.
    pub url: Url,
    /// The content's name.
    pub rid: Rid,
    /// What the origin said of it, if it was asked.
    pub head: Option<ResourceHead>,
}

/// What an origin says about a URL in its response head.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResourceHead {
    /// Length of the whole resource in bytes, if it has one and it was told.
    pub len: Option<u64>,
    /// `Content-Type`, as sent.
    pub content_type: Option<String>,
    /// The strongest validator, for `If-Range`: a strong ETag, else `Last-Modified`. Valid for this origin only: edges of one
    /// CDN disagree on ETags.
    pub validator: Option<String>,
    /// Whether the origin serves byte ranges.
    pub ranges: bool,
    /// Other response headers a gateway passes on: lower-case name, value.
    pub headers: Vec<(String, String)>,
}

/// What is known before anything is fetched; a fragmenter says from it whether it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceHint {
    /// The URL.
    pub url: Url,
    /// `Content-Type`, if the origin was asked.
    pub content_type: Option<String>,
    /// First bytes of the body, if they were fetched.
    pub first_bytes: Vec<u8>,
}

/// A mapper's answer: what the URL's content is called, and where else it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The content's name.
    pub rid: Rid,
    /// Further URLs of the same content, best first; without the one asked for.
    pub mirrors: Vec<Url>,
    /// Where the publisher's signed manifest is, if the mapper knows.
    pub manifest: Option<Url>,
    /// How long the answer may be kept.
    pub valid_for: Duration,
    /// Which mapper decided, for people.
    pub by: String,
    /// Names of what it left out (query parameters, path parts), for people.
    pub dropped: Vec<String>,
}

impl Mapping {
    /// A mapping to `rid` by `by`, with no mirrors and valid for a day.
    pub fn to(rid: Rid, by: impl Into<String>) -> Self {
        Self {
            rid,
            mirrors: Vec::new(),
            manifest: None,
            valid_for: Duration::from_secs(86_400),
            by: by.into(),
            dropped: Vec::new(),
        }
    }
}
