//! What BitTorrent clients send and get, byte for byte.

use std::net::IpAddr;

use pcdn_core::id::SwarmKey;

use super::tests::{Rig, announce};
use super::*;
use crate::tracker::wire::bep15::{ANNOUNCE_BYTES, Plain, encode_announce, plain_id};
use crate::tracker::wire::{Event, InfoHash};

const HASH: InfoHash = InfoHash([7; 20]);

fn plain(n: u16) -> Plain {
    let (port, peer) = (6000 + n, plain_id([b'x'; 20], 6000 + n));
    Plain { hash: HASH, peer, downloaded: 0, left: 5, event: Event::Started, want: 30, port }
}

impl Rig {
    /// Sends a datagram of BEP 15 and returns the answer as it is.
    fn raw(&mut self, from: &str, datagram: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.service.datagram(self.now, &mut self.dice, from.parse().unwrap(), datagram, &mut out);
        assert!(out.len() <= AMPLIFICATION_MAX * datagram.len(), "amplification");
        out
    }

    fn plain(&mut self, from: &str, it: &Plain) -> Vec<u8> {
        let connection = self.connect(from);
        self.raw(from, &encode_announce(connection, 9, it))
    }

    fn scrape(&mut self, from: &str, hashes: &[InfoHash]) -> Vec<u8> {
        let mut datagram = self.connect(from).to_be_bytes().to_vec();
        datagram.extend([0, 0, 0, 2, 0, 0, 0, 9]);
        hashes.iter().for_each(|hash| datagram.extend(hash.0));
        self.raw(from, &datagram)
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect()
}

#[test]
fn an_announce_of_a_client_is_98_bytes_as_bep_15_has_them() {
    let it = Plain { downloaded: 1, left: 2, event: Event::Completed, ..plain(0) };
    let mut golden = [0x0102_0304_0506_0708u64.to_be_bytes().to_vec(), vec![0, 0, 0, 1, 0, 0, 0, 9]].concat();
    golden.extend([7; 20]);
    golden.extend([b'x'; 20]);
    golden.extend([1u64, 2, 0].iter().flat_map(|n| n.to_be_bytes()));
    golden.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30, 0x17, 0x70]);
    assert_eq!(golden.len(), ANNOUNCE_BYTES);
    assert_eq!(encode_announce(0x0102_0304_0506_0708, 9, &it), golden);
    assert_eq!(bep15::decode_announce(&golden).unwrap(), it);
    // "As many as you like", and options behind (BEP 41).
    golden[92..96].copy_from_slice(&(-1i32).to_be_bytes());
    golden.extend(b"\x01\x02\x06/annou\x02\x0bnce?token=x\x00junk");
    assert_eq!(bep15::decode_announce(&golden).unwrap().want, bep15::WANT_DEFAULT);
    assert_eq!(bep15::announce_url(&golden).unwrap(), b"/announce?token=x");
}

#[test]
fn clients_of_one_family_find_each_other_in_it() {
    let mut rig = Rig::new(None);
    for (from, stride, mine) in [
        ("192.0.2.1:5000", 6, &[192, 0, 2, 1, 0x17, 0x71][..]),
        ("[2001:db8::1]:5000", 18, &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x17, 0x71]),
    ] {
        rig.plain(from, &plain(1));
        let other = from.replace(":5000", ":5001");
        let answer = rig.plain(&other, &Plain { left: 0, ..plain(2) });
        let [action, txn, interval, leechers, seeders] = words(&answer[..20])[..] else { panic!("20 bytes") };
        assert_eq!((action, txn), (1, 9));
        assert!((54..=66).contains(&interval));
        assert!((1..=2).contains(&leechers) && (1..=2).contains(&seeders));
        assert_eq!(&answer[20..], mine, "one peer of {stride} bytes: the other");
        assert_eq!(mine.len(), stride);
        // A v4-mapped source is a v4 client.
        let mapped = rig.plain("[::ffff:192.0.2.9]:5000", &Plain { event: Event::None, ..plain(3) });
        assert_eq!((mapped.len() - 20) % 6, 0);
        rig.plain("[::ffff:192.0.2.9]:5000", &Plain { event: Event::Stopped, ..plain(3) });
    }
}

#[test]
fn no_answer_to_a_client_is_longer_than_thrice_its_request() {
    let mut rig = Rig::new(None);
    for n in 0..100u16 {
        rig.plain(&format!("[2001:db8:{n}::1]:5000"), &plain(n));
        rig.plain(&format!("198.51.{n}.1:5000"), &plain(n));
    }
    let many = Plain { want: u16::MAX, ..plain(200) };
    assert_eq!(rig.plain("198.51.200.1:5000", &many).len(), 20 + 45 * 6);
    assert_eq!(rig.plain("[2001:db8:200::1]:5000", &many).len(), 20 + 15 * 18);
}

#[test]
fn a_scrape_counts_seeds_downloads_and_others() {
    let mut rig = Rig::new(None);
    rig.plain("192.0.2.1:5000", &plain(1));
    rig.plain("192.0.2.2:5000", &Plain { left: 0, event: Event::Completed, ..plain(2) });
    rig.plain("[2001:db8::1]:5000", &plain(3));
    let answer = rig.scrape("192.0.2.9:5000", &[HASH, InfoHash([1; 20])]);
    assert_eq!(words(&answer), [2, 9, 1, 1, 2, 0, 0, 0]);
    assert_eq!(rig.scrape("192.0.2.9:5000", &[HASH; 100]).len(), 8 + 70 * 12);
}

#[test]
fn native_peers_are_told_to_clients_but_nameless_clients_to_nobody_who_dials_by_key() {
    let mut rig = Rig::new(None);
    rig.ask("192.0.2.1:5000", &announce(1)).unwrap();
    let hash = InfoHash::of(&SwarmKey([7; 32]));
    let answer = rig.plain("192.0.2.2:5000", &Plain { hash, ..plain(2) });
    assert_eq!(&answer[20..], [192, 0, 2, 1, 0x0f, 0xa0]);
    let Some(Answer::Announced { peers, counts, .. }) = rig.ask("192.0.2.3:5000", &announce(3)) else {
        panic!("is answered")
    };
    assert_eq!(counts.others, 3);
    assert_eq!(
        peers.iter().map(|listed| listed.ip).collect::<Vec<IpAddr>>(),
        ["192.0.2.1".parse::<IpAddr>().unwrap()]
    );
}

#[test]
fn a_client_without_a_connection_id_or_a_port_is_told_so_briefly() {
    let mut rig = Rig::new(None);
    let mut cut = encode_announce(1, 9, &plain(1));
    for datagram in [cut.clone(), cut.split_off(16)] {
        let answer = rig.raw("192.0.2.1:5000", &datagram);
        assert!(answer.len() <= datagram.len());
        assert!(answer.is_empty() || words(&answer[..8]) == [3, 9]);
    }
    let answer = rig.plain("192.0.2.1:5000", &Plain { port: 53, ..plain(1) });
    assert_eq!(words(&answer[..8]), [3, 9]);
    let connection = rig.connect("192.0.2.1:5000");
    let short = &encode_announce(connection, 9, &plain(1))[..97];
    assert_eq!(words(&rig.raw("192.0.2.1:5000", short)[..8]), [3, 9]);
    assert_eq!(rig.service.table().entries(), 0);
}

#[test]
fn a_private_tracker_serves_no_client_that_cannot_prove_anything() {
    let mut rig = Rig::new(Secret::new(b"sixteen bytes or more of secret"));
    assert_eq!(words(&rig.plain("192.0.2.1:5000", &plain(1))[..8]), [3, 9]);
    assert_eq!(words(&rig.scrape("192.0.2.1:5000", &[HASH])[..8]), [3, 9]);
    assert_eq!(rig.service.table().entries(), 0);
}

proptest::proptest! {
    #[test]
    fn any_datagram_of_a_client_is_survived(action in 1u8..=2, tail in proptest::collection::vec(0u8.., 0..300)) {
        let mut rig = Rig::new(None);
        let mut datagram = rig.connect("192.0.2.1:5000").to_be_bytes().to_vec();
        datagram.extend([0, 0, 0, action, 0, 0, 0, 9]);
        datagram.extend(tail);
        rig.raw("192.0.2.1:5000", &datagram);
        let _ = bep15::announce_url(&datagram);
    }
}
