//! Calling a peer: every address it has, the nearest kind first, each a little later than the one before (RFC 8305); and where
//! it comes through a NAT, if somebody calls both together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Session, TransportError};
use quinn::{ConnectionError, Endpoint};
use tokio::sync::mpsc;

use super::counters::Tally;
use super::hub::Hub;
use super::{code, hello, tls};
use crate::nat::order::Way;
use crate::udp::Meetings;

/// The next address is tried after this long (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// Ways through NATs that are tried: a symmetric one shows another port for every address.
const REACHED_MAX: usize = 8;

/// The first session that comes to stand.
pub(super) async fn dial(
    endpoint: &Endpoint,
    client: &quinn::ClientConfig,
    hub: &Arc<Hub>,
    meetings: Option<&Meetings>,
    peer: &PeerRecord,
) -> Result<Arc<dyn Session>, TransportError> {
    let ours = peer.addrs.iter().filter(|addr| addr.scheme == Scheme::Quic).take(PeerRecord::ADDRS_MAX);
    let mut addrs: Vec<SocketAddr> = ours.map(|addr| addr.addr).collect();
    addrs.sort_by_key(|addr| Way::to(*addr, None));
    let first = *addrs.first().ok_or(TransportError::NoAddress(Scheme::Quic))?;
    let first = PeerAddr { scheme: Scheme::Quic, addr: first };
    // Closed at once where nobody meets anybody.
    let mut reached = match meetings {
        Some(meetings) => meetings.want(peer.id, addrs.clone()),
        None => mpsc::channel(1).1,
    };
    let later = async |pause: Duration, at: SocketAddr| {
        tokio::time::sleep(pause).await;
        call(endpoint, client, hub, peer, at).await
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

async fn call(
    endpoint: &Endpoint,
    client: &quinn::ClientConfig,
    hub: &Arc<Hub>,
    peer: &PeerRecord,
    addr: SocketAddr,
) -> Result<Arc<dyn Session>, TransportError> {
    let at = PeerAddr { scheme: Scheme::Quic, addr };
    let calling = endpoint.connect_with(client.clone(), addr, &tls::name_of(&peer.id));
    let calling = calling.map_err(|error| match error {
        quinn::ConnectError::EndpointStopping => TransportError::Closed,
        // An address of the other family, most of all.
        _ => TransportError::Silent(at),
    })?;
    let connection = calling.await.map_err(|error| match error {
        ConnectionError::TransportError(_) | ConnectionError::ConnectionClosed(_) => {
            TransportError::Impostor(at)
        }
        ConnectionError::LocallyClosed => TransportError::Closed,
        _ => TransportError::Silent(at),
    })?;
    let Some(talk) = hello::dialled(&connection, hub.config.secret.as_ref()).await else {
        Tally::one(&hub.tally.strangers);
        connection.close(code::STRANGER, b"");
        return Err(TransportError::Impostor(at));
    };
    Ok(hub.begin(connection, peer.id, talk))
}
