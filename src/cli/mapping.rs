//! `pcdn mapping`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pcdn_core::id::Identity;
use pcdn_mapping::node::store::{Memory, Redb};
use pcdn_mapping::node::{DeskError, MapStore, NodeConfig, Tokens};

use super::compose::{http_config, make_private_dir};
use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::config::{Config, MappingNodeConfig};
use crate::mapping_node::{MappingConfig, MappingError, MappingNode};

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    let mut stop = Stop::catch()?;
    let options = config.mapping.clone();
    let http = http_config(&config.node)?;
    let files = tokio::task::spawn_blocking(move || open(&options).map(|files| (files, options)));
    let (Files { key, tokens, rules, store }, options) = files.await.map_err(Failure::other)??;
    let store = match store {
        Some(store) => store,
        None => connect(&options.store).await?,
    };
    let node = NodeConfig {
        allow: options.allow.iter().map(|host| host.to_ascii_lowercase()).collect(),
        rules,
        size_max: options.size_max,
        rate: options.rate,
        ttl: options.ttl.0,
        trackers: options.trackers,
    };
    let config = MappingConfig { listen: options.listen, node, key, store, tokens, http };
    let node = MappingNode::start(config).await.map_err(failure)?;
    let places: Vec<_> = node.local_addrs().iter().map(|addr| ("mapping", *addr)).collect();
    tell::line(&format!("signs as {}", node.key()));
    tell::ready(&places);
    stop.asked().await;
    node.shutdown().await;
    Ok(Exit::Done)
}

/// What is in files.
struct Files {
    key: Identity,
    tokens: Tokens,
    rules: Option<String>,
    /// `None` if it is a server's.
    store: Option<Arc<dyn MapStore>>,
}

/// The store in a database that several nodes use.
async fn connect(url: &str) -> Result<Arc<dyn MapStore>, Failure> {
    // It may have a password, so the URL is not repeated.
    let failed = |error| Failure::other(format!("--store: {error}; is the server there?"));
    match url.split("://").next() {
        #[cfg(feature = "postgres")]
        Some("postgres" | "postgresql") => {
            Ok(Arc::new(pcdn_mapping::node::store::Postgres::connect(url).await.map_err(failed)?))
        }
        #[cfg(feature = "redis")]
        Some("redis" | "valkey") => {
            let url = url.replacen("valkey://", "redis://", 1);
            Ok(Arc::new(pcdn_mapping::node::store::Redis::connect(&url).await.map_err(failed)?))
        }
        _ => Err(failed(pcdn_mapping::node::MapStoreError::new("none", "this build has no such store"))),
    }
}

/// Reads them, which blocks.
fn open(options: &MappingNodeConfig) -> Result<Files, Failure> {
    let tokens = options.tokens.as_ref().map(|file| {
        let tokens = Tokens::load(Path::new(file));
        tokens.map_err(|error| Failure::new(Exit::Config, format!("--tokens {file}: {error}")))
    });
    let rules = options.rules.as_ref().map(|file| {
        std::fs::read_to_string(file)
            .map_err(|error| Failure::new(Exit::Config, format!("--rules {file}: {error}")))
    });
    let is_server = options.store.contains("://");
    let dir = Some(&options.store).filter(|store| !is_server && *store != "memory").map(PathBuf::from);
    let store: Option<Arc<dyn MapStore>> = match &dir {
        None if is_server => None,
        None => Some(Arc::new(Memory::new())),
        Some(dir) => {
            make_private_dir(dir)?;
            let store = Redb::open(dir);
            let failed = |error| Failure::new(Exit::Disk, format!("--store {}: {error}", dir.display()));
            Some(Arc::new(store.map_err(failed)?))
        }
    };
    let file = options.key.as_ref().map(PathBuf::from).or(dir.map(|dir| dir.join("mapping.key")));
    let key = match file {
        Some(file) => crate::identity::load_or_create(file)?,
        None => crate::identity::ephemeral()?,
    };
    Ok(Files { key, tokens: tokens.transpose()?.unwrap_or_default(), rules: rules.transpose()?, store })
}

fn failure(error: MappingError) -> Failure {
    match &error {
        MappingError::Listen(..) => Failure::other(format!("{error}; give another address with --listen")),
        MappingError::Desk(DeskError::Rules(_)) => Failure::new(Exit::Config, format!("--rules: {error}")),
        MappingError::Desk(_) => Failure::new(Exit::Disk, format!("--store: {error}")),
        _ => Failure::new(Exit::Config, error),
    }
}
