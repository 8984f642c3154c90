//! Whole swarms in virtual time: what must hold of every scenario, at sizes that a debug build runs in seconds. The full sizes
//! and their bars are run by `pcdn sim`.

use pcdn::sim::{Comparison, Outcome, Simulation};
use pcdn_core::verify::Integrity;

fn small(name: &str) -> Simulation {
    Simulation::builtin(name).expect("built in").size(6_000_000)
}

fn right(outcome: &Outcome) {
    assert!(outcome.is_right(), "{outcome}");
    assert_eq!(outcome.honest_banned, 0, "{outcome}");
}

#[test]
fn a_crowd_costs_the_origin_little_more_than_a_copy() {
    let outcome = small("crowd8").run();
    right(&outcome);
    assert!(outcome.origin_amplification < 2.5, "{outcome}");
    assert!(outcome.waste < 0.05, "{outcome}");
}

#[test]
fn witnesses_are_enough_where_nobody_signs() {
    let outcome = small("crowd8-witnessed").run();
    right(&outcome);
    assert!(outcome.p2p_ratio > 0.3, "{outcome}");
}

#[test]
fn liars_reach_no_reader() {
    for integrity in [Integrity::Signed, Integrity::Witnessed] {
        let outcome = small("liars").integrity(integrity).run();
        right(&outcome);
    }
}

#[test]
fn killed_peers_are_survived() {
    let outcome = small("churn").peers(16).run();
    right(&outcome);
    assert!(outcome.killed > 0, "{outcome}");
}

#[test]
fn an_outage_of_the_origin_is_survived() {
    right(&small("origin-outage").run());
}

#[test]
fn equal_bytes_are_counted_at_both_ends() {
    let outcome = small("crowd8").run();
    let uploaded: u64 = outcome.viewers.iter().map(|viewer| viewer.uploaded).sum();
    assert!(uploaded >= outcome.peer_bytes, "{outcome}");
    assert!(uploaded - outcome.peer_bytes < outcome.delivered_bytes / 20, "{outcome}");
}

/// The same world with and without peers.
fn never_worse(name: &str, slack: f64) -> Comparison {
    let comparison = small(name).compare();
    assert!(comparison.never_worse(slack), "{name}\n{comparison}");
    assert_eq!(comparison.origin_only.peer_bytes, 0);
    comparison
}

#[test]
fn peers_never_make_it_worse() {
    let crowd = never_worse("crowd8", 0.0);
    assert!(crowd.makespan_ratio() < 0.8, "{crowd}");
    never_worse("dead-tracker", 0.01);
    never_worse("play8", 0.05);
    // A request that is never answered costs its time-out once; of the four seconds that this size takes, that is a part.
    never_worse("slow-peers", 0.15);
    never_worse("dead-peers", 0.15);
    never_worse("lossy", 0.1);
}

#[test]
fn charts_and_json_say_what_the_outcome_says() {
    let outcome = small("crowd8").peers(3).run();
    let back: Outcome = serde_json::from_str(&outcome.to_json()).expect("own JSON");
    assert_eq!(back.trace, outcome.trace);
    let svg = outcome.to_svg();
    assert!(svg.starts_with("<svg") && svg.contains("home 2") && svg.trim_end().ends_with("</svg>"));
}
