//! DHT nodes on loopback.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt as _;
use pcdn_core::discovery::{Discovery as _, DiscoveryError};
use pcdn_core::id::{Identity, PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_discovery::{Contact, Kad, KadConfig, KadStatus, Serve};

pub(crate) const KEY: SwarmKey = SwarmKey([0x5a; 32]);

/// It tells that something hangs, not how fast it is: two cores carry a hundred nodes and whatever else runs, and who is not let in at
/// first tries again after 5, 10, 20 and 40 s.
const PATIENCE: Duration = Duration::from_secs(240);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

pub(crate) fn identity(n: u32) -> Identity {
    let mut secret = [7; 32];
    secret[..4].copy_from_slice(&n.to_be_bytes());
    Identity::from_secret(secret)
}

pub(crate) fn config(bootstrap: &[Contact]) -> KadConfig {
    KadConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        bootstrap: bootstrap.to_vec(),
        private: true,
        network: "test".into(),
        enough: 200,
        ..KadConfig::default()
    }
}

/// A node, and what it would announce: a transport on any host, at a port of its own.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) kad: Kad,
    pub(crate) record: PeerRecord,
}

impl Node {
    pub(crate) async fn join(n: u32, config: KadConfig) -> Self {
        let me = identity(n);
        let port = 20_000 + n;
        let addrs = vec![format!("udp://0.0.0.0:{port}").parse().unwrap()];
        let record = PeerRecord { id: me.peer_id(), addrs, seed: false };
        Self { kad: Kad::join(&me, config).await.unwrap(), record }
    }

    /// The first of a network.
    pub(crate) async fn first(n: u32) -> Self {
        Self::join(n, config(&[])).await
    }

    pub(crate) fn contacts(&self) -> Vec<Contact> {
        self.kad.contacts()
    }

    /// Again after a time-out, as a node does: a loaded machine can take longer than a query may. Who knows nobody yet is refused at
    /// once; nodes that asked again at once took the time that others' handshakes needed, and some announced nothing for a minute.
    pub(crate) async fn announce(&self) {
        let told = async {
            while self.kad.announce(&KEY, &self.record).await.is_err() {
                self.until("it can ask somebody", |status| status.connected > 0).await;
            }
        };
        within("announcing", told).await;
    }

    pub(crate) async fn until(&self, what: &str, right: impl FnMut(&KadStatus) -> bool) {
        let came = tokio::time::timeout(PATIENCE, self.kad.wait_until(right)).await;
        assert!(matches!(came, Ok(true)), "{what}: {came:?}, {:?}", self.kad.status());
    }

    pub(crate) async fn find(&self, want: usize) -> Vec<Result<PeerRecord, DiscoveryError>> {
        within("a look-up", self.kad.find(&KEY, want).collect()).await
    }

    /// Who is found, each with an address on loopback at its own port. Again after a time-out, as announcements are.
    pub(crate) async fn found(&self) -> BTreeSet<PeerId> {
        let answered = async {
            loop {
                if let Ok(found) = self.find(200).await.into_iter().collect::<Result<Vec<_>, _>>() {
                    return found;
                }
            }
        };
        let found = within("a look-up that is answered", answered).await.into_iter();
        found
            .map(|record| {
                assert!(record.addrs.iter().all(|addr| addr.addr.ip().is_loopback()), "{record:?}");
                record.id
            })
            .collect()
    }
}

impl Node {
    /// Looks until exactly `others` are found: storing has no answer, so a record may still be under way.
    pub(crate) async fn finds(&self, others: &BTreeSet<PeerId>) {
        let right = async { while self.found().await != *others {} };
        within("finding exactly the others", right).await;
    }
}

/// All of them, some at once: one waits for the network more than it computes.
pub(crate) async fn announce_all(nodes: &[Node]) {
    let announcing = nodes.iter().cloned().map(|node| async move { node.announce().await });
    futures_util::stream::iter(announcing).buffer_unordered(8).collect::<Vec<()>>().await;
}

/// `count` nodes of one network that all serve, the first one first.
pub(crate) async fn network(count: u32) -> Vec<Node> {
    let first = Node::first(0).await;
    let contacts = first.contacts();
    let others = (1..count).map(|n| Node::join(n, config(&contacts)));
    let mut nodes: Vec<Node> = futures_util::stream::iter(others).buffered(8).collect().await;
    nodes.insert(0, first);
    for node in &nodes {
        node.until("every node on loopback can be reached", |status| status.serves).await;
    }
    nodes
}

/// Never serves: as behind a NAT.
pub(crate) fn unreachable(bootstrap: &[Contact]) -> KadConfig {
    KadConfig { serve: Serve::Never, ..config(bootstrap) }
}
