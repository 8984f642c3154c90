//! Handshakes: hellos, welcomes, cookies, and sessions that are not confirmed yet.

use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::unit::Time;

use super::{DialId, Endpoint, Event, SessionId};
use crate::secret::SwarmSecret;
use crate::udp::connection::Connection;
use crate::udp::noise::{Entry, answer};
use crate::udp::packet;

/// Handshakes answered but not yet confirmed, at most; older ones are dropped first.
const HALF_OPEN_MAX: usize = 256;
/// Sessions with one peer at most: it may have restarted a few times before the old ones fell silent.
const SESSIONS_PER_PEER_MAX: usize = 4;
/// How long such a handshake may wait for its first packet.
pub(super) const HALF_OPEN_FOR: Duration = Duration::from_secs(5);
/// Answers to hellos waiting to be sent, at most; more are dropped, the caller will ask again.
const ANSWERS_MAX: usize = 64;

/// An answered hello whose sender has not yet shown that it got the answer.
#[derive(Debug)]
pub(super) struct HalfOpen {
    mac: [u8; 16],
    pub(super) index: u32,
    pub(super) at: Time,
    welcome: Vec<u8>,
}

impl Endpoint {
    /// The initiator of session `index` has answered: the session counts.
    pub(super) fn confirm(&mut self, index: u32) {
        let Some(at) = self.half_open.iter().position(|half| half.index == index) else { return };
        self.half_open.remove(at);
        let Some(peer) = self.sessions.get(&index).map(|connection| connection.peer) else { return };
        // If both sides called at once, this session answers our calls too.
        let mine: Vec<u32> =
            self.dials.iter().filter(|(_, dial)| dial.peer == peer).map(|(at, _)| *at).collect();
        mine.iter().for_each(|dial| drop(self.dials.remove(dial)));
        let session = SessionId(index);
        match mine.first() {
            Some(&dial) => self.events.push_back(Event::Connected { dial: DialId(dial), session, peer }),
            None => self.events.push_back(Event::Accepted { session, peer }),
        }
    }

    pub(super) fn hello(
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
        let Some((peer, back, keyed)) = answer(&self.me, noise, &psk, self.config.cipher, &mut self.secrets)
        else {
            self.counters.dropped += 1;
            return;
        };
        // If both sides call at once, the lower id stays the caller.
        let calling = self.dials.values().any(|dial| dial.peer == peer);
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
        self.sessions.insert(index, Box::new(connection));
        self.half_open.push_back(HalfOpen { mac, index, at: now, welcome: welcome.clone() });
        self.answer(from, welcome);
    }

    pub(super) fn welcome(&mut self, now: Time, from: SocketAddr, to: u32, index: u32, noise: &[u8]) {
        let Some((keyed, rtt)) = self.dials.get_mut(&to).and_then(|dial| dial.finish(now, noise)) else {
            self.counters.dropped += 1;
            return;
        };
        let Some(dial) = self.dials.remove(&to) else { return };
        let mut connection = Connection::new(now, dial.peer, from, index, keyed, self.config.idle_timeout);
        rtt.into_iter().for_each(|rtt| connection.rtt.sample(rtt));
        self.sessions.insert(to, Box::new(connection));
        let session = SessionId(to);
        self.events.push_back(Event::Connected { dial: DialId(to), session, peer: dial.peer });
        self.with(now, session, |_| ());
    }

    pub(super) fn answer(&mut self, to: SocketAddr, datagram: Vec<u8>) {
        if self.answers.len() < ANSWERS_MAX {
            self.answers.push_back((to, datagram));
        }
    }

    pub(super) fn drop_half_open(&mut self, index: u32) {
        self.sessions.remove(&index);
        self.timers.clear(index);
        self.talkative.remove(&index);
    }
}
