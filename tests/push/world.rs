//! An origin, a tracker, a push node, and peers that hold.

use std::time::Duration;

use pcdn::core::id::Identity;
use pcdn::core::resource::Url;
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::core::warmup::{JobId, Pace};
use pcdn::demo::DemoOrigin;
use pcdn::discovery::{Tracker, TrackerConfig, TrackerServer};
use pcdn::node::{ManifestFrom, P2p, Settings};
use pcdn::push::api::{BudgetBody, PushBody, StatusBody, TargetBody};
use pcdn::push::{Call, Holder, HolderConfig, PushNode, PushNodeConfig, Regions};
use pcdn::testing::content;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, identity, mapping, media, publish, store};

pub(crate) const FILM: usize = 24_000_000;
/// What the CDN gives a viewer.
pub(crate) const CDN: Rate = Rate(4_000_000);
/// Longest any of this may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

pub(crate) struct World {
    pub(crate) origin: DemoOrigin,
    pub(crate) tracker: TrackerServer,
    pub(crate) push: PushNode,
    pub(crate) at: Url,
    pub(crate) call: Call,
    pub(crate) peers: Vec<(Holder, Node)>,
    pub(crate) manifest: ManifestFrom,
}

impl World {
    /// With an origin of films, their manifests beside them.
    pub(crate) async fn new(films: &[&str]) -> Self {
        Self::of(self::films(films)).await
    }

    /// With an origin of `files`.
    pub(crate) async fn of(files: Vec<(String, pcdn::core::Bytes)>) -> Self {
        let origin = DemoOrigin::start(files, CDN).await.unwrap();
        let loopback = TrackerConfig { listen: ([127, 0, 0, 1], 0).into(), ..TrackerConfig::default() };
        let tracker = TrackerServer::bind(loopback).await.unwrap();
        let brisk = Pace { ask: Duration::from_millis(200), report: Duration::from_millis(200) };
        let regions = Regions::parse(["here=127.0.0.0/8", "there=192.0.2.0/24"]).unwrap();
        let config = PushNodeConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            pace: brisk,
            regions,
            ..PushNodeConfig::default()
        };
        let reader = node(&origin, None, P2p::Off, ManifestFrom::Off).await;
        let push = PushNode::start(reader, config, pcdn::dice().unwrap()).await.unwrap();
        let at: Url = format!("http://{}", push.local_addrs()[0]).parse().unwrap();
        let call = Call::new(at.clone(), None).unwrap();
        let (peers, manifest) = (Vec::new(), ManifestFrom::Sidecar);
        Self { origin, tracker, push, at, call, peers, manifest }
    }

    pub(crate) async fn peer(&mut self, change: impl FnOnce(&mut HolderConfig)) -> Node {
        let node = self.viewer(P2p::On).await;
        let mut lends =
            HolderConfig { at: vec![self.at.clone()], rate: Rate::UNLIMITED, ..HolderConfig::default() };
        change(&mut lends);
        self.peers.push((Holder::start(node.clone(), lends).unwrap(), node.clone()));
        node
    }

    pub(crate) async fn viewer(&self, p2p: P2p) -> Node {
        node(&self.origin, Some(&self.tracker), p2p, self.manifest.clone()).await
    }

    pub(crate) fn url(&self, film: &str) -> Url {
        self.origin.url(film).parse().unwrap()
    }

    pub(crate) fn order(&self, film: &str, copies: u32) -> PushBody {
        PushBody {
            urls: vec![self.url(film)],
            renditions: Vec::new(),
            target: TargetBody::Copies(copies),
            regions: Vec::new(),
            by_s: 120,
            hold_s: 120,
            budget: BudgetBody::default(),
            forecast: 0,
        }
    }

    pub(crate) fn status(&self, job: JobId) -> StatusBody {
        self.push.status(job).unwrap()
    }

    /// Waits until the job is as it should be.
    pub(crate) async fn wait(&self, job: JobId, done: impl Fn(&StatusBody) -> bool) -> StatusBody {
        let mut changes = self.push.changes();
        let seen = async {
            loop {
                let status = self.status(job);
                if done(&status) {
                    return status;
                }
                changes.changed().await.unwrap();
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        seen.unwrap_or_else(|_| panic!("{:?}", self.status(job)))
    }

    pub(crate) async fn stop(self) {
        for (holder, node) in self.peers {
            holder.shutdown().await;
            node.shutdown(Duration::from_secs(1)).await;
        }
        self.push.shutdown().await;
        self.tracker.shutdown().await;
    }
}

pub(crate) fn proven(status: &StatusBody) -> u32 {
    status.regions.iter().map(|region| region.proven).sum()
}

/// Films, and their manifests beside them.
pub(crate) fn films(names: &[&str]) -> Vec<(String, pcdn::core::Bytes)> {
    films_of(FILM, names)
}

/// The same, of another length.
pub(crate) fn films_of(len: usize, names: &[&str]) -> Vec<(String, pcdn::core::Bytes)> {
    let dir = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (seed, name) in names.iter().enumerate() {
        let film = content(len, seed as u64 + 1);
        let path = dir.path().join(name);
        std::fs::write(&path, &film).unwrap();
        let key = Identity::from_secret([9; 32]);
        let manifest = publish::sign_file(&path, &media::File::default(), &key, None).unwrap();
        files.push(((*name).to_owned(), film));
        files.push((format!("{name}.pcdn"), manifest.into()));
    }
    files
}

async fn node(
    origin: &DemoOrigin,
    tracker: Option<&TrackerServer>,
    p2p: P2p,
    manifest: ManifestFrom,
) -> Node {
    let me = identity::ephemeral().unwrap();
    let settings = Settings { manifest, policy: Policy::Cost, p2p, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind(([127, 0, 0, 1], 0).into(), &me, builder.provider(), UdpConfig::default());
    let allow = vec![origin.addr().to_string().parse().unwrap()];
    let http = HttpConfig { allow, ..HttpConfig::default() };
    let mut builder = builder
        .transport(udp.await.unwrap())
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(32)))
        .origin(Http::new(http, pcdn::dice().unwrap()).unwrap());
    if let Some(tracker) = tracker {
        builder = builder.discovery(Tracker::at(&tracker.local_addr().to_string()));
    }
    builder.build().unwrap()
}
