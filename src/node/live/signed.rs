//! The signer's manifest of a live stream, which grows slice by slice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::layout::SegmentId;
use pcdn_core::verify::Manifest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::node::Shared;
use crate::node::open::{ManifestPlace, fetch_checked};

/// A part was told of that the manifest does not name: it is fetched again after this, and so often until it does. Else it is left
/// alone, for it is long.
const LOOK: Duration = Duration::from_millis(100);
/// There is none yet, or its signer has stopped: looked for so often.
const LOOK_FOR: Duration = Duration::from_secs(5);
/// One that did not change for so long is not followed any more, and slices need witnesses.
const STALE: Duration = Duration::from_secs(30);

/// A manifest, and the bytes it was read from.
pub(super) type Fetched = (Arc<Manifest>, Bytes);

/// What is known of it. Its place is looked at by tasks: the stream does not wait for a slow answer.
#[derive(Debug)]
pub(super) struct Signed {
    place: Arc<ManifestPlace>,
    newest: Option<Arc<Manifest>>,
    /// The last slice told of that it does not name.
    lacks: Option<SegmentId>,
    next: Instant,
    changed: Option<Instant>,
    looking: Option<oneshot::Receiver<Option<Fetched>>>,
}

impl Signed {
    pub(super) fn new(place: ManifestPlace) -> Self {
        let (place, next) = (Arc::new(place), Instant::now());
        Self { place, newest: None, lacks: None, next, changed: None, looking: None }
    }

    /// Whether slices are being signed.
    pub(super) fn is_live(&self) -> bool {
        self.changed.is_some_and(|changed| changed.elapsed() < STALE)
    }

    /// A slice is there, here or at a neighbour.
    pub(super) fn told(&mut self, id: SegmentId) {
        if !self.names(id) && self.lacks != Some(id) {
            self.lacks = Some(id);
            if self.is_live() {
                // Who signs reads the stream beside the server: it is no later than whoever told.
                self.next = Instant::now();
            }
        }
    }

    /// Looks at its place if it is time.
    pub(super) fn look(&mut self, shared: &Arc<Shared>) {
        let needed = self.newest.is_none() || self.lacks.is_some();
        if self.looking.is_some() || !needed || Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + if self.is_live() { LOOK } else { LOOK_FOR };
        let (to, found) = oneshot::channel();
        self.looking = Some(found);
        let (node, place) = (shared.clone(), self.place.clone());
        shared.tasks.spawn(async move {
            let fetched = node.stop.run_until_cancelled(fetch_checked(&node, &place)).await;
            // The stream may be over.
            let _ = to.send(fetched.flatten());
        });
    }

    /// A newer manifest, once there is one; never, while none is looked for. Cancel-safe.
    pub(super) async fn news(&mut self) -> Option<Fetched> {
        let Some(looking) = &mut self.looking else { return std::future::pending().await };
        let fetched = looking.await.ok().flatten();
        self.looking = None;
        let (manifest, raw) = fetched?;
        if self.newest.as_ref().is_some_and(|old| manifest.seq <= old.seq) {
            return None;
        }
        self.changed = Some(Instant::now());
        self.newest = Some(manifest.clone());
        self.lacks = self.lacks.filter(|id| !self.names(*id));
        Some((manifest, raw))
    }

    fn names(&self, id: SegmentId) -> bool {
        self.newest.as_ref().is_some_and(|manifest| manifest.list(id).is_some())
    }
}
