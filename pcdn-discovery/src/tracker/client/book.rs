//! What this node has told a tracker with reports, and what it has yet to tell. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_core::unit::Time;

use super::SWARMS_MAX;
use crate::tracker::wire::report::{Change, ENTRIES_MAX, Entry};
use crate::tracker::wire::{InfoHash, Ports, Report, Reported, Traits};

/// Swarms left that the tracker has yet to hear of. Beyond, its count differs and all is said again.
const LEFT_MAX: usize = 256;
/// Reports without answer in a row until no more are tried: a lost one says nothing, several say that the tracker knows none.
const TRIES: u32 = 2;

/// One tracker's book.
#[derive(Debug, Default)]
pub(super) struct Book {
    held: BTreeMap<InfoHash, Held>,
    left: Vec<InfoHash>,
    /// When the last report was answered, and how long it holds.
    last: Option<(Time, Duration)>,
    /// Whether all was said again since the numbers last agreed: once is enough, until the next interval.
    said_again: bool,
    unanswered: u32,
}

#[derive(Debug)]
struct Held {
    by: PeerId,
    seed: bool,
    /// Whether the tracker has answered a report that said so.
    said: bool,
}

impl Book {
    /// `me` takes part in `key`, as a seed or not.
    pub(super) fn hold(&mut self, key: &SwarmKey, me: &PeerRecord) {
        let hash = InfoHash::of(key);
        let new = Held { by: me.id, seed: me.seed, said: false };
        let full = self.held.len() >= SWARMS_MAX;
        match self.held.get_mut(&hash) {
            Some(held) if held.by == me.id && held.seed == me.seed => {}
            Some(held) => *held = new,
            None if full => {}
            None => _ = self.held.insert(hash, new),
        }
        self.left.retain(|left| *left != hash);
    }

    /// It has left.
    pub(super) fn leave(&mut self, key: &SwarmKey) {
        let hash = InfoHash::of(key);
        if self.held.remove(&hash).is_some_and(|held| held.said) && self.left.len() < LEFT_MAX {
            self.left.push(hash);
        }
    }

    /// How much longer the last report holds for `key`; `None` if it is time for another, or something is yet to be said.
    pub(super) fn lease(&self, now: Time, key: &SwarmKey) -> Option<Duration> {
        let (at, interval) = self.last?;
        let passed = now.since(at);
        (self.holds(key) && self.is_all_said() && passed < interval / 2)
            .then(|| interval.saturating_sub(passed))
    }

    /// Whether `key` is in it: a full book takes no more.
    pub(super) fn holds(&self, key: &SwarmKey) -> bool {
        self.held.contains_key(&InfoHash::of(key))
    }

    fn is_all_said(&self) -> bool {
        self.left.is_empty() && self.held.values().all(|held| held.said)
    }

    /// The next report, of `most` entries. `None` if reports are not taken, or `me` is not who holds.
    pub(super) fn next(&self, me: &PeerRecord, traits: Traits, most: usize) -> Option<Report> {
        if self.unanswered >= TRIES || self.held.values().any(|held| held.by != me.id) {
            return None;
        }
        let hold = self.held.iter().filter(|(_, held)| !held.said).map(|(hash, held)| {
            let have = if held.seed { u8::MAX } else { 0 };
            Entry { hash: *hash, change: Change::Hold, have, position: None }
        });
        let left =
            self.left.iter().map(|hash| Entry { hash: *hash, change: Change::Left, have: 0, position: None });
        let entries = left.chain(hold).take(most.min(ENTRIES_MAX)).collect();
        Some(Report { peer: me.id, ports: Ports::of(me), traits, entries })
    }

    /// Whether the tracker takes reports for certain.
    pub(super) fn is_answered(&self) -> bool {
        self.last.is_some()
    }

    /// The tracker has taken `report`.
    pub(super) fn answered(&mut self, now: Time, report: &Report, answer: &Reported) {
        self.unanswered = 0;
        for entry in &report.entries {
            if let Some(held) = self.held.get_mut(&entry.hash) {
                held.said = true;
            }
            self.left.retain(|left| *left != entry.hash);
        }
        if self.is_all_said() {
            let agreed = answer.held as usize == self.held.len();
            if !agreed && !self.said_again {
                // One of the two forgot something.
                self.held.values_mut().for_each(|held| held.said = false);
            }
            self.said_again = !agreed && !self.said_again;
        }
        self.last = Some((now, Duration::from_secs(answer.interval_s.into())));
    }

    /// A report got no answer, or a refusal.
    pub(super) fn unanswered(&mut self) {
        self.unanswered = self.unanswered.saturating_add(1);
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me(n: u8) -> PeerRecord {
        PeerRecord { id: PeerId([n; 32]), addrs: vec!["udp://192.0.2.1:4000".parse().unwrap()], seed: false }
    }

    fn key(n: u8) -> SwarmKey {
        SwarmKey([n; 32])
    }

    fn answer(held: u32) -> Reported {
        let observed = "192.0.2.1:4000".parse().unwrap();
        Reported { interval_s: 60, soonest_s: 5, held, observed, duties: 0, list_version: 0 }
    }

    /// Reports until nothing is left to say; the number of entries of each.
    fn talk(book: &mut Book, now: Time, held: u32) -> Vec<usize> {
        let mut sizes = Vec::new();
        while book.lease(now, &key(1)).is_none() && sizes.len() < 20 {
            let report = book.next(&me(1), Traits::default(), ENTRIES_MAX).unwrap();
            sizes.push(report.entries.len());
            book.answered(now, &report, &answer(held));
        }
        sizes
    }

    #[test]
    fn a_report_says_what_is_new_and_then_nothing() {
        let mut book = Book::default();
        (1..=100).for_each(|n| book.hold(&key(n), &me(1)));
        assert_eq!(talk(&mut book, Time::ZERO, 100), [40, 40, 20]);
        assert_eq!(book.lease(Time::from_secs(20), &key(7)), Some(Duration::from_secs(40)));
        assert_eq!(
            talk(&mut book, Time::from_secs(31), 100),
            [0],
            "half an interval later one small one renews all"
        );
        book.leave(&key(7));
        book.hold(&key(8), &PeerRecord { seed: true, ..me(1) });
        assert_eq!(talk(&mut book, Time::from_secs(70), 99), [2]);
    }

    #[test]
    fn when_the_numbers_differ_everything_is_said_once_more_and_no_more() {
        let mut book = Book::default();
        (1..=30).for_each(|n| book.hold(&key(n), &me(1)));
        talk(&mut book, Time::ZERO, 30);
        assert_eq!(
            talk(&mut book, Time::from_secs(40), 0),
            [0, 30],
            "a tracker that will not hold them is not pressed"
        );
        assert_eq!(talk(&mut book, Time::from_secs(80), 30), [0]);
    }

    #[test]
    fn a_tracker_that_does_not_answer_reports_is_not_asked_again_and_again() {
        let mut book = Book::default();
        book.hold(&key(1), &me(1));
        for _ in 0..TRIES {
            assert!(book.next(&me(1), Traits::default(), 9).is_some());
            book.unanswered();
        }
        assert!(book.next(&me(1), Traits::default(), 9).is_none());
    }

    #[test]
    fn two_nodes_behind_one_handle_do_not_report_for_each_other() {
        let mut book = Book::default();
        book.hold(&key(1), &me(1));
        book.hold(&key(2), &me(2));
        assert!(
            book.next(&me(1), Traits::default(), 9).is_none()
                && book.next(&me(2), Traits::default(), 9).is_none()
        );
    }
}
