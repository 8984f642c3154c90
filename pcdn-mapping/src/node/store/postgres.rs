//! In a PostgreSQL server, for several mapping nodes: one table.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::async_trait;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls};

use super::{MapStore, MapStoreError, Space};

const BY: &str = "postgres";
/// How long the server may take for one answer: a manifest of 64 MiB over 100 Mbit/s takes 5 s.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Made by the first node; several may try at once.
const TABLE: &str = "CREATE TABLE IF NOT EXISTS pcdn_mapping (space text, key bytea, value bytea NOT NULL, PRIMARY KEY (space, key))";

/// Keeps records in a PostgreSQL server, in a table of its own (`pcdn_mapping`, made if there is none); finds the server again after
/// it was away. Without TLS: the server belongs into the node's own network, or behind a Unix socket.
pub struct Postgres {
    config: Config,
    client: Mutex<Option<Arc<Client>>>,
}

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

fn failed(error: tokio_postgres::Error) -> MapStoreError {
    MapStoreError::new(BY, error)
}

impl Postgres {
    /// Connects to the server at `url`: `postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE`.
    pub async fn connect(url: &str) -> Result<Self, MapStoreError> {
        let mut config: Config = url.parse().map_err(failed)?;
        config.connect_timeout(CONNECT_MAX).application_name("pcdn-mapping");
        let store = Self { config, client: Mutex::default() };
        store.client().await?;
        Ok(store)
    }

    /// The connection, made anew if it broke.
    async fn client(&self) -> Result<Arc<Client>, MapStoreError> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Ok(client.clone());
        }
        let (client, connection) = within(self.config.connect(NoTls)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "the connection to PostgreSQL broke; the next request makes a new one");
            }
        });
        // Two that make the table at the same moment: one of them fails, and finds it there then.
        if within(client.batch_execute(TABLE)).await.is_err() {
            within(client.batch_execute(TABLE)).await?;
        }
        let client = Arc::new(client);
        *kept = Some(client.clone());
        Ok(client)
    }
}

async fn within<T>(work: impl Future<Output = Result<T, tokio_postgres::Error>>) -> Result<T, MapStoreError> {
    let done = timeout(ANSWER_MAX, work).await;
    done.map_err(|_| MapStoreError::new(BY, format!("no answer within {ANSWER_MAX:?}")))?.map_err(failed)
}

#[async_trait]
impl MapStore for Postgres {
    async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, MapStoreError> {
        const GET: &str = "SELECT value FROM pcdn_mapping WHERE space = $1 AND key = $2";
        let row = within(self.client().await?.query_opt(GET, &[&space.name(), &key])).await?;
        row.map(|row| row.try_get(0).map_err(failed)).transpose()
    }

    async fn put(&self, space: Space, key: &[u8], value: &[u8]) -> Result<(), MapStoreError> {
        const PUT: &str = "INSERT INTO pcdn_mapping (space, key, value) VALUES ($1, $2, $3) \
                           ON CONFLICT (space, key) DO UPDATE SET value = EXCLUDED.value";
        within(self.client().await?.execute(PUT, &[&space.name(), &key, &value])).await.map(drop)
    }

    async fn remove(&self, space: Space, key: &[u8]) -> Result<(), MapStoreError> {
        const REMOVE: &str = "DELETE FROM pcdn_mapping WHERE space = $1 AND key = $2";
        within(self.client().await?.execute(REMOVE, &[&space.name(), &key])).await.map(drop)
    }

    async fn count(&self, space: Space) -> Result<u64, MapStoreError> {
        const COUNT: &str = "SELECT count(*) FROM pcdn_mapping WHERE space = $1";
        let row = within(self.client().await?.query_one(COUNT, &[&space.name()])).await?;
        let count: i64 = row.try_get(0).map_err(failed)?;
        Ok(count as u64)
    }
}
