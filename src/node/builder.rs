//! Composing a node. Parts arrive ready made; `build` only assembles and checks.

use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use pcdn_core::clock::Clock;
use pcdn_core::dice::Dice;
use pcdn_core::discovery::Discovery;
use pcdn_core::fragment::Fragmenter;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::mapping::Mapper;
use pcdn_core::origin::Origin;
use pcdn_core::peer::Outlook;
use pcdn_core::resource::Url;
use pcdn_core::schedule::{Hybrid, Policy, Scheduler};
use pcdn_core::store::Store;
use pcdn_core::swarm::Limits;
use pcdn_core::transport::{Provider, Transport};
use pcdn_core::unit::{Rate, Time};
use pcdn_core::verify::Integrity;
use pcdn_transport::udp::Meetings;
use tokio::sync::{Mutex, broadcast};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::appearance::Outlooks;
use super::links::Links;
use super::mapped::NamedTrackers;
use super::serve::Desk;
use super::{Node, P2p, Shared, Throttle, keeper};

/// Makes a scheduler for each swarm.
#[derive(Clone)]
pub struct SchedulerFactory(Arc<dyn Fn() -> Box<dyn Scheduler> + Send + Sync>);

impl SchedulerFactory {
    pub(crate) fn make(&self) -> Box<dyn Scheduler> {
        (self.0)()
    }
}

impl fmt::Debug for SchedulerFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SchedulerFactory")
    }
}

/// Where the publisher's manifest is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ManifestFrom {
    /// Nowhere, unless the mapper names a place.
    #[default]
    Off,
    /// Beside the content on its origin: `URL.pcdn`.
    Sidecar,
    /// There. It must be signed by the trusted key.
    Url(Url),
    /// In this file.
    File(std::path::PathBuf),
}

/// Choices that are not parts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How much the origin is used beyond need. Default balanced.
    pub policy: Policy,
    /// The weakest proof of bytes from peers. Default witnessed.
    pub integrity: Integrity,
    /// How many witnesses. Default 2.
    pub witnesses: u8,
    /// Where manifests are looked for. Default off.
    pub manifest: ManifestFrom,
    /// A pinned signer.
    pub trust: Option<PeerId>,
    /// Whether peers are used. Default on.
    pub p2p: P2p,
    /// Bytes a second from peers and origins. Default unlimited. (The upload limit is the transport's.)
    pub download_limit: Rate,
    /// Likewise of each swarm. Default unlimited.
    pub download_limit_swarm: Rate,
    /// Bytes a second from each peer, over all swarms. Default unlimited.
    pub download_limit_peer: Rate,
    /// Segments behind the live edge where players of live streams start: 1 is the newest. Default 3.
    pub live_start: u32,
    /// Bounds of each swarm.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            integrity: Integrity::Witnessed,
            witnesses: 2,
            manifest: ManifestFrom::Off,
            trust: None,
            p2p: P2p::On,
            download_limit: Rate::UNLIMITED,
            download_limit_swarm: Rate::UNLIMITED,
            download_limit_peer: Rate::UNLIMITED,
            live_start: 3,
            limits: Limits::default(),
        }
    }
}

/// How far ahead of a player a metered node reads: enough for the pause of a bad connection.
const METERED_AHEAD: Duration = Duration::from_secs(20);

impl Settings {
    /// For a connection whose bytes cost money: takes from peers and gives nothing, and reads no further ahead than playing needs.
    pub fn metered(self) -> Self {
        let p2p = if self.p2p == P2p::On { P2p::DownloadOnly } else { self.p2p };
        let limits = Limits { read_ahead: METERED_AHEAD.min(self.limits.read_ahead), ..self.limits };
        Self { p2p, limits, ..self }
    }
}

/// A node in the making. Repeated calls of one method add.
#[derive(Debug)]
pub struct Builder {
    identity: Identity,
    desk: Arc<Desk>,
    settings: Settings,
    mappers: Vec<Arc<dyn Mapper>>,
    discoveries: Vec<Arc<dyn Discovery>>,
    named_trackers: Option<NamedTrackers>,
    transports: Vec<Arc<dyn Transport>>,
    outlooks: Vec<Arc<Outlook>>,
    meetings: Vec<Meetings>,
    fragmenters: Vec<Arc<dyn Fragmenter>>,
    scheduler: SchedulerFactory,
    origin: Option<Arc<dyn Origin>>,
    elsewhere: Option<Arc<dyn Origin>>,
    store: Option<Arc<dyn Store>>,
    dice: Option<Dice>,
}

/// What a node cannot be without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A part is missing.
    #[error("a node needs {part}: call {call} before build")]
    Missing {
        /// Which part.
        part: &'static str,
        /// The call that supplies it.
        call: &'static str,
    },
    /// No thread for the store.
    #[error("the store's thread could not be started: {0}")]
    Thread(#[from] std::io::Error),
    /// The system's random generator failed.
    #[error("the system gives no random bytes: {0}")]
    Random(std::io::Error),
}

impl Builder {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            desk: Arc::default(),
            settings: Settings::default(),
            mappers: Vec::new(),
            discoveries: Vec::new(),
            named_trackers: None,
            transports: Vec::new(),
            outlooks: Vec::new(),
            meetings: Vec::new(),
            fragmenters: Vec::new(),
            scheduler: SchedulerFactory(Arc::new(|| Box::new(Hybrid::default()))),
            origin: None,
            elsewhere: None,
            store: None,
            dice: None,
        }
    }

    /// The serving side of this node, to build transports with.
    pub fn provider(&self) -> Arc<dyn Provider> {
        self.desk.clone()
    }

    /// Adds a transport. Without any the node has no peers.
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transports.push(Arc::new(transport));
        self
    }

    /// Adds what a transport finds out of how this node appears to others, such as [`Udp::outlook`](crate::transport::udp::Udp::outlook).
    pub fn outlook(mut self, outlook: Arc<Outlook>) -> Self {
        self.outlooks.push(outlook);
        self
    }

    /// Lets neighbours call this node together with peers behind NATs, by the socket of a transport: see
    /// [`Udp::meetings`](crate::transport::udp::Udp::meetings). Default: only trackers do.
    pub fn meetings(mut self, meetings: Meetings) -> Self {
        self.meetings.push(meetings);
        self
    }

    /// Adds a way to find peers.
    pub fn discovery(mut self, discovery: impl Discovery) -> Self {
        self.discoveries.push(Arc::new(discovery));
        self
    }

    /// Adds a way to find peers that is shared with others.
    pub fn shared_discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discoveries.push(discovery);
        self
    }

    /// Uses the trackers that mappers name for a content, too, each made by `make`; one it makes nothing of is left out. Called once
    /// for a name; at most four are used for a content, and 64 in all. Default: none are used.
    pub fn named_trackers(
        mut self,
        make: impl Fn(&str) -> Option<Arc<dyn Discovery>> + Send + Sync + 'static,
    ) -> Self {
        self.named_trackers = Some(NamedTrackers::new(make));
        self
    }

    /// Adds a mapper; the first that answers decides.
    pub fn mapper(mut self, mapper: impl Mapper) -> Self {
        self.mappers.push(Arc::new(mapper));
        self
    }

    /// Adds a fragmenter; the first that is sure cuts, else the first that may.
    pub fn fragmenter(mut self, fragmenter: impl Fragmenter) -> Self {
        self.fragmenters.push(Arc::new(fragmenter));
        self
    }

    /// Adds several fragmenters, such as `media::standard()`.
    pub fn fragmenters(mut self, all: impl IntoIterator<Item = Arc<dyn Fragmenter>>) -> Self {
        self.fragmenters.extend(all);
        self
    }

    /// Sets what makes a scheduler for each swarm. Default: [`Hybrid`].
    pub fn scheduler<S: Scheduler + 'static>(mut self, make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        self.scheduler = SchedulerFactory(Arc::new(move || Box::new(make())));
        self
    }

    /// Sets where content comes from.
    pub fn origin(mut self, origin: impl Origin) -> Self {
        self.origin = Some(Arc::new(origin));
        self
    }

    /// Fetches what a mapper names on other hosts than the content's (manifests, mirrors); it must not send the origin's credentials. Default
    /// the origin.
    pub fn elsewhere(mut self, origin: impl Origin) -> Self {
        self.elsewhere = Some(Arc::new(origin));
        self
    }

    /// Sets where pieces are kept.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// Sets a store that is shared with others.
    pub fn shared_store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the choices that are not parts.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Fixes the randomness of decisions, for replays. Default: from the system.
    pub fn dice(mut self, dice: Dice) -> Self {
        self.dice = Some(dice);
        self
    }

    /// Assembles the node. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Names the part that is missing and the call that supplies it.
    pub fn build(self) -> Result<Node, BuildError> {
        let missing = |part, call| BuildError::Missing { part, call };
        let origin = self.origin.ok_or(missing("an origin", ".origin(…)"))?;
        let store = self.store.ok_or(missing("a store", ".store(…)"))?;
        if self.mappers.is_empty() {
            return Err(missing("a mapper", ".mapper(…)"));
        }
        if self.fragmenters.is_empty() {
            return Err(missing("a fragmenter", ".fragmenter(…)"));
        }
        let dice = match self.dice {
            Some(dice) => dice,
            None => crate::dice().map_err(BuildError::Random)?,
        };
        let tasks = TaskTracker::new();
        let links = Arc::new(Links::new(
            self.identity.peer_id(),
            self.transports,
            self.meetings,
            self.settings.download_limit_peer,
            tasks.clone(),
        ));
        self.desk.open_for(&links);
        links.accept_all();
        let shared = Shared {
            keeper: keeper::start(store.clone())?,
            throttle: Arc::new(Throttle::new(self.settings.download_limit)),
            checks: Default::default(),
            p2p: RwLock::new(self.settings.p2p),
            identity: self.identity,
            settings: self.settings,
            clock: Arc::new(SystemClock::default()),
            mappers: self.mappers,
            discoveries: self.discoveries,
            outlook: Outlooks(self.outlooks),
            named_trackers: self.named_trackers,
            fragmenters: self.fragmenters,
            scheduler: self.scheduler,
            elsewhere: self.elsewhere.unwrap_or_else(|| origin.clone()),
            origin,
            store,
            links,
            dice: std::sync::Mutex::new(dice),
            assets: Mutex::default(),
            streams: super::stream::Streams::new(),
            broadcasts: Mutex::default(),
            events: broadcast::channel(256).0,
            receipts: broadcast::channel(RECEIPTS).0,
            epoch_s: epoch_s(),
            readers: std::sync::atomic::AtomicU64::new(1),
            tasks,
            stop: CancellationToken::new(),
        };
        Ok(Node { shared: Arc::new(shared) })
    }
}

/// Receipts waiting for who collects them: a second of a busy node's.
const RECEIPTS: usize = 1_024;

/// Seconds since 1970 now; 0 with a clock before that.
fn epoch_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// The machine's monotonic clock, counted from the node's start. Tokio's, so that a test with paused time turns it.
#[derive(Debug)]
pub(crate) struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        Time(self.0.elapsed().as_micros() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metered_node_gives_nothing_and_reads_little_ahead() {
        let metered = Settings::default().metered();
        assert_eq!(metered.p2p, P2p::DownloadOnly);
        assert_eq!(metered.limits.read_ahead, METERED_AHEAD);
        assert!(METERED_AHEAD < Limits::default().read_ahead);
        let off = Settings { p2p: P2p::Off, ..Settings::default() };
        assert_eq!(off.metered().p2p, P2p::Off, "what was off stays off");
    }
}
