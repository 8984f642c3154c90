//! The handles' side of each session: who waits for chunks, messages and answers.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::transport::{PathStats, Provider, Session};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::Command;
use crate::fetching::Step;
use crate::udp::endpoint::{Event, SessionId};
use crate::udp::session::{Shared, UdpSession, weight};

#[derive(Debug)]
pub(super) struct Peers {
    provider: Arc<dyn Provider>,
    /// Weak, so that the task ends when the last handle is gone.
    commands: mpsc::WeakUnboundedSender<Command>,
    accepts: mpsc::Sender<Arc<dyn Session>>,
    /// Boxed, for half of a table's places are empty.
    open: HashMap<SessionId, Box<Peer>>,
}

#[derive(Debug)]
struct Peer {
    shared: Arc<Shared>,
    /// Weights of the messages sent and not yet arrived.
    undelivered: VecDeque<usize>,
    fetches: HashMap<u32, (u64, mpsc::UnboundedSender<Step>)>,
    by_token: HashMap<u64, u32>,
    /// Provider calls for the peer; dropped with it.
    serving: HashMap<u32, AbortOnDrop>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.shared.end();
    }
}

#[derive(Debug)]
struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Peers {
    pub(super) fn new(
        provider: Arc<dyn Provider>,
        commands: mpsc::WeakUnboundedSender<Command>,
        accepts: mpsc::Sender<Arc<dyn Session>>,
    ) -> Self {
        Self { provider, commands, accepts, open: HashMap::new() }
    }

    /// A session opened; `None` if nobody could hold it any more.
    pub(super) fn opened(
        &mut self,
        id: SessionId,
        peer: PeerId,
        path: PathStats,
    ) -> Option<Arc<dyn Session>> {
        let commands = self.commands.upgrade()?;
        let shared = Shared::new(path);
        let peer_side = Peer {
            shared: Arc::clone(&shared),
            undelivered: VecDeque::new(),
            fetches: HashMap::new(),
            by_token: HashMap::new(),
            serving: HashMap::new(),
        };
        self.open.insert(id, Box::new(peer_side));
        Some(UdpSession::handle(id, peer, shared, commands))
    }

    /// A peer called. If too many wait to be accepted, the dropped handle closes the session.
    pub(super) fn accepted(&mut self, id: SessionId, peer: PeerId, path: PathStats) {
        if let Some(session) = self.opened(id, peer, path)
            && self.accepts.try_send(session).is_err()
        {
            tracing::debug!(peer = %peer.short(), "nobody accepts, session dropped");
        }
    }

    pub(super) fn fetch_begun(
        &mut self,
        id: SessionId,
        fetch: u32,
        token: u64,
        steps: mpsc::UnboundedSender<Step>,
    ) {
        if let Some(peer) = self.open.get_mut(&id) {
            peer.fetches.insert(fetch, (token, steps));
            peer.by_token.insert(token, fetch);
        }
    }

    /// The fetch that `token` stands for, if it is still under way.
    pub(super) fn fetch_cancelled(&mut self, id: SessionId, token: u64) -> Option<u32> {
        let peer = self.open.get_mut(&id)?;
        let fetch = peer.by_token.remove(&token)?;
        peer.fetches.remove(&fetch);
        Some(fetch)
    }

    pub(super) fn message_sent(&mut self, id: SessionId, message: &Bytes) {
        if let Some(peer) = self.open.get_mut(&id) {
            peer.undelivered.push_back(weight(message));
        }
    }

    /// The provider has answered: its task is over.
    pub(super) fn answered(&mut self, id: SessionId, fetch: u32) {
        if let Some(peer) = self.open.get_mut(&id) {
            peer.serving.remove(&fetch);
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Chunk { session, fetch, chunk } => self.step(session, fetch, Step::Chunk(chunk)),
            Event::Fetched { session, fetch } => self.step(session, fetch, Step::Whole),
            Event::FetchFailed { session, fetch, why } => self.step(session, fetch, Step::Failed(why)),
            Event::Message { session, message } => {
                if let Some(peer) = self.open.get(&session) {
                    peer.shared.deliver(message);
                }
            }
            Event::Delivered { session, count } => {
                if let Some(peer) = self.open.get_mut(&session) {
                    let freed = peer.undelivered.drain(..count.min(peer.undelivered.len())).sum();
                    peer.shared.room.add_permits(freed);
                }
            }
            Event::Open { session, peer, fetch, want } => {
                let (provider, commands) = (Arc::clone(&self.provider), self.commands.clone());
                let Some(asker) = self.open.get_mut(&session) else { return };
                let task = tokio::spawn(async move {
                    let answer = provider.open(&peer, &want).await;
                    if let Some(commands) = commands.upgrade() {
                        let _ = commands.send(Command::Answer { session, fetch, answer });
                    }
                });
                asker.serving.insert(fetch, AbortOnDrop(task.abort_handle()));
            }
            Event::Abandon { session, fetch } => self.answered(session, fetch),
            Event::Closed { session, why } => {
                if self.open.remove(&session).is_some() {
                    tracing::debug!(?why, "session over");
                }
            }
            Event::Connected { .. }
            | Event::Unreachable { .. }
            | Event::Accepted { .. }
            | Event::Reached { .. }
            | Event::Appears(_) => {}
        }
    }

    pub(super) fn show(&self, path: impl Fn(SessionId) -> Option<PathStats>) {
        for (id, peer) in &self.open {
            if let Some(path) = path(*id) {
                *peer.shared.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
            }
        }
    }

    fn step(&mut self, id: SessionId, fetch: u32, step: Step) {
        let Some(peer) = self.open.get_mut(&id) else { return };
        let over = !matches!(step, Step::Chunk(_));
        if let Some((token, steps)) = peer.fetches.get(&fetch) {
            let token = *token;
            // If the receiver was dropped, its cancel is on the way.
            let _ = steps.send(step);
            if over {
                peer.fetches.remove(&fetch);
                peer.by_token.remove(&token);
            }
        }
    }
}
