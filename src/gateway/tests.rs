//! The gateway over raw sockets, serving a fake: what a player, a hostile page and a broken client see.

mod fake;

use std::sync::atomic::Ordering;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use fake::{DAY, Fake, LEN, ask, content, has, raw, start};

#[tokio::test]
async fn whole_part_suffix_and_outside() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let film = "/http/cdn.example/film.mp4?t=1";
    let (head, body) = ask(addr, "GET", film, "").await;
    has(
        &head,
        &[
            "http/1.1 200",
            "content-length: 100000",
            "content-type: video/mp4",
            "etag: \"v1\"",
            "accept-ranges: bytes",
            "cache-control: max-age=60",
            "age: 7",
            "x-pcdn-source: peer",
            "x-pcdn-swarm: 0707",
            "last-modified: sun, 22",
        ],
    );
    assert!(!head.contains("access-control"));
    assert_eq!(body, content());

    for (range, want) in [("0-0", 0..1), ("5-9", 5..10), ("99990-", 99_990..100_000), ("-7", 99_993..100_000)]
    {
        let (head, body) = ask(addr, "GET", film, &format!("Range: bytes={range}\r\n")).await;
        let content_range = format!("content-range: bytes {}-{}/100000", want.start, want.end - 1);
        has(&head, &["http/1.1 206", &content_range, &format!("content-length: {}", want.len())]);
        assert_eq!(body, content()[want]);
    }

    let (head, _) = ask(addr, "GET", film, "Range: bytes=100000-\r\n").await;
    has(&head, &["http/1.1 416", "content-range: bytes */100000"]);
    let (head, body) = ask(addr, "GET", film, "Range: bytes=0-1,5-6\r\n").await;
    has(&head, &["http/1.1 200"]);
    assert_eq!(body.len() as u64, LEN);
    let (head, body) = ask(addr, "HEAD", film, "").await;
    has(&head, &["http/1.1 200", "content-length: 100000"]);
    assert!(body.is_empty());
    let (head, body) = ask(addr, "GET", "/http/cdn.example/empty", "").await;
    has(&head, &["http/1.1 200", "content-length: 0"]);
    assert!(body.is_empty());
}

#[tokio::test]
async fn conditions() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let film = "/https/cdn.example/film.mp4";
    for (headers, want) in [
        ("If-None-Match: \"v1\"\r\n".to_owned(), "304"),
        ("If-None-Match: \"v2\"\r\n".to_owned(), "200"),
        (format!("If-Modified-Since: {DAY}\r\n"), "304"),
        ("If-Match: \"v2\"\r\n".to_owned(), "412"),
        ("Range: bytes=1-2\r\nIf-Range: \"v1\"\r\n".to_owned(), "206"),
        ("Range: bytes=1-2\r\nIf-Range: \"v2\"\r\n".to_owned(), "200"),
    ] {
        let (head, body) = ask(addr, "GET", film, &headers).await;
        has(&head, &[&format!("http/1.1 {want}")]);
        assert!(want != "304" || body.is_empty());
    }
}

#[tokio::test]
async fn one_connection_carries_many_requests() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let one = "GET /http/cdn.example/film.mp4 HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nRange: bytes=0-3\r\n";
    let (head, rest) = raw(addr, &format!("{one}\r\n{one}Connection: close\r\n\r\n")).await;
    has(&head, &["http/1.1 206"]);
    let rest = String::from_utf8_lossy(&rest).to_lowercase();
    has(&rest, &["http/1.1 206"]);
}

#[tokio::test]
async fn proxy_requests_and_an_upstream() {
    let (_gateway, addr) =
        start(Fake::default(), |c| c.upstream = Some("https://cdn.example/vod".parse().unwrap())).await;
    let (head, _) = raw(
        addr,
        "GET http://cdn.example/film.mp4 HTTP/1.1\r\nHost: cdn.example\r\nConnection: close\r\n\r\n",
    )
    .await;
    has(&head, &["http/1.1 200"]);
    let (head, _) = ask(addr, "GET", "/a/film.mp4", "").await;
    has(&head, &["http/1.1 200"]);
    let own = "GET http://localhost:{port}/http/cdn.example/film.mp4 HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n";
    let (head, _) = raw(addr, own).await;
    has(&head, &["http/1.1 200"]);
}

#[tokio::test]
async fn faults_are_statuses_with_a_line() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    for (target, status, line) in [
        ("/http/cdn.example/404", "404", "the origin answers 404"),
        ("/http/cdn.example/503", "503", "the origin answers 503"),
        ("/http/cdn.example/silent", "504", "silent"),
        ("/http/cdn.example/lan", "403", "--origin"),
        ("/http/cdn.example/gone", "502", "refused"),
        ("/nothing", "404", "/http/HOST/PATH"),
        ("/http/a@b/x", "400", "no URL"),
    ] {
        let (head, body) = ask(addr, "GET", target, "").await;
        has(&head, &[&format!("http/1.1 {status}"), "content-type: text/plain"]);
        assert!(String::from_utf8(body).unwrap().contains(line), "{target}");
        assert_eq!(head.contains("retry-after: 7"), matches!(status, "503") || target.ends_with("404"));
    }
    let long = format!("/http/cdn.example/{}", "a".repeat(9000));
    has(&ask(addr, "GET", &long, "").await.0, &["http/1.1 414"]);
}

#[tokio::test]
async fn what_cannot_be_cut_passes_through() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let (head, body) = ask(addr, "GET", "/http/cdn.example/unknown", "Range: bytes=0-3\r\n").await;
    has(
        &head,
        &["http/1.1 200", "transfer-encoding: chunked", "x-pcdn-source: origin", "cache-control: max-age=60"],
    );
    assert!(body.len() as u64 > LEN);
    let (head, body) = ask(addr, "GET", "/http/cdn.example/known", "").await;
    has(&head, &["http/1.1 200", "content-length: 100000"]);
    assert_eq!(body, content());
    let (head, body) = ask(addr, "GET", "/http/cdn.example/known", "Range: bytes=3-5\r\n").await;
    has(&head, &["http/1.1 206", "content-range: bytes 3-5/100000", "content-length: 3"]);
    assert_eq!(body, content()[3..6]);
    for target in ["unknown", "known"] {
        let (head, body) = ask(addr, "HEAD", &format!("/http/cdn.example/{target}"), "").await;
        has(&head, &["http/1.1 200", "content-type: video/mp4"]);
        assert!(body.is_empty());
    }
    has(
        &ask(addr, "GET", "/http/cdn.example/known", "Range: bytes=100000-\r\n").await.0,
        &["http/1.1 416", "bytes */100000"],
    );
    has(&ask(addr, "GET", "/http/cdn.example/known", "If-None-Match: \"v1\"\r\n").await.0, &["http/1.1 304"]);
}

#[tokio::test]
async fn an_answer_of_the_origin_is_given_as_it_is() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let headers = "If-None-Match: \"x\"\r\nCookie: secret\r\nAuthorization: secret\r\nRange: bytes=0-3\r\n";
    for target in ["/http/exact.example/404", "/http/exact.example/unknown"] {
        let (head, body) = ask(addr, "GET", target, headers).await;
        has(
            &head,
            &[
                "http/1.1 404",
                "content-type: text/html",
                "cache-control: no-store",
                "etag: \"p\"",
                "x-pcdn-source: origin",
            ],
        );
        assert!(!head.contains("set-cookie"));
        let path = target.trim_start_matches("/http/exact.example");
        assert_eq!(
            String::from_utf8(body).unwrap(),
            format!("<p>{path} 2"),
            "of four headers the origin gets two"
        );
        let (head, body) = ask(addr, "HEAD", target, "").await;
        has(&head, &["http/1.1 404", &format!("content-length: {}", path.len() + 5)]);
        assert!(body.is_empty());
    }
    // Also of one that is overloaded: its page, and how long a cache may keep that, was lost to a line of this gateway's own.
    let (head, body) = ask(addr, "GET", "/http/exact.example/503", "").await;
    has(&head, &["content-type: text/html", "cache-control: no-store", "x-pcdn-source: origin"]);
    assert_eq!(body, b"<p>/503 0");
}

/// A player of an origin that garbles ranges got the first of them and no more, where the origin alone gave it all.
#[tokio::test]
async fn a_body_whose_parts_are_no_more_to_be_had_ends_with_the_whole() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let (head, body) = ask(addr, "GET", "/http/whole.example/garbled.mp4", "").await;
    has(&head, &["http/1.1 200", "content-length: 100000"]);
    assert_eq!(body, content());
    let (head, body) =
        ask(addr, "GET", "/http/whole.example/garbled.mp4", "Range: bytes=100-89999\r\n").await;
    has(&head, &["http/1.1 206", "content-length: 89900"]);
    assert_eq!(body, content()[100..90_000]);
    // Of another version nothing is taken.
    let (head, body) = ask(addr, "GET", "/http/newer.example/garbled.mp4", "").await;
    has(&head, &["http/1.1 200", "content-length: 100000"]);
    assert_eq!(body, content()[..16_384]);
}

#[tokio::test]
async fn methods_hosts_and_framing() {
    let (_gateway, addr) = start(Fake::default(), |c| c.hosts = vec!["box.lan".into()]).await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
        let (head, _) = ask(addr, method, "/http/cdn.example/film.mp4", "").await;
        has(&head, &["http/1.1 405", "allow: get, head, options"]);
    }
    let film = "GET /http/cdn.example/film.mp4 HTTP/1.1\r\nConnection: close\r\n";
    for (headers, status) in [
        ("Host: evil.example:{port}\r\n", "421"),
        ("Host: localhost:1\r\n", "421"),
        ("", "400"),
        ("Host: localhost:{port}\r\nHost: evil.example\r\n", "400"),
        ("Host: box.lan:{port}\r\n", "200"),
        ("Host: [::1]:{port}\r\n", "200"),
        ("Host: localhost:{port}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Host: localhost:{port}\r\nTransfer-Encoding: chunked\r\n", "400"),
        ("Host: localhost:{port}\r\nContent-Length: 4\r\nContent-Length: 5\r\n", "400"),
        ("Host: localhost:{port}\r\nContent-Length: 40\r\n", "413"),
    ] {
        let (head, _) = raw(addr, &format!("{film}{headers}\r\n")).await;
        has(&head, &[&format!("http/1.1 {status}")]);
    }
}

#[tokio::test]
async fn a_smuggled_request_is_never_answered() {
    let (gateway, addr) = start(Fake::default(), |_| ()).await;
    let smuggled = "GET /http/cdn.example/film.mp4 HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n";
    for framing in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +3\r\n",
    ] {
        let request = format!(
            "GET /http/cdn.example/film.mp4 HTTP/1.1\r\nHost: localhost:{{port}}\r\n{framing}\r\n0\r\n\r\n{smuggled}"
        );
        let (head, rest) = raw(addr, &request).await;
        has(&head, &["http/1.1 400"]);
        assert!(!String::from_utf8_lossy(&rest).contains("HTTP/1.1"), "{framing}");
    }
    assert_eq!(gateway.counters().delivered_bytes(), 0);
}

#[tokio::test]
async fn a_huge_head_is_refused() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let huge = format!("X: {}\r\n", "a".repeat(20_000));
    has(&ask(addr, "GET", "/http/cdn.example/film.mp4", &huge).await.0, &["http/1.1 431"]);
    let many: String = (0..101).map(|i| format!("X{i}: 1\r\n")).collect();
    has(&ask(addr, "GET", "/http/cdn.example/film.mp4", &many).await.0, &["http/1.1 431"]);
}

#[tokio::test]
async fn only_pages_that_were_named_may_read() {
    let (_gateway, addr) =
        start(Fake::default(), |c| c.cors = vec!["https://player.example".into(), "*".into()]).await;
    let page = "Origin: https://player.example\r\n";
    let may = "access-control-allow-origin: https://player.example";
    let (head, _) = ask(addr, "GET", "/http/cdn.example/film.mp4", page).await;
    has(
        &head,
        &[
            may,
            "access-control-expose-headers: content-length, content-range, accept-ranges, date",
            "\r\ndate: ",
            "vary: origin",
            "timing-allow-origin",
        ],
    );
    has(&ask(addr, "GET", "/http/cdn.example/404", page).await.0, &["http/1.1 404", may]);
    let preflight = format!(
        "{page}Access-Control-Request-Method: GET\r\nAccess-Control-Request-Private-Network: true\r\n"
    );
    let (head, _) = ask(addr, "OPTIONS", "/http/cdn.example/film.mp4", &preflight).await;
    has(
        &head,
        &[
            "http/1.1 204",
            may,
            "access-control-allow-headers: range",
            "access-control-allow-private-network: true",
        ],
    );
    for origin in
        ["https://evil.example", "null", "*", "https://player.example.evil.example", "http://player.example"]
    {
        for method in ["GET", "OPTIONS"] {
            let (head, _) =
                ask(addr, method, "/http/cdn.example/film.mp4", &format!("Origin: {origin}\r\n")).await;
            assert!(!head.contains("access-control-allow"), "{origin}: {head}");
        }
    }
}

#[tokio::test]
async fn bytes_are_pulled_as_the_client_takes_them_and_a_hang_up_ends_it() {
    let fake = Fake::default();
    let (pulled, dropped) = (fake.pulled.clone(), fake.dropped.clone());
    let (gateway, addr) = start(fake, |_| ()).await;
    let mut client = TcpStream::connect(addr).await.unwrap();
    let request =
        format!("GET /http/cdn.example/endless HTTP/1.1\r\nHost: localhost:{}\r\n\r\n", addr.port());
    client.write_all(request.as_bytes()).await.unwrap();
    let mut some = vec![0; 1 << 20];
    client.read_exact(&mut some).await.unwrap();
    drop(client);
    dropped.notified().await;
    // What was pulled and not taken is bounded by the socket buffers of both sides, not by the 2^40 bytes asked for.
    assert!(pulled.load(Ordering::Relaxed) < 64 << 20, "{}", pulled.load(Ordering::Relaxed));
    // Told on the way out of the body, right after the feed.
    while gateway.counters().aborts() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_answers_on_both_loopback_addresses() {
    let (gateway, _) = start(Fake::default(), |_| ()).await;
    for addr in gateway.local_addrs() {
        has(&ask(*addr, "HEAD", "/http/cdn.example/film.mp4", "").await.0, &["http/1.1 200"]);
    }
    gateway.shutdown().await;
}
