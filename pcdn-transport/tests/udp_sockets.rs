//! The UDP transport over real sockets on the loopback interface.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{
    Class, Fetch, FetchError, Grant, MESSAGE_BYTES_MAX, Provider, Refuse, Session, Transport, TransportError,
};
use pcdn_core::verify::Verified;
use pcdn_transport::udp::{Udp, UdpConfig};
use tokio::sync::Notify;

const PIECE: u32 = 65_536;
/// The provider never answers for this segment, and refuses the next.
const STUCK: u64 = 1000;
const REFUSED: u64 = 1001;

#[derive(Debug)]
struct Shelf {
    piece: Bytes,
    opened: AtomicUsize,
    given_up: Arc<Notify>,
}

impl Shelf {
    fn new() -> Arc<Self> {
        let piece = (0..PIECE).map(|i| ((i * 31) >> 3) as u8).collect();
        Arc::new(Self { piece, opened: AtomicUsize::new(0), given_up: Arc::default() })
    }
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

#[async_trait]
impl Provider for Shelf {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        match want.piece.segment.0 {
            STUCK => {
                let _told = OnDrop(Arc::clone(&self.given_up));
                std::future::pending().await
            }
            REFUSED => Err(Refuse::NotHere),
            _ => Ok(Grant::new(Verified::for_test(self.piece.clone()), None)),
        }
    }
}

fn id(n: u8) -> Identity {
    Identity::from_secret([n; 32])
}

async fn bind(n: u8, shelf: &Arc<Shelf>) -> Udp {
    let provider: Arc<dyn Provider> = shelf.clone();
    Udp::bind("127.0.0.1:0".parse().unwrap(), &id(n), provider, UdpConfig::default()).await.unwrap()
}

async fn pair(shelf: &Arc<Shelf>) -> (Udp, Udp, Arc<dyn Session>, Arc<dyn Session>) {
    let (a, b) = (bind(1, shelf).await, bind(2, shelf).await);
    let record = PeerRecord { id: id(2).peer_id(), addrs: b.local(), seed: true };
    let (here, there) = tokio::join!(a.connect(&record), b.accept());
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!((here.peer(), there.peer()), (id(2).peer_id(), id(1).peer_id()));
    (a, b, here, there)
}

fn fetch(segment: u64) -> Fetch {
    let piece = Layout::new(PIECE.into(), 16).unwrap().piece(0).unwrap();
    Fetch {
        swarm: SwarmKey([3; 32]),
        piece: PieceKey { segment: SegmentId(segment), piece },
        len: PIECE,
        want: vec![],
        class: Class::Normal,
        within: Duration::from_secs(20),
    }
}

/// The piece, joined from its chunks, and how many there were.
async fn whole(session: &dyn Session, segment: u64) -> Result<(Vec<u8>, usize), FetchError> {
    let mut fetching = session.fetch(fetch(segment));
    let (mut bytes, mut count) = (vec![0; PIECE as usize], 0);
    while let Some(chunk) = fetching.next().await {
        let chunk = chunk?;
        bytes[chunk.offset as usize..][..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
        count += 1;
    }
    Ok((bytes, count))
}

/// CPU seconds of this process so far, user and system, in clock ticks of 10 ms.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

#[tokio::test]
async fn two_nodes_exchange_64_mib_of_pieces() {
    let shelf = Shelf::new();
    let (_a, b, here, there) = pair(&shelf).await;
    let (began, cpu) = (Instant::now(), cpu_seconds());
    const PIECES: u64 = 1024;
    let pull = |session: Arc<dyn Session>, worker: u64| {
        let shelf = Arc::clone(&shelf);
        tokio::spawn(async move {
            let mut chunks = 0;
            for n in 0..PIECES / 16 {
                let (bytes, count) = whole(&*session, 10_000 + worker * 1000 + n).await.unwrap();
                assert!(bytes == shelf.piece);
                chunks += count;
            }
            chunks
        })
    };
    let workers: Vec<_> =
        (0..16).map(|n| pull(if n % 2 == 0 { here.clone() } else { there.clone() }, n)).collect();
    let mut chunks = 0;
    for worker in workers {
        chunks += worker.await.unwrap();
    }
    let (took, cpu) = (began.elapsed(), cpu_seconds() - cpu);
    let gb = (PIECES * u64::from(PIECE)) as f64 / 1e9;
    #[allow(clippy::print_stdout)]
    {
        println!(
            "64 MiB both ways over loopback: {took:?}, {:.2} CPU-s/GB (both ends, the test included), {:.1} chunks a piece, {:?}, {:?}",
            cpu / gb,
            chunks as f64 / PIECES as f64,
            b.counters(),
            here.path()
        );
    }
    assert!(here.path().rtt > Duration::ZERO && here.path().remote.is_some());
}

#[tokio::test]
async fn messages_refusals_stuck_requests_and_cancels() {
    let shelf = Shelf::new();
    let (_a, _b, here, there) = pair(&shelf).await;
    for len in [0, 5, 3000, MESSAGE_BYTES_MAX] {
        let message = Bytes::from(vec![7; len]);
        here.send(message.clone()).await.unwrap();
        assert_eq!(there.recv().await.unwrap(), message);
    }
    let long = here.send(vec![0; MESSAGE_BYTES_MAX + 1].into()).await;
    assert!(matches!(long, Err(TransportError::TooLong(_))));

    let stuck = here.fetch(fetch(STUCK));
    assert_eq!(whole(&*here, REFUSED).await.unwrap_err(), FetchError::Refused(Refuse::NotHere));
    assert!(whole(&*here, 1).await.unwrap().0 == shelf.piece);
    drop(stuck);
    shelf.given_up.notified().await;

    let mut pending = here.fetch(fetch(STUCK));
    assert!(whole(&*there, 2).await.is_ok());
    there.close();
    assert_eq!(pending.next().await, Some(Err(FetchError::Closed)));
    assert_eq!(pending.next().await, None);
    assert!(matches!(here.recv().await, Err(TransportError::Closed)));
    assert!(matches!(here.send("x".into()).await, Err(TransportError::Closed)));
    assert_eq!(whole(&*here, 3).await.unwrap_err(), FetchError::Closed);
}

#[tokio::test]
async fn messages_wait_for_a_reader_and_none_is_lost() {
    let shelf = Shelf::new();
    let (_a, _b, here, there) = pair(&shelf).await;
    let sender = tokio::spawn({
        let here = here.clone();
        async move {
            for n in 0..40u8 {
                here.send(vec![n; 40_000].into()).await.unwrap();
            }
        }
    });
    for n in 0..40u8 {
        assert_eq!(there.recv().await.unwrap(), vec![n; 40_000]);
    }
    sender.await.unwrap();
}

#[tokio::test]
async fn closing_the_transport_ends_sessions_and_accepts() {
    let shelf = Shelf::new();
    let (a, b, here, there) = pair(&shelf).await;
    a.close(Duration::from_secs(1)).await;
    assert!(matches!(there.recv().await, Err(TransportError::Closed)));
    assert!(matches!(here.recv().await, Err(TransportError::Closed)));
    assert!(matches!(a.accept().await, Err(TransportError::Closed)));
    let record = PeerRecord { id: id(2).peer_id(), addrs: b.local(), seed: true };
    assert!(matches!(a.connect(&record).await, Err(TransportError::Closed)));
}

#[tokio::test]
async fn a_call_to_the_wrong_key_or_without_address_fails() {
    let shelf = Shelf::new();
    let provider: Arc<dyn Provider> = shelf.clone();
    let config = UdpConfig { handshake_timeout: Duration::from_millis(400), ..UdpConfig::default() };
    let a = Udp::bind("127.0.0.1:0".parse().unwrap(), &id(1), provider, config).await.unwrap();
    let b = bind(2, &shelf).await;
    let impostor = PeerRecord { id: id(9).peer_id(), addrs: b.local(), seed: false };
    assert!(matches!(a.connect(&impostor).await, Err(TransportError::Silent(_))));
    let quic = PeerAddr { scheme: Scheme::Quic, addr: "127.0.0.1:1".parse().unwrap() };
    let elsewhere = PeerRecord { id: id(2).peer_id(), addrs: vec![quic], seed: false };
    assert!(matches!(a.connect(&elsewhere).await, Err(TransportError::NoAddress(Scheme::Udp))));
}
