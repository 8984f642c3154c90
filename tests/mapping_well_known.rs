//! An origin's own file is all that its viewers need to meet: what contents are called, and which tracker knows who has them.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use pcdn::discovery::{TrackerConfig, TrackerServer};
use pcdn::testing::content;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const LEN: usize = 3 << 20;
/// Nothing waits so long that works.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a slow place takes to answer: neighbours have met by then, also on a busy machine.
const SLOW: Duration = Duration::from_secs(2);
/// Both paths are one content here.
const RULES: &str = "version = 1\n[[rule]]\nhost = '*'\npath = '/(one|two)'\nkey = 'film'\n";

fn film(headers: &HeaderMap, film: &Bytes) -> Response {
    let named = [(header::ETAG, "\"f\""), (header::ACCEPT_RANGES, "bytes")];
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((first, last)) = asked.and_then(|range| range.split_once('-')) else {
        return (named, film.clone()).into_response();
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let last = last.min(film.len() - 1);
    let range = format!("bytes {first}-{last}/{}", film.len());
    (StatusCode::PARTIAL_CONTENT, named, [(header::CONTENT_RANGE, range)], film.slice(first..=last))
        .into_response()
}

/// The port of an origin of one film at two paths, which says `authority` of itself.
async fn origin(authority: Option<Value>) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let bytes = content(LEN, 1);
    let other = bytes.clone();
    let mut router = Router::new()
        .route("/one", get(|headers: HeaderMap| async move { film(&headers, &bytes) }))
        // Neighbours have the time to be faster.
        .route(
            "/two",
            get(|headers: HeaderMap| async move {
                tokio::time::sleep(SLOW).await;
                film(&headers, &other)
            }),
        );
    if let Some(said) = authority {
        router = router
            .route("/.well-known/pcdn.json", get(|| async move { said.to_string() }))
            .route("/rules", get(|| async { RULES }));
    }
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

async fn begin(url: &str, out: &Path, more: &[&str]) -> (Child, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_pcdn"))
        .args([
            "get",
            url,
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--origin",
            "127.0.0.1",
            "--mapper",
            "well-known",
        ])
        .args(["--integrity", "sampled", "--policy", "cost", "--out"])
        .arg(out)
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

/// What the rules call the content.
async fn name(dir: &Path) -> String {
    let rules = dir.join("rules.toml");
    std::fs::write(&rules, RULES).unwrap();
    let mapper = format!("template:{}", rules.display());
    let map = ["map", "http://127.0.0.1:1/one", "--json", "--mapper", &mapper];
    let told = Command::new(env!("CARGO_BIN_EXE_pcdn")).args(map).output().await.unwrap();
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    told["rid"].as_str().unwrap().to_owned()
}

/// How often one that did not hear the origin's word in time begins anew.
const ROUNDS: usize = 50;

/// Begins, and again where the content was called otherwise: nobody waits for an origin's word longer than 300 ms, for which a busy
/// machine may stand still.
async fn begin_as(name: &str, url: &str, out: &Path, more: &[&str]) -> (Child, Value) {
    for _ in 0..ROUNDS {
        let begun = begin(url, out, more).await;
        if begun.1["rid"] == name {
            return begun;
        }
        std::fs::remove_file(out).unwrap();
    }
    panic!("{ROUNDS} times the origin's word about {url} was not heard")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_meet_by_the_origins_own_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let tracker = TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await.unwrap();
    let said = json!({ "rules": "/rules", "trackers": [tracker.local_addr().to_string()] });
    let port = origin(Some(said)).await;
    let url = |path: &str| format!("http://127.0.0.1:{port}/{path}");
    let film = name(dir.path()).await;
    let (_seed, first) = begin_as(&film, &url("one"), &dir.path().join("one"), &["--seed"]).await;
    let (_, second) = begin_as(&film, &url("two"), &dir.path().join("two"), &[]).await;
    assert_eq!(first["swarm"], second["swarm"], "one content by the origin's rules");
    assert!(second["from_peers"].as_u64().unwrap() > 0, "{second}");
    let off = ["--mapping-trackers", "off"];
    let (_, alone) = begin_as(&film, &url("two"), &dir.path().join("alone"), &off).await;
    assert_eq!((alone["from_peers"].as_u64(), &alone["swarm"]), (Some(0), &first["swarm"]), "{alone}");
    for name in ["one", "two", "alone"] {
        assert!(std::fs::read(dir.path().join(name)).unwrap() == content(LEN, 1), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_that_says_nothing_or_nonsense_is_played_as_ever() {
    for said in [None, Some(json!({ "rules": 7 })), Some(json!({ "rules": "/nothing" }))] {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}/one", origin(said).await);
        let (_, report) = begin(&url, &dir.path().join("film"), &[]).await;
        assert_eq!(report["bytes"], LEN, "{report}");
        assert!(std::fs::read(dir.path().join("film")).unwrap() == content(LEN, 1));
    }
}
