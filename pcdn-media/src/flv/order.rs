//! Which slice comes next, from what several sources tell.
//!
//! Slices have no numbers in a row: a source tells them in the order it cut them. [`Order`] merges such tellings into one
//! chain. Content may repeat, so a number may stand in it several times; a reader remembers its [`Place`], not the number.
//!
//! Sources that lost bytes name a slice differently, or make one of two. At each place the slice told by most sources
//! stands, the first told among equals; where this node cuts the stream itself, its own cut does.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use pcdn_core::layout::SegmentId;

/// Slices in the chain at most: a minute of slices of a quarter of a second.
pub const CHAIN_MAX: usize = 256;
/// Sources listened to at most; those of further ones are not heard.
pub const SOURCES_MAX: usize = 64;
/// Places a source may be behind or ahead of where it was expected, after it lost or merged slices.
const STRAY_MAX: usize = 24;
/// Different slices told for one place, at most.
const RIVALS_MAX: usize = 4;
/// More than all sources have together.
const OWN_VOTES: u32 = 1 << 16;

/// A slice as a source tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number.
    pub id: SegmentId,
    /// The slice before it, if the source knows.
    pub before: Option<SegmentId>,
    /// How long it is.
    pub duration: Duration,
}

/// A place in the chain: later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// The merged chain.
#[derive(Debug, Default)]
pub struct Order {
    /// What was told for each place: the first is what stands.
    chain: VecDeque<Vec<Rival>>,
    /// The place of the chain's first entry.
    first: u64,
    /// Where each source is: the place of what it told last, and what that was.
    sources: BTreeMap<u64, (u64, SegmentId)>,
}

#[derive(Clone, Debug)]
struct Rival {
    told: Told,
    votes: u32,
}

impl Order {
    /// Takes what `source` tells next. False if it cannot be placed: it follows nothing that is known.
    pub fn add(&mut self, source: u64, told: Told) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() == SOURCES_MAX {
            return false;
        }
        let Some(place) = self.place_of(source, &told) else { return false };
        self.put(source, place, told, 1);
        true
    }

    /// Takes what this node itself cut. What continues nothing that is known comes after all that is: a connection begins at the
    /// live edge. What others told between it and what this node cut before it is the same stretch of the stream, cut otherwise:
    /// nothing stands there any more.
    pub fn lead(&mut self, source: u64, told: Told) {
        let end = self.first + self.chain.len() as u64;
        let place = self.place_of(source, &told).unwrap_or(end);
        if let Some((last, id)) = self.sources.get(&source)
            && told.before == Some(*id)
        {
            let between = (*last + 1).max(self.first)..place.max(self.first);
            between.for_each(|at| self.chain[(at - self.first) as usize].clear());
        }
        self.put(source, place, told, OWN_VOTES);
    }

    /// Forgets a source that left; its votes stay.
    pub fn forget(&mut self, source: u64) {
        self.sources.remove(&source);
    }

    /// The latest place of slice `id`.
    pub fn find(&self, id: SegmentId) -> Option<Place> {
        let at = (0..self.chain.len()).rev().find(|at| self.stands(*at, id))?;
        Some(Place(self.first + at as u64))
    }

    /// The slice after `place`, and its place. After a place that left the chain comes the first that is left.
    pub fn after(&self, place: Place) -> Option<(Place, Told)> {
        let next = (place.0 + 1).max(self.first);
        let rest = self.chain.iter().enumerate().skip(usize::try_from(next - self.first).ok()?);
        rest.filter_map(|standing| self.standing(standing)).next()
    }

    /// The slice so many before the newest; 1 is the newest.
    pub fn behind(&self, behind: usize) -> Option<(Place, Told)> {
        let newest = self.chain.iter().enumerate().rev();
        newest.filter_map(|standing| self.standing(standing)).nth(behind.max(1) - 1)
    }

    fn standing(&self, (at, rivals): (usize, &Vec<Rival>)) -> Option<(Place, Told)> {
        Some((Place(self.first + at as u64), rivals.first()?.told))
    }

    /// Number of places.
    pub fn len(&self) -> usize {
        self.chain.len()
    }

    /// Whether nothing was told yet.
    pub fn is_empty(&self) -> bool {
        self.chain.is_empty()
    }

    fn place_of(&self, source: u64, told: &Told) -> Option<u64> {
        if self.chain.is_empty() {
            return Some(self.first);
        }
        match self.sources.get(&source) {
            Some((last, id)) if told.before == Some(*id) && *last >= self.first => {
                self.expected(self.caught_up(*last, *id) + 1, told)
            }
            // It lost something, tells for the first time, or of the past: its slice is known, or the one before it is.
            _ => self.find(told.id).map(|place| place.0).or_else(|| Some(self.find(told.before?)?.0 + 1)),
        }
    }

    /// Where a source is whose last slice `id` was put at `last`: at the place where that slice stands since, if it stands near.
    fn caught_up(&self, last: u64, id: SegmentId) -> u64 {
        let at = (last - self.first) as usize;
        let stands = |at: &usize| self.chain[*at].first().is_some_and(|rival| rival.told.id == id);
        let near = at..self.chain.len().min(at + STRAY_MAX);
        near.into_iter().find(stands).map_or(last, |at| self.first + at as u64)
    }

    /// The place of a slice that should stand at `next`: there, or near if the source strayed; else there, as a rival.
    fn expected(&self, next: u64, told: &Told) -> Option<u64> {
        let next = (next - self.first) as usize;
        let ahead = (next..self.chain.len().min(next + STRAY_MAX)).find(|at| self.stands(*at, told.id));
        Some(self.first + ahead.unwrap_or(next) as u64)
    }

    fn put(&mut self, source: u64, place: u64, told: Told, votes: u32) {
        if place == self.first + self.chain.len() as u64 {
            self.chain.push_back(Vec::new());
        }
        self.vote(place, told, votes);
        self.sources.insert(source, (place, told.id));
        while self.chain.len() > CHAIN_MAX {
            self.chain.pop_front();
            self.first += 1;
        }
    }

    fn stands(&self, at: usize, id: SegmentId) -> bool {
        self.chain[at].iter().any(|rival| rival.told.id == id)
    }

    fn vote(&mut self, place: u64, told: Told, votes: u32) {
        let rivals = &mut self.chain[(place - self.first) as usize];
        match rivals.iter().position(|rival| rival.told.id == told.id) {
            Some(at) => rivals[at].votes = rivals[at].votes.saturating_add(votes),
            None if rivals.len() < RIVALS_MAX => rivals.push(Rival { told, votes }),
            None if votes == OWN_VOTES => rivals[RIVALS_MAX - 1] = Rival { told, votes },
            None => {}
        }
        // Stable: the first told stays ahead of its equals.
        rivals.sort_by_key(|rival| std::cmp::Reverse(rival.votes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(id: u64, before: u64) -> Told {
        let before = (before > 0).then_some(SegmentId(before));
        Told { id: SegmentId(id), before, duration: Duration::from_secs(1) }
    }

    fn tell(order: &mut Order, source: u64, ids: &[u64]) {
        let before = std::iter::once(0).chain(ids.iter().copied());
        ids.iter().zip(before).for_each(|(id, before)| assert!(order.add(source, told(*id, before)), "{id}"));
    }

    fn chain(order: &Order) -> Vec<u64> {
        let Some(mut at) = (1..=order.len()).rev().find_map(|behind| order.behind(behind)) else {
            return Vec::new();
        };
        let mut ids = vec![at.1.id.0];
        while let Some(next) = order.after(at.0) {
            ids.push(next.1.id.0);
            at = next;
        }
        ids
    }

    #[test]
    fn sources_that_joined_at_different_times_make_one_chain() {
        let mut order = Order::default();
        tell(&mut order, 1, &[1, 2, 3, 4]);
        tell(&mut order, 2, &[3, 4, 5, 6]);
        assert!(order.add(3, told(7, 6)), "a new source whose slice before is known");
        assert!(!order.add(4, told(90, 89)), "nothing known");
        assert_eq!(chain(&order), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(order.behind(1).unwrap().1.id.0, 7);
        assert_eq!(order.behind(9), None);
    }

    /// A node that turned to the origin again once began a new chain, and what was still on its way to it was not played.
    #[test]
    fn what_this_node_cuts_comes_after_what_is_known_and_stands() {
        let mut order = Order::default();
        tell(&mut order, 1, &[1, 2, 3]);
        let own = [(90, 0), (91, 90), (92, 91), (5, 92), (6, 5)];
        for (id, before) in own {
            order.lead(9, told(id, before));
        }
        tell(&mut order, 2, &[3, 4]);
        for (id, before) in [(4, 3), (5, 4), (6, 5)] {
            assert!(order.add(1, told(id, before)));
        }
        assert_eq!(chain(&order), [1, 2, 3, 90, 91, 92, 5, 6]);
        assert!(order.add(1, told(7, 6)));
        assert_eq!(chain(&order).last(), Some(&7));
    }

    /// A node that turned to the origin cut the same stretch into fewer slices than its neighbours, until it cut as they do. Its player
    /// was given theirs, too, which it had seen.
    #[test]
    fn what_others_cut_otherwise_in_the_same_stretch_is_passed() {
        let mut order = Order::default();
        tell(&mut order, 1, &[1, 2, 3, 4, 5, 6]);
        for (id, before) in [(90, 2), (91, 90), (5, 91)] {
            order.lead(9, told(id, before));
        }
        assert_eq!(chain(&order), [1, 2, 90, 91, 5, 6]);
        assert!(order.add(1, told(7, 6)));
        order.lead(9, told(6, 5));
        assert!(order.add(1, told(8, 7)));
        assert_eq!(chain(&order), [1, 2, 90, 91, 5, 6, 7, 8]);
        let mut merged = Order::default();
        tell(&mut merged, 1, &[1, 2, 3, 4, 5, 6]);
        for (id, before) in [(90, 2), (6, 90)] {
            merged.lead(9, told(id, before));
        }
        assert_eq!(chain(&merged), [1, 2, 90, 6]);
        assert_eq!(merged.behind(2).unwrap().1.id.0, 90);
    }

    /// What neighbours told stood beside slices that only this node cut, and later slices of theirs were put there, too: behind
    /// what had been played, where nobody looked for them.
    #[test]
    fn who_tells_of_a_slice_that_stands_later_is_there() {
        let mut order = Order::default();
        tell(&mut order, 1, &[1, 2, 3]);
        for (id, before) in [(90, 0), (91, 90), (92, 91)] {
            order.lead(9, told(id, before));
        }
        assert!(order.add(1, told(4, 3)) && order.add(1, told(5, 4)));
        order.lead(9, told(5, 92));
        assert!(order.add(1, told(6, 5)));
        assert_eq!(chain(&order), [1, 2, 3, 90, 91, 92, 5, 6]);
    }

    #[test]
    fn repeated_content_keeps_its_places() {
        let mut order = Order::default();
        tell(&mut order, 1, &[5, 5, 5, 6, 5]);
        assert_eq!(chain(&order), [5, 5, 5, 6, 5]);
        let place = order.find(SegmentId(6)).unwrap();
        assert_eq!(order.after(place).unwrap().1.id.0, 5);
    }

    #[test]
    fn the_slice_of_most_sources_stands_and_a_merged_one_is_passed() {
        let mut order = Order::default();
        tell(&mut order, 1, &[1, 20, 3, 4]);
        tell(&mut order, 2, &[1, 2, 3, 4]);
        assert_eq!(chain(&order), [1, 20, 3, 4], "the first told stands");
        tell(&mut order, 3, &[1, 2, 3, 4]);
        assert_eq!(chain(&order), [1, 2, 3, 4]);
        tell(&mut order, 4, &[1, 23, 4, 5]);
        assert_eq!(chain(&order), [1, 2, 3, 4, 5]);
    }

    /// A newcomer fetches some slices to go back to, and tells of them. They were once put behind the newest, and played again.
    #[test]
    fn what_a_source_tells_of_the_past_stays_there() {
        let mut order = Order::default();
        let ids: Vec<u64> = (1..=20).collect();
        tell(&mut order, 1, &ids);
        tell(&mut order, 2, &ids[16..]);
        for old in [5, 6, 3] {
            assert!(order.add(2, told(old, old - 1)));
        }
        assert!(order.add(2, told(21, 20)));
        assert_eq!(chain(&order), (1..=21).collect::<Vec<_>>());
    }

    #[test]
    fn it_stays_bounded() {
        let mut order = Order::default();
        let ids: Vec<u64> = (1..1000).collect();
        tell(&mut order, 1, &ids);
        (2..1000).for_each(|source| {
            order.add(source, told(999, 998));
        });
        assert_eq!((order.len(), order.sources.len()), (CHAIN_MAX, SOURCES_MAX));
        assert_eq!(order.after(Place(0)).unwrap().1.id.0, 1000 - CHAIN_MAX as u64, "the oldest left");
    }
}
