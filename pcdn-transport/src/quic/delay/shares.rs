//! How many sessions of the node are sending, and when they ebb.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A session that has not filled its window for this long sends no more.
const LATELY: Duration = Duration::from_secs(1);
/// All sessions ebb so often. Each takes part for one and a half round trips: under 1 % of the time on most paths.
const EBB_EVERY: Duration = Duration::from_secs(5);
const EBB_MIN: Duration = Duration::from_millis(20);
const EBB_MAX: Duration = Duration::from_millis(300);

/// What the controllers of a node's sessions know of each other.
#[derive(Debug, Default)]
pub(in crate::quic) struct Shares {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    began: Option<Instant>,
    joined: u64,
    sending: BTreeMap<u64, Instant>,
}

impl Shares {
    /// A number for a session.
    pub(super) fn join(&self, now: Instant) -> u64 {
        let mut state = self.state();
        state.began.get_or_insert(now);
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

    /// Whether a session with this round trip is to send less now.
    pub(super) fn is_ebb(&self, now: Instant, round_trip: Duration) -> bool {
        let Some(began) = self.state().began else { return false };
        let since = now.duration_since(began);
        let lasts = (round_trip * 3 / 2).clamp(EBB_MIN, EBB_MAX);
        since >= EBB_EVERY && since.as_micros() % EBB_EVERY.as_micros() < lasts.as_micros()
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
            !at(0, 20)
                && at(5_000, 1)
                && at(5_000, 200)
                && at(5_029, 20)
                && !at(5_031, 20)
                && !at(7_000, 200)
        );
        let ebbing = (0..60_000).filter(|ms| at(*ms, 20)).count();
        assert!(ebbing * 100 < 60_000, "{ebbing} ms of a minute");
    }
}
