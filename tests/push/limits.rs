//! What peers lend, what is dropped, and what is refused.

use std::time::{Duration, Instant};

use pcdn::core::id::Identity;
use pcdn::core::unit::{ByteSize, Rate};
use pcdn::push::api::{PushBody, StatusBody};
use pcdn::push::{CallError, PushNodeError};
use serde_json::Value;

use super::world::{FILM, PATIENCE, World, proven};

#[tokio::test(flavor = "multi_thread")]
async fn peers_lend_no_more_room_and_no_more_of_their_line_than_they_say() {
    let mut world = World::new(&["one", "two", "three"]).await;
    // Room for one film and a half; a quarter of a film a second.
    let rate = Rate(FILM as u64 / 4);
    world.peer(|lends| (lends.disk, lends.rate) = (ByteSize(FILM as u64 * 3 / 2), rate)).await;
    world.peer(|lends| lends.disk = ByteSize(FILM as u64 - 1)).await;
    let begun = Instant::now();
    let jobs = ["one", "two"].map(|film| world.order(film, 2));
    let one = world.push.push(&jobs[0]).await.unwrap();
    let two = world.push.push(&jobs[1]).await.unwrap();
    world.wait(one, |status| proven(status) == 1).await;
    assert!(
        begun.elapsed() >= Duration::from_millis(3_500),
        "a film took {:?} at four seconds' rate",
        begun.elapsed()
    );
    assert_eq!(world.status(two).holders.len(), 0, "there is no room for a second");
    let held: Vec<usize> = world.peers.iter().map(|(holder, _)| holder.held().len()).collect();
    assert_eq!(held, [1, 0]);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_watched_fetches_at_a_tenth() {
    let mut world = World::new(&["watched", "pushed"]).await;
    let node = world.peer(|lends| lends.rate = Rate(FILM as u64)).await;
    let asset = node.open(&world.url("watched")).await.unwrap();
    let mut player = asset.read(0..asset.len());
    player.next().await.unwrap().unwrap();
    let mut idle = world.peers[0].0.idle();
    tokio::time::timeout(PATIENCE, idle.wait_for(|idle| !idle)).await.unwrap().unwrap();
    let begun = Instant::now();
    let job = world.push.push(&world.order("pushed", 1)).await.unwrap();
    world.wait(job, |status| status.holders.iter().any(|holder| holder.held > FILM as u64 / 4)).await;
    assert!(begun.elapsed() >= Duration::from_secs(2), "a quarter of a film within {:?}", begun.elapsed());
    let whole: usize = {
        let mut sum = 0;
        while let Some(chunk) = player.next().await {
            sum += chunk.unwrap().len();
        }
        sum
    };
    assert!(whole > FILM / 2, "the player goes on");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cancelled_is_dropped_unless_its_owner_wants_it() {
    let mut world = World::new(&["pushed"]).await;
    let owner = world.peer(|_| {}).await;
    let other = world.peer(|_| {}).await;
    let asset = owner.open(&world.url("pushed")).await.unwrap();
    let job = world.push.push(&world.order("pushed", 2)).await.unwrap();
    world.wait(job, |status| proven(status) == 2).await;
    let cancelled: StatusBody = world.call.delete(&format!("/v1/pushes/{}", job.0)).await.unwrap();
    assert!(cancelled.cancelled && cancelled.over);
    world.wait(job, |status| status.holders.is_empty()).await;
    for (holder, _) in &world.peers {
        let mut holds = holder.holds();
        tokio::time::timeout(PATIENCE, holds.wait_for(|held| held.is_empty())).await.unwrap().unwrap();
    }
    assert!(other.swarms().await.is_empty(), "nobody else wanted it");
    assert_eq!(owner.swarms().await.len(), 1, "its owner had opened it before");
    assert_eq!(asset.report().await.pieces.0, asset.report().await.pieces.1);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_and_calls_against_the_rules_are_refused() {
    let mut world = World::new(&["pushed"]).await;
    let mars = PushBody { regions: vec!["mars".into()], ..world.order("pushed", 1) };
    assert!(matches!(world.push.push(&mars).await, Err(PushNodeError::Region(_))));
    let missing = world.push.push(&world.order("missing", 1)).await;
    assert!(matches!(missing, Err(PushNodeError::Content { .. })), "{missing:?}");
    let there = PushBody { regions: vec!["there".into()], ..world.order("pushed", 1) };
    let there = world.push.push(&there).await.unwrap();
    world.peer(|_| {}).await;
    let here = PushBody { regions: vec!["here".into()], ..world.order("pushed", 1) };
    let here = world.push.push(&here).await.unwrap();
    let status = world.wait(here, |status| proven(status) == 1).await;
    assert_eq!(status.regions[0].region.as_deref(), Some("here"));
    assert!(world.status(there).holders.is_empty(), "nobody is there");

    let offer = serde_json::json!({ "node": Identity::from_secret([1; 32]).peer_id(), "time": 0, "free": 1, "spare": 1, "idle": true, "busy": false });
    let unsigned = world.call.post::<Value>("/v1/leases", &offer).await;
    assert!(matches!(unsigned, Err(CallError::Refused { status: 401, .. })), "{unsigned:?}");
    let unknown = world.call.get::<Value>("/v1/pushes/99").await;
    assert!(matches!(unknown, Err(CallError::Refused { status: 404, .. })));
    let wrong = world.call.post::<Value>("/v1/pushes", &serde_json::json!({ "urls": [] })).await;
    assert!(matches!(wrong, Err(CallError::Refused { status: 400, .. })));
    let page = reqwest::Client::builder().no_proxy().build().unwrap();
    let rebound = page.get(world.at.clone()).header("Host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), 421);
    let foreign = page.post(format!("{}v1/pushes", world.at)).header("Origin", "http://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let document: Value = world.call.get("/v1/openapi.json").await.unwrap();
    assert!(
        ["/v1/pushes", "/v1/pushes/{id}", "/v1/leases", "/v1/leases/{id}"]
            .iter()
            .all(|path| document["paths"][path].is_object())
    );
    world.stop().await;
}
