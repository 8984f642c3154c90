//! How many announces a second of processor time serves, and what a peer costs in memory:
//! `cargo bench -p pcdn-discovery --bench tracker [-- pure | memory | sockets | aquatic]`.
//!
//! - `pure`: the tracker without sockets, a million peers in 100,000 swarms; plain announces, finds, reports.
//! - `memory`: bytes a peer, by what the process grows.
//! - `sockets`: a server in a process of its own, on loopback, under this program's load.
//! - `aquatic`: the same load and aquatic's own load tester against both, if `AQUATIC_UDP` and `AQUATIC_UDP_LOAD_TEST` name the
//!   programs (`cargo build --release -p aquatic_udp -p aquatic_udp_load_test` in a checkout of aquatic).
//!
//! Figures are per second of the tracker's processor time (user and system), so a busy machine changes them little; compare
//! within one run.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // it prints its result, and ends when something is wrong

mod aquatic;
mod memory;
mod pure;
mod sockets;
mod world;

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve"] => sockets::serve(),
        ["fill", kind] => memory::fill(kind),
        ["pure"] => pure::run(),
        ["memory"] => memory::run(),
        ["sockets"] => sockets::run(),
        ["aquatic"] => aquatic::run(),
        [] => {
            pure::run();
            memory::run();
            sockets::run();
            aquatic::run();
        }
        _ => println!("one of: pure, memory, sockets, aquatic"),
    }
}
