//! Mutation fuzzing on stable Rust: takes valid messages, damages them, and holds every decoder to three laws.
//!
//! 1. No input makes it panic.
//! 2. What it takes comes back the same from its own encoder; where it has none, its target says what else must hold.
//! 3. It allocates in proportion to the input, never by a number the input claims.
//!
//! usage: `pcdn-fuzz SECONDS SEED [TARGET]`: all targets, or those whose names begin so, share the time. The order of inputs is fixed by the seed; how many of them are tried, by the time.

mod engine;
mod meter;
mod mutate;
mod seed;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use pcdn_core::dice::Dice;

use mutate::{Corpus, mutate};
use seed::Seed;

/// One decoder and what it is fed with first.
struct Target {
    name: &'static str,
    seeds: Vec<Seed>,
    /// Decodes and checks the laws; says whether the input was taken.
    run: fn(&[u8]) -> bool,
    /// Bytes one input may make it allocate at once, for each byte of the input and beside them.
    allocation: (usize, usize),
    /// Words of its language, for inputs that are text.
    words: &'static [&'static str],
}

impl Target {
    /// Whose seeds are all good.
    fn new(
        name: &'static str,
        seeds: Vec<Vec<u8>>,
        run: fn(&[u8]) -> bool,
        allocation: (usize, usize),
    ) -> Self {
        Self::of(name, seeds.into_iter().map(Seed::good).collect(), run, allocation)
    }

    fn of(name: &'static str, seeds: Vec<Seed>, run: fn(&[u8]) -> bool, allocation: (usize, usize)) -> Self {
        Self { name, seeds, run, allocation, words: &[] }
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next()?.parse::<u64>().ok();
    let (Some(seconds), Some(seed)) = (number(), number()) else {
        eprintln!("usage: pcdn-fuzz SECONDS SEED [TARGET]");
        return ExitCode::from(2);
    };
    let which = arguments.next().unwrap_or_default();
    let targets: Vec<Target> = targets::all().into_iter().filter(|it| it.name.starts_with(&which)).collect();
    if targets.is_empty() {
        eprintln!("there is no target whose name begins with {which:?}");
        return ExitCode::from(2);
    }
    let share = Duration::from_secs(seconds) / targets.len() as u32;
    for target in &targets {
        match fuzz(target, share, seed) {
            Ok((inputs, taken)) => println!("{:12} {inputs:9} inputs, {taken:8} taken", target.name),
            Err(input) => {
                eprintln!("{}: failed on {} bytes: {}", target.name, input.len(), hex(&input));
                eprintln!("repeat with: tests/fuzz/run {} {seed} \"{}\"", share.as_secs() + 1, target.name);
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
    let mut corpus = Corpus::new(target.seeds.iter().map(|seed| seed.bytes.clone()).collect(), target.words);
    for Seed { name, bytes, good } in &target.seeds {
        match tried(target, bytes) {
            Some(taken) if taken == *good => {}
            Some(true) => panic!("{}: the bad seed {name} is taken", target.name),
            Some(false) => panic!("{}: the seed {name} is not taken: {}", target.name, hex(bytes)),
            None => return Err(bytes.clone()),
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
