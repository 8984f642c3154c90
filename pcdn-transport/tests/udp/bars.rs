//! What the protocol must reach on typical links. Each test prints its figures.

use std::time::Duration;

use pcdn_core::transport::Class;
use pcdn_core::unit::{Rate, Time};
use pcdn_transport::udp::{SessionId, UdpConfig};

use crate::world::{PAYLOAD_SHARE, PIECE, Pipe, Rough, World};

fn say(what: std::fmt::Arguments<'_>) {
    #[allow(clippy::print_stdout)]
    {
        println!("{what}");
    }
}

/// Content bytes a second over the next `span`, of what `mbit` can carry.
fn use_of(
    world: &mut World,
    span: Duration,
    asks: &[(usize, SessionId)],
    outstanding: usize,
    mbit: f64,
) -> f64 {
    let (before, until) = (world.content(), world.now + span);
    world.pull_until(until, asks, outstanding);
    let rate = (world.content() - before) as f64 / span.as_secs_f64();
    rate / (mbit * 125_000.0 * PAYLOAD_SHARE)
}

fn home(up: u64, queue_ms: u64) -> (Pipe, Pipe) {
    (Pipe::mbit(up, queue_ms), Pipe::mbit(1000, 100))
}

#[test]
fn one_uplink_serves_seven_at_full_rate_without_filling_its_queue() {
    for outstanding in [2, 4] {
        let mut world = World::new(1, 20);
        let (up, down) = home(30, 100);
        let seed = world.add(up, down, UdpConfig::default());
        let asks: Vec<_> = (0..7)
            .map(|_| {
                let (up, down) = home(30, 100);
                let node = world.add(up, down, UdpConfig::default());
                (node, world.link(node, seed).0)
            })
            .collect();
        let first = use_of(&mut world, Duration::from_secs(1), &asks, outstanding, 30.0);
        let lost_at_start = world.nodes[seed].up.dropped;
        let second = use_of(&mut world, Duration::from_secs(1), &asks, outstanding, 30.0);
        let (passed, dropped) = (world.nodes[seed].up.passed, world.nodes[seed].up.dropped);
        let steady = use_of(&mut world, Duration::from_secs(6), &asks, outstanding, 30.0);
        let up = &world.nodes[seed].up;
        let lost = (up.dropped - dropped) as f64 / (up.passed - passed) as f64;
        let each: Vec<u64> = asks.iter().map(|(node, _)| world.nodes[*node].content >> 10).collect();
        let twice: u64 = world.nodes.iter().map(|node| node.endpoint.counters().duplicates).sum();
        say(format_args!(
            "uplink 30 Mbit/s, 7 x {outstanding}: first second {first:.3}, second {second:.3}, then {steady:.3}; lost {lost:.4} \
             (start {lost_at_start}), sent twice {twice}, KiB each {each:?}"
        ));
        assert!(first > 0.7 && second > 0.8 && steady >= 0.92 && lost < 0.01);
        assert!(each.iter().max() < each.iter().min().map(|least| least * 3).as_ref(), "fair enough");
    }
}

#[test]
fn seven_senders_fill_one_downlink_with_few_losses() {
    let mut world = World::new(2, 20);
    let down = Pipe::mbit(100, 100);
    let asker = world.add(Pipe::mbit(100, 100), down, UdpConfig::default());
    let asks: Vec<_> = (0..7)
        .map(|_| {
            let node = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), UdpConfig::default());
            (asker, world.link(asker, node).0)
        })
        .collect();
    let first = use_of(&mut world, Duration::from_secs(1), &asks, 4, 100.0);
    let steady = use_of(&mut world, Duration::from_secs(4), &asks, 4, 100.0);
    let down = &world.nodes[asker].down;
    let lost = down.dropped as f64 / down.passed as f64;
    say(format_args!("incast 7 to 100 Mbit/s: first second {first:.3}, then {steady:.3}; lost {lost:.4}"));
    assert!(steady >= 0.9 && lost < 0.01);
}

#[test]
fn random_loss_costs_little() {
    for (loss, bar) in [(0.01, 0.75), (0.03, 0.75)] {
        for mbit in [30, 100] {
            let mut world = World::new(3, 20);
            let seed = world.add(Pipe::mbit(mbit, 100), Pipe::mbit(1000, 100), UdpConfig::default());
            let asker = world.add(Pipe::mbit(100, 100), Pipe::mbit(1000, 100), UdpConfig::default());
            world.rough.loss = loss;
            let session = world.link(asker, seed).0;
            let asks = [(asker, session)];
            let first = use_of(&mut world, Duration::from_secs(1), &asks, 16, mbit as f64);
            let steady = use_of(&mut world, Duration::from_secs(3), &asks, 16, mbit as f64);
            let twice = world.nodes[asker].endpoint.counters().duplicates;
            say(format_args!(
                "loss {loss}, {mbit} Mbit/s: first second {first:.3}, then {steady:.3}; twice {twice}"
            ));
            assert!(steady >= bar, "{steady}");
        }
    }
}

#[test]
fn the_first_piece_comes_within_four_round_trips_and_its_own_time() {
    for rtt in [20, 50, 200] {
        let mut world = World::new(4, rtt);
        let seed = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), UdpConfig::default());
        let asker = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), UdpConfig::default());
        let began = world.now;
        let (id, addr) = (world.nodes[seed].id, world.nodes[seed].addr);
        world.nodes[asker].endpoint.connect(began, id, &[addr]);
        world.settle(asker);
        let session = loop {
            world.step();
            if let Some(session) = world.connected(asker) {
                break session;
            }
        };
        world.fetch(asker, session, 1, Class::Urgent);
        while world.nodes[asker].done.is_empty() {
            world.step();
        }
        let took = world.now.since(began);
        let own = Rate::from_mbit(100).time_for(PIECE.into());
        let trips = (took - own).as_secs_f64() * 1000.0 / rtt as f64;
        say(format_args!(
            "first piece, hello included, {rtt} ms: {took:?} = {trips:.2} round trips and transmission"
        ));
        assert!(trips < 4.3);
    }
}

#[test]
fn rough_handling_costs_time_but_no_byte_and_no_session() {
    let mut world = World::new(5, 30);
    let seed = world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig::default());
    let asker = world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig::default());
    world.rough = Rough { loss: 0.1, duplicate: 0.05, reorder: 0.1, corrupt: 0.02 };
    let session = world.link(asker, seed).0;
    let asks = [(asker, session)];
    let used = use_of(&mut world, Duration::from_secs(8), &asks, 6, 50.0);
    let asked = &world.nodes[asker];
    say(format_args!(
        "10 % loss, reordering, copies, damage: {used:.3} of 50 Mbit/s, {} pieces, {} failed, {:?}",
        asked.done.len(),
        asked.failed,
        asked.endpoint.counters()
    ));
    assert!(used > 0.2 && asked.failed == 0 && asked.log.is_empty());
}

#[test]
fn a_request_that_is_never_answered_delays_no_other() {
    let mut world = World::new(6, 20);
    let seed = world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig::default());
    let asker = world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig::default());
    world.nodes[seed].serving = crate::world::Serving::Stuck(999_999);
    let session = world.link(asker, seed).0;
    world.fetch(asker, session, 999_999, Class::Urgent);
    let used = use_of(&mut world, Duration::from_secs(3), &[(asker, session)], 5, 50.0);
    say(format_args!("beside a stuck urgent request: {used:.3}"));
    assert!(used > 0.85);
}

#[test]
fn the_upload_limit_holds_over_all_sessions_and_is_used() {
    let mut world = World::new(7, 20);
    let limit = Rate(500_000);
    let config = UdpConfig { upload_limit: limit, ..UdpConfig::default() };
    let seed = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), config);
    let asks: Vec<_> = (0..3)
        .map(|_| {
            let node = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), UdpConfig::default());
            (node, world.link(node, seed).0)
        })
        .collect();
    let began = world.now;
    world.pull_until(began + Duration::from_secs(10), &asks, 2);
    let sent = world.nodes[seed].endpoint.counters().content_sent;
    say(format_args!("limit 500 kB/s: {sent} bytes in 10 s"));
    assert!(sent <= 5_000_000 + 41_000 && sent > 4_900_000);
    assert!(world.now == began + Duration::from_secs(10) && world.now > Time::ZERO);
}

#[test]
fn urgent_overtakes_what_was_asked_before() {
    let mut world = World::new(8, 20);
    let seed = world.add(Pipe::mbit(5, 100), Pipe::mbit(50, 100), UdpConfig::default());
    let asker = world.add(Pipe::mbit(50, 100), Pipe::mbit(50, 100), UdpConfig::default());
    let session = world.link(asker, seed).0;
    (1..=8).for_each(|segment| _ = world.fetch(asker, session, segment, Class::Background));
    world.run_until(world.now + Duration::from_millis(200));
    world.fetch(asker, session, 100, Class::Urgent);
    let asked = world.now;
    while world.nodes[asker].done.iter().all(|(_, piece)| piece.segment != 100) {
        world.step();
    }
    let took = world.now.since(asked);
    say(format_args!(
        "urgent piece behind 8 of background at 5 Mbit/s: {took:?} (alone 105 ms and a round trip)"
    ));
    assert!(took < Duration::from_millis(260));
}

#[test]
fn small_pieces_of_64_peers_come_soon_also_under_loss() {
    for (loss, used_bar, late_bar) in [(0.0, 0.85, 200), (0.01, 0.75, 200), (0.03, 0.75, 250)] {
        let mut world = World::new(11, 20);
        world.piece = 16 << 10;
        let asker = world.add(Pipe::mbit(100, 50), Pipe::mbit(100, 50), UdpConfig::default());
        let asks: Vec<_> = (0..64)
            .map(|_| {
                let node = world.add(Pipe::mbit(1000, 100), Pipe::mbit(1000, 100), UdpConfig::default());
                (asker, world.link(asker, node).0)
            })
            .collect();
        world.rough.loss = loss;
        world.pull_until(world.now + Duration::from_secs(1), &asks, 1);
        let began = world.now;
        world.nodes[asker].down.dropped = 0;
        let used = use_of(&mut world, Duration::from_secs(3), &asks, 1, 100.0);
        let done = world.nodes[asker].done.iter().filter(|(_, piece)| piece.asked >= began);
        let mut times: Vec<Duration> = done.map(|(at, piece)| at.since(piece.asked)).collect();
        times.sort_unstable();
        let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        let twice = world.nodes[asker].endpoint.counters().duplicates;
        say(format_args!(
            "64 peers x 16 KiB, loss {loss}: {used:.3} of 100 Mbit/s, median {median:?}, 99th percentile {late:?}, \
             {} dropped by the queue, {twice} came twice",
            world.nodes[asker].down.dropped
        ));
        assert!(used >= used_bar && late <= Duration::from_millis(late_bar));
    }
}

#[test]
fn a_peers_limit_holds_for_each_peer_and_the_nodes_for_all() {
    let mut world = World::new(7, 20);
    let (upload_limit, upload_limit_peer) = (Rate(500_000), Rate(200_000));
    let config = UdpConfig { upload_limit, upload_limit_peer, ..UdpConfig::default() };
    let seed = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), config);
    let asks: Vec<_> = (0..4)
        .map(|_| {
            let node = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), UdpConfig::default());
            (node, world.link(node, seed).0)
        })
        .collect();
    let began = world.now;
    world.pull_until(began + Duration::from_secs(5), &asks[..1], 2);
    let alone = world.nodes[asks[0].0].content;
    world.pull_until(began + Duration::from_secs(15), &asks, 2);
    let sent = world.nodes[seed].endpoint.counters().content_sent - alone;
    say(format_args!("200 kB/s a peer, 500 kB/s in all: {alone} in 5 s to one, {sent} in 10 s to four"));
    assert!(alone <= 1_000_000 + 41_000 && alone > 950_000);
    assert!(sent <= 5_000_000 + 41_000 && sent > 4_800_000);
}

#[test]
fn one_of_200_requests_stuck_on_a_dead_peer_delays_none_of_the_others() {
    let last_of_the_others = |with_the_dead: bool| {
        let mut world = World::new(12, 20);
        let asker = world.add(Pipe::mbit(100, 100), Pipe::mbit(100, 100), UdpConfig::default());
        let sessions: Vec<_> = (0..20)
            .map(|_| {
                let node = world.add(Pipe::mbit(20, 100), Pipe::mbit(100, 100), UdpConfig::default());
                world.link(asker, node).0
            })
            .collect();
        // The last one has gone without a word.
        world.nodes[20].addr = std::net::SocketAddr::from(([10, 9, 9, 9], 9));
        let began = world.now;
        if with_the_dead {
            world.fetch(asker, sessions[19], 1, Class::Urgent);
        }
        for n in 0..199u64 {
            world.fetch(asker, sessions[n as usize % 19], 100 + n, Class::Normal);
        }
        while world.nodes[asker].done.len() < 199 {
            world.step();
        }
        let took = world.now.since(began);
        world.run_until(began + Duration::from_secs(8));
        assert_eq!(world.nodes[asker].failed, usize::from(with_the_dead), "the stuck one is given up");
        took
    };
    let (without, with) = (last_of_the_others(false), last_of_the_others(true));
    say(format_args!("199 pieces of 19 peers: {without:?}; beside one asked of a dead peer: {with:?}"));
    assert!(with <= without.mul_f64(1.02));
}
