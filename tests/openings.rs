//! Contents are opened side by side, and for players in one round trip: an origin that does not answer keeps nobody waiting but who
//! wants something of it, and one that does is asked before anybody else is waited for.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use pcdn::core::id::Identity;
use pcdn::core::mapping::{MapError, Mapper};
use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::resource::{Mapping, ResourceHead, Url};
use pcdn::core::unit::ByteSize;
use pcdn::testing::{Fault, ScriptedOrigin, content};
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
    player(mapping::UrlHash::default(), Stuck(origin))
}

fn player(mapper: impl Mapper, origin: impl Origin) -> Node {
    Node::builder(Identity::from_secret([1; 32]))
        .mapper(mapper)
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(4)))
        .origin(origin)
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

/// Answers when the origin was asked.
#[derive(Debug)]
struct Late(ScriptedOrigin);

#[async_trait::async_trait]
impl Mapper for Late {
    async fn map(&self, url: &Url) -> Result<Mapping, MapError> {
        while self.0.counts().gets == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        mapping::UrlHash::default().map(url).await
    }
}

/// A player waited for the first 64 KiB to be whole, which one of the origin alone does not.
#[tokio::test(start_paused = true)]
async fn a_player_has_the_first_bytes_when_they_come() {
    let film = content(200_000, 1);
    const COME: usize = 1_000;
    let origin =
        ScriptedOrigin::new().with(&url("film"), film.clone()).always(Fault::StallAfter(COME as u64));
    let node = player(mapping::UrlHash::default(), origin.clone());
    let asset = node.open_to_play(&url("film")).await.unwrap();
    assert_eq!(asset.read(0..asset.len()).next().await.unwrap().unwrap(), film[..COME]);
    assert_eq!(origin.counts().heads, 0);
    node.shutdown(Duration::from_secs(1)).await;
    // Also where it begins elsewhere.
    let node = player(mapping::UrlHash::default(), origin.clone());
    let asset = node.open(&url("film")).await.unwrap();
    let mut seek = asset.read(131_072..asset.len());
    let first = timeout(Duration::from_secs(1), seek.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first, film[131_072..][..COME]);
    node.shutdown(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_player_waits_for_no_mapper_before_the_origin_is_asked() {
    let film = content(100_000, 1);
    let origin = ScriptedOrigin::new().with(&url("film"), film.clone());
    let node = player(Late(origin.clone()), origin.clone());
    let asset = timeout(Duration::from_secs(1), node.open_to_play(&url("film"))).await.unwrap().unwrap();
    let mut reader = asset.read(0..asset.len());
    let mut read = Vec::new();
    while let Some(bytes) = reader.next().await {
        read.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(read, film);
    assert_eq!(reader.sources(), (0, film.len() as u64, 0));
    node.shutdown(Duration::from_secs(1)).await;
}

/// What was here already was said to come from the origin until the node was restarted.
#[tokio::test(start_paused = true)]
async fn what_was_here_before_a_reader_comes_from_the_cache() {
    let film = content(300_000, 1);
    let origin = ScriptedOrigin::new().with(&url("film"), film.clone());
    let node = player(mapping::UrlHash::default(), origin.clone());
    let asset = node.open(&url("film")).await.unwrap();
    let half = 131_072;
    for (range, sources) in [
        (0..half, (0, half, 0)),
        (0..half, (half, 0, 0)),
        (65_536..film.len() as u64, (half - 65_536, film.len() as u64 - half, 0)),
    ] {
        let (mut reader, mut read) = (asset.read(range.clone()), Vec::new());
        while let Some(bytes) = reader.next().await {
            read.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(read, film[range.start as usize..range.end as usize]);
        assert_eq!(reader.sources(), sources, "{range:?}");
    }
    node.shutdown(Duration::from_secs(1)).await;
}

/// The first segment of a start cost two round trips, one for its length.
#[tokio::test(start_paused = true)]
async fn a_player_starts_a_stream_with_one_request() {
    let (list, first) = (url("list.m3u8"), url("0.ts"));
    let origin = ScriptedOrigin::new().with(&first, content(200_000, 1));
    let node = player(mapping::UrlHash::default(), origin.clone());
    let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n0.ts\n#EXT-X-ENDLIST\n";
    let stream = node.stream(&list, None, text.as_bytes()).await.unwrap();
    stream.supply(&list, text.into()).await.unwrap();
    let segment = node.segment_to_play(&first, None).await.unwrap().unwrap();
    assert_eq!((origin.counts().heads, origin.counts().gets), (0, 1));
    let mut reader = segment.read(0..segment.len());
    let mut read = Vec::new();
    while let Some(bytes) = reader.next().await {
        read.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(read, content(200_000, 1));
    assert_eq!(origin.counts().bytes, read.len() as u64, "nothing of it was sent twice");
    node.shutdown(Duration::from_secs(1)).await;
}
