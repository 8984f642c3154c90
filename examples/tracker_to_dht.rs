//! Learn: find peers by a tracker, by a DHT, or by both: one line differs. And what that costs.
//!
//! Run: `cargo run --example tracker_to_dht`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use pcdn::core::discovery::Discovery;
use pcdn::core::id::{Identity, SwarmKey};
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::discovery::{Kad, KadConfig, Merged, Tracker, TrackerConfig, TrackerServer};
use pcdn::node::{ManifestFrom, Settings};
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, identity, mapping, media, publish, store};

type Failed = Box<dyn Error>;

/// How viewers find one another.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Tracker,
    Dht,
    Both,
}

/// What there is in the world: an origin with a film, a tracker, and a DHT of some nodes.
struct World {
    origin: DemoOrigin,
    tracker: TrackerServer,
    dht: Vec<Kad>,
}

/// How long a look-up took.
#[derive(Clone, Copy, Debug)]
struct Took {
    first: Duration,
    all: Duration,
}

/// What a newcomer sees.
struct Seen {
    /// The first look-up; a DHT is still being joined in it.
    cold: Took,
    /// The next.
    warm: Took,
    from_peers: f64,
}

impl World {
    async fn start(dht_nodes: usize) -> Result<Self, Failed> {
        let listen = "127.0.0.1:0".parse()?;
        let tracker = TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await?;
        let mut world = Self { origin: origin().await?, tracker, dht: Vec::new() };
        for _ in 0..dht_nodes {
            let node = Kad::join(&identity::ephemeral()?, world.dht_config()?).await?;
            node.wait_until(|status| status.serves).await;
            world.dht.push(node);
        }
        Ok(world)
    }

    fn dht_config(&self) -> Result<KadConfig, Failed> {
        let bootstrap = self.dht.first().map_or_else(Vec::new, Kad::contacts);
        Ok(KadConfig {
            listen: vec!["127.0.0.1:0".parse()?],
            private: true,
            bootstrap,
            ..KadConfig::default()
        })
    }

    /// The line that differs.
    async fn discovery(&self, way: Way, me: &Identity) -> Result<Arc<dyn Discovery>, Failed> {
        let tracker = Tracker::at(&self.tracker.local_addr().to_string());
        Ok(match way {
            Way::Tracker => Arc::new(tracker),
            Way::Dht => Arc::new(Kad::join(me, self.dht_config()?).await?),
            Way::Both => {
                let dht = Kad::join(me, self.dht_config()?).await?;
                Arc::new(Merged::new(vec![Arc::new(tracker)]).then(vec![Arc::new(dht)]))
            }
        })
    }

    /// A viewer, and how it finds others. Nothing here knows which way it is.
    async fn viewer(&self, way: Way) -> Result<(Node, Arc<dyn Discovery>), Failed> {
        let me = identity::ephemeral()?;
        let discovery = self.discovery(way, &me).await?;
        // On loopback an origin may be faster than anybody: the thriftiest policy takes from peers all the same.
        let settings =
            Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() };
        let builder = Node::builder(me.clone()).settings(settings);
        let udp = Udp::bind("127.0.0.1:0".parse()?, &me, builder.provider(), UdpConfig::default()).await?;
        let http =
            HttpConfig { allow: vec![self.origin.addr().to_string().parse()?], ..HttpConfig::default() };
        let node = builder
            .transport(udp)
            .shared_discovery(discovery.clone())
            .mapper(mapping::UrlHash::default())
            .fragmenters(media::standard())
            .store(store::Memory::of(ByteSize::mib(32)))
            .origin(Http::new(http, pcdn::dice()?)?)
            .build()?;
        Ok((node, discovery))
    }

    /// One viewer holds the film; another comes, looks for it and takes it.
    async fn watch(&self, way: Way) -> Result<Seen, Failed> {
        let url = self.origin.url("film.mp4").parse()?;
        let (first, told) = self.viewer(way).await?;
        let film = first.open(&url).await?;
        film.complete().await?;
        // The node announces itself beside its download; here it must have happened.
        told.announce(&film.swarm(), &first.record()).await?;
        let (second, finds) = self.viewer(way).await?;
        let (cold, warm) = (look_up(&finds, &film.swarm()).await?, look_up(&finds, &film.swarm()).await?);
        let taken = second.open(&url).await?;
        taken.complete().await?;
        let from_peers = taken.report().await.p2p_ratio;
        for node in [first, second] {
            node.shutdown(Duration::from_secs(2)).await;
        }
        Ok(Seen { cold, warm, from_peers })
    }
}

async fn look_up(discovery: &Arc<dyn Discovery>, swarm: &SwarmKey) -> Result<Took, Failed> {
    let begun = Instant::now();
    let mut found = discovery.find(swarm, 30);
    let mut first = None;
    while let Some(record) = found.next().await {
        record?;
        first.get_or_insert(begun.elapsed());
    }
    Ok(Took { first: first.ok_or("nobody was found")?, all: begun.elapsed() })
}

/// An origin with a film, and its manifest beside it as `pcdn sign` puts it there.
async fn origin() -> Result<DemoOrigin, Failed> {
    let film: Vec<u8> = (0..6_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("film.mp4");
    std::fs::write(&path, &film)?;
    let manifest = publish::sign_file(&path, &media::File::default(), &identity::ephemeral()?, None)?;
    let files = [("film.mp4", film), ("film.mp4.pcdn", manifest)];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes.into()));
    Ok(DemoOrigin::start(files.into(), Rate(3_000_000)).await?)
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let world = World::start(20).await?;
    println!("{:8} {:>12} {:>12} {:>12} {:>12}", "", "cold: first", "all", "warm: first", "all");
    let mut first = Vec::new();
    for way in [Way::Tracker, Way::Dht, Way::Both] {
        let seen = world.watch(way).await?;
        let ms = |took: Duration| format!("{:.1} ms", took.as_secs_f64() * 1e3);
        let Seen { cold, warm, from_peers } = seen;
        println!(
            "{:8} {:>12} {:>12} {:>12} {:>12}   {:3.0} % from peers",
            format!("{way:?}").to_lowercase(),
            ms(cold.first),
            ms(cold.all),
            ms(warm.first),
            ms(warm.all),
            from_peers * 100.0
        );
        first.push(cold.first.as_secs_f64());
    }
    println!("a newcomer's first peer took the DHT {:.1} times as long as the tracker", first[1] / first[0]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_leads_to_the_peer() {
    let world = World::start(3).await.expect("loopback works");
    for way in [Way::Tracker, Way::Dht, Way::Both] {
        let seen = world.watch(way).await.expect("a newcomer finds the film");
        assert!(seen.from_peers > 0.5, "{way:?}: {}", seen.from_peers);
    }
}
