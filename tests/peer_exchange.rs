//! Twenty nodes on UDP sockets of this machine: a tracker that answers five is asked once, and everybody knows everybody.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pcdn::core::async_trait;
use pcdn::core::dice::Dice;
use pcdn::core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn::core::id::{Identity, PeerId, SwarmKey};
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::Url;
use pcdn::core::swarm::Limits;
use pcdn::core::unit::ByteSize;
use pcdn::media::File;
use pcdn::node::Settings;
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Asset, Node, discovery, mapping, store};

const NODES: u8 = 20;
/// Within which everybody must know everybody.
const BAR: Duration = Duration::from_secs(60);
/// How long a loaded machine may take to bring twenty nodes up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who has announced itself, and dice.
type Lobby = Arc<Mutex<(Vec<PeerRecord>, Dice)>>;

/// A tracker as one node sees it: it answers once, with five, and is silent from then on.
#[derive(Debug)]
struct Once {
    lobby: Lobby,
    me: PeerId,
    asked: AtomicBool,
}

#[async_trait]
impl Discovery for Once {
    async fn announce(&self, _: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        self.lobby.lock().unwrap().0.push(me.clone());
        Ok(Lease { renew_in: Duration::from_secs(3_600) })
    }

    async fn withdraw(&self, _: &SwarmKey, _: &PeerId) -> Result<(), DiscoveryError> {
        Ok(())
    }

    fn find(&self, _: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let mut lobby = self.lobby.lock().unwrap();
        let (members, dice) = &mut *lobby;
        let mut found: Vec<PeerRecord> =
            members.iter().filter(|member| member.id != self.me).cloned().collect();
        if found.is_empty() || self.asked.swap(true, Ordering::Relaxed) {
            return Box::pin(futures_util::stream::empty());
        }
        dice.shuffle(&mut found);
        found.truncate(want.min(5));
        Box::pin(futures_util::stream::iter(found.into_iter().map(Ok)))
    }
}

fn url() -> Url {
    Url::parse("http://cdn.example/small").unwrap()
}

async fn node(number: u8, found_by: impl FnOnce(PeerId) -> Box<dyn Discovery>) -> Node {
    let me = Identity::from_secret([number; 32]);
    // Fewer links than nodes: most of the others are known by hearsay.
    let limits = Limits { neighbours: 14, neighbours_wanted: 10, ..Limits::default() };
    let builder = Node::builder(me.clone()).settings(Settings { limits, ..Settings::default() });
    let listen = "127.0.0.1:0".parse().unwrap();
    let udp = Udp::bind(listen, &me, builder.provider(), UdpConfig::default()).await.unwrap();
    let discovery: Arc<dyn Discovery> = found_by(me.peer_id()).into();
    builder
        .transport(udp)
        .discovery(discovery::Merged::new(vec![discovery]))
        .mapper(mapping::UrlHash::default())
        .fragmenter(File::with(1 << 20, 14).unwrap())
        .store(store::Memory::of(ByteSize::mib(1)))
        .origin(ScriptedOrigin::new().with(&url(), content(20_000, 1)))
        .build()
        .unwrap()
}

/// Waits until `asset`'s node knows `count` others.
async fn knows(asset: &Asset, count: u32, within: Duration) {
    let looking = async {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        while asset.report().await.known < count {
            looks.tick().await;
        }
    };
    if tokio::time::timeout(within, looking).await.is_err() {
        panic!("after {within:?} a node knows {} of {count}", asset.report().await.known);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_nodes_know_one_another_and_a_newcomer_needs_one_of_them() {
    let lobby: Lobby = Arc::new(Mutex::new((Vec::new(), Dice::new(7))));
    let began = std::time::Instant::now();
    let swarm = async {
        let mut swarm = Vec::new();
        for number in 1..=NODES {
            let lobby = lobby.clone();
            let once = |me| Box::new(Once { lobby, me, asked: AtomicBool::new(false) }) as Box<dyn Discovery>;
            let node = node(number, once).await;
            let asset = node.open(&url()).await.unwrap();
            swarm.push((node, asset));
        }
        swarm
    };
    let swarm = tokio::time::timeout(PATIENCE, swarm).await.expect("twenty nodes come up");
    let up = std::time::Instant::now();
    for (_, asset) in &swarm {
        knows(asset, u32::from(NODES) - 1, BAR.saturating_sub(up.elapsed())).await;
    }
    println!("up after {:?}, all know all {:?} later", up - began, up.elapsed());

    // The tracker is dead. A newcomer knows one node, and that is enough.
    let one = swarm[0].0.record();
    let newcomer = node(99, |_| Box::new(discovery::Fixed::new(vec![one]))).await;
    let asset = newcomer.open(&url()).await.unwrap();
    let came = std::time::Instant::now();
    knows(&asset, u32::from(NODES), BAR).await;
    println!("the newcomer knows all after {:?}", came.elapsed());

    let ends = swarm.iter().map(|(node, _)| node).chain([&newcomer]);
    futures_util::future::join_all(ends.map(|node| node.shutdown(Duration::from_secs(2)))).await;
}
