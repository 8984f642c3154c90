//! Links through NATs: what the endpoint does with what its [`Nat`](crate::nat::Nat) finds.

use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::Token;

use super::dial::Dial;
use super::{Endpoint, Event};
use crate::nat::{News, punch};
use crate::secret::SwarmSecret;

/// Calls at once that others asked for by way of a tracker.
const UNCALLED_MAX: usize = 32;
/// Peers that other protocols dial at once and that are met for them.
const WANTED_MAX: usize = 64;

impl Endpoint {
    /// From now on these trackers are asked where this node is seen, and peers that do not answer are met by way of them.
    /// `private` are its addresses in its own network, told to those that are behind the same public one.
    pub fn meet_at(&mut self, now: Time, trackers: &[SocketAddr], private: &[SocketAddr]) {
        self.nat.meet_at(now, trackers, private);
    }

    /// A neighbour of both calls this node and `peer` together: both punch, in `begin_in` from now. The caller bounds whose word is
    /// taken; meetings are bounded here.
    pub fn introduced(&mut self, now: Time, peer: PeerId, token: Token, begin_in: Duration, at: SocketAddr) {
        self.nat.introduced(now, peer, token, begin_in, &[at]);
    }

    /// Another protocol on this socket dials a peer: it is met as if this one did. [`Event::Reached`] follows where it comes
    /// through, until [`unwant`](Self::unwant).
    pub fn want(&mut self, now: Time, peer: PeerId, addrs: &[SocketAddr]) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.insert(peer);
            self.nat.want(now, peer, addrs);
        }
    }

    /// A session of another protocol on this socket has fallen silent: the peer is met anew, and [`Event::Reached`] follows as after
    /// [`want`](Self::want).
    pub fn miss(&mut self, now: Time, peer: PeerId, at: SocketAddr) {
        if self.wanted.len() < WANTED_MAX {
            self.wanted.insert(peer);
            self.nat.lost(now, peer, at);
        }
    }

    /// It does not any more.
    pub fn unwant(&mut self, peer: &PeerId) {
        if self.wanted.remove(peer) && !self.dials.values().any(|dial| dial.peer == *peer) {
            self.nat.done(peer);
        }
    }

    pub(super) fn word(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) {
        match self.nat.handle(now, from, datagram) {
            News::Reached(peer, at) => self.reached(now, peer, at),
            News::Nothing => {}
        }
        self.wake_nat(now);
    }

    pub(super) fn wake_nat(&mut self, now: Time) {
        let Self { nat, secrets, .. } = self;
        nat.wake(now, || secrets.draw());
        let found = self.nat.found();
        if self.appears != found {
            self.appears = found;
            self.events.push_back(Event::Appears(found));
        }
    }

    /// A punch of `peer` came from `at`: the way is open, in both directions. The lower id says hello; a link there is asks the new address to prove
    /// itself.
    fn reached(&mut self, now: Time, peer: PeerId, at: SocketAddr) {
        self.events.push_back(Event::Reached { peer, at });
        let mut linked = false;
        let secrets = &mut self.secrets;
        for (index, connection) in self.sessions.iter_mut().filter(|(_, connection)| connection.peer == peer)
        {
            linked = true;
            if connection.is_proven() && connection.remote != at {
                connection.prove(now, at, secrets.draw_8());
                self.talkative.insert(*index);
            }
        }
        if !linked && self.me.peer_id() < peer && !self.call_at(now, &peer, at) {
            self.call_back(now, peer, at);
        }
    }

    /// Says hello there, too, if the peer is being called.
    pub(super) fn call_at(&mut self, now: Time, peer: &PeerId, at: SocketAddr) -> bool {
        let mut calls = self.dials.values_mut().filter(|dial| dial.peer == *peer).peekable();
        let any = calls.peek().is_some();
        calls.for_each(|dial| dial.also(now, at));
        any
    }

    fn call_back(&mut self, now: Time, peer: PeerId, at: SocketAddr) {
        if self.uncalled.len() >= UNCALLED_MAX || self.sessions.len() >= self.config.sessions_max {
            return;
        }
        let index = self.fresh_index();
        let psk = SwarmSecret::key_of(self.config.secret.as_ref());
        let made = Dial::new(
            now,
            (&self.me, &psk, self.config.cipher),
            peer,
            (&[at], None),
            index,
            punch::LASTS,
            &mut self.secrets,
        );
        if let Some(dial) = made {
            self.dials.insert(index, dial);
            self.uncalled.insert(index);
        }
    }
}
