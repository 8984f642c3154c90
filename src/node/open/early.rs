//! What is asked for beside the origin's first answer, so that it costs no time: peers, and the publisher's manifest.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use pcdn_core::id::SwarmKey;
use pcdn_core::peer::PeerRecord;
use pcdn_core::resource::{Mapping, ResourceHint, Url};
use pcdn_core::verify::Manifest;

use super::{For, ManifestPlace, fetch_checked, surest};
use crate::node::{Asset, Shared};

/// How long an opening waits for a manifest after the origin answered; later ones still count. A player does not wait for it.
const MANIFEST_PATIENCE: Duration = Duration::from_millis(400);

/// Peers that are looked for, and dialled, while the origin is asked for the head: by then they are mostly there.
pub(super) struct EarlyPeers {
    pub(super) key: SwarmKey,
    task: tokio::task::JoinHandle<Vec<PeerRecord>>,
}

/// Peers dialled before the swarm is open.
const EARLY_DIALS: usize = 8;

/// Guesses the swarm from the URL alone; a wrong guess costs a question to the tracker.
pub(super) fn peers(shared: &Arc<Shared>, url: &Url, mapping: &Mapping) -> Option<EarlyPeers> {
    let discoveries = shared.discoveries_of(mapping);
    let (take, _) = shared.p2p_now();
    let hint = ResourceHint { url: url.clone(), content_type: None, first_bytes: Vec::new() };
    let fragmenter = surest(shared, &hint).filter(|_| take && !discoveries.is_empty())?;
    let key = SwarmKey::of(&mapping.rid, &fragmenter.rule());
    let (links, me) = (shared.links.clone(), shared.identity.peer_id());
    let tasks = shared.tasks.clone();
    let stop = shared.stop.clone();
    let search = async move {
        let mut records = Vec::new();
        for discovery in discoveries {
            let mut found = discovery.find(&key, EARLY_DIALS);
            while let Some(found) = found.next().await {
                // One of several discoveries may fail before another finds somebody.
                let Ok(record) = found else { continue };
                if record.id != me && records.len() < EARLY_DIALS {
                    let (links, to) = (links.clone(), record.clone());
                    // Whether it works out is seen when the swarm connects for real.
                    tasks.spawn(async move { links.connect(&to).await.map(drop) });
                    records.push(record);
                }
            }
        }
        records
    };
    let search = async move { stop.run_until_cancelled(search).await.unwrap_or_default() };
    Some(EarlyPeers { key, task: shared.tasks.spawn(search) })
}

impl EarlyPeers {
    pub(super) fn hand_over(self, shared: &Arc<Shared>, asset: &Asset) {
        let asset = asset.clone();
        shared.tasks.spawn(async move {
            if let Ok(records) = self.task.await {
                asset.found(records).await;
            }
        });
    }
}

/// A manifest on its way.
pub(super) struct EarlyManifest(Fetching);

type Fetching = tokio::task::JoinHandle<Found>;
type Found = Option<(Arc<Manifest>, Bytes)>;

/// Begins to fetch the manifest of `url`, if there is to be one.
pub(super) fn manifest(shared: &Arc<Shared>, url: &Url, mapping: &Mapping) -> Option<EarlyManifest> {
    let place = ManifestPlace::of(&shared.settings, url, mapping)?;
    let node = shared.clone();
    Some(EarlyManifest(tokio::spawn(async move { fetch_checked(&node, &place).await })))
}

impl EarlyManifest {
    /// What there is of it now that the origin has answered: it mostly came meanwhile.
    pub(super) async fn when_head_came(self, purpose: For) -> ManifestTask {
        let Self(mut task) = self;
        if purpose == For::Play && !task.is_finished() {
            return ManifestTask::Later(task);
        }
        match tokio::time::timeout(MANIFEST_PATIENCE, &mut task).await {
            Ok(done) => ManifestTask::Done(done.ok().flatten()),
            Err(_) => ManifestTask::Later(task),
        }
    }
}

/// A manifest that came, or may come yet.
pub(in crate::node) enum ManifestTask {
    Done(Found),
    Later(Fetching),
}
