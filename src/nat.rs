//! Tells a node's transports by which trackers they meet peers behind NATs, and has its router open their ports.

pub mod ports;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pcdn_core::peer::Reach;
use pcdn_transport::udp::Meetings;
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

/// Names are resolved again so often: a tracker that moves is found within minutes.
const RESOLVE_EVERY: Duration = Duration::from_secs(300);
/// And so often as long as none resolves.
const RESOLVE_AGAIN: Duration = Duration::from_secs(10);
/// How long one name may take.
const RESOLVE_MAX: Duration = Duration::from_secs(5);
/// Addresses of one name that are used, one a family.
const ADDRS_MAX: usize = 4;

/// Meets peers by way of `trackers`, texts such as `HOST:PORT` and `udp://HOST:PORT`, until the transport is closed. The HTTP
/// port of a tracker is its UDP port as well. Must be called inside a tokio runtime.
pub fn meet_by(meetings: Meetings, trackers: Vec<String>) {
    if trackers.is_empty() {
        return;
    }
    tokio::spawn(async move {
        loop {
            let found = resolve(&trackers, meetings.local().is_ipv4()).await;
            let pause = if found.is_empty() { RESOLVE_AGAIN } else { RESOLVE_EVERY };
            if !found.is_empty() && !meetings.at(found, private_addresses(meetings.local())) {
                return;
            }
            sleep(pause).await;
        }
    });
}

/// Addresses of the family of the socket, the first of each tracker.
async fn resolve(trackers: &[String], v4: bool) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for tracker in trackers {
        match timeout(RESOLVE_MAX, lookup_host(host_and_port(tracker))).await {
            Ok(Ok(addrs)) => {
                found.extend(addrs.take(ADDRS_MAX).find(|addr| addr.is_ipv4() == v4));
            }
            Ok(Err(error)) => tracing::debug!(%tracker, %error, "tracker name does not resolve"),
            Err(_) => tracing::debug!(%tracker, "resolving the tracker's name takes too long"),
        }
    }
    found
}

/// Of a tracker's text.
pub(crate) fn host_and_port(tracker: &str) -> &str {
    let rest = tracker.split_once("://").map_or(tracker, |(_, rest)| rest);
    rest.strip_suffix('/').unwrap_or(rest)
}

/// Where a socket bound to `local` is within its own network, if that is a private one.
pub(crate) fn private_addresses(local: SocketAddr) -> Vec<SocketAddr> {
    let all: Vec<IpAddr> = if local.ip().is_unspecified() {
        // Without them only peers in the same private network are met by a detour.
        let interfaces = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
        let first = first_address(local.ip());
        first
            .into_iter()
            .chain(interfaces.map(|interface| interface.ip()).filter(|ip| Some(*ip) != first))
            .collect()
    } else {
        vec![local.ip()]
    };
    let private = |ip: &IpAddr| Reach::of(*ip) == Reach::Site && ip.is_ipv4() == local.is_ipv4();
    all.into_iter().filter(private).map(|ip| SocketAddr::new(ip, local.port())).collect()
}

/// The address from which the system sends to the world, and not that of some bridge. Nothing is sent.
fn first_address(any: IpAddr) -> Option<IpAddr> {
    let far = if any.is_ipv4() { "192.0.2.1:9" } else { "[2001:db8::1]:9" };
    let socket = std::net::UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
    socket.connect(far).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_are_read_as_they_are_written() {
        for text in ["t.example:7070", "udp://t.example:7070", "http://t.example:7070/"] {
            assert_eq!(host_and_port(text), "t.example:7070");
        }
    }

    #[test]
    fn only_private_addresses_are_told() {
        let of = |text: &str| private_addresses(text.parse().unwrap());
        assert_eq!(of("192.168.1.2:4000"), ["192.168.1.2:4000".parse().unwrap()]);
        assert!(of("198.51.100.1:4000").is_empty() && of("127.0.0.1:4000").is_empty());
    }
}
