//! What peers give: wrong bytes, wrong lengths, drops of water, nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pcdn::Node;
use pcdn::core::async_trait;
use pcdn::core::bitmap::Bitmap;
use pcdn::core::id::{Identity, PeerId};
use pcdn::core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn::core::schedule::Policy;
use pcdn::core::transport::{
    Chunk, Fetch, FetchError, Fetching, PathStats, Refuse, Session, Transport, TransportError,
};
use pcdn::core::wire::{self, HaveSegment, Message, Status};
use pcdn::node::{ManifestFrom, Settings};
use pcdn::testing::{Fault, content, manifest_of};
use tokio::sync::{Notify, Semaphore};

use crate::world::{
    LEN, PIECE_LOG2, SEGMENT_BYTES, cut, delivered, node_of, origin, segments, swarm, until, url,
};

/// How a peer answers a request for a piece of `len` bytes.
type Answer = fn(len: u32) -> Vec<Result<Chunk, FetchError>>;

/// A transport that reaches one peer only: it says that it holds everything, and answers as told.
#[derive(Debug)]
struct Lair {
    keeper: Arc<Keeper>,
}

#[derive(Debug)]
struct Keeper {
    id: PeerId,
    /// What it says once it is greeted, last first.
    words: Mutex<Vec<Bytes>>,
    greeted: Notify,
    answer: Answer,
    /// After its answer it neither ends nor goes on.
    hangs: bool,
    asked: AtomicU64,
    /// Has no permits; closed with the session.
    open: Semaphore,
}

fn addr() -> PeerAddr {
    PeerAddr { scheme: Scheme::Other, addr: SocketAddr::from(([192, 0, 2, 1], 1)) }
}

#[async_trait]
impl Transport for Lair {
    fn scheme(&self) -> Scheme {
        Scheme::Other
    }
    fn local(&self) -> Vec<PeerAddr> {
        Vec::new()
    }
    async fn connect(&self, _: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        // A second link to the same peer is not what these tests are about.
        let first = self.keeper.asked.load(Ordering::Relaxed) == 0 && !self.keeper.open.is_closed();
        if first { Ok(Arc::new(Den(self.keeper.clone()))) } else { Err(TransportError::Silent(addr())) }
    }
    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        let _ = self.keeper.open.acquire().await;
        Err(TransportError::Closed)
    }
    async fn close(&self, _: Duration) {
        self.keeper.open.close();
    }
}

#[derive(Debug)]
struct Den(Arc<Keeper>);

#[async_trait]
impl Session for Den {
    fn peer(&self) -> PeerId {
        self.0.id
    }
    fn path(&self) -> PathStats {
        let rtt = Duration::from_millis(1);
        PathStats { rtt, rtt_min: rtt, ..PathStats::default() }
    }
    fn fetch(&self, want: Fetch) -> Fetching {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let steps = futures_util::stream::iter((self.0.answer)(want.len));
        if self.0.hangs {
            let pending = futures_util::stream::pending();
            Fetching::new(Box::pin(futures_util::StreamExt::chain(steps, pending)))
        } else {
            Fetching::new(Box::pin(steps))
        }
    }
    async fn send(&self, _: Bytes) -> Result<(), TransportError> {
        self.0.greeted.notify_one();
        Ok(())
    }
    async fn recv(&self) -> Result<Bytes, TransportError> {
        let next = async {
            loop {
                self.0.greeted.notified().await;
                if let Some(word) = self.0.words.lock().unwrap().pop() {
                    return word;
                }
            }
        };
        tokio::select! {
            word = next => Ok(word),
            _ = self.0.open.acquire() => Err(TransportError::Closed),
        }
    }
    fn close(&self) {
        self.0.open.close();
    }
}

fn ok(offset: u32, bytes: Vec<u8>) -> Result<Chunk, FetchError> {
    Ok(Chunk { offset, bytes: bytes.into() })
}

/// Downloads the film beside a peer that answers so, and gives what became of it.
async fn beside(answer: Answer, hangs: bool) -> (u64, pcdn::node::SwarmReport, PeerId) {
    let bad = Identity::from_secret([66; 32]).peer_id();
    let key = swarm().await;
    let all = segments().map(|(segment, layout)| {
        let mut bitmap = Bitmap::new(layout.pieces());
        (0..layout.pieces()).for_each(|piece| _ = bitmap.set(piece));
        HaveSegment { segment, layout, bitmap }
    });
    let status = Status { complete: true, ..Status::default() };
    let says = [
        Message::Have { status, segments: all.collect() },
        Message::Hello { ports: Vec::new(), answer: true, appears: None },
    ];
    let words = Mutex::new(says.iter().map(|message| wire::encode(&key, message)).collect());
    let open = Semaphore::new(0);
    let (greeted, asked) = (Notify::new(), AtomicU64::new(0));
    let keeper = Arc::new(Keeper { id: bad, words, greeted, answer, hangs, asked, open });
    let film = content(LEN, 1);
    let publisher = Identity::from_secret([9; 32]);
    let rule = pcdn::core::fragment::Fragmenter::rule(&cut());
    let manifest = manifest_of(&film, rule, SEGMENT_BYTES, PIECE_LOG2, &publisher);
    let sidecar = format!("{}.pcdn", url()).parse().unwrap();
    // Slow, or nobody would ask a peer for anything.
    let origin = origin().with(&sidecar, manifest).always(Fault::Drip(1_000));
    let settings = Settings { manifest: ManifestFrom::Sidecar, policy: Policy::Cost, ..Settings::default() };
    let record = PeerRecord { id: bad, addrs: vec![addr()], seed: false };
    let lair = Lair { keeper: keeper.clone() };
    let builder = Node::builder(Identity::from_secret([1; 32])).settings(settings).transport(lair);
    let node = node_of(builder, &origin, vec![record]);
    let asset = node.open(&url()).await.unwrap();
    until("the peer says that it has everything", async || {
        asset.status().await.unwrap().peers.iter().any(|peer| peer.holds > 0)
    })
    .await;
    delivered(&asset).await;
    let report = asset.report().await;
    node.shutdown(Duration::from_secs(5)).await;
    (keeper.asked.load(Ordering::Relaxed), report, bad)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_thrown_away_and_their_giver_is_banned() {
    let (asked, report, bad) = beside(|len| vec![ok(0, vec![0; len as usize])], false).await;
    assert!(asked > 0);
    assert_eq!((report.from_peers, report.banned), (0, vec![bad]));
    assert!(report.rejected_pieces > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_lengths_and_places_are_no_piece() {
    let answers: [Answer; 7] = [
        |_| Vec::new(),
        |len| vec![ok(0, vec![1; len as usize - 1])],
        |len| vec![ok(0, vec![1; len as usize + 1])],
        |len| vec![ok(u32::MAX, vec![1; len as usize])],
        |len| vec![ok(0, vec![1; len as usize / 2]), ok(len, vec![1; 1])],
        |_| vec![ok(0, vec![1; 1 << 20])],
        |_| (0..10_000).map(|_| ok(0, Vec::new())).collect(),
    ];
    for answer in answers {
        let (asked, report, _) = beside(answer, false).await;
        assert!(asked > 0);
        assert_eq!((report.from_peers, report.rejected_pieces), (0, 0), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_chunks_do_not_pass_for_a_whole_piece() {
    let (asked, report, bad) = beside(|len| vec![ok(0, vec![1; len as usize / 2]); 2], false).await;
    assert!(asked > 0);
    assert_eq!((report.from_peers, report.banned), (0, vec![bad]), "the hole is found by the digest");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_cost_nothing_but_the_asking() {
    let answers: [Answer; 4] = [
        |_| vec![Err(FetchError::Refused(Refuse::NotHere))],
        |_| vec![Err(FetchError::Refused(Refuse::Busy(Duration::MAX)))],
        |_| vec![Err(FetchError::Refused(Refuse::Busy(Duration::ZERO)))],
        |_| vec![Err(FetchError::Violation("nonsense".to_owned()))],
    ];
    for answer in answers {
        let (asked, report, _) = beside(answer, false).await;
        assert!(asked > 0);
        assert_eq!((report.from_peers, report.banned.len()), (0, 0), "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_begins_and_never_ends_is_not_waited_for() {
    let began = std::time::Instant::now();
    // Nothing; one byte; all but one byte.
    let answers: [Answer; 3] =
        [|_| Vec::new(), |_| vec![ok(0, vec![1])], |len| vec![ok(0, vec![1; len as usize - 1])]];
    for answer in answers {
        let (asked, report, _) = beside(answer, true).await;
        assert!(asked > 0);
        assert_eq!((report.from_peers, report.banned.len()), (0, 0), "slow is not false: {report:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}
