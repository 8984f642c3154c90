//! What the first viewer of a pushed film gets: it starts no later than from the CDN alone, and takes nearly all from peers. Real nodes
//! on links in memory; time is tokio's and paused. On sockets, handshakes of viewers and holders share the cores with whatever else
//! runs: on a busy machine it was compared who got them when, and what came from the CDN meanwhile, and both failed by chance.

use std::time::Duration;

use futures_util::StreamExt as _;
use pcdn::core::async_trait;
use pcdn::core::dice::Dice;
use pcdn::core::id::Identity;
use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::{ResourceHead, Url};
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::node::{ManifestFrom, P2p, Settings};
use pcdn::testing::ScriptedOrigin;
use pcdn::transport::memory::{Hub, Link};
use pcdn::{Node, discovery, mapping, media, store};
use tokio::time::Instant;

use super::world::{CDN, FILM, films};

/// What a player needs to begin: a piece.
const START: usize = 64 << 10;
/// Who holds the film when it is released.
const HOLDERS: u64 = 3;
/// A fast line, as loopback is: all three together give more than a viewer can have from the CDN.
const LINK: Link = Link { latency: Duration::from_millis(15), upload: Rate(20_000_000) };
/// Two readings of tokio's clock, which counts in milliseconds.
const TICK: Duration = Duration::from_millis(2);

/// A CDN so far away, that gives each viewer [`CDN`].
#[derive(Clone, Debug)]
struct Distant(ScriptedOrigin, Duration);

#[async_trait]
impl Origin for Distant {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        tokio::time::sleep(self.1).await;
        self.0.head(url).await
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        tokio::time::sleep(self.1).await;
        self.0.confirm(url, known).await
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        tokio::time::sleep(self.1).await;
        let body = self.0.get(want).await?;
        let paced = body.bytes.then(|chunk| async move {
            let len = chunk.as_ref().map_or(0, |bytes| bytes.len());
            tokio::time::sleep(CDN.time_for(len as u64)).await;
            chunk
        });
        Ok(OriginBody { bytes: Box::pin(paced), ..body })
    }
}

fn url() -> Url {
    "http://cdn.example/pushed".parse().unwrap()
}

struct World {
    hub: Hub,
    cdn: Distant,
    nodes: u64,
}

impl World {
    fn new(away: Duration) -> Self {
        let mut origin = ScriptedOrigin::new();
        for (name, bytes) in films(&["pushed"]) {
            origin = origin.with(&url().join(&name).unwrap(), bytes);
        }
        Self { hub: Hub::new(LINK), cdn: Distant(origin, away), nodes: 0 }
    }

    fn node(&mut self, peers: Vec<PeerRecord>, p2p: P2p, policy: Policy) -> Node {
        self.nodes += 1;
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&self.nodes.to_be_bytes());
        let me = Identity::from_secret(secret);
        let manifest = ManifestFrom::Sidecar;
        let settings = Settings { manifest, policy, p2p, ..Settings::default() };
        let builder = Node::builder(me.clone()).settings(settings).dice(Dice::new(self.nodes));
        let link = self.hub.join(me.peer_id(), builder.provider());
        builder
            .transport(link)
            .discovery(discovery::Fixed::new(peers))
            .mapper(mapping::UrlHash::default())
            .fragmenters(media::standard())
            .store(store::Memory::of(ByteSize::mib(32)))
            .origin(self.cdn.clone())
            .build()
            .unwrap()
    }
}

impl World {
    /// Those who hold the film, and where they are.
    async fn holders(&mut self) -> (Vec<Node>, Vec<PeerRecord>) {
        let holders: Vec<Node> = (0..HOLDERS).map(|_| self.node(Vec::new(), P2p::On, Policy::Cost)).collect();
        for holder in &holders {
            holder.open(&url()).await.unwrap().complete().await.unwrap();
        }
        let records = holders.iter().map(Node::record).collect();
        (holders, records)
    }
}

async fn end(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.shutdown(Duration::from_secs(1)).await;
    }
}

/// How long it takes until `next` has given the first [`START`] bytes.
async fn start(begun: Instant, mut next: impl AsyncFnMut() -> usize) -> Duration {
    let mut bytes = 0;
    while bytes < START {
        bytes += next().await;
    }
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_first_viewer_starts_no_later_than_from_the_cdn_alone() {
    // At no distance, which no CDN is; near; across an ocean.
    for away in [0, 25, 150].map(Duration::from_millis) {
        let mut world = World::new(away);
        let (holders, records) = world.holders().await;
        let begun = Instant::now();
        let mut body = world.cdn.get(&OriginGet::whole(url())).await.unwrap().bytes;
        let plain = start(begun, async || body.next().await.unwrap().unwrap().len()).await;
        let mut starts = [Duration::ZERO; 2];
        for (p2p, took) in [P2p::On, P2p::Off].into_iter().zip(&mut starts) {
            let viewer = world.node(records.clone(), p2p, Policy::Balanced);
            let begun = Instant::now();
            let asset = viewer.open_to_play(&url()).await.unwrap();
            let mut player = asset.read(0..asset.len());
            *took = start(begun, async || player.next().await.unwrap().unwrap().len()).await;
            end([viewer]).await;
        }
        let [pushed, alone] = starts;
        println!("CDN {away:?} away: {pushed:?} pushed, {alone:?} from the CDN, {plain:?} without a node");
        assert!(pushed <= alone.min(plain) + TICK, "{away:?} away: {pushed:?}, {alone:?}, {plain:?}");
        end(holders).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_viewer_takes_nearly_all_from_those_who_hold_it() {
    for away in [0, 25, 150].map(Duration::from_millis) {
        let mut world = World::new(away);
        let (holders, records) = world.holders().await;
        let viewer = world.node(records, P2p::On, Policy::Cost);
        let asset = viewer.open_to_play(&url()).await.unwrap();
        let (mut player, mut bytes) = (asset.read(0..asset.len()), 0);
        while let Some(chunk) = player.next().await {
            bytes += chunk.unwrap().len();
        }
        let part = asset.report().await.p2p_ratio;
        println!("CDN {away:?} away: {:.1} % from peers", part * 100.0);
        assert!(bytes == FILM && part >= 0.95, "{away:?} away: {part}");
        end(holders.into_iter().chain([viewer])).await;
    }
}
