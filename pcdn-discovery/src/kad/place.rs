//! Addresses and names, between this framework and libp2p.
//!
//! A DHT node has a QUIC port of its own; what a provider offers is elsewhere: at its transports. Those addresses travel in the
//! provider record as `/ip4/192.0.2.1/udp/4000/sni/udp.pcdn`. Any libp2p node can carry that, and none can dial it by mistake:
//! libp2p's QUIC wants `/quic-v1` in its place.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use libp2p_core::Multiaddr;
use libp2p_core::multiaddr::Protocol;
use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, Scheme};

/// What says that an address is a transport's: the transport's name, then this.
const MARK: &str = ".pcdn";
/// Multihash "identity" of 36 bytes, holding a protobuf key of type Ed25519 with 32 bytes: how libp2p writes such a peer.
const ED25519_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// Lower ports belong to services of others (DNS, NTP): nobody is sent there.
const PORT_MIN: u16 = 1024;

/// The peer behind a libp2p name; `None` for keys that are not Ed25519.
pub(super) fn peer_of(name: &libp2p_identity::PeerId) -> Option<PeerId> {
    let bytes = name.to_bytes();
    let key = bytes.strip_prefix(&ED25519_PREFIX)?;
    Some(PeerId(key.try_into().ok()?))
}

/// The libp2p name of a peer. Arithmetic only: whether the bytes are a key is seen when somebody proves it.
pub(super) fn name_of(peer: &PeerId) -> libp2p_identity::PeerId {
    let bytes = [&ED25519_PREFIX[..], peer.as_bytes()].concat();
    libp2p_identity::PeerId::from_bytes(&bytes).expect("an identity multihash of 36 bytes is a name")
}

/// A transport's address as the DHT carries it; `None` for transports that are not reached over a network.
pub(super) fn to_multiaddr(addr: &PeerAddr) -> Option<Multiaddr> {
    if !matches!(addr.scheme, Scheme::Udp | Scheme::Quic) {
        return None;
    }
    let mark = format!("{}{MARK}", addr.scheme.as_str());
    Some(udp(addr.addr).with(Protocol::Sni(mark.into())))
}

/// Reads what [`to_multiaddr`] wrote; the name that libp2p adds at the end is allowed. `None` for anything else.
pub(super) fn from_multiaddr(addr: &Multiaddr) -> Option<PeerAddr> {
    let mut parts = addr.iter();
    let at = socket(&mut parts)?;
    let Some(Protocol::Sni(mark)) = parts.next() else { return None };
    let scheme = match mark.strip_suffix(MARK)? {
        "udp" => Scheme::Udp,
        "quic" => Scheme::Quic,
        _ => return None,
    };
    let rest = matches!(parts.next(), None | Some(Protocol::P2p(_))) && parts.next().is_none();
    rest.then_some(PeerAddr { scheme, addr: at })
}

/// `/ip4/…/udp/…/quic-v1`: where a DHT node listens.
pub(super) fn quic_v1(addr: SocketAddr) -> Multiaddr {
    udp(addr).with(Protocol::QuicV1)
}

/// The socket of a DHT node's address.
pub(super) fn socket_of(addr: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = addr.iter();
    let at = socket(&mut parts)?;
    matches!(parts.next(), Some(Protocol::QuicV1)).then_some(at)
}

fn udp(addr: SocketAddr) -> Multiaddr {
    Multiaddr::from(addr.ip()).with(Protocol::Udp(addr.port()))
}

fn socket<'a>(parts: &mut impl Iterator<Item = Protocol<'a>>) -> Option<SocketAddr> {
    let ip: IpAddr = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        // A mapped address would pass for a public one.
        Protocol::Ip6(ip) if ip.to_ipv4_mapped().is_none() => ip.into(),
        _ => return None,
    };
    let Protocol::Udp(port) = parts.next()? else { return None };
    Some(SocketAddr::new(ip, port))
}

/// Whether peers may be sent to `addr`. `private` says whether the network lives on private addresses.
pub(super) fn may_be_told(addr: SocketAddr, private: bool) -> bool {
    addr.port() >= PORT_MIN && is_host(addr.ip()) && (private || is_public(addr.ip()))
}

fn is_host(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

/// Whether `ip` is routed on the Internet (IANA special-purpose address registries).
pub(super) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocol = a == 192 && b == 0 && c == 0;
    let benchmark = a == 198 && (b == 18 || b == 19);
    let special = ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_documentation();
    !(special || shared || protocol || benchmark || a == 0 || a >= 224)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let global = a & 0xe000 == 0x2000;
    // Documentation, and the tunnels that carry an IPv4 address nobody has checked (Teredo, 6to4).
    let special = a == 0x2001 && (b == 0x0db8 || b == 0) || a == 0x2002;
    global && !special
}

/// What a provider may be reached at, given what it told and the hosts it was seen at: the ports are its word, the hosts are
/// not. So nobody can send others to a third party, and a node behind a NAT need not know its own address.
///
/// An unspecified address (`0.0.0.0`) stands for whatever it is seen at. At most `max`.
pub(super) fn as_seen(told: &[Multiaddr], seen: &[IpAddr], private: bool, max: usize) -> Vec<PeerAddr> {
    let mut addrs = Vec::new();
    for told in told.iter().filter_map(from_multiaddr) {
        for ip in seen.iter().filter(|ip| fits(told.addr.ip(), **ip)) {
            let addr = PeerAddr { addr: SocketAddr::new(*ip, told.addr.port()), ..told };
            if may_be_told(addr.addr, private) && !addrs.contains(&addr) && addrs.len() < max {
                addrs.push(addr);
            }
        }
    }
    addrs
}

/// Whether a peer that listens at `told` can be the one seen at `seen`. `[::]` usually takes IPv4 as well.
fn fits(told: IpAddr, seen: IpAddr) -> bool {
    match told {
        IpAddr::V4(any) if any.is_unspecified() => seen.is_ipv4(),
        IpAddr::V6(any) if any.is_unspecified() => true,
        told => told == seen,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn addr(text: &str) -> PeerAddr {
        text.parse().unwrap()
    }

    proptest! {
        #[test]
        fn names_and_peers_are_one(key in any::<[u8; 32]>()) {
            prop_assert_eq!(peer_of(&name_of(&PeerId(key))), Some(PeerId(key)));
        }

        #[test]
        fn any_bytes_are_an_address_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(text) = Multiaddr::try_from(bytes)
                && let Some(addr) = from_multiaddr(&text)
            {
                prop_assert_eq!(from_multiaddr(&to_multiaddr(&addr).unwrap()), Some(addr));
            }
        }
    }

    #[test]
    fn a_name_of_another_kind_of_key_is_nobody() {
        assert_eq!(peer_of(&libp2p_identity::PeerId::random()), None);
    }

    #[test]
    fn transports_addresses_survive_the_way() {
        for text in ["udp://192.0.2.1:4000", "quic://[2001:db8::1]:4000"] {
            let sent = to_multiaddr(&addr(text)).unwrap();
            assert_eq!(from_multiaddr(&sent), Some(addr(text)));
            let named = sent.with(Protocol::P2p(name_of(&PeerId([1; 32]))));
            assert_eq!(from_multiaddr(&named), Some(addr(text)));
            assert_eq!(socket_of(&named), None, "no DHT node is looked for there");
        }
        assert_eq!(to_multiaddr(&addr("mem://192.0.2.1:4000")), None);
        for other in
            ["/ip4/192.0.2.1/udp/4000", "/ip4/192.0.2.1/udp/4000/quic-v1", "/dns/a/udp/4000/sni/udp.pcdn"]
        {
            assert_eq!(from_multiaddr(&other.parse().unwrap()), None, "{other}");
        }
        let mapped = "/ip6/::ffff:10.0.0.1/udp/4000/sni/udp.pcdn";
        assert_eq!(from_multiaddr(&mapped.parse().unwrap()), None, "a private host in disguise");
    }

    #[test]
    fn the_host_is_where_it_was_seen() {
        let told: Vec<_> =
            ["udp://0.0.0.0:4000", "udp://203.0.113.9:4000", "udp://9.9.9.9:4001", "udp://8.8.8.8:53"]
                .map(|text| to_multiaddr(&addr(text)).unwrap())
                .into();
        let seen = as_seen(&told, &["8.8.8.8".parse().unwrap(), "2600::1".parse().unwrap()], false, 4);
        assert_eq!(seen, [addr("udp://8.8.8.8:4000")], "no third party, no low port, no other family");
        let any = [to_multiaddr(&addr("udp://[::]:4000")).unwrap()];
        assert_eq!(
            as_seen(&any, &["8.8.8.8".parse().unwrap(), "2600::1".parse().unwrap()], false, 4).len(),
            2
        );
        let home = ["192.168.1.5".parse().unwrap()];
        assert!(as_seen(&any, &home, false, 4).is_empty(), "a private host is nobody's business outside");
        assert_eq!(as_seen(&any, &home, true, 4), [addr("udp://192.168.1.5:4000")]);
    }

    #[test]
    fn private_hosts_are_known_as_such() {
        for private in [
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.1.1",
            "192.0.2.1",
            "198.18.0.1",
            "0.1.2.3",
            "::1",
            "fe80::1",
            "fd00::1",
            "2001:db8::1",
            "2002:a00::1",
            "::10.0.0.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "2600::1"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for never in
            ["0.0.0.0:4000", "224.0.0.1:4000", "255.255.255.255:4000", "[ff02::1]:4000", "127.0.0.1:80"]
        {
            assert!(!may_be_told(never.parse().unwrap(), true), "{never}");
        }
    }
}
