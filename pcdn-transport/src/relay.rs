//! A bad network for tests of transports over real sockets: a relay in user space that delays, loses, reorders, repeats, damages.
//!
//! A [`Relay`] is one link: all datagrams through it share its rate and its queue in each direction. [`door`](Relay::door) opens a
//! way through it to an address; whoever sends there is seen at the other end at an address of the relay's, as behind a NAT. It knows
//! nothing of what is in a datagram, so it serves our UDP transport, QUIC, and a stranger's alike:
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use std::net::SocketAddr;
//! use pcdn_transport::relay::{Fault, Relay};
//!
//! let server: SocketAddr = "127.0.0.1:4000".parse().unwrap();
//! let relay = Relay::new(Fault { loss: 0.1, reorder: 0.1, ..Fault::default() }, 1);
//! let door = relay.door(server).await?;
//! // Clients dial `door` instead of `server`.
//! relay.set(Fault { blackhole: true, ..Fault::default() });
//! relay.rebind(); // and now a NAT on the way has forgotten them
//! # Ok(()) }
//! ```
//!
//! Dice are seeded, but the order of datagrams is real time's: for runs that repeat exactly use the sans-IO endpoint in a world of
//! virtual time, as tests/udp/world.rs does.

mod fault;
mod suite;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pcdn_core::dice::Dice;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use fault::Fault;
use fault::Pipe;
pub use suite::bears_faults;

/// The largest datagram there is.
const DATAGRAM_MAX: usize = 1 << 16;
/// Datagrams on the way at most, in both directions: what a queue of a second holds at 100 Mbit/s. More are lost.
const FLYING_MAX: usize = 10_000;

/// The link. Ends, with all its doors, when dropped.
#[derive(Debug)]
pub struct Relay {
    link: Arc<Link>,
    tasks: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Link {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    dice: Dice,
    /// Towards the address behind the door, and back.
    pipes: [Pipe; 2],
    flying: usize,
    counters: Counters,
    /// Raised by a rebinding: outer sockets of an earlier one are forgotten.
    generation: u64,
}

/// What the relay did, both directions together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams handed on, copies included.
    pub passed: u64,
    /// Lost by chance, in the queue or in a black hole.
    pub lost: u64,
    /// Sent twice.
    pub repeated: u64,
    /// Handed on with a bit turned.
    pub damaged: u64,
    /// Held back so that later ones came first.
    pub reordered: u64,
}

impl Relay {
    /// A link that does `fault` to datagrams, by dice of `seed`.
    pub fn new(fault: Fault, seed: u64) -> Self {
        let state = State {
            fault,
            dice: Dice::new(seed),
            pipes: [Pipe::default(), Pipe::default()],
            flying: 0,
            counters: Counters::default(),
            generation: 0,
        };
        Self { link: Arc::new(Link { state: Mutex::new(state) }), tasks: Mutex::default() }
    }

    /// Opens a way to `to`, and says where it begins: an address of the loopback interface.
    ///
    /// # Errors
    /// If no socket can be bound.
    pub async fn door(&self, to: SocketAddr) -> io::Result<SocketAddr> {
        let inner = Arc::new(UdpSocket::bind(local(to)).await?);
        let addr = inner.local_addr()?;
        let link = Arc::clone(&self.link);
        self.tasks().spawn(async move { link.serve(inner, to).await });
        Ok(addr)
    }

    /// Changes what happens to datagrams from now on.
    pub fn set(&self, fault: Fault) {
        self.link.state().fault = fault;
    }

    /// From now on everybody is seen at a new address, and what comes for the old ones is lost: a NAT has changed its mapping.
    pub fn rebind(&self) {
        self.link.state().generation += 1;
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.link.state().counters
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who came through a door, and the socket that stands for him outside.
struct Outer {
    socket: Arc<UdpSocket>,
    generation: u64,
    /// Reads what comes back; ends with this.
    _back: JoinSet<()>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(self: Arc<Self>, inner: Arc<UdpSocket>, to: SocketAddr) {
        let mut outers: HashMap<SocketAddr, Outer> = HashMap::new();
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            // Errors of an earlier send show up here and concern nobody.
            let Ok((len, from)) = inner.recv_from(&mut buffer).await else { continue };
            let generation = self.state().generation;
            if outers.get(&from).is_none_or(|outer| outer.generation != generation) {
                let Ok(outer) = self.outer(&inner, from, to, generation).await else { continue };
                outers.insert(from, outer);
            }
            self.carry(0, &buffer[..len], &outers[&from].socket, to);
        }
    }

    async fn outer(
        self: &Arc<Self>,
        inner: &Arc<UdpSocket>,
        client: SocketAddr,
        to: SocketAddr,
        generation: u64,
    ) -> io::Result<Outer> {
        let socket = Arc::new(UdpSocket::bind(local(to)).await?);
        let (link, inner, reader) = (Arc::clone(self), Arc::clone(inner), Arc::clone(&socket));
        let mut back = JoinSet::new();
        back.spawn(async move {
            let mut buffer = vec![0; DATAGRAM_MAX];
            loop {
                let Ok((len, _)) = reader.recv_from(&mut buffer).await else { continue };
                // Whoever still sends to a mapping that is gone reaches nobody.
                if link.state().generation == generation {
                    link.carry(1, &buffer[..len], &inner, client);
                }
            }
        });
        Ok(Outer { socket, generation, _back: back })
    }

    /// Sends a datagram on its way, as often and as late as the fault says.
    fn carry(self: &Arc<Self>, direction: usize, datagram: &[u8], socket: &Arc<UdpSocket>, to: SocketAddr) {
        let now = Instant::now();
        let copies = self.state().fates(direction, now, datagram);
        for (at, bytes) in copies {
            let (link, socket) = (Arc::clone(self), Arc::clone(socket));
            // Not in `tasks`: it ends by itself within the delay and the queue.
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                let _ = socket.send_to(&bytes, to).await;
                link.state().flying -= 1;
            });
        }
    }
}

impl State {
    /// When each copy arrives, and as what.
    fn fates(&mut self, direction: usize, now: Instant, datagram: &[u8]) -> Vec<(Instant, Vec<u8>)> {
        let fault = self.fault;
        let copies = 1 + usize::from(self.dice.chance(fault.duplicate));
        self.counters.repeated += copies as u64 - 1;
        let mut fates = Vec::new();
        for _ in 0..copies {
            let lost = fault.blackhole
                || (fault.mtu > 0 && datagram.len() > fault.mtu)
                || self.pipes[direction].loses(&fault, &mut self.dice)
                || self.flying >= FLYING_MAX;
            let through = if lost { None } else { self.pipes[direction].pass(&fault, now, datagram.len()) };
            let Some(mut at) = through else {
                self.counters.lost += 1;
                continue;
            };
            at += fault.delay + part(fault.jitter, &mut self.dice);
            if self.dice.chance(fault.reorder) {
                self.counters.reordered += 1;
                at += part(fault.reorder_by, &mut self.dice);
            }
            let mut bytes = datagram.to_vec();
            if !bytes.is_empty() && self.dice.chance(fault.corrupt) {
                self.counters.damaged += 1;
                let at = self.dice.below(bytes.len() as u64) as usize;
                bytes[at] ^= 1 << self.dice.below(8);
            }
            self.counters.passed += 1;
            self.flying += 1;
            fates.push((at, bytes));
        }
        fates
    }
}

/// A random part of `most`.
fn part(most: Duration, dice: &mut Dice) -> Duration {
    Duration::from_micros(dice.below(most.as_micros() as u64 + 1))
}

/// Any port of the loopback interface of `to`'s family.
fn local(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], 0)),
        SocketAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)),
    }
}
