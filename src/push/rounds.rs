//! What a push node does every second: waves are looked at, and samples for audits are read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::audit::Audited;
use pcdn_core::error::Judged as _;
use pcdn_core::warmup::JobId;
use tokio::sync::mpsc;

use super::node::Desk;

/// Waves are looked at so often.
const TICK: Duration = Duration::from_secs(1);
/// Samples read in one round, and how long one may take.
const SAMPLES_MAX: usize = 16;
const SAMPLE_WITHIN: Duration = Duration::from_secs(10);

/// Lets waves begin, and hands on how audits ended.
pub(super) async fn tick(desk: Arc<Desk>, to: mpsc::Sender<Audited>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = desk.now();
        let audits = {
            let mut planner = desk.planner();
            planner.tick(now);
            let known: BTreeSet<JobId> = planner.jobs().collect();
            desk.ordered().retain(|id, _| known.contains(id));
            planner.audited()
        };
        desk.moved();
        for audited in audits {
            let (peer, passed) = (audited.peer(), audited.passed());
            tracing::info!(peer = %peer.short(), swarm = %audited.swarm().short(), passed, "a copy was audited");
            // Trackers that are silent for long miss some.
            let _ = to.try_send(audited);
        }
    }
}

/// Keeps the planner in samples. An origin that does not give one is asked again in the next round.
pub(super) async fn read_samples(desk: Arc<Desk>) {
    let Ok(mut dice) = crate::dice() else { return };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let wanted = desk.planner().wants_samples(desk.now());
        for (id, content) in wanted.into_iter().take(SAMPLES_MAX) {
            let Some(part) = desk.part(id, &content) else { continue };
            let sample = part.sample(&desk.node, &mut dice);
            match tokio::time::timeout(SAMPLE_WITHIN, sample).await {
                Ok(Ok(sample)) => desk.planner().sample(desk.now(), id, &content, sample),
                Ok(Err(error)) => {
                    tracing::warn!(url = %content.url, %error, transient = error.transient(), "no sample");
                }
                Err(_) => tracing::warn!(url = %content.url, "the origin gives no sample in time"),
            }
        }
    }
}
