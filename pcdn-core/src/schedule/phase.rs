//! The download state machine: which sources are in use.
//!
//! | phase | peers | origin |
//! |---|---|---|
//! | `Alone` | none can help | everything |
//! | `Together` | yes | duty, rescue and the policy's extra |
//! | `Assist` | yes | also fills up to the fair share: downloads only, players are rescued when they need it |
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
    origin: OriginRate,
}

impl Default for Hysteresis {
    fn default() -> Self {
        Self { phase: Phase::Alone, since: Time::ZERO, company: None, origin: OriginRate::default() }
    }
}

impl States for Hysteresis {
    fn phase(&mut self, view: &View<'_>) -> Phase {
        self.origin.look(view);
        if view.neighbours.iter().any(|n| n.failures < 3) {
            self.company = Some(view.now);
        }
        let company = self.company.is_some_and(|seen| view.now.since(seen) < ALONE_AFTER);
        let next = match (company, self.phase) {
            (false, _) => Phase::Alone,
            // Company is used at once; leaving it again takes the dwell.
            (true, Phase::Alone) => Phase::Together,
            (true, now) if view.now.since(self.since) < DWELL => now,
            (true, Phase::Together) if view.whole && self.lags(view, LOW) => Phase::Assist,
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

/// What this node takes from the origin, in bytes per second.
#[derive(Debug, Default)]
struct OriginRate {
    since: Time,
    used: u64,
    rate: f64,
}

/// The origin's rate is the mean over this long: runs come and go more often.
const ORIGIN_SPAN: f64 = 1.0;

impl OriginRate {
    fn look(&mut self, view: &View<'_>) {
        let span = view.now.since(self.since).as_secs_f64();
        if span >= ORIGIN_SPAN {
            self.rate = view.origin.used.saturating_sub(self.used) as f64 / span;
            (self.since, self.used) = (view.now, view.origin.used);
        }
    }
}

/// Below this part of the fair share the origin assists; above [`HIGH`] it stops. Staggered joins (simulator, `staggered8`): 0.95
/// takes 28 % from the origin, 1.0 takes 30 %, both in 21 s.
const LOW: f64 = 0.95;
const HIGH: f64 = 1.1;

impl Hysteresis {
    /// Whether peers, and what the origin gives beside them, bring less than `mark` of what the origin alone would.
    fn lags(&self, view: &View<'_>, mark: f64) -> bool {
        let mark = match view.policy {
            Policy::Cost => mark * 0.5,
            Policy::Balanced => mark,
            Policy::Speed => return true,
        };
        view.peer_rate as f64 + self.origin.rate < view.fair_share() as f64 * mark
    }
}
