//! A node: what a developer composes and an operator runs.
//!
//! ```no_run
//! use pcdn::{media, mapping, discovery, transport, store, Node};
//! use pcdn::core::unit::ByteSize;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let me = pcdn::identity::load_or_create("node.key")?;
//! let builder = Node::builder(me.clone());
//! let udp = transport::udp::Udp::bind("0.0.0.0:0".parse()?, &me, builder.provider(), Default::default()).await?;
//! let node = builder
//!     .transport(udp)
//!     .mapper(mapping::UrlHash::default())
//!     .discovery(discovery::Tracker::at("tracker.example:7070"))
//!     .fragmenter(media::File::default())
//!     .store(store::Memory::of(ByteSize::mib(256)))
//!     .origin(transport::origin::Http::new(Default::default(), pcdn::dice()?)?)
//!     .build()?;
//! let film = node.open(&"http://cdn.example/film.mp4".parse()?).await?;
//! let mut reader = film.read(0..film.len());
//! tokio::io::copy(&mut reader, &mut tokio::io::sink()).await?;
//! # Ok(()) }
//! ```

mod appearance;
mod asset;

mod builder;
mod driver;
mod error;
mod freshness;
mod keeper;
mod links;
pub(crate) mod live;
mod manifest;
mod mapped;
mod open;
mod sample;
mod serve;
mod shelf;
mod status;
pub(crate) mod stream;
mod throttle;
mod turns;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use pcdn_core::clock::Clock;
use pcdn_core::dice::Dice;
use pcdn_core::discovery::Discovery;
use pcdn_core::fragment::Fragmenter;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::mapping::Mapper;
use pcdn_core::origin::Origin;
use pcdn_core::peer::PeerRecord;
use pcdn_core::range::ByteRange;
use pcdn_core::receipt::Receipt;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::schedule::Policy;
use pcdn_core::store::Store;
use tokio::sync::{Mutex, broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use asset::{Asset, Reader};
pub(crate) use builder::SystemClock;
pub use builder::{BuildError, Builder, ManifestFrom, SchedulerFactory, Settings};
pub use error::OpenError;
pub use live::{Broadcast, Listener};
pub(crate) use open::head_of;
pub use status::{P2p, PeerStatus, SwarmReport, SwarmStatus};
pub(crate) use stream::Whole;
pub use stream::{SegmentItem, Stream};

use driver::ToSwarm;
use links::Links;
pub(crate) use throttle::{Taken, Throttle};

/// A running node. Cheap to clone; all clones are one node.
#[derive(Clone, Debug)]
pub struct Node {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    identity: Identity,
    settings: Settings,
    clock: Arc<dyn Clock>,
    mappers: Vec<Arc<dyn Mapper>>,
    discoveries: Vec<Arc<dyn Discovery>>,
    outlook: appearance::Outlooks,
    named_trackers: Option<mapped::NamedTrackers>,
    fragmenters: Vec<Arc<dyn Fragmenter>>,
    scheduler: SchedulerFactory,
    origin: Arc<dyn Origin>,
    /// For URLs that a mapper names: without the credentials of the content's origin.
    elsewhere: Arc<dyn Origin>,
    store: Arc<dyn Store>,
    keeper: mpsc::Sender<keeper::Job>,
    links: Arc<Links>,
    throttle: Arc<Throttle>,
    checks: freshness::Checks,
    dice: std::sync::Mutex<Dice>,
    /// URLs that are being opened.
    opening: turns::Turns<Url>,
    assets: Mutex<Vec<Asset>>,
    streams: stream::Streams,
    broadcasts: Mutex<Vec<(Url, Broadcast)>>,
    p2p: RwLock<P2p>,
    events: broadcast::Sender<String>,
    receipts: broadcast::Sender<Receipt>,
    /// Seconds since 1970 when the node's clock began.
    epoch_s: u64,
    readers: AtomicU64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    /// Begins a node that is `me`.
    pub fn builder(me: Identity) -> Builder {
        Builder::new(me)
    }

    /// Who this node is.
    pub fn peer_id(&self) -> PeerId {
        self.shared.identity.peer_id()
    }

    /// Where it listens, and who it is, as others are told.
    pub fn record(&self) -> PeerRecord {
        self.shared.record()
    }

    /// Opens a resource: asks the mapper and the origin, cuts it, joins its swarm. A resource open already is shared.
    ///
    /// # Errors
    /// What the origin answers, or that it cannot be cut ([`OpenError::Fragment`]): then pass it through.
    pub async fn open(&self, url: &Url) -> Result<Asset, OpenError> {
        open::open(&self.shared, url, open::For::Use).await
    }

    /// The same for a player that begins with the first byte: the origin is asked for the first 64 KiB at once, instead of for
    /// its head only, and a manifest that is late is not waited for. It saves a round trip to the origin. Under
    /// [`Policy::Cost`] it is as [`open`](Self::open): peers may have those bytes a moment later.
    ///
    /// # Errors
    /// As of [`open`](Self::open).
    pub async fn open_to_play(&self, url: &Url) -> Result<Asset, OpenError> {
        open::open(&self.shared, url, self.to_play()).await
    }

    /// Opens the playlist at `url`, whose kind `first_bytes` and the media type tell. A playlist open already is shared.
    ///
    /// # Errors
    /// If it is no kind that this node cuts.
    pub async fn stream(
        &self,
        url: &Url,
        content_type: Option<&str>,
        first_bytes: &[u8],
    ) -> Result<Stream, OpenError> {
        open::stream(&self.shared, url, content_type, first_bytes).await
    }

    /// Opens the live stream at `url`, which has no end and no parts. One that is open already is shared.
    ///
    /// # Errors
    /// What the origin answers, or that it is no stream that this node cuts.
    pub async fn broadcast(&self, url: &Url) -> Result<Broadcast, OpenError> {
        open::broadcast(&self.shared, url).await
    }

    /// The segment that a request for `url`, and `range` of it, means in one of the playlists open here.
    ///
    /// # Errors
    /// Why it cannot be had, if it is such a segment.
    pub async fn segment(
        &self,
        url: &Url,
        range: Option<ByteRange>,
    ) -> Option<Result<SegmentItem, OpenError>> {
        self.segment_for(url, range, open::For::Use).await
    }

    /// The same for a player that begins with the first byte: see [`open_to_play`](Self::open_to_play). It makes a difference for the
    /// first segment after a start or a seek; the length of those that follow is known by then.
    pub async fn segment_to_play(
        &self,
        url: &Url,
        range: Option<ByteRange>,
    ) -> Option<Result<SegmentItem, OpenError>> {
        self.segment_for(url, range, self.to_play()).await
    }

    async fn segment_for(
        &self,
        url: &Url,
        range: Option<ByteRange>,
        purpose: open::For,
    ) -> Option<Result<SegmentItem, OpenError>> {
        let streams = self.shared.streams.iter().map(|entry| entry.value().clone());
        let found = streams.collect::<Vec<_>>().into_iter().find_map(|s| Some((s.find(url, range)?, s)));
        let (place, stream) = found?;
        Some(stream.segment(place, url, purpose).await)
    }

    /// What a player opens a resource for, by this node's policy.
    fn to_play(&self) -> open::For {
        match self.shared.settings.policy {
            Policy::Cost => open::For::Use,
            Policy::Balanced | Policy::Speed => open::For::Play,
        }
    }

    /// Segments behind the live edge where players of live playlists start.
    pub fn live_start(&self) -> u32 {
        self.shared.settings.live_start
    }

    /// Every swarm this node is in.
    pub async fn swarms(&self) -> Vec<SwarmStatus> {
        let assets = self.shared.assets.lock().await.clone();
        let mut all = Vec::new();
        for asset in assets {
            all.extend(asset.status().await);
        }
        all
    }

    /// Leaves a swarm and drops what is stored of it; false if it is not in it.
    pub async fn forget(&self, swarm: &SwarmKey) -> bool {
        let mut assets = self.shared.assets.lock().await;
        let Some(at) = assets.iter().position(|asset| asset.swarm() == *swarm) else { return false };
        let asset = assets.remove(at);
        drop(assets);
        asset.close(&self.shared.links).await;
        let (store, shelf) = (self.shared.store.clone(), asset.shelf());
        let forgotten = tokio::task::spawn_blocking(move || store.forget(&shelf, None)).await;
        matches!(forgotten, Ok(Ok(())))
    }

    /// Whether peers are used.
    pub fn p2p(&self) -> P2p {
        *self.shared.p2p.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Turns peers on or off at once.
    pub fn set_p2p(&self, p2p: P2p) {
        *self.shared.p2p.write().unwrap_or_else(std::sync::PoisonError::into_inner) = p2p;
        let (take, give) = p2p.take_give();
        for swarm in self.shared.links.swarms.iter().map(|entry| entry.value().clone()) {
            self.shared.tasks.spawn(async move { swarm.send(ToSwarm::P2p { take, give }).await });
        }
    }

    /// These are superpeers, and no others: they are asked before their equals, and wait less. Who says so should know it from
    /// others than them; swarms joined later hear of it with the next call.
    pub async fn prefer(&self, superpeers: &[PeerId]) {
        let swarms: Vec<_> = self.shared.links.swarms.iter().map(|entry| entry.value().clone()).collect();
        for swarm in swarms {
            // A swarm that ends meanwhile prefers nobody.
            let _ = swarm.send(ToSwarm::Prefer(superpeers.to_vec())).await;
        }
    }

    /// One line of JSON for everything worth telling (joined, neighbour, banned, complete…); lagging listeners lose lines.
    pub fn events(&self) -> broadcast::Receiver<String> {
        self.shared.events.subscribe()
    }

    /// What neighbours sign for what this node gave them, of every swarm. Sums of a session replace those before, so a lagging
    /// listener loses nothing that the next does not say.
    pub fn receipts(&self) -> broadcast::Receiver<Receipt> {
        self.shared.receipts.subscribe()
    }

    /// Says goodbye to trackers and peers, flushes the store and ends every task, within `grace`.
    pub async fn shutdown(&self, grace: Duration) {
        let shared = &self.shared;
        shared.stop.cancel();
        let assets = std::mem::take(&mut *shared.assets.lock().await);
        let goodbyes = assets.iter().map(|asset| asset.close(&shared.links));
        let all = async {
            futures_util::future::join_all(goodbyes).await;
            shared.links.close(grace / 2).await;
            let (done, flushed) = oneshot::channel();
            if shared.keeper.send(keeper::Job::Flush(done)).await.is_ok() {
                // The thread answers, or is gone.
                let _ = flushed.await;
            }
            shared.tasks.close();
            shared.tasks.wait().await;
        };
        if tokio::time::timeout(grace, all).await.is_err() {
            tracing::debug!("the node did not end in time; the rest ends with the process");
        }
    }

    /// Signs for this node; whoever checks it with [`peer_id`](Self::peer_id) knows that this node said so. What is signed must
    /// begin with a text that is signed for nothing else.
    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.shared.identity.sign(message)
    }

    /// The key of this node, for what is signed with it elsewhere.
    pub(crate) fn identity(&self) -> &Identity {
        &self.shared.identity
    }

    /// Where the peers of `url` meet, by what the origin says of it; nothing is joined.
    ///
    /// # Errors
    /// If it cannot be cut by its head alone, as a playlist or a live stream cannot.
    pub(crate) async fn swarm_of(&self, url: &Url, head: &ResourceHead) -> Result<SwarmKey, OpenError> {
        open::swarm_of(&self.shared, url, head).await
    }

    /// Other places of the content at `url`, by the mappers, best first. They get none of its credentials.
    pub async fn mirrors_of(&self, url: &Url) -> Vec<Url> {
        open::map(&self.shared, url).await.mirrors
    }

    /// The origin it fetches from, for what is passed through without peers.
    pub fn origin(&self) -> Arc<dyn Origin> {
        self.shared.origin.clone()
    }
}

impl Shared {
    pub(crate) fn record(&self) -> PeerRecord {
        let addrs = self.links.transports.iter().flat_map(|transport| transport.local());
        PeerRecord {
            id: self.identity.peer_id(),
            addrs: addrs.take(PeerRecord::ADDRS_MAX).collect(),
            seed: false,
        }
    }

    pub(crate) fn dice(&self, label: &str) -> Dice {
        self.dice.lock().unwrap_or_else(std::sync::PoisonError::into_inner).fork(label)
    }

    pub(crate) fn next_reader(&self) -> u64 {
        self.readers.fetch_add(1, Ordering::Relaxed)
    }
}
