//! The content behind a URL changes: nobody ever gets bytes of both, and those who see one generation meet.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use pcdn::core::id::Identity;
use pcdn::core::resource::Url;
use pcdn::core::unit::ByteSize;
use pcdn::mapping::{Template, UrlHash};
use pcdn::media::File;
use pcdn::store::Memory;
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::transport::memory::Hub;
use pcdn::{Asset, Node, mapping, store};

/// Two segments of 1 MiB.
const LEN: usize = 2 << 20;

fn url() -> Url {
    "http://cdn.example/film".parse().unwrap()
}

fn node(origin: &ScriptedOrigin, kept: &Arc<Memory>, mapper: impl pcdn::core::mapping::Mapper) -> Node {
    let me = Identity::from_secret([1; 32]);
    let builder = Node::builder(me.clone());
    let link = Hub::default().join(me.peer_id(), builder.provider());
    builder
        .transport(link)
        .mapper(mapper)
        .fragmenter(File::with(1 << 20, 16).unwrap())
        .shared_store(kept.clone() as Arc<dyn store::Store>)
        .origin(origin.clone())
        .build()
        .unwrap()
}

/// The bytes of `range`, or `None` if they were not to be had.
async fn read(asset: &Asset, range: std::ops::Range<u64>) -> Option<Vec<u8>> {
    let mut reader = asset.read(range);
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes.ok()?);
    }
    Some(all)
}

#[tokio::test]
async fn what_was_kept_of_an_earlier_content_is_never_given_for_the_new_one() {
    let kept = Arc::new(Memory::of(ByteSize::mib(16)));
    let origin = ScriptedOrigin::new().with(&url(), content(LEN, 1));
    let first = node(&origin, &kept, UrlHash::default());
    let old = first.open(&url()).await.unwrap();
    old.complete().await.unwrap();
    first.shutdown(std::time::Duration::from_secs(1)).await;

    let _ = origin.clone().with(&url(), content(LEN, 2));
    let second = node(&origin, &kept, UrlHash::default());
    let new = second.open(&url()).await.unwrap();
    assert_eq!(new.swarm(), old.swarm(), "by this rule the URL names the content");
    assert!(read(&new, 0..new.len()).await.unwrap() == content(LEN, 2));
    assert_eq!(new.report().await.from_cache, 0);
}

#[tokio::test]
async fn a_change_under_an_open_film_ends_it_and_the_next_opening_has_the_new_one() {
    let kept = Arc::new(Memory::of(ByteSize::mib(16)));
    let origin = ScriptedOrigin::new().with(&url(), content(LEN, 1));
    let node = node(&origin, &kept, UrlHash::default());
    let old = node.open(&url()).await.unwrap();
    assert!(read(&old, 0..1 << 16).await.unwrap() == content(LEN, 1)[..1 << 16]);

    let _ = origin.clone().with(&url(), content(LEN, 2));
    let got = read(&old, 0..old.len()).await;
    assert!(got.is_none_or(|bytes| bytes == content(LEN, 1)), "all of the old content or an error");
    let new = node.open(&url()).await.unwrap();
    if old.is_outdated() {
        assert!(read(&new, 0..new.len()).await.unwrap() == content(LEN, 2));
    }
}

#[tokio::test]
async fn a_rule_that_looks_at_etags_keeps_generations_in_swarms_of_their_own() {
    const RULES: &str = "[[rule]]\nhost = 'cdn.example'\nrid = 'url'\ngeneration = 'etag'\n";
    let rules = || mapping::Template::parse("rules", RULES).unwrap();
    let kept = Arc::new(Memory::of(ByteSize::mib(16)));
    let origin = ScriptedOrigin::new().with(&url(), content(LEN, 1));
    let open = async |mapper: Template| node(&origin, &kept, mapper).open(&url()).await.unwrap();
    let (one, same) = (open(rules()).await, open(rules()).await);
    let _ = origin.clone().with(&url(), content(LEN, 2));
    let other = open(rules()).await;
    assert_eq!((one.rid(), one.swarm()), (same.rid(), same.swarm()));
    assert_ne!(one.rid(), other.rid());
    assert_ne!(one.swarm(), other.swarm());
}
