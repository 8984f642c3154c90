//! One session: frames in, frames out, and the timers between.
//!
//! A pure object. [`Endpoint`](super::endpoint::Endpoint) feeds it opened packets and time, and asks it for packets to send:
//! first whatever `control_due` says, then DATA when it is this session's turn.

mod write;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, Scheme};
use pcdn_core::transport::{FetchError, MESSAGE_BYTES_MAX, PathStats};
use pcdn_core::unit::Time;

use super::flow::{Company, Flow, Pacer};
use super::frame::{self, Frame};
use super::gauge::{Gauge, LOSSY_PERMILLE};
use super::noise::Keyed;
use super::packet::{DATAGRAM_MAX, full_number};
use super::pull::Pull;
use super::rtt::Rtt;
use super::seal::{Opener, Sealer};
use super::serve::{Serve, refuse_of};
use super::talk::Talk;

/// A quiet session is pinged this often: NATs forget a flow after 30 s, some after 15.
const PING_QUIET: Duration = Duration::from_secs(6);
/// A session that waits for something is pinged this often.
const PING_BUSY: Duration = Duration::from_secs(1);
/// One that waits and has heard nothing for this long is pinged: whether the peer is slow or lost is known a round trip later.
const PING_SILENT: Duration = Duration::from_millis(250);
/// One that waits and has heard nothing for this long, two pings included, has lost its way: a NAT has forgotten it.
const STALLED: Duration = Duration::from_millis(600);
/// Until the first packet from the peer.
const PING_FIRST: Duration = Duration::from_millis(200);
/// A peer that owes an answer and says nothing for this long is gone: five pings unanswered.
const DEAD_BUSY: Duration = Duration::from_secs(5);
/// A new address is asked to prove itself at most this often.
const CHALLENGE_EVERY: Duration = Duration::from_millis(200);
/// Cancels waiting to be sent; more than fetches there can hardly be.
const CANCELS_MAX: usize = 512;

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The peer said goodbye.
    ByPeer,
    /// This side said goodbye.
    Here,
    /// Nothing came for too long.
    Silent,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) peer: PeerId,
    pub(crate) remote: SocketAddr,
    /// The peer's index for this session.
    to: u32,
    sealer: Sealer,
    opener: Opener,
    pub(crate) rtt: Rtt,
    pub(crate) pull: Pull,
    pub(crate) serve: Serve,
    pub(crate) talk: Talk,
    pub(crate) flow: Flow,
    gauge: Gauge,
    pacer: Pacer,
    /// Content bytes this session may still send in its turn.
    pub(crate) deficit: i64,
    /// Whether a packet from the peer has opened: its address is real and it holds the key.
    proven: bool,
    cancels: VecDeque<u32>,
    pong: Option<u32>,
    proof: Option<(SocketAddr, [u8; 8])>,
    challenge: Option<Challenge>,
    ping_at: Time,
    last_heard: Time,
    busy_since: Option<Time>,
    /// When the first DATA was sent of which nothing has been heard: a peer that takes it says so within a round trip.
    unheard_since: Option<Time>,
    stalled: bool,
    idle_timeout: Duration,
    pub(crate) ended: Option<Ended>,
    pub(crate) malformed: u64,
}

/// A new address of the peer that has yet to prove itself.
#[derive(Debug)]
struct Challenge {
    addr: SocketAddr,
    token: [u8; 8],
    /// When it was or is to be sent.
    at: Time,
    due: bool,
}

impl Connection {
    pub(crate) fn new(
        now: Time,
        peer: PeerId,
        remote: SocketAddr,
        to: u32,
        keyed: Keyed,
        idle: Duration,
    ) -> Self {
        Self {
            peer,
            remote,
            to,
            sealer: keyed.sealer,
            opener: keyed.opener,
            rtt: Rtt::default(),
            pull: Pull::default(),
            serve: Serve::default(),
            talk: Talk::default(),
            flow: Flow::new(),
            gauge: Gauge::default(),
            pacer: Pacer::new(4 * DATAGRAM_MAX as u64, 64 * DATAGRAM_MAX as u64),
            deficit: 0,
            proven: false,
            cancels: VecDeque::new(),
            pong: None,
            proof: None,
            challenge: None,
            ping_at: now,
            last_heard: now,
            busy_since: None,
            unheard_since: None,
            stalled: false,
            idle_timeout: idle,
            ended: None,
            malformed: 0,
        }
    }

    /// Whether the peer has shown that it holds the key and can be reached.
    pub(crate) fn is_proven(&self) -> bool {
        self.proven
    }

    /// Opens a datagram for this session; `false` if it is not genuine. `token` is a fresh challenge should one be needed.
    pub(crate) fn handle(
        &mut self,
        now: Time,
        from: SocketAddr,
        number: u32,
        datagram: &mut [u8],
        company: Company,
        token: impl FnOnce() -> [u8; 8],
    ) -> bool {
        let Some(opened) = self.opener.open(now, number, datagram) else {
            if self.opener.is_worn() {
                self.ended = Some(Ended::Here);
            }
            return false;
        };
        let newest = opened.newest;
        self.proven = true;
        self.last_heard = now;
        if std::mem::take(&mut self.stalled) {
            self.pull.hurry(now);
        }
        self.unheard_since = None;
        self.gauge.packet();
        if newest && from != self.remote && self.challenge.as_ref().is_none_or(|c| c.addr != from) {
            self.challenge = Some(Challenge { addr: from, token: token(), at: now, due: true });
        } else if let Some(challenge) = self.challenge.as_mut().filter(|c| c.addr == from) {
            challenge.due |= now.since(challenge.at) >= CHALLENGE_EVERY;
        }
        let plain: &[u8] = opened.plain;
        for frame in frame::decode(plain) {
            match frame {
                Ok(frame) => self.frame(now, from, frame, company),
                Err(_) => self.malformed += 1,
            }
        }
        true
    }

    fn frame(&mut self, now: Time, from: SocketAddr, frame: Frame<'_>, company: Company) {
        match frame {
            Frame::Ping(stamp) => self.pong = Some(stamp),
            Frame::Pong(stamp) => self.sample_rtt(now, stamp),
            Frame::Req(req) => self.serve.req(now, req),
            Frame::Cancel(fetch) => self.serve.cancel(fetch),
            Frame::Refuse { fetch, code, retry_ms } => self.pull.refused(fetch, refuse_of(code, retry_ms)),
            Frame::Got { fetch, ask, sent } => self.pull.got(now, &self.rtt, fetch, ask, sent),
            Frame::Done { fetch, ask } => self.pull.done(now, &self.rtt, fetch, ask),
            Frame::Data(data) => {
                let highest = self.opener.highest().unwrap_or(0);
                self.gauge.data(now, &self.rtt, data.stamp, data.content.len(), highest);
                self.pull.data(now, &self.rtt, &data);
                self.pull.set_lossy(self.gauge.loss_permille() >= LOSSY_PERMILLE);
            }
            Frame::Msg { number, first, last, bytes } => {
                if !self.talk.msg(number, first, last, bytes, MESSAGE_BYTES_MAX) {
                    self.malformed += 1;
                    self.ended = Some(Ended::Here);
                }
            }
            Frame::MsgAck { next, later, room } => self.talk.ack(next, later, room),
            Frame::Feedback(report) => {
                let highest = full_number(self.sealer.next_number(), report.highest);
                if let Some(rtt) = self.flow.feedback(now, &report, highest, company) {
                    self.rtt.sample(rtt);
                }
            }
            Frame::PathAsk(token) => self.proof = Some((from, token)),
            Frame::PathProof(token) => {
                if let Some(proven) = self.challenge.take_if(|c| c.addr == from && c.token == token) {
                    self.remote = proven.addr;
                    self.pull.hurry(now);
                }
            }
            Frame::Close => self.ended = Some(Ended::ByPeer),
        }
    }

    fn sample_rtt(&mut self, now: Time, stamp: u32) {
        let elapsed = (now.0 as u32).wrapping_sub(stamp);
        // A stamp of more than a minute ago is none of ours.
        if elapsed < 60_000_000 {
            self.rtt.sample(Duration::from_micros(elapsed.into()));
        }
    }

    /// Whether something is owed by the peer.
    fn is_busy(&self) -> bool {
        !self.pull.is_idle() || !self.talk.is_idle() || self.flow.under_way() > 0
    }

    /// What is known of the path.
    pub(crate) fn path(&self, now: Time) -> PathStats {
        PathStats {
            rtt: self.rtt.measured(),
            rtt_min: self.rtt.least(),
            rate: self.gauge.rate(now),
            loss_permille: self.gauge.loss_permille().max(self.flow.loss_permille()),
            remote: Some(PeerAddr { scheme: Scheme::Udp, addr: self.remote }),
        }
    }

    /// Sub-pieces that came more than once.
    pub(crate) fn duplicates(&self) -> u64 {
        self.pull.duplicates()
    }

    pub(crate) fn cancel(&mut self, fetch: u32) {
        if self.pull.cancel(fetch) && self.cancels.len() < CANCELS_MAX {
            self.cancels.push_back(fetch);
        }
    }

    /// Ends everything that waits on this session.
    pub(crate) fn abandon(&mut self) {
        self.pull.fail_all(&FetchError::Closed);
        self.serve.abandon_all();
    }

    /// When [`wake`](Self::wake) or a control packet has something to do.
    pub(crate) fn next_wake(&self) -> Time {
        let dead = self.dead_at();
        let parts = [
            self.pull.next_wake(),
            self.serve.next_wake(),
            self.talk.next_wake(&self.rtt),
            self.flow.next_wake(),
            self.gauge.report_at(),
            self.next_ping(),
            self.stalls_at(),
            dead,
        ];
        parts.into_iter().min().unwrap_or(Time::NEVER)
    }

    pub(crate) fn wake(&mut self, now: Time) {
        self.note_busy(now);
        if now >= self.dead_at() {
            self.ended = Some(Ended::Silent);
        }
        self.pull.wake(now, &self.rtt);
        self.serve.wake(now);
        self.flow.wake(now);
    }

    /// Since when a word of the peer's is due, if one is.
    fn waits_since(&self) -> Option<Time> {
        self.busy_since.into_iter().chain(self.unheard_since).min()
    }

    fn stalls_at(&self) -> Time {
        match self.waits_since() {
            Some(since) if self.proven && !self.stalled => {
                since.max(self.last_heard) + STALLED.max(PING_SILENT + 2 * self.rtt.smooth())
            }
            _ => Time::NEVER,
        }
    }

    /// Whether it has lost its way since the last time this was asked.
    pub(crate) fn stalls(&mut self, now: Time) -> bool {
        let stalls = now >= self.stalls_at();
        self.stalled |= stalls;
        stalls
    }

    /// Whether nothing has come since [`stalls`](Self::stalls) said so.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// The peer may be at `addr`: it is asked to prove it.
    pub(crate) fn prove(&mut self, now: Time, addr: SocketAddr, token: [u8; 8]) {
        match self.challenge.as_mut().filter(|challenge| challenge.addr == addr) {
            Some(challenge) => challenge.due |= now.since(challenge.at) >= CHALLENGE_EVERY,
            None => self.challenge = Some(Challenge { addr, token, at: now, due: true }),
        }
    }

    /// Keeps track of since when the peer owes something; call after every change.
    pub(crate) fn note_busy(&mut self, now: Time) {
        self.busy_since = if self.is_busy() { self.busy_since.or(Some(now)) } else { None };
    }

    fn dead_at(&self) -> Time {
        let idle = self.last_heard + self.idle_timeout;
        let busy = self.busy_since.map_or(Time::NEVER, |since| since.max(self.last_heard) + DEAD_BUSY);
        idle.min(busy)
    }

    /// `ping_at` is when the last ping went (or the first is due).
    fn next_ping(&self) -> Time {
        match (self.proven, self.waits_since()) {
            _ if self.sealer.next_number() == 0 => self.ping_at,
            (false, _) => self.ping_at + PING_FIRST,
            (true, Some(_)) => {
                (self.ping_at + PING_BUSY).min(self.ping_at.max(self.last_heard) + PING_SILENT)
            }
            (true, None) => self.ping_at + PING_QUIET,
        }
    }

    /// Queues a message.
    pub(crate) fn send(&mut self, message: &Bytes) {
        self.talk.send(message);
    }
}

#[cfg(test)]
mod tests;
