//! What a playlist lists, in order, and which of it a player's request means. Pure.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use pcdn_core::fragment::{Listing, Rendition};
use pcdn_core::layout::SegmentId;
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

/// Segments that left the playlist are remembered for so long in media time: a viewer who pauses or goes back finds them.
const KEPT: Duration = Duration::from_secs(600);
/// Of a live stream whose segments tell no duration, so many.
const KEPT_MAX: usize = 2_000;

/// A listed segment's place: its rendition, and its number in the order of listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) rendition: u32,
    pub(crate) order: u64,
}

/// The listed segments of all renditions of one playlist.
#[derive(Debug, Default)]
pub(crate) struct Index {
    listings: BTreeMap<Place, Listing>,
    places: HashMap<(u32, SegmentId), Place>,
    /// By URL without query, because tokens change from load to load.
    by_path: HashMap<String, Vec<Place>>,
    left: VecDeque<Place>,
    left_span: Duration,
    renditions: Vec<Rendition>,
    next: u64,
    ended: bool,
}

impl Index {
    pub(crate) fn add_rendition(&mut self, rendition: Rendition) {
        self.renditions.push(rendition);
    }

    pub(crate) fn renditions(&self) -> &[Rendition] {
        &self.renditions
    }

    /// Adds what a playlist lists; `None` if it is known.
    pub(crate) fn add(&mut self, listing: Listing) -> Option<Place> {
        let name = (listing.rendition, listing.id);
        if self.places.contains_key(&name) {
            return None;
        }
        let place = Place { rendition: listing.rendition, order: self.next };
        self.next += 1;
        self.places.insert(name, place);
        self.by_path.entry(path_of(&listing.url)).or_default().push(place);
        self.listings.insert(place, listing);
        Some(place)
    }

    /// A segment is not listed any more; gives those that are to be forgotten now.
    pub(crate) fn leave(&mut self, id: SegmentId) -> Vec<Listing> {
        let renditions = self.renditions.len().max(1) as u32;
        let places = (0..renditions).filter_map(|rendition| self.places.get(&(rendition, id)).copied());
        for place in places.collect::<Vec<_>>() {
            self.left_span += self.span(place);
            self.left.push_back(place);
        }
        let mut gone = Vec::new();
        while self.left.len() > KEPT_MAX || self.left_span > KEPT * renditions {
            let Some(place) = self.left.pop_front() else { break };
            self.left_span = self.left_span.saturating_sub(self.span(place));
            gone.extend(self.remove(place));
        }
        gone
    }

    fn span(&self, place: Place) -> Duration {
        self.listings.get(&place).and_then(|listing| listing.duration).unwrap_or_default()
    }

    fn remove(&mut self, place: Place) -> Option<Listing> {
        let listing = self.listings.remove(&place)?;
        self.places.remove(&(listing.rendition, listing.id));
        let path = path_of(&listing.url);
        if let Some(places) = self.by_path.get_mut(&path) {
            places.retain(|other| *other != place);
            if places.is_empty() {
                self.by_path.remove(&path);
            }
        }
        Some(listing)
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether nothing more will be listed.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn get(&self, place: Place) -> Option<&Listing> {
        self.listings.get(&place)
    }

    /// The media segments listed last, the newest first.
    pub(crate) fn newest_ids(&self, count: usize) -> impl Iterator<Item = SegmentId> {
        let media = self.listings.values().rev().filter(|listing| !listing.init);
        media.take(count).map(|listing| listing.id)
    }

    /// All of a rendition, in the order of listing.
    pub(crate) fn of(&self, rendition: u32) -> impl Iterator<Item = &Listing> {
        let (first, end) = (Place { rendition, order: 0 }, Place { rendition, order: u64::MAX });
        self.listings.range(first..end).map(|(_, listing)| listing)
    }

    /// What follows `place` in its rendition.
    pub(crate) fn after(&self, place: Place) -> impl Iterator<Item = (Place, &Listing)> {
        let next = Place { order: place.order + 1, ..place };
        let end = Place { rendition: place.rendition + 1, order: 0 };
        self.listings.range(next..end).map(|(place, listing)| (*place, listing))
    }

    /// The segment that a request for `url`, and `range` of it, means: the one with just this URL, else the only one at its
    /// path; and of several byte ranges of one URL the one that holds the range asked for.
    pub(crate) fn find(&self, url: &Url, range: Option<ByteRange>) -> Option<Place> {
        let places = self.by_path.get(&path_of(url))?;
        let listed = |place: &&Place| self.listings.get(place);
        let same = |place: &&Place| listed(place).is_some_and(|listing| listing.url == *url);
        let same: Vec<Place> = places.iter().filter(same).copied().collect();
        let candidates = if same.is_empty() { places.clone() } else { same };
        let holds = |place: &&Place| {
            let part = listed(place).and_then(|listing| listing.range);
            part.is_none_or(|part| range.is_some_and(|range| part.intersect(&range) == Some(range)))
        };
        let mut fitting = candidates.iter().filter(holds);
        let first = *fitting.next()?;
        // The same bytes in several renditions are the same bytes; different segments at one path cannot be told apart.
        let id = |place: Place| self.listings.get(&place).map(|listing| listing.id);
        fitting.all(|other| id(*other) == id(first)).then_some(first)
    }
}

fn path_of(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(id: u64, url: &str, range: Option<(u64, u64)>) -> Listing {
        Listing {
            id: SegmentId(id),
            rendition: 0,
            url: url.parse().unwrap(),
            range: range.and_then(|(start, end)| ByteRange::new(start, end)),
            start: None,
            duration: Some(Duration::from_secs(60)),
            init: false,
            discontinuity: false,
        }
    }

    fn found(index: &Index, url: &str, range: Option<(u64, u64)>) -> Option<u64> {
        let range = range.and_then(|(start, end)| ByteRange::new(start, end));
        let place = index.find(&url.parse().unwrap(), range)?;
        index.get(place).map(|listing| listing.id.0)
    }

    #[test]
    fn requests_find_their_segment_whatever_the_token() {
        let mut index = Index::default();
        index.add(listing(1, "http://a/1.ts?token=x", None));
        index.add(listing(2, "http://a/?id=2", None));
        index.add(listing(3, "http://a/?id=3", None));
        index.add(listing(4, "http://a/one.mp4", Some((0, 100))));
        index.add(listing(5, "http://a/one.mp4", Some((100, 300))));
        assert_eq!(found(&index, "http://a/1.ts?token=y", None), Some(1));
        assert_eq!(found(&index, "http://a/?id=3", None), Some(3));
        assert_eq!(found(&index, "http://a/?id=9", None), None);
        assert_eq!(found(&index, "http://a/one.mp4", Some((100, 300))), Some(5));
        assert_eq!(found(&index, "http://a/one.mp4", Some((150, 160))), Some(5));
        assert_eq!(found(&index, "http://a/one.mp4", Some((50, 160))), None);
        assert_eq!(found(&index, "http://a/one.mp4", None), None);
        assert_eq!(found(&index, "http://b/1.ts", None), None);
    }

    #[test]
    fn what_left_is_kept_ten_minutes_and_then_forgotten() {
        let mut index = Index::default();
        (0..20).for_each(|i| _ = index.add(listing(i, &format!("http://a/{i}.ts"), None)));
        let gone: Vec<u64> = (0..12).flat_map(|i| index.leave(SegmentId(i))).map(|gone| gone.id.0).collect();
        assert_eq!(gone, [0, 1]);
        assert_eq!(found(&index, "http://a/1.ts", None), None);
        assert_eq!(found(&index, "http://a/2.ts", None), Some(2));
    }
}
