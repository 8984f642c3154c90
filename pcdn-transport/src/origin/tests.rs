//! [`Http`] against an origin that does everything wrong there is to do.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use pcdn_core::dice::Dice;
use pcdn_core::origin::{Origin, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::testing::own_addr;
use pcdn_core::unit::{Rate, Span};

use super::{Http, HttpConfig};
use faulty::{Act, Faulty, answer, content, right, whole};

mod alternatives;
mod faulty;
mod redirects;
mod site;
mod suite;
mod tls;

/// Loopback is allowed. Times long enough for a busy machine.
fn config() -> HttpConfig {
    HttpConfig { allow: vec!["127.0.0.1".parse().unwrap()], ..HttpConfig::default() }
}

/// Longer than a busy machine keeps a test from running. At 150 ms a pause of that length made a right answer a silent one.
const MOMENT: Span = Span(Duration::from_secs(1));

/// What a busy origin asks for here.
const ASKED: Duration = Duration::from_secs(30);

/// Whether `wait` is what is left of `whole` that was asked for after `begun`, however long that took.
fn is_rest_of(wait: Duration, whole: Duration, begun: Instant) -> bool {
    wait <= whole && wait + begun.elapsed() >= whole
}

/// For origins that fall silent: what waits for many seconds in life waits for a moment here.
fn hasty() -> HttpConfig {
    HttpConfig { first_byte_timeout: MOMENT, stall_timeout: MOMENT, ..config() }
}

fn http(config: HttpConfig) -> Http {
    Http::new(config, Dice::new(1)).unwrap()
}

fn range(start: u64, end: u64) -> Option<ByteRange> {
    ByteRange::new(start, end)
}

/// The good bytes, and the error after them if there was one.
async fn read(origin: &Http, want: &OriginGet) -> Result<(Vec<u8>, Option<OriginError>), OriginError> {
    let mut body = origin.get(want).await?;
    let mut good = Vec::new();
    while let Some(item) = body.bytes.next().await {
        match item {
            Ok(bytes) => good.extend_from_slice(&bytes),
            Err(error) => {
                assert!(body.bytes.next().await.is_none(), "a stream ends after its error");
                return Ok((good, Some(error)));
            }
        }
    }
    Ok((good, None))
}

async fn read_all(origin: &Http, want: &OriginGet) -> Vec<u8> {
    let (good, error) = read(origin, want).await.unwrap();
    assert!(error.is_none(), "{error:?}");
    good
}

fn ask(server: &Faulty, range: Option<ByteRange>) -> OriginGet {
    OriginGet { range, ..OriginGet::whole(server.url("/film.flv")) }
}

#[tokio::test]
async fn a_right_origin_gives_head_whole_and_ranges_over_one_connection() {
    let film = content(300_000);
    let served = film.clone();
    let server = Faulty::start(move |seen| right(seen, &served, "\"a\"")).await;
    let origin = http(config());

    let head = origin.head(&server.url("/film.flv")).await.unwrap();
    assert_eq!((head.len, head.ranges, head.validator.as_deref()), (Some(300_000), true, Some("\"a\"")));
    assert_eq!(head.content_type.as_deref(), Some("video/x-flv"));
    assert_eq!(read_all(&origin, &ask(&server, None)).await, film);
    for (start, end) in [(0, 1), (100, 70_000), (299_999, 300_000)] {
        let want = OriginGet {
            len: Some(300_000),
            validator: Some("\"a\"".into()),
            ..ask(&server, range(start, end))
        };
        assert_eq!(read_all(&origin, &want).await, film[start as usize..end as usize]);
    }
    let clipped = origin.get(&ask(&server, range(299_990, 400_000))).await.unwrap();
    assert_eq!(clipped.head.len, Some(300_000));
    let bytes: Vec<Bytes> = clipped.bytes.map(|item| item.unwrap()).collect().await;
    assert_eq!(bytes.concat(), film[299_990..]);

    assert_eq!(server.connections(), 1, "every range reuses the connection");
    assert!(server.seen().iter().all(|seen| seen.header("accept-encoding") == Some("identity")));
}

#[tokio::test]
async fn a_request_lost_on_a_reused_connection_is_asked_again_at_once() {
    let server = Faulty::start(|seen| match seen.nth {
        1 => vec![Act::Close],
        _ => right(seen, b"0123456789", "\"a\""),
    })
    .await;
    let origin = http(config());
    assert_eq!(read_all(&origin, &ask(&server, range(0, 4))).await, b"0123");
    assert_eq!(read_all(&origin, &ask(&server, range(4, 8))).await, b"4567");
    assert_eq!(server.seen()[1].nth_here, 1, "it was lost on a connection used before");
    assert_eq!((server.seen().len(), server.connections()), (3, 2));
}

#[tokio::test]
async fn resets_silence_and_garbage_before_the_first_byte_are_retried() {
    let garbage = || vec![Act::Send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), Act::Close];
    let begun = || Act::Send(answer("200 OK", &[("Content-Length", "10")], b""));
    for fault in
        [vec![Act::Reset], vec![Act::Hang], garbage(), vec![begun(), Act::Reset], vec![begun(), Act::Hang]]
    {
        let acts = fault.clone();
        let server = Faulty::start(move |seen| match seen.nth {
            0 => acts.clone(),
            _ => right(seen, b"0123456789", "\"a\""),
        })
        .await;
        assert_eq!(read_all(&http(hasty()), &ask(&server, None)).await, b"0123456789", "{fault:?}");
        assert_eq!(server.seen().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_dead_origin_is_asked_a_few_times_and_then_reported() {
    let server = Faulty::start(|_| vec![Act::Reset]).await;
    let origin = http(config());
    let error = read(&origin, &ask(&server, None)).await.unwrap_err();
    assert!(matches!(error, OriginError::Unreachable { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 4);
    // The host's budget for retries is spent: from now on each request costs one.
    read(&origin, &ask(&server, None)).await.unwrap_err();
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_connection_refused_is_unreachable_and_names_no_url() {
    let nobody = own_addr(1);
    let url = format!("http://{nobody}/film?token=secret");
    let config = HttpConfig { allow: vec![nobody.ip().to_string().parse().unwrap()], ..config() };
    let error = http(config).get(&OriginGet::whole(url.parse().unwrap())).await.unwrap_err();
    assert!(matches!(error, OriginError::Unreachable { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"));
}

#[tokio::test]
async fn an_error_of_the_client_is_not_retried_and_keeps_the_connection() {
    let server = Faulty::start(|_| whole("404 Not Found", &[], b"no such film")).await;
    let origin = http(config());
    for _ in 0..2 {
        let error = read(&origin, &ask(&server, None)).await.unwrap_err();
        assert!(matches!(error, OriginError::Status { status: 404, .. }));
    }
    assert_eq!((server.seen().len(), server.connections()), (2, 1));
}

#[tokio::test]
async fn a_url_that_asks_for_time_is_left_alone() {
    let server = Faulty::start(|seen| match seen.path() {
        "/other" => right(seen, b"0123456789", "\"a\""),
        _ => whole("503 Service Unavailable", &[("Retry-After", "30")], b"busy"),
    })
    .await;
    let (origin, begun) = (http(config()), Instant::now());
    for _ in 0..3 {
        let error = read(&origin, &ask(&server, None)).await.unwrap_err();
        let OriginError::Status { status: 503, retry_after: Some(wait) } = error else { panic!("{error:?}") };
        assert!(is_rest_of(wait, ASKED, begun), "{wait:?}");
    }
    assert_eq!(server.seen().len(), 1);
    let mut other = ask(&server, None);
    other.url.set_path("/other");
    assert_eq!(read_all(&origin, &other).await, b"0123456789", "nothing else of the host waits");
    // A player asks for itself.
    let passed = origin.pass(false, &ask(&server, None).url, &[]).await.unwrap();
    assert!(passed.status == 503 && passed.headers.contains(&("retry-after".into(), "30".into())));
}

#[tokio::test]
async fn a_500_is_retried() {
    let server = Faulty::start(|seen| match seen.nth {
        0 | 1 => whole("500 Oops", &[], b""),
        _ => right(seen, b"0123456789", "\"a\""),
    })
    .await;
    assert_eq!(read_all(&http(config()), &ask(&server, None)).await, b"0123456789");
}

#[tokio::test]
async fn a_truncated_body_gives_its_good_bytes_and_then_an_error() {
    for end in [Act::Close, Act::Reset, Act::Hang] {
        let acts = vec![
            Act::Send(answer("200 OK", &[("Content-Length", "10")], b"0123")),
            Act::Pause(Duration::from_millis(10)),
            end,
        ];
        let server = Faulty::start(move |_| acts.clone()).await;
        let (good, error) = read(&http(hasty()), &ask(&server, None)).await.unwrap();
        assert_eq!(good, b"0123");
        assert!(matches!(error, Some(OriginError::Unreachable { .. } | OriginError::Silent(_))), "{error:?}");
    }
}

#[tokio::test]
async fn chunked_bodies_have_no_length_but_an_end() {
    let chunked = |body: &[u8]| answer("200 OK", &[("Transfer-Encoding", "chunked")], body);
    let good = chunked(b"4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n");
    let cut = chunked(b"4\r\n0123\r\n6\r\n45");
    let server = Faulty::start(move |seen| match seen.path() {
        "/cut" => vec![Act::Send(cut.clone()), Act::Close],
        _ => vec![Act::Send(good.clone())],
    })
    .await;
    let origin = http(config());
    let body = origin.get(&ask(&server, None)).await.unwrap();
    assert_eq!(body.head.len, None);
    drop(body);
    assert_eq!(read_all(&origin, &ask(&server, None)).await, b"0123456789");
    let exact = OriginGet { len: Some(10), ..ask(&server, None) };
    assert_eq!(read_all(&origin, &exact).await, b"0123456789");
    assert_eq!(read_all(&origin, &exact).await, b"0123456789");
    let longer = OriginGet { len: Some(11), ..ask(&server, None) };
    assert!(matches!(read(&origin, &longer).await.unwrap(), (_, Some(OriginError::Unreachable { .. }))));
    let shorter = OriginGet { len: Some(5), ..ask(&server, None) };
    assert!(matches!(read(&origin, &shorter).await.unwrap(), (_, Some(OriginError::Malformed { .. }))));
    let (_, error) = read(&origin, &OriginGet::whole(server.url("/cut"))).await.unwrap();
    assert!(error.is_some());
}

#[tokio::test]
async fn a_dripping_origin_is_given_up() {
    let head = Act::Send(answer("200 OK", &[("Content-Length", "1000")], b""));
    let drip = [Act::Pause(Duration::from_millis(5)), Act::Send(vec![0])];
    let acts: Vec<Act> = std::iter::once(head).chain((0..500).flat_map(|_| drip.clone())).collect();
    let server = Faulty::start(move |_| acts.clone()).await;
    let config =
        HttpConfig { rate_min: Rate(1 << 20), rate_window: Span(Duration::from_millis(50)), ..config() };
    let (good, error) = read(&http(config), &ask(&server, None)).await.unwrap();
    assert!(good.len() < 100, "{}", good.len());
    assert!(matches!(error, Some(OriginError::Unreachable { .. })));
}

#[tokio::test]
async fn a_slow_reader_is_not_the_origins_fault() {
    let film = content(2 << 20);
    let served = film.clone();
    let server = Faulty::start(move |seen| right(seen, &served, "\"a\"")).await;
    let config =
        HttpConfig { rate_min: Rate(1 << 20), rate_window: Span(Duration::from_millis(50)), ..hasty() };
    let mut body = http(config).get(&ask(&server, None)).await.unwrap();
    let mut got = Vec::new();
    while let Some(item) = body.bytes.next().await {
        if got.is_empty() {
            // Longer than every limit: the reader itself is what is slow here.
            tokio::time::sleep(2 * MOMENT.0).await;
        }
        got.extend_from_slice(&item.unwrap());
    }
    assert!(got == film);
}

#[tokio::test]
async fn dropping_a_body_closes_the_transfer() {
    let server = Faulty::start(move |_| {
        vec![Act::Send(answer("200 OK", &[("Content-Length", "1000000")], b"0123")), Act::Hang]
    })
    .await;
    let body = http(HttpConfig { stall_timeout: Span(Duration::from_secs(60)), ..config() });
    let body = body.get(&ask(&server, None)).await.unwrap();
    drop(body);
    server.one_gone().await;
}

#[tokio::test]
async fn an_origin_without_ranges_is_used_near_the_start_and_remembered() {
    let film = content(3 << 20);
    let served = film.clone();
    let server = Faulty::start(move |_| whole("200 OK", &[], &served)).await;
    let origin = http(config());
    assert_eq!(read_all(&origin, &ask(&server, range(1000, 5000))).await, film[1000..5000]);
    for _ in 0..3 {
        let error = read(&origin, &ask(&server, range(2 << 20, 3 << 20))).await.unwrap_err();
        assert!(matches!(error, OriginError::Status { status: 200, .. }), "{error:?}");
    }
    assert_eq!(server.seen().len(), 2, "the second far range was not even asked for");
    assert!(!origin.get(&ask(&server, None)).await.unwrap().head.ranges);
}

#[tokio::test]
async fn wrong_ranges_are_never_given_on() {
    for line in ["bytes 1-4/10", "bytes 0-2/10", "bytes 0-3/9", "bytes 0-9/10", "0-3/10", "bytes */10", ""] {
        let server =
            Faulty::start(move |_| whole("206 Partial Content", &[("Content-Range", line)], b"0123")).await;
        let want = OriginGet { len: Some(10), ..ask(&server, range(0, 4)) };
        let error = read(&http(config()), &want).await.unwrap_err();
        assert!(
            matches!(error, OriginError::Status { status: 200, .. } | OriginError::Changed { .. }),
            "{line}: {error:?}"
        );
        assert!(server.seen().len() <= 2, "nonsense is asked for once more at most");
    }
}

/// An origin that answers ranges with others gave nothing through a node, where a plain download had it all.
#[tokio::test]
async fn of_an_origin_with_wrong_ranges_the_whole_is_taken() {
    let server = Faulty::start(|seen| match seen.header("range") {
        Some(_) => whole("206 Partial Content", &[("Content-Range", "bytes 0-3/10")], b"0123"),
        None => whole("200 OK", &[], b"0123456789"),
    })
    .await;
    let origin = http(config());
    let error = read(&origin, &ask(&server, range(4, 8))).await.unwrap_err();
    assert!(matches!(error, OriginError::Status { status: 200, .. }), "{error:?}");
    assert_eq!(read_all(&origin, &ask(&server, None)).await, b"0123456789");
    assert_eq!(read_all(&origin, &ask(&server, range(4, 8))).await, b"4567", "cut from the whole");
    assert!(!origin.head(&ask(&server, None).url).await.unwrap().ranges);
}

#[tokio::test]
async fn a_new_version_is_told_apart() {
    let server = Faulty::start(|seen| right(seen, b"abcdefghij", "\"new\"")).await;
    let origin = http(config());
    let want = OriginGet { validator: Some("\"old\"".into()), len: Some(10), ..ask(&server, range(2, 4)) };
    assert!(matches!(read(&origin, &want).await, Err(OriginError::Changed { .. })));
    let want = OriginGet { len: Some(11), ..ask(&server, range(2, 4)) };
    assert!(matches!(read(&origin, &want).await, Err(OriginError::Changed { .. })));
    let want = OriginGet { len: Some(20), ..ask(&server, range(12, 14)) };
    assert!(
        matches!(read(&origin, &want).await, Err(OriginError::Changed { .. })),
        "416 with another length"
    );
    assert_eq!(server.seen().len(), 3, "a change is not retried");
}

#[tokio::test]
async fn an_encoding_nobody_asked_for_passes_only_as_a_whole() {
    let server = Faulty::start(|seen| {
        let headers = [("Content-Encoding", "gzip"), ("ETag", "\"a\"")];
        if seen.method() == "HEAD" {
            vec![Act::Send(answer("200 OK", &headers, b"")), Act::Close]
        } else {
            whole("200 OK", &headers, b"\x1f\x8bxx")
        }
    })
    .await;
    let origin = http(config());
    let body = origin.get(&ask(&server, None)).await.unwrap();
    assert_eq!((body.head.len, &body.head.validator, body.head.ranges), (None, &None, false));
    assert!(body.head.headers.contains(&("content-encoding".into(), "gzip".into())));
    assert!(matches!(read(&origin, &ask(&server, range(0, 2))).await, Err(OriginError::Malformed { .. })));
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let many: String = (0..200).map(|n| format!("X-{n}: y\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "y".repeat(100_000));
    let endless = format!("X-Endless: {}", "y".repeat(1 << 20));
    for lines in [many, long, endless] {
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n{lines}\r\nx").into_bytes();
        let server = Faulty::start(move |_| vec![Act::Send(bytes.clone()), Act::Close]).await;
        assert!(read(&http(config()), &ask(&server, None)).await.is_err());
    }
}

#[tokio::test]
async fn head_asks_for_a_byte_where_head_says_too_little() {
    let film = content(1000);
    let served = film.clone();
    let server = Faulty::start(move |seen| match (seen.method(), seen.path()) {
        ("HEAD", "/signed") => vec![Act::Send(answer("403 Forbidden", &[("Content-Length", "0")], b""))],
        ("HEAD", "/silent") => vec![Act::Send(answer("200 OK", &[("Content-Length", "1000")], b""))],
        ("HEAD", "/bodiless") => vec![Act::Send(answer("200 OK", &[("Content-Length", "0")], b""))],
        ("HEAD", "/empty") => vec![Act::Send(answer("405 No", &[("Content-Length", "0")], b""))],
        ("HEAD", "/void") => vec![Act::Send(answer("200 OK", &[("Content-Length", "0")], b""))],
        (_, "/empty" | "/void") => right(seen, b"", "\"e\""),
        _ => right(seen, &served, "\"a\""),
    })
    .await;
    let origin = http(config());
    for path in ["/signed", "/silent", "/bodiless"] {
        let head = origin.head(&server.url(path)).await.unwrap();
        assert_eq!((head.len, head.ranges), (Some(1000), true), "{path}");
    }
    for path in ["/empty", "/void"] {
        assert_eq!(origin.head(&server.url(path)).await.unwrap().len, Some(0), "{path}");
    }
}

#[tokio::test]
async fn pass_gives_any_status_as_it_is() {
    let server = Faulty::start(|seen| match seen.path() {
        "/304" => {
            vec![Act::Send(answer("304 Not Modified", &[("ETag", "\"a\""), ("Content-Length", "99")], b""))]
        }
        _ => whole("451 Legal", &[("X-Why", "law"), ("Content-Type", "text/plain")], b"sorry"),
    })
    .await;
    let origin = http(config());
    let asked = [
        ("Range".into(), "bytes=0-".into()),
        ("Connection".into(), "close".into()),
        ("Host".into(), "x".into()),
    ];
    let passed = origin.pass(false, &server.url("/film"), &asked).await.unwrap();
    assert_eq!((passed.status, passed.len), (451, Some(5)));
    assert!(passed.headers.contains(&("x-why".into(), "law".into())));
    assert!(passed.headers.contains(&("content-type".into(), "text/plain".into())));
    let bytes: Vec<Bytes> = passed.bytes.map(|item| item.unwrap()).collect().await;
    assert_eq!(bytes.concat(), b"sorry");
    let seen = server.seen().remove(0);
    assert_eq!((seen.header("range"), seen.header("connection")), (Some("bytes=0-"), None));
    assert_eq!(seen.header("host"), Some(server.address.to_string().as_str()));

    let unchanged = origin.pass(false, &server.url("/304"), &[]).await.unwrap();
    assert_eq!(unchanged.status, 304);
    assert_eq!(unchanged.bytes.count().await, 0);
    let head = origin.pass(true, &server.url("/304"), &[]).await.unwrap();
    assert_eq!(head.len, Some(99));
}
