//! Peers as others hear of them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::PeerId;

mod nat;
mod outlook;
mod reach;
mod signed;

pub use nat::Nat;
pub use outlook::{Appearance, Outlook};
pub use reach::{Prefix, Reach};
pub use signed::{Facts, RecordError, SignedRecord};

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

    pub(crate) fn code(self) -> u8 {
        match self {
            Scheme::Udp => 1,
            Scheme::Quic => 2,
            Scheme::Mem => 3,
            Scheme::Other => 255,
        }
    }

    pub(crate) fn of_code(code: u8) -> Self {
        match code {
            1 => Scheme::Udp,
            2 => Scheme::Quic,
            3 => Scheme::Mem,
            _ => Scheme::Other,
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

impl PeerAddr {
    /// Lowest port that is dialled over a network: nobody shall make nodes talk to well-known services.
    pub const PORT_MIN: u16 = 1_024;

    /// How far it reaches. What is inside this process is on this machine.
    pub fn reach(&self) -> Reach {
        if self.scheme == Scheme::Mem { Reach::Machine } else { Reach::of(self.addr.ip()) }
    }

    /// Whether a stranger's word is enough to dial it: one host can have it, in the one form it has, and on a port of ours.
    /// Low ports are left to tests on this machine.
    pub fn is_dialable(&self) -> bool {
        let (ip, port) = (self.addr.ip(), self.addr.port());
        if matches!(self.scheme, Scheme::Mem | Scheme::Other) {
            return port > 0;
        }
        let low = if self.reach() == Reach::Machine { 1 } else { Self::PORT_MIN };
        let everybody = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast()) || ip.is_multicast();
        port >= low && !everybody && !ip.is_unspecified() && ip.to_canonical() == ip
    }
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
