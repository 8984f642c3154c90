//! The node that `get`, `peer`, `play` and `push` run.

use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, Scheme};
use pcdn_core::schedule::Policy;
use pcdn_core::unit::{ByteSize, Rate};
use pcdn_core::verify::Integrity;
use pcdn_transport::origin::OriginHttp;
use serde::{Deserialize, Serialize};

use super::OnOff;
use super::blank;
use crate::node::P2p;

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
