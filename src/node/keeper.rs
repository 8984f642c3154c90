//! The thread that talks to the store: one for a node, first come first served, so a load never overtakes the keep before it.

use std::sync::Arc;

use bytes::Bytes;
use pcdn_core::id::SwarmKey;
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::store::{Kept, Store};
use tokio::sync::{mpsc, oneshot};

use super::driver::ToSwarm;

/// Pieces waiting to be written: 16 MiB of 64 KiB pieces, a second of a slow disk.
const QUEUE: usize = 256;

/// What the store shall do.
#[derive(Debug)]
pub(crate) enum Job {
    Keep {
        swarm: SwarmKey,
        key: PieceKey,
        layout: Layout,
        kept: Kept,
    },
    Load {
        swarm: SwarmKey,
        /// What its swarm calls it.
        key: PieceKey,
        /// What the store calls it.
        at: PieceKey,
        to: mpsc::Sender<ToSwarm>,
    },
    /// For who audits this node.
    Read {
        swarm: SwarmKey,
        key: PieceKey,
        to: oneshot::Sender<Option<Bytes>>,
    },
    Forget {
        swarm: SwarmKey,
        segment: SegmentId,
    },
    Flush(oneshot::Sender<()>),
}

/// Starts the thread; it ends when every sender is dropped.
pub(crate) fn start(store: Arc<dyn Store>) -> std::io::Result<mpsc::Sender<Job>> {
    let (jobs, mut queue) = mpsc::channel(QUEUE);
    std::thread::Builder::new().name("pcdn-store".to_owned()).spawn(move || {
        while let Some(job) = queue.blocking_recv() {
            run(store.as_ref(), job);
        }
    })?;
    Ok(jobs)
}

fn run(store: &dyn Store, job: Job) {
    match job {
        Job::Keep { swarm, key, layout, kept } => {
            if let Err(error) = store.put(&swarm, &key, &layout, &kept) {
                // The piece stays in memory for a while and is fetched again if it is needed later.
                tracing::warn!(%error, "a piece was not kept");
            }
        }
        Job::Load { swarm, key, at, to } => {
            let bytes = read(store, &swarm, &at);
            // A swarm that is gone does not wait for it.
            let _ = to.blocking_send(ToSwarm::Loaded { key, bytes });
        }
        Job::Read { swarm, key, to } => {
            // Nor does an auditor that is gone.
            let _ = to.send(read(store, &swarm, &key));
        }
        Job::Forget { swarm, segment } => {
            if let Err(error) = store.forget(&swarm, Some(segment)) {
                tracing::debug!(%error, "an old segment stays in the store until room is needed");
            }
        }
        Job::Flush(done) => {
            if let Err(error) = store.flush() {
                tracing::warn!(%error, "the store was not flushed");
            }
            let _ = done.send(());
        }
    }
}

fn read(store: &dyn Store, swarm: &SwarmKey, key: &PieceKey) -> Option<Bytes> {
    store.get(swarm, key).unwrap_or_else(|error| {
        tracing::warn!(%error, "a piece was not read");
        None
    })
}
