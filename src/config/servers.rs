//! Roles that serve other nodes: tracker, mapping node, push node.

use pcdn_core::id::PeerId;
use pcdn_core::unit::{ByteSize, Rate, Span};
use serde::{Deserialize, Serialize};

use super::blank;

/// The tracker node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrackerConfig {
    /// UDP, and on the same number over TCP the HTTP API.
    pub listen: std::net::SocketAddr,
    /// The file with the secret that makes it private.
    #[serde(with = "blank")]
    pub secret: Option<String>,
    /// Where the table lives.
    pub store: String,
    /// The file that says whose network an address belongs to.
    #[serde(with = "blank")]
    pub networks: Option<String>,
    /// The public key of the application whose tokens it wants.
    #[serde(with = "blank")]
    pub token_key: Option<PeerId>,
    /// The address from which nodes are answered, too, so that they learn what their NATs let in; not set: another one of this host.
    #[serde(with = "blank")]
    pub second_address: Option<std::net::IpAddr>,
    /// The directory of its key and of what it knows of peers.
    #[serde(with = "blank")]
    pub data_dir: Option<String>,
    /// The file with the key that signs who is a superpeer; not set: in `data_dir`.
    #[serde(with = "blank")]
    pub key: Option<String>,
    /// Where earned weight is told and stakes are asked for: a file or a URL.
    #[serde(with = "blank")]
    pub ledger: Option<String>,
    /// The file with the bearer token of a ledger behind HTTP.
    #[serde(with = "blank")]
    pub ledger_token: Option<String>,
    /// What a superpeer must have at stake, in the ledger's unit; 0 is nothing.
    pub stake: u64,
    /// Ids of push nodes whose audits count.
    pub auditor: Vec<PeerId>,
    /// Shows what peers have earned at the tracker that runs at `listen`.
    pub earned: bool,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 7070).into(),
            secret: None,
            store: "memory".into(),
            networks: None,
            token_key: None,
            second_address: None,
            data_dir: None,
            key: None,
            ledger: None,
            ledger_token: None,
            stake: 0,
            auditor: Vec::new(),
            earned: false,
        }
    }
}

/// The mapping node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MappingNodeConfig {
    /// Its HTTP API.
    pub listen: std::net::SocketAddr,
    /// Where records are kept: a directory, `postgres://…`, `redis://…`, or `memory`.
    pub store: String,
    /// Hosts whose contents are read: `HOST[:PORT]`, globs.
    pub allow: Vec<String>,
    /// The file with the key that signs; not set: in the store's directory.
    #[serde(with = "blank")]
    pub key: Option<String>,
    /// The rule file served.
    #[serde(with = "blank")]
    pub rules: Option<String>,
    /// The file with publishers' tokens.
    #[serde(with = "blank")]
    pub tokens: Option<String>,
    /// Trackers told with every answer.
    pub trackers: Vec<String>,
    /// The longest content read.
    pub size_max: ByteSize,
    /// Bytes a second read of one content.
    pub rate: Rate,
    /// How long an answer is believed.
    pub ttl: Span,
}

impl Default for MappingNodeConfig {
    fn default() -> Self {
        let node = pcdn_mapping::node::NodeConfig::default();
        Self {
            listen: ([127, 0, 0, 1], 7300).into(),
            store: "memory".into(),
            allow: Vec::new(),
            key: None,
            rules: None,
            tokens: None,
            trackers: Vec::new(),
            size_max: node.size_max,
            rate: node.rate,
            ttl: Span(node.ttl),
        }
    }
}

/// `pcdn push`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PushConfig {
    /// Where the push node's HTTP API is.
    pub api: std::net::SocketAddr,
    /// A running push node that is told, instead of being one.
    #[serde(with = "blank")]
    pub node: Option<url::Url>,
    /// Copies of each content, in each region.
    pub copies: u32,
    /// From now to the release.
    pub deadline: Span,
    /// How long it is held beyond the release.
    pub hold: Span,
    /// Regions: `NAME=ADDRESS/BITS` says where one is, `NAME` alone where copies shall be.
    pub region: Vec<String>,
    /// Renditions of playlists, by number; none is all.
    pub rendition: Vec<String>,
    /// Bytes from the CDN, all peers together.
    #[serde(with = "blank")]
    pub cdn_budget: Option<ByteSize>,
    /// Bytes a second one peer takes in for it.
    pub peer_rate: Rate,
    /// Shows jobs.
    pub status: bool,
    /// Cancels jobs.
    pub cancel: bool,
    /// Idle peers ask for work so often.
    pub ask_every: Span,
    /// Holding peers tell how it goes so often.
    pub report_every: Span,
    /// The file with the operator's token.
    #[serde(with = "blank")]
    pub token: Option<String>,
    /// Further names the push node may be called by in `Host`.
    pub hosts: Vec<String>,
}

impl Default for PushConfig {
    fn default() -> Self {
        let pace = pcdn_core::warmup::Pace::default();
        Self {
            api: ([127, 0, 0, 1], 7500).into(),
            node: None,
            copies: 8,
            deadline: Span(std::time::Duration::from_secs(600)),
            hold: Span(std::time::Duration::from_secs(3_600)),
            region: Vec::new(),
            rendition: Vec::new(),
            cdn_budget: None,
            peer_rate: Rate::UNLIMITED,
            status: false,
            cancel: false,
            ask_every: Span(pace.ask),
            report_every: Span(pace.report),
            token: None,
            hosts: Vec::new(),
        }
    }
}
