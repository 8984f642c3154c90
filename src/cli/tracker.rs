//! `pcdn tracker`.

use std::path::Path;
use std::sync::Arc;

use pcdn_discovery::tracker::networks::Networks;
use pcdn_discovery::tracker::store::{Elsewhere, Memory, PeerStore};
use pcdn_discovery::{TrackerConfig, TrackerServer};

use super::compose::secret;
use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::config::Config;

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    let mut stop = Stop::catch()?;
    let listen = config.tracker.listen;
    let secret = config.tracker.secret.as_ref().map(|file| secret(file, "--secret")).transpose()?;
    let networks = config.tracker.networks.as_ref().map(networks).transpose()?.unwrap_or_default();
    let token_key = config.tracker.token_key;
    let setup = TrackerConfig { listen, secret, token_key, networks, ..TrackerConfig::default() };
    let (store, elsewhere) = store(&config.tracker.store, &setup).await?;
    let server = TrackerServer::bind_with(setup, store, elsewhere).await;
    let server = server.map_err(|e| {
        Failure::other(format!("cannot listen on {listen}: {e}; give another address with --listen"))
    })?;
    tell::ready(&[("tracker", server.local_addr())]);
    stop.asked().await;
    server.shutdown().await;
    Ok(Exit::Done)
}

fn networks(file: &String) -> Result<Arc<Networks>, Failure> {
    let read = Networks::load(Path::new(file));
    read.map(Arc::new).map_err(|e| Failure::new(Exit::Config, format!("--networks {file}: {e}")))
}

type Store = (Arc<dyn PeerStore>, Option<Arc<dyn Elsewhere>>);

/// Where entries live: here, or here and in a database that other trackers share.
async fn store(url: &str, setup: &TrackerConfig) -> Result<Store, Failure> {
    let memory = Memory::new(setup.limits.peers_per_swarm, setup.networks.clone());
    if url == "memory" {
        return Ok((Arc::new(memory), None));
    }
    shared(url, memory).await
}

#[cfg(feature = "redis")]
async fn shared(url: &str, memory: Memory) -> Result<Store, Failure> {
    use pcdn_discovery::tracker::store::redis::Redis;
    // The URL may hold a password: it is not repeated.
    let shared = Redis::at(url, memory).map_err(|e| Failure::new(Exit::Config, format!("--store: {e}")))?;
    let remedy = "start it, or keep the table in this process with --store memory";
    shared.ping().await.map_err(|e| Failure::other(format!("--store: {e}; {remedy}")))?;
    let shared = Arc::new(shared);
    Ok((shared.clone(), Some(shared)))
}

#[cfg(not(feature = "redis"))]
async fn shared(_: &str, _: Memory) -> Result<Store, Failure> {
    Err(Failure::new(Exit::Config, "--store: this build knows no Redis; write memory"))
}
