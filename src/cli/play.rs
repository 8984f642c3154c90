//! `pcdn play`: a gateway for one URL, and perhaps a player.

use super::compose::{Keep, compose};
use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::config::Loaded;
use crate::gateway::Gateway;

/// Runs the verb.
pub(crate) async fn run(url: &str, loaded: &Loaded) -> Result<Exit, Failure> {
    let config = &loaded.config;
    let usage = |line| Failure::new(Exit::Usage, line);
    let url: url::Url = url.parse().map_err(|e| usage(format!("{url}: {e}; write http://… or https://…")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(usage(format!("{}: is not played; write http://… or https://…", url.scheme())));
    }
    let mut stop = Stop::catch()?;
    let composed = compose(config, Keep::Memory).await?;
    let gateway = Gateway::serve_with(composed.node.clone(), &config.gateway, composed.origin.clone()).await;
    let gateway = gateway.map_err(Failure::other)?;
    let addr = gateway.local_addrs().first().ok_or_else(|| Failure::other("the gateway has no address"))?;
    let local = format!(
        "http://{addr}/{}/{}",
        url.scheme(),
        &url[url::Position::BeforeHost..url::Position::AfterQuery]
    );
    tell::out(&local)?;
    let outcome = match &config.play.player {
        None => {
            stop.asked().await;
            Ok(Exit::Done)
        }
        Some(player) => {
            let mut command = tokio::process::Command::new(player);
            let child = command.arg(&local).kill_on_drop(true).spawn();
            let mut child =
                child.map_err(|e| Failure::other(format!("--player {player} cannot be started: {e}")))?;
            tokio::select! {
                _ = child.wait() => {}
                () = stop.asked() => {}
            }
            Ok(Exit::Done)
        }
    };
    gateway.shutdown().await;
    composed.shutdown(stop.grace()).await;
    outcome
}
