//! Peers known beforehand: tests, laboratories, two machines on one desk.

use std::time::Duration;

use async_trait::async_trait;
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;

/// There is nobody to tell, so an announcement holds long; it still ends, for callers that count on a renewal.
const LEASE: Duration = Duration::from_secs(3600);

/// A given list of peers, the same for every swarm. Announcing to it succeeds and tells nobody.
///
/// The list may hold the asker itself: one `Fixed` can serve several nodes, so it cannot know who asks.
#[derive(Clone, Debug, Default)]
pub struct Fixed {
    peers: Vec<PeerRecord>,
}

impl Fixed {
    /// Finds exactly `peers`, in this order.
    pub fn new(peers: Vec<PeerRecord>) -> Self {
        Self { peers }
    }
}

#[async_trait]
impl Discovery for Fixed {
    async fn announce(&self, _key: &SwarmKey, _me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        Ok(Lease { renew_in: LEASE })
    }

    async fn withdraw(&self, _key: &SwarmKey, _me: &PeerId) -> Result<(), DiscoveryError> {
        Ok(())
    }

    fn find(&self, _key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        let peers: Vec<_> = self.peers.iter().take(want).cloned().map(Ok).collect();
        Box::pin(futures_util::stream::iter(peers))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[tokio::test]
    async fn gives_the_list_up_to_what_is_wanted() {
        let peer = |n| PeerRecord { id: PeerId([n; 32]), addrs: Vec::new(), seed: false };
        let fixed = Fixed::new(vec![peer(1), peer(2), peer(3)]);
        let key = SwarmKey([0; 32]);
        let found: Vec<_> = fixed.find(&key, 2).map(|r| r.unwrap().id.0[0]).collect().await;
        assert_eq!(found, [1, 2]);
        assert!(fixed.announce(&key, &peer(9)).await.is_ok());
        assert!(fixed.withdraw(&key, &PeerId([9; 32])).await.is_ok());
    }
}
