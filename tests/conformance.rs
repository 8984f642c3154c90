//! Every shipped implementation of every seam passes the suite its strangers use.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use pcdn::conformance;
use pcdn::core::clock::ManualClock;
use pcdn::core::fragment::Fragmenter;
use pcdn::core::id::Identity;
use pcdn::core::resource::{Resource, ResourceHead, Url};
use pcdn::core::schedule::{Hybrid, OriginOnly, Sequential};
use pcdn::core::transport::Provider;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::demo::DemoOrigin;
use pcdn::discovery::{Fixed, Merged, Tracker, TrackerConfig, TrackerServer};
use pcdn::mapping::{Cached, FirstOf, UrlHash};
use pcdn::media::File;
use pcdn::testing::content;
use pcdn::transport::memory::Hub;
use pcdn::transport::origin::{Http, HttpConfig};
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
}

#[tokio::test]
async fn mappers() {
    let film: &[&str] =
        &["http://h.example/film?token=a", "https://h.example/film?token=b#t=1", "http://H.EXAMPLE/film"];
    let other: &[&str] = &["http://h.example/film?cut=long", "http://h.example/film?cut=long&sig=1"];
    let contents = [film, other];
    conformance::mapper::mapper(UrlHash::default, &contents).await;
    conformance::mapper::mapper(|| FirstOf::default().or(UrlHash::default()), &contents).await;
    let clock = Arc::new(ManualClock::default());
    conformance::mapper::mapper(|| Cached::with_capacity(UrlHash::default(), clock.clone(), 8), &contents)
        .await;
}

#[test]
fn schedulers() {
    conformance::scheduler::scheduler(Hybrid::default);
    conformance::scheduler::scheduler(|| Sequential);
    conformance::scheduler::scheduler(|| OriginOnly);
}

#[test]
fn stores() {
    conformance::store::store(|| pcdn::store::Memory::of(ByteSize::mib(16)));
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
    }
    server.shutdown().await;
}

#[tokio::test]
async fn origins() {
    let body = content(300_000, 1);
    let server = DemoOrigin::start(vec![("film".to_owned(), body.clone())], Rate::UNLIMITED).await.unwrap();
    let allow = vec![server.addr().to_string().parse().unwrap()];
    let http = Http::new(HttpConfig { allow, ..HttpConfig::default() }, pcdn::dice().unwrap()).unwrap();
    conformance::origin::origin(&http, &url(&server.url("film")), &body, &url(&server.url("nothing"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn udp() {
    let bind = async |me: &Identity, provider: Arc<dyn Provider>| {
        Udp::bind("127.0.0.1:0".parse().unwrap(), me, provider, UdpConfig::default()).await.unwrap()
    };
    conformance::transport::transport(bind).await;
}

#[tokio::test]
async fn memory() {
    let hub = Hub::default();
    conformance::transport::transport(async |me: &Identity, provider| hub.join(me.peer_id(), provider)).await;
}
