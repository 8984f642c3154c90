//! A tracker and its clients over real sockets on loopback.
#![cfg(feature = "tracker")]
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use pcdn_core::discovery::{Discovery, DiscoveryError};
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_core::testing::{own_addr, within};
use pcdn_core::wire::meet::{self, AnswerFrom, Call, Here, Meet, Where, Word};
use pcdn_discovery::tracker::token::{Capability, Claims, mint};
use pcdn_discovery::tracker::wire::{
    self, AMPLIFICATION_MAX, Announce, Answer, Event, Find, Ports, Request, Traits, decode_answer,
    encode_connect, encode_request,
};
use pcdn_discovery::{Secret, Tracker, TrackerConfig, TrackerServer, Trackers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::Instant;

const KEY: SwarmKey = SwarmKey([7; 32]);

async fn server(secret: Option<Secret>) -> TrackerServer {
    let listen = "127.0.0.1:0".parse().unwrap();
    TrackerServer::bind(TrackerConfig { listen, secret, ..TrackerConfig::default() }).await.unwrap()
}

/// A tracker at an address that stays free for its successor. `nth` keeps tests apart, and a tracker's second socket.
async fn restartable(nth: u16) -> TrackerServer {
    server_at(own_addr(10 * nth + 1)).await.unwrap()
}

async fn server_at(listen: SocketAddr) -> std::io::Result<TrackerServer> {
    TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await
}

fn secret() -> Secret {
    Secret::new(b"a secret of more than sixteen bytes").unwrap()
}

fn me(n: u8) -> PeerRecord {
    // The address is not believed, only the ports: 203.0.113.1 must not come back.
    let addrs = ["udp", "quic"]
        .map(|scheme| format!("{scheme}://203.0.113.1:{}", 4000 + u16::from(n)).parse().unwrap());
    PeerRecord { id: PeerId([n; 32]), addrs: addrs.into(), seed: n == 0 }
}

async fn found(tracker: &Tracker, want: usize) -> Vec<PeerRecord> {
    tracker.find(&KEY, want).try_collect().await.unwrap()
}

async fn fifty_clients_find_each_other(scheme: &str) {
    let server = server(None).await;
    let at = format!("{scheme}://{}", server.local_addr());
    let clients: Vec<(u8, Tracker)> = (0..50).map(|n| (n, Tracker::at(&at))).collect();
    let leases = join_all(clients.iter().map(|(n, tracker)| {
        let me = me(*n);
        async move { tracker.announce(&KEY, &me).await.unwrap() }
    }));
    for lease in leases.await {
        assert!((Duration::from_secs(54)..=Duration::from_secs(66)).contains(&lease.renew_in));
    }
    assert_eq!(server.table().entries(), 50);
    let lists =
        join_all(clients.iter().map(|(n, tracker)| async move { (*n, found(tracker, 40).await) })).await;
    let mut everyone = HashSet::new();
    for (n, list) in lists {
        let ids: HashSet<_> = list.iter().map(|record| record.id).collect();
        assert_eq!(ids.len(), list.len(), "nobody twice");
        assert!(list.len() >= 20, "{n} found {}", list.len());
        assert!(!ids.contains(&PeerId([n; 32])), "nobody finds himself");
        for record in &list {
            let port = 4000 + u16::from(record.id.0[0]);
            let want = [format!("udp://127.0.0.1:{port}"), format!("quic://127.0.0.1:{port}")];
            assert_eq!(record.addrs.iter().map(|addr| addr.to_string()).collect::<Vec<_>>(), want);
            assert_eq!(record.seed, record.id.0[0] == 0);
        }
        everyone.extend(ids);
    }
    assert_eq!(everyone.len(), 50);
    for (n, tracker) in &clients {
        tracker.withdraw(&KEY, &PeerId([*n; 32])).await.unwrap();
    }
    assert_eq!(server.table().entries(), 0);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_find_each_other_over_udp() {
    fifty_clients_find_each_other("udp").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_clients_find_each_other_over_http() {
    fifty_clients_find_each_other("http").await;
}

#[tokio::test]
async fn a_name_with_a_dead_address_works() {
    // `localhost` is often ::1 first, where nobody listens.
    let server = server(None).await;
    let tracker = Tracker::at(&format!("localhost:{}", server.local_addr().port()));
    tracker.announce(&KEY, &me(1)).await.unwrap();
    assert_eq!(server.table().entries(), 1);
}

/// A client that speaks the wire itself.
struct Raw(UdpSocket);

impl Raw {
    async fn to(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self(socket)
    }

    async fn ask(&self, bytes: &[u8], secret: Option<&Secret>) -> Answer {
        self.0.send(bytes).await.unwrap();
        let mut answer = [0; 2000];
        let len = self.0.recv(&mut answer).await.unwrap();
        assert!(len <= bytes.len() * AMPLIFICATION_MAX, "{len} for {}", bytes.len());
        decode_answer(&answer[..len], secret).unwrap().1
    }

    async fn connect(&self) -> u64 {
        let Answer::Connected { connection } = self.ask(&encode_connect(1), None).await else {
            panic!("connects")
        };
        connection
    }
}

fn requests() -> [Request; 2] {
    let find =
        Find { swarm: KEY, asker: None, seed: false, want: 50, traits: Traits::default(), rich: false };
    let (peer, ports) = (PeerId([99; 32]), Ports::of(&me(99)));
    let (seed, event, progress, want) = (false, Event::Started, None, 50);
    let announce =
        Announce { swarm: KEY, peer, ports, seed, event, progress, want, traits: Traits::default() };
    [Request::Announce(announce), Request::Find(find)]
}

#[tokio::test]
async fn a_spoofed_connection_id_is_refused_and_nothing_is_amplified() {
    let server = server(None).await;
    for n in 0..60 {
        Tracker::at(&server.local_addr().to_string()).announce(&KEY, &me(n)).await.unwrap();
    }
    let raw = Raw::to(server.local_addr()).await;
    let right = raw.connect().await;
    for request in requests() {
        let answer = raw.ask(&encode_request(right ^ 1, 2, &request, None), None).await;
        assert!(matches!(answer, Answer::Refused { why } if why.contains("connection id")));
    }
    assert_eq!(server.table().entries(), 60);
    for request in requests() {
        let frame = encode_request(right, 2, &request, None);
        assert_eq!(frame.len(), wire::REQUEST_PADDED);
        match raw.ask(&frame, None).await {
            Answer::Announced { peers, observed, .. } => {
                assert_eq!(peers.len(), 26);
                assert_eq!(observed, raw.0.local_addr().unwrap());
            }
            Answer::Found { peers, .. } => assert_eq!(peers.len(), 26),
            other => panic!("{other:?}"),
        }
        // The same without its padding.
        let bare = frame.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        raw.ask(&frame[..bare], None).await;
    }
}

#[tokio::test]
async fn a_private_tracker_over_both_ways() {
    let server = server(Some(secret())).await;
    for scheme in ["udp", "http"] {
        let at = format!("{scheme}://{}", server.local_addr());
        Tracker::at(&at).with_secret(secret()).announce(&KEY, &me(scheme.len() as u8)).await.unwrap();
        let stranger = Tracker::at(&at);
        let refused = stranger.announce(&KEY, &me(50)).await;
        assert!(
            matches!(refused, Err(DiscoveryError::Refused { why, .. }) if why.contains("private")),
            "{scheme}"
        );
        let found: Vec<_> = stranger.find(&KEY, 9).collect().await;
        assert!(matches!(found[..], [Err(DiscoveryError::Refused { .. })]), "{scheme}");
    }
    assert_eq!(server.table().entries(), 2);
    let token = secret().reading_token();
    assert_eq!(get(server.local_addr(), "/v1/swarms", None).await.0, 401);
    assert_eq!(get(server.local_addr(), "/healthz", None).await.0, 200);
    let (status, body) = get(server.local_addr(), "/v1/swarms", Some(&token)).await;
    assert_eq!(status, 200);
    assert!(body.contains(&KEY.to_string()));
}

/// A GET as a person with a terminal would do it.
async fn get(server: SocketAddr, path: &str, token: Option<&str>) -> (u16, String) {
    let auth = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    talk(server, &format!("GET {path} HTTP/1.1\r\nHost: tracker\r\n{auth}Connection: close\r\n\r\n")).await
}

async fn talk(server: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

#[tokio::test]
async fn people_read_it_over_http() {
    let server = server(None).await;
    let at = server.local_addr();
    Tracker::at(&at.to_string()).announce(&KEY, &me(0)).await.unwrap();
    Tracker::at(&format!("http://{at}")).announce(&KEY, &me(1)).await.unwrap();

    for path in ["/healthz", "/readyz"] {
        assert_eq!(get(at, path, None).await, (200, "ok\n".into()));
    }
    let swarms = get(at, "/v1/swarms", None).await.1;
    assert_eq!(
        swarms,
        format!("{{\"total\":1,\"swarms\":[{{\"swarm\":\"{KEY}\",\"seeds\":1,\"others\":1}}]}}")
    );
    let (status, one) = get(at, &format!("/v1/swarms/{KEY}"), None).await;
    assert!(
        status == 200 && one.contains("udp://127.0.0.1:4000") && one.contains("quic://127.0.0.1:4001"),
        "{one}"
    );
    assert_eq!(get(at, &format!("/v1/swarms/{}", SwarmKey([1; 32])), None).await.0, 404);
    assert_eq!(get(at, "/v1/swarms/nonsense", None).await.0, 400);
    // Two, unless this machine paused and one was asked again.
    let announces = server.counters().announces.load(std::sync::atomic::Ordering::Relaxed);
    assert!(announces >= 2);
    assert!(get(at, "/v1/stats", None).await.1.contains(&format!("\"announces\":{announces},")));
    let page = get(at, "/", None).await.1;
    assert!(page.contains("pcdn tracker") && page.contains(&KEY.to_string()));
    let metrics = get(at, "/metrics", None).await.1;
    for line in [
        &*format!("pcdn_tracker_announces_total {announces}"),
        "pcdn_tracker_swarms 1",
        "pcdn_tracker_refused_total{why=\"cookie\"} 0",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} in\n{metrics}");
    }
    assert!(metrics.ends_with("# EOF\n"));
}

#[tokio::test]
async fn http_refuses_what_it_should() {
    let server = server(None).await;
    let at = server.local_addr();
    let post = |kind: &str, body: String| {
        format!(
            "POST /v1/announce HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let low_port =
        format!("{{\"swarm\":\"{KEY}\",\"peer\":\"{KEY}\",\"ports\":[{{\"scheme\":\"udp\",\"port\":53}}]}}");
    for (request, status) in [
        (post("text/plain", low_port.clone()), 415),
        (post("application/json", low_port), 400),
        (post("application/json", "{".into()), 400),
        (post("application/json", " ".repeat(5000)), 413),
        ("DELETE /v1/swarms HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".into(), 405),
    ] {
        assert_eq!(talk(at, &request).await.0, status, "{request}");
    }
    assert_eq!(server.table().entries(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tracker_that_is_not_there_costs_five_seconds_at_most() {
    // A socket that never answers.
    let mute = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let tracker = Tracker::at(&mute.local_addr().unwrap().to_string());
    let start = Instant::now();
    assert!(matches!(tracker.announce(&KEY, &me(1)).await, Err(DiscoveryError::Silent { .. })));
    assert!(start.elapsed() <= Duration::from_secs(5));
}

#[tokio::test]
async fn a_restarted_tracker_is_found_again() {
    let first = restartable(0).await;
    let at = first.local_addr();
    let tracker = Tracker::at(&at.to_string());
    tracker.announce(&KEY, &me(1)).await.unwrap();
    first.shutdown().await;
    let second = server_at(at).await.unwrap();
    tracker.announce(&KEY, &me(1)).await.unwrap();
    assert_eq!(second.table().entries(), 1);
}

#[tokio::test]
async fn a_trackers_second_socket_leaves_its_neighbours_port_alone() {
    // It is one port above the tracker's own, which may be another tracker's; there it once took a part of what came.
    let upper = restartable(2).await;
    let at = upper.local_addr();
    let lower = server_at((at.ip(), at.port() - 1).into()).await;
    for n in 0..40 {
        Tracker::at(&upper.local_addr().to_string()).announce(&KEY, &me(n)).await.unwrap();
    }
    assert_eq!(upper.table().entries(), 40);
    assert_eq!(lower.unwrap().table().entries(), 0);
    assert!(server_at(at).await.is_err(), "nor may a second tracker");
}

fn swarm(n: u8) -> SwarmKey {
    SwarmKey([n; 32])
}

/// A request whose answer takes longer is asked again, and counts twice.
const ASKED_AGAIN: Duration = Duration::from_millis(300);
/// How often a test that counts requests begins anew because its machine paused for so long.
const ROUNDS: usize = 50;

/// Does it; nothing if it took so long that it may have been asked twice.
async fn once<T>(asked: impl Future<Output = T>) -> Option<T> {
    let begun = Instant::now();
    let answer = asked.await;
    (begun.elapsed() < ASKED_AGAIN).then_some(answer)
}

#[tokio::test]
async fn renewals_of_many_swarms_are_one_report() {
    for _ in 0..ROUNDS {
        if counted_renewals().await.is_some() {
            return;
        }
    }
    panic!("{ROUNDS} times an answer over loopback took {ASKED_AGAIN:?}");
}

/// Nothing if one of them may have been asked twice.
async fn counted_renewals() -> Option<()> {
    let server = server(None).await;
    let tracker = Tracker::at(&server.local_addr().to_string());
    for n in 0..60 {
        once(tracker.announce(&swarm(n), &me(1))).await?.unwrap();
    }
    let reports = || server.counters().reports.load(std::sync::atomic::Ordering::Relaxed);
    let announces = || server.counters().announces.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!((announces(), reports()), (60, 0), "the first of each brings peers");
    for n in 0..60 {
        let lease = once(tracker.announce(&swarm(n), &me(1))).await?.unwrap();
        assert!((Duration::from_secs(50)..=Duration::from_secs(66)).contains(&lease.renew_in));
    }
    assert_eq!((announces(), reports()), (60, 2), "60 renewals in two datagrams");
    once(tracker.withdraw(&swarm(0), &me(1).id)).await?.unwrap();
    assert_eq!(server.table().entries(), 59);
    // What has changed is said at once.
    once(tracker.announce(&swarm(1), &PeerRecord { seed: true, ..me(1) })).await?.unwrap();
    assert_eq!(server.table().counts(&swarm(1)).unwrap().seeds, 1);
    assert_eq!((announces(), reports(), server.table().entries()), (61, 3, 59));
    Some(())
}

#[tokio::test]
async fn a_tracker_that_forgot_everything_is_told_everything_again() {
    let first = restartable(1).await;
    let at = first.local_addr();
    let tracker = Tracker::at(&at.to_string());
    for _ in 0..2 {
        for n in 0..50 {
            tracker.announce(&swarm(n), &me(1)).await.unwrap();
        }
    }
    first.shutdown().await;
    let second = server_at(at).await.unwrap();
    // Something changes, so that there is a report before its time.
    tracker.announce(&swarm(7), &PeerRecord { seed: true, ..me(1) }).await.unwrap();
    assert_eq!(second.table().entries(), 50);
}

#[tokio::test]
async fn of_three_trackers_one_dies_and_nobody_is_lost() {
    let mut servers = Vec::new();
    for n in 0..3 {
        servers.push(restartable(3 + n).await);
    }
    let all: Vec<String> = servers.iter().map(|server| server.local_addr().to_string()).collect();
    // Each node has the list in an order of its own.
    let node = |n: usize| {
        let mut list = all.clone();
        list.rotate_left(n % 3);
        Trackers::new(list.iter().map(|at| Tracker::at(at)).collect())
    };
    let nodes: Vec<Trackers> = (0..6).map(node).collect();
    for n in 0..30 {
        for (who, node) in nodes.iter().enumerate() {
            node.announce(&swarm(n), &me(who as u8 + 1)).await.unwrap();
        }
    }
    let entries: Vec<usize> = servers.iter().map(|server| server.table().entries()).collect();
    assert_eq!(entries.iter().sum::<usize>(), 30 * 6 * 2, "everything at two of three: {entries:?}");
    assert!(entries.iter().all(|entries| *entries >= 30), "all have a share: {entries:?}");

    servers.remove(1).shutdown().await;
    let newcomer = node(1);
    let finds = (0..30).map(|n| {
        let newcomer = &newcomer;
        async move { newcomer.find(&swarm(n), 20).try_collect::<Vec<_>>().await.unwrap() }
    });
    let start = Instant::now();
    for (n, found) in join_all(finds).await.into_iter().enumerate() {
        let ids: HashSet<_> = found.iter().map(|record| record.id).collect();
        assert_eq!((ids.len(), found.len()), (6, 6), "swarm {n}: everyone, once");
    }
    assert!(start.elapsed() < Duration::from_secs(6));
    // Who announces now is at two again.
    for n in 0..30 {
        newcomer.announce(&swarm(n), &me(9)).await.unwrap();
    }
    let living: usize = servers.iter().map(|server| server.table().entries()).sum();
    assert_eq!(living, entries[0] + entries[2] + 60);
}

#[tokio::test]
async fn a_tracker_is_for_both_families_at_once() {
    let listen = "[::]:0".parse().unwrap();
    let server = TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await.unwrap();
    let port = server.local_addr().port();
    for (n, at) in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")].iter().enumerate() {
        Tracker::at(at).announce(&KEY, &me(n as u8 + 1)).await.unwrap();
    }
    let found = found(&Tracker::at(&format!("127.0.0.1:{port}")), 10).await;
    let mut ips: Vec<_> = found.iter().map(|record| record.addrs[0].addr.ip().to_string()).collect();
    assert_eq!(ips.remove(0), "127.0.0.1", "the asker's own family first");
    assert_eq!(ips, ["::1"]);
}

#[tokio::test]
async fn an_applications_tracker_serves_who_shows_its_token() {
    let backend = Identity::from_secret([1; 32]);
    let listen = "127.0.0.1:0".parse().unwrap();
    let config = TrackerConfig { listen, token_key: Some(backend.peer_id()), ..TrackerConfig::default() };
    let server = TrackerServer::bind(config).await.unwrap();
    let exp = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    let caps = vec![Capability::Announce, Capability::Find];
    let mine = Claims { exp, node: me(1).id.to_string(), swarm: "07".to_owned(), caps };
    for scheme in ["udp", "http"] {
        let at = format!("{scheme}://{}", server.local_addr());
        let tracker = Tracker::at(&at).with_token(&mint(&backend, &mine));
        for _ in 0..2 {
            // The second is a report, over UDP.
            tracker.announce(&KEY, &me(1)).await.unwrap();
        }
        tracker.find(&KEY, 5).try_collect::<Vec<_>>().await.unwrap();
        let stranger = Identity::from_secret([2; 32]);
        for (token, who, swarm) in [
            (mint(&backend, &mine), me(2), KEY),
            (mint(&backend, &mine), me(1), SwarmKey([8; 32])),
            (mint(&stranger, &mine), me(1), KEY),
        ] {
            let refused = Tracker::at(&at).with_token(&token).announce(&swarm, &who).await;
            assert!(matches!(refused, Err(DiscoveryError::Refused { why, .. }) if why.contains("token")));
        }
        assert!(Tracker::at(&at).announce(&KEY, &me(1)).await.is_err(), "none is not enough");
    }
    assert_eq!(server.table().entries(), 1);
    // A BitTorrent client has it in its announce URL.
    let anyone = mint(&backend, &Claims { node: "*".to_owned(), ..mine });
    let url = |token: &str| {
        format!("/announce?info_hash={}&peer_id={}&port=6881{token}", "%07".repeat(20), "x".repeat(20))
    };
    assert!(get(server.local_addr(), &url(""), None).await.1.contains("failure reason"));
    assert!(
        get(server.local_addr(), &url(&format!("&compact=0&token={anyone}")), None)
            .await
            .1
            .contains("interval")
    );
    assert_eq!(server.table().entries(), 2);
}

/// A node's socket, as far as a tracker's questions of where it is go.
struct Node {
    socket: UdpSocket,
    id: PeerId,
    tracker: SocketAddr,
}

impl Node {
    async fn at(tracker: SocketAddr, n: u8) -> Self {
        Self { socket: UdpSocket::bind("127.0.0.1:0").await.unwrap(), id: PeerId([n; 32]), tracker }
    }

    async fn say(&self, word: Word) {
        self.socket.send_to(&meet::encode(&word), self.tracker).await.unwrap();
    }

    async fn hear(&self) -> (Word, SocketAddr) {
        let mut room = [0; 400];
        let (len, from) = within("an answer", self.socket.recv_from(&mut room)).await.unwrap();
        (meet::decode(&room[..len]).expect("a word"), from)
    }

    async fn where_am_i(&self, answer_from: AnswerFrom, ticket: meet::Ticket) -> (Here, SocketAddr) {
        let (id, private) = (self.id, Vec::new());
        self.say(Word::Where(Where { txid: [id.0[0]; 12], answer_from, ticket, id, private, rtt_ms: 0 }))
            .await;
        match self.hear().await {
            (Word::Here(here), from) => (here, from),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_learn_where_they_are_seen_and_are_called_together() {
    let server = server(None).await;
    let (a, b) = (Node::at(server.local_addr(), 1).await, Node::at(server.local_addr(), 2).await);
    let mut tickets = Vec::new();
    for node in [&a, &b] {
        let (here, from) = node.where_am_i(AnswerFrom::Here, [0; 8]).await;
        assert_eq!((here.seen, from), (node.socket.local_addr().unwrap(), node.tracker));
        let (again, other) = node.where_am_i(AnswerFrom::OtherPort, here.ticket).await;
        assert!(again.registered);
        assert_eq!(Some(other), here.other_port, "answered from where it says it has another port");
        tickets.push(here.ticket);
    }
    let at = b.socket.local_addr().unwrap();
    let call = Call {
        txid: [9; 12],
        ticket: tickets[0],
        id: a.id,
        wanted: b.id,
        at,
        private: Vec::new(),
        rtt_ms: 0,
    };
    a.say(Word::Call(call)).await;
    let meeting = async |node: &Node| -> Meet {
        match node.hear().await {
            (Word::Meet(meet), from) if from == node.tracker => meet,
            other => panic!("{other:?}"),
        }
    };
    let (at_a, at_b) = (meeting(&a).await, meeting(&b).await);
    assert!(at_a.token.is_some() && at_a.token == at_b.token);
    assert_eq!((at_a.peer, at_a.addrs), (b.id, vec![at]));
    assert_eq!((at_b.peer, at_b.addrs), (a.id, vec![a.socket.local_addr().unwrap()]));
    server.shutdown().await;
}

/// A tracker for all addresses answers from one of them alone, too, on a port that it has for all.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_answered_from_another_address() {
    let (listen, second) = ("0.0.0.0:0".parse().unwrap(), "127.0.0.2".parse().unwrap());
    let config = TrackerConfig { listen, second_address: Some(second), ..TrackerConfig::default() };
    let server = TrackerServer::bind(config).await.unwrap();
    let at = SocketAddr::from(([127, 0, 0, 1], server.local_addr().port()));
    let node = Node::at(at, 1).await;
    let (here, from) = node.where_am_i(AnswerFrom::Here, [0; 8]).await;
    assert_eq!(from, at);
    let (_, from) = node.where_am_i(AnswerFrom::OtherAddress, here.ticket).await;
    assert_eq!(Some(from.port()), here.other_port.map(|other| other.port()));
    assert_eq!(from.ip(), second);
    server.shutdown().await;
}
