use super::fate::{REDIAL, REDIALS};
use super::hearsay::SUBNET_MAX;
use super::order::{Here, Nearness};
use super::*;
use crate::id::{Identity, SwarmKey};
use crate::peer::{Facts, PeerAddr, PeerRecord, SignedRecord};
use proptest::prelude::*;
use std::net::IpAddr;

const SWARM: SwarmKey = SwarmKey([1; 32]);

fn me() -> PeerId {
    Identity::from_secret([255; 32]).peer_id()
}

fn book() -> Acquaintances {
    Acquaintances::new(me(), 1_000, Dice::new(1))
}

fn key(n: u32) -> Identity {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&n.to_be_bytes());
    Identity::from_secret(secret)
}

fn signed(n: u32, addr: &str, seq: u64) -> SignedRecord {
    let addrs = vec![addr.parse().unwrap()];
    let facts = Facts { id: key(n).peer_id(), seq, lifetime_s: 1_800, flags: 0, nat: 0, up: 0, addrs };
    facts.sign(&key(n), &SWARM).unwrap()
}

/// Peer `n`, alone in its /24 and nearly alone in its /16.
fn record(n: u32) -> SignedRecord {
    signed(n, &format!("udp://{}.{}.{}.1:4000", 20 + n % 90, n / 90 % 200, n / 18_000), 1)
}

fn found(n: u32) -> PeerRecord {
    PeerRecord { id: key(n).peer_id(), addrs: record(n).facts().addrs.clone(), seed: false }
}

fn teller(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn told(book: &mut Acquaintances, by: u8, peers: impl IntoIterator<Item = u32>) {
    for n in peers {
        book.told(Time::ZERO, 1, teller(by), Reach::World, record(n));
    }
}

fn slots(wanted: usize) -> Slots {
    Slots { linked: 0, wanted, most: 50 }
}

fn dial(book: &mut Acquaintances, now: Time, wanted: usize) -> Vec<PeerId> {
    book.dial(now, slots(wanted), &Here::default()).into_iter().map(|record| record.id).collect()
}

/// Dials until nobody is left and lets `there` answer.
fn try_all(book: &mut Acquaintances, now: Time, there: impl Fn(&PeerId) -> bool) {
    loop {
        let dialled = dial(book, now, 50);
        if dialled.is_empty() {
            return;
        }
        for peer in dialled {
            if there(&peer) { book.reached(now, &peer) } else { book.not_reached(now, &peer) }
        }
    }
}

/// `by` has told of a peer that was there.
fn trust(book: &mut Acquaintances, by: u8) {
    let n = 5_000 + u32::from(by);
    told(book, by, [n]);
    let dialled = book.dial(Time::ZERO, slots(30), &Here::default());
    assert_eq!(dialled.iter().map(|record| record.id).collect::<Vec<_>>(), [key(n).peer_id()]);
    book.reached(Time::ZERO, &key(n).peer_id());
}

#[test]
fn a_teller_is_believed_once_one_of_its_peers_was_there() {
    let mut book = book();
    told(&mut book, 1, 0..20);
    assert_eq!(book.len(), 0);
    let [first] = dial(&mut book, Time::ZERO, 8)[..] else { panic!("one on trial") };
    book.reached(Time::ZERO, &first);
    assert_eq!(book.len(), 1 + 2);
    try_all(&mut book, Time::ZERO, |_| true);
    assert_eq!(book.len(), 20);
}

#[test]
fn who_tells_of_nobody_that_is_there_fills_nothing() {
    let mut book = book();
    for by in 0..6 {
        told(&mut book, by, (0..20).map(|n| 1_000 + 100 * u32::from(by) + n));
    }
    told(&mut book, 9, 0..20);
    let honest: Vec<PeerId> = (0..20).map(|n| key(n).peer_id()).collect();
    try_all(&mut book, Time::ZERO, |peer| honest.contains(peer));
    assert_eq!(book.ids().filter(|id| !honest.contains(id)).count(), 0);
    assert_eq!(book.len(), 20);
    // A later chance is worth one dial, not the rest of its line.
    assert_eq!(dial(&mut book, Time::from_secs(59), 50), []);
    assert_eq!(dial(&mut book, Time::from_secs(60), 50).len(), 6);
}

/// With all places taken a node still learns what its neighbours' words are worth.
#[test]
fn trials_go_on_in_passing_when_no_place_is_free() {
    let mut book = book();
    (0..20).for_each(|by| told(&mut book, by, [u32::from(by)]));
    let slots = Slots { linked: 50, wanted: 30, most: 50 };
    for round in 0..20 {
        let now = Time::ZERO + TRIAL_EVERY * round;
        assert!(book.may_dial(now, slots));
        let [one] = &book.dial(now, slots, &Here::default())[..] else { panic!("one at a time") };
        assert!(!book.get(&one.id).unwrap().is_to_stay());
        book.reached(now, &one.id);
        book.left(now, &one.id);
        let soon = now + TRIAL_EVERY - Duration::from_secs(1);
        assert!(book.dial(soon, slots, &Here::default()).is_empty());
    }
    assert_eq!(book.len(), 20);
    assert!(!book.may_dial(Time::from_secs(3_600), slots), "nobody is left to be tried");
}

#[test]
fn who_told_of_a_peer_before_it_came_by_itself_was_right() {
    let mut book = book();
    told(&mut book, 1, 0..6);
    book.met(Time::ZERO, key(0).peer_id(), Vec::new());
    assert_eq!(book.len(), 1 + 2);
}

#[test]
fn who_is_mostly_wrong_is_muted_for_half_an_hour() {
    let mut book = book();
    // Right at first, so that it is believed; then all are inventions.
    told(&mut book, 1, 0..4);
    try_all(&mut book, Time::ZERO, |_| true);
    told(&mut book, 1, 100..130);
    let mut now = Time::ZERO;
    for _ in 0..10 {
        try_all(&mut book, now, |_| false);
        now += Duration::from_secs(1_000);
        if book.is_muted(now, &teller(1)) {
            break;
        }
    }
    assert!(book.is_muted(now, &teller(1)));
    book.mute(now, teller(1));
    told(&mut book, 1, 200..210);
    assert_eq!((book.len(), dial(&mut book, now, 50).len()), (4, 0));
    assert!(book.is_muted(now + Duration::from_secs(1_799), &teller(1)));
    assert!(!book.is_muted(now + Duration::from_secs(1_800), &teller(1)));
}

#[test]
fn a_muted_teller_takes_its_inventions_along_and_not_what_others_say_too() {
    let mut book = book();
    trust(&mut book, 1);
    told(&mut book, 1, 0..2);
    told(&mut book, 2, 0..1);
    book.mute(Time::ZERO, teller(1));
    assert!(book.get(&key(0).peer_id()).is_some() && book.get(&key(1).peer_id()).is_none());
}

#[test]
fn one_subnet_and_one_network_have_their_share_at_most() {
    let tell = |book: &mut Acquaintances, records: &[SignedRecord]| {
        for by in 0..30 {
            records
                .iter()
                .for_each(|record| book.told(Time::ZERO, 1, teller(by), Reach::World, record.clone()));
        }
    };
    let mut book = book();
    (0..30).for_each(|by| trust(&mut book, by));
    let before = book.len();
    let subnet: Vec<_> = (1..40).map(|n| signed(n, &format!("udp://198.51.100.{n}:4000"), 1)).collect();
    tell(&mut book, &subnet);
    assert_eq!(book.len() - before, SUBNET_MAX);
    let before = book.len();
    let network: Vec<_> = (0..45).map(|n| signed(100 + n, &format!("udp://203.0.{n}.1:4000"), 1)).collect();
    tell(&mut book, &network);
    let share = (book.len() - before) as f64 / book.len() as f64;
    assert!(share > 0.2 && share <= 0.26, "{share}");
}

#[test]
fn peers_of_the_own_private_network_are_no_crowd() {
    let mut book = book();
    (0..30).for_each(|by| trust(&mut book, by));
    for n in 1..40 {
        let record = signed(n, &format!("udp://192.168.0.{n}:4000"), 1);
        book.told(Time::ZERO, 1, teller(n as u8 % 30), Reach::Site, record);
    }
    assert_eq!(book.len(), 30 + 39);
}

/// A far teller shall not make a node knock at doors inside its own network.
#[test]
fn private_addresses_are_believed_from_the_same_network_only() {
    let (lan, own) = (signed(1, "udp://192.168.0.1:4000", 1), signed(2, "udp://127.0.0.1:4000", 1));
    for (near, lan_counts, own_counts) in
        [(Reach::World, false, false), (Reach::Site, true, false), (Reach::Machine, true, true)]
    {
        let mut book = book();
        trust(&mut book, 1);
        book.told(Time::ZERO, 1, teller(1), near, lan.clone());
        book.told(Time::ZERO, 1, teller(1), near, own.clone());
        let has = |n| book.get(&key(n).peer_id()).is_some();
        assert_eq!((has(1), has(2)), (lan_counts, own_counts), "{near:?}");
    }
}

#[test]
fn what_has_ended_or_is_older_than_known_is_not_believed() {
    let mut book = book();
    let hour = 3_600_000;
    trust(&mut book, 1);
    book.told(Time::ZERO, hour, teller(1), Reach::World, record(1));
    assert_eq!(book.len(), 1);
    let at = |n: u8, seq| signed(2, &format!("udp://192.0.2.{n}:4000"), seq);
    book.told(Time::ZERO, 10, teller(1), Reach::World, at(1, 10));
    book.told(Time::ZERO, 10, teller(1), Reach::World, at(2, 9));
    book.told(Time::ZERO, 10, teller(2), Reach::World, at(3, 11));
    let dialled = book.dial(Time::ZERO, slots(8), &Here::default());
    assert_eq!(dialled[0].addrs, ["udp://192.0.2.3:4000".parse().unwrap()]);
    book.not_reached(Time::ZERO, &key(2).peer_id());
    book.found(Time::ZERO, found(3));
    book.sweep(Time::ZERO, hour);
    assert_eq!(book.len(), 2, "what discovery found does not end, nor what was there");
}

#[test]
fn the_dropped_are_forgotten_unless_others_know_them() {
    let mut book = book();
    trust(&mut book, 1);
    told(&mut book, 1, 0..2);
    told(&mut book, 2, 0..1);
    book.untold(teller(1), &[key(0).peer_id(), key(1).peer_id()]);
    assert!(book.get(&key(0).peer_id()).is_some() && book.get(&key(1).peer_id()).is_none());
}

#[test]
fn every_new_teller_is_tried_first() {
    let mut book = book();
    trust(&mut book, 1);
    told(&mut book, 1, 0..20);
    let new: Vec<PeerId> = (2..6).map(|by| key(100 * by).peer_id()).collect();
    (2..6).for_each(|by| told(&mut book, by as u8, [100 * by]));
    // One of the five places is kept for discovery; whoever is dialled beyond them is tried in passing.
    let mut first = dial(&mut book, Time::ZERO, 5);
    first.retain(|peer| book.get(peer).unwrap().is_to_stay());
    first.sort();
    let mut want = new.clone();
    want.sort();
    assert_eq!(first, want);
}

/// While others have somebody to offer.
#[test]
fn no_teller_has_more_than_a_third_of_the_dials() {
    let mut book = book();
    (1..4).for_each(|by| trust(&mut book, by));
    (0..40).for_each(|n| told(&mut book, 1, [n]));
    (1_000..1_020).for_each(|n| told(&mut book, 2, [n]));
    (2_000..2_020).for_each(|n| told(&mut book, 3, [n]));
    let mut by_one = 0;
    for _ in 0..3 {
        for peer in dial(&mut book, Time::ZERO, 8) {
            by_one += usize::from((0..40).any(|n| key(n).peer_id() == peer));
            book.reached(Time::ZERO, &peer);
        }
    }
    assert!((4..=9).contains(&by_one), "{by_one} of 18");
}

#[test]
fn places_are_kept_for_whom_discovery_finds() {
    let mut book = book();
    (0..40).for_each(|n| told(&mut book, n as u8, [n]));
    // Those that nobody chose are the others.
    let mut linked = 0;
    loop {
        let slots = Slots { linked, wanted: 30, most: 50 };
        let dialled = book.dial(Time::ZERO, slots, &Here::default());
        if dialled.is_empty() {
            break;
        }
        for record in dialled {
            linked += usize::from(book.get(&record.id).unwrap().is_to_stay());
            book.reached(Time::ZERO, &record.id);
        }
    }
    assert_eq!(linked, 26);
    assert_eq!(book.reserved(30), 0, "nobody to keep a place for");
    (200..210).for_each(|n| book.found(Time::ZERO, found(n)));
    assert_eq!(book.reserved(30), 4);
    let slots = Slots { linked: 45, wanted: 30, most: 50 };
    assert!(book.may_dial(Time::ZERO, slots));
    let dialled = book.dial(Time::ZERO, slots, &Here::default());
    assert_eq!(dialled.len(), 4);
    dialled.iter().for_each(|record| book.reached(Time::ZERO, &record.id));
    assert_eq!(book.reserved(30), 0);
}

#[test]
fn the_near_come_first_and_two_are_drawn_evenly() {
    let addr = |text: &str| text.parse::<PeerAddr>().unwrap();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let here = Here {
        ips: vec![ip("198.51.100.7")],
        rtts: [("203.0.113.1", 3), ("192.0.2.1", 200), ("198.51.7.7", 9)]
            .map(|(at, ms)| (Prefix::network(ip(at)), Duration::from_millis(ms)))
            .into(),
    };
    let order = [
        "udp://192.168.0.3:4000",
        "udp://198.51.7.7:4000",
        "udp://203.0.113.9:4000",
        "udp://20.0.0.1:4000",
        "udp://192.0.2.9:4000",
    ];
    let near: Vec<Nearness> = order.iter().map(|text| here.nearness(&addr(text))).collect();
    assert!(near.is_sorted(), "{near:?}");
    assert_eq!(here.nearness(&addr("udp://198.51.100.7:9000")), Nearness::Lan, "behind the same NAT");

    let mut book = book();
    for (n, text) in (0..).zip(order) {
        book.found(Time::ZERO, PeerRecord { id: key(n).peer_id(), addrs: vec![addr(text)], seed: false });
    }
    // Reserve::of(8): nobody is drawn.
    let dialled = book.dial(Time::ZERO, slots(8), &here);
    let ids: Vec<PeerId> = (0..5).map(|n| key(n).peer_id()).collect();
    assert_eq!(dialled.iter().map(|record| record.id).collect::<Vec<_>>(), ids);
}

/// Not the same order for everybody: else a few would be dialled by all.
#[test]
fn equals_are_ordered_otherwise_by_each_node() {
    let order = |seed| {
        let mut book = Acquaintances::new(me(), 1_000, Dice::new(seed));
        (0..8).for_each(|n| book.found(Time::ZERO, found(n)));
        dial(&mut book, Time::ZERO, 8)
    };
    assert_eq!(order(1), order(1));
    assert_ne!(order(1), order(2));
}

#[test]
fn who_is_not_reached_is_tried_later_and_at_last_forgotten() {
    let mut book = book();
    book.found(Time::ZERO, found(1));
    let mut now = Time::ZERO;
    for _ in 0..=REDIALS {
        assert_eq!(dial(&mut book, now, 8), [key(1).peer_id()]);
        assert!(dial(&mut book, now, 8).is_empty());
        book.not_reached(now, &key(1).peer_id());
        assert!(dial(&mut book, now + REDIAL, 8).is_empty());
        now += Duration::from_secs(400);
    }
    assert_eq!(book.len(), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Told(u8, u32),
    Untold(u8, u32),
    Found(u32),
    Reached(u32),
    NotReached(u32),
    Left(u32),
    Dial(usize),
    Mute(u8),
    Sweep,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (by, peer) = (0u8..6, 0u32..60);
    let step = prop_oneof![
        6 => (by.clone(), peer.clone()).prop_map(|(by, n)| Step::Told(by, n)),
        1 => (by.clone(), peer.clone()).prop_map(|(by, n)| Step::Untold(by, n)),
        1 => peer.clone().prop_map(Step::Found),
        2 => peer.clone().prop_map(Step::Reached),
        2 => peer.clone().prop_map(Step::NotReached),
        1 => peer.prop_map(Step::Left),
        2 => (0usize..40).prop_map(Step::Dial),
        1 => by.prop_map(Step::Mute),
        1 => Just(Step::Sweep),
    ];
    proptest::collection::vec(step, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens in whatever order: books and bounds are kept.
    #[test]
    fn the_books_agree_with_what_is_there(steps in steps()) {
        // Signing is slow; the peers are the same in every case.
        static RECORDS: std::sync::LazyLock<Vec<SignedRecord>> =
            std::sync::LazyLock::new(|| (0..60).map(record).collect());
        let mut book = Acquaintances::new(me(), 20, Dice::new(1));
        let mut now = Time::ZERO;
        for step in steps {
            now += Duration::from_secs(7);
            let id = |n: u32| RECORDS[n as usize].id();
            match step {
                Step::Told(by, n) => {
                    book.told(now, 1, teller(by), Reach::World, RECORDS[n as usize].clone());
                }
                Step::Untold(by, n) => book.untold(teller(by), &[id(n)]),
                Step::Found(n) => {
                    let addrs = RECORDS[n as usize].facts().addrs.clone();
                    book.found(now, PeerRecord { id: id(n), addrs, seed: false });
                }
                Step::Reached(n) => book.reached(now, &id(n)),
                Step::NotReached(n) => book.not_reached(now, &id(n)),
                Step::Left(n) => book.left(now, &id(n)),
                Step::Dial(wanted) => prop_assert!(dial(&mut book, now, wanted).len() <= DIALS),
                Step::Mute(by) => book.mute(now, teller(by)),
                Step::Sweep => book.sweep(now, 1),
            }
            let heard = book.peers.values().filter(|known| !known.proven);
            let in_world: usize = book.networks.values().sum();
            prop_assert_eq!(book.heard, heard.clone().count());
            prop_assert!(book.heard <= 20);
            prop_assert_eq!(in_world, heard.filter(|known| known.home().is_some()).count());
            prop_assert_eq!(in_world, book.subnets.values().sum::<usize>());
            for (by, ledger) in &book.tellers {
                let kept = book.peers.values().filter(|known| known.charged == Some(*by)).count();
                prop_assert_eq!(ledger.kept, kept);
                prop_assert!(kept <= 20 / 5, "{kept} of one teller");
                prop_assert!(ledger.waiting.len() <= teller::WAITING_MAX);
            }
        }
    }
}
