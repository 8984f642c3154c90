//! The limits on what all sessions send, and who goes first below them.
//!
//! Without a limit nothing waits here. With one, whoever has a chunk to send stands in line by class; a task hands out room as the
//! limits allow, the most pressing first and every tenth turn to the least pressing, so that nobody waits for ever. Who is held up
//! by the limit of its own swarm or peer holds up nobody else.

use std::sync::Arc;

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::transport::Class;
use pcdn_core::unit::{Rate, Time};
use tokio::sync::{Notify, mpsc, oneshot};

use super::line::{Line, Waiting};
use crate::limit::Limits;

/// Room is handed out in parts of one packet at least, so that a low limit does not send crumbs.
const PART_MIN: u64 = 1_200;
/// A part at most: what a chunk has.
const PART_MAX: u64 = 16 * 1024;
/// Waiters whose wish is not yet in line, at most; beyond, they wait for that.
const ASKS_MAX: usize = 64;

/// Handle of the task that owns the line. The task ends with the last handle.
#[derive(Debug)]
pub(super) struct Uplink {
    limits: Limits,
    changed: Arc<Notify>,
    asks: mpsc::Sender<Ask>,
}

/// Somebody with a chunk to send.
#[derive(Debug)]
struct Ask {
    class: Class,
    swarm: SwarmKey,
    peer: PeerId,
    bytes: usize,
    reply: oneshot::Sender<usize>,
}

impl Waiting for Ask {
    fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

impl Uplink {
    /// One within `limits`, which other transports may share.
    pub(super) fn new(limits: Limits) -> Self {
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let changed = Arc::default();
        tokio::spawn(run(asked, limits.clone(), Arc::clone(&changed)));
        Self { limits, changed, asks }
    }

    /// Changes the node's limit.
    pub(super) fn set_limit(&self, limit: Rate) {
        self.limits.set_node(limit);
        self.changed.notify_one();
    }

    /// Waits for room; gives how many of `bytes` may go to `peer` for `swarm` now, at least one. Dropping the future leaves the
    /// line.
    pub(super) async fn take(&self, class: Class, swarm: SwarmKey, peer: PeerId, bytes: usize) -> usize {
        if self.limits.is_unlimited() {
            return bytes;
        }
        let (reply, room) = oneshot::channel();
        if self.asks.send(Ask { class, swarm, peer, bytes, reply }).await.is_err() {
            return bytes;
        }
        // The task answers everybody in its line, and lives as long as this handle.
        room.await.unwrap_or(bytes)
    }
}

async fn run(mut asked: mpsc::Receiver<Ask>, limits: Limits, changed: Arc<Notify>) {
    let mut line = Line::default();
    loop {
        let ready = serve(&mut line, &limits);
        tokio::select! {
            ask = asked.recv() => match ask {
                Some(ask) => line.push(ask.class, ask),
                None => return,
            },
            () = changed.notified() => {}
            () = tokio::time::sleep_until(limits.instant(ready)), if !line.is_empty() => {}
        }
    }
}

/// Answers who may send now, and says when to look again for the others, who stay in line in their order.
fn serve(line: &mut Line<Ask>, limits: &Limits) -> Time {
    let now = limits.now();
    let (mut held, mut ready) = (Vec::new(), Time::NEVER);
    while let Some(ask) = line.next() {
        let part = (ask.bytes as u64).min(PART_MIN);
        let allowed = limits.allowed(now, &ask.swarm, &ask.peer).min(PART_MAX);
        if allowed < part {
            ready = ready.min(limits.ready_at(&ask.swarm, &ask.peer, part));
            held.push(ask);
            continue;
        }
        let room = ask.bytes.min(allowed as usize);
        // Who has left the line takes nothing.
        if ask.reply.send(room).is_ok() {
            limits.take(&ask.swarm, &ask.peer, room as u64);
        }
    }
    held.into_iter().for_each(|ask| line.push(ask.class, ask));
    ready
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::limit::Rates;

    const SWARM: SwarmKey = SwarmKey([1; 32]);

    /// Somebody who always has something to send to `peer`.
    fn sends(uplink: &Arc<Uplink>, peer: u8) -> Arc<AtomicU64> {
        let (uplink, sent) = (Arc::clone(uplink), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&sent);
        tokio::spawn(async move {
            loop {
                let room = uplink.take(Class::Normal, SWARM, PeerId([peer; 32]), 16_384).await;
                counted.fetch_add(room as u64, Ordering::Relaxed);
            }
        });
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_held_up_by_its_own_limit_holds_up_nobody() {
        let rates = Rates { node: Rate(1_000_000), peer: Rate(100_000), ..Rates::default() };
        let uplink = Arc::new(Uplink::new(Limits::new(rates)));
        let one = [sends(&uplink, 1), sends(&uplink, 1), sends(&uplink, 1)];
        let others = [sends(&uplink, 2), sends(&uplink, 3)];
        tokio::time::sleep(Duration::from_secs(5)).await;
        let sum = |sent: &[Arc<AtomicU64>]| sent.iter().map(|sent| sent.load(Ordering::Relaxed)).sum::<u64>();
        for peer in [&one[..], &others[..1], &others[1..]] {
            assert!((490_000..=510_000).contains(&sum(peer)), "{} bytes in 5 s", sum(peer));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_limit_holds_over_any_second_and_can_be_changed() {
        let uplink = Arc::new(Uplink::new(Limits::new(Rates { node: Rate(100_000), ..Rates::default() })));
        let senders = [1, 2, 3, 4].map(|peer| sends(&uplink, peer));
        let sent = || senders.iter().map(|sent| sent.load(Ordering::Relaxed)).sum::<u64>();
        let begun = Instant::now();
        for second in 1..=5 {
            tokio::time::sleep_until(begun + Duration::from_secs(second)).await;
            let sent = sent();
            assert!((100_000 * second).abs_diff(sent) <= 2 * PART_MIN + 2_560, "{sent} bytes in {second} s");
        }
        let before = sent();
        uplink.set_limit(Rate(1_000_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let more = sent() - before;
        assert!((980_000..=1_010_000).contains(&more), "{more} bytes in a second of the new limit");
    }
}
