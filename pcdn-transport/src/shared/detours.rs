//! Where peers are whose routers gave them another address while a session with them goes on.
//!
//! QUIC lets who dialled change its address, and not who was dialled (RFC 9000, section 9). So the socket of who dialled keeps the old
//! address up before quinn: what is sent there goes to the new one, and what comes from the new one seems to come from the old.
//! Nothing is believed by this but TLS: at a wrong address the session stays as silent as it was.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Detours at once: as many as peers are met for at once.
const DETOURS_MAX: usize = 64;

/// From the address that a session knows to the one where the peer is.
#[derive(Debug, Default)]
pub(crate) struct Detours {
    ways: Mutex<Vec<(SocketAddr, SocketAddr)>>,
    /// How many there are: mostly none, which is looked at with every datagram.
    count: AtomicUsize,
}

impl Detours {
    /// From now on `known` is at `new`.
    pub(crate) fn set(&self, known: SocketAddr, new: SocketAddr) {
        self.change(|ways| {
            ways.retain(|(from, to)| *from != known && *to != new);
            if known != new && ways.len() < DETOURS_MAX {
                ways.push((known, new));
            }
        });
    }

    /// Nobody knows the peer by `known` any more.
    pub(crate) fn end(&self, known: SocketAddr) {
        self.change(|ways| ways.retain(|(from, _)| *from != known));
    }

    /// Where to send what is meant for `known`.
    pub(crate) fn to(&self, known: SocketAddr) -> SocketAddr {
        self.find(known, |(from, to)| (from, to))
    }

    /// As what to take what comes from `there`.
    pub(crate) fn back(&self, there: SocketAddr) -> SocketAddr {
        self.find(there, |(from, to)| (to, from))
    }

    fn find(
        &self,
        addr: SocketAddr,
        turned: impl Fn((SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr),
    ) -> SocketAddr {
        if self.count.load(Ordering::Relaxed) == 0 {
            return addr;
        }
        let ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        ways.iter().map(|way| turned(*way)).find(|(from, _)| *from == addr).map_or(addr, |(_, to)| to)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<(SocketAddr, SocketAddr)>)) {
        let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut ways);
        self.count.store(ways.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(n: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, (n >> 8) as u8], 4_000 + n))
    }

    #[test]
    fn who_moved_is_reached_where_it_is_and_seems_to_be_where_it_was() {
        let detours = Detours::default();
        assert_eq!((detours.to(at(1)), detours.back(at(2))), (at(1), at(2)));
        detours.set(at(1), at(2));
        assert_eq!((detours.to(at(1)), detours.back(at(2))), (at(2), at(1)));
        assert_eq!((detours.to(at(3)), detours.back(at(3))), (at(3), at(3)));
        // It moves again, and then back.
        detours.set(at(1), at(3));
        assert_eq!((detours.to(at(1)), detours.back(at(3)), detours.back(at(2))), (at(3), at(1), at(2)));
        detours.set(at(1), at(1));
        assert_eq!(detours.count.load(Ordering::Relaxed), 0);
        detours.set(at(1), at(2));
        detours.end(at(1));
        assert_eq!(detours.to(at(1)), at(1));
    }

    #[test]
    fn there_are_so_many_and_none_leads_two_to_one_place() {
        let detours = Detours::default();
        (0..500).for_each(|n| detours.set(at(n), at(1_000 + n)));
        assert_eq!(detours.count.load(Ordering::Relaxed), DETOURS_MAX);
        detours.set(at(700), at(1_000));
        assert_eq!((detours.to(at(0)), detours.back(at(1_000))), (at(0), at(700)));
    }
}
