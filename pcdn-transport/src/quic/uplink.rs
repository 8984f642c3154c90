//! The limits on what sessions send, and who goes first below them.
//!
//! Without a limit nothing waits here. With one, whoever has a chunk to send stands in line by class; a task hands out room as
//! the node's [`Limits`] have it, which other transports may share. Whom its swarm's or its own peer's limit holds back is
//! passed over.

use std::time::Duration;

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::transport::Class;
use pcdn_core::unit::{Rate, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::line::{Line, Waiting};
use crate::limit::Limits;

/// Room at least: one packet, so that a low limit does not send crumbs.
const PART_MIN: u64 = 1_200;
/// Room at most: short enough to be smooth.
const PART_MAX: u64 = 16 * 1024;
/// Waiters whose wish is not yet in line, at most; beyond, they wait for that.
const ASKS_MAX: usize = 64;
/// The limits are looked at again after this long at the latest: they may have been changed.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// And no sooner than this: timers have no finer grain.
const LOOK_AFTER: Duration = Duration::from_millis(1);

/// Handle of the task that owns the line. The task ends with the last handle.
#[derive(Debug)]
pub(super) struct Uplink {
    limits: Limits,
    asks: mpsc::Sender<Ask>,
}

/// For whom something is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parcel {
    pub(super) class: Class,
    pub(super) swarm: SwarmKey,
    pub(super) peer: PeerId,
}

#[derive(Debug)]
struct Ask {
    parcel: Parcel,
    bytes: u64,
    reply: oneshot::Sender<u64>,
}

impl Waiting for Ask {
    fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

impl Uplink {
    pub(super) fn new(limits: Limits) -> Self {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        tokio::spawn(run(asked, limits.clone()));
        Self { limits, asks }
    }

    /// Changes the node's limit.
    pub(super) fn set_limit(&self, limit: Rate) {
        self.limits.set_node(limit);
    }

    /// Waits for room; gives how many of `bytes` may be sent now, at least one. Dropping the future leaves the line.
    pub(super) async fn take(&self, parcel: Parcel, bytes: usize) -> usize {
        let now = self.limits.now();
        if self.limits.allowed(now, &parcel.swarm, &parcel.peer) == u64::MAX {
            return bytes;
        }
        let (reply, room) = oneshot::channel();
        if self.asks.send(Ask { parcel, bytes: bytes as u64, reply }).await.is_err() {
            return bytes;
        }
        // The task answers everybody in its line, and lives as long as this handle.
        room.await.map_or(bytes, |room| room as usize)
    }
}

async fn run(mut asked: mpsc::Receiver<Ask>, limits: Limits) {
    let mut line = Line::default();
    let mut look_at = Instant::now();
    loop {
        tokio::select! {
            ask = asked.recv() => match ask {
                Some(ask) => line.push(ask.parcel.class, ask),
                None => return,
            },
            () = tokio::time::sleep_until(look_at), if !line.is_empty() => {
                let ready = hand_out(&mut line, &limits);
                let now = Instant::now();
                look_at = limits.instant(ready).clamp(now + LOOK_AFTER, now + LOOK_EVERY);
            }
        }
    }
}

/// Gives room to whoever may send now; says when the next may.
fn hand_out(line: &mut Line<Ask>, limits: &Limits) -> Time {
    let now = limits.now();
    loop {
        let mut ready = now + LOOK_EVERY;
        let next = line.next_where(|Ask { parcel, bytes, .. }| {
            let least = PART_MIN.min(*bytes);
            let may = limits.allowed(now, &parcel.swarm, &parcel.peer) >= least;
            if !may {
                ready = ready.min(limits.ready_at(&parcel.swarm, &parcel.peer, least));
            }
            may
        });
        let Some(Ask { parcel, bytes, reply }) = next else { return ready };
        let room = limits.allowed(now, &parcel.swarm, &parcel.peer).min(PART_MAX).min(bytes);
        if reply.send(room).is_ok() {
            limits.take(&parcel.swarm, &parcel.peer, room);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::limit::Rates;

    /// Everybody sends all it may; gives what each peer has sent.
    fn busy(uplink: &Arc<Uplink>, peers: u8) -> Vec<Arc<AtomicU64>> {
        let sender = |n: u8| {
            let (uplink, sent) = (Arc::clone(uplink), Arc::<AtomicU64>::default());
            let parcel = Parcel { class: Class::Normal, swarm: SwarmKey([1; 32]), peer: PeerId([n; 32]) };
            let counted = Arc::clone(&sent);
            tokio::spawn(async move {
                loop {
                    let room = uplink.take(parcel, 16_384).await;
                    counted.fetch_add(room as u64, Ordering::Relaxed);
                }
            });
            sent
        };
        (0..peers).map(sender).collect()
    }

    fn sum(sent: &[Arc<AtomicU64>]) -> u64 {
        sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum()
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_over_any_second_and_can_be_changed() {
        let limits = Limits::new(Rates { node: Rate(100_000), ..Rates::default() });
        let uplink = Arc::new(Uplink::new(limits));
        let sent = busy(&uplink, 4);
        let begun = Instant::now();
        for second in 1..=5 {
            tokio::time::sleep_until(begun + Duration::from_secs(second)).await;
            assert!((100_000 * second).abs_diff(sum(&sent)) <= 4_000, "{} bytes in {second} s", sum(&sent));
        }
        let before = sum(&sent);
        uplink.set_limit(Rate(1_000_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let more = sum(&sent) - before;
        assert!((930_000..=1_010_000).contains(&more), "{more} bytes in a second of the new limit");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_at_its_limit_does_not_hold_up_others() {
        let limits = Limits::new(Rates { peer: Rate(50_000), ..Rates::default() });
        let sent = busy(&Arc::new(Uplink::new(limits)), 6);
        tokio::time::sleep(Duration::from_secs(4)).await;
        for sent in sent {
            let sent = sent.load(Ordering::Relaxed);
            assert!(sent.abs_diff(200_000) <= 8_000, "{sent} bytes in 4 s");
        }
    }
}
