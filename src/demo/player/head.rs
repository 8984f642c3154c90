//! When a player shows what it has, and when it has to wait.

use std::time::Duration;

/// A player's play head: it begins once it has a cushion, shows a second a second, and waits where nothing is left. Times count
/// from when play was pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::demo) struct PlayHead {
    cushion: Duration,
    /// Media that came.
    media: Duration,
    /// When it began to show.
    started: Option<Duration>,
    stalls: u32,
    stalled: Duration,
}

/// A shorter wait is the rounding of timers, and nobody sees it.
const VISIBLE: Duration = Duration::from_millis(40);

impl PlayHead {
    pub(super) fn new(cushion: Duration) -> Self {
        Self { cushion, media: Duration::ZERO, started: None, stalls: 0, stalled: Duration::ZERO }
    }

    /// So much more media came at `now`.
    pub(super) fn arrived(&mut self, now: Duration, media: Duration) {
        if self.started.is_some() {
            let waited = now.saturating_sub(self.runs_out());
            if waited > VISIBLE {
                self.stalls += 1;
                self.stalled += waited;
            }
        }
        self.media += media;
        if self.started.is_none() && self.media >= self.cushion {
            self.started = Some(now);
        }
    }

    /// Media that came so far.
    pub(in crate::demo) fn media(&self) -> Duration {
        self.media
    }

    /// How much longer than `ahead` what it has will last.
    pub(super) fn beyond(&self, now: Duration, ahead: Duration) -> Duration {
        self.runs_out().saturating_sub(now).saturating_sub(ahead)
    }

    /// From pressing play to the first picture.
    pub(in crate::demo) fn start(&self) -> Duration {
        self.started.unwrap_or_default()
    }

    /// How often it waited after that, and how long in all.
    pub(in crate::demo) fn stalls(&self) -> (u32, Duration) {
        (self.stalls, self.stalled)
    }

    /// When the last of what came will have been shown.
    fn runs_out(&self) -> Duration {
        self.start() + self.stalled + self.media
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_where_nothing_is_left_and_goes_on_from_there() {
        let seconds = Duration::from_secs;
        let mut head = PlayHead::new(seconds(2));
        head.arrived(seconds(1), seconds(1));
        assert_eq!(head.start(), Duration::ZERO, "not begun");
        head.arrived(seconds(2), seconds(1));
        assert_eq!((head.start(), head.beyond(seconds(3), seconds(0))), (seconds(2), seconds(1)));
        head.arrived(seconds(7), seconds(4));
        assert_eq!(head.stalls(), (1, seconds(3)), "it ran out at 4");
        assert_eq!(head.beyond(seconds(7), seconds(1)), seconds(3));
        head.arrived(seconds(11) + VISIBLE, seconds(1));
        assert_eq!(head.stalls().0, 1, "too short to be seen");
    }
}
