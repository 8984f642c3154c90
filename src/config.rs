//! Configuration: one tree of values, whoever sets them.
//!
//! Every value has one key (`gateway.listen`), and with it one environment variable (`PCDN_GATEWAY__LISTEN`) and one long
//! option (`--gateway`); [`options`] is the table that ties the three together, and the command line, the help texts, the
//! commented file of `pcdn config` and the checks for unknown keys are all made from it.
//!
//! Precedence: defaults < what a verb changes of them < `--config` file < environment < command line. Whoever asks where a value came from gets
//! the answer ([`Loaded::origin_of`]), because "which of my four places set this" is the first question of a bad night.
//!
//! In a file, an empty string means "not set" for values that have no default.

mod blank;
mod check;
mod load;
mod nearest;
pub mod options;
mod print;

use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, Scheme};
use pcdn_core::schedule::Policy;
use pcdn_core::unit::{ByteSize, Rate, Span};
use pcdn_core::verify::Integrity;
use pcdn_transport::origin::OriginHttp;
use serde::{Deserialize, Serialize};

pub use load::{ConfigError, Loaded, Sources, load};
pub use nearest::nearest;
pub use print::{default_file, effective};

use crate::node::P2p;

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Standard output is JSON and nothing else.
    pub json: bool,
    /// What is told on standard error.
    pub log: LogConfig,
    /// The node of `get`, `peer`, `play` and `push`.
    pub node: NodeConfig,
    /// The local gateway.
    pub gateway: GatewayConfig,
    /// Dashboard, metrics and API.
    pub admin: AdminConfig,
    /// The tracker node.
    pub tracker: TrackerConfig,
    /// The mapping node.
    pub mapping: MappingNodeConfig,
    /// `pcdn get`.
    pub get: GetConfig,
    /// `pcdn peer`.
    pub peer: PeerConfig,
    /// `pcdn play`.
    pub play: PlayConfig,
    /// `pcdn push`.
    pub push: PushConfig,
    /// `pcdn demo`.
    pub demo: DemoConfig,
    /// `pcdn sign`.
    pub sign: SignConfig,
    /// `pcdn inspect`.
    pub inspect: InspectConfig,
    /// `pcdn sim`.
    pub sim: SimConfig,
}

/// What is told on standard error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `off`, `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `pcdn_transport=debug`.
    pub level: String,
    /// Text or JSON lines.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "warn".into(), format: LogFormat::Text }
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnOff {
    /// Yes.
    On,
    /// No.
    Off,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The node of `get`, `peer`, `play` and `push`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Where peers reach this node.
    pub listen: Vec<PeerAddr>,
    /// Trackers: `HOST:PORT`, `udp://HOST:PORT` or `http://HOST:PORT`.
    pub tracker: Vec<String>,
    /// DHT nodes to join by, or `none` to start a network. Without any there is no DHT.
    pub dht: Vec<String>,
    /// Where this node's own DHT node listens; not set: on the hosts of `listen`, any free port.
    #[serde(with = "blank")]
    pub dht_listen: Option<std::net::SocketAddr>,
    /// Mappers, first that answers: `url`, `well-known`, `template:FILE`, `http(s)://NODE[#KEY]`.
    pub mapper: Vec<String>,
    /// Whether the trackers that mappers name are used beside those named here.
    pub mapping_trackers: OnOff,
    /// Where pieces and the identity are kept.
    #[serde(with = "blank")]
    pub data_dir: Option<String>,
    /// Room for pieces.
    pub cache_size: ByteSize,
    /// Bytes a second given to peers.
    pub upload_limit: Rate,
    /// Likewise of each swarm.
    pub upload_limit_swarm: Rate,
    /// Likewise to each peer.
    pub upload_limit_peer: Rate,
    /// Bytes a second taken in, from peers and origins together.
    pub download_limit: Rate,
    /// Likewise of each swarm.
    pub download_limit_swarm: Rate,
    /// Bytes a second taken from each peer.
    pub download_limit_peer: Rate,
    /// Whether the connection's bytes cost money.
    pub metered: bool,
    /// Whether the home's router is asked to open this node's ports, where this machine has a private address.
    pub port_mapping: OnOff,
    /// Whether peers in this machine's private networks are looked for there.
    pub lan_discovery: OnOff,
    /// Whether peers are used.
    pub p2p: P2p,
    /// What is bought: a cheap origin bill, or speed.
    pub policy: Policy,
    /// The least proof accepted for bytes from peers.
    pub integrity: Integrity,
    /// Where the publisher's manifest is: `sidecar`, a URL, a file, or `off`.
    pub manifest: String,
    /// Segments behind the live edge where players of live streams start; 1 is the newest.
    pub live_start: u32,
    /// The publisher's key; manifests of others are refused.
    #[serde(with = "blank")]
    pub trust: Option<PeerId>,
    /// The file with this node's secret key.
    #[serde(with = "blank")]
    pub identity: Option<String>,
    /// The file with the secret of a private swarm.
    #[serde(with = "blank")]
    pub swarm_secret: Option<String>,
    /// The file with the token of the trackers' application.
    #[serde(with = "blank")]
    pub tracker_token: Option<String>,
    /// Origins this node may fetch from, though they are private addresses; if any is given, all others are refused.
    pub origin: Vec<String>,
    /// Headers sent to origins and to nobody else.
    pub header: Vec<String>,
    /// Local address of requests to origins.
    #[serde(with = "blank")]
    pub origin_bind: Option<std::net::IpAddr>,
    /// A PEM file of further certificate authorities for origins.
    #[serde(with = "blank")]
    pub origin_ca: Option<String>,
    /// Which version of HTTP is spoken to https origins.
    pub origin_http: OriginHttp,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let any = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            listen: vec![PeerAddr { scheme: Scheme::Udp, addr: any }],
            tracker: Vec::new(),
            dht: Vec::new(),
            dht_listen: None,
            mapper: vec!["url".into()],
            mapping_trackers: OnOff::On,
            data_dir: None,
            cache_size: ByteSize::gib(10),
            upload_limit: Rate::UNLIMITED,
            upload_limit_swarm: Rate::UNLIMITED,
            upload_limit_peer: Rate::UNLIMITED,
            download_limit: Rate::UNLIMITED,
            download_limit_swarm: Rate::UNLIMITED,
            download_limit_peer: Rate::UNLIMITED,
            metered: false,
            port_mapping: OnOff::On,
            lan_discovery: OnOff::On,
            p2p: P2p::On,
            policy: Policy::Balanced,
            integrity: Integrity::Witnessed,
            manifest: "off".into(),
            live_start: 3,
            trust: None,
            identity: None,
            swarm_secret: None,
            tracker_token: None,
            origin: Vec::new(),
            header: Vec::new(),
            origin_bind: None,
            origin_ca: None,
            origin_http: OriginHttp::Auto,
        }
    }
}

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

/// `pcdn get`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GetConfig {
    /// The file written; `-` is standard output; not set: named like the URL.
    #[serde(with = "blank")]
    pub out: Option<String>,
    /// Goes on serving peers until stopped.
    pub seed: bool,
    /// `A-B`, first and last byte.
    #[serde(with = "blank")]
    pub range: Option<String>,
    /// The hash the file must have.
    #[serde(with = "blank")]
    pub sha256: Option<String>,
}

/// `pcdn peer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PeerConfig {
    /// No gateway.
    pub seed_only: bool,
    /// Contents fetched whole and served.
    pub seed: Vec<url::Url>,
    /// Push nodes that are asked for contents to hold before their release.
    pub push: Vec<url::Url>,
    /// Room lent to push nodes, of that for pieces.
    pub push_disk: ByteSize,
    /// Bytes a second taken in for push nodes while nobody watches here.
    pub push_rate: Rate,
}

impl Default for PeerConfig {
    fn default() -> Self {
        let lends = crate::push::HolderConfig::default();
        Self {
            seed_only: false,
            seed: Vec::new(),
            push: Vec::new(),
            push_disk: lends.disk,
            push_rate: lends.rate,
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

/// `pcdn play`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlayConfig {
    /// The program that is opened.
    #[serde(with = "blank")]
    pub player: Option<String>,
}

/// `pcdn demo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DemoConfig {
    /// Viewers.
    pub peers: u32,
    /// Length of the generated content.
    pub size: ByteSize,
    /// What is generated.
    pub media: String,
    /// What peers speak.
    pub transport: String,
    /// How they find one another.
    pub discovery: String,
    /// Bytes a second the origin gives, in all.
    pub origin_rate: Rate,
    /// Bytes a second each viewer gives.
    pub peer_up: Rate,
    /// Goes on after the result.
    pub keep_running: bool,
}

impl Default for DemoConfig {
    fn default() -> Self {
        Self {
            peers: 8,
            size: ByteSize::mib(64),
            media: "file".into(),
            transport: "udp".into(),
            discovery: "tracker".into(),
            origin_rate: Rate(5_000_000),
            peer_up: Rate(4_000_000),
            keep_running: false,
        }
    }
}

/// `pcdn sign`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SignConfig {
    /// The file with the publisher's secret key.
    #[serde(with = "blank")]
    pub key: Option<String>,
    /// The manifest written; not set: beside the input, with `.pcdn` added.
    #[serde(with = "blank")]
    pub out: Option<String>,
    /// Stays, and signs what changes.
    pub follow: bool,
    /// Where the directory or playlist is served.
    #[serde(with = "blank")]
    pub base_url: Option<url::Url>,
}

/// `pcdn inspect`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InspectConfig {
    /// The kind it is cut as; not set: found out.
    #[serde(rename = "as", with = "blank")]
    pub kind: Option<String>,
    /// Tells each segment's hash.
    pub hash: bool,
    /// The URL a file would have.
    #[serde(with = "blank")]
    pub base_url: Option<url::Url>,
    /// Which rendition's segments are told.
    #[serde(with = "blank")]
    pub rendition: Option<u32>,
    /// A live stream is followed so long.
    #[serde(with = "blank")]
    pub follow: Option<Span>,
}

/// `pcdn sim`.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimConfig {
    /// Peers; 0 is the scenario's own number.
    pub peers: u32,
    /// The seed of all dice; same seed, same run.
    pub seed: u64,
    /// Simulated time; not set: the scenario's own.
    #[serde(with = "blank")]
    pub duration: Option<Span>,
    /// A drawing of the run.
    #[serde(with = "blank")]
    pub svg: Option<String>,
    /// Lists the built-in scenarios.
    pub list: bool,
}
