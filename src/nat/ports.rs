//! Ports that the home's router opens for this node: PCP, NAT-PMP or UPnP, whichever it knows.
//!
//! A router that opens one makes this node reachable by everybody, whatever its NAT does. Only the port is believed: the address
//! beside it is the one that trackers see. A mapping is asked for again after half its life, and given back at the end.
//!
//! UPnP is spoken here and not by a library: those kept today bring an HTTP client under the Mozilla licence or read answers
//! without a bound.

mod lease;
mod pcp;
mod upnp;

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pcdn_transport::udp::Meetings;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use lease::Lease;
pub use pcp::Pcp;
pub use upnp::Upnp;

/// How long a port is asked for: it is open so long at most after this node has died.
pub const LIFETIME: Duration = Duration::from_secs(3600);
/// How long one router may take to answer.
const MAP_MAX: Duration = Duration::from_secs(8);
/// How long giving a port back may take: a node ends within seconds.
const UNMAP_MAX: Duration = Duration::from_secs(1);

/// A way to have a router open a port.
#[async_trait]
pub trait PortMapper: Send + Sync + Debug + 'static {
    /// Opens a UDP port to `inside`, or keeps it open; `outside` is the one it had or should have. Cancel-safe.
    ///
    /// # Errors
    /// Why it is not open.
    async fn map(&self, inside: SocketAddr, outside: u16, lifetime: Duration) -> Result<Mapped, PortError>;
    /// Closes it. Best effort: it ends by itself.
    async fn unmap(&self, inside: SocketAddr, outside: u16);
}

/// An open port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// On the router's outside.
    pub port: u16,
    /// For so long from now.
    pub lifetime: Duration,
}

/// Why no port is open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// No router answers.
    #[error("no router answers")]
    Silent,
    /// It answers, and does not.
    #[error("the router refuses: {0}")]
    Refused(String),
}

/// The open port of one socket, kept open.
#[derive(Debug)]
pub struct Ports {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Ports {
    /// Has the first of `mappers` that can open a port for the socket of `meetings`, which is told of it.
    pub fn keep(meetings: Meetings, mappers: Vec<Arc<dyn PortMapper>>) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(meetings, mappers, stop.clone()));
        Self { stop, task }
    }

    /// Gives the port back, within about a second.
    pub async fn give_back(self) {
        self.stop.cancel();
        let _ = timeout(UNMAP_MAX, self.task).await;
    }
}

/// What this machine's router may know, if it has one on a private network: PCP with NAT-PMP, then UPnP.
pub fn standard() -> Vec<Arc<dyn PortMapper>> {
    vec![Arc::new(Pcp::default()), Arc::new(Upnp::default())]
}

async fn keep(meetings: Meetings, mappers: Vec<Arc<dyn PortMapper>>, stop: CancellationToken) {
    let mut lease = Lease::default();
    loop {
        let inside = super::private_addresses(meetings.local()).into_iter().find(SocketAddr::is_ipv4);
        let Some(inside) = inside else { return };
        let opened = async {
            let wanted = lease.port().unwrap_or(inside.port());
            open(&mappers, inside, wanted).await
        };
        let Some(opened) = stop.run_until_cancelled(opened).await else { return };
        let pause = lease.renew(opened.as_ref().map(|(_, mapped)| *mapped));
        if !meetings.mapped(lease.port()) {
            return;
        }
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            if let Some((mapper, mapped)) = opened {
                mapper.unmap(inside, mapped.port).await;
            }
            return;
        }
    }
}

type Opened = (Arc<dyn PortMapper>, Mapped);

async fn open(mappers: &[Arc<dyn PortMapper>], inside: SocketAddr, outside: u16) -> Option<Opened> {
    for mapper in mappers {
        match timeout(MAP_MAX, mapper.map(inside, outside, LIFETIME)).await {
            Ok(Ok(mapped)) => {
                tracing::debug!(?mapper, port = mapped.port, "the router has opened a port");
                return Some((mapper.clone(), mapped));
            }
            Ok(Err(error)) => tracing::debug!(?mapper, %error, "no port opened"),
            Err(_) => tracing::debug!(?mapper, "no port opened: the router is too slow"),
        }
    }
    None
}

/// The router of this machine's network: by the system's routes where they can be read, else the first address of the network,
/// as nearly every home has it.
fn gateway(inside: Ipv4Addr) -> Ipv4Addr {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    default_route(&routes).unwrap_or_else(|| {
        let [a, b, c, _] = inside.octets();
        Ipv4Addr::new(a, b, c, 1)
    })
}

/// Of Linux's table: interface, destination, gateway, flags, … with addresses in hexadecimal, lowest byte first.
fn default_route(routes: &str) -> Option<Ipv4Addr> {
    const HAS_GATEWAY: u32 = 2;
    routes.lines().find_map(|line| {
        let mut fields = line.split_whitespace().skip(1).map(|field| u32::from_str_radix(field, 16));
        let (to, by, flags) = (fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?);
        (to == 0 && flags & HAS_GATEWAY != 0).then(|| Ipv4Addr::from(by.swap_bytes()))
    })
}

fn v4(addr: SocketAddr) -> Result<Ipv4Addr, PortError> {
    match addr.ip() {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(_) => Err(PortError::Silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_read() {
        let routes = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                      eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                      eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n";
        assert_eq!(default_route(routes), Some(Ipv4Addr::new(192, 168, 1, 1)));
        for none in ["", "eth0", "eth0 00000000 0101A8C0 0001", "eth0 zz 01 02"] {
            assert_eq!(default_route(none), None);
        }
    }
}
