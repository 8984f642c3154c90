//! The whole protocol of one socket, without the socket: all sessions, handshakes and the shared uplink.

mod dial;
mod event;
mod handshake;
mod sessions;
mod through;
mod timers;
mod uplink;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use bytes::Bytes;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::transport::{Fetch, Grant, PathStats, Refuse};
use pcdn_core::unit::{Rate, Time};
use pcdn_core::wire::meet;

use super::config::UdpConfig;
use super::connection::{Connection, Ended};
use super::flow::Company;
use super::noise::{Gate, Secrets, hello_mac};
use super::packet::{self, Datagram};
use super::turn::Turns;
use crate::limit::Limits;
use crate::nat::Nat;
use crate::nat::survey::Found;
use crate::secret::SwarmSecret;
use dial::Dial;
pub use event::{Counters, DialId, Event, SessionId, Transmit};
use handshake::{HALF_OPEN_FOR, HalfOpen};
use timers::Timers;
use uplink::Uplink;

/// The state of the protocol.
///
/// Contract: give it one input ([`handle`](Self::handle), [`wake`](Self::wake) or a command), then drain
/// [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit) until they are empty, then come back at
/// [`next_wake`](Self::next_wake) at the latest. It has no clock, no socket and no randomness of its own.
#[derive(Debug)]
pub struct Endpoint {
    me: Identity,
    config: UdpConfig,
    secrets: Secrets,
    gate: Gate,
    /// Boxed: half of a tree's places are empty, and a connection takes 2.7 KB.
    sessions: BTreeMap<u32, Box<Connection>>,
    half_open: VecDeque<HalfOpen>,
    dials: BTreeMap<u32, Dial>,
    /// Calls that nobody here asked for: the other side of a meeting did.
    uncalled: BTreeSet<u32>,
    /// Peers that another protocol on the socket dials.
    wanted: BTreeSet<PeerId>,
    nat: Nat,
    appears: Found,
    timers: Timers,
    /// Sessions that may have a control packet to send.
    talkative: BTreeSet<u32>,
    turns: Turns,
    company: (Company, Time),
    uplink: Uplink,
    answers: VecDeque<(SocketAddr, Vec<u8>)>,
    events: VecDeque<Event>,
    counters: Counters,
    /// The session that packets were just taken for. What follows from them is seen to once for a whole train of them.
    touched: Option<(u32, Time)>,
}

impl Endpoint {
    /// A node's endpoint. `seed` is 32 secret random bytes; all keys and indices come from it.
    pub fn new(me: Identity, config: UdpConfig, seed: [u8; 32]) -> Self {
        let limits = config.limits();
        Self::sharing(me, config, seed, limits)
    }

    /// One that sends within `limits`, which others may share; those of `config` are not used.
    pub fn sharing(me: Identity, config: UdpConfig, seed: [u8; 32], limits: Limits) -> Self {
        let mut secrets = Secrets::new(seed);
        let gate = Gate::new(config.handshakes_per_second, &mut secrets);
        Self {
            uplink: Uplink::new(limits),
            nat: Nat::new(me.peer_id()),
            appears: Found::default(),
            me,
            config,
            secrets,
            gate,
            sessions: BTreeMap::new(),
            half_open: VecDeque::new(),
            dials: BTreeMap::new(),
            uncalled: BTreeSet::new(),
            wanted: BTreeSet::new(),
            timers: Timers::default(),
            talkative: BTreeSet::new(),
            turns: Turns::default(),
            company: (Company::ALONE, Time::ZERO),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            touched: None,
        }
    }

    /// Takes a datagram; it is opened in place.
    pub fn handle(&mut self, now: Time, from: SocketAddr, datagram: &mut [u8]) {
        if meet::is_word(datagram) {
            return self.word(now, from, datagram);
        }
        match packet::decode(datagram) {
            Some(Datagram::Packet { to, number }) => self.packet(now, from, to, number, datagram),
            Some(Datagram::Hello { index, noise, covered, mac, cookie }) => {
                if hello_mac(&self.me.peer_id(), covered) == mac {
                    self.hello(now, from, index, noise, mac, &cookie);
                } else {
                    self.counters.dropped += 1;
                }
            }
            Some(Datagram::Welcome { to, index, noise }) => self.welcome(now, from, to, index, noise),
            Some(Datagram::Cookie { to, mac, cookie }) => {
                let taken = self.dials.get_mut(&to).is_some_and(|dial| dial.cookie(now, &mac, &cookie));
                self.counters.dropped += u64::from(!taken);
            }
            Some(Datagram::Foreign { index, covered, mac }) => {
                if hello_mac(&self.me.peer_id(), covered) == mac {
                    self.answer(from, packet::encode_versions(index, &mac));
                }
                self.counters.dropped += 1;
            }
            Some(Datagram::Versions { to, mac, highest }) => {
                let taken = self.dials.get_mut(&to).is_some_and(|dial| dial.foreign(&mac, highest));
                self.counters.dropped += u64::from(!taken);
            }
            None => self.counters.dropped += 1,
        }
    }

    /// Calls `peer` at all of `addrs` (eight at most) until one answers.
    pub fn connect(&mut self, now: Time, peer: PeerId, addrs: &[SocketAddr]) -> DialId {
        let index = self.fresh_index();
        let timeout = self.config.handshake_timeout;
        let psk = SwarmSecret::key_of(self.config.secret.as_ref());
        match Dial::new(
            now,
            (&self.me, &psk, self.config.cipher),
            peer,
            (addrs, self.nat.own()),
            index,
            timeout,
            &mut self.secrets,
        ) {
            Some(dial) => {
                self.dials.insert(index, dial);
                self.nat.want(now, peer, addrs);
            }
            None => {
                self.events.push_back(Event::Unreachable {
                    dial: DialId(index),
                    peer,
                    stranger: false,
                    version: None,
                });
            }
        }
        DialId(index)
    }

    /// Gives up a call.
    pub fn hang_up(&mut self, dial: DialId) {
        if let Some(dial) = self.dials.remove(&dial.0) {
            self.nat.done(&dial.peer);
        }
    }

    /// Asks the peer of a session for a piece; the number names the fetch in events.
    pub fn fetch(&mut self, now: Time, session: SessionId, fetch: Fetch) -> Option<u32> {
        let sub_bytes = self.config.sub_bytes;
        self.with(now, session, |connection| connection.pull.begin(now, fetch, sub_bytes))
    }

    /// Takes a fetch back. No event follows.
    pub fn cancel(&mut self, now: Time, session: SessionId, fetch: u32) {
        self.with(now, session, |connection| connection.cancel(fetch));
    }

    /// Answers [`Event::Open`].
    pub fn granted(&mut self, now: Time, session: SessionId, fetch: u32, grant: Grant) {
        self.with(now, session, |connection| connection.serve.granted(now, fetch, grant));
    }

    /// Answers [`Event::Open`] in the negative.
    pub fn refused(&mut self, now: Time, session: SessionId, fetch: u32, why: Refuse) {
        self.with(now, session, |connection| connection.serve.refused(now, fetch, why));
    }

    /// Sends a message; [`Event::Delivered`] follows. The caller bounds what is not yet delivered.
    pub fn send(&mut self, now: Time, session: SessionId, message: &Bytes) {
        self.with(now, session, |connection| connection.send(message));
    }

    /// The reader took a message of `bytes` bytes; without this the peer's messages stop coming.
    pub fn message_read(&mut self, now: Time, session: SessionId, bytes: usize) {
        self.with(now, session, |connection| connection.talk.read(bytes.max(1)));
    }

    /// Says goodbye; [`Event::Closed`] follows.
    pub fn close(&mut self, now: Time, session: SessionId) {
        self.with(now, session, |connection| connection.ended = Some(Ended::Here));
    }

    /// Says goodbye on every session.
    pub fn close_all(&mut self, now: Time) {
        let all: Vec<u32> = self.sessions.keys().copied().collect();
        all.into_iter().for_each(|index| self.close(now, SessionId(index)));
        self.dials.clear();
        self.uncalled.clear();
    }

    /// What is known of a session's path.
    pub fn path(&self, now: Time, session: SessionId) -> Option<PathStats> {
        Some(self.sessions.get(&session.0)?.path(now))
    }

    /// Changes the limit on what all sessions send.
    pub fn set_upload_limit(&mut self, limit: Rate) {
        self.uplink.limits().set_node(limit);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let duplicates = self.sessions.values().map(|connection| connection.duplicates()).sum::<u64>();
        Counters { duplicates: self.counters.duplicates + duplicates, ..self.counters }
    }

    /// Open sessions, unconfirmed ones included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.follow_up();
        self.events.pop_front()
    }

    /// When [`wake`](Self::wake) has something to do; [`Time::NEVER`] if nothing is going on.
    pub fn next_wake(&self) -> Time {
        let session = self.timers.by_time.first().map_or(Time::NEVER, |(at, _)| *at);
        let dial = self.dials.values().map(Dial::next_wake).min().unwrap_or(Time::NEVER);
        let half_open = self.half_open.front().map_or(Time::NEVER, |half| half.at + HALF_OPEN_FOR);
        session.min(dial).min(half_open).min(self.uplink.blocked_until()).min(self.nat.next_wake())
    }

    /// Does what time demands.
    pub fn wake(&mut self, now: Time) {
        // Once each: a session that now has something to send stays due until it is sent.
        for index in self.timers.due(now) {
            let stalled = self.with(now, SessionId(index), |connection| {
                connection.wake(now);
                connection.stalls(now).then_some((connection.peer, connection.remote))
            });
            if let Some((peer, remote)) = stalled.flatten() {
                self.nat.lost(now, peer, remote);
            }
        }
        while self.half_open.front().is_some_and(|half| now >= half.at + HALF_OPEN_FOR) {
            if let Some(half) = self.half_open.pop_front() {
                self.drop_half_open(half.index);
            }
        }
        let over: Vec<u32> =
            self.dials.iter().filter(|(_, dial)| dial.is_over(now)).map(|(index, _)| *index).collect();
        for index in over {
            let Some(dial) = self.dials.remove(&index) else { continue };
            let (peer, stranger, version) = (dial.peer, dial.met_a_stranger(), dial.version());
            self.nat.done(&peer);
            if !self.uncalled.remove(&index) {
                self.events.push_back(Event::Unreachable { dial: DialId(index), peer, stranger, version });
            }
        }
        self.wake_nat(now);
    }

    /// Appends the next datagrams to `out`, all for one address: one, or several of equal size of which only the last may be
    /// shorter, at most `segments`. `out` must be empty.
    pub fn poll_transmit(&mut self, now: Time, segments: usize, out: &mut Vec<u8>) -> Option<Transmit> {
        debug_assert!(out.is_empty());
        self.follow_up();
        if let Some((to, datagram)) = self.answers.pop_front() {
            out.extend_from_slice(&datagram);
            return Some(Transmit::one(to, out));
        }
        if let Some((to, word)) = self.nat.poll_transmit() {
            out.extend_from_slice(&word);
            return Some(Transmit::one(to, out));
        }
        if let Some((to, hello)) = self.dials.values_mut().find_map(|dial| dial.next_hello(now)) {
            out.extend_from_slice(hello);
            return Some(Transmit::one(to, out));
        }
        while let Some(index) = self.talkative.first().copied() {
            let Some(connection) = self.sessions.get_mut(&index).filter(|c| c.control_due(now)) else {
                self.talkative.remove(&index);
                continue;
            };
            let to = connection.write_control(now, out);
            self.timers.set(index, connection.next_wake());
            return Some(Transmit::one(to, out));
        }
        let transmit = self.uplink.next(now, &mut self.turns, &mut self.sessions, segments, out)?;
        if let Some(connection) = self.sessions.get(&transmit.session) {
            self.timers.set(transmit.session, connection.next_wake());
            // The last sub-piece of a fetch leaves a DONE to be said.
            self.talkative.insert(transmit.session);
        }
        self.counters.content_sent += transmit.content;
        Some(transmit.transmit)
    }

    fn fresh_index(&mut self) -> u32 {
        loop {
            let index = self.secrets.draw_u32();
            if !self.sessions.contains_key(&index) && !self.dials.contains_key(&index) {
                return index;
            }
        }
    }
}
