//! Pieces between peers: asked for, waiting at the server, waiting for its uplink, sent, arrived.
//!
//! A request lives in one table from asking to its end. It ends where its piece arrives, where it is refused, or where its
//! cancellation finds it not yet sent; each of these comes to every request exactly once.

use bytes::Bytes;
use pcdn_core::layout::PieceKey;
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::{AskId, Input};
use pcdn_core::transport::{Class, Fetch, FetchError, Refuse};
use pcdn_core::unit::{Rate, Time};

use super::{Event, State, World};
use crate::sim::net;
use crate::sim::scenario::Behaviour;

/// A request for a piece.
#[derive(Debug)]
pub(super) struct Request {
    asker: u32,
    flight: u64,
    /// The server, and its end of the link.
    server: u32,
    end: u32,
    key: PieceKey,
    len: u32,
    urgent: bool,
    /// After this the answer is of no use and is dropped unsent.
    expires: Time,
    stage: Stage,
    /// The asker no longer wants it; the server has heard so.
    given_up: bool,
    heard: bool,
    began: u64,
    bytes: Bytes,
    why: Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Held back by the asker's own bound.
    HeldBack,
    /// On its way to the server.
    Asked,
    /// In the server's engine.
    Waiting,
    /// In line for the uplink.
    Queued,
    /// In line still, but not to be sent.
    Dropped,
    /// Being sent, or on its way, or refused and that is on its way: an event ends it.
    Sending,
    /// Nothing will come of it but its asker's cancellation.
    Lost,
}

/// All requests, by number; numbers are used again, with another turn.
#[derive(Debug, Default)]
pub(super) struct Requests {
    all: Vec<Option<Request>>,
    turns: Vec<u32>,
    free: Vec<u32>,
}

impl Requests {
    fn add(&mut self, request: Request) -> u32 {
        match self.free.pop() {
            Some(id) => {
                self.all[id as usize] = Some(request);
                id
            }
            None => {
                self.all.push(Some(request));
                self.turns.push(0);
                (self.all.len() - 1) as u32
            }
        }
    }

    fn end(&mut self, id: u32) -> Option<Request> {
        let request = self.all[id as usize].take()?;
        self.turns[id as usize] += 1;
        self.free.push(id);
        Some(request)
    }

    fn get(&mut self, id: u32) -> Option<&mut Request> {
        self.all[id as usize].as_mut()
    }

    /// What an engine calls the request.
    fn name(&self, id: u32) -> AskId {
        AskId(u64::from(self.turns[id as usize]) << 32 | u64::from(id))
    }

    fn by_name(&mut self, ask: AskId) -> Option<(u32, &mut Request)> {
        let id = ask.0 as u32;
        let current = *self.turns.get(id as usize)? == (ask.0 >> 32) as u32;
        self.all[id as usize].as_mut().filter(|_| current).map(|request| (id, request))
    }
}

impl World<'_> {
    pub(super) fn ask(&mut self, peer: u32, flight: u64, handle: Handle, fetch: &Fetch) {
        let Some(end) = self.end(peer, handle) else {
            return self.give(peer, Input::Failed { flight, why: FetchError::Closed });
        };
        let goes = self.peers[peer as usize].access.pass(self.now.0, fetch.len);
        let server = self.links[end as usize / 2].peers[1 - end as usize % 2];
        let id = self.requests.add(Request {
            asker: peer,
            flight,
            server,
            end: end ^ 1,
            key: fetch.piece,
            len: fetch.len,
            urgent: fetch.class == Class::Urgent,
            expires: self.now + fetch.within,
            stage: Stage::HeldBack,
            given_up: false,
            heard: false,
            began: 0,
            bytes: Bytes::new(),
            why: Refuse::Bad,
        });
        self.peers[peer as usize].flights.push((flight, id));
        let turn = self.requests.turns[id as usize];
        if goes > self.now.0 {
            return self.wheel.insert(Time(goes), Event::Goes { request: id, turn });
        }
        self.goes(id, turn);
    }

    /// The asker's own bound lets a request go out.
    pub(super) fn goes(&mut self, id: u32, turn: u32) {
        let current = self.requests.turns[id as usize] == turn;
        let Some(request) = self.requests.get(id).filter(|_| current) else { return };
        request.stage = Stage::Asked;
        let (peer, flight, end) = (request.asker, request.flight, request.end ^ 1);
        if self.group(peer).download_limit < Rate::UNLIMITED {
            self.give(peer, Input::Sent { flight });
        }
        let at = self.arrival(end, net::REQUEST_BYTES);
        self.wheel.insert(Time(at), Event::Asked(id));
    }

    pub(super) fn asked(&mut self, id: u32) {
        let ask = self.requests.name(id);
        let Some(request) = self.requests.get(id) else { return };
        let (end, server, piece) = (request.end, request.server, request.key);
        let link = &self.links[end as usize / 2];
        let (up, handle) = (link.up[end as usize % 2], link.handles[end as usize % 2]);
        let silent = self.peers[server as usize].behaviour == Behaviour::Dead;
        let online = self.peers[server as usize].state == State::Online;
        request.stage = if up && online && !silent { Stage::Waiting } else { Stage::Lost };
        if request.stage == Stage::Waiting {
            self.give(server, Input::Ask { link: handle, ask, piece });
        }
    }

    /// The asker gives it up; the server hears of it later.
    pub(super) fn cancel(&mut self, peer: u32, flight: u64) {
        let flights = &mut self.peers[peer as usize].flights;
        let Ok(at) = flights.binary_search_by_key(&flight, |(flight, _)| *flight) else { return };
        let (_, id) = flights.remove(at);
        self.give_up(id);
    }

    fn give_up(&mut self, id: u32) {
        let turn = self.requests.turns[id as usize];
        let Some(request) = self.requests.get(id) else { return };
        request.given_up = true;
        let (end, peer, len) = (request.end ^ 1, request.asker, request.len);
        let stage = request.stage;
        if stage != Stage::Sending {
            self.peers[peer as usize].access.give_back(len);
        }
        if stage == Stage::HeldBack {
            self.requests.end(id);
            return;
        }
        // Also over a link that is closed by now: the server's side of the world must be cleared in any case.
        let at = self.arrival(end, net::REQUEST_BYTES);
        self.wheel.insert(Time(at), Event::Cancelled { request: id, turn });
    }

    pub(super) fn cancelled(&mut self, id: u32, turn: u32) {
        let ask = self.requests.name(id);
        let current = self.requests.turns[id as usize] == turn;
        let Some(request) = self.requests.get(id).filter(|_| current) else { return };
        request.heard = true;
        let server = request.server;
        match request.stage {
            Stage::Queued => request.stage = Stage::Dropped,
            Stage::Waiting | Stage::Lost => drop(self.requests.end(id)),
            Stage::HeldBack | Stage::Asked | Stage::Dropped | Stage::Sending => return,
        }
        self.give(server, Input::AskGone { ask });
    }

    /// The server's engine grants it.
    pub(super) fn serve(&mut self, peer: u32, ask: AskId, bytes: Bytes) {
        let Some((id, request)) = self.requests.by_name(ask) else {
            return self.give(peer, Input::AskGone { ask });
        };
        request.stage = Stage::Queued;
        // Equal bytes are one buffer: ten thousand copies of a piece would not fit into memory.
        let same = |right: &Bytes| std::ptr::eq(right.as_ptr(), bytes.as_ptr()) || *right == bytes;
        let shared = self.content.piece(&request.key).map(|(_, bytes)| bytes).filter(same);
        request.bytes = shared.unwrap_or(bytes);
        let (end, urgent) = (request.end, request.urgent);
        self.peers[peer as usize].access.urgent += u32::from(urgent);
        let queue = &mut self.links[end as usize / 2].out[end as usize % 2];
        queue.push_back(id);
        if queue.len() == 1 {
            self.peers[peer as usize].access.turns.push_back(end);
        }
        self.send_next(peer);
    }

    pub(super) fn refuse(&mut self, _peer: u32, ask: AskId, why: Refuse) {
        let Some((id, request)) = self.requests.by_name(ask) else { return };
        request.stage = Stage::Sending;
        request.why = why;
        let end = request.end;
        let at = self.arrival(end, net::REQUEST_BYTES);
        self.wheel.insert(Time(at), Event::Refused(id));
    }

    pub(super) fn refused(&mut self, id: u32) {
        let Some(request) = self.requests.end(id) else { return };
        if self.lands(&request) {
            self.peers[request.asker as usize].access.give_back(request.len);
            self.give(
                request.asker,
                Input::Failed { flight: request.flight, why: FetchError::Refused(request.why) },
            );
        }
    }

    /// Takes a request off its asker's list; false if it was given up.
    fn lands(&mut self, request: &Request) -> bool {
        let flights = &mut self.peers[request.asker as usize].flights;
        let found = flights.binary_search_by_key(&request.flight, |(flight, _)| *flight);
        if let (Ok(at), false) = (found, request.given_up) {
            flights.remove(at);
            return true;
        }
        false
    }

    /// Puts the next piece on the uplink, if it is free and a receiver has room.
    pub(super) fn send_next(&mut self, peer: u32) {
        let access = &mut self.peers[peer as usize].access;
        if access.sending {
            return;
        }
        let urgent_first = access.urgent_first();
        let mut retry = u64::MAX;
        let mut choice = None;
        let mut turn = 0;
        while turn < self.peers[peer as usize].access.turns.len() {
            let end = self.peers[peer as usize].access.turns[turn];
            self.clear_front(end);
            let (link, side) = (end as usize / 2, end as usize % 2);
            let link = &self.links[link];
            if link.out[side].is_empty() {
                self.peers[peer as usize].access.turns.remove(turn);
                continue;
            }
            let receiver = link.peers[1 - side];
            let room = self.peers[receiver as usize].access.room_at(self.now.0);
            if room > self.now.0 {
                retry = retry.min(room);
                turn += 1;
                continue;
            }
            let urgent = |id: &u32| self.requests.all[*id as usize].as_ref().is_some_and(|r| r.urgent);
            let first = if urgent_first { link.out[side].iter().position(urgent) } else { None };
            match first {
                Some(at) => {
                    choice = Some((turn, end, at));
                    break;
                }
                _ if choice.is_none() => choice = Some((turn, end, 0)),
                _ => {}
            }
            if !urgent_first {
                break;
            }
            turn += 1;
        }
        match choice {
            Some((turn, end, at)) => self.begin(peer, turn, end, at),
            None if retry < u64::MAX => self.wheel.insert(Time(retry), Event::Uplink(peer)),
            None => {}
        }
    }

    /// Takes what is not to be sent off the front of a queue.
    fn clear_front(&mut self, end: u32) {
        let (link, side) = (end as usize / 2, end as usize % 2);
        while let Some(id) = self.links[link].out[side].front().copied() {
            let Some(request) = self.requests.get(id) else { return };
            let (server, urgent, late) = (request.server, request.urgent, request.expires < self.now);
            match request.stage {
                Stage::Dropped => drop(self.requests.end(id)),
                _ if late => {
                    request.stage = Stage::Lost;
                    let ask = self.requests.name(id);
                    self.give(server, Input::AskGone { ask });
                }
                _ => return,
            }
            self.links[link].out[side].pop_front();
            self.peers[server as usize].access.urgent -= u32::from(urgent);
        }
    }

    fn begin(&mut self, peer: u32, turn: usize, end: u32, at: usize) {
        let access = &mut self.peers[peer as usize].access;
        access.turns.remove(turn);
        let queue = &mut self.links[end as usize / 2].out[end as usize % 2];
        let Some(id) = queue.remove(at) else { return };
        if !queue.is_empty() {
            access.turns.push_back(end);
        }
        let Some(request) = self.requests.get(id) else { return };
        access.urgent -= u32::from(request.urgent);
        if request.stage == Stage::Dropped {
            self.requests.end(id);
            return self.send_next(peer);
        }
        request.stage = Stage::Sending;
        request.began = self.now.0;
        access.sending = true;
        let takes = access.send_piece(request.len);
        self.after(takes, Event::Sent(id));
    }

    pub(super) fn sent(&mut self, id: u32) {
        let ask = self.requests.name(id);
        let Some(request) = self.requests.get(id) else { return };
        let (asker, server, len, began) = (request.asker, request.server, request.len, request.began);
        self.peers[server as usize].access.sending = false;
        if self.peers[server as usize].state != State::Online {
            // It died in the middle of it.
            request.stage = Stage::Lost;
            if request.heard {
                self.requests.end(id);
            }
            return;
        }
        self.peers[server as usize].tally.uploaded += u64::from(len);
        self.give(server, Input::AskGone { ask });
        let latency = self.latency(server, asker);
        let last = self.now.0 + latency;
        let through = self.peers[asker as usize].access.receive_piece(began + latency, last, len);
        let loss = self.loss(server, asker);
        let repair = net::repair(&mut self.dice, loss, f64::from(len), 2 * latency);
        self.wheel.insert(Time(through.0 + repair), Event::Arrived(id));
        self.send_next(server);
    }

    pub(super) fn arrived(&mut self, id: u32) {
        let Some(request) = self.requests.end(id) else { return };
        self.peers[request.asker as usize].tally.peers_sent += u64::from(request.len);
        if self.lands(&request) {
            self.give(request.asker, Input::Piece { flight: request.flight, bytes: request.bytes });
        }
    }

    /// What `end` had to send will not be sent.
    pub(super) fn drop_queue(&mut self, end: u32) {
        for id in std::mem::take(&mut self.links[end as usize / 2].out[end as usize % 2]) {
            let Some(request) = self.requests.get(id) else { continue };
            self.peers[request.server as usize].access.urgent -= u32::from(request.urgent);
            match request.stage {
                Stage::Dropped => drop(self.requests.end(id)),
                _ => request.stage = Stage::Lost,
            }
        }
    }

    /// A peer is gone: what it asked for is given up.
    pub(super) fn drop_work(&mut self, peer: u32) {
        for (_, id) in std::mem::take(&mut self.peers[peer as usize].flights) {
            self.give_up(id);
        }
    }
}
