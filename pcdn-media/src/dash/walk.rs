//! A manifest expanded, one segment at a time.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::fragment::{FragmentError, Listing};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::Url;

use super::index::{Found, Index};
use super::moments::{Moment, Moments, Present};
use super::mpd::{Mpd, Span, Way};
use super::names::{Names, Watch};
use super::track::{Place, Spot, Track};
use super::value::span;
use super::{ENTRIES_MAX, too_much};

/// A manifest, its URL, and what must be known of the whole before its parts can be listed.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub mpd: Arc<Mpd>,
    document: Url,
    spans: Vec<Span>,
    spots: Vec<Spot>,
    pub names: Names,
    present: Present,
    /// The shortest segment whose turn only the clock tells.
    pub ticking: Option<Duration>,
}

impl Scene {
    /// Measures a manifest that came from `document`. `now` is milliseconds since 1970, if somebody knows.
    ///
    /// # Errors
    /// If it has more than [`ENTRIES_MAX`] segments, or a template that is too long.
    pub(super) fn new(mpd: Mpd, document: Url, now: Option<i64>) -> Result<Self, FragmentError> {
        let live = now
            .zip(mpd.availability_start)
            .map(|(now, start)| now.saturating_sub(start).max(0).unsigned_abs());
        let live = live.map(Duration::from_millis).filter(|_| mpd.dynamic);
        let depth = mpd.time_shift_buffer_depth.filter(|_| mpd.dynamic);
        let mut it = Self {
            present: Present { dynamic: mpd.dynamic, live, edge: None, depth },
            spans: mpd.spans(),
            spots: mpd.spots(),
            names: Names::default(),
            ticking: None,
            mpd: Arc::new(mpd),
            document,
        };
        it.measure()?;
        Ok(it)
    }

    fn measure(&mut self) -> Result<(), FragmentError> {
        let (mut total, mut edge, mut queries) = (0u64, None, false);
        for &spot in &self.spots {
            let Some(track) = self.track(spot)? else { continue };
            let moments = Moments::of(&track, &self.present);
            let (count, end) = moments.measure(ENTRIES_MAX as u64);
            total = total.saturating_add(count);
            if total > ENTRIES_MAX as u64 {
                return Err(too_much(ENTRIES_MAX, "segments"));
            }
            edge = edge.max(end);
            if moments.runs_with_clock(&self.present) {
                let each = moments.duration(&Moment { index: 0, t: 0, d: moments.each() });
                self.ticking = [self.ticking, each].into_iter().flatten().min();
            }
            queries |= track.may_have_queries();
        }
        self.present.edge = edge;
        // Without queries, paths must tell segments apart.
        let watch = if queries { self.watch()? } else { Watch::default() };
        self.names = watch.names(self.document.path());
        Ok(())
    }

    fn watch(&self) -> Result<Watch, FragmentError> {
        let mut watch = Watch::default();
        for &spot in &self.spots {
            if let Some(track) = self.track(spot)? {
                look(&mut watch, &track);
            }
        }
        Ok(watch)
    }

    fn track(&self, spot: Spot) -> Result<Option<Track>, FragmentError> {
        Track::of(&self.mpd, &self.spans, spot, &self.document)
    }

    /// The representation at `spot`: its id, or a number where it has none.
    fn id(&self, spot: Spot) -> String {
        let it = &self.mpd.periods[spot.period].sets[spot.set].representations[spot.representation];
        if it.id.is_empty() { format!("#{}.{}", spot.set, spot.representation) } else { it.id.clone() }
    }

    /// All representations, each with the id by which it is one rendition with those of other periods.
    pub(super) fn ids(&self) -> impl Iterator<Item = (Spot, String)> {
        self.spots.iter().map(|spot| (*spot, self.id(*spot)))
    }
}

/// Shows what names its segments have: all of a list, two of a template, for they differ as any two do.
fn look(watch: &mut Watch, track: &Track) {
    let list = track.segments.as_ref().filter(|it| it.way == Way::List).and_then(|it| it.urls.as_ref());
    let samples = list.map_or(2, |urls| urls.len() as u64);
    let mut text = String::new();
    let media = (0..samples).filter_map(|index| track.segment(index, i128::from(index), &mut text));
    for (url, range) in media.chain(track.init.clone()) {
        watch.see(&url, range);
    }
}

/// Where a walk is.
#[derive(Debug)]
pub(super) struct Walk {
    scene: Scene,
    /// The number of the rendition that each representation is.
    renditions: Vec<u32>,
    /// The representation opened next.
    next: usize,
    open: Option<Opened>,
    /// Segments it may still list.
    left: usize,
    /// Room for a reference.
    text: String,
}

#[derive(Debug)]
struct Opened {
    rendition: u32,
    track: Track,
    init: Option<Place>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Moments(Moments),
    Index(Index),
}

impl Walk {
    /// Of a manifest whose representations, in the order of [`Scene::ids`], are the `renditions` of these numbers.
    pub(super) fn new(scene: Scene, renditions: Vec<u32>) -> Self {
        Self { scene, renditions, next: 0, open: None, left: ENTRIES_MAX, text: String::new() }
    }

    /// The bytes without which it cannot go on.
    pub(super) fn need(&self) -> Option<(Url, ByteRange)> {
        match &self.open.as_ref()?.source {
            Source::Index(index) => Some((index.url.clone(), index.need()?)),
            Source::Moments(_) => None,
        }
    }

    /// Takes bytes it needs; others are passed over.
    pub(super) fn feed(&mut self, url: &Url, range: ByteRange, bytes: &[u8]) -> Result<(), FragmentError> {
        let Some(Opened { source: Source::Index(index), .. }) = &mut self.open else { return Ok(()) };
        if index.url == *url && index.need() == Some(range) {
            let asked = usize::try_from(range.len()).unwrap_or(usize::MAX).min(bytes.len());
            index.feed(&bytes[..asked]);
            if index.waiting() > self.left {
                return Err(too_much(ENTRIES_MAX, "segments"));
            }
        }
        Ok(())
    }

    /// The next segment; nothing while it [needs](Self::need) bytes, and when it is done.
    pub(super) fn next(&mut self) -> Option<Listing> {
        loop {
            let Some(open) = &mut self.open else {
                self.open = self.opened()?;
                continue;
            };
            if let Some((url, range)) = open.init.take() {
                return Some(open.listing(&self.scene.names, url, range, None, true));
            }
            match &mut open.source {
                Source::Moments(moments) => match moments.next() {
                    Some(moment) => {
                        let when = moments.start(&moment).zip(moments.duration(&moment));
                        let place = open.track.segment(moment.index, moment.t, &mut self.text);
                        let Some((url, range)) = place else { continue };
                        let listing = open.listing(&self.scene.names, url, range, when, false);
                        self.left = self.left.saturating_sub(1);
                        let discontinuity = open.track.follows && moment.index == 0;
                        return Some(Listing { discontinuity, ..listing });
                    }
                    None => self.open = None,
                },
                Source::Index(index) => {
                    let url = index.url.clone();
                    match index.next() {
                        Some(found) => {
                            self.left = self.left.saturating_sub(1);
                            let names = &self.scene.names;
                            return Some(match found {
                                Found::Init(range) => open.listing(names, url, Some(range), None, true),
                                Found::Segment { range, start, duration } => {
                                    open.listing(names, url, Some(range), Some((start, duration)), false)
                                }
                                Found::Whole => open.listing(names, url, None, None, false),
                            });
                        }
                        None if index.need().is_some() => return None,
                        None => self.open = None,
                    }
                }
            }
        }
    }

    /// Opens the next representation that has segments; `None` after the last.
    fn opened(&mut self) -> Option<Option<Opened>> {
        let spot = *self.scene.spots.get(self.next)?;
        let rendition = *self.renditions.get(self.next)?;
        self.next += 1;
        // Faults were found when the manifest was measured.
        let Ok(Some(track)) = self.scene.track(spot) else { return Some(None) };
        let by_index = track.segments.as_ref().filter(|it| it.way == Way::Base);
        let source = match by_index {
            // A file that grows would have to be asked for its index again and again.
            Some(_) if self.scene.present.dynamic => return Some(None),
            Some(it) => {
                let Some((url, _)) = track.segment(0, 0, &mut self.text) else { return Some(None) };
                let offset = span(it.presentation_time_offset.unwrap_or(0).into(), it.timescale.unwrap_or(1));
                Source::Index(Index::new(url, it.index_range, track.start, offset))
            }
            None => Source::Moments(Moments::of(&track, &self.scene.present)),
        };
        Some(Some(Opened { rendition, init: track.init.clone(), track, source }))
    }
}

impl Opened {
    fn listing(
        &self,
        names: &Names,
        url: Url,
        range: Option<ByteRange>,
        when: Option<(Duration, Duration)>,
        init: bool,
    ) -> Listing {
        let id = names.name_of(&url, range);
        let (start, duration) = when.unzip();
        Listing { id, rendition: self.rendition, url, range, start, duration, init, discontinuity: false }
    }
}
