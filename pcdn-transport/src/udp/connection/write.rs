//! What a session sends: control packets when something is due, DATA when it is its turn.

use std::net::SocketAddr;

use pcdn_core::transport::Class;
use pcdn_core::unit::{Rate, Time};

use super::Connection;
use crate::udp::frame::{DATA_OVERHEAD, Frame, REQ_LEN_MAX};
use crate::udp::packet::{DATAGRAM_MAX, HEADER_LEN, TAG_LEN};

/// Frame bytes of a packet other than DATA at most: no more than the HELLO has shown to pass, so that a path too narrow for full
/// sub-pieces still carries everything else. With its header 1217 bytes.
const FRAMES_MAX: usize = 1192;

impl Connection {
    /// Whether a packet other than DATA should go out now.
    pub(crate) fn control_due(&self, now: Time) -> bool {
        self.proof.is_some()
            || self.challenge.as_ref().is_some_and(|challenge| challenge.due)
            || self.pong.is_some()
            || now >= self.next_ping()
            || now >= self.gauge.report_at()
            || self.serve.has_reply(now)
            || self.pull.has_req()
            || !self.cancels.is_empty()
            || self.talk.has_frame(now, &self.rtt)
    }

    /// Appends one sealed packet of what is due, and says where it goes.
    pub(crate) fn write_control(&mut self, now: Time, out: &mut Vec<u8>) -> SocketAddr {
        if let Some((addr, token)) = self.proof.take() {
            self.packet(now, out, |_, out| Frame::PathProof(token).encode(out));
            return addr;
        }
        if let Some(challenge) = self.challenge.as_mut().filter(|challenge| challenge.due) {
            challenge.due = false;
            challenge.at = now;
            let (addr, token) = (challenge.addr, challenge.token);
            self.packet(now, out, |_, out| Frame::PathAsk(token).encode(out));
            return addr;
        }
        self.packet(now, out, |me, out| me.control_frames(now, out));
        self.remote
    }

    /// Appends a sealed goodbye.
    pub(crate) fn write_close(&mut self, now: Time, out: &mut Vec<u8>) {
        self.packet(now, out, |_, out| Frame::Close.encode(out));
    }

    fn control_frames(&mut self, now: Time, out: &mut Vec<u8>) {
        let end = out.len() + FRAMES_MAX;
        let room = |out: &Vec<u8>| end - out.len();
        if let Some(stamp) = self.pong.take() {
            Frame::Pong(stamp).encode(out);
        }
        if now >= self.next_ping() {
            self.ping_at = now;
            Frame::Ping(now.0 as u32).encode(out);
        }
        // A request says what arrived, too: it may be the only packet in a while.
        if now >= self.gauge.report_at() || self.pull.has_req() {
            let highest = self.opener.highest().unwrap_or(0);
            self.gauge
                .report(now, &self.rtt, highest)
                .into_iter()
                .for_each(|report| Frame::Feedback(report).encode(out));
        }
        while room(out) >= 5 && !self.cancels.is_empty() {
            self.cancels.pop_front().into_iter().for_each(|fetch| Frame::Cancel(fetch).encode(out));
        }
        while room(out) >= 10 {
            let Some(reply) = self.serve.next_reply(now, true) else { break };
            reply.encode(out);
        }
        while room(out) >= REQ_LEN_MAX {
            let Some(req) = self.pull.next_req(now, &self.rtt) else { break };
            Frame::Req(req).encode(out);
        }
        while self.talk.write(now, &self.rtt, room(out), out) {}
    }

    /// How many packets of `content` bytes may go now, by window and pace; and if none, when to look again.
    pub(crate) fn data_allowance(&mut self, now: Time, content: usize, class: Class) -> Result<usize, Time> {
        let packet = content + DATA_OVERHEAD + HEADER_LEN + TAG_LEN;
        let room = self.flow.room(now, class == Class::Urgent);
        if room == 0 {
            return Err(Time::NEVER);
        }
        let rate = self.pace(class);
        let paced = (self.pacer.fill(now, rate) / packet as u64) as usize;
        if paced == 0 {
            return Err(self.pacer.ready_at(rate, 2 * DATAGRAM_MAX as u64));
        }
        Ok(room.min(paced))
    }

    /// Wire bytes a second at which DATA goes out.
    pub(crate) fn pace(&self, class: Class) -> Rate {
        Rate(self.flow.pace(DATAGRAM_MAX, self.rtt.smooth(), class == Class::Urgent))
    }

    /// Appends one sealed packet of DATA and gives its content's length.
    pub(crate) fn write_data(&mut self, now: Time, class: Class, out: &mut Vec<u8>) -> Option<usize> {
        self.serve.next_data(class)?;
        self.unheard_since = self.unheard_since.or(Some(now));
        let start = out.len();
        self.sealer.begin(now, self.to, out);
        let content = self.serve.write_data(now, class, out);
        self.seal(now, start, out, true);
        self.pacer.take((out.len() - start) as u64);
        content
    }

    fn packet(&mut self, now: Time, out: &mut Vec<u8>, frames: impl FnOnce(&mut Self, &mut Vec<u8>)) {
        let start = out.len();
        self.sealer.begin(now, self.to, out);
        frames(self, out);
        self.seal(now, start, out, false);
    }

    fn seal(&mut self, now: Time, start: usize, out: &mut Vec<u8>, data: bool) {
        self.flow.sent(now, self.sealer.next_number(), data);
        self.sealer.finish(start, out);
        assert!(out.len() - start <= DATAGRAM_MAX, "a packet of {} bytes", out.len() - start);
    }
}
