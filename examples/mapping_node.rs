//! Learn: run a mapping node for your own application, with your own rules, and let nodes ask it.
//!
//! This shop's film URLs have the viewer's name in their query, and its origin publishes no piece lists. The mapping node serves
//! the rule that takes the viewer out, reads each film once, and signs what its pieces hash to: so viewers can take them from
//! anybody.
//!
//! Run: `cargo run --example mapping_node`
#![allow(clippy::print_stdout)] // An example talks to its reader.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use pcdn::core::mapping::Mapper;
use pcdn::core::peer::PeerRecord;
use pcdn::core::schedule::Policy;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::mapping::node::{NodeConfig, Tokens, store::Memory};
use pcdn::mapping::{FirstOf, UrlHash};
use pcdn::mapping_node::{self, MappingConfig, MappingNode};
use pcdn::node::{Settings, SwarmReport};
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::transport::udp::{Udp, UdpConfig};
use pcdn::{Node, discovery, identity, media, store};

/// The rules of this shop; viewers fetch them once, and then ask about single films.
fn rules(host: &str) -> String {
    format!(
        "version = 1\nnamespace = \"shop.example\"\n\n[[rule]]\nname = \"film\"\nhost = \"{host}\"\npath = '/(?<film>[^/]+)\\.mp4'\n\
         key = \"{{film}}\"\ndrop = [\"viewer\"]\nask = true\n"
    )
}

/// The mapping node. In production its store is a directory (`store::Redb`), and its key a file that stays.
async fn mapping_node(origin: &DemoOrigin) -> Result<MappingNode, Box<dyn Error>> {
    let host = origin.addr().to_string();
    // It fetches from no other host, whatever anybody asks.
    let node = NodeConfig { allow: vec![host.clone()], rules: Some(rules(&host)), ..NodeConfig::default() };
    let config = MappingConfig {
        listen: "127.0.0.1:0".parse()?,
        node,
        key: identity::ephemeral()?,
        store: Arc::new(Memory::new()),
        tokens: Tokens::default(),
        http: HttpConfig::default(),
    };
    Ok(MappingNode::start(config).await?)
}

/// A viewer's node that asks the mapping node, and pins its key.
async fn viewer(
    origin: &DemoOrigin,
    mapping: &MappingNode,
    peers: Vec<PeerRecord>,
) -> Result<Node, Box<dyn Error>> {
    let me = identity::ephemeral()?;
    // On loopback an origin may be faster than anybody: the thriftiest policy takes from peers all the same.
    let settings = Settings { policy: Policy::Cost, ..Settings::default() };
    let builder = Node::builder(me.clone()).settings(settings);
    let udp = Udp::bind("127.0.0.1:0".parse()?, &me, builder.provider(), UdpConfig::default()).await?;
    let allow = vec![origin.addr().to_string().parse()?, mapping.local_addrs()[0].to_string().parse()?];
    let http = Http::new(HttpConfig { allow, ..HttpConfig::default() }, pcdn::dice()?)?;
    let asks = mapping_node::mapper(&mapping.url(), Some(mapping.key()), None, HttpConfig::default())?;
    let node = builder
        .transport(udp)
        .discovery(discovery::Fixed::new(peers))
        // Should the mapping node be silent, the URL itself decides: it never stops anybody.
        .mapper(FirstOf::default().or(asks).or(UrlHash::default()))
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(64)))
        .elsewhere(http.bare())
        .origin(http)
        .build()?;
    Ok(node)
}

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

async fn share() -> Result<SwarmReport, Box<dyn Error>> {
    let film: Vec<u8> = (0..12_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let origin =
        DemoOrigin::start(vec![("heat.mp4".to_owned(), film.clone().into())], Rate(8_000_000)).await?;
    let mapping = mapping_node(&origin).await?;
    let url = origin.url("heat.mp4");

    let asks = mapping_node::mapper(&mapping.url(), Some(mapping.key()), None, HttpConfig::default())?;
    let mapped = asks.map(&format!("{url}?viewer=ann&token=secret").parse()?).await?;
    println!("rid {} by {}, left out: {}", mapped.rid.short(), mapped.by, mapped.dropped.join(", "));

    // The first viewer takes the film from the origin while the mapping node reads it too.
    let first = viewer(&origin, &mapping, Vec::new()).await?;
    download(&first, &format!("{url}?viewer=ann"), &film).await?;
    let second = viewer(&origin, &mapping, vec![first.record()]).await?;
    let report = download(&second, &format!("{url}?viewer=bob"), &film).await?;
    for node in [first, second] {
        node.shutdown(Duration::from_secs(2)).await;
    }
    mapping.shutdown().await;
    Ok(report)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let report = share().await?;
    println!(
        "the second viewer took {:.0} % from the first, proof: {}",
        report.p2p_ratio * 100.0,
        report.integrity
    );
    Ok(())
}

#[tokio::test]
async fn what_the_mapping_node_signed_proves_what_a_viewer_gives() {
    let report = share().await.expect("loopback works");
    assert_eq!(report.integrity, "signed", "{report:?}");
    assert!(report.p2p_ratio > 0.5, "{report:?}");
}
