//! Learn: write your own scheduler and see in the simulator whether it is any good.
//!
//! Run: `cargo run --release --example custom_scheduler [-- MEGABYTES]`

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)] // an example talks

use pcdn::sim::{Outcome, Simulation};
use pcdn_core::dice::Dice;
use pcdn_core::schedule::{Hybrid, Plan, Scheduler, Slot, View};
use pcdn_core::transport::Class;

/// Takes every piece from the cheapest source: the nearest neighbour that has it; the origin only for what nobody has.
#[derive(Debug, Default)]
struct Cheapest;

/// Requests to one neighbour at once: one being sent and some behind it.
const WINDOW: u16 = 8;
/// Pieces in one request to the origin.
const RUN: u32 = 8;

impl Scheduler for Cheapest {
    fn plan<'v>(&mut self, view: &View<'v>, dice: &mut Dice, plan: &mut Plan) {
        let mut free: Vec<u16> = view.neighbours.iter().map(|n| WINDOW.saturating_sub(n.flights)).collect();
        let mut nobody_has: Vec<Slot> = Vec::new();
        for slot in view.missing().filter(|slot| !view.piece(*slot).under_way()) {
            let piece = view.piece(slot);
            if !piece.offered() {
                // Somebody who said that it fetches it will have it soon.
                nobody_has.extend((piece.claims == 0).then_some(slot));
                continue;
            }
            let givers =
                (0..view.neighbours.len()).filter(|at| free[*at] > 0 && view.neighbours[*at].gives(slot));
            if let Some(nearest) =
                givers.min_by_key(|at| (view.neighbours[*at].rtt, view.neighbours[*at].flights))
            {
                free[nearest] -= 1;
                plan.ask(slot, view.neighbours[nearest].handle, Class::Normal);
            }
        }
        // Drawn by lot, so that newcomers begin at different places and have something to trade.
        if view.origin.runs.is_empty()
            && let Some(first) = dice.pick(&nobody_has)
        {
            plan.fetch(*first, RUN);
        }
    }
}

fn compare(size: u64) -> Result<[Outcome; 2], pcdn::sim::ScenarioError> {
    let crowd = || Ok(Simulation::builtin("crowd8")?.size(size).seed(1));
    let mine = crowd()?.scheduler(|| Box::new(Cheapest)).run();
    let default = crowd()?.scheduler(|| Box::new(Hybrid::default())).run();
    Ok([mine, default])
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let megabytes: u64 = std::env::args().nth(1).map_or(Ok(100), |word| word.parse())?;
    for (name, outcome) in ["cheapest", "hybrid"].into_iter().zip(compare(megabytes * 1_000_000)?) {
        let (seconds, share) = (outcome.makespan_s, outcome.origin_share * 100.0);
        println!("{name:10} {seconds:6.1} s, {share:5.1} % from the CDN, right: {}", outcome.is_right());
    }
    Ok(())
}

#[test]
fn it_delivers_every_byte_and_shares() {
    let [mine, default] = compare(6_000_000).expect("built in");
    assert!(mine.is_right() && default.is_right());
    assert!(mine.p2p_ratio > 0.3, "{mine}");
}
