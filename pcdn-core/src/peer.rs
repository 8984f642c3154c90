//! Peers as others hear of them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::PeerId;

/// An address and the transport that listens there: `udp://192.0.2.1:4000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerAddr {
    /// Which transport.
    pub scheme: Scheme,
    /// Where.
    pub addr: SocketAddr,
}

/// Names a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scheme {
    /// Our own UDP protocol (sub-piece pull).
    Udp,
    /// QUIC.
    Quic,
    /// Inside one process.
    Mem,
    /// A transport from outside this framework.
    Other,
}

impl Scheme {
    /// The scheme's text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Udp => "udp",
            Scheme::Quic => "quic",
            Scheme::Mem => "mem",
            Scheme::Other => "other",
        }
    }
}

/// What one node tells others about a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerRecord {
    /// Who, if it is known before the handshake proves it. A plain BEP 15 answer has only addresses.
    pub id: PeerId,
    /// Where it can be reached, best first, at most [`ADDRS_MAX`](Self::ADDRS_MAX).
    pub addrs: Vec<PeerAddr>,
    /// Whether it holds everything and downloads nothing.
    pub seed: bool,
}

impl PeerRecord {
    /// Addresses of one peer at most: LAN and public, IPv4 and IPv6, two transports.
    pub const ADDRS_MAX: usize = 8;
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.addr)
    }
}

impl FromStr for PeerAddr {
    type Err = PeerAddrError;

    /// Reads `scheme://ip:port`; a bare `ip:port` means UDP.
    fn from_str(text: &str) -> Result<Self, PeerAddrError> {
        let bad = || PeerAddrError(text.chars().take(80).collect());
        let (scheme, addr) = text.split_once("://").unwrap_or(("udp", text));
        let scheme = match scheme {
            "udp" => Scheme::Udp,
            "quic" => Scheme::Quic,
            "mem" => Scheme::Mem,
            "other" => Scheme::Other,
            _ => return Err(bad()),
        };
        Ok(Self { scheme, addr: addr.parse().map_err(|_| bad())? })
    }
}

impl TryFrom<String> for PeerAddr {
    type Error = PeerAddrError;
    fn try_from(text: String) -> Result<Self, PeerAddrError> {
        text.parse()
    }
}

impl From<PeerAddr> for String {
    fn from(addr: PeerAddr) -> String {
        addr.to_string()
    }
}

/// Text that is no peer address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a peer address: write udp://IP:PORT, quic://IP:PORT or IP:PORT")]
pub struct PeerAddrError(String);
