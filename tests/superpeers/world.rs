//! Nodes, a tracker that judges them, and a push node, on real sockets.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pcdn::core::id::{Identity, PeerId};
use pcdn::core::schedule::Policy;
use pcdn::core::superpeer::Rules;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::core::warmup::Pace;
use pcdn::demo::DemoOrigin;
use pcdn::discovery::tracker::standing::StandingConfig as Judging;
use pcdn::discovery::tracker::standing::http::{StandingBody, SuperpeersBody, wall_clock};
use pcdn::discovery::{Tracker, TrackerConfig, TrackerServer};
use pcdn::node::{ManifestFrom, P2p, Settings};
use pcdn::push::{Call, Holder, PushNode, PushNodeConfig};
use pcdn::standing::{Standing, StandingConfig};
use pcdn::testing::content;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, identity, ledger, mapping, media, publish, store};

pub(super) const FILM: usize = 3_000_000;
pub(super) const FILMS: [&str; 3] = ["one", "two", "three"];
pub(super) const VIEWERS: u8 = 5;
/// Longest any of this may take on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
pub(super) const BRISK: Duration = Duration::from_millis(200);

/// Times of seconds; what must be shown is a little of everything.
pub(super) fn rules() -> Rules {
    Rules {
        stake: Some(100),
        window: Duration::from_millis(500),
        slot: BRISK,
        address: Duration::from_secs(2),
        upload: Rate(5_000),
        proven: FILM as u64,
        audits: 3,
        probation: Duration::ZERO,
        cool_down: Duration::from_secs(3_600),
    }
}

pub(super) struct World {
    pub(super) origin: DemoOrigin,
    pub(super) tracker: TrackerServer,
    pub(super) push: PushNode,
    pub(super) dir: tempfile::TempDir,
    pub(super) nodes: Vec<(Standing, Node)>,
    pub(super) holders: Vec<Holder>,
}

pub(super) fn home(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, n, 1).into()
}

pub(super) async fn node(origin: &DemoOrigin, at: IpAddr, tracker: Option<&TrackerServer>, p2p: P2p) -> Node {
    let me = identity::ephemeral().unwrap();
    let manifest = ManifestFrom::Sidecar;
    let settings = Settings { manifest, policy: Policy::Cost, p2p, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind((at, 0).into(), &me, builder.provider(), UdpConfig::default()).await.unwrap();
    let allow = vec![origin.addr().to_string().parse().unwrap()];
    let http = Http::new(HttpConfig { allow, ..HttpConfig::default() }, pcdn::dice().unwrap()).unwrap();
    let mut builder = builder
        .transport(udp)
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(64)))
        .origin(http);
    if let Some(tracker) = tracker {
        builder = builder.discovery(Tracker::at(&tracker.local_addr().to_string()).sending_from(at));
    }
    builder.build().unwrap()
}

impl World {
    pub(super) async fn new() -> Self {
        Self::of(rules(), true).await
    }

    /// With a tracker that judges by `rules`, and knows the push node as an auditor or knows none.
    pub(super) async fn of(rules: Rules, auditor_named: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = Identity::from_secret([9; 32]);
        let mut files = Vec::new();
        for (seed, name) in FILMS.into_iter().enumerate() {
            let film = content(FILM, seed as u64 + 1);
            let path = dir.path().join(name);
            std::fs::write(&path, &film).unwrap();
            let manifest = publish::sign_file(&path, &media::File::default(), &key, None).unwrap();
            files.push((name.to_owned(), film));
            files.push((format!("{name}.pcdn"), manifest.into()));
        }
        let origin = DemoOrigin::start(files, Rate(3_000_000)).await.unwrap();
        let auditor = node(&origin, home(1), None, P2p::Off).await;
        let books = ledger::File::open(dir.path().join("ledger.jsonl")).unwrap();
        let standing = Judging {
            rules,
            auditors: auditor_named.then(|| auditor.peer_id()).into_iter().collect(),
            ledger: Some(Arc::new(books)),
            ledger_every: BRISK,
            tick: BRISK / 2,
            ..Judging::default()
        };
        let listen = ([127, 0, 0, 1], 0).into();
        let config = TrackerConfig { listen, standing, ..TrackerConfig::default() };
        let tracker = TrackerServer::bind(config).await.unwrap();
        let config = PushNodeConfig {
            listen,
            pace: Pace { ask: BRISK, report: BRISK },
            trackers: vec![tracker.local_addr().to_string()],
            ..PushNodeConfig::default()
        };
        let push = PushNode::start(auditor, config, pcdn::dice().unwrap()).await.unwrap();
        Self { origin, tracker, push, dir, nodes: Vec::new(), holders: Vec::new() }
    }

    /// A node that gives.
    pub(super) async fn giver(&mut self, n: u8) -> Node {
        self.node(n, P2p::On).await
    }

    /// A viewer: all that viewers get of peers is the givers'.
    pub(super) async fn viewer(&mut self, n: u8) -> Node {
        self.node(n, P2p::DownloadOnly).await
    }

    async fn node(&mut self, n: u8, p2p: P2p) -> Node {
        let node = node(&self.origin, home(n), Some(&self.tracker), p2p).await;
        let trackers = vec![self.tracker.local_addr().to_string()];
        let config = StandingConfig { trackers, every: BRISK, ..StandingConfig::default() };
        self.nodes.push((Standing::start(node.clone(), config).unwrap(), node.clone()));
        node
    }

    pub(super) fn url(&self, film: &str) -> url::Url {
        self.origin.url(film).parse().unwrap()
    }

    /// The ledger's operator writes a line.
    pub(super) fn stake(&self, peer: PeerId, amount: u64) {
        use std::io::Write as _;
        let path = self.dir.path().join("ledger.jsonl");
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        writeln!(file, "{{\"stake\":{{\"peer\":\"{peer}\",\"amount\":{amount}}}}}").unwrap();
    }

    pub(super) async fn standing(&self, peer: PeerId) -> Option<StandingBody> {
        let at = format!("http://{}", self.tracker.local_addr()).parse().unwrap();
        Call::new(at, None).unwrap().get(&format!("/v1/standing?peer={peer}")).await.ok()
    }

    pub(super) async fn superpeers(&self) -> Vec<PeerId> {
        let at = format!("http://{}", self.tracker.local_addr()).parse().unwrap();
        let body: SuperpeersBody = Call::new(at, None).unwrap().get("/v1/superpeers").await.unwrap();
        let decode = |text: &String| {
            let bytes = pcdn::discovery::tracker::standing::http::from_hex(text)?;
            pcdn::core::superpeer::Status::decode(&bytes)
        };
        let now_ms = wall_clock().0 / 1_000;
        let statuses = body.superpeers.iter().filter_map(decode);
        statuses.filter(|status| status.holds(&body.tracker, now_ms)).map(|status| status.peer).collect()
    }

    /// Waits until exactly these are superpeers.
    pub(super) async fn wait(&self, who: &[PeerId], about: PeerId) {
        let begun = Instant::now();
        while self.superpeers().await != who {
            assert!(begun.elapsed() < PATIENCE, "{:?}", self.standing(about).await);
            tokio::time::sleep(BRISK).await;
        }
    }

    pub(super) async fn stop(self) {
        for holder in self.holders {
            holder.shutdown().await;
        }
        for (standing, node) in self.nodes {
            standing.shutdown().await;
            node.shutdown(Duration::from_secs(1)).await;
        }
        self.push.shutdown().await;
        self.tracker.shutdown().await;
    }
}
