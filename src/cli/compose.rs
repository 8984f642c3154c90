//! From the configuration to a node: which parts, made how.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pcdn_core::discovery::Discovery;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::mapping::Mapper;
use pcdn_core::peer::{Outlook, PeerAddr, Scheme};
use pcdn_core::resource::Url;
use pcdn_core::unit::ByteSize;
use pcdn_discovery::{Cached, Lan, Merged, Tracker, Trackers};
use pcdn_mapping::{FirstOf, Template, UrlHash};
use pcdn_transport::limit::{Limits, Rates};
use pcdn_transport::origin::{Http, HttpConfig, OriginPattern};
use pcdn_transport::quic::QuicConfig;
use pcdn_transport::shared;
use pcdn_transport::udp::{Meetings, SwarmSecret, Udp, UdpConfig};

use super::dht::{self, Dht};
use super::named::Named;
use super::{Exit, Failure};
use crate::config::{AdminConfig, Config, NodeConfig, OnOff};
use crate::mapping_node::place;
use crate::nat::ports::Ports;
use crate::node::{Builder, ManifestFrom, Node, Settings};
use crate::store::{Disk, DiskConfig, Memory, Store};

/// Pieces kept in memory by a node without a data directory: some minutes of video, and what a small machine can spare.
const MEMORY_MAX: ByteSize = ByteSize::mib(256);

/// The mapper that asks each origin itself.
const WELL_KNOWN: &str = "well-known";

/// The option of private swarms, as its faults name it.
const SWARM_SECRET: &str = "--swarm-secret";

/// A node and what the verbs need beside it.
pub(crate) struct Composed {
    pub(crate) node: Node,
    /// The node's own origin, for what is passed through as it is.
    pub(crate) origin: Http,
    /// Its part of the DHT, if it takes part.
    pub(crate) dht: Option<Dht>,
    ports: std::sync::Mutex<Vec<Ports>>,
}

impl Composed {
    /// Ends the node, and last what it said goodbye by.
    pub(crate) async fn shutdown(&self, grace: std::time::Duration) {
        let ports =
            std::mem::take(&mut *self.ports.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        let given_back = futures_util::future::join_all(ports.into_iter().map(Ports::give_back));
        futures_util::future::join(self.node.shutdown(grace), given_back).await;
        if let Some(dht) = &self.dht {
            dht.leave().await;
        }
    }
}

/// Where pieces are kept when the configuration names no directory.
pub(crate) enum Keep {
    /// In memory.
    Memory,
    /// In a directory of this run's own, without a bound: it goes when the download is whole.
    Beside(PathBuf),
}

/// The node that `config` describes.
pub(crate) async fn compose(config: &Config, keep: Keep) -> Result<Composed, Failure> {
    let node = &config.node;
    if let Some(dir) = &node.data_dir {
        make_private_dir(Path::new(dir))?;
    }
    let me = identity(node)?;
    let origin = origin(node)?;
    let store = store(node, keep).await?;
    let mut builder = Node::builder(me.clone())
        .origin(origin.clone())
        .elsewhere(origin.bare())
        .shared_store(store)
        .mapper(mapper_with(node, Some(&origin))?)
        .fragmenters(pcdn_media::standard_at(wall_clock()))
        .settings(settings(node)?);
    if node.mapping_trackers == OnOff::On && node.swarm_secret.is_none() {
        builder = builder.named_trackers(named_trackers(node)?);
    }
    let dht = dht::join(node, &me).await?;
    let (outlooks, ports);
    (builder, outlooks, ports) = listen(builder, node, &me).await?;
    // One tracker hears of one NAT: that of the first socket.
    let tracker = |tracker: Tracker| match outlooks.first() {
        Some(outlook) => tracker.with_outlook(outlook.clone()),
        None => tracker,
    };
    let trackers = trackers(node)?.into_iter().map(tracker).collect();
    if let Some(discovery) = discovery(trackers, lan(node, &me), dht.as_ref()) {
        builder = builder.discovery(discovery);
    }
    let node = builder.build().map_err(Failure::other)?;
    Ok(Composed { node, origin, dht, ports: ports.into() })
}

/// Trackers and the local network first, the DHT when they find too little, and the last answers when all fail.
fn discovery(trackers: Vec<Tracker>, lan: Option<Lan>, dht: Option<&Dht>) -> Option<impl Discovery> {
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
fn lan(node: &NodeConfig, me: &Identity) -> Option<Lan> {
    let bound: Vec<_> = node.listen.iter().map(|at| at.addr.ip()).collect();
    if node.lan_discovery == OnOff::Off {
        return None;
    }
    let started = Lan::start(me.peer_id(), &bound);
    started.inspect_err(|error| tracing::debug!(%error, "nobody is looked for in the local network")).ok()
}

/// What a mapper's trackers are talked to with: as strangers, unless the configuration names their hosts too.
fn named_trackers(
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

/// Opens what `--listen` says. Where udp and quic name one place they share its socket.
async fn listen(
    mut builder: Builder,
    node: &NodeConfig,
    me: &Identity,
) -> Result<(Builder, Vec<Arc<Outlook>>, Vec<Ports>), Failure> {
    let (mut outlooks, mut ports) = (Vec::new(), Vec::new());
    let mut through = |builder: Builder, meetings: Meetings, outlook: Arc<Outlook>| {
        crate::nat::meet_by(meetings.clone(), node.tracker.clone());
        // Without a tracker nobody sees this node's address, and a port without one is of no use.
        if node.port_mapping == OnOff::On && !node.tracker.is_empty() {
            ports.push(Ports::keep(meetings.clone(), crate::nat::ports::standard()));
        }
        outlooks.push(outlook.clone());
        builder.outlook(outlook).meetings(meetings)
    };
    let secret = link_secret(node)?;
    // One set of limits for all that is listened on.
    let limits = upload_limits(node);
    let both = |at: &PeerAddr| {
        let named = |scheme| node.listen.contains(&PeerAddr { scheme, addr: at.addr });
        named(Scheme::Udp) && named(Scheme::Quic)
    };
    for at in &node.listen {
        let udp = UdpConfig { secret: secret.clone(), ..UdpConfig::default() };
        let quic = QuicConfig { secret: secret.clone(), ..QuicConfig::default() };
        let provider = builder.provider();
        let cannot = |e| {
            Failure::other(format!(
                "cannot listen on {at}: {e}; give another address or port 0 with --listen"
            ))
        };
        builder = match at.scheme {
            Scheme::Udp if both(at) => {
                let (udp, quic) =
                    shared::bind(at.addr, me, provider, udp, quic, limits.clone()).await.map_err(cannot)?;
                through(builder, udp.meetings(), udp.outlook()).transport(udp).transport(quic)
            }
            Scheme::Udp => {
                let udp =
                    Udp::bind_sharing(at.addr, me, provider, udp, limits.clone()).await.map_err(cannot)?;
                through(builder, udp.meetings(), udp.outlook()).transport(udp)
            }
            Scheme::Quic if both(at) => builder,
            Scheme::Quic => {
                let bound = shared::bind_quic(at.addr, me, provider, quic, limits.clone());
                let quic = bound.await.map_err(cannot)?;
                if let (Some(meetings), Some(outlook)) = (quic.meetings(), quic.outlook()) {
                    builder = through(builder, meetings, outlook);
                }
                builder.transport(quic)
            }
            _ => {
                let line = format!("--listen {at}: write udp://IP:PORT or quic://IP:PORT");
                return Err(Failure::new(Exit::Config, line));
            }
        };
    }
    Ok((builder, outlooks, ports))
}

/// The time of day as the node's own clock, which begins now, will tell it.
pub(crate) fn wall_clock() -> pcdn_media::dash::WallClock {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let unix_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    pcdn_media::dash::WallClock { at: pcdn_core::unit::Time::ZERO, unix_ms }
}

/// What the verbs fetch from origins with.
pub(crate) fn origin(node: &NodeConfig) -> Result<Http, Failure> {
    let config_fault = |line: String| Failure::new(Exit::Config, line);
    let mut config = http_config(node)?;
    config.only_allowed = !node.origin.is_empty();
    config.allow.extend(origins(node)?);
    // Manifests lie at the mapping nodes.
    let nodes = node.mapper.iter().filter_map(|text| mapping_node(text)).map(|(url, _)| place(&url));
    for pattern in nodes {
        config.allow.push(pattern.parse().map_err(|e| config_fault(format!("--mapper {pattern}: {e}")))?);
    }
    let dice = crate::dice().map_err(|e| Failure::other(format!("the system gives no random bytes: {e}")))?;
    Http::new(config, dice).map_err(|e| config_fault(e.to_string()))
}

/// The hosts that `--origin` names.
fn origins(node: &NodeConfig) -> Result<Vec<OriginPattern>, Failure> {
    let parse = |text: &String| {
        let fault = |e| Failure::new(Exit::Config, format!("--origin {text}: {e}; write HOST[:PORT]"));
        text.parse().map_err(fault)
    };
    node.origin.iter().map(parse).collect()
}

/// How anything is fetched, whatever it is fetched for.
pub(crate) fn http_config(node: &NodeConfig) -> Result<HttpConfig, Failure> {
    let mut config = HttpConfig { bind: node.origin_bind, ..HttpConfig::default() };
    for header in &node.header {
        let fault = |e| Failure::new(Exit::Config, format!("--header: {e}"));
        config.headers.push(header.parse().map_err(fault)?);
    }
    config.ca = node.origin_ca.as_ref().map(PathBuf::from);
    config.http = node.origin_http;
    Ok(config)
}

/// What names contents.
pub(crate) fn mapper(node: &NodeConfig) -> Result<FirstOf, Failure> {
    mapper_with(node, None)
}

/// The same; origins are asked for their word by `http`, over the connections that their contents will come by.
fn mapper_with(node: &NodeConfig, http: Option<&Http>) -> Result<FirstOf, Failure> {
    let mut mappers: Vec<Arc<dyn Mapper>> = Vec::new();
    let fault = |text: &str, e: String| Failure::new(Exit::Config, format!("--mapper {text}: {e}"));
    for text in &node.mapper {
        if let Some(file) = text.strip_prefix("template:") {
            let template = Template::load(Path::new(file));
            mappers.push(Arc::new(template.map_err(|e| fault(text, e.to_string()))?));
        } else if let Some((url, key)) = mapping_node(text) {
            let file = node.data_dir.as_ref().map(|dir| Path::new(dir).join(rules_file(&url)));
            let remote = crate::mapping_node::mapper(&url, key, file, http_config(node)?);
            mappers.push(Arc::new(remote.map_err(|e| fault(text, e.to_string()))?));
        } else if text == WELL_KNOWN {
            let own = match http {
                Some(http) => http.clone(),
                None => origin(node)?,
            };
            mappers.push(Arc::new(crate::mapping_node::well_known(&own)));
        } else {
            mappers.push(Arc::new(UrlHash::default()));
        }
    }
    // A mapping node that is silent stops nobody.
    if !node.mapper.iter().any(|text| text == "url")
        && node.mapper.iter().any(|text| text == WELL_KNOWN || mapping_node(text).is_some())
    {
        mappers.push(Arc::new(UrlHash::default()));
    }
    Ok(FirstOf::new(mappers))
}

/// The mapping node that a mapper's text names, and its pinned key.
fn mapping_node(text: &str) -> Option<(Url, Option<PeerId>)> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let key = url.fragment().and_then(|key| key.parse().ok());
    url.set_fragment(None);
    Some((url, key))
}

/// The file in the data directory that keeps a mapping node's rules.
fn rules_file(node: &Url) -> String {
    format!("mapping-{}.json", &blake3::hash(node.as_str().as_bytes()).to_hex().as_str()[..16])
}

/// The directory of pieces within a data directory.
pub(crate) fn pieces_dir(data_dir: &str) -> PathBuf {
    Path::new(data_dir).join("pieces")
}

/// How much a long-running node keeps.
pub(crate) fn room(node: &NodeConfig) -> ByteSize {
    if node.data_dir.is_some() { node.cache_size } else { node.cache_size.min(MEMORY_MAX) }
}

async fn store(node: &NodeConfig, keep: Keep) -> Result<Arc<dyn Store>, Failure> {
    let (dir, quota) = match (&node.data_dir, keep) {
        (Some(dir), _) => (pieces_dir(dir), node.cache_size),
        (None, Keep::Beside(dir)) => (dir, ByteSize(u64::MAX)),
        (None, Keep::Memory) => return Ok(Arc::new(Memory::of(room(node)))),
    };
    let open = move || Disk::open(dir, DiskConfig { quota, ..DiskConfig::default() });
    let disk = tokio::task::spawn_blocking(open).await.map_err(Failure::other)??;
    Ok(Arc::new(disk))
}

fn identity(node: &NodeConfig) -> Result<Identity, Failure> {
    let beside_pieces = node.data_dir.as_ref().map(|dir| Path::new(dir).join("node.key"));
    let file = node.identity.as_ref().map(PathBuf::from).or(beside_pieces);
    Ok(match file {
        Some(file) => crate::identity::load_or_create(file)?,
        None => crate::identity::ephemeral()?,
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

/// What links to other nodes of a private swarm demand: derived from the same file as the tracker's key, and not to be had
/// from that.
pub(crate) fn link_secret(node: &NodeConfig) -> Result<Option<SwarmSecret>, Failure> {
    let Some(file) = &node.swarm_secret else { return Ok(None) };
    // Says what is wrong with the file, if anything is.
    secret(file, SWARM_SECRET)?;
    let bytes =
        std::fs::read(file).map_err(|e| Failure::new(Exit::Config, format!("{SWARM_SECRET} {file}: {e}")))?;
    Ok(SwarmSecret::new(&bytes))
}

fn upload_limits(node: &NodeConfig) -> Limits {
    let (swarm, peer) = (node.upload_limit_swarm, node.upload_limit_peer);
    Limits::new(Rates { node: node.upload_limit, swarm, peer })
}

fn settings(node: &NodeConfig) -> Result<Settings, Failure> {
    let manifest = match node.manifest.as_str() {
        "off" | "" => ManifestFrom::Off,
        "sidecar" => ManifestFrom::Sidecar,
        text if text.starts_with("http://") || text.starts_with("https://") => {
            ManifestFrom::Url(text.parse().map_err(|e| {
                Failure::new(Exit::Config, format!("--manifest {text}: {e}; write a whole URL"))
            })?)
        }
        file => ManifestFrom::File(file.into()),
    };
    let settings = Settings {
        policy: node.policy,
        integrity: node.integrity,
        manifest,
        trust: node.trust,
        p2p: node.p2p,
        download_limit: node.download_limit,
        download_limit_swarm: node.download_limit_swarm,
        download_limit_peer: node.download_limit_peer,
        live_start: node.live_start.max(1),
        ..Settings::default()
    };
    Ok(if node.metered { settings.metered() } else { settings })
}

/// A directory that only its owner may look into: it holds the node's key, and what somebody watches is nobody's business.
pub(crate) fn make_private_dir(dir: &Path) -> Result<(), Failure> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|e| Failure::disk(format!("{} cannot be made", dir.display()), &e))
}

/// The admin server, unless it is off.
pub(crate) async fn admin(
    config: &Config,
    composed: &Composed,
    gateway: Option<&crate::gateway::Gateway>,
) -> Result<Option<crate::admin::Admin>, Failure> {
    let AdminConfig { listen, .. } = &config.admin;
    if listen == "off" {
        return Ok(None);
    }
    let counters = gateway.map(|gateway| gateway.counters());
    let admin =
        crate::admin::Admin::serve(composed.node.clone(), config, counters, Some(composed.origin.clone()))
            .await;
    admin.map(Some).map_err(Failure::other)
}

#[cfg(test)]
mod tests {
    use pcdn_core::transport::Transport as _;
    use pcdn_transport::quic::Quic;

    use super::*;

    /// Whether a node with `secret` gets through by UDP, and by QUIC.
    async fn connects(secret: Option<SwarmSecret>, to: &Node) -> [bool; 2] {
        let (me, any) = (Identity::from_secret([7; 32]), "127.0.0.1:0".parse().unwrap());
        let handshake_timeout = std::time::Duration::from_millis(300);
        let config = UdpConfig { secret: secret.clone(), handshake_timeout, ..UdpConfig::default() };
        let provider = Node::builder(me.clone()).provider();
        let udp = Udp::bind(any, &me, provider.clone(), config).await.unwrap();
        // What is refused is told; only a loaded machine waits.
        let quic = QuicConfig { secret, ..QuicConfig::default() };
        let quic = Quic::bind(any, &me, provider, quic).await.unwrap();
        [udp.connect(&to.record()).await.is_ok(), quic.connect(&to.record()).await.is_ok()]
    }

    #[tokio::test]
    async fn the_secret_of_a_private_swarm_guards_its_links() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "sixteen bytes or more\n").unwrap();
        let mut config = Config::default();
        config.node.listen =
            ["udp://127.0.0.1:0", "quic://127.0.0.1:0"].map(|at| at.parse().unwrap()).to_vec();
        config.node.swarm_secret = Some(file.display().to_string());
        let private = compose(&config, Keep::Memory).await.map_err(|e| e.to_string()).unwrap().node;
        assert_eq!(connects(SwarmSecret::new(b"sixteen bytes or more"), &private).await, [true; 2]);
        assert_eq!(connects(SwarmSecret::new(b"sixteen other bytes"), &private).await, [false; 2]);
        assert_eq!(connects(None, &private).await, [false; 2]);
        private.shutdown(std::time::Duration::from_secs(1)).await;

        std::fs::write(&file, "short").unwrap();
        let refused = compose(&config, Keep::Memory).await.err().map(|failure| failure.exit);
        assert_eq!(refused, Some(Exit::Config));
    }
}
