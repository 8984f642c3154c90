//! A run is a function of scenario, seed and scheduler: without that, no failure found in the simulator can be looked at.

use std::time::Duration;

use pcdn::sim::{After, Join, Simulation};
use pcdn_core::unit::Span;

/// Two hundred homes with churn, loss and random joins: everything that draws dice.
fn crowd(seed: u64) -> pcdn::sim::Outcome {
    let mut scenario = pcdn::sim::Scenario::builtin("churn").expect("built in").with_peers(200);
    scenario.content.size = "512KiB".parse().expect("a size");
    scenario.viewers[0].loss = 0.005;
    scenario.viewers[0].after = After::Stay;
    scenario.viewers[0].join = Join::Within(Span(Duration::from_secs(2)));
    Simulation::of(scenario).expect("sound").seed(seed).run()
}

#[test]
fn equal_seeds_give_equal_runs_and_others_do_not() {
    let (first, again, other) = (crowd(1), crowd(1), crowd(2));
    assert!(first.is_right(), "{first}");
    assert!(first.killed > 50, "{first}");
    assert_eq!(first.trace, again.trace);
    assert_ne!(first.trace, other.trace);
    // Not only the trace: every figure but the time it took.
    assert_eq!(first, pcdn::sim::Outcome { wall_s: first.wall_s, ..again });
}
