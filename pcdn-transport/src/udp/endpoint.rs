//! The whole protocol of one socket, without the socket: all sessions, handshakes and the shared uplink.

mod dial;
mod event;
mod through;
mod uplink;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::transport::{Class, Fetch, Grant, PathStats, Refuse};
use pcdn_core::unit::{Rate, Time};
use pcdn_core::wire::meet;

use super::config::UdpConfig;
use super::connection::{Connection, Ended};
use super::flow::Company;
use super::noise::{Entry, Gate, Secrets, answer, hello_mac};
use super::packet::{self, Datagram};
use super::pull::Progress;
use super::secret::SwarmSecret;
use super::serve::Demand;
use super::turn::Turns;
use crate::nat::Nat;
use crate::nat::survey::Found;
use dial::Dial;
pub use event::{Counters, DialId, Event, SessionId, Transmit};
use uplink::Uplink;

/// Handshakes answered but not yet confirmed, at most; older ones are dropped first.
const HALF_OPEN_MAX: usize = 256;
/// Sessions with one peer at most: it may have restarted a few times before the old ones fell silent.
const SESSIONS_PER_PEER_MAX: usize = 4;
/// How long such a handshake may wait for its first packet.
const HALF_OPEN_FOR: Duration = Duration::from_secs(5);
/// Answers to hellos waiting to be sent, at most; more are dropped, the caller will ask again.
const ANSWERS_MAX: usize = 64;
/// The mean window of all that are sending is good for this long: less than a round of any controller.
const COMPANY_FOR: Duration = Duration::from_millis(10);

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
    sessions: BTreeMap<u32, Connection>,
    half_open: VecDeque<HalfOpen>,
    dials: BTreeMap<u32, Dial>,
    /// Calls that nobody here asked for: the other side of a meeting did.
    uncalled: BTreeSet<u32>,
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
}

/// An answered hello whose sender has not yet shown that it got the answer.
#[derive(Debug)]
struct HalfOpen {
    mac: [u8; 16],
    index: u32,
    at: Time,
    welcome: Vec<u8>,
}

/// When each session wants to be woken.
#[derive(Debug, Default)]
struct Timers {
    by_time: BTreeSet<(Time, u32)>,
    by_session: BTreeMap<u32, Time>,
}

impl Endpoint {
    /// A node's endpoint. `seed` is 32 secret random bytes; all keys and indices come from it.
    pub fn new(me: Identity, config: UdpConfig, seed: [u8; 32]) -> Self {
        let mut secrets = Secrets::new(seed);
        let gate = Gate::new(config.handshakes_per_second, &mut secrets);
        Self {
            uplink: Uplink::new(config.upload_limit),
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
            timers: Timers::default(),
            talkative: BTreeSet::new(),
            turns: Turns::default(),
            company: (Company::ALONE, Time::ZERO),
            answers: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
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
            None => self.counters.dropped += 1,
        }
    }

    /// Calls `peer` at all of `addrs` (eight at most) until one answers.
    pub fn connect(&mut self, now: Time, peer: PeerId, addrs: &[SocketAddr]) -> DialId {
        let index = self.fresh_index();
        let timeout = self.config.handshake_timeout;
        let psk = SwarmSecret::key_of(self.config.secret.as_ref());
        match Dial::new(now, (&self.me, &psk), peer, addrs, index, timeout, &mut self.secrets) {
            Some(dial) => {
                self.dials.insert(index, dial);
                self.nat.want(now, peer, addrs);
            }
            None => {
                self.events.push_back(Event::Unreachable { dial: DialId(index), peer, stranger: false });
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
        self.uplink.set_limit(limit);
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        let duplicates = self.sessions.values().map(Connection::duplicates).sum::<u64>();
        Counters { duplicates: self.counters.duplicates + duplicates, ..self.counters }
    }

    /// Open sessions, unconfirmed ones included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
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
            let (peer, stranger) = (dial.peer, dial.met_a_stranger());
            self.nat.done(&peer);
            if !self.uncalled.remove(&index) {
                self.events.push_back(Event::Unreachable { dial: DialId(index), peer, stranger });
            }
        }
        self.wake_nat(now);
    }

    /// Appends the next datagrams to `out`, all for one address: one, or several of equal size of which only the last may be
    /// shorter, at most `segments`. `out` must be empty.
    pub fn poll_transmit(&mut self, now: Time, segments: usize, out: &mut Vec<u8>) -> Option<Transmit> {
        debug_assert!(out.is_empty());
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

    fn packet(&mut self, now: Time, from: SocketAddr, to: u32, number: u32, datagram: &mut [u8]) {
        let company = self.company(now);
        let secrets = &mut self.secrets;
        let Some(connection) = self.sessions.get_mut(&to) else {
            self.counters.dropped += 1;
            return;
        };
        let was_proven = connection.is_proven();
        let was_stalled = connection.is_stalled();
        let malformed = connection.malformed;
        if !connection.handle(now, from, number, datagram, company, || secrets.draw_8()) {
            self.counters.dropped += 1;
            return;
        }
        self.counters.malformed += connection.malformed - malformed;
        if was_stalled {
            self.nat.done(&connection.peer);
        }
        if !was_proven {
            self.confirm(to);
        }
        self.with(now, SessionId(to), |_| ());
    }

    /// What the sessions that are sending have in common; counted anew every 10 ms.
    fn company(&mut self, now: Time) -> Company {
        if now.since(self.company.1) >= COMPANY_FOR {
            let windows =
                self.turns.senders().filter_map(|index| Some(self.sessions.get(&index)?.flow.window()));
            let (senders, sum) = windows.fold((0, 0.0), |(count, sum), window| (count + 1, sum + window));
            self.company = (Company { senders, window: sum / f64::max(senders as f64, 1.0) }, now);
        }
        self.company.0
    }

    /// The initiator of session `index` has answered: the session counts.
    fn confirm(&mut self, index: u32) {
        let Some(at) = self.half_open.iter().position(|half| half.index == index) else { return };
        self.half_open.remove(at);
        let Some(peer) = self.sessions.get(&index).map(|connection| connection.peer) else { return };
        // If both sides called at once, this session answers our calls too.
        let mine: Vec<u32> =
            self.dials.iter().filter(|(_, dial)| dial.peer == peer).map(|(at, _)| *at).collect();
        mine.iter().for_each(|dial| drop(self.dials.remove(dial)));
        self.nat.done(&peer);
        let session = SessionId(index);
        let called = mine.into_iter().filter(|dial| !self.uncalled.remove(dial)).collect::<Vec<_>>();
        match called.first() {
            Some(&dial) => self.events.push_back(Event::Connected { dial: DialId(dial), session, peer }),
            None => self.events.push_back(Event::Accepted { session, peer }),
        }
    }

    fn hello(
        &mut self,
        now: Time,
        from: SocketAddr,
        to: u32,
        noise: &[u8],
        mac: [u8; 16],
        cookie: &[u8; 16],
    ) {
        if let Some(half) = self.half_open.iter().find(|half| half.mac == mac) {
            let welcome = half.welcome.clone();
            self.answer(from, welcome);
            return;
        }
        match self.gate.judge(now, from, cookie, &mut self.secrets) {
            Entry::Drop => self.counters.dropped += 1,
            Entry::Demand(cookie) => self.answer(from, packet::encode_cookie(to, &mac, &cookie)),
            Entry::Answer => self.admit(now, from, to, noise, mac),
        }
    }

    fn admit(&mut self, now: Time, from: SocketAddr, to: u32, noise: &[u8], mac: [u8; 16]) {
        let psk = SwarmSecret::key_of(self.config.secret.as_ref());
        let Some((peer, back, keyed)) = answer(&self.me, noise, &psk, &mut self.secrets) else {
            self.counters.dropped += 1;
            return;
        };
        // If both sides call at once, the lower id stays the caller.
        let calling = self.dials.values().any(|dial| dial.peer == peer);
        if calling && self.me.peer_id() < peer {
            // It gets through to here, so the way back is open: behind a symmetric NAT nobody else knows it.
            self.call_at(now, &peer, from);
        }
        let open = self.sessions.values().filter(|connection| connection.peer == peer).count();
        if open >= SESSIONS_PER_PEER_MAX
            || self.sessions.len() >= self.config.sessions_max
            || (calling && self.me.peer_id() < peer)
        {
            self.counters.dropped += 1;
            return;
        }
        if self.half_open.len() >= HALF_OPEN_MAX
            && let Some(half) = self.half_open.pop_front()
        {
            self.drop_half_open(half.index);
        }
        let index = self.fresh_index();
        let welcome = packet::encode_welcome(to, index, &back);
        let connection = Connection::new(now, peer, from, to, keyed, self.config.idle_timeout);
        self.sessions.insert(index, connection);
        self.half_open.push_back(HalfOpen { mac, index, at: now, welcome: welcome.clone() });
        self.answer(from, welcome);
    }

    fn welcome(&mut self, now: Time, from: SocketAddr, to: u32, index: u32, noise: &[u8]) {
        let Some((keyed, rtt)) = self.dials.get_mut(&to).and_then(|dial| dial.finish(now, noise)) else {
            self.counters.dropped += 1;
            return;
        };
        let Some(dial) = self.dials.remove(&to) else { return };
        let mut connection = Connection::new(now, dial.peer, from, index, keyed, self.config.idle_timeout);
        rtt.into_iter().for_each(|rtt| connection.rtt.sample(rtt));
        self.sessions.insert(to, connection);
        self.nat.done(&dial.peer);
        let (session, peer) = (SessionId(to), dial.peer);
        self.events.push_back(match self.uncalled.remove(&to) {
            true => Event::Accepted { session, peer },
            false => Event::Connected { dial: DialId(to), session, peer },
        });
        self.with(now, session, |_| ());
    }

    fn answer(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((to, datagram));
        }
    }

    fn drop_half_open(&mut self, index: u32) {
        self.sessions.remove(&index);
        self.timers.clear(index);
        self.talkative.remove(&index);
    }

    /// Does something to a session and sees to what follows from it.
    fn with<T>(
        &mut self,
        now: Time,
        session: SessionId,
        act: impl FnOnce(&mut Connection) -> T,
    ) -> Option<T> {
        let connection = self.sessions.get_mut(&session.0)?;
        let result = act(connection);
        if connection.ended.is_some() {
            connection.abandon();
        }
        collect(&mut self.events, session, connection);
        if let Some(why) = connection.ended {
            self.end(now, session, why);
            return Some(result);
        }
        connection.note_busy(now);
        for class in [Class::Urgent, Class::Normal, Class::Background] {
            if connection.serve.has_data(class) {
                self.turns.enter(class, session.0);
            }
        }
        // An unconfirmed caller gets nothing but the WELCOME: its address is not proven.
        if !self.half_open.iter().any(|half| half.index == session.0) {
            self.talkative.insert(session.0);
            self.timers.set(session.0, connection.next_wake());
        }
        Some(result)
    }

    fn end(&mut self, now: Time, session: SessionId, why: Ended) {
        let Some(mut connection) = self.sessions.remove(&session.0) else { return };
        self.counters.duplicates += connection.duplicates();
        self.timers.clear(session.0);
        self.talkative.remove(&session.0);
        self.turns.leave(session.0);
        if why != Ended::ByPeer {
            let mut goodbye = Vec::new();
            connection.write_close(now, &mut goodbye);
            // Not `answer`: there are no more goodbyes than sessions.
            self.answers.push_back((connection.remote, goodbye));
        }
        self.events.push_back(Event::Closed { session, why });
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

/// Moves what happened inside `connection` to the endpoint's events.
fn collect(events: &mut VecDeque<Event>, session: SessionId, connection: &mut Connection) {
    events.extend(connection.pull.drain_progress().map(|progress| match progress {
        Progress::Chunk(fetch, chunk) => Event::Chunk { session, fetch, chunk },
        Progress::Whole(fetch) => Event::Fetched { session, fetch },
        Progress::Failed(fetch, why) => Event::FetchFailed { session, fetch, why },
    }));
    let peer = connection.peer;
    events.extend(connection.serve.drain_demands().map(|demand| match demand {
        Demand::Open(fetch, want) => Event::Open { session, peer, fetch, want },
        Demand::Abandon(fetch) => Event::Abandon { session, fetch },
    }));
    while let Some(message) = connection.talk.take_arrived() {
        events.push_back(Event::Message { session, message });
    }
    match connection.talk.take_delivered() {
        0 => {}
        count => events.push_back(Event::Delivered { session, count }),
    }
}

impl Timers {
    fn set(&mut self, session: u32, at: Time) {
        let before = self.by_session.insert(session, at);
        if before != Some(at) {
            if let Some(before) = before {
                self.by_time.remove(&(before, session));
            }
            self.by_time.insert((at, session));
        }
    }

    fn clear(&mut self, session: u32) {
        if let Some(at) = self.by_session.remove(&session) {
            self.by_time.remove(&(at, session));
        }
    }

    fn due(&self, now: Time) -> Vec<u32> {
        self.by_time.iter().take_while(|(at, _)| *at <= now).map(|(_, session)| *session).collect()
    }
}
