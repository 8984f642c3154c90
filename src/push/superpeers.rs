//! Who is a superpeer, as trackers sign it: those are asked to hold first.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pcdn_core::id::PeerId;
use pcdn_core::superpeer::Status;
use pcdn_discovery::tracker::standing::http::{SuperpeersBody, from_hex, wall_clock};

use crate::http::call::Call;

/// Trackers are asked so often; a status holds for an hour.
const ASK_EVERY: Duration = Duration::from_secs(60);
/// Superpeers known at most: those of 20 full regions.
const KNOWN_MAX: usize = 10_000;

/// Shares of the full priority, by peer.
#[derive(Debug, Default)]
pub(super) struct Superpeers {
    known: Mutex<BTreeMap<PeerId, Status>>,
}

impl Superpeers {
    /// A peer's share of a superpeer's priority now, 0 to 1.
    pub(super) fn share(&self, peer: &PeerId) -> f64 {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now_ms = wall_clock().0 / 1_000;
        known
            .get(peer)
            .filter(|status| status.until_ms > now_ms)
            .map_or(0.0, |status| f64::from(status.share) / 100.0)
    }

    /// Asks `trackers` again and again. What one does not answer is known until it is over.
    pub(super) async fn follow(&self, trackers: Vec<Call>) {
        let mut rounds = tokio::time::interval(ASK_EVERY);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            for tracker in &trackers {
                match tracker.get::<SuperpeersBody>("/v1/superpeers").await {
                    Ok(body) => self.learn(&body, wall_clock().0 / 1_000),
                    Err(error) => tracing::debug!(%error, "who is a superpeer is not known"),
                }
            }
        }
    }

    fn learn(&self, body: &SuperpeersBody, now_ms: u64) {
        let statuses = body.superpeers.iter().filter_map(|text| Status::decode(&from_hex(text)?));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, status| status.until_ms > now_ms);
        for status in statuses.filter(|status| status.holds(&body.tracker, now_ms)) {
            if known.len() < KNOWN_MAX || known.contains_key(&status.peer) {
                known.insert(status.peer, status);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use pcdn_core::id::Identity;
    use pcdn_discovery::tracker::standing::http::hex;

    use super::*;

    #[test]
    fn only_what_the_tracker_signed_for_now_counts() {
        let (tracker, other) = (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]));
        let now_ms = wall_clock().0 / 1_000;
        let peer = |n: u8| PeerId([n; 32]);
        let superpeers = Superpeers::default();
        let statuses = [
            Status::sign(&tracker, peer(1), 0.25, now_ms),
            Status::sign(&other, peer(2), 1.0, now_ms),
            Status::sign(&tracker, peer(3), 1.0, now_ms - 2 * Status::HOLDS_MS),
        ];
        let mut texts: Vec<String> = statuses.iter().map(|status| hex(&status.encode())).collect();
        texts.push("not hex".to_owned());
        superpeers.learn(&SuperpeersBody { tracker: tracker.peer_id(), superpeers: texts }, now_ms);
        assert_eq!([1, 2, 3].map(|n| superpeers.share(&peer(n))), [0.25, 0.0, 0.0]);
    }
}
