//! One connection's 64-bit timeline, and where it breaks.
//!
//! Only coded tags move it: servers stamp configuration with 0 or anything else.

use super::tag::Kind;

/// A step forward longer than this is a break, not a pause: the slow reader's queue was cut, or another encoder began.
const FORWARD_MAX_MS: i64 = 10_000;
/// A step back longer than this, within one kind, is a break. Shorter ones are reordering.
const BACKWARD_MAX_MS: i64 = 1_000;

/// Unwraps 32-bit milliseconds by their signed difference.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<(u32, i64)>,
    /// The last time of each kind since the last break. Kinds may lie seconds apart: a step is judged within its own.
    video: Option<i64>,
    audio: Option<i64>,
    /// The latest time so far: after a break the timeline goes on from here.
    high: i64,
}

/// The time of a tag in milliseconds since the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) at: i64,
    /// The timeline broke before it.
    pub(super) broken: bool,
}

impl Clock {
    pub(super) fn tick(&mut self, kind: Kind, timestamp: u32) -> Tick {
        let Some((last, at)) = self.last else {
            return self.settle(kind, timestamp, Tick { at: 0, broken: false });
        };
        let step = i64::from(timestamp.wrapping_sub(last) as i32);
        let at = at.saturating_add(step);
        if (self.video, self.audio) == (None, None) {
            return self.settle(kind, timestamp, Tick { at: self.high, broken: false });
        }
        let own = self.own(kind).map(|own| at - own);
        let forward = step > FORWARD_MAX_MS && own.is_none_or(|own| own > FORWARD_MAX_MS);
        let backward = step < -FORWARD_MAX_MS || own.is_some_and(|own| own < -BACKWARD_MAX_MS);
        if !forward && !backward {
            return self.settle(kind, timestamp, Tick { at, broken: false });
        }
        self.interrupt();
        // What was lost is not known to be there: the gap is kept as far as a player bears it.
        let at = self.high + step.clamp(0, FORWARD_MAX_MS);
        self.settle(kind, timestamp, Tick { at, broken: true })
    }

    /// The sequence ended: whatever time comes next follows at once.
    pub(super) fn interrupt(&mut self) {
        (self.video, self.audio) = (None, None);
    }

    /// The time of the last tag.
    pub(super) fn now(&self) -> i64 {
        self.last.map_or(0, |(_, at)| at)
    }

    fn settle(&mut self, kind: Kind, timestamp: u32, tick: Tick) -> Tick {
        self.last = Some((timestamp, tick.at));
        self.high = self.high.max(tick.at);
        match kind {
            Kind::Video => self.video = Some(tick.at),
            Kind::Audio => self.audio = Some(tick.at),
        }
        tick
    }

    fn own(&self, kind: Kind) -> Option<i64> {
        match kind {
            Kind::Video => self.video,
            Kind::Audio => self.audio,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(stamps: &[(Kind, u32)]) -> Vec<(i64, bool)> {
        let mut clock = Clock::default();
        stamps
            .iter()
            .map(|&(kind, stamp)| clock.tick(kind, stamp))
            .map(|tick| (tick.at, tick.broken))
            .collect()
    }

    use Kind::{Audio as A, Video as V};

    #[test]
    fn a_wrap_is_no_break_and_only_differences_count() {
        assert_eq!(
            ticks(&[(V, u32::MAX - 39), (V, 0), (A, u32::MAX), (V, 40)]),
            [(0, false), (40, false), (39, false), (80, false)]
        );
    }

    #[test]
    fn skew_between_kinds_is_no_break_and_a_restart_breaks_once() {
        let skewed = ticks(&[(V, 5000), (A, 1000), (V, 5040), (A, 1040)]);
        assert!(skewed.iter().all(|(_, broken)| !broken), "{skewed:?}");
        assert_eq!(
            ticks(&[(V, 90_000), (A, 90_000), (V, 0), (A, 17), (V, 40)]),
            [(0, false), (0, false), (0, true), (17, false), (40, false)]
        );
    }

    #[test]
    fn a_long_step_forward_breaks_unless_the_other_kind_went_on() {
        assert_eq!(
            ticks(&[(V, 0), (A, 0), (V, 30_000), (A, 30_010)])[2..],
            [(10_000, true), (10_010, false)]
        );
        let camera_off = ticks(&[(V, 0), (A, 9000), (A, 18_000), (V, 18_010)]);
        assert!(camera_off.iter().all(|(_, broken)| !broken));
    }
}
