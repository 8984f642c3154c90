//! What the network answers to this node's queries, and what it asks this node to store.

use std::time::Duration;

use libp2p_kad::{self as kad, GetProvidersOk, InboundRequest, QueryId, QueryResult, RecordKey};
use libp2p_swarm::{ConnectionId, NetworkBehaviour as _};
use pcdn_core::discovery::Lease;

use super::{Actor, SMALL};
use crate::kad::providers::ADDRS_KEPT;
use crate::kad::{place, silent};

/// Renewal of an announcement: a third of what records live.
const RENEW: Duration = Duration::from_secs(600);
/// Renewal while the network is small: each newcomer is among the 20 nearest to any key and knows nothing yet.
const RENEW_SMALL: Duration = Duration::from_secs(30);

impl Actor {
    pub(super) fn kademlia(&mut self, event: kad::Event) {
        match event {
            kad::Event::RoutingUpdated { is_new_peer: true, .. } if !self.joined => {
                // One node is enough to ask: every query finds its own way on.
                self.joined = true;
                // Kademlia waits before it refreshes by itself, so that several newcomers are one occasion. Without anybody
                // listed it fails, and there is somebody.
                let _ = self.kad().bootstrap();
                self.tell();
            }
            kad::Event::InboundRequest { request: InboundRequest::AddProvider { record: Some(record) } } => {
                self.store(&record);
            }
            kad::Event::OutboundQueryProgressed { id, result, step, stats, .. } => {
                // libp2p calls a query that nobody answered as well done as one whose answers were empty.
                let unanswered = stats.num_requests() > 0 && stats.num_successes() == 0;
                self.answered(id, result, step.last, unanswered);
            }
            _ => {}
        }
    }

    /// Another node provides something. libp2p has seen that it speaks for itself only.
    fn store(&mut self, record: &kad::ProviderRecord) {
        let Some(peer) = place::peer_of(&record.provider) else { return };
        let hosts = self.reach.hosts(&record.provider);
        let addrs = place::as_seen(&record.addresses, &hosts, self.config.private, ADDRS_KEPT);
        let contact = self.reach.dialled(&record.provider);
        if addrs.is_empty() || !self.kad().store_mut().keep(&record.key, peer, addrs, contact) {
            tracing::debug!(peer = %peer.short(), "a provider's record is not kept");
        }
    }

    fn answered(&mut self, query: QueryId, result: QueryResult, last: bool, unanswered: bool) {
        match result {
            QueryResult::StartProviding(result) => {
                let Some(reply) = self.announcing.remove(&query) else { return };
                let small = self.known() < SMALL;
                let lease = Lease { renew_in: if small { RENEW_SMALL } else { RENEW } };
                // Who asked may have stopped waiting.
                let _ = reply.send(result.map(|_| lease).map_err(|_| silent()));
            }
            QueryResult::GetProviders(Ok(GetProvidersOk::FoundProviders { key, providers })) => {
                self.found(query, &key, providers);
            }
            QueryResult::GetProviders(end) if last => {
                let Some(looking) = self.looking.remove(&query) else { return };
                if (end.is_err() || unanswered) && looking.search.is_empty() {
                    // Full channels hold records, so nothing is lost but an error.
                    let _ = looking.found.try_send(Err(silent()));
                }
            }
            _ => {}
        }
    }

    /// Hands providers on. libp2p tells only who they are; where is known to the running query, and is asked for as a dial would.
    fn found(
        &mut self,
        query: QueryId,
        key: &RecordKey,
        providers: impl IntoIterator<Item = libp2p_identity::PeerId>,
    ) {
        let Some(looking) = self.looking.get_mut(&query) else { return };
        let kad = &mut self.swarm.behaviour_mut().kad;
        for name in providers {
            let Some(peer) = place::peer_of(&name) else { continue };
            let mut addrs = kad.store_mut().known(key, &peer);
            let dial = (ConnectionId::new_unchecked(0), libp2p_core::Endpoint::Dialer);
            let told =
                kad.handle_pending_outbound_connection(dial.0, Some(name), &[], dial.1).unwrap_or_default();
            addrs.extend(told.iter().filter_map(place::from_multiaddr));
            if let Some(record) = looking.search.take(peer, addrs) {
                // A reader that sleeps loses what does not fit; one that is gone wants nothing.
                let _ = looking.found.try_send(Ok(record));
            }
        }
        if looking.search.is_done() || looking.found.is_closed() {
            self.looking.remove(&query);
            if let Some(mut running) = self.kad().query_mut(&query) {
                running.finish();
            }
        }
    }
}
