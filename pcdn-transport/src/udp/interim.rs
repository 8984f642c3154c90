//! Interim shell.
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pcdn_core::async_trait;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::*;
use pcdn_core::unit::Time;
use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc, oneshot};

use super::{Endpoint, Event, SessionId, UdpConfig};
use crate::udp::endpoint::DialId;

type ChunkTx = mpsc::UnboundedSender<Result<Chunk, FetchError>>;

#[derive(Debug)]
struct Inner {
    core: Endpoint,
    dials: HashMap<DialId, oneshot::Sender<Option<SessionId>>>,
    fetches: HashMap<(SessionId, u32), ChunkTx>,
    inboxes: HashMap<SessionId, mpsc::UnboundedSender<Bytes>>,
    opens: HashMap<(SessionId, u32), tokio::task::AbortHandle>,
}
#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    notify: Notify,
    start: Instant,
    me: Arc<dyn Provider>,
    addr: SocketAddr,
}
impl Shared {
    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
/// Interim.
#[derive(Debug)]
pub struct Udp {
    shared: Arc<Shared>,
    accepted: tokio::sync::Mutex<mpsc::UnboundedReceiver<Arc<dyn Session>>>,
    task: tokio::task::AbortHandle,
}
impl Udp {
    /// Interim.
    pub async fn bind(addr: SocketAddr, me: &Identity, provider: Arc<dyn Provider>, config: UdpConfig) -> Result<Self, TransportError> {
        let io = |source| TransportError::Io { what: "bind".into(), source };
        let socket = UdpSocket::bind(addr).await.map_err(io)?;
        let s = socket2::SockRef::from(&socket);
        let _ = s.set_recv_buffer_size(4 << 20);
        let _ = s.set_send_buffer_size(4 << 20);
        let addr = socket.local_addr().map_err(io)?;
        let mut seed = [0; 32];
        let _ = getrandom::fill(&mut seed);
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner { core: Endpoint::new(me.clone(), config, seed), dials: HashMap::new(), fetches: HashMap::new(), inboxes: HashMap::new(), opens: HashMap::new() }),
            notify: Notify::new(),
            start: Instant::now(),
            me: provider,
            addr,
        });
        let (tx, rx) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(shared.clone(), socket, tx)).abort_handle();
        Ok(Self { shared, accepted: tokio::sync::Mutex::new(rx), task })
    }
}
async fn run(shared: Arc<Shared>, socket: UdpSocket, accepted: mpsc::UnboundedSender<Arc<dyn Session>>) {
    let mut buffer = vec![0; 2048];
    let mut out = Vec::new();
    loop {
        let now = shared.now();
        shared.lock().core.wake(now);
        events(&shared, &accepted);
        loop {
            out.clear();
            let t = shared.lock().core.poll_transmit(shared.now(), 1, &mut out);
            let Some(t) = t else { break };
            let _ = socket.send_to(&out, t.to).await;
        }
        let wake = shared.lock().core.next_wake().since(shared.now());
        tokio::select! {
            _ = socket.readable() => {
                for _ in 0..64 {
                    match socket.try_recv_from(&mut buffer) {
                        Ok((n, from)) => shared.lock().core.handle(shared.now(), from, &mut buffer[..n]),
                        Err(_) => break,
                    }
                }
            }
            () = shared.notify.notified() => {}
            () = tokio::time::sleep(wake) => {}
        }
        events(&shared, &accepted);
    }
}
fn events(shared: &Arc<Shared>, accepted: &mpsc::UnboundedSender<Arc<dyn Session>>) {
    loop {
        let mut inner = shared.lock();
        let Some(event) = inner.core.poll_event() else { return };
        match event {
            Event::Connected { dial, session, .. } => {
                if let Some(tx) = inner.dials.remove(&dial) { let _ = tx.send(Some(session)); }
            }
            Event::Unreachable { dial } => {
                if let Some(tx) = inner.dials.remove(&dial) { let _ = tx.send(None); }
            }
            Event::Accepted { session, peer } => {
                let s = open(shared, &mut inner, session, peer);
                let _ = accepted.send(s);
            }
            Event::Closed { session, .. } => {
                inner.inboxes.remove(&session);
                inner.fetches.retain(|(s, _), _| *s != session);
                inner.opens.retain(|(s, _), h| { if *s == session { h.abort(); } *s != session });
            }
            Event::Open { session, peer, fetch, want } => {
                let sh = shared.clone();
                let h = tokio::spawn(async move {
                    let answer = sh.me.open(&peer, &want).await;
                    let mut inner = sh.lock();
                    let now = sh.now();
                    inner.opens.remove(&(session, fetch));
                    match answer {
                        Ok(grant) => inner.core.granted(now, session, fetch, grant),
                        Err(why) => inner.core.refused(now, session, fetch, why),
                    }
                    sh.notify.notify_one();
                });
                inner.opens.insert((session, fetch), h.abort_handle());
            }
            Event::Abandon { session, fetch } => {
                if let Some(h) = inner.opens.remove(&(session, fetch)) { h.abort(); }
            }
            Event::Chunk { session, fetch, chunk } => {
                if let Some(tx) = inner.fetches.get(&(session, fetch)) { let _ = tx.send(Ok(chunk)); }
            }
            Event::Fetched { session, fetch } => { inner.fetches.remove(&(session, fetch)); }
            Event::FetchFailed { session, fetch, why } => {
                if let Some(tx) = inner.fetches.remove(&(session, fetch)) { let _ = tx.send(Err(why)); }
            }
            Event::Message { session, message } => {
                let now = shared.now();
                let len = message.len();
                if let Some(tx) = inner.inboxes.get(&session) { let _ = tx.send(message); }
                inner.core.message_read(now, session, len);
            }
            Event::Delivered { .. } => {}
        }
    }
}
fn open(shared: &Arc<Shared>, inner: &mut Inner, id: SessionId, peer: PeerId) -> Arc<dyn Session> {
    let (tx, rx) = mpsc::unbounded_channel();
    inner.inboxes.insert(id, tx);
    Arc::new(S { shared: shared.clone(), id, peer, inbox: tokio::sync::Mutex::new(rx) })
}
#[derive(Debug)]
struct S {
    shared: Arc<Shared>,
    id: SessionId,
    peer: PeerId,
    inbox: tokio::sync::Mutex<mpsc::UnboundedReceiver<Bytes>>,
}
#[async_trait]
impl Transport for Udp {
    fn scheme(&self) -> Scheme { Scheme::Udp }
    fn local(&self) -> Vec<PeerAddr> { vec![PeerAddr { scheme: Scheme::Udp, addr: self.shared.addr }] }
    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        let addrs: Vec<SocketAddr> = peer.addrs.iter().filter(|a| a.scheme == Scheme::Udp).map(|a| a.addr).collect();
        let (tx, rx) = oneshot::channel();
        {
            let mut inner = self.shared.lock();
            let now = self.shared.now();
            let dial = inner.core.connect(now, peer.id, &addrs);
            inner.dials.insert(dial, tx);
        }
        self.shared.notify.notify_one();
        match rx.await {
            Ok(Some(session)) => { let mut inner = self.shared.lock(); Ok(open(&self.shared, &mut inner, session, peer.id)) }
            _ => Err(peer.addrs.first().map_or(TransportError::Closed, |a| TransportError::Silent(*a))),
        }
    }
    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        self.accepted.lock().await.recv().await.ok_or(TransportError::Closed)
    }
    async fn close(&self, _: Duration) {
        { let now = self.shared.now(); self.shared.lock().core.close_all(now); }
        self.shared.notify.notify_one();
        tokio::time::sleep(Duration::from_millis(50)).await;
        self.task.abort();
    }
}
#[async_trait]
impl Session for S {
    fn peer(&self) -> PeerId { self.peer }
    fn path(&self) -> PathStats { self.shared.lock().core.path(self.shared.now(), self.id).unwrap_or_default() }
    fn fetch(&self, want: Fetch) -> Fetching {
        let (tx, rx) = mpsc::unbounded_channel();
        let mut inner = self.shared.lock();
        let now = self.shared.now();
        let number = inner.core.fetch(now, self.id, want);
        match number {
            Some(n) => { inner.fetches.insert((self.id, n), tx); }
            None => { let _ = tx.send(Err(FetchError::Closed)); }
        }
        drop(inner);
        self.shared.notify.notify_one();
        Fetching::new(Box::pin(F { rx, shared: self.shared.clone(), key: number.map(|n| (self.id, n)) }))
    }
    async fn send(&self, message: Bytes) -> Result<(), TransportError> {
        let mut inner = self.shared.lock();
        if !inner.inboxes.contains_key(&self.id) { return Err(TransportError::Closed); }
        let now = self.shared.now();
        inner.core.send(now, self.id, &message);
        drop(inner);
        self.shared.notify.notify_one();
        Ok(())
    }
    async fn recv(&self) -> Result<Bytes, TransportError> {
        self.inbox.lock().await.recv().await.ok_or(TransportError::Closed)
    }
    fn close(&self) {
        let now = self.shared.now();
        self.shared.lock().core.close(now, self.id);
        self.shared.notify.notify_one();
    }
}
struct F { rx: mpsc::UnboundedReceiver<Result<Chunk, FetchError>>, shared: Arc<Shared>, key: Option<(SessionId, u32)> }
impl futures_core::Stream for F {
    type Item = Result<Chunk, FetchError>;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> { self.rx.poll_recv(cx) }
}
impl Drop for F {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let now = self.shared.now();
            let mut inner = self.shared.lock();
            if inner.fetches.remove(&key).is_some() { inner.core.cancel(now, key.0, key.1); }
            drop(inner);
            self.shared.notify.notify_one();
        }
    }
}
