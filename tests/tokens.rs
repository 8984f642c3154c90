//! Viewers of one node come with tokens of their own, meet in one swarm, and outlive one another's tokens.
#![allow(clippy::unwrap_used)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pcdn::core::id::Identity;
use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::resource::{ResourceHead, Url};
use pcdn::core::unit::ByteSize;
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::{Asset, Node, OpenError, mapping, media, store};
use tokio::time::timeout;

/// A film's length: several runs of the origin, so that not all of it is fetched by the first.
const LEN: usize = 12 << 20;

fn film(token: &str) -> Url {
    format!("http://cdn.example/film.mp4?token={token}").parse().unwrap()
}

/// Gives the film to who comes with a good token.
#[derive(Clone, Debug)]
struct Gate {
    film: ScriptedOrigin,
    good: Arc<Mutex<Vec<&'static str>>>,
}

impl Gate {
    fn new() -> Self {
        let bare = "http://cdn.example/film.mp4".parse().unwrap();
        Self { film: ScriptedOrigin::new().with(&bare, content(LEN, 1)), good: Arc::default() }
    }
    fn accept(&self, tokens: &[&'static str]) {
        *self.good.lock().unwrap() = tokens.to_vec();
    }
    fn admit(&self, url: &Url) -> Result<Url, OriginError> {
        let token = url.query().and_then(|query| query.strip_prefix("token=")).unwrap_or_default();
        if !self.good.lock().unwrap().contains(&token) {
            return Err(OriginError::Status { status: 403, retry_after: None });
        }
        let mut bare = url.clone();
        bare.set_query(None);
        Ok(bare)
    }
}

#[async_trait::async_trait]
impl Origin for Gate {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        self.film.head(&self.admit(url)?).await
    }
    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        self.film.get(&OriginGet { url: self.admit(&want.url)?, ..want.clone() }).await
    }
    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.film.confirm(&self.admit(url)?, known).await
    }
}

fn node(origin: &Gate) -> Node {
    Node::builder(Identity::from_secret([1; 32]))
        .mapper(mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize::mib(32)))
        .origin(origin.clone())
        .build()
        .unwrap()
}

async fn read(asset: &Asset, range: std::ops::Range<u64>) -> Result<Vec<u8>, OpenError> {
    let (mut reader, mut read) = (asset.read(range), Vec::new());
    while let Some(bytes) = reader.next().await {
        read.extend_from_slice(&bytes?);
    }
    Ok(read)
}

/// The swarm went on with the first viewer's token: whoever came after that had expired got nothing, though the CDN alone would have
/// given them the film.
#[tokio::test(start_paused = true)]
async fn a_film_goes_on_by_a_later_viewers_token_when_the_first_has_expired() {
    let origin = Gate::new();
    origin.accept(&["first", "second"]);
    let node = node(&origin);
    let asset = node.open(&film("first")).await.unwrap();
    assert_eq!(read(&asset, 0..1_000).await.unwrap(), content(LEN, 1)[..1_000]);
    let second = node.open(&film("second")).await.unwrap();
    origin.accept(&["second"]);
    let all = timeout(Duration::from_secs(2), read(&second, 0..LEN as u64)).await.unwrap().unwrap();
    assert!(all == content(LEN, 1));
    assert_eq!(node.swarms().await.len(), 1, "both are in one swarm");
    node.shutdown(Duration::from_secs(1)).await;
}

/// A swarm that the origin had once refused stayed so: eight seconds of waiting and an error for everybody after.
#[tokio::test(start_paused = true)]
async fn a_swarm_that_was_refused_begins_anew_for_who_is_not() {
    let origin = Gate::new();
    origin.accept(&["first"]);
    let node = node(&origin);
    let asset = node.open(&film("first")).await.unwrap();
    assert_eq!(read(&asset, 0..1_000).await.unwrap().len(), 1_000);
    origin.accept(&["second"]);
    let late = LEN as u64 - 100_000..LEN as u64;
    let refused = read(&asset, late.clone()).await;
    assert!(
        matches!(refused, Err(OpenError::Origin(OriginError::Status { status: 403, .. }))),
        "{refused:?}"
    );
    for token in ["second", "second"] {
        let asset = node.open(&film(token)).await.unwrap();
        let part = timeout(Duration::from_secs(2), read(&asset, late.clone())).await.unwrap().unwrap();
        assert!(part == content(LEN, 1)[late.start as usize..]);
    }
    // Who comes with the old one is told so, as by the origin alone.
    let asset = node.open(&film("first")).await;
    assert!(matches!(asset, Err(OpenError::Origin(OriginError::Status { status: 403, .. }))));
    node.shutdown(Duration::from_secs(1)).await;
}

/// What a firewall in front of the origin refuses for a moment is asked for again.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_passes_is_no_refusal_for_ever() {
    let origin = Gate::new();
    origin.accept(&["first"]);
    let node = node(&origin);
    let asset = node.open(&film("first")).await.unwrap();
    origin.accept(&[]);
    let late = LEN as u64 - 100_000..LEN as u64;
    assert!(read(&asset, late.clone()).await.is_err());
    // What is here, and what peers have, can be read while it lasts.
    assert!(node.open(&film("first")).await.is_ok());
    origin.accept(&["first"]);
    let asset = node.open(&film("first")).await.unwrap();
    let part = timeout(Duration::from_secs(2), read(&asset, late)).await.unwrap();
    assert_eq!(part.unwrap().len(), 100_000);
    node.shutdown(Duration::from_secs(1)).await;
}
