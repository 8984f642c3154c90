//! Learn: run a whole swarm in virtual time and see who got what from where.
//!
//! Run: `cargo run --release --example simulate -- crowd8 [--seed 7] [--peers 20] [--size 10MB] [--svg chart.svg | --compare]`

#![allow(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)] // an example talks

use pcdn::core::unit::ByteSize;
use pcdn::sim::{Scenario, Simulation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| words.iter().position(|word| word == name).and_then(|at| words.get(at + 1));
    let Some(name) = words.first().filter(|word| !word.starts_with('-')) else {
        Scenario::builtins().for_each(|scenario| println!("{:16} {}", scenario.name, scenario.about));
        return Ok(());
    };
    let mut simulation = Simulation::builtin(name)?;
    if let Some(seed) = option("--seed") {
        simulation = simulation.seed(seed.parse()?);
    }
    if let Some(peers) = option("--peers") {
        simulation = simulation.peers(peers.parse()?);
    }
    if let Some(size) = option("--size") {
        simulation = simulation.size(size.parse::<ByteSize>()?.0);
    }
    if words.iter().any(|word| word == "--compare") {
        println!("{}", simulation.compare());
        return Ok(());
    }
    let outcome = simulation.run();
    println!("{outcome}");
    if let Some(file) = option("--svg") {
        std::fs::write(file, outcome.to_svg())?;
    }
    Ok(())
}

#[test]
fn a_crowd_shares_and_every_byte_is_right() {
    let outcome = Simulation::builtin("crowd8").expect("built in").size(6_000_000).run();
    assert!(outcome.is_right());
    assert!(outcome.p2p_ratio > 0.5, "{outcome}");
}
