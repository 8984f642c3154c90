//! A server in a process of its own, and a load that never waits for one answer.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::time::{Duration, Instant};

use pcdn_discovery::tracker::wire::bep15::encode_announce;
use pcdn_discovery::tracker::wire::{
    Answer, Find, Request, Traits, decode_answer, encode_connect, encode_request,
};
use pcdn_discovery::{TrackerConfig, TrackerServer};

use crate::world::{PEERS, Program, WANT, key, peer, plain, swarm_of};

/// Sockets of the load, each with an address of its own, and requests each has under way.
const SOCKETS: u8 = 8;
const UNDER_WAY: usize = 32;
const SECONDS: u64 = 6;

/// Serves until its standard input ends.
pub(crate) fn serve() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listen = "127.0.0.1:0".parse().unwrap();
        let config = TrackerConfig { listen, workers: 1, ..TrackerConfig::default() };
        let server = TrackerServer::bind(config).await.unwrap();
        println!("{}", server.local_addr());
        let wait = || std::io::stdin().read_to_end(&mut Vec::new());
        let _ = tokio::task::spawn_blocking(wait).await;
        server.shutdown().await;
    });
}

/// Ours, in a process of its own, and where it listens.
pub(crate) fn start() -> (Program, SocketAddr) {
    let mut server = Program::start(Command::new(std::env::current_exe().unwrap()).arg("serve"));
    let mut line = String::new();
    BufReader::new(server.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (server, line.trim().parse().unwrap())
}

pub(crate) fn run() {
    let (server, at) = start();
    let mut load = Load::to(at);
    load.announces(Duration::from_secs(SECONDS), &server);
    let announces = load.announces(Duration::from_secs(SECONDS), &server);
    let finds = load.finds(Duration::from_secs(SECONDS), &server);
    println!("sockets, one worker on loopback");
    println!("  plain announce  {announces:8.0} a CPU-second");
    println!("  find            {finds:8.0} a CPU-second   {:.2} of plain (wanted: 0.60)", finds / announces);
}

/// A load on one server.
pub(crate) struct Load {
    sockets: Vec<(UdpSocket, u64)>,
    next: u32,
}

impl Load {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let sockets = (0..SOCKETS).map(|n| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 1, n + 1), 0)).unwrap();
            socket.connect(server).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            (socket, 0)
        });
        Self { sockets: sockets.collect(), next: 0 }
    }

    /// Announces a CPU-second of `server`.
    pub(crate) fn announces(&mut self, span: Duration, server: &Program) -> f64 {
        self.run(span, server, |cookie, n| encode_announce(cookie, n, &plain(n)))
    }

    /// Finds a CPU-second of `server`.
    pub(crate) fn finds(&mut self, span: Duration, server: &Program) -> f64 {
        let (seed, traits, rich) = (false, Traits::default(), false);
        self.run(span, server, |cookie, n| {
            let find = Find { swarm: key(swarm_of(n)), asker: Some(peer(n)), seed, want: WANT, traits, rich };
            encode_request(cookie, n, &Request::Find(find), None)
        })
    }

    fn run(&mut self, span: Duration, server: &Program, make: impl Fn(u64, u32) -> Vec<u8>) -> f64 {
        self.connect();
        let (start, before) = (Instant::now(), server.cpu());
        let mut answered = 0u64;
        let mut answer = [0; 2048];
        let mut under_way = vec![0; self.sockets.len()];
        while start.elapsed() < span {
            for ((socket, cookie), under_way) in self.sockets.iter().zip(&mut under_way) {
                while *under_way < UNDER_WAY {
                    let n = self.next.wrapping_mul(2_654_435_761) % PEERS;
                    self.next = self.next.wrapping_add(1);
                    let _ = socket.send(&make(*cookie, n));
                    *under_way += 1;
                }
            }
            for ((socket, _), under_way) in self.sockets.iter().zip(&mut under_way) {
                // Half of them, so that the server always has something to do.
                for _ in 0..UNDER_WAY / 2 {
                    let Ok(len) = socket.recv(&mut answer) else {
                        // Lost ones are not waited for.
                        *under_way = 0;
                        break;
                    };
                    assert!(
                        !answer.starts_with(&[0, 0, 0, 3]),
                        "{}",
                        String::from_utf8_lossy(&answer[8..len])
                    );
                    answered += 1;
                    *under_way -= 1;
                }
            }
        }
        answered as f64 / (server.cpu() - before).as_secs_f64()
    }

    fn connect(&mut self) {
        for (socket, cookie) in &mut self.sockets {
            let mut answer = [0; 2048];
            // Late answers to the load before.
            while socket.recv(&mut answer).is_ok() {}
            *cookie = (0..20)
                .find_map(|_| {
                    socket.send(&encode_connect(1)).unwrap();
                    let len = socket.recv(&mut answer).ok()?;
                    match decode_answer(&answer[..len], None) {
                        Ok((_, Answer::Connected { connection })) => Some(connection),
                        _ => None,
                    }
                })
                .expect("the server answers");
        }
    }
}
