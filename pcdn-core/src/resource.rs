//! What a user asks for: a URL, and what the origin and the mapper say of it.

use std::time::Duration;

pub use url::Url;

use serde::{Deserialize, Serialize};

use crate::id::{PeerId, Rid, hash_field};

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

impl ResourceHead {
    /// The first header called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The entity tag, strong or weak, with its quotes.
    pub fn tag(&self) -> Option<&str> {
        self.validator.as_deref().filter(|validator| is_tag(validator)).or_else(|| self.header("etag"))
    }

    /// `Last-Modified`, as sent.
    pub fn modified(&self) -> Option<&str> {
        self.validator
            .as_deref()
            .filter(|validator| !is_tag(validator))
            .or_else(|| self.header("last-modified"))
    }

    /// Whether it names a version at all, by an entity tag or a date.
    pub fn has_version(&self) -> bool {
        self.tag().or_else(|| self.modified()).is_some()
    }

    /// What differs between the content this head tells of and that of a `later` head of the same URL; `None` if nothing says that
    /// it is another. Two strong tags and the length decide alone; else a weak tag and the date must agree where both heads have
    /// one.
    pub fn differs_from(&self, later: &ResourceHead) -> Option<String> {
        if let (Some(known), Some(now)) = (self.len, later.len)
            && known != now
        {
            return Some(format!("length {known} is now {now}"));
        }
        let changed = |name: &str, known: Option<&str>, now: Option<&str>| {
            let (known, now) = (known?, now?);
            (known != now).then(|| format!("{name} {} is now {}", clip(known), clip(now)))
        };
        let strong = |head: &Self| head.tag().is_some_and(|tag| tag.starts_with('"'));
        if strong(self) && strong(later) {
            return changed("ETag", self.tag(), later.tag());
        }
        let opaque = |tag: Option<&'_ str>| tag.map(|tag| tag.trim_start_matches("W/").to_owned());
        changed("ETag", opaque(self.tag()).as_deref(), opaque(later.tag()).as_deref())
            .or_else(|| changed("Last-Modified", self.modified(), later.modified()))
    }
}

/// Whether a validator is an entity tag rather than a date.
fn is_tag(validator: &str) -> bool {
    validator.starts_with('"') || validator.starts_with("W/")
}

/// A stranger's header in an error message, cut short.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
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
    /// Where the content's viewers meet: trackers as `HOST:PORT`, `udp://HOST:PORT` or `http://HOST:PORT`, best first.
    pub trackers: Vec<String>,
    /// Where the publisher's signed manifest is, if the mapper knows.
    pub manifest: Option<Url>,
    /// Whose signature makes that manifest count wherever it lies: the mapping node's, which read the content itself.
    pub signer: Option<PeerId>,
    /// What tells one generation of the content from the next.
    pub generations: Generations,
    /// How long the answer may be kept.
    pub valid_for: Duration,
    /// Which mapper decided, for people.
    pub by: String,
    /// Names of what it left out (query parameters, path parts), for people.
    pub dropped: Vec<String>,
}

impl Mapping {
    /// A mapping to `rid` by `by`, with no mirrors, no trackers, and valid for a day.
    pub fn to(rid: Rid, by: impl Into<String>) -> Self {
        Self {
            rid,
            mirrors: Vec::new(),
            trackers: Vec::new(),
            manifest: None,
            signer: None,
            generations: Generations::One,
            valid_for: Duration::from_secs(86_400),
            by: by.into(),
            dropped: Vec::new(),
        }
    }
}

impl Mapping {
    /// The name of what the origin has at the URL now: [`rid`](Self::rid), or by [`generations`](Self::generations) a name of this
    /// generation only. `tests/vectors/generations.json` of `pcdn-mapping` has vectors.
    pub fn rid_of(&self, head: &ResourceHead) -> Rid {
        let len = head.len.map(|len| len.to_string()).unwrap_or_default();
        let tag = head.validator.as_deref().unwrap_or_default();
        match self.generations {
            Generations::One => self.rid,
            Generations::ByLength => generation(&self.rid, &len, ""),
            Generations::ByTag => generation(&self.rid, &len, tag),
        }
    }
}

/// When the content behind a URL changes: what of the origin's answer says so. Those who see different generations never meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Generations {
    /// It never does, or so rarely that its hashes may settle it: the URL names the content.
    #[default]
    #[serde(rename = "one")]
    One,
    /// The length tells. Right for all hosts of a CDN, blind to a change of equal length.
    #[serde(rename = "length")]
    ByLength,
    /// Length and validator (strong ETag, else `Last-Modified`) tell. Only where all hosts of the content send equal ones: else
    /// their viewers never meet.
    #[serde(rename = "etag")]
    ByTag,
}

/// `BLAKE3-derive_key("pcdn rid generation v1", LP(rid) LP(length in decimal) LP(validator))`; what does not count is empty.
fn generation(rid: &Rid, len: &str, tag: &str) -> Rid {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn rid generation v1");
    for field in [&rid.0[..], len.as_bytes(), tag.as_bytes()] {
        hash_field(&mut hasher, field);
    }
    Rid(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_told_apart_by_the_strongest_of_what_both_heads_say() {
        let head = |len: Option<u64>, validator: &str, etag: &str, date: &str| {
            let header =
                |name: &str, value: &str| (!value.is_empty()).then(|| (name.to_owned(), value.to_owned()));
            let headers = header("etag", etag).into_iter().chain(header("last-modified", date)).collect();
            let validator = (!validator.is_empty()).then(|| validator.to_owned());
            ResourceHead { len, validator, headers, ..ResourceHead::default() }
        };
        let same =
            |a: &ResourceHead, b: &ResourceHead| a.differs_from(b).is_none() && b.differs_from(a).is_none();
        let (mon, tue) = ("Mon, 23 Nov 2026 10:00:00 GMT", "Tue, 24 Nov 2026 10:00:00 GMT");
        let strong = head(Some(7), "\"a\"", "", mon);
        assert!(same(&strong, &head(Some(7), "\"a\"", "", tue)), "a strong tag is the content");
        assert!(!same(&strong, &head(Some(7), "\"b\"", "", mon)));
        assert!(!same(&strong, &head(Some(8), "\"a\"", "", mon)));
        let weak = head(Some(7), mon, "W/\"a\"", mon);
        assert!(same(&weak, &head(Some(7), mon, "W/\"a\"", mon)));
        assert!(!same(&weak, &head(Some(7), mon, "W/\"b\"", mon)));
        assert!(!same(&weak, &head(Some(7), tue, "W/\"a\"", tue)));
        assert!(same(&strong, &head(None, "", "", "")), "nothing says that it is another");
    }

    #[test]
    fn a_generation_is_named_by_what_the_rule_looks_at() {
        let head = |len: u64, tag: &str| ResourceHead {
            len: Some(len),
            validator: Some(tag.to_owned()),
            ..ResourceHead::default()
        };
        let name =
            |generations, head| Mapping { generations, ..Mapping::to(Rid([1; 32]), "t") }.rid_of(&head);
        for (generations, by_len, by_tag) in [
            (Generations::One, false, false),
            (Generations::ByLength, true, false),
            (Generations::ByTag, true, true),
        ] {
            let base = name(generations, head(7, "a"));
            assert_eq!(base != name(generations, head(8, "a")), by_len, "{generations:?}");
            assert_eq!(base != name(generations, head(7, "b")), by_tag, "{generations:?}");
            assert_eq!(base != Rid([1; 32]), by_len, "{generations:?}");
        }
        let shifted = |len, tag: &str| name(Generations::ByTag, head(len, tag));
        assert_ne!(shifted(1, "2x"), shifted(12, "x"));
    }
}
