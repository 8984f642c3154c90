//! `pcdn tracker`.

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
    let server = TrackerServer::bind(TrackerConfig { listen, secret, ..TrackerConfig::default() }).await;
    let server = server.map_err(|e| {
        Failure::other(format!("cannot listen on {listen}: {e}; give another address with --listen"))
    })?;
    tell::ready(&[("tracker", server.local_addr())]);
    stop.asked().await;
    server.shutdown().await;
    Ok(Exit::Done)
}
