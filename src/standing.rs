//! A node's part in standings: it tells trackers what others signed for what it gave, dials the candidates that it is drawn
//! to witness, has them show that they hold what it holds itself, and asks which of its neighbours are superpeers, to ask those first.
//!
//! Nothing here can raise the node's own standing by its own word: receipts bear the downloaders' signatures, and nobody is
//! drawn to witness for itself.

mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::receipt::Receipt;
use pcdn_core::resource::Url;
use pcdn_core::superpeer::Status;
use pcdn_core::transport::Provider;
use pcdn_discovery::tracker::standing::http::{
    BATCH_MAX, ReceiptsBody, SuperpeersBody, TakenBody, from_hex, hex, wall_clock,
};
use pcdn_transport::udp::UdpConfig;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::call::{Call, CallError};
use crate::node::Node;

/// Sessions whose last receipt waits to be told; of more, the oldest are lost.
const WAITING_MAX: usize = 4_096;
/// What a stopping node takes to tell the rest.
const GOODBYE: Duration = Duration::from_millis(500);

/// How a node takes part.
#[derive(Clone, Debug)]
pub struct StandingConfig {
    /// Trackers: `HOST:PORT`, `udp://` and `http://` forms too.
    pub trackers: Vec<String>,
    /// How candidates are dialled.
    pub udp: UdpConfig,
    /// Receipts are told, and probes and superpeers asked for, so often. Default 20 s: a draw waits a minute for its witnesses.
    pub every: Duration,
}

impl Default for StandingConfig {
    fn default() -> Self {
        Self { trackers: Vec::new(), udp: UdpConfig::default(), every: Duration::from_secs(20) }
    }
}

/// Tells and witnesses until it is shut down.
#[derive(Debug)]
pub struct Standing {
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Desk {
    node: Node,
    udp: UdpConfig,
    every: Duration,
    /// Serves nothing: who witnesses only knocks.
    provider: Arc<dyn Provider>,
    calls: Vec<Call>,
    stop: CancellationToken,
}

type Waiting = BTreeMap<([u8; 16], PeerId), Receipt>;

/// Which of `peers` a tracker signs for as superpeers.
async fn among(call: &Call, peers: &[PeerId]) -> Result<Vec<PeerId>, CallError> {
    let named: Vec<String> = peers.iter().map(ToString::to_string).collect();
    let body: SuperpeersBody = call.get(&format!("/v1/superpeers?among={}", named.join(","))).await?;
    let now_ms = wall_clock().0 / 1_000;
    let statuses = body.superpeers.iter().take(BATCH_MAX).filter_map(|text| Status::decode(&from_hex(text)?));
    let valid = statuses.filter(|status| status.holds(&body.tracker, now_ms) && status.share > 0);
    Ok(valid.map(|status| status.peer).filter(|peer| peers.contains(peer)).collect())
}

impl Standing {
    /// Takes part for `node`.
    ///
    /// # Errors
    /// If HTTP cannot be spoken here.
    pub fn start(node: Node, config: StandingConfig) -> Result<Self, CallError> {
        let StandingConfig { trackers, udp, every } = config;
        let (calls, every) = (calls_of(&trackers)?, every.max(Duration::from_millis(1)));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let provider = Node::builder(node.identity().clone()).provider();
        let desk = Arc::new(Desk { node, udp, every, provider, calls, stop: stop.clone() });
        tasks.spawn(desk.clone().tell());
        tasks.spawn(desk.clone().witness());
        tasks.spawn(desk.follow());
        Ok(Self { tasks, stop })
    }

    /// Tells what is left, and ends.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The HTTP APIs of trackers, in whatever form they were named.
pub(crate) fn calls_of(trackers: &[String]) -> Result<Vec<Call>, CallError> {
    let place = |text: &String| {
        let host = text.split_once("://").map_or(text.as_str(), |(_, host)| host);
        format!("http://{host}").parse::<Url>().ok()
    };
    trackers.iter().filter_map(place).map(|at| Call::new(at, None)).collect()
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Desk {
    fn rounds(&self) -> tokio::time::Interval {
        let mut rounds = tokio::time::interval(self.every);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        rounds
    }

    /// Asks which neighbours are superpeers. A tracker that tells whom to meet may tell whom to ask first.
    async fn follow(self: Arc<Self>) {
        let mut rounds = self.rounds();
        while self.stop.run_until_cancelled(rounds.tick()).await.is_some() {
            let swarms = self.node.swarms().await;
            let near: BTreeSet<PeerId> =
                swarms.iter().flat_map(|swarm| &swarm.peers).map(|p| p.peer).collect();
            let near: Vec<PeerId> = near.into_iter().collect();
            let mut superpeers = Vec::new();
            for call in &self.calls {
                for some in near.chunks(BATCH_MAX) {
                    match self.stop.run_until_cancelled(among(call, some)).await {
                        None => return,
                        Some(Ok(found)) => superpeers.extend(found),
                        Some(Err(error)) => tracing::debug!(%error, "who is a superpeer is not known"),
                    }
                }
            }
            self.node.prefer(&superpeers).await;
        }
    }

    /// Collects receipts and tells the last of each session.
    async fn tell(self: Arc<Self>) {
        let mut receipts = self.node.receipts();
        let mut waiting = Waiting::new();
        let mut rounds = self.rounds();
        loop {
            tokio::select! {
                receipt = receipts.recv() => match receipt {
                    Ok(receipt) => {
                        waiting.insert((receipt.session, receipt.down), receipt);
                        if waiting.len() > WAITING_MAX {
                            waiting.pop_first();
                        }
                    }
                    // The next receipt of a session says what the lost one said.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => break,
                },
                _ = rounds.tick() => self.deliver(&mut waiting).await,
                () = self.stop.cancelled() => break,
            }
        }
        // A tracker that does not answer now is not waited for.
        let _ = tokio::time::timeout(GOODBYE, self.deliver(&mut waiting)).await;
    }

    /// Tells every tracker; what one took is not kept for the others, as swarms mostly have one.
    async fn deliver(&self, waiting: &mut Waiting) {
        while !waiting.is_empty() {
            let batch: Vec<_> = waiting.keys().take(BATCH_MAX).copied().collect();
            let receipts =
                batch.iter().filter_map(|key| waiting.get(key)).map(|r| hex(&r.encode())).collect();
            let body = ReceiptsBody { receipts };
            let mut heard = false;
            for call in &self.calls {
                match call.post::<TakenBody>("/v1/receipts", &body).await {
                    Ok(_) => heard = true,
                    Err(error) => tracing::debug!(%error, "receipts were not told"),
                }
            }
            if !heard {
                return;
            }
            waiting.retain(|key, _| !batch.contains(key));
        }
    }
}
