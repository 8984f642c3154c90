//! Of a peer's addresses the nearest kind is tried first, each further one a little later.

use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::id::Identity;
use pcdn_core::unit::Time;
use pcdn_transport::udp::{Endpoint, UdpConfig};

use crate::world::addr;

/// Where hellos go within half a second, and after how many milliseconds.
fn hellos(addrs: &[&str]) -> Vec<(u128, SocketAddr)> {
    let began = Time::from_secs(1);
    let mut node = Endpoint::new(Identity::from_secret([1; 32]), UdpConfig::default(), [2; 32]);
    let addrs: Vec<SocketAddr> = addrs.iter().map(|text| addr(text)).collect();
    node.connect(began, Identity::from_secret([3; 32]).peer_id(), &addrs);
    let (mut now, mut sent, mut out) = (began, Vec::new(), Vec::new());
    while now < began + Duration::from_millis(500) {
        node.wake(now);
        while let Some(transmit) = node.poll_transmit(now, 1, &mut out) {
            sent.push((now.since(began).as_millis(), transmit.to));
            out.clear();
        }
        now = node.next_wake().max(now + Duration::from_micros(1));
    }
    sent
}

#[test]
fn the_local_network_comes_before_ipv6_and_that_before_ipv4() {
    let [v4, v6, near] = ["198.51.100.1:4000", "[2001:db8::1]:4000", "192.168.1.2:4000"];
    let sent = hellos(&[v4, v6, near]);
    assert_eq!(sent[..3], [(0, addr(near)), (100, addr(v6)), (200, addr(v4))]);
    assert!(sent[3..].iter().all(|(ms, _)| *ms >= 400), "repeated only after all were tried: {sent:?}");
}

#[test]
fn addresses_of_one_kind_are_tried_at_once() {
    let two = ["198.51.100.1:4000", "198.51.100.2:4000"];
    assert_eq!(hellos(&two)[..2], [(0, addr(two[0])), (0, addr(two[1]))]);
}
