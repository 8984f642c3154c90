use super::*;
use crate::testing::{PIECE, REFUSED, STUCK, Shelf, collect, fetch};
use bytes::Bytes;
use pcdn_core::transport::{FetchError, Refuse};

const A: PeerId = PeerId([1; 32]);
const B: PeerId = PeerId([2; 32]);

fn slow() -> Link {
    Link { latency: Duration::from_millis(10), upload: Rate(65_536) }
}

#[tokio::test(start_paused = true)]
async fn latency_and_rate_are_kept_in_virtual_time() {
    let shelf = Shelf::new();
    let (a, _b) = Memory::pair((A, shelf.clone()), (B, shelf.clone()), slow());
    let began = Instant::now();
    assert!(collect(a.fetch(fetch(1))).await.unwrap() == shelf.piece);
    let took = began.elapsed();
    assert!((Duration::from_millis(1020)..Duration::from_millis(1030)).contains(&took), "{took:?}");
    let two = tokio::join!(collect(a.fetch(fetch(1))), collect(a.fetch(fetch(2))));
    assert!(two.0.is_ok() && two.1.is_ok());
    assert!(began.elapsed() - took > Duration::from_secs(2), "one uplink");
    let part =
        collect(a.fetch(pcdn_core::transport::Fetch { want: vec![10..20, 60_000..99_000], ..fetch(1) }))
            .await;
    assert_eq!(part.unwrap().len(), 10 + (PIECE - 60_000) as usize);
}

#[tokio::test(start_paused = true)]
async fn nodes_find_each_other_in_the_hub() {
    let (hub, shelf) = (Hub::new(slow()), Shelf::new());
    let (a, b) = (hub.join(A, shelf.clone()), hub.join(B, shelf));
    let (here, there) = tokio::join!(async { a.connect(&b.record()).await.unwrap() }, b.accept());
    let there = there.unwrap();
    assert_eq!((here.peer(), there.peer()), (B, A));
    let sent = Instant::now();
    here.send("hello".into()).await.unwrap();
    assert_eq!(there.recv().await.unwrap(), Bytes::from("hello"));
    assert_eq!(sent.elapsed(), Duration::from_millis(10));
    b.close(Duration::ZERO).await;
    assert!(matches!(here.recv().await, Err(TransportError::Closed)));
    assert!(matches!(b.accept().await, Err(TransportError::Closed)));
    assert!(matches!(a.connect(&b.record()).await, Err(TransportError::Silent(_))));
}

#[tokio::test(start_paused = true)]
async fn refusals_timeouts_cancels_and_the_end() {
    let shelf = Shelf::new();
    let (a, b) = Memory::pair((A, shelf.clone()), (B, shelf.clone()), Link::default());
    assert_eq!(collect(a.fetch(fetch(REFUSED))).await, Err(FetchError::Refused(Refuse::NotHere)));
    assert_eq!(collect(a.fetch(fetch(STUCK))).await, Err(FetchError::Timeout));
    shelf.given_up.notified().await;
    let mut stuck = a.fetch(fetch(STUCK));
    tokio::task::yield_now().await;
    drop(b);
    assert_eq!(stuck.next().await, Some(Err(FetchError::Closed)));
    assert_eq!(collect(a.fetch(fetch(1))).await, Err(FetchError::Closed));
    assert!(matches!(a.send("x".into()).await, Err(TransportError::Closed)));
}
