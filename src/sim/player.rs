//! A model of a video player: reads greedily up to so many seconds ahead, plays at the content's pace, and stalls when it runs
//! dry. Whether it stalled follows from arrival times alone, so a second of playing costs nothing.

use pcdn_core::unit::Time;

use super::scenario::PlayerSpec;

/// The buffer of a player.
#[derive(Clone, Debug)]
pub(super) struct Player {
    /// Bytes per microsecond.
    pace: f64,
    /// Bytes it wants before it plays.
    start: f64,
    /// Microseconds it reads ahead.
    ahead: f64,
    buffered: f64,
    playing: bool,
    clock: Time,
    pub(super) started: Option<Time>,
    pub(super) stalls: u32,
    /// Microseconds.
    pub(super) stalled: f64,
}

impl Player {
    pub(super) fn new(spec: &PlayerSpec) -> Self {
        Self {
            pace: spec.bitrate.0 as f64 / 1e6,
            start: spec.start.0 as f64,
            ahead: spec.ahead.0.as_micros() as f64,
            buffered: 0.0,
            playing: false,
            clock: Time::ZERO,
            started: None,
            stalls: 0,
            stalled: 0.0,
        }
    }

    /// Bytes came; `last` if no more will.
    pub(super) fn arrive(&mut self, now: Time, bytes: u64, last: bool) {
        self.advance(now);
        self.buffered += bytes as f64;
        if !self.playing && (self.buffered >= self.start || last) {
            self.playing = true;
            self.started.get_or_insert(now);
        }
    }

    /// When it wants to read on: now, or once it has played what it is too far ahead.
    pub(super) fn reads_at(&mut self, now: Time) -> Time {
        self.advance(now);
        let surplus = self.buffered / self.pace - self.ahead;
        if self.playing && surplus > 0.0 { Time(now.0 + surplus.ceil() as u64) } else { now }
    }

    /// Plays from the buffer up to `now`.
    fn advance(&mut self, now: Time) {
        let elapsed = now.0.saturating_sub(self.clock.0) as f64;
        self.clock = now;
        if self.started.is_none() {
            return;
        }
        if !self.playing {
            self.stalled += elapsed;
            return;
        }
        let lasts = self.buffered / self.pace;
        // A microsecond is the rounding of `reads_at`, not a stall.
        if elapsed > lasts + 1.0 {
            (self.buffered, self.playing) = (0.0, false);
            self.stalls += 1;
            self.stalled += elapsed - lasts;
        } else {
            self.buffered = (self.buffered - elapsed * self.pace).max(0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn player() -> Player {
        let spec = "bitrate = '1MB/s'\nstart = '1MB'\nahead = '2s'"
            .parse::<toml::Table>()
            .unwrap()
            .try_into()
            .unwrap();
        Player::new(&spec)
    }

    #[test]
    fn it_starts_stalls_and_starts_again() {
        let mut player = player();
        player.arrive(Time::from_millis(500), 999_999, false);
        assert_eq!(player.started, None);
        player.arrive(Time::from_millis(600), 1, false);
        assert_eq!(player.started, Some(Time::from_millis(600)));
        // One second of media, nothing for three: dry for two, and for one more until there is enough to start again.
        player.arrive(Time::from_millis(3_600), 500_000, false);
        player.arrive(Time::from_millis(4_600), 500_000, false);
        assert_eq!((player.stalls, player.stalled.round()), (1, 3e6));
        player.arrive(Time::from_millis(5_600), 0, true);
        assert_eq!(player.stalls, 1);
    }

    #[test]
    fn it_pauses_reading_when_far_ahead() {
        let mut player = player();
        player.arrive(Time::ZERO, 3_500_000, false);
        assert_eq!(player.reads_at(Time::ZERO), Time::from_millis(1_500));
        assert_eq!(player.reads_at(Time::from_secs(2)), Time::from_secs(2));
    }
}
