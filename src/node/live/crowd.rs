//! Whether neighbours have room for one more follower.
//!
//! Uplinks carry so many copies and no more, and nobody knows how many: a follower too much takes the line from all others, and then
//! all of them turn to the origin at once. But whoever reads the origin sees when a part it cut is at those who follow. While a fourth
//! of them has it later than this node's own player could wait, nobody leaves the origin; and after that, not all at once.

use std::collections::VecDeque;
use std::time::Duration;

use pcdn_core::layout::SegmentId;
use tokio::time::Instant;

/// Who has a part that is so old, and does not vouch for it, follows.
const OLD: Duration = Duration::from_secs(4);
/// Parts remembered: older than [`OLD`] by some.
const PARTS: usize = 32;
/// What it takes to hear that a neighbour has a part: holdings are told every 0.1 s, half of that in the mean.
const HEARD: Duration = Duration::from_millis(50);
/// Nobody is so fast that less could be asked, and who has more in hand than this need not care.
const WAITS_MIN: Duration = Duration::from_millis(250);
const WAITS_MAX: Duration = Duration::from_secs(2);
/// There is room when for so long nobody was late: who left last has used up what its player had in hand.
const CALM: Duration = Duration::from_secs(6);
/// One of so many followers may be late for its own reasons, and one in any case.
const LATE: usize = 4;

/// A part of the own connection.
#[derive(Clone, Copy, Debug)]
struct Own {
    id: SegmentId,
    cut: Instant,
    /// What the player that had least had left just before.
    left: Duration,
}

/// What is known of it.
#[derive(Clone, Debug)]
pub(super) struct Crowd {
    parts: VecDeque<Own>,
    looked: Option<SegmentId>,
    late: Instant,
}

impl Crowd {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self { parts: VecDeque::new(), looked: None, late: Instant::now() }
    }

    /// The own connection cut a part that others have, too. `left`: what the player with least has left, if there is one.
    pub(super) fn cut(&mut self, id: SegmentId, left: Option<Duration>) {
        self.parts.push_back(Own { id, cut: Instant::now(), left: left.unwrap_or(WAITS_MAX) });
        if self.parts.len() > PARTS {
            self.parts.pop_front();
        }
    }

    /// An old part and a new one, which followers have by now if there is room for another whose player is [low](super::deck) with
    /// `low`. Each is given once.
    pub(super) fn asks(&mut self, low: Duration) -> Option<(SegmentId, SegmentId)> {
        let left = self.parts.iter().map(|part| part.left).min()?;
        let waits = left.saturating_sub(low).clamp(WAITS_MIN, WAITS_MAX) + HEARD;
        let aged = |age| self.parts.iter().rev().find(|part| part.cut.elapsed() >= age).map(|part| part.id);
        let (old, new) = (aged(OLD)?, aged(waits)?);
        (self.looked.replace(new) != Some(new)).then_some((old, new))
    }

    /// Of `all` that follow, so many were `late`.
    pub(super) fn reached(&mut self, all: usize, late: usize) {
        if late > (all / LATE).max(1) {
            self.late = Instant::now();
        }
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.late.elapsed() >= CALM
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Duration = Duration::from_millis(250);

    async fn cuts(crowd: &mut Crowd, ids: std::ops::Range<u64>, left_ms: u64) {
        for id in ids {
            crowd.cut(SegmentId(id), Some(Duration::from_millis(left_ms)));
            tokio::time::advance(Duration::from_millis(400)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn followers_are_looked_at_when_the_own_player_could_wait_no_longer() {
        let mut crowd = Crowd::new();
        cuts(&mut crowd, 0..10, 600).await;
        assert_eq!(
            crowd.asks(LOW),
            Some((SegmentId(0), SegmentId(9))),
            "0.4 s: 600 less 250, and what it takes to hear of it"
        );
        assert_eq!(crowd.asks(LOW), None, "once");
        cuts(&mut crowd, 10..12, 800).await;
        assert_eq!(crowd.asks(LOW), Some((SegmentId(2), SegmentId(11))), "the least it had lately counts");
        let mut rich = Crowd::new();
        cuts(&mut rich, 0..12, 1_400).await;
        assert_eq!(rich.asks(LOW).unwrap().1, SegmentId(9), "1.2 s");
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_when_nearly_nobody_was_late_for_a_while() {
        let mut crowd = Crowd::new();
        assert!(!crowd.has_room(), "nothing was seen yet");
        tokio::time::advance(CALM).await;
        crowd.reached(12, 3);
        crowd.reached(1, 1);
        assert!(crowd.has_room(), "one in four may have reasons of its own");
        crowd.reached(12, 4);
        assert!(!crowd.has_room());
        tokio::time::advance(CALM).await;
        assert!(crowd.has_room());
    }
}
