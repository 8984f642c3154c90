//! The serving side: what transports ask when a peer wants a piece.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use pcdn_core::async_trait;
use pcdn_core::id::PeerId;
use pcdn_core::swarm::AskId;
use pcdn_core::transport::{Fetch, Grant, Provider, Refuse};
use tokio::sync::{mpsc, oneshot};

use super::driver::ToSwarm;
use super::links::Links;

/// Hands requests to the swarms. Made before the node, because transports need it when they are built.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    links: OnceLock<Weak<Links>>,
    next: AtomicU64,
}

impl Desk {
    pub(crate) fn open_for(&self, links: &Arc<Links>) {
        // A desk serves one node; a second call changes nothing.
        let _ = self.links.set(Arc::downgrade(links));
    }
}

#[async_trait]
impl Provider for Desk {
    async fn open(&self, from: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        let links = self.links.get().and_then(Weak::upgrade).ok_or(Refuse::NoSwarm)?;
        // A transport may ask before its session is accepted, which is where a banned peer is turned away.
        if links.is_banned(from) {
            return Err(Refuse::NoSwarm);
        }
        let swarm =
            links.swarms.get(&want.swarm).map(|entry| entry.value().clone()).ok_or(Refuse::NoSwarm)?;
        let ask = AskId(self.next.fetch_add(1, Ordering::Relaxed));
        let (answer, granted) = oneshot::channel();
        // Dropped when the piece has been sent, or this future when the asker cancels: both free the slot.
        let slot = Slot { ask, swarm: swarm.clone() };
        let request = ToSwarm::Ask { peer: *from, ask, piece: want.piece, answer };
        swarm.send(request).await.map_err(|_| Refuse::NoSwarm)?;
        let bytes = granted.await.map_err(|_| Refuse::Busy(Duration::from_millis(500)))??;
        Ok(Grant::new(bytes, Some(Box::new(slot))))
    }
}

struct Slot {
    ask: AskId,
    swarm: mpsc::Sender<ToSwarm>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Err(mpsc::error::TrySendError::Full(message)) = self.swarm.try_send(ToSwarm::AskGone(self.ask))
        {
            let swarm = self.swarm.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { swarm.send(message).await });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pcdn_core::id::SwarmKey;
    use pcdn_core::layout::{Layout, PieceKey, SegmentId};
    use pcdn_core::transport::Class;
    use pcdn_core::unit::Rate;

    use super::*;

    #[tokio::test]
    async fn no_swarm_hears_of_what_a_banned_peer_asks() {
        let (me, peer, key) = (PeerId([1; 32]), PeerId([2; 32]), SwarmKey([3; 32]));
        let links = Arc::new(Links::new(me, vec![], vec![], Rate::UNLIMITED, Default::default()));
        let (swarm, mut asked) = mpsc::channel(1);
        links.swarms.insert(key, swarm);
        let desk = Desk::default();
        desk.open_for(&links);
        links.ban(&peer);
        let piece = PieceKey { segment: SegmentId(0), piece: Layout::new(1, 16).unwrap().piece(0).unwrap() };
        let (class, within) = (Class::Normal, Duration::from_secs(1));
        let want = Fetch { swarm: key, piece, len: 1, want: vec![], class, within };
        assert!(matches!(desk.open(&peer, &want).await, Err(Refuse::NoSwarm)));
        assert!(asked.try_recv().is_err());
    }
}
