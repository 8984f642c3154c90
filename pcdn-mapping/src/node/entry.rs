//! What is known of a content.

use std::time::Duration;

use pcdn_core::id::{Rid, RuleId, hash_field};
use pcdn_core::resource::{Generations, ResourceHead, Url};
use serde::{Deserialize, Serialize};

use crate::answer::{MapAnswer, PLACES_MAX, State};

/// A content's record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    pub rid: Rid,
    /// Where it can be fetched, best first.
    pub urls: Vec<Url>,
    /// What tells one generation from the next.
    pub generations: Generations,
    /// What named it.
    pub by: String,
    /// Where its viewers meet.
    pub trackers: Vec<String>,
    /// A publisher registered it: what is asked about does not change its places.
    pub published: bool,
    /// What was read last; `None` if it never was, or is of a kind that is not.
    pub current: Option<Generation>,
    /// Why it is not read, if it is of such a kind.
    pub unreadable: Option<String>,
    /// When its origin was looked at last, milliseconds since 1970.
    pub looked_ms: u64,
}

/// One generation of a content that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Hex, of 16 bytes; names the manifest.
    pub id: String,
    /// Length in bytes.
    pub length: u64,
    /// What the origin called it.
    pub validator: Option<String>,
    /// How it was cut.
    pub rule: RuleId,
}

impl Generation {
    /// Names what was read by everything that may differ: `roots` are the hashes of its segments, in order.
    pub(super) fn new(rid: &Rid, head: &ResourceHead, rule: RuleId, roots: &[u8]) -> Self {
        let length = head.len.unwrap_or(0);
        let validator = head.validator.clone();
        let mut hasher = blake3::Hasher::new_derive_key("pcdn mapping generation v1");
        let tag = validator.as_deref().unwrap_or_default();
        for field in [&rid.0[..], &rule.0, &length.to_be_bytes(), tag.as_bytes(), roots] {
            hash_field(&mut hasher, field);
        }
        let id = hasher.finalize().to_hex().as_str()[..32].to_owned();
        Self { id, length, validator, rule }
    }

    /// Whether the origin still has it, as far as a head tells.
    pub(super) fn is_of(&self, head: &ResourceHead) -> bool {
        head.len == Some(self.length) && head.validator == self.validator
    }
}

/// What a rule says of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) generations: Generations,
    pub(super) by: String,
}

impl Entry {
    pub(super) fn new(rid: Rid, url: Url, named: Named) -> Self {
        let Named { generations, by } = named;
        Self {
            rid,
            urls: vec![url],
            generations,
            by,
            trackers: Vec::new(),
            published: false,
            current: None,
            unreadable: None,
            looked_ms: 0,
        }
    }

    /// It was read there.
    pub(super) fn was_at(&mut self, url: &Url) {
        if !self.published && !self.urls.contains(url) {
            self.urls.insert(0, url.clone());
            self.urls.truncate(PLACES_MAX);
        }
    }

    /// Whether it is time for another look. Contents of one age are looked at over a tenth of the time, not all at once.
    pub(super) fn is_due(&self, now_ms: u64, ttl: Duration) -> bool {
        let spread = u64::from(self.rid.0[0]) * (ttl.as_millis() as u64) / 2_560;
        now_ms >= self.looked_ms.saturating_add(ttl.as_millis() as u64).saturating_add(spread)
    }

    pub(super) fn state(&self) -> State {
        match (&self.current, &self.unreadable) {
            (Some(_), _) => State::Ready,
            (None, Some(_)) => State::Named,
            (None, None) => State::Hashing,
        }
    }

    /// The answer about it, to a question about `url`.
    pub(super) fn answer(&self, url: Option<Url>, ttl: Duration, trackers: &[String]) -> MapAnswer {
        let state = self.state();
        let generation = self.current.as_ref().map(|current| current.id.clone());
        // Relative to `/v1/map` or to `/v1/rid/RID`: the node may be anywhere behind a proxy.
        let up = if url.is_some() { "" } else { "../" };
        let manifest = match (&generation, state) {
            (Some(id), _) => Some(format!("{up}manifest/{}/{id}", self.rid)),
            (None, State::Hashing) => Some(format!("{up}manifest/{}", self.rid)),
            (None, _) => None,
        };
        MapAnswer {
            url,
            rid: self.rid,
            state,
            generations: self.generations,
            generation,
            length: self.current.as_ref().map(|current| current.length),
            validator: self.current.as_ref().and_then(|current| current.validator.clone()),
            manifest,
            urls: self.urls.clone(),
            trackers: self.trackers.iter().chain(trackers).cloned().collect(),
            ttl_s: u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX),
            by: self.by.clone(),
        }
    }
}
