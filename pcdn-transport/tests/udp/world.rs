//! A small network in virtual time: nodes with an uplink and a downlink each, drop-tail queues, and rough handling on the
//! way. It drives the sans-IO endpoints and nothing else; a seed fixes every run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::layout::{Layout, PieceKey, SegmentId};
use pcdn_core::transport::{Class, Fetch, Grant};
use pcdn_core::unit::{Rate, Time};
use pcdn_core::verify::Verified;
use pcdn_transport::udp::{Endpoint, Event, SessionId, UdpConfig};

/// Bytes that IPv4 and UDP add to a datagram on the wire.
pub(crate) const IP_UDP: usize = 28;
/// Share of the wire that full sub-pieces leave for content.
pub(crate) const PAYLOAD_SHARE: f64 = 1280.0 / (1280.0 + 13.0 + 25.0 + IP_UDP as f64);
pub(crate) const PIECE: u32 = 65_536;

/// One direction of an access link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pipe {
    pub(crate) rate: Rate,
    /// The longest time a packet may wait; beyond it is dropped.
    pub(crate) queue: Duration,
    free_at: Time,
    pub(crate) passed: u64,
    pub(crate) dropped: u64,
}

impl Pipe {
    pub(crate) fn mbit(mbit: u64, queue_ms: u64) -> Self {
        let queue = Duration::from_millis(queue_ms);
        Self { rate: Rate::from_mbit(mbit), queue, free_at: Time::ZERO, passed: 0, dropped: 0 }
    }

    pub(crate) fn unlimited() -> Self {
        Self { rate: Rate(10_000_000_000), ..Self::mbit(0, 1000) }
    }

    /// When a datagram put in now comes out, if it does.
    fn pass(&mut self, now: Time, bytes: usize) -> Option<Time> {
        if self.free_at.since(now) > self.queue {
            self.dropped += 1;
            return None;
        }
        self.passed += 1;
        self.free_at = self.free_at.max(now) + self.rate.time_for((bytes + IP_UDP) as u64);
        Some(self.free_at)
    }
}

/// What the network does to datagrams, as probabilities.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rough {
    pub(crate) loss: f64,
    pub(crate) duplicate: f64,
    pub(crate) reorder: f64,
    pub(crate) corrupt: f64,
}

/// How a node serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    AtOnce,
    /// Never answers for this segment.
    Stuck(u64),
}

pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) id: PeerId,
    pub(crate) addr: SocketAddr,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) serving: Serving,
    pub(crate) log: Vec<Event>,
    pub(crate) fetches: BTreeMap<(SessionId, u32), Piece>,
    pub(crate) content: u64,
    pub(crate) done: Vec<(Time, Piece)>,
    pub(crate) failed: usize,
    pub(crate) abandoned: usize,
    /// When the endpoint wants to be woken.
    wake: Time,
}

#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) segment: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) have: u32,
    pub(crate) asked: Time,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flying {
    at: Time,
    order: u64,
    arrived: bool,
    from: SocketAddr,
    to: SocketAddr,
    bytes: Vec<u8>,
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rough: Rough,
    /// One way, both access links together.
    pub(crate) way: Duration,
    pub(crate) dice: Dice,
    /// Larger IP packets vanish.
    pub(crate) mtu: usize,
    /// Bytes of every piece.
    pub(crate) piece: u32,
    flying: BinaryHeap<Reverse<Flying>>,
    order: u64,
    segments: u64,
    /// Where each node's address is mapped to, for NATs that change their mind.
    pub(crate) seen_as: BTreeMap<SocketAddr, SocketAddr>,
}

/// The bytes of piece 0 of `segment`.
pub(crate) fn content(segment: u64, len: u32) -> Vec<u8> {
    let mut dice = Dice::new(segment);
    (0..len / 8).flat_map(|_| dice.next_u64().to_le_bytes()).collect()
}

pub(crate) fn fetch_of(segment: u64, len: u32, class: Class) -> Fetch {
    let piece = Layout::new(len.into(), len.ilog2() as u8).unwrap().piece(0).unwrap();
    Fetch {
        swarm: SwarmKey([1; 32]),
        piece: PieceKey { segment: SegmentId(segment), piece },
        len,
        want: vec![],
        class,
        within: Duration::from_secs(30),
    }
}

impl World {
    pub(crate) fn new(seed: u64, rtt_ms: u64) -> Self {
        Self {
            now: Time::from_secs(1),
            nodes: Vec::new(),
            rough: Rough::default(),
            way: Duration::from_micros(rtt_ms * 500),
            dice: Dice::new(seed),
            mtu: 1 << 16,
            piece: PIECE,
            flying: BinaryHeap::new(),
            order: 0,
            segments: 0,
            seen_as: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, up: Pipe, down: Pipe, config: UdpConfig) -> usize {
        let n = self.nodes.len() as u8;
        let me = Identity::from_secret([n + 1; 32]);
        self.nodes.push(Node {
            id: me.peer_id(),
            endpoint: Endpoint::new(me, config, [n ^ 0x55; 32]),
            addr: SocketAddr::from(([10, 0, 0, n], 4000)),
            up,
            down,
            serving: Serving::AtOnce,
            log: Vec::new(),
            fetches: BTreeMap::new(),
            content: 0,
            done: Vec::new(),
            failed: 0,
            abandoned: 0,
            wake: Time::NEVER,
        });
        n.into()
    }

    /// Opens a session from `a` to `b` and gives each side's name for it.
    pub(crate) fn link(&mut self, a: usize, b: usize) -> (SessionId, SessionId) {
        let (id, addr) = (self.nodes[b].id, self.nodes[b].addr);
        let (mut here, mut there) = (None, None);
        self.nodes[a].endpoint.connect(self.now, id, &[addr]);
        self.settle(a);
        let until = self.now + Duration::from_secs(12);
        while here.is_none() || there.is_none() {
            assert!(self.now < until, "no session between {a} and {b}");
            self.step();
            here = here.or_else(|| self.connected(a));
            there =
                there.or(self.take(b, |e| {
                    if let Event::Accepted { session, .. } = e { Some(*session) } else { None }
                }));
        }
        (here.unwrap(), there.unwrap())
    }

    pub(crate) fn connected(&mut self, node: usize) -> Option<SessionId> {
        self.take(
            node,
            |event| if let Event::Connected { session, .. } = event { Some(*session) } else { None },
        )
    }

    /// Takes the first logged event that `pick` likes.
    pub(crate) fn take<T>(&mut self, node: usize, pick: impl Fn(&Event) -> Option<T>) -> Option<T> {
        let at = self.nodes[node].log.iter().position(|event| pick(event).is_some())?;
        pick(&self.nodes[node].log.remove(at))
    }

    /// Asks for the next piece nobody asked for yet.
    pub(crate) fn fetch_next(&mut self, node: usize, session: SessionId) {
        self.segments += 1;
        self.fetch(node, session, self.segments, Class::Normal);
    }

    pub(crate) fn fetch(&mut self, node: usize, session: SessionId, segment: u64, class: Class) -> u32 {
        let now = self.now;
        let fetch = self.nodes[node]
            .endpoint
            .fetch(now, session, fetch_of(segment, self.piece, class))
            .expect("the session is open");
        let piece = Piece { segment, bytes: vec![0; self.piece as usize], have: 0, asked: now };
        self.nodes[node].fetches.insert((session, fetch), piece);
        self.settle(node);
        fetch
    }

    pub(crate) fn run_until(&mut self, until: Time) {
        while self.next_time() <= until {
            self.step();
        }
        self.now = until;
    }

    /// Runs while each of `asks` keeps `outstanding` pieces asked for.
    pub(crate) fn pull_until(&mut self, until: Time, asks: &[(usize, SessionId)], outstanding: usize) {
        let mut over = None;
        while self.now < until {
            // Counting for each of many sessions at each step would take most of a run.
            let over_now: usize = self.nodes.iter().map(|node| node.done.len() + node.failed).sum();
            let news = over.replace(over_now) != Some(over_now);
            for (node, session) in asks.iter().filter(|_| news) {
                let count =
                    |world: &World| world.nodes[*node].fetches.keys().filter(|(s, _)| s == session).count();
                while count(self) < outstanding {
                    self.fetch_next(*node, *session);
                }
            }
            if self.next_time() > until {
                self.now = until;
                return;
            }
            self.step();
        }
    }

    /// Content bytes received by all.
    pub(crate) fn content(&self) -> u64 {
        self.nodes.iter().map(|node| node.content).sum()
    }

    fn next_time(&self) -> Time {
        let flying = self.flying.peek().map_or(Time::NEVER, |Reverse(flying)| flying.at);
        let wakes = self.nodes.iter().map(|node| node.wake).min().unwrap_or(Time::NEVER);
        flying.min(wakes)
    }

    pub(crate) fn step(&mut self) {
        let next = self.next_time();
        assert!(next != Time::NEVER, "nothing will ever happen again");
        self.now = self.now.max(next);
        if let Some(Reverse(flying)) = self.flying.peek()
            && flying.at <= self.now
        {
            let Reverse(flying) = self.flying.pop().unwrap();
            self.arrive(flying);
            return;
        }
        for node in 0..self.nodes.len() {
            if self.nodes[node].wake <= self.now {
                self.nodes[node].endpoint.wake(self.now);
                self.settle(node);
            }
        }
    }

    fn arrive(&mut self, mut flying: Flying) {
        let real =
            self.seen_as.iter().find(|(_, seen)| **seen == flying.to).map_or(flying.to, |(real, _)| *real);
        if real == flying.to && self.seen_as.contains_key(&real) {
            return; // The old mapping is gone.
        }
        let Some(node) = self.nodes.iter().position(|node| node.addr == real) else { return };
        if !flying.arrived {
            if let Some(at) = self.nodes[node].down.pass(self.now, flying.bytes.len()) {
                self.fly(Flying { at, arrived: true, ..flying });
            }
            return;
        }
        self.nodes[node].endpoint.handle(self.now, flying.from, &mut flying.bytes);
        self.settle(node);
    }

    fn fly(&mut self, flying: Flying) {
        self.order += 1;
        self.flying.push(Reverse(Flying { order: self.order, ..flying }));
    }

    /// Drains a node after an input.
    pub(crate) fn settle(&mut self, at: usize) {
        loop {
            while let Some(event) = self.nodes[at].endpoint.poll_event() {
                self.react(at, event);
            }
            let mut out = Vec::new();
            let Some(transmit) = self.nodes[at].endpoint.poll_transmit(self.now, 16, &mut out) else { break };
            let addr = self.nodes[at].addr;
            let from = self.seen_as.get(&addr).copied().unwrap_or(addr);
            for datagram in out.chunks(transmit.segment) {
                assert!(datagram.len() <= 1350);
                let Some(through) = self.nodes[at].up.pass(self.now, datagram.len()) else { continue };
                self.throw(through + self.way, from, transmit.to, datagram);
            }
        }
        self.nodes[at].wake = self.nodes[at].endpoint.next_wake();
    }

    /// A datagram sets out over the rough part of the way.
    pub(crate) fn throw(&mut self, at: Time, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let rough = self.rough;
        if datagram.len() + IP_UDP > self.mtu {
            return;
        }
        if self.dice.chance(rough.loss) {
            return;
        }
        let copies = 1 + usize::from(self.dice.chance(rough.duplicate));
        for _ in 0..copies {
            let mut bytes = datagram.to_vec();
            if self.dice.chance(rough.corrupt) {
                let byte = self.dice.below(bytes.len() as u64) as usize;
                bytes[byte] ^= 1 << self.dice.below(8);
            }
            let late = if self.dice.chance(rough.reorder) { self.dice.below(15_000) } else { 0 };
            self.fly(Flying {
                at: at + Duration::from_micros(late),
                order: 0,
                arrived: false,
                from,
                to,
                bytes,
            });
        }
    }

    fn react(&mut self, at: usize, event: Event) {
        let now = self.now;
        let node = &mut self.nodes[at];
        match event {
            Event::Open { session, fetch, want, .. } => {
                if node.serving != Serving::Stuck(want.piece.segment.0) {
                    let bytes = Verified::for_test(Bytes::from(content(want.piece.segment.0, want.len)));
                    node.endpoint.granted(now, session, fetch, Grant::new(bytes, None));
                }
            }
            Event::Abandon { .. } => node.abandoned += 1,
            Event::Chunk { session, fetch, chunk } => {
                node.content += chunk.bytes.len() as u64;
                if let Some(piece) = node.fetches.get_mut(&(session, fetch)) {
                    piece.have += chunk.bytes.len() as u32;
                    piece.bytes[chunk.offset as usize..][..chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                }
            }
            Event::Fetched { session, fetch } => {
                let piece = node.fetches.remove(&(session, fetch)).expect("every fetch is kept");
                let whole = content(piece.segment, piece.bytes.len() as u32);
                assert_eq!(piece.have as usize, whole.len(), "all bytes came, none twice");
                assert!(piece.bytes == whole, "every byte is right");
                node.done.push((now, piece));
            }
            Event::FetchFailed { session, fetch, .. } => {
                node.failed += usize::from(node.fetches.remove(&(session, fetch)).is_some());
            }
            other => node.log.push(other),
        }
    }
}
