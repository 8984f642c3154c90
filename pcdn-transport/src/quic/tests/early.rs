//! Sessions with peers met before, in virtual time: what they save, and who gets nothing by them.

mod strangers;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use pcdn_core::transport::{Grant, Refuse};
use tokio::time::Instant;

use super::link::Link;
use super::*;
use crate::quic::early::EARLY_MAX;
use crate::quic::resume::TICKETS_GIVEN;
use crate::quic::tickets::GOOD_FOR;

const ROUND_TRIP: Duration = Duration::from_millis(50);
/// Acknowledgements and timers of a millisecond.
const SLACK: Duration = Duration::from_millis(5);

/// Counts what is asked of the shelf.
#[derive(Debug)]
struct Desk {
    shelf: Arc<Shelf>,
    asked: AtomicUsize,
    who: Mutex<BTreeSet<pcdn_core::id::PeerId>>,
}

impl Desk {
    fn new() -> Arc<Self> {
        Arc::new(Self { shelf: Shelf::new(), asked: AtomicUsize::new(0), who: Mutex::default() })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Provider for Desk {
    async fn open(&self, peer: &pcdn_core::id::PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.who.lock().unwrap().insert(*peer);
        self.shelf.open(peer, want).await
    }
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 4_000))
}

fn net() -> Arc<Link> {
    let mut link = Link::new(&[], 1e9, 0, Duration::ZERO);
    Arc::get_mut(&mut link).unwrap().delay = ROUND_TRIP / 2;
    link
}

fn on(link: &Arc<Link>, n: u8, provider: Arc<dyn Provider>, config: QuicConfig) -> Quic {
    Quic::on(link.socket(addr(n)), &id(n), provider, config, Limits::new(Rates::default())).unwrap()
}

/// A node that asks (1), one that gives (2) and what is asked of it. They have met before.
async fn met(link: &Arc<Link>) -> (Quic, Quic, Arc<Desk>) {
    let desk = Desk::new();
    let asker = on(link, 1, Shelf::new(), private("sixteen bytes or more"));
    let giver = on(link, 2, desk.clone(), private("sixteen bytes or more"));
    let session = asker.connect(&record(2, &giver)).await.unwrap();
    giver.accept().await.unwrap();
    // Tickets come right after the proof.
    tokio::time::sleep(ROUND_TRIP).await;
    session.close();
    tokio::time::sleep(ROUND_TRIP).await;
    (asker, giver, desk)
}

/// How long the first byte of a fetch takes, with all that comes before.
async fn first_byte(open: impl Future<Output = Arc<dyn Session>>) -> (Duration, Arc<dyn Session>) {
    let begun = Instant::now();
    let session = open.await;
    session.fetch(fetch(1)).next().await.unwrap().unwrap();
    (begun.elapsed(), session)
}

#[tokio::test(start_paused = true)]
async fn a_peer_met_before_gives_its_first_byte_in_one_round_trip_instead_of_three() {
    let link = net();
    let (asker, giver, desk) = met(&link).await;
    let record = record(2, &giver);
    let dial = async |asker: &Quic| asker.connect(&record).await.unwrap();
    let stranger = on(&link, 3, Shelf::new(), private("sixteen bytes or more"));
    let (never, _a) = first_byte(dial(&stranger)).await;
    let (again, _b) = first_byte(dial(&asker)).await;
    let (at_once, session) = first_byte(async { asker.resume(&record).unwrap() }).await;
    println!("first byte: {never:?} with a stranger, {again:?} dialled again, {at_once:?} in early data");
    for (took, trips) in [(never, 3), (again, 2), (at_once, 1)] {
        assert!(
            took >= ROUND_TRIP * trips && took < ROUND_TRIP * trips + SLACK,
            "{took:?}, {trips} round trips"
        );
    }
    // It is a session like any other, and the other end knows whose.
    assert_eq!(session.peer(), id(2).peer_id());
    let mut theirs = Vec::new();
    for _ in 0..3 {
        theirs.push(giver.accept().await.unwrap());
    }
    session.send("hello".into()).await.unwrap();
    assert_eq!(theirs[2].recv().await.unwrap(), "hello");
    theirs[2].send("welcome".into()).await.unwrap();
    assert_eq!(session.recv().await.unwrap(), "welcome");
    assert_eq!(collect(session.fetch(fetch(2))).await.unwrap().len(), PIECE as usize);
    assert_eq!(desk.who.lock().unwrap().len(), 2, "the peers of the tickets, and no others");
    assert_eq!(giver.counters().early, 1);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_is_not_known_any_more_costs_a_round_trip_and_nothing_else() {
    let link = net();
    let (asker, giver, _) = met(&link).await;
    let record = record(2, &giver);
    giver.close(Duration::ZERO).await;
    drop(giver);
    // It starts anew, with the same key at the same address.
    let desk = Desk::new();
    let giver = on(&link, 2, desk.clone(), private("sixteen bytes or more"));
    let begun = Instant::now();
    let session = asker.resume(&record).unwrap();
    let fetches: Vec<_> =
        (0..2 * EARLY_MAX as u64).map(|segment| collect(session.fetch(fetch(segment)))).collect();
    for got in futures_util::future::join_all(fetches).await {
        assert_eq!(got.unwrap().len(), PIECE as usize);
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!((desk.asked(), giver.counters().early), (2 * EARLY_MAX, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_moved_is_found_at_another_of_its_addresses() {
    let link = net();
    let (asker, giver, desk) = met(&link).await;
    let dead = PeerAddr { scheme: Scheme::Quic, addr: addr(9) };
    let both = PeerRecord { addrs: vec![dead, giver.local()[0]], ..record(2, &giver) };
    let session = asker.resume(&both).unwrap();
    assert_eq!(collect(session.fetch(fetch(1))).await.unwrap().len(), PIECE as usize);
    assert_eq!(desk.asked(), 1);
    // And one that is nowhere fails as it would have.
    let nowhere = PeerRecord { addrs: vec![dead], ..both };
    if let Some(session) = asker.resume(&nowhere) {
        assert!(collect(session.fetch(fetch(1))).await.is_err());
        assert!(session.recv().await.is_err() && session.send("x".into()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_flight_that_is_played_again_gets_nothing() {
    let link = net();
    let (asker, giver, desk) = met(&link).await;
    link.state.lock().unwrap().heard = Some(Vec::new());
    let session = asker.resume(&record(2, &giver)).unwrap();
    assert_eq!(collect(session.fetch(fetch(1))).await.unwrap().len(), PIECE as usize);
    assert_eq!((desk.asked(), giver.counters().early), (1, 1));
    session.close();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let heard = link.state.lock().unwrap().heard.take().unwrap();
    // From its own address, and from somebody else's, all that the asker ever said.
    for from in [addr(1), addr(7)] {
        for (_, to, bytes) in heard.iter().filter(|(from, ..)| *from == addr(1)) {
            link.send(from, *to, bytes);
        }
        tokio::time::sleep(Duration::from_secs(12)).await;
    }
    assert_eq!((desk.asked(), giver.counters().early), (1, 1));
    assert_eq!(giver.hub.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_good_for_an_hour_and_a_peer_has_a_few() {
    let link = net();
    let (asker, giver, desk) = met(&link).await;
    let record = record(2, &giver);
    let unanswered: Vec<_> = std::iter::from_fn(|| asker.resume(&record)).collect();
    assert_eq!(unanswered.len(), TICKETS_GIVEN);
    tokio::time::sleep(ROUND_TRIP * 4).await;
    // Each brought new ones.
    let session = asker.resume(&record).unwrap();
    tokio::time::sleep(ROUND_TRIP * 4).await;
    drop((session, unanswered));
    tokio::time::sleep(GOOD_FOR).await;
    assert!(asker.resume(&record).is_none());
    assert_eq!(desk.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_must_prove_its_address_first_loses_time_and_no_fetch() {
    let (link, desk) = (net(), Desk::new());
    let giver = on(&link, 2, desk.clone(), QuicConfig { handshakes_per_second: 0, ..QuicConfig::default() });
    let asker = on(&link, 1, Shelf::new(), QuicConfig::default());
    let first = asker.connect(&record(2, &giver)).await.unwrap();
    tokio::time::sleep(ROUND_TRIP).await;
    first.close();
    let session = asker.resume(&record(2, &giver)).unwrap();
    assert_eq!(collect(session.fetch(fetch(1))).await.unwrap().len(), PIECE as usize);
    assert_eq!(desk.asked(), 1);
}
