//! Peers that hold the content before and those that hold the new one, under one number in one swarm.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pcdn::core::fragment::{Cut, Fragmenter as _, Part};
use pcdn::core::id::{Identity, Rid};
use pcdn::core::layout::{Layout, PIECE_LOG2_MIN, SegmentId};
use pcdn::core::resource::{Resource, Url};
use pcdn::core::schedule::Policy;
use pcdn::core::unit::Time;
use pcdn::core::verify::PieceList;
use pcdn::core::verify::manifest::Draft;
use pcdn::discovery::Fixed;
use pcdn::mapping::UrlHash;
use pcdn::node::{ManifestFrom, Settings};
use pcdn::store::Memory;
use pcdn::testing::{Fault, ScriptedOrigin, content};
use pcdn::transport::memory::Hub;
use pcdn::{Node, media, store};
use tokio::time::advance;

use crate::world::*;

/// The segment that is replaced.
const LAST: u64 = SEGMENTS - 1;
const ROUNDS: u8 = 8;

fn viewer(
    hub: &Hub,
    seed: u8,
    origin: &ScriptedOrigin,
    others: &[&Node],
    signed: bool,
    kept: &Arc<Memory>,
) -> Node {
    let me = Identity::from_secret([seed; 32]);
    let builder = Node::builder(me.clone());
    let link = hub.join(me.peer_id(), builder.provider());
    let manifest = if signed { ManifestFrom::Sidecar } else { ManifestFrom::Off };
    builder
        .transport(link)
        .discovery(Fixed::new(others.iter().map(|node| node.record()).collect()))
        .mapper(UrlHash::default())
        .fragmenters(media::standard())
        .shared_store(kept.clone() as Arc<dyn store::Store>)
        .origin(origin.clone())
        .settings(Settings { manifest, policy: Policy::Cost, ..Settings::default() })
        .build()
        .unwrap()
}

/// What the publisher signs of the show; of the replaced segment the new content, if `new`.
fn manifest(new: bool) -> Bytes {
    let hls = media::Hls;
    let resource = Resource { url: playlist(), rid: Rid([0; 32]), head: None };
    let mut slicing = hls.open(&resource).unwrap();
    slicing.supply(Time::ZERO, Part::Document(playlist(), show(true).into())).unwrap();
    let names: Vec<SegmentId> = std::iter::from_fn(|| slicing.cut())
        .filter_map(|cut| match cut {
            Cut::Listed(listing) => Some(listing.id),
            _ => None,
        })
        .collect();
    let layout = Layout::of_stream(LEN as u64).unwrap();
    let which = |n: u64| if new && n == LAST { n + NEW } else { n };
    let draft = Draft {
        rule: hls.rule(),
        rid: None,
        seq: u64::from(new),
        first: SegmentId(0),
        issued_ms: u64::from(new),
        ttl_s: 0,
        piece_log2: PIECE_LOG2_MIN,
        lists: (0..SEGMENTS).map(|n| PieceList::of(&layout, &content(LEN, which(n)))).collect(),
        names,
    };
    draft.sign(&Identity::from_secret([9; 32])).into()
}

fn sidecar() -> Url {
    playlist().join("index.m3u8.pcdn").unwrap()
}

fn signed_origin() -> ScriptedOrigin {
    origin().with(&sidecar(), manifest(false))
}

/// An origin that does not have the last segment yet.
fn early_origin() -> ScriptedOrigin {
    let early = ScriptedOrigin::new().with(&sidecar(), manifest(false));
    (0..LAST).fold(early, |origin, n| origin.with(&segment(n), content(LEN, n)))
}

/// A node that plays all of the content before but the middle of the last segment, and then hears nothing of its origin any more.
async fn old_in_part(hub: &Hub, seed: u8, signed: bool) -> Node {
    let origin = early_origin();
    let old = viewer(hub, seed, &origin, &[], signed, &shelf());
    join(&old).await;
    play(&old).await;
    let _ = origin.clone().with(&segment(LAST), content(LEN, LAST)).always(Fault::StallAfter(150_000));
    let part = read(&ask(&old, LAST).await.unwrap(), 100_000).await.unwrap();
    assert!(part == content(LEN, LAST)[..100_000]);
    let _ = origin.always(Fault::Unreachable);
    old
}

/// Loads the playlist, and lets the manifest come and neighbours be met.
async fn join(node: &Node) {
    load(node, true).await;
    // Virtual time goes on by itself only when nothing else does, threads that read a manifest included.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Plays all segments before the one that is replaced.
async fn play(node: &Node) {
    for number in 0..LAST {
        assert!(!is_new(node, number).await);
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
}

/// What a player gets of the replaced segment: bytes of one content, and of both never. A transfer that breaks off is begun anew.
async fn last(node: &Node) -> bool {
    for _ in 0..2 {
        let item = ask(node, LAST).await.unwrap();
        let Some(got) = read(&item, LEN).await else { continue };
        let new = got == content(LEN, LAST + NEW);
        assert!(new || got == content(LEN, LAST), "all of one content, and nothing else");
        return new;
    }
    panic!("it broke off again");
}

async fn from_peers(node: &Node) -> u64 {
    node.swarms().await.iter().map(|swarm| swarm.report.from_peers).sum()
}

/// Two witnesses whom others have found right vouched for the content before, and a part of it was taken.
#[tokio::test(start_paused = true)]
async fn witnesses_of_the_content_before_do_not_mix_it_into_the_new_one() {
    let (mut taken, mut new) = (0, 0);
    for round in 0..ROUNDS {
        let hub = Hub::default();
        let whole = viewer(&hub, 10 * round + 1, &origin(), &[], false, &shelf());
        join(&whole).await;
        play(&whole).await;
        assert!(!last(&whole).await);
        let part = old_in_part(&hub, 10 * round + 2, false).await;
        let newer = origin();
        replace(&newer, LAST);
        let node = viewer(&hub, 10 * round + 5, &newer, &[&whole, &part], false, &shelf());
        join(&node).await;
        play(&node).await;
        new += u8::from(last(&node).await);
        taken += from_peers(&node).await;
        for node in [whole, part, node] {
            stop(node).await;
        }
    }
    assert!(taken > 0 && new > 0, "{taken} bytes of peers, {new} times the new content");
}

/// The publisher's list still names the content before, of which a peer has a part; the origin gives the rest of the new one.
#[tokio::test(start_paused = true)]
async fn what_an_old_list_proves_is_not_mixed_into_what_the_origin_gives() {
    let (mut taken, mut new) = (0, 0);
    for round in 0..ROUNDS {
        let hub = Hub::default();
        let old = old_in_part(&hub, 10 * round + 1, true).await;
        let newer = signed_origin();
        replace(&newer, LAST);
        let node = viewer(&hub, 10 * round + 5, &newer, &[&old], true, &shelf());
        join(&node).await;
        play(&node).await;
        new += u8::from(last(&node).await);
        taken += from_peers(&node).await;
        stop(old).await;
        stop(node).await;
    }
    assert!(taken > 0 && new > 0, "{taken} bytes of peers, {new} times the new content");
}

/// The same with what a store has kept. In real time, as the store's thread is.
#[tokio::test]
async fn what_an_old_list_proves_in_the_store_is_not_mixed_either() {
    let (hub, first, kept) = (Hub::default(), signed_origin(), shelf());
    let before = viewer(&hub, 1, &first, &[], true, &kept);
    load(&before, true).await;
    let _ = first.clone().always(Fault::StallAfter(150_000));
    assert!(read(&ask(&before, LAST).await.unwrap(), 100_000).await.is_some());
    is_kept(&kept, 90_000).await;
    stop(before).await;
    let _ = first.clone().always(Fault::None);
    replace(&first, LAST);
    let after = viewer(&hub, 2, &first, &[], true, &kept);
    load(&after, true).await;
    assert!(last(&after).await);
    stop(after).await;
    // And what was kept of it by then is of the new one alone.
    let again = viewer(&hub, 3, &first, &[], true, &kept);
    load(&again, true).await;
    assert!(last(&again).await);
}

/// A publisher who replaces a film on demand signs it anew: whoever comes later than a minute gets that one.
#[tokio::test(start_paused = true)]
async fn a_new_manifest_shows_to_the_next_viewer() {
    let (hub, origin) = (Hub::default(), signed_origin());
    let node = viewer(&hub, 1, &origin, &[], true, &shelf());
    join(&node).await;
    assert!(!last(&node).await);
    replace(&origin, LAST);
    let _ = origin.clone().with(&sidecar(), manifest(true));
    advance(Duration::from_secs(61)).await;
    join(&node).await;
    assert!(last(&node).await);
}
