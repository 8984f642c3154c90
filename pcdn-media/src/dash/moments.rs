//! When the segments of a track are: counted in ticks, one by one, never all at once.

use std::sync::Arc;
use std::time::Duration;

use super::mpd::{Entry, Segments, Way};
use super::track::Track;
use super::value::{elapsed, reach, span};

/// How long segments of a dynamic manifest are listed that says by number alone what exists, and not how long it stays:
/// 4 hours. Older ones are named when a player asks for them.
pub const WINDOW_MAX: Duration = Duration::from_secs(4 * 3600);

/// What is known of the present when a manifest is expanded. All empty for a static one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    pub dynamic: bool,
    /// Now, in presentation time, if somebody knows what time it is.
    pub live: Option<Duration>,
    /// The end of the newest segment of any timeline.
    pub edge: Option<Duration>,
    /// How long segments stay.
    pub depth: Option<Duration>,
}

/// A segment's place in its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// Counts from 0 at the first segment the manifest speaks of.
    pub index: u64,
    /// Media time in ticks.
    pub t: i128,
    /// Duration in ticks; 0 if it is not known.
    pub d: u64,
}

/// The moments of one track, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Moments {
    entries: Arc<[Entry]>,
    /// The entry read next.
    entry: usize,
    /// How many segments of the current run are left.
    left: u64,
    t: i128,
    d: u64,
    index: u64,
    index_end: u64,
    /// Segments that begin here or later are none of this period.
    limit: Option<i128>,
    /// Up to where a run without end goes.
    live: Option<i128>,
    /// Segments that ended so long ago are gone.
    oldest: i128,
    /// For the presentation time: ticks per second, ticks at the period's start, the period's start.
    scale: u64,
    offset: i128,
    start: Duration,
}

impl Moments {
    pub(super) fn of(track: &Track, present: &Present) -> Self {
        let segments = track.segments.as_ref();
        let scale = segments.and_then(|it| it.timescale).unwrap_or(1);
        let offset = i128::from(segments.and_then(|it| it.presentation_time_offset).unwrap_or(0));
        let on_track = |at: Duration| offset + elapsed(at.saturating_sub(track.start), scale);
        let limit = track.duration.map(|duration| offset + reach(duration, scale));
        let mut it = Self {
            entries: Arc::new([]),
            entry: 0,
            left: 1,
            t: offset,
            d: 0,
            index: 0,
            index_end: u64::MAX,
            limit: None,
            live: present.live.map(on_track),
            oldest: i128::MIN,
            scale,
            offset,
            start: track.start,
        };
        let Some(segments) = segments else { return it };
        if let Some(end) = segments.end_number.filter(|_| segments.way == Way::Template) {
            it.index_end = end.saturating_add(1).saturating_sub(segments.start_number.unwrap_or(1));
        }
        if segments.way == Way::List {
            it.index_end = segments.urls.as_ref().map_or(0, |urls| urls.len() as u64);
        }
        match (&segments.timeline, segments.duration) {
            (Some(timeline), _) => {
                (it.entries, it.left, it.limit) = (timeline.clone(), 0, limit);
                let gone = present.edge.zip(present.depth).map(|(edge, depth)| edge.checked_sub(depth));
                it.oldest = gone.flatten().map_or(i128::MIN, on_track);
            }
            (None, Some(d)) if segments.way == Way::Template => it.by_number(d, limit, track, present),
            (None, d) => it.by_list(segments, d.unwrap_or(0), present),
        }
        it
    }

    /// Equal durations, and numbers that run with the clock.
    fn by_number(&mut self, d: u64, limit: Option<i128>, track: &Track, present: &Present) {
        self.d = d;
        let each = i128::from(d);
        let in_period = limit.map(|limit| ceil(limit - self.offset, each));
        let count = if present.dynamic {
            let ahead = match (track.ahead, in_period) {
                (Duration::MAX, None) => Duration::ZERO,
                (ahead, _) => ahead,
            };
            // Without a clock nobody can say what exists.
            let live = present.live.unwrap_or_default();
            let passed = |at: Duration| elapsed(at.saturating_sub(track.start), self.scale) / each;
            let depth = present.depth.unwrap_or(WINDOW_MAX).min(WINDOW_MAX);
            let gone = passed(live.saturating_sub(depth)).saturating_sub(1);
            self.index = gone.clamp(0, i128::from(u64::MAX)) as u64;
            let whole = present.live.map_or(0, |live| passed(live.saturating_add(ahead)));
            whole.min(in_period.unwrap_or(i128::MAX))
        } else {
            in_period.unwrap_or(if self.index_end < u64::MAX { i128::MAX } else { 0 })
        };
        let end = self.index_end.min(count.clamp(0, i128::from(u64::MAX)) as u64);
        self.left = end.saturating_sub(self.index);
        self.t = self.offset + each * i128::from(self.index);
    }

    /// Exactly what is written down: URLs one by one, or a single segment.
    fn by_list(&mut self, segments: &Segments, d: u64, present: &Present) {
        self.left = if segments.way == Way::List { self.index_end } else { 1 };
        self.d = d;
        // A list that slides says by its first number how far it has slid.
        let slid = segments.start_number.filter(|_| present.dynamic).unwrap_or(1).saturating_sub(1);
        self.t = self.t.saturating_add(i128::from(d).saturating_mul(i128::from(slid)));
    }

    /// How many there are at most, and the end of the last in presentation time, if `d`s are written down. Counts no
    /// further than just above `max`.
    pub(super) fn measure(&self, max: u64) -> (u64, Option<Duration>) {
        if self.entries.is_empty() {
            return (self.left, None);
        }
        let (mut it, mut count) = (self.clone(), 0u64);
        while count <= max && it.next_run() {
            // An entry costs as much as a segment, even if the period ends before it.
            count = count.saturating_add(it.left.max(1));
            it.t = it.t.saturating_add(i128::from(it.left).saturating_mul(i128::from(it.d)));
        }
        let end = it.limit.map_or(it.t, |limit| limit.min(it.t));
        (count, Some(self.presentation(end)))
    }

    /// Whether only the clock says what exists.
    pub(super) fn runs_with_clock(&self, present: &Present) -> bool {
        present.dynamic && self.entries.is_empty() && self.d > 0 && self.index_end == u64::MAX
    }

    /// Ticks of the segments of a run.
    pub(super) fn each(&self) -> u64 {
        self.d
    }

    /// Start in presentation time.
    pub(super) fn start(&self, moment: &Moment) -> Option<Duration> {
        (moment.d > 0).then(|| self.presentation(moment.t))
    }

    /// Duration in presentation time.
    pub(super) fn duration(&self, moment: &Moment) -> Option<Duration> {
        (moment.d > 0).then(|| span(i128::from(moment.d), self.scale))
    }

    fn presentation(&self, t: i128) -> Duration {
        self.start.saturating_add(span(t.saturating_sub(self.offset), self.scale))
    }

    /// Goes on to the next entry of the timeline.
    fn next_run(&mut self) -> bool {
        let Some(entry) = self.entries.get(self.entry) else { return false };
        self.entry += 1;
        self.t = entry.t.map_or(self.t, i128::from);
        self.d = entry.d;
        self.left = match u64::try_from(entry.r) {
            Ok(repeats) => repeats.saturating_add(1),
            Err(_) => self.repeats(self.entries.get(self.entry).and_then(|next| next.t)),
        };
        true
    }

    /// How many segments a run without end has: to the next entry, else to the end of the period, else to now.
    fn repeats(&self, next: Option<u64>) -> u64 {
        let each = i128::from(self.d.max(1));
        let count = match (next.map(i128::from).or(self.limit), self.live) {
            (Some(end), _) => ceil(end.saturating_sub(self.t), each),
            (None, Some(live)) => live.saturating_sub(self.t) / each,
            (None, None) => 1,
        };
        count.clamp(1, i128::from(u64::MAX)) as u64
    }
}

impl Iterator for Moments {
    type Item = Moment;

    fn next(&mut self) -> Option<Moment> {
        loop {
            while self.left == 0 {
                if !self.next_run() {
                    return None;
                }
            }
            let moment = Moment { index: self.index, t: self.t, d: self.d };
            let beyond = self.limit.is_some_and(|limit| self.t >= limit);
            if beyond || self.index >= self.index_end {
                return None;
            }
            self.left -= 1;
            self.index += 1;
            self.t = self.t.saturating_add(i128::from(self.d));
            // One duration longer than the window, as the standard has it: a player may be in the middle of it.
            if self.t.saturating_add(i128::from(self.d)) > self.oldest {
                return Some(moment);
            }
        }
    }
}

fn ceil(count: i128, each: i128) -> i128 {
    if count <= 0 { 0 } else { (count - 1) / each + 1 }
}
