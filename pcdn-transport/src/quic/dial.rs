//! Calling a peer: every address it has, the nearest kind first, each a little later than the one before (RFC 8305); and where
//! it comes through a NAT, if somebody calls both together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Session, TransportError};
use quinn::{Connecting, Connection, ConnectionError, Endpoint};
use tokio::sync::mpsc;

use super::counters::Tally;
use super::hello::Streams;
use super::hub::{End, Hub};
use super::resume::{Fresh, Got};
use super::{code, hello, tls};
use crate::nat::order::Way;
use crate::udp::Meetings;

/// The next address is tried after this long (RFC 8305, section 8).
pub(super) const STAGGER: Duration = Duration::from_millis(250);

/// Ways through NATs that are tried: a symmetric one shows another port for every address.
const REACHED_MAX: usize = 8;

/// The first session that comes to stand.
pub(super) async fn dial(
    endpoint: &Endpoint,
    hub: &Arc<Hub>,
    meetings: Option<&Meetings>,
    peer: &PeerRecord,
) -> Result<Arc<dyn Session>, TransportError> {
    let addrs = addrs_of(peer);
    let first = *addrs.first().ok_or(TransportError::NoAddress(Scheme::Quic))?;
    let first = PeerAddr { scheme: Scheme::Quic, addr: first };
    // Closed at once where nobody meets anybody.
    let mut reached = match meetings {
        Some(meetings) => meetings.want(peer.id, addrs.clone()),
        None => mpsc::channel(1).1,
    };
    let later = async |pause: Duration, at: SocketAddr| {
        tokio::time::sleep(pause).await;
        call(endpoint, hub, peer, at).await
    };
    let mut calls: FuturesUnordered<_> =
        addrs.iter().enumerate().map(|(n, at)| later(STAGGER * n as u32, *at)).collect();
    let mut ways: Vec<SocketAddr> = Vec::new();
    // What is worth telling: somebody else answered, rather than nobody.
    let mut why = TransportError::Silent(first);
    let any = async {
        loop {
            // It may still come through when all its addresses have failed.
            let called = tokio::select! {
                Some(called) = calls.next() => called,
                Some(at) = reached.recv(), if !calls.is_empty() || matches!(why, TransportError::Silent(_)) => {
                    // A call under way to the same address repeats itself seldom: it began before there was a way.
                    if ways.len() < REACHED_MAX && !ways.contains(&at) {
                        ways.push(at);
                        calls.push(later(Duration::ZERO, at));
                    }
                    continue;
                }
                else => return Err(()),
            };
            match called {
                Ok(session) => return Ok(session),
                Err(error @ (TransportError::Impostor(_) | TransportError::Closed)) => why = error,
                Err(_) => {}
            }
        }
    };
    match tokio::time::timeout(hub.config.handshake_timeout, any).await {
        Ok(Ok(session)) => Ok(session),
        _ => Err(why),
    }
}

/// Where a peer may be, the nearest first.
pub(super) fn addrs_of(peer: &PeerRecord) -> Vec<SocketAddr> {
    let ours = peer.addrs.iter().filter(|addr| addr.scheme == Scheme::Quic).take(PeerRecord::ADDRS_MAX);
    let mut addrs: Vec<SocketAddr> = ours.map(|addr| addr.addr).collect();
    addrs.sort_by_key(|addr| Way::to(*addr, None));
    addrs
}

async fn call(
    endpoint: &Endpoint,
    hub: &Arc<Hub>,
    peer: &PeerRecord,
    addr: SocketAddr,
) -> Result<Arc<dyn Session>, TransportError> {
    let call = Call::begin(endpoint, hub, peer, addr)?;
    match call.calling.into_0rtt() {
        // Nobody has anything to fetch yet. What is gained is the proof, for which the handshake stands.
        Ok((connection, over)) => {
            let resumed = over.await;
            call.rest.end(connection, resumed, None).await
        }
        Err(calling) => {
            let connection = calling.await.map_err(|error| call.rest.why(&error))?;
            call.rest.end(connection, false, None).await
        }
    }
}

/// A call under way.
pub(super) struct Call {
    pub(super) calling: Connecting,
    pub(super) rest: Rest,
}

/// What is to be done when its handshake is over.
pub(super) struct Rest {
    hub: Arc<Hub>,
    peer: PeerId,
    at: PeerAddr,
    tickets: Arc<Fresh<Got>>,
}

impl Call {
    pub(super) fn begin(
        endpoint: &Endpoint,
        hub: &Arc<Hub>,
        peer: &PeerRecord,
        addr: SocketAddr,
    ) -> Result<Self, TransportError> {
        let at = PeerAddr { scheme: Scheme::Quic, addr };
        let other = |source: rustls::Error| TransportError::Other { by: "quic", source: source.into() };
        let (client, tickets) = hub.resume.call().map_err(other)?;
        let calling = endpoint.connect_with(client, addr, &tls::name_of(&peer.id));
        let calling = calling.map_err(|error| match error {
            quinn::ConnectError::EndpointStopping => TransportError::Closed,
            // An address of the other family, most of all.
            _ => TransportError::Silent(at),
        })?;
        Ok(Self { calling, rest: Rest { hub: Arc::clone(hub), peer: peer.id, at, tickets } })
    }
}

impl Rest {
    /// The handshake is over, or failed. A session that was `resumed` uses the stream of messages that was opened early.
    pub(super) async fn end(
        self,
        connection: Connection,
        resumed: bool,
        early: Option<Streams>,
    ) -> Result<Arc<dyn Session>, TransportError> {
        if let Some(error) = connection.close_reason() {
            return Err(self.why(&error));
        }
        let secret = self.hub.config.secret.as_ref();
        let talk = match (resumed, early) {
            // TLS has compared the name with the key of the session that is resumed; it costs nothing to look again.
            _ if tls::peer_of(&connection) != Some(self.peer) => None,
            (true, Some(streams)) => hello::again(&connection, streams, secret).await,
            (true, None) => match connection.open_bi().await {
                Ok(streams) => hello::again(&connection, streams, secret).await,
                Err(_) => None,
            },
            (false, _) => hello::dialled(&connection, secret).await,
        };
        let Some(talk) = talk else {
            Tally::one(&self.hub.tally.strangers);
            connection.close(code::STRANGER, b"");
            return Err(TransportError::Impostor(self.at));
        };
        self.tickets.prove(self.peer);
        Ok(self.hub.begin(connection, self.peer, talk, End::Dialler))
    }

    fn why(&self, error: &ConnectionError) -> TransportError {
        match error {
            ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
                TransportError::Impostor(self.at)
            }
            ConnectionError::LocallyClosed => TransportError::Closed,
            _ => TransportError::Silent(self.at),
        }
    }
}
