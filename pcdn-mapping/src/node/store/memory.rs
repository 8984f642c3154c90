//! In memory: for tests, and nodes that may forget.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pcdn_core::async_trait;

use super::{MapStore, MapStoreError, Space};

/// Manifests kept in memory, bytes; the first keys make room. The other kinds are bounded by what is asked and allowed.
const MANIFEST_BYTES_MAX: usize = 512 << 20;

/// Values by kind and key.
type Records = BTreeMap<(Space, Vec<u8>), Vec<u8>>;

/// Keeps records until the process ends.
#[derive(Debug, Default)]
pub struct Memory {
    records: Mutex<Records>,
}

impl Memory {
    /// Keeps nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MapStore for Memory {
    async fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, MapStoreError> {
        Ok(self.records().get(&(space, key.to_vec())).cloned())
    }

    async fn put(&self, space: Space, key: &[u8], value: &[u8]) -> Result<(), MapStoreError> {
        let mut records = self.records();
        records.insert((space, key.to_vec()), value.to_vec());
        let manifests = |records: &Records| {
            let all = records.iter().filter(|((space, _), _)| *space == Space::Manifests);
            all.map(|(_, value)| value.len()).sum::<usize>()
        };
        while space == Space::Manifests && manifests(&records) > MANIFEST_BYTES_MAX {
            let first = records.keys().find(|(space, own)| *space == Space::Manifests && own != key).cloned();
            let Some(first) = first else { break };
            records.remove(&first);
        }
        Ok(())
    }

    async fn remove(&self, space: Space, key: &[u8]) -> Result<(), MapStoreError> {
        self.records().remove(&(space, key.to_vec()));
        Ok(())
    }

    async fn count(&self, space: Space) -> Result<u64, MapStoreError> {
        Ok(self.records().keys().filter(|(own, _)| *own == space).count() as u64)
    }
}
