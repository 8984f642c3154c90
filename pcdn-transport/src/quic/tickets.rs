//! Tickets: with one a TLS session begins where an earlier one with the same peer ended. A few for each of a few peers, each
//! good once and not for long. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use pcdn_core::id::PeerId;
use tokio::time::Instant;

/// Tickets kept of one peer. The newest is used first; sessions that follow each other closely bring two each.
pub(super) const TICKETS_MAX: usize = 8;
/// Peers of whom tickets are kept: as many as a swarm has neighbours. With about 600 bytes a ticket (mostly the keys of both
/// ends and what QUIC remembers of the path) both sides of a node keep 300 KB, as iroh does. Those of hostile peers may have
/// 16 KB (what quinn takes of a handshake at once): 4 MB, if all are.
pub(super) const PEERS_MAX: usize = 32;
/// A ticket is good for this long. Long enough for a link that is lost while a film is watched; short, because early data is
/// only as secret as the ticket (RFC 8446, section 2.3).
pub(super) const GOOD_FOR: Duration = Duration::from_secs(3_600);

/// Tickets by peer.
#[derive(Debug)]
pub(super) struct Tickets<T> {
    /// Who brought one last is last.
    peers: VecDeque<(PeerId, VecDeque<(Instant, T)>)>,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self { peers: VecDeque::new() }
    }
}

impl<T> Tickets<T> {
    /// Keeps one. The oldest of the peer goes where it has too many, and the peer who brought none for longest where there are
    /// too many peers.
    pub(super) fn put(&mut self, now: Instant, peer: PeerId, ticket: T) {
        self.expire(now);
        let known = self.peers.iter().position(|(known, _)| *known == peer);
        let (_, mut tickets) = known.and_then(|at| self.peers.remove(at)).unwrap_or((peer, VecDeque::new()));
        if tickets.len() == TICKETS_MAX {
            tickets.pop_front();
        }
        tickets.push_back((now, ticket));
        if self.peers.len() == PEERS_MAX {
            self.peers.pop_front();
        }
        self.peers.push_back((peer, tickets));
    }

    /// The newest that fits and is still good; nobody gets it again.
    pub(super) fn take(&mut self, now: Instant, fits: impl Fn(&PeerId, &T) -> bool) -> Option<T> {
        self.expire(now);
        self.peers.iter_mut().find_map(|(peer, tickets)| {
            let at = tickets.iter().rposition(|(_, ticket)| fits(peer, ticket))?;
            tickets.remove(at).map(|(_, ticket)| ticket)
        })
    }

    /// Whether there is one of `peer`.
    pub(super) fn has(&mut self, now: Instant, peer: &PeerId) -> bool {
        self.expire(now);
        self.peers.iter().any(|(known, tickets)| known == peer && !tickets.is_empty())
    }

    fn expire(&mut self, now: Instant) {
        for (_, tickets) in &mut self.peers {
            tickets.retain(|(since, _)| now.saturating_duration_since(*since) < GOOD_FOR);
        }
        self.peers.retain(|(_, tickets)| !tickets.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> PeerId {
        PeerId([n; 32])
    }

    fn of(tickets: &mut Tickets<u32>, now: Instant, n: u8) -> Option<u32> {
        tickets.take(now, |known, _| *known == peer(n))
    }

    #[test]
    fn the_newest_is_used_first_and_each_once() {
        let (now, mut tickets) = (Instant::now(), Tickets::default());
        (0..3).for_each(|ticket| tickets.put(now, peer(1), ticket));
        assert!(tickets.has(now, &peer(1)) && !tickets.has(now, &peer(2)));
        let taken: Vec<_> = std::iter::from_fn(|| of(&mut tickets, now, 1)).collect();
        assert_eq!(taken, [2, 1, 0]);
        assert!(!tickets.has(now, &peer(1)));
    }

    #[test]
    fn none_is_good_for_longer_than_an_hour() {
        let (begun, mut tickets) = (Instant::now(), Tickets::default());
        tickets.put(begun, peer(1), 1);
        tickets.put(begun + Duration::from_secs(60), peer(1), 2);
        assert_eq!(of(&mut tickets, begun + GOOD_FOR, 1), Some(2));
        assert_eq!(of(&mut tickets, begun + GOOD_FOR, 1), None);
    }

    #[test]
    fn no_peer_and_no_number_of_peers_fills_the_table() {
        let (now, mut tickets) = (Instant::now(), Tickets::default());
        for n in 0..100 {
            (0..20).for_each(|ticket| tickets.put(now, peer(n), ticket));
        }
        for n in 0..100u8 {
            let left = std::iter::from_fn(|| of(&mut tickets, now, n)).collect::<Vec<_>>();
            let kept = usize::from(n) >= 100 - PEERS_MAX;
            assert_eq!(left, if kept { (12..20).rev().collect() } else { vec![] }, "{n}");
        }
    }
}
