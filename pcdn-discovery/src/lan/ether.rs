//! The sockets and the task around the [`Machine`].
//!
//! One socket takes what is said to the group, on all interfaces. For each private address of this machine another one speaks,
//! so that what it says comes from there, and takes the answers.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{PeerRecord, Reach, Scheme};
use pcdn_core::unit::Time;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::machine::Machine;
use super::{GROUP, lock};

/// Interfaces at most; a laptop with containers has a dozen bridges, of which none is a home's network.
const INTERFACES_MAX: usize = 8;
/// Interfaces are looked at so often: who takes a laptop to another room is found there.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Longest datagram read; ours are shorter, and what is longer is cut and then none of ours.
const RECEIVE_BYTES: usize = 1_500;
/// Datagrams taken before anything else gets its turn.
const BATCH: usize = 64;

pub(super) struct Ether {
    machine: Machine,
    dice: Dice,
    since: Instant,
    bound: Vec<IpAddr>,
    group: UdpSocket,
    voices: Vec<Voice>,
    look_at: Instant,
}

/// Speaks from one address of this machine.
struct Voice {
    ip: Ipv4Addr,
    socket: UdpSocket,
}

impl Ether {
    pub(super) fn open(me: PeerId, bound: Vec<IpAddr>) -> io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let group = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Every node on this machine takes part.
        group.set_reuse_address(true)?;
        #[cfg(unix)]
        group.set_reuse_port(true)?;
        group.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, GROUP.1)).into())?;
        let group = tokio(group)?;
        let (machine, dice) = (Machine::new(me), Dice::new(u64::from_be_bytes(seed)));
        let now = Instant::now();
        let mut ether = Self { machine, dice, since: now, bound, group, voices: Vec::new(), look_at: now };
        ether.look();
        Ok(ether)
    }

    pub(super) fn announce(&mut self, key: &SwarmKey, ports: Vec<(Scheme, u16)>) -> bool {
        self.machine.announce(self.now(), key, ports)
    }

    pub(super) fn withdraw(&mut self, key: &SwarmKey) {
        self.machine.withdraw(self.now(), key);
        // The task may not live to say it.
        self.speak();
    }

    pub(super) fn ask(&mut self, key: &SwarmKey) {
        self.machine.ask(self.now(), key);
    }

    pub(super) fn found(&self, key: &SwarmKey, want: usize) -> Vec<PeerRecord> {
        self.machine.found(self.now(), key, want)
    }

    fn now(&self) -> Time {
        Time(self.since.elapsed().as_micros() as u64)
    }

    fn next_wake(&self) -> Instant {
        match self.machine.next_wake() {
            Time::NEVER => self.look_at,
            at => (self.since + Duration::from_micros(at.0)).min(self.look_at),
        }
    }

    /// Opens voices for addresses that are new, and closes those of addresses that are gone.
    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_EVERY;
        let here = private_addresses(&self.bound);
        self.voices.retain(|voice| here.contains(&voice.ip));
        for ip in here {
            if self.voices.len() >= INTERFACES_MAX || self.voices.iter().any(|voice| voice.ip == ip) {
                continue;
            }
            // It is there already if the interface had an address before.
            let _ = self.group.join_multicast_v4(GROUP.0, ip);
            match voice(ip) {
                Ok(socket) => self.voices.push(Voice { ip, socket }),
                Err(error) => tracing::debug!(%ip, %error, "cannot speak in the local network"),
            }
        }
    }

    fn speak(&mut self) {
        for word in self.machine.wake(self.now(), &mut self.dice) {
            for voice in &self.voices {
                // What is lost is said again.
                let _ = voice.socket.try_send_to(&word, SocketAddr::from(GROUP));
            }
        }
    }

    /// Takes what has come, and answers. `Pending` when nothing is left; the context is then woken by the next datagram.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.now();
        let mut room = [0; RECEIVE_BYTES];
        let Self { machine, dice, group, voices, .. } = self;
        let sockets = std::iter::once(&*group).chain(voices.iter().map(|voice| &voice.socket));
        let mut more = false;
        for socket in sockets {
            more = true;
            for _ in 0..BATCH {
                let mut buffer = ReadBuf::new(&mut room);
                match socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        if let Some(answer) = machine.handle(now, dice, from, buffer.filled()) {
                            // From the address that the asker shares a network with, as far as one can see.
                            let near = voices.iter().find(|voice| is_near(voice.ip, from));
                            near.or(voices.first()).map(|voice| voice.socket.try_send_to(&answer, from));
                        }
                    }
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => {
                        more = false;
                        break;
                    }
                }
            }
            if more {
                break;
            }
        }
        if more { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Hears and speaks until it is aborted.
pub(super) async fn run(ether: Arc<Mutex<Ether>>, wake: Arc<Notify>) {
    loop {
        let next = lock(&ether).next_wake();
        tokio::select! {
            () = poll_fn(|cx| lock(&ether).poll_hear(cx)) => tokio::task::yield_now().await,
            () = wake.notified() => {}
            () = sleep_until(next) => {}
        }
        let mut ether = lock(&ether);
        if Instant::now() >= ether.look_at {
            ether.look();
        }
        ether.speak();
    }
}

/// Addresses of this machine in private networks, as far as the transports listen there.
fn private_addresses(bound: &[IpAddr]) -> Vec<Ipv4Addr> {
    let everywhere = bound.iter().any(IpAddr::is_unspecified);
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut all: Vec<Ipv4Addr> = Vec::new();
    for ip in interfaces.into_iter().map(|interface| interface.ip()) {
        let listened = everywhere || bound.contains(&ip);
        if let IpAddr::V4(v4) = ip
            && listened
            && Reach::of(ip) == Reach::Site
            && !all.contains(&v4)
        {
            all.push(v4);
        }
    }
    all
}

fn voice(ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_if_v4(&ip)?;
    socket.set_multicast_ttl_v4(1)?;
    // Other nodes on this machine hear it, too.
    socket.set_multicast_loop_v4(true)?;
    socket.bind(&SocketAddr::V4(SocketAddrV4::new(ip, 0)).into())?;
    tokio(socket)
}

fn tokio(socket: Socket) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// Whether two addresses begin alike: homes have a /24 or larger.
fn is_near(ip: Ipv4Addr, of: SocketAddr) -> bool {
    matches!(of.ip(), IpAddr::V4(of) if of.octets()[..3] == ip.octets()[..3])
}

impl std::fmt::Debug for Ether {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ips: Vec<Ipv4Addr> = self.voices.iter().map(|voice| voice.ip).collect();
        write!(f, "Ether({ips:?})")
    }
}
