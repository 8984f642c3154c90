//! The piece workload through an emulated access link: 100 Mbit/s, 20 ms of round trip, 50 ms of queue, loss both ways.

use crate::contender::Contender;
use crate::rig::{FAR, Rig};

const MBIT: f64 = 100.0;
const SECONDS: &str = "4";
/// Peers, pieces under way at each, bytes.
const SHAPES: [(usize, usize, usize); 4] =
    [(64, 1, 16 << 10), (64, 2, 64 << 10), (8, 4, 64 << 10), (1, 16, 64 << 10)];
const LOSSES: [f64; 3] = [0.0, 1.0, 3.0];

/// `only`: one shape, as in the table's first column.
pub(crate) fn run(only: Option<&str>) {
    let mut rig = Rig::new(&format!("rate={MBIT} delay=10 queue=50 seed=1"));
    println!(
        "\npieces through {MBIT} Mbit/s, 20 ms: Mbit/s of content / median / 99th percentile of a piece, ms"
    );
    println!(
        "bars: udp >= 85 % of the link without loss, >= 75 % with; its 99th percentile of 64x1x16K <= 0.8 of the better quinn"
    );
    print!("{:<6} {:<10}", "loss", "shape");
    Contender::ALL.iter().for_each(|contender| print!(" {:>22}", contender.name()));
    println!(" {:>8} {:>8}", "link", "p99/quinn");
    for loss in LOSSES {
        rig.set("home", &format!("loss={loss}"));
        for (peers, k, size) in SHAPES {
            let shape = format!("{peers}x{k}x{}K", size >> 10);
            if only.is_some_and(|only| only != shape) {
                continue;
            }
            print!("{:<6} {shape:<10}", format!("{loss} %"));
            let figures = Contender::ALL.map(|contender| {
                let figures = cell(&rig, contender, (peers, k, size));
                print!(" {:>22}", format!("{:.1} / {:.0} / {:.0}", figures[0], figures[1], figures[2]));
                figures
            });
            let quinn = figures[2][2].min(figures[3][2]);
            println!(" {:>6.0} % {:>8.2}", figures[0][0] / MBIT * 100.0, figures[0][2] / quinn);
        }
    }
}

/// Mbit/s, median and 99th percentile.
fn cell(rig: &Rig, contender: Contender, (peers, k, size): (usize, usize, usize)) -> Vec<f64> {
    let mut servers = rig.start("far", &["serve", contender.name(), &peers.to_string(), FAR]);
    let addrs = servers.line();
    let (k, size) = (k.to_string(), size.to_string());
    rig.start("home", &["pull", contender.name(), &addrs, &k, &size, SECONDS]).numbers()
}
