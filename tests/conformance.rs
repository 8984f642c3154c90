//! Every shipped implementation of every seam passes the suite its strangers use.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use pcdn::conformance;
use pcdn::core::clock::ManualClock;
use pcdn::core::fragment::Fragmenter;
use pcdn::core::id::{Identity, Rid};
use pcdn::core::resource::{Resource, ResourceHead, Url};
use pcdn::core::schedule::{Hybrid, OriginOnly, Sequential};
use pcdn::core::transport::Provider;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::discovery::{Cached as CachedPeers, Fixed, Merged, Tracker, TrackerConfig, TrackerServer};
use pcdn::mapping::node::{NodeConfig, Tokens};
use pcdn::mapping::{Cached, FirstOf, Table, Template, UrlHash};
use pcdn::mapping_node::{MappingConfig, MappingNode};
use pcdn::media::{Dash, File, Flv, Hls};
use pcdn::store::{Disk, DiskConfig};
use pcdn::testing::{Fault, ScriptedOrigin, content};
use pcdn::transport::memory::Hub;
use pcdn::transport::origin::{Http, HttpConfig, Mirrors};
use pcdn::transport::quic::{Quic, QuicConfig};
use pcdn::transport::udp::{Udp, UdpConfig};

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn fragmenters() {
    let body = content(10_000_001, 1);
    let head = ResourceHead { len: Some(body.len() as u64), ranges: true, ..ResourceHead::default() };
    let rid = UrlHash::default().rid(&url("http://h.example/film")).unwrap();
    let resource = Resource { url: url("http://h.example/film"), rid, head: None };
    let sample = conformance::fragmenter::Sample { resource, head, documents: Vec::new(), body, tiles: true };
    conformance::fragmenter::fragmenter(File::default, &sample);
    conformance::fragmenter::fragmenter(|| File::with(1 << 20, 14).unwrap(), &sample);
    assert_ne!(File::default().rule(), File::with(1 << 20, 14).unwrap().rule());
    // An FLV file is cut on a grid like any other; a stream at keyframes (`pcdn-media` has streams to try it on).
    let flv = Resource { url: url("http://h.example/film.flv"), ..sample.resource.clone() };
    conformance::fragmenter::fragmenter(
        Flv::default,
        &conformance::fragmenter::Sample { resource: flv, ..sample },
    );
}

const PLAYLIST: &str = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:4,\n7.ts\n#EXTINF:3.5,\n8.ts\n#EXT-X-ENDLIST\n";
const MANIFEST: &str = r#"<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT8S">
  <Period><AdaptationSet mimeType="video/mp4">
    <SegmentTemplate initialization="init.mp4" media="$Number$.m4s" duration="4" startNumber="1"/>
    <Representation id="v" bandwidth="1000000"/>
  </AdaptationSet></Period>
</MPD>"#;

#[test]
fn fragmenters_of_listed_media() {
    let playlist = listed("film.m3u8", "application/vnd.apple.mpegurl", PLAYLIST);
    conformance::fragmenter::fragmenter(|| Hls, &playlist);
    conformance::fragmenter::fragmenter(Dash::default, &listed("film.mpd", "application/dash+xml", MANIFEST));
}

/// A resource that is a document and lists its segments.
fn listed(name: &str, content_type: &str, text: &'static str) -> conformance::fragmenter::Sample {
    let url = url(&format!("http://h.example/{name}"));
    let rid = UrlHash::default().rid(&url).unwrap();
    let head = ResourceHead { content_type: Some(content_type.to_owned()), ..ResourceHead::default() };
    let documents = vec![(url.clone(), text.into())];
    let resource = Resource { url, rid, head: None };
    conformance::fragmenter::Sample { resource, head, documents, body: text.into(), tiles: false }
}

#[tokio::test]
async fn mappers() {
    let film: &[&str] =
        &["http://h.example/film?token=a", "https://h.example/film?token=b#t=1", "http://H.EXAMPLE/film"];
    let other: &[&str] = &["http://h.example/film?cut=long", "http://h.example/film?cut=long&sig=1"];
    let contents = [film, other];
    conformance::mapper::mapper(UrlHash::default, &contents).await;
    // A mapping node that is asked about these, and cannot reach their host.
    let node = NodeConfig { allow: vec!["h.example".to_owned()], ..NodeConfig::default() };
    let config = MappingConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        node,
        key: Identity::from_secret([1; 32]),
        store: Arc::new(pcdn::mapping::node::store::Memory::new()),
        tokens: Tokens::default(),
        http: HttpConfig::default(),
    };
    let node = MappingNode::start(config).await.unwrap();
    let asking =
        || pcdn::mapping_node::mapper(&node.url(), Some(node.key()), None, HttpConfig::default()).unwrap();
    conformance::mapper::mapper(asking, &contents).await;
    node.shutdown().await;
    conformance::mapper::mapper(|| FirstOf::default().or(UrlHash::default()), &contents).await;
    let clock = Arc::new(ManualClock::default());
    conformance::mapper::mapper(|| Cached::with_capacity(UrlHash::default(), clock.clone(), 8), &contents)
        .await;
    let rules = || Template::parse("films.toml", RULES).unwrap();
    conformance::mapper::mapper(rules, &contents).await;
    let table = || {
        let tree = |at: &str, name: u8| (url(at), Rid([name; 32]));
        let (films, more) = (tree("http://h.example/", 1), tree("http://b.example/all/h", 2));
        let table = Table::new().tree(films.0, films.1).unwrap();
        table.tree(more.0, more.1).unwrap().exact(url("http://c.example/film"), Rid([3; 32])).unwrap()
    };
    let listed: &[&str] = &["http://c.example/film"];
    conformance::mapper::mapper(table, &[film, other, listed]).await;
}

const RULES: &str = r#"
    [[rule]]
    host = "h.example"
    keep = ["cut"]
"#;

#[test]
fn schedulers() {
    conformance::scheduler::scheduler(Hybrid::default);
    conformance::scheduler::scheduler(|| Sequential);
    conformance::scheduler::scheduler(|| OriginOnly);
}

#[test]
fn stores() {
    conformance::store::store(|| pcdn::store::Memory::of(ByteSize::mib(16)));
    let dir = tempfile::tempdir().unwrap();
    let opened = AtomicU32::new(0);
    conformance::store::store(|| {
        let place = dir.path().join(opened.fetch_add(1, Ordering::Relaxed).to_string());
        Disk::open(place, DiskConfig { quota: ByteSize::mib(16), ..DiskConfig::default() }).unwrap()
    });
}

#[tokio::test]
async fn discoveries() {
    conformance::discovery::discovery(&Fixed::new(Vec::new())).await;
    let listen = "127.0.0.1:0".parse().unwrap();
    let server = TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await.unwrap();
    for scheme in ["udp", "http"] {
        let client = || Tracker::at(&format!("{scheme}://{}", server.local_addr()));
        conformance::discovery::discovery(&client()).await;
        conformance::discovery::meeting(&client(), &client()).await;
        let merged = || Merged::new(vec![Arc::new(Fixed::new(Vec::new())), Arc::new(client())]);
        conformance::discovery::meeting(&merged(), &merged()).await;
        let cached = || CachedPeers::new(client());
        conformance::discovery::discovery(&cached()).await;
        conformance::discovery::meeting(&cached(), &cached()).await;
    }
    server.shutdown().await;
}

#[cfg(feature = "kad")]
#[tokio::test(flavor = "multi_thread")]
async fn the_dht() {
    use pcdn::core::peer::PeerRecord;
    use pcdn::discovery::{Kad, KadConfig};

    let join = async |me: &Identity, first: Option<&Kad>| {
        let bootstrap = first.map_or_else(Vec::new, Kad::contacts);
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        Kad::join(me, KadConfig { listen, bootstrap, private: true, ..KadConfig::default() }).await.unwrap()
    };
    let record = |me: &Identity, port: u16| {
        let addrs = vec![format!("udp://127.0.0.1:{port}").parse().unwrap()];
        PeerRecord { id: me.peer_id(), addrs, seed: false }
    };
    let (alice, bob) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
    let first = join(&alice, None).await;
    conformance::discovery::discovery_as(&first, &record(&alice, 4001)).await;
    let second = join(&bob, Some(&first)).await;
    conformance::discovery::discovery_as(&second, &record(&bob, 4002)).await;
    conformance::discovery::meeting_as(&first, &record(&alice, 4001), &second, &record(&bob, 4002)).await;
    // Behind a tracker that is not there.
    let merged =
        |kad: &Kad| Merged::new(vec![Arc::new(Fixed::new(Vec::new()))]).then(vec![Arc::new(kad.clone())]);
    let (a, b) = (merged(&first), merged(&second));
    conformance::discovery::meeting_as(&a, &record(&alice, 4001), &b, &record(&bob, 4002)).await;
}

#[tokio::test]
async fn origins() {
    let body = content(300_000, 1);
    let server = DemoOrigin::start(vec![("film".to_owned(), body.clone())], Rate::UNLIMITED).await.unwrap();
    let allow = vec![server.addr().to_string().parse().unwrap()];
    let http = Http::new(HttpConfig { allow, ..HttpConfig::default() }, pcdn::dice().unwrap()).unwrap();
    let (film, nothing) = (url(&server.url("film")), url(&server.url("nothing")));
    conformance::origin::origin(&http, &film, &body, &nothing).await;
    // A mirror that is dead harms nobody. (`p2sp_file` has a first URL that fails.)
    let (dead, nobody) = (url("http://dead.example/film"), ScriptedOrigin::new().always(Fault::Unreachable));
    let mirrors = Mirrors::new(Arc::new(http), Arc::new(nobody), film.clone(), vec![dead]);
    conformance::origin::origin(&mirrors, &film, &body, &nothing).await;
    let cdn = url("http://cdn.example/film");
    let scripted = ScriptedOrigin::new().with(&cdn, body.clone());
    conformance::origin::origin(&scripted, &cdn, &body, &url("http://cdn.example/nothing")).await;
}

async fn udp_at(at: &str) {
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        Udp::bind(at.parse().unwrap(), me, provider, UdpConfig::default()).await.unwrap()
    };
    conformance::transport::transport(bind).await;
}

async fn quic_at(at: &str) {
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        Quic::bind(at.parse().unwrap(), me, provider, QuicConfig::default()).await.unwrap()
    };
    conformance::transport::transport(bind).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp() {
    udp_at("127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp_over_ipv6() {
    udp_at("[::1]:0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quic() {
    quic_at("127.0.0.1:0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_over_ipv6() {
    quic_at("[::1]:0").await;
}

#[tokio::test]
async fn memory() {
    let hub = Hub::default();
    conformance::transport::transport(async |me: &Identity, provider| hub.join(me.peer_id(), provider)).await;
}
