//! Learn: compose a node of ready parts, and let two of them share a file from an ordinary web server.
//!
//! Run: `cargo run --example hello_node`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::time::Duration;

use pcdn::core::peer::PeerRecord;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::node::{ManifestFrom, Settings, SwarmReport};
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, discovery, identity, mapping, media, publish, store};

/// A node that fetches from `origin` and knows `peers`.
async fn node(origin: &DemoOrigin, peers: Vec<PeerRecord>) -> Result<Node, Box<dyn Error>> {
    let me = identity::ephemeral()?;
    // Beside the film lies its signed manifest: one look at it proves every piece that comes from a peer.
    let settings = Settings { manifest: ManifestFrom::Sidecar, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind("127.0.0.1:0".parse()?, &me, builder.provider(), UdpConfig::default()).await?;
    // Nodes do not fetch from private addresses unless they are told to.
    let http = HttpConfig { allow: vec![origin.addr().to_string().parse()?], ..HttpConfig::default() };
    let node = builder
        .transport(udp)
        .discovery(discovery::Fixed::new(peers))
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(64)))
        .origin(Http::new(http, pcdn::dice()?)?)
        .build()?;
    Ok(node)
}

/// An origin with a film, and its manifest beside it as `pcdn sign` puts it there.
async fn origin(film: &[u8]) -> Result<DemoOrigin, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("film.mp4");
    std::fs::write(&path, film)?;
    let manifest = publish::sign_file(&path, &media::File::default(), &identity::ephemeral()?, None)?;
    let files = [("film.mp4", film.to_vec()), ("film.mp4.pcdn", manifest)];
    let files = files.map(|(name, bytes)| (name.to_owned(), bytes.into()));
    // A CDN gives each viewer so much; on loopback it would always be faster than anybody else.
    Ok(DemoOrigin::start(files.into(), Rate(2_000_000)).await?)
}

/// Downloads all of `url`, checks it and says where it came from.
async fn download(node: &Node, url: &str, film: &[u8]) -> Result<SwarmReport, Box<dyn Error>> {
    let asset = node.open(&url.parse()?).await?;
    asset.complete().await?;
    let mut reader = asset.read(0..asset.len());
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes?);
    }
    assert!(all == film, "every byte is right");
    Ok(asset.report().await)
}

async fn share() -> Result<[SwarmReport; 2], Box<dyn Error>> {
    let film: Vec<u8> = (0..6_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let origin = origin(&film).await?;
    let first = node(&origin, Vec::new()).await?;
    let second = node(&origin, vec![first.record()]).await?;
    let url = origin.url("film.mp4");
    let reports = [download(&first, &url, &film).await?, download(&second, &url, &film).await?];
    for node in [first, second] {
        node.shutdown(Duration::from_secs(2)).await;
    }
    Ok(reports)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let reports = share().await?;
    for (name, report) in ["first ", "second"].iter().zip(&reports) {
        println!(
            "{name} node: {:8} bytes from the origin, {:8} from peers",
            report.from_origin, report.from_peers
        );
    }
    println!("the second node took {:.0} % from the first", reports[1].p2p_ratio * 100.0);
    Ok(())
}

#[tokio::test]
async fn the_second_node_takes_most_from_the_first() {
    let [first, second] = share().await.expect("loopback works");
    assert_eq!(first.from_peers, 0);
    assert!(second.p2p_ratio > 0.5, "{second:?}");
}
