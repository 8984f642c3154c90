//! What our UDP transport costs and reaches beside QUIC, TCP and bare UDP in the same run:
//! `cargo bench -p pcdn-transport --bench transport [-- cpu | pieces | household | idle]`.
//!
//! - `cpu`: processor seconds a gigabyte over loopback, both ends; the piece workload of 4 peers × 2 × 64 KiB.
//! - `pieces`: K pieces under way at each of N peers through 100 Mbit/s with a round trip of 20 ms, under loss.
//! - `household`: what a round trip and a foreign TCP flow feel while a home of 20 Mbit/s with 300 ms of buffer uploads to 8.
//! - `idle`: memory of a neighbour that is connected and asks for nothing.
//!
//! `pieces` and `household` make network namespaces and TUN devices (Linux, root) and build the link emulator of the end-to-end
//! tests. Times on a busy machine say little: compare within one run. A word more narrows a table: `pieces 64x1x16K`,
//! `household udp`.

//!
//! On two shared cores of an AMD EPYC server (virtual machine, load 8 to 10, Linux 6, Rust 1.95), against the bars:
//!
//! | what | figure | bar |
//! |---|---|---|
//! | `cpu` | 1.08 CPU-s/GB; 0.54 × quinn's 2.01; 2.3 × bare UDP with GSO and AES-128-GCM (0.47), 4.1 × TCP (0.26) | ≤ 2.0; ≤ 0.55 |
//! | `pieces`, share of the link, worst of four shapes | 94 % without loss, 94 % at 1 %, 91 % at 3 % | ≥ 85, 75, 75 % |
//! | `pieces 64x1x16K`, 99th percentile | 131, 159, 164 ms: 0.56, 0.68, 0.74 × the better quinn | ≤ 0.8 |
//! | `household`, mean round trip | idle + 12 ms at 18.8 of 20 Mbit/s; quinn CUBIC + 248, BBR + 259 | ≤ 25 ms at ≥ 18.0 |
//! | `household`, TCP beside it | 93 % of its rate alone; beside quinn 5 % | ≥ 85 % |
//! | `household quic`, our QUIC | idle + 18 ms at 18.7 of 20 Mbit/s; TCP beside it keeps 87 % | the same |
//! | `idle` | 3.9 KB, quinn 56 KB | ≤ 4 KiB |
//!
//! In the other shapes our 99th percentile is 0.69 to 1.04 of the better quinn's; its median is higher than BBR's, which serves some peers
//! first.

#![allow(clippy::print_stdout, clippy::unwrap_used)] // it prints its result, and ends when something is wrong

mod contender;
mod cpu;
mod household;
mod idle;
mod ours;
mod pieces;
mod plain;
mod quic;
mod rig;
mod workload;

fn main() {
    // `cargo bench` adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["child", part, ref rest @ ..] => match part {
            "serve" => workload::serve(rest),
            "pull" => workload::pull(rest),
            "write" => plain::write(rest),
            "echo" => plain::echo(),
            "ping" => plain::ping(rest),
            "sink" => plain::tcp_sink(),
            "pour" => plain::tcp_pour(rest),
            "callers" => idle::callers(rest),
            _ => println!("no such part"),
        },
        ["cpu"] => cpu::run(),
        ["pieces", ref only @ ..] => pieces::run(only.first().copied()),
        ["household", ref only @ ..] => household::run(only.first().copied()),
        ["idle"] => idle::run(),
        [] => {
            cpu::run();
            pieces::run(None);
            household::run(None);
            idle::run();
        }
        _ => println!("one of: cpu, pieces, household, idle"),
    }
}

/// A runtime as nodes have it.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
