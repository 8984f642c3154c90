//! The download state machine: which sources are in use.
//!
//! | phase | peers | origin |
//! |---|---|---|
//! | `Alone` | none can help | everything |
//! | `Together` | yes | duty, rescue and the policy's extra |
//! | `Assist` | yes | also fills up to the fair share |
//!
//! A phase is kept at least [`DWELL`], so that a rate that wavers around a mark does not make the node waver with it. There is
//! no phase in which both sources idle while pieces are missing.

use std::fmt::Debug;
use std::time::Duration;

use super::{Policy, View};
use crate::unit::Time;

/// Shortest stay in a phase (scheduling notes: 2 s; one second is two of the neighbours' status messages).
pub const DWELL: Duration = Duration::from_millis(1_500);
/// After this long without a neighbour that could help, the node is alone.
const ALONE_AFTER: Duration = Duration::from_millis(300);

/// Which sources are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody to share with: the origin gives everything.
    Alone,
    /// Peers give what they have; the origin gives what the swarm lacks.
    Together,
    /// Peers give less than the origin alone would: it fills up.
    Assist,
}

/// Decides the phase.
pub trait States: Send + Debug {
    /// The phase now.
    fn phase(&mut self, view: &View<'_>) -> Phase;
}

/// The default machine.
#[derive(Debug)]
pub struct Hysteresis {
    phase: Phase,
    since: Time,
    company: Option<Time>,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self { phase: Phase::Alone, since: Time::ZERO, company: None }
    }
}

impl States for Hysteresis {
    fn phase(&mut self, view: &View<'_>) -> Phase {
        if view.neighbours.iter().any(|n| n.failures < 3) {
            self.company = Some(view.now);
        }
        let company = self.company.is_some_and(|seen| view.now.since(seen) < ALONE_AFTER);
        let next = match (company, self.phase) {
            (false, _) => Phase::Alone,
            // Company is used at once; leaving it again takes the dwell.
            (true, Phase::Alone) => Phase::Together,
            (true, now) if view.now.since(self.since) < DWELL => now,
            (true, Phase::Together) if self.lags(view, LOW) => Phase::Assist,
            (true, Phase::Assist) if !self.lags(view, HIGH) => Phase::Together,
            (true, now) => now,
        };
        if next != self.phase {
            self.phase = next;
            self.since = view.now;
        }
        self.phase
    }
}

/// Below this part of the fair share the origin assists; above [`HIGH`] it stops.
const LOW: f64 = 0.9;
const HIGH: f64 = 1.1;

impl Hysteresis {
    /// Whether peers give less than `mark` of what the origin alone would.
    fn lags(&self, view: &View<'_>, mark: f64) -> bool {
        let mark = match view.policy {
            Policy::Cost => mark * 0.5,
            Policy::Balanced => mark,
            Policy::Speed => return true,
        };
        (view.peer_rate as f64) < view.fair_share() as f64 * mark
    }
}
