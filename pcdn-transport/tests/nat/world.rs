//! Two nodes, a router before each, and a tracker with two ports and two addresses. Every datagram takes 10 ms.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::id::{Identity, PeerId};
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{self, AnswerFrom, Here, Meet, Word};
use pcdn_transport::udp::{Endpoint, Event, UdpConfig};

pub(crate) const HOP: Duration = Duration::from_millis(10);
const TRACKER: &str = "198.51.100.10:7070";
const OTHER_PORT: &str = "198.51.100.10:7071";
const OTHER_ADDRESS: &str = "198.51.100.11:7071";

/// What a router does, in the textbook's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Router {
    None,
    Full,
    Address,
    Port,
    Symmetric,
    Block,
}

pub(crate) const ALL: [Router; 6] =
    [Router::None, Router::Full, Router::Address, Router::Port, Router::Symmetric, Router::Block];

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

struct Home {
    kind: Router,
    inside: SocketAddr,
    outside: IpAddr,
    next_port: u16,
    /// By where it goes to, if that matters.
    mappings: BTreeMap<Option<SocketAddr>, u16>,
    written_to: BTreeSet<(u16, SocketAddr)>,
}

impl Home {
    fn out(&mut self, to: SocketAddr) -> Option<SocketAddr> {
        match self.kind {
            Router::None => return Some(self.inside),
            Router::Block => return None,
            _ => {}
        }
        let key = (self.kind == Router::Symmetric).then_some(to);
        let next_port = &mut self.next_port;
        let port = *self.mappings.entry(key).or_insert_with(|| {
            *next_port += 7;
            *next_port
        });
        self.written_to.insert((port, to));
        Some(SocketAddr::new(self.outside, port))
    }

    fn lets_in(&self, from: SocketAddr, to: SocketAddr) -> bool {
        if self.kind == Router::None {
            return to == self.inside;
        }
        let port = to.port();
        let mapped = self.mappings.iter().find(|(_, mapped)| **mapped == port);
        let written = |test: &dyn Fn(&SocketAddr) -> bool| {
            self.written_to.iter().any(|(at, remote)| *at == port && test(remote))
        };
        to.ip() == self.outside
            && mapped.is_some()
            && match self.kind {
                Router::Full => true,
                Router::Address => written(&|remote| remote.ip() == from.ip()),
                Router::Port | Router::Symmetric => written(&|remote| *remote == from),
                Router::None | Router::Block => false,
            }
    }
}

/// When it arrives, its number, from where to where, and what.
type Flying = (Time, u64, SocketAddr, SocketAddr, Vec<u8>);

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Endpoint>,
    pub(crate) ids: Vec<PeerId>,
    homes: Vec<Home>,
    pub(crate) events: Vec<Vec<Event>>,
    flying: BinaryHeap<Reverse<Flying>>,
    sent: u64,
    /// Both nodes are behind the first router.
    one_home: bool,
    /// Whether that router turns around what comes from inside for its own outside.
    pub(crate) turns_around: bool,
    pub(crate) registered: BTreeMap<PeerId, SocketAddr>,
    /// What the tracker's tickets are made with.
    key: u8,
    pub(crate) calls: usize,
    /// What nodes say of their distance, the last word of each.
    pub(crate) rtts_ms: BTreeMap<PeerId, u16>,
}

impl World {
    pub(crate) fn new(routers: [Router; 2]) -> Self {
        let mut world = Self {
            now: Time::from_secs(100),
            nodes: Vec::new(),
            ids: Vec::new(),
            homes: Vec::new(),
            events: vec![Vec::new(), Vec::new()],
            flying: BinaryHeap::new(),
            sent: 0,
            one_home: false,
            turns_around: false,
            registered: BTreeMap::new(),
            key: 1,
            calls: 0,
            rtts_ms: BTreeMap::new(),
        };
        for (n, kind) in routers.into_iter().enumerate() {
            let me = Identity::from_secret([n as u8 + 1; 32]);
            let (inside, outside) = match kind {
                Router::None => (format!("203.0.113.{}:4000", n + 1), format!("203.0.113.{}", n + 1)),
                _ => (format!("192.168.{n}.2:4000"), format!("198.51.100.{}", 21 + n)),
            };
            world.ids.push(me.peer_id());
            world.homes.push(Home {
                kind,
                inside: addr(&inside),
                outside: outside.parse().unwrap(),
                next_port: 20_000 + 1_000 * n as u16,
                mappings: BTreeMap::new(),
                written_to: BTreeSet::new(),
            });
            let mut node = Endpoint::new(me, UdpConfig::default(), [n as u8 + 50; 32]);
            node.meet_at(world.now, &[addr(TRACKER)], &[addr(&inside)]);
            world.nodes.push(node);
        }
        world
    }

    /// Two nodes behind one router, which makes a mapping of its kind for each.
    pub(crate) fn one_home(kind: Router, turns_around: bool) -> Self {
        let mut world = Self::new([kind, kind]);
        world.homes[1].outside = world.homes[0].outside;
        (world.one_home, world.turns_around) = (true, turns_around);
        world
    }

    /// Where others can try to dial a node: what the tracker saw, or its own idea.
    pub(crate) fn seen(&self, node: usize) -> SocketAddr {
        self.registered.get(&self.ids[node]).copied().unwrap_or(self.homes[node].inside)
    }

    pub(crate) fn connect(&mut self, from: usize, to: usize) {
        let at = self.seen(to);
        let peer = self.ids[to];
        self.nodes[from].connect(self.now, peer, &[at]);
        self.settle(from);
    }

    /// The router forgets everything; new mappings get other ports.
    pub(crate) fn rebind(&mut self, node: usize) {
        self.homes[node].mappings.clear();
        self.homes[node].written_to.clear();
    }

    /// The tracker has forgotten everybody, and its tickets are others.
    pub(crate) fn restart_tracker(&mut self) {
        self.registered.clear();
        self.key += 1;
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        let until = self.now + time;
        self.run_until(until, |_| false);
    }

    /// Until `done` says so; whether it did.
    pub(crate) fn run_until(&mut self, until: Time, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let flying = self.flying.peek().map_or(Time::NEVER, |Reverse(first)| first.0);
            let wake = self.nodes.iter().map(Endpoint::next_wake).min().unwrap_or(Time::NEVER);
            let next = flying.min(wake).max(self.now);
            if next >= until {
                self.now = until;
                return done(self);
            }
            self.now = next;
            if flying <= next
                && let Some(Reverse((_, _, from, to, bytes))) = self.flying.pop()
            {
                self.arrive(from, to, bytes);
            }
            for node in 0..self.nodes.len() {
                if self.nodes[node].next_wake() <= self.now {
                    self.nodes[node].wake(self.now);
                    self.settle(node);
                }
            }
        }
    }

    /// Lets a node say what it has to say.
    pub(crate) fn settle(&mut self, node: usize) {
        let mut out = Vec::new();
        loop {
            while let Some(event) = self.nodes[node].poll_event() {
                self.events[node].push(event);
            }
            out.clear();
            let Some(transmit) = self.nodes[node].poll_transmit(self.now, 1, &mut out) else { break };
            if self.one_home && self.homes.iter().any(|home| home.inside == transmit.to) {
                self.fly(self.homes[node].inside, transmit.to, out.clone());
                continue;
            }
            if self.one_home && self.homes[node].outside == transmit.to.ip() && !self.turns_around {
                continue;
            }
            if let Some(from) = self.homes[node].out(transmit.to) {
                self.fly(from, transmit.to, out.clone());
            }
        }
    }

    fn fly(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.sent += 1;
        self.flying.push(Reverse((self.now + HOP, self.sent, from, to, bytes)));
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) {
        if [TRACKER, OTHER_PORT, OTHER_ADDRESS].iter().any(|point| addr(point) == to) {
            return self.tracker(from, to, &bytes);
        }
        let inside = |home: &Home| self.one_home && home.inside == to;
        if let Some(node) = self.homes.iter().position(|home| inside(home) || home.lets_in(from, to)) {
            self.nodes[node].handle(self.now, from, &mut bytes);
            self.settle(node);
        }
    }

    /// A tracker in a few lines: pcdn-discovery has the real one.
    fn tracker(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let key = self.key;
        let ticket = |of: SocketAddr| {
            let mut ticket = [key; 8];
            ticket[..2].copy_from_slice(&of.port().to_be_bytes());
            ticket
        };
        match meet::decode(bytes) {
            Some(Word::Where(it)) => {
                if it.answer_from == AnswerFrom::Here && to == addr(TRACKER) {
                    self.rtts_ms.insert(it.id, it.rtt_ms);
                }
                if it.ticket == ticket(from) {
                    self.registered.insert(it.id, from);
                }
                let here = Here {
                    txid: it.txid,
                    ticket: ticket(from),
                    registered: it.ticket == ticket(from),
                    seen: from,
                    other_port: Some(addr(OTHER_PORT)),
                    other_address: Some(addr(OTHER_ADDRESS)),
                };
                let back = match it.answer_from {
                    AnswerFrom::Here => to,
                    AnswerFrom::OtherPort => addr(OTHER_PORT),
                    AnswerFrom::OtherAddress => addr(OTHER_ADDRESS),
                };
                self.fly(back, from, meet::encode(&Word::Here(here)));
            }
            Some(Word::Call(it)) => {
                self.calls += 1;
                if it.ticket == ticket(from) {
                    self.registered.insert(it.id, from);
                }
                let Some(wanted) = self.registered.get(&it.wanted).copied() else { return };
                let token = Some([7; 8]);
                let about = |peer, at, of| Meet {
                    txid: it.txid,
                    ticket: ticket(of),
                    token,
                    in_ms: 0,
                    peer,
                    addrs: match self
                        .homes
                        .iter()
                        .filter(|_| from.ip() == wanted.ip())
                        .zip(&self.ids)
                        .find(|(_, id)| **id == peer)
                    {
                        Some((home, _)) => vec![home.inside, at],
                        None => vec![at],
                    },
                };
                let both = [(from, about(it.wanted, wanted, from)), (wanted, about(it.id, from, wanted))];
                for (to, meet) in both {
                    self.fly(addr(TRACKER), to, meet::encode(&Word::Meet(meet)));
                }
            }
            _ => {}
        }
    }

    pub(crate) fn took<T>(&self, node: usize, pick: impl Fn(&Event) -> Option<T>) -> Option<T> {
        self.events[node].iter().rev().find_map(pick)
    }
}
