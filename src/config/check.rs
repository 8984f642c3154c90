//! Values that each parse but cannot be meant.

use std::net::SocketAddr;

use super::options::Opt;
use super::{ConfigError, Loaded};

/// Checks what types cannot.
pub(super) fn check(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let fault = |key: &str, what: String, remedy: &str| {
        let long = Opt::of_key(key).map_or("", |opt| opt.long);
        let source_name = loaded.origin_of(key).to_owned();
        Err(ConfigError {
            what,
            key: key.into(),
            source_name,
            remedy: remedy.replace("{}", &format!("--{long}")),
        })
    };
    for (key, listen) in [("gateway.listen", &config.gateway.listen), ("admin.listen", &config.admin.listen)]
    {
        if listen != "off" && listen.parse::<SocketAddr>().is_err() {
            return fault(
                key,
                format!("{listen:?} is no address to listen on"),
                "write {} IP:PORT or {} off",
            );
        }
    }
    for page in &config.gateway.cors {
        if let Err(what) = page_origin(page) {
            return fault(
                "gateway.cors",
                format!("{page:?} {what}"),
                "write {} https://HOST[:PORT] of the page",
            );
        }
    }
    if let Some(url) = &config.gateway.upstream
        && (!matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || url.query().is_some())
    {
        return fault("gateway.upstream", format!("{url} is no origin"), "write {} https://HOST[/PREFIX]");
    }
    for header in &config.node.header {
        if !is_header(header) {
            // The value may be a token: it is not repeated.
            return fault("node.header", "a header has no name or no value".into(), "write {} 'Name: value'");
        }
    }
    let is_tracker = |text: &&String| text.parse::<pcdn_discovery::Tracker>().is_ok();
    if let Some(tracker) = config.node.tracker.iter().find(|text| !is_tracker(text)) {
        return fault("node.tracker", format!("{tracker:?} is no tracker"), "write {} HOST:PORT");
    }
    if let Some(contact) = config.node.dht.iter().find(|text| *text != "none" && !is_contact(text)) {
        let what = format!("{contact:?} is no DHT node");
        return fault(
            "node.dht",
            what,
            "write {} /ip4/IP/udp/PORT/quic-v1/p2p/ID, or {} none to start a network",
        );
    }
    for mapper in &config.node.mapper {
        if !matches!(&**mapper, "url" | "well-known") && !mapper.starts_with("template:") && !is_node(mapper)
        {
            return fault(
                "node.mapper",
                format!("{mapper:?} is no mapper"),
                "write {} url, {} well-known, {} template:FILE or {} http(s)://NODE[#KEY]",
            );
        }
    }
    for host in &config.mapping.allow {
        if let Err(error) = host.parse::<pcdn_transport::origin::OriginPattern>() {
            return fault("mapping.allow", error.to_string(), "write {} HOST[:PORT]");
        }
    }
    let store = &config.mapping.store;
    let server = store.split_once("://").map(|(kind, _)| kind);
    if store.is_empty() || server.is_some_and(|kind| !STORES.contains(&kind)) {
        // What follows may be a password: it is not repeated.
        let what = format!("{:?} is no store of the mapping node", server.unwrap_or_default());
        return fault("mapping.store", what, "write {} DIR, postgres://…, redis://… or memory");
    }
    if server.is_some() && config.mapping.key.is_none() {
        let what = "several nodes of one database must sign with one key".to_owned();
        return fault("mapping.key", what, "write {} FILE");
    }
    if config.node.integrity == pcdn_core::verify::Integrity::Origin {
        let what = "origin is no proof of bytes from peers".to_owned();
        return fault(
            "node.integrity",
            what,
            "write {} signed|witnessed|sampled, or --p2p off for the origin alone",
        );
    }
    if config.node.listen.is_empty() {
        return fault(
            "node.listen",
            "no address to listen on".into(),
            "write {} 0.0.0.0:0 for any free port",
        );
    }
    if config.gateway.connections_max == 0 {
        return fault("gateway.connections_max", "no connection is allowed".into(), "write {} 256");
    }
    let store = &config.tracker.store;
    if store != "memory" && !store.starts_with("redis://") {
        // It may hold a password: it is not repeated.
        let what = "this is no store of the tracker".to_owned();
        return fault("tracker.store", what, "write {} memory or {} redis://HOST:PORT");
    }
    if config.tracker.stake > 0 && config.tracker.ledger.is_none() {
        let what = "nobody knows what a peer has at stake".to_owned();
        return fault("tracker.stake", what, "write {} 0, or name a ledger with --ledger");
    }
    if let Some(hash) = &config.get.sha256
        && (hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit()))
    {
        return fault("get.sha256", format!("{hash:?} is no SHA-256"), "write {} with 64 hex digits");
    }
    if let Some(range) = &config.get.range
        && crate::gateway::range::parse_plain(range).is_none()
    {
        return fault(
            "get.range",
            format!("{range:?} is no range"),
            "write {} A-B, first and last byte, or {} A-",
        );
    }
    Ok(())
}

#[cfg(feature = "kad")]
fn is_contact(text: &str) -> bool {
    text.parse::<pcdn_discovery::kad::Contact>().is_ok()
}

/// Built without a DHT: one that is named is refused later, and with that reason.
#[cfg(not(feature = "kad"))]
fn is_contact(text: &str) -> bool {
    text.starts_with('/')
}

/// Whether `text` is the origin of one web page: scheme, host, port and nothing else.
fn page_origin(text: &str) -> Result<(), &'static str> {
    if matches!(text, "*" | "null") {
        return Err("would let every page read what this node fetches");
    }
    let url = url::Url::parse(text).map_err(|_| "is no page origin")?;
    if url.origin().ascii_serialization() == text { Ok(()) } else { Err("is more than a page origin") }
}

/// Databases that mapping nodes share.
const STORES: [&str; 4] = ["postgres", "postgresql", "redis", "valkey"];

/// Whether `text` is a mapping node: its URL, and its public key if it is pinned.
fn is_node(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let pinned = url.fragment().is_none_or(|key| key.parse::<pcdn_core::id::PeerId>().is_ok());
    matches!(url.scheme(), "http" | "https") && url.host_str().is_some() && url.query().is_none() && pinned
}

fn is_header(line: &str) -> bool {
    let Some((name, value)) = line.split_once(':') else { return false };
    http::HeaderName::from_bytes(name.trim().as_bytes()).is_ok()
        && http::HeaderValue::from_str(value.trim()).is_ok_and(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    fn refused(key: &'static str, value: &str) -> String {
        let command_line = vec![(key, vec![value.to_owned()])];
        load(&Sources { command_line, ..Sources::default() }).unwrap_err().to_string()
    }

    #[test]
    fn no_page_is_let_in_by_a_pattern() {
        for bad in ["*", "null", "https://a.example/path", "a.example", "https://a.example/"] {
            assert!(refused("gateway.cors", bad).contains("--gateway-cors https://HOST"), "{bad}");
        }
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        assert!(refused("gateway.listen", "localhost").contains("--gateway IP:PORT"));
        assert!(refused("gateway.upstream", "ftp://x/").contains("upstream"));
        assert!(!refused("node.header", "Bearer-secret").contains("secret"));
        assert!(refused("get.sha256", "abc").contains("64 hex digits"));
        assert!(refused("get.range", "9-3").contains("A-B"));
        assert!(refused("node.dht", "192.0.2.1:4001").contains("--dht none"));
        assert!(refused("node.mapper", "what").contains("template:FILE"));
        assert!(refused("node.mapper", "http://map.example#12").contains("#KEY"));
        assert!(refused("mapping.allow", "http://h/").contains("--allow HOST"));
        assert!(refused("mapping.store", "mysql://u:secret@h/").contains("--store DIR"));
        assert!(!refused("mapping.store", "mysql://u:secret@h/").contains("secret"));
        assert!(refused("mapping.store", "redis://h/").contains("--key FILE"));
        assert!(refused("gateway.connections_max", "0").contains("256"));
    }
}
