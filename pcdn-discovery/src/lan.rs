//! Peers in the same local network, without anybody's help.
//!
//! A node says to a multicast group of its network (RFC 2365's local scope, time to live 1) in which swarms it is, and who
//! shares one answers it directly. So the viewers of one home or office find each other with no tracker and no DHT, at the
//! addresses they have there: what they exchange does not pass the router. The idea is that of BitTorrent's Local Service
//! Discovery (BEP 14); here a swarm is named by a salted hash, so that the network does not learn what is watched.
//!
//! | part | does |
//! |---|---|
//! | `wire` | the datagrams |
//! | `machine` | who is where; pure |
//! | `ether` | sockets and the task |
//!
//! IPv4 only: behind a home's router IPv6 hosts have addresses of the world, at which they reach each other directly anyway.

mod ether;
mod machine;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream;
use pcdn_core::discovery::{BoxStream, Discovery, DiscoveryError, Lease};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{PeerRecord, Reach, Scheme};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use ether::Ether;

/// The group and port of all nodes. Nobody else is known to use it.
pub const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 80, 67), 7_078);
/// An announcement renews itself; the caller's renewal brings new ports, if there are any.
const LEASE: Duration = Duration::from_secs(3_600);
/// How long a search waits for answers: a hundred times what a quiet network takes, a few times what busy Wi-Fi does.
const SEARCH: Duration = Duration::from_millis(150);
/// How often a search looks meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// Finds peers in the networks with private addresses that this machine is in. Stops when dropped.
///
/// `announce` and `withdraw` return at once. `find` yields who is known and who answers within 150 ms, and ends with the first
/// answers; it asks the network every 5 s at most. All of it costs one datagram a minute at rest.
#[derive(Debug)]
pub struct Lan {
    ether: Arc<Mutex<Ether>>,
    wake: Arc<tokio::sync::Notify>,
    task: AbortHandle,
}

impl Lan {
    /// For a node `me` whose transports listen at `bound`: on all addresses, or on one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`Unsupported`](io::ErrorKind::Unsupported) where no transport is reached from a private network, and what the system says
    /// of the sockets.
    pub fn start(me: PeerId, bound: &[IpAddr]) -> io::Result<Self> {
        let within = |ip: &IpAddr| ip.is_unspecified() || Reach::of(*ip) == Reach::Site;
        let bound: Vec<IpAddr> = bound.iter().copied().filter(within).collect();
        if bound.is_empty() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let ether = Arc::new(Mutex::new(Ether::open(me, bound)?));
        let wake = Arc::new(tokio::sync::Notify::new());
        let task = tokio::spawn(ether::run(ether.clone(), wake.clone())).abort_handle();
        Ok(Self { ether, wake, task })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Ether) -> T) -> T {
        let result = act(&mut lock(&self.ether));
        self.wake.notify_one();
        result
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(ether: &Mutex<Ether>) -> std::sync::MutexGuard<'_, Ether> {
    ether.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ports that are reached from the local network: those listened on there. What the world sees of this node is another matter.
fn ports(me: &PeerRecord) -> Vec<(Scheme, u16)> {
    let mut ports = Vec::new();
    for at in &me.addrs {
        let here = at.addr.ip().is_unspecified() || at.reach() == Reach::Site;
        let spoken = matches!(at.scheme, Scheme::Udp | Scheme::Quic);
        let port = (at.scheme, at.addr.port());
        if here && spoken && !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports
}

#[async_trait]
impl Discovery for Lan {
    async fn announce(&self, key: &SwarmKey, me: &PeerRecord) -> Result<Lease, DiscoveryError> {
        match self.with(|ether| ether.announce(key, ports(me))) {
            true => Ok(Lease { renew_in: LEASE }),
            false => Err(DiscoveryError::Refused {
                node: "the local network".into(),
                why: format!("{} swarms are announced already", machine::SWARMS_MAX),
            }),
        }
    }

    async fn withdraw(&self, key: &SwarmKey, _me: &PeerId) -> Result<(), DiscoveryError> {
        self.with(|ether| ether.withdraw(key));
        Ok(())
    }

    fn find(&self, key: &SwarmKey, want: usize) -> BoxStream<Result<PeerRecord, DiscoveryError>> {
        self.with(|ether| ether.ask(key));
        let (ether, key) = (self.ether.clone(), *key);
        let search = async move {
            let until = Instant::now() + SEARCH;
            loop {
                let found = lock(&ether).found(&key, want);
                let now = Instant::now();
                if !found.is_empty() || now >= until {
                    return stream::iter(found.into_iter().map(Ok));
                }
                sleep_until(now + LOOK).await;
            }
        };
        Box::pin(futures_util::FutureExt::flatten_stream(search))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ports_of_this_network_are_told() {
        let addrs = [
            "udp://198.51.100.1:31000",
            "udp://0.0.0.0:4000",
            "quic://192.168.1.2:4001",
            "udp://[::]:4000",
            "mem://0.0.0.0:1",
        ];
        let addrs = addrs.iter().map(|text| text.parse().unwrap()).collect();
        let me = PeerRecord { id: PeerId([1; 32]), addrs, seed: false };
        assert_eq!(ports(&me), [(Scheme::Udp, 4000), (Scheme::Quic, 4001)]);
    }

    #[tokio::test]
    async fn who_listens_on_loopback_or_in_the_world_says_nothing() {
        for ip in ["127.0.0.1", "::1", "198.51.100.1"] {
            let refused = Lan::start(PeerId([1; 32]), &[ip.parse().unwrap()]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        }
    }
}
