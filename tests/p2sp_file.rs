//! A file from an origin plus peers: every byte is the content's, whatever the origin and the peers do.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use pcdn::core::async_trait;
use pcdn::core::fragment::Fragmenter;
use pcdn::core::id::Identity;
use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::{ResourceHead, Url};
use pcdn::core::schedule::Policy;
use pcdn::core::unit::ByteSize;
use pcdn::media::File;
use pcdn::node::{ManifestFrom, P2p, Settings};
use pcdn::testing::{Fault, ScriptedOrigin, content, manifest_of};
use pcdn::transport::memory::Hub;
use pcdn::transport::origin::Mirrors;
use pcdn::{Asset, Node, discovery, mapping, store};

/// Three segments and a bit, in small pieces, so that little data has all the shapes of much.
const LEN: usize = 3_400_001;
const SEGMENT_BYTES: u64 = 1 << 20;
const PIECE_LOG2: u8 = 14;

fn url() -> Url {
    Url::parse("http://cdn.example/film").unwrap()
}

/// An origin with the content of `seed`, and its manifest beside it.
fn origin(seed: u64) -> ScriptedOrigin {
    let film = content(LEN, seed);
    let key = Identity::from_secret([9; 32]);
    let manifest = manifest_of(&film, cut().rule(), SEGMENT_BYTES, PIECE_LOG2, &key);
    ScriptedOrigin::new()
        .with(&url(), film)
        .with(&Url::parse("http://cdn.example/film.pcdn").unwrap(), manifest)
}

fn cut() -> File {
    File::with(SEGMENT_BYTES, PIECE_LOG2).unwrap()
}

fn signed() -> Settings {
    // An origin in memory is faster than anybody: only the thriftiest policy then prefers peers.
    Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() }
}

fn node(hub: &Hub, number: u8, origin: &ScriptedOrigin, peers: Vec<PeerRecord>, settings: Settings) -> Node {
    node_at(hub, number, origin.clone(), peers, settings)
}

fn node_at(hub: &Hub, number: u8, origin: impl Origin, peers: Vec<PeerRecord>, settings: Settings) -> Node {
    let me = Identity::from_secret([number; 32]);
    let builder = Node::builder(me.clone()).settings(settings);
    let link = hub.join(me.peer_id(), builder.provider());
    builder
        .transport(link)
        .discovery(discovery::Fixed::new(peers))
        .mapper(mapping::UrlHash::default())
        .fragmenter(cut())
        .store(store::Memory::of(ByteSize::mib(16)))
        .origin(origin)
        .build()
        .unwrap()
}

/// Where the same content lies, too.
fn mirrored() -> Url {
    Url::parse("http://mirror.example/film").unwrap()
}

/// Calls an origin silent after a moment, as the HTTP origin does after some seconds.
#[derive(Debug)]
struct Impatient(ScriptedOrigin);

impl Impatient {
    const PATIENCE: Duration = Duration::from_millis(200);
}

#[async_trait]
impl Origin for Impatient {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        self.0.head(url).await
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.0.confirm(url, known).await
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let OriginBody { head, bytes } = self.0.get(want).await?;
        let watched = futures_util::stream::unfold((bytes, false), |(mut bytes, over)| async move {
            if over {
                return None;
            }
            match tokio::time::timeout(Self::PATIENCE, bytes.next()).await {
                Ok(item) => item.map(|item| (item, (bytes, false))),
                Err(_) => Some((Err(OriginError::Silent(Self::PATIENCE)), (bytes, true))),
            }
        });
        Ok(OriginBody { head, bytes: Box::pin(watched) })
    }
}

/// What a reader of all of it gets, in order.
async fn read(asset: &Asset, range: std::ops::Range<u64>) -> Vec<u8> {
    let mut reader = asset.read(range);
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes.unwrap());
    }
    all
}

/// Opens the film, and waits until `neighbours` have said that they hold all of it: an origin in memory would win every race.
async fn open(node: &Node, neighbours: usize) -> Asset {
    let asset = node.open(&url()).await.unwrap();
    let known = async || {
        let status = asset.status().await.unwrap();
        let all = status.report.pieces.1;
        status.peers.iter().filter(|peer| all > 0 && peer.holds == all).count()
    };
    while known().await < neighbours {
        tokio::task::yield_now().await;
    }
    asset
}

/// Downloads everything, checks every byte, and gives the asset.
async fn delivered(node: &Node, neighbours: usize) -> Asset {
    let work = async {
        let asset = open(node, neighbours).await;
        asset.complete().await.unwrap();
        assert!(read(&asset, 0..asset.len()).await == content(LEN, 1), "every byte must be the content's");
        asset
    };
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("a download must end")
}

async fn end(nodes: impl IntoIterator<Item = Node>) {
    for node in nodes {
        node.shutdown(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_fails_and_breaks_off_costs_time_and_no_byte() {
    let hub = Hub::default();
    let origin = origin(1);
    let alone = node(&hub, 1, &origin, Vec::new(), Settings::default());
    let faults = [
        Fault::Status(503),
        Fault::CutAfter(70_001),
        Fault::Unreachable,
        Fault::CutAfter(0),
        Fault::Drip(1_000),
    ];
    faults.into_iter().for_each(|fault| {
        let _ = origin.clone().then(fault);
    });
    let report = delivered(&alone, 0).await.report().await;
    assert_eq!((report.from_origin, report.from_peers), (LEN as u64, 0));
    end([alone]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_manifest_one_copy_from_the_origin_is_nearly_enough() {
    let hub = Hub::default();
    let first = node(&hub, 1, &origin(1), Vec::new(), signed());
    delivered(&first, 0).await;
    let second = node(&hub, 2, &origin(1), vec![first.record()], signed());
    let report = delivered(&second, 1).await.report().await;
    assert!(report.p2p_ratio > 0.9, "{report:?}");
    assert_eq!(report.integrity, "signed");
    end([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_falls_silent_leaves_the_rest_to_peers() {
    let hub = Hub::default();
    let first = node(&hub, 1, &origin(1), Vec::new(), signed());
    delivered(&first, 0).await;
    let silent = origin(1);
    let second = node(&hub, 2, &silent, vec![first.record()], signed());
    let asset = open(&second, 1).await;
    let _ = silent.clone().always(Fault::Unreachable);
    tokio::time::timeout(Duration::from_secs(60), asset.complete())
        .await
        .expect("peers have all of it")
        .unwrap();
    assert!(read(&asset, 0..asset.len()).await == content(LEN, 1));
    assert_eq!(asset.report().await.from_peers, LEN as u64);
    end([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_stalls_in_the_middle_of_a_body_leaves_the_rest_to_peers() {
    let hub = Hub::default();
    let first = node(&hub, 1, &origin(1), Vec::new(), signed());
    delivered(&first, 0).await;
    for after in [0, 20_000, 300_001] {
        let stalling = origin(1);
        let second = node_at(&hub, 2, Impatient(stalling.clone()), vec![first.record()], signed());
        // What it gives before it falls silent counts; what it was asked for beyond that is had from the peer.
        let asset = second.open(&url()).await.unwrap();
        let stalls = stalling.clone().then(Fault::StallAfter(after)).then(Fault::StallAfter(after));
        let _ = stalls.always(Fault::StallAfter(0));
        let whole = tokio::time::timeout(Duration::from_secs(60), asset.complete()).await;
        whole.unwrap_or_else(|_| panic!("stalled after {after} bytes, and nobody helped")).unwrap();
        assert!(read(&asset, 0..asset.len()).await == content(LEN, 1));
        assert!(asset.report().await.from_peers >= LEN as u64 - 2 * after);
        end([second]).await;
    }
    end([first]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_stalls_is_finished_by_its_mirror() {
    let hub = Hub::default();
    let (stalling, mirror) = (origin(1).always(Fault::StallAfter(100_000)), origin(1));
    let mirror = mirror.with(&mirrored(), content(LEN, 1));
    let primary = Arc::new(Impatient(stalling.clone()));
    let mirrors = Mirrors::new(primary, Arc::new(mirror.clone()), url(), vec![mirrored()]);
    let alone = node_at(&hub, 1, mirrors, Vec::new(), Settings::default());
    let report = delivered(&alone, 0).await.report().await;
    assert_eq!(report.from_origin, LEN as u64);
    assert!(stalling.counts().bytes > 0 && mirror.counts().bytes > LEN as u64 / 2);
    end([alone]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_lies_is_banned_and_no_wrong_byte_is_delivered() {
    let hub = Hub::default();
    // Its origin has other content of the same length, with a manifest that fits it: it is sure to be right.
    let liar = node(&hub, 1, &origin(666), Vec::new(), signed());
    let asset = liar.open(&url()).await.unwrap();
    asset.complete().await.unwrap();
    let honest = node(&hub, 2, &origin(1), Vec::new(), signed());
    delivered(&honest, 0).await;
    let slow = origin(1).always(Fault::Drip(200));
    let victim = node(&hub, 3, &slow, vec![liar.record(), honest.record()], signed());
    let report = delivered(&victim, 2).await.report().await;
    assert_eq!(report.banned, [liar.peer_id()], "{report:?}");
    end([liar, honest, victim]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_edge_harms_nobody_behind_another() {
    let hub = Hub::default();
    let poisoned = origin(1);
    poisoned.poison(&url());
    let poor = node(&hub, 1, &poisoned, Vec::new(), signed());
    poor.open(&url()).await.unwrap().complete().await.unwrap();
    let other = node(&hub, 2, &origin(1), vec![poor.record()], signed());
    let asset = open(&other, 0).await;
    while asset.status().await.unwrap().peers.is_empty() {
        tokio::task::yield_now().await;
    }
    let report = delivered(&other, 0).await.report().await;
    assert_eq!(
        (report.from_peers, report.rejected_pieces),
        (0, 0),
        "what a manifest contradicts is not given on"
    );
    // Without a manifest too: witnesses are only believed where the own origin agrees.
    let naive = node(&hub, 3, &poisoned, Vec::new(), Settings::default());
    naive.open(&url()).await.unwrap().complete().await.unwrap();
    let another = node(&hub, 4, &origin(1), vec![naive.record()], Settings::default());
    delivered(&another, 1).await;
    end([poor, other, naive, another]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_side_by_side_each_get_their_range() {
    let hub = Hub::default();
    let node = node(&hub, 1, &origin(1), Vec::new(), Settings::default());
    let asset = node.open(&url()).await.unwrap();
    let film = content(LEN, 1);
    let len = LEN as u64;
    let ranges = [0..len, 5..6, 2_000_000..2_100_000, len - 1..len, 1_048_570..1_048_580, 0..100_000];
    let reads = ranges.clone().map(|range| {
        let asset = asset.clone();
        async move { read(&asset, range).await }
    });
    let all =
        tokio::time::timeout(Duration::from_secs(60), futures_util::future::join_all(reads)).await.unwrap();
    for (range, got) in ranges.into_iter().zip(all) {
        assert!(got == film[range.start as usize..range.end as usize], "{range:?}");
    }
    assert!(read(&asset, len..len + 10).await.is_empty(), "beyond the end there is nothing");
    end([node]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_p2p_nothing_comes_from_or_goes_to_peers() {
    let hub = Hub::default();
    let first = node(&hub, 1, &origin(1), Vec::new(), signed());
    delivered(&first, 0).await;
    let second = node(&hub, 2, &origin(1), vec![first.record()], Settings { p2p: P2p::Off, ..signed() });
    let report = delivered(&second, 0).await.report().await;
    assert_eq!((report.from_peers, report.uploaded, report.neighbours), (0, 0, 0));
    end([first, second]).await;
}
