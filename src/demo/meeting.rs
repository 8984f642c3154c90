//! What the demo's viewers meet by.

use std::sync::Arc;

use pcdn_core::discovery::Discovery;
use pcdn_core::id::Identity;
#[cfg(feature = "kad")]
use pcdn_discovery::{Kad, KadConfig};
use pcdn_discovery::{Tracker, TrackerConfig, TrackerServer};

use super::{DemoDiscovery, DemoError, failed};

/// A tracker, or a DHT of the viewers and one node that they join by.
#[derive(Debug)]
pub(super) enum Meeting {
    Tracker(TrackerServer),
    #[cfg(feature = "kad")]
    Dht(Vec<Kad>),
}

impl Meeting {
    pub(super) async fn start(how: DemoDiscovery) -> Result<Self, DemoError> {
        match how {
            DemoDiscovery::Tracker => {
                let listen = ([127, 0, 0, 1], 0).into();
                let tracker = TrackerServer::bind(TrackerConfig { listen, ..TrackerConfig::default() }).await;
                Ok(Self::Tracker(tracker.map_err(failed("the tracker"))?))
            }
            #[cfg(feature = "kad")]
            DemoDiscovery::Dht => {
                let first = crate::identity::ephemeral().map_err(failed("the identity"))?;
                Ok(Self::Dht(vec![kad(&first, None).await?]))
            }
        }
    }

    /// How the viewer `me` finds the others.
    #[cfg_attr(not(feature = "kad"), expect(clippy::unused_async, unused_variables))]
    pub(super) async fn discovery(&mut self, me: &Identity) -> Result<Arc<dyn Discovery>, DemoError> {
        match self {
            Self::Tracker(server) => Ok(Arc::new(Tracker::at(&server.local_addr().to_string()))),
            #[cfg(feature = "kad")]
            Self::Dht(nodes) => {
                let own = kad(me, nodes.first()).await?;
                nodes.push(own.clone());
                Ok(Arc::new(own))
            }
        }
    }

    pub(super) async fn end(self) {
        match self {
            Self::Tracker(server) => server.shutdown().await,
            #[cfg(feature = "kad")]
            Self::Dht(nodes) => drop(futures_util::future::join_all(nodes.iter().map(Kad::leave)).await),
        }
    }
}

/// A DHT node on loopback that joins by `first`, or is the first.
#[cfg(feature = "kad")]
async fn kad(me: &Identity, first: Option<&Kad>) -> Result<Kad, DemoError> {
    let bootstrap = first.map_or_else(Vec::new, Kad::contacts);
    let config = KadConfig {
        listen: vec![([127, 0, 0, 1], 0).into()],
        private: true,
        bootstrap,
        ..KadConfig::default()
    };
    Kad::join(me, config).await.map_err(failed("the DHT"))
}
