use std::net::SocketAddr;

use pcdn_core::id::SwarmKey;

use super::*;
use crate::tracker::service::Service;
use crate::tracker::table::Limits;
use crate::tracker::wire::{Find, Traits, encode_answer};

const RTT: Duration = Duration::from_millis(100);

/// A machine and a tracker with one address for each path, joined by wires that tests can cut.
struct World {
    now: Time,
    dice: Dice,
    machine: Machine,
    service: Service,
    /// Datagrams on their way back: when, on which path, what.
    back: Vec<(Time, usize, Vec<u8>)>,
    /// Numbers of client datagrams that are lost, counted from 0.
    lost: Vec<usize>,
    dead_paths: Vec<usize>,
    /// The tracker knows BEP 15 alone.
    bep15: bool,
    sent: usize,
    done: Vec<(Time, Ticket, Result<Answer, Failure>)>,
}

impl World {
    fn new(paths: usize) -> Self {
        Self {
            now: Time::ZERO,
            dice: Dice::new(1),
            machine: Machine::new(paths, None),
            service: Service::new(Limits::default(), [1; 32], None),
            back: Vec::new(),
            lost: Vec::new(),
            dead_paths: Vec::new(),
            bep15: false,
            sent: 0,
            done: Vec::new(),
        }
    }

    fn input(&mut self, input: Input<'_>) {
        self.machine.handle(self.now, &mut self.dice, input);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Send { path, bytes } => self.carry(path, &bytes),
                Output::Done(ticket, result) => self.done.push((self.now, ticket, result)),
            }
        }
    }

    fn carry(&mut self, path: usize, bytes: &[u8]) {
        let number = self.sent;
        self.sent += 1;
        let native = bytes[8..12] >= [0, 0, 0, 4][..];
        if self.lost.contains(&number) || self.dead_paths.contains(&path) || (self.bep15 && native) {
            return;
        }
        let from: SocketAddr = "192.0.2.1:5000".parse().unwrap();
        let mut answer = Vec::new();
        self.service.datagram(self.now, &mut self.dice, from, bytes, &mut answer);
        self.back.push((self.now + RTT, path, answer));
    }

    fn ask(&mut self, ticket: Ticket) {
        let find = Find {
            swarm: SwarmKey([1; 32]),
            asker: None,
            seed: false,
            want: 9,
            traits: Traits::default(),
            rich: false,
        };
        self.input(Input::Ask(ticket, Request::Find(find)));
    }

    /// Lets things happen in their order until nothing is under way.
    fn settle(&mut self) {
        loop {
            let arrival = self.back.iter().map(|(at, ..)| *at).min();
            let wake = self.machine.next_wake();
            let Some(next) = arrival.into_iter().chain(wake).min() else { return };
            self.now = self.now.max(next);
            match self.back.iter().position(|(at, ..)| *at <= self.now) {
                Some(at) => {
                    let (_, path, bytes) = self.back.remove(at);
                    self.input(Input::Datagram { path, bytes: &bytes });
                }
                None => self.input(Input::Wake),
            }
        }
    }

    /// The only result so far, and when it came.
    fn result(&mut self) -> (Duration, Result<Answer, Failure>) {
        assert_eq!(self.done.len(), 1, "{:?}", self.done);
        let (at, _, result) = self.done.remove(0);
        (at.since(Time::ZERO), result)
    }
}

#[test]
fn the_first_answer_takes_two_round_trips_the_next_one() {
    let mut world = World::new(1);
    world.ask(1);
    world.settle();
    let (after, result) = world.result();
    assert_eq!(after, 2 * RTT);
    assert!(matches!(result, Ok(Answer::Found { .. })));
    let asked = world.now;
    world.ask(2);
    world.settle();
    assert_eq!(world.now.since(asked), RTT);
}

#[test]
fn one_connect_serves_all_who_wait() {
    let mut world = World::new(1);
    (1..=5).for_each(|ticket| world.ask(ticket));
    world.settle();
    assert_eq!(world.done.len(), 5);
    assert_eq!(world.sent, 6);
}

#[test]
fn a_lost_connect_and_a_lost_request_are_repeated() {
    let mut world = World::new(1);
    world.lost = vec![0, 2, 3];
    world.ask(1);
    world.settle();
    let (after, result) = world.result();
    assert!(result.is_ok());
    // 300 ms until the second connect, a round trip, 300 + 600 ms until the third request, a round trip.
    assert_eq!(after, Duration::from_millis(300 + 100 + 900 + 100));
}

#[test]
fn a_dead_tracker_is_given_up_in_time_and_tried_anew() {
    let mut world = World::new(1);
    world.dead_paths = vec![0];
    world.ask(1);
    world.ask(2);
    world.settle();
    assert_eq!(world.sent, 4, "four tries for both together");
    assert_eq!(world.now.since(Time::ZERO), GIVE_UP);
    assert!(world.done.iter().all(|(_, _, result)| *result == Err(Failure::Silent)));
    world.done.clear();
    world.dead_paths.clear();
    world.ask(3);
    world.settle();
    assert!(world.done[0].2.is_ok());
}

#[test]
fn a_tracker_that_dies_after_the_connect_is_given_up_too() {
    let mut world = World::new(1);
    world.lost = (1..100).collect();
    world.ask(1);
    world.settle();
    let (after, result) = world.result();
    assert_eq!(result, Err(Failure::Silent));
    assert!(after <= GIVE_UP + RTT, "{after:?}");
    assert!(world.machine.is_empty());
    assert_eq!(world.machine.next_wake(), None);
}

#[test]
fn late_answers_count_and_doubled_ones_do_no_harm() {
    let mut world = World::new(1);
    world.ask(1);
    // The answer to the first connect comes after the second was sent.
    let (_, path, connected) = world.back.remove(0);
    world.now = Time::from_millis(350);
    world.input(Input::Wake);
    world.input(Input::Datagram { path, bytes: &connected });
    world.input(Input::Datagram { path, bytes: &connected });
    world.settle();
    assert!(world.result().1.is_ok());
    world.input(Input::Datagram { path, bytes: &connected });
    assert!(world.done.is_empty());
}

#[test]
fn answers_with_another_transaction_or_of_another_kind_are_ignored() {
    let mut world = World::new(1);
    world.ask(1);
    let right = world.back[0].2[4..8].to_vec();
    let mut forged = Vec::new();
    encode_answer(0xdead_beef, &Answer::Connected { connection: 666 }, 100, None, &mut forged);
    assert_ne!(forged[4..8], right);
    world.input(Input::Datagram { path: 0, bytes: &forged });
    world.input(Input::Datagram { path: 0, bytes: b"junk" });
    assert_eq!(world.sent, 1, "nothing was believed");
    world.settle();
    assert!(world.result().1.is_ok());
}

#[test]
fn the_connection_id_is_renewed_after_a_minute() {
    let mut world = World::new(1);
    world.ask(1);
    world.settle();
    world.now += Duration::from_secs(59);
    world.ask(2);
    world.settle();
    assert_eq!(world.sent, 3, "still in use");
    world.now += Duration::from_secs(2);
    world.ask(3);
    world.settle();
    assert_eq!(world.sent, 5, "a connect went before");
    assert!(world.done.iter().all(|(_, _, result)| result.is_ok()));
}

#[test]
fn a_restarted_tracker_costs_one_more_connect_not_a_failure() {
    let mut world = World::new(1);
    world.ask(1);
    world.settle();
    world.service = Service::new(Limits::default(), [2; 32], None);
    world.done.clear();
    world.ask(2);
    world.settle();
    assert!(world.done[0].2.is_ok());
    assert_eq!(world.sent, 2 + 3);
}

#[test]
fn a_dead_address_hands_over_to_the_next() {
    let mut world = World::new(2);
    world.dead_paths = vec![0];
    world.ask(1);
    world.settle();
    let (after, result) = world.result();
    assert!(result.is_ok());
    assert_eq!(after, Duration::from_millis(300) + 2 * RTT);
    let asked = world.now;
    world.now += Duration::from_secs(100);
    world.ask(2);
    world.settle();
    assert!(world.now.since(asked) <= Duration::from_secs(100) + 2 * RTT, "the good address is kept");

    let mut world = World::new(2);
    world.dead_paths = vec![0];
    world.ask(1);
    world.input(Input::Unreachable { path: 0 });
    world.settle();
    assert_eq!(world.result().0, 2 * RTT, "a refusal by the network saves the wait");
}

#[test]
fn who_leaves_is_forgotten() {
    let mut world = World::new(1);
    world.ask(1);
    world.input(Input::Forget(1));
    world.settle();
    assert!(world.done.is_empty());
    assert!(world.machine.is_empty());
}

#[test]
fn heavy_loss_is_survived_nearly_always() {
    let mut answered = 0;
    for round in 0..200u64 {
        let mut world = World::new(1);
        let mut dice = Dice::new(round);
        world.lost = (0..20).filter(|_| dice.chance(0.3)).collect();
        world.ask(1);
        world.settle();
        answered += u32::from(world.result().1.is_ok());
    }
    assert!(answered >= 190, "{answered} of 200 at 30 % loss");
}

fn announce() -> Request {
    let mut ports = crate::tracker::wire::Ports::default();
    ports.push(pcdn_core::peer::Scheme::Udp, 4000);
    Request::Announce(crate::tracker::wire::Announce {
        swarm: SwarmKey([1; 32]),
        peer: pcdn_core::id::PeerId([2; 32]),
        ports,
        seed: false,
        event: crate::tracker::wire::Event::Started,
        progress: None,
        want: 25,
        traits: Traits::default(),
    })
}

#[test]
fn a_bittorrent_tracker_is_announced_to_as_it_understands() {
    let mut world = World::new(1);
    world.bep15 = true;
    for ticket in 1..=2 {
        world.input(Input::Ask(ticket, announce()));
        world.settle();
        assert_eq!(world.done.pop().unwrap().2, Err(Failure::Silent));
    }
    assert_eq!(world.machine.speaks(), Speaks::Bep15);
    world.input(Input::Ask(3, announce()));
    world.settle();
    assert!(
        matches!(world.done.pop().unwrap().2, Ok(Answer::Announced { interval_s, .. }) if interval_s >= 54)
    );
    assert_eq!(world.service.table().entries(), 1);
    // It has nobody for us, which is found at once.
    world.ask(4);
    assert!(matches!(world.done.pop().unwrap().2, Ok(Answer::Found { .. })));
    // It has become one of ours: a restart shows it.
    world.bep15 = false;
    world.dead_paths = vec![0];
    world.input(Input::Ask(5, announce()));
    world.settle();
    assert_eq!(world.machine.speaks(), Speaks::Native);
}

#[test]
fn a_tracker_that_dies_is_not_taken_for_another_kind() {
    let mut world = World::new(1);
    world.input(Input::Ask(1, announce()));
    world.settle();
    assert!(world.done.pop().unwrap().2.is_ok());
    world.dead_paths = vec![0];
    for ticket in 2..=6 {
        world.input(Input::Ask(ticket, announce()));
        world.settle();
        assert_eq!(world.done.pop().unwrap().2, Err(Failure::Silent));
        assert_ne!(world.machine.speaks(), Speaks::Bep15);
    }
    world.dead_paths.clear();
    world.input(Input::Ask(7, announce()));
    world.settle();
    assert!(world.done.pop().unwrap().2.is_ok());
}
