//! The answers of `/api/v1`.

use futures_util::Stream;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::snapshot::Snapshots;
use crate::config::Config;
use crate::node::SwarmStatus;

/// The calls, as (method, path, what it gives).
const CALLS: [(&str, &str, &str); 11] = [
    ("get", "/status", "Identity, version, uptime and sums over all swarms"),
    ("get", "/swarms", "Every swarm without its bitmaps and peers"),
    ("get", "/swarms/{key}", "One swarm: segments as [number, pieces, bitmap in hex], peers, figures"),
    ("get", "/peers", "Every neighbour, with its swarm"),
    ("get", "/events", "Server-sent events: status once a second, and what the node tells"),
    ("get", "/config", "The configuration in force; values of headers are left out"),
    ("get", "/openapi.json", "This description"),
    ("post", "/swarms/{key}/forget", "Leaves a swarm and drops what is stored of it"),
    ("post", "/p2p/on", "Takes from peers and gives to them"),
    ("post", "/p2p/off", "Takes everything from the origin"),
    ("post", "/p2p/download-only", "Takes from peers and gives nothing"),
];

pub(super) fn index() -> Value {
    CALLS.iter().map(|(method, path, does)| json!({ "method": method, "path": format!("/api/v1{path}"), "does": does })).collect()
}

pub(super) fn openapi() -> Value {
    let mut paths = serde_json::Map::new();
    for (method, path, does) in CALLS {
        let kind = if path == "/events" { "text/event-stream" } else { "application/json" };
        let mut call = json!({
            "summary": does,
            "responses": { "200": { "description": does, "content": { kind: { "schema": {} } } } },
        });
        if path.contains("{key}") {
            call["parameters"] = json!([{
                "name": "key", "in": "path", "required": true,
                "description": "The swarm, 64 hex digits", "schema": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
            }]);
            call["responses"]["404"] = json!({ "description": "Not in this swarm" });
        }
        if method == "post" {
            call["security"] = json!([{ "token": [] }]);
            call["responses"]["401"] = json!({ "description": "The token is missing or wrong" });
            call["responses"]["403"] = json!({ "description": "Not for pages of other sites; not without --admin-token beyond loopback" });
        }
        let entry = paths.entry(path.to_owned()).or_insert_with(|| json!({}));
        entry[method] = call;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "pcdn node", "version": env!("CARGO_PKG_VERSION"), "description": "A running pcdn node." },
        "servers": [{ "url": "/api/v1" }],
        "paths": paths,
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
    })
}

pub(super) async fn status(snapshots: &Snapshots) -> Value {
    let swarms = snapshots.now().await;
    let totals = snapshots.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).totals();
    let fetched = totals.from_peers + totals.from_origin;
    let p2p_ratio = if fetched == 0 { 0.0 } else { totals.from_peers as f64 / fetched as f64 };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "peer": snapshots.node.peer_id(),
        "p2p": snapshots.node.p2p(),
        "uptime_s": snapshots.started.elapsed().as_secs(),
        "from_cache": totals.from_cache,
        "from_peers": totals.from_peers,
        "from_origin": totals.from_origin,
        "uploaded": totals.uploaded,
        "wasted": totals.wasted,
        "p2p_ratio": p2p_ratio,
        "rejected_pieces": totals.rejected_pieces,
        "start_ms": totals.mean_start_ms(),
        "stalls": totals.stalls,
        "stalled_ms": totals.stalled_ms,
        "origin_http": snapshots.counted.traffic(),
        "swarms": swarms.len(),
        "neighbours": swarms.iter().map(|swarm| u64::from(swarm.report.neighbours)).sum::<u64>(),
    })
}

pub(super) fn swarms(all: &[SwarmStatus]) -> Value {
    all.iter()
        .map(|swarm| json!({ "swarm": swarm.swarm, "rid": swarm.rid, "url": swarm.url, "len": swarm.len, "report": swarm.report }))
        .collect()
}

pub(super) fn peers(all: &[SwarmStatus]) -> Value {
    let with_swarm = |swarm: &SwarmStatus| {
        let key = swarm.swarm;
        swarm
            .peers
            .iter()
            .map(move |peer| {
                let mut shown = serde_json::to_value(peer).unwrap_or_default();
                shown["swarm"] = json!(key);
                shown
            })
            .collect::<Vec<_>>()
    };
    all.iter().flat_map(with_swarm).collect()
}

/// The configuration without what nobody else may read: values of headers (tokens). Secrets are in files, and only the
/// files' names are here.
pub(super) fn shown(config: &Config) -> Value {
    let mut config = config.clone();
    for header in &mut config.node.header {
        let name = header.split(':').next().unwrap_or_default();
        *header = format!("{name}: …");
    }
    serde_json::to_value(config).unwrap_or_default()
}

/// A status and the swarms, at once and then with every snapshot.
pub(super) async fn follow(snapshots: &Snapshots) -> impl Stream<Item = String> + Send + use<> {
    // A listener lives as long as its connection; what it needs of the server is kept apart from it.
    let (node, ledger, started) = (snapshots.node.clone(), snapshots.ledger.clone(), snapshots.started);
    stream::unfold(snapshots.follow().await, move |mut following| {
        let (node, ledger) = (node.clone(), ledger.clone());
        async move {
            following.changed().await.ok()?;
            let swarms = following.borrow_and_update().clone();
            let totals = ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).totals();
            let line = json!({
                "peer": node.peer_id(),
                "p2p": node.p2p(),
                "uptime_s": started.elapsed().as_secs(),
                "from_cache": totals.from_cache,
                "from_peers": totals.from_peers,
                "from_origin": totals.from_origin,
                "uploaded": totals.uploaded,
                "start_ms": totals.mean_start_ms(),
                "stalls": totals.stalls,
                "swarms": *swarms,
            });
            Some((line.to_string(), following))
        }
    })
}

/// What the node tells. A listener that lags loses lines and is told so.
pub(super) fn told(events: broadcast::Receiver<String>) -> impl Stream<Item = String> + Send {
    stream::unfold(events, |mut events| async move {
        match events.recv().await {
            // One line each: a line break would end the event early.
            Ok(line) => Some((line.replace('\n', " "), events)),
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                Some((json!({ "event": "lagged", "lost": lost }).to_string(), events))
            }
            Err(broadcast::error::RecvError::Closed) => None,
        }
    })
}
