//! Reports: one packet for all that a peer holds.

use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::peer::Scheme;

use super::tests::{Rig, find};
use super::*;
use crate::tracker::wire::report::{Change, ENTRIES_MAX, Entry};
use crate::tracker::wire::{Ports, Report, Reported, Traits};

fn entry(n: u8, change: Change) -> Entry {
    Entry { hash: InfoHash([n; 20]), change, have: n, position: None }
}

fn report(peer: u8, entries: Vec<Entry>) -> Request {
    let mut ports = Ports::default();
    ports.push(Scheme::Udp, 4000);
    Request::Report(Report { peer: PeerId([peer; 32]), ports, traits: Traits::default(), entries })
}

fn hold(all: impl IntoIterator<Item = u8>) -> Vec<Entry> {
    all.into_iter().map(|n| entry(n, Change::Hold)).collect()
}

impl Rig {
    fn report(&mut self, entries: Vec<Entry>) -> Reported {
        match self.ask("192.0.2.1:5000", &report(1, entries)) {
            Some(Answer::Reported(reported)) => reported,
            other => panic!("{other:?}"),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.service.table().expire(self.now);
    }
}

#[test]
fn one_small_packet_renews_everything_a_peer_holds() {
    let mut rig = Rig::new(None);
    let reported = rig.report(hold(1..=40));
    assert_eq!(reported.held, 40);
    assert_eq!(reported.observed.to_string(), "192.0.2.1:5000");
    assert!((54..=66).contains(&reported.interval_s) && reported.soonest_s < reported.interval_s);
    for _ in 0..10 {
        rig.pass(60);
        assert_eq!(rig.report(Vec::new()).held, 40);
    }
    assert_eq!(rig.service.table().entries(), 40);
    rig.pass(200);
    assert_eq!(rig.service.table().entries(), 0, "a silent peer is forgotten in all its swarms");
    assert_eq!(rig.report(Vec::new()).held, 0, "and says everything again when it returns");
    assert_eq!(rig.report(hold(1..=40)).held, 40);
}

#[test]
fn what_is_left_is_left_and_what_changed_is_changed() {
    let mut rig = Rig::new(None);
    rig.report(hold([7, 8, 9]));
    let seed = Entry { have: u8::MAX, ..entry(7, Change::Hold) };
    assert_eq!(rig.report(vec![seed, entry(8, Change::Left), entry(99, Change::Left)]).held, 2);
    assert_eq!(rig.service.table().entries(), 2);
    let Some(Answer::Found { peers, counts, .. }) = rig.ask("192.0.2.2:5000", &find()) else {
        panic!("is answered")
    };
    assert_eq!((counts.seeds, peers.len()), (1, 1));
    assert!(peers[0].seed);
}

#[test]
fn a_tracker_that_lost_entries_says_so_by_their_number() {
    let mut rig = Rig::new(None);
    rig.report(hold(1..=5));
    // Their place was taken, or the tracker was told otherwise.
    for n in 1..=2 {
        rig.service.table().store().remove(
            &InfoHash([n; 20]),
            &PeerId([1; 32]),
            "192.0.2.1".parse().unwrap(),
        );
    }
    rig.pass(60);
    assert_eq!(rig.report(Vec::new()).held, 3);
    assert_eq!(rig.report(hold(1..=5)).held, 5, "the peer says everything again");
}

#[test]
fn somebody_else_reports_for_nobody() {
    let mut rig = Rig::new(None);
    rig.report(hold([7]));
    let left = report(1, vec![entry(7, Change::Left)]);
    rig.ask("192.0.2.66:5000", &left).unwrap();
    assert_eq!(rig.service.table().entries(), 1);
}

#[test]
fn reports_are_bounded_and_cost_by_what_they_hold() {
    let mut rig = Rig::new(None);
    let full = report(1, hold(1..=ENTRIES_MAX as u8));
    let crate::tracker::wire::Request::Report(mut over) = full.clone() else { panic!("is one") };
    over.entries.push(entry(200, Change::Hold));
    assert!(matches!(rig.ask("192.0.2.1:5000", &Request::Report(over)), Some(Answer::Refused { .. })));
    assert!(matches!(rig.ask("192.0.2.1:5000", &full), Some(Answer::Reported(_))));
    let mut frame = crate::tracker::wire::encode_request(1, 1, &full, None);
    assert!(frame.len() <= DATAGRAM_MAX);
    frame.truncate(frame.len() - 1);
    assert!(decode_request(&frame, None).is_err());
}

#[test]
fn nobody_makes_himself_a_superpeer() {
    let mut rig = Rig::new(None);
    let Request::Report(mut it) = report(1, hold([7])) else { panic!("is one") };
    it.traits.superpeer = true;
    rig.ask("192.0.2.1:5000", &Request::Report(it)).unwrap();
    let superpeer = |rig: &mut Rig| match rig.ask("192.0.2.2:5000", &find()) {
        Some(Answer::Found { peers, .. }) => peers[0].traits.superpeer,
        other => panic!("{other:?}"),
    };
    assert!(!superpeer(&mut rig));
    rig.service.table().prefer(&[(PeerId([1; 32]), 1.0)]);
    // What it already holds is renewed, and says so from now on.
    rig.pass(60);
    assert_eq!(rig.report(Vec::new()).duties, Reported::SUPERPEER);
    assert!(superpeer(&mut rig));
    rig.service.table().prefer(&[]);
    rig.pass(60);
    assert_eq!(rig.report(Vec::new()).duties, 0);
    assert!(!superpeer(&mut rig), "a fallen one is handed out like everybody");
}
