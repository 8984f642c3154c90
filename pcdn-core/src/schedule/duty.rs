//! Swarm-wide de-duplication of origin reads, without a coordinator.
//!
//! Pieces are grouped into runs. Of the nodes a node knows, itself included, the `c` with the smallest hash of (node, run) own
//! the run: they fetch it from the origin early and [claim](crate::wire::Message::Claim) it when they begin; the others wait.
//! Two nodes with different views of who is there fetch a run twice: that costs bytes, nothing else.
//!
//! A run nobody claims falls to the next in rank, one [`PATIENCE`] after another, so a dead owner delays it by little.

use std::time::Duration;

use super::{Slot, View, mix, seed_of};

/// Pieces of one run: 1 MiB of 64 KiB pieces, long enough for one HTTP range request, short enough to share out.
pub const RUN_PIECES: u32 = 16;
/// How long a node of the next rank waits for the one before it.
pub const PATIENCE: Duration = Duration::from_millis(1_500);

/// A run: pieces of one segment that are fetched together. Numbered by segment and place in it, so that nodes that joined a
/// stream at different moments name it alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its first piece.
    pub first: Slot,
    /// One past its last.
    pub end: u32,
    /// The same for all nodes.
    pub number: u64,
}

impl Run {
    /// The run that `slot` belongs to.
    pub fn of(view: &View<'_>, slot: Slot) -> Self {
        let key = view.piece(slot).key;
        let place = key.piece.get() % RUN_PIECES;
        let first = Slot(slot.0.saturating_sub(place));
        let most = view.pieces.len().min((first.0 + RUN_PIECES) as usize);
        let rest = &view.pieces[slot.0 as usize..most];
        let len = rest.iter().take_while(|piece| piece.key.segment == key.segment).count() as u32;
        Self { first, end: slot.0 + len, number: mix(key.segment.0, u64::from(key.piece.get() / RUN_PIECES)) }
    }

    /// All runs in order.
    pub fn all<'v>(view: &'v View<'_>) -> impl Iterator<Item = Run> + 'v {
        let mut next = 0;
        std::iter::from_fn(move || {
            let run = (next < view.pieces.len() as u32).then(|| Run::of(view, Slot(next)))?;
            next = run.end;
            Some(run)
        })
    }
}

/// This node's rank for a run among all nodes it knows: 0 owns it first.
///
/// Nodes that are complete do not fetch, so they have no duty.
pub fn rank(view: &View<'_>, run: &Run) -> u32 {
    let mine = mix(seed_of(&view.me), run.number);
    let before =
        |n: &&super::Neighbour| !n.complete && n.failures < 3 && mix(seed_of(&n.peer), run.number) < mine;
    view.neighbours.iter().filter(before).count() as u32
}
