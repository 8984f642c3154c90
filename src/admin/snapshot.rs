//! What is watched: a snapshot of the node each second for those who listen, and one for whoever asks.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_transport::origin::{Http, OriginTraffic};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::metrics::{GatewayCounters, Ledger};
use crate::node::{Node, P2p, SwarmStatus};

/// How often listeners are told. A dashboard wants seconds, and asking every swarm costs each of them one message.
const EVERY: Duration = Duration::from_secs(1);

/// A node as the admin server needs it; a fake in tests.
#[async_trait]
pub(super) trait Watched: Send + Sync + Debug + 'static {
    fn peer_id(&self) -> PeerId;
    fn p2p(&self) -> P2p;
    fn set_p2p(&self, p2p: P2p);
    async fn swarms(&self) -> Vec<SwarmStatus>;
    async fn forget(&self, swarm: &SwarmKey) -> bool;
    fn events(&self) -> broadcast::Receiver<String>;
}

#[async_trait]
impl Watched for Node {
    fn peer_id(&self) -> PeerId {
        Node::peer_id(self)
    }
    fn p2p(&self) -> P2p {
        Node::p2p(self)
    }
    fn set_p2p(&self, p2p: P2p) {
        Node::set_p2p(self, p2p);
    }
    async fn swarms(&self) -> Vec<SwarmStatus> {
        Node::swarms(self).await
    }
    async fn forget(&self, swarm: &SwarmKey) -> bool {
        Node::forget(self, swarm).await
    }
    fn events(&self) -> broadcast::Receiver<String> {
        Node::events(self)
    }
}

/// What counts beside the node itself.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) gateway: Option<Arc<GatewayCounters>>,
    pub(super) origin: Option<Http>,
}

impl Counted {
    pub(super) fn traffic(&self) -> OriginTraffic {
        self.origin.as_ref().map(Http::traffic).unwrap_or_default()
    }
}

/// Snapshots as they come.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) node: Arc<dyn Watched>,
    pub(super) counted: Counted,
    pub(super) started: Instant,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    camera: Arc<Camera>,
    taking: JoinHandle<()>,
}

/// Takes snapshots, one at a time: a ledger that saw them out of order would count twice.
#[derive(Debug)]
struct Camera {
    node: Arc<dyn Watched>,
    ledger: Arc<Mutex<Ledger>>,
    latest: tokio::sync::Mutex<watch::Sender<Arc<Vec<SwarmStatus>>>>,
}

impl Camera {
    async fn take(&self) -> Arc<Vec<SwarmStatus>> {
        let to = self.latest.lock().await;
        let swarms = Arc::new(self.node.swarms().await);
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).observe(&swarms);
        to.send_replace(swarms.clone());
        swarms
    }
}

impl Snapshots {
    pub(super) fn start(node: Arc<dyn Watched>, counted: Counted) -> Self {
        let ledger = Arc::<Mutex<Ledger>>::default();
        let latest = tokio::sync::Mutex::new(watch::Sender::default());
        let camera = Arc::new(Camera { node: node.clone(), ledger: ledger.clone(), latest });
        let taking = tokio::spawn(keep_taking(camera.clone()));
        Self { node, counted, started: Instant::now(), ledger, camera, taking }
    }

    /// One taken now: who asks once must not be told what was a second ago.
    pub(super) async fn now(&self) -> Arc<Vec<SwarmStatus>> {
        self.camera.take().await
    }

    /// All to come, the latest first.
    pub(super) async fn follow(&self) -> watch::Receiver<Arc<Vec<SwarmStatus>>> {
        let mut following = self.camera.latest.lock().await.subscribe();
        following.mark_changed();
        following
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

async fn keep_taking(camera: Arc<Camera>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        camera.take().await;
    }
}
