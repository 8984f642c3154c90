//! What the sessions of a node know of each other: who is sending how much, the queue all of them see, and when they ebb.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::company::Company;

/// A session that has not filled its window for this long sends no more.
const LATELY: Duration = Duration::from_secs(1);
/// What was seen longer ago says nothing of the queue there is: some round trips.
const FRESH: Duration = Duration::from_millis(250);
/// What a session sees more than all others may be the way back: the other home keeps that much in its own uplink, where
/// acknowledgements wait, too.
const WAY_BACK: Duration = Duration::from_millis(12);
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
    sending: BTreeMap<u64, Sender>,
    seen: BTreeMap<u64, (Instant, Duration)>,
}

#[derive(Debug)]
struct Sender {
    at: Instant,
    /// Packets.
    window: f64,
}

impl State {
    fn common(&mut self, now: Instant, within: Duration) -> Option<Duration> {
        self.seen.retain(|_, (at, _)| now.duration_since(*at) < LATELY);
        let fresh = self.seen.values().filter(|(at, _)| now.duration_since(*at) < within);
        let mut all: Vec<Duration> = fresh.map(|(_, queue)| *queue).collect();
        let third = all.len().checked_sub(1)? / 3;
        Some(*all.select_nth_unstable(third).1)
    }
}

impl Shares {
    /// A number for a session, and whether it is alone: then what it sees first is the path.
    pub(super) fn join(&self, now: Instant) -> (u64, bool) {
        let mut state = self.state();
        state.next.get_or_insert(now + EBB_EVERY);
        state.joined += 1;
        let alone = state.sending.values().all(|sender| now.duration_since(sender.at) >= LATELY);
        (state.joined, alone)
    }

    /// Session `number` has filled its window of so many packets.
    pub(super) fn sending(&self, now: Instant, number: u64, window: f64) {
        self.state().sending.insert(number, Sender { at: now, window });
    }

    /// Those that are sending. What has stopped is forgotten here, which bounds the table.
    pub(super) fn company(&self, now: Instant) -> Company {
        let mut state = self.state();
        state.sending.retain(|_, sender| now.duration_since(sender.at) < LATELY);
        let senders = state.sending.len();
        let sum: f64 = state.sending.values().map(|sender| sender.window).sum();
        if senders == 0 { Company::ALONE } else { Company { senders, window: sum / senders as f64 } }
    }

    /// Session `number` saw so much queue, and above the least of half a minute so much `lately`; gives what it is to obey. All
    /// sessions see the node's own uplink, so all obey one that is a little below the middle of what they see: the least would be
    /// that of whoever took a queue for the path, and everybody would follow it; the middle is disturbed where machines are busy.
    /// What one sees far beyond is elsewhere, and obeyed for half a minute, but for what the way back may add: it may be an upload
    /// in the other home, which acknowledgements wait for.
    ///
    /// A session without a `number` knows no path without the others' queue: it is not asked where one is that does.
    pub(super) fn queue(
        &self,
        now: Instant,
        number: Option<u64>,
        queue: Duration,
        lately: Duration,
    ) -> Duration {
        let mut state = self.state();
        if let Some(number) = number {
            state.seen.insert(number, (now, queue));
        }
        lately.saturating_sub(WAY_BACK).max(state.common(now, FRESH).unwrap_or(queue))
    }

    /// The queue that most sessions see, or saw before an ebb, in which nobody tells.
    pub(super) fn common(&self, now: Instant) -> Option<Duration> {
        self.state().common(now, LATELY)
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

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn who_has_stopped_is_not_counted() {
        let (shares, begun) = (Shares::default(), Instant::now());
        let numbers: Vec<u64> = (0..3).map(|_| shares.join(begun).0).collect();
        assert_eq!(shares.company(begun).senders, 1);
        for (number, window) in numbers.iter().zip([10.0, 20.0, 60.0]) {
            shares.sending(begun, *number, window);
        }
        let all = shares.company(begun);
        assert_eq!((all.senders, all.window), (3, 30.0));
        shares.sending(begun + ms(900), numbers[0], 10.0);
        assert_eq!(shares.company(begun + LATELY).senders, 1);
    }

    #[test]
    fn the_own_uplink_is_what_most_see_and_the_way_back_is_forgiven() {
        let (shares, now) = (Shares::default(), Instant::now());
        let queue = |at, number, seen| shares.queue(at, Some(number), seen, seen);
        assert_eq!(queue(now, 1, ms(20)), ms(20), "nobody else to compare with");
        assert_eq!(queue(now, 2, ms(8)), ms(8));
        assert_eq!(queue(now, 1, ms(20)), ms(8), "another home's uplink");
        assert_eq!(queue(now, 1, ms(60)), ms(60) - WAY_BACK, "a queue at the other end");
        assert_eq!(shares.queue(now, Some(1), ms(60), ms(4)), ms(8), "which has been there for long");
        assert_eq!(queue(now + FRESH, 1, ms(20)), ms(20), "old news");
        assert_eq!(shares.queue(now + FRESH, Some(1), ms(250), ms(4)), ms(250), "an upload in this home");
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
