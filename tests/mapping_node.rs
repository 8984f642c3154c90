//! `pcdn mapping` and those who ask it, as processes: proof without a publisher, and playing without the node.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri, header};
use futures_util::StreamExt as _;
use pcdn::core::dice::Dice;
use pcdn::core::resource::Url;
use pcdn::discovery::{TrackerConfig, TrackerServer};
use pcdn::testing::{content, own_addr};
use pcdn::transport::origin::{Http, HttpConfig};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const LEN: usize = 6 << 20;
/// Nothing waits so long that works.
const PATIENCE: Duration = Duration::from_secs(60);
const TOKEN: &str = "a-token-of-the-publisher";

/// An origin of one film, which may change. Serves it at every path but manifests, whatever the query; the ETag is its hash.
#[derive(Clone)]
struct Origin {
    port: u16,
    film: Arc<Mutex<Bytes>>,
    given: Arc<AtomicU64>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Origin {
    async fn start(film: Bytes) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin =
            Self { port, film: Arc::new(Mutex::new(film)), given: Arc::default(), asked: Arc::default() };
        let router = Router::new().fallback(serve).with_state(origin.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        origin
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(State(origin): State<Origin>, method: Method, uri: Uri, headers: HeaderMap) -> Response<Body> {
    origin.asked.lock().unwrap().push(uri.to_string());
    let film = origin.film.lock().unwrap().clone();
    let etag = format!("\"{}\"", blake3::hash(&film).to_hex());
    let mut answer = Response::builder().header(header::ACCEPT_RANGES, "bytes").header(header::ETAG, &etag);
    if uri.path().ends_with(".pcdn") {
        return answer.status(StatusCode::NOT_FOUND).body(Body::empty()).unwrap();
    }
    let range = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let same = headers.get(header::IF_RANGE).is_none_or(|known| known.as_bytes() == etag.as_bytes());
    let mut part = film.clone();
    if let Some((from, to)) = range.filter(|_| same).and_then(|range| range.split_once('-')) {
        let (from, to): (usize, usize) = (from.parse().unwrap(), to.parse().unwrap_or(film.len() - 1));
        part = film.slice(from..(to + 1).min(film.len()));
        answer = answer
            .status(206)
            .header(header::CONTENT_RANGE, format!("bytes {from}-{}/{}", from + part.len() - 1, film.len()));
    }
    answer = answer.header(header::CONTENT_LENGTH, part.len());
    if method == Method::HEAD {
        return answer.body(Body::empty()).unwrap();
    }
    origin.given.fetch_add(part.len() as u64, Ordering::Relaxed);
    // 4 MB/s for each transfer: a CDN gives each viewer so much, and peers have a chance, also on a busy machine.
    let chunks = futures_util::stream::unfold(part, |mut part| async move {
        if part.is_empty() {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(16)).await;
        let chunk = part.split_to(part.len().min(64 << 10));
        Some((Ok::<_, std::io::Error>(chunk), part))
    });
    answer.body(Body::from_stream(chunks)).unwrap()
}

/// A mapping node as a process.
struct Node {
    child: Child,
    url: String,
}

impl Node {
    async fn start(dir: &Path, more: &[&str]) -> Self {
        let mut child = pcdn(&["mapping", "--listen", "127.0.0.1:0", "--store"])
            .arg(dir)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some(at) = line.strip_prefix("ready mapping=") {
                    return at.split(' ').next().unwrap().to_owned();
                }
            }
            panic!("the mapping node ended");
        };
        let at = tokio::time::timeout(PATIENCE, ready).await.unwrap();
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, url: format!("http://{at}") }
    }

    /// Status, headers and body of `path`.
    async fn ask(&self, path: &str, headers: &[(&str, &str)]) -> (u16, Vec<(String, String)>, Vec<u8>) {
        let url: Url = format!("{}{path}", self.url).parse().unwrap();
        let allow = vec!["127.0.0.1".parse().unwrap()];
        let http = Http::new(HttpConfig { allow, ..HttpConfig::default() }, Dice::new(1)).unwrap();
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut passed = http.pass(false, &url, &headers).await.unwrap();
        let mut body = Vec::new();
        while let Some(bytes) = passed.bytes.next().await {
            body.extend_from_slice(&bytes.unwrap());
        }
        (passed.status, passed.headers, body)
    }

    fn path_of(url: &str) -> String {
        let mut path: Url = "http://h/v1/map".parse().unwrap();
        path.query_pairs_mut().append_pair("url", url);
        format!("/v1/map?{}", path.query().unwrap())
    }

    /// The answer about `url` once the content was read.
    async fn ready(&self, url: &str) -> Value {
        let ready = async {
            loop {
                let (status, _, body) = self.ask(&Self::path_of(url), &[]).await;
                if status == 200 {
                    return serde_json::from_slice(&body).unwrap();
                }
                assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.unwrap()
    }

    /// A publisher's request.
    async fn change(&self, method: &str, path: &str, token: &str, body: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let at = self.url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer[9..12].parse().unwrap(), answer)
    }
}

fn pcdn(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pcdn"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

/// What peers share.
struct Setting {
    dir: tempfile::TempDir,
    origin: Origin,
    tracker: TrackerServer,
}

impl Setting {
    async fn new() -> Self {
        let listen = "127.0.0.1:0".parse().unwrap();
        let tracker =
            TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), origin: Origin::start(content(LEN, 1)).await, tracker }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn node(&self, more: &[&str]) -> Node {
        let allow = format!("127.0.0.1:{}", self.origin.port);
        let tokens = self.path("tokens");
        std::fs::write(&tokens, format!("{TOKEN} *\n")).unwrap();
        let tokens = tokens.display().to_string();
        Node::start(&self.path("store"), &[&["--allow", &allow, "--tokens", &tokens], more].concat()).await
    }

    /// `pcdn get` by the mapping node, which writes `name`.
    fn get(&self, url: &str, name: &str, mapper: &str, more: &[&str]) -> Command {
        let mut command =
            pcdn(&["get", url, "--json", "--listen", "127.0.0.1:0", "--policy", "cost", "--mapper", mapper]);
        command
            .args([
                "--tracker",
                &self.tracker.local_addr().to_string(),
                "--origin",
                "127.0.0.1",
                "--origin",
                "localhost",
            ])
            .arg("--out")
            .arg(self.path(name))
            .args(more);
        command
    }

    /// Runs it to its end; gives the report.
    async fn got(&self, url: &str, name: &str, mapper: &str, more: &[&str]) -> Value {
        let output = self.get(url, name, mapper, more).output();
        let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// One that goes on giving; gives its report once it has all.
    async fn seed(&self, url: &str, name: &str, mapper: &str, more: &[&str]) -> (Child, Value) {
        let mut child = self.get(url, name, mapper, &[&["--seed"], more].concat()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        (child, serde_json::from_str(&line).unwrap())
    }

    fn is_film(&self, name: &str, film: &[u8]) -> bool {
        std::fs::read(self.path(name)).unwrap() == film
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_manifest_proves_what_peers_give_and_the_origin_publishes_nothing() {
    let set = Setting::new().await;
    let mut node = set.node(&[]).await;
    let (mine, yours) = (set.origin.url("/film.bin?token=mine"), set.origin.url("/film.bin?token=yours"));
    let answer = node.ready(&set.origin.url("/film.bin")).await;
    assert_eq!(answer["length"], LEN);
    let strict = ["--integrity", "signed"];
    let (_seeder, first) = set.seed(&mine, "one", &node.url, &strict).await;
    let second = set.got(&yours, "two", &node.url, &strict).await;
    assert_eq!(first["swarm"], second["swarm"], "two tokens, one swarm");
    assert_eq!(second["integrity"], "signed", "{second}");
    assert!(second["from_peers"].as_u64().unwrap() > LEN as u64 / 2, "{second}");
    assert!(set.is_film("two", &content(LEN, 1)));
    let asked = set.origin.asked();
    assert!(!asked.iter().any(|path| path.contains(".pcdn")), "nobody looked for a sidecar");
    assert!(asked.iter().any(|path| !path.contains("token")), "the node asked without anybody's token");

    // The node dies under a download that has begun: it goes on, and so does whoever comes later with what was kept.
    let third = set.get(&mine, "three", &node.url, &["--download-limit", "3MB/s"]).spawn().unwrap();
    let begun = async {
        while !set.path("three.part").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, begun).await.expect("a download begins");
    node.child.kill().await.unwrap();
    let output = tokio::time::timeout(PATIENCE, third.wait_with_output()).await.unwrap().unwrap();
    assert!(output.status.success());
    assert!(set.is_film("three", &content(LEN, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_node_everybody_plays_and_meets_by_offline_rules() {
    let set = Setting::new().await;
    // Nobody listens there.
    let dead = format!("http://{}", own_addr(0));
    let (_seeder, first) = set.seed(&set.origin.url("/film?token=1"), "one", &dead, &[]).await;
    let second = set.got(&set.origin.url("/film?token=2"), "two", &dead, &["--integrity", "sampled"]).await;
    assert_eq!(first["swarm"], second["swarm"]);
    assert!(second["from_peers"].as_u64().unwrap() > 0, "{second}");
    assert!(set.is_film("one", &content(LEN, 1)) && set.is_film("two", &content(LEN, 1)));

    // A node that was there once: its rules are in the data directory, and still decide.
    let mut node = set.node(&[]).await;
    let kept = set.path("data").display().to_string();
    let map = async |mapper: &str| {
        let url = set.origin.url("/film?token=3");
        let output =
            pcdn(&["map", &url, "--json", "--mapper", mapper, "--data-dir", &kept]).output().await.unwrap();
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    std::fs::create_dir(&kept).unwrap();
    let mapper = node.url.clone();
    assert!(map(&mapper).await["by"].as_str().unwrap().starts_with("mapping node"));
    // Killed and gone: one that is being killed may still answer.
    node.child.kill().await.unwrap();
    let after = map(&mapper).await;
    assert_eq!((&after["generations"], &after["dropped"][0]), (&"etag".into(), &"token".into()), "{after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_signed_variants_on_two_hosts_meet_in_one_swarm() {
    let set = Setting::new().await;
    let port = set.origin.port;
    let rules = set.path("rules.toml");
    let aliases = format!(
        "version = 1\n[[alias]]\nhost = ['127.0.0.1:{port}', 'localhost:{port}']\nname = 'films'\n[[rule]]\nname = 'film'\nhost = 'films'\nrid = 'url'\nstrip = ['^/s/(?<session>[^/]+/)']\n"
    );
    std::fs::write(&rules, aliases).unwrap();
    let node = set.node(&["--rules", rules.to_str().unwrap()]).await;
    let variants = [
        format!("http://127.0.0.1:{port}/s/a1/film?X-Amz-Algorithm=A&X-Amz-Expires=60&X-Amz-Signature=01"),
        format!("http://localhost:{port}/s/b2/film?X-Amz-Algorithm=A&X-Amz-Expires=90&X-Amz-Signature=02"),
        format!("http://127.0.0.1:{port}/s/c3/film?Expires=1&Signature=x&Key-Pair-Id=K"),
        format!("http://localhost:{port}/s/d4/film?sv=2022&se=1&sp=r&sig=x"),
        format!("http://127.0.0.1:{port}/s/e5/film?hdnts=exp=1~hmac=0"),
        format!("http://localhost:{port}/hdntl=exp=1~acl=*~hmac=0/s/f6/film"),
        format!("http://127.0.0.1:{port}/s/g7/film;jsessionid=7?auth_key=1-0-0-a"),
        format!("http://localhost:{port}/s/h8/film?wsSecret=1&wsTime=2"),
        format!("http://127.0.0.1:{port}/s/i9/%66ilm?txSecret=1&txTime=2"),
        format!("http://localhost:{port}/s/j10/film?token=1&expires=2&utm_source=x#t=1"),
    ];
    let mut names = std::collections::BTreeSet::new();
    for variant in &variants {
        let output = pcdn(&["map", variant, "--json", "--mapper", &node.url]).output().await.unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(told["by"].as_str().unwrap().ends_with("rule film"), "{told}");
        names.insert(told["rid"].to_string());
    }
    assert_eq!(names.len(), 1, "{names:?}");
    let (_seeder, first) = set.seed(&variants[0], "one", &node.url, &[]).await;
    let second = set.got(&variants[9], "two", &node.url, &["--integrity", "sampled"]).await;
    assert_eq!(first["swarm"], second["swarm"]);
    assert!(second["from_peers"].as_u64().unwrap() > 0, "{second}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_that_changed_is_a_new_generation_and_no_bytes_are_mixed() {
    let set = Setting::new().await;
    let node = set.node(&["--ttl", "1s"]).await;
    let url = set.origin.url("/film.bin");
    let before = node.ready(&url).await;
    let kept = set.path("data").display().to_string();
    let data = ["--data-dir", kept.as_str()];
    let first = set.got(&url, "one", &node.url, &data).await;
    assert!(set.is_film("one", &content(LEN, 1)));

    *set.origin.film.lock().unwrap() = content(LEN, 2);
    let purge = format!("{{\"urls\": [\"{url}\"]}}");
    assert_eq!(node.change("POST", "/v1/purge", "a-token-of-somebody-else", &purge).await.0, 403);
    assert_eq!(node.change("POST", "/v1/purge", TOKEN, &purge).await.0, 200);
    let after = node.ready(&url).await;
    assert_ne!(before["generation"], after["generation"]);
    assert_eq!(before["rid"], after["rid"]);
    let second = set.got(&url, "two", &node.url, &data).await;
    assert!(set.is_film("two", &content(LEN, 2)));
    assert_ne!(first["swarm"], second["swarm"]);
    assert_eq!(second["from_cache"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_says_what_may_be_cached_and_refuses_what_it_must() {
    let set = Setting::new().await;
    let node = set.node(&["--tracker", "t.example:7070"]).await;
    let url = set.origin.url("/film.bin");
    let header = |headers: &[(String, String)], name: &str| {
        headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let (status, headers, _) = node.ask(&Node::path_of(&url), &[]).await;
    assert_eq!((status, header(&headers, "retry-after").is_empty()), (202, false));
    let answer = node.ready(&url).await;
    assert_eq!(answer["trackers"][0], "t.example:7070");

    let (_, headers, _) = node.ask(&Node::path_of(&url), &[]).await;
    let etag = header(&headers, "etag");
    assert!(etag.contains(answer["generation"].as_str().unwrap()));
    let (status, _, body) = node.ask(&Node::path_of(&url), &[("if-none-match", &etag)]).await;
    assert_eq!((status, body.len()), (304, 0));

    let manifest = format!("/v1/{}", answer["manifest"].as_str().unwrap());
    let (status, headers, body) = node.ask(&manifest, &[]).await;
    assert_eq!(status, 200);
    assert!(header(&headers, "cache-control").contains("immutable"));
    assert_eq!(pcdn::core::verify::Manifest::parse(&body).unwrap().bytes(), LEN as u64);
    let rid = answer["rid"].as_str().unwrap();
    assert_eq!(node.ask(&format!("/v1/manifest/{rid}"), &[]).await.2, body);

    let (status, _, back) = node.ask(&format!("/v1/rid/{rid}"), &[]).await;
    assert_eq!(
        (status, serde_json::from_slice::<Value>(&back).unwrap()["urls"][0].as_str()),
        (200, Some(&*url))
    );
    let (_, headers, rules) = node.ask("/v1/rules", &[]).await;
    assert_eq!(header(&headers, "pcdn-signature").len(), 128);
    assert!(String::from_utf8(rules).unwrap().contains("ask = true"));
    let (_, _, authority) = node.ask("/.well-known/pcdn.json", &[]).await;
    assert_eq!(serde_json::from_slice::<Value>(&authority).unwrap()["key"], header(&headers, "pcdn-key"));

    // Another port of this machine, the metadata service, a redirect's target: nothing that --allow does not name.
    for forbidden in [
        "http://127.0.0.1:1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost/",
        "http://[::1]/",
    ] {
        assert_eq!(node.ask(&Node::path_of(forbidden), &[]).await.0, 404, "{forbidden}");
    }
    for (path, want) in [
        ("/v1/map", 400),
        ("/v1/map?url=nonsense", 400),
        ("/v1/rid/xyz", 400),
        ("/v1/manifest/xyz/00", 400),
        ("/v1/nothing", 404),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/v1/openapi.json", 200),
    ] {
        assert_eq!(node.ask(path, &[]).await.0, want, "{path}");
    }
    let two = format!("{{\"urls\": [\"{url}\", \"http://other.example/\"]}}");
    let (status, batch) = node.change("POST", "/v1/map:batch", "none", &two).await;
    assert!(status == 200 && batch.contains(rid) && batch.contains("null"), "{batch}");
    let many = format!("{{\"urls\": [{}\"http://x/\"]}}", "\"http://x/\",".repeat(100));
    assert_eq!(node.change("POST", "/v1/map:batch", "none", &many).await.0, 400);
    let metrics = String::from_utf8(node.ask("/metrics", &[]).await.2).unwrap();
    assert!(metrics.contains("pcdn_mapping_contents_read_total 1"), "{metrics}");
}
