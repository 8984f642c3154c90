use std::sync::Arc;
use std::time::Duration;

use pcdn_core::clock::ManualClock;
use pcdn_core::fragment::Segment;
use pcdn_core::id::{Identity, Rid, RuleId};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{Generations, ResourceHead, Url};
use pcdn_core::testing::{Fault, ScriptedOrigin, content};
use pcdn_core::unit::{ByteSize, Rate};
use pcdn_core::verify::{Manifest, PieceList};

use super::desk::Said;
use super::store::Memory;
use super::{Desk, DeskError, ListError, MapStore, NodeConfig, Parts, Tokens};
use crate::answer::{MapAnswer, PublishBody, State};

const LEN: usize = 2_500_000;
const RULE: RuleId = RuleId([7; 8]);
const ROOT: &str = "root-token-0123456789";
const FILMS: &str = "films-token-0123456";

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn film() -> Url {
    url("http://cdn.example/film")
}

/// Segments of 1 MiB; playlists are not cut.
fn cut(url: &Url, head: &ResourceHead) -> Result<(RuleId, Vec<Segment>), pcdn_core::fragment::FragmentError> {
    if url.path().ends_with(".m3u8") {
        return Err(pcdn_core::fragment::FragmentError::Playlist);
    }
    let len = head.len.unwrap();
    let starts = (0..len).step_by(1 << 20).enumerate();
    let segment = |(number, start): (usize, u64)| {
        Segment::of_file(SegmentId(number as u64), url.clone(), start..len.min(start + (1 << 20)), 16)
            .unwrap()
    };
    Ok((RULE, starts.map(segment).collect()))
}

struct World {
    origin: ScriptedOrigin,
    store: Arc<dyn MapStore>,
    clock: Arc<ManualClock>,
    config: NodeConfig,
}

impl World {
    fn new() -> Self {
        let origin = ScriptedOrigin::new().with(&film(), content(LEN, 1));
        let config = NodeConfig {
            allow: vec!["cdn.example".into(), "*.films.example".into()],
            rate: Rate::UNLIMITED,
            ttl: Duration::ZERO,
            ..NodeConfig::default()
        };
        Self { origin, store: Arc::new(Memory::new()), clock: Arc::default(), config }
    }

    /// One more node of this store.
    async fn desk(&self) -> Desk {
        let tokens = format!("{ROOT} *\n{FILMS} *.films.example\n");
        let parts = Parts {
            key: key(),
            store: self.store.clone(),
            origin: Arc::new(self.origin.clone()),
            cut: Arc::new(cut),
            list: Arc::new(|_| Box::pin(async { Err(ListError::Never("not here".to_owned())) })),
            tokens: Tokens::parse(&tokens).unwrap(),
            clock: self.clock.clone(),
        };
        Desk::open(parts, self.config.clone()).await.unwrap()
    }
}

fn key() -> Identity {
    Identity::from_secret([5; 32])
}

/// Asks until the content is read.
async fn ready(desk: &Desk, url: &Url) -> MapAnswer {
    loop {
        match desk.map(url).await.unwrap() {
            Said::Answer(answer) => return answer,
            Said::Wait(answer, _) => assert_eq!(answer.state, State::Hashing),
            other => panic!("{other:?}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Asks, and waits for the look at the origin that every question brings about here.
async fn settled(desk: &Desk, url: &Url) -> MapAnswer {
    let answer = ready(desk, url).await;
    while desk.lengths() != (0, 0) {
        tokio::task::yield_now().await;
    }
    desk.answer(&desk.entry(&answer.rid).await.unwrap().unwrap(), Some(url))
}

async fn manifest(desk: &Desk, answer: &MapAnswer) -> Option<Manifest> {
    let bytes = desk.manifest(&answer.rid, answer.generation.as_ref().unwrap()).await.unwrap()?;
    Some(Manifest::parse(&bytes).unwrap())
}

#[tokio::test]
async fn a_content_is_read_once_and_its_pieces_signed() {
    let world = World::new();
    let desk = world.desk().await;
    let first = desk.map(&url("http://cdn.example/film?token=a#x")).await.unwrap();
    assert!(matches!(first, Said::Wait(MapAnswer { generation: None, .. }, _)), "{first:?}");
    let answer = ready(&desk, &film()).await;
    assert_eq!((answer.length, answer.url.clone()), (Some(LEN as u64), Some(film())));
    assert_eq!(
        answer.rid,
        crate::UrlHash::new().rid(&film()).unwrap(),
        "named as every viewer names it offline"
    );
    let signed = manifest(&desk, &answer).await.unwrap();
    assert_eq!((signed.signer, signed.rule, signed.bytes()), (key().peer_id(), RULE, LEN as u64));
    let body = content(LEN, 1);
    let (layout, _) = signed.segment(SegmentId(2)).unwrap();
    assert_eq!(signed.list(SegmentId(2)), Some(&PieceList::of(&layout, &body[2 << 20..])));
    settled(&desk, &film()).await;
    assert_eq!(world.origin.counts().gets, 1);
    // By its name, and on another node of the same store.
    let other = world.desk().await;
    assert_eq!(other.entry(&answer.rid).await.unwrap().unwrap().urls, [film()]);
    ready(&other, &film()).await;
    settled(&other, &film()).await;
    assert_eq!(world.origin.counts().gets, 1);
}

#[tokio::test]
async fn a_changed_content_is_a_new_generation_and_the_old_manifest_goes() {
    let world = World::new();
    let desk = world.desk().await;
    let before = settled(&desk, &film()).await;
    // As long as before: the ETag alone tells.
    let _ = world.origin.clone().with(&film(), content(LEN, 2));
    let after = settled(&desk, &film()).await;
    assert_ne!(after.generation, before.generation);
    assert_eq!(after.rid, before.rid);
    assert_eq!(after.generations, Generations::ByTag);
    let (old, new) = (manifest(&desk, &before).await, manifest(&desk, &after).await.unwrap());
    assert!(old.is_none());
    let (layout, root) = new.segment(SegmentId(0)).unwrap();
    assert_eq!(root, PieceList::of(&layout, &content(LEN, 2)[..1 << 20]).root());
    assert_ne!(new.rid, Some(before.rid), "the manifest is bound to its generation's name");
}

#[tokio::test]
async fn what_may_not_or_cannot_be_read_is_said_and_not_fetched() {
    let mut world = World::new();
    world.config.size_max = ByteSize::kib(1);
    let playlist = url("http://cdn.example/live.m3u8");
    world.origin = world.origin.with(&playlist, content(100, 3));
    let desk = world.desk().await;
    let stranger = desk.map(&url("http://bank.example/film")).await.unwrap();
    assert!(matches!(stranger, Said::Unknown(..)), "{stranger:?}");
    assert_eq!(world.origin.counts().heads, 0);
    for named in [&playlist, &film()] {
        let answer = ready(&desk, named).await;
        assert_eq!((answer.state, answer.manifest), (State::Named, None));
    }
    assert_eq!(world.origin.counts().gets, 0, "too long, or no file");
    // Not there: said once it is known, and left alone for a while.
    let gone = url("http://cdn.example/gone");
    while !matches!(desk.map(&gone).await.unwrap(), Said::Unknown(..)) {
        tokio::task::yield_now().await;
    }
    let heads = world.origin.counts().heads;
    assert!(matches!(desk.map(&gone).await.unwrap(), Said::Unknown(..)));
    assert_eq!(world.origin.counts().heads, heads);
    assert!(desk.map(&url("ftp://cdn.example/f")).await.is_err());
}

#[tokio::test]
async fn an_origin_that_fails_later_leaves_the_answer_there_is() {
    let world = World::new();
    let desk = world.desk().await;
    let before = settled(&desk, &film()).await;
    let _ = world.origin.clone().always(Fault::Unreachable);
    for _ in 0..20 {
        assert_eq!(ready(&desk, &film()).await.generation, before.generation);
        tokio::task::yield_now().await;
    }
    assert!(manifest(&desk, &before).await.is_some());
}

#[tokio::test]
async fn a_body_that_breaks_makes_no_manifest() {
    for fault in [Fault::CutAfter(70_000), Fault::Status(503)] {
        let mut world = World::new();
        world.origin = world.origin.then(fault);
        let desk = world.desk().await;
        while !matches!(desk.map(&film()).await.unwrap(), Said::Unknown(..)) {
            tokio::task::yield_now().await;
        }
        assert_eq!(world.store.count(super::Space::Manifests).await.unwrap(), 0);
        world.clock.advance(Duration::from_secs(31));
        ready(&desk, &film()).await;
    }
}

#[tokio::test]
async fn publishers_name_their_own_and_nobody_elses() {
    let world = World::new();
    let desk = world.desk().await;
    let (own, copy) = (url("http://e1.films.example/a/7"), url("http://e2.films.example/b/7?token=x"));
    let _ = world.origin.clone().with(&own, content(1000, 4));
    let body = PublishBody {
        urls: vec![own.clone(), copy.clone()],
        rid: Some(Rid([9; 32])),
        trackers: vec!["t:1".into()],
    };
    assert!(matches!(desk.publish("wrong-token-0123456789", body.clone()).await, Err(DeskError::Token(_))));
    let mixed = PublishBody { urls: vec![own.clone(), film()], ..body.clone() };
    assert!(matches!(desk.publish(FILMS, mixed).await, Err(DeskError::Token(host)) if host == "cdn.example"));
    let none = PublishBody { urls: Vec::new(), ..body.clone() };
    assert!(matches!(desk.publish(FILMS, none).await, Err(DeskError::Bounds(_))));
    desk.publish(FILMS, body).await.unwrap();
    for url in [&own, &copy, &url("https://e2.films.example/b/7")] {
        let answer = ready(&desk, url).await;
        assert_eq!((answer.rid, answer.urls.len(), answer.trackers.len()), (Rid([9; 32]), 2, 1), "{url}");
    }
}

#[tokio::test]
async fn a_purge_forgets_what_was_read_and_reads_it_again() {
    let world = World::new();
    let desk = world.desk().await;
    let before = settled(&desk, &film()).await;
    assert!(matches!(desk.purge(FILMS, &[film()]).await, Err(DeskError::Token(_))));
    let _ = world.origin.clone().with(&film(), content(LEN, 2));
    assert_eq!(desk.purge(ROOT, &[film(), url("http://cdn.example/unknown")]).await.unwrap(), 1);
    assert!(manifest(&desk, &before).await.is_none(), "from this moment on");
    assert_ne!(ready(&desk, &film()).await.generation, before.generation);
}

#[tokio::test]
async fn rules_of_a_higher_version_are_seen_by_every_node_of_the_store() {
    let world = World::new();
    let (one, two) = (world.desk().await, world.desk().await);
    let rules =
        |version: u64| format!("version = {version}\n[[rule]]\nhost = 'cdn.example'\nkey = 'k{version}'\n");
    assert!(matches!(one.put_rules(FILMS, rules(1)).await, Err(DeskError::Token(_))));
    assert!(matches!(one.put_rules(ROOT, "nonsense".into()).await, Err(DeskError::Rules(_))));
    assert_eq!(one.put_rules(ROOT, rules(2)).await.unwrap(), 2);
    assert!(matches!(one.put_rules(ROOT, rules(2)).await, Err(DeskError::Old { have: 2 })));
    world.clock.advance(Duration::from_secs(6));
    assert_eq!(two.rules().await.unwrap().rules.version(), 2);
    assert_eq!(world.desk().await.rules().await.unwrap().rules.version(), 2, "and after a restart");
}
