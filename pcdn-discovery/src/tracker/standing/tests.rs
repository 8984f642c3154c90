use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use serde_json::Value;

use pcdn_core::id::SwarmKey;
use pcdn_core::receipt::Tally;

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
        let setup =
            Setup { key: key(200), rules: Rules::default(), auditors: BTreeSet::from([key(150).peer_id()]) };
        let standings = Standings::new(START, setup);
        let keys = (1..=count).map(key).collect();
        Self { now: START, standings: Arc::new(standings), dice: Dice::new(1), keys, session: 0 }
    }

    /// Peer `n` sits in a network of its own.
    fn announce(&self, n: usize, proven: bool) {
        let id = self.keys[n].peer_id();
        let record =
            PeerRecord { id, addrs: vec![format!("udp://10.{n}.0.1:4000").parse().unwrap()], seed: false };
        let from = SocketAddr::from(([10, n as u8, 0, 1], 4_000));
        self.announce_from(&record, from, n as u32 + 1, proven);
    }

    fn announce_from(&self, record: &PeerRecord, from: SocketAddr, network: u32, proven: bool) {
        let (network, region, swarms) = (NetworkId(network), Region(1), [InfoHash::of(&SWARM)]);
        let left = &[];
        let announced =
            Announced { record, from, swarms: &swarms, left, network, region, proven, metered: false };
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

#[test]
fn who_announces_anothers_id_moves_it_nowhere() {
    let mut world = World::new(12);
    for _ in 0..60 {
        world.minute(&[]);
    }
    let victim = world.keys[2].peer_id();
    let facts = |world: &World| world.standings.report(world.now, &victim).unwrap().facts;
    let before = facts(&world);
    assert!(before.reached && before.address_age >= Duration::from_secs(3_500), "{before:?}");
    let addrs = vec!["udp://10.99.0.1:4000".parse().unwrap()];
    let liar = PeerRecord { id: victim, addrs, seed: false };
    for _ in 0..60 {
        world.announce_from(&liar, ([10, 99, 0, 1], 4_000).into(), 99, true);
        world.minute(&[]);
    }
    let after = facts(&world);
    assert!(after.reached && after.address_age >= Duration::from_secs(7_000), "{after:?}");
    assert_eq!(after.week.0, after.week.1, "nobody was sent to the other address: {after:?}");
}

#[test]
fn who_moves_is_found_where_it_is_and_begins_anew() {
    let mut world = World::new(12);
    for _ in 0..30 {
        world.minute(&[]);
    }
    let mover = world.keys[2].peer_id();
    let addrs = vec!["udp://10.99.0.1:4000".parse().unwrap()];
    let record = PeerRecord { id: mover, addrs, seed: false };
    // Its old address is announced by its stale entry for a while and is dialled in vain.
    for _ in 0..30 {
        world.now += Duration::from_secs(60);
        (0..12).filter(|n| *n != 2).for_each(|n| world.announce(n, true));
        world.announce_from(&record, ([10, 99, 0, 1], 4_000).into(), 99, true);
        world.standings.tick(world.now, &mut world.dice);
        for key in &world.keys {
            for probe in world.standings.probes(world.now, &key.peer_id()) {
                let reached = probe.about.id != mover || probe.about.addrs == record.addrs;
                let sighting = Sighting::sign(key, probe.draw, probe.about.id, reached, 60, 1);
                assert!(world.standings.sighting(world.now, sighting));
            }
        }
    }
    let facts = world.standings.report(world.now, &mover).unwrap().facts;
    assert!(facts.reached, "{facts:?}");
    assert!(facts.address_age < Duration::from_secs(30 * 60), "{facts:?}");
}

#[test]
fn verdicts_of_trusted_auditors_count_once() {
    let world = World::new(2);
    world.announce(0, true);
    let peer = world.keys[0].peer_id();
    let verdict = |auditor: &Identity, nonce: u8, minute: u32| {
        let range = pcdn_core::range::ByteRange::new(0, 4).unwrap();
        let challenge = pcdn_core::audit::Challenge { nonce: [nonce; 16], range };
        let audit = pcdn_core::audit::Audit::of(peer, SWARM, 2 << 30, challenge, b"film");
        Verdict::sign(auditor, &audit.judge(Some(&challenge.answer(b"film"))), minute)
    };
    let minute = (world.now.0 / 60_000_000) as u32;
    let good = verdict(&key(150), 1, minute);
    let forged = Verdict { passed: false, nonce: [2; 16], ..good.clone() };
    let own = verdict(&world.keys[0], 3, minute);
    let stranger = verdict(&key(151), 4, minute);
    let old = verdict(&key(150), 5, minute - 61);
    let answers = world.standings.verdicts(world.now, &[good.clone(), good, forged, own, stranger, old]);
    use RefusedVerdict::{Replayed, Stranger, Untimely};
    let refused = [Replayed, Stranger, Stranger, Stranger, Untimely].map(Err);
    assert_eq!((answers[0], &answers[1..]), (Ok(()), &refused[..]));
    let facts = world.standings.report(world.now, &peer).unwrap().facts;
    assert_eq!((facts.proven, facts.audits), (2 << 30, (1, 1)));
}

#[test]
fn fifty_keys_of_one_rack_gain_less_than_one_honest_group() {
    // Peer 0 is signed for by fifty keys that announce from one /24, peer 1 by fifty households of their own networks.
    let mut world = World::new(102);
    let rack = |n: usize| (2..52).contains(&n);
    for n in 0..102 {
        let id = world.keys[n].peer_id();
        let (ip, network) = match n {
            n if rack(n) => ([198, 51, 100, n as u8], 7),
            n => ([10, n as u8, 0, 1], n as u32 + 100),
        };
        let record = PeerRecord { id, addrs: Vec::new(), seed: false };
        world.announce_from(&record, (ip, 4_000).into(), network, true);
    }
    world.now += Duration::from_secs(600);
    let film = 1 << 30;
    for n in 2..102 {
        let receipt = world.receipt(usize::from(!rack(n)), n, film);
        assert_eq!(world.standings.receipts(world.now, &[receipt]), [Ok(())]);
    }
    let earned = |n: usize| world.standings.earned(world.now, &world.keys[n].peer_id());
    let (rack, group) = (earned(0), earned(1));
    let (all, tenth) = (50 * film, 5 * film);
    assert_eq!((rack.bytes, rack.money, group.bytes, group.money), (all, tenth, all, all));
}

#[tokio::test]
async fn forged_doubled_and_foreign_receipts_are_refused_at_the_door() {
    let mut world = World::new(4);
    (0..3).for_each(|n| world.announce(n, true));
    world.now += Duration::from_secs(60);
    let good = world.receipt(0, 1, 1 << 20);
    let forged = Receipt { up: world.keys[2].peer_id(), ..good.clone() };
    let own = world.receipt(0, 0, 1 << 20);
    let grown = Receipt { tally: Tally { bytes: 1 << 20, pieces: 99, bad: 0 }, ..good.clone() };
    let batch: Vec<String> =
        [&good, &good, &forged, &own, &grown].map(|receipt| hex(&receipt.encode())).to_vec();
    let (status, taken) = world.call("POST", "/v1/receipts", serde_json::json!({ "receipts": batch })).await;
    assert_eq!((status, &taken["taken"]), (200, &1.into()), "{taken}");
    assert_eq!(taken["refused"].as_array().unwrap().len(), 4, "{taken}");
    let earned = world.standings.earned(world.now, &world.keys[0].peer_id());
    assert_eq!(earned.bytes, 1 << 20);
}

#[test]
fn what_is_kept_is_what_was_known_and_doubles_stay_refused() {
    let mut world = World::new(12);
    for _ in 0..30 {
        world.minute(&[3]);
    }
    let receipt = world.receipt(0, 1, 100 << 20);
    assert_eq!(world.standings.receipts(world.now, std::slice::from_ref(&receipt)), [Ok(())]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("standings.json");
    world.standings.kept().save(&path).unwrap();
    let setup = Setup { key: key(200), rules: Rules::default(), auditors: BTreeSet::new() };
    let again = Standings::restored(world.now, setup, Kept::load(&path).unwrap());
    for n in 0..12 {
        let peer = world.keys[n].peer_id();
        assert_eq!(again.report(world.now, &peer), world.standings.report(world.now, &peer));
    }
    assert_eq!(again.receipts(world.now, &[receipt]), [Err(Refused::Replayed)]);
    assert_eq!(again.entries(world.now), world.standings.entries(world.now));
    assert!(Kept::load(&dir.path().join("none")).is_ok());
    std::fs::write(&path, "{}").unwrap();
    assert!(Kept::load(&path).is_err());
}
