//! What a neighbour costs that is connected and asks for nothing: growth of this process's resident memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pcdn_core::peer::{PeerAddr, PeerRecord, Scheme};
use pcdn_core::transport::Transport;
use pcdn_transport::udp::{Udp, UdpConfig};

use crate::ours::{Shelf, identity};
use crate::rig::{Part, child};
use crate::{quic, runtime};

const NEIGHBOURS: usize = 1000;
/// A node of ours may have four sessions with one other; the callers are so many nodes.
const SESSIONS_EACH: usize = 4;
const BAR: usize = 4096;

pub(crate) fn run() {
    let ours = runtime().block_on(udp());
    let theirs = runtime().block_on(quinn());
    println!(
        "\nresident memory of one idle neighbour of {NEIGHBOURS}, on the side that was called, its handle included"
    );
    println!(
        "udp {ours} bytes (bar {BAR}); quinn alone {theirs} bytes, {:.1} times as much",
        theirs as f64 / ours as f64
    );
}

async fn udp() -> usize {
    let config = UdpConfig { handshakes_per_second: 1_000_000, ..UdpConfig::default() };
    let addr = "127.0.0.1:0".parse().unwrap();
    let udp = Udp::bind(addr, &identity(0), Shelf::new(), config).await.unwrap();
    let mut sessions = Vec::with_capacity(NEIGHBOURS);
    let mut callers = start("udp", udp.local()[0].addr);
    let before = settled().await;
    callers.say("go");
    while sessions.len() < NEIGHBOURS {
        sessions.push(udp.accept().await.unwrap());
    }
    assert_eq!(callers.line(), "connected");
    let after = settled().await;
    drop(callers);
    (after - before) / NEIGHBOURS
}

async fn quinn() -> usize {
    let (addrs, _served) = quic::serve(1, "127.0.0.1".parse().unwrap(), quic::Congestion::Cubic);
    let mut callers = start("quinn", addrs[0]);
    let before = settled().await;
    assert_eq!(callers.ask("go"), "connected");
    let after = settled().await;
    drop(callers);
    (after - before) / NEIGHBOURS
}

fn start(who: &str, addr: SocketAddr) -> Part {
    let mut callers = child(&["callers", who, &addr.to_string()]);
    assert_eq!(callers.line(), "ready");
    callers
}

/// Resident bytes once the handshakes' memory is given back.
async fn settled() -> usize {
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Part of a process: `udp|quinn ADDRESS`; opens the sessions when told to and holds them until killed.
pub(crate) fn callers(words: &[&str]) {
    let [who, addr] = words else { return };
    let addr: SocketAddr = addr.parse().unwrap();
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let _held = runtime().block_on(async {
        match *who {
            "udp" => call_udp(addr).await,
            _ => quic::connect(&vec![addr; NEIGHBOURS], quic::Congestion::Cubic)
                .await
                .into_iter()
                .map(|held| Box::new(held) as Box<dyn Send>)
                .collect(),
        }
    });
    println!("connected");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

async fn call_udp(addr: SocketAddr) -> Vec<Box<dyn Send>> {
    let addrs = vec![PeerAddr { scheme: Scheme::Udp, addr }];
    let record = PeerRecord { id: identity(0).peer_id(), addrs, seed: true };
    let mut held: Vec<Box<dyn Send>> = Vec::new();
    for n in 0..NEIGHBOURS / SESSIONS_EACH {
        let any = "127.0.0.1:0".parse().unwrap();
        let udp = Udp::bind(any, &identity(1 + n), Shelf::new(), UdpConfig::default()).await.unwrap();
        let udp = Arc::new(udp);
        for _ in 0..SESSIONS_EACH {
            held.push(Box::new((Arc::clone(&udp), udp.connect(&record).await.unwrap())));
        }
    }
    held
}
