//! What the store has of a content, told to its swarm before anything else: a swarm that begins without it fetches what is here.

use std::sync::Arc;

use pcdn_core::layout::SegmentId;
use pcdn_core::store::{Held, StoreError};
use pcdn_core::swarm::{Input, Swarm};

use tokio::task::JoinHandle;

use super::first::Begun;
use crate::node::driver::Surroundings;
use crate::node::shelf::Segments;

/// Waits for what the store has, and then has the swarm ask for what is `begun`, of which segment that is. It is the swarm's own
/// task that waits here: who opens the content is not kept waiting for a disk.
pub(super) async fn take_up(
    swarm: &mut Swarm,
    held: JoinHandle<Result<Vec<Held>, StoreError>>,
    around: &mut Surroundings,
    begun: Option<(Arc<Begun>, SegmentId)>,
) {
    let listed = around.stream.as_ref().is_some_and(|stream| stream.heard.is_none());
    match held.await {
        // What a playlist lists is told with the versions of it.
        Ok(Ok(held)) if listed => around.segments = Segments::new(held),
        Ok(Ok(held)) if !held.is_empty() => {
            // What begins here is here already, mostly.
            begun.iter().for_each(|(begun, _)| begun.close(&around.url));
            swarm.handle(around.clock.now(), Input::Held(held));
        }
        Ok(Err(error)) => tracing::warn!(%error, "the store cannot be read; starting without it"),
        _ => {}
    }
    if let Some((_, segment)) = begun {
        swarm.handle(around.clock.now(), Input::OriginBegun { segment, bytes: Begun::bytes() });
    }
}
