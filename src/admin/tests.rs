//! The admin server over raw sockets, watching a fake.

use std::sync::Mutex;

use async_trait::async_trait;
use pcdn_core::id::{PeerId, Rid, SwarmKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::broadcast;

use super::*;
use crate::node::{P2p, PeerStatus, SwarmReport, SwarmStatus};

#[derive(Debug)]
struct Fake {
    p2p: Mutex<P2p>,
    events: broadcast::Sender<String>,
}

#[async_trait]
impl Watched for Fake {
    fn peer_id(&self) -> PeerId {
        PeerId([9; 32])
    }
    fn p2p(&self) -> P2p {
        *self.p2p.lock().unwrap()
    }
    fn set_p2p(&self, p2p: P2p) {
        *self.p2p.lock().unwrap() = p2p;
    }
    async fn swarms(&self) -> Vec<SwarmStatus> {
        let peer = PeerStatus {
            peer: PeerId([3; 32]),
            addr: None,
            rtt_ms: 1.0,
            from: 1,
            to: 2,
            rate: 3,
            holds: 4,
            downloading: true,
            banned: false,
        };
        vec![SwarmStatus {
            swarm: SwarmKey([7; 32]),
            rid: Rid([1; 32]),
            url: "http://cdn.example/film".into(),
            len: 100,
            report: SwarmReport { from_peers: 75, from_origin: 25, ..SwarmReport::default() },
            segments: vec![(0, 2, "03".into())],
            peers: vec![peer],
            readers: 0,
        }]
    }
    async fn forget(&self, swarm: &SwarmKey) -> bool {
        *swarm == SwarmKey([7; 32])
    }
    fn events(&self) -> broadcast::Receiver<String> {
        self.events.subscribe()
    }
}

async fn start(change: impl FnOnce(&mut Config)) -> (Admin, SocketAddr, Arc<Fake>) {
    let mut config = Config::default();
    config.admin.listen = "127.0.0.1:0".into();
    config.node.header = vec!["Authorization: Bearer origin-secret".into()];
    change(&mut config);
    let fake = Arc::new(Fake { p2p: Mutex::new(P2p::On), events: broadcast::channel(8).0 });
    let admin =
        Admin::over(fake.clone(), &config, Counted { gateway: Some(Arc::default()), origin: None }).await;
    let admin = admin.unwrap();
    let addr = admin.local_addrs()[0];
    (admin, addr, fake)
}

async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let port = addr.port();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test]
async fn every_page_answers() {
    let (_admin, addr, _) = start(|_| ()).await;
    let key = SwarmKey([7; 32]).to_string();
    for (path, want) in [
        ("/", "EventSource"),
        ("/healthz", "ok"),
        ("/readyz", "\"ready\":true"),
        ("/metrics", "pcdn_delivered_bytes_total{source=\"peer\"} 75"),
        ("/api/v1/", "/api/v1/swarms/{key}/forget"),
        ("/api/v1/openapi.json", "\"openapi\":\"3.1.0\""),
        ("/api/v1/status", "\"p2p_ratio\":0.75"),
        ("/api/v1/swarms", &key),
        (&format!("/api/v1/swarms/{key}"), "[0,2,\"03\"]"),
        ("/api/v1/peers", "\"rtt_ms\":1.0"),
        ("/api/v1/config", "Authorization: …"),
    ] {
        let (status, answer) = ask(addr, "GET", path, "").await;
        assert_eq!(status, 200, "{path}");
        assert!(answer.contains(want), "{path}: {answer}");
        assert!(!answer.contains("origin-secret") && !answer.to_lowercase().contains("access-control"));
    }
    assert_eq!(ask(addr, "GET", "/api/v1/swarms/07", "").await.0, 404);
    assert_eq!(ask(addr, "GET", "/nothing", "").await.0, 404);
    assert_eq!(ask(addr, "DELETE", "/", "").await.0, 405);
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let page = include_str!("dashboard.html");
    assert!(!page.contains("://") && !page.contains("//cdn"));
}

#[tokio::test]
async fn changes_are_for_the_operator_alone() {
    let (_admin, addr, fake) = start(|_| ()).await;
    let key = SwarmKey([7; 32]);
    assert_eq!(ask(addr, "POST", "/api/v1/p2p/off", "").await.0, 200);
    assert_eq!(fake.p2p(), P2p::Off);
    assert_eq!(ask(addr, "POST", &format!("/api/v1/swarms/{key}/forget"), "").await.0, 200);
    assert_eq!(ask(addr, "POST", &format!("/api/v1/swarms/{}/forget", SwarmKey([8; 32])), "").await.0, 404);
    assert_eq!(ask(addr, "POST", "/api/v1/swarms/xyz/forget", "").await.0, 404);
    assert_eq!(ask(addr, "GET", "/api/v1/p2p/on", "").await.0, 404, "reading never changes");
    assert_eq!(ask(addr, "POST", "/api/v1/p2p/on", "Origin: https://evil.example\r\n").await.0, 403);
    assert_eq!(ask(addr, "POST", "/api/v1/p2p/on", "Origin: null\r\n").await.0, 403);
    assert_eq!(fake.p2p(), P2p::Off);
    let own = format!("Origin: http://localhost:{}\r\n", addr.port());
    assert_eq!(ask(addr, "POST", "/api/v1/p2p/on", &own).await.0, 200);
    assert_eq!(fake.p2p(), P2p::On);
    assert_eq!(ask(addr, "GET", "/", "Host: evil.example\r\n").await.0, 400);
}

#[tokio::test]
async fn a_token_is_asked_for_once_there_is_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "a-token-of-twenty-signs\n").unwrap();
    let (_admin, addr, fake) = start(|c| c.admin.token = Some(file.display().to_string())).await;
    for (headers, want) in [
        ("", 401),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Bearer a-token-of-twenty-signX\r\n", 401),
        ("Authorization: Bearer a-token-of-twenty-signs\r\n", 200),
    ] {
        assert_eq!(ask(addr, "POST", "/api/v1/p2p/off", headers).await.0, want, "{headers}");
    }
    assert_eq!(fake.p2p(), P2p::Off);
    std::fs::write(&file, "short").unwrap();
    let mut config = Config::default();
    (config.admin.listen, config.admin.token) = ("127.0.0.1:0".into(), Some(file.display().to_string()));
    let refused = Admin::over(fake, &config, Counted::default()).await.unwrap_err().to_string();
    assert!(refused.contains("16 to 1024") && !refused.contains("short"), "{refused}");
}

#[tokio::test]
async fn listeners_hear_the_status_and_what_the_node_tells() {
    let (_admin, addr, fake) = start(|_| ()).await;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", addr.port());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut chunk = [0; 4096];
    while !heard.contains("event: status") {
        let count = stream.read(&mut chunk).await.unwrap();
        heard.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }
    assert!(heard.contains("text/event-stream"));
    fake.events.send("{\"event\":\"joined\"}".into()).unwrap();
    while !heard.contains("data: {\"event\":\"joined\"}\n\n") {
        let count = stream.read(&mut chunk).await.unwrap();
        heard.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
    }
}
