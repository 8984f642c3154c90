//! Addresses that are a test's own.

use std::net::{Ipv4Addr, SocketAddr};

/// The first port. Linux gives ports from 32,768 on to whoever asks for any, other systems from 49,152 on.
const FIRST: u16 = 20_000;
/// How many there are: all below the ports that a system gives.
const COUNT: u16 = 10_000;

/// An address of this machine, the same each time, that no other socket is given by chance: for what is bound, left and bound again,
/// and for places where nobody listens. A port that any free one was asked for is anybody's once it is left, and tests beside it in
/// the same process ask for dozens.
///
/// `number` tells the addresses of one process apart; 10,000 are. Processes differ by the address where all of 127.0.0.0/8 is here,
/// on Linux; elsewhere only by the port, of which 100 numbers are a process's own.
pub fn own_addr(number: u16) -> SocketAddr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    if cfg!(target_os = "linux") {
        // Above 127.63, which tests write down themselves; a process has 22 bits at most.
        return (Ipv4Addr::new(127, 64 | (high & 63), middle, low), FIRST + number % COUNT).into();
    }
    let own = u16::from(low) % (COUNT / 100) * 100;
    (Ipv4Addr::LOCALHOST, FIRST + own + number % 100).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_of_loopback_below_what_systems_give_and_others_than_its_neighbours() {
        let all: std::collections::BTreeSet<_> = (0..100).map(own_addr).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|addr| addr.ip().is_loopback() && (FIRST..32_768).contains(&addr.port())));
        assert_eq!(own_addr(7), own_addr(7));
    }
}
