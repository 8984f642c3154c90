//! What a superpeer gives beside its equal. Real nodes on links in memory; time is tokio's and paused, so shares of a hundred megabytes
//! take a moment and vary little.

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
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::transport::memory::{Hub, Link};
use pcdn::{Node, discovery, mapping, media, publish, store};

const FILM: usize = 16 << 20;
/// What is downloaded while the two are equals, and while one of them is a superpeer.
const FILMS: [&str; 2] = ["before", "after"];
const VIEWERS: u64 = 5;
/// What either of the two can give: four of the five could have all they take from one.
const LINK: Link = Link { latency: Duration::from_millis(15), upload: Rate(2_000_000) };
/// A viewer's line.
const LINE: Rate = Rate(500_000);
/// What the origin gives on a connection: less than anybody.
const CHUNK_EVERY: Duration = Duration::from_millis(100);

/// An origin some way off.
#[derive(Clone, Debug)]
struct Slow(ScriptedOrigin);

#[async_trait]
impl Origin for Slow {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        tokio::time::sleep(CHUNK_EVERY).await;
        self.0.head(url).await
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let body = self.0.get(want).await?;
        let paced = body.bytes.then(|chunk| async move {
            tokio::time::sleep(CHUNK_EVERY).await;
            chunk
        });
        Ok(OriginBody { bytes: Box::pin(paced), ..body })
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        tokio::time::sleep(CHUNK_EVERY).await;
        self.0.confirm(url, known).await
    }
}

struct World {
    hub: Hub,
    seed: u64,
    nodes: u64,
    origin: Slow,
}

fn url(film: &str) -> Url {
    format!("http://cdn.example/{film}").parse().unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let key = Identity::from_secret([9; 32]);
        let dir = tempfile::tempdir().unwrap();
        let mut origin = ScriptedOrigin::new();
        for (film, n) in FILMS.into_iter().zip(1..) {
            let (bytes, path) = (content(FILM, 10 * seed + n), dir.path().join(film));
            std::fs::write(&path, &bytes).unwrap();
            let manifest = publish::sign_file(&path, &media::File::default(), &key, None).unwrap();
            origin = origin.with(&url(film), bytes).with(&url(&format!("{film}.pcdn")), manifest.into());
        }
        Self { hub: Hub::new(LINK), seed, nodes: 0, origin: Slow(origin) }
    }

    fn node(&mut self, peers: Vec<PeerRecord>, p2p: P2p, download_limit: Rate) -> Node {
        self.nodes += 1;
        let number = self.seed * 100 + self.nodes;
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&number.to_be_bytes());
        let me = Identity::from_secret(secret);
        let manifest = ManifestFrom::Sidecar;
        let settings =
            Settings { manifest, policy: Policy::Cost, p2p, download_limit, ..Settings::default() };
        let builder = Node::builder(me.clone()).settings(settings).dice(Dice::new(number));
        let link = self.hub.join(me.peer_id(), builder.provider());
        builder
            .transport(link)
            .discovery(discovery::Fixed::new(peers))
            .mapper(mapping::UrlHash::default())
            .fragmenters(media::standard())
            .store(store::Memory::of(ByteSize::mib(64)))
            .origin(self.origin.clone())
            .build()
            .unwrap()
    }
}

async fn download(nodes: &[Node], film: &str) {
    let whole = |node: &Node| {
        let node = node.clone();
        async move { node.open(&url(film)).await.unwrap().complete().await.unwrap() }
    };
    futures_util::future::join_all(nodes.iter().map(whole)).await;
}

/// Bytes that each of the two gave of a film, while all viewers downloaded it, and how long that took.
async fn gave(two: &[Node], viewers: &[Node], film: &str) -> ([u64; 2], Duration) {
    let begun = tokio::time::Instant::now();
    download(viewers, film).await;
    let took = begun.elapsed();
    let mut given = [0, 0];
    for (giver, given) in two.iter().zip(&mut given) {
        let swarms = giver.swarms().await;
        let of = swarms.iter().filter(|swarm| swarm.url == url(film).as_str());
        *given = of.map(|swarm| swarm.report.uploaded).sum();
    }
    (given, took)
}

/// The first one's part.
fn share([one, other]: [u64; 2]) -> f64 {
    one as f64 / (one + other) as f64
}

#[tokio::test(start_paused = true)]
async fn a_superpeer_gives_more_than_its_equal_in_every_world() {
    for seed in 1..=5 {
        let mut world = World::new(seed);
        let two = [(); 2].map(|()| world.node(Vec::new(), P2p::On, Rate::UNLIMITED));
        for film in FILMS {
            download(&two, film).await;
        }
        let records: Vec<PeerRecord> = two.iter().map(Node::record).collect();
        let viewers: Vec<Node> =
            (0..VIEWERS).map(|_| world.node(records.clone(), P2p::DownloadOnly, LINE)).collect();
        let (equals, took) = gave(&two, &viewers, FILMS[0]).await;
        // Swarms hear of it as of a tracker's word, once they are joined.
        for viewer in &viewers {
            viewer.open(&url(FILMS[1])).await.unwrap();
            viewer.prefer(&[two[0].peer_id()]).await;
        }
        let (preferred, then) = gave(&two, &viewers, FILMS[1]).await;
        println!(
            "world {seed}: two equals gave {equals:?}, {:.3} and {took:?}; a superpeer and its equal {preferred:?}, {:.3} and {then:?}",
            share(equals),
            share(preferred)
        );
        assert!(share(preferred) > share(equals) + 0.05, "world {seed}");
        assert!(then < took.mul_f64(1.05), "world {seed}: nobody pays for it");
        for node in viewers.iter().chain(&two) {
            node.shutdown(Duration::from_secs(1)).await;
        }
    }
}
