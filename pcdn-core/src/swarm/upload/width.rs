//! How many pieces of a continuous stream are given at once.
//!
//! Whoever has a slice first is asked for it by everybody. All of them share the line, so that with a thin one all get it too late,
//! though others have it a moment later and nothing to do. So no more are taken on than are given within [`IN_TIME`], as far as the
//! last ones tell; the rest is told to ask elsewhere.

use std::time::Duration;

/// A piece is given within this. It is less than what a live stream's player has in hand (a second) by the part it waits for (0.4 s)
/// and what its node needs to turn to the origin (0.25 s).
const IN_TIME: Duration = Duration::from_millis(300);
/// At least so many: one is always behind the one being sent.
const WIDTH_MIN: usize = 2;
/// So many at first: half a second of a line of 2 Mbit/s.
const WIDTH_FIRST: usize = 8;
/// More are not given at once anyway.
const WIDTH_MAX: usize = 64;

/// How many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(usize);

impl Default for Width {
    fn default() -> Self {
        Self(WIDTH_FIRST)
    }
}

impl Width {
    /// Whether there is room for one beside `active` others.
    pub(super) fn has_room(self, active: usize) -> bool {
        active < self.0
    }

    /// One of `active` was given, which `took` so long beyond the round trip.
    pub(super) fn given(&mut self, active: usize, took: Duration) {
        if took > IN_TIME {
            let fit = active as f64 * IN_TIME.as_secs_f64() / took.as_secs_f64();
            self.0 = self.0.min((fit as usize).max(WIDTH_MIN));
        } else if took < IN_TIME / 2 && active >= self.0 {
            self.0 = (self.0 + 1).min(WIDTH_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that is shared by all, at which `asking` always wait: how many are given at once in the end.
    fn settled(piece_ms: u64, asking: usize) -> usize {
        let mut width = Width::default();
        for _ in 0..200 {
            let active = (0..asking).take_while(|active| width.has_room(*active)).count();
            width.given(active, Duration::from_millis(piece_ms * active as u64));
        }
        width.0
    }

    #[test]
    fn a_thin_line_gives_few_at_once_and_a_thick_one_all() {
        assert_eq!(settled(126, 30), 2, "1 Mbit/s");
        assert_eq!(settled(26, 60), WIDTH_FIRST, "5 Mbit/s");
        assert_eq!(settled(1, 100), WIDTH_MAX, "131 Mbit/s");
        assert_eq!(settled(400, 1), WIDTH_MIN);
    }

    #[test]
    fn whoever_is_not_asked_for_more_does_not_believe_to_give_more() {
        let mut width = Width::default();
        (0..100).for_each(|_| width.given(1, Duration::from_millis(10)));
        assert_eq!(width, Width::default());
    }
}
