//! What a peer gave is signed by those who got it and known to the tracker: sender's, receiver's and tracker's accounts agree.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use pcdn::core::id::Identity;
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::discovery::tracker::standing::http::wall_clock;
use pcdn::discovery::{Tracker, TrackerConfig, TrackerServer};
use pcdn::node::{ManifestFrom, Settings};
use pcdn::standing::{Standing, StandingConfig};
use pcdn::testing::content;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, identity, mapping, media, publish, store};

const FILM: usize = 12_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

async fn node(origin: &DemoOrigin, tracker: &TrackerServer) -> Node {
    let me = identity::ephemeral().unwrap();
    let settings = Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind(([127, 0, 0, 1], 0).into(), &me, builder.provider(), UdpConfig::default());
    let http =
        HttpConfig { allow: vec![origin.addr().to_string().parse().unwrap()], ..HttpConfig::default() };
    builder
        .transport(udp.await.unwrap())
        .discovery(Tracker::at(&tracker.local_addr().to_string()))
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(32)))
        .origin(Http::new(http, pcdn::dice().unwrap()).unwrap())
        .build()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gives_is_signed_for_and_reported_to_the_tracker() {
    let film = content(FILM, 1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film");
    std::fs::write(&path, &film).unwrap();
    let key = Identity::from_secret([9; 32]);
    let manifest = publish::sign_file(&path, &media::File::default(), &key, None).unwrap();
    let files = vec![("film".to_owned(), film), ("film.pcdn".to_owned(), manifest.into())];
    let origin = DemoOrigin::start(files, Rate(4_000_000)).await.unwrap();
    let loopback = TrackerConfig { listen: ([127, 0, 0, 1], 0).into(), ..TrackerConfig::default() };
    let tracker = TrackerServer::bind(loopback).await.unwrap();
    let trackers = vec![tracker.local_addr().to_string()];
    let url = origin.url("film").parse().unwrap();

    let giver = node(&origin, &tracker).await;
    let standing =
        Standing::start(giver.clone(), StandingConfig { trackers, ..StandingConfig::default() }).unwrap();
    let held = giver.open(&url).await.unwrap();
    held.complete().await.unwrap();
    let taker = node(&origin, &tracker).await;
    let got = taker.open(&url).await.unwrap();
    got.complete().await.unwrap();

    // The last receipt is signed with the next tick. On a busy machine the origin gives a piece at times that a peer gave as
    // well; this test took that waste for a peer's once, and waited for somebody to sign for it.
    let begun = Instant::now();
    let (gave, took) = loop {
        let (gave, took) = (held.report().await, got.report().await);
        if took.signed == took.taken && gave.receipted == took.signed {
            break (gave, took);
        }
        assert!(begun.elapsed() < PATIENCE, "{gave:?} {took:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(took.from_peers > FILM as u64 / 2, "{took:?}");
    assert!(gave.uploaded >= gave.receipted, "{gave:?}");
    standing.shutdown().await;
    let earned = tracker.standings().earned(wall_clock(), &giver.peer_id());
    assert_eq!((earned.bytes, earned.bad, earned.downloaders), (gave.receipted, 0, 1), "{earned:?}");
    assert_eq!(earned.money, 0, "nobody vouches for the taker's key");
    assert!(earned.rank > 0);
    for node in [giver, taker] {
        node.shutdown(Duration::from_secs(1)).await;
    }
    tracker.shutdown().await;
}
