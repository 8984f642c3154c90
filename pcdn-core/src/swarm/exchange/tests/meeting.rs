//! Peers behind NATs and the neighbour that calls them together.

use std::time::Duration;

use super::world::World;
use crate::id::PeerId;
use crate::peer::PeerAddr;
use crate::schedule::Handle;
use crate::swarm::{Input, Limits};
use crate::unit::Time;
use crate::wire::Message;

/// One that everybody reaches, and `homes` behind NATs that know only that one.
fn star(homes: usize) -> World {
    let mut world = World::new(3, 0);
    for _ in 0..=homes {
        world.add(Time::ZERO, Limits::default(), None);
    }
    world.run_until(Time::from_secs(1));
    for home in 1..=homes {
        world.behind_nats.insert(home);
        world.give(home, Input::Found(vec![world.record(0)]));
    }
    world
}

fn links(world: &World, n: usize) -> usize {
    world.peers[n].engine.neighbours().count()
}

#[test]
fn peers_behind_nats_are_called_together_by_a_neighbour_of_both() {
    let mut world = star(5);
    world.run_until(Time::from_secs(20));
    for home in 1..=5 {
        assert_eq!(links(&world, home), 5, "home {home}");
    }
    let told = world.introduced.clone();
    for (n, meeting, begins) in &told {
        // Of both one moment, and the address at which the neighbour has its link.
        let other = world.peers.iter().position(|peer| peer.id == meeting.peer).unwrap();
        let its = told.iter().find(|(of, its, _)| *of == other && its.token == meeting.token);
        assert_eq!(its.map(|(_, _, at)| *at), Some(*begins));
        assert_eq!(meeting.at, world.record(other).addrs[0]);
        assert_ne!(*n, other);
    }
}

#[test]
fn who_answers_by_itself_is_not_called() {
    let mut world = star(4);
    world.behind_nats.clear();
    world.run_until(Time::from_secs(20));
    assert!((0..=4).all(|n| links(&world, n) == 4) && world.introduced.is_empty());
}

#[test]
fn a_neighbour_that_calls_without_end_is_heard_once_a_second() {
    let mut world = star(2);
    world.run_until(Time::from_secs(3));
    let (link, wanted) = (Handle(0), world.peers[2].id);
    let before = world.meets;
    for ms in 0..10_000 {
        world.run_until(Time::from_secs(3) + Duration::from_millis(ms));
        world.give(0, Input::Message { link, message: Message::Call { wanted } });
        // Nobody it is not linked to, nor the caller itself.
        for wanted in [PeerId([9; 32]), world.peers[1].id, world.peers[0].id] {
            world.give(0, Input::Message { link, message: Message::Call { wanted } });
        }
    }
    let told = world.meets - before;
    assert!((2 * 10..=2 * (8 + 10)).contains(&told), "{told} to both");
}

#[test]
fn nobody_is_aimed_at_what_is_no_peers_address_nor_often() {
    let mut world = star(1);
    world.run_until(Time::from_secs(3));
    let meet = |at: &str, n: u32| {
        let mut peer = PeerId([7; 32]);
        peer.0[..4].copy_from_slice(&n.to_be_bytes());
        let at: PeerAddr = at.parse().unwrap();
        Input::Message { link: Handle(0), message: Message::Meet { peer, token: [1; 8], in_ms: 60_000, at } }
    };
    for at in
        ["udp://192.168.1.1:4000", "udp://127.0.0.1:4000", "udp://8.8.8.8:53", "udp://255.255.255.255:4000"]
    {
        world.give(1, meet(at, 0));
    }
    assert_eq!(world.introduced.len(), 0);
    world.run_until(Time::from_secs(20));
    for n in 0..10_000 {
        world.give(1, meet("udp://198.51.100.1:4000", n));
    }
    assert_eq!(world.introduced.len(), 8);
    assert!(world.introduced.iter().all(|(_, meeting, _)| meeting.begin_in <= Duration::from_millis(300)));
}
