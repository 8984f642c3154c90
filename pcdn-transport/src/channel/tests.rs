use super::*;
use crate::testing::{REFUSED, STUCK, Shelf, collect, fetch};

fn pair(shelf: &Arc<Shelf>) -> (Arc<StreamSession>, Arc<StreamSession>) {
    let (a, b) = tokio::io::duplex(1000);
    let end = |id, stream| StreamSession::new(PeerId([id; 32]), stream, shelf.clone());
    (end(2, a), end(1, b))
}

#[tokio::test]
async fn pieces_and_messages_share_the_stream_both_ways() {
    let shelf = Shelf::new();
    let (a, b) = pair(&shelf);
    assert_eq!(a.peer(), PeerId([2; 32]));
    let messages = async {
        for n in 0..50u8 {
            a.send(vec![n; usize::from(n) * 100].into()).await.unwrap();
        }
    };
    let read = async {
        for n in 0..50u8 {
            assert_eq!(b.recv().await.unwrap(), vec![n; usize::from(n) * 100]);
        }
    };
    let stuck = a.fetch(fetch(STUCK));
    let pieces = (collect(a.fetch(fetch(1))), collect(b.fetch(fetch(2))), collect(a.fetch(fetch(REFUSED))));
    let ((), (), one, two, none) = tokio::join!(messages, read, pieces.0, pieces.1, pieces.2);
    assert!(one.unwrap() == shelf.piece && two.unwrap() == shelf.piece);
    assert_eq!(none, Err(FetchError::Refused(Refuse::NotHere)));
    let part = a.fetch(Fetch { want: vec![40_000..40_010, 5..7], ..fetch(3) });
    assert_eq!(collect(part).await.unwrap().len(), 12);
    drop(stuck);
    shelf.given_up.notified().await;
}

#[tokio::test]
async fn the_end_of_one_side_is_the_end_of_both() {
    let shelf = Shelf::new();
    let (a, b) = pair(&shelf);
    let mut stuck = a.fetch(fetch(STUCK));
    b.close();
    assert_eq!(stuck.next().await, Some(Err(FetchError::Closed)));
    assert!(matches!(a.recv().await, Err(TransportError::Closed)));
    assert!(matches!(a.send("x".into()).await, Err(TransportError::Closed)));
    assert_eq!(collect(a.fetch(fetch(1))).await, Err(FetchError::Closed));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_stops_the_messages_but_not_the_pieces() {
    let shelf = Shelf::new();
    let (a, b) = pair(&shelf);
    let mut sent = 0;
    while let Ok(done) = tokio::time::timeout(Duration::from_secs(1), a.send("x".into())).await {
        done.unwrap();
        sent += 1;
    }
    assert_eq!(sent, MESSAGES_MAX);
    assert!(collect(a.fetch(fetch(1))).await.is_ok());
    b.recv().await.unwrap();
    a.send("y".into()).await.unwrap();
}

#[tokio::test]
async fn garbage_and_chunks_nobody_asked_for_end_the_session() {
    use tokio::io::AsyncWriteExt;
    let shelf = Shelf::new();
    let (mut raw, there) = tokio::io::duplex(1 << 20);
    let session = StreamSession::new(PeerId([1; 32]), there, shelf.clone());
    raw.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert!(matches!(session.recv().await, Err(TransportError::Closed)));

    let (mut raw, there) = tokio::io::duplex(1 << 20);
    let session = StreamSession::new(PeerId([1; 32]), there, shelf);
    let mut fetching = session.fetch(fetch(1));
    let mut out = bytes::BytesMut::new();
    let chunk = pcdn_core::transport::Chunk { offset: 100, bytes: "beyond".into() };
    Frame::Chunk { id: 0, chunk }.encode(&mut out);
    raw.write_all(&out).await.unwrap();
    assert_eq!(fetching.next().await, Some(Err(FetchError::Closed)));
}
