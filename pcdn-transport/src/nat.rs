//! How a node behind a NAT is seen and reached: pure, one object for each socket that carries sessions.
//!
//! | part | does |
//! |---|---|
//! | [`survey`] | asks trackers WHERE, keeps the mapping open, tells what the NAT does |
//! | [`punch`] | one meeting of two nodes: punches to all addresses until one comes through |
//! | [`order`] | which of a peer's addresses is tried first |
//!
//! [`Nat`] puts them together: whom to call and when, what a MEET or a PUNCH leads to. The words are those of
//! [`pcdn_core::wire::meet`]. A call that a peer answers by itself costs nothing of this: a tracker is asked only if the peer
//! has not answered within a quarter of a second.

pub mod order;
pub mod punch;
pub mod survey;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::peer::Reach;
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{self, Call, Meet, Token, Txid, Word};

use order::Way;
use punch::Punch;
use survey::{Found, Survey};

/// A peer that does not answer a hello for so long is called by way of a tracker: above nearly every round trip, and the time
/// to the first byte of who has a NAT.
const PATIENCE: Duration = Duration::from_millis(250);
/// A call without a MEET is repeated: the datagram was lost, or the peer is known to another tracker.
const CALL_AGAIN: Duration = Duration::from_millis(400);
/// Rounds of punches at most: of what succeeds, 97.6 % does in the first (measured over 4.4 million attempts of libp2p's hole
/// punching, arXiv 2510.27500).
const ROUNDS_MAX: u32 = 3;
/// Calls at most, unanswered ones included.
const CALLS_MAX: u32 = 8;
/// Peers called at once; more are only dialled.
const WANTED_MAX: usize = 64;
/// Meetings at once that others asked for: each costs 10 small datagrams a second.
const ANSWERED_MAX: usize = 32;
/// Meetings with one peer at once: by a tracker, by a neighbour, and one more.
const MEETINGS_PER_PEER: usize = 3;
/// Datagrams waiting to be sent; a tick's worth of every meeting.
const OUT_MAX: usize = 256;

/// What a datagram led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Nothing to be done.
    Nothing,
    /// A peer's punch came through from there: a hello will, too.
    Reached(PeerId, SocketAddr),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Nat {
    me: PeerId,
    private: Vec<SocketAddr>,
    survey: Survey,
    wanted: BTreeMap<PeerId, Wanted>,
    /// By what both sides show: a tracker and a neighbour may call the same two together, each side hearing of another first.
    meetings: BTreeMap<Token, (PeerId, Punch)>,
    out: VecDeque<(SocketAddr, Vec<u8>)>,
}

/// A peer that this node wants to meet.
#[derive(Debug)]
struct Wanted {
    at: Vec<SocketAddr>,
    txid: Txid,
    next: Time,
    calls: u32,
    rounds: u32,
}

impl Nat {
    /// Of a node that knows no tracker yet.
    pub fn new(me: PeerId) -> Self {
        Self {
            me,
            private: Vec::new(),
            survey: Survey::new(me),
            wanted: BTreeMap::new(),
            meetings: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    /// From now on these trackers are asked, and these private addresses told to them.
    pub fn meet_at(&mut self, now: Time, trackers: &[SocketAddr], private: &[SocketAddr]) {
        self.private = private.iter().take(meet::PRIVATE_MAX).copied().collect();
        self.survey.ask(now, trackers, &self.private);
    }

    /// A peer is dialled at `addrs`, which may not be enough. One that is behind the same router is called at once: the tracker
    /// knows where it is in the local network.
    pub fn want(&mut self, now: Time, peer: PeerId, addrs: &[SocketAddr]) {
        let own = self.own();
        let here = addrs.iter().all(|addr| Way::to(*addr, own) == Way::Around);
        self.call_from(if here { now } else { now + PATIENCE }, peer, addrs);
    }

    /// The public address at which trackers see this node.
    pub fn own(&self) -> Option<IpAddr> {
        Some(self.survey.found().seen?.ip())
    }

    /// A link has fallen silent: this node's mapping may have changed, or the peer's.
    pub fn lost(&mut self, now: Time, peer: PeerId, at: SocketAddr) {
        if !self.wanted.contains_key(&peer) {
            self.survey.hurry(now);
            self.call_from(now, peer, &[at]);
        }
    }

    fn call_from(&mut self, next: Time, peer: PeerId, addrs: &[SocketAddr]) {
        if self.survey.is_idle() || self.wanted.len() >= WANTED_MAX || addrs.is_empty() {
            return;
        }
        let mut at = addrs.to_vec();
        // The tracker knows it by the address that reaches farthest.
        at.sort_by_key(|addr| std::cmp::Reverse(Reach::of(addr.ip())));
        let wanted = Wanted { at, txid: [0; 12], next, calls: 0, rounds: 0 };
        self.wanted.entry(peer).or_insert(wanted);
    }

    /// There is a link to the peer, or nobody wants one any more.
    pub fn done(&mut self, peer: &PeerId) {
        self.wanted.remove(peer);
        self.meetings.retain(|_, (of, _)| of != peer);
    }

    /// Takes a datagram that [`is_word`](meet::is_word).
    pub fn handle(&mut self, now: Time, from: SocketAddr, datagram: &[u8]) -> News {
        match meet::decode(datagram) {
            Some(Word::Here(here)) => {
                if self.survey.here(now, from, &here) {
                    // Calls from the old address were not believed.
                    let waiting = self.wanted.values_mut().filter(|wanted| wanted.rounds == 0);
                    waiting.for_each(|wanted| wanted.next = wanted.next.min(now));
                }
                News::Nothing
            }
            Some(Word::Meet(meet)) => {
                self.meet(now, from, meet);
                News::Nothing
            }
            Some(Word::Punch(token)) => match self.meetings.get_mut(&token) {
                Some((peer, punch)) => {
                    punch.came(now, from);
                    News::Reached(*peer, from)
                }
                None => News::Nothing,
            },
            _ => News::Nothing,
        }
    }

    fn meet(&mut self, now: Time, from: SocketAddr, meet: Meet) {
        if meet.peer == self.me || !self.survey.vouches(from, &meet.ticket) {
            return;
        }
        let wanted = self.wanted.get_mut(&meet.peer).filter(|wanted| wanted.txid == meet.txid);
        let Some(token) = meet.token else {
            // Not known there: the next tracker may know it.
            if let Some(wanted) = wanted {
                wanted.next = wanted.next.min(now + CALL_AGAIN / 2);
            }
            return;
        };
        let begin_in = Duration::from_millis(meet.in_ms.into());
        if self.introduced(now, meet.peer, token, begin_in, &meet.addrs)
            && let Some(wanted) = self.wanted.get_mut(&meet.peer)
        {
            wanted.rounds += 1;
            wanted.next = now + begin_in.min(punch::BEGIN_MAX) + punch::LASTS;
        }
    }

    /// Somebody whose word is to be taken calls this node and `peer` together: a tracker, or a neighbour of both. Whether there
    /// is room for a meeting.
    pub fn introduced(
        &mut self,
        now: Time,
        peer: PeerId,
        token: Token,
        begin_in: Duration,
        addrs: &[SocketAddr],
    ) -> bool {
        let answered = self.meetings.values().filter(|(peer, _)| !self.wanted.contains_key(peer)).count();
        let theirs = self.meetings.values().filter(|(of, _)| *of == peer).count();
        let room = self.wanted.contains_key(&peer) || answered < ANSWERED_MAX;
        let known = self.meetings.contains_key(&token);
        if peer == self.me || known || !room || theirs >= MEETINGS_PER_PEER {
            return false;
        }
        let punch = Punch::new(now + begin_in.min(punch::BEGIN_MAX), token, addrs);
        self.meetings.insert(token, (peer, punch));
        true
    }

    /// When [`wake`](Self::wake) has something to do.
    pub fn next_wake(&self) -> Time {
        let wanted = self.wanted.values().filter(|wanted| wanted.calls < CALLS_MAX).map(|wanted| wanted.next);
        let meetings = self.meetings.values().map(|(_, punch)| punch.next_wake());
        wanted.chain(meetings).min().unwrap_or(Time::NEVER).min(self.survey.next_wake())
    }

    /// Does what time demands; `draw` gives secret random bytes. [`poll_transmit`](Self::poll_transmit) has what follows.
    pub fn wake(&mut self, now: Time, mut draw: impl FnMut() -> [u8; 32]) {
        self.survey.wake(now, &mut draw, &mut self.out);
        for (peer, wanted) in self.wanted.iter_mut().filter(|(_, wanted)| wanted.next <= now) {
            if wanted.calls >= CALLS_MAX || wanted.rounds >= ROUNDS_MAX {
                wanted.next = Time::NEVER;
                continue;
            }
            wanted.next = now + CALL_AGAIN;
            let Some((tracker, ticket, rtt_ms)) = self.survey.tracker(wanted.calls as usize) else {
                continue;
            };
            let at = wanted.at[(wanted.calls as usize / self.survey.trackers().max(1)) % wanted.at.len()];
            wanted.calls += 1;
            wanted.txid = txid(draw());
            let (id, private) = (self.me, self.private.clone());
            let call = Call { txid: wanted.txid, ticket, id, wanted: *peer, at, private, rtt_ms };
            self.out.push_back((tracker, meet::encode(&Word::Call(call))));
        }
        self.meetings.retain(|_, (_, punch)| !punch.is_over(now));
        for (_, punch) in self.meetings.values_mut() {
            let word = meet::encode(&Word::Punch(punch.token()));
            self.out.extend(punch.due(now).map(|to| (to, word.clone())));
        }
        self.out.truncate(OUT_MAX);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.out.pop_front()
    }

    /// How this node is seen, as far as it is known.
    pub fn found(&self) -> Found {
        self.survey.found()
    }
}

fn txid(random: [u8; 32]) -> Txid {
    let mut txid = Txid::default();
    txid.copy_from_slice(&random[..12]);
    txid
}
