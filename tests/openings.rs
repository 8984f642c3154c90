//! Contents are opened side by side: an origin that does not answer keeps nobody waiting but who wants something of it.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use pcdn::core::id::Identity;
use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::resource::{ResourceHead, Url};
use pcdn::core::unit::ByteSize;
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::{Node, OpenError, mapping, media, store};
use tokio::time::{Instant, timeout};

fn url(name: &str) -> Url {
    format!("http://cdn.example/{name}").parse().unwrap()
}

/// Answers for what it has, and never for anything else.
#[derive(Debug)]
struct Stuck(ScriptedOrigin);

#[async_trait::async_trait]
impl Origin for Stuck {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        if url.path() != "/film" {
            std::future::pending::<()>().await;
        }
        self.0.head(url).await
    }
    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        if want.url.path() != "/film" {
            std::future::pending::<()>().await;
        }
        self.0.get(want).await
    }
    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.0.confirm(url, known).await
    }
}

fn node() -> Node {
    let origin = ScriptedOrigin::new().with(&url("film"), content(100_000, 1));
    Node::builder(Identity::from_secret([1; 32]))
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(4)))
        .origin(Stuck(origin))
        .build()
        .unwrap()
}

/// One origin that hung once kept every other content of the node from being opened, and its figures from being seen.
#[tokio::test(start_paused = true)]
async fn a_silent_origin_keeps_only_its_own_waiting() {
    let node = node();
    let stuck: Vec<_> = ["silent", "silent", "live.flv"]
        .map(|name| {
            let node = node.clone();
            tokio::spawn(async move {
                if name.ends_with("flv") {
                    node.broadcast(&url(name)).await.map(drop)
                } else {
                    node.open(&url(name)).await.map(drop)
                }
            })
        })
        .into();
    tokio::task::yield_now().await;
    let asked = Instant::now();
    let film = timeout(Duration::from_secs(1), node.open(&url("film"))).await.unwrap().unwrap();
    assert_eq!(film.len(), 100_000);
    assert_eq!(timeout(Duration::from_secs(1), node.swarms()).await.unwrap().len(), 1);
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert!(stuck.iter().all(|opening| !opening.is_finished()));
    timeout(Duration::from_secs(5), node.shutdown(Duration::from_secs(1))).await.unwrap();
    stuck.iter().for_each(|opening| opening.abort());
}

#[tokio::test(start_paused = true)]
async fn one_film_has_one_swarm_however_many_open_it_at_once() {
    let node = node();
    let film = url("film");
    let opened = futures_util::future::join_all((0..8).map(|_| node.open(&film))).await;
    let opened: Vec<_> = opened.into_iter().map(|asset| asset.unwrap().swarm()).collect();
    assert!(opened.iter().all(|swarm| *swarm == opened[0]));
    assert_eq!(node.swarms().await.len(), 1);
    node.shutdown(Duration::from_secs(1)).await;
    assert!(matches!(node.open(&film).await, Err(OpenError::Closed)));
}
