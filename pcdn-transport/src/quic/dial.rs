//! Calling a peer: every address it has, best first, each a little later than the one before (RFC 8305).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::{Session, TransportError};
use quinn::{ConnectionError, Endpoint};

use super::counters::Tally;
use super::hub::Hub;
use super::{code, hello, tls};

/// The next address is tried after this long (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

/// The first session that comes to stand.
pub(super) async fn dial(
    endpoint: &Endpoint,
    client: &quinn::ClientConfig,
    hub: &Arc<Hub>,
    peer: &PeerRecord,
) -> Result<Arc<dyn Session>, TransportError> {
    let addrs = peer.addrs.iter().filter(|addr| addr.scheme == Scheme::Quic).take(PeerRecord::ADDRS_MAX);
    let first = *addrs.clone().next().ok_or(TransportError::NoAddress(Scheme::Quic))?;
    let mut calls: FuturesUnordered<_> = addrs
        .enumerate()
        .map(|(n, at)| async move {
            tokio::time::sleep(STAGGER * n as u32).await;
            call(endpoint, client, hub, peer, at.addr).await
        })
        .collect();
    // What is worth telling: somebody else answered, rather than nobody.
    let mut why = TransportError::Silent(first);
    let any = async {
        while let Some(called) = calls.next().await {
            match called {
                Ok(session) => return Ok(session),
                Err(error @ (TransportError::Impostor(_) | TransportError::Closed)) => why = error,
                Err(_) => {}
            }
        }
        Err(())
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
