//! What every [`Transport`] and its [`Session`]s must do.

mod desk;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::id::{Identity, PeerId};
use crate::peer::PeerRecord;
use crate::testing::{both, content, within};
use crate::transport::{
    Chunk, Class, Fetch, FetchError, Fetching, MESSAGE_BYTES_MAX, Provider, Refuse, Session, Transport,
    TransportError,
};

use desk::{Desk, PIECE_BYTES, fetch_of};

/// Asserts the contract. `make` gives a transport of the given identity that serves from the given provider; those it makes
/// must be able to reach each other at what [`Transport::local`] says.
///
/// # Panics
/// With the clause that is broken.
pub async fn transport<T: Transport>(make: impl AsyncFn(&Identity, Arc<dyn Provider>) -> T) {
    let asker = Identity::from_secret([0x11; 32]);
    let giver = Identity::from_secret([0x22; 32]);
    let desk = Arc::new(Desk::default());
    let a = make(&asker, Arc::new(Desk::default())).await;
    let b = make(&giver, desk.clone()).await;
    it_listens_where_it_says(&b);
    who_it_is_not_for_is_refused(&a, &b, giver.peer_id()).await;
    let (to, from) = connect(&a, &b, giver.peer_id()).await;
    assert_eq!(to.peer(), giver.peer_id(), "the dialler must know who is at the other end");
    assert_eq!(from.peer(), asker.peer_id(), "the dialled must know who is at the other end");
    messages_arrive_whole_and_in_order(to.as_ref(), from.as_ref()).await;
    messages_arrive_whole_and_in_order(from.as_ref(), to.as_ref()).await;
    too_long_a_message_is_refused(to.as_ref(), from.as_ref()).await;
    pieces_come_whole_or_in_part(to.as_ref()).await;
    desk.frees_what_was_sent().await;
    many_pieces_come_side_by_side(to.as_ref()).await;
    refusals_say_why(to.as_ref()).await;
    dropping_cancels(to.as_ref(), &desk).await;
    what_is_stuck_delays_nothing_else(to.as_ref(), from.as_ref(), &desk).await;
    what_is_late_is_given_up(to.as_ref(), &desk).await;
    closing_ends_everything(&to, &from, &desk).await;
    closing_the_transport_ends_it(&a, &b, giver.peer_id()).await;
}

async fn connect<T: Transport>(a: &T, b: &T, id: PeerId) -> (Arc<dyn Session>, Arc<dyn Session>) {
    let record = PeerRecord { id, addrs: b.local(), seed: false };
    let (to, from) = within("connect and accept must end", both(a.connect(&record), b.accept())).await;
    let to = to.unwrap_or_else(|error| panic!("connect must succeed: {error}"));
    (to, from.unwrap_or_else(|error| panic!("accept must succeed: {error}")))
}

fn it_listens_where_it_says<T: Transport>(transport: &T) {
    assert!(!transport.local().is_empty(), "a transport must say where it listens");
    for addr in transport.local() {
        assert_eq!(addr.scheme, transport.scheme(), "addresses must be of the transport's own scheme");
    }
}

async fn who_it_is_not_for_is_refused<T: Transport>(a: &T, b: &T, giver: PeerId) {
    let nowhere = PeerRecord { id: giver, addrs: Vec::new(), seed: false };
    let error = within("connect must end", a.connect(&nowhere)).await.err();
    assert!(
        matches!(error, Some(TransportError::NoAddress(_))),
        "without an address: NoAddress, not {error:?}"
    );
    let somebody_else = Identity::from_secret([0x33; 32]).peer_id();
    let impostor = PeerRecord { id: somebody_else, addrs: b.local(), seed: false };
    let reached = within("connect must end", a.connect(&impostor)).await;
    assert!(reached.is_err(), "who cannot prove to be the peer of the record must be refused");
}

async fn messages_arrive_whole_and_in_order(from: &dyn Session, to: &dyn Session) {
    let sizes = [1, 1_000, MESSAGE_BYTES_MAX, 0, 60_000, 2, 1_300, 1_301];
    let messages: Vec<Bytes> = sizes.iter().enumerate().map(|(n, len)| content(*len, n as u64)).collect();
    let send = async {
        for message in &messages {
            let sent = from.send(message.clone()).await;
            sent.unwrap_or_else(|error| panic!("a message within the limit must be taken: {error}"));
        }
    };
    let receive = async {
        for message in &messages {
            assert!(recv(to).await == *message, "messages must arrive whole, in order, once");
        }
    };
    within("messages must arrive", both(send, receive)).await;
}

async fn too_long_a_message_is_refused(from: &dyn Session, to: &dyn Session) {
    let long = Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1]);
    let refused = within("send must end", from.send(long)).await;
    assert!(matches!(refused, Err(TransportError::TooLong(_))), "a message above the limit is TooLong");
    let sent = within("send must end", from.send(Bytes::from_static(b"after"))).await;
    assert!(sent.is_ok(), "a refused message must not end the session");
    assert_eq!(within("a message must arrive", recv(to)).await, "after");
}

async fn recv(session: &dyn Session) -> Bytes {
    session.recv().await.unwrap_or_else(|error| panic!("recv must succeed: {error}"))
}

async fn pieces_come_whole_or_in_part(session: &dyn Session) {
    let end = PIECE_BYTES;
    let one = |range: std::ops::Range<u32>| vec![range];
    let parts =
        [vec![], one(0..1), one(1_000..20_000), one(end - 1..end), vec![0..1_280, 5_000..5_001, 40_000..end]];
    for (number, want) in parts.into_iter().enumerate() {
        let fetch = Fetch { want, ..fetch_of(number as u32) };
        let got = collect(session.fetch(fetch.clone())).await;
        let got = got.unwrap_or_else(|error| panic!("a piece that is there must come: {error}"));
        assert_right(&fetch, &got);
    }
}

async fn many_pieces_come_side_by_side(session: &dyn Session) {
    let fetches: Vec<Fetch> = (0..24)
        .map(|n| Fetch { class: if n % 3 == 0 { Class::Urgent } else { Class::Normal }, ..fetch_of(n) })
        .collect();
    // All are asked for before the first answer is looked at.
    let pending: Vec<Fetching> = fetches.iter().map(|fetch| session.fetch(fetch.clone())).collect();
    for (fetch, fetching) in fetches.iter().zip(pending) {
        let got = collect(fetching).await;
        assert_right(
            fetch,
            &got.unwrap_or_else(|error| panic!("requests side by side must all be served: {error}")),
        );
    }
}

/// The wanted bytes, each once, nothing else.
fn assert_right(fetch: &Fetch, chunks: &[Chunk]) {
    let whole = std::iter::once(0..fetch.len).collect();
    let want = if fetch.want.is_empty() { &whole } else { &fetch.want };
    let piece = Desk::piece(fetch.piece.piece.get());
    let mut times = vec![0u8; fetch.len as usize];
    for chunk in chunks {
        let start = chunk.offset as usize;
        let bytes = piece.get(start..start + chunk.bytes.len());
        assert_eq!(bytes, Some(&chunk.bytes[..]), "a chunk must lie in the piece and have its bytes");
        times[start..start + chunk.bytes.len()].iter_mut().for_each(|n| *n += 1);
    }
    for (at, times) in times.iter().enumerate() {
        let wanted = want.iter().any(|range| range.contains(&(at as u32)));
        assert!(*times == u8::from(wanted), "byte {at}: wanted {wanted}, came {times} times");
    }
}

async fn refusals_say_why(session: &dyn Session) {
    let busy = Refuse::Busy(Duration::from_millis(750));
    for (number, why) in
        [(1_000, Refuse::NotHere), (1_001, Refuse::NoSwarm), (1_002, Refuse::Bad), (1_003, busy)]
    {
        let got = collect(session.fetch(fetch_of(number))).await;
        assert_eq!(
            got.err(),
            Some(FetchError::Refused(why)),
            "a refusal must reach the asker with its reason"
        );
    }
    let served = collect(session.fetch(fetch_of(1))).await;
    assert!(served.is_ok(), "a refusal must not disturb what is asked next");
}

async fn dropping_cancels(session: &dyn Session, desk: &Desk) {
    let waits = desk.waits();
    let mut fetching = session.fetch(fetch_of(2_000));
    // Some transports ask when they are first polled, so it is polled until the other end was asked.
    let first = async {
        fetching.next().await;
    };
    within("the request must reach the other end", until(waits.asked.wait(), first)).await;
    drop(fetching);
    within("dropping a request must cancel it at the other end", waits.gone.wait()).await;
}

async fn what_is_stuck_delays_nothing_else(to: &dyn Session, from: &dyn Session, desk: &Desk) {
    let waits = desk.waits();
    let mut stuck = to.fetch(fetch_of(2_002));
    let first = async {
        stuck.next().await;
    };
    within("the request must reach the other end", until(waits.asked.wait(), first)).await;
    // More than any bounded queue of requests would hold behind the one that is stuck.
    for number in 0..200 {
        let fetch = Fetch { want: std::iter::once(0..2_000).collect(), ..fetch_of(number) };
        let got = collect(to.fetch(fetch.clone())).await;
        assert_right(
            &fetch,
            &got.unwrap_or_else(|error| panic!("a stuck request must delay no other: {error}")),
        );
    }
    messages_arrive_whole_and_in_order(to, from).await;
    messages_arrive_whole_and_in_order(from, to).await;
}

async fn what_is_late_is_given_up(session: &dyn Session, desk: &Desk) {
    let waits = desk.waits();
    // On a machine that pauses, a request of a moment may be over before it has left.
    for moment in [300, 3_000, 10_000].map(Duration::from_millis) {
        let fetch = Fetch { within: moment, ..fetch_of(2_003) };
        let got = collect(session.fetch(fetch)).await;
        assert_eq!(got.err(), Some(FetchError::Timeout), "what nobody answers in time must end with Timeout");
        if waits.asked.given() {
            break;
        }
    }
    within("what is late must be given up at the other end", waits.gone.wait()).await;
}

async fn closing_ends_everything(to: &Arc<dyn Session>, from: &Arc<dyn Session>, desk: &Desk) {
    let waits = desk.waits();
    let mut near = to.fetch(fetch_of(2_001));
    within(
        "the request must reach the other end",
        until(waits.asked.wait(), async {
            near.next().await;
        }),
    )
    .await;
    to.close();
    let ended = within("close must end what is pending", near.next()).await;
    assert_eq!(ended, Some(Err(FetchError::Closed)), "pending requests must end with Closed");
    let after = collect(to.fetch(fetch_of(3))).await;
    assert_eq!(after.err(), Some(FetchError::Closed), "requests after close must end with Closed");
    for session in [to, from] {
        let over = within("recv must end on both sides", session.recv()).await;
        assert!(matches!(over, Err(TransportError::Closed)), "recv after close is Closed, not {over:?}");
        let sent = within("send must end", session.send(Bytes::from_static(b"late"))).await;
        assert!(sent.is_err(), "send after close must fail");
    }
    within("close must give up what was being served", waits.gone.wait()).await;
    to.close(); // Twice is once.
}

async fn closing_the_transport_ends_it<T: Transport>(a: &T, b: &T, giver: PeerId) {
    let (to, _from) = connect(a, b, giver).await;
    within("close must end", b.close(Duration::from_secs(1))).await;
    let over = within("accept must end", b.accept()).await;
    assert!(matches!(over, Err(TransportError::Closed)), "accept after close is Closed");
    let over = within("the other end must hear of it", to.recv()).await;
    assert!(matches!(over, Err(TransportError::Closed)), "close must say goodbye on every session");
    within("close must end", a.close(Duration::from_secs(1))).await;
}

async fn collect(mut fetching: Fetching) -> Result<Vec<Chunk>, FetchError> {
    let mut chunks = Vec::new();
    while let Some(chunk) = within("a request must be answered", fetching.next()).await {
        chunks.push(chunk?);
    }
    Ok(chunks)
}

/// Waits for `event` while `other` goes on; that it ends first is a broken clause, as nothing is there to end it.
async fn until(event: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut event, mut other) = (std::pin::pin!(event), std::pin::pin!(other));
    std::future::poll_fn(|cx| {
        if event.as_mut().poll(cx).is_ready() {
            return std::task::Poll::Ready(());
        }
        assert!(other.as_mut().poll(cx).is_pending(), "a request nobody answered must wait");
        std::task::Poll::Pending
    })
    .await;
}
