//! In one file of a directory, by redb: transactions, no server, no threads of its own.

use std::path::Path;
use std::sync::Arc;

use ::redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition, TableError};
use pcdn_core::async_trait;

use super::{MapStore, MapStoreError, Space};

/// The file in the directory.
const FILE: &str = "mapping.redb";
const BY: &str = "redb";

/// Keeps records in a directory. Each put is synced to the disk, about 2 ms on an SSD; a read takes some µs.
#[derive(Clone, Debug)]
pub struct Redb {
    database: Arc<Database>,
}

fn table(space: Space) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(space.name())
}

fn failed(error: impl Into<::redb::Error>) -> MapStoreError {
    MapStoreError::new(BY, error.into())
}

impl Redb {
    /// Opens the store in `dir`, which must exist; made if there is none. Blocks. One process at a time.
    pub fn open(dir: &Path) -> Result<Self, MapStoreError> {
        let database = Database::create(dir.join(FILE)).map_err(failed)?;
        Ok(Self { database: Arc::new(database) })
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> Result<T, MapStoreError> + Send + 'static,
    ) -> Result<T, MapStoreError> {
        let database = self.database.clone();
        let done = tokio::task::spawn_blocking(move || work(&database)).await;
        done.map_err(|error| MapStoreError::new(BY, error))?
    }
}

#[async_trait]
impl MapStore for Redb {
    async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, MapStoreError> {
        let key = key.to_vec();
        self.blocking(move |database| {
            let reading = database.begin_read().map_err(failed)?;
            let values = match reading.open_table(table(space)) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(None),
                opened => opened.map_err(failed)?,
            };
            Ok(values.get(&key[..]).map_err(failed)?.map(|value| value.value().to_vec()))
        })
        .await
    }

    async fn put(&self, space: Space, key: &[u8], value: &[u8]) -> Result<(), MapStoreError> {
        let (key, value) = (key.to_vec(), value.to_vec());
        self.blocking(move |database| {
            let writing = database.begin_write().map_err(failed)?;
            writing.open_table(table(space)).map_err(failed)?.insert(&key[..], &value[..]).map_err(failed)?;
            writing.commit().map_err(failed)
        })
        .await
    }

    async fn remove(&self, space: Space, key: &[u8]) -> Result<(), MapStoreError> {
        let key = key.to_vec();
        self.blocking(move |database| {
            let writing = database.begin_write().map_err(failed)?;
            writing.open_table(table(space)).map_err(failed)?.remove(&key[..]).map_err(failed)?;
            writing.commit().map_err(failed)
        })
        .await
    }

    async fn count(&self, space: Space) -> Result<u64, MapStoreError> {
        self.blocking(move |database| {
            let reading = database.begin_read().map_err(failed)?;
            match reading.open_table(table(space)) {
                Err(TableError::TableDoesNotExist(_)) => Ok(0),
                opened => opened.map_err(failed)?.len().map_err(failed),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract_and_its_records() {
        let dir = tempfile::tempdir().unwrap();
        super::super::contract::map_store(&Redb::open(dir.path()).unwrap()).await;
        let store = Redb::open(dir.path()).unwrap();
        store.put(Space::Rules, b"k", b"v").await.unwrap();
        assert!(Redb::open(dir.path()).is_err(), "one process at a time");
        drop(store);
        assert_eq!(
            Redb::open(dir.path()).unwrap().get(Space::Rules, b"k").await.unwrap(),
            Some(b"v".to_vec())
        );
    }
}
