//! What a scheduler answers with: what shall begin or end now.

use super::{Handle, Slot};
use crate::transport::Class;
use crate::unit::Time;

/// What shall begin or end now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order the scheduler gave them.
    pub steps: Vec<Step>,
    /// When the scheduler wants to be called again at the latest.
    pub wake: Option<Time>,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask a neighbour for a piece.
    Ask {
        /// Which.
        slot: Slot,
        /// Whom.
        from: Handle,
        /// How pressing.
        class: Class,
    },
    /// Fetch a run of pieces from the origin.
    Fetch {
        /// First piece.
        first: Slot,
        /// Pieces.
        count: u32,
    },
    /// Give up a request to a neighbour.
    Drop {
        /// Its number.
        flight: u64,
    },
    /// Cut an origin run short after the pieces already begun.
    Cut {
        /// Its number.
        run: u64,
    },
}

impl Plan {
    /// Asks `from` for `slot`.
    pub fn ask(&mut self, slot: Slot, from: Handle, class: Class) {
        self.steps.push(Step::Ask { slot, from, class });
    }

    /// Fetches `count` pieces from `first` on from the origin. The run ends with its segment, or before the first piece that
    /// is held or being fetched.
    pub fn fetch(&mut self, first: Slot, count: u32) {
        self.steps.push(Step::Fetch { first, count });
    }

    /// Gives up a request.
    pub fn drop_flight(&mut self, flight: u64) {
        self.steps.push(Step::Drop { flight });
    }

    /// Stops an origin run.
    pub fn cut(&mut self, run: u64) {
        self.steps.push(Step::Cut { run });
    }

    /// Wants to be called at `at`.
    pub fn wake_at(&mut self, at: Time) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
