//! The UDP transport and QUIC on one socket: one port to open, one mapping in the NAT, one hole to punch.
//!
//! The first byte tells them apart. QUIC's packets have the second highest bit set (RFC 9000, section 17; our QUIC never
//! agrees to grease it, RFC 9287), those of [`udp`](crate::udp) are below 0x40. The task of the UDP transport reads the socket
//! and puts what is QUIC's on a siding, at the cost of one copy; both write to the socket directly. QUIC therefore hears
//! nothing any more once the UDP transport is closed: close it first, or both.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use pcdn_core::{id::Identity, transport::Provider};
//! # async fn example(provider: Arc<dyn Provider>) -> Result<(), Box<dyn std::error::Error>> {
//! use pcdn_transport::shared;
//!
//! let me = Identity::from_secret([7; 32]);
//! let at = "0.0.0.0:4000".parse()?;
//! let (udp, quic) = shared::bind(at, &me, provider, Default::default(), Default::default(), Default::default()).await?;
//! # Ok(()) }
//! ```

mod detours;
mod lane;

use std::net::SocketAddr;
use std::sync::Arc;

use pcdn_core::id::Identity;
use pcdn_core::peer::Scheme;
use pcdn_core::transport::{Provider, TransportError};

pub(crate) use detours::Detours;
pub(crate) use lane::{Lane, Siding};

use crate::limit::Limits;
use crate::quic::{Quic, QuicConfig};
use crate::udp::socket::Socket;
use crate::udp::{Udp, UdpConfig};

/// Binds one socket for both, which send within `limits`; those of `udp` and `quic` are not used.
///
/// # Errors
/// As [`Udp::bind`] and [`Quic::bind`].
pub async fn bind(
    addr: SocketAddr,
    me: &Identity,
    provider: Arc<dyn Provider>,
    udp: UdpConfig,
    quic: QuicConfig,
    limits: Limits,
) -> Result<(Udp, Quic), TransportError> {
    let cannot = |source| TransportError::Io { what: format!("bind {addr}"), source };
    let mut socket = Socket::bind(addr).map_err(cannot)?;
    let lane = socket.share();
    let detours = lane.detours();
    let mut quic = Quic::on(Arc::new(lane), me, Arc::clone(&provider), quic, limits.clone())?;
    let udp = Udp::on(socket, me, provider, udp, limits, &[Scheme::Udp, Scheme::Quic])?;
    quic.meets_by(udp.meetings(), detours);
    Ok((udp, quic))
}

/// Binds a socket for QUIC alone that meets peers behind NATs as well: a [`Udp`] without sessions reads it, says and hears what
/// meetings need, and answers no hello. [`Quic::meetings`] and [`Quic::outlook`] are that one's.
///
/// # Errors
/// As [`bind`].
pub async fn bind_quic(
    addr: SocketAddr,
    me: &Identity,
    provider: Arc<dyn Provider>,
    quic: QuicConfig,
    limits: Limits,
) -> Result<Quic, TransportError> {
    let cannot = |source| TransportError::Io { what: format!("bind {addr}"), source };
    let mut socket = Socket::bind(addr).map_err(cannot)?;
    let lane = socket.share();
    let detours = lane.detours();
    let mut quic = Quic::on(Arc::new(lane), me, Arc::clone(&provider), quic, limits.clone())?;
    let silent = UdpConfig { sessions_max: 0, ..UdpConfig::default() };
    let words = Udp::on(socket, me, provider, silent, limits, &[Scheme::Quic])?;
    quic.meets_by(words.meetings(), detours);
    quic.read_by(words);
    Ok(quic)
}
