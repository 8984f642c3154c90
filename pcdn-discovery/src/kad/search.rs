//! What one look-up has found. Pure.
//!
//! Any DHT node may answer with any addresses. So a look-up sends nobody to one socket twice, and to no more than a few in one
//! network: a lie about a third party costs that party one handshake datagram a look-up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, PeerRecord};

use super::place;
use super::providers::{ADDRS_KEPT, Network};

/// Peers told of in one network. As many as an honest node stores for a key.
const PER_NETWORK: u8 = 4;
/// Addresses looked at in one answer about one peer: what is stored of it, told by several. A whole answer could be one list.
const TOLD_MAX: usize = 32;

/// A look-up under way.
#[derive(Debug)]
pub(super) struct Search {
    me: PeerId,
    private: bool,
    /// Peers still wanted.
    left: usize,
    found: BTreeMap<PeerId, Vec<PeerAddr>>,
    sockets: BTreeSet<SocketAddr>,
    networks: BTreeMap<Network, u8>,
}

impl Search {
    /// For at most `want` peers other than `me`.
    pub(super) fn new(me: PeerId, want: usize, private: bool) -> Self {
        let (found, sockets, networks) = Default::default();
        Self { me, private, left: want, found, sockets, networks }
    }

    /// Whether enough were found.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Whether anybody was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// What is new in an answer: a peer with its addresses, or further addresses of a known one, so that a wrong first answer
    /// does not hide the right one.
    pub(super) fn take(&mut self, id: PeerId, told: Vec<PeerAddr>) -> Option<PeerRecord> {
        if id == self.me || self.is_done() {
            return None;
        }
        let known = self.found.get(&id).map_or(0, Vec::len);
        let mut addrs = Vec::new();
        for addr in told.into_iter().take(TOLD_MAX) {
            let room = addrs.len() < ADDRS_KEPT && known + addrs.len() < PeerRecord::ADDRS_MAX;
            if room && place::may_be_told(addr.addr, self.private) && !self.sockets.contains(&addr.addr) {
                addrs.push(addr);
                self.sockets.insert(addr.addr);
            }
        }
        addrs.retain(|addr| self.has_room(addr.addr));
        if addrs.is_empty() {
            return None;
        }
        if known == 0 {
            self.left -= 1;
        }
        self.found.entry(id).or_default().extend(&addrs);
        Some(PeerRecord { id, addrs, seed: false })
    }

    fn has_room(&mut self, addr: SocketAddr) -> bool {
        let Some(network) = Network::of(addr.ip()) else { return true };
        let used = self.networks.entry(network).or_insert(0);
        *used += 1;
        *used <= PER_NETWORK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<PeerAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn search(want: usize) -> Search {
        Search::new(PeerId([0; 32]), want, false)
    }

    #[test]
    fn a_peer_comes_once_and_again_only_with_more() {
        let mut search = search(5);
        let first = search.take(PeerId([1; 32]), addrs(&["udp://8.8.8.8:4000"])).unwrap();
        assert_eq!(first.addrs.len(), 1);
        assert!(search.take(PeerId([1; 32]), addrs(&["udp://8.8.8.8:4000"])).is_none());
        let more =
            search.take(PeerId([1; 32]), addrs(&["udp://8.8.8.8:4000", "udp://9.9.9.9:4000"])).unwrap();
        assert_eq!(more.addrs, addrs(&["udp://9.9.9.9:4000"]));
        assert!(search.take(PeerId([0; 32]), addrs(&["udp://7.7.7.7:4000"])).is_none(), "never the asker");
    }

    #[test]
    fn a_third_party_is_named_once() {
        let mut search = search(100);
        let victim = addrs(&["udp://8.8.8.8:4000"]);
        let named = (1..50).filter(|id| search.take(PeerId([*id; 32]), victim.clone()).is_some());
        assert_eq!(named.count(), 1);
        let ports = (1..50).filter(|id| {
            search.take(PeerId([*id; 32]), addrs(&[&format!("udp://9.9.9.{id}:4000")])).is_some()
        });
        assert_eq!(ports.count(), usize::from(PER_NETWORK));
    }

    #[test]
    fn private_hosts_and_services_are_not_named() {
        let hostile = [
            "udp://127.0.0.1:4000",
            "udp://10.0.0.1:4000",
            "udp://8.8.8.8:53",
            "udp://0.0.0.0:4000",
            "udp://224.0.0.1:4000",
        ];
        for bad in hostile {
            assert!(search(9).take(PeerId([1; 32]), addrs(&[bad])).is_none(), "{bad}");
        }
        let mut at_home = Search::new(PeerId([0; 32]), 9, true);
        assert!(at_home.take(PeerId([1; 32]), addrs(&["udp://10.0.0.1:4000"])).is_some());
    }

    #[test]
    fn it_ends_when_enough_are_found() {
        let mut search = search(2);
        for id in 1..=3 {
            search.take(PeerId([id; 32]), addrs(&[&format!("udp://{id}.8.8.8:4000")]));
        }
        assert!(search.is_done());
        assert_eq!(search.found.len(), 2);
    }
}
