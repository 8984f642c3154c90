//! One open presentation: manifests come in, listings go out.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use pcdn_core::fragment::{Cut, FragmentError, Listing, Need, Part, Rendition, Seek, Slicing};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::Url;
use pcdn_core::unit::Time;

use super::WallClock;
use super::mpd::Mpd;
use super::track::resolve;
use super::walk::{Scene, Walk};

/// How soon a manifest that may change at any moment is asked for again if it does not say how long its segments are.
const RELOAD_DEFAULT: Duration = Duration::from_secs(2);
/// No manifest is asked for more often than this, whatever it says: segments shorter than a second exist, and what a
/// reload late by one of them costs is one segment fetched without having been listed.
const RELOAD_MIN: Duration = Duration::from_secs(1);
/// Even a manifest that never changes is looked at now and then: it may have ended.
const RELOAD_MAX: Duration = Duration::from_secs(3600);

/// State of one presentation. Manifests may be [supplied](Slicing::supply) at any time, also ones nobody asked for: a gateway
/// passes on what players fetch.
#[derive(Debug)]
pub(super) struct DashSlicing {
    clock: Option<WallClock>,
    /// Where the manifest is, and when it is wanted next.
    next: Option<(Url, Time)>,
    /// Path of the first manifest. Later ones may come from elsewhere (`Location`), and name segments as it did.
    home: Option<String>,
    walk: Option<Walk>,
    /// Cut before the walk goes on.
    ready: VecDeque<Cut>,
    /// Numbers of the renditions of the manifest; a number is not used again.
    renditions: BTreeMap<String, u32>,
    renditions_seen: u32,
    /// Segments, each with the renditions that share it (headers, mostly).
    listed: HashMap<(SegmentId, u32), Known>,
    /// Media segments by start, for seeking.
    by_start: BTreeMap<(u32, Duration), SegmentId>,
    /// Counts manifests, to find what is gone.
    generation: u64,
    /// How many of `listed` the manifest of this generation has listed so far.
    present: usize,
    ended: bool,
}

#[derive(Debug)]
struct Known {
    generation: u64,
    start: Option<Duration>,
}

impl DashSlicing {
    pub(super) fn new(url: Url, clock: Option<WallClock>) -> Self {
        Self {
            clock,
            next: Some((url, Time::ZERO)),
            home: None,
            walk: None,
            ready: VecDeque::new(),
            renditions: BTreeMap::new(),
            renditions_seen: 0,
            listed: HashMap::new(),
            by_start: BTreeMap::new(),
            generation: 0,
            present: 0,
            ended: false,
        }
    }

    fn document(&mut self, now: Time, url: Url, text: &[u8]) -> Result<(), FragmentError> {
        let mpd = Mpd::parse(text)?;
        let location = mpd.locations.first().and_then(|text| resolve(&url, text));
        let mut scene = Scene::new(mpd, url.clone(), self.clock.map(|clock| clock.unix_ms(now)))?;
        scene.names.seen_from(self.home.get_or_insert_with(|| url.path().to_owned()));
        self.next = scene.mpd.dynamic.then(|| (location.unwrap_or(url), now + reload_after(&scene)));
        let renditions = self.number_renditions(&scene);
        (self.generation, self.present) = (self.generation + 1, 0);
        self.walk = Some(Walk::new(scene, renditions));
        Ok(())
    }

    /// Numbers the renditions that are new and forgets those that are gone. Gives each representation's.
    fn number_renditions(&mut self, scene: &Scene) -> Vec<u32> {
        let mut now = BTreeMap::new();
        let mut numbers = Vec::new();
        for (spot, id) in scene.ids() {
            let known = now.get(&id).or_else(|| self.renditions.get(&id)).copied();
            let number = known.unwrap_or_else(|| {
                let index = self.renditions_seen;
                self.renditions_seen += 1;
                let set = &scene.mpd.periods[spot.period].sets[spot.set];
                let it = &set.representations[spot.representation];
                let (own, common) = (&it.common, &set.common);
                self.ready.push_back(Cut::Rendition(Rendition {
                    index,
                    name: id.clone(),
                    url: None,
                    bandwidth: it.bandwidth,
                    codecs: own.codecs.clone().or_else(|| common.codecs.clone()),
                    resolution: own.width.or(common.width).zip(own.height.or(common.height)),
                }));
                index
            });
            now.insert(id, number);
            numbers.push(number);
        }
        self.renditions = now;
        numbers
    }

    /// Notes that a segment is listed; whether it was not before.
    fn is_new(&mut self, listing: &Listing) -> bool {
        let (generation, start) = (self.generation, listing.start.filter(|_| !listing.init));
        match self.listed.entry((listing.id, listing.rendition)) {
            Entry::Occupied(mut known) => {
                let before = std::mem::replace(&mut known.get_mut().generation, generation);
                self.present += usize::from(before != generation);
                return false;
            }
            Entry::Vacant(free) => free.insert(Known { generation, start }),
        };
        self.present += 1;
        if let Some(start) = start {
            self.by_start.insert((listing.rendition, start), listing.id);
        }
        true
    }

    /// The whole manifest was walked: what it did not list is gone.
    fn walked(&mut self) {
        if self.present < self.listed.len() {
            self.retire();
        }
        if self.next.is_none() {
            self.ready.push_back(Cut::End);
        }
    }

    fn retire(&mut self) {
        let generation = self.generation;
        let mut gone: Vec<_> = self.listed.extract_if(|_, known| known.generation < generation).collect();
        gone.sort_unstable_by_key(|(key, _)| *key);
        let is_gone = |id: &SegmentId| gone.binary_search_by_key(id, |((id, _), _)| *id).is_ok();
        let shared: BTreeSet<SegmentId> = self.listed.keys().map(|(id, _)| *id).filter(is_gone).collect();
        for ((id, rendition), known) in gone {
            if let Some(start) = known.start
                && self.by_start.get(&(rendition, start)) == Some(&id)
            {
                self.by_start.remove(&(rendition, start));
            }
            if !shared.contains(&id) && self.ready.back() != Some(&Cut::Retired(id)) {
                self.ready.push_back(Cut::Retired(id));
            }
        }
    }

    /// The rendition by which positions are found: the first that has segments with a start.
    fn leading(&self) -> Option<u32> {
        self.by_start.first_key_value().map(|((rendition, _), _)| *rendition)
    }
}

impl Slicing for DashSlicing {
    fn need(&self) -> Need {
        if let Some((url, range)) = self.walk.as_ref().and_then(Walk::need) {
            return Need::Range { url, range };
        }
        match &self.next {
            Some((url, at)) => Need::Document { url: url.clone(), at: *at },
            None => Need::Nothing,
        }
    }

    fn supply(&mut self, now: Time, part: Part) -> Result<(), FragmentError> {
        if self.ended {
            return Ok(());
        }
        match part {
            Part::Document(url, text) => self.document(now, url, &text),
            Part::Range(url, range, bytes) => match &mut self.walk {
                Some(walk) => walk.feed(&url, range, &bytes),
                None => Ok(()),
            },
            Part::End => {
                (self.walk, self.next) = (None, None);
                self.ready.push_back(Cut::End);
                Ok(())
            }
            Part::Head(..) | Part::Bytes(_) => Ok(()),
        }
    }

    fn cut(&mut self) -> Option<Cut> {
        loop {
            if let Some(cut) = self.ready.pop_front() {
                if cut == Cut::End {
                    self.ended = true;
                    self.ready.clear();
                }
                return Some(cut);
            }
            let walk = self.walk.as_mut()?;
            let Some(listing) = walk.next() else {
                if walk.need().is_some() {
                    return None;
                }
                self.walk = None;
                self.walked();
                continue;
            };
            if self.is_new(&listing) {
                return Some(Cut::Listed(listing));
            }
        }
    }

    /// By media time or behind the live edge, in the first rendition that has segments with times; its ids are not those
    /// of other renditions. Behind the whole window is its oldest segment.
    fn locate(&self, seek: &Seek) -> Option<SegmentId> {
        let rendition = self.leading()?;
        let all = (rendition, Duration::ZERO)..=(rendition, Duration::MAX);
        match seek {
            Seek::Byte(_) => None,
            Seek::Media(at) => {
                let before = self.by_start.range((rendition, Duration::ZERO)..=(rendition, *at)).next_back();
                before.or_else(|| self.by_start.range(all).next()).map(|(_, id)| *id)
            }
            Seek::Live { behind } => {
                let behind = behind.saturating_sub(1) as usize;
                let newest_first = self.by_start.range(all.clone()).rev().nth(behind);
                newest_first.or_else(|| self.by_start.range(all).next()).map(|(_, id)| *id)
            }
        }
    }
}

/// After how long a dynamic manifest is wanted again.
fn reload_after(scene: &Scene) -> Duration {
    let mpd = &scene.mpd;
    let said = mpd.minimum_update_period.filter(|period| !period.is_zero());
    let period = said.or(mpd.max_segment_duration).unwrap_or(RELOAD_DEFAULT);
    // Where the clock alone tells what exists, somebody must look at it.
    scene.ticking.map_or(period, |each| each.min(period)).clamp(RELOAD_MIN, RELOAD_MAX)
}
