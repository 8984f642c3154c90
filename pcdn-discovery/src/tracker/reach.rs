//! From where an address can be reached, and so to whom it is worth telling.
//!
//! A tracker tells a private address only to askers of the same kind, and a client believes one only from a tracker of the
//! same kind: a far tracker must not make nodes knock at doors inside their own network.

use std::net::{IpAddr, SocketAddr};

use pcdn_core::peer::PeerRecord;
pub(crate) use pcdn_core::peer::Reach;

use super::wire::PORT_MIN;

/// What a node may believe of the records of the tracker at `tracker`: addresses that reach as far as the tracker's own, that
/// one host can have, with a port from 1024 up. Records without any are dropped.
pub(crate) fn believable(mut records: Vec<PeerRecord>, tracker: IpAddr) -> Vec<PeerRecord> {
    let far = Reach::of(tracker);
    for record in &mut records {
        record.addrs.retain(|addr| dialable(addr.addr) && Reach::of(addr.addr.ip()) >= far);
        record.addrs.truncate(PeerRecord::ADDRS_MAX);
    }
    records.retain(|record| !record.addrs.is_empty());
    records
}

fn dialable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() >= PORT_MIN && !(ip.is_unspecified() || ip.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcdn_core::id::PeerId;

    fn believed(tracker: &str) -> Vec<String> {
        let addrs = [
            "127.0.0.1:4000",
            "192.168.0.7:4000",
            "198.51.100.7:4000",
            "[2001:db8::7]:4000",
            "[fe80::7]:4000",
            "198.51.100.7:53",
            "224.0.0.1:4000",
            "0.0.0.0:4000",
        ];
        let addrs = addrs.iter().map(|text| text.parse().unwrap()).collect();
        let records = believable(
            vec![PeerRecord { id: PeerId([1; 32]), addrs, seed: false }],
            tracker.parse().unwrap(),
        );
        records.iter().flat_map(|record| &record.addrs).map(|addr| addr.addr.to_string()).collect()
    }

    #[test]
    fn a_tracker_is_believed_as_far_as_it_is_near() {
        assert_eq!(believed("203.0.113.1"), ["198.51.100.7:4000", "[2001:db8::7]:4000"]);
        assert_eq!(believed("10.0.0.1").len(), 4);
        assert_eq!(believed("127.0.0.1").len(), 5);
        assert_eq!(believed("::ffff:127.0.0.1").len(), 5);
    }

    #[test]
    fn a_peer_without_a_believable_address_is_no_peer() {
        let addrs = vec!["127.0.0.1:4000".parse().unwrap()];
        let record = PeerRecord { id: PeerId([1; 32]), addrs, seed: false };
        assert!(believable(vec![record], "203.0.113.1".parse().unwrap()).is_empty());
    }
}
