//! The node's side of a tracker.
//!
//! [`Tracker`] is a handle. Behind a `udp://` address stands one task with the [`Machine`] (what to send, when to give up)
//! and the sockets; behind an `http://` address one small HTTP request for each call. Every call ends within
//! [`CALL_MAX`], whatever the tracker does: a node never waits for one.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{Nat, Outlook, PeerRecord};
use pcdn_core::unit::Time;
use tokio::time::{Instant, timeout};

use super::secret::Secret;
use super::wire::report::{ENTRIES_MAX, ENTRY_BYTES};
use super::wire::{Announce, Event, Find, Ports, Reported, Request, Traits, WHY_MAX};
use book::Book;

mod book;
mod http;
mod machine;
mod several;
mod socket;

pub use machine::{Failure, GIVE_UP, Input, Machine, Output, Speaks, Ticket};
pub use several::{REPLICAS, Trackers};

/// How long any call may take: name resolution and four tries together.
pub const CALL_MAX: Duration = Duration::from_secs(5);
/// Peers asked for with an announce: about a datagram full.
const WANT_WITH_ANNOUNCE: u16 = 25;
/// Own swarms remembered, for the asker's id and the peers that announces brought. As many as a tracker lets a peer join.
const SWARMS_MAX: usize = 4096;
/// How long peers that an announce brought are handed on by `find`. Half an announce interval: most are still there.
const PEERS_FRESH: Duration = Duration::from_secs(30);
/// How long the first report may take: a tracker that does not know reports does not answer, and is announced to instead.
const FIRST_REPORT: Duration = Duration::from_secs(1);
/// Reports one after the other at most: all that a node can hold, twice, with the longest token in each.
const REPORTS_MAX: usize = 2 * SWARMS_MAX / 12;
/// Shortest and longest renewal a tracker can make a node do: it may be wrong, or bad.
const RENEW: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3600));

/// A tracker, as a [`Discovery`]. Cheap to clone; clones share one socket.
///
/// Answers hold at most about 28 peers over UDP, 50 over HTTP, drawn at random at each call. The first call to a tracker
/// takes two round trips, later ones within a minute one. Name resolution is done at the first call and again after the
/// tracker has fallen silent.
#[derive(Clone)]
pub struct Tracker {
    inner: Arc<Inner>,
}

struct Inner {
    /// The address as it was given, for messages.
    node: String,
    way: Result<Way, String>,
    secret: Option<Secret>,
    token: Option<Arc<str>>,
    outlook: Option<Arc<Outlook>>,
    socket: socket::Handle,
    mine: Mutex<HashMap<SwarmKey, Mine>>,
    book: Mutex<Book>,
    /// One report at a time: the others find that it has renewed them.
    reporting: tokio::sync::Mutex<()>,
    start: Instant,
}

/// What this node shows a tracker to be served.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    /// Knowledge of a private tracker's secret.
    pub secret: Option<Secret>,
    /// A token of the tracker's application.
    pub token: Option<Arc<str>>,
}

/// How to talk to it. Both hold `host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    Udp(String),
    Http(String),
}

/// What is known of a swarm this node announced itself to.
struct Mine {
    id: PeerId,
    seed: bool,
    peers: Vec<PeerRecord>,
    at: Instant,
    /// What the tracker was told of how to reach this node.
    told: (Ports, Nat),
}

/// What a tracker's answer comes to, whichever way it came.
#[derive(Debug)]
struct Reply {
    interval: Option<Duration>,
    peers: Vec<PeerRecord>,
    reported: Option<Reported>,
}

impl Tracker {
    /// The tracker at `host:port`, `udp://host:port` or `http://host:port`. Nothing is sent yet, and an address that cannot be
    /// used is reported by the first call; parse the text to hear it at once.
    pub fn at(address: &str) -> Self {
        Self::of(address.chars().take(WHY_MAX).collect(), Way::parse(address), Proofs::default(), None, None)
    }

    fn of(
        node: String,
        way: Result<Way, String>,
        proofs: Proofs,
        outlook: Option<Arc<Outlook>>,
        from: Option<IpAddr>,
    ) -> Self {
        let Proofs { secret, token } = proofs;
        let (mine, book, reporting) = Default::default();
        let (socket, start) = (socket::Handle::new(from), Instant::now());
        let inner = Inner { node, way, secret, token, outlook, socket, mine, book, reporting, start };
        Self { inner: Arc::new(inner) }
    }

    fn with(&self, proofs: Proofs, outlook: Option<Arc<Outlook>>, from: Option<IpAddr>) -> Self {
        Self::of(self.inner.node.clone(), self.inner.way.clone(), proofs, outlook, from)
    }

    /// What all who use it call it: its address without scheme and in small letters.
    pub(crate) fn name(&self) -> String {
        match &self.inner.way {
            Ok(Way::Udp(host) | Way::Http(host)) => host.to_ascii_lowercase(),
            Err(_) => self.inner.node.to_ascii_lowercase(),
        }
    }

    /// Proves knowledge of a private tracker's secret. To be called before the first use: the handle is a new one.
    #[must_use]
    pub fn with_secret(self, secret: Secret) -> Self {
        let proofs = Proofs { secret: Some(secret), ..self.inner.proofs() };
        self.with(proofs, self.inner.outlook.clone(), self.inner.socket.from())
    }

    /// Shows a token of the tracker's application, see [`token`](super::token). To be called before the first use.
    #[must_use]
    pub fn with_token(self, token: &str) -> Self {
        let proofs = Proofs { token: Some(token.into()), ..self.inner.proofs() };
        self.with(proofs, self.inner.outlook.clone(), self.inner.socket.from())
    }

    /// Tells the tracker what NAT this node is behind, as it is found out. To be called before the first use.
    #[must_use]
    pub fn with_outlook(self, outlook: Arc<Outlook>) -> Self {
        self.with(self.inner.proofs(), Some(outlook), self.inner.socket.from())
    }

    /// Speaks UDP from this address of the machine, where the tracker has one of the same family: a tracker tells others of
    /// the address it sees, which must be one where the node listens. To be called before the first use: the handle is a new
    /// one.
    #[must_use]
    pub fn sending_from(self, ip: IpAddr) -> Self {
        self.with(self.inner.proofs(), self.inner.outlook.clone(), Some(ip))
    }
}

impl FromStr for Tracker {
    type Err = DiscoveryError;

    fn from_str(address: &str) -> Result<Self, DiscoveryError> {
        let tracker = Self::at(address);
        tracker.inner.way()?;
        Ok(tracker)
    }
}

impl fmt::Debug for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracker({})", self.inner.node)
    }
}

#[async_trait]
impl Discovery for Tracker {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        let traits = self.inner.traits();
        let told = (Ports::of(me), traits.nat);
        let before = self.inner.mine().get(key).map(|mine| mine.told);
        let first = before.is_none();
        if before == Some(told)
            && let Some(renew_in) = self.inner.renew(key, me).await
        {
            return Ok(Lease { renew_in });
        }
        let request = Announce {
            swarm: *key,
            peer: me.id,
            ports: Ports::of(me),
            seed: me.seed,
            event: if first { Event::Started } else { Event::None },
            progress: None,
            want: WANT_WITH_ANNOUNCE,
            traits,
        };
        let reply = self.inner.ask(Request::Announce(request)).await?;
        self.inner.remember(key, me, told, reply.peers);
        self.inner.book().hold(key, me);
        let renew_in = reply.interval.unwrap_or(RENEW.1).clamp(RENEW.0, RENEW.1);
        Ok(Lease { renew_in })
    }

    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError> {
        self.inner.mine().remove(key);
        self.inner.book().leave(key);
        let (swarm, peer, event) = (*key, *me, Event::Stopped);
        let (ports, seed, progress, want, traits) = (Ports::default(), false, None, 0, Traits::default());
        self.inner
            .ask(Request::Announce(Announce { swarm, peer, ports, seed, event, progress, want, traits }))
            .await
            .map(drop)
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let (inner, key) = (self.inner.clone(), *key);
        let (asker, seed, known) = inner.recall(&key);
        let ids: Vec<PeerId> = known.iter().map(|record| record.id).collect();
        let left = want.saturating_sub(known.len());
        let query = async move {
            if left == 0 {
                return Vec::new();
            }
            let want = want.min(usize::from(u16::MAX)) as u16;
            match inner
                .ask(Request::Find(Find {
                    swarm: key,
                    asker,
                    seed,
                    want,
                    traits: inner.traits(),
                    rich: false,
                }))
                .await
            {
                Ok(reply) => {
                    reply.peers.into_iter().filter(|record| !ids.contains(&record.id)).map(Ok).collect()
                }
                Err(error) => vec![Err(error)],
            }
        };
        let found = stream::once(query).flat_map(stream::iter).take(left);
        Box::pin(stream::iter(known).take(want).map(Ok).chain(found))
    }
}

impl Inner {
    fn way(&self) -> Result<&Way, DiscoveryError> {
        let bad = |why: &String| DiscoveryError::Address { node: self.node.clone(), why: why.clone() };
        self.way.as_ref().map_err(bad)
    }

    async fn ask(&self, request: Request) -> Result<Reply, DiscoveryError> {
        let reply = async {
            match self.way()? {
                Way::Udp(host) => self.socket.ask(host, &self.proofs(), request).await,
                Way::Http(host) => http::ask(host, &self.proofs(), &request).await,
            }
            .map_err(|failure| self.verdict(failure))
        };
        timeout(CALL_MAX, reply).await.unwrap_or_else(|_| Err(self.verdict(Failure::Silent)))
    }

    /// Renews everything this node holds with one report, unless the last one is recent. `None` if the tracker takes none.
    async fn renew(&self, key: &SwarmKey, me: &PeerRecord) -> Option<Duration> {
        if !matches!(self.way, Ok(Way::Udp(_))) {
            return None;
        }
        let _turn = self.reporting.lock().await;
        self.book().hold(key, me);
        if !self.book().holds(key) {
            return None;
        }
        for _ in 0..REPORTS_MAX {
            if let Some(left) = self.book().lease(self.now(), key) {
                return Some(left.clamp(RENEW.0, RENEW.1));
            }
            let (report, patience) = {
                let book = self.book();
                (
                    book.next(me, self.traits(), self.entries_max())?,
                    if book.is_answered() { CALL_MAX } else { FIRST_REPORT },
                )
            };
            let asked = self.ask(Request::Report(report.clone()));
            let reply = timeout(patience, asked).await.ok().and_then(Result::ok);
            match reply.and_then(|reply| reply.reported) {
                Some(reported) => self.book().answered(self.now(), &report, &reported),
                None => {
                    self.book().unanswered();
                    return None;
                }
            }
        }
        None
    }

    /// What this node is like, as far as it knows.
    fn traits(&self) -> Traits {
        let nat = self.outlook.as_ref().map(|outlook| outlook.get().nat).unwrap_or_default();
        Traits { nat, ..Traits::default() }
    }

    /// Entries of one report: a token takes the place of some.
    fn entries_max(&self) -> usize {
        let token = self.token.as_ref().map_or(0, |token| token.len());
        ENTRIES_MAX.saturating_sub(token.div_ceil(ENTRY_BYTES)).max(1)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Time {
        Time(self.start.elapsed().as_micros() as u64)
    }

    fn proofs(&self) -> Proofs {
        Proofs { secret: self.secret.clone(), token: self.token.clone() }
    }

    fn verdict(&self, failure: Failure) -> DiscoveryError {
        let node = self.node.clone();
        match failure {
            Failure::Silent => DiscoveryError::Silent { node },
            Failure::Refused(why) => DiscoveryError::Refused { node, why: why.chars().take(200).collect() },
            Failure::Address(why) => DiscoveryError::Address { node, why },
        }
    }

    fn remember(&self, key: &SwarmKey, me: &PeerRecord, told: (Ports, Nat), mut peers: Vec<PeerRecord>) {
        peers.retain(|record| record.id != me.id);
        let mut mine = self.mine();
        if mine.len() < SWARMS_MAX || mine.contains_key(key) {
            mine.insert(*key, Mine { id: me.id, seed: me.seed, peers, at: Instant::now(), told });
        }
    }

    /// Who asks, and the peers that the last announce brought. They are handed on once.
    fn recall(&self, key: &SwarmKey) -> (Option<PeerId>, bool, Vec<PeerRecord>) {
        let mut mine = self.mine();
        let Some(mine) = mine.get_mut(key) else { return (None, false, Vec::new()) };
        let mut peers = std::mem::take(&mut mine.peers);
        if mine.at.elapsed() > PEERS_FRESH {
            peers.clear();
        }
        (Some(mine.id), mine.seed, peers)
    }

    fn mine(&self) -> MutexGuard<'_, HashMap<SwarmKey, Mine>> {
        self.mine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Way {
    fn parse(address: &str) -> Result<Self, String> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("udp", address));
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = host.rsplit_once(':').ok_or("it needs a port: write HOST:PORT")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]%".contains(c);
        let literal_v6 = name.starts_with('[') && name.ends_with(']');
        if name.is_empty() || !name.chars().all(plain) || (name.contains(':') && !literal_v6) {
            return Err("its host is neither a name nor an IP address (IPv6 in brackets)".into());
        }
        if !port.parse::<u16>().is_ok_and(|port| port > 0) {
            return Err("its port is not a number from 1 to 65535".into());
        }
        match scheme {
            "udp" => Ok(Self::Udp(host.to_owned())),
            "http" => Ok(Self::Http(host.to_owned())),
            _ => Err("trackers are reached by udp:// or http://".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_all_their_forms() {
        for (text, way) in [
            ("tracker.example:7070", Way::Udp("tracker.example:7070".into())),
            ("udp://192.0.2.1:7070", Way::Udp("192.0.2.1:7070".into())),
            ("udp://[2001:db8::1]:7070", Way::Udp("[2001:db8::1]:7070".into())),
            ("http://localhost:7070/", Way::Http("localhost:7070".into())),
        ] {
            assert_eq!(Way::parse(text), Ok(way));
        }
        for bad in [
            "",
            "tracker",
            "tracker:0",
            "tracker:x",
            "https://t:1",
            "2001:db8::1:7070",
            "a b:1",
            "t/p:1",
            ":7070",
        ] {
            assert!(bad.parse::<Tracker>().is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_bad_address_is_an_error_not_a_panic() {
        let tracker = Tracker::at("nowhere");
        let me = PeerRecord { id: PeerId([1; 32]), addrs: Vec::new(), seed: false };
        let key = SwarmKey([1; 32]);
        assert!(matches!(tracker.announce(&key, &me).await, Err(DiscoveryError::Address { .. })));
        let found: Vec<_> = tracker.find(&key, 5).collect().await;
        assert!(matches!(found[..], [Err(DiscoveryError::Address { .. })]));
    }
}
