//! The push node: the planner with a clock, a socket and a way to the origin.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use pcdn_core::audit::Audited;
use pcdn_core::dice::Dice;
use pcdn_core::error::Judged as _;
use pcdn_core::origin::OriginGet;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;
use pcdn_core::unit::{Rate, Time};
use pcdn_core::warmup::{Budget, Content, JobId, Order, Pace, Planner, RefusedOrder, Sample};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::api::PushBody;
use super::regions::Regions;
use super::routes::Routes;
use super::superpeers::Superpeers;
use super::verdicts;
use crate::http::call::CallError;
use crate::http::guard::Names;
use crate::http::{Limits, Listening, bind, serve};
use crate::node::{Node, OpenError, head_of};
use crate::standing::calls_of;

/// Peers that call at once: each call takes milliseconds, and further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// Waves are looked at so often.
const TICK: Duration = Duration::from_secs(1);
/// Bytes a copy is audited by: a piece.
const SAMPLE_BYTES: u64 = 64 << 10;
/// Samples read in one round, and how long one may take.
const SAMPLES_MAX: usize = 16;
const SAMPLE_WITHIN: Duration = Duration::from_secs(10);
/// Contents whose length is asked for at once.
const HEADS_AT_ONCE: usize = 8;

/// How a push node is set up.
#[derive(Clone, Debug)]
pub struct PushNodeConfig {
    /// Where it listens. Default `127.0.0.1:7500`.
    pub listen: SocketAddr,
    /// The operator's token; `None`: orders are taken from this machine only.
    pub token: Option<String>,
    /// Further names it may be called by in `Host`.
    pub hosts: Vec<String>,
    /// Which addresses are which region.
    pub regions: Regions,
    /// How often peers call.
    pub pace: Pace,
    /// Trackers that say who is a superpeer, and are told how audits ended.
    pub trackers: Vec<String>,
}

impl Default for PushNodeConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 7500).into(),
            token: None,
            hosts: Vec::new(),
            regions: Regions::default(),
            pace: Pace::default(),
            trackers: Vec::new(),
        }
    }
}

/// A running push node; it ends when it is shut down or dropped.
#[derive(Debug)]
pub struct PushNode {
    desk: Arc<Desk>,
    listening: Listening,
    _tasks: JoinSet<()>,
}

/// Why a push node does not start, or takes no order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PushNodeError {
    /// The address cannot be listened on.
    #[error(
        "the push node cannot listen on {addr}: {source}; give another address, or port 0, with --listen"
    )]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// The system's words.
        source: std::io::Error,
    },
    /// HTTP cannot be spoken here.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The order makes no sense.
    #[error("{0}")]
    Order(#[from] RefusedOrder),
    /// A region that is not in the table.
    #[error("no region is called {0:?}: start the push node with --region {0}=ADDRESS/BITS")]
    Region(String),
    /// A content cannot be pushed.
    #[error("{url}: {source}")]
    Content {
        /// Which.
        url: Url,
        /// Why.
        source: Box<OpenError>,
    },
}

/// What all requests share.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) node: Node,
    pub(super) regions: Regions,
    pub(super) pace: Pace,
    pub(super) token: Option<String>,
    pub(super) names: Names,
    pub(super) superpeers: Superpeers,
    planner: Mutex<Planner>,
    started: Instant,
}

impl PushNode {
    /// Starts one that reads the origin, and names contents, as `node` does. It joins no swarm.
    ///
    /// # Errors
    /// If the address cannot be listened on.
    pub async fn start(node: Node, config: PushNodeConfig, dice: Dice) -> Result<Self, PushNodeError> {
        let PushNodeConfig { listen, token, hosts, regions, pace, trackers } = config;
        let trackers = calls_of(&trackers)?;
        let failed = |source| PushNodeError::Listen { addr: listen, source };
        let listeners = bind(listen).await.map_err(failed)?;
        let planner = Mutex::new(Planner::new(pace, dice));
        let (names, superpeers) = (Names { extra: hosts }, Superpeers::default());
        let desk = Arc::new(Desk {
            node,
            regions,
            pace,
            token,
            names,
            superpeers,
            planner,
            started: Instant::now(),
        });
        let routes = Arc::new(Routes { desk: desk.clone() });
        let limits = Limits { connections_max: CONNECTIONS_MAX, ..Limits::default() };
        let listening = serve(listeners, limits, move |request, local| {
            let routes = routes.clone();
            async move { routes.answer(request, local).await }
        });
        let mut tasks = JoinSet::new();
        let (audited, told) = mpsc::channel(verdicts::WAITING_MAX);
        tasks.spawn(tick(desk.clone(), audited));
        tasks.spawn(verdicts::tell(desk.node.clone(), trackers.clone(), told));
        if !trackers.is_empty() {
            let desk = desk.clone();
            tasks.spawn(async move { desk.superpeers.follow(trackers).await });
        }
        tasks.spawn(read_samples(desk.clone()));
        Ok(Self { desk, listening, _tasks: tasks })
    }

    /// Where it listens.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        self.listening.local_addrs()
    }

    /// Begins a job; the same as `POST /v1/pushes`.
    ///
    /// # Errors
    /// If the order makes no sense, or the origin does not say how long a content is.
    pub async fn push(&self, body: &PushBody) -> Result<JobId, PushNodeError> {
        self.desk.push(body).await
    }

    /// Ends within a second. Peers hold what they hold until their leases end.
    pub async fn shutdown(self) {
        self.listening.shutdown().await;
    }
}

impl Desk {
    /// The time since the start, which is all the planner knows.
    pub(super) fn now(&self) -> Time {
        Time(self.started.elapsed().as_micros() as u64)
    }

    /// A panic of another request leaves the planner between two of its own steps, each of which is whole.
    pub(super) fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn push(&self, body: &PushBody) -> Result<JobId, PushNodeError> {
        let named =
            |name: &String| self.regions.called(name).ok_or_else(|| PushNodeError::Region(name.clone()));
        let regions = body.regions.iter().map(named).collect::<Result<_, _>>()?;
        let mut order = Order {
            contents: Vec::new(),
            regions,
            target: body.target.into(),
            deadline: self.now() + Duration::from_secs(body.by_s),
            hold: Duration::from_secs(body.hold_s),
            budget: Budget { cdn_bytes: 0, peer_rate: body.budget.peer_rate.unwrap_or(Rate::UNLIMITED) },
            forecast: body.forecast,
        };
        order.contents = self.contents(&body.urls).await?;
        let len: u64 = order.contents.iter().map(|content| content.len).sum();
        order.budget.cdn_bytes = body.budget.cdn_bytes.map_or(len.saturating_mul(5) / 2, |bytes| bytes.0);
        let now = self.now();
        Ok(self.planner().push(now, order)?)
    }

    /// How long each is, and that peers can hold it.
    async fn contents(&self, urls: &[Url]) -> Result<Vec<Content>, PushNodeError> {
        let origin = self.node.origin();
        let look = |url: Url| {
            let origin = origin.clone();
            async move {
                let failed =
                    |source: OpenError| PushNodeError::Content { url: url.clone(), source: source.into() };
                let head = head_of(origin.as_ref(), &url).await.map_err(|e| failed(e.into()))?;
                self.node.swarm_of(&url, &head).await.map_err(failed)?;
                let len = head.len.unwrap_or_default();
                Ok(Content { url, len })
            }
        };
        let looks = futures_util::stream::iter(urls.iter().cloned().map(look)).buffered(HEADS_AT_ONCE);
        let contents: Vec<Result<Content, PushNodeError>> = looks.collect().await;
        contents.into_iter().collect()
    }

    /// Reads a random part of a content from the origin.
    async fn read_sample(&self, content: &Content, dice: &mut Dice) -> Result<Sample, OpenError> {
        let len = SAMPLE_BYTES.min(content.len);
        let start = dice.below(content.len - len + 1);
        let whole = || OpenError::Url("it is empty".to_owned());
        let range = ByteRange::new(start, start + len).ok_or_else(whole)?;
        let want = OriginGet { range: Some(range), ..OriginGet::whole(content.url.clone()) };
        let mut body = self.node.origin().get(&want).await?;
        let mut bytes = Vec::with_capacity(len as usize);
        while let Some(chunk) = body.bytes.next().await {
            bytes.extend_from_slice(&chunk?);
            if bytes.len() >= len as usize {
                break;
            }
        }
        bytes.truncate(len as usize);
        let swarm = self.node.swarm_of(&content.url, &body.head).await?;
        Ok(Sample { swarm, range, bytes: bytes.into() })
    }
}

async fn tick(desk: Arc<Desk>, to: mpsc::Sender<Audited>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = desk.now();
        let mut planner = desk.planner();
        planner.tick(now);
        for audited in planner.audited() {
            let (peer, passed) = (audited.peer(), audited.passed());
            tracing::info!(peer = %peer.short(), swarm = %audited.swarm().short(), passed, "a copy was audited");
            // Trackers that are silent for long miss some.
            let _ = to.try_send(audited);
        }
    }
}

/// Keeps the planner in samples. An origin that does not give one is asked again in the next round.
async fn read_samples(desk: Arc<Desk>) {
    let Ok(mut dice) = crate::dice() else { return };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let wanted = desk.planner().wants_samples(desk.now());
        for (id, content) in wanted.into_iter().take(SAMPLES_MAX) {
            match tokio::time::timeout(SAMPLE_WITHIN, desk.read_sample(&content, &mut dice)).await {
                Ok(Ok(sample)) => desk.planner().sample(desk.now(), id, &content, sample),
                Ok(Err(error)) => {
                    tracing::warn!(url = %content.url, %error, transient = error.transient(), "no sample");
                }
                Err(_) => tracing::warn!(url = %content.url, "the origin gives no sample in time"),
            }
        }
    }
}
