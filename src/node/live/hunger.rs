//! Whether it is the neighbours' fault that a player has little left.
//!
//! Where the stream itself stands still for a moment, all players have little left, and a connection of their own would give them
//! no more. So it counts only while something that neighbours told of does not come, or when it lasts.

use std::time::Duration;

use tokio::time::Instant;

/// What neighbours tell of takes less than this, mostly: a round trip and a piece or two.
pub(super) const COMES_IN: Duration = Duration::from_millis(200);
/// A player that has little left for so long is not fed in time: five parts.
const LASTS: Duration = Duration::from_secs(2);
/// It had enough when it had for so long: a part comes every 0.4 s, and just before it there is least.
const ENOUGH: Duration = Duration::from_millis(600);

/// What is known of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hunger {
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Hunger {
    /// A player has little left, or none has; something `waits` that neighbours told of more than [`COMES_IN`] ago. Whether a
    /// connection is needed for it.
    pub(super) fn is_felt(&mut self, low: bool, waits: bool) -> bool {
        let now = Instant::now();
        if self.last.is_none_or(|last| now - last > ENOUGH) {
            self.since = None;
        }
        if !low {
            return false;
        }
        self.last = Some(now);
        let since = *self.since.get_or_insert(now);
        waits || now - since >= LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that stood still for half a second once sent all followers to the origin for half a minute, and for a minute the next
    /// time.
    #[tokio::test(start_paused = true)]
    async fn a_stream_that_stands_still_for_a_moment_is_nobodys_fault() {
        let mut hunger = Hunger::default();
        for _ in 0..10 {
            assert!(!hunger.is_felt(true, false));
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!(hunger.clone().is_felt(true, true), "now something is there and does not come");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!hunger.is_felt(true, false), "it had enough meanwhile");
        assert!(!hunger.is_felt(false, true));
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_has_more_than_a_little_is_not_fed_in_time() {
        let mut hunger = Hunger::default();
        for tick in 0..24 {
            // Before every part.
            assert_eq!(hunger.is_felt(tick % 4 == 3, false), tick == 23, "{tick}");
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    }
}
