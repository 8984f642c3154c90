//! Which hosts and addresses may be fetched from (server-side request forgery).
//!
//! URLs come from players, playlists, mappers and redirects; none may lead this node into its own network. A URL is checked
//! before it is asked for, and every address DNS gives for it before it is connected to: the resolver is inside the client, so
//! the connection goes to exactly the checked address and there is no second look-up to rebind.
//!
//! A host the operator names with `--origin` may have a private address. Requests to named hosts use a client of their own
//! ([`Lane::Named`]), so a public host's name never shares its resolver or its connections.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use pcdn_core::glob::glob;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;
use serde::{Deserialize, Serialize};
use url::Host;

mod resolver;

pub(super) use resolver::{Checked, Lookup, Refused, System};

/// A host that may be fetched from whatever its address: `HOST[:PORT]`. `*` stands for any run of characters; without a port,
/// any port. A glob of a name never matches an address written in digits, nor the other way round; `*` alone matches both.
/// Link-local (metadata) addresses must be written out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginPattern {
    host: String,
    port: Option<u16>,
}

impl OriginPattern {
    fn matches(&self, host: &str, port: u16) -> bool {
        let is_address = |text: &str| {
            text.starts_with('[') || text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'*'))
        };
        let same_kind = self.host == "*" || is_address(&self.host) == is_address(host);
        same_kind && self.port.is_none_or(|own| own == port) && glob(&self.host, host)
    }

    /// Whether `url` is on such a host. A URL without a port is on its scheme's.
    pub fn names(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.');
        url.port_or_known_default().is_some_and(|port| self.matches(host, port))
    }

    fn is_glob(&self) -> bool {
        self.host.contains('*')
    }
}

/// Text that is not an [`OriginPattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{got:?} is not an origin: write HOST or HOST:PORT, like cdn.example, *.example:8080 or [::1]:80")]
pub struct PatternError {
    got: String,
}

impl FromStr for OriginPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let bad = || PatternError { got: text.chars().take(80).collect() };
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse().map_err(|_| bad())?)),
            _ => (text, None),
        };
        if host.contains('*') {
            let plain =
                host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'*' | b'.' | b'-' | b'_'));
            return if plain { Ok(Self { host: host.to_ascii_lowercase(), port }) } else { Err(bad()) };
        }
        // The URL parser knows every spelling of an address; a pattern and the URL it is for must agree on one.
        let url = Url::parse(&format!("http://{host}/")).map_err(|_| bad())?;
        let whole =
            url.path() == "/" && url.query().is_none() && url.username().is_empty() && url.port().is_none();
        let host =
            url.host_str().filter(|_| whole && !host.contains(['/', '@', '#', '?'])).ok_or_else(bad)?;
        Ok(Self { host: host.trim_end_matches('.').to_owned(), port })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Serialize for OriginPattern {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for OriginPattern {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which client a request goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Connects to global addresses only.
    Public,
    /// Connects to private ones too; for hosts the operator named.
    Named,
}

/// Judges URLs.
#[derive(Clone, Debug, Default)]
pub(super) struct Guard {
    pub(super) allow: Vec<OriginPattern>,
    pub(super) only_allowed: bool,
}

impl Guard {
    /// Whether `url` may be asked for, and through which client. An address in the URL is judged here, a name's addresses when
    /// they are resolved.
    pub(super) fn admit(&self, url: &Url) -> Result<Lane, OriginError> {
        let text = url.host_str().unwrap_or_default().trim_end_matches('.');
        let refuse = |why: &str| OriginError::Forbidden { host: text.to_owned(), why: why.to_owned() };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(refuse("only http and https are fetched"));
        }
        let port = url.port_or_known_default().ok_or_else(|| refuse("no port"))?;
        let host = url.host().ok_or_else(|| refuse("no host"))?;
        let naming = self.allow.iter().filter(|pattern| pattern.matches(text, port));
        let (named, exactly) =
            naming.fold((false, false), |(_, exactly), pattern| (true, exactly || !pattern.is_glob()));
        if self.only_allowed && !named {
            return Err(refuse("it is not among the allowed origins (--origin)"));
        }
        let address = match host {
            Host::Domain(_) => return Ok(if named { Lane::Named } else { Lane::Public }),
            Host::Ipv4(address) => IpAddr::V4(address),
            Host::Ipv6(address) => IpAddr::V6(address),
        };
        match (is_global(address), named) {
            (true, false) => Ok(Lane::Public),
            (_, true) if exactly || !is_link_local(address) => Ok(Lane::Named),
            _ => Err(refuse("it is not a public address; name it with --origin to allow it")),
        }
    }
}

/// Whether `address` is a public unicast one, by the IANA special-purpose registries. Addresses that carry an IPv4 one
/// (mapped, NAT64) are as public as that; 6to4 and Teredo, which tunnel to one, never are.
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => match carried(v6) {
            Some(v4) => is_global_v4(v4),
            None => is_global_v6(v6),
        },
    }
}

fn is_global_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let special = v4.is_loopback()
        || v4.is_private()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_documentation()
        || a == 0 // "this network"; 0.0.0.0 reaches loopback on Linux
        || a >= 240 // reserved and broadcast
        || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT; some clouds keep metadata there
        || (a == 192 && b == 0 && c == 0) // IETF protocol assignments
        || (a == 192 && b == 88 && c == 99) // 6to4 relays
        || (a == 198 && (18..20).contains(&b)); // benchmarking
    !special
}

fn is_global_v6(v6: Ipv6Addr) -> bool {
    let [a, b, ..] = v6.segments();
    let special = (a == 0x2001 && (b < 0x0200 || b == 0x0db8)) // IETF protocol assignments, Teredo; documentation
        || a == 0x2002 // 6to4
        || (a == 0x3fff && b < 0x1000); // documentation
    // Only 2000::/3 is given out for global unicast: loopback, fc00::/7, fe80::/10 and multicast all lie outside.
    a >> 13 == 1 && !special
}

/// The IPv4 address inside a mapped (`::ffff:a.b.c.d`) or NAT64 (`64:ff9b::a.b.c.d`) one.
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = v6.segments()[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
    let [.., a, b, c, d] = v6.octets();
    if nat64 { Some(Ipv4Addr::new(a, b, c, d)) } else { v6.to_ipv4_mapped() }
}

/// Link-local, where clouds keep credentials, and what is no unicast address at all.
fn is_link_local(address: IpAddr) -> bool {
    /// The metadata service of one large cloud over IPv6; unique local, but no less secret.
    const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => match carried(v6) {
            Some(v4) => is_link_local(IpAddr::V4(v4)),
            None => {
                v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || v6 == METADATA_V6
            }
        },
    }
}

#[cfg(test)]
mod tests;
