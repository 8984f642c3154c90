//! Meeting: the tracker, dialling, links, messages, and parting.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::Input;
use pcdn_core::unit::Time;
use pcdn_core::wire::Message;

use super::{Event, State, World};
use crate::sim::net;
use crate::sim::scenario::TrackerSpec;

/// Every peer listens here, at an address made of its number.
const PORT: u16 = 7_400;
/// A dial that nobody answers is given up after this; the transports' own limit.
const DIAL: u64 = 10_000_000;
/// A link whose other end died without a goodbye is found dead after this.
const IDLE: u64 = 10_000_000;
/// The tracker forgets a peer that stopped renewing.
const LEASE: u64 = 60_000_000;

/// A link between two peers; end `2·link + side` is the side's.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peers: [u32; 2],
    pub(super) handles: [Handle; 2],
    pub(super) up: [bool; 2],
    /// Neither side has closed it.
    wanted: bool,
    /// When the last thing sent to each side arrives: what is sent later arrives later.
    last: [u64; 2],
    /// Pieces each side has to send, in order.
    pub(super) out: [VecDeque<u32>; 2],
}

/// A message on its way to a link end.
#[derive(Debug)]
pub(super) struct Letter {
    to: u32,
    message: Message,
}

/// Who takes part, as the tracker knows.
#[derive(Debug)]
pub(super) struct Tracker {
    members: Vec<u32>,
    answer: usize,
    latency: u64,
    silent_from: Time,
}

impl Tracker {
    pub(super) fn new(spec: &TrackerSpec) -> Self {
        Self {
            members: Vec::new(),
            answer: spec.answer,
            latency: spec.latency.0.as_micros() as u64,
            silent_from: spec.silent_from.map_or(Time::NEVER, |span| Time::ZERO + span.0),
        }
    }

    pub(super) fn forget(&mut self, peer: u32) {
        self.members.retain(|member| *member != peer);
    }
}

impl World<'_> {
    pub(super) fn announce(&mut self, peer: u32) {
        let latency = self.peers[peer as usize].access.latency + self.tracker.latency;
        self.after(latency, Event::Announced(peer));
    }

    pub(super) fn announced(&mut self, peer: u32) {
        if self.now < self.tracker.silent_from && self.peers[peer as usize].state == State::Online {
            self.tracker.members.push(peer);
        }
    }

    pub(super) fn find(&mut self, peer: u32, want: usize) {
        let trip = 2 * (self.peers[peer as usize].access.latency + self.tracker.latency);
        if self.now < self.tracker.silent_from {
            self.after(trip, Event::Found { peer, want: want.min(self.tracker.answer) as u16 });
        }
    }

    /// Members at random, the asker not among them.
    pub(super) fn found(&mut self, peer: u32, want: u16) {
        let members = &self.tracker.members;
        let want = usize::from(want);
        let mut chosen: Vec<u32> = Vec::with_capacity(want);
        if members.len() <= 2 * want {
            chosen.extend(members.iter().filter(|member| **member != peer));
            self.dice.shuffle(&mut chosen);
            chosen.truncate(want);
        } else {
            // Most draws are new, as less than half of the members are wanted.
            while chosen.len() < want {
                let drawn = members[self.dice.below(members.len() as u64) as usize];
                if drawn != peer && !chosen.contains(&drawn) {
                    chosen.push(drawn);
                }
            }
        }
        let superpeers = chosen.iter().filter(|other| self.group(**other).superpeer);
        let superpeers: Vec<PeerId> = superpeers.map(|other| self.peers[*other as usize].id).collect();
        let records = chosen.into_iter().map(|other| self.record(other)).collect();
        self.give(peer, Input::Found(records));
        if !superpeers.is_empty() {
            self.give(peer, Input::Prefer(superpeers));
        }
    }

    fn record(&self, peer: u32) -> PeerRecord {
        PeerRecord { id: self.peers[peer as usize].id, addrs: vec![door(peer)], seed: false }
    }

    /// A dial: the dialler's end is up after one round trip, the other's half of one later. One link a pair.
    pub(super) fn dial(&mut self, peer: u32, record: &PeerRecord) {
        let Some(other) = record.addrs.first().and_then(|addr| number(addr.addr.ip())) else { return };
        if other as usize >= self.peers.len() || other == peer || self.linked(peer, other) {
            return;
        }
        let [here, there] = [peer, other].map(|peer| pcdn_core::peer::Nat::from(self.group(peer).nat));
        if self.peers[other as usize].state != State::Online || !here.meets(there) {
            return self.after(DIAL, Event::NotReached { peer, other });
        }
        let latency = self.latency(peer, other);
        let link = self.links.len() as u32;
        let handles = [peer, other].map(|peer| Handle(self.peers[peer as usize].ends.len() as u32));
        for (side, peer) in [peer, other].into_iter().enumerate() {
            self.peers[peer as usize].ends.push(2 * link + side as u32);
        }
        self.links.push(Link {
            peers: [peer, other],
            handles,
            up: [false; 2],
            wanted: true,
            last: [0; 2],
            out: [VecDeque::new(), VecDeque::new()],
        });
        self.after(2 * latency, Event::LinkUp(2 * link));
        self.after(3 * latency, Event::LinkUp(2 * link + 1));
    }

    fn linked(&self, peer: u32, other: u32) -> bool {
        let ends = &self.peers[peer as usize].ends;
        ends.iter().rev().any(|end| {
            let link = &self.links[*end as usize / 2];
            link.wanted && link.peers[1 - *end as usize % 2] == other
        })
    }

    pub(super) fn link_up(&mut self, end: u32) {
        let (link, side) = (end as usize / 2, end as usize % 2);
        let [peer, other] = [side, 1 - side].map(|side| self.links[link].peers[side]);
        let handle = self.links[link].handles[side];
        if !self.links[link].wanted || self.peers[peer as usize].state != State::Online {
            // The other end went while the handshake was under way; its own end hears of it like of any other.
            return;
        }
        self.links[link].up[side] = true;
        let rtt = Duration::from_micros(2 * self.latency(peer, other));
        let id = self.peers[other as usize].id;
        self.give(peer, Input::LinkUp { link: handle, peer: id, remote: Some(door(other)), rtt });
    }

    pub(super) fn not_reached(&mut self, peer: u32, other: u32) {
        let id = self.peers[other as usize].id;
        self.give(peer, Input::NotReached(id));
    }

    /// One side closes; the other hears of it after what was sent before.
    pub(super) fn close(&mut self, peer: u32, handle: Handle) {
        let Some(end) = self.end(peer, handle) else { return };
        self.hang_up(end, None);
        self.give(peer, Input::LinkDown { link: handle });
    }

    /// `end` is given up by its own side; the other end goes down `after` microseconds, or after what was sent before.
    fn hang_up(&mut self, end: u32, after: Option<u64>) {
        let (link, side) = (end as usize / 2, end as usize % 2);
        if !self.links[link].wanted {
            return;
        }
        self.links[link].wanted = false;
        self.links[link].up[side] = false;
        self.drop_queue(end);
        let at = match after {
            Some(after) => self.now.0 + after,
            None => self.arrival(end, 0),
        };
        self.wheel.insert(Time(at), Event::LinkDown(end ^ 1));
    }

    pub(super) fn link_down(&mut self, end: u32) {
        let (link, side) = (end as usize / 2, end as usize % 2);
        let was_up = std::mem::replace(&mut self.links[link].up[side], false);
        self.drop_queue(end);
        let [peer, other] = [side, 1 - side].map(|side| self.links[link].peers[side]);
        match was_up {
            true => self.give(peer, Input::LinkDown { link: self.links[link].handles[side] }),
            // The handshake was still under way: to the dialler that is a dial that failed.
            false if side == 0 => self.not_reached(peer, other),
            false => {}
        }
    }

    pub(super) fn send(&mut self, peer: u32, handle: Handle, message: Message) {
        let Some(end) = self.end(peer, handle) else { return };
        let arrival = self.arrival(end, net::message_bytes(&message));
        let letter = Some(Letter { to: end ^ 1, message });
        let id = match self.free_letters.pop() {
            Some(id) => {
                self.letters[id as usize] = letter;
                id
            }
            None => {
                self.letters.push(letter);
                (self.letters.len() - 1) as u32
            }
        };
        self.wheel.insert(Time(arrival), Event::Letter(id));
    }

    pub(super) fn letter(&mut self, id: u32) {
        let Some(Letter { to, message }) = self.letters[id as usize].take() else { return };
        self.free_letters.push(id);
        let (link, side) = (&self.links[to as usize / 2], to as usize % 2);
        if link.up[side] {
            let (peer, handle) = (link.peers[side], link.handles[side]);
            self.give(peer, Input::Message { link: handle, message });
        }
    }

    /// The end of an open link.
    pub(super) fn end(&self, peer: u32, handle: Handle) -> Option<u32> {
        let end = *self.peers[peer as usize].ends.get(handle.0 as usize)?;
        self.links[end as usize / 2].up[end as usize % 2].then_some(end)
    }

    /// When a message of `bytes` sent now from `end` arrives at the other end: in order, and repaired where it is lost.
    pub(super) fn arrival(&mut self, end: u32, bytes: u64) -> u64 {
        let (link, side) = (end as usize / 2, end as usize % 2);
        let [peer, other] = [side, 1 - side].map(|side| self.links[link].peers[side]);
        let latency = self.latency(peer, other);
        let sending = self.peers[peer as usize].access.send_message(bytes);
        let loss = self.loss(peer, other);
        let repair = net::repair(&mut self.dice, loss, bytes as f64, 2 * latency);
        let last = &mut self.links[link].last[1 - side];
        *last = (*last).max(self.now.0 + sending + latency + repair);
        *last
    }

    pub(super) fn latency(&self, peer: u32, other: u32) -> u64 {
        self.peers[peer as usize].access.latency + self.peers[other as usize].access.latency
    }

    /// Of a path over both access links.
    pub(super) fn loss(&self, peer: u32, other: u32) -> f64 {
        let [a, b] = [peer, other].map(|peer| self.peers[peer as usize].access.loss);
        a + b - a * b
    }

    /// A goodbye: links are closed, the tracker is told, the engine is dropped.
    pub(super) fn leave(&mut self, peer: u32) {
        self.part(peer, None);
        self.tracker.forget(peer);
    }

    /// No goodbye: the others find out.
    pub(super) fn vanish(&mut self, peer: u32) {
        self.part(peer, Some(IDLE));
        self.after(LEASE, Event::Forgotten(peer));
    }

    fn part(&mut self, peer: u32, found_out_after: Option<u64>) {
        if self.peers[peer as usize].state == State::Gone {
            return;
        }
        self.peers[peer as usize].state = State::Gone;
        for end in std::mem::take(&mut self.peers[peer as usize].ends) {
            self.hang_up(end, found_out_after);
        }
        self.drop_work(peer);
        self.hang_up_origin(peer);
    }
}

/// 10.x.y.z, by number.
pub(super) fn door(peer: u32) -> PeerAddr {
    let ip = Ipv4Addr::from(0x0a00_0000 + peer).into();
    PeerAddr { scheme: Scheme::Udp, addr: SocketAddr::new(ip, PORT) }
}

fn number(address: IpAddr) -> Option<u32> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_sub(0x0a00_0000),
        IpAddr::V6(_) => None,
    }
}
