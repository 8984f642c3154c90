//! Beside aquatic_udp: our load and aquatic's own, on both, one after the other in turns.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::sockets::{self, Load};
use crate::world::Program;

const ROUNDS: usize = 3;
/// The tester counts in steps of five seconds.
const SECONDS: u64 = 10;

pub(crate) fn run() {
    let Ok(program) = std::env::var("AQUATIC_UDP") else {
        println!("aquatic: AQUATIC_UDP does not name the program; nothing compared");
        return;
    };
    let tester = std::env::var("AQUATIC_UDP_LOAD_TEST").ok();
    let dir = std::env::temp_dir().join(format!("pcdn-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (mut ratios, mut finds) = ((Vec::new(), Vec::new()), Vec::new());
    for round in 0..ROUNDS {
        let mut figures = Vec::new();
        // Each begins every other round.
        let mut order = [true, false];
        order.rotate_left(round % 2);
        for ours in order {
            let (server, at) = if ours { sockets::start() } else { aquatic(&program, &dir) };
            let before = server.memory();
            let mut load = Load::to(at);
            load.announces(Duration::from_secs(SECONDS), &server);
            let own = load.announces(Duration::from_secs(SECONDS), &server);
            // Only ours has anything like it.
            let found = ours.then(|| load.finds(Duration::from_secs(SECONDS), &server));
            let theirs = tester.as_ref().map(|tester| test(tester, &dir, at, &server));
            let grown = (server.memory() - before) >> 20;
            figures.push((ours, own, theirs, grown, found));
        }
        figures.sort_by_key(|(ours, ..)| !*ours);
        let [(_, own, theirs, grown, Some(found)), (_, aquatic_own, aquatic_theirs, aquatic_grown, None)] =
            figures[..]
        else {
            return;
        };
        println!("round {}: announces a CPU-second, one worker each", round + 1);
        println!(
            "  our load       pcdn {own:8.0}   aquatic_udp {aquatic_own:8.0}   ratio {:.2}",
            own / aquatic_own
        );
        ratios.0.push(own / aquatic_own);
        println!("  find           pcdn {found:8.0}   of aquatic_udp's announces {:.2}", found / aquatic_own);
        finds.push(found / aquatic_own);
        if let (Some(theirs), Some(other)) = (theirs, aquatic_theirs) {
            println!(
                "  aquatic's load pcdn {theirs:8.0}   aquatic_udp {other:8.0}   ratio {:.2}",
                theirs / other
            );
            ratios.1.push(theirs / other);
        }
        println!("  grown by       pcdn {grown:5} MiB   aquatic_udp {aquatic_grown:5} MiB");
    }
    let lists =
        [("our load", ratios.0, 1.0), ("aquatic's load", ratios.1, 1.0), ("our load, find", finds, 0.6)];
    for (name, mut list, wanted) in lists {
        list.sort_by(f64::total_cmp);
        if let Some(median) = list.get(list.len() / 2) {
            println!("median ratio to aquatic_udp's announces, {name}: {median:.2} (wanted: {wanted:.2})");
        }
    }
    let _ = std::fs::remove_dir_all(&dir);
}

fn aquatic(program: &str, dir: &Path) -> (Program, SocketAddr) {
    let at = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = dir.join("aquatic.toml");
    let config = format!(
        "socket_workers = 1\n[network]\nuse_ipv6 = false\naddress_ipv4 = \"{at}\"\nsocket_recv_buffer_size = 4000000\n"
    );
    std::fs::write(&file, config).unwrap();
    let server = Program::start(Command::new(program).arg("-c").arg(file));
    std::thread::sleep(Duration::from_secs(1));
    (server, at)
}

/// Announces a CPU-second under aquatic's tester.
fn test(tester: &str, dir: &Path, at: SocketAddr, server: &Program) -> f64 {
    let file = dir.join("tester.toml");
    let config = format!(
        "server_address = \"{at}\"\nduration = {SECONDS}\nextra_statistics = false\n\
         [requests]\nnumber_of_torrents = 100000\nnumber_of_peers = 1000000\n"
    );
    std::fs::write(&file, config).unwrap();
    let before = server.cpu();
    let out = Command::new(tester).arg("-c").arg(file).output().unwrap();
    let spent = (server.cpu() - before).as_secs_f64();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    announces(&text) * SECONDS as f64 / spent
}

/// Announce answers a second, from the tester's last words.
fn announces(report: &str) -> f64 {
    let line = report.lines().rev().find(|line| line.contains("Announce responses:"));
    let line = line.unwrap_or_else(|| panic!("the tester says nothing of announces:\n{report}"));
    line.split_whitespace().next_back().and_then(|word| word.parse().ok()).unwrap_or(0.0)
}
