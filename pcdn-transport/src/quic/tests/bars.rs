//! What a household feels while a node gives all it can, in virtual time.

use std::sync::atomic::{AtomicU64, Ordering};

use pcdn_core::unit::Rate;
use tokio::time::Instant;

use super::link::Link;
use super::*;
use crate::limit::Limits;

const LINE: Rate = Rate(2_500_000);
const PEERS: u8 = 8;
const UNDER_WAY: usize = 4;
const SPAN: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Felt {
    /// Of the line, with everything that is not content.
    goodput: f64,
    /// What a ping waits in the line's queue.
    queue: Duration,
}

fn unlimited() -> Limits {
    Limits::new(Rates::default())
}

fn addr(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 4_000))
}

/// A home behind 20 Mbit/s with 300 ms of buffer and 20 ms of round trip gives to eight peers at once.
async fn home(congestion: Congestion, loss: u64, busy: Duration) -> Felt {
    let link = Link::new(addr(1), LINE.0 as f64, loss, busy);
    let config = QuicConfig { congestion, ..QuicConfig::default() };
    let on =
        |n: u8| Quic::on(link.socket(addr(n)), &id(n), Shelf::new(), config.clone(), unlimited()).unwrap();
    let giver = on(1);
    let record = PeerRecord { id: id(1).peer_id(), addrs: giver.local(), seed: false };
    let (got, mut takers, mut tasks) = (Arc::new(AtomicU64::new(0)), Vec::new(), Vec::new());
    for n in 10..10 + PEERS {
        let taker = on(n);
        let session = taker.connect(&record).await.unwrap();
        for _ in 0..UNDER_WAY {
            let (session, got) = (Arc::clone(&session), Arc::clone(&got));
            tasks.push(tokio::spawn(async move {
                loop {
                    let mut piece = session.fetch(fetch(1));
                    while let Some(chunk) = piece.next().await {
                        got.fetch_add(chunk.unwrap().bytes.len() as u64, Ordering::Relaxed);
                    }
                }
            }));
        }
        takers.push((taker, giver.accept().await.unwrap()));
    }
    let (begun, before) = (Instant::now(), got.load(Ordering::Relaxed));
    let (mut waited, mut pings) = (Duration::ZERO, 0);
    while begun.elapsed() < SPAN {
        tokio::time::sleep(Duration::from_millis(7)).await;
        waited += link.queue();
        pings += 1;
    }
    tasks.iter().for_each(|task| task.abort());
    let content = got.load(Ordering::Relaxed) - before;
    Felt { goodput: content as f64 / begun.elapsed().as_secs_f64() / LINE.0 as f64, queue: waited / pings }
}

#[tokio::test(start_paused = true)]
async fn giving_all_it_can_does_not_make_a_home_wait() {
    let felt = home(Congestion::Delay, 0, Duration::ZERO).await;
    println!("delay: {felt:?}");
    assert!(felt.goodput >= 0.9, "{felt:?}");
    assert!(felt.queue <= Duration::from_millis(25), "{felt:?}");
}

#[tokio::test(start_paused = true)]
async fn cubic_fills_the_queue_which_is_why_it_is_not_the_default() {
    let felt = home(Congestion::Cubic, 0, Duration::ZERO).await;
    println!("cubic: {felt:?}");
    assert!(felt.goodput >= 0.9 && felt.queue > Duration::from_millis(100), "{felt:?}");
}

#[tokio::test(start_paused = true)]
async fn loss_of_the_path_is_repaired_and_not_obeyed() {
    for (loss, bar) in [(10, 0.85), (30, 0.75)] {
        let felt = home(Congestion::Delay, loss, Duration::ZERO).await;
        println!("delay, {loss} of 1000 lost: {felt:?}");
        assert!(felt.goodput >= bar, "{felt:?}");
    }
}

/// A piece now and then, as a neighbour asks that has others to ask: the window must not be taken for too large because it is
/// not always used.
#[tokio::test(start_paused = true)]
async fn a_piece_now_and_then_comes_as_fast_as_the_line_allows() {
    let link = Link::new(addr(1), LINE.0 as f64, 0, Duration::ZERO);
    let on = |n: u8| {
        Quic::on(link.socket(addr(n)), &id(n), Shelf::new(), QuicConfig::default(), unlimited()).unwrap()
    };
    let (giver, taker) = (on(1), on(10));
    let record = PeerRecord { id: id(1).peer_id(), addrs: giver.local(), seed: false };
    let session = taker.connect(&record).await.unwrap();
    let _accepted = giver.accept().await.unwrap();
    let mut took = Vec::new();
    for _ in 0..60 {
        let begun = Instant::now();
        collect(session.fetch(fetch(1))).await.unwrap();
        took.push(begun.elapsed());
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    println!("a piece took {took:?}");
    // 27 ms on the line, 20 ms of round trip, and a round trip more for what timers and acknowledgements add.
    let later = took[2..].iter().max().unwrap();
    assert!(*later <= Duration::from_millis(70), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn busy_machines_are_not_taken_for_a_queue() {
    let felt = home(Congestion::Delay, 0, Duration::from_millis(20)).await;
    println!("delay, busy machines: {felt:?}");
    assert!(felt.goodput >= 0.75, "{felt:?}");
    assert!(felt.queue <= Duration::from_millis(35), "{felt:?}");
}
