//! What is watched: one snapshot a second of the node, shared by the page, the metrics and all listeners.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pcdn_core::id::{PeerId, SwarmKey};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::metrics::{GatewayCounters, Ledger};
use crate::node::{Node, P2p, SwarmStatus};

/// How old a snapshot may get. A dashboard wants seconds, and asking every swarm costs each of them one message.
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

/// Snapshots as they come.
#[derive(Debug)]
pub(super) struct Snapshots {
    pub(super) node: Arc<dyn Watched>,
    pub(super) gateway: Option<Arc<GatewayCounters>>,
    pub(super) started: Instant,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    latest: watch::Receiver<Arc<Vec<SwarmStatus>>>,
    taking: JoinHandle<()>,
}

impl Snapshots {
    pub(super) fn start(node: Arc<dyn Watched>, gateway: Option<Arc<GatewayCounters>>) -> Self {
        let (to, latest) = watch::channel(Arc::default());
        let ledger = Arc::<Mutex<Ledger>>::default();
        let taking = tokio::spawn(take(node.clone(), ledger.clone(), to));
        Self { node, gateway, started: Instant::now(), ledger, latest, taking }
    }

    /// The latest one.
    pub(super) fn latest(&self) -> Arc<Vec<SwarmStatus>> {
        self.latest.borrow().clone()
    }

    /// All to come, the latest first.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Vec<SwarmStatus>>> {
        let mut following = self.latest.clone();
        following.mark_changed();
        following
    }
}

impl Drop for Snapshots {
    fn drop(&mut self) {
        self.taking.abort();
    }
}

async fn take(node: Arc<dyn Watched>, ledger: Arc<Mutex<Ledger>>, to: watch::Sender<Arc<Vec<SwarmStatus>>>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let swarms = node.swarms().await;
        ledger.lock().unwrap_or_else(PoisonError::into_inner).observe(&swarms);
        if to.send(Arc::new(swarms)).is_err() {
            return;
        }
    }
}
