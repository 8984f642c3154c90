//! The push node: the planner with a clock, a socket and a way to the origin.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pcdn_core::dice::Dice;
use pcdn_core::resource::Url;
use pcdn_core::unit::{Rate, Time};
use pcdn_core::warmup::{Budget, Content, JobId, Order, Pace, Planner, RefusedOrder};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::api::{PushBody, StatusBody};
use super::presentation::{self, Part};
use super::regions::Regions;
use super::rounds;
use super::routes::Routes;
use super::superpeers::Superpeers;
use super::verdicts;
use crate::http::call::CallError;
use crate::http::guard::Names;
use crate::http::{Limits, Listening, bind, serve};
use crate::node::{Node, OpenError};
use crate::standing::calls_of;

/// Peers that call at once: each call takes milliseconds, and further ones wait in the system's queue.
const CONNECTIONS_MAX: usize = 1_024;

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
    #[error("the push node cannot listen on {addr}: {source}; give another address, or port 0, with --api")]
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
    /// A live stream.
    #[error("{0} goes on: only what has ended can be held before its release")]
    Live(Url),
    /// A rendition that a playlist does not name.
    #[error("{url} has no rendition {asked}: it has {count}, numbered from 0")]
    Rendition {
        /// Which playlist.
        url: Url,
        /// What was asked for.
        asked: u32,
        /// How many it has.
        count: usize,
    },
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
    /// What jobs are about, as long as the planner knows them.
    ordered: Mutex<BTreeMap<JobId, Arc<Ordered>>>,
    /// Whoever waits for a job looks again.
    changed: watch::Sender<()>,
    started: Instant,
}

/// What a job is about.
#[derive(Debug)]
pub(super) struct Ordered {
    /// As ordered.
    pub(super) urls: Vec<Url>,
    parts: Vec<Part>,
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
            ordered: Mutex::default(),
            changed: watch::Sender::new(()),
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
        tasks.spawn(rounds::tick(desk.clone(), audited));
        tasks.spawn(verdicts::tell(desk.node.clone(), trackers.clone(), told));
        if !trackers.is_empty() {
            let desk = desk.clone();
            tasks.spawn(async move { desk.superpeers.follow(trackers).await });
        }
        tasks.spawn(rounds::read_samples(desk.clone()));
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

    /// How a job goes; the same as `GET /v1/pushes/{id}`.
    pub fn status(&self, id: JobId) -> Option<StatusBody> {
        self.desk.status(id)
    }

    /// Tells that some job may have changed: a peer took work or told how it goes, or a second is over. Nothing is missed between
    /// two looks at [`status`](Self::status).
    pub fn changes(&self) -> watch::Receiver<()> {
        self.desk.changed.subscribe()
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

    /// The planner was told something.
    pub(super) fn moved(&self) {
        self.changed.send_replace(());
    }

    /// A panic of another request leaves the planner between two of its own steps, each of which is whole.
    pub(super) fn planner(&self) -> MutexGuard<'_, Planner> {
        self.planner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries are put in and taken out whole.
    pub(super) fn ordered(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Ordered>>> {
        self.ordered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a content of a job is.
    pub(super) fn part(&self, id: JobId, content: &Content) -> Option<Part> {
        let ordered = self.ordered().get(&id).cloned()?;
        ordered.parts.iter().find(|part| part.content == *content).cloned()
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
        let found = presentation::find(&self.node, &body.urls, &body.renditions).await?;
        order.contents = found.iter().map(|part| part.content.clone()).collect();
        let len: u64 = order.contents.iter().map(|content| content.len).sum();
        order.budget.cdn_bytes = body.budget.cdn_bytes.map_or(len.saturating_mul(5) / 2, |bytes| bytes.0);
        let now = self.now();
        let id = self.planner().push(now, order)?;
        self.ordered().insert(id, Arc::new(Ordered { urls: body.urls.clone(), parts: found }));
        self.moved();
        Ok(id)
    }
}
