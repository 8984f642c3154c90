//! One request in, one answer out: the tracker without its sockets.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use pcdn_core::dice::Dice;
use pcdn_core::unit::Time;

use super::cookie::Cookies;
use super::secret::Secret;
use super::standing::Standings;
use super::table::{Limits, Table};
use super::wire::{
    AMPLIFICATION_MAX, Action, Answer, Request, WireError, decode_head, decode_request, encode_answer,
};

/// Why a tracker will not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// The connection id is too old, of another address, or was never issued.
    #[error("connection id is not valid here and now")]
    Cookie,
    /// The address asks too often.
    #[error("too many requests from this address, ask less often")]
    TooFast,
    /// Too many peers behind one address.
    #[error("too many peers behind this address")]
    TooManyIds,
    /// One peer in too many swarms.
    #[error("this peer is in too many swarms")]
    TooManySwarms,
    /// Nothing to tell others.
    #[error("announce at least one UDP or QUIC port from 1024 up")]
    NoPort,
    /// A bound of the whole tracker is reached.
    #[error("this tracker is full")]
    Full,
    /// The private tracker's secret is missing or wrong.
    #[error("this tracker is private: the request proves no knowledge of its secret")]
    Secret,
    /// Not a request this tracker understands.
    #[error("malformed request")]
    Malformed,
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Refusal; 8] = [
        Self::Cookie,
        Self::TooFast,
        Self::TooManyIds,
        Self::TooManySwarms,
        Self::NoPort,
        Self::Full,
        Self::Secret,
        Self::Malformed,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cookie => "cookie",
            Self::TooFast => "too_fast",
            Self::TooManyIds => "too_many_ids",
            Self::TooManySwarms => "too_many_swarms",
            Self::NoPort => "no_port",
            Self::Full => "full",
            Self::Secret => "secret",
            Self::Malformed => "malformed",
        }
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        if error == WireError::Tag { Self::Secret } else { Self::Malformed }
    }
}

/// What was asked and answered since the start.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connection ids issued.
    pub connects: AtomicU64,
    /// Announces accepted, UDP and HTTP.
    pub announces: AtomicU64,
    /// Finds answered, UDP and HTTP.
    pub finds: AtomicU64,
    /// Datagrams that got no answer.
    pub dropped: AtomicU64,
    /// By [`Refusal`].
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    /// How often `why` was the answer.
    pub fn refused(&self, why: Refusal) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, result: Result<&Request, Refusal>) {
        let counter = match result {
            Ok(Request::Announce(_)) => &self.announces,
            Ok(Request::Find(_)) => &self.finds,
            Err(why) => &self.refused[why as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// A tracker: its table, its keys and its counters. Shared by the UDP and HTTP shells.
#[derive(Debug)]
pub struct Service {
    table: Table,
    cookies: Cookies,
    secret: Option<Secret>,
    counters: Counters,
    standings: OnceLock<(Arc<Standings>, Time)>,
}

impl Service {
    /// With `cookie_key` freshly drawn. A `secret` makes the tracker private.
    pub fn new(limits: Limits, cookie_key: [u8; 32], secret: Option<Secret>) -> Self {
        let cookies = Cookies::new(cookie_key);
        let (counters, standings) = (Counters::default(), OnceLock::new());
        Self { table: Table::new(limits), cookies, secret, counters, standings }
    }

    /// From now on announces are told to `standings`, which counts time from 1970; `epoch` is what `now` 0 is there. Once.
    pub fn tell(&self, standings: Arc<Standings>, epoch: Time) {
        // A second call changes nothing.
        let _ = self.standings.set((standings, epoch));
    }

    /// Who takes part where.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The key, if the tracker is private.
    pub fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// What happened so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Answers `datagram` into `out`; empty means that there is nothing to send. Never more than
    /// [`AMPLIFICATION_MAX`] × its length, and never more than its length unless it carries a valid connection id.
    pub fn datagram(&self, now: Time, dice: &mut Dice, from: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) {
        out.clear();
        // Strangers' datagrams and actions of other protocols are dropped: an answer would only help a scanner.
        if let Ok(head) = decode_head(datagram) {
            let (answer, limit) = match head.action {
                Action::Connect => (self.connect(now, from), datagram.len()),
                _ if !self.cookies.accepts(now, from.ip(), head.connection) => {
                    self.counters.count(Err(Refusal::Cookie));
                    (refused(Refusal::Cookie.to_string()), datagram.len())
                }
                _ => (self.native(now, dice, from, datagram), AMPLIFICATION_MAX * datagram.len()),
            };
            encode_answer(head.txn, &answer, limit, self.secret(), out);
        }
        if out.is_empty() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn connect(&self, now: Time, from: SocketAddr) -> Answer {
        self.counters.connects.fetch_add(1, Ordering::Relaxed);
        Answer::Connected { connection: self.cookies.issue(now, from.ip()) }
    }

    fn native(&self, now: Time, dice: &mut Dice, from: SocketAddr, datagram: &[u8]) -> Answer {
        let request = match decode_request(datagram, self.secret()) {
            Ok(request) => request,
            Err(error) => {
                let why = Refusal::from(error);
                self.counters.count(Err(why));
                return refused(format!("{why}: {error}"));
            }
        };
        self.serve(now, dice, from, &request).unwrap_or_else(|why| refused(why.to_string()))
    }

    /// Does what an authenticated request asks.
    pub fn serve(
        &self,
        now: Time,
        dice: &mut Dice,
        from: SocketAddr,
        request: &Request,
    ) -> Result<Answer, Refusal> {
        let answer = match request {
            Request::Announce(announce) => {
                self.table.announce(now, dice, from.ip(), announce).map(|handout| {
                    let interval_s = handout.interval.as_secs().clamp(1, u64::from(u32::MAX)) as u32;
                    let observed = SocketAddr::new(from.ip().to_canonical(), from.port());
                    Answer::Announced { interval_s, observed, counts: handout.counts, peers: handout.peers }
                })
            }
            Request::Find(find) => self
                .table
                .find(now, dice, from.ip(), find)
                .map(|handout| Answer::Found { counts: handout.counts, peers: handout.peers }),
        };
        if let (Ok(_), Request::Announce(announce), Some((standings, epoch))) =
            (&answer, request, self.standings.get())
        {
            standings.heard(*epoch + now.since(Time::ZERO), from, announce);
        }
        self.counters.count(answer.as_ref().map(|_| request).map_err(|why| *why));
        answer
    }
}

fn refused(why: String) -> Answer {
    Answer::Refused { why }
}

#[cfg(test)]
mod tests;
