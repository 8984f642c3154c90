//! All pairs of routers: a link wherever the textbook allows one, and what each side finds out about itself.

use std::time::Duration;

use pcdn_core::peer::Nat;
use pcdn_transport::udp::Event;

use crate::world::{ALL, Router, World, addr};

fn meets(a: Router, b: Router) -> bool {
    let blocked = a == Router::Block || b == Router::Block;
    let hard = |a, b| a == Router::Symmetric && matches!(b, Router::Port | Router::Symmetric);
    !(blocked || hard(a, b) || hard(b, a))
}

/// How long it took until both sides had a link, if they came to one.
fn meet(routers: [Router; 2], caller: usize) -> Option<Duration> {
    let mut world = World::new(routers);
    world.run_for(Duration::from_secs(5));
    let called = 1 - caller;
    let began = world.now;
    world.connect(caller, called);
    let until = began + Duration::from_secs(15);
    let connected = |event: &Event| matches!(event, Event::Connected { .. }).then_some(());
    let accepted = |event: &Event| matches!(event, Event::Accepted { .. }).then_some(());
    let linked = world.run_until(until, |world| {
        world.took(caller, connected).is_some() && world.took(called, accepted).is_some()
    });
    linked.then(|| world.now.since(began))
}

#[test]
fn direct_wherever_the_textbook_allows() {
    for a in ALL {
        for b in ALL {
            for caller in [0, 1] {
                let took = meet([a, b], caller);
                assert_eq!(took.is_some(), meets(a, b), "{a:?} x {b:?}, called by {caller}: {took:?}");
                if let Some(took) = took {
                    assert!(took < Duration::from_millis(600), "{a:?} x {b:?} took {took:?}");
                }
            }
        }
    }
}

#[test]
fn a_node_knows_what_its_router_does() {
    for (router, nat) in [
        (Router::None, Nat::Open),
        (Router::Full, Nat::Open),
        (Router::Address, Nat::Restricted),
        (Router::Port, Nat::Cone),
        (Router::Symmetric, Nat::Symmetric),
        (Router::Block, Nat::Unknown),
    ] {
        let mut world = World::new([router, Router::None]);
        world.run_for(Duration::from_secs(10));
        let found = world.took(0, |event| match event {
            Event::Appears(found) => Some(*found),
            _ => None,
        });
        let found = found.unwrap_or_default();
        assert_eq!(found.nat, nat, "{router:?}");
        assert_eq!(found.silent, router == Router::Block);
        assert_eq!(found.seen.is_none(), router == Router::Block);
    }
}

#[test]
fn two_behind_one_router_meet_in_their_own_network_whether_or_not_it_turns_traffic_around() {
    for (kind, turns) in [(Router::Port, false), (Router::Full, true), (Router::Symmetric, false)] {
        let mut world = World::one_home(kind, turns);
        world.run_for(Duration::from_secs(5));
        let began = world.now;
        world.connect(0, 1);
        let session = |world: &World| {
            world.took(0, |event| match event {
                Event::Connected { session, .. } => Some(*session),
                _ => None,
            })
        };
        assert!(
            world.run_until(began + Duration::from_millis(150), |world| session(world).is_some()),
            "{kind:?}"
        );
        world.run_for(Duration::from_secs(1));
        let path = world.nodes[0].path(world.now, session(&world).unwrap()).unwrap();
        assert_eq!(
            path.remote.map(|remote| remote.addr),
            Some(addr("192.168.1.2:4000")),
            "{kind:?}, {turns}"
        );
    }
}

#[test]
fn who_answers_by_itself_needs_no_tracker() {
    let mut world = World::new([Router::Port, Router::Full]);
    world.run_for(Duration::from_secs(5));
    world.connect(0, 1);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.calls, 0);
}

#[test]
fn a_tracker_that_restarts_knows_everybody_again_with_the_next_question() {
    let mut world = World::new([Router::Port, Router::Symmetric]);
    world.run_for(Duration::from_secs(5));
    assert_eq!(world.registered.len(), 2);
    world.restart_tracker();
    world.run_for(Duration::from_secs(21));
    assert_eq!(world.registered.len(), 2);
}

#[test]
fn a_tracker_is_told_how_far_it_is() {
    let mut world = World::new([Router::Port, Router::None]);
    world.run_for(Duration::from_secs(25));
    assert_eq!(world.rtts_ms.values().copied().collect::<Vec<_>>(), [20, 20]);
}
