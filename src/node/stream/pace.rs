//! When a player is going to play what it asks for, and what it has not asked for yet. Pure.
//!
//! A player that begins, or jumps, plays at once; from then on it plays a second of media each second, and asks ahead of that as
//! long as its buffer has room. So what it asks for ahead of its play head need not come this very moment, and peers get the
//! time to bring it: in live streams that is nearly all the time there is.

use std::time::Duration;

use pcdn_core::unit::Time;

/// A segment shall be here so long before it is played: a reload of the playlist, a decoder's wish, jitter.
const SAFETY: Duration = Duration::from_millis(1_500);
/// On demand a player fills its buffer as fast as it can; it is not kept waiting longer than this for one segment.
const WAIT_MAX: Duration = Duration::from_millis(1_000);
/// No player buffers more than this; what asks further ahead is a download, and waits for nothing.
const LEAD_MAX: Duration = Duration::from_secs(60);
/// A request this far from where the last one ended is a jump.
const JUMP: Duration = Duration::from_secs(12);
/// A player that has asked for nothing for so long is gone, or paused with a full buffer.
pub(crate) const GONE: Duration = Duration::from_secs(45);

/// One player's play head, guessed from its requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pace {
    /// This media time was played at that time.
    anchor: Option<(Duration, Time)>,
    /// Where the last request ended, and when it came.
    asked: (Duration, Time),
}

impl Pace {
    /// A request for the segment that plays from `start` to `end`. Gives when it shall be here.
    pub(crate) fn request(&mut self, now: Time, start: Duration, end: Duration, live: bool) -> Time {
        let gap = start.abs_diff(self.asked.0);
        let silent = now.since(self.asked.1) > GONE;
        let played = self.played_at(start).filter(|_| gap <= JUMP && !silent);
        self.asked = (end, now);
        // Behind its own play head: it was paused, or waited.
        let Some(played) = played.filter(|at| *at > now) else {
            self.anchor = Some((start, now));
            return now;
        };
        if played.since(now) > LEAD_MAX {
            return now;
        }
        let ready = before(played, SAFETY).max(now);
        if live { ready } else { ready.min(now + WAIT_MAX) }
    }

    /// When the media time `at` is played, as far as it is known.
    pub(crate) fn played_at(&self, at: Duration) -> Option<Time> {
        let (media, wall) = self.anchor?;
        match at.checked_sub(media) {
            Some(ahead) => Some(wall + ahead),
            None => Some(before(wall, media - at)),
        }
    }

    /// When what is played from `at` on shall be here.
    pub(crate) fn due(&self, now: Time, at: Duration) -> Option<Time> {
        self.played_at(at).map(|played| before(played, SAFETY).max(now))
    }
}

fn before(time: Time, by: Duration) -> Time {
    Time(time.0.saturating_sub(by.as_micros() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time(ms * 1_000)
    }

    fn secs(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn the_first_is_due_at_once_and_a_live_player_waits_for_the_rest_as_long_as_it_can() {
        let mut pace = Pace::default();
        assert_eq!(pace.request(at(1_000), secs(10), secs(12), true), at(1_000));
        assert_eq!(pace.request(at(1_100), secs(12), secs(14), true), at(1_500));
        assert_eq!(pace.request(at(1_200), secs(14), secs(16), true), at(3_500));
    }

    #[test]
    fn on_demand_nothing_waits_longer_than_a_second() {
        let mut pace = Pace::default();
        pace.request(at(0), secs(0), secs(6), false);
        assert_eq!(pace.request(at(100), secs(6), secs(12), false), at(1_100));
    }

    #[test]
    fn jumps_pauses_and_downloads_are_due_at_once() {
        let mut pace = Pace::default();
        pace.request(at(0), secs(0), secs(6), true);
        assert_eq!(pace.request(at(500), secs(60), secs(66), true), at(500), "a jump");
        assert_eq!(
            pace.request(at(9_000), secs(66), secs(72), true),
            at(9_000),
            "it was played before it came"
        );
        let mut far = at(0);
        for i in 12..40 {
            far = pace.request(at(9_001), secs(6 * i), secs(6 * i + 6), true);
        }
        assert_eq!(far, at(9_001), "no player buffers minutes");
    }
}
