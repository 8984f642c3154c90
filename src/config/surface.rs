//! What a node shows to players and to its operator.

use pcdn_core::unit::Span;
use serde::{Deserialize, Serialize};

use super::blank;

/// The local gateway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Where players connect: `IP:PORT`, or `off`. `127.0.0.1` means `::1` too.
    pub listen: String,
    /// Reverse proxy for this origin: `https://HOST[/PREFIX]`.
    #[serde(with = "blank")]
    pub upstream: Option<url::Url>,
    /// Page origins that may read answers, such as `https://player.example`.
    pub cors: Vec<String>,
    /// Further names this gateway may be called by in `Host`.
    pub hosts: Vec<String>,
    /// Connections at a time.
    pub connections_max: usize,
    /// A client that does not take a byte for so long is dropped.
    pub write_stall: Span,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7400".into(),
            upstream: None,
            cors: Vec::new(),
            hosts: Vec::new(),
            connections_max: 256,
            write_stall: Span(std::time::Duration::from_secs(30)),
        }
    }
}

/// Dashboard, metrics and API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where: `IP:PORT`, or `off`.
    pub listen: String,
    /// The file with the bearer token for changing calls.
    #[serde(with = "blank")]
    pub token: Option<String>,
    /// Further names it may be called by in `Host`.
    pub hosts: Vec<String>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: "127.0.0.1:7480".into(), token: None, hosts: Vec::new() }
    }
}
