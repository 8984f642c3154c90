//! The versions of IP in which a node is in local networks, and what of it is said in each. Pure.

use std::net::{IpAddr, Ipv6Addr};

use pcdn_core::peer::{Reach, Scheme};

/// A version of IP. What is said in one names the ports that are reached in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The ports at which a node is reached, by version of IP.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    pub(super) v4: Vec<(Scheme, u16)>,
    pub(super) v6: Vec<(Scheme, u16)>,
}

impl Ports {
    pub(super) fn of(&self, family: Family) -> &[(Scheme, u16)] {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// In which networks this node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) v4: bool,
    /// One address in each.
    pub(super) v6: Vec<Ipv6Addr>,
}

impl Places {
    pub(super) fn families(&self) -> impl Iterator<Item = Family> + use<> {
        let (v4, v6) = (self.v4.then_some(Family::V4), (!self.v6.is_empty()).then_some(Family::V6));
        v4.into_iter().chain(v6)
    }

    /// Whether what comes from `ip` was said in a network of this node: in IPv4 one with private addresses; in IPv6, where
    /// hosts have addresses of the world, one with the same prefix. Anything else was routed here, or forged.
    pub(super) fn hold(&self, ip: IpAddr) -> bool {
        let prefix = |ip: Ipv6Addr| u128::from(ip) >> 64;
        match ip.to_canonical() {
            ip @ IpAddr::V4(_) => Reach::of(ip) == Reach::Site,
            IpAddr::V6(ip) => self.v6.iter().any(|own| prefix(*own) == prefix(ip)),
        }
    }
}
