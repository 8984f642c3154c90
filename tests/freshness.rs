//! The content behind a URL changes while a node holds it whole: for how long the old one may be given, who waits for what, and that
//! nobody ever gets bytes of both. In virtual time, against an origin that does what its script says.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use pcdn::core::fragment::Fragmenter as _;
use pcdn::core::id::Identity;
use pcdn::core::origin::OriginError;
use pcdn::core::resource::Url;
use pcdn::core::unit::ByteSize;
use pcdn::mapping::UrlHash;
use pcdn::media::File;
use pcdn::node::{ManifestFrom, Settings};
use pcdn::store::Memory;
use pcdn::testing::{Fault, ScriptedOrigin, content, manifest_of};
use pcdn::{Asset, Node, OpenError, store};
use tokio::time::{Instant, advance};

/// Two segments of 1 MiB.
const LEN: usize = 2 << 20;
/// As long as an hour: playing itself turns virtual time by seconds at most.
const HOUR: Duration = Duration::from_secs(3_600);

fn url() -> Url {
    "http://cdn.example/film".parse().unwrap()
}

fn node(origin: &ScriptedOrigin) -> Node {
    node_with(origin, Settings::default())
}

fn node_with(origin: &ScriptedOrigin, settings: Settings) -> Node {
    Node::builder(Identity::from_secret([1; 32]))
        .settings(settings)
        .mapper(UrlHash::default())
        .fragmenter(File::with(1 << 20, 16).unwrap())
        .shared_store(Arc::new(Memory::of(ByteSize::mib(16))) as Arc<dyn store::Store>)
        .origin(origin.clone())
        .build()
        .unwrap()
}

/// A node that holds the first content whole; the origin says `control` of it.
async fn holding(control: Option<&str>) -> (ScriptedOrigin, Node) {
    let origin = ScriptedOrigin::new().with(&url(), content(LEN, 1));
    let origin = match control {
        Some(control) => origin.saying("cache-control", control),
        None => origin,
    };
    let node = node(&origin);
    node.open(&url()).await.unwrap().complete().await.unwrap();
    (origin, node)
}

fn replace(origin: &ScriptedOrigin) {
    let _ = origin.clone().with(&url(), content(LEN, 2));
}

async fn read(asset: &Asset) -> Vec<u8> {
    let mut reader = asset.read(0..asset.len());
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes.unwrap());
    }
    all
}

/// Which content a viewer gets who comes now.
async fn given(node: &Node) -> u64 {
    let got = read(&node.open(&url()).await.unwrap()).await;
    [1, 2]
        .into_iter()
        .find(|which| content(LEN, *which) == got)
        .expect("all of one content, and nothing else")
}

/// Lets what runs beside come to its end.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn while_it_is_fresh_nobody_asks() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    let before = origin.counts();
    replace(&origin);
    advance(HOUR / 2).await;
    assert_eq!(given(&node).await, 1);
    assert_eq!(origin.counts(), before);
}

#[tokio::test(start_paused = true)]
async fn beyond_its_time_it_is_given_at_once_and_checked_beside() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    replace(&origin);
    advance(HOUR + Duration::from_secs(10)).await;
    // The origin is silent: whoever comes does not even notice.
    let _ = origin.clone().always(Fault::StallAfter(0));
    let asked = Instant::now();
    let asset = node.open(&url()).await.unwrap();
    assert_eq!(asked.elapsed(), Duration::ZERO);
    assert!(!asset.is_outdated());

    let (origin, node) = holding(Some("max-age=3600")).await;
    replace(&origin);
    advance(HOUR + Duration::from_secs(10)).await;
    assert_eq!(given(&node).await, 1);
    settle().await;
    assert_eq!(origin.counts().confirms, 1);
    assert_eq!(given(&node).await, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_confirmed_for_long_is_checked_first() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    replace(&origin);
    advance(3 * HOUR).await;
    assert_eq!(given(&node).await, 2);
}

#[tokio::test(start_paused = true)]
async fn without_a_word_of_the_origin_the_bound_is_short() {
    let (origin, node) = holding(None).await;
    replace(&origin);
    advance(Duration::from_secs(60)).await;
    assert_eq!(given(&node).await, 2);
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_says_the_same_is_left_alone_for_as_long_again() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    let before = origin.counts();
    advance(3 * HOUR).await;
    assert_eq!(given(&node).await, 1);
    assert_eq!(origin.counts().confirms, 1);
    advance(HOUR / 2).await;
    assert_eq!(given(&node).await, 1);
    let after = origin.counts();
    assert_eq!(
        (after.confirms, after.gets, after.heads, after.bytes),
        (1, before.gets, before.heads, before.bytes)
    );
}

#[tokio::test(start_paused = true)]
async fn while_the_origin_fails_what_is_here_is_given_and_one_alone_waits_for_it_a_moment() {
    for fault in [Fault::Unreachable, Fault::Status(503), Fault::Status(403), Fault::StallAfter(0)] {
        let (origin, node) = holding(Some("max-age=3600")).await;
        let _ = origin.clone().always(fault);
        advance(3 * HOUR).await;
        let asked = Instant::now();
        let asset = node.open(&url()).await.unwrap();
        assert!(asked.elapsed() <= Duration::from_millis(1_001), "{fault:?}: {:?}", asked.elapsed());
        assert!(!asset.is_outdated(), "{fault:?}");
        assert_eq!(read(&asset).await, content(LEN, 1), "{fault:?}");
    }
    let (origin, node) = holding(Some("max-age=3600")).await;
    let _ = origin.clone().always(Fault::Unreachable);
    advance(3 * HOUR).await;
    for _ in 0..20 {
        node.open(&url()).await.unwrap();
    }
    assert_eq!(origin.counts().confirms, 1, "an origin that failed is not asked by everyone");
}

#[tokio::test(start_paused = true)]
async fn what_must_be_confirmed_is_confirmed_or_not_given() {
    for control in ["no-cache", "max-age=3600, must-revalidate", "no-store"] {
        let (origin, node) = holding(Some(control)).await;
        advance(2 * HOUR).await;
        assert_eq!(given(&node).await, 1, "{control}");
        let _ = origin.clone().always(Fault::Unreachable);
        advance(2 * HOUR).await;
        let refused = node.open(&url()).await;
        assert!(
            matches!(refused, Err(OpenError::Origin(OriginError::Unreachable { .. }))),
            "{control}: {refused:?}"
        );
        let _ = origin.clone().always(Fault::None);
        replace(&origin);
        assert_eq!(given(&node).await, 2, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_gone_is_gone() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    let _ = origin.clone().always(Fault::Status(404));
    advance(3 * HOUR).await;
    let gone = node.open(&url()).await;
    assert!(matches!(gone, Err(OpenError::Origin(OriginError::Status { status: 404, .. }))), "{gone:?}");
}

#[tokio::test(start_paused = true)]
async fn many_viewers_at_once_cost_one_check() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    advance(3 * HOUR).await;
    let viewers = (0..50).map(|_| given(&node));
    assert!(futures_util::future::join_all(viewers).await.into_iter().all(|which| which == 1));
    assert_eq!(origin.counts().confirms, 1);
}

/// Whoever reads when the change is seen was cut off: the swarm of the old content was closed under them.
#[tokio::test(start_paused = true)]
async fn who_reads_the_old_content_reads_it_to_its_end_beside_the_new_one() {
    let (origin, node) = holding(Some("max-age=3600")).await;
    let old = node.open(&url()).await.unwrap();
    let mut reader = old.read(0..old.len());
    let mut all = reader.next().await.unwrap().unwrap().to_vec();
    replace(&origin);
    advance(3 * HOUR).await;
    assert_eq!(given(&node).await, 2);
    assert!(old.is_outdated());
    // Long after the new one is here, and after a pause of the player.
    advance(HOUR).await;
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes.unwrap());
        assert!(all == content(LEN, 1)[..all.len()]);
    }
    assert_eq!(all.len(), LEN);
    drop(reader);
    // Its swarm ends then.
    advance(Duration::from_secs(60)).await;
    settle().await;
    assert!(old.status().await.is_none(), "nobody reads the old content any more");
    assert_eq!(given(&node).await, 2);
}

/// A publisher's manifest is the truth: while it says the same, another validator at the origin changes nothing.
#[tokio::test(start_paused = true)]
async fn under_a_manifest_the_manifest_decides() {
    let manifest = |which| {
        let key = Identity::from_secret([9; 32]);
        manifest_of(&content(LEN, which), File::with(1 << 20, 16).unwrap().rule(), 1 << 20, 16, &key)
    };
    let sidecar: Url = "http://cdn.example/film.pcdn".parse().unwrap();
    let origin = ScriptedOrigin::new().with(&url(), content(LEN, 1)).with(&sidecar, manifest(1));
    let origin = origin.saying("cache-control", "max-age=3600");
    let node = node_with(&origin, Settings { manifest: ManifestFrom::Sidecar, ..Settings::default() });
    node.open(&url()).await.unwrap().complete().await.unwrap();

    replace(&origin);
    advance(3 * HOUR).await;
    assert_eq!(given(&node).await, 1, "what was signed is here, whatever an edge says");
    let _ = origin.clone().with(&sidecar, manifest(2));
    advance(3 * HOUR).await;
    assert_eq!(given(&node).await, 2);
}

/// The same content by another URL was found open and given, whatever the origin had just said of it.
#[tokio::test(start_paused = true)]
async fn what_the_origin_says_to_another_token_counts() {
    let tokened: Url = "http://cdn.example/film?token=b".parse().unwrap();
    let (origin, node) = holding(Some("max-age=3600")).await;
    replace(&origin);
    let _ = origin.clone().with(&tokened, content(LEN, 2));
    let asset = node.open(&tokened).await.unwrap();
    assert!(read(&asset).await == content(LEN, 2));
    assert_eq!(given(&node).await, 2, "and so it does for the first");
}

/// What comes of the origin for the swarm says as much as a check.
#[tokio::test(start_paused = true)]
async fn bytes_of_the_very_version_confirm_it() {
    let origin = ScriptedOrigin::new().with(&url(), content(LEN, 1)).saying("cache-control", "max-age=3600");
    let node = node(&origin);
    let asset = node.open(&url()).await.unwrap();
    advance(3 * HOUR).await;
    asset.complete().await.unwrap();
    advance(HOUR / 2).await;
    assert!(asset.age() < HOUR);
    assert_eq!(given(&node).await, 1);
    assert_eq!(origin.counts().confirms, 0);
}
