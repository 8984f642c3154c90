//! Playlists, and what they say of others.

use super::fake::{Fake, ask, has, start};

/// What servers that make playlists give no name or type was handed on as it was: what begins with a slash led into the gateway itself,
/// and absolute URLs past it.
#[tokio::test]
async fn a_playlist_without_a_name_leads_through_the_gateway_too() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let want = format!("\nhttp://localhost:{}/http/exact.example/a.ts\n", addr.port());
    // What is opened as a file first, and what has no length.
    for target in ["/http/exact.example/nameless?list=1", "/http/exact.example/nameless-stream"] {
        for _ in 0..2 {
            let (head, body) = ask(addr, "GET", target, "").await;
            has(&head, &["http/1.1 200", "x-pcdn-source: origin"]);
            let body = String::from_utf8(body).unwrap();
            assert!(body.contains(&want), "{target}: {body}");
        }
    }
}

/// A part of a segment that grows was opened as a file of the length it had then: players of low-latency streams were given a 416.
#[tokio::test]
async fn a_part_of_a_segment_is_passed_on() {
    let (_gateway, addr) = start(Fake::default(), |_| ()).await;
    let part = "/http/exact.example/film.mp4";
    has(&ask(addr, "GET", part, "").await.0, &["http/1.1 200", "x-pcdn-source: peer"]);
    ask(addr, "GET", "/http/exact.example/nameless.m3u8", "").await;
    // As the origin answers, which has a page for it.
    has(&ask(addr, "GET", part, "Range: bytes=5-9\r\n").await.0, &["http/1.1 404", "x-pcdn-source: origin"]);
}
