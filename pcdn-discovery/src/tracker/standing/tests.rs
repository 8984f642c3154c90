use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use pcdn_core::receipt::Tally;
use pcdn_core::superpeer::Standing;
use serde_json::Value;

use super::http::{self, hex};
use super::*;

const DAY: u64 = 24 * 3_600;
const START: Time = Time::from_secs(20_000 * DAY);
const SWARM: SwarmKey = SwarmKey([4; 32]);

fn key(n: u8) -> Identity {
    Identity::from_secret([n; 32])
}

/// A tracker's standings, and peers that announce, dial and sign, in virtual time.
struct World {
    now: Time,
    standings: Arc<Standings>,
    dice: Dice,
    keys: Vec<Identity>,
    session: u64,
}

impl World {
    fn new(count: u8) -> Self {
        let standings = Standings::new(START, key(200), Rules::default());
        let keys = (1..=count).map(key).collect();
        Self { now: START, standings: Arc::new(standings), dice: Dice::new(1), keys, session: 0 }
    }

    /// Peer `n` sits in a network of its own.
    fn announce(&self, n: usize, proven: bool) {
        let id = self.keys[n].peer_id();
        let record =
            PeerRecord { id, addrs: vec![format!("udp://10.{n}.0.1:4000").parse().unwrap()], seed: false };
        let from = SocketAddr::from(([10, n as u8, 0, 1], 4_000));
        let (network, region) = (NetworkId(n as u32 + 1), Region(1));
        let announced = Announced { record: &record, from, swarm: SWARM, network, region, proven };
        self.standings.seen(self.now, &announced);
    }

    fn receipt(&mut self, up: usize, down: usize, bytes: u64) -> Receipt {
        self.session += 1;
        let mut session = [0; 16];
        session[..8].copy_from_slice(&self.session.to_be_bytes());
        let tally = Tally { bytes, pieces: bytes.div_ceil(1 << 16) as u32, bad: 0 };
        let minute = (self.now.0 / 60_000_000) as u32;
        Receipt::sign(&self.keys[down], session, self.keys[up].peer_id(), SWARM, minute, tally)
    }

    /// Everyone announces, answers its probes, and reaches all but those in `dark`.
    fn minute(&mut self, dark: &[usize]) {
        self.now += Duration::from_secs(60);
        (0..self.keys.len()).for_each(|n| self.announce(n, true));
        self.standings.tick(self.now, &mut self.dice);
        for key in &self.keys {
            for probe in self.standings.probes(self.now, &key.peer_id()) {
                let reached = dark.iter().all(|n| self.keys[*n].peer_id() != probe.about.id);
                let sighting = Sighting::sign(key, probe.draw, probe.about.id, reached, 60, 1);
                assert!(self.standings.sighting(self.now, sighting));
            }
        }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let clock = || START + Duration::from_secs(60);
        let parts =
            [http::writing, http::asking, http::reading].map(|part| part(self.standings.clone(), clock));
        let router = parts.into_iter().fold(axum::Router::new(), axum::Router::merge);
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = TowerToHyperService::new(router).call(request).await.unwrap();
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }
}

#[test]
fn announced_downloaders_signatures_count_and_others_do_not() {
    let mut world = World::new(4);
    (0..3).for_each(|n| world.announce(n, true));
    world.now += Duration::from_secs(60);
    let film = 100 << 20;
    let known = world.receipt(0, 1, film);
    let stranger = world.receipt(0, 3, film);
    let forged = Receipt { signature: [0; 64], ..world.receipt(0, 2, film) };
    let answers = world.standings.receipts(world.now, &[known.clone(), known, stranger, forged]);
    assert_eq!(answers, [Ok(()), Err(Refused::Replayed), Ok(()), Err(Refused::Forged)]);
    let earned = world.standings.earned(world.now, &world.keys[0].peer_id());
    assert_eq!(earned.bytes, film, "who never announced could have consumed nothing");
    let entries = world.standings.entries(world.now);
    assert_eq!((entries.len(), entries[0].peer, entries[0].credit), (1, world.keys[0].peer_id(), film / 50));
}

#[test]
fn witnesses_are_drawn_and_what_they_see_is_held_for_and_against_a_peer() {
    let mut world = World::new(12);
    let about = |world: &World, n: usize| {
        let inner = world.standings.inner();
        inner.superpeers.judgement(world.now, &world.keys[n].peer_id()).unwrap().0
    };
    for _ in 0..30 {
        world.minute(&[3]);
    }
    let (good, dark) = (about(&world, 2), about(&world, 3));
    assert!(good.reached && good.week.0 >= 5 && good.week.0 == good.week.1, "{good:?}");
    assert!(!dark.reached && dark.week.0 >= 5 && dark.week.1 == 0, "{dark:?}");
    assert_eq!(good.latency_ms, 60);
    assert_eq!(world.standings.share(world.now, &world.keys[2].peer_id()), 0.0, "a day is needed");
    assert!(world.standings.statuses(world.now).is_empty());
}

#[test]
fn nobody_reports_on_a_draw_that_is_not_its_own() {
    let mut world = World::new(8);
    (0..8).for_each(|n| world.announce(n, true));
    world.standings.tick(world.now, &mut world.dice);
    let (drawn, probe) = world
        .keys
        .iter()
        .find_map(|key| Some((key, world.standings.probes(world.now, &key.peer_id()).pop()?)))
        .unwrap();
    assert_ne!(probe.about.id, drawn.peer_id(), "nobody dials itself");
    let itself = world.keys.iter().find(|key| key.peer_id() == probe.about.id).unwrap();
    let praise = Sighting::sign(itself, probe.draw, probe.about.id, true, 1, 0);
    assert!(!world.standings.sighting(world.now, praise));
    assert!(
        world.standings.sighting(world.now, Sighting::sign(drawn, probe.draw, probe.about.id, true, 1, 0))
    );
}

#[test]
fn who_leaves_is_forgotten() {
    let world = World::new(2);
    world.announce(0, true);
    let later = world.now + Duration::from_secs(FORGOTTEN_S + 60);
    world.standings.tick(later, &mut Dice::new(1));
    assert!(world.standings.inner().peers.is_empty() && world.standings.inner().order.is_empty());
}

#[test]
fn a_status_is_signed_for_superpeers_only() {
    let world = World::new(1);
    world.announce(0, true);
    assert!(world.standings.status(world.now, &world.keys[0].peer_id()).is_none());
    assert_eq!(world.standings.inner().superpeers.standing(&PeerId([9; 32])), Standing::Ordinary);
    let status = world.standings.inner().status(world.now, world.keys[0].peer_id());
    assert!(status.holds(&world.standings.tracker(), world.now.0 / 1_000));
}

#[tokio::test]
async fn the_calls_take_hex_in_bounded_batches() {
    let mut world = World::new(3);
    (0..3).for_each(|n| world.announce(n, true));
    world.now += Duration::from_secs(60);
    let receipt = hex(&world.receipt(0, 1, 1 << 20).encode());
    let post = |receipts: Vec<String>| serde_json::json!({ "receipts": receipts });
    let (status, taken) =
        world.call("POST", "/v1/receipts", post(vec![receipt.clone(), receipt.clone()])).await;
    assert_eq!(
        (status, &taken["taken"], &taken["refused"][0]),
        (200, &1.into(), &"nothing new in it".into())
    );
    for bad in [vec!["xyz".to_owned()], vec![receipt[2..].to_owned()], vec![receipt; 65]] {
        assert_eq!(world.call("POST", "/v1/receipts", post(bad)).await.0, 400);
    }
    let (_, earned) = world.call("GET", "/v1/earned", Value::Null).await;
    assert_eq!(earned[0]["bytes"], 1 << 20);
    let (_, superpeers) = world.call("GET", "/v1/superpeers", Value::Null).await;
    assert_eq!(superpeers["tracker"], world.standings.tracker().to_string());
    let peer = format!("/v1/probes?peer={}", world.keys[0].peer_id());
    let (status, probes) = world.call("GET", &peer, Value::Null).await;
    assert_eq!((status, probes["probes"].as_array().map(Vec::len)), (200, Some(0)));
    assert_eq!(world.call("GET", "/v1/probes", Value::Null).await.0, 400);
}
