//! The baseline every figure is compared with: everything from the origin, in order.

use super::assign::next_run;
use super::{Plan, Scheduler, View};
use crate::dice::Dice;

/// Uses no peer.
#[derive(Debug, Default, Clone, Copy)]
pub struct OriginOnly;

impl Scheduler for OriginOnly {
    fn plan<'v>(&mut self, view: &View<'v>, _: &mut Dice, plan: &mut Plan) {
        if let Some(first) = next_run::in_order(view) {
            next_run::ahead(view, first, plan);
        }
    }
}
