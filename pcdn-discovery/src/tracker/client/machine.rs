//! The client without its sockets: what to send, when to send it again, when to give up.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::unit::Time;

use crate::tracker::secret::Secret;
use crate::tracker::service::Refusal;
use crate::tracker::wire::bep15::{Plain, PlainAnswer, decode_plain, encode_announce, plain_id};
use crate::tracker::wire::{
    Answer, Counts, InfoHash, Request, WireError, decode_answer, encode_connect, encode_with_token,
};

/// Waits after the first, second … try. The first is above nearly every round trip; four tries survive 30 % loss in 99 of
/// 100 cases; together they stay below the five seconds a call may take.
const RETRY: [Duration; 4] = [
    Duration::from_millis(300),
    Duration::from_millis(600),
    Duration::from_millis(1_200),
    Duration::from_millis(2_400),
];
/// When a request without answer fails: the sum of the waits above.
pub const GIVE_UP: Duration = Duration::from_millis(4_500);
/// How long a connection id is used. BEP 15 says one minute; trackers accept it for two.
const COOKIE_USED: Duration = Duration::from_secs(60);

/// Names one request of the machine's owner.
pub type Ticket = u64;

/// What happens to the machine.
#[derive(Debug)]
pub enum Input<'d> {
    /// The owner asks something. The ticket must be new.
    Ask(Ticket, Request),
    /// The owner no longer waits.
    Forget(Ticket),
    /// A datagram came on a path.
    Datagram {
        /// The path it came on.
        path: usize,
        /// All of it.
        bytes: &'d [u8],
    },
    /// The network says that nobody listens at the end of a path.
    Unreachable {
        /// Which.
        path: usize,
    },
    /// `next_wake` has come.
    Wake,
}

/// What the machine wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram on a path.
    Send {
        /// The path.
        path: usize,
        /// The datagram.
        bytes: Vec<u8>,
    },
    /// An answer, or why there is none. The ticket is done.
    Done(Ticket, Result<Answer, Failure>),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No answer to four tries.
    Silent,
    /// The tracker said no.
    Refused(String),
    /// Its address is of no use.
    Address(String),
}

/// What a tracker understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    /// The native actions, as far as is known.
    #[default]
    Native,
    /// It gave a connection id, but was silent to an announce. It may have died in between.
    Doubtful,
    /// BEP 15 alone: it did so again.
    Bep15,
}

/// Talks to one tracker that may have several addresses ("paths", by number).
///
/// Contract: [`handle`](Self::handle) one input, then [`poll`](Self::poll) until `None`; call again with [`Input::Wake`] at
/// [`next_wake`](Self::next_wake). The path that answers first is kept; while none has, tries go round all of them.
///
/// A tracker that twice gives a connection id but is silent to an announce is taken for one of BitTorrent's: from then on it is
/// announced to as BEP 15 has it. It then lists this node for others of its kind, but gives no peers to us: its answers have
/// addresses without keys, and no link of ours begins without one.
#[derive(Debug)]
pub struct Machine {
    secret: Option<Secret>,
    token: Option<Arc<str>>,
    speaks: Speaks,
    paths: usize,
    path: usize,
    cookie: Option<(u64, Time)>,
    connecting: Option<Exchange>,
    pending: BTreeMap<Ticket, Pending>,
    out: VecDeque<Output>,
}

/// One question on the wire. Retries keep the transaction, so an answer to any of them counts.
#[derive(Debug)]
struct Exchange {
    txn: u32,
    tries: usize,
    next_at: Time,
}

#[derive(Debug)]
struct Pending {
    request: Request,
    asked: Time,
    /// `None` until there is a connection id.
    exchange: Option<Exchange>,
    /// Whether the tracker has refused a connection id for it once already.
    reconnected: bool,
}

impl Machine {
    /// For a tracker with `paths` addresses, at least one.
    pub fn new(paths: usize, secret: Option<Secret>) -> Self {
        Self {
            secret,
            token: None,
            speaks: Speaks::Native,
            paths: paths.max(1),
            path: 0,
            cookie: None,
            connecting: None,
            pending: BTreeMap::new(),
            out: VecDeque::new(),
        }
    }

    /// The same, showing a token of the tracker's application.
    #[must_use]
    pub fn with_token(self, token: Option<Arc<str>>) -> Self {
        Self { token, ..self }
    }

    /// The same, knowing what its tracker understands. One that demands a secret is never BitTorrent's.
    #[must_use]
    pub fn speaking(mut self, speaks: Speaks) -> Self {
        self.speaks = if self.secret.is_none() { speaks } else { Speaks::Native };
        self
    }

    /// What its tracker was found to understand.
    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// Takes one input. Drain [`poll`](Self::poll) afterwards.
    pub fn handle(&mut self, now: Time, dice: &mut Dice, input: Input<'_>) {
        match input {
            Input::Ask(ticket, Request::Find(_)) if self.speaks == Speaks::Bep15 => {
                let answer = Answer::Found { counts: Counts::default(), peers: Vec::new(), rich: false };
                self.out.push_back(Output::Done(ticket, Ok(answer)));
            }
            Input::Ask(ticket, Request::Report(_)) if self.speaks == Speaks::Bep15 => {
                self.out
                    .push_back(Output::Done(ticket, Err(Failure::Refused("it takes no reports".to_owned()))));
            }
            Input::Ask(ticket, request) => {
                let pending = Pending { request, asked: now, exchange: None, reconnected: false };
                self.pending.insert(ticket, pending);
                self.advance(now, dice);
            }
            Input::Forget(ticket) => {
                self.pending.remove(&ticket);
            }
            Input::Datagram { path, bytes } => self.receive(now, dice, path, bytes),
            Input::Unreachable { path } => self.hurry(now, dice, path),
            Input::Wake => self.wake(now),
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to wake the machine, if anything is under way.
    pub fn next_wake(&self) -> Option<Time> {
        let requests = self.pending.values().flat_map(|pending| &pending.exchange);
        requests.chain(&self.connecting).map(|exchange| exchange.next_at).min()
    }

    /// Requests under way.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Sends what can be sent: the waiting requests, or a connect for them.
    fn advance(&mut self, now: Time, dice: &mut Dice) {
        if self.pending.values().all(|pending| pending.exchange.is_some()) {
            return;
        }
        let Some((connection, _)) = self.cookie.filter(|(_, since)| now.since(*since) < COOKIE_USED) else {
            if self.connecting.is_none() {
                let exchange = Exchange::start(now, dice);
                self.send_connect(&exchange);
                self.connecting = Some(exchange);
            }
            return;
        };
        for pending in self.pending.values_mut().filter(|pending| pending.exchange.is_none()) {
            let exchange = Exchange::start(now, dice);
            let bytes = encode(
                self.speaks,
                connection,
                exchange.txn,
                &pending.request,
                self.token.as_deref(),
                self.secret.as_ref(),
            );
            self.out.push_back(Output::Send { path: self.path, bytes });
            pending.exchange = Some(exchange);
        }
    }

    fn send_connect(&mut self, exchange: &Exchange) {
        let path = (self.path + exchange.tries - 1) % self.paths;
        self.out.push_back(Output::Send { path, bytes: encode_connect(exchange.txn) });
    }

    /// Datagrams that answer nothing under way are dropped: late, doubled or forged ones.
    fn receive(&mut self, now: Time, dice: &mut Dice, path: usize, bytes: &[u8]) {
        let read = match self.speaks {
            Speaks::Native | Speaks::Doubtful => decode_answer(bytes, self.secret.as_ref()),
            Speaks::Bep15 => decode_answer(bytes, None).or_else(|_| decode_bep15(bytes)),
        };
        let Ok((txn, answer)) = read else { return };
        if self.connecting.as_ref().is_some_and(|exchange| exchange.txn == txn) {
            match answer {
                Answer::Connected { connection } => {
                    self.connecting = None;
                    self.path = path;
                    self.cookie = Some((connection, now));
                    self.advance(now, dice);
                }
                Answer::Refused { why } => self.fail_waiting(Failure::Refused(why)),
                _ => {}
            }
            return;
        }
        let asked = |pending: &Pending| pending.exchange.as_ref().is_some_and(|exchange| exchange.txn == txn);
        let Some((&ticket, pending)) = self.pending.iter_mut().find(|(_, pending)| asked(pending)) else {
            return;
        };
        let result = match (answer, &pending.request) {
            (Answer::Refused { why }, _) if is_about_cookie(&why) && !pending.reconnected => {
                // The tracker was restarted, or our address has changed.
                pending.reconnected = true;
                pending.exchange = None;
                self.cookie = None;
                return self.advance(now, dice);
            }
            (Answer::Refused { why }, _) => Err(Failure::Refused(why)),
            (answer @ Answer::Announced { .. }, Request::Announce(_)) => Ok(answer),
            (answer @ Answer::Found { .. }, Request::Find(_)) => Ok(answer),
            (answer @ Answer::Reported(_), Request::Report(_)) => Ok(answer),
            _ => return,
        };
        self.pending.remove(&ticket);
        self.out.push_back(Output::Done(ticket, result));
    }

    /// Tries the next path at once when the one in use is known to be dead. With one path the retries go on: whoever restarts
    /// a tracker is back within seconds.
    fn hurry(&mut self, now: Time, dice: &mut Dice, path: usize) {
        if self.paths == 1 {
            return;
        }
        if let Some(exchange) = &mut self.connecting {
            let tried = (self.path + exchange.tries - 1) % self.paths;
            if tried == path && exchange.tries < self.paths {
                exchange.next_at = now;
                self.wake(now);
            }
        } else if path == self.path && self.cookie.take().is_some() {
            self.pending.values_mut().for_each(|pending| pending.exchange = None);
            self.advance(now, dice);
        }
    }

    fn wake(&mut self, now: Time) {
        self.wake_connect(now);
        let (secret, token) = (self.secret.as_ref(), self.token.as_deref());
        let mut failed = Vec::new();
        for (ticket, pending) in &mut self.pending {
            let Some(exchange) = pending.exchange.as_mut().filter(|exchange| exchange.next_at <= now) else {
                continue;
            };
            let Some((connection, _)) = self.cookie else { continue };
            if exchange.again(now) && now.since(pending.asked) < GIVE_UP {
                let bytes = encode(self.speaks, connection, exchange.txn, &pending.request, token, secret);
                self.out.push_back(Output::Send { path: self.path, bytes });
            } else {
                failed.push(*ticket);
            }
        }
        for ticket in failed {
            // Whatever silenced it may have changed the address too: begin anew.
            self.cookie = None;
            let pending = self.pending.remove(&ticket);
            let announce = pending.is_some_and(|pending| matches!(pending.request, Request::Announce(_)));
            if announce && self.secret.is_none() {
                // There was a connection id, so it lives.
                self.speaks = match self.speaks {
                    Speaks::Native => Speaks::Doubtful,
                    Speaks::Doubtful => Speaks::Bep15,
                    Speaks::Bep15 => Speaks::Native,
                };
            }
            self.out.push_back(Output::Done(ticket, Err(Failure::Silent)));
        }
    }

    fn wake_connect(&mut self, now: Time) {
        let Some(mut exchange) = self.connecting.take_if(|exchange| exchange.next_at <= now) else { return };
        if exchange.again(now) {
            self.send_connect(&exchange);
            self.connecting = Some(exchange);
        } else {
            self.fail_waiting(Failure::Silent);
        }
    }

    /// There is no connection id to be had.
    fn fail_waiting(&mut self, failure: Failure) {
        self.connecting = None;
        // It is dead, which explains its silence.
        self.speaks = Speaks::Native;
        let out = &mut self.out;
        self.pending.retain(|ticket, pending| {
            let waiting = pending.exchange.is_none();
            if waiting {
                out.push_back(Output::Done(*ticket, Err(failure.clone())));
            }
            !waiting
        });
    }
}

impl Exchange {
    fn start(now: Time, dice: &mut Dice) -> Self {
        Self { txn: dice.next_u64() as u32, tries: 1, next_at: now + RETRY[0] }
    }

    /// Counts another try; `false` if there have been enough.
    fn again(&mut self, now: Time) -> bool {
        let Some(wait) = RETRY.get(self.tries) else { return false };
        self.next_at = now + *wait;
        self.tries += 1;
        true
    }
}

fn encode(
    speaks: Speaks,
    connection: u64,
    txn: u32,
    request: &Request,
    token: Option<&str>,
    secret: Option<&Secret>,
) -> Vec<u8> {
    match (speaks, request) {
        (Speaks::Bep15, Request::Announce(it)) => {
            let mut name = [0; 20];
            name.copy_from_slice(&it.peer.0[..20]);
            let (hash, event, port) = (InfoHash::of(&it.swarm), it.event, it.ports.first());
            let (peer, left) = (plain_id(name, port), u64::from(!it.seed));
            let plain = Plain { hash, peer, downloaded: 0, left, event, want: 0, port };
            encode_announce(connection, txn, &plain)
        }
        _ => encode_with_token(connection, txn, request, token, secret),
    }
}

/// A BitTorrent tracker's answer as one of ours. It does not say where it saw us.
fn decode_bep15(bytes: &[u8]) -> Result<(u32, Answer), WireError> {
    let (txn, answer) = decode_plain(bytes)?;
    Ok((
        txn,
        match answer {
            PlainAnswer::Announced { interval_s, seeds, others } => {
                let observed = SocketAddr::from(([0, 0, 0, 0], 0));
                Answer::Announced {
                    interval_s,
                    observed,
                    counts: Counts { seeds, others },
                    peers: Vec::new(),
                }
            }
            PlainAnswer::Refused(why) => Answer::Refused { why },
        },
    ))
}

fn is_about_cookie(why: &str) -> bool {
    // BEP 15 has words for errors, no numbers. Other trackers say it in their own, but all name the thing.
    why == Refusal::Cookie.to_string() || why.to_ascii_lowercase().contains("connection id")
}

#[cfg(test)]
mod tests;
