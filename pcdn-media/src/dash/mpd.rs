//! The manifest as a model: what the parser read, before inheritance and time are worked out.
//!
//! Fields are named after the attributes of ISO/IEC 23009-1 that they hold; a field is `None` where the manifest says nothing.

use std::sync::Arc;
use std::time::Duration;

use pcdn_core::range::ByteRange;

/// A media presentation description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mpd {
    /// `@type` is `dynamic`: it may change, and segments appear over time.
    pub dynamic: bool,
    /// `@availabilityStartTime`, milliseconds since 1970.
    pub availability_start: Option<i64>,
    /// `@publishTime`, milliseconds since 1970.
    pub publish_time: Option<i64>,
    /// `@minimumUpdatePeriod`: how soon it may change.
    pub minimum_update_period: Option<Duration>,
    /// `@timeShiftBufferDepth`: how long segments stay.
    pub time_shift_buffer_depth: Option<Duration>,
    /// `@mediaPresentationDuration`.
    pub duration: Option<Duration>,
    /// `@suggestedPresentationDelay`: how far behind the live edge to play.
    pub suggested_presentation_delay: Option<Duration>,
    /// `@maxSegmentDuration`.
    pub max_segment_duration: Option<Duration>,
    /// `UTCTiming`: scheme and value, in order of preference.
    pub utc_timing: Vec<(String, String)>,
    /// `Location`: where to fetch it next time.
    pub locations: Vec<String>,
    /// `BaseURL`, the first of which counts.
    pub bases: Vec<Base>,
    /// Periods in order.
    pub periods: Vec<Period>,
    /// What was left out, for people.
    pub notes: Vec<String>,
}

/// A `BaseURL`. Alternatives of one level are the same content elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Base {
    /// The reference, not resolved.
    pub url: String,
    /// How much earlier its segments may be asked for.
    pub ahead: Ahead,
}

/// `@availabilityTimeOffset` and `@availabilityTimeComplete`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// How much earlier than by the rule a segment may be asked for; [`Duration::MAX`] for `INF`.
    pub offset: Duration,
    /// Whether it is whole by then. If not, the offset is for players that read growing segments, not for us.
    pub complete: bool,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { offset: Duration::ZERO, complete: true }
    }
}

/// A stretch of the presentation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// `@start`, as written. See [`Mpd::spans`].
    pub start: Option<Duration>,
    /// `@duration`, as written.
    pub duration: Option<Duration>,
    /// It is elsewhere (`xlink:href`); nothing of it is listed.
    pub remote: bool,
    /// `BaseURL`.
    pub bases: Vec<Base>,
    /// How segments are addressed, unless a lower level says otherwise.
    pub segments: Option<Segments>,
    /// Its adaptation sets.
    pub sets: Vec<AdaptationSet>,
}

/// Representations of the same content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdaptationSet {
    /// What its representations have in common.
    pub common: Common,
    /// `BaseURL`.
    pub bases: Vec<Base>,
    /// How segments are addressed, unless a representation says otherwise.
    pub segments: Option<Segments>,
    /// Its representations.
    pub representations: Vec<Representation>,
}

/// One encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Representation {
    /// `@id`.
    pub id: String,
    /// `@bandwidth`, bits per second.
    pub bandwidth: Option<u64>,
    /// Properties, where they differ from the set's.
    pub common: Common,
    /// `BaseURL`.
    pub bases: Vec<Base>,
    /// How its segments are addressed.
    pub segments: Option<Segments>,
}

/// Properties an adaptation set may state for all its representations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Common {
    /// `@mimeType`.
    pub mime: Option<String>,
    /// `@codecs`.
    pub codecs: Option<String>,
    /// `@width` in pixels.
    pub width: Option<u32>,
    /// `@height` in pixels.
    pub height: Option<u32>,
}

/// Which of the standard's three ways to address segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `SegmentBase`: one file with an index in it.
    Base,
    /// `SegmentList`: every URL is written down.
    List,
    /// `SegmentTemplate`: URLs follow a pattern.
    Template,
}

/// A `SegmentBase`, `SegmentList` or `SegmentTemplate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segments {
    /// Which of them.
    pub way: Way,
    /// `@timescale`, ticks per second; 1 if not stated.
    pub timescale: Option<u64>,
    /// `@presentationTimeOffset`: media time at the period's start, in ticks.
    pub presentation_time_offset: Option<i64>,
    /// `@duration` of every segment, in ticks.
    pub duration: Option<u64>,
    /// `@startNumber`; 1 if not stated.
    pub start_number: Option<u64>,
    /// `@endNumber`.
    pub end_number: Option<u64>,
    /// `@media` of a template.
    pub media: Option<String>,
    /// `@initialization` of a template.
    pub initialization: Option<String>,
    /// The `Initialization` element.
    pub init: Option<UrlRange>,
    /// `@indexRange`.
    pub index_range: Option<ByteRange>,
    /// `SegmentTimeline`.
    pub timeline: Option<Arc<[Entry]>>,
    /// `SegmentURL` elements.
    pub urls: Option<Arc<[UrlRange]>>,
    /// `@availabilityTimeOffset`.
    pub ahead: Ahead,
}

impl Segments {
    pub(super) fn new(way: Way) -> Self {
        Self {
            way,
            timescale: None,
            presentation_time_offset: None,
            duration: None,
            start_number: None,
            end_number: None,
            media: None,
            initialization: None,
            init: None,
            index_range: None,
            timeline: None,
            urls: None,
            ahead: Ahead::default(),
        }
    }

    /// What this level says, and the outer one where this one is silent and of the same way.
    pub(super) fn within(self, outer: Option<&Segments>) -> Self {
        let Some(outer) = outer.filter(|outer| outer.way == self.way).cloned() else { return self };
        let ahead = if self.ahead == Ahead::default() { outer.ahead } else { self.ahead };
        Self {
            way: self.way,
            timescale: self.timescale.or(outer.timescale),
            presentation_time_offset: self.presentation_time_offset.or(outer.presentation_time_offset),
            duration: self.duration.or(outer.duration),
            start_number: self.start_number.or(outer.start_number),
            end_number: self.end_number.or(outer.end_number),
            media: self.media.or(outer.media),
            initialization: self.initialization.or(outer.initialization),
            init: self.init.or(outer.init),
            index_range: self.index_range.or(outer.index_range),
            timeline: self.timeline.or(outer.timeline),
            urls: self.urls.or(outer.urls),
            ahead,
        }
    }
}

/// A reference with a range; without `url` it is the base URL's own file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlRange {
    /// The reference, not resolved.
    pub url: Option<String>,
    /// Which bytes of it.
    pub range: Option<ByteRange>,
}

/// An `S` of a timeline. `@n` and `@k` are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `@t` in ticks; `None` follows the one before.
    pub t: Option<u64>,
    /// `@d` in ticks.
    pub d: u64,
    /// `@r`: how often it is repeated; negative until the next entry or the period's end.
    pub r: i64,
}

/// When a period is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// From the presentation's start; `None` if it is announced and not yet known.
    pub start: Option<Duration>,
    /// How long; `None` if it is open.
    pub duration: Option<Duration>,
}

impl Mpd {
    /// When each period is, by the rules of ISO/IEC 23009-1 section 5.3.2.1: a start that is not written is the end of the
    /// period before, or zero for the first of a static manifest; a duration reaches to the next start, or to the end of the
    /// presentation.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::with_capacity(self.periods.len());
        for (index, period) in self.periods.iter().enumerate() {
            let follows = match spans.last() {
                Some(before) => {
                    before.start.zip(before.duration).map(|(start, span)| start.saturating_add(span))
                }
                None if self.dynamic => None,
                None => Some(Duration::ZERO),
            };
            let start = period.start.or(follows);
            let next = match self.periods.get(index + 1) {
                Some(next) => next.start,
                None => self.duration,
            };
            let until = next.zip(start).map(|(next, start)| next.saturating_sub(start));
            let duration = match (period.duration, until) {
                (Some(written), Some(until)) => Some(written.min(until)),
                (written, until) => written.or(until),
            };
            spans.push(Span { start, duration });
        }
        spans
    }
}
