//! What each reporting peer holds: one list a peer, so that one small packet renews all of it.

use std::net::IpAddr;

use dashmap::{DashMap, Entry as Place};
use pcdn_core::id::PeerId;
use pcdn_core::unit::Time;

use super::service::Refusal;
use super::wire::InfoHash;
use super::wire::report::{Change, Entry};

/// Swarms of one peer at most: 80 KB of memory.
const SWARMS_MAX: usize = 4096;
/// Peers that report at most: as many as addresses are remembered.
const NODES_MAX: usize = 1_000_000;
const SHARDS: usize = 64;

/// All peers that report. A peer is an id *and* the address it reports from, as in the table.
#[derive(Debug)]
pub(super) struct Nodes(DashMap<(PeerId, IpAddr), Node>);

#[derive(Debug)]
struct Node {
    /// In order.
    held: Vec<InfoHash>,
    renewed: Time,
    expires: Time,
}

/// What the table does about a report.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// Entries that are said to be as they are; their time is renewed.
    pub(super) renew: Vec<InfoHash>,
}

impl Nodes {
    pub(super) fn new() -> Self {
        Self(DashMap::with_shard_amount(SHARDS))
    }

    /// What `peer` holds after `entries`, apart from what they name. Reports that follow one another within `pause` renew
    /// once.
    pub(super) fn report(
        &self,
        now: Time,
        peer: (PeerId, IpAddr),
        entries: &[Entry],
        pause: std::time::Duration,
        expires: Time,
    ) -> Result<Due, Refusal> {
        // Before the entry locks its shard: the length locks them all.
        let full = self.0.len() >= NODES_MAX;
        let mut node = match self.0.entry(peer) {
            Place::Occupied(node) => node.into_ref(),
            Place::Vacant(_) if full => return Err(Refusal::Full),
            Place::Vacant(place) => place.insert(Node { held: Vec::new(), renewed: Time::ZERO, expires }),
        };
        node.expires = expires;
        let fresh = node.renewed != Time::ZERO && now.since(node.renewed) < pause;
        let named = |hash: &InfoHash| entries.iter().any(|entry| entry.hash == *hash);
        let renew = if fresh {
            Vec::new()
        } else {
            node.renewed = now;
            node.held.iter().filter(|hash| !named(hash)).copied().collect()
        };
        for entry in entries {
            match (node.held.binary_search(&entry.hash), entry.change) {
                (Ok(at), Change::Left) => drop(node.held.remove(at)),
                (Err(_), Change::Hold) if node.held.len() >= SWARMS_MAX => {
                    return Err(Refusal::TooManySwarms);
                }
                (Err(at), Change::Hold) => node.held.insert(at, entry.hash),
                (Ok(_), Change::Hold) | (Err(_), Change::Left) => {}
            }
        }
        Ok(Due { renew })
    }

    /// `peer` does not hold these any more.
    pub(super) fn forget(&self, peer: &(PeerId, IpAddr), gone: &[InfoHash]) {
        if let Some(mut node) = self.0.get_mut(peer) {
            node.held.retain(|hash| !gone.contains(hash));
        }
    }

    /// How many swarms `peer` is held in.
    pub(super) fn held(&self, peer: &(PeerId, IpAddr)) -> u32 {
        self.0.get(peer).map_or(0, |node| node.held.len() as u32)
    }

    pub(super) fn expire(&self, now: Time) {
        self.0.retain(|_, node| node.expires > now && !node.held.is_empty());
    }
}
