//! `pcdn tracker`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pcdn_core::ledger::Ledger;
use pcdn_core::superpeer::Rules;
use pcdn_discovery::tracker::standing::StandingConfig;
use pcdn_discovery::tracker::standing::http::EarnedBody;

use pcdn_discovery::tracker::networks::Networks;
use pcdn_discovery::tracker::store::{Elsewhere, Memory, PeerStore};
use pcdn_discovery::{TrackerConfig, TrackerServer};

use super::compose::{make_private_dir, secret};
use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::config::{Config, TrackerConfig as Options};
use crate::http::call::{Call, CallError};
use crate::ledger;

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    if config.tracker.earned {
        return earned(config).await;
    }
    let mut stop = Stop::catch()?;
    let listen = config.tracker.listen;
    let secret = config.tracker.secret.as_ref().map(|file| secret(file, "--secret")).transpose()?;
    let networks = config.tracker.networks.as_ref().map(networks).transpose()?.unwrap_or_default();
    let (token_key, second_address) = (config.tracker.token_key, config.tracker.second_address);
    let standing = standing(&config.tracker)?;
    let setup = TrackerConfig {
        listen,
        secret,
        token_key,
        second_address,
        networks,
        standing,
        ..TrackerConfig::default()
    };
    let (store, elsewhere) = store(&config.tracker.store, &setup).await?;
    let server = TrackerServer::bind_with(setup, store, elsewhere).await;
    let server = server.map_err(|e| match e.kind() {
        std::io::ErrorKind::InvalidData => Failure::new(Exit::Config, format!("--data-dir: {e}")),
        _ => Failure::other(format!("cannot listen on {listen}: {e}; give another address with --listen")),
    })?;
    tell::ready(&[("tracker", server.local_addr())]);
    stop.asked().await;
    server.shutdown().await;
    Ok(Exit::Done)
}

/// What the tracker makes of how good peers are, and where that is kept and told.
fn standing(options: &Options) -> Result<StandingConfig, Failure> {
    let dir = options.data_dir.as_ref().map(Path::new);
    dir.map(make_private_dir).transpose()?;
    let key = options.key.as_ref().map(PathBuf::from).or(dir.map(|dir| dir.join("tracker.key")));
    Ok(StandingConfig {
        key: key.map(crate::identity::load_or_create).transpose()?,
        rules: Rules { stake: (options.stake > 0).then_some(options.stake), ..Rules::default() },
        auditors: options.auditor.iter().copied().collect(),
        ledger: options.ledger.as_ref().map(|at| ledger(at, options.ledger_token.as_deref())).transpose()?,
        file: dir.map(|dir| dir.join("standings.json")),
        ..StandingConfig::default()
    })
}

fn ledger(at: &str, token: Option<&str>) -> Result<Arc<dyn Ledger>, Failure> {
    let fault = |why: String| Failure::new(Exit::Config, format!("--ledger: {why}"));
    if !at.starts_with("http://") && !at.starts_with("https://") {
        return Ok(Arc::new(ledger::File::open(at).map_err(|e| fault(e.to_string()))?));
    }
    let read = |file: &str| {
        let text = std::fs::read_to_string(file);
        text.map_err(|e| Failure::new(Exit::Config, format!("--ledger-token {file}: {e}")))
    };
    let token = token.map(read).transpose()?.map(|text| text.trim().to_owned());
    let url = at.parse().map_err(|e: url::ParseError| fault(format!("{e}; write http://… or https://…")))?;
    Ok(Arc::new(ledger::Http::new(url, token).map_err(|e| fault(e.to_string()))?))
}

/// Shows what peers have earned at a tracker that runs on this machine, or wherever `--listen` says.
async fn earned(config: &Config) -> Result<Exit, Failure> {
    let mut at = config.tracker.listen;
    if at.ip().is_unspecified() {
        at.set_ip(match at.is_ipv4() {
            true => std::net::Ipv4Addr::LOCALHOST.into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let secret = config.tracker.secret.as_ref().map(|file| secret(file, "--secret")).transpose()?;
    let url = format!("http://{at}").parse().map_err(Failure::other)?;
    let failed = |error: CallError| match error {
        CallError::Silent { .. } => Failure::new(Exit::Unreachable, error),
        _ => Failure::other(error),
    };
    let call = Call::new(url, secret.map(|secret| secret.reading_token())).map_err(failed)?;
    let entries: EarnedBody = call.get("/v1/earned").await.map_err(failed)?;
    if config.json {
        return tell::json(&entries);
    }
    let line = |entry: &ledger::Entry| {
        let kind = if entry.superpeer { "superpeer" } else { "" };
        format!("{} {:>15} bytes {:>15} credit {kind}\n", entry.peer, entry.bytes, entry.credit)
    };
    let text: String = entries.iter().map(line).collect();
    tell::out(if text.is_empty() { "nobody has earned anything this week" } else { text.trim_end() })
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
