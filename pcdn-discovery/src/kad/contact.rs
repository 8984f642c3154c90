//! Addresses of DHT nodes, as people and files write them.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use pcdn_core::discovery::DiscoveryError;
use pcdn_core::id::PeerId;

use super::place;

/// Hosts one name may stand for: a bootstrap name with more is a mistake, or somebody's list of victims.
const HOSTS_MAX: usize = 8;
/// Length of a contact's text. The longest sensible one has a name of 253 bytes.
const TEXT_MAX: usize = 400;

/// A DHT node and where it listens: `/ip4/192.0.2.1/udp/4001/quic-v1/p2p/12D3KooW…`, also with `/ip6/…` or `/dns/NAME`.
///
/// The name after `/p2p/` may be left out; then whoever answers there is taken.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Contact {
    host: Host,
    port: u16,
    peer: Option<PeerId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Host {
    Ip(std::net::IpAddr),
    /// A name, and the protocol it was written with: `dns`, `dns4` or `dns6`.
    Name(String, &'static str),
}

impl Contact {
    /// The node `peer` at `addr`.
    pub fn new(addr: SocketAddr, peer: PeerId) -> Self {
        Self { host: Host::Ip(addr.ip()), port: addr.port(), peer: Some(peer) }
    }

    /// Who is meant, if it was said.
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Where, unless it is a name.
    pub fn addr(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(..) => None,
        }
    }

    /// Whether it names a host outside the Internet: loopback, a home, an office.
    pub fn is_private(&self) -> bool {
        self.addr().is_some_and(|addr| !place::is_public(addr.ip()))
    }

    /// Where it is now: names are looked up. At most 8 addresses.
    pub(super) async fn addrs(&self) -> Vec<SocketAddr> {
        let (name, protocol) = match &self.host {
            Host::Ip(ip) => return vec![SocketAddr::new(*ip, self.port)],
            Host::Name(name, protocol) => (name, protocol),
        };
        let family = |addr: &SocketAddr| match *protocol {
            "dns4" => addr.is_ipv4(),
            "dns6" => addr.is_ipv6(),
            _ => true,
        };
        match tokio::net::lookup_host((name.as_str(), self.port)).await {
            Ok(found) => found.filter(family).take(HOSTS_MAX).collect(),
            Err(error) => {
                tracing::warn!(%self, %error, "a bootstrap node's name cannot be looked up");
                Vec::new()
            }
        }
    }

    fn of(addr: &Multiaddr) -> Option<Self> {
        let mut parts = addr.iter();
        let name = |name: std::borrow::Cow<'_, str>, protocol| Host::Name(name.into_owned(), protocol);
        let host = match parts.next()? {
            Protocol::Ip4(ip) => Host::Ip(ip.into()),
            Protocol::Ip6(ip) => Host::Ip(ip.into()),
            Protocol::Dns(text) => name(text, "dns"),
            Protocol::Dns4(text) => name(text, "dns4"),
            Protocol::Dns6(text) => name(text, "dns6"),
            _ => return None,
        };
        let Protocol::Udp(port @ 1..) = parts.next()? else { return None };
        let Protocol::QuicV1 = parts.next()? else { return None };
        let peer = match parts.next() {
            None => None,
            Some(Protocol::P2p(name)) => Some(place::peer_of(&name)?),
            Some(_) => return None,
        };
        parts.next().is_none().then_some(Self { host, port, peer })
    }
}

impl FromStr for Contact {
    type Err = DiscoveryError;

    fn from_str(text: &str) -> Result<Self, DiscoveryError> {
        let bad = || DiscoveryError::Address {
            node: text.chars().take(80).collect(),
            why: "write /ip4/IP/udp/PORT/quic-v1/p2p/ID, as a node prints it when it is ready".into(),
        };
        if text.len() > TEXT_MAX {
            return Err(bad());
        }
        text.parse().ok().and_then(|addr| Self::of(&addr)).ok_or_else(bad)
    }
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(ip) if ip.is_ipv4() => write!(f, "/ip4/{ip}")?,
            Host::Ip(ip) => write!(f, "/ip6/{ip}")?,
            Host::Name(name, protocol) => write!(f, "/{protocol}/{name}")?,
        }
        write!(f, "/udp/{}/quic-v1", self.port)?;
        match &self.peer {
            Some(peer) => write!(f, "/p2p/{}", place::name_of(peer)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_in_all_forms() {
        let id = place::name_of(&PeerId([7; 32])).to_string();
        for text in [
            format!("/ip4/192.0.2.1/udp/4001/quic-v1/p2p/{id}"),
            format!("/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{id}"),
            format!("/dns4/boot.example/udp/4001/quic-v1/p2p/{id}"),
            "/dns/boot.example/udp/4001/quic-v1".to_owned(),
        ] {
            assert_eq!(text.parse::<Contact>().unwrap().to_string(), text);
        }
        let here = Contact::new("127.0.0.1:4001".parse().unwrap(), PeerId([7; 32]));
        assert_eq!(here.to_string().parse::<Contact>().unwrap(), here);
        assert!(here.is_private());
    }

    #[test]
    fn what_cannot_be_dialled_is_refused_with_the_form_to_write() {
        let long = format!("/dns/{}/udp/1/quic-v1", "a".repeat(TEXT_MAX));
        for bad in [
            "",
            "none",
            "192.0.2.1:4001",
            "/ip4/192.0.2.1/tcp/4001",
            "/ip4/192.0.2.1/udp/4001",
            "/ip4/192.0.2.1/udp/0/quic-v1",
            "/ip4/192.0.2.1/udp/4001/quic-v1/p2p-circuit",
            "/ip4/192.0.2.1/udp/4001/quic-v1/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
            &long,
        ] {
            let error = bad.parse::<Contact>().unwrap_err().to_string();
            assert!(error.contains("/ip4/IP/udp/PORT"), "{error}");
        }
    }
}
