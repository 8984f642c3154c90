//! How other peers are found: trackers, the local network, the DHT.

use std::path::Path;
use std::sync::Arc;

use pcdn_core::discovery::Discovery;
use pcdn_core::id::Identity;
use pcdn_core::resource::Url;
use pcdn_discovery::{Cached, Lan, Merged, Tracker, Trackers};

use super::mapper::mapping_node;
use super::{SWARM_SECRET, origins};
use crate::cli::dht::Dht;
use crate::cli::named::Named;
use crate::cli::{Exit, Failure};
use crate::config::{NodeConfig, OnOff};

/// Trackers and the local network first, the DHT when they find too little, and the last answers when all fail.
pub(super) fn discovery(
    trackers: Vec<Tracker>,
    lan: Option<Lan>,
    dht: Option<&Dht>,
) -> Option<impl Discovery> {
    let mut first: Vec<Arc<dyn Discovery>> = Vec::new();
    if !trackers.is_empty() {
        first.push(Arc::new(Trackers::new(trackers)));
    }
    lan.into_iter().for_each(|lan| first.push(Arc::new(lan)));
    let second: Vec<Arc<dyn Discovery>> = dht.map(Dht::discovery).into_iter().collect();
    let any = !first.is_empty() || !second.is_empty();
    any.then(|| Cached::new(Merged::new(first).then(second)))
}

/// The local network, where this node is in one. Without it peers there are met by way of others.
pub(super) fn lan(node: &NodeConfig, me: &Identity) -> Option<Lan> {
    let bound: Vec<_> = node.listen.iter().map(|at| at.addr.ip()).collect();
    if node.lan_discovery == OnOff::Off {
        return None;
    }
    let started = Lan::start(me.peer_id(), &bound);
    started.inspect_err(|error| tracing::debug!(%error, "nobody is looked for in the local network")).ok()
}

/// What a mapper's trackers are talked to with: as strangers, unless the configuration names their hosts too.
pub(super) fn named_trackers(
    node: &NodeConfig,
) -> Result<impl Fn(&str) -> Option<Arc<dyn Discovery>> + Send + Sync + use<>, Failure> {
    let token = tracker_token(node)?;
    let own = node.tracker.clone();
    let mut trusted = origins(node)?;
    for (url, _) in node.mapper.iter().filter_map(|text| mapping_node(text)) {
        trusted.extend(url.host_str().and_then(|host| host.parse().ok()));
    }
    Ok(move |text: &str| {
        let parsed = Url::parse(&format!("http://{}", text.split("://").last().unwrap_or_default())).ok()?;
        let known = own.iter().any(|own| own.split("://").last() == text.split("://").last());
        let trusted = trusted.iter().any(|pattern| pattern.names(&parsed));
        (!known).then(|| Arc::new(Named::new(text, trusted, token.clone())) as Arc<dyn Discovery>)
    })
}

/// The trackers that the configuration names.
pub(crate) fn trackers(node: &NodeConfig) -> Result<Vec<Tracker>, Failure> {
    let secret = node.swarm_secret.as_ref().map(|file| secret(file, SWARM_SECRET)).transpose()?;
    let token = tracker_token(node)?;
    // A tracker tells others of the address it hears from: it must be one that is listened on.
    let from = node.listen.first().map(|at| at.addr.ip()).filter(|ip| !ip.is_unspecified());
    let tracker = |text: &String| {
        let parsed = text.parse::<Tracker>();
        let tracker = parsed
            .map_err(|e| Failure::new(Exit::Config, format!("--tracker {text}: {e}; write HOST:PORT")))?;
        let tracker = match from {
            Some(from) => tracker.sending_from(from),
            None => tracker,
        };
        let tracker = match &secret {
            Some(secret) => tracker.with_secret(secret.clone()),
            None => tracker,
        };
        Ok(match &token {
            Some(token) => tracker.with_token(token),
            None => tracker,
        })
    };
    node.tracker.iter().map(tracker).collect()
}

/// What the trackers' application gave this node.
fn tracker_token(node: &NodeConfig) -> Result<Option<String>, Failure> {
    let Some(file) = &node.tracker_token else { return Ok(None) };
    let token = std::fs::read_to_string(file)
        .map_err(|e| Failure::new(Exit::Config, format!("--tracker-token {file}: {e}")))?;
    Ok(Some(token.trim().to_owned()))
}

/// The secret in `file`, which `option` named.
pub(crate) fn secret(file: &str, option: &str) -> Result<pcdn_discovery::Secret, Failure> {
    pcdn_discovery::Secret::load(Path::new(file))
        .map_err(|e| Failure::new(Exit::Config, format!("{option} {file}: {e}")))
}
