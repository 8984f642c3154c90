//! How much of this node its owner uses.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pcdn_core::unit::Rate;

/// Upload that a node without a limit is believed to have: 20 Mbit/s, a modest fibre line.
const UPLOAD_GUESS: Rate = Rate::from_mbit(20);
/// While somebody watches here, contents for others are fetched at a tenth of the rate (PPTV's peers: 10 % of the line in use).
pub(super) const WATCHED_DIVISOR: u64 = 10;
/// The upload rate is a mean over about so many looks.
const LOOKS: f64 = 5.0;

#[derive(Debug)]
pub(super) struct Usage {
    upload: Rate,
    idle_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_read: Option<Instant>,
    looked: Option<(Instant, u64)>,
    rate: f64,
}

impl Usage {
    pub(super) fn new(upload: Rate, idle_after: Duration) -> Self {
        let upload = if upload.is_unlimited() { UPLOAD_GUESS } else { upload };
        Self { upload, idle_after, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A look: whether somebody reads, and the bytes given so far.
    pub(super) fn saw(&self, read: bool, uploaded: u64) {
        let now = Instant::now();
        let mut state = self.state();
        if read {
            state.last_read = Some(now);
        }
        if let Some((at, before)) = state.looked {
            let seconds = now.duration_since(at).as_secs_f64().max(1e-3);
            // A swarm that was left takes its sum with it.
            let rate = uploaded.saturating_sub(before) as f64 / seconds;
            state.rate += (rate - state.rate) / LOOKS;
        }
        state.looked = Some((now, uploaded));
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state().last_read.is_none_or(|at| at.elapsed() >= self.idle_after)
    }

    /// Whether more than half of the upload is in use.
    pub(super) fn is_busy(&self) -> bool {
        self.state().rate > self.upload.0 as f64 / 2.0
    }

    pub(super) fn spare(&self) -> Rate {
        Rate((self.upload.0 as f64 - self.state().rate).max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_idle_until_somebody_reads_and_again_after_a_while() {
        let usage = Usage::new(Rate(1_000), Duration::from_secs(3_600));
        assert!(usage.is_idle() && !usage.is_busy() && usage.spare() == Rate(1_000));
        usage.saw(true, 0);
        assert!(!usage.is_idle());
        let quick = Usage::new(Rate(1_000), Duration::ZERO);
        quick.saw(true, 0);
        assert!(quick.is_idle());
    }

    #[test]
    fn much_upload_is_busy() {
        let usage = Usage::new(Rate(1_000), Duration::ZERO);
        usage.saw(false, 0);
        usage.saw(false, 10_000_000);
        assert!(usage.is_busy() && usage.spare() == Rate(0));
    }
}
