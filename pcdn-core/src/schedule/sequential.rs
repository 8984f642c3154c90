//! The smallest scheduler worth running, for reading: in order, from whoever has it, else from the origin.

use super::{Neighbour, Plan, Scheduler, View};
use crate::dice::Dice;
use crate::transport::Class;

/// Asks for missing pieces in order; two requests a neighbour, one piece a time from the origin.
#[derive(Debug, Default, Clone, Copy)]
pub struct Sequential;

/// Requests to one neighbour: one being sent, one waiting behind it.
const WINDOW: u16 = 2;
/// After so many failures in a row a neighbour is passed over, or one that never answers would be asked for ever.
const FAILURES_MAX: u16 = 3;

fn willing(view: &View<'_>, neighbour: &Neighbour) -> bool {
    neighbour.failures < FAILURES_MAX && neighbour.quiet_until <= view.now
}

impl Scheduler for Sequential {
    fn plan<'v>(&mut self, view: &View<'v>, _: &mut Dice, plan: &mut Plan) {
        let mut room: Vec<u16> = view.neighbours.iter().map(|n| WINDOW.saturating_sub(n.flights)).collect();
        let mut origin_free = view.may_fetch() && view.origin.runs.is_empty();
        for slot in view.missing().filter(|slot| !view.piece(*slot).under_way()) {
            let provable = view.piece(slot).provable;
            let giver = view.neighbours.iter().position(|n| provable && n.gives(slot) && willing(view, n));
            match giver {
                Some(at) if room[at] > 0 => {
                    room[at] -= 1;
                    plan.ask(slot, view.neighbours[at].handle, Class::Normal);
                }
                None if origin_free => {
                    origin_free = false;
                    plan.fetch(slot, 1);
                }
                _ => {}
            }
            if !origin_free && room.iter().all(|free| *free == 0) {
                return;
            }
        }
    }
}
