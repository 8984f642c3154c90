//! One suite for every version of HTTP: what an origin may do wrong is the same in all of them, and so is what comes of it.

use http::Version;

use super::site::{Ask, Reply, Site, Step};
use super::*;
use crate::origin::{OriginHttp, OriginTraffic};

/// One of the three.
#[derive(Clone, Copy, Debug)]
struct Over(OriginHttp);

impl Over {
    /// A site that speaks this version alone, and who asks it.
    async fn site(self, script: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Site {
        let quic = self.0 == OriginHttp::Http3;
        Site::start(!quic, quic, script).await
    }

    fn http(self, config: HttpConfig) -> Http {
        // A handshake on a busy machine must not be taken for a dead origin.
        http(HttpConfig { http: self.0, http3_head_start: Span(Duration::from_secs(10)), ..config })
    }

    fn version(self) -> Version {
        match self.0 {
            OriginHttp::Http2 => Version::HTTP_2,
            OriginHttp::Http3 => Version::HTTP_3,
            _ => Version::HTTP_11,
        }
    }

    /// What was carried by this version, and nothing by another.
    fn bytes(self, traffic: &OriginTraffic) -> u64 {
        let all = [traffic.http1, traffic.http2, traffic.http3].map(|carried| carried.bytes);
        let own = match self.0 {
            OriginHttp::Http2 => 1,
            OriginHttp::Http3 => 2,
            _ => 0,
        };
        assert_eq!(all.iter().sum::<u64>(), all[own]);
        all[own]
    }
}

fn want(site: &Site, range: Option<ByteRange>) -> OriginGet {
    OriginGet { range, ..OriginGet::whole(site.url("/film.flv")) }
}

/// For origins that fall silent.
fn brief(site: &Site) -> HttpConfig {
    HttpConfig { stall_timeout: MOMENT, ..site.config() }
}

async fn right_answers_over_one_connection(over: Over) {
    let film = content(300_000);
    let served = film.clone();
    let site = over.site(move |ask| Reply::right(ask, &served, "\"a\"")).await;
    let origin = over.http(site.config());
    let head = origin.head(&site.url("/film.flv")).await.unwrap();
    assert_eq!((head.len, head.ranges, head.validator.as_deref()), (Some(300_000), true, Some("\"a\"")));
    assert_eq!(read_all(&origin, &want(&site, None)).await, film);
    for (start, end) in [(0, 1), (100, 70_000), (299_999, 300_000)] {
        let validator = Some("\"a\"".into());
        let want = OriginGet { len: Some(300_000), validator, ..want(&site, range(start, end)) };
        assert_eq!(read_all(&origin, &want).await, film[start as usize..end as usize]);
    }
    let wants: Vec<_> = (0..5).map(|n| want(&site, range(n * 60_000, (n + 1) * 60_000))).collect();
    if over.0 != OriginHttp::Http1 {
        let parts = futures_util::future::join_all(wants.iter().map(|want| read_all(&origin, want))).await;
        assert!(parts.concat() == film);
    }
    let (tcp, quic) = site.connections();
    assert_eq!(tcp + quic, 1, "no range costs a handshake");
    assert!(site.versions().iter().all(|version| *version == over.version()));
    assert!(site.seen().iter().all(|ask| ask.header("accept-encoding") == Some("identity")));
    assert!(over.bytes(&origin.traffic()) >= 300_000);
}

async fn a_players_own_ranges_pass(over: Over) {
    let film = content(10_000);
    let served = film.clone();
    let site = over.site(move |ask| Reply::right(ask, &served, "\"a\"")).await;
    let origin = over.http(site.config());
    for (range, status, bytes) in [
        ("bytes=-100", 206, &film[9_900..]),
        ("bytes=9000-", 206, &film[9_000..]),
        ("bytes=10000-", 416, &[]),
    ] {
        let passed =
            origin.pass(false, &site.url("/film.flv"), &[("range".into(), range.into())]).await.unwrap();
        assert_eq!(passed.status, status, "{range}");
        let got: Vec<Bytes> = passed.bytes.map(|item| item.unwrap()).collect().await;
        assert_eq!(got.concat(), bytes, "{range}");
    }
}

async fn beyond_the_end_is_told(over: Over) {
    let site = over.site(|ask| Reply::right(ask, b"0123456789", "\"a\"")).await;
    let origin = over.http(site.config());
    let beyond = |len| OriginGet { len, ..want(&site, range(12, 14)) };
    let error = read(&origin, &beyond(Some(20))).await.unwrap_err();
    assert!(matches!(error, OriginError::Changed { .. }), "416 with another length: {error:?}");
    let error = read(&origin, &beyond(None)).await.unwrap_err();
    assert!(matches!(error, OriginError::Status { status: 416, .. }), "{error:?}");
}

async fn a_truncated_body_gives_its_good_bytes(over: Over) {
    let reply = |end| Reply {
        steps: vec![Step::Send(Bytes::from_static(b"0123")), end],
        ..Reply::whole(200, &[], b"0123456789")
    };
    for end in [Step::Cut, Step::Hang] {
        let acts = reply(end.clone());
        let site = over.site(move |_| acts.clone()).await;
        let (good, error) = read(&over.http(brief(&site)), &want(&site, None)).await.unwrap();
        assert_eq!(good, b"0123", "{end:?}");
        assert!(matches!(error, Some(OriginError::Unreachable { .. } | OriginError::Silent(_))), "{error:?}");
    }
}

async fn wrong_ranges_are_never_given_on(over: Over) {
    for line in ["bytes 1-4/10", "bytes 0-2/10", "bytes 0-3/9", "bytes 0-9/10", "0-3/10", "bytes */10", ""] {
        let site = over.site(move |_| Reply::whole(206, &[("content-range", line)], b"0123")).await;
        let want = OriginGet { len: Some(10), ..want(&site, range(0, 4)) };
        let error = read(&over.http(site.config()), &want).await.unwrap_err();
        assert!(
            matches!(error, OriginError::Status { status: 200, .. } | OriginError::Changed { .. }),
            "{line}: {error:?}"
        );
    }
}

async fn an_ignored_range_is_used_near_the_start_only(over: Over) {
    let film = content(2 << 20);
    let served = film.clone();
    let site = over.site(move |_| Reply::whole(200, &[], &served)).await;
    let origin = over.http(site.config());
    assert_eq!(read_all(&origin, &want(&site, range(1000, 5000))).await, film[1000..5000]);
    for _ in 0..3 {
        let error = read(&origin, &want(&site, range(3 << 19, 2 << 20))).await.unwrap_err();
        assert!(matches!(error, OriginError::Status { status: 200, .. }), "{error:?}");
    }
    assert_eq!(site.seen().len(), 2, "the second far range was not even asked for");
}

async fn a_url_that_asks_for_time_is_left_alone(over: Over) {
    for status in [429, 503] {
        let site = over.site(move |_| Reply::whole(status, &[("retry-after", "30")], b"")).await;
        let (origin, begun) = (over.http(site.config()), Instant::now());
        for _ in 0..3 {
            let error = read(&origin, &want(&site, None)).await.unwrap_err();
            let OriginError::Status { status: got, retry_after: Some(wait) } = error else {
                panic!("{error:?}")
            };
            assert!(got == status && is_rest_of(wait, ASKED, begun), "{got} {wait:?}");
        }
        assert_eq!(site.seen().len(), 1);
    }
}

async fn a_500_is_asked_again(over: Over) {
    let site = over.site(|ask| match ask.nth {
        0 | 1 => Reply::whole(500, &[], b"oops"),
        _ => Reply::right(ask, b"0123456789", "\"a\""),
    });
    let site = site.await;
    assert_eq!(read_all(&over.http(site.config()), &want(&site, None)).await, b"0123456789");
}

async fn a_change_between_two_ranges_is_told(over: Over) {
    let site = over.site(|ask| match ask.nth {
        0 => Reply::right(ask, b"0123456789", "\"old\""),
        _ => Reply::right(ask, b"abcdefghij", "\"new\""),
    });
    let site = site.await;
    let origin = over.http(site.config());
    let want = |start, end| OriginGet {
        validator: Some("\"old\"".into()),
        len: Some(10),
        ..want(&site, range(start, end))
    };
    assert_eq!(read_all(&origin, &want(0, 4)).await, b"0123");
    for _ in 0..2 {
        assert!(matches!(read(&origin, &want(4, 8)).await, Err(OriginError::Changed { .. })));
    }
    assert_eq!(site.seen().len(), 3, "a change is not retried");
}

async fn a_dripping_body_is_given_up(over: Over) {
    let drip = [Step::Pause(Duration::from_millis(5)), Step::Send(Bytes::from_static(b"x"))];
    let steps: Vec<Step> = (0..500).flat_map(|_| drip.clone()).collect();
    let reply = Reply { steps, ..Reply::whole(200, &[], &[b'x'; 500]) };
    let site = over.site(move |_| reply.clone()).await;
    let window = Span(Duration::from_millis(50));
    let config = HttpConfig { rate_min: Rate(1 << 20), rate_window: window, ..site.config() };
    let (good, error) = read(&over.http(config), &want(&site, None)).await.unwrap();
    assert!(good.len() < 500, "{}", good.len());
    assert!(matches!(error, Some(OriginError::Unreachable { .. })), "{error:?}");
}

async fn redirects_are_followed_with_the_origins_own_headers(over: Over) {
    let other = over.site(|ask| Reply::right(ask, b"0123456789", "\"a\"")).await;
    let target = format!("https://127.0.0.1:{}/film.flv", other.port);
    let site = over.site(move |ask| match ask.path.as_str() {
        "/film.flv" => Reply::whole(302, &[("location", "/other.flv")], b"moved"),
        "/away" => Reply::whole(307, &[("location", &target)], b"moved"),
        _ => Reply::right(ask, b"0123456789", "\"a\""),
    });
    let site = site.await;
    // Both sites are trusted: one file may hold several authorities.
    let ca = tempfile::NamedTempFile::new().unwrap();
    let both = [std::fs::read(site.ca.path()).unwrap(), std::fs::read(other.ca.path()).unwrap()];
    std::fs::write(ca.path(), both.concat()).unwrap();
    let origin = over.http(HttpConfig {
        headers: vec!["X-Token: secret".parse().unwrap()],
        allow: vec!["localhost".parse().unwrap(), "127.0.0.1".parse().unwrap()],
        ca: Some(ca.path().to_owned()),
        ..site.config()
    });
    assert_eq!(read_all(&origin, &want(&site, range(2, 5))).await, b"234");
    assert!(site.seen().iter().all(|ask| ask.header("x-token") == Some("secret")));
    let away = OriginGet { range: range(5, 7), ..OriginGet::whole(site.url("/away")) };
    assert_eq!(read_all(&origin, &away).await, b"56");
    assert!(other.seen().iter().all(|ask| ask.header("x-token").is_none()), "another origin may not know it");
    assert_eq!(other.versions(), [over.version()]);
}

async fn redirects_into_the_inner_network_are_refused(over: Over) {
    let inner = over.site(|_| Reply::whole(200, &[], b"the crown jewels")).await;
    let target = format!("https://127.0.0.1:{}/", inner.port);
    let site = over.site(move |_| Reply::whole(302, &[("location", &target)], b"")).await;
    let error = read(&over.http(site.config()), &want(&site, None)).await.unwrap_err();
    assert!(matches!(error, OriginError::Forbidden { .. }), "{error:?}");
    assert_eq!(inner.connections(), (0, 0));
}

async fn leaving_a_body_ends_its_transfer(over: Over) {
    let steps = vec![Step::Send(Bytes::from_static(b"0123")), Step::Hang];
    let reply = Reply { steps, ..Reply::whole(200, &[], &[0; 1_000_000]) };
    let site = over.site(move |ask| match ask.path.as_str() {
        "/film.flv" => reply.clone(),
        _ => Reply::right(ask, b"0123456789", "\"a\""),
    });
    let site = site.await;
    let origin = over.http(HttpConfig { stall_timeout: Span(Duration::from_secs(60)), ..site.config() });
    drop(origin.get(&want(&site, None)).await.unwrap());
    site.one_left().await;
    assert_eq!(read_all(&origin, &OriginGet::whole(site.url("/other"))).await, b"0123456789");
    let connections = if over.0 == OriginHttp::Http1 { 2 } else { 1 };
    let (tcp, quic) = site.connections();
    assert_eq!(tcp + quic, connections, "a stream is reset, its connection stays");
}

async fn huge_heads_are_refused(over: Over) {
    let long = "y".repeat(100_000);
    let site = over.site(move |_| Reply::whole(200, &[("x-long", &long)], b"x")).await;
    assert!(read(&over.http(HttpConfig { attempts: 1, ..site.config() }), &want(&site, None)).await.is_err());
}

async fn a_certificate_of_somebody_else_is_not_trusted(over: Over) {
    let site = over.site(|ask| Reply::right(ask, b"0123456789", "\"a\"")).await;
    let other = over.site(|_| Reply::whole(200, &[], b"")).await;
    let error =
        read(&over.http(HttpConfig { attempts: 1, ..other.config() }), &want(&site, None)).await.unwrap_err();
    assert!(matches!(error, OriginError::Unreachable { .. }), "{error:?}");
    assert!(site.seen().is_empty());
}

async fn requests_come_from_the_bound_address(over: Over) {
    let site = over.site(|ask| Reply::right(ask, b"0123456789", "\"a\"")).await;
    let origin = over.http(HttpConfig { bind: Some("127.0.0.9".parse().unwrap()), ..site.config() });
    assert_eq!(read_all(&origin, &want(&site, None)).await, b"0123456789");
    assert_eq!(site.seen()[0].from.to_string(), "127.0.0.9");
}

async fn what_is_known_is_confirmed_or_has_changed(over: Over) {
    // One that knows conditions, one that knows ranges alone, one that knows neither.
    for kind in ["304", "206", "200"] {
        let site = over.site(move |ask| {
            let tag = if ask.nth < 3 { "\"a\"" } else { "\"b\"" };
            let lines = [("etag", tag), ("cache-control", "max-age=7")];
            let matches = ask.header("if-none-match").is_some_and(|known| known == tag);
            match kind {
                "304" if matches => Reply::whole(304, &lines, b""),
                "200" => Reply::whole(200, &[lines[0], lines[1], ("accept-ranges", "bytes")], b"0123456789"),
                _ => Reply::right(ask, b"0123456789", tag),
            }
        });
        let site = site.await;
        let origin = over.http(site.config());
        let url = site.url("/film.flv");
        let known = origin.head(&url).await.unwrap();
        let now = origin.confirm(&url, &known).await.unwrap();
        assert_eq!((now.len, &now.validator), (known.len, &known.validator), "{kind}");
        if kind != "206" {
            assert_eq!(
                now.header("cache-control"),
                Some("max-age=7"),
                "{kind}: what is said of it is renewed"
            );
        }
        while site.seen().len() < 3 {
            origin.head(&url).await.unwrap();
        }
        let changed = origin.confirm(&url, &known).await;
        assert!(matches!(changed, Err(OriginError::Changed { .. })), "{kind}: {changed:?}");
        assert_eq!(site.seen().len(), 4, "{kind}: a change is not retried");
    }
}

async fn what_is_gone_is_not_confirmed(over: Over) {
    let site = over.site(|ask| match ask.nth {
        0 => Reply::right(ask, b"0123456789", "\"a\""),
        _ => Reply::whole(404, &[], b"gone"),
    });
    let site = site.await;
    let origin = over.http(site.config());
    let known = origin.head(&site.url("/film.flv")).await.unwrap();
    let gone = origin.confirm(&site.url("/film.flv"), &known).await;
    assert!(matches!(gone, Err(OriginError::Status { status: 404, .. })), "{gone:?}");
}

macro_rules! for_every_version {
    ($($name:ident)*) => {
        mod http1 {
            $(#[tokio::test] async fn $name() { super::$name(super::Over(super::OriginHttp::Http1)).await; })*
        }
        mod http2 {
            $(#[tokio::test] async fn $name() { super::$name(super::Over(super::OriginHttp::Http2)).await; })*
        }
        mod http3 {
            $(#[tokio::test] async fn $name() { super::$name(super::Over(super::OriginHttp::Http3)).await; })*
        }
    };
}

for_every_version! {
    right_answers_over_one_connection
    a_players_own_ranges_pass
    beyond_the_end_is_told
    a_truncated_body_gives_its_good_bytes
    wrong_ranges_are_never_given_on
    an_ignored_range_is_used_near_the_start_only
    a_url_that_asks_for_time_is_left_alone
    a_500_is_asked_again
    a_change_between_two_ranges_is_told
    a_dripping_body_is_given_up
    redirects_are_followed_with_the_origins_own_headers
    redirects_into_the_inner_network_are_refused
    leaving_a_body_ends_its_transfer
    huge_heads_are_refused
    a_certificate_of_somebody_else_is_not_trusted
    requests_come_from_the_bound_address
    what_is_known_is_confirmed_or_has_changed
    what_is_gone_is_not_confirmed
}
