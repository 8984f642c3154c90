//! A tracker that names no auditor: those who watch the same films are drawn to ask the one who gives them what it holds.

use std::time::Instant;

use pcdn::core::superpeer::{Gate, Rules};

use super::world::{FILM, FILMS, World, rules};

/// Who watches: each in a subnet of its own, and one more than must hold a content before it is audited.
const WATCHERS: u8 = 11;

/// Two films must be proven, in so many audits that one by mistake is none.
fn audited() -> Rules {
    Rules { stake: None, proven: 2 * FILM as u64, audits: 10, ..rules() }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_the_same_promotes_who_gives_and_demotes_it_when_it_holds_nothing_any_more() {
    let mut world = World::of(audited(), false).await;
    let giver = world.giver(2).await;
    let mut films = Vec::new();
    for film in FILMS {
        let asset = giver.open(&world.url(film)).await.unwrap();
        asset.complete().await.unwrap();
        films.push(asset.swarm());
    }
    let mut watchers = Vec::new();
    for n in 0..WATCHERS {
        watchers.push(world.viewer(10 + n).await);
    }
    for film in FILMS {
        let whole = |watcher: pcdn::Node| {
            let url = world.url(film);
            async move { watcher.open(&url).await.unwrap().complete().await.unwrap() }
        };
        futures_util::future::join_all(watchers.iter().cloned().map(whole)).await;
    }
    let begun = Instant::now();
    world.wait(&[giver.peer_id()], giver.peer_id()).await;
    let rose = world.standing(giver.peer_id()).await.unwrap();
    println!("promoted after {:?}: {:?}", begun.elapsed(), rose.facts);
    assert!(rose.facts.audits.0 >= 10 && rose.facts.proven >= audited().proven, "{rose:?}");
    let idle = world.standing(watchers[0].peer_id()).await.unwrap();
    assert!(idle.judgement.shut.contains(&Gate::Upload) && idle.facts.audits.0 == 0, "{idle:?}");

    // It leaves all swarms, so it is proven to hold nothing any more.
    for swarm in &films {
        assert!(giver.forget(swarm).await);
    }
    let begun = Instant::now();
    world.wait(&[], giver.peer_id()).await;
    let fell = world.standing(giver.peer_id()).await.unwrap();
    println!("demoted after {:?}: {:?}", begun.elapsed(), fell.facts);
    assert!(
        fell.judgement.shut.contains(&Gate::Storage) && fell.facts.audits.0 == fell.facts.audits.1,
        "{fell:?}"
    );
    world.stop().await;
}
