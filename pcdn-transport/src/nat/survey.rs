//! What a node's NAT does, found out by asking a tracker from the socket that carries sessions (after RFC 5780).
//!
//! 1. WHERE to the tracker: the address it sees is what others can dial, if anything is.
//! 2. It is asked to answer from another address and from another port. What comes in shows what the NAT lets in. This comes
//!    before this node has written to either.
//! 3. WHERE to the other port and the other address: if they see the same, the NAT has one mapping for all.
//!
//! A tracker with one address cannot show whether a NAT tells addresses apart; ports are then taken for both. Every 20 s the
//! tracker is asked anew: that keeps the mapping open, and a new answer is a new mapping.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::peer;
use pcdn_core::unit::Time;
use pcdn_core::wire::meet::{self, AnswerFrom, Here, Ticket, Txid, Where, Word};

/// Trackers asked at most: each keeps this node registered.
pub const TRACKERS_MAX: usize = 4;
/// NATs forget a UDP mapping after 30 s or more without a datagram going out (RFC 4787, REQ-5 wants two minutes; Linux has 30 s
/// for what was never answered).
const KEEP: Duration = Duration::from_secs(20);
/// Pauses of an unanswered question, then [`KEEP`].
const AGAIN: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
];
/// Tries of each trial: one in a thousand is lost three times at 10 % loss.
const TRIALS: u32 = 3;
const TRIAL_EVERY: Duration = Duration::from_millis(300);

/// What is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// From where trackers see this node.
    pub seen: Option<SocketAddr>,
    /// What its NAT does.
    pub nat: peer::Nat,
    /// Whether no tracker answers although it was asked several times: UDP is blocked, or no tracker is there.
    pub silent: bool,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Survey {
    me: PeerId,
    private: Vec<SocketAddr>,
    trackers: Vec<Tracker>,
    trials: Option<Trials>,
    found: Found,
}

#[derive(Debug)]
struct Tracker {
    at: SocketAddr,
    /// The last two: what is under way may still carry the older one.
    tickets: [Ticket; 2],
    seen: Option<SocketAddr>,
    txid: Txid,
    next: Time,
    unanswered: usize,
    asked_at: Time,
    /// Round trip, of a question that was asked once.
    rtt: Option<Duration>,
}

/// The trials of one tracker, in two stages.
#[derive(Debug)]
struct Trials {
    seen: SocketAddr,
    /// Answer from another address, from another port.
    lets_in: [Trial; 2],
    /// What the other port and the other address see.
    sees: [Trial; 2],
}

#[derive(Debug, Default)]
struct Trial {
    to: Option<SocketAddr>,
    answer_from: AnswerFrom,
    txid: Txid,
    tries: u32,
    next: Time,
    answer: Option<SocketAddr>,
}

impl Survey {
    /// Of a node that knows no tracker yet.
    pub fn new(me: PeerId) -> Self {
        Self { me, private: Vec::new(), trackers: Vec::new(), trials: None, found: Found::default() }
    }

    /// From now on these trackers are asked; those asked already go on.
    pub fn ask(&mut self, now: Time, trackers: &[SocketAddr], private: &[SocketAddr]) {
        self.private = private.to_vec();
        self.trackers.retain(|tracker| trackers.contains(&tracker.at));
        for at in trackers {
            if self.trackers.len() < TRACKERS_MAX && !self.trackers.iter().any(|known| known.at == *at) {
                let (tickets, txid) = Default::default();
                let (asked_at, rtt) = (now, None);
                self.trackers.push(Tracker {
                    at: *at,
                    tickets,
                    seen: None,
                    txid,
                    next: now,
                    unanswered: 0,
                    asked_at,
                    rtt,
                });
            }
        }
    }

    /// The mapping may have changed: asks at once.
    pub fn hurry(&mut self, now: Time) {
        self.trackers.iter_mut().for_each(|tracker| tracker.next = tracker.next.min(now));
    }

    /// Whether nobody is asked.
    pub fn is_idle(&self) -> bool {
        self.trackers.is_empty()
    }

    /// How many are asked.
    pub fn trackers(&self) -> usize {
        self.trackers.len()
    }

    /// The `nth` tracker that has answered, the ticket it wants, and the round trip to it in milliseconds (0: not known).
    pub fn tracker(&self, nth: usize) -> Option<(SocketAddr, Ticket, u16)> {
        let answering: Vec<&Tracker> =
            self.trackers.iter().filter(|tracker| tracker.tickets[0] != Ticket::default()).collect();
        let tracker = answering.get(nth % answering.len().max(1))?;
        Some((tracker.at, tracker.tickets[0], tracker.rtt_ms()))
    }

    /// Whether a word is from a tracker that is asked: it comes from there and shows the ticket it gave.
    pub fn vouches(&self, from: SocketAddr, ticket: &Ticket) -> bool {
        *ticket != Ticket::default()
            && self
                .trackers
                .iter()
                .any(|tracker| is_same(tracker.at, from) && tracker.tickets.contains(ticket))
    }

    /// What is known.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Takes an answer; whether it shows that this node is seen elsewhere than before.
    pub fn here(&mut self, now: Time, from: SocketAddr, here: &Here) -> bool {
        let mut trials = self.trials.iter_mut().flat_map(Trials::all);
        if let Some(trial) = trials.find(|trial| trial.txid == here.txid && trial.tries > 0) {
            trial.answer = Some(here.seen);
            drop(trials);
            self.judge();
            return false;
        }
        drop(trials);
        let asked = |tracker: &&mut Tracker| {
            tracker.txid == here.txid && tracker.unanswered > 0 && is_same(tracker.at, from)
        };
        let Some(tracker) = self.trackers.iter_mut().find(asked) else { return false };
        if tracker.unanswered == 1 {
            tracker.rtt = Some(now.since(tracker.asked_at));
        }
        let before = tracker.seen.replace(here.seen);
        let known = before == Some(here.seen) && tracker.tickets[0] == here.ticket;
        if tracker.tickets[0] != here.ticket {
            tracker.tickets = [here.ticket, tracker.tickets[0]];
        }
        tracker.unanswered = 0;
        // Only with the ticket is one registered: with the first one, one of a new address, and that of a tracker that has restarted.
        tracker.next = now + if known { KEEP } else { Duration::ZERO };
        let leads = self.leads(from);
        if leads {
            // Behind another public address is another NAT.
            if before.is_none_or(|before| before.ip() != here.seen.ip()) {
                self.trials = Trials::begin(now, from, here);
            }
            self.found.seen = Some(here.seen);
        }
        self.found.silent = false;
        before.is_some_and(|before| before != here.seen)
    }

    /// Whether the tracker at `at` is the first that answers: its word is taken. Another's mapping may be another one.
    fn leads(&self, at: SocketAddr) -> bool {
        let first = self.trackers.iter().find(|tracker| tracker.seen.is_some());
        first.is_some_and(|tracker| is_same(tracker.at, at))
    }

    fn judge(&mut self) {
        self.found.nat = self.trials.as_ref().map_or(peer::Nat::Unknown, Trials::nat);
    }

    /// When to wake it.
    pub fn next_wake(&self) -> Time {
        let trackers = self.trackers.iter().map(|tracker| tracker.next);
        let trials = self.trials.as_ref().map_or(Time::NEVER, Trials::next_wake);
        trackers.min().unwrap_or(Time::NEVER).min(trials)
    }

    /// Asks what is due; appends to `out`.
    pub fn wake(
        &mut self,
        now: Time,
        draw: &mut impl FnMut() -> [u8; 32],
        out: &mut VecDeque<(SocketAddr, Vec<u8>)>,
    ) {
        let question = |txid: Txid, ticket: Ticket, answer_from: AnswerFrom, rtt_ms: u16| {
            let private = self.private.clone();
            meet::encode(&Word::Where(Where { txid, answer_from, ticket, id: self.me, private, rtt_ms }))
        };
        for tracker in self.trackers.iter_mut().filter(|tracker| tracker.next <= now) {
            if tracker.unanswered == 0 {
                tracker.asked_at = now;
                tracker.txid = super::txid(draw());
            }
            tracker.next = now + AGAIN.get(tracker.unanswered).copied().unwrap_or(KEEP);
            tracker.unanswered = (tracker.unanswered + 1).min(AGAIN.len());
            let (ticket, rtt_ms) = (tracker.tickets[0], tracker.rtt_ms());
            out.push_back((tracker.at, question(tracker.txid, ticket, AnswerFrom::Here, rtt_ms)));
        }
        if let Some(trials) = &mut self.trials {
            for trial in trials.stage(now) {
                if trial.is_due(now)
                    && let Some(to) = trial.to
                {
                    if trial.tries == 0 {
                        trial.txid = super::txid(draw());
                    }
                    trial.tries += 1;
                    trial.next = now + TRIAL_EVERY;
                    out.push_back((to, question(trial.txid, Ticket::default(), trial.answer_from, 0)));
                }
            }
        }
        let silent = |tracker: &Tracker| tracker.unanswered >= AGAIN.len();
        self.found.silent = !self.trackers.is_empty() && self.trackers.iter().all(silent);
    }
}

impl Tracker {
    /// Rounded up: 0 is not known.
    fn rtt_ms(&self) -> u16 {
        let ms = |rtt: Duration| rtt.as_micros().div_ceil(1_000).min(u16::MAX.into()) as u16;
        self.rtt.map_or(0, |rtt| ms(rtt).max(1))
    }
}

impl Trials {
    /// `None` if the tracker has no other point.
    fn begin(now: Time, at: SocketAddr, here: &Here) -> Option<Self> {
        // A tracker that listens on all addresses names none: the one it was asked at has the other port.
        let port = here.other_port.map(|other| match other.ip().is_unspecified() {
            true => SocketAddr::new(at.ip(), other.port()),
            false => in_family_of(other, at),
        });
        let address = here.other_address.map(|other| in_family_of(other, at));
        let port = port.filter(|other| is_same_ip(*other, at) && other.port() != at.port());
        let address = address.filter(|other| !is_same_ip(*other, at) && other.is_ipv4() == at.is_ipv4());
        port.or(address)?;
        let trial = |to, answer_from| Trial { to, answer_from, next: now, ..Trial::default() };
        Some(Self {
            seen: here.seen,
            lets_in: [
                trial(address.map(|_| at), AnswerFrom::OtherAddress),
                trial(port.map(|_| at), AnswerFrom::OtherPort),
            ],
            sees: [trial(port, AnswerFrom::Here), trial(address, AnswerFrom::Here)],
        })
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Trial> {
        self.lets_in.iter_mut().chain(&mut self.sees)
    }

    /// The trials of the stage that is on: who has written to the other points would be let in from there.
    fn stage(&mut self, now: Time) -> &mut [Trial; 2] {
        if self.lets_in.iter().all(|trial| trial.is_over(now)) { &mut self.sees } else { &mut self.lets_in }
    }

    fn next_wake(&self) -> Time {
        let open = self.lets_in.iter().filter(|trial| trial.wants()).map(|trial| trial.next).min();
        // The second stage begins when the first is over.
        let second = self.sees.iter().filter(|trial| trial.wants()).map(|trial| trial.next).min();
        let first_ends =
            self.lets_in.iter().filter(|trial| trial.answer.is_none()).map(|trial| trial.next).max();
        match (open, second) {
            (Some(open), _) => open,
            (None, Some(second)) => second.max(first_ends.unwrap_or(Time::ZERO)),
            (None, None) => Time::NEVER,
        }
    }

    fn nat(&self) -> peer::Nat {
        let [from_address, from_port] =
            [&self.lets_in[0], &self.lets_in[1]].map(|trial| trial.answer.is_some());
        let answers = self.sees.iter().filter_map(|trial| trial.answer);
        let (mut others, mut same) = (0, true);
        for answer in answers {
            others += 1;
            same &= answer == self.seen;
        }
        match (others, same) {
            (_, false) => peer::Nat::Symmetric,
            (0, true) => peer::Nat::Unknown,
            _ if from_address => peer::Nat::Open,
            _ if from_port => peer::Nat::Restricted,
            _ => peer::Nat::Cone,
        }
    }
}

impl Trial {
    fn wants(&self) -> bool {
        self.to.is_some() && self.answer.is_none() && self.tries < TRIALS
    }

    fn is_due(&self, now: Time) -> bool {
        self.wants() && now >= self.next
    }

    /// Answered, not to be had, or waited for long enough.
    fn is_over(&self, now: Time) -> bool {
        self.to.is_none() || self.answer.is_some() || (self.tries >= TRIALS && now >= self.next)
    }
}

fn is_same(a: SocketAddr, b: SocketAddr) -> bool {
    is_same_ip(a, b) && a.port() == b.port()
}

fn is_same_ip(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical()
}

/// A socket of both families names IPv4 addresses in IPv6's form.
fn in_family_of(addr: SocketAddr, like: SocketAddr) -> SocketAddr {
    match (addr.ip(), like.is_ipv6()) {
        (IpAddr::V4(ip), true) => SocketAddr::new(ip.to_ipv6_mapped().into(), addr.port()),
        _ => addr,
    }
}
