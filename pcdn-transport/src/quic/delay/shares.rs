//! How many sessions of the node are sending, and when they ebb.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A session that has not filled its window for this long sends no more.
const LATELY: Duration = Duration::from_secs(1);
/// All sessions ebb so often. Each takes part for two round trips: the queue drains in one, and the next shows it.
const EBB_EVERY: Duration = Duration::from_secs(5);
/// And no more often than this, however many sessions begin.
const EBB_GAP: Duration = Duration::from_secs(1);
const EBB_MIN: Duration = Duration::from_millis(20);
const EBB_MAX: Duration = Duration::from_millis(300);

/// What the controllers of a node's sessions know of each other.
#[derive(Debug, Default)]
pub(in crate::quic) struct Shares {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When the last ebb began, and when the next will.
    ebb: Option<Instant>,
    next: Option<Instant>,
    joined: u64,
    sending: BTreeMap<u64, Instant>,
}

impl Shares {
    /// A number for a session.
    pub(super) fn join(&self, now: Instant) -> u64 {
        let mut state = self.state();
        state.next.get_or_insert(now + EBB_EVERY);
        state.joined += 1;
        state.joined
    }

    pub(super) fn sending(&self, now: Instant, number: u64) {
        self.state().sending.insert(number, now);
    }

    /// Sessions that are sending, at least one. What has stopped is forgotten here, which bounds the table.
    pub(super) fn count(&self, now: Instant) -> usize {
        let mut state = self.state();
        state.sending.retain(|_, at| now.duration_since(*at) < LATELY);
        state.sending.len().max(1)
    }

    /// A session has found its window, beside others perhaps whose queue it takes for the path's: an ebb will show.
    pub(super) fn hurry(&self, now: Instant) {
        let mut state = self.state();
        let soonest = state.ebb.map_or(now, |ebb| now.max(ebb + EBB_GAP));
        state.next = state.next.map(|next| next.min(soonest));
    }

    /// Whether a session with this round trip is to send less now.
    pub(super) fn is_ebb(&self, now: Instant, round_trip: Duration) -> bool {
        let mut state = self.state();
        let next = *state.next.get_or_insert(now + EBB_EVERY);
        if now >= next {
            (state.ebb, state.next) = (Some(now), Some(now + EBB_EVERY));
        }
        let lasts = (round_trip * 2).clamp(EBB_MIN, EBB_MAX);
        state.ebb.is_some_and(|ebb| now.saturating_duration_since(ebb) < lasts)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_stopped_is_not_counted() {
        let (shares, begun) = (Shares::default(), Instant::now());
        let numbers: Vec<u64> = (0..3).map(|_| shares.join(begun)).collect();
        assert_eq!(shares.count(begun), 1);
        numbers.iter().for_each(|number| shares.sending(begun, *number));
        assert_eq!(shares.count(begun), 3);
        let later = begun + Duration::from_millis(900);
        shares.sending(later, numbers[0]);
        assert_eq!(shares.count(begun + LATELY), 1);
    }

    #[test]
    fn all_ebb_together_and_rarely() {
        let (shares, begun) = (Shares::default(), Instant::now());
        shares.join(begun);
        let at = |ms, trip| shares.is_ebb(begun + Duration::from_millis(ms), Duration::from_millis(trip));
        assert!(
            !at(0, 20) && !at(4_999, 20) && at(5_000, 1) && at(5_039, 20) && !at(5_041, 20) && at(5_041, 200)
        );
        let ebbing = (5_100..=65_000).filter(|ms| at(*ms, 20)).count();
        assert!(ebbing * 100 < 60_000, "{ebbing} ms of a minute");
        shares.hurry(begun + Duration::from_millis(65_100));
        assert!(!at(65_100, 20) && !at(65_900, 20) && at(66_050, 20), "not within a second of the last");
    }
}
