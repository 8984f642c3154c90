//! `pcdn peer`: a node with a gateway, until it is stopped.

use pcdn_core::unit::ByteSize;
use pcdn_transport::udp::UdpConfig;

use super::compose::{Keep, admin, compose, link_secret, room};
use super::stop::Stop;
use super::{Exit, Failure, exit, tell};
use crate::config::{Config, Loaded};
use crate::gateway::Gateway;
use crate::node::{Node, P2p};
use crate::push::{Holder, HolderConfig};
use crate::standing::{Standing, StandingConfig};

/// Runs the verb.
pub(crate) async fn run(loaded: &Loaded) -> Result<Exit, Failure> {
    let config = &loaded.config;
    let mut stop = Stop::catch()?;
    let composed = compose(config, Keep::Memory).await?;
    let node = &composed.node;
    let gateway = if config.peer.seed_only || config.gateway.listen == "off" {
        None
    } else {
        let gateway = Gateway::serve_with(node.clone(), &config.gateway, composed.origin.clone()).await;
        Some(gateway.map_err(Failure::other)?)
    };
    let holder = holder(config, node)?;
    let standing = standing(config, node)?;
    let admin = admin(config, &composed, gateway.as_ref()).await?;
    let mut places: Vec<(&str, String)> =
        node.record().addrs.iter().map(|at| ("peer", tell::place(at))).collect();
    places.extend(gateway.iter().flat_map(Gateway::local_addrs).map(|addr| ("gateway", addr.to_string())));
    places.extend(admin.iter().flat_map(|admin| admin.local_addrs()).map(|addr| ("admin", addr.to_string())));
    places.extend(composed.dht.iter().flat_map(|dht| dht.contacts()).map(|contact| ("dht", contact)));
    tell::ready(&places);
    let seeding =
        config.peer.seed.iter().map(|url| tokio::spawn(seed(node.clone(), url.clone()))).collect::<Vec<_>>();
    stop.asked().await;
    seeding.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(standing) = standing {
        standing.shutdown().await;
    }
    if let Some(holder) = holder {
        holder.shutdown().await;
    }
    if let Some(gateway) = gateway {
        gateway.shutdown().await;
    }
    if let Some(admin) = admin {
        admin.shutdown().await;
    }
    composed.shutdown(stop.grace()).await;
    Ok(Exit::Done)
}

/// Tells trackers what others signed for, and witnesses for them, if peers are used at all.
fn standing(config: &Config, node: &Node) -> Result<Option<Standing>, Failure> {
    if config.node.tracker.is_empty() || config.node.p2p == P2p::Off {
        return Ok(None);
    }
    let udp = UdpConfig { secret: link_secret(&config.node)?, ..UdpConfig::default() };
    let setup = StandingConfig { trackers: config.node.tracker.clone(), udp, ..StandingConfig::default() };
    Standing::start(node.clone(), setup).map(Some).map_err(Failure::other)
}

/// Lets the node hold for push nodes, if any are named.
fn holder(config: &Config, node: &Node) -> Result<Option<Holder>, Failure> {
    if config.peer.push.is_empty() {
        return Ok(None);
    }
    let lends = HolderConfig {
        at: config.peer.push.clone(),
        disk: config.peer.push_disk.min(ByteSize(room(&config.node).0 / 2)),
        rate: config.peer.push_rate.min(config.node.download_limit),
        upload: config.node.upload_limit,
        ..HolderConfig::default()
    };
    Holder::start(node.clone(), lends).map(Some).map_err(Failure::other)
}

/// Fetches a content whole and keeps its swarm joined. A failure is told, and the node serves on.
async fn seed(node: Node, url: url::Url) {
    let whole = async {
        let asset = node.open(&url).await?;
        asset.complete().await?;
        Ok::<_, crate::node::OpenError>(asset)
    };
    match whole.await {
        Ok(asset) => {
            tracing::info!(url = exit::shown(&url), "held whole, serving");
            // Held for as long as this task lives.
            let _asset = asset;
            std::future::pending::<()>().await;
        }
        Err(error) => tell::line(&format!("pcdn peer: --seed {}", Failure::of_open(&url, &error))),
    }
}
