//! Range requests to the CDN.

use pcdn_core::origin::OriginError;
use pcdn_core::range::ByteRange;
use pcdn_core::swarm::Input;
use pcdn_core::unit::Time;

use super::{Event, World};
use crate::sim::scenario::Behaviour;

impl World<'_> {
    /// One-way delay between a viewer and the CDN, in microseconds.
    pub(super) fn origin_latency(&self, peer: u32) -> u64 {
        self.peers[peer as usize].access.latency + self.cdn.latency()
    }

    pub(super) fn fetch(&mut self, peer: u32, run: u64, range: ByteRange) {
        let trip = 2 * self.origin_latency(peer);
        let state = &mut self.peers[peer as usize];
        let busy = state.runs.len() + 1;
        let slow_start = (busy > state.warm).then_some(trip);
        let transfer = self.cdn.request(peer, run, range.start()..range.end(), slow_start);
        state.runs.push((run, transfer));
        // A kept connection costs nothing, a new one a round trip.
        let opening = if busy > state.connections { trip } else { 0 };
        state.connections = state.connections.max(state.runs.len());
        self.after(opening + trip / 2 + self.cdn.think(), Event::OriginOpens(transfer));
    }

    pub(super) fn origin_opens(&mut self, transfer: u32) {
        let peer = self.cdn.transfers[transfer as usize].peer;
        if let Some(status) = self.cdn.failing(self.now) {
            return self.after(self.origin_latency(peer), Event::OriginFails { transfer, status });
        }
        self.origin_resumes(transfer);
    }

    pub(super) fn origin_resumes(&mut self, transfer: u32) {
        if self.cdn.transfers[transfer as usize].stopped {
            return;
        }
        let may = self.cdn.may_start(self.now, transfer);
        if may > self.now {
            return self.wheel.insert(may, Event::OriginResumes(transfer));
        }
        self.cdn.start(self.now, transfer);
        self.arm_origin();
    }

    fn arm_origin(&mut self) {
        if let Some(at) = self.cdn.next() {
            self.wheel.insert(at, Event::OriginPart(self.cdn.turn));
        }
    }

    /// Parts are sent; each transfer goes on unless its viewer's downlink is full.
    pub(super) fn origin_part(&mut self, turn: u32) {
        if turn != self.cdn.turn {
            return;
        }
        while let Some((transfer, part)) = self.cdn.finish(self.now) {
            let state = &self.cdn.transfers[transfer as usize];
            let (peer, more) = (state.peer, state.at < state.end);
            let latency = self.origin_latency(peer);
            let receiver = &mut self.peers[peer as usize];
            receiver.tally.origin_sent += u64::from(part);
            let arrives = receiver.access.receive_body(self.now.0 + latency, part);
            let passes = receiver.access.pass(arrives.0, part);
            let held_back = if passes > arrives.0 { passes } else { 0 };
            let arrives = Time(passes);
            self.wheel.insert(arrives, Event::OriginArrives(transfer));
            // Neither a full downlink nor the node's own bound lets the connection run on.
            let room = receiver.access.room_at(self.now.0 + latency).max(held_back) - latency;
            match self.cdn.failing(self.now) {
                Some(status) if more => self.wheel.insert(arrives, Event::OriginFails { transfer, status }),
                _ if !more => {}
                _ => {
                    let may = self.cdn.may_start(self.now, transfer).max(Time(room));
                    match may > self.now {
                        true => self.wheel.insert(may, Event::OriginResumes(transfer)),
                        false => self.cdn.start(self.now, transfer),
                    }
                }
            }
        }
        self.arm_origin();
    }

    pub(super) fn origin_arrives(&mut self, transfer: u32) {
        let state = &mut self.cdn.transfers[transfer as usize];
        let Some(part) = state.on_way.pop_front() else { return };
        let range = state.arrived as usize..state.arrived as usize + part as usize;
        state.arrived += u64::from(part);
        if state.over {
            return;
        }
        let (peer, run, last) = (state.peer, state.run, state.arrived >= state.end);
        let lying = self.peers[peer as usize].behaviour == Behaviour::Lying;
        let content = self.poison.as_ref().filter(|_| lying).unwrap_or(&self.content);
        let bytes = content.bytes.slice(range);
        self.give(peer, Input::OriginBytes { run, bytes });
        if last {
            self.over(transfer, Ok(()));
        }
    }

    pub(super) fn origin_fails(&mut self, transfer: u32, status: u16) {
        if !self.cdn.transfers[transfer as usize].over {
            self.over(transfer, Err(OriginError::Status { status, retry_after: None }));
        }
    }

    fn over(&mut self, transfer: u32, result: Result<(), OriginError>) {
        let state = &mut self.cdn.transfers[transfer as usize];
        state.over = true;
        let (peer, run) = (state.peer, state.run);
        let viewer = &mut self.peers[peer as usize];
        viewer.runs.retain(|(_, other)| *other != transfer);
        viewer.warm = (viewer.warm + 1).min(viewer.connections);
        self.give(peer, Input::OriginEnd { run, result });
    }

    /// The viewer hangs up: the CDN goes on sending until it hears of it, and the connection is gone.
    pub(super) fn abort(&mut self, peer: u32, run: u64) {
        let state = &mut self.peers[peer as usize];
        let Some(at) = state.runs.iter().position(|(other, _)| *other == run) else { return };
        let (_, transfer) = state.runs.remove(at);
        state.connections = state.connections.saturating_sub(1);
        state.warm = state.warm.min(state.connections);
        self.cdn.transfers[transfer as usize].over = true;
        self.after(self.origin_latency(peer), Event::OriginStops(transfer));
    }

    pub(super) fn origin_stops(&mut self, transfer: u32) {
        let before = self.cdn.sent;
        self.cdn.stop(self.now, transfer);
        let peer = self.cdn.transfers[transfer as usize].peer;
        self.peers[peer as usize].tally.origin_sent += self.cdn.sent - before;
        self.arm_origin();
    }

    /// A peer is gone: its transfers stop.
    pub(super) fn hang_up_origin(&mut self, peer: u32) {
        let runs: Vec<u64> = self.peers[peer as usize].runs.iter().map(|(run, _)| *run).collect();
        runs.into_iter().for_each(|run| self.abort(peer, run));
    }
}
