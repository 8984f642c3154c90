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
//!
//! On two shared cores under a load of ten (2026-11): beside aquatic_udp 0.9 (git 2026-06) the median ratio of three rounds is 1.11
//! under our load (217,000 announces a CPU-second to 194,000) and 1.05 under aquatic's tester (109,000 to 107,000; single rounds
//! 0.91 to 1.06, and with more compilers beside it a median of 0.94), where 1.00 is wanted; `find` 0.9 of a plain announce (0.60
//! wanted); a report of 20 swarms 0.36 of an announce for each; 140 bytes a peer at a million peers, 129 by reports (160 wanted).
//! Three quarters of it are the system's. Memory that is not in the cache is most of the rest: asked for by the batch
//! ([`Service::warm`](pcdn_discovery::tracker::service::Service::warm)), an announce without sockets takes 1.2 µs instead of 1.6.
//! Loopback is exempt from limits, so what those cost is in `pure` alone.

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
