//! In which order a peer's addresses are tried (RFC 8305's happy eyeballs, with the local network before all).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::peer::Reach;

/// How long the nearer kind of address is alone: the least that RFC 8305 allows between two attempts, and no more, for a hello
/// costs one datagram.
pub const HEAD_START: Duration = Duration::from_millis(100);
/// How long a peer at this node's own public address is looked for in the local network, by way of a tracker, before the router
/// is asked to turn traffic around: above most round trips to a tracker.
pub const HEAD_START_HERE: Duration = Duration::from_millis(300);

/// What kind of way an address is; the smaller, the sooner it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// In the same machine or local network.
    Near,
    /// IPv6: no NAT on the way, as a rule.
    V6,
    /// IPv4.
    V4,
    /// By the router's outside and back in, if it does that at all.
    Around,
}

impl Way {
    /// Of `to`, for a node that others see at `own`.
    pub fn to(to: SocketAddr, own: Option<IpAddr>) -> Self {
        let ip = to.ip().to_canonical();
        match ip {
            _ if Reach::of(ip) != Reach::World => Self::Near,
            IpAddr::V6(_) => Self::V6,
            IpAddr::V4(_) if own.is_some_and(|own| own.to_canonical() == ip) => Self::Around,
            IpAddr::V4(_) => Self::V4,
        }
    }

    /// How long an address of this kind waits after one of another kind was tried.
    pub fn head_start(self) -> Duration {
        if self == Self::Around { HEAD_START_HERE } else { HEAD_START }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_addresses_come_first_then_ipv6_and_the_way_around_last() {
        let own = Some("198.51.100.1".parse().unwrap());
        let way = |text: &str| Way::to(text.parse().unwrap(), own);
        let ways = ["192.168.1.2:1", "[2001:db8::1]:1", "198.51.100.2:1", "[::ffff:198.51.100.1]:1"].map(way);
        assert_eq!(ways, [Way::Near, Way::V6, Way::V4, Way::Around]);
        assert!(ways.is_sorted());
        assert_eq!(way("[::ffff:10.0.0.1]:1"), Way::Near);
        // IPv6 hosts of one network have addresses of their own.
        assert_eq!(Way::to("[2001:db8::1]:1".parse().unwrap(), "2001:db8::1".parse().ok()), Way::V6);
    }
}
