//! Mutation fuzzing on stable Rust: takes valid messages, damages them, and holds every decoder to three laws.
//!
//! 1. No input makes it panic.
//! 2. What it takes comes back the same from its own encoder.
//! 3. It allocates in proportion to the input, never by a number the input claims.
//!
//! usage: `pcdn-fuzz SECONDS SEED`. The order of inputs is fixed by the seed; how many of them are tried, by the time.

mod engine;
mod meter;
mod mutate;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pcdn_core::dice::Dice;

use mutate::{Corpus, mutate};

/// One decoder and what it is fed with first.
struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    /// Decodes and checks the laws; says whether the input was taken.
    run: fn(&[u8]) -> bool,
    /// Bytes one input may make it allocate at once, for each byte of the input and beside them.
    allocation: (usize, usize),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let (Some(Ok(seconds)), Some(Ok(seed))) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: pcdn-fuzz SECONDS SEED");
        return ExitCode::from(2);
    };
    let targets = targets::all();
    let share = Duration::from_secs(seconds) / targets.len() as u32;
    for target in &targets {
        match fuzz(target, share, seed) {
            Ok((inputs, taken)) => println!("{:12} {inputs:9} inputs, {taken:8} taken", target.name),
            Err(input) => {
                eprintln!("{}: failed on {} bytes: {}", target.name, input.len(), hex(&input));
                eprintln!("repeat with: tests/fuzz/run {seconds} {seed}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("no input broke a decoder");
    ExitCode::SUCCESS
}

/// Runs a target for `share`; the input that broke it, if one did.
fn fuzz(target: &Target, share: Duration, seed: u64) -> Result<(u64, u64), Vec<u8>> {
    let mut dice = Dice::new(seed).fork(target.name);
    let mut corpus = Corpus::new(target.seeds.clone());
    for input in &target.seeds {
        match tried(target, input) {
            Some(true) => {}
            Some(false) => panic!("{}: a seed is no valid input: {}", target.name, hex(input)),
            None => return Err(input.clone()),
        }
    }
    let (begun, mut inputs, mut taken) = (Instant::now(), 0, 0);
    // The clock is looked at now and then: it costs more than a small decoder.
    while inputs % 64 != 0 || begun.elapsed() < share {
        let input = mutate(&corpus, &mut dice);
        inputs += 1;
        match tried(target, &input) {
            None => return Err(input),
            Some(true) => {
                taken += 1;
                corpus.learn(input, &mut dice);
            }
            Some(false) => {}
        }
    }
    Ok((inputs, taken))
}

/// Whether the target took the input; `None` if that broke a law.
fn tried(target: &Target, input: &[u8]) -> Option<bool> {
    meter::reset();
    let taken = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).ok()?;
    let (each, beside) = target.allocation;
    let (largest, allowed) = (meter::largest(), each * input.len() + beside);
    if largest > allowed {
        eprintln!("it allocated {largest} bytes at once; {allowed} are allowed");
        return None;
    }
    Some(taken)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
