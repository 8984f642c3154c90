//! `pcdn peer`: a node with a gateway, until it is stopped.

use std::net::SocketAddr;

use super::compose::{Keep, admin, compose};
use super::stop::Stop;
use super::{Exit, Failure, exit, tell};
use crate::config::Loaded;
use crate::gateway::Gateway;
use crate::node::Node;

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
    let admin = admin(config, node, gateway.as_ref()).await?;
    let mut places: Vec<(&str, SocketAddr)> = node.record().addrs.iter().map(|a| ("peer", a.addr)).collect();
    places.extend(gateway.iter().flat_map(Gateway::local_addrs).map(|addr| ("gateway", *addr)));
    places.extend(admin.iter().flat_map(|admin| admin.local_addrs()).map(|addr| ("admin", *addr)));
    tell::ready(&places);
    let seeding =
        config.peer.seed.iter().map(|url| tokio::spawn(seed(node.clone(), url.clone()))).collect::<Vec<_>>();
    stop.asked().await;
    seeding.iter().for_each(tokio::task::JoinHandle::abort);
    if let Some(gateway) = gateway {
        gateway.shutdown().await;
    }
    if let Some(admin) = admin {
        admin.shutdown().await;
    }
    node.shutdown(stop.grace()).await;
    Ok(Exit::Done)
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
