//! What the transport found out of how this node appears to others.

use std::net::{IpAddr, SocketAddr};

use pcdn_core::peer::{Appearance, Nat, PeerAddr, Scheme};

use crate::nat::survey::Found;

/// What the transport found out, as the rest of a node is told. Of a port that the router has opened only the number is
/// believed: it is at the address that trackers see, and makes the node open to all.
pub(super) fn appearance(found: &Found, mapped: Option<u16>, schemes: &[Scheme]) -> Appearance {
    let at = |ip: IpAddr, port| SocketAddr::new(ip.to_canonical(), port);
    let seen = found.seen.map(|seen| at(seen.ip(), seen.port()));
    let open = found.seen.zip(mapped).map(|(seen, port)| at(seen.ip(), port));
    let nat = if open.is_some() { Nat::Open } else { found.nat };
    tracing::debug!(seen = ?found.seen, ?mapped, nat = nat.as_str(), silent = found.silent, "as others see this node");
    let all = open.into_iter().chain(seen.filter(|seen| open != Some(*seen)));
    let addrs = all.flat_map(|addr| schemes.iter().map(move |scheme| PeerAddr { scheme: *scheme, addr }));
    Appearance { addrs: addrs.collect(), nat }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_port_is_at_the_address_that_trackers_see() {
        let found = Found { seen: "198.51.100.1:31000".parse().ok(), nat: Nat::Symmetric, silent: false };
        let texts = |appearance: Appearance| {
            (appearance.addrs.iter().map(PeerAddr::to_string).collect::<Vec<_>>(), appearance.nat)
        };
        let udp = &[Scheme::Udp];
        let (addrs, nat) = texts(appearance(&found, Some(4000), udp));
        assert_eq!(
            (&addrs[..], nat),
            (&["udp://198.51.100.1:4000".to_owned(), "udp://198.51.100.1:31000".to_owned()][..], Nat::Open)
        );
        let (addrs, nat) = texts(appearance(&found, None, udp));
        assert_eq!((addrs.len(), nat), (1, Nat::Symmetric));
        let (addrs, _) = texts(appearance(&found, None, &[Scheme::Udp, Scheme::Quic]));
        assert_eq!(addrs, ["udp://198.51.100.1:31000", "quic://198.51.100.1:31000"]);
        let (addrs, nat) = texts(appearance(&Found::default(), Some(4000), udp));
        assert_eq!((addrs.len(), nat), (0, Nat::Unknown), "without a tracker nobody knows where it is");
    }
}
