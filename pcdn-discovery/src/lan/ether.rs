//! The sockets and the task around the [`Machine`].
//!
//! One socket for each version of IP takes what is said to the group, on all interfaces. For each [`Place`] of this machine
//! another one speaks, so that what it says comes from there, and takes the answers.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::PeerRecord;
use pcdn_core::unit::Time;
use socket2::SockRef;
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::family::{Family, Places, Ports};
use super::lock;
use super::machine::Machine;
use super::place::Place;

/// Places at most; a laptop with containers has a dozen bridges, of which none is a home's network.
const PLACES_MAX: usize = 8;
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
    places: Look,
    /// By version of IP, where the machine has it.
    groups: Vec<(Family, UdpSocket)>,
    voices: Vec<Voice>,
    look_at: Instant,
}

/// Says where this machine can speak now.
pub(super) type Look = Box<dyn Fn() -> Vec<Place> + Send>;

/// Speaks from one place of this machine.
struct Voice {
    place: Place,
    socket: UdpSocket,
}

impl Voice {
    /// What is lost is said again. Past tokio, which takes a socket for full until it has looked at it once.
    fn say(&self, word: &[u8], to: SocketAddr) {
        let _ = SockRef::from(&self.socket).send_to(word, &to.into());
    }
}

impl Ether {
    pub(super) fn open(me: PeerId, groups: Vec<(Family, UdpSocket)>, places: Look) -> io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let (machine, dice) = (Machine::new(me), Dice::new(u64::from_be_bytes(seed)));
        let now = Instant::now();
        let mut ether = Self { machine, dice, since: now, places, groups, voices: Vec::new(), look_at: now };
        ether.look();
        Ok(ether)
    }

    pub(super) fn announce(&mut self, key: &SwarmKey, ports: Ports) -> bool {
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

    /// Opens voices in places that are new, and closes those in places that are gone.
    fn look(&mut self) {
        self.look_at = Instant::now() + LOOK_EVERY;
        let here = (self.places)();
        self.voices.retain(|voice| here.contains(&voice.place));
        for place in here {
            if self.voices.len() >= PLACES_MAX || self.voices.iter().any(|voice| voice.place == place) {
                continue;
            }
            let group = self.groups.iter().find(|(family, _)| *family == Family::of(place.ip));
            let Some((_, group)) = group else { continue };
            // It is there already if the interface had an address before.
            let _ = place.join(group);
            match place.voice() {
                Ok(socket) => self.voices.push(Voice { place, socket }),
                Err(error) => tracing::debug!(ip = %place.ip, %error, "cannot speak in the local network"),
            }
        }
        let ips = || self.voices.iter().map(|voice| voice.place.ip);
        let v6 = |ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None };
        let places = Places { v4: ips().any(|ip| ip.is_ipv4()), v6: ips().filter_map(v6).collect() };
        self.machine.set_places(self.now(), places);
    }

    fn speak(&mut self) {
        for (family, word) in self.machine.wake(self.now(), &mut self.dice) {
            for voice in self.voices.iter().filter(|voice| Family::of(voice.place.ip) == family) {
                voice.say(&word, voice.place.group());
            }
        }
    }

    /// Takes what has come, and answers. `Pending` when nothing is left; the context is then woken by the next datagram.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.now();
        let mut room = [0; RECEIVE_BYTES];
        let Self { machine, dice, groups, voices, .. } = self;
        let groups = groups.iter().map(|(_, socket)| socket);
        let sockets = groups.chain(voices.iter().map(|voice| &voice.socket));
        let mut more = false;
        for socket in sockets {
            more = true;
            for _ in 0..BATCH {
                let mut buffer = ReadBuf::new(&mut room);
                match socket.poll_recv_from(cx, &mut buffer) {
                    Poll::Ready(Ok(from)) => {
                        if let Some(answer) = machine.handle(now, dice, from, buffer.filled()) {
                            // From the address that the asker shares a network with, as far as one can see.
                            let near = voices.iter().find(|voice| is_near(voice.place.ip, from.ip()));
                            let family = Family::of(from.ip());
                            let any = || voices.iter().find(|voice| Family::of(voice.place.ip) == family);
                            near.or_else(any).into_iter().for_each(|voice| voice.say(&answer, from));
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

/// Whether two addresses begin alike: homes have a /24 or larger, and a /64.
fn is_near(ip: IpAddr, of: IpAddr) -> bool {
    match (ip, of) {
        (IpAddr::V4(a), IpAddr::V4(b)) => v4_begins(a) == v4_begins(b),
        (IpAddr::V6(a), IpAddr::V6(b)) => v6_begins(a) == v6_begins(b),
        _ => false,
    }
}

fn v4_begins(ip: Ipv4Addr) -> [u8; 3] {
    let [a, b, c, _] = ip.octets();
    [a, b, c]
}

fn v6_begins(ip: Ipv6Addr) -> u64 {
    (u128::from(ip) >> 64) as u64
}

impl std::fmt::Debug for Ether {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ips: Vec<IpAddr> = self.voices.iter().map(|voice| voice.place.ip).collect();
        write!(f, "Ether({ips:?})")
    }
}
