//! Swarm-wide de-duplication of origin reads, without a coordinator.
//!
//! Pieces are grouped into runs. Of the nodes a node knows, itself included, the `c` with the smallest hash of (node, run) own
//! the run: they fetch it from the origin early and [claim](crate::wire::Message::Claim) it when they begin; the others wait.
//! Two nodes with different views of who is there fetch a run twice: that costs bytes, nothing else.
//!
//! A run nobody claims falls to the next in rank, one [`PATIENCE`] after another, so a dead owner delays it by little.

use std::time::Duration;

use super::{View, mix, seed_of};

/// Pieces of one run: 1 MiB of 64 KiB pieces, long enough for one HTTP range request, short enough to share out.
pub const RUN_PIECES: u32 = 16;
/// How long a node of the next rank waits for the one before it.
pub const PATIENCE: Duration = Duration::from_millis(1_500);

/// This node's rank for `run` among all it knows: 0 owns it first.
///
/// Nodes that are complete do not fetch, so they have no duty.
pub fn rank(view: &View<'_>, run: u32) -> u32 {
    let mine = mix(seed_of(&view.me), u64::from(run));
    let before =
        |n: &&super::Neighbour| !n.complete && n.failures < 3 && mix(seed_of(&n.peer), u64::from(run)) < mine;
    view.neighbours.iter().filter(before).count() as u32
}

/// The run a slot belongs to.
pub fn run_of(slot: u32) -> u32 {
    slot / RUN_PIECES
}
