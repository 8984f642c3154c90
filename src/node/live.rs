//! A continuous live stream (HTTP-FLV) at a node: fed by the origin or by neighbours, given to any number of players.
//!
//! ```text
//!  origin ── one endless response ──► feed ── slices ──► swarm, Tape
//!  neighbours ── notes of slices ───► Order ── wanted ─► swarm ── pieces, proven ──► Tape
//!  players ◄── Listener::next ◄────── Tape (what is here, in the order of Order)
//! ```
//!
//! The origin can only be joined at its edge, so somebody must be its reader: of all nodes of the swarm the first few in an order
//! that follows from their keys are the *feeders*; the others read the origin only to start at once, until others vouch for what
//! they read themselves, and whenever the next slice does not come in time.
//!
//! **What is called a slice here is a part of one**, 0.4 s long ([`PART_MS`](pcdn_media::flv::PART_MS)): a segment of the swarm that
//! is told, proven, fetched and played by itself. With its `offset` at zero a slice of the stream begins, and players may.
//! Players keep about a second, and begin at the live edge as they do at the origin: a part is here 0.3 to 0.4 s after it is whole
//! at a feeder.

mod crowd;
mod deck;
mod feed;
mod hunger;
mod listener;
mod role;
mod signed;
pub(crate) mod tape;

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pcdn_core::fragment::Fragmenter;
use pcdn_core::id::SwarmKey;
use pcdn_core::origin::OriginBody;
use pcdn_core::resource::{Resource, ResourceHead, Url};
use tokio::sync::{Notify, mpsc};
use tracing::Instrument as _;

use super::open::{Joining, ManifestPlace, StreamSide, join, map};
use super::stream::track::Cuts;
use super::{Asset, OpenError, Shared};
use deck::Deck;
use feed::Feed;
use tape::Tape;

pub use listener::Listener;

/// Notes and slices waiting to be looked at: several seconds of many neighbours; more are told again by others.
const QUEUE: usize = 256;

/// A live stream, open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Broadcast {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    asset: Asset,
    head: ResourceHead,
    tape: Mutex<Tape>,
    news: Notify,
    live_start: usize,
    listeners: AtomicUsize,
    /// The number of the next listener.
    numbers: AtomicU64,
}

impl Broadcast {
    /// Joins the swarm of the stream at `url` and goes on reading `body`, the origin's answer.
    pub(super) async fn open(
        shared: &Arc<Shared>,
        url: &Url,
        body: OriginBody,
        fragmenter: Arc<dyn Fragmenter>,
    ) -> Result<Self, OpenError> {
        let OriginBody { head, bytes } = body;
        let mapping = map(shared, url).await;
        let (heard, notes) = mpsc::channel(QUEUE);
        let rule = fragmenter.rule();
        let joining = Joining {
            url: url.clone(),
            origin: shared.origin.clone(),
            begun: None,
            urls: None,
            discoveries: shared.discoveries_of(&mapping),
            rid: mapping.rid,
            head: ResourceHead { len: None, ..head.clone() },
            key: SwarmKey::of(&mapping.rid, &rule),
            rule,
            cuts: Vec::new(),
            manifest: None,
            signer: mapping.signer,
            stream: Some(StreamSide { cuts: Arc::new(Cuts::new()), heard: Some(heard) }),
        };
        let asset = join(shared, joining).await;
        shared.assets.lock().await.push(asset.clone());
        let inner = Inner {
            asset,
            head,
            tape: Mutex::default(),
            news: Notify::new(),
            live_start: shared.settings.live_start.max(1) as usize,
            listeners: AtomicUsize::new(0),
            numbers: AtomicU64::new(0),
        };
        let broadcast = Self { inner: Arc::new(inner) };
        let resource =
            Resource { url: url.clone(), rid: mapping.rid, head: Some(broadcast.inner.head.clone()) };
        let manifest = ManifestPlace::of(&shared.settings, url, &mapping);
        let feed = Feed::of(bytes, shared, fragmenter, resource);
        let deck = Deck::new(broadcast.clone(), shared, feed, manifest);
        let span = tracing::debug_span!("live", node = %shared.identity.peer_id());
        shared.tasks.spawn(deck.run(notes, shared.stop.clone()).instrument(span));
        Ok(broadcast)
    }

    /// Where its peers meet.
    pub fn swarm(&self) -> SwarmKey {
        self.inner.asset.swarm()
    }

    /// What the origin said of it.
    pub fn head(&self) -> &ResourceHead {
        &self.inner.head
    }

    /// Begins to listen, a few slices behind the live edge.
    pub fn listen(&self) -> Listener {
        Listener::new(self.clone())
    }

    /// Whether it has ended: the next listener opens it anew.
    pub(super) fn is_over(&self) -> bool {
        self.tape().is_over()
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.inner.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
