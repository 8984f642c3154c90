//! The DHT: peers find each other without a tracker.
//!
//! Every node that can be reached keeps a share of the table *swarm → who takes part*, by Kademlia's distance. [`Kad`] is such a
//! node, and a [`Discovery`] for the one beside it. It is slower than a tracker (twice as long to the first peer, some 40 requests
//! where a tracker takes two), and nobody has to run it.
//!
//! Wire: libp2p's Kademlia over QUIC, under a protocol name of our own (`/pcdn/NETWORK/kad/1`), so that no foreign network mixes
//! in. Keys are [`SwarmKey`]s, never anything finer. The node's one Ed25519 key is its libp2p key too, so names on both sides are
//! the same 32 bytes (`place`).
//!
//! **Addresses.** libp2p publishes where a node's DHT port is; peers want its transports. So the provider record carries the
//! transports' addresses, marked (`place`), and who stores it keeps their *ports* and puts in the *host* it sees the provider
//! at: as with a tracker, nobody can name somebody else's host, and a node behind a NAT need not know its own. Why so and not
//! otherwise: a signed value record for each peer would be a second look-up for each provider; a field of `identify` is known
//! only after a connection to each; both fail for providers that cannot be dialled, and these are found by anyone here. Whether
//! they can then be connected is the transports' business. Their NAT may show another port than they have; of a DHT that is all
//! one can learn.
//!
//! **Lies.** Who stores a record may still lie about it. A look-up hands each socket on once, four in one network, no private
//! address unless the network is one ([`KadConfig::private`]), no port below 1024 (`search`). Stored records are bounded by key,
//! network and in all (`providers`). Value records are off. Where other DHT nodes are is hearsay until they are dialled: a liar can
//! cost a third party the first datagrams of a QUIC handshake for each look-up, as in every Kademlia.
//!
//! **Who serves.** Nodes that cannot be reached look up and announce, but are not listed and store nothing (`reach`).
//!
//! ```no_run
//! # async fn example() -> Result<(), pcdn_core::discovery::DiscoveryError> {
//! use pcdn_core::id::Identity;
//! use pcdn_discovery::{Kad, KadConfig};
//!
//! let me = Identity::from_secret([7; 32]);
//! let bootstrap = vec!["/dns/boot.example/udp/4001/quic-v1".parse()?];
//! let dht = Kad::join(&me, KadConfig { bootstrap, ..KadConfig::default() }).await?;
//! # drop(dht);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

mod actor;
mod behaviour;
mod contact;
mod place;
mod providers;
mod reach;
mod remembered;
mod search;
mod store;

pub use contact::Contact;

use actor::{Actor, Command};

/// Calls waiting for the node's task. A node in 50 swarms that all renew at once stays below.
const COMMANDS_MAX: usize = 64;
/// How long any call may take: joining, then a query.
const CALL_MAX: Duration =
    actor::JOIN_MAX.saturating_add(behaviour::QUERY_MAX).saturating_add(Duration::from_secs(2));
/// How long the socket may take to listen.
const LISTEN_MAX: Duration = Duration::from_secs(3);
/// Peers of one look-up at most, whatever is asked for.
const FOUND_MAX: usize = 256;

/// How a [`Kad`] takes part.
#[derive(Clone, Debug)]
pub struct KadConfig {
    /// UDP addresses of the DHT node; libp2p's QUIC has a socket of its own. Default `0.0.0.0:0`: IPv4, any free port.
    pub listen: Vec<SocketAddr>,
    /// Nodes to join by. With none this node starts a network: it serves from the beginning.
    pub bootstrap: Vec<Contact>,
    /// Which network: 1 to 32 of `a-z`, `0-9` and `-`. Default `main`. Nodes of others are hung up on.
    pub network: String,
    /// Whether addresses outside the Internet are dialled and told: for networks at home, in an office, in a test. Default no.
    pub private: bool,
    /// Whether this node stores records for others. Default [`Serve::WhenReached`].
    pub serve: Serve,
    /// Where the last 200 nodes that were reached are kept, so that a restart needs no bootstrap node. Default nowhere.
    pub remember: Option<PathBuf>,
    /// The secret of a private swarm: swarms are then looked for under names that nobody without it can make. Default none.
    pub secret: Option<Vec<u8>>,
    /// A look-up ends when it has found so many. Default 30: what a swarm takes at once; at most 256.
    pub enough: usize,
}

impl Default for KadConfig {
    fn default() -> Self {
        Self {
            listen: vec![([0, 0, 0, 0], 0).into()],
            bootstrap: Vec::new(),
            network: "main".into(),
            private: false,
            serve: Serve::default(),
            remember: None,
            secret: None,
            enough: 30,
        }
    }
}

/// Whether a node stores records for others and is listed by them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serve {
    /// Once another node has reached it from a fresh port; at once if it starts a network.
    #[default]
    WhenReached,
    /// From the beginning. For nodes that are known to be reachable.
    Always,
    /// Never: on batteries, on metered lines.
    Never,
}

/// What a [`Kad`] knows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KadStatus {
    /// Where others can join by it: on each of its hosts.
    pub contacts: Vec<Contact>,
    /// Nodes connected now.
    pub connected: usize,
    /// Nodes in the routing table.
    pub known: usize,
    /// Whether it stores records for others.
    pub serves: bool,
    /// Records it stores, and keys they are of.
    pub stored: (usize, usize),
}

/// A node of the DHT, as a [`Discovery`]. Cheap to clone; the node ends when the last clone is dropped.
///
/// * Before the network is joined, calls wait, 5 s at most.
/// * `announce` takes one query (tens of milliseconds near, 0.3 s at 40 ms round trip, 8 s at most) and holds for 30 min; the
///   lease asks for renewal after 10 min, in a network of fewer than 20 nodes after 30 s, as newcomers take keys over.
///   Only for the node whose identity it joined with.
/// * `withdraw` ends at once: this node no longer names itself. What others store stays until it expires.
/// * `find` yields peers as nodes answer, and ends after [`KadConfig::enough`], or when the nodes nearest to the key have been
///   asked, or after 8 s. A peer comes again only with addresses not yet told. Seeds are not marked as such.
#[derive(Clone)]
pub struct Kad {
    inner: Arc<Inner>,
}

struct Inner {
    me: PeerId,
    enough: usize,
    /// The key that swarms' names are blinded with in a private network.
    blind: Option<[u8; 32]>,
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<KadStatus>,
}

impl Kad {
    /// Takes part in a DHT as `identity`. Returns when the socket listens; joining goes on beside. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    /// If the network's name is none, or no address can be listened on.
    pub async fn join(identity: &Identity, config: KadConfig) -> Result<Self, DiscoveryError> {
        let me = identity.peer_id();
        let enough = config.enough.clamp(1, FOUND_MAX);
        let blind = config.secret.as_ref().map(|secret| blake3::derive_key("pcdn dht keys v1", secret));
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let (told, mut status) = watch::channel(KadStatus::default());
        let actor = Actor::new(identity, config, inbox, told)?;
        tokio::spawn(actor.run());
        let listening = status.wait_for(|status| !status.contacts.is_empty()).map(|listens| listens.is_ok());
        match timeout(LISTEN_MAX, listening).await {
            Ok(true) => Ok(Self { inner: Arc::new(Inner { me, enough, blind, commands, status }) }),
            _ => Err(DiscoveryError::Silent { node: "the DHT's own socket".into() }),
        }
    }

    /// Where others can join by this node, once it serves.
    pub fn contacts(&self) -> Vec<Contact> {
        self.status().contacts
    }

    /// What it knows of itself. About a second old at most.
    pub fn status(&self) -> KadStatus {
        self.inner.status.borrow().clone()
    }

    /// Waits until `right` holds of its status; false if the node ends before.
    pub async fn wait_until(&self, right: impl FnMut(&KadStatus) -> bool) -> bool {
        self.inner.status.clone().wait_for(right).await.is_ok()
    }

    /// Writes the remembered nodes and ends the node. Later calls fail.
    pub async fn leave(&self) {
        let (done, left) = oneshot::channel();
        if self.inner.commands.send(Command::Leave(done)).await.is_ok() {
            // It answers, or is gone.
            let _ = left.await;
        }
    }

    fn key(&self, swarm: &SwarmKey) -> [u8; 32] {
        match &self.inner.blind {
            Some(blind) => *blake3::keyed_hash(blind, swarm.as_bytes()).as_bytes(),
            None => swarm.0,
        }
    }
}

impl Inner {
    async fn call<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, DiscoveryError> {
        let (reply, answer) = oneshot::channel();
        let answer = async {
            self.commands.send(command(reply)).await.ok()?;
            answer.await.ok()
        };
        timeout(CALL_MAX, answer).await.ok().flatten().ok_or_else(silent)
    }
}

/// The DHT gave no answer.
fn silent() -> DiscoveryError {
    DiscoveryError::Silent { node: "the DHT".into() }
}

fn refused(why: &str) -> DiscoveryError {
    DiscoveryError::Refused { node: "the DHT".into(), why: why.into() }
}

impl fmt::Debug for Kad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kad({})", self.inner.me.short())
    }
}

#[async_trait]
impl Discovery for Kad {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        if me.id != self.inner.me {
            return Err(refused("a DHT node announces nobody but itself"));
        }
        let (key, addrs) = (self.key(key), me.addrs.clone());
        self.inner.call(|reply| Command::Announce { key, addrs, reply }).await?
    }

    async fn withdraw(&self, key: &SwarmKey, me: &PeerId) -> Result<(), DiscoveryError> {
        if *me != self.inner.me {
            return Ok(());
        }
        let key = self.key(key);
        self.inner.call(|reply| Command::Withdraw { key, reply }).await
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let want = want.min(self.inner.enough);
        if want == 0 {
            return Box::pin(stream::empty());
        }
        let (key, commands) = (self.key(key), self.inner.commands.clone());
        // Room for everything a look-up can yield at once; later additions to known peers may be lost on a sleeping reader.
        let (found, mut records) = mpsc::channel(want);
        let begin = async move {
            // If the node has ended, `found` is dropped with the command, and the stream ends.
            let sent = commands.send(Command::Find { key, want, found }).await.map_err(|_| silent());
            stream::iter(sent.err().map(Err))
        };
        let records = stream::poll_fn(move |cx| records.poll_recv(cx));
        Box::pin(stream::once(begin).flatten().chain(records))
    }
}
