//! One lease, from its first byte to its end.

use std::time::Duration;

use pcdn_core::audit::Challenge;
use pcdn_core::id::Digest;
use pcdn_core::warmup::Task;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Desk;
use super::held::Held;
use crate::http::call::{Call, CallError};
use crate::node::{OpenError, SwarmReport};
use crate::push::api::{NextBody, ProgressBody, unix_now};

/// A stopping node has this long to give a lease back.
const GOODBYE: Duration = Duration::from_millis(500);

/// Holds until the lease ends.
pub(super) async fn hold(desk: &Desk, call: &Call, task: Task, report: Duration) {
    let url = task.content.url.clone();
    match Holding::begin(desk, &task).await {
        Ok(mut holding) => {
            tracing::info!(%url, "held before its release");
            if let Err(error) = holding.keep(desk, call, &task, report).await {
                tracing::warn!(%url, %error, "cannot be held");
                give_back(desk, call, &task, holding.sums(&task).await).await;
            }
            holding.end(desk).await;
            tracing::info!(%url, "held no longer");
        }
        Err(error) => {
            tracing::warn!(%url, %error, "cannot be held");
            give_back(desk, call, &task, Sums::default()).await;
        }
    }
}

/// If it is not heard, the push node notices by the silence.
async fn give_back(desk: &Desk, call: &Call, task: &Task, sums: Sums) {
    let body = sums.body(desk, None, true);
    let _ = tokio::time::timeout(GOODBYE, tell(desk, call, task, &body)).await;
}

#[derive(Clone, Copy, Default)]
struct Sums {
    held: u64,
    from_cdn: u64,
    from_peers: u64,
}

struct Holding {
    held: Held,
    before: SwarmReport,
    /// Until all of it is on its way.
    fetching: Option<JoinHandle<Result<(), OpenError>>>,
    answer: Option<Digest>,
    until: Instant,
}

impl Holding {
    async fn begin(desk: &Desk, task: &Task) -> Result<Self, OpenError> {
        let held = Held::open(&desk.node, &task.content).await?;
        let asset = held.asset();
        let before = asset.report().await;
        asset.protect(true).await;
        asset.in_background(task.cdn_bytes, desk.rate(task)).await?;
        let whole = held.clone();
        let fetching = Some(tokio::spawn(async move { whole.fetch().await }));
        Ok(Self { held, before, fetching, answer: None, until: Instant::now() + task.hold })
    }

    /// Reports until the lease is over: by the push node's word, by its own time, or because this node stops. An error is that
    /// it cannot be had.
    async fn keep(
        &mut self,
        desk: &Desk,
        call: &Call,
        task: &Task,
        report: Duration,
    ) -> Result<(), OpenError> {
        loop {
            let pause = tokio::time::sleep(report);
            if desk.stop.run_until_cancelled(pause).await.is_none() {
                give_back(desk, call, task, self.sums(task).await).await;
                return Ok(());
            }
            if Instant::now() >= self.until {
                return Ok(());
            }
            if let Some(fetched) = self.fetching.take_if(|fetching| fetching.is_finished()) {
                // A task that panicked has fetched nothing.
                fetched.await.unwrap_or(Err(OpenError::Closed))?;
            }
            let sums = self.sums(task).await;
            self.held.asset().in_background(task.cdn_bytes, desk.rate(task)).await?;
            let body = sums.body(desk, self.answer.take(), false);
            match tell(desk, call, task, &body).await {
                Ok(next) if next.drop => return Ok(()),
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
        let now = self.held.asset().report().await;
        Sums {
            held: self.held.bytes(&now).min(task.content.len),
            from_cdn: now.from_origin - self.before.from_origin.min(now.from_origin),
            from_peers: now.from_peers - self.before.from_peers.min(now.from_peers),
        }
    }

    /// The answer to a challenge, from the bytes held here.
    async fn show(&self, challenge: &Challenge) -> Option<Digest> {
        let bytes = self.held.read(challenge.range.start()..challenge.range.end()).await?;
        Some(challenge.answer(&bytes))
    }

    /// Lets it go. What its owner had before, or somebody reads, stays as an ordinary content.
    async fn end(self, desk: &Desk) {
        if let Some(fetching) = &self.fetching {
            fetching.abort();
        }
        let asset = self.held.asset();
        asset.protect(false).await;
        if self.held.is_wanted().await {
            // A node that stops meanwhile does not mind.
            let _ = asset.in_foreground().await;
            if !self.held.is_owned() {
                let _ = asset.want_whole(false).await;
            }
        } else if !desk.stop.is_cancelled() {
            desk.node.forget(&asset.swarm()).await;
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
