//! What urgent DATA may have under way however full the queue is: as much as a TCP flow would.
//!
//! A controller that yields to delay starves beside a greedy flow that fills the queue, and a player waits. So urgent DATA has a
//! second window, by loss alone (RFC 5681, with the decrease of RFC 9438), of which the node's sessions together have one.

/// After a loss this much is left (RFC 9438 section 4.6).
const DECREASE: f64 = 0.7;
/// Packets of a round that may be missing for reordering's sake.
const MISSING_MAX: u64 = 1;

/// The loss-based window.
#[derive(Debug)]
pub(super) struct Floor {
    window: f64,
}

impl Default for Floor {
    fn default() -> Self {
        Self { window: super::WINDOW_MIN }
    }
}

impl Floor {
    /// A round is over in which `arrived` of `sent` packets arrived, one session of `senders`.
    pub(super) fn round(&mut self, sent: u64, arrived: u64, senders: usize) {
        let lost = sent.saturating_sub(arrived) > MISSING_MAX;
        self.window = if lost {
            (self.window * DECREASE).max(super::WINDOW_MIN)
        } else {
            (self.window + 1.0 / senders.max(1) as f64).min(super::WINDOW_MAX)
        };
    }

    /// Packets.
    pub(super) fn window(&self) -> f64 {
        self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_one_a_round_for_all_together_and_falls_with_loss() {
        let mut floor = Floor::default();
        (0..26).for_each(|_| floor.round(10, 9, 1));
        assert_eq!(floor.window(), 30.0);
        floor.round(10, 7, 1);
        assert_eq!(floor.window(), 21.0);
        (0..8).for_each(|_| floor.round(10, 10, 8));
        assert_eq!(floor.window(), 22.0);
    }
}
