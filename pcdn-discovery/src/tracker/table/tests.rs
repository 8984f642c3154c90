use std::collections::{HashMap, HashSet};

use pcdn_core::peer::Scheme;

use super::*;
use crate::tracker::wire::{Ports, Progress};

const KEY: SwarmKey = SwarmKey([7; 32]);

fn announce(id: u32) -> Announce {
    let mut ports = Ports::default();
    ports.push(Scheme::Udp, 4000);
    let (seed, event, progress) = (false, Event::None, None);
    Announce { swarm: KEY, peer: peer(id), ports, seed, event, progress, want: 25, traits: Traits::default() }
}

fn seed(id: u32) -> Announce {
    Announce { seed: true, ..announce(id) }
}

fn peer(id: u32) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&id.to_be_bytes());
    PeerId(bytes)
}

fn find() -> Find {
    Find { swarm: KEY, asker: None, seed: false, want: 25, traits: Traits::default(), rich: false }
}

/// The `n`th address of the world, each in a network of its own.
fn ip(n: u32) -> IpAddr {
    IpAddr::from([20 + (n >> 16) as u8, (n >> 8) as u8, n as u8, 1])
}

struct World {
    table: Table,
    dice: Dice,
    now: Time,
}

impl World {
    fn new(limits: Limits) -> Self {
        Self { table: Table::new(limits), dice: Dice::new(1), now: Time::ZERO }
    }
    fn announce(&mut self, from: IpAddr, it: &Announce) -> Result<Handout, Refusal> {
        self.table.announce(self.now, &mut self.dice, from, it)
    }
    fn find(&mut self, from: IpAddr, it: &Find) -> Vec<Listed> {
        self.table.find(self.now, &mut self.dice, from, it).unwrap().peers
    }
    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

fn world() -> World {
    World::new(Limits::default())
}

#[test]
fn peers_find_each_other_but_never_themselves() {
    let mut world = world();
    for n in 0..20 {
        let peers = world.announce(ip(n), &announce(n)).unwrap().peers;
        assert_eq!(peers.len(), n as usize, "all who came before");
        assert!(peers.iter().all(|listed| listed.id != peer(n)));
    }
    assert_eq!(world.find(ip(99), &find()).len(), 20);
    assert_eq!(world.find(ip(3), &Find { asker: Some(peer(3)), ..find() }).len(), 19);
    assert_eq!(world.find(ip(99), &Find { swarm: SwarmKey([8; 32]), ..find() }).len(), 0);
}

#[test]
fn entries_expire_after_two_and_a_half_intervals_and_leave_nothing() {
    let mut world = world();
    world.announce(ip(1), &announce(1)).unwrap();
    world.pass(100);
    world.announce(ip(2), &announce(2)).unwrap();
    world.pass(50);
    assert_eq!(world.find(ip(9), &find()).len(), 1, "the first has expired, swept or not");
    world.table.expire(world.now);
    assert_eq!((world.table.swarms(), world.table.entries()), (1, 1));
    world.pass(100);
    world.table.expire(world.now);
    assert_eq!((world.table.swarms(), world.table.entries()), (0, 0));
    assert!(world.table.counts(&KEY).is_none());
    world.pass(60);
    world.table.expire(world.now);
    assert!(world.table.guard.is_empty(), "addresses too");
}

#[test]
fn a_renewal_holds_and_a_goodbye_counts_at_once() {
    let mut world = world();
    world.announce(ip(1), &announce(1)).unwrap();
    for _ in 0..10 {
        world.pass(60);
        world.announce(ip(1), &announce(1)).unwrap();
        world.table.expire(world.now);
    }
    assert_eq!(world.table.entries(), 1);
    let stopped = Announce { event: Event::Stopped, ..announce(1) };
    world.announce(ip(2), &stopped).unwrap();
    assert_eq!(world.table.entries(), 1, "nobody says goodbye for another");
    world.announce(ip(1), &stopped).unwrap();
    assert_eq!((world.table.swarms(), world.table.entries()), (0, 0));
}

#[test]
fn nobody_can_move_a_peer_away() {
    let mut world = world();
    world.announce(ip(1), &announce(1)).unwrap();
    world.announce(ip(2), &announce(1)).unwrap();
    let ips: HashSet<_> = world.find(ip(9), &find()).iter().map(|listed| listed.ip).collect();
    assert_eq!(ips, HashSet::from([ip(1), ip(2)]));
}

#[test]
fn a_full_swarm_replaces_at_random() {
    let mut world = World::new(Limits { peers_per_swarm: 100, ..Limits::default() });
    (0..300).for_each(|n| drop(world.announce(ip(n), &announce(n)).unwrap()));
    assert_eq!(world.table.entries(), 100);
    assert_eq!(world.table.counts(&KEY).unwrap().others, 100);
    let mut seen = HashSet::new();
    for _ in 0..60 {
        seen.extend(world.find(IpAddr::from([127, 0, 0, 1]), &find()).iter().map(|listed| listed.ip));
    }
    let old = (0..200).filter(|n| seen.contains(&ip(*n))).count();
    assert!((10..60).contains(&old), "{old} of the first 200 stay, not all and not none");
}

#[test]
fn seeds_are_counted_and_not_given_to_seeds() {
    let mut world = world();
    (0..5).for_each(|n| drop(world.announce(ip(n), &seed(n)).unwrap()));
    (5..8).for_each(|n| drop(world.announce(ip(n), &announce(n)).unwrap()));
    assert_eq!(world.table.counts(&KEY), Some(Counts { seeds: 5, others: 3 }));
    assert_eq!(world.announce(ip(9), &seed(9)).unwrap().peers.len(), 3);
    assert_eq!(world.find(ip(10), &Find { seed: true, ..find() }).len(), 3);
    assert_eq!(world.find(ip(10), &find()).len(), 9);
    // A downloader that finishes becomes a seed.
    let done = Announce { seed: true, progress: Some(Progress { downloaded: 9, left: 0 }), ..announce(5) };
    world.announce(ip(5), &done).unwrap();
    assert_eq!(world.table.counts(&KEY), Some(Counts { seeds: 7, others: 2 }));
}

#[test]
fn one_network_gets_three_places_while_others_exist() {
    let crowd = |n: u32| IpAddr::from([198, 51, 100, n as u8]);
    let mut world = world();
    (0..40).for_each(|n| drop(world.announce(crowd(n), &announce(n)).unwrap()));
    assert_eq!(world.find(ip(500), &find()).len(), 25, "alone, it may fill the answer");
    (100..130).for_each(|n| drop(world.announce(ip(n), &announce(n)).unwrap()));
    for _ in 0..50 {
        let answer = world.find(IpAddr::from([203, 0, 113, 1]), &Find { want: 20, ..find() });
        let crowded =
            answer.iter().filter(|listed| matches!(listed.ip, IpAddr::V4(v4) if v4.octets()[0] == 198));
        assert!(crowded.count() <= 3);
        assert_eq!(answer.len(), 20);
        world.pass(1);
    }
}

#[test]
fn handouts_are_fair() {
    let mut world = world();
    let (peers, rounds, want) = (1_000, 4_000u32, 10u16);
    (0..peers).for_each(|n| drop(world.announce(ip(n), &announce(n)).unwrap()));
    let mut drawn: HashMap<PeerId, u32> = HashMap::new();
    for _ in 0..rounds {
        for listed in world.find(IpAddr::from([127, 0, 0, 1]), &Find { want, ..find() }) {
            *drawn.entry(listed.id).or_default() += 1;
        }
    }
    // Chi-square over 999 degrees of freedom: mean 999, standard deviation 45; four of them above and below.
    let expected = f64::from(rounds) * f64::from(want) / f64::from(peers);
    let chi: f64 = (0..peers)
        .map(|n| (f64::from(*drawn.get(&peer(n)).unwrap_or(&0)) - expected).powi(2) / expected)
        .sum();
    assert!((800.0..1_180.0).contains(&chi), "{chi}");
}

#[test]
fn nobody_is_sent_to_an_address_it_cannot_reach() {
    let mut world = world();
    for (n, from) in ["127.0.0.1", "192.168.0.7", "198.51.100.7"].iter().enumerate() {
        world.announce(from.parse().unwrap(), &announce(n as u32)).unwrap();
    }
    assert_eq!(world.find("203.0.113.1".parse().unwrap(), &find()).len(), 1);
    assert_eq!(world.find("192.168.0.9".parse().unwrap(), &find()).len(), 2);
    assert_eq!(world.find("127.0.0.1".parse().unwrap(), &find()).len(), 3);
}

#[test]
fn bounds_of_one_address_and_of_the_whole_hold() {
    let mut world = World::new(Limits { swarms_max: 2, ..Limits::default() });
    for n in 0..64 {
        world.announce(ip(1), &announce(n)).unwrap();
    }
    assert_eq!(world.announce(ip(1), &announce(64)), Err(Refusal::TooManyIds));
    assert!(world.announce(ip(1), &announce(3)).is_ok(), "known ones may renew");
    world.announce(ip(2), &Announce { swarm: SwarmKey([8; 32]), ..announce(1) }).unwrap();
    let third = Announce { swarm: SwarmKey([9; 32]), ..announce(1) };
    assert_eq!(world.announce(ip(2), &third), Err(Refusal::Full));
    assert_eq!(
        world.announce(ip(3), &Announce { ports: Ports::default(), ..announce(1) }),
        Err(Refusal::NoPort)
    );
    for _ in 0..200 {
        let _ = world.announce(ip(1), &announce(3));
    }
    assert_eq!(world.announce(ip(1), &announce(3)), Err(Refusal::TooFast));
    assert_eq!(world.table.entries(), 65);
}

#[test]
fn intervals_are_spread() {
    let mut world = world();
    let spans: Vec<_> =
        (0..200).map(|n| world.announce(ip(n), &announce(n)).unwrap().interval.as_millis()).collect();
    assert!(spans.iter().all(|ms| (54_000..=66_000).contains(ms)));
    assert!(spans.iter().max().unwrap() - spans.iter().min().unwrap() > 10_000);
}

#[test]
fn threads_share_the_table_without_losing_count() {
    let table = Table::new(Limits::default());
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let table = &table;
            scope.spawn(move || {
                let mut dice = Dice::new(thread.into());
                for n in 0..500u32 {
                    let swarm = SwarmKey([(n % 16) as u8; 32]);
                    let it = Announce { swarm, ..announce(n) };
                    let from = ip(thread * 1_000 + n);
                    table.announce(Time::ZERO, &mut dice, from, &it).unwrap();
                    if n % 3 == 0 {
                        let stopped = Announce { event: Event::Stopped, ..it };
                        table.announce(Time::ZERO, &mut dice, from, &stopped).unwrap();
                    }
                    if n % 100 == 0 {
                        table.expire(Time::ZERO);
                    }
                }
            });
        }
    });
    let members: u32 = table.largest(100).iter().map(|(_, counts)| counts.others).sum();
    assert_eq!(table.entries(), members as usize);
    assert_eq!(members, 4 * 333);
    assert_eq!(table.swarms(), 16);
}

/// A world where 10.0.0.0/8 is one network, the rest of region `eu` two others.
fn mapped() -> World {
    let networks =
        Networks::parse("20.0.0.0/16 near eu\n20.1.0.0/16 other eu\n20.2.0.0/16 far us\n").unwrap();
    let networks = Arc::new(networks);
    let store = Arc::new(Memory::new(100_000, networks.clone()));
    World {
        table: Table::with_store(Limits::default(), store, networks),
        dice: Dice::new(1),
        now: Time::ZERO,
    }
}

fn network(listed: &Listed) -> u8 {
    match listed.ip {
        IpAddr::V4(ip) => ip.octets()[1],
        IpAddr::V6(_) => 255,
    }
}

#[test]
fn an_answer_begins_with_the_askers_network_then_its_region() {
    let mut world = mapped();
    for n in 0..60 {
        for net in 0..3 {
            world.announce(ip(net << 8 | n), &announce(net << 8 | n)).unwrap();
        }
    }
    // Fewer in the asker's own network than its share: the region fills it.
    (3..60).for_each(|n| drop(world.announce(ip(n), &Announce { event: Event::Stopped, ..announce(n) })));
    for _ in 0..30 {
        let peers = world.find(ip(200), &Find { want: 30, ..find() });
        assert_eq!(peers.len(), 30);
        let nets: Vec<u8> = peers.iter().map(network).collect();
        assert_eq!(nets[..3], [0, 0, 0], "{nets:?}");
        assert!(nets[3..8].iter().all(|net| *net == 1), "{nets:?}");
        assert!(nets[8..].contains(&2), "strangers are in it too: {nets:?}");
    }
    let stranger = world.find(IpAddr::from([8, 8, 8, 8]), &Find { want: 30, ..find() });
    assert!(
        stranger.iter().filter(|one| network(one) == 2).count() > 8,
        "nobody is near to who is not in the table"
    );
}

#[test]
fn superpeers_are_handed_out_more_often_and_not_to_everyone_alone() {
    let mut world = world();
    let superpeers: Vec<(PeerId, f64)> = (0..10).map(|n| (peer(n), 1.0)).collect();
    world.table.prefer(&superpeers);
    (0..400).for_each(|n| drop(world.announce(ip(n), &announce(n)).unwrap()));
    let mut share = 0;
    for _ in 0..100 {
        let peers = world.find(IpAddr::from([8, 8, 8, 8]), &Find { want: 30, ..find() });
        share += peers.iter().filter(|one| one.traits.superpeer).count();
        assert_eq!(peers.len(), 30);
    }
    // Drawn: 128 of 400, so 3.2 of the ten; uniform alone would give 0.75.
    assert!((200..=600).contains(&share), "{share} of 3000");
}

#[test]
fn useful_ones_are_somewhat_ahead_of_the_asker() {
    let mut world = world();
    for n in 0..120u32 {
        let traits = Traits { have: n as u8 * 2, ..Traits::default() };
        world.announce(ip(n), &Announce { traits, ..announce(n) }).unwrap();
    }
    let ahead = |world: &mut World, traits: Traits| {
        let asked = Find { want: 12, traits, ..find() };
        let all = (0..50).flat_map(|_| world.find(IpAddr::from([8, 8, 8, 8]), &asked)).collect::<Vec<_>>();
        all.iter().filter(|one| one.traits.have > 200).count()
    };
    let blind = ahead(&mut world, Traits::default());
    let near = ahead(&mut world, Traits { have: 198, ..Traits::default() });
    assert!(near > blind + 60, "{near} with a share told, {blind} without");
}

#[test]
fn live_viewers_are_told_of_those_at_their_place_or_ahead() {
    let mut world = world();
    let at = |seconds: u32| Traits { position: Some(seconds), ..Traits::default() };
    for n in 0..100 {
        world.announce(ip(n), &Announce { traits: at(65_500 + n), ..announce(n) }).unwrap();
    }
    // Positions are compared across the end of 16 bits.
    let asked = Find { want: 12, traits: at(65_530), ..find() };
    let mut useful = 0;
    for _ in 0..50 {
        let peers = world.find(IpAddr::from([8, 8, 8, 8]), &asked);
        useful += peers.iter().filter(|one| one.id.0[..4] >= 30u32.to_be_bytes()[..]).count();
    }
    assert!(useful > 400, "{useful} of 600 at or ahead, uniform would be 420");
}

#[test]
fn two_behind_symmetric_nats_are_not_sent_to_each_other() {
    use crate::tracker::wire::Nat;
    let mut world = world();
    let of = |nat| Traits { nat, ..Traits::default() };
    for (n, nat) in [Nat::Symmetric, Nat::Cone, Nat::Open, Nat::Unknown].into_iter().enumerate() {
        world.announce(ip(n as u32), &Announce { traits: of(nat), ..announce(n as u32) }).unwrap();
    }
    let found = |world: &mut World, nat| world.find(ip(99), &Find { traits: of(nat), ..find() }).len();
    assert_eq!(found(&mut world, Nat::Symmetric), 3);
    assert_eq!(found(&mut world, Nat::Cone), 4);
}

#[test]
fn who_cannot_be_met_through_both_nats_is_told_last() {
    use crate::tracker::wire::Nat;
    let mut world = world();
    let of = |nat| Traits { nat, ..Traits::default() };
    for n in 0..40 {
        let nat = if n < 20 { Nat::Symmetric } else { Nat::Open };
        world.announce(ip(n), &Announce { traits: of(nat), ..announce(n) }).unwrap();
    }
    let mut natted = |nat, want| {
        let found = world.find(ip(99), &Find { traits: of(nat), want, ..find() });
        (found.len(), found.iter().filter(|peer| peer.traits.nat == Nat::Symmetric).count())
    };
    assert_eq!(natted(Nat::Cone, 10), (10, 0), "there are enough others");
    assert_eq!(natted(Nat::Cone, 25), (25, 5), "and no more than are needed");
    assert!(natted(Nat::Open, 20).1 > 0, "who meets all is told of all");
}

#[test]
fn a_busy_tracker_asks_for_less_and_keeps_what_it_has_for_longer() {
    let mut world = World::new(Limits { capacity: 1.0, ..Limits::default() });
    for _ in 0..60 {
        world.pass(1);
        (0..10).for_each(|n| drop(world.announce(ip(n), &announce(n)).unwrap()));
        world.table.expire(world.now);
    }
    let interval = world.announce(ip(1), &announce(1)).unwrap().interval;
    assert!((Duration::from_secs(210)..=Duration::from_secs(264)).contains(&interval), "{interval:?}");
    world.pass(400);
    assert_eq!(
        world.find(ip(99), &find()).len(),
        10,
        "who waits as long as it was asked to is not forgotten"
    );
}

proptest::proptest! {
    /// The columns against a list of what is in them.
    #[test]
    fn a_swarm_is_what_was_put_and_not_removed(steps in proptest::collection::vec((0u32..60, 0u8..4, 0u64..400), 0..300)) {
        let mut world = World::new(Limits { peers_per_swarm: 1_000, ..Limits::default() });
        let mut model: HashMap<u32, (Time, bool)> = HashMap::new();
        for (n, what, seconds) in steps {
            match what {
                0 => {
                    let stopped = Announce { event: Event::Stopped, ..announce(n) };
                    world.announce(ip(n), &stopped).unwrap();
                    model.remove(&n);
                }
                1 => world.pass(seconds / 8),
                _ => {
                    world.announce(ip(n), &Announce { seed: what == 2, ..announce(n) }).unwrap();
                    model.insert(n, (world.now + Duration::from_secs(150), what == 2));
                }
            }
            world.table.expire(world.now);
            model.retain(|_, (until, _)| *until > world.now);
            let seeds = model.values().filter(|(_, seed)| *seed).count() as u32;
            let others = model.len() as u32 - seeds;
            let counts = world.table.counts(&KEY).unwrap_or_default();
            proptest::prop_assert_eq!(counts, Counts { seeds, others });
            let found = world.find(IpAddr::from([8, 8, 8, 8]), &Find { want: 50, ..find() });
            let ids: HashSet<PeerId> = found.iter().map(|listed| listed.id).collect();
            proptest::prop_assert_eq!(ids.len(), model.len().min(50), "each once, all if there is room");
            proptest::prop_assert!(ids.iter().all(|id| model.keys().any(|n| peer(*n) == *id)));
        }
        world.pass(1_000);
        world.table.expire(world.now);
        proptest::prop_assert_eq!((world.table.entries(), world.table.swarms()), (0, 0));
    }
}
