//! The node's rules: where they are, whose they are, and the file they are kept in.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::error::BoxError;
use pcdn_core::id::PeerId;
use pcdn_core::resource::Url;
use serde::{Deserialize, Serialize};

use super::{Ask, RemoteConfig, Reply};
use crate::answer::{Authority, WELL_KNOWN};
use crate::signed::{KEY_HEADER, Kind, SIGNATURE_HEADER, Signature};
use crate::template::{FILE_BYTES_MAX, Template};

/// Rules in force.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) rules: Template,
    /// Who is asked about single URLs.
    pub(super) mapping: Option<Url>,
    /// Whose signatures count.
    pub(super) key: Option<PeerId>,
    /// Where the origin says that its viewers meet.
    pub(super) trackers: Vec<String>,
    from: Url,
    text: String,
    signature: Option<Signature>,
    etag: Option<String>,
}

impl Held {
    /// Who they are of, for people.
    pub(super) fn node(&self) -> String {
        format!("mapping node {}", node_name(&self.from))
    }
}

fn node_name(url: &Url) -> String {
    crate::canonical::host_of(url)
}

/// The file of an earlier run.
#[derive(Serialize, Deserialize)]
struct Kept {
    from: Url,
    mapping: Option<Url>,
    signature: Option<Signature>,
    etag: Option<String>,
    text: String,
}

/// Fetches them.
#[derive(Debug)]
pub(super) struct Fetcher {
    config: RemoteConfig,
    ask: Arc<dyn Ask>,
}

/// Where rules are, and what is known of them before they are read.
struct Place {
    rules: Url,
    mapping: Option<Url>,
    key: Option<PeerId>,
    trackers: Vec<String>,
    /// The origin itself says that these are its rules, and they lie on it.
    own: bool,
}

impl Fetcher {
    pub(super) fn new(mut config: RemoteConfig, ask: Arc<dyn Ask>) -> Self {
        config.node.set_fragment(None);
        config.node.set_query(None);
        if !config.node.path().ends_with('/') {
            config.node.set_path(&format!("{}/", config.node.path()));
        }
        Self { config, ask }
    }

    pub(super) fn node(&self) -> String {
        node_name(&self.config.node)
    }

    /// The rules of an earlier run, if they are in the file and of this node.
    pub(super) fn kept(&self) -> Option<Held> {
        let bytes = std::fs::read(self.config.file.as_ref()?).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        if kept.from != self.config.node {
            return None;
        }
        let signed = kept.signature.as_ref().filter(|made| made.holds(Kind::Rules, kept.text.as_bytes()));
        if kept.signature.is_some() != signed.is_some() || !self.believes(signed.map(|made| made.key)) {
            return None;
        }
        let rules = Template::parse("rules", &kept.text).ok()?;
        let key = signed.map(|made| made.key);
        let Kept { from, mapping, signature, etag, text } = kept;
        // Where viewers meet is asked for anew: it changes more often than what contents are called.
        Some(Held { rules, mapping, key, trackers: Vec::new(), from, text, signature, etag })
    }

    /// Newer rules, or the same as `held` for longer.
    pub(super) async fn fetch(&self, held: Option<&Held>) -> Result<(Held, Option<Duration>), BoxError> {
        let node = &self.config.node;
        let rules = node.join("v1/rules")?;
        let etag = held.and_then(|held| held.etag.as_deref());
        let asked = match self.config.unasked {
            true => None,
            false => Some(self.ask.ask(&rules, etag, FILE_BYTES_MAX as usize).await?),
        };
        let (place, reply) = match asked.filter(|reply| reply.status != 404) {
            None => {
                let place = self.authority().await?;
                let reply = self.ask.ask(&place.rules, etag, FILE_BYTES_MAX as usize).await?;
                (place, reply)
            }
            Some(reply) => {
                let mapping = Some(node.clone());
                (Place { rules, mapping, key: None, trackers: Vec::new(), own: false }, reply)
            }
        };
        let max_age = reply.max_age();
        let new = self.read(place, reply, held)?;
        self.keep(&new);
        Ok((new, max_age))
    }

    /// What the origin says of itself.
    async fn authority(&self) -> Result<Place, BoxError> {
        let at = self.config.node.join(WELL_KNOWN)?;
        let reply = self.ask.ask(&at, None, FILE_BYTES_MAX as usize).await?;
        if reply.status != 200 {
            return Err(format!("{at} answers {}", reply.status).into());
        }
        let said: Authority = serde_json::from_slice(&reply.body)?;
        let mapping = said.mapping.map(|mapping| at.join(&mapping)).transpose()?;
        let rules = match (said.rules, &mapping) {
            (Some(rules), _) => at.join(&rules)?,
            (None, Some(mapping)) => mapping.join("v1/rules")?,
            (None, None) => return Err(format!("{at} names neither rules nor a mapping node").into()),
        };
        let own = rules.origin() == at.origin();
        Ok(Place { rules, mapping, key: said.key, trackers: said.trackers, own })
    }

    fn read(&self, place: Place, reply: Reply, held: Option<&Held>) -> Result<Held, BoxError> {
        let from = self.config.node.clone();
        if let (304, Some(held)) = (reply.status, held) {
            // Read once more, so that what is in force never depends on what it was before.
            let rules = Template::parse(place.rules.as_str(), &held.text)?;
            let (signature, etag, key) = (held.signature.clone(), held.etag.clone(), held.key);
            return Ok(Held {
                rules,
                mapping: place.mapping,
                key,
                trackers: place.trackers,
                from,
                text: held.text.clone(),
                signature,
                etag,
            });
        }
        if reply.status != 200 {
            return Err(format!("{} answers {}", place.rules, reply.status).into());
        }
        let signature = Signature::of_headers(reply.header(KEY_HEADER), reply.header(SIGNATURE_HEADER));
        match &signature {
            Some(made) if !made.holds(Kind::Rules, &reply.body) => {
                return Err("the rules' signature does not fit".into());
            }
            // Rules without a signature count where the origin itself has them, and nobody was named to sign.
            None if !place.own || place.key.is_some() => return Err("the rules are not signed".into()),
            _ => {}
        }
        let key = signature.as_ref().map(|made| made.key);
        if !self.believes(key) || place.key.is_some_and(|named| Some(named) != key) {
            return Err("the rules are signed by another key than the pinned one".into());
        }
        if let Some(held) = held.filter(|held| held.key != key) {
            tracing::warn!(was = ?held.key, is = ?key, "the mapping node has another key now; pin it to be sure");
        }
        let text = String::from_utf8(reply.body.clone())?;
        let rules = Template::parse(place.rules.as_str(), &text)?;
        if let Some(held) = held.filter(|held| held.rules.version() > rules.version()) {
            let (old, new) = (held.rules.version(), rules.version());
            return Err(format!("rules of version {new}, after {old}: somebody serves old ones").into());
        }
        let etag = reply.header("etag").map(str::to_owned);
        let (mapping, trackers) = (place.mapping, place.trackers);
        Ok(Held { rules, mapping, key, trackers, from, text, signature, etag })
    }

    fn believes(&self, key: Option<PeerId>) -> bool {
        self.config.key.is_none_or(|pinned| Some(pinned) == key)
    }

    fn keep(&self, held: &Held) {
        let Some(file) = &self.config.file else { return };
        let (from, mapping, text) = (held.from.clone(), held.mapping.clone(), held.text.clone());
        let (signature, etag) = (held.signature.clone(), held.etag.clone());
        let kept = serde_json::to_vec(&Kept { from, mapping, signature, etag, text }).expect("plain values");
        if let Err(error) = write_whole(file, &kept) {
            tracing::warn!(%error, file = %file.display(), "the mapping node's rules are not kept");
        }
    }
}

/// Beside it, then renamed: a reader sees the old or the new file, never half of one. A few hundred KiB at most.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("part");
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, path)
}
