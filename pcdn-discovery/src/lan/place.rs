//! Where this machine can speak in a local network, and the sockets for it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use if_addrs::Interface;
use pcdn_core::peer::Reach;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::family::Family;
use super::{GROUP, GROUP_V6};

/// An address of this machine in a local network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) ip: IpAddr,
    /// The number of its interface, which IPv6 asks for.
    index: u32,
}

/// The addresses at which the transports listen.
#[derive(Debug)]
pub(super) struct Bound(Vec<IpAddr>);

impl Bound {
    /// Those of `all` that are reached from a local network. `None` if none is.
    pub(super) fn of(all: &[IpAddr]) -> Option<Self> {
        let within = |ip: &IpAddr| ip.is_unspecified() || Reach::of(*ip) == Reach::Site;
        let all: Vec<IpAddr> = all.iter().copied().filter(within).collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// Where this machine is reached now.
    pub(super) fn places(&self) -> Vec<Place> {
        self.among(if_addrs::get_if_addrs().unwrap_or_default())
    }

    /// Private addresses, and of each interface one in IPv6: it may have a dozen that change by the day. Not its link-local one,
    /// which means nothing to whoever is told of it elsewhere.
    fn among(&self, interfaces: Vec<Interface>) -> Vec<Place> {
        let mut places: Vec<Place> = Vec::new();
        let (v4, mut v6): (Vec<_>, Vec<_>) = interfaces.into_iter().partition(|i| i.ip().is_ipv4());
        // Unique local addresses last as long as the network.
        v6.sort_by_key(|interface| Reach::of(interface.ip()) != Reach::Site);
        for interface in v4.into_iter().chain(v6) {
            let (ip, index) = (interface.ip(), interface.index.unwrap_or(0));
            let local = match ip {
                IpAddr::V4(_) => Reach::of(ip) == Reach::Site,
                IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && index > 0,
            };
            let known =
                |place: &Place| place.ip == ip || ip.is_ipv6() && place.ip.is_ipv6() && place.index == index;
            if local && self.hears(ip) && !places.iter().any(known) {
                places.push(Place { ip, index });
            }
        }
        places
    }

    /// Whether something listens at `ip`: there or everywhere, and everywhere in IPv6 is in IPv4, too.
    fn hears(&self, ip: IpAddr) -> bool {
        let everywhere = |at: &IpAddr| at.is_unspecified() && (at.is_ipv6() || ip.is_ipv4());
        self.0.iter().any(|at| *at == ip || everywhere(at))
    }
}

impl Place {
    /// Where everybody here is reached.
    pub(super) fn group(&self) -> SocketAddr {
        match self.ip {
            IpAddr::V4(_) => GROUP.into(),
            IpAddr::V6(_) => SocketAddrV6::new(GROUP_V6.0, GROUP_V6.1, 0, self.index).into(),
        }
    }

    /// Has `group` take what is said to everybody here.
    pub(super) fn join(&self, group: &UdpSocket) -> io::Result<()> {
        match self.ip {
            IpAddr::V4(ip) => group.join_multicast_v4(GROUP.0, ip),
            IpAddr::V6(_) => group.join_multicast_v6(&GROUP_V6.0, self.index),
        }
    }

    /// A socket that speaks from here, and no farther than here.
    pub(super) fn voice(&self) -> io::Result<UdpSocket> {
        let socket = match self.ip {
            IpAddr::V4(ip) => {
                let socket = udp(Domain::IPV4)?;
                socket.set_multicast_if_v4(&ip)?;
                socket.set_multicast_ttl_v4(1)?;
                // Other nodes on this machine hear it, too.
                socket.set_multicast_loop_v4(true)?;
                socket
            }
            IpAddr::V6(_) => {
                let socket = udp(Domain::IPV6)?;
                socket.set_multicast_if_v6(self.index)?;
                socket.set_multicast_hops_v6(1)?;
                socket.set_multicast_loop_v6(true)?;
                socket
            }
        };
        socket.bind(&SocketAddr::new(self.ip, 0).into())?;
        tokio(socket)
    }
}

/// The sockets that take what is said to the group, for each version of IP in which something listens.
pub(super) fn groups(bound: &Bound) -> io::Result<Vec<(Family, UdpSocket)>> {
    let v4 = bound.hears(Ipv4Addr::UNSPECIFIED.into()) || bound.0.iter().any(IpAddr::is_ipv4);
    let v6 = bound.0.iter().any(IpAddr::is_ipv6);
    let mut groups = Vec::new();
    let mut failed = None;
    for family in [v4.then_some(Family::V4), v6.then_some(Family::V6)].into_iter().flatten() {
        match group(family) {
            Ok(socket) => groups.push((family, socket)),
            Err(error) => failed = Some(error),
        }
    }
    // A machine without one version of IP has the other.
    match failed {
        Some(error) if groups.is_empty() => Err(error),
        _ => Ok(groups),
    }
}

pub(super) fn group(family: Family) -> io::Result<UdpSocket> {
    let (domain, any): (_, SocketAddr) = match family {
        Family::V4 => (Domain::IPV4, (Ipv4Addr::UNSPECIFIED, GROUP.1).into()),
        Family::V6 => (Domain::IPV6, (Ipv6Addr::UNSPECIFIED, GROUP_V6.1).into()),
    };
    let socket = udp(domain)?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    // Every node on this machine takes part.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    socket.bind(&any.into())?;
    tokio(socket)
}

fn udp(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))
}

fn tokio(socket: Socket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use if_addrs::{IfAddr, IfOperStatus, Ifv4Addr, Ifv6Addr};

    use super::*;

    fn interface(index: u32, ip: &str) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                IfAddr::V4(Ifv4Addr { ip, netmask: Ipv4Addr::BROADCAST, prefixlen: 24, broadcast: None })
            }
            IpAddr::V6(ip) => {
                IfAddr::V6(Ifv6Addr { ip, netmask: Ipv6Addr::UNSPECIFIED, prefixlen: 64, broadcast: None })
            }
        };
        let (name, index, oper_status) = (format!("if{index}"), Some(index), IfOperStatus::Up);
        Interface { name, addr, index, oper_status, is_p2p: false }
    }

    fn places(bound: &[&str], interfaces: &[(u32, &str)]) -> Vec<(String, u32)> {
        let bound: Vec<IpAddr> = bound.iter().map(|ip| ip.parse().unwrap()).collect();
        let interfaces = interfaces.iter().map(|(index, ip)| interface(*index, ip)).collect();
        let Some(bound) = Bound::of(&bound) else { return Vec::new() };
        bound.among(interfaces).iter().map(|place| (place.ip.to_string(), place.index)).collect()
    }

    const HOME: [(u32, &str); 8] = [
        (1, "127.0.0.1"),
        (1, "::1"),
        (2, "192.168.1.2"),
        (2, "fe80::2"),
        (2, "2001:db8:1:2::abcd"),
        (2, "2001:db8:1:2::2"),
        (3, "198.51.100.7"),
        (3, "2001:db8:1:3::7"),
    ];

    #[test]
    fn it_speaks_where_it_is_reached_once_on_each_interface_in_ipv6() {
        let v4 = [("192.168.1.2".to_owned(), 2)];
        let v6 = [("2001:db8:1:2::abcd".to_owned(), 2), ("2001:db8:1:3::7".to_owned(), 3)];
        assert_eq!(places(&["0.0.0.0"], &HOME), v4);
        assert_eq!(places(&["::"], &HOME), [&v4[..], &v6].concat());
        assert_eq!(places(&["192.168.1.2"], &HOME), v4);
        assert_eq!(places(&["198.51.100.7"], &HOME), []);
        assert_eq!(places(&["127.0.0.1", "::1"], &HOME), []);
    }

    #[test]
    fn an_address_of_the_site_lasts_and_is_preferred() {
        let home = [&HOME[..], &[(2, "fd00:1::2")]].concat();
        assert!(places(&["::"], &home).contains(&("fd00:1::2".to_owned(), 2)));
        assert_eq!(places(&["fd00:1::2"], &home), [("fd00:1::2".to_owned(), 2)]);
    }
}
