//! A home of 20 Mbit/s up with 300 ms of buffer uploads to 8 peers all it can: what do its other users feel?

use crate::contender::Contender;
use crate::rig::{FAR, HOME, Rig};

const MBIT: f64 = 20.0;
const SECONDS: &str = "8";
const PEERS: usize = 8;

/// `only`: one contender.
pub(crate) fn run(only: Option<&str>) {
    let rig = Rig::new(&format!("up.rate={MBIT} up.queue=300 delay=10 seed=1"));
    let (mut echo, mut sink) = (rig.start("far", &["echo"]), rig.start("far", &["sink"]));
    assert_eq!((echo.line(), sink.line()), ("ready".into(), "ready".into()));
    let (echo_at, sink_at) = (format!("{FAR}:7777"), format!("{FAR}:7778"));
    let idle = rig.start("home", &["ping", &echo_at, "3"]).numbers();
    let alone = rig.start("home", &["pour", &sink_at, SECONDS]).numbers()[0];
    println!(
        "\na home's uplink of {MBIT} Mbit/s with 300 ms of buffer, full upload to {PEERS} peers x 4 x 64 KiB"
    );
    println!(
        "bars for udp and quic: the round trip's mean <= idle + 25 ms at >= 90 % of the line; TCP keeps >= 85 % of {alone:.1} Mbit/s"
    );
    println!(
        "{:<14} {:>8} {:>9} {:>9} {:>9} {:>7} {:>14} {:>9}",
        "uploader", "Mbit/s", "ping, ms", "+ idle", "95 %", "lost", "TCP beside it", "of alone"
    );
    println!("{:<14} {:>8} {:>9.1} {:>9.1} {:>9.1} {:>7.3}", "(idle)", "", idle[0], 0.0, idle[1], idle[2]);
    for contender in Contender::ALL.into_iter().filter(|one| only.is_none_or(|only| only == one.name())) {
        let mut seed = rig.start("home", &["serve", contender.name(), "1", HOME]);
        let addr = seed.line();
        let upload = || -> Vec<_> {
            let words = ["pull", contender.name(), &addr, "4", "65536", SECONDS];
            (0..PEERS).map(|_| rig.start("far", &words)).collect()
        };
        let mut peers = upload();
        std::thread::sleep(std::time::Duration::from_secs(2));
        let felt = rig.start("home", &["ping", &echo_at, "6"]).numbers();
        let goodput: f64 = peers.iter_mut().map(|peer| peer.numbers()[0]).sum();
        drop(peers);
        std::thread::sleep(std::time::Duration::from_secs(1));
        let peers = upload();
        let beside = rig.start("home", &["pour", &sink_at, "6"]).numbers()[0];
        drop(peers);
        println!(
            "{:<14} {goodput:>8.1} {:>9.1} {:>9.1} {:>9.1} {:>7.3} {beside:>14.1} {:>7.0} %",
            contender.name(),
            felt[0],
            felt[0] - idle[0],
            felt[1],
            felt[2],
            beside / alone * 100.0
        );
    }
}
