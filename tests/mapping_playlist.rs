//! A mapping node reads what a playlist lists, and what it signs proves what peers give: no publisher signs anything.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use pcdn::core::id::Identity;
use pcdn::core::mapping::Mapper as _;
use pcdn::core::resource::{Mapping, Url};
use pcdn::core::schedule::Policy;
use pcdn::core::unit::ByteSize;
use pcdn::core::verify::Manifest;
use pcdn::core::verify::{Integrity, PieceList};
use pcdn::discovery::Fixed;
use pcdn::mapping::node::store::Memory as Records;
use pcdn::mapping::node::{NodeConfig, Tokens};
use pcdn::mapping_node::{self, MappingConfig, MappingNode};
use pcdn::node::Settings;
use pcdn::store::Memory;
use pcdn::testing::content;
use pcdn::transport::memory::Hub;
use pcdn::transport::origin::{Http, HttpConfig};
use pcdn::{Node, media};

const SEGMENTS: u64 = 4;
const LEN: usize = 300_000;
/// Nothing waits so long that works.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the origin lists.
#[derive(Clone, Copy)]
struct Show {
    ended: bool,
}

impl Show {
    fn playlist(&self) -> String {
        let listed: String = (0..SEGMENTS).map(|n| format!("#EXTINF:2.0,\n{n}.ts\n")).collect();
        let end = if self.ended { "#EXT-X-ENDLIST\n" } else { "" };
        format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{listed}{end}")
    }

    /// The URL of the playlist.
    async fn start(ended: bool) -> (Self, Url) {
        let show = Self { ended };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/show/index.m3u8", listener.local_addr().unwrap());
        let router = Router::new().route("/show/{name}", get(serve)).with_state(show);
        tokio::spawn(async move { axum::serve(listener, router).await });
        (show, url.parse().unwrap())
    }
}

async fn serve(State(show): State<Show>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    if name == "index.m3u8" {
        let kind = [(header::CONTENT_TYPE, "application/vnd.apple.mpegurl"), (header::ETAG, "\"p\"")];
        return (kind, show.playlist()).into_response();
    }
    let number: u64 = name.strip_suffix(".ts").unwrap().parse().unwrap();
    let bytes = content(LEN, number);
    let named = [(header::ETAG, "\"s\""), (header::ACCEPT_RANGES, "bytes")];
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes="));
    let Some((first, last)) = asked.and_then(|range| range.split_once('-')) else {
        return (named, bytes).into_response();
    };
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let last = last.min(LEN - 1);
    let range = format!("bytes {first}-{last}/{LEN}");
    (StatusCode::PARTIAL_CONTENT, named, [(header::CONTENT_RANGE, range)], bytes.slice(first..=last))
        .into_response()
}

fn loopback() -> HttpConfig {
    HttpConfig { allow: vec!["127.0.0.1".parse().unwrap()], attempts: 1, ..HttpConfig::default() }
}

async fn mapping_node(url: &Url) -> MappingNode {
    let allow = vec![format!("127.0.0.1:{}", url.port().unwrap())];
    MappingNode::start(MappingConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        node: NodeConfig { allow, ..NodeConfig::default() },
        key: Identity::from_secret([8; 32]),
        store: Arc::new(Records::new()),
        tokens: Tokens::parse("").unwrap(),
        http: HttpConfig::default(),
    })
    .await
    .unwrap()
}

/// What the node says of `url` once it has looked at it, asked anew each time.
async fn answer(node: &MappingNode, url: &Url, done: impl Fn(&Mapping) -> bool) -> Mapping {
    let asked = async {
        loop {
            let mapper =
                mapping_node::mapper(&node.url(), Some(node.key()), None, HttpConfig::default()).unwrap();
            let mapping = mapper.map(url).await.unwrap();
            if done(&mapping) {
                return mapping;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap()
}

async fn fetched(url: &Url) -> (u16, Vec<u8>) {
    use futures_util::StreamExt as _;
    let http = Http::new(loopback(), pcdn::dice().unwrap()).unwrap();
    let mut passed = http.pass(false, url, &[]).await.unwrap();
    let mut body = Vec::new();
    while let Some(bytes) = passed.bytes.next().await {
        body.extend_from_slice(&bytes.unwrap());
    }
    (passed.status, body)
}

fn viewer(hub: &Hub, seed: u8, mapping: &MappingNode, others: &[&Node]) -> Node {
    let me = Identity::from_secret([seed; 32]);
    let builder = Node::builder(me.clone());
    let link = hub.join(me.peer_id(), builder.provider());
    builder
        .transport(link)
        .discovery(Fixed::new(others.iter().map(|node| node.record()).collect()))
        .mapper(
            mapping_node::mapper(&mapping.url(), Some(mapping.key()), None, HttpConfig::default()).unwrap(),
        )
        .fragmenters(media::standard())
        .store(Memory::of(ByteSize::mib(16)))
        .origin(Http::new(loopback(), pcdn::dice().unwrap()).unwrap())
        .settings(Settings { integrity: Integrity::Signed, policy: Policy::Cost, ..Settings::default() })
        .build()
        .unwrap()
}

/// Plays all of it, as a gateway does for a player.
async fn play(node: &Node, show: &Show, url: &Url) {
    let text = Bytes::from(show.playlist());
    let stream = node.stream(url, None, &text).await.unwrap();
    stream.supply(url, text).await.unwrap();
    for number in 0..SEGMENTS {
        let at = url.join(&format!("{number}.ts")).unwrap();
        let segment = node.segment(&at, None).await.unwrap().unwrap();
        let mut reader = segment.read(0..segment.len());
        let mut got = Vec::new();
        while let Some(bytes) = reader.next().await {
            got.extend_from_slice(&bytes.unwrap());
        }
        assert!(got == content(LEN, number), "segment {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_playlist_lists_is_proven_by_the_mapping_node_alone() {
    let (show, url) = Show::start(true).await;
    let mapping = mapping_node(&url).await;
    let said = answer(&mapping, &url, |mapping| mapping.manifest.is_some()).await;
    let place = said.manifest.unwrap();
    let read = async {
        loop {
            match fetched(&place).await {
                (200, bytes) => return Manifest::parse(&bytes).unwrap(),
                (status, _) => assert!(matches!(status, 202 | 404), "{status}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let manifest = tokio::time::timeout(PATIENCE, read).await.unwrap();
    assert_eq!((manifest.signer, manifest.rid), (mapping.key(), Some(said.rid)));
    let roots: Vec<_> = manifest.ids().iter().map(|id| manifest.segment(*id).unwrap()).collect();
    assert_eq!(roots.len(), SEGMENTS as usize);
    for (number, (layout, root)) in roots.iter().enumerate() {
        assert_eq!(PieceList::of(layout, &content(LEN, number as u64)).root(), *root, "{number}");
    }

    let hub = Hub::default();
    let first = viewer(&hub, 1, &mapping, &[]);
    tokio::time::timeout(PATIENCE, play(&first, &show, &url)).await.unwrap();
    let second = viewer(&hub, 2, &mapping, &[&first]);
    tokio::time::timeout(PATIENCE, play(&second, &show, &url)).await.unwrap();
    let swarms = second.swarms().await;
    let reports: Vec<_> = swarms.iter().map(|swarm| &swarm.report).collect();
    let report = reports.iter().find(|report| report.from_peers > 0).unwrap_or_else(|| panic!("{reports:?}"));
    assert_eq!(report.integrity, "signed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_playlist_that_goes_on_is_named_and_not_read() {
    let (_, url) = Show::start(false).await;
    let mapping = mapping_node(&url).await;
    // While it is being looked at, a manifest may yet come.
    let said = answer(&mapping, &url, |mapping| mapping.manifest.is_none()).await;
    assert_eq!(said.signer, Some(mapping.key()));
}
