//! What every [`Scheduler`] must do: plan only what can be done, and never let a download stand still.

mod world;

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::schedule::{Plan, Scheduler, Step, View};

use world::World;

/// Worlds a scheduler is tried in.
const WORLDS: u64 = 60;
/// Ticks of one world: far more than any sensible scheduler needs for its few pieces.
const TICKS_MAX: u32 = 6_000;
/// Ticks in a row without anything under way, while the origin could be asked, before a scheduler counts as asleep: 10 s.
const IDLE_TICKS_MAX: u32 = 50;

/// Asserts the contract in some dozens of small random worlds, each a download or a stream with neighbours that come, go,
/// refuse and fall silent, and an origin that fails now and then. `make` gives a new scheduler, as for each swarm.
///
/// # Panics
/// With the clause that is broken, and the seed of its world.
pub fn scheduler<S: Scheduler>(make: impl Fn() -> S) {
    for seed in 0..WORLDS {
        let mut world = World::new(seed);
        let mut scheduler = make();
        let ticks = run(&mut world, &mut scheduler, seed);
        assert!(
            ticks < TICKS_MAX,
            "world {seed}: a download must end; {} pieces are missing",
            world.missing()
        );
        let same = run(&mut World::new(seed), &mut make(), seed);
        assert_eq!(ticks, same, "world {seed}: the same view, time and dice must give the same plan");
    }
}

/// Runs a world until everything is there; says how many ticks it took.
fn run(world: &mut World, scheduler: &mut dyn Scheduler, seed: u64) -> u32 {
    let mut dice = Dice::new(seed).fork("scheduler");
    let mut idle = 0;
    for tick in 0..TICKS_MAX {
        if world.missing() == 0 {
            return tick;
        }
        let mut plan = Plan::default();
        world.view(|view| {
            scheduler.plan(view, &mut dice, &mut plan);
            every_step_can_be_done(view, &plan, seed);
        });
        world.carry_out(&plan);
        let sleeps = !world.under_way() && world.origin_ready();
        idle = if sleeps { idle + 1 } else { 0 };
        assert!(
            idle < IDLE_TICKS_MAX,
            "world {seed}: pieces are missing, the origin may be asked, and nothing is done"
        );
        world.tick();
    }
    TICKS_MAX
}

fn every_step_can_be_done(view: &View<'_>, plan: &Plan, seed: u64) {
    let mut asked: BTreeSet<_> = view.flights.iter().map(|flight| (flight.slot, flight.from)).collect();
    let mut fetched = BTreeSet::new();
    for step in &plan.steps {
        match *step {
            Step::Ask { slot, from, .. } => {
                assert!(
                    (slot.0 as usize) < view.pieces.len(),
                    "world {seed}: {step:?}: there is no such piece"
                );
                let piece = view.piece(slot);
                let neighbour = view.neighbour(from);
                let neighbour =
                    neighbour.unwrap_or_else(|| panic!("world {seed}: {step:?}: there is no such neighbour"));
                assert!(!piece.held, "world {seed}: {step:?}: the piece is here already");
                assert!(piece.provable, "world {seed}: {step:?}: a copy from a peer could not be checked");
                assert!(
                    view.now >= neighbour.quiet_until,
                    "world {seed}: {step:?}: the neighbour wants its rest"
                );
                assert!(neighbour.gives(slot), "world {seed}: {step:?}: the neighbour does not hold it");
                assert!(
                    asked.insert((slot, from)),
                    "world {seed}: {step:?}: the neighbour was asked for it already"
                );
            }
            Step::Fetch { first, count } => {
                assert!(count > 0, "world {seed}: {step:?}: a run of no pieces");
                assert!(
                    (first.0 as usize) < view.pieces.len(),
                    "world {seed}: {step:?}: there is no such piece"
                );
                assert!(view.origin.allowed, "world {seed}: {step:?}: the origin must not be asked");
                assert!(view.may_fetch(), "world {seed}: {step:?}: the origin wants its rest");
                let piece = view.piece(first);
                assert!(!piece.held && !piece.fetching, "world {seed}: {step:?}: it needs no fetching");
                assert!(fetched.insert(first), "world {seed}: {step:?}: fetched twice by one plan");
            }
            Step::Drop { flight } => {
                let known = view.flights.iter().any(|f| f.id == flight);
                assert!(known, "world {seed}: {step:?}: there is no such request");
            }
            Step::Cut { run } => {
                let known = view.origin.runs.iter().any(|r| r.id == run);
                assert!(known, "world {seed}: {step:?}: there is no such run");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Hybrid, OriginOnly, Sequential, Slot};

    #[test]
    fn shipped_schedulers_keep_the_contract() {
        scheduler(|| Sequential);
        scheduler(|| OriginOnly);
        scheduler(Hybrid::default);
    }

    #[derive(Debug)]
    struct Bad(fn(&View<'_>, &mut Plan));
    impl Scheduler for Bad {
        fn plan<'v>(&mut self, view: &View<'v>, _: &mut Dice, plan: &mut Plan) {
            (self.0)(view, plan);
        }
    }

    #[test]
    #[should_panic(expected = "nothing is done")]
    fn a_scheduler_that_sleeps_is_found_out() {
        scheduler(|| Bad(|_, _| {}));
    }

    #[test]
    #[should_panic(expected = "it needs no fetching")]
    fn a_scheduler_that_fetches_what_is_held_is_found_out() {
        scheduler(|| {
            Bad(|view, plan| {
                if view.may_fetch() {
                    plan.fetch(Slot(0), 1)
                }
            })
        });
    }
}
