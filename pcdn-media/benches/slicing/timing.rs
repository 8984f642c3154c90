//! Times that can be compared: all contestants take turns, and of each the best turn counts.
//!
//! Time is that of the processor for this thread, so that other work on the machine neither counts nor makes long turns look
//! slower than short ones.

use std::hint::black_box;
use std::time::Duration;

use cpu_time::ThreadTime;

/// Turns of each contestant. The best of so many differs by a few percent between runs on a busy machine.
const TURNS: usize = 20;

/// The best time of each of `works`, in their order. What they give is how much they found, lest it be optimised away.
pub(crate) fn best<const N: usize>(mut works: [&mut dyn FnMut() -> usize; N]) -> [Duration; N] {
    let mut best = [Duration::MAX; N];
    for _ in 0..TURNS {
        for (work, best) in works.iter_mut().zip(&mut best) {
            let start = ThreadTime::now();
            black_box(work());
            *best = start.elapsed().min(*best);
        }
    }
    best
}

/// Prints a line: a name, a figure with its unit, and a remark.
pub(crate) fn line(name: &str, figure: f64, unit: &str, remark: &str) {
    println!("  {name:24} {figure:7.2} {unit}   {remark}");
}

/// Prints milliseconds, and how often `ours` fits into them where there is one to compare with.
pub(crate) fn millis(name: &str, time: Duration, ours: Option<Duration>) {
    let remark = ours.map(|ours| format!("{:.1} times ours", time.as_secs_f64() / ours.as_secs_f64()));
    line(name, time.as_secs_f64() * 1e3, "ms", &remark.unwrap_or_default());
}
