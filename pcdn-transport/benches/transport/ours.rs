//! Our transports as contenders, as a node uses them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Class, Fetch, Grant, Provider, Refuse, Session, Transport};
use pcdn_core::verify::Verified;
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::udp::{Udp, UdpConfig};

use crate::contender::{Puller, SIZES};

/// Has every piece.
#[derive(Debug)]
pub(crate) struct Shelf {
    pieces: [Bytes; SIZES.len()],
}

impl Shelf {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { pieces: SIZES.map(|size| vec![7; size].into()) })
    }
}

#[async_trait]
impl Provider for Shelf {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        let piece = self.pieces.iter().find(|piece| piece.len() == want.len as usize);
        piece.map(|piece| Grant::new(Verified::for_test(piece.clone()), None)).ok_or(Refuse::NotHere)
    }
}

pub(crate) fn identity(n: usize) -> Identity {
    let mut secret = [9; 32];
    secret[..8].copy_from_slice(&(n as u64).to_be_bytes());
    Identity::from_secret(secret)
}

/// The node that asks: one of many processes may be asking.
fn asker() -> Identity {
    identity((1 << 32) + std::process::id() as usize)
}

async fn bind(scheme: Scheme, ip: IpAddr, me: &Identity) -> Arc<dyn Transport> {
    let addr = SocketAddr::new(ip, 0);
    match scheme {
        Scheme::Udp => Arc::new(Udp::bind(addr, me, Shelf::new(), UdpConfig::default()).await.unwrap()),
        _ => Arc::new(Quic::bind(addr, me, Shelf::new(), QuicConfig::default()).await.unwrap()),
    }
}

pub(crate) async fn serve(scheme: Scheme, peers: usize, ip: IpAddr) -> (Vec<SocketAddr>, Box<dyn Send>) {
    let mut transports = Vec::new();
    for n in 0..peers {
        transports.push(bind(scheme, ip, &identity(n)).await);
    }
    let addrs = transports.iter().map(|transport| transport.local()[0].addr).collect();
    for transport in &transports {
        let transport = Arc::clone(transport);
        tokio::spawn(async move {
            let mut sessions = Vec::new();
            while let Ok(session) = transport.accept().await {
                sessions.push(session);
            }
        });
    }
    (addrs, Box::new(Served(transports)))
}

struct Served(Vec<Arc<dyn Transport>>);

impl Drop for Served {
    fn drop(&mut self) {
        for transport in self.0.drain(..) {
            tokio::spawn(async move { transport.close(Duration::from_secs(1)).await });
        }
    }
}

pub(crate) async fn connect(scheme: Scheme, peers: &[SocketAddr]) -> Vec<Arc<dyn Puller>> {
    let transport = bind(scheme, Ipv4Addr::UNSPECIFIED.into(), &asker()).await;
    let calls = peers.iter().enumerate().map(|(n, addr)| {
        let transport = Arc::clone(&transport);
        let addrs = vec![PeerAddr { scheme, addr: *addr }];
        let record = PeerRecord { id: identity(n).peer_id(), addrs, seed: true };
        async move {
            let session = transport.connect(&record).await.unwrap();
            Arc::new(Ours { _transport: transport, session, segment: AtomicU64::new(0) }) as Arc<dyn Puller>
        }
    });
    futures_util::future::join_all(calls).await
}

struct Ours {
    session: Arc<dyn Session>,
    _transport: Arc<dyn Transport>,
    segment: AtomicU64,
}

#[async_trait]
impl Puller for Ours {
    async fn pull(&self, size: usize, bytes: &AtomicU64) {
        let segment = SegmentId(self.segment.fetch_add(1, Ordering::Relaxed));
        let mut fetching = self.session.fetch(fetch(segment, size));
        while let Some(chunk) = fetching.next().await {
            bytes.fetch_add(chunk.unwrap().bytes.len() as u64, Ordering::Relaxed);
        }
    }
}

fn fetch(segment: SegmentId, size: usize) -> Fetch {
    let piece = Layout::new(size as u64, size.ilog2() as u8).unwrap().piece(0).unwrap();
    Fetch {
        swarm: SwarmKey([3; 32]),
        piece: PieceKey { segment, piece },
        len: size as u32,
        want: vec![],
        class: Class::Normal,
        within: Duration::from_secs(30),
    }
}
