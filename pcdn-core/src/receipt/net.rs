//! How near two addresses are: who can rent one address of a subnet can mostly rent many.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The smallest block of addresses that is mostly one household, office or rack: /24 of IPv4, /48 of IPv6 (RFC 6177: what a
/// site is given).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Subnet([u8; 7]);

impl Subnet {
    /// The block of an address; an IPv4 address written as IPv6 counts as what it is.
    pub fn of(ip: IpAddr) -> Self {
        let mut block = [0; 7];
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                block[0] = 4;
                block[1..4].copy_from_slice(&ip.octets()[..3]);
            }
            IpAddr::V6(ip) => {
                block[0] = 6;
                block[1..7].copy_from_slice(&ip.octets()[..6]);
            }
        }
        Self(block)
    }

    /// Equal for one block, different for two.
    pub fn bytes(&self) -> [u8; 7] {
        self.0
    }
}

/// A network as the operator's table numbers it (an autonomous system, mostly); 0 if the table does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkId(pub u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_block_and_mapped_addresses_are_what_they_are() {
        let block = |text: &str| Subnet::of(text.parse().unwrap());
        assert_eq!(block("192.0.2.1"), block("192.0.2.254"));
        assert_ne!(block("192.0.2.1"), block("192.0.3.1"));
        assert_eq!(block("::ffff:192.0.2.1"), block("192.0.2.9"));
        assert_eq!(block("2001:db8:1:2::3"), block("2001:db8:1:ffff::1"));
        assert_ne!(block("2001:db8:1::"), block("2001:db8:2::"));
    }
}
