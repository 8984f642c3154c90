//! Strangers and liars, played with quinn itself.

mod bars;
mod early;
mod link;

use pcdn_core::peer::PeerAddr;
use pcdn_core::transport::{Fetch, FetchError};
use quinn::{Connection, ConnectionError, ReadError, ServerConfig};

use super::*;
use crate::testing::{PIECE, REFUSED, STUCK, Shelf, collect, fetch};

fn id(n: u8) -> Identity {
    Identity::from_secret([n; 32])
}

async fn node(n: u8, config: QuicConfig) -> Quic {
    Quic::bind("127.0.0.1:0".parse().unwrap(), &id(n), Shelf::new(), config).await.unwrap()
}

fn record(n: u8, at: &Quic) -> PeerRecord {
    PeerRecord { id: id(n).peer_id(), addrs: at.local(), seed: false }
}

fn private(secret: &str) -> QuicConfig {
    QuicConfig { secret: SwarmSecret::new(secret.as_bytes()), ..QuicConfig::default() }
}

/// A connection that has passed TLS as node `n`, and nothing more.
async fn raw(n: u8, to: (u8, &Quic)) -> (Endpoint, Connection) {
    let (config, _) = Resume::new(&id(n), tuning::arc(&QuicConfig::default())).unwrap().call().unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let name = tls::name_of(&id(to.0).peer_id());
    let connecting = endpoint.connect_with(config, to.1.local()[0].addr, &name).unwrap();
    (endpoint, connecting.await.unwrap())
}

fn code_of(closed: &ConnectionError) -> Option<quinn::VarInt> {
    match closed {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code),
        _ => None,
    }
}

#[tokio::test]
async fn nodes_of_other_swarms_do_not_meet() {
    let secrets = ["", "sixteen bytes or more", "sixteen other bytes"];
    let config = |secret: &str| if secret.is_empty() { QuicConfig::default() } else { private(secret) };
    for (n, here) in secrets.iter().enumerate() {
        let dialler = node(1, config(here)).await;
        for (m, there) in secrets.iter().enumerate() {
            let dialled = node(2, config(there)).await;
            let met = dialler.connect(&record(2, &dialled)).await;
            assert_eq!(met.is_ok(), n == m, "{here:?} and {there:?}");
            if n != m {
                let error = met.err();
                assert!(matches!(error, Some(TransportError::Impostor(_))), "{error:?}");
                assert_eq!(dialled.counters().strangers, 1);
                assert_eq!(dialled.hub.sessions(), 0);
            }
        }
    }
}

#[tokio::test]
async fn who_proves_no_secret_is_served_nothing() {
    let node = node(2, private("sixteen bytes or more")).await;
    let (_endpoint, stranger) = raw(1, (2, &node)).await;
    let (mut first, mut answer) = stranger.open_bi().await.unwrap();
    first.write_all(&[0; 32]).await.unwrap();
    // A request that would be right, on a stream beside it.
    let (mut send, mut recv) = stranger.open_bi().await.unwrap();
    let mut body = bytes::BytesMut::new();
    crate::request::put_fetch(&fetch(1), &mut body);
    // It may be closed by now.
    let _ = send.write_all(&body).await;
    assert!(matches!(recv.read_chunk(1, true).await, Err(ReadError::ConnectionLost(_))));
    assert!(answer.read_chunk(1, true).await.is_err(), "not even a proof in return");
    assert_eq!(code_of(&stranger.closed().await), Some(code::STRANGER));
    assert_eq!(node.counters().content_sent, 0);
}

#[tokio::test]
async fn an_impostor_is_told_apart_from_silence() {
    let dialler = node(1, QuicConfig::default()).await;
    let there = node(2, QuicConfig::default()).await;
    let wrong = dialler.connect(&record(3, &there)).await.err();
    assert!(matches!(wrong, Some(TransportError::Impostor(_))), "{wrong:?}");
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = PeerAddr { scheme: Scheme::Quic, addr: nobody.local_addr().unwrap() };
    let silent = PeerRecord { id: id(2).peer_id(), addrs: vec![addr], seed: false };
    let hasty = QuicConfig { handshake_timeout: Duration::from_secs(1), ..QuicConfig::default() };
    let hasty = node(4, hasty).await.connect(&silent).await.err();
    assert!(matches!(hasty, Some(TransportError::Silent(_))), "{hasty:?}");
    // A dead address costs a moment, not the peer.
    let both = PeerRecord { addrs: [&[addr], &there.local()[..]].concat(), ..silent };
    assert!(dialler.connect(&both).await.is_ok());
}

#[tokio::test]
async fn who_breaks_the_rules_loses_the_session() {
    let node = node(2, QuicConfig::default()).await;
    for nonsense in [vec![], vec![7; 20], vec![0xff; crate::request::FETCH_BYTES_MAX], vec![1; 20_000]] {
        let (_endpoint, liar) = raw(1, (2, &node)).await;
        let _talk = hello::dialled(&liar, None).await.unwrap();
        let (mut send, _recv) = liar.open_bi().await.unwrap();
        let _ = send.write_all(&nonsense).await;
        let _ = send.finish();
        assert_eq!(code_of(&liar.closed().await), Some(code::VIOLATION), "{} bytes", nonsense.len());
    }
    let (_endpoint, liar) = raw(1, (2, &node)).await;
    let mut talk = hello::dialled(&liar, None).await.unwrap();
    talk.send.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert_eq!(code_of(&liar.closed().await), Some(code::VIOLATION));
    assert_eq!(node.counters().malformed, 5);
}

#[tokio::test]
async fn who_serves_other_bytes_than_asked_is_found_out() {
    let (asker, liar) = (node(1, QuicConfig::default()).await, node(2, QuicConfig::default()).await);
    let session = asker.connect(&record(2, &liar)).await.unwrap();
    // A piece of another length than the asker's layout says is refused by an honest server …
    let short = Fetch { len: PIECE - 1, ..fetch(1) };
    assert!(matches!(collect(session.fetch(short)).await, Err(FetchError::Refused(_))));
    // … and a dishonest one sends too much or too little.
    let config = ServerConfig::with_crypto(Arc::new(tls::Keys::new(&id(3)).unwrap().server(None).unwrap()));
    let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = PeerAddr { scheme: Scheme::Quic, addr: endpoint.local_addr().unwrap() };
    let serving = tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().accept().unwrap().await.unwrap();
        let streams = connection.accept_bi().await.unwrap();
        let _talk = hello::answered(&connection, streams, None).await.unwrap();
        for len in [PIECE + 1, PIECE - 1] {
            let (mut send, _recv) = connection.accept_bi().await.unwrap();
            let _ = send.write_all(&vec![0; len as usize]).await;
            let _ = send.finish();
        }
        connection.closed().await;
    });
    let session =
        asker.connect(&PeerRecord { id: id(3).peer_id(), addrs: vec![addr], seed: false }).await.unwrap();
    for _ in 0..2 {
        let got = collect(session.fetch(fetch(1))).await;
        assert!(matches!(got, Err(FetchError::Violation(_))), "{got:?}");
    }
    session.close();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_full_house_turns_callers_away_and_lets_them_in_later() {
    let host = node(2, QuicConfig { sessions_max: 1, ..QuicConfig::default() }).await;
    let (first, second) = (node(1, QuicConfig::default()).await, node(3, QuicConfig::default()).await);
    let session = first.connect(&record(2, &host)).await.unwrap();
    let accepted = host.accept().await.unwrap();
    assert!(second.connect(&record(2, &host)).await.is_err());
    assert_eq!(host.counters().refused, 1);
    session.close();
    assert!(accepted.recv().await.is_err());
    while host.hub.sessions() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(second.connect(&record(2, &host)).await.is_ok());
}

#[tokio::test]
async fn callers_beyond_the_pace_prove_their_address_and_get_in() {
    let host = node(2, QuicConfig { handshakes_per_second: 0, ..QuicConfig::default() }).await;
    let caller = node(1, QuicConfig::default()).await;
    assert!(caller.connect(&record(2, &host)).await.is_ok());
}

#[tokio::test]
async fn more_fetches_than_streams_are_refused_here_and_the_others_served() {
    let shelf = Shelf::new();
    let host =
        Quic::bind("127.0.0.1:0".parse().unwrap(), &id(2), shelf, QuicConfig::default()).await.unwrap();
    let asker = node(1, QuicConfig::default()).await;
    let session = asker.connect(&record(2, &host)).await.unwrap();
    let stuck: Vec<_> = (1..super::fetch::FETCHES_MAX).map(|_| session.fetch(fetch(STUCK))).collect();
    assert!(collect(session.fetch(fetch(1))).await.is_ok());
    let last = session.fetch(fetch(STUCK));
    assert!(matches!(collect(session.fetch(fetch(1))).await, Err(FetchError::Refused(_))));
    drop((stuck, last));
    assert!(matches!(collect(session.fetch(fetch(REFUSED))).await, Err(FetchError::Refused(_))));
    assert_eq!(collect(session.fetch(fetch(1))).await.unwrap().len(), PIECE as usize);
    assert_eq!(host.counters().content_sent, 2 * u64::from(PIECE));
    let path = session.path();
    assert!(path.rtt > Duration::ZERO && path.remote == Some(host.local()[0]), "{path:?}");
}

/// Between two sockets, it writes down how long the datagrams are.
async fn relay(to: SocketAddr, longest: Arc<std::sync::atomic::AtomicUsize>) -> SocketAddr {
    let (near, far) =
        tokio::join!(tokio::net::UdpSocket::bind("127.0.0.1:0"), tokio::net::UdpSocket::bind("127.0.0.1:0"));
    let (near, far) = (near.unwrap(), far.unwrap());
    let addr = near.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down, mut caller) = ([0; 65_536], [0; 65_536], None);
        loop {
            tokio::select! {
                Ok((len, from)) = near.recv_from(&mut up) => {
                    caller = Some(from);
                    longest.fetch_max(len, std::sync::atomic::Ordering::Relaxed);
                    far.send_to(&up[..len], to).await.unwrap();
                }
                Ok(len) = far.recv(&mut down) => {
                    longest.fetch_max(len, std::sync::atomic::Ordering::Relaxed);
                    // Somebody else's, whose port this was before, may come first.
                    if let Some(caller) = caller {
                        near.send_to(&down[..len], caller).await.unwrap();
                    }
                }
            }
        }
    });
    addr
}

#[tokio::test]
async fn no_datagram_is_longer_than_1350_bytes() {
    let (asker, host) = (node(1, QuicConfig::default()).await, node(2, QuicConfig::default()).await);
    let longest = Arc::default();
    let addr = relay(host.local()[0].addr, Arc::clone(&longest)).await;
    let addrs = vec![PeerAddr { scheme: Scheme::Quic, addr }];
    let session = asker.connect(&PeerRecord { id: id(2).peer_id(), addrs, seed: false }).await.unwrap();
    for segment in 0..40 {
        assert_eq!(collect(session.fetch(fetch(segment))).await.unwrap().len(), PIECE as usize);
    }
    let longest = longest.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(longest, usize::from(tuning::DATAGRAM_BYTES), "no more, and no less");
}
