//! The publisher's manifest of a stream: it tells lengths and piece lists, and grows as a live stream does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::Digest;
use pcdn_core::layout::{Layout, SegmentId};
use pcdn_core::resource::{Mapping, Url};
use pcdn_core::unit::Time;
use pcdn_core::verify::{Manifest, PieceList};
use tokio::sync::Notify;

use super::{Stream, lock};
use crate::node::Settings;
use crate::node::driver::ToSwarm;
use crate::node::open::{ManifestPlace, fetch_checked};

/// A length waits this long for the manifest, then the origin is asked for it.
const PATIENCE: Duration = Duration::from_millis(400);
/// A live stream's signer works beside the packager, and may be a moment behind it: so many more looks, so far apart.
const LOOKS: u32 = 6;
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A stream on demand may be replaced under its manifest's name, too: who loads its playlist later than this after the manifest came has it
/// fetched anew, beside playing.
const GOOD_FOR: Duration = Duration::from_secs(60);

/// The newest manifest, if there is to be one.
#[derive(Debug)]
pub(super) struct Kept {
    place: Option<ManifestPlace>,
    /// When it was fetched last.
    fetched: Mutex<Time>,
    newest: Mutex<Option<(Arc<Manifest>, Bytes)>>,
    fetching: AtomicBool,
    came: Notify,
    /// It was said that it is of no use.
    warned: AtomicBool,
}

/// A segment's layout and hash, and what each piece must be if that was signed, too.
pub(super) type Signed = (Layout, Digest, Option<Arc<PieceList>>);

impl Kept {
    pub(super) fn of(settings: &Settings, url: &Url, mapping: &Mapping) -> Self {
        Self {
            place: ManifestPlace::of(settings, url, mapping),
            fetched: Mutex::default(),
            newest: Mutex::default(),
            fetching: AtomicBool::new(false),
            came: Notify::new(),
            warned: AtomicBool::new(false),
        }
    }

    pub(super) fn newest(&self) -> Option<(Arc<Manifest>, Bytes)> {
        lock(&self.newest).clone()
    }

    /// What it says a segment is.
    pub(super) fn root_of(&self, id: SegmentId) -> Option<Digest> {
        lock(&self.newest).as_ref().and_then(|(manifest, _)| manifest.segment(id)).map(|(_, root)| root)
    }

    /// What it says of a segment; waits a moment for it if it is on its way.
    pub(super) async fn signed(&self, id: SegmentId) -> Option<Signed> {
        let look = || {
            let (manifest, _) = self.newest()?;
            let (layout, root) = manifest.segment(id)?;
            Some((layout, root, manifest.list(id).cloned().map(Arc::new)))
        };
        self.place.as_ref()?;
        let until = tokio::time::Instant::now() + PATIENCE;
        loop {
            let came = self.came.notified();
            if let Some(signed) = look() {
                return Some(signed);
            }
            if !self.fetching.load(Ordering::Acquire) || tokio::time::timeout_at(until, came).await.is_err() {
                return look();
            }
        }
    }

    /// Fetches it anew if the playlist lists what it does not, or it is old. The fetch goes on beside.
    pub(super) async fn refresh(&self, stream: &Stream) {
        let Some(place) = self.place.clone() else { return };
        let Some(shared) = stream.inner.node.upgrade() else { return };
        let old = stream.is_ended() && shared.clock.now().since(*lock(&self.fetched)) > GOOD_FOR;
        if !(old || stream.lacks_digests()) || self.fetching.swap(true, Ordering::AcqRel) {
            return;
        }
        *lock(&self.fetched) = shared.clock.now();
        let stream = stream.clone();
        let tasks = shared.tasks.clone();
        tasks.spawn(async move {
            let stop = shared.stop.clone();
            let looks = async {
                for look in 0..LOOKS {
                    if look > 0 {
                        tokio::time::sleep(LOOK_AGAIN).await;
                    }
                    let found = fetch_checked(&shared, &place).await;
                    let Some((manifest, raw)) = found.filter(|(manifest, _)| stream.accepts(manifest)) else {
                        if look == 0 && stream.inner.manifest.newest().is_none() {
                            // There is none, or not yet: the next load of the playlist looks again.
                            return;
                        }
                        continue;
                    };
                    stream.inner.manifest.take(&stream, manifest, raw).await;
                    if !stream.lacks_digests() {
                        return;
                    }
                }
            };
            if stop.run_until_cancelled(looks).await.is_some() {
                stream.inner.manifest.warn_if_useless(&stream);
            }
            stream.inner.manifest.fetching.store(false, Ordering::Release);
            stream.inner.manifest.came.notify_waiters();
        });
    }

    /// A manifest of which no name is listed keeps peers from proving anything: the operator wants to know.
    fn warn_if_useless(&self, stream: &Stream) {
        let useless = self.newest().is_some_and(|(manifest, _)| !stream.names_any(&manifest));
        if useless && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the manifest names none of the listed segments, so nothing is taken from peers: sign the directory \
                 this playlist lies in (pcdn sign DIR)"
            );
        }
    }

    async fn take(&self, stream: &Stream, manifest: Arc<Manifest>, raw: Bytes) {
        let old = lock(&self.newest).replace((manifest.clone(), raw.clone()));
        self.came.notify_waiters();
        if old.is_some_and(|(old, _)| old.seq == manifest.seq && old.issued_ms == manifest.issued_ms) {
            return;
        }
        for (_, track) in stream.tracks().await {
            // A swarm that is closed needs none.
            let _ = track.asset.tell(ToSwarm::Manifest(manifest.clone(), raw.clone())).await;
        }
    }
}

impl Stream {
    /// Whether something is listed that the newest manifest does not name.
    fn lacks_digests(&self) -> bool {
        let newest = self.inner.manifest.newest();
        let index = lock(&self.inner.index);
        let named = |id| newest.as_ref().is_some_and(|(manifest, _)| manifest.segment(id).is_some());
        index.newest_ids(8).any(|id| !named(id))
    }

    /// Whether it names one of the newest segments; true if none is listed yet.
    fn names_any(&self, manifest: &Manifest) -> bool {
        let index = lock(&self.inner.index);
        let mut newest = index.newest_ids(8).peekable();
        newest.peek().is_none() || newest.any(|id| manifest.segment(id).is_some())
    }

    fn accepts(&self, manifest: &Manifest) -> bool {
        let same = manifest.rule == self.inner.rule && manifest.rid.is_none_or(|rid| rid == self.inner.rid);
        let newest = self.inner.manifest.newest();
        if !same {
            tracing::warn!("the manifest is of another stream or cut; it is not used");
        }
        same && newest.is_none_or(|(old, _)| manifest.seq >= old.seq)
    }
}
