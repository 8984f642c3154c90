//! The limit on what all sessions send, and who goes first below it.
//!
//! Without a limit nothing waits here. With one, whoever has a chunk to send stands in line by class; a task hands out room of
//! at most 4 ms of the limit at a time, the most pressing first and every tenth turn to the least pressing, so that nobody
//! waits for ever.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pcdn_core::transport::Class;
use pcdn_core::unit::Rate;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

/// Room is handed out in parts of this much time: short enough to be smooth, and as the UDP transport.
const BURST: Duration = Duration::from_millis(4);
/// A part at least: one packet, so that a low limit does not send crumbs.
const PART_MIN: u64 = 1_200;
/// A part at most: what a chunk has.
const PART_MAX: u64 = 16 * 1024;
/// Every tenth turn is the least pressing class's.
const FLOOR: u32 = 10;
/// Waiters whose wish is not yet in line, at most; beyond, they wait for that.
const ASKS_MAX: usize = 64;

/// Handle of the task that owns the line. The task ends with the last handle.
#[derive(Debug)]
pub(super) struct Uplink {
    limit: Arc<Limit>,
    asks: mpsc::Sender<Ask>,
}

#[derive(Debug)]
struct Limit {
    rate: AtomicU64,
    changed: Notify,
}

#[derive(Debug)]
struct Ask {
    class: Class,
    bytes: usize,
    reply: oneshot::Sender<usize>,
}

impl Uplink {
    pub(super) fn new(limit: Rate) -> Self {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let limit = Arc::new(Limit { rate: AtomicU64::new(limit.0), changed: Notify::new() });
        tokio::spawn(run(asked, Arc::clone(&limit)));
        Self { limit, asks }
    }

    pub(super) fn set_limit(&self, limit: Rate) {
        self.limit.rate.store(limit.0, Ordering::Relaxed);
        self.limit.changed.notify_one();
    }

    /// Waits for room; gives how many of `bytes` may be sent now, at least one. Dropping the future leaves the line.
    pub(super) async fn take(&self, class: Class, bytes: usize) -> usize {
        if self.limit.rate().is_unlimited() {
            return bytes;
        }
        let (reply, room) = oneshot::channel();
        if self.asks.send(Ask { class, bytes, reply }).await.is_err() {
            return bytes;
        }
        // The task answers everybody in its line, and lives as long as this handle.
        room.await.unwrap_or(bytes)
    }
}

impl Limit {
    fn rate(&self) -> Rate {
        Rate(self.rate.load(Ordering::Relaxed))
    }
}

async fn run(mut asked: mpsc::Receiver<Ask>, limit: Arc<Limit>) {
    let mut line = Line::default();
    let mut free_at = Instant::now();
    loop {
        let rate = limit.rate();
        tokio::select! {
            biased;
            ask = asked.recv() => match ask {
                Some(ask) => line.push(ask),
                None => return,
            },
            () = limit.changed.notified() => {
                // What was promised under the old limit is paid; waiting longer would apply the old one for too long.
                free_at = free_at.min(Instant::now() + BURST);
            }
            () = tokio::time::sleep_until(free_at), if !line.is_empty() && rate.0 > 0 => {
                let now = Instant::now();
                let Some(ask) = line.next() else { continue };
                let room = ask.bytes.min(part(rate));
                if ask.reply.send(room).is_ok() {
                    // Being late by less than a burst is made up for, so that timers do not cost rate.
                    let from = free_at.max(now.checked_sub(BURST).unwrap_or(now));
                    free_at = from + time_for(rate, room);
                }
            }
        }
    }
}

/// Bytes handed out at once.
fn part(rate: Rate) -> usize {
    let burst = (rate.0 as u128 * BURST.as_micros() / 1_000_000).min(PART_MAX.into()) as u64;
    burst.max(PART_MIN) as usize
}

fn time_for(rate: Rate, bytes: usize) -> Duration {
    if rate.is_unlimited() { Duration::ZERO } else { rate.time_for(bytes as u64) }
}

/// Who waits, by class, in the order of coming.
#[derive(Debug, Default)]
struct Line {
    waiting: [VecDeque<Ask>; 3],
    turns: u32,
}

impl Line {
    fn push(&mut self, ask: Ask) {
        self.waiting[ask.class as usize].push_back(ask);
    }

    fn is_empty(&self) -> bool {
        self.waiting.iter().all(VecDeque::is_empty)
    }

    /// The next whose asker is still there.
    fn next(&mut self) -> Option<Ask> {
        self.turns = self.turns.wrapping_add(1);
        let upwards = self.turns.is_multiple_of(FLOOR);
        for n in 0..self.waiting.len() {
            let class = if upwards { n } else { self.waiting.len() - 1 - n };
            while let Some(ask) = self.waiting[class].pop_front() {
                if !ask.reply.is_closed() {
                    return Some(ask);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(class: Class) -> (Ask, oneshot::Receiver<usize>) {
        let (reply, room) = oneshot::channel();
        (Ask { class, bytes: 1, reply }, room)
    }

    #[test]
    fn the_pressing_go_first_and_nobody_waits_for_ever() {
        let mut line = Line::default();
        let mut rooms = Vec::new();
        for class in [Class::Background, Class::Normal, Class::Urgent].into_iter().cycle().take(90) {
            let (ask, room) = ask(class);
            line.push(ask);
            rooms.push(room);
        }
        let order: Vec<Class> = std::iter::from_fn(|| line.next()).map(|ask| ask.class).collect();
        assert_eq!(order.len(), 90);
        let first: Vec<usize> = [Class::Background, Class::Normal, Class::Urgent]
            .map(|class| order[..30].iter().filter(|c| **c == class).count())
            .to_vec();
        assert_eq!(first, [3, 0, 27]);
    }

    #[test]
    fn who_left_the_line_is_passed_over() {
        let mut line = Line::default();
        let (gone, room) = ask(Class::Urgent);
        drop(room);
        let (there, _room) = ask(Class::Background);
        line.push(gone);
        line.push(there);
        assert_eq!(line.next().map(|ask| ask.class), Some(Class::Background));
        assert!(line.next().is_none() && line.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_over_any_second_and_can_be_changed() {
        let uplink = Arc::new(Uplink::new(Rate(100_000)));
        let sent = Arc::new(AtomicU64::new(0));
        for _ in 0..4 {
            let (uplink, sent) = (Arc::clone(&uplink), Arc::clone(&sent));
            tokio::spawn(async move {
                loop {
                    let room = uplink.take(Class::Normal, 16_384).await;
                    sent.fetch_add(room as u64, Ordering::Relaxed);
                }
            });
        }
        let begun = Instant::now();
        for second in 1..=5 {
            tokio::time::sleep_until(begun + Duration::from_secs(second)).await;
            let sent = sent.load(Ordering::Relaxed);
            assert!((100_000 * second).abs_diff(sent) <= 2 * PART_MIN, "{sent} bytes in {second} s");
        }
        let before = sent.load(Ordering::Relaxed);
        uplink.set_limit(Rate(1_000_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let more = sent.load(Ordering::Relaxed) - before;
        assert!((980_000..=1_010_000).contains(&more), "{more} bytes in a second of the new limit");
    }
}
