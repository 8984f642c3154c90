//! A peer that holds contents before their release: it asks push nodes for work, and keeps its owner's limits.
//!
//! *Promises:* no more room than its owner lends; the upload limit of its links; while somebody watches here, a tenth of the
//! rate; a viewer's own bytes always come first. What it was given leaves when the lease ends or is cancelled, unless its owner
//! wants it too.

mod held;
mod lease;
mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::resource::Url;
use pcdn_core::unit::{ByteSize, Rate};
use pcdn_core::warmup::{Content, Task};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::api::{LeasesBody, OfferBody, SIGNATURE_HEADER, TaskBody, signed_bytes, unix_now};
use crate::http::call::{Call, CallError, to_json};
use crate::node::Node;
use usage::Usage;

/// Leases held at once, whatever push nodes say.
const LEASES_MAX: usize = 16;
/// A push node that does not answer is asked again after this, doubling to the longest.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_MAX: Duration = Duration::from_secs(300);
/// A push node may not ask to be called more often, or less often, than this.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// What a peer lends.
#[derive(Clone, Debug)]
pub struct HolderConfig {
    /// Push nodes that are asked.
    pub at: Vec<Url>,
    /// Room lent, of all leases together. Default 2 GiB.
    pub disk: ByteSize,
    /// Bytes a second taken in for all leases together, while nobody watches here. Default 2 MB/s: a quarter of a 64 Mbit/s line.
    pub rate: Rate,
    /// What the node's links may give, to tell how much of it is in use.
    pub upload: Rate,
    /// Nobody watches here once no player has read for so long. Default 60 s: longer than a player's own buffer.
    pub idle_after: Duration,
}

impl Default for HolderConfig {
    fn default() -> Self {
        Self {
            at: Vec::new(),
            disk: ByteSize::gib(2),
            rate: Rate(2_000_000),
            upload: Rate::UNLIMITED,
            idle_after: Duration::from_secs(60),
        }
    }
}

/// A peer that holds, until it is shut down.
#[derive(Debug)]
pub struct Holder {
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    node: Node,
    config: HolderConfig,
    usage: Usage,
    leased: watch::Sender<BTreeSet<Content>>,
    /// Whether nobody watches here.
    idle: watch::Sender<bool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Holder {
    /// Lets `node` hold for the push nodes of `config`.
    ///
    /// # Errors
    /// If HTTPS cannot be spoken here.
    pub fn start(node: Node, config: HolderConfig) -> Result<Self, CallError> {
        let calls = config.at.iter().map(|at| Call::new(at.clone(), None)).collect::<Result<Vec<_>, _>>()?;
        let desk = Arc::new(Desk {
            usage: Usage::new(config.upload, config.idle_after),
            node,
            config,
            leased: watch::Sender::default(),
            idle: watch::Sender::new(true),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        desk.spawn(desk.clone().watch());
        for call in calls {
            desk.spawn(desk.clone().ask(call));
        }
        Ok(Self { desk })
    }

    /// What is held now.
    pub fn held(&self) -> Vec<Content> {
        self.desk.leased.borrow().iter().cloned().collect()
    }

    /// What is held, as it changes.
    pub fn holds(&self) -> watch::Receiver<BTreeSet<Content>> {
        self.desk.leased.subscribe()
    }

    /// Whether nobody watches here, by what was seen last: it is looked at every second. Contents are fetched at a tenth of the rate
    /// while somebody does.
    pub fn idle(&self) -> watch::Receiver<bool> {
        self.desk.idle.subscribe()
    }

    /// Stops asking and gives all leases back to be held by others.
    pub async fn shutdown(self) {
        self.desk.stop.cancel();
        self.desk.tasks.close();
        self.desk.tasks.wait().await;
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.desk.stop.cancel();
    }
}

impl Desk {
    fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Looks every second at who reads and what is given.
    async fn watch(self: Arc<Self>) {
        let mut looks = tokio::time::interval(Duration::from_secs(1));
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while self.stop.run_until_cancelled(looks.tick()).await.is_some() {
            let swarms = self.node.swarms().await;
            let readers: u32 = swarms.iter().map(|swarm| swarm.readers).sum();
            self.usage.saw(readers > 0, swarms.iter().map(|swarm| swarm.report.uploaded).sum());
            self.idle.send_replace(self.usage.is_idle());
        }
    }

    /// Asks one push node for work, again and again.
    async fn ask(self: Arc<Self>, call: Call) {
        let mut again = AGAIN;
        loop {
            let body = OfferBody {
                node: self.node.peer_id(),
                time: unix_now(),
                free: self.free(),
                spare: self.usage.spare().0,
                idle: self.usage.is_idle(),
                busy: self.usage.is_busy(),
            };
            let asked = self.post::<LeasesBody>(&call, "/v1/leases", &body);
            let pause = match self.stop.run_until_cancelled(asked).await {
                None => return,
                Some(Ok(leases)) => {
                    again = AGAIN;
                    let report = Duration::from_millis(leases.report_ms).clamp(PAUSE_MIN, PAUSE_MAX);
                    for task in leases.tasks.into_iter().map(TaskBody::task) {
                        self.begin(&call, task, report);
                    }
                    Duration::from_millis(leases.ask_ms).clamp(PAUSE_MIN, PAUSE_MAX)
                }
                Some(Err(error)) => {
                    tracing::warn!(%error, "no work is to be had");
                    again = (again * 2).min(AGAIN_MAX);
                    again / 2
                }
            };
            if self.stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Posts a body signed by this node.
    async fn post<A: DeserializeOwned>(
        &self,
        call: &Call,
        path: &str,
        body: &impl Serialize,
    ) -> Result<A, CallError> {
        let body = to_json(body);
        let signature = self.node.sign(&signed_bytes(path, &body));
        let hex: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        call.post_with(path, body, (SIGNATURE_HEADER, hex)).await
    }

    fn free(&self) -> u64 {
        self.config.disk.0.saturating_sub(room_of(&self.leased.borrow()))
    }

    /// Begins to hold, if there is room: a push node's word for that is not enough. A task that is not begun is not reported
    /// on, so the push node gives it to another.
    fn begin(self: &Arc<Self>, call: &Call, task: Task, report: Duration) {
        let content = task.content.clone();
        let begun = self.leased.send_if_modified(|leased| {
            let same = |held: &Content| held.url == content.url && held.rendition == content.rendition;
            let fits = room_of(leased).saturating_add(content.len) <= self.config.disk.0;
            let begins = fits && leased.len() < LEASES_MAX && !leased.iter().any(same);
            begins && leased.insert(content.clone())
        });
        if !begun {
            return;
        }
        let (desk, call) = (self.clone(), call.clone());
        self.spawn(async move {
            lease::hold(&desk, &call, task, report).await;
            desk.leased.send_modify(|leased| _ = leased.remove(&content));
        });
    }

    /// What one lease may take in now.
    fn rate(&self, task: &Task) -> Rate {
        let mine = Rate(self.config.rate.0 / self.leased.borrow().len().max(1) as u64);
        let allowed = mine.0.min(task.rate.0);
        if self.usage.is_idle() { Rate(allowed) } else { Rate(allowed / usage::WATCHED_DIVISOR) }
    }
}

/// Bytes of all that is leased.
fn room_of(leased: &BTreeSet<Content>) -> u64 {
    leased.iter().fold(0, |sum, content| sum.saturating_add(content.len))
}
