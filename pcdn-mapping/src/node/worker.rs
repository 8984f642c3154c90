//! Looks at contents: asks the origin what it has, and reads it if that is new.

use std::time::{SystemTime, UNIX_EPOCH};

use pcdn_core::origin::OriginError;

use super::desk::Desk;
use super::entry::Entry;
use super::queue::Look;
use super::reading::{ReadError, read};

/// Begins every look that may begin; each one begins the next when it ends.
pub(super) fn begin(desk: &Desk) {
    while let Some(look) = desk.next_look() {
        let desk = desk.clone();
        tokio::spawn(async move {
            let rid = look.rid;
            let outcome = look_at(&desk, look).await;
            if let Err(why) = &outcome {
                tracing::warn!(rid = %rid.short(), why, "a content cannot be read");
            }
            desk.looked(&rid, outcome);
            begin(&desk);
        });
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

async fn look_at(desk: &Desk, look: Look) -> Result<(), String> {
    let Look { rid, url, named } = look;
    let catalog = desk.catalog();
    let entry = catalog.entry(&rid).await.map_err(|error| error.to_string())?;
    let mut entry = entry.unwrap_or_else(|| Entry::new(rid, url.clone(), named));
    let news = match desk.parts().origin.head(&url).await {
        Ok(head) if entry.current.as_ref().is_some_and(|current| current.is_of(&head)) => Ok(None),
        Ok(head) => {
            let read = read(desk.parts(), desk.config(), &entry, &url, &head, now_ms()).await;
            read.map(Some)
        }
        Err(error) => Err(error.into()),
    };
    entry.looked_ms = now_ms();
    match news {
        Ok(None) => {}
        Ok(Some(read)) => {
            let (id, before) = (read.generation.id.clone(), entry.current.take());
            // The manifest first: an entry never names one that is not there.
            let kept = catalog.put_manifest(&rid, &id, &read.manifest).await;
            kept.map_err(|error| error.to_string())?;
            tracing::info!(rid = %rid.short(), generation = %id, bytes = read.generation.length, "read and signed");
            desk.counters().read(read.generation.length);
            (entry.current, entry.unreadable) = (Some(read.generation), None);
            entry.was_at(&url);
            catalog.put_entry(&entry).await.map_err(|error| error.to_string())?;
            if let Some(before) = before.filter(|before| before.id != id) {
                catalog.drop_manifest(&rid, &before.id).await.map_err(|error| error.to_string())?;
            }
            return Ok(());
        }
        Err(ReadError::Never(why)) => (entry.current, entry.unreadable) = (None, Some(why)),
        // What is gone has no manifest any more; what cannot be reached keeps it.
        Err(ReadError::Origin(error)) => {
            if matches!(error, OriginError::Status { status: 404 | 410, .. })
                && entry.current.take().is_some()
            {
                catalog.put_entry(&entry).await.map_err(|error| error.to_string())?;
            }
            return Err(error.to_string());
        }
    }
    catalog.put_entry(&entry).await.map_err(|error| error.to_string())
}
