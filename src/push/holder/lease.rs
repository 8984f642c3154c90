//! One lease, from its first byte to its end.

use std::time::Duration;

use pcdn_core::audit::Challenge;
use pcdn_core::id::Digest;
use pcdn_core::warmup::Task;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Desk;
use crate::http::call::{Call, CallError};
use crate::node::{Asset, OpenError, SwarmReport};
use crate::push::api::{NextBody, ProgressBody, unix_now};

/// A stopping node has this long to give a lease back.
const GOODBYE: Duration = Duration::from_millis(500);

/// Holds until the lease ends.
pub(super) async fn hold(desk: &Desk, call: &Call, task: Task, report: Duration) {
    let url = task.content.url.clone();
    let owned = desk.node.swarms().await.iter().any(|swarm| swarm.url == without_query(&url));
    match Holding::begin(desk, &task).await {
        Ok(mut holding) => {
            tracing::info!(%url, "held before its release");
            holding.keep(desk, call, &task, report).await;
            holding.end(desk, owned).await;
            tracing::info!(%url, "held no longer");
        }
        Err(error) => {
            tracing::warn!(%url, %error, "cannot be held");
            let progress = Sums::default().body(desk, None, true);
            // If it is not heard, the push node notices by the silence.
            let _ = tell(desk, call, &task, &progress).await;
        }
    }
}

/// As a swarm's status has it.
fn without_query(url: &pcdn_core::resource::Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

#[derive(Clone, Copy, Default)]
struct Sums {
    held: u64,
    from_cdn: u64,
    from_peers: u64,
}

struct Holding {
    asset: Asset,
    before: SwarmReport,
    fetching: JoinHandle<Result<(), OpenError>>,
    answer: Option<Digest>,
    until: Instant,
}

impl Holding {
    async fn begin(desk: &Desk, task: &Task) -> Result<Self, OpenError> {
        let asset = desk.node.open(&task.content.url).await?;
        if asset.len() != task.content.len {
            return Err(OpenError::Integrity(format!("it is {} bytes long now", asset.len())));
        }
        let before = asset.report().await;
        asset.protect(true).await;
        asset.in_background(task.cdn_bytes, desk.rate(task)).await?;
        let whole = asset.clone();
        let fetching = tokio::spawn(async move { whole.complete().await });
        Ok(Self { asset, before, fetching, answer: None, until: Instant::now() + task.hold })
    }

    /// Reports until the lease is over: by the push node's word, by its own time, or because this node stops.
    async fn keep(&mut self, desk: &Desk, call: &Call, task: &Task, report: Duration) {
        loop {
            let pause = tokio::time::sleep(report);
            if desk.stop.run_until_cancelled(pause).await.is_none() {
                let body = self.sums(task).await.body(desk, None, true);
                let _ = tokio::time::timeout(GOODBYE, tell(desk, call, task, &body)).await;
                return;
            }
            if Instant::now() >= self.until {
                return;
            }
            let sums = self.sums(task).await;
            if self.asset.in_background(task.cdn_bytes, desk.rate(task)).await.is_err() {
                return;
            }
            let body = sums.body(desk, self.answer.take(), false);
            match tell(desk, call, task, &body).await {
                Ok(next) if next.drop => return,
                Ok(next) => {
                    self.until = Instant::now() + Duration::from_millis(next.hold_ms);
                    let challenge = next.challenge.as_ref().and_then(|challenge| challenge.challenge());
                    if let Some(challenge) = challenge.filter(|_| sums.held == task.content.len) {
                        self.answer = self.show(&challenge).await;
                    }
                }
                // It is held on until its own end: a push node that starts anew is no reason to drop what viewers will want.
                Err(error) => tracing::debug!(%error, "the push node was not told how a lease goes"),
            }
        }
    }

    async fn sums(&self, task: &Task) -> Sums {
        let now = self.asset.report().await;
        let (here, all) = now.pieces;
        let held = match here == all && all > 0 {
            true => task.content.len,
            false => (u128::from(task.content.len) * u128::from(here) / u128::from(all.max(1))) as u64,
        };
        Sums {
            held,
            from_cdn: now.from_origin - self.before.from_origin.min(now.from_origin),
            from_peers: now.from_peers - self.before.from_peers.min(now.from_peers),
        }
    }

    /// The answer to a challenge, from the bytes held here.
    async fn show(&self, challenge: &Challenge) -> Option<Digest> {
        let range = challenge.range.start()..challenge.range.end();
        if range.end > self.asset.len() {
            return None;
        }
        let mut reader = self.asset.follow(range);
        let mut bytes = Vec::new();
        while let Some(chunk) = reader.next().await {
            bytes.extend_from_slice(&chunk.ok()?);
        }
        Some(challenge.answer(&bytes))
    }

    /// Lets it go. What its owner had before, or somebody reads, stays as an ordinary content.
    async fn end(self, desk: &Desk, owned: bool) {
        self.fetching.abort();
        self.asset.protect(false).await;
        let read = self.asset.status().await.is_some_and(|status| status.readers > 0);
        if owned || read {
            // A node that stops meanwhile does not mind.
            let _ = self.asset.in_foreground().await;
            if !owned {
                let _ = self.asset.want_whole(false).await;
            }
        } else if !desk.stop.is_cancelled() {
            desk.node.forget(&self.asset.swarm()).await;
        }
    }
}

impl Sums {
    fn body(self, desk: &Desk, answer: Option<Digest>, given_up: bool) -> ProgressBody {
        let Self { held, from_cdn, from_peers } = self;
        let (node, time) = (desk.node.peer_id(), unix_now());
        ProgressBody { node, time, held, from_cdn, from_peers, answer, given_up }
    }
}

async fn tell(desk: &Desk, call: &Call, task: &Task, body: &ProgressBody) -> Result<NextBody, CallError> {
    desk.post(call, &format!("/v1/leases/{}", task.lease.0), body).await
}
