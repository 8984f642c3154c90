//! One session for each peer, shared by all swarms.
//!
//! Peers that dial each other at the same moment get two sessions; both sides keep the one the lower id dialled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_core::swarm::Introduction;
use pcdn_core::transport::{Session, Transport, TransportError};
use pcdn_core::unit::Rate;
use pcdn_core::wire::{self, Message};
use pcdn_transport::udp::Meetings;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::Throttle;
use super::driver::ToSwarm;

/// How long a banned key is refused (reliability notes: 24 h).
const BAN: Duration = Duration::from_secs(24 * 3600);
/// Bans kept (reliability notes: 4096).
const BANS_MAX: usize = 4_096;

/// A further transport is tried when the one before has had this long: one lost packet and its repeat on most paths.
const HEAD_START: Duration = Duration::from_secs(1);

/// All sessions and all swarms of a node.
#[derive(Debug)]
pub(crate) struct Links {
    me: PeerId,
    /// Bytes a second taken from each peer.
    download_limit: Rate,
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    /// What meets peers behind NATs, one for each socket.
    meetings: Vec<Meetings>,
    sessions: DashMap<PeerId, Kept>,
    /// Peers being dialled; an entry lives as long as somebody waits for it.
    dialling: DashMap<PeerId, Arc<tokio::sync::Mutex<()>>>,
    pub(crate) swarms: DashMap<SwarmKey, mpsc::Sender<ToSwarm>>,
    bans: DashMap<PeerId, Instant>,
    next: AtomicU64,
    tasks: TaskTracker,
}

#[derive(Debug, Clone)]
struct Kept {
    link: Link,
    /// Who dialled it.
    by: PeerId,
}

/// A session with a number of its own.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) session: Arc<dyn Session>,
    /// Bounds what is taken from the peer.
    pub(crate) throttle: Arc<Throttle>,
}

impl Links {
    pub(crate) fn new(
        me: PeerId,
        transports: Vec<Arc<dyn Transport>>,
        meetings: Vec<Meetings>,
        download_limit: Rate,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            me,
            download_limit,
            transports,
            meetings,
            sessions: DashMap::new(),
            dialling: DashMap::new(),
            swarms: DashMap::new(),
            bans: DashMap::new(),
            next: AtomicU64::new(1),
            tasks,
        }
    }

    /// Bytes a second that are taken from each peer at most.
    pub(crate) fn download_limit(&self) -> Rate {
        self.download_limit
    }

    /// Takes what peers dial, on every transport, until it is closed.
    pub(crate) fn accept_all(self: &Arc<Self>) {
        for transport in self.transports.clone() {
            let links = self.clone();
            self.tasks.spawn(async move {
                loop {
                    match transport.accept().await {
                        Ok(session) => {
                            let by = session.peer();
                            links.adopt(session, by);
                        }
                        Err(TransportError::Closed) => return,
                        Err(error) => {
                            tracing::warn!(%error, "accepting a peer failed");
                            tokio::task::yield_now().await;
                        }
                    }
                }
            });
        }
    }

    /// A session to the peer: the one there is, or a new one.
    pub(crate) async fn connect(self: &Arc<Self>, record: &PeerRecord) -> Result<Link, TransportError> {
        if self.is_banned(&record.id) {
            return Err(TransportError::Closed);
        }
        // One dial at a time: a second session of the same dialler would replace the first under those who use it already.
        let turn = self.dialling.entry(record.id).or_default().clone();
        let held = turn.lock().await;
        let result = match self.sessions.get(&record.id).map(|kept| kept.link.clone()) {
            Some(link) => Ok(link),
            None => self.dial(record).await,
        };
        drop(held);
        self.dialling.remove_if(&record.id, |_, turn| Arc::strong_count(turn) <= 2);
        result
    }

    /// By everything that both ends speak: the first of this node's transports at once, each further one a little later, and
    /// whichever comes to stand first is kept.
    async fn dial(self: &Arc<Self>, record: &PeerRecord) -> Result<Link, TransportError> {
        let spoken = |transport: &&Arc<dyn Transport>| {
            record.addrs.iter().any(|addr| addr.scheme == transport.scheme())
        };
        let calls = self.transports.iter().filter(spoken).enumerate().map(|(n, transport)| async move {
            tokio::time::sleep(HEAD_START * n as u32).await;
            transport.connect(record).await
        });
        let mut calls: FuturesUnordered<_> = calls.collect();
        let mut last = None;
        while let Some(called) = calls.next().await {
            match called {
                Ok(session) => return self.adopt(session, self.me).ok_or(TransportError::Closed),
                Err(error) => last = Some(error),
            }
        }
        let scheme = self.transports.first().map_or(pcdn_core::peer::Scheme::Other, |t| t.scheme());
        Err(last.unwrap_or(TransportError::NoAddress(scheme)))
    }

    /// A neighbour of both calls this node and a peer together.
    pub(crate) fn meet(&self, meeting: &Introduction) {
        let Introduction { over, peer, token, begin_in, at } = *meeting;
        let by = self.meetings.iter().find(|meetings| meetings.schemes().contains(&over));
        if let Some(by) = by.filter(|_| !self.is_banned(&peer)) {
            by.introduced(peer, token, begin_in, at.addr);
        }
    }

    /// Takes a proven session in; returns the one that is kept for this peer.
    fn adopt(self: &Arc<Self>, session: Arc<dyn Session>, by: PeerId) -> Option<Link> {
        let peer = session.peer();
        if self.is_banned(&peer) || peer == self.me {
            session.close();
            return None;
        }
        let throttle = Arc::new(Throttle::new(self.download_limit));
        let link = Link { number: self.next.fetch_add(1, Ordering::Relaxed), session, throttle };
        let preferred = self.me.min(peer);
        let replaced = match self.sessions.entry(peer) {
            dashmap::Entry::Vacant(vacant) => {
                vacant.insert(Kept { link: link.clone(), by });
                None
            }
            dashmap::Entry::Occupied(kept) if kept.get().by == preferred && by != preferred => {
                link.session.close();
                return Some(kept.get().link.clone());
            }
            dashmap::Entry::Occupied(mut kept) => Some(kept.insert(Kept { link: link.clone(), by })),
        };
        if let Some(old) = replaced {
            old.link.session.close();
        }
        self.tasks.spawn(self.clone().listen(link.clone()));
        Some(link)
    }

    /// Hands every message of a session to its swarm, until the session ends.
    async fn listen(self: Arc<Self>, link: Link) {
        let peer = link.session.peer();
        while let Ok(bytes) = link.session.recv().await {
            match wire::decode(&bytes) {
                Ok(envelope) => {
                    let Some(message) = envelope.message else { continue };
                    self.route(&link, envelope.swarm, message).await;
                }
                Err(error) => {
                    tracing::debug!(peer = %peer.short(), %error, "a message against the format");
                    break;
                }
            }
        }
        link.session.close();
        self.sessions.remove_if(&peer, |_, kept| kept.link.number == link.number);
        let swarms: Vec<_> = self.swarms.iter().map(|entry| entry.value().clone()).collect();
        for swarm in swarms {
            // A swarm that is gone needs no news.
            let _ = swarm.send(ToSwarm::Gone(link.number)).await;
        }
    }

    async fn route(&self, link: &Link, key: SwarmKey, message: Message) {
        let swarm = self.swarms.get(&key).map(|entry| entry.value().clone());
        match swarm {
            Some(swarm) => {
                let _ = swarm.send(ToSwarm::Message(link.clone(), message)).await;
            }
            None if matches!(message, Message::Hello { .. }) => {
                // Said once, so that the other side stops waiting for this node.
                let _ = link.session.send(wire::encode(&key, &Message::Bye)).await;
            }
            None => {}
        }
    }

    pub(crate) fn ban(&self, peer: &PeerId) {
        if self.bans.len() >= BANS_MAX {
            self.bans.retain(|_, until| *until > Instant::now());
        }
        if self.bans.len() < BANS_MAX {
            self.bans.insert(*peer, Instant::now() + BAN);
        }
        if let Some((_, kept)) = self.sessions.remove(peer) {
            kept.link.session.close();
        }
    }

    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.bans.get(peer).is_some_and(|until| *until > Instant::now())
    }

    /// Closes sessions and transports.
    pub(crate) async fn close(&self, grace: Duration) {
        futures_util::future::join_all(self.transports.iter().map(|transport| transport.close(grace))).await;
        self.sessions.iter().for_each(|kept| kept.link.session.close());
        self.sessions.clear();
    }
}
