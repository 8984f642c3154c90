//! In a Redis or Valkey server, for several mapping nodes: one hash for each kind of record.

use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::{AsyncCommands as _, Client, RedisError};
use pcdn_core::async_trait;

use super::{MapStore, MapStoreError, Space};

const BY: &str = "redis";
/// How long the server may take for one answer: a manifest of 64 MiB over 100 Mbit/s takes 5 s.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Keeps records in a Redis or Valkey server; finds it again after it was away. What was put survives a crash of that server as far
/// as its own configuration says (`appendonly yes`). Without TLS: the server belongs into the node's own network.
#[derive(Clone)]
pub struct Redis {
    connection: ConnectionManager,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redis")
    }
}

fn failed(error: RedisError) -> MapStoreError {
    MapStoreError::new(BY, error)
}

/// The hash of one kind.
fn hash(space: Space) -> String {
    format!("pcdn-mapping:{}", space.name())
}

impl Redis {
    /// Connects to the server at `url`: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`.
    pub async fn connect(url: &str) -> Result<Self, MapStoreError> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(Some(ANSWER_MAX))
            .set_connection_timeout(Some(CONNECT_MAX));
        let client = Client::open(url).map_err(failed)?;
        let connection = ConnectionManager::new_with_config(client, config).await.map_err(failed)?;
        Ok(Self { connection })
    }
}

#[async_trait]
impl MapStore for Redis {
    async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, MapStoreError> {
        self.connection.clone().hget(hash(space), key).await.map_err(failed)
    }

    async fn put(&self, space: Space, key: &[u8], value: &[u8]) -> Result<(), MapStoreError> {
        let put: Result<(), _> = self.connection.clone().hset(hash(space), key, value).await;
        put.map_err(failed)
    }

    async fn remove(&self, space: Space, key: &[u8]) -> Result<(), MapStoreError> {
        let removed: Result<(), _> = self.connection.clone().hdel(hash(space), key).await;
        removed.map_err(failed)
    }

    async fn count(&self, space: Space) -> Result<u64, MapStoreError> {
        self.connection.clone().hlen(hash(space)).await.map_err(failed)
    }
}
