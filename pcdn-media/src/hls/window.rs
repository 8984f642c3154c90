//! The live window: what a reloaded playlist adds, what left it, and whether it can be believed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::fragment::{Cut, Listing};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::Url;

use super::model::{Media, Segment};
use super::name::Names;

/// Loads in a row that may be older than what is known (another edge of the CDN lags) before they are taken for a stream that
/// was set back.
const STALE_LOADS_MAX: u32 = 3;
/// Sequence numbers above this count as this, so that all segments after it can be counted on.
const SEQUENCE_MAX: u64 = 1 << 62;
/// Missing segments whose time is estimated; above that the numbers are no count of segments.
const MISSED_MAX: u64 = 10_000;

/// What a load did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Segments came or went.
    Changed,
    /// All as before.
    Same,
}

/// One segment in the window.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sequence: u64,
    id: SegmentId,
    start: Duration,
    duration: Duration,
    gap: bool,
}

/// The numbers of a segment and of its initialisation segment.
#[derive(Clone, Copy, Debug)]
struct Named {
    id: SegmentId,
    map: Option<SegmentId>,
}

/// How a load relates to the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// It goes on where the window is.
    Onward,
    /// It is older than the window.
    Stale,
    /// Segments between it and the window were lost.
    Lost,
    /// Numbers or names started anew: a restarted packager.
    Anew,
}

/// The window as last believed.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// In order of sequence numbers.
    entries: Vec<Entry>,
    /// What was listed and has not left, init segments too, in order of listing.
    listed: Vec<SegmentId>,
    /// Where the local timeline ends.
    end: Duration,
    /// The date at the local timeline's zero, if all segments so far were dated.
    zero: Option<i64>,
    stale_loads: u32,
    begun: bool,
}

impl Window {
    /// Takes a whole playlist in; pushes what came and then what left.
    pub(super) fn update(&mut self, media: Media, cuts: &mut VecDeque<Cut>) -> Change {
        let ids = named(&media);
        let relation = self.relation(&media, &ids);
        if relation == Relation::Stale && self.stale_loads < STALE_LOADS_MAX {
            self.stale_loads += 1;
            return Change::Same;
        }
        self.stale_loads = 0;
        let before = cuts.len();
        let breaks = matches!(relation, Relation::Anew | Relation::Lost | Relation::Stale);
        if matches!(relation, Relation::Anew | Relation::Stale) {
            // The same name may mean other bytes now, so everything is listed anew.
            cuts.extend(self.listed.drain(..).map(Cut::Retired));
            self.entries.clear();
        }
        self.tell_time(&media, &ids, relation);
        self.list(media.segments, &ids, breaks, cuts);
        if cuts.len() == before { Change::Same } else { Change::Changed }
    }

    fn relation(&self, media: &Media, ids: &[Named]) -> Relation {
        let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) else {
            return if self.begun { Relation::Lost } else { Relation::Onward };
        };
        let Some(count) = ids.len().checked_sub(1) else { return Relation::Stale };
        let (new_first, new_last) = (sequence(media, 0), sequence(media, count));
        if new_first > last.sequence {
            return if new_first == last.sequence.saturating_add(1) {
                Relation::Onward
            } else {
                Relation::Lost
            };
        }
        if new_last < first.sequence {
            // A lagging edge is behind by a few segments; what is behind by more than a window was set back.
            let behind = first.sequence - new_last;
            return if behind <= self.entries.len() as u64 { Relation::Stale } else { Relation::Anew };
        }
        let same_place = |entry: &Entry| {
            let index = usize::try_from(entry.sequence.checked_sub(new_first)?).ok()?;
            ids.get(index).map(|named| named.id == entry.id)
        };
        let agrees = self.entries.iter().all(|entry| same_place(entry).unwrap_or(true));
        match agrees {
            false => Relation::Anew,
            true if new_last < last.sequence => Relation::Stale,
            true => Relation::Onward,
        }
    }

    /// Puts the new window's segments on the local timeline.
    fn tell_time(&mut self, media: &Media, ids: &[Named], relation: Relation) {
        let known: HashMap<u64, Duration> = match relation {
            Relation::Onward => self.entries.iter().map(|entry| (entry.sequence, entry.start)).collect(),
            _ => HashMap::new(),
        };
        let floor = self.entries.first().map_or(0, |entry| entry.sequence);
        if let (Relation::Lost, Some(last)) = (relation, self.entries.last()) {
            let missed = sequence(media, 0).saturating_sub(last.sequence).saturating_sub(1);
            let missed = if missed > MISSED_MAX { 0 } else { missed as u32 };
            self.end = self.end.saturating_add(media.target_duration.saturating_mul(missed));
        }
        let first_date = media.segments.first().and_then(|segment| segment.program_date_time);
        self.zero = match (self.begun, self.zero) {
            (true, zero) => zero.filter(|_| media.dated),
            (false, _) => first_date.filter(|_| media.dated),
        };
        self.begun |= !ids.is_empty();
        let mut entries = Vec::with_capacity(ids.len());
        for (index, (segment, named)) in media.segments.iter().zip(ids).enumerate() {
            let sequence = sequence(media, index);
            // A longer window of another edge: what is before ours has passed.
            if sequence < floor && relation == Relation::Onward {
                continue;
            }
            let dated =
                self.zero.zip(segment.program_date_time).map(|(zero, date)| date.saturating_sub(zero));
            let start = known.get(&sequence).copied();
            let start = start.or(dated.map(|millis| Duration::from_millis(millis.max(0).unsigned_abs())));
            let start = start.unwrap_or(self.end);
            self.end = start.saturating_add(segment.duration);
            entries.push(Entry {
                sequence,
                id: named.id,
                start,
                duration: segment.duration,
                gap: segment.gap,
            });
        }
        self.entries = entries;
    }

    /// Lists what is new and retires what is gone.
    fn list(&mut self, segments: Vec<Segment>, ids: &[Named], breaks: bool, cuts: &mut VecDeque<Cut>) {
        let before: HashSet<SegmentId> = self.listed.iter().copied().collect();
        // Also the guard against one id for two contents: the first keeps it.
        let mut now: HashSet<SegmentId> = HashSet::with_capacity(self.entries.len());
        let mut listed_now = Vec::new();
        // A first load lists all its segments, later ones few.
        cuts.reserve(self.entries.len().saturating_sub(before.len()));
        let mut map_before = None;
        let skipped = segments.len() - self.entries.len();
        let mut broken = breaks;
        for ((segment, named), entry) in segments.into_iter().zip(ids).skip(skipped).zip(&self.entries) {
            let mut add = |listing: Listing| {
                let id = listing.id;
                if is_fetchable(&listing.url) && now.insert(id) && !before.contains(&id) {
                    listed_now.push(id);
                    cuts.push_back(Cut::Listed(listing));
                    return true;
                }
                false
            };
            if segment.gap {
                broken |= segment.discontinuity;
                continue;
            }
            let listing = |id, url: Url, range| Listing {
                id,
                rendition: 0,
                url,
                range,
                start: Some(entry.start),
                duration: None,
                init: false,
                discontinuity: false,
            };
            if let (Some(map), Some(id)) = (&segment.map, named.map)
                && map_before.replace(id) != Some(id)
            {
                add(Listing { init: true, start: None, ..listing(id, map.url.clone(), map.range) });
            }
            let listing = listing(named.id, segment.url, segment.range);
            let discontinuity = segment.discontinuity || broken;
            if add(Listing { duration: Some(segment.duration), discontinuity, ..listing }) {
                broken = false;
            }
        }
        self.listed.retain(|id| {
            let stays = now.contains(id);
            if !stays {
                cuts.push_back(Cut::Retired(*id));
            }
            stays
        });
        self.listed.extend(listed_now);
    }

    /// The segment that plays at `at`.
    pub(super) fn at(&self, at: Duration) -> Option<SegmentId> {
        let entry = self.entries.iter().rev().find(|entry| entry.start <= at)?;
        let plays = at - entry.start < entry.duration || self.end > at;
        (plays && !entry.gap).then_some(entry.id)
    }

    /// The segment `behind` the newest, which is 1; the oldest if the window is shorter.
    pub(super) fn behind(&self, behind: u32) -> Option<SegmentId> {
        let mut there = self.entries.iter().rev().filter(|entry| !entry.gap).map(|entry| entry.id);
        let back = behind.checked_sub(1)? as usize;
        there.clone().nth(back).or_else(|| there.next_back())
    }
}

/// Number of the segment at `index`.
fn sequence(media: &Media, index: usize) -> u64 {
    media.sequence(0).min(SEQUENCE_MAX) + index as u64
}

fn named(media: &Media) -> Vec<Named> {
    let names = Names::of(media);
    let mut all: Vec<Named> = Vec::with_capacity(media.segments.len());
    for (index, segment) in media.segments.iter().enumerate() {
        let Some(id) = names.segment(index) else { break };
        // Most segments have the map of the one before.
        let before = index.checked_sub(1).and_then(|before| media.segments[before].map.as_ref());
        let same = before.zip(segment.map.as_ref()).is_some_and(|(before, map)| Arc::ptr_eq(before, map));
        let map = if same { all[index - 1].map } else { names.map(index) };
        all.push(Named { id, map });
    }
    all
}

/// What a node can ask an origin for; `data:` and the like are the player's.
fn is_fetchable(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}
