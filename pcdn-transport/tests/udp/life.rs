//! Sessions: who is let in, how they end, what survives.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::id::Identity;
use pcdn_core::transport::Class;
use pcdn_core::unit::Time;
use pcdn_transport::udp::connection::Ended;
use pcdn_transport::udp::{Cipher, Event, SwarmSecret, UdpConfig};

use crate::world::{Pipe, Rough, World};

fn pair(world: &mut World) -> (usize, usize) {
    let add = |world: &mut World| world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig::default());
    (add(world), add(world))
}

#[test]
fn nobody_else_can_answer_for_the_peer_that_was_called() {
    let mut world = World::new(1, 20);
    let (a, b) = pair(&mut world);
    let wrong = Identity::from_secret([99; 32]).peer_id();
    let addr = world.nodes[b].addr;
    let now = world.now;
    world.nodes[a].endpoint.connect(now, wrong, &[addr]);
    world.settle(a);
    world.run_until(now + Duration::from_secs(11));
    assert!(matches!(world.nodes[a].log[..], [Event::Unreachable { .. }]));
    assert!(world.nodes[b].log.is_empty() && world.nodes[b].endpoint.sessions() == 0);
}

#[test]
fn a_private_swarm_is_closed_to_who_lacks_its_secret() {
    let mut world = World::new(9, 20);
    let with = |world: &mut World, secret: Option<&[u8]>| {
        let secret = secret.map(|bytes| SwarmSecret::new(bytes).unwrap());
        world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig { secret, ..UdpConfig::default() })
    };
    let member = with(&mut world, Some(b"the family's secret"));
    let another = with(&mut world, Some(b"the family's secret\n"));
    let (public, foreign) = (with(&mut world, None), with(&mut world, Some(b"the neighbours' secret")));
    // Not both ways at once: of two that call each other one waits for the other.
    for calls in [[(public, member), (foreign, member)], [(member, public), (member, foreign)]] {
        let now = world.now;
        for (from, to) in calls {
            let (id, addr) = (world.nodes[to].id, world.nodes[to].addr);
            world.nodes[from].endpoint.connect(now, id, &[addr]);
            world.settle(from);
        }
        world.run_until(now + Duration::from_secs(16));
        for (from, to) in calls {
            let callee = world.nodes[to].id;
            let said = world.take(from, |event| match event {
                Event::Unreachable { peer, stranger: true, .. } if *peer == callee => Some(()),
                _ => None,
            });
            assert!(said.is_some(), "the caller is told that it met a stranger");
        }
    }
    for node in [public, foreign, member] {
        assert!(world.nodes[node].log.is_empty(), "{:?}", world.nodes[node].log);
        assert_eq!(world.nodes[node].endpoint.sessions(), 0);
    }
    let (session, _) = world.link(another, member);
    world.pull_until(world.now + Duration::from_secs(1), &[(another, session)], 4);
    assert!(world.nodes[another].done.len() > 10, "members talk");
}

#[test]
fn two_that_call_each_other_at_once_get_one_session() {
    let mut world = World::new(2, 20);
    let (a, b) = pair(&mut world);
    let now = world.now;
    for (from, to) in [(a, b), (b, a)] {
        let (id, addr) = (world.nodes[to].id, world.nodes[to].addr);
        world.nodes[from].endpoint.connect(now, id, &[addr]);
    }
    world.settle(a);
    world.settle(b);
    world.run_until(now + Duration::from_secs(2));
    for node in [a, b] {
        assert!(
            matches!(world.nodes[node].log[..], [Event::Connected { .. }]),
            "{:?}",
            world.nodes[node].log
        );
        assert_eq!(world.nodes[node].endpoint.sessions(), 1);
    }
}

#[test]
fn a_goodbye_is_heard_and_a_vanished_peer_is_noticed_within_seconds_when_it_owes_something() {
    let mut world = World::new(3, 20);
    let (a, b) = pair(&mut world);
    let (at_a, at_b) = world.link(a, b);
    let now = world.now;
    world.nodes[a].endpoint.close(now, at_a);
    world.settle(a);
    world.run_until(now + Duration::from_millis(100));
    assert!(world.nodes[b].log.contains(&Event::Closed { session: at_b, why: Ended::ByPeer }));

    let (at_a, at_b) = world.link(a, b);
    world.run_until(world.now + Duration::from_secs(60));
    assert_eq!(world.nodes[a].endpoint.sessions(), 1, "kept alive");
    world.rough.loss = 1.0;
    world.fetch(a, at_a, 1, Class::Normal);
    let asked = world.now;
    world.run_until(asked + Duration::from_millis(5500));
    assert!(world.nodes[a].log.contains(&Event::Closed { session: at_a, why: Ended::Silent }));
    assert_eq!(world.nodes[a].failed, 1);
    world.run_until(asked + Duration::from_secs(21));
    assert!(world.nodes[b].log.contains(&Event::Closed { session: at_b, why: Ended::Silent }));
}

#[test]
fn a_cancel_stops_the_sending() {
    let mut world = World::new(4, 20);
    let (a, b) = pair(&mut world);
    let (session, _) = world.link(a, b);
    world.nodes[b].serving = crate::world::Serving::Stuck(7);
    let stuck = world.fetch(a, session, 7, Class::Normal);
    let fetches: Vec<u32> =
        (100..140).map(|segment| world.fetch(a, session, segment, Class::Normal)).collect();
    world.run_until(world.now + Duration::from_millis(60));
    let now = world.now;
    for fetch in fetches.into_iter().chain([stuck]) {
        world.nodes[a].endpoint.cancel(now, session, fetch);
        world.nodes[a].fetches.remove(&(session, fetch));
    }
    world.settle(a);
    world.run_until(now + Duration::from_millis(100));
    let sent = world.nodes[b].endpoint.counters().content_sent;
    world.run_until(now + Duration::from_secs(2));
    assert_eq!(world.nodes[b].endpoint.counters().content_sent, sent);
    assert!(sent < 20 << 16, "{sent} bytes of 40 pieces");
    assert_eq!(world.nodes[b].abandoned, 1, "the provider is told");
}

#[test]
fn messages_arrive_in_order_under_loss_both_ways_beside_content() {
    let mut world = World::new(5, 30);
    let (a, b) = pair(&mut world);
    let (at_a, at_b) = world.link(a, b);
    world.rough = Rough { loss: 0.1, duplicate: 0.05, reorder: 0.1, corrupt: 0.02 };
    let mut dice = Dice::new(9);
    let messages: Vec<Bytes> = (0..60u8)
        .map(|n| vec![n; dice.below(if n % 20 == 0 { 65_537 } else { 3000 }) as usize].into())
        .collect();
    let now = world.now;
    for message in &messages {
        world.nodes[a].endpoint.send(now, at_a, message);
        world.nodes[b].endpoint.send(now, at_b, message);
    }
    world.settle(a);
    world.settle(b);
    let (mut got_a, mut got_b) = (Vec::new(), Vec::new());
    let until = now + Duration::from_secs(60);
    while got_a.len() + got_b.len() < 2 * messages.len() {
        assert!(world.now < until, "{} and {} of {}", got_a.len(), got_b.len(), messages.len());
        world.pull_until(world.now + Duration::from_millis(50), &[(a, at_a)], 1);
        for (node, session, got) in [(a, at_a, &mut got_a), (b, at_b, &mut got_b)] {
            while let Some(message) = world.take(node, |event| {
                if let Event::Message { message, .. } = event { Some(message.clone()) } else { None }
            }) {
                let now = world.now;
                world.nodes[node].endpoint.message_read(now, session, message.len());
                world.settle(node);
                got.push(message);
            }
        }
    }
    assert!(got_a == messages && got_b == messages);
}

#[test]
fn a_new_address_behind_a_nat_takes_over_without_a_lost_piece() {
    let mut world = World::new(6, 20);
    let (a, b) = pair(&mut world);
    let (at_a, at_b) = world.link(a, b);
    world.pull_until(world.now + Duration::from_secs(1), &[(a, at_a)], 4);
    let (old, new) = (world.nodes[a].addr, SocketAddr::from(([10, 0, 9, 9], 5555)));
    world.seen_as.insert(old, new);
    let moved = world.now;
    let before = world.nodes[a].done.len();
    while world.nodes[b].endpoint.path(world.now, at_b).unwrap().remote.unwrap().addr != new {
        world.pull_until(world.now + Duration::from_millis(5), &[(a, at_a)], 4);
        assert!(world.now.since(moved) < Duration::from_secs(1), "not healed");
    }
    let healed = world.now.since(moved);
    world.pull_until(world.now + Duration::from_secs(2), &[(a, at_a)], 4);
    assert!(world.nodes[a].done.len() > before + 10 && world.nodes[a].failed == 0);
    #[allow(clippy::print_stdout)]
    {
        println!("NAT rebinding healed in {healed:?}");
    }
}

#[test]
fn a_flood_of_garbage_and_replays_harms_nobody_and_is_not_answered() {
    let mut world = World::new(7, 20);
    let (a, b) = pair(&mut world);
    let (at_a, _) = world.link(a, b);
    world.nodes[b].down = Pipe::unlimited();
    let mut dice = Dice::new(1);
    let attacker = SocketAddr::from(([10, 1, 1, 1], 1));
    let to = world.nodes[b].addr;
    let passed = world.nodes[b].up.passed;
    for n in 0..20_000u64 {
        let mut bytes: Vec<u8> = (0..dice.below(1500)).map(|_| dice.next_u64() as u8).collect();
        if let Some(first) = bytes.first_mut() {
            *first = 0x20 + (n % 16) as u8;
        }
        if n % 5 == 0 {
            bytes.resize(1200, 0);
            bytes[0] = 0x20;
            bytes[1] = 1;
        }
        world.throw(world.now, attacker, to, &bytes);
    }
    world.run_until(world.now + Duration::from_millis(200));
    assert!(world.nodes[b].up.passed - passed < 10, "no answer to strangers");
    assert!(world.nodes[b].endpoint.counters().dropped >= 20_000);
    world.pull_until(world.now + Duration::from_secs(1), &[(a, at_a)], 4);
    assert!(world.nodes[a].done.len() > 50, "{}", world.nodes[a].done.len());
    assert_eq!(world.nodes[b].endpoint.sessions(), 1);
}

#[test]
fn a_rush_of_hellos_is_held_off_with_cookies_and_the_honest_still_get_in() {
    let mut world = World::new(8, 20);
    let config = UdpConfig { handshakes_per_second: 3, ..UdpConfig::default() };
    let target = world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), config);
    let callers: Vec<usize> = (0..12).map(|_| pair(&mut world).0).collect();
    let now = world.now;
    for caller in &callers {
        let (id, addr) = (world.nodes[target].id, world.nodes[target].addr);
        world.nodes[*caller].endpoint.connect(now, id, &[addr]);
        world.settle(*caller);
    }
    world.run_until(now + Duration::from_secs(1));
    let connected = |world: &World| {
        callers.iter().filter(|c| matches!(world.nodes[**c].log[..], [Event::Connected { .. }])).count()
    };
    assert_eq!(connected(&world), 12);
    assert!(world.now > Time::ZERO);
}

#[test]
fn a_path_too_narrow_for_full_sub_pieces_is_found_out_and_used() {
    let mut world = World::new(10, 20);
    let (a, b) = pair(&mut world);
    let (at_a, _) = world.link(a, b);
    world.pull_until(world.now + Duration::from_secs(1), &[(a, at_a)], 2);
    for (mtu, least) in [(1300, 60), (1200, 60)] {
        // In the middle of a transfer, as when a route changes.
        world.mtu = mtu;
        let (narrowed, before) = (world.now, world.nodes[a].done.len());
        world.pull_until(narrowed + Duration::from_secs(4), &[(a, at_a)], 2);
        let done = &world.nodes[a].done[before..];
        #[allow(clippy::print_stdout)]
        {
            println!("{mtu} bytes: first piece after {:?}", done.first().map(|(at, _)| at.since(narrowed)));
        }
        assert!(done.len() >= least, "{} pieces through {mtu} bytes", done.len());
        assert_eq!(world.nodes[a].failed, 0);
    }
}

#[test]
fn both_ciphers_meet_and_the_weaker_processor_decides() {
    for (first, second) in [
        (Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305),
        (Cipher::ChaCha20Poly1305, Cipher::Aes128Gcm),
        (Cipher::ChaCha20Poly1305, Cipher::ChaCha20Poly1305),
    ] {
        let mut world = World::new(11, 20);
        let mut add = |cipher| {
            let config = UdpConfig { cipher, ..UdpConfig::default() };
            world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), config)
        };
        let (a, b) = (add(first), add(second));
        let (at_a, _) = world.link(a, b);
        world.pull_until(world.now + Duration::from_secs(1), &[(a, at_a)], 4);
        assert!(world.nodes[a].done.len() > 50);
    }
}

#[test]
fn a_hello_of_another_version_is_told_ours_and_strangers_are_told_nothing() {
    let mut world = World::new(12, 20);
    let (a, b) = pair(&mut world);
    let (now, (id, addr)) = (world.now, (world.nodes[b].id, world.nodes[b].addr));
    world.nodes[a].endpoint.connect(now, id, &[addr]);
    let mut hello = Vec::new();
    world.nodes[a].endpoint.poll_transmit(now, 1, &mut hello).unwrap();
    hello[1] = 7;
    let mut answer = Vec::new();
    let from = world.nodes[a].addr;
    // The mac no longer fits: whoever does not know the node's key learns nothing.
    world.nodes[b].endpoint.handle(now, from, &mut hello.clone());
    assert!(world.nodes[b].endpoint.poll_transmit(now, 1, &mut answer).is_none());
    let key = blake3::derive_key("pcdn udp hello mac v1", &id.0);
    let mac = blake3::keyed_hash(&key, &hello[..1168]);
    hello[1168..1184].copy_from_slice(&mac.as_bytes()[..16]);
    world.nodes[b].endpoint.handle(now, from, &mut hello.clone());
    world.nodes[b].endpoint.poll_transmit(now, 1, &mut answer).unwrap();
    assert_eq!((answer.len(), answer[0], &answer[21..]), (23, 0x26, &[2, 2][..]));
    // The mac of a hello we did not send: nothing follows. The right one: the caller is told why it was not reached.
    world.nodes[a].endpoint.handle(now, addr, &mut answer.clone());
    world.nodes[a].endpoint.poll_transmit(now, 1, &mut Vec::new());
    hello[1] = 2;
    let mac = blake3::keyed_hash(&key, &hello[..1168]);
    answer[5..21].copy_from_slice(&mac.as_bytes()[..16]);
    answer[22] = 9;
    world.nodes[a].endpoint.handle(now, addr, &mut answer);
    world.nodes[b].addr = SocketAddr::from(([10, 9, 9, 9], 9));
    world.settle(a);
    world.run_until(now + Duration::from_secs(11));
    assert!(matches!(world.nodes[a].log[..], [Event::Unreachable { version: Some(9), .. }]));
}

#[test]
fn a_session_outlives_its_keys() {
    let mut world = World::new(13, 20);
    let (a, b) = pair(&mut world);
    let (at_a, at_b) = world.link(a, b);
    world.rough = Rough { loss: 0.05, reorder: 0.1, ..Rough::default() };
    // Every two minutes both turn to new keys, some of them between pieces under way, some while nothing but pings goes.
    for quiet in [118, 110, 240, 115] {
        world.run_until(world.now + Duration::from_secs(quiet));
        let before = [a, b].map(|node| world.nodes[node].done.len());
        world.pull_until(world.now + Duration::from_secs(4), &[(a, at_a), (b, at_b)], 4);
        for (node, before) in [a, b].into_iter().zip(before) {
            assert!(world.nodes[node].done.len() > before + 50, "after {quiet} s");
        }
    }
    for node in [a, b] {
        assert_eq!(world.nodes[node].failed, 0);
        assert_eq!(world.nodes[node].endpoint.sessions(), 1);
        assert_eq!(world.nodes[node].endpoint.counters().dropped, 0, "every packet that came opened");
    }
}
