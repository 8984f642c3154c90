//! Links inside one process, for tests and for embedders that run several nodes in one program.
//!
//! A [`Hub`] is a small world: nodes [join](Hub::join) it under their `PeerId` and reach one another with a latency and an
//! upload rate that may be set. Bytes are not copied. Everything waits on tokio's clock, so a test with paused time runs
//! minutes in milliseconds.

mod session;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Provider, Session, Transport, TransportError};
use pcdn_core::unit::Rate;
use tokio::sync::{Mutex as AsyncMutex, Semaphore, mpsc};
use tokio::time::Instant;

use session::MemorySession;

/// Sessions that wait to be accepted, at most; further callers get [`TransportError::Closed`].
const ACCEPTED_MAX: usize = 128;

/// How long the others take to notice that a node has crashed; as the UDP transport.
const SILENT_FOR: Duration = Duration::from_secs(5);

/// How nodes of a hub are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// From one node to another. Default zero.
    pub latency: Duration,
    /// What one node can send, to all others together. Default unlimited.
    pub upload: Rate,
}

impl Default for Link {
    fn default() -> Self {
        Self { latency: Duration::ZERO, upload: Rate::UNLIMITED }
    }
}

/// Where nodes of one process meet.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    world: Arc<Mutex<World>>,
}

#[derive(Debug, Default)]
struct World {
    link: Link,
    joined: u16,
    nodes: BTreeMap<PeerId, Arc<Node>>,
}

/// What others need of a node.
#[derive(Debug)]
struct Node {
    id: PeerId,
    provider: Arc<dyn Provider>,
    accepts: mpsc::Sender<Arc<dyn Session>>,
    link: Link,
    /// When its uplink is free again.
    uplink: Mutex<Option<Instant>>,
    sessions: Mutex<Vec<Weak<Semaphore>>>,
    crashed: AtomicBool,
}

impl Hub {
    /// A hub whose nodes are linked by `link`.
    pub fn new(link: Link) -> Self {
        Self { world: Arc::new(Mutex::new(World { link, ..World::default() })) }
    }

    /// A node crashes, or its cable is cut: nothing reaches it and nothing it says arrives, and only after five seconds its
    /// neighbours' sessions with it end. An unknown node is left alone.
    pub fn crash(&self, id: &PeerId) {
        let Some(node) = lock(&self.world).nodes.remove(id) else { return };
        node.crashed.store(true, Ordering::Relaxed);
        tokio::spawn(async move {
            tokio::time::sleep(SILENT_FOR).await;
            node.hang_up();
        });
    }

    /// Adds a node. One that had the same id before is replaced and can be reached no more.
    pub fn join(&self, id: PeerId, provider: Arc<dyn Provider>) -> Memory {
        let (accepts, accepted) = mpsc::channel(ACCEPTED_MAX);
        let mut world = lock(&self.world);
        world.joined = world.joined.wrapping_add(1);
        // Nobody listens there; it only tells nodes apart in logs.
        let addr = SocketAddr::from(([0, 0, 0, 0], world.joined));
        let (uplink, sessions, link) = (Mutex::default(), Mutex::default(), world.link);
        let node =
            Arc::new(Node { id, provider, accepts, link, uplink, sessions, crashed: AtomicBool::new(false) });
        world.nodes.insert(id, Arc::clone(&node));
        Memory {
            hub: self.clone(),
            node,
            addr,
            accepted: AsyncMutex::new(accepted),
            closed: Semaphore::new(0),
        }
    }
}

/// A node's transport inside a [`Hub`].
#[derive(Debug)]
pub struct Memory {
    hub: Hub,
    node: Arc<Node>,
    addr: SocketAddr,
    accepted: AsyncMutex<mpsc::Receiver<Arc<dyn Session>>>,
    /// Has no permits; closed with the transport.
    closed: Semaphore,
}

impl Memory {
    /// Two nodes and the two ends of a session between them.
    pub fn pair(
        a: (PeerId, Arc<dyn Provider>),
        b: (PeerId, Arc<dyn Provider>),
        link: Link,
    ) -> (Arc<dyn Session>, Arc<dyn Session>) {
        let hub = Hub::new(link);
        let (a, b) = (hub.join(a.0, a.1), hub.join(b.0, b.1));
        MemorySession::pair(&a.node, &b.node)
    }

    /// How others find this node.
    pub fn record(&self) -> PeerRecord {
        PeerRecord { id: self.node.id, addrs: self.local(), seed: false }
    }

    fn leave(&self) {
        self.closed.close();
        let mut world = lock(&self.hub.world);
        if world.nodes.get(&self.node.id).is_some_and(|node| Arc::ptr_eq(node, &self.node)) {
            world.nodes.remove(&self.node.id);
        }
    }
}

#[async_trait]
impl Transport for Memory {
    fn scheme(&self) -> Scheme {
        Scheme::Mem
    }

    fn local(&self) -> Vec<PeerAddr> {
        vec![PeerAddr { scheme: Scheme::Mem, addr: self.addr }]
    }

    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        let addr = peer.addrs.iter().find(|addr| addr.scheme == Scheme::Mem);
        let addr = *addr.ok_or(TransportError::NoAddress(Scheme::Mem))?;
        if self.closed.is_closed() {
            return Err(TransportError::Closed);
        }
        let there = lock(&self.hub.world).nodes.get(&peer.id).cloned().ok_or(TransportError::Silent(addr))?;
        tokio::time::sleep(self.node.link.latency * 2).await;
        let (mine, theirs) = MemorySession::pair(&self.node, &there);
        there.accepts.try_send(theirs).map_err(|_| TransportError::Closed)?;
        Ok(mine)
    }

    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        let mut accepted = self.accepted.lock().await;
        tokio::select! {
            session = accepted.recv() => session.ok_or(TransportError::Closed),
            _ = self.closed.acquire() => Err(TransportError::Closed),
        }
    }

    async fn close(&self, _: Duration) {
        self.leave();
        self.node.hang_up();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Node {
    /// Waits until `bytes` have left the uplink.
    async fn upload(&self, bytes: u64) {
        if self.link.upload.is_unlimited() {
            return;
        }
        let until = {
            let mut free_at = lock(&self.uplink);
            let now = Instant::now();
            let until = free_at.map_or(now, |at| at.max(now)) + self.link.upload.time_for(bytes);
            *free_at = Some(until);
            until
        };
        tokio::time::sleep_until(until).await;
    }

    fn hang_up(&self) {
        let sessions = std::mem::take(&mut *lock(&self.sessions));
        sessions.iter().filter_map(Weak::upgrade).for_each(|open| open.close());
    }

    fn is_silent(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    fn keep(&self, open: &Arc<Semaphore>) {
        let mut sessions = lock(&self.sessions);
        sessions.retain(|session| session.strong_count() > 0);
        sessions.push(Arc::downgrade(open));
    }
}

/// No invariant of ours spans a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
