//! Sessions that lost their way: the routers of both ends gave them other ports, and each sends to where the other is not.
//!
//! Where one end alone has moved QUIC follows by itself, if that is who dialled. Here both ends notice the silence and have
//! themselves called together anew, by the tracker that sees the socket, as links of the [UDP transport](crate::udp) do. Their
//! punches open the way; who dialled takes it by a [detour](crate::shared) as soon as it hears one, and who was dialled finds it
//! at a new address.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pcdn_core::id::PeerId;
use quinn::Connection;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::hub::Hub;
use crate::shared::Detours;
use crate::udp::Meetings;

/// A session that waits and has heard nothing for this long, and two round trips, has lost its way: as links of the UDP transport.
const STALLED: Duration = Duration::from_millis(600);
/// Who was not lost after all is given twice as long the next time, up to this: a peer may be slow to answer.
const PATIENCE_MAX: Duration = Duration::from_secs(10);
/// How often a session is looked at that waits, and one that does not.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(500));

/// How a way is found again.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    pub(super) meetings: Meetings,
    pub(super) detours: Arc<Detours>,
}

/// Watches a session until it ends. `fetches` counts what this end waits for.
pub(super) async fn watch(
    connection: Connection,
    peer: PeerId,
    hub: Arc<Hub>,
    ways: Ways,
    dialled: bool,
    fetches: Arc<AtomicUsize>,
) {
    let (mut silence, mut missed) = (Silence::new(Instant::now()), None);
    // Who was dialled follows by itself.
    let mut ear = dialled.then(|| ways.meetings.hear(peer));
    let known = connection.remote_address();
    loop {
        let stats = connection.stats();
        let waits = fetches.load(Ordering::Relaxed) > 0;
        let counts = (stats.udp_rx.datagrams, stats.udp_tx.datagrams);
        let lost = silence.look(Instant::now(), counts, waits, 2 * stats.path.rtt);
        if !lost {
            missed = None;
        } else if missed.is_none() {
            missed = Some(ways.meetings.lost(peer, connection.remote_address()));
        }
        let pause = if silence.waits_since.is_some() { LOOK.0 } else { LOOK.1 };
        tokio::select! {
            _ = connection.closed() => break,
            () = tokio::time::sleep(pause) => {}
            at = comes_through(&mut ear) => {
                let moved = silence.is_quiet(Instant::now()) && ways.detours.to(known) != at;
                if moved {
                    ways.detours.set(known, at);
                    silence.patience = STALLED;
                    // Said at once, so that the other end knows where this one is.
                    hub.nudge(&connection);
                }
            }
        }
    }
    if dialled {
        ways.detours.end(known);
    }
}

/// Where the peer comes through; never, if nobody says it.
async fn comes_through(ear: &mut Option<mpsc::Receiver<SocketAddr>>) -> SocketAddr {
    let told = match ear {
        Some(ear) => ear.recv().await,
        None => None,
    };
    match told {
        Some(at) => at,
        None => std::future::pending().await,
    }
}

/// Whether a session has fallen silent. Pure.
#[derive(Debug)]
struct Silence {
    /// Datagrams received, and sent by the time of the last.
    heard: u64,
    sent: u64,
    /// When the last was noticed.
    heard_at: Instant,
    waits_since: Option<Instant>,
    patience: Duration,
    lost: bool,
}

impl Silence {
    fn new(now: Instant) -> Self {
        Self { heard: 0, sent: 0, heard_at: now, waits_since: None, patience: STALLED, lost: false }
    }

    /// Whether nothing has come for so long that the peer may be elsewhere. It is, if it comes through from there.
    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.heard_at) >= STALLED
    }

    /// Datagrams (received, sent) so far; `waits` is whether something is due, besides an acknowledgement of what was sent. Says
    /// whether the way is lost.
    fn look(&mut self, now: Instant, (heard, sent): (u64, u64), waits: bool, trips: Duration) -> bool {
        if heard != self.heard {
            self.lost = false;
            (self.heard, self.sent, self.heard_at, self.waits_since) = (heard, sent, now, None);
        }
        if waits || sent > self.sent {
            let since = *self.waits_since.get_or_insert(now);
            if !self.lost && now.saturating_duration_since(since) >= self.patience + trips {
                self.lost = true;
                self.patience = (2 * self.patience).min(PATIENCE_MAX);
            }
        }
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_and_hears_nothing_is_lost_and_who_does_not_wait_is_not() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let trips = Duration::from_millis(100);
        let mut idle = Silence::new(begun);
        assert!((0..100).all(|n| !idle.look(at(n * 1_000), (5, 5), false, trips)));
        for (sends, waits) in [(true, false), (false, true)] {
            let mut silence = Silence::new(begun);
            assert!(!silence.look(at(0), (5, 5), waits, trips));
            let sent = if sends { 6 } else { 5 };
            assert!(!silence.look(at(100), (5, sent), waits, trips));
            assert!(!silence.look(at(699), (5, sent), waits, trips));
            assert!(silence.look(at(801), (5, sent + 1), waits, trips));
            assert!(!silence.look(at(900), (6, sent + 1), false, trips), "there it is");
            // It was slow: twice as long from now on.
            assert!(!silence.look(at(1_000), (6, sent + 2), waits, trips));
            assert!(!silence.look(at(2_200), (6, sent + 2), waits, trips));
            assert!(silence.look(at(2_301), (6, sent + 2), waits, trips));
        }
    }

    #[test]
    fn a_session_that_hears_something_all_the_time_is_never_lost() {
        let begun = Instant::now();
        let mut silence = Silence::new(begun);
        for n in 0..1_000 {
            let now = begun + Duration::from_millis(100 * n);
            assert!(!silence.look(now, (n / 5, 3 * n), true, Duration::ZERO), "{n}");
        }
    }
}
