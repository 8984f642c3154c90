//! Learn: put a film on a few peers before its release, so that the first viewer finds it among peers.
//!
//! Run: `cargo run --example push_warmup`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::time::Duration;

use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::core::warmup::Pace;
use pcdn::demo::DemoOrigin;
use pcdn::discovery::{Tracker, TrackerConfig, TrackerServer};
use pcdn::node::{ManifestFrom, Settings};
use pcdn::push::api::{BudgetBody, PushBody, TargetBody};
use pcdn::push::{Holder, HolderConfig, PushNode, PushNodeConfig};
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, identity, mapping, media, publish, store};

/// A peer like any other: it knows the tracker and the origin.
async fn peer(origin: &DemoOrigin, tracker: &TrackerServer) -> Result<Node, Box<dyn Error>> {
    let me = identity::ephemeral()?;
    let settings = Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind("127.0.0.1:0".parse()?, &me, builder.provider(), UdpConfig::default()).await?;
    let http = HttpConfig { allow: vec![origin.addr().to_string().parse()?], ..HttpConfig::default() };
    let node = builder
        .transport(udp)
        .discovery(Tracker::at(&tracker.local_addr().to_string()))
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(64)))
        .origin(Http::new(http, pcdn::dice()?)?)
        .build()?;
    Ok(node)
}

async fn release() -> Result<f64, Box<dyn Error>> {
    let film: Vec<u8> = (0..6_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("film.mp4");
    std::fs::write(&path, &film)?;
    let manifest = publish::sign_file(&path, &media::File::default(), &identity::ephemeral()?, None)?;
    let files = vec![("film.mp4".to_owned(), film.into()), ("film.mp4.pcdn".to_owned(), manifest.into())];
    let origin = DemoOrigin::start(files, Rate(2_000_000)).await?;
    let loopback = TrackerConfig { listen: "127.0.0.1:0".parse()?, ..TrackerConfig::default() };
    let tracker = TrackerServer::bind(loopback).await?;

    // The push node reads the origin as a peer does, and listens for peers that want work.
    let brisk = Pace { ask: Duration::from_millis(200), report: Duration::from_millis(200) };
    let config = PushNodeConfig { listen: "127.0.0.1:0".parse()?, pace: brisk, ..PushNodeConfig::default() };
    let push = PushNode::start(peer(&origin, &tracker).await?, config, pcdn::dice()?).await?;
    let at: pcdn::core::resource::Url = format!("http://{}", push.local_addrs()[0]).parse()?;

    // Five peers lend it some room.
    let mut peers = Vec::new();
    for _ in 0..5 {
        let lends = HolderConfig { at: vec![at.clone()], rate: Rate::UNLIMITED, ..HolderConfig::default() };
        let node = peer(&origin, &tracker).await?;
        peers.push((Holder::start(node.clone(), lends)?, node));
    }

    // Three of them shall hold the film, read from the CDN once and a half.
    let budget = BudgetBody { cdn_bytes: Some(ByteSize(9_000_000)), peer_rate: None };
    let order = PushBody {
        urls: vec![origin.url("film.mp4").parse()?],
        renditions: Vec::new(),
        target: TargetBody::Copies(3),
        regions: Vec::new(),
        by_s: 60,
        hold_s: 60,
        budget,
        forecast: 0,
    };
    let job = push.push(&order).await?;
    let mut changes = push.changes();
    while let Some(status) = push.status(job) {
        if status.regions[0].proven == 3 {
            println!("{} bytes from the CDN, {} among peers", status.from_cdn, status.from_peers);
            break;
        }
        changes.changed().await?;
    }

    // The release: the first viewer comes.
    let viewer = peer(&origin, &tracker).await?;
    let asset = viewer.open(&origin.url("film.mp4").parse()?).await?;
    let mut player = asset.read(0..asset.len());
    while let Some(bytes) = player.next().await {
        bytes?;
    }
    let share = asset.report().await.p2p_ratio;
    viewer.shutdown(Duration::from_secs(1)).await;
    for (holder, node) in peers {
        holder.shutdown().await;
        node.shutdown(Duration::from_secs(1)).await;
    }
    push.shutdown().await;
    Ok(share)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("the first viewer took {:.0} % from peers", release().await? * 100.0);
    Ok(())
}

#[tokio::test]
async fn the_first_viewer_takes_most_from_peers() {
    assert!(release().await.expect("loopback works") > 0.5);
}
