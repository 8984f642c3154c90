//! From how far an address can be reached, and so to whom it is worth telling.
//!
//! One rule in both directions keeps private addresses private and strangers out of private networks: an address is told
//! only to who is seen from as near as it reaches, and believed only from who is as near.

use std::net::IpAddr;

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// This machine: loopback.
    Machine,
    /// This site: private and link-local networks.
    Site,
    /// Everyone.
    World,
}

impl Reach {
    /// Of an IP address. A v4 address in v6 form is taken as the v4 address.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Machine,
            IpAddr::V4(ip) if ip.is_private() || ip.is_link_local() => Self::Site,
            IpAddr::V6(ip) if ip.is_unique_local() || ip.is_unicast_link_local() => Self::Site,
            _ => Self::World,
        }
    }
}

/// The first bytes of an address, with its family: who has one address there mostly can have others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix([u8; 7]);

impl Prefix {
    /// One customer's: /24 of v4, /48 of v6.
    pub fn subnet(ip: IpAddr) -> Self {
        Self::of(ip, 3, 6)
    }

    /// About one operator's: /16 of v4, /32 of v6.
    pub fn network(ip: IpAddr) -> Self {
        Self::of(ip, 2, 4)
    }

    fn of(ip: IpAddr, v4: usize, v6: usize) -> Self {
        let mut prefix = [0; 7];
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                prefix[0] = 4;
                prefix[1..=v4].copy_from_slice(&ip.octets()[..v4]);
            }
            IpAddr::V6(ip) => {
                prefix[0] = 6;
                prefix[1..=v6].copy_from_slice(&ip.octets()[..v6]);
            }
        }
        Self(prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_addresses_are_told_from_far_ones() {
        for (text, reach) in [
            ("127.0.0.9", Reach::Machine),
            ("::1", Reach::Machine),
            ("::ffff:127.0.0.1", Reach::Machine),
            ("10.1.2.3", Reach::Site),
            ("169.254.1.1", Reach::Site),
            ("fd00::1", Reach::Site),
            ("fe80::1", Reach::Site),
            ("198.51.100.7", Reach::World),
            ("2001:db8::7", Reach::World),
        ] {
            assert_eq!(Reach::of(text.parse().unwrap()), reach, "{text}");
        }
        assert!(Reach::Machine < Reach::Site && Reach::Site < Reach::World);
    }

    #[test]
    fn prefixes_hold_neighbours_together_and_families_apart() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(Prefix::subnet(ip("192.0.2.1")), Prefix::subnet(ip("::ffff:192.0.2.250")));
        assert_ne!(Prefix::subnet(ip("192.0.2.1")), Prefix::subnet(ip("192.0.3.1")));
        assert_eq!(Prefix::network(ip("192.0.2.1")), Prefix::network(ip("192.0.3.1")));
        assert_eq!(Prefix::subnet(ip("2001:db8:1:2::1")), Prefix::subnet(ip("2001:db8:1:3::1")));
        assert_ne!(Prefix::subnet(ip("2001:db8:1::1")), Prefix::subnet(ip("2001:db8:2::1")));
        assert_ne!(Prefix::network(ip("4.0.0.0")), Prefix::network(ip("0400::")));
    }
}
