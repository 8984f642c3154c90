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
//! | `family` | the versions of IP |
//! | `machine` | who is where; pure |
//! | `place` | where this machine speaks, and the sockets |
//! | `ether` | the task |
//! | `probe` | whether it can be heard |
//!
//! In IPv6 the group has the scope of the link, and hosts speak from an address that lasts: where a router gives them addresses of
//! the world they need no help to reach each other, but to find each other. What comes from another prefix than the own is not
//! listened to.

mod ether;
mod family;
mod machine;
mod place;
mod probe;
mod wire;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
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
use family::{Family, Ports};
use place::Bound;
pub use probe::{Heard, probe};

/// The group and port of all nodes. Nobody else is known to use it.
pub const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 80, 67), 7_078);
/// The same in IPv6: of the link, transient (RFC 4291, section 2.7), of the numbers that anybody may take (RFC 3307, section
/// 4.3).
pub const GROUP_V6: (Ipv6Addr, u16) = (Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0xf063, 0x646e), 7_078);
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
        let bound = Bound::of(bound).ok_or(io::ErrorKind::Unsupported)?;
        let groups = place::groups(&bound)?;
        let ether = Ether::open(me, groups, Box::new(move || bound.places()))?;
        Ok(Self::with_ether(ether))
    }

    fn with_ether(ether: Ether) -> Self {
        let ether = Arc::new(Mutex::new(ether));
        let wake = Arc::new(tokio::sync::Notify::new());
        let task = tokio::spawn(ether::run(ether.clone(), wake.clone())).abort_handle();
        Self { ether, wake, task }
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
fn ports(me: &PeerRecord) -> Ports {
    let mut ports = Ports::default();
    let put = |ports: &mut Vec<(Scheme, u16)>, port| {
        if !ports.contains(&port) {
            ports.push(port);
        }
    };
    for at in &me.addrs {
        let (ip, port) = (at.addr.ip(), (at.scheme, at.addr.port()));
        let here = ip.is_unspecified() || at.reach() == Reach::Site;
        if !here || !matches!(at.scheme, Scheme::Udp | Scheme::Quic) {
            continue;
        }
        if Family::of(ip) == Family::V6 {
            put(&mut ports.v6, port);
        }
        // Who listens everywhere in IPv6 does so in IPv4.
        if Family::of(ip) == Family::V4 || ip.is_unspecified() {
            put(&mut ports.v4, port);
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
            "quic://[fd00::2]:4002",
            "udp://[2001:db8::2]:31000",
            "mem://0.0.0.0:1",
        ];
        let addrs = addrs.iter().map(|text| text.parse().unwrap()).collect();
        let me = PeerRecord { id: PeerId([1; 32]), addrs, seed: false };
        let (v4, v6) = (
            vec![(Scheme::Udp, 4000), (Scheme::Quic, 4001)],
            vec![(Scheme::Udp, 4000), (Scheme::Quic, 4002)],
        );
        assert_eq!(ports(&me), Ports { v4, v6 });
    }

    /// In the first network of this machine that carries IPv6's multicast; loopback does not.
    #[tokio::test]
    async fn two_on_one_machine_find_each_other_over_ipv6() {
        let mut here = None;
        for place in Bound::of(&[Ipv6Addr::UNSPECIFIED.into()]).unwrap().places() {
            if place.ip.is_ipv6() && here.is_none() && probe::hear(place).await.is_ok() {
                here = Some(place);
            }
        }
        let Some(here) = here else {
            println!("this machine is in no network with IPv6");
            return;
        };
        let node = |n: u8| {
            let group = (Family::V6, place::group(Family::V6).unwrap());
            Lan::with_ether(Ether::open(PeerId([n; 32]), vec![group], Box::new(move || vec![here])).unwrap())
        };
        let record = |n: u8| {
            let addrs = vec![format!("udp://[::]:400{n}").parse().unwrap()];
            PeerRecord { id: PeerId([n; 32]), addrs, seed: false }
        };
        // Of its own, so that nothing else on this machine takes part.
        let mut key = SwarmKey([7; 32]);
        getrandom::fill(&mut key.0).unwrap();
        let (a, b) = (node(1), node(2));
        a.announce(&key, &record(1)).await.unwrap();
        b.announce(&key, &record(2)).await.unwrap();
        for (node, other) in [(&a, 2), (&b, 1)] {
            // A search ends after a moment, which a busy machine may take to answer; the answer is there for the next one.
            let search = async {
                loop {
                    let found: Vec<_> = futures_util::StreamExt::collect(node.find(&key, 9)).await;
                    if !found.is_empty() {
                        return found;
                    }
                }
            };
            let found = pcdn_core::testing::within("the other is found", search).await;
            let found: Vec<PeerRecord> = found.into_iter().map(Result::unwrap).collect();
            let addrs = vec![format!("udp://[{}]:400{other}", here.ip).parse().unwrap()];
            assert_eq!(found, [PeerRecord { id: PeerId([other; 32]), addrs, seed: false }]);
        }
    }

    #[tokio::test]
    async fn who_listens_on_loopback_or_in_the_world_says_nothing() {
        for ip in ["127.0.0.1", "::1", "198.51.100.1"] {
            let refused = Lan::start(PeerId([1; 32]), &[ip.parse().unwrap()]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::Unsupported);
        }
    }
}
