//! Callers played by hand with quinn itself: what early data gets who proved nothing, too little, or too long ago.

use super::*;

/// Plays a caller by hand: `resume` has its tickets.
async fn call(
    link: &Arc<Link>,
    n: u8,
    resume: &Resume,
    to: &Quic,
) -> (Endpoint, quinn::Connecting, impl Fn() + use<>) {
    let (config, fresh) = resume.call().unwrap();
    let mut settings = EndpointConfig::default();
    tuning::endpoint(&mut settings).unwrap();
    let endpoint =
        Endpoint::new_with_abstract_socket(settings, None, link.socket(addr(n)), Arc::new(TokioRuntime))
            .unwrap();
    let connecting =
        endpoint.connect_with(config, to.local()[0].addr, &tls::name_of(&id(2).peer_id())).unwrap();
    (endpoint, connecting, move || fresh.prove(id(2).peer_id()))
}

async fn ask(connection: &Connection, segment: u64) -> (quinn::SendStream, quinn::RecvStream) {
    let (mut send, recv) = connection.open_bi().await.unwrap();
    let mut body = bytes::BytesMut::new();
    crate::request::put_fetch(&fetch(segment), &mut body);
    send.write_all(&body).await.unwrap();
    send.finish().unwrap();
    (send, recv)
}

#[tokio::test(start_paused = true)]
async fn whose_secret_was_never_proven_gets_tickets_that_are_worth_nothing() {
    let (link, desk) = (net(), Desk::new());
    let giver = on(&link, 2, desk.clone(), private("sixteen bytes or more"));
    let resume = Resume::new(&id(1), tuning::arc(&QuicConfig::default())).unwrap();
    let (_endpoint, connecting, keep) = call(&link, 1, &resume, &giver).await;
    let connection = connecting.await.unwrap();
    tokio::time::sleep(ROUND_TRIP * 2).await;
    // It cheats: nothing was proven, and it keeps what TLS gave it.
    keep();
    connection.close(code::DONE, b"");
    assert!(resume.may_call(&id(2).peer_id()));
    let (_endpoint, connecting, _) = call(&link, 3, &resume, &giver).await;
    let (connection, over) = connecting.into_0rtt().ok().unwrap();
    let _talk = connection.open_bi().await.unwrap();
    let (_send, mut answer) = ask(&connection, 1).await;
    assert!(!over.await, "not resumed");
    assert!(matches!(answer.read_chunk(1, true).await, Err(ReadError::ZeroRttRejected)));
    assert_eq!((desk.asked(), giver.counters().early, giver.hub.sessions()), (0, 0, 0));
}

/// A connection in early data by somebody who proved the secret `ago`, and what is asked of the one it calls.
async fn early(
    link: &Arc<Link>,
    ago: Duration,
) -> (Quic, Arc<Desk>, Endpoint, Connection, quinn::ZeroRttAccepted) {
    let desk = Desk::new();
    let giver = on(link, 2, desk.clone(), private("sixteen bytes or more"));
    let resume = Resume::new(&id(1), tuning::arc(&QuicConfig::default())).unwrap();
    let (_endpoint, connecting, keep) = call(link, 1, &resume, &giver).await;
    let connection = connecting.await.unwrap();
    let secret = SwarmSecret::new(b"sixteen bytes or more");
    let _talk = hello::dialled(&connection, secret.as_ref()).await.unwrap();
    giver.accept().await.unwrap();
    tokio::time::sleep(ago).await;
    // However long ago that was, it uses what it has.
    keep();
    let (endpoint, connecting, _) = call(link, 3, &resume, &giver).await;
    let (connection, over) = connecting.into_0rtt().ok().unwrap();
    (giver, desk, endpoint, connection, over)
}

#[tokio::test(start_paused = true)]
async fn no_message_is_early_and_what_stands_for_the_proof_ends_all() {
    let link = net();
    let (giver, desk, _endpoint, connection, over) = early(&link, ROUND_TRIP).await;
    let (mut send, _recv) = connection.open_bi().await.unwrap();
    // Where the proof belongs, and a message behind it.
    send.write_all(&[0; 32]).await.unwrap();
    send.write_all(&[0, 0, 0, 1, b'x']).await.unwrap();
    let (_send, mut answer) = ask(&connection, 1).await;
    assert!(answer.read_chunk(usize::MAX, true).await.unwrap().is_some(), "a fetch is answered");
    assert!(over.await, "it was resumed");
    assert_eq!(code_of(&connection.closed().await), Some(code::STRANGER));
    let nobody = tokio::time::timeout(Duration::from_secs(20), giver.accept()).await;
    assert!(nobody.is_err(), "no session, and so no message");
    assert_eq!((desk.asked(), giver.counters().strangers, giver.hub.sessions()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn without_the_proof_only_the_early_fetches_are_served() {
    let link = net();
    let (giver, desk, _endpoint, connection, over) = early(&link, ROUND_TRIP).await;
    let _talk = connection.open_bi().await.unwrap();
    let mut asked = Vec::new();
    for segment in 0..3 * EARLY_MAX as u64 {
        asked.push(ask(&connection, segment).await);
    }
    assert!(over.await, "it was resumed");
    asked.push(ask(&connection, 1).await);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!((desk.asked(), giver.counters().early), (EARLY_MAX, EARLY_MAX as u64));
    assert!(
        connection.closed().await != ConnectionError::LocallyClosed,
        "given up after the time for a handshake"
    );
    assert_eq!(giver.hub.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_old_ticket_gets_nothing() {
    let link = net();
    let (giver, desk, _endpoint, connection, over) = early(&link, GOOD_FOR).await;
    let _talk = connection.open_bi().await.unwrap();
    let _asked = ask(&connection, 1).await;
    assert!(!over.await, "not resumed");
    assert_eq!((desk.asked(), giver.counters().early), (0, 0));
}
