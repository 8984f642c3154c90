//! The peers that all parts of this bench announce, and how processor time is read.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::Scheme;
use pcdn_discovery::tracker::wire::bep15::{InfoHash, Plain, plain_id};
use pcdn_discovery::tracker::wire::{Event, Ports};

pub(crate) const PEERS: u32 = 1_000_000;
const SWARMS: u64 = 100_000;
pub(crate) const WANT: u16 = 30;

/// The swarm of peer `n`: popular ones are much larger (density falls with the square of the rank; the largest has 0.3 %).
pub(crate) fn swarm_of(n: u32) -> u64 {
    let share = Dice::new(u64::from(n)).unit();
    ((share * share) * SWARMS as f64) as u64
}

pub(crate) fn key(swarm: u64) -> SwarmKey {
    let mut bytes = [7; 32];
    let mut dice = Dice::new(swarm ^ 0x5357_4152_4d00_0000);
    bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next_u64().to_be_bytes()));
    SwarmKey(bytes)
}

pub(crate) fn hash(swarm: u64) -> InfoHash {
    InfoHash::of(&key(swarm))
}

/// The address of peer `n`: one of its own each, three in four of a /24 unused.
pub(crate) fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0x1400_0000 + (n / 64) * 256 + n % 64).into()
}

pub(crate) fn peer(n: u32) -> PeerId {
    let mut id = [0; 32];
    let mut dice = Dice::new(u64::from(n));
    id.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&dice.next_u64().to_be_bytes()));
    PeerId(id)
}

pub(crate) fn ports(n: u32) -> Ports {
    let mut ports = Ports::default();
    ports.push(Scheme::Udp, 1024 + (n % 60_000) as u16);
    ports
}

pub(crate) fn plain(n: u32) -> Plain {
    let mut id = [0; 20];
    id.copy_from_slice(&peer(n).0[..20]);
    Plain {
        hash: hash(swarm_of(n)),
        peer: plain_id(id, 1024 + (n % 60_000) as u16),
        downloaded: 0,
        left: u64::from(n.is_multiple_of(4)),
        event: Event::None,
        want: WANT,
        port: 1024 + (n % 60_000) as u16,
    }
}

/// A program that is ended with its handle.
pub(crate) struct Program(pub(crate) Child);

impl Program {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Processor time it has used, user and system.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.0.id())
    }

    /// Bytes it holds in memory.
    pub(crate) fn memory(&self) -> u64 {
        memory_of(self.0.id())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Processor time of a process, to 10 ms. Linux alone tells it.
pub(crate) fn cpu_of(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

pub(crate) fn memory_of(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}
