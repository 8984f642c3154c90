//! Learn: the middle layer, put and get by name. What a content is called (its RID) is apart from where it is: two peers that
//! know it by different URLs meet in one swarm, and the second gets it from the first.
//!
//! Run: `cargo run --example layer_pcdn`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::time::Duration;

use pcdn::core::id::Rid;
use pcdn::core::peer::PeerRecord;
use pcdn::core::resource::Url;
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::mapping::Table;
use pcdn::node::{ManifestFrom, Settings, SwarmReport};
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Asset, Node, discovery, identity, media, publish, store};

/// What the publisher calls the content, wherever it lies.
const RELEASE: Rid = Rid([0x42; 32]);

/// A peer that knows `RELEASE` to be at `url`.
async fn peer(url: &Url, friends: Vec<PeerRecord>) -> Result<Node, Box<dyn Error>> {
    let me = identity::ephemeral()?;
    let settings = Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind("127.0.0.1:0".parse()?, &me, builder.provider(), UdpConfig::default()).await?;
    let host = format!("{}:{}", url.host_str().ok_or("a host")?, url.port().ok_or("a port")?);
    let http = HttpConfig { allow: vec![host.parse()?], ..HttpConfig::default() };
    let node = builder
        .transport(udp)
        .discovery(discovery::Fixed::new(friends))
        .mapper(Table::new().exact(url.clone(), RELEASE)?)
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(32)))
        .origin(Http::new(http, pcdn::dice()?)?)
        .build()?;
    Ok(node)
}

/// Puts: from now on the peer holds the content, gives it to others, and is found by them.
async fn put(node: &Node, url: &Url) -> Result<Asset, Box<dyn Error>> {
    let asset = node.open(url).await?;
    asset.complete().await?;
    Ok(asset)
}

/// Gets all of it; from peers, and from the origin what they lack.
async fn get(node: &Node, url: &Url) -> Result<(Vec<u8>, SwarmReport), Box<dyn Error>> {
    let asset = node.open(url).await?;
    asset.complete().await?;
    let mut reader = asset.read(0..asset.len());
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok((bytes, asset.report().await))
}

async fn share() -> Result<f64, Box<dyn Error>> {
    let image = pcdn::testing::content(12_000_000, 1);
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("image");
    std::fs::write(&path, &image)?;
    let manifest = publish::sign_file(&path, &media::File::default(), &identity::ephemeral()?, None)?;
    let files = |name: &str| {
        vec![(name.to_owned(), image.clone()), (format!("{name}.pcdn"), manifest.clone().into())]
    };
    // Two hosts, two names, one content. The second host is slow: who asks it is glad of peers.
    let fast = DemoOrigin::start(files("image.iso"), Rate::UNLIMITED).await?;
    let slow = DemoOrigin::start(files("mirror-7.iso"), Rate(2_000_000)).await?;
    let (here, there): (Url, Url) = (fast.url("image.iso").parse()?, slow.url("mirror-7.iso").parse()?);

    let first = peer(&here, Vec::new()).await?;
    let held = put(&first, &here).await?;
    let second = peer(&there, vec![first.record()]).await?;
    let (bytes, report) = get(&second, &there).await?;
    assert!(bytes == image, "every byte is right");
    println!("{here} and {there} are {}", held.rid().short());
    for node in [first, second] {
        node.shutdown(Duration::from_secs(1)).await;
    }
    Ok(report.p2p_ratio)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("the second peer took {:.0} % from the first", share().await? * 100.0);
    Ok(())
}

#[tokio::test]
async fn contents_are_found_by_name_whatever_their_urls() {
    assert!(share().await.expect("loopback works") > 0.5);
}
