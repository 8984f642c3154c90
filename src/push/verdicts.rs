//! How audits ended, told to trackers that trust this push node.

use std::time::Duration;

use pcdn_core::audit::{Audited, Verdict};
use pcdn_discovery::tracker::standing::http::{AuditsBody, BATCH_MAX, TakenBody, hex, wall_clock};
use tokio::sync::mpsc;

use crate::http::call::Call;
use crate::node::Node;

/// Audits that wait to be told: those of a minute of 70 a second.
pub(super) const WAITING_MAX: usize = 4_096;
/// Trackers that do not answer are told again so often, for as long as a verdict is good.
const AGAIN: Duration = Duration::from_secs(10);
const AGAIN_MAX: u32 = 30;

/// Signs and tells until nothing more comes.
pub(super) async fn tell(node: Node, trackers: Vec<Call>, mut audited: mpsc::Receiver<Audited>) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while audited.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let minute = u32::try_from(wall_clock().0 / 60_000_000).unwrap_or(u32::MAX);
        let sign = |audited: Audited| hex(&Verdict::sign(node.identity(), &audited, minute).encode());
        let body = AuditsBody { verdicts: batch.drain(..).map(sign).collect() };
        let mut silent: Vec<&Call> = trackers.iter().collect();
        for _ in 0..AGAIN_MAX {
            let mut still = Vec::new();
            for call in silent {
                match call.post::<TakenBody>("/v1/audits", &body).await {
                    Ok(taken) if taken.refused.is_empty() => {}
                    Ok(taken) => {
                        let why = taken.refused.first().map_or("", String::as_str);
                        tracing::warn!(tracker = %call.at(), why, "verdicts on copies are not taken");
                    }
                    Err(error) => {
                        tracing::debug!(%error, "verdicts on copies were not told");
                        still.push(call);
                    }
                }
            }
            silent = still;
            if silent.is_empty() {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}
