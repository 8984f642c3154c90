//! A node with a player at it, that joins and leaves; and what the player was given.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt as _;
use pcdn::core::Bytes;
use pcdn::core::dice::Dice;
use pcdn::core::id::Identity;
use pcdn::core::origin::{Origin as _, OriginGet};
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::Url;
use pcdn::core::unit::ByteSize;
use pcdn::media::Flv;
use pcdn::media::flv::tag::{Kind, Reader};
use pcdn::node::{ManifestFrom, Settings};
use pcdn::transport::memory::Hub;
use pcdn::{Node, discovery, mapping, store};
use tokio::time::Instant;

use super::server::{Server, Tag};

/// A player begins once it has so much.
const START_MS: u64 = 1_000;

/// A viewer.
pub(crate) struct Viewer {
    pub(crate) node: Node,
    joined: Instant,
    given: Arc<Mutex<Given>>,
    player: tokio::task::JoinHandle<()>,
}

/// What a player was given.
#[derive(Debug, Default)]
pub(crate) struct Given {
    tags: Vec<(Tag, u32, Instant)>,
}

/// What was wrong with it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Pictures and sounds left out.
    pub(crate) lost: u64,
    /// Timestamps that went back, and tags out of order.
    pub(crate) backward: u64,
    /// The longest time a player had to wait.
    pub(crate) longest_stall_ms: u64,
}

pub(crate) fn url() -> Url {
    "http://live.example/one.flv".parse().unwrap()
}

impl Viewer {
    /// Joins: `number` tells viewers and runs apart.
    pub(crate) async fn join(hub: &Hub, number: u64, server: Server, peers: Vec<PeerRecord>) -> Self {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        let me = Identity::from_secret(secret);
        let settings = Settings { manifest: ManifestFrom::Sidecar, ..Settings::default() };
        let builder = Node::builder(me.clone()).settings(settings).dice(Dice::new(number));
        let link = hub.join(me.peer_id(), builder.provider());
        let node = builder
            .transport(link)
            .discovery(discovery::Fixed::new(peers))
            .mapper(mapping::UrlHash::default())
            .fragmenter(Flv::default())
            .store(store::Memory::of(ByteSize::mib(64)))
            .origin(server)
            .build()
            .unwrap();
        let (joined, given) = (Instant::now(), Arc::new(Mutex::new(Given::default())));
        let mut listener = node.broadcast(&url()).await.unwrap().listen();
        let into = given.clone();
        let player = tokio::spawn(async move {
            let mut reader = Reader::default();
            while let Some(bytes) = listener.next().await {
                into.lock().unwrap().take(&mut reader, bytes);
            }
        });
        Self { node, joined, given, player }
    }

    /// Stops playing, and says goodbye.
    pub(crate) async fn leave(&self) {
        self.player.abort();
        self.node.shutdown(Duration::from_secs(1)).await;
    }

    /// Segments its swarm knows.
    pub(crate) async fn segments(&self) -> usize {
        self.node.swarms().await.iter().map(|swarm| swarm.segments.len()).sum()
    }

    /// Bytes from (peers, origin).
    pub(crate) async fn sources(&self) -> (u64, u64) {
        let swarms = self.node.swarms().await;
        swarms.iter().fold((0, 0), |(p, o), s| (p + s.report.from_peers, o + s.report.from_origin))
    }

    /// How long after it joined its player began.
    pub(crate) fn start(&self) -> Option<Duration> {
        Some(self.given.lock().unwrap().begin()? - self.joined)
    }

    pub(crate) fn faults(&self) -> Faults {
        let given = self.given.lock().unwrap();
        let mut faults = Faults { longest_stall_ms: given.longest_stall_ms(), ..Faults::default() };
        for kind in [Kind::Video, Kind::Audio] {
            let of = || given.tags.iter().filter(move |(tag, ..)| tag.kind == kind);
            for ((before, stamp, _), (tag, later, _)) in of().zip(of().skip(1)) {
                faults.backward += u64::from(later < stamp || tag.number <= before.number);
                faults.lost += tag.number.saturating_sub(before.number + 1);
            }
        }
        faults
    }
}

/// How long a player waits that joins now and reads `server` itself.
pub(crate) async fn start_alone(server: &Server) -> Duration {
    let (joined, mut given, mut reader) = (Instant::now(), Given::default(), Reader::default());
    let mut body = server.get(&OriginGet::whole(url())).await.unwrap().bytes;
    while given.begin().is_none() {
        given.take(&mut reader, body.next().await.unwrap().unwrap());
    }
    joined.elapsed()
}

impl Given {
    fn take(&mut self, reader: &mut Reader, mut bytes: Bytes) {
        while let Some(tag) = reader.read(&mut bytes).unwrap() {
            if let Some(known) = Tag::of(tag.kind, &tag.body) {
                self.tags.push((known, tag.timestamp, Instant::now()));
            }
        }
    }

    fn pictures(&self) -> Vec<(u64, Instant)> {
        let pictures = self.tags.iter().filter(|(tag, ..)| tag.kind == Kind::Video);
        pictures.map(|(tag, _, at)| (tag.at_ms(), *at)).collect()
    }

    /// When a player has [`START_MS`] of pictures.
    fn begin(&self) -> Option<Instant> {
        let pictures = self.pictures();
        let first = pictures.first()?.0;
        pictures.into_iter().find(|(ms, _)| *ms >= first + START_MS).map(|(_, at)| at)
    }

    /// A player shows a second of pictures each second from when it has [`START_MS`] of them.
    fn longest_stall_ms(&self) -> u64 {
        let pictures = self.pictures();
        let (Some(first), Some(begin)) = (pictures.first(), self.begin()) else { return 0 };
        let mut shift = Duration::ZERO;
        let mut longest = Duration::ZERO;
        for (ms, came) in &pictures {
            let due = begin + Duration::from_millis(ms.saturating_sub(first.0)) + shift;
            let late = came.saturating_duration_since(due);
            longest = longest.max(late);
            shift += late;
        }
        longest.as_millis() as u64
    }
}
