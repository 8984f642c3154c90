//! How much of an answer quinn is handed: what may be under way, at the pace at which it may go.
//!
//! quinn sends no acknowledgement while it has data in hand that its window or its pacing holds back: the acknowledgement would
//! go with the next packet of data. Where both ends give at once each waits for the other (of eight homes that all give, lines are
//! used to 95 % with the window in quinn, to 99 % with it here: `tests/bars.rs`). With nothing in hand it sends them in time. So
//! window and pace are kept here, and quinn is told of a window that it does not meet. What is chosen to go next also is not
//! chosen long before it goes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcdn_core::unit::{Rate, Time};
use quinn::Connection;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::delay;
use super::tuning::DATAGRAM_BYTES;
use crate::pacer::Pacer;

/// After so long without an acknowledgement nothing is in hand any more: it is under way, or its answer was given up.
const STALE: Duration = Duration::from_millis(100);
/// Less room than for a packet is waited out.
const PACKET: u64 = DATAGRAM_BYTES as u64 - 50;
/// Packets of a burst: any queue takes eight; 256 are what quinn itself would send at once.
const BURST: (u64, u64) = (8 * DATAGRAM_BYTES as u64, 256 * DATAGRAM_BYTES as u64);

/// The room of one session's path: its controller says what there is, its answers use it one at a time.
#[derive(Debug)]
pub(super) struct Room {
    begun: Instant,
    state: Mutex<State>,
    /// An answer waits for room. Asked for with each packet that arrived, so it is not behind the lock.
    wanted: AtomicBool,
    more: Notify,
}

#[derive(Debug)]
struct State {
    /// Bytes that may be under way.
    window: u64,
    rate: Rate,
    pacer: Pacer,
    under_way: u64,
    /// Handed over and not yet sent, as far as can be told.
    handed: u64,
}

impl Room {
    pub(super) fn new(window: u64) -> Arc<Self> {
        let (rate, pacer) = (Rate::UNLIMITED, Pacer::new(BURST.0, BURST.1));
        let state = State { window, rate, pacer, under_way: 0, handed: 0 };
        let (state, wanted, more) = (Mutex::new(state), AtomicBool::new(false), Notify::new());
        Arc::new(Self { begun: Instant::now(), state, wanted, more })
    }

    /// The room of the path that `connection` takes now; `None` where quinn's own controller decides.
    pub(super) fn of(connection: &Connection) -> Option<Arc<Self>> {
        delay::room(connection.congestion_state())
    }

    /// Waits for room and takes it; gives how many of `bytes` may be handed over. One waits at a time. Cancel-safe.
    pub(super) async fn take(&self, bytes: usize) -> usize {
        loop {
            let more = self.more.notified();
            let now = Time(self.begun.elapsed().as_micros() as u64);
            let taken = self.state().take(now, bytes as u64);
            self.wanted.store(taken.is_err(), Ordering::Relaxed);
            let until = match taken {
                Ok(taken) => return taken as usize,
                Err(until) => until,
            };
            // Whoever stops waiting wants no more.
            let _wanting = Wanting(&self.wanted);
            let wait = until.map_or(STALE, |until| until.since(now));
            if tokio::time::timeout(wait, more).await.is_err() && until.is_none() {
                self.state().handed = 0;
            }
        }
    }

    /// quinn has sent so much.
    pub(super) fn sent(&self, bytes: u64) {
        let mut state = self.state();
        state.under_way += bytes;
        state.handed = state.handed.saturating_sub(bytes);
    }

    /// So much will not arrive.
    pub(super) fn lost(&self, bytes: u64) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(bytes);
        self.more.notify_one();
    }

    /// Acknowledgements came: so much may be under way, and go at this rate.
    pub(super) fn allow(&self, window: u64, rate: Rate) {
        let mut state = self.state();
        (state.window, state.rate) = (window, rate);
        self.more.notify_one();
    }

    /// So much is under way. `dry` is whether quinn had nothing left to send: what was thought to be still in hand was headers, or
    /// was sent again.
    pub(super) fn settle(&self, under_way: u64, dry: bool) {
        let mut state = self.state();
        state.under_way = under_way;
        if dry {
            state.handed = 0;
        }
    }

    /// Whether an answer waits for room.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits, until this is dropped.
struct Wanting<'r>(&'r AtomicBool);

impl Drop for Wanting<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl State {
    /// Takes what may go of `bytes`; or says until when the pace holds it back, or nothing where the window does.
    fn take(&mut self, now: Time, bytes: u64) -> Result<u64, Option<Time>> {
        let least = bytes.min(PACKET);
        let room = self.window.saturating_sub(self.under_way + self.handed);
        let paced = self.pacer.fill(now, self.rate);
        if room < least {
            return Err(None);
        }
        if paced < least {
            return Err(Some(self.pacer.ready_at(self.rate, least)));
        }
        let taken = room.min(paced).min(bytes);
        self.handed += taken;
        if !self.rate.is_unlimited() {
            self.pacer.take(taken);
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_and_in_hand_leaves_no_room() {
        let room = Room::new(10_000);
        assert_eq!(room.take(4_000).await, 4_000);
        assert_eq!(room.take(20_000).await, 6_000);
        assert!(!room.is_wanted());
        let waiting = {
            let room = Arc::clone(&room);
            tokio::spawn(async move { room.take(20_000).await })
        };
        tokio::task::yield_now().await;
        assert!(room.is_wanted());
        room.sent(10_000);
        room.settle(8_500, false);
        room.allow(10_000, Rate::UNLIMITED);
        assert_eq!(waiting.await.unwrap(), 1_500);
        assert!(!room.is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn what_quinn_does_not_have_any_more_is_not_in_hand() {
        let room = Room::new(10_000);
        room.take(10_000).await;
        room.sent(3_000);
        room.settle(3_000, true);
        assert_eq!(room.take(20_000).await, 7_000);
        // An answer was given up before quinn had sent it.
        let begun = Instant::now();
        assert_eq!(room.take(20_000).await, 7_000);
        assert_eq!(begun.elapsed(), STALE);
    }

    /// An answer that was given up while it waited once let the window grow though nothing was to be sent.
    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_wants_no_more() {
        let room = Room::new(10_000);
        room.take(10_000).await;
        let waited = tokio::time::timeout(STALE / 2, room.take(10_000));
        assert!(waited.await.is_err());
        assert!(!room.is_wanted());
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_at_the_pace() {
        let room = Room::new(10_000_000);
        room.allow(10_000_000, Rate(1_000_000));
        let begun = Instant::now();
        let mut handed = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            handed += room.take(100_000).await;
        }
        assert!((2_000_000..2_400_000).contains(&handed), "{handed}");
    }
}
