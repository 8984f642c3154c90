//! Who is connected, and who can be reached. Pure.
//!
//! A DHT that lists nodes behind NATs waits for time-outs. So nobody is listed, and nobody serves, before it was reached once
//! from a port it has never talked to:
//!
//! * A node that is dialled by a stranger dials back, from a fresh port, to where the stranger came from; libp2p dials from the
//!   port it listens on, so that is also where it listens, or where its NAT shows it. If that works, libp2p lists it.
//! * A node that is dialled back so by somebody it had dialled knows that it can be reached, and begins to serve.
//!
//! An address-restricted NAT lets the fresh port of a known host pass, so its node may serve though strangers cannot reach it.
//! Their own dial back then fails, and they do not list it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;

/// Peers dialled back lately, so that none is twice in a row. A minute of a very busy node.
const TRIED_MAX: usize = 1_024;

/// Connections of a node.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// Bounded by the limits on connections.
    peers: BTreeMap<PeerId, Vec<Connection>>,
    tried: VecDeque<PeerId>,
}

#[derive(Debug)]
struct Connection {
    id: ConnectionId,
    /// The other end.
    addr: SocketAddr,
    dialled: bool,
}

impl Reach {
    /// A connection is there. True if it proves that this node can be reached: somebody it had dialled came back from a port
    /// that was not dialled.
    pub(super) fn up(&mut self, peer: PeerId, id: ConnectionId, addr: SocketAddr, dialled: bool) -> bool {
        let all = self.peers.entry(peer).or_default();
        let proof = !dialled
            && all.iter().any(|other| other.dialled)
            && all.iter().all(|other| !other.dialled || other.addr.port() != addr.port());
        all.push(Connection { id, addr, dialled });
        proof
    }

    /// A connection is gone.
    pub(super) fn down(&mut self, peer: &PeerId, id: ConnectionId) {
        let Some(all) = self.peers.get_mut(peer) else { return };
        all.retain(|connection| connection.id != id);
        if all.is_empty() {
            self.peers.remove(peer);
        }
    }

    /// Peers connected.
    pub(super) fn len(&self) -> usize {
        self.peers.len()
    }

    /// The hosts a connected peer is seen at.
    pub(super) fn hosts(&self, peer: &PeerId) -> Vec<IpAddr> {
        let mut hosts: Vec<IpAddr> = self.of(peer).map(|connection| connection.addr.ip()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Where this node has reached a peer.
    pub(super) fn dialled(&self, peer: &PeerId) -> Option<SocketAddr> {
        self.of(peer).find(|connection| connection.dialled).map(|connection| connection.addr)
    }

    /// Where to dial a peer back that has just said who it is, if that was not done lately and is not known to work.
    pub(super) fn dial_back(&mut self, peer: &PeerId) -> Option<SocketAddr> {
        if self.dialled(peer).is_some() || self.tried.contains(peer) {
            return None;
        }
        let addr = self.of(peer).map(|connection| connection.addr).next()?;
        if self.tried.len() >= TRIED_MAX {
            self.tried.pop_front();
        }
        self.tried.push_back(*peer);
        Some(addr)
    }

    /// The dial back did not happen.
    pub(super) fn not_tried(&mut self, peer: &PeerId) {
        self.tried.retain(|tried| tried != peer);
    }

    /// Forgets whom it has dialled back: to be called each minute, so that a peer whose NAT has changed gets its chance.
    pub(super) fn forget_tried(&mut self) {
        self.tried.clear();
    }

    fn of(&self, peer: &PeerId) -> impl Iterator<Item = &Connection> {
        self.peers.get(peer).into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn id(n: usize) -> ConnectionId {
        ConnectionId::new_unchecked(n)
    }

    #[test]
    fn only_a_fresh_port_of_somebody_dialled_is_a_proof() {
        let (mut reach, peer) = (Reach::default(), PeerId::random());
        assert!(!reach.up(peer, id(1), at(4000), false), "a stranger's dial may go through a hole in a NAT");
        let (mut reach, peer) = (Reach::default(), PeerId::random());
        assert!(!reach.up(peer, id(1), at(4000), true));
        assert!(!reach.up(peer, id(2), at(4000), false), "both dialled at once");
        assert!(reach.up(peer, id(3), at(5000), false));
    }

    #[test]
    fn a_peer_is_dialled_back_once() {
        let (mut reach, peer) = (Reach::default(), PeerId::random());
        reach.up(peer, id(1), at(4000), false);
        assert_eq!(reach.dial_back(&peer), Some(at(4000)));
        assert_eq!(reach.dial_back(&peer), None);
        reach.forget_tried();
        reach.up(peer, id(2), at(4000), true);
        assert_eq!(reach.dial_back(&peer), None, "it was reached");
        assert_eq!(reach.dialled(&peer), Some(at(4000)));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (mut reach, peer) = (Reach::default(), PeerId::random());
        reach.up(peer, id(1), at(4000), false);
        assert_eq!(reach.hosts(&peer), [at(0).ip()]);
        reach.down(&peer, id(1));
        assert_eq!((reach.len(), reach.hosts(&peer).len()), (0, 0));
    }

    #[test]
    fn those_dialled_back_are_bounded() {
        let mut reach = Reach::default();
        for n in 0..TRIED_MAX + 10 {
            let peer = PeerId::random();
            reach.up(peer, id(n), at(4000), false);
            reach.dial_back(&peer);
        }
        assert_eq!(reach.tried.len(), TRIED_MAX);
    }
}
