//! Processor seconds a gigabyte over loopback, both ends, each a process of its own as nodes are; the best of a few
//! interleaved rounds.

use std::net::SocketAddr;

use crate::contender::Contender;
use crate::quic::Congestion;
use crate::rig::{child, cpu_seconds};
use crate::{plain, runtime, workload};

const ROUNDS: usize = 4;
const PEERS: usize = 4;
const K: usize = 2;
const SIZE: usize = 64 << 10;
/// 512 MiB: a clock tick of 10 ms is then 2 % of a CPU second a gigabyte.
const PIECES: u64 = 8192;

/// The transport's own bar, CPU seconds a gigabyte.
const BAR: f64 = 2.0;
/// And of quinn alone in the same run.
const BAR_OF_QUINN: f64 = 0.55;

pub(crate) fn run() {
    let bytes = PIECES * SIZE as u64;
    type Way = (&'static str, fn(u64) -> f64);
    let ways: [Way; 5] = [
        ("TCP, 64 KiB writes", |bytes| both_ends("tcp", bytes)),
        ("UDP, GSO and GRO, in clear", |bytes| both_ends("clear", bytes)),
        ("UDP, GSO and GRO, AES-128-GCM", |bytes| both_ends("sealed", bytes)),
        ("our UDP transport", |_| pieces(Contender::Udp)),
        ("quinn alone", |_| pieces(Contender::Quinn(Congestion::Cubic))),
    ];
    let mut best = [f64::INFINITY; 5];
    for _ in 0..ROUNDS {
        for ((_, way), best) in ways.iter().zip(&mut best) {
            *best = best.min(way(bytes) / (bytes as f64 / 1e9));
        }
    }
    println!(
        "\nCPU seconds a gigabyte over loopback, both ends; pieces: {PEERS} peers x {K} x 64 KiB, encrypted"
    );
    println!("{:<32} {:>8} {:>8} {:>8} {:>8}", "", "CPU-s/GB", "/ TCP", "/ AEAD", "/ quinn");
    for ((name, _), cost) in ways.iter().zip(best) {
        println!(
            "{name:<32} {cost:>8.2} {:>8.2} {:>8.2} {:>8.2}",
            cost / best[0],
            cost / best[2],
            cost / best[4]
        );
    }
    println!(
        "bars: {:.2} of at most {BAR} CPU-s/GB; {:.2} of at most {BAR_OF_QUINN} x quinn",
        best[3],
        best[3] / best[4]
    );
}

/// A reference of [`plain`]: its reader is this process.
fn both_ends(what: &str, bytes: u64) -> f64 {
    let before = cpu_seconds("self");
    let mut writer = child(&["write", what, &bytes.to_string()]);
    let addr = writer.line().parse().unwrap();
    plain::read(what, addr, bytes);
    let cost = cpu_seconds("self") - before + writer.cpu_seconds();
    writer.end();
    cost
}

fn pieces(contender: Contender) -> f64 {
    let mut servers = child(&["serve", contender.name(), &PEERS.to_string(), "127.0.0.1"]);
    let addrs: Vec<SocketAddr> = servers.line().split(',').map(|addr| addr.parse().unwrap()).collect();
    let before = cpu_seconds("self") + servers.cpu_seconds();
    runtime().block_on(async {
        let pullers = contender.connect(&addrs).await;
        workload::pull_all(&pullers, K, SIZE, PIECES).await;
    });
    cpu_seconds("self") + servers.cpu_seconds() - before
}
