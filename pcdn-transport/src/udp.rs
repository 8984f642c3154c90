//! Pieces over UDP: *SPP*, sub-piece pull.
//!
//! The asker names the sub-pieces it lacks, the server sends them and forgets; what is lost is asked for again, of anybody.
//! There is no send buffer, no retransmission state and no acknowledgement of every packet, so a neighbour costs little and
//! repair is never tied to the peer that failed. One socket carries all sessions; every packet is sealed (Noise IKpsk2,
//! then AES-128-GCM or ChaCha20-Poly1305) and at most 1350 bytes long. With a [`SwarmSecret`] only nodes that have it can open a session.
//!
//! | read | for |
//! |---|---|
//! | [`wire`] | the bytes on the wire, for an implementation of one's own, with test vectors |
//! | [`packet`], [`frame`] | the same as code |
//! | [`endpoint`] | the whole protocol without socket and clock |
//! | [`connection`] | one session of it: asking (`pull`), serving (`serve`), messages (`talk`), congestion (`flow`) |
//! | [`nat`](crate::nat) | how the socket is seen through NATs, and how two such meet |
//! | [`Udp`] | the tokio shell: one task owns socket and endpoint |
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use pcdn_core::{id::Identity, peer::PeerRecord, transport::{Provider, Transport}};
//! # async fn example(provider: Arc<dyn Provider>, neighbour: PeerRecord) -> Result<(), Box<dyn std::error::Error>> {
//! use pcdn_transport::udp::{Udp, UdpConfig};
//!
//! let me = Identity::from_secret([7; 32]);
//! let udp = Udp::bind("0.0.0.0:0".parse()?, &me, provider, UdpConfig::default()).await?;
//! let session = udp.connect(&neighbour).await?;
//! session.send("hello".into()).await?;
//! # Ok(()) }
//! ```

mod cipher;
pub mod config;
pub mod connection;
mod driver;
pub mod endpoint;
mod flow;
pub mod frame;
mod gauge;
mod noise;
pub mod packet;
mod pull;
mod rtt;
mod seal;
mod serve;
mod session;
pub(crate) mod socket;
pub mod subs;
mod talk;
mod turn;
#[cfg(test)]
mod vectors;
#[doc = include_str!("udp/wire.md")]
pub mod wire {}

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::peer::{Outlook, PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Provider, Session, Transport, TransportError};
use pcdn_core::unit::Rate;
use pcdn_core::wire::meet::Token;
use tokio::sync::{mpsc, oneshot};

pub use cipher::Cipher;
pub use config::UdpConfig;
use driver::{Command, Driver, Shown};
pub use endpoint::{Counters, Endpoint, Event, SessionId, Transmit};
use socket::Socket;

use crate::limit::Limits;
pub use crate::secret::SwarmSecret;

/// Sessions accepted but not yet fetched by [`Transport::accept`], at most; further callers are turned away.
const ACCEPTED_MAX: usize = 128;

/// The transport. Closes when dropped.
#[derive(Debug)]
pub struct Udp {
    local: PeerAddr,
    commands: mpsc::UnboundedSender<Command>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Arc<dyn Session>>>,
    shown: Shown,
}

impl Udp {
    /// Binds a socket and starts the task that serves it.
    ///
    /// # Errors
    /// [`TransportError::Io`] if the address cannot be bound or the system has no randomness.
    pub async fn bind(
        addr: SocketAddr,
        me: &Identity,
        provider: Arc<dyn Provider>,
        config: UdpConfig,
    ) -> Result<Self, TransportError> {
        let limits = config.limits();
        Self::bind_sharing(addr, me, provider, config, limits).await
    }

    /// One that sends within `limits`, which other transports may share; those of `config` are not used.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_sharing(
        addr: SocketAddr,
        me: &Identity,
        provider: Arc<dyn Provider>,
        config: UdpConfig,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let cannot = |source| TransportError::Io { what: format!("bind {addr}"), source };
        Self::on(Socket::bind(addr).map_err(cannot)?, me, provider, config, limits, &[Scheme::Udp])
    }

    /// On a socket that is bound, on which `schemes` are spoken.
    pub(crate) fn on(
        socket: Socket,
        me: &Identity,
        provider: Arc<dyn Provider>,
        config: UdpConfig,
        limits: Limits,
        schemes: &'static [Scheme],
    ) -> Result<Self, TransportError> {
        let io = |what: &str| {
            let what = format!("{what} the UDP socket");
            move |source| TransportError::Io { what, source }
        };
        let local = socket.local_addr().map_err(io("look up"))?;
        let mut seed = [0; 32];
        let dry = |error: getrandom::Error| std::io::Error::other(error.to_string());
        getrandom::fill(&mut seed).map_err(dry).map_err(io("draw a seed for"))?;
        // Unbounded, for `fetch` cannot wait; what is in it is bounded by 256 fetches, their cancels and answers, and
        // 256 KiB of messages for each session.
        let (commands, from_handles) = mpsc::unbounded_channel();
        let (accepts, accepted) = mpsc::channel(ACCEPTED_MAX);
        let shown = Shown { schemes, ..Shown::default() };
        let endpoint = Endpoint::sharing(me.clone(), config, seed, limits.clone());
        let weak = commands.downgrade();
        let driver = Driver::new(socket, endpoint, limits, provider, weak, accepts, shown.clone());
        tokio::spawn(driver.run(from_handles));
        let local = PeerAddr { scheme: Scheme::Udp, addr: local };
        Ok(Self { local, commands, accepted: tokio::sync::Mutex::new(accepted), shown })
    }

    /// Changes the limit on what all sessions send.
    pub fn set_upload_limit(&self, limit: Rate) {
        // Once closed there is nothing to limit.
        let _ = self.commands.send(Command::UploadLimit(limit));
    }

    /// For telling this node by which trackers it meets peers behind NATs.
    pub fn meetings(&self) -> Meetings {
        Meetings { commands: self.commands.downgrade(), local: self.local.addr, schemes: self.shown.schemes }
    }

    /// How this node appears to others, as far as it is known.
    pub fn outlook(&self) -> Arc<Outlook> {
        Arc::clone(&self.shown.outlook)
    }

    /// What was counted, up to a tenth of a second ago.
    pub fn counters(&self) -> Counters {
        *self.shown.counters.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Tells a [`Udp`] by which trackers it meets peers; does not keep it alive.
#[derive(Clone, Debug)]
pub struct Meetings {
    commands: mpsc::WeakUnboundedSender<Command>,
    local: SocketAddr,
    schemes: &'static [Scheme],
}

/// Where a dialled peer comes through, at most: one for each of its addresses and as many that nobody named.
const REACHED_MAX: usize = 16;

impl Meetings {
    /// Where the socket is bound.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// From now on these trackers are asked where this node is seen, and peers that do not answer are met by way of them; at
    /// most [`TRACKERS_MAX`](crate::nat::survey::TRACKERS_MAX). `private` are this node's addresses in its own network, which
    /// are told to those behind the same public one. What is found out is in the [outlook](Udp::outlook). `false` once the
    /// transport is closed.
    pub fn at(&self, trackers: Vec<SocketAddr>, private: Vec<SocketAddr>) -> bool {
        let told = |commands: mpsc::UnboundedSender<Command>| {
            commands.send(Command::MeetAt { trackers, private }).is_ok()
        };
        self.commands.upgrade().is_some_and(told)
    }

    /// The transports whose sessions the socket carries.
    pub fn schemes(&self) -> &'static [Scheme] {
        self.schemes
    }

    /// A neighbour of both calls this node and `peer` together: both punch from `begin_in` on, each to where that neighbour sees
    /// the other, and show `token`. At most 32 such meetings are held at once. `false` once the transport is closed.
    pub fn introduced(&self, peer: PeerId, token: Token, begin_in: Duration, at: SocketAddr) -> bool {
        let command = Command::Introduced { peer, token, begin_in, at };
        self.commands.upgrade().is_some_and(|commands| commands.send(command).is_ok())
    }

    /// Another protocol on the socket dials `peer`: it is met as if [`Udp`] dialled it, and what is returned tells where it comes
    /// through, as long as it is held.
    pub(crate) fn want(&self, peer: PeerId, addrs: Vec<SocketAddr>) -> mpsc::Receiver<SocketAddr> {
        let (reached, told) = mpsc::channel(REACHED_MAX);
        if let Some(commands) = self.commands.upgrade() {
            // Once closed nobody is met.
            let _ = commands.send(Command::Want { peer, addrs, lost: false, reached });
        }
        told
    }

    /// Where `peer` comes through, whoever called it and this node together, as long as what is returned is held.
    pub(crate) fn hear(&self, peer: PeerId) -> mpsc::Receiver<SocketAddr> {
        let (reached, told) = mpsc::channel(REACHED_MAX);
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Hear { peer, reached });
        }
        told
    }

    /// A session of another protocol on the socket with `peer`, at `at`, has fallen silent: both are called together anew, as long as
    /// what is returned is held.
    pub(crate) fn lost(&self, peer: PeerId, at: SocketAddr) -> mpsc::Receiver<SocketAddr> {
        let (reached, told) = mpsc::channel(REACHED_MAX);
        if let Some(commands) = self.commands.upgrade() {
            let _ = commands.send(Command::Want { peer, addrs: vec![at], lost: true, reached });
        }
        told
    }

    /// The router has opened this port for the socket, or none. `false` once the transport is closed.
    pub fn mapped(&self, port: Option<u16>) -> bool {
        let told = |commands: mpsc::UnboundedSender<Command>| commands.send(Command::Mapped(port)).is_ok();
        self.commands.upgrade().is_some_and(told)
    }
}

#[async_trait]
impl Transport for Udp {
    fn scheme(&self) -> Scheme {
        Scheme::Udp
    }

    fn local(&self) -> Vec<PeerAddr> {
        vec![self.local]
    }

    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        let ours = |addr: &&PeerAddr| addr.scheme == Scheme::Udp;
        let first = *peer.addrs.iter().find(ours).ok_or(TransportError::NoAddress(Scheme::Udp))?;
        let addrs = peer.addrs.iter().filter(ours).map(|addr| addr.addr).collect();
        let (reply, answer) = oneshot::channel();
        let command = Command::Connect { peer: peer.id, addrs, reply };
        self.commands.send(command).map_err(|_| TransportError::Closed)?;
        // Dropping `answer` is what tells the task that nobody waits any more.
        match answer.await {
            Ok(Some(session)) => Ok(session),
            Ok(None) => Err(TransportError::Silent(first)),
            Err(_) => Err(TransportError::Closed),
        }
    }

    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        self.accepted.lock().await.recv().await.ok_or(TransportError::Closed)
    }

    async fn close(&self, grace: Duration) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(Command::Shutdown(Some(done))).is_ok() {
            // Whether it was done or took too long, there is nothing more to do.
            let _ = tokio::time::timeout(grace, closed).await;
        }
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Shutdown(None));
    }
}
