//! From the configuration to a node: which parts, made how.

mod finding;
mod links;
mod mapper;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pcdn_core::id::Identity;
use pcdn_core::unit::ByteSize;
use pcdn_discovery::Tracker;
use pcdn_transport::origin::{Http, HttpConfig, OriginPattern};

pub(crate) use finding::{secret, trackers};
pub(crate) use links::link_secret;
pub(crate) use mapper::mapper;

use super::dht::{self, Dht};
use super::{Exit, Failure};
use crate::config::{AdminConfig, Config, NodeConfig, OnOff};
use crate::mapping_node::place;
use crate::nat::ports::Ports;
use crate::node::{ManifestFrom, Node, Settings};
use crate::store::{Disk, DiskConfig, Memory, Store};
use finding::{discovery, lan, named_trackers};
use links::listen;
use mapper::{mapper_with, mapping_node};

/// Pieces kept in memory by a node without a data directory: some minutes of video, and what a small machine can spare.
const MEMORY_MAX: ByteSize = ByteSize::mib(256);

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

fn settings(node: &NodeConfig) -> Result<Settings, Failure> {
    let manifest = match node.manifest.as_str() {
        "off" | "" => ManifestFrom::Off,
        "sidecar" => ManifestFrom::Sidecar,
        text if text.starts_with("http://") || text.starts_with("https://") => {
            ManifestFrom::Url(text.parse().map_err(|e| {
                Failure::new(Exit::Config, format!("--manifest {text}: {e}; write a whole URL"))
            })?)
        }
        file => {
            let is_there = std::fs::metadata(file);
            is_there.map_err(|e| {
                Failure::new(Exit::Config, format!("--manifest {file}: {e}; write sidecar, a URL or a FILE"))
            })?;
            ManifestFrom::File(file.into())
        }
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
    use pcdn_transport::quic::{Quic, QuicConfig};
    use pcdn_transport::udp::{SwarmSecret, Udp, UdpConfig};

    use super::*;

    /// Whether a node with `secret` gets through by UDP, and by QUIC; `hasty` if it has not to wait for an answer by UDP.
    async fn connects(secret: Option<SwarmSecret>, hasty: bool, to: &Node) -> [bool; 2] {
        let (me, any) = (Identity::from_secret([7; 32]), "127.0.0.1:0".parse().unwrap());
        let mut config = UdpConfig { secret: secret.clone(), ..UdpConfig::default() };
        if hasty {
            config.handshake_timeout = std::time::Duration::from_millis(300);
        }
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
        assert_eq!(connects(SwarmSecret::new(b"sixteen bytes or more"), false, &private).await, [true; 2]);
        assert_eq!(connects(SwarmSecret::new(b"sixteen other bytes"), true, &private).await, [false; 2]);
        assert_eq!(connects(None, true, &private).await, [false; 2]);
        private.shutdown(std::time::Duration::from_secs(1)).await;

        std::fs::write(&file, "short").unwrap();
        let refused = compose(&config, Keep::Memory).await.err().map(|failure| failure.exit);
        assert_eq!(refused, Some(Exit::Config));
    }
}
