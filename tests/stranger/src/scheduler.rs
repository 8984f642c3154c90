//! Asks the fastest neighbour for each piece in order, and the origin for what nobody has.

use pcdn::core::dice::Dice;
use pcdn::core::schedule::{Plan, Scheduler, View};
use pcdn::core::transport::Class;

/// Requests to one neighbour at once.
const WINDOW: u16 = 4;

#[derive(Debug, Default)]
pub struct Fastest;

impl Scheduler for Fastest {
    fn plan<'v>(&mut self, view: &View<'v>, _: &mut Dice, plan: &mut Plan) {
        let mut room: Vec<u16> = view.neighbours.iter().map(|n| WINDOW.saturating_sub(n.flights)).collect();
        let mut origin = view.may_fetch() && view.origin.runs.is_empty();
        for slot in view.missing().filter(|slot| !view.piece(*slot).under_way()) {
            let piece = view.piece(slot);
            let willing = view.neighbours.iter().enumerate().filter(|(_, neighbour)| {
                let rested = neighbour.failures < 3 && neighbour.quiet_until <= view.now;
                piece.provable && rested && neighbour.gives(slot)
            });
            match willing.max_by_key(|(_, neighbour)| neighbour.rate) {
                Some((at, neighbour)) if room[at] > 0 => {
                    room[at] -= 1;
                    plan.ask(slot, neighbour.handle, Class::Normal);
                }
                None if origin => {
                    origin = false;
                    plan.fetch(slot, 4);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_contract() {
        pcdn::conformance::scheduler::scheduler(Fastest::default);
    }
}
