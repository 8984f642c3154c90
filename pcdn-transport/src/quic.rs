//! Pieces over QUIC (RFC 9000), by quinn.
//!
//! For networks that let HTTP/3 pass and throttle other UDP, and for whoever wants a transport that others have tried for
//! years. It costs more processor and memory than [`udp`](crate::udp), and a lost packet comes from the same peer again.
//! Both can be used at once.
//!
//! - *Who*: the node's own Ed25519 key as a raw public key (RFC 7250) in TLS 1.3, on both sides; the protocol is `pcdn/1`.
//!   Then each end proves that it has the [`SwarmSecret`]: `hello`.
//! - *Pieces*: a bidirectional stream each. The asker sends the request and ends its half; the answer is the wanted bytes, in
//!   the order of the ranges, and nothing else. A refusal is a reset whose code says why. Chunks are handed on in the order
//!   of their arrival; dropping a fetch stops its stream, and the provider's future is dropped.
//! - *Messages*: the first stream of the dialler, for the whole session.
//! - *Again*: who was met before is met one round trip sooner, and can be asked for pieces in the first packet: `resume`, `early`.
//! - *Datagrams* have at most 1350 bytes; sessions take what others leave of a path: `delay`.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use pcdn_core::{id::Identity, peer::PeerRecord, transport::{Provider, Transport}};
//! # async fn example(provider: Arc<dyn Provider>, neighbour: PeerRecord) -> Result<(), Box<dyn std::error::Error>> {
//! use pcdn_transport::quic::{Quic, QuicConfig};
//!
//! let me = Identity::from_secret([7; 32]);
//! let quic = Quic::bind("0.0.0.0:0".parse()?, &me, provider, QuicConfig::default()).await?;
//! let session = quic.connect(&neighbour).await?;
//! session.send("hello".into()).await?;
//! # Ok(()) }
//! ```

mod code;
mod config;
mod counters;
mod delay;
mod dial;
mod door;
mod early;
mod fetch;
mod gauge;
mod hello;
mod hub;
mod line;
mod outgoing;
mod resume;
mod room;
mod serve;
mod session;
mod talk;
mod tickets;
mod tls;
mod tuning;
mod turns;
mod uplink;
mod watch;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pcdn_core::id::Identity;
use pcdn_core::peer::{Outlook, PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Provider, Session, Transport, TransportError};
use pcdn_core::unit::Rate;
use quinn::{AsyncUdpSocket, Endpoint, EndpointConfig, Runtime as _, TokioRuntime};
use tokio::sync::mpsc;

pub use config::{Congestion, QuicConfig};
pub use counters::Counters;
use hub::Hub;
use resume::Resume;
use watch::Ways;

use crate::limit::{Limits, Rates};
pub use crate::secret::SwarmSecret;
use crate::shared::Detours;
use crate::udp::{Meetings, Udp};

/// Sessions accepted but not yet fetched by [`Transport::accept`], at most; further callers are turned away.
const ACCEPTED_MAX: usize = 128;
/// Socket buffers asked for in both directions: 40 ms at 1 Gbit/s. The system may give less.
const BUFFER_BYTES: usize = 4 << 20;

/// The transport. Closes when dropped.
#[derive(Debug)]
pub struct Quic {
    local: PeerAddr,
    endpoint: Endpoint,
    hub: Arc<Hub>,
    /// Who meets peers behind NATs by this socket.
    meetings: Option<Meetings>,
    /// Who reads the socket, if nobody else has use for that.
    reader: Option<Udp>,
    accepted: tokio::sync::Mutex<mpsc::Receiver<Arc<dyn Session>>>,
}

impl Quic {
    /// Binds a socket and starts the tasks that serve it.
    ///
    /// # Errors
    /// [`TransportError::Io`] if the address cannot be bound; [`TransportError::Other`] if TLS cannot use the key.
    pub async fn bind(
        addr: SocketAddr,
        me: &Identity,
        provider: Arc<dyn Provider>,
        config: QuicConfig,
    ) -> Result<Self, TransportError> {
        let limits = Limits::new(Rates { node: config.upload_limit, ..Rates::default() });
        Self::bind_sharing(addr, me, provider, config, limits).await
    }

    /// One that sends within `limits`, which other transports may share; that of `config` is not used.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_sharing(
        addr: SocketAddr,
        me: &Identity,
        provider: Arc<dyn Provider>,
        config: QuicConfig,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let cannot = |source| TransportError::Io { what: format!("bind {addr}"), source };
        let runtime = TokioRuntime;
        let socket = socket(addr).and_then(|socket| runtime.wrap_udp_socket(socket)).map_err(cannot)?;
        Self::on(socket, me, provider, config, limits)
    }

    /// On a socket that is bound.
    pub(crate) fn on(
        socket: Arc<dyn AsyncUdpSocket>,
        me: &Identity,
        provider: Arc<dyn Provider>,
        config: QuicConfig,
        limits: Limits,
    ) -> Result<Self, TransportError> {
        let cannot = |source| TransportError::Io { what: "open the QUIC socket".into(), source };
        let other =
            |source: Box<dyn std::error::Error + Send + Sync>| TransportError::Other { by: "quic", source };
        let resume = Resume::new(me, tuning::arc(&config)).map_err(|error| other(error.into()))?;
        let mut endpoint = EndpointConfig::default();
        tuning::endpoint(&mut endpoint).map_err(|error| other(error.into()))?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new_with_abstract_socket(endpoint, Some(resume.endpoint()), socket, runtime);
        let endpoint = endpoint.map_err(cannot)?;
        let local = PeerAddr { scheme: Scheme::Quic, addr: endpoint.local_addr().map_err(cannot)? };
        let hub = Hub::new(config, provider, limits, resume);
        let (accepts, accepted) = mpsc::channel(ACCEPTED_MAX);
        tokio::spawn(door::open(endpoint.clone(), Arc::clone(&hub), accepts));
        let accepted = tokio::sync::Mutex::new(accepted);
        Ok(Self { local, endpoint, hub, meetings: None, reader: None, accepted })
    }

    /// Who else reads the socket, and opens ways through NATs by it.
    pub(crate) fn meets_by(&mut self, meetings: Meetings, detours: Arc<Detours>) {
        // Once, before anybody has the transport.
        let _ = self.hub.ways.set(Ways { meetings: meetings.clone(), detours });
        self.meetings = Some(meetings);
    }

    pub(crate) fn read_by(&mut self, reader: Udp) {
        self.reader = Some(reader);
    }

    /// A session with a peer that was met before, at once: what is fetched goes with the first packet, and the answer comes
    /// with the first that comes back. `None` if it was not met within the last hour, or too many were since; then, and
    /// for everything else, [`connect`](Transport::connect).
    ///
    /// Only the peer can answer, but nobody knows yet whether it will: without an answer within
    /// [`handshake_timeout`](QuicConfig::handshake_timeout) the session ends as any other. It is called by the nearest of its addresses
    /// first, and as by `connect` if that is silent; what was fetched is then asked for again. Messages wait
    /// for the whole handshake. To be called within a runtime.
    pub fn resume(&self, peer: &PeerRecord) -> Option<Arc<dyn Session>> {
        early::resume(&self.endpoint, &self.hub, self.meetings.as_ref(), peer)
    }

    /// For telling this node by which trackers it meets peers behind NATs; `None` on a socket of its own.
    pub fn meetings(&self) -> Option<Meetings> {
        self.meetings.clone()
    }

    /// How this node appears to others, as far as it is known; `None` where another transport knows it, or nobody.
    pub fn outlook(&self) -> Option<Arc<Outlook>> {
        self.reader.as_ref().map(Udp::outlook)
    }

    /// Changes the limit on what all sessions send.
    pub fn set_upload_limit(&self, limit: Rate) {
        self.hub.uplink.set_limit(limit);
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.hub.tally.read()
    }
}

fn socket(addr: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::DGRAM, None)?;
    // A smaller buffer drops more in a burst, which is no reason not to run.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

#[async_trait]
impl Transport for Quic {
    fn scheme(&self) -> Scheme {
        Scheme::Quic
    }

    fn local(&self) -> Vec<PeerAddr> {
        vec![self.local]
    }

    async fn connect(&self, peer: &PeerRecord) -> Result<Arc<dyn Session>, TransportError> {
        dial::dial(&self.endpoint, &self.hub, self.meetings.as_ref(), peer).await
    }

    async fn accept(&self) -> Result<Arc<dyn Session>, TransportError> {
        self.accepted.lock().await.recv().await.ok_or(TransportError::Closed)
    }

    async fn close(&self, grace: Duration) {
        self.endpoint.close(code::DONE, b"");
        // Whether every goodbye got out or it took too long, there is nothing more to do.
        let _ = tokio::time::timeout(grace, self.endpoint.wait_idle()).await;
    }
}

impl Drop for Quic {
    fn drop(&mut self) {
        self.endpoint.close(code::DONE, b"");
    }
}

#[cfg(test)]
mod tests;
