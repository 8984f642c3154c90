//! Hostile datagrams, over real sockets on loopback: what an unproven address gets back, and what junk does to a download.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pcdn::core::async_trait;
use pcdn::core::dice::Dice;
use pcdn::core::id::{Identity, PeerId, SwarmKey};
use pcdn::core::layout::{Layout, PieceKey, SegmentId};
use pcdn::core::peer::PeerRecord;
use pcdn::core::transport::{Class, Fetch, Grant, MESSAGE_BYTES_MAX, Provider, Refuse, Transport};
use pcdn::core::unit::Time;
use pcdn::core::verify::Verified;
use pcdn::core::wire::{self, Message};
use pcdn::node::Settings;
use pcdn::testing::{own_addr, within};
use pcdn::transport::udp::packet::{DATAGRAM_MAX, HELLO_LEN};
use pcdn::transport::udp::{Endpoint, Event, SessionId, Udp, UdpConfig};
use tokio::net::UdpSocket;

use crate::world::{Liar, delivered, node_of, origin, swarm, until, url};

/// The most an address that has proven nothing gets back for each byte it sent.
const AMPLIFICATION_MAX: usize = 3;
/// Nothing more is on its way on loopback after this much silence; it is longer than any timer of an unproven session.
const SILENCE: Duration = Duration::from_millis(1_500);

/// Serves any piece.
#[derive(Debug)]
struct Generous;

#[async_trait]
impl Provider for Generous {
    async fn open(&self, _: &PeerId, want: &Fetch) -> Result<Grant, Refuse> {
        Ok(Grant::new(Verified::for_test(vec![0; want.len as usize]), None))
    }
}

fn id(n: u8) -> Identity {
    Identity::from_secret([n; 32])
}

async fn serve(config: UdpConfig) -> (Udp, SocketAddr) {
    let udp = Udp::bind("127.0.0.1:0".parse().unwrap(), &id(1), Arc::new(Generous), config).await.unwrap();
    let addr = udp.local()[0].addr;
    (udp, addr)
}

/// At an address where nobody was before: what others still say to who had a port until now would be counted.
async fn socket() -> UdpSocket {
    UdpSocket::bind((own_addr(0).ip(), 0)).await.unwrap()
}

/// The protocol in the hands of one who chooses what goes out, from where, and what comes in.
struct Caller {
    endpoint: Endpoint,
    began: Instant,
}

impl Caller {
    fn new(n: u8) -> Self {
        Self { endpoint: Endpoint::new(id(n), UdpConfig::default(), [n; 32]), began: Instant::now() }
    }

    fn now(&self) -> Time {
        Time::from_secs(60) + self.began.elapsed()
    }

    /// What the protocol would send now.
    fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let (mut all, mut out) = (Vec::new(), Vec::new());
        while let Some(transmit) = self.endpoint.poll_transmit(self.now(), 1, &mut out) {
            all.extend(out.chunks(transmit.segment).map(<[u8]>::to_vec));
            out.clear();
        }
        all
    }

    /// A hello to the served node.
    fn hello(&mut self, to: SocketAddr) -> Vec<u8> {
        self.endpoint.connect(self.now(), id(1).peer_id(), &[to]);
        self.datagrams().remove(0)
    }

    async fn sends(&mut self, from: &UdpSocket, to: SocketAddr) -> usize {
        let mut sent = 0;
        for datagram in self.datagrams() {
            sent += from.send_to(&datagram, to).await.unwrap();
        }
        sent
    }

    /// Takes in what comes to `socket`, and answers as the protocol does, until an event is found.
    async fn talks<T>(&mut self, socket: &UdpSocket, pick: impl Fn(&Event) -> Option<T>) -> T {
        let mut datagram = [0; 2048];
        let talking = async {
            loop {
                let (len, from) = socket.recv_from(&mut datagram).await.unwrap();
                let now = self.now();
                self.endpoint.handle(now, from, &mut datagram[..len]);
                self.sends(socket, from).await;
                while let Some(event) = self.endpoint.poll_event() {
                    if let Some(found) = pick(&event) {
                        return found;
                    }
                }
            }
        };
        within("an event", talking).await
    }
}

/// Bytes that come to `socket` until it is silent.
async fn received(socket: &UdpSocket) -> usize {
    let (mut sum, mut datagram) = (0, [0; 2048]);
    while let Ok(Ok((len, _))) = tokio::time::timeout(SILENCE, socket.recv_from(&mut datagram)).await {
        sum += len;
    }
    sum
}

/// The same, of a node that must say something.
async fn answered(socket: &UdpSocket) -> usize {
    let mut datagram = [0; 2048];
    let (first, _) = within("an answer", socket.recv_from(&mut datagram)).await.unwrap();
    first + received(socket).await
}

#[tokio::test]
async fn an_unproven_address_gets_no_more_than_three_times_what_it_sent() {
    // The second demands cookies from the first hello on.
    for handshakes_per_second in [50, 0] {
        let (node, addr) = serve(UdpConfig { handshakes_per_second, ..UdpConfig::default() }).await;
        let (attacker, mut caller) = (socket().await, Caller::new(2));
        let hello = caller.hello(addr);
        assert_eq!(hello.len(), HELLO_LEN);
        // Each hello once, so that no answer is dropped for want of room; then replays and cuts of it, and junk.
        let sent = attacker.send_to(&hello, addr).await.unwrap();
        let got = answered(&attacker).await;
        assert!(got <= AMPLIFICATION_MAX * sent, "{got} bytes for {sent}");
        let mut dice = Dice::new(3);
        let (mut sent, mut worst) = (0, hello.clone());
        for n in 0..400usize {
            let datagram: Vec<u8> = match n % 4 {
                0 => hello.clone(),
                1 => hello[..dice.below(HELLO_LEN as u64) as usize].to_vec(),
                2 => (0..dice.below(DATAGRAM_MAX as u64)).map(|_| dice.next_u64() as u8).collect(),
                _ => {
                    worst[6 + n % 1000] ^= 1;
                    worst.clone()
                }
            };
            // Counted without the cuts and the junk: the replays alone must pay for what comes.
            let paid = attacker.send_to(&datagram, addr).await.unwrap();
            sent += if n % 4 == 0 { paid } else { 0 };
        }
        let got = received(&attacker).await;
        assert!(got <= AMPLIFICATION_MAX * sent, "{got} bytes for {sent}");
        assert!(got < sent / 10, "answers are smaller than hellos: {got} bytes for {sent}");
        node.close(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn the_smallest_datagrams_are_not_answered_with_more() {
    let (node, addr) = serve(UdpConfig::default()).await;
    let attacker = socket().await;
    for first in 0..=255u8 {
        for len in [1, 2, 9, 25, 37, 57] {
            attacker.send_to(&vec![first; len], addr).await.unwrap();
        }
    }
    assert_eq!(received(&attacker).await, 0, "what is not ours is not answered at all");
    node.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_session_that_moves_to_a_forged_address_floods_nobody() {
    let (node, addr) = serve(UdpConfig::default()).await;
    let accepting = async { node.accept().await.unwrap() };
    let (home, victim, mut caller) = (socket().await, socket().await, Caller::new(2));
    let hello = caller.hello(addr);
    home.send_to(&hello, addr).await.unwrap();
    let connected = |event: &Event| match event {
        Event::Connected { session, .. } => Some(*session),
        _ => None,
    };
    let session: SessionId = caller.talks(&home, connected).await;
    let _served = accepting.await;
    let layout = Layout::new(1 << 16, 16).unwrap();
    let want = |segment| Fetch {
        swarm: SwarmKey([7; 32]),
        piece: PieceKey { segment: SegmentId(segment), piece: layout.piece(0).unwrap() },
        len: 1 << 16,
        want: Vec::new(),
        class: Class::Urgent,
        within: Duration::from_secs(30),
    };
    // An honest piece first: the node knows the path and has a window to send.
    let (now, whole) = (caller.now(), |event: &Event| matches!(event, Event::Fetched { .. }).then_some(()));
    caller.endpoint.fetch(now, session, want(1)).unwrap();
    caller.sends(&home, addr).await;
    caller.talks(&home, whole).await;
    // Then 64 pieces are asked for, in the name of an address that never answers.
    let now = caller.now();
    for segment in 2..66 {
        caller.endpoint.fetch(now, session, want(segment));
    }
    let sent = caller.sends(&victim, addr).await;
    assert!(sent > 0);
    let got = received(&victim).await;
    assert!(got <= AMPLIFICATION_MAX * sent, "{got} bytes to a forged address for {sent}");
    node.close(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn half_open_sessions_keep_nobody_out() {
    let (node, addr) = serve(UdpConfig { handshakes_per_second: 10_000, ..UdpConfig::default() }).await;
    let attacker = socket().await;
    // More than may be half open; none goes on after its hello.
    for n in 0..2_000u16 {
        let mut secret = [3; 32];
        secret[..2].copy_from_slice(&n.to_be_bytes());
        let mut caller = Caller {
            endpoint: Endpoint::new(Identity::from_secret(secret), UdpConfig::default(), secret),
            began: Instant::now(),
        };
        attacker.send_to(&caller.hello(addr), addr).await.unwrap();
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let honest = Udp::bind("127.0.0.1:0".parse().unwrap(), &id(5), Arc::new(Liar), UdpConfig::default())
        .await
        .unwrap();
    let record = PeerRecord { id: id(1).peer_id(), addrs: node.local(), seed: false };
    let session = honest.connect(&record).await.expect("there is room for who goes on");
    session.send(Bytes::from_static(b"hello")).await.unwrap();
    honest.close(Duration::from_secs(1)).await;
    node.close(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_ends_well_beside_junk_datagrams_and_a_peer_that_babbles() {
    let builder = pcdn::Node::builder(id(1)).settings(Settings::default());
    let listen = "127.0.0.1:0".parse().unwrap();
    let udp = Udp::bind(listen, &id(1), builder.provider(), UdpConfig::default()).await.unwrap();
    let node = node_of(builder.transport(udp), &origin(), Vec::new());
    let to = node.record().addrs[0].addr;
    let asset = node.open(&url()).await.unwrap();

    let babbler = Udp::bind(listen, &id(2), Arc::new(Liar), UdpConfig::default()).await.unwrap();
    let session = babbler.connect(&node.record()).await.unwrap();
    let key = swarm().await;
    session
        .send(wire::encode(&key, &Message::Hello { ports: Vec::new(), answer: true, appears: None }))
        .await
        .unwrap();
    until("the babbler is a neighbour", async || !asset.status().await.unwrap().peers.is_empty()).await;
    let babble = tokio::spawn({
        let session = session.clone();
        async move {
            // Of another swarm, as long as may be; it reads nothing and asks for what is not there.
            let long =
                Bytes::from([&wire::encode(&SwarmKey([1; 32]), &Message::Bye)[..], &[7; 60_000]].concat());
            assert!(long.len() <= MESSAGE_BYTES_MAX);
            let layout = Layout::new(1 << 16, 14).unwrap();
            for n in 0..200 {
                let piece =
                    PieceKey { segment: SegmentId(n % 7), piece: layout.piece(n as u32 % 4).unwrap() };
                let (swarm, class) = (key, Class::Urgent);
                let within = Duration::from_secs(20);
                let _ = session.fetch(Fetch {
                    swarm,
                    piece,
                    len: 1,
                    want: std::iter::once(0..1).collect(),
                    class,
                    within,
                });
                if session.send(long.clone()).await.is_err() {
                    return;
                }
            }
            let _ = session.send(Bytes::from_static(&[1, 2])).await;
        }
    });
    let junk = tokio::spawn(async move {
        let (socket, mut dice) = (socket().await, Dice::new(1));
        for n in 0..20_000u32 {
            let mut datagram: Vec<u8> = (0..dice.below(64)).map(|_| dice.next_u64() as u8).collect();
            datagram.insert(0, 0x20 + (n % 9) as u8);
            datagram.resize(if n % 3 == 0 { HELLO_LEN } else { datagram.len() }, 0);
            let _ = socket.send_to(&datagram, to).await;
        }
    });
    delivered(&asset).await;
    babble.await.unwrap();
    junk.await.unwrap();
    until("who breaks the format is left", async || asset.status().await.unwrap().peers.is_empty()).await;
    assert_eq!(asset.report().await.from_peers, 0);
    node.shutdown(Duration::from_secs(5)).await;
}
