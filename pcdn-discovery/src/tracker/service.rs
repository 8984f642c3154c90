//! One request in, one answer out: the tracker without its sockets.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use pcdn_core::dice::Dice;
use pcdn_core::id::PeerId;
use pcdn_core::receipt::NetworkId;
use pcdn_core::superpeer::Region;
use pcdn_core::unit::Time;

use super::cookie::Cookies;
use super::secret::Secret;
use super::standing::{self, Standings};
use super::table::{Limits, Table, whole_seconds};
use super::token::{Capability, Tokens};
use super::wire::report::Change;
use super::wire::{
    self, AMPLIFICATION_MAX, Action, Answer, DATAGRAM_MAX, Event, Head, InfoHash, Listed, Request, bep15,
    decode_head, decode_request, encode_answer, swarm_of, token_of,
};

mod counters;
mod plain;
mod refusal;

pub use counters::Counters;
pub use plain::Announced;
pub use refusal::Refusal;

/// Swarms looked ahead at: more do not stay in the nearest cache, at half a dozen of its lines each.
const WARMED_MAX: usize = 64;

/// A tracker: its table, its keys and its counters. Shared by the UDP and HTTP shells.
#[derive(Debug)]
pub struct Service {
    table: Table,
    cookies: Cookies,
    secret: Option<Secret>,
    tokens: Option<Tokens>,
    counters: Counters,
    standings: OnceLock<(Arc<Standings>, Time)>,
}

impl Service {
    /// With `cookie_key` freshly drawn. A `secret` makes the tracker private.
    pub fn new(limits: Limits, cookie_key: [u8; 32], secret: Option<Secret>) -> Self {
        Self::with_table(Table::new(limits), cookie_key, secret)
    }

    /// Around a table made elsewhere.
    pub fn with_table(table: Table, cookie_key: [u8; 32], secret: Option<Secret>) -> Self {
        let cookies = Cookies::new(cookie_key);
        Self {
            table,
            cookies,
            secret,
            tokens: None,
            counters: Counters::default(),
            standings: OnceLock::new(),
        }
    }

    /// From now on announces are told to `standings`, which counts time from 1970; `epoch` is what `now` 0 is there. Once.
    pub fn tell(&self, standings: Arc<Standings>, epoch: Time) {
        // A second call changes nothing.
        let _ = self.standings.set((standings, epoch));
    }

    /// Serves only who shows a token of an application.
    #[must_use]
    pub fn with_tokens(self, tokens: Option<Tokens>) -> Self {
        Self { tokens, ..self }
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
            let limit = (AMPLIFICATION_MAX * datagram.len()).min(DATAGRAM_MAX);
            if head.action == Action::Connect {
                encode_answer(head.txn, &self.connect(now, from), datagram.len(), None, out);
            } else if !self.cookies.accepts(now, from.ip(), head.connection) {
                self.counters.count(Err(Refusal::Cookie));
                self.refuse(&head, &Refusal::Cookie.to_string(), datagram.len(), out);
            } else {
                match head.action {
                    Action::PlainAnnounce => self.plain(now, dice, from, &head, datagram, limit, out),
                    Action::Scrape => self.scrape(now, from.ip(), &head, datagram, limit, out),
                    _ => {
                        let answer = self.native(now, dice, from, datagram);
                        encode_answer(head.txn, &answer, limit, self.secret(), out);
                    }
                }
            }
        }
        if out.is_empty() {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether the store wants to look elsewhere before `datagram` is answered, see [`PeerStore::is_stale`](super::store::PeerStore::is_stale): for
    /// requests with a valid connection id that name a swarm.
    pub fn must_look_elsewhere(&self, now: Time, from: SocketAddr, datagram: &[u8]) -> bool {
        decode_head(datagram).is_ok_and(|head| {
            head.action != Action::Connect
                && self.cookies.accepts(now, from.ip(), head.connection)
                && swarms_of(head.action, datagram).any(|swarm| self.table.store().is_stale(now, &swarm))
        })
    }

    /// Looks ahead at what `datagrams` ask for, so that they do not wait for memory one after the other, see
    /// [`PeerStore::warm`](super::store::PeerStore::warm). Worth it for several.
    pub fn warm<'a>(&self, datagrams: impl Iterator<Item = &'a [u8]>) {
        let named =
            |datagram: &'a [u8]| decode_head(datagram).ok().map(|head| swarms_of(head.action, datagram));
        let swarms: Vec<InfoHash> = datagrams.filter_map(named).flatten().take(WARMED_MAX).collect();
        if swarms.len() > 1 {
            self.table.store().warm(&swarms);
        }
    }

    /// The swarms whose members, or number of members, a request asks for.
    pub(super) fn swarms_of(&self, datagram: &[u8]) -> Vec<InfoHash> {
        decode_head(datagram).map(|head| swarms_of(head.action, datagram).collect()).unwrap_or_default()
    }

    fn connect(&self, now: Time, from: SocketAddr) -> Answer {
        self.counters.connects.fetch_add(1, Ordering::Relaxed);
        Answer::Connected { connection: self.cookies.issue(now, from.ip()) }
    }

    fn refuse(&self, head: &Head, why: &str, limit: usize, out: &mut Vec<u8>) {
        encode_answer(head.txn, &refused(why.to_owned()), limit, None, out);
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
        let served = self
            .allow(now, token_of(datagram), &request)
            .and_then(|()| self.serve(now, dice, from, &request));
        served.unwrap_or_else(|why| refused(why.to_string()))
    }

    /// Whether the token that came with `request` allows it, if one is wanted.
    pub fn allow(&self, now: Time, token: Option<&[u8]>, request: &Request) -> Result<(), Refusal> {
        match request {
            Request::Announce(it) => {
                self.allows(now, token, Some(&it.peer), &[InfoHash::of(&it.swarm)], Capability::Announce)
            }
            Request::Find(it) => {
                self.allows(now, token, it.asker.as_ref(), &[InfoHash::of(&it.swarm)], Capability::Find)
            }
            Request::Report(it) => {
                let swarms: Vec<InfoHash> = it.entries.iter().map(|entry| entry.hash).collect();
                self.allows(now, token, Some(&it.peer), &swarms, Capability::Announce)
            }
        }
    }

    fn allows(
        &self,
        now: Time,
        token: Option<&[u8]>,
        peer: Option<&PeerId>,
        swarms: &[InfoHash],
        wanted: Capability,
    ) -> Result<(), Refusal> {
        let Some(tokens) = &self.tokens else { return Ok(()) };
        let allowed = tokens.check(now, token, peer, swarms, wanted).map_err(Refusal::Token);
        allowed.inspect_err(|why| self.counters.count(Err(*why)))
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
                    let interval_s = whole_seconds(handout.interval);
                    let observed = SocketAddr::new(from.ip().to_canonical(), from.port());
                    Answer::Announced { interval_s, observed, counts: handout.counts, peers: handout.peers }
                })
            }
            Request::Find(find) => self.table.find(now, dice, from.ip(), find).map(|handout| Answer::Found {
                counts: handout.counts,
                peers: handout.peers,
                rich: find.rich,
            }),
            Request::Report(report) => self.table.report(now, dice, from, report).map(Answer::Reported),
        };
        if answer.is_ok() {
            self.heard(now, from, request);
        }
        self.counters.count(answer.as_ref().map(|_| request).map_err(|why| *why));
        answer
    }

    /// Tells standings who is there. A peer that leaves is no news: what it gave is told afterwards.
    fn heard(&self, now: Time, from: SocketAddr, request: &Request) {
        let Some((standings, epoch)) = self.standings.get() else { return };
        let (id, ports, seed, traits, swarms) = match request {
            Request::Announce(it) if it.event != Event::Stopped => {
                (it.peer, it.ports, it.seed, it.traits, vec![InfoHash::of(&it.swarm)])
            }
            Request::Report(it) => {
                let held = it.entries.iter().filter(|entry| entry.change == Change::Hold);
                (it.peer, it.ports, false, it.traits, held.map(|entry| entry.hash).collect())
            }
            _ => return,
        };
        let ip = from.ip().to_canonical();
        let Some(record) = wire::records(&[Listed { id, ip, ports, seed, traits }]).pop() else { return };
        let networks = self.table.networks();
        let network = networks.network_of(ip);
        let announced = standing::Announced {
            record: &record,
            from,
            swarms: &swarms,
            network: NetworkId(network.0.into()),
            region: Region(networks.region_of(network)),
            // Without one it would not have come so far.
            proven: self.tokens.is_some(),
            metered: traits.metered,
        };
        standings.seen(*epoch + now.since(Time::ZERO), &announced);
    }
}

/// The swarms whose members, or number of members, a request asks for.
fn swarms_of(action: Action, datagram: &[u8]) -> impl Iterator<Item = InfoHash> + '_ {
    let scraped = (action == Action::Scrape).then(|| bep15::decode_scrape(datagram));
    let named = match action {
        Action::PlainAnnounce => bep15::decode_announce(datagram).ok().map(|it| it.hash),
        // The tag is looked at when it is answered.
        Action::Announce | Action::Find => swarm_of(datagram),
        _ => None,
    };
    scraped.into_iter().flatten().chain(named)
}

fn refused(why: String) -> Answer {
    Answer::Refused { why }
}

#[cfg(test)]
mod plain_tests;
#[cfg(test)]
mod report_tests;
#[cfg(test)]
mod tests;
