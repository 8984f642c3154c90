use std::net::Ipv6Addr;

use super::*;

const FILM: SwarmKey = SwarmKey([1; 32]);
const OTHER: SwarmKey = SwarmKey([2; 32]);

/// Nodes on one wire; what one says to everybody comes to all others, at once.
struct Wire {
    now: Time,
    dice: Dice,
    nodes: Vec<Machine>,
    /// Lose so many of the next multicasts.
    lose: usize,
    sent: usize,
}

impl Wire {
    fn of(count: usize) -> Self {
        let nodes = (0..count).map(|n| v4(id(n))).collect();
        Self { now: Time::from_secs(1), dice: Dice::new(7), nodes, lose: 0, sent: 0 }
    }

    fn run(&mut self, until: Time) {
        while let Some(next) = self.nodes.iter().map(Machine::next_wake).min().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            for n in 0..self.nodes.len() {
                for (_, datagram) in self.nodes[n].wake(self.now, &mut self.dice) {
                    self.sent += 1;
                    if self.lose > 0 {
                        self.lose -= 1;
                        continue;
                    }
                    self.multicast(n, &datagram);
                }
            }
        }
        self.now = until;
    }

    fn multicast(&mut self, from: usize, datagram: &[u8]) {
        // A node hears its own words, too.
        for to in 0..self.nodes.len() {
            let answer = self.nodes[to].handle(self.now, &mut self.dice, at(from), datagram);
            if let Some(answer) = answer {
                self.sent += 1;
                self.nodes[from].handle(self.now, &mut self.dice, at(to), &answer);
            }
        }
    }

    fn announce(&mut self, n: usize, key: &SwarmKey) {
        assert!(self.nodes[n].announce(self.now, key, ports(vec![(Scheme::Udp, 4000 + n as u16)])));
    }

    fn found(&self, n: usize, key: &SwarmKey) -> Vec<String> {
        let found = self.nodes[n].found(self.now, key, 100);
        found.iter().flat_map(|record| &record.addrs).map(PeerAddr::to_string).collect()
    }
}

/// A node in a network with private addresses and nothing else.
fn v4(id: PeerId) -> Machine {
    let mut machine = Machine::new(id);
    machine.set_places(Time::ZERO, Places { v4: true, v6: Vec::new() });
    machine
}

fn ports(v4: Vec<(Scheme, u16)>) -> Ports {
    Ports { v4, v6: Vec::new() }
}

fn id(n: usize) -> PeerId {
    PeerId([n as u8 + 1; 32])
}

fn at(n: usize) -> SocketAddr {
    SocketAddr::from(([192, 168, 1, n as u8 + 2], 50_000))
}

fn secs(s: u64) -> Time {
    Time::from_secs(s)
}

#[test]
fn who_comes_later_and_who_was_there_know_each_other_at_once() {
    let mut wire = Wire::of(3);
    wire.announce(0, &FILM);
    wire.announce(2, &OTHER);
    wire.run(secs(10));
    wire.announce(1, &FILM);
    wire.run(secs(10));
    assert_eq!(wire.found(1, &FILM), ["udp://192.168.1.2:4000"]);
    assert_eq!(wire.found(0, &FILM), ["udp://192.168.1.3:4001"]);
    assert!(wire.found(2, &FILM).is_empty() && wire.found(0, &OTHER).is_empty());
}

#[test]
fn two_lost_announcements_are_made_good_within_a_second() {
    let mut wire = Wire::of(2);
    wire.announce(0, &FILM);
    wire.run(secs(10));
    wire.lose = 2;
    wire.announce(1, &FILM);
    wire.run(secs(10));
    assert!(wire.found(1, &FILM).is_empty());
    wire.run(Time(secs(11).0 + 400_000));
    assert_eq!(wire.found(1, &FILM).len(), 1);
}

#[test]
fn who_says_nothing_any_more_or_goodbye_is_forgotten() {
    let mut wire = Wire::of(3);
    (0..3).for_each(|n| wire.announce(n, &FILM));
    wire.run(secs(200));
    assert_eq!(wire.found(0, &FILM).len(), 2, "repeated in time");
    let now = wire.now;
    wire.nodes[1].withdraw(now, &FILM);
    wire.run(secs(200));
    assert_eq!(wire.found(0, &FILM), ["udp://192.168.1.4:4002"]);
    wire.nodes.truncate(2);
    wire.run(secs(200 + 151));
    assert!(wire.found(0, &FILM).is_empty());
}

#[test]
fn in_a_crowd_only_some_answer() {
    let mut wire = Wire::of(200);
    (0..200).for_each(|n| wire.announce(n, &FILM));
    wire.run(secs(30));
    let before = wire.sent;
    let (n, now) = (5, wire.now);
    wire.nodes[n].ask(now, &FILM);
    wire.run(secs(30));
    let answers = wire.sent - before - 1;
    assert!((40..=140).contains(&answers), "{answers} of 199: 64 are known to each");
    assert_eq!(wire.nodes[n].found(now, &FILM, 1_000).len(), PEERS_MAX);
}

#[test]
fn at_rest_it_says_something_once_a_minute_and_looking_asks_every_five_seconds_at_most() {
    let mut wire = Wire::of(1);
    wire.announce(0, &FILM);
    wire.announce(0, &OTHER);
    wire.run(secs(10));
    assert_eq!(wire.sent, 3, "both swarms in one datagram, thrice");
    wire.run(secs(610));
    assert!((8..=13).contains(&(wire.sent - 3)), "{}", wire.sent);
    let mut looking = Wire::of(1);
    for second in 1..11 {
        looking.nodes[0].ask(secs(second), &FILM);
        looking.run(secs(second));
    }
    assert_eq!(looking.sent, 2);
}

#[test]
fn nothing_from_outside_counts_and_a_flood_costs_little() {
    let mut wire = Wire::of(2);
    wire.announce(0, &FILM);
    let now = wire.now;
    wire.nodes[1].announce(now, &FILM, ports(vec![(Scheme::Udp, 4000), (Scheme::Udp, 53)]));
    let word = wire.nodes[1].wake(now, &mut Dice::new(1)).remove(0).1;
    for from in ["198.51.100.1:50000", "127.0.0.1:50000"] {
        assert!(wire.nodes[0].handle(now, &mut wire.dice, from.parse().unwrap(), &word).is_none());
    }
    assert!(wire.found(0, &FILM).is_empty());
    let flood = (0..10_000).filter(|_| wire.nodes[0].handle(now, &mut wire.dice, at(1), &word).is_some());
    assert_eq!(flood.count(), HEARD_BURST as usize);
    assert_eq!(wire.found(0, &FILM), ["udp://192.168.1.3:4000"], "not its port 53");
}

#[test]
fn swarms_are_bounded_and_those_only_looked_for_end() {
    let mut node = v4(id(0));
    let key = |n: usize| SwarmKey([(n / 256) as u8, n as u8].repeat(16).try_into().unwrap());
    for n in 0..SWARMS_MAX {
        assert!(node.announce(secs(1), &key(n), Ports::default()));
    }
    assert!(!node.announce(secs(1), &key(SWARMS_MAX), Ports::default()));
    let words = node.wake(secs(1), &mut Dice::new(1));
    assert_eq!(words.len(), SWARMS_MAX.div_ceil(TAGS_MAX));
    let mut looker = v4(id(1));
    looker.ask(secs(1), &FILM);
    looker.wake(secs(62), &mut Dice::new(1));
    assert!(looker.swarms.is_empty());
}

/// Says all that `from` has to say to everybody, from an address of its of that version; gives what was said in each.
fn say(from: &mut Machine, to: &mut Machine, at: [&str; 2], now: Time) -> [usize; 2] {
    let mut dice = Dice::new(3);
    let words = from.wake(now, &mut dice);
    let mut said = [0; 2];
    for (family, word) in words {
        said[family as usize] += 1;
        let at = format!("{}:50000", at[family as usize]).parse().unwrap();
        if let Some(answer) = to.handle(now, &mut dice, at, &word) {
            from.handle(now, &mut dice, "[2001:db8:1:2::b]:50000".parse().unwrap(), &answer);
        }
    }
    said
}

const A: [&str; 2] = ["192.168.1.2", "[2001:db8:1:2::a]"];

fn both(id: PeerId, last: u16) -> Machine {
    let mut machine = Machine::new(id);
    let v6 = vec![Ipv6Addr::new(0x2001, 0xdb8, 1, 2, 0, 0, 0, last)];
    machine.set_places(Time::ZERO, Places { v4: true, v6 });
    machine
}

#[test]
fn each_version_of_ip_names_the_ports_that_are_reached_in_it() {
    let (mut a, mut b) = (both(id(0), 0xa), both(id(1), 0xb));
    let ports = Ports { v4: vec![(Scheme::Udp, 4000)], v6: vec![(Scheme::Udp, 4006), (Scheme::Quic, 4007)] };
    assert!(a.announce(secs(1), &FILM, ports));
    assert!(b.announce(secs(1), &FILM, Ports { v4: Vec::new(), v6: vec![(Scheme::Udp, 5000)] }));
    b.wake(secs(1), &mut Dice::new(1));
    assert_eq!(say(&mut a, &mut b, A, secs(1)), [1, 1]);
    let known = |machine: &Machine| {
        let found = machine.found(secs(1), &FILM, 9);
        found.iter().flat_map(|record| &record.addrs).map(PeerAddr::to_string).collect::<Vec<_>>()
    };
    let of_a = ["udp://[2001:db8:1:2::a]:4006", "quic://[2001:db8:1:2::a]:4007", "udp://192.168.1.2:4000"];
    assert_eq!(known(&b), of_a);
    // It has no port in IPv4, and said so; in IPv6 it has.
    assert_eq!(known(&a), ["udp://[2001:db8:1:2::b]:5000"]);
}

#[test]
fn only_who_shares_a_prefix_is_near_in_ipv6() {
    let (mut a, mut b) = (both(id(0), 0xa), both(id(1), 0xb));
    let ports = Ports { v4: Vec::new(), v6: vec![(Scheme::Udp, 4000)] };
    assert!(a.announce(secs(1), &FILM, ports.clone()) && b.announce(secs(1), &FILM, ports));
    for from in ["[2001:db8:1:3::a]", "[fe80::a]", "[::1]", "[2001:db9:1:2::a]"] {
        assert_eq!(say(&mut a, &mut b, ["198.51.100.1", from], secs(1)), [1, 1]);
        assert!(b.found(secs(1), &FILM, 9).is_empty(), "{from}");
        a.set_places(secs(1), Places { v4: false, v6: vec![Ipv6Addr::LOCALHOST] });
        a.set_places(secs(1), both(id(0), 0xa).places);
    }
    assert_eq!(say(&mut a, &mut b, A, secs(1)), [1, 1]);
    assert_eq!(b.found(secs(1), &FILM, 9).len(), 1);
}

#[test]
fn in_a_network_that_is_new_everybody_is_asked_again() {
    let (mut a, mut b) = (v4(id(0)), both(id(1), 0xb));
    let ports = || Ports { v4: vec![(Scheme::Udp, 4000)], v6: vec![(Scheme::Udp, 4000)] };
    assert!(a.announce(secs(1), &FILM, ports()) && b.announce(secs(1), &FILM, ports()));
    assert_eq!(say(&mut a, &mut b, A, secs(1)), [1, 0]);
    a.wake(secs(3), &mut Dice::new(1));
    a.wake(secs(5), &mut Dice::new(1));
    assert!(a.next_wake() > secs(30));
    let places = both(id(0), 0xa).places;
    a.set_places(secs(6), places.clone());
    assert_eq!(a.next_wake(), secs(6));
    assert_eq!(say(&mut a, &mut b, A, secs(6)), [1, 1]);
    a.wake(secs(7), &mut Dice::new(1));
    a.wake(secs(9), &mut Dice::new(1));
    a.set_places(secs(10), places);
    assert!(a.next_wake() > secs(30), "where it was already, nothing is new");
}
