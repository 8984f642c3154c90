//! How HTTP/3 is found, and what becomes of a request when it is not there any more.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::Version;
use tokio::net::UdpSocket;

use super::site::{Ask, Reply, Site, Step};
use super::*;
use crate::origin::OriginHttp;
use crate::origin::guard::Lookup;

const FILM: &[u8] = b"0123456789";

fn whole(site: &Site) -> OriginGet {
    OriginGet::whole(site.url("/film.flv"))
}

/// A site that says where it speaks HTTP/3: at `port`, or where it is.
async fn offering(udp: bool, place: impl Fn(u16) -> String + Send + Sync + 'static) -> Site {
    let port = Arc::new(AtomicUsize::new(0));
    let known = port.clone();
    let site = Site::start(true, udp, move |ask: &Ask| {
        let own = known.load(Ordering::SeqCst) as u16;
        Reply::right(ask, FILM, "\"a\"").with("alt-svc", place(own))
    });
    let site = site.await;
    port.store(site.port.into(), Ordering::SeqCst);
    site
}

/// Asks until the answer is carried by `version`: an offer is taken up beside what else is asked.
async fn asked_until(origin: &Http, site: &Site, version: Version) {
    for _ in 0..1000 {
        assert_eq!(read_all(origin, &whole(site)).await, FILM);
        if site.versions().last() == Some(&version) {
            return;
        }
    }
    panic!("never over {version:?}: {:?}", site.versions());
}

#[tokio::test]
async fn an_offer_is_taken_up_beside_requests_that_tcp_carries() {
    let site = offering(true, |own| format!("h3=\":{own}\"; ma=60")).await;
    let origin = http(site.config());
    asked_until(&origin, &site, Version::HTTP_3).await;
    assert_eq!(site.versions()[0], Version::HTTP_2);
    assert_eq!(site.seen().last().unwrap().header("alt-used"), Some(&*format!("localhost:{}", site.port)));
    for _ in 0..5 {
        read_all(&origin, &whole(&site)).await;
    }
    assert!(site.versions().iter().rev().take(5).all(|version| *version == Version::HTTP_3));
    assert_eq!(site.connections(), (1, 1));
    let traffic = origin.traffic();
    assert!(traffic.http2.bytes >= 10 && traffic.http3.bytes >= 60 && traffic.fallbacks == 0, "{traffic:?}");
}

#[tokio::test]
async fn an_offer_is_not_taken_up_where_configuration_says_so() {
    let site = offering(true, |own| format!("h3=\":{own}\"; ma=60")).await;
    for (version, want) in [(OriginHttp::Http1, Version::HTTP_11), (OriginHttp::Http2, Version::HTTP_2)] {
        let origin = http(HttpConfig { http: version, ..site.config() });
        for _ in 0..3 {
            read_all(&origin, &whole(&site)).await;
        }
        assert_eq!(site.versions().last(), Some(&want));
    }
    assert_eq!(site.connections().1, 0);
}

#[tokio::test]
async fn an_offer_that_is_taken_back_is_not_used() {
    let clear = Arc::new(AtomicBool::new(false));
    let site = {
        let clear = clear.clone();
        offering(true, move |own| match clear.load(Ordering::SeqCst) {
            true => "clear".to_owned(),
            false => format!("h3=\":{own}\"; ma=60"),
        })
    };
    let site = site.await;
    let origin = http(site.config());
    asked_until(&origin, &site, Version::HTTP_3).await;
    clear.store(true, Ordering::SeqCst);
    // This answer says it.
    read_all(&origin, &whole(&site)).await;
    read_all(&origin, &whole(&site)).await;
    assert_eq!(site.versions().last(), Some(&Version::HTTP_2));
}

/// Connections that were tried at a port that says nothing, by the names a client gives them: it knocks with one name however
/// often (RFC 9000, 7.2).
fn tried(at: &UdpSocket) -> BTreeSet<Vec<u8>> {
    let (mut names, mut hello) = (BTreeSet::new(), [0; 2048]);
    while let Ok((len, _)) = at.try_recv_from(&mut hello) {
        // A long header: flags, version, length of the name, name.
        let name = &hello[6..][..usize::from(hello[5])];
        assert!(len >= 1200 && hello[0] & 0x80 != 0, "a client's first datagram is long");
        names.insert(name.to_vec());
    }
    names
}

/// On a machine that paused for a moment, late knocks of one attempt were once taken for another attempt.
#[tokio::test]
async fn a_port_that_says_nothing_is_tried_once_and_delays_nobody() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let dead = silent.local_addr().unwrap().port();
    let site = offering(false, move |_| format!("h3=\":{dead}\"; ma=60")).await;
    let brief = Span(Duration::from_millis(100));
    // The first answer must come in this time, too, on a machine that is busy.
    let origin = http(HttpConfig { http: OriginHttp::Auto, ..site.config() });
    for _ in 0..20 {
        assert_eq!(read_all(&origin, &whole(&site)).await, FILM);
    }
    assert!(site.versions().iter().all(|version| *version == Version::HTTP_2));
    silent.readable().await.unwrap();
    let mut names = tried(&silent);
    assert_eq!(names.len(), 1);

    let hasty = http(HttpConfig { connect_timeout: brief, attempts: 8, ..site.config() });
    assert_eq!(read_all(&hasty, &whole(&site)).await, FILM);
    // By then it has given up; the first one, more patient, may still be knocking.
    tokio::time::sleep(3 * brief.0).await;
    for _ in 0..5 {
        assert_eq!(read_all(&hasty, &whole(&site)).await, FILM);
        tokio::time::sleep(brief.0).await;
    }
    names.extend(tried(&silent));
    assert_eq!(names.len(), 2, "each tries once, and what failed is left alone");
}

#[tokio::test]
async fn http_3_by_configuration_comes_back_to_tcp() {
    let site = Site::start(true, false, |ask| Reply::right(ask, FILM, "\"a\"")).await;
    let origin = http(HttpConfig { http: OriginHttp::Http3, ..site.config() });
    for _ in 0..3 {
        assert_eq!(read_all(&origin, &whole(&site)).await, FILM);
    }
    assert_eq!(site.versions(), [Version::HTTP_2; 3]);
    // Plain http has no TLS, and so no HTTP/3.
    let plain = Faulty::start(|seen| right(seen, FILM, "\"a\"")).await;
    let config = HttpConfig { http: OriginHttp::Http3, ..config() };
    assert_eq!(read_all(&http(config), &ask(&plain, None)).await, FILM);
}

/// Carries datagrams between a client and a port, until it is told to lose them.
async fn relay(to: u16) -> (u16, Arc<AtomicBool>) {
    let (near, far) =
        (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    far.connect(SocketAddr::from(([127, 0, 0, 1], to))).await.unwrap();
    let port = near.local_addr().unwrap().port();
    let lose = Arc::new(AtomicBool::new(false));
    let losing = lose.clone();
    tokio::spawn(async move {
        let (mut there, mut back) = ([0; 65_536], [0; 65_536]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((len, from)) = near.recv_from(&mut there) => {
                    client = Some(from);
                    if !losing.load(Ordering::SeqCst) {
                        let _ = far.send(&there[..len]).await;
                    }
                }
                Ok(len) = far.recv(&mut back) => {
                    if let (Some(client), false) = (client, losing.load(Ordering::SeqCst)) {
                        let _ = near.send_to(&back[..len], client).await;
                    }
                }
            }
        }
    });
    (port, lose)
}

#[tokio::test]
async fn a_path_that_dies_loses_no_request() {
    let via = Arc::new(AtomicUsize::new(0));
    let known = via.clone();
    // The site offers the relay's port, behind which it is itself.
    let site = offering(true, move |_| format!("h3=\":{}\"; ma=600", known.load(Ordering::SeqCst))).await;
    let (port, lose) = relay(site.port).await;
    via.store(port.into(), Ordering::SeqCst);
    let origin = http(site.config());
    asked_until(&origin, &site, Version::HTTP_3).await;
    lose.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        assert_eq!(read_all(&origin, &whole(&site)).await, FILM);
        assert_eq!(site.versions().last(), Some(&Version::HTTP_2));
    }
    assert_eq!(origin.traffic().fallbacks, 1, "the first finds out, the others know");
}

#[tokio::test]
async fn a_path_that_dies_within_a_body_ends_it_and_tcp_is_next() {
    let via = Arc::new(AtomicUsize::new(0));
    let known = via.clone();
    let site = Site::start(true, true, move |ask: &Ask| {
        let offer = format!("h3=\":{}\"; ma=600", known.load(Ordering::SeqCst));
        let mut reply = Reply::right(ask, FILM, "\"a\"").with("alt-svc", offer);
        if ask.version == Version::HTTP_3 && ask.header("range").is_some() {
            reply.steps = vec![Step::Send(Bytes::from_static(b"01")), Step::Hang];
        }
        reply
    });
    let site = site.await;
    let (port, lose) = relay(site.port).await;
    via.store(port.into(), Ordering::SeqCst);
    let origin = http(site.config());
    asked_until(&origin, &site, Version::HTTP_3).await;
    let part = OriginGet { range: range(0, 4), ..whole(&site) };
    let mut body = origin.get(&part).await.unwrap();
    assert_eq!(body.bytes.next().await.unwrap().unwrap(), &b"01"[..]);
    lose.store(true, Ordering::SeqCst);
    let error = body.bytes.next().await.unwrap().unwrap_err();
    assert!(matches!(error, OriginError::Unreachable { .. }), "{error:?}");
    assert_eq!(read_all(&origin, &part).await, b"0123");
    assert_eq!(site.versions().last(), Some(&Version::HTTP_2));
}

#[tokio::test]
async fn who_does_not_answer_for_the_origin_is_not_asked_again() {
    let site = Site::start(true, true, |ask: &Ask| match ask.version {
        Version::HTTP_3 => Reply::whole(421, &[], b"not here"),
        _ => Reply::right(ask, FILM, "\"a\""),
    });
    let site = site.await;
    let origin = http(HttpConfig { http: OriginHttp::Http3, ..site.config() });
    for _ in 0..4 {
        assert_eq!(read_all(&origin, &whole(&site)).await, FILM);
    }
    assert!(site.versions().iter().filter(|version| **version == Version::HTTP_3).count() <= 1);
}

#[tokio::test]
async fn another_place_must_show_the_origins_own_certificate() {
    let other = Site::start(false, true, |_| Reply::whole(200, &[], b"other bytes")).await;
    let port = other.port;
    let site = offering(false, move |_| format!("h3=\":{port}\"; ma=60")).await;
    let origin = http(site.config());
    // Many more than a handshake takes.
    for _ in 0..200 {
        assert_eq!(read_all(&origin, &whole(&site)).await, FILM);
    }
    assert!(other.seen().is_empty());
}

/// `inner.example` is the inner network, `localhost` the test's own.
#[derive(Debug)]
struct Names;

#[pcdn_core::async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> std::io::Result<Vec<std::net::IpAddr>> {
        Ok(vec![if name == "localhost" { "127.0.0.1" } else { "169.254.169.254" }.parse().unwrap()])
    }
}

#[tokio::test]
async fn an_offer_leads_nowhere_the_guard_would_not() {
    let inner = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = inner.local_addr().unwrap().port();
    // An address, a name for one, and a port of the origin's host that was not allowed.
    for place in [format!("127.0.0.1:{port}"), format!("inner.example:{port}"), format!(":{port}")] {
        let site = offering(false, move |_| format!("h3=\"{place}\"; ma=60")).await;
        let allow = vec![format!("localhost:{}", site.port).parse().unwrap()];
        let config = HttpConfig { allow, ..site.config() };
        let origin = Http::with_lookup(config, Dice::new(1), Arc::new(Names)).unwrap();
        for _ in 0..50 {
            assert_eq!(read_all(&origin, &whole(&site)).await, FILM);
        }
        // A port of a host that has no address for strangers is refused by name, like any other.
        assert!(inner.try_recv_from(&mut [0; 2048]).is_err());
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_over_quic_too() {
    let site = Site::start(true, true, |ask| Reply::right(ask, FILM, "\"a\"")).await;
    let config = HttpConfig { allow: Vec::new(), http: OriginHttp::Http3, ..site.config() };
    let origin = Http::with_lookup(config, Dice::new(1), Arc::new(Names)).unwrap();
    for name in ["localhost", "inner.example"] {
        let url = format!("https://{name}:{}/film.flv", site.port);
        let error = read(&origin, &OriginGet::whole(url.parse().unwrap())).await.unwrap_err();
        assert!(matches!(error, OriginError::Forbidden { .. }), "{error:?}");
    }
    assert_eq!(site.connections(), (0, 0));
}

#[tokio::test]
async fn dropping_the_last_handle_closes_the_connection() {
    let site = Site::start(false, true, |ask| Reply::right(ask, FILM, "\"a\"")).await;
    let origin = http(HttpConfig {
        http: OriginHttp::Http3,
        http3_head_start: Span(Duration::from_secs(10)),
        ..site.config()
    });
    let mut body = origin.get(&whole(&site)).await.unwrap();
    drop(origin);
    // A body under way keeps it.
    let mut got = Vec::new();
    while let Some(bytes) = body.bytes.next().await {
        got.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(got, FILM);
}
