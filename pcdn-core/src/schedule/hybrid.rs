//! The default scheduler: three modules, each replaceable.

use super::assign::{Assign, EarliestArrival};
use super::buffer::{Buffer, Zones};
use super::phase::{Hysteresis, Phase, States};
use super::{Plan, Scheduler, View, seed_of};
use crate::dice::Dice;

/// Buffer management, download state machine and download algorithm, put together.
///
/// ```
/// use pcdn_core::schedule::{Hybrid, buffer::Zones};
/// use std::time::Duration;
/// // A node on a slow disk keeps a shorter buffer.
/// let short = Hybrid::default().with_buffer(Zones { horizon: Duration::from_secs(40), ..Zones::new(0) });
/// ```
#[derive(Debug)]
pub struct Hybrid {
    buffer: Option<Box<dyn Buffer>>,
    states: Box<dyn States>,
    assign: Box<dyn Assign>,
    phase: Phase,
}

impl Default for Hybrid {
    fn default() -> Self {
        Self {
            buffer: None,
            states: Box::new(Hysteresis::default()),
            assign: Box::new(EarliestArrival::default()),
            phase: Phase::Alone,
        }
    }
}

impl Hybrid {
    /// With another buffer management. Default: [`Zones`].
    pub fn with_buffer(self, buffer: impl Buffer + 'static) -> Self {
        Self { buffer: Some(Box::new(buffer)), ..self }
    }

    /// With another state machine. Default: [`Hysteresis`].
    pub fn with_states(self, states: impl States + 'static) -> Self {
        Self { states: Box::new(states), ..self }
    }

    /// With another download algorithm. Default: [`EarliestArrival`].
    pub fn with_assign(self, assign: impl Assign + 'static) -> Self {
        Self { assign: Box::new(assign), ..self }
    }
}

impl Scheduler for Hybrid {
    fn plan<'v>(&mut self, view: &View<'v>, dice: &mut Dice, plan: &mut Plan) {
        if view.pieces.is_empty() {
            return;
        }
        let before = self.phase;
        self.phase = self.states.phase(view);
        if before == Phase::Alone && self.phase != Phase::Alone {
            share_out(view, plan);
        }
        let buffer = self.buffer.get_or_insert_with(|| Box::new(Zones::new(seed_of(&view.me))));
        self.assign.assign(view, self.phase, buffer.as_ref(), dice, plan);
    }
}

/// Company has come: long runs made while alone are cut short, so that the rest is shared out by duty.
fn share_out(view: &View<'_>, plan: &mut Plan) {
    let long = u64::from(super::duty::RUN_PIECES) * u64::from(view.piece_len());
    view.origin.runs.iter().filter(|run| run.left > long).for_each(|run| plan.cut(run.id));
}
