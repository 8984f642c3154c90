//! The store's values as what they mean.

use std::sync::Arc;

use pcdn_core::id::Rid;

use super::entry::Entry;
use super::store::{MapStore, MapStoreError, Space};

/// The one key of [`Space::Rules`].
const RULES: &[u8] = b"rules";

/// Reads and writes records.
#[derive(Clone, Debug)]
pub(super) struct Catalog {
    store: Arc<dyn MapStore>,
}

/// A record that cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] MapStoreError),
    /// A record that this version does not understand.
    #[error("a record in the store cannot be read: {0}; it was written by another version, or is damaged")]
    Record(String),
}

impl Catalog {
    pub(super) fn new(store: Arc<dyn MapStore>) -> Self {
        Self { store }
    }

    pub(super) async fn entry(&self, rid: &Rid) -> Result<Option<Entry>, CatalogError> {
        let Some(bytes) = self.store.get(Space::Entries, &rid.0).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| CatalogError::Record(error.to_string()))
    }

    pub(super) async fn put_entry(&self, entry: &Entry) -> Result<(), CatalogError> {
        let bytes = serde_json::to_vec(entry).map_err(|error| CatalogError::Record(error.to_string()))?;
        Ok(self.store.put(Space::Entries, &entry.rid.0, &bytes).await?)
    }

    /// The name that a publisher gave to the URL of this canonical text.
    pub(super) async fn published(&self, text: &str) -> Result<Option<Rid>, CatalogError> {
        let bytes = self.store.get(Space::Urls, &key_of(text)).await?;
        let rid =
            bytes.map(|bytes| bytes.try_into().map(Rid).map_err(|_| "an RID of another length".to_owned()));
        rid.transpose().map_err(CatalogError::Record)
    }

    pub(super) async fn publish(&self, text: &str, rid: &Rid) -> Result<(), CatalogError> {
        Ok(self.store.put(Space::Urls, &key_of(text), &rid.0).await?)
    }

    pub(super) async fn manifest(
        &self,
        rid: &Rid,
        generation: &str,
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(self.store.get(Space::Manifests, &manifest_key(rid, generation)).await?)
    }

    pub(super) async fn put_manifest(
        &self,
        rid: &Rid,
        generation: &str,
        bytes: &[u8],
    ) -> Result<(), CatalogError> {
        Ok(self.store.put(Space::Manifests, &manifest_key(rid, generation), bytes).await?)
    }

    pub(super) async fn drop_manifest(&self, rid: &Rid, generation: &str) -> Result<(), CatalogError> {
        Ok(self.store.remove(Space::Manifests, &manifest_key(rid, generation)).await?)
    }

    pub(super) async fn rules(&self) -> Result<Option<String>, CatalogError> {
        let bytes = self.store.get(Space::Rules, RULES).await?;
        let text = bytes.map(String::from_utf8).transpose();
        text.map_err(|_| CatalogError::Record("rules that are no text".to_owned()))
    }

    pub(super) async fn put_rules(&self, text: &str) -> Result<(), CatalogError> {
        Ok(self.store.put(Space::Rules, RULES, text.as_bytes()).await?)
    }

    pub(super) async fn count(&self, space: Space) -> Result<u64, CatalogError> {
        Ok(self.store.count(space).await?)
    }
}

fn key_of(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

/// 48 bytes: the RID and the generation.
fn manifest_key(rid: &Rid, generation: &str) -> Vec<u8> {
    let id = blake3::hash(generation.as_bytes());
    [&rid.0[..], &id.as_bytes()[..16]].concat()
}
