//! linkem: the network between the homes of a test, in one user-space process.
//!
//! Kernels of small test machines often lack sch_netem, so delay, jitter and loss are made here.  Every node of the
//! test lives in a network namespace of its own and has one TUN device: its access link.  linkem reads the IP packets
//! that a node sends, passes them through that node's uplink (rate, queue, delay, loss), then through the downlink of
//! the node that the destination address belongs to, and writes them into that node's TUN device:
//!
//! ```text
//!   home 0 ──TUN──► [uplink of 0] ──► by address ──► [downlink of 1] ──TUN──► home 1
//! ```
//!
//! The middle is ideal: only access links cost time.  A packet to an address that no node has vanishes without an
//! answer.  One thread serves all links, since a packet then costs one read and one write and hardly any wake-ups;
//! on small machines a relay that wakes up for every packet becomes the bottleneck of the test itself.
//!
//! Build:     rustc -O --edition 2021 -o linkem linkem.rs        (no dependencies)
//! Use:       linkem NAME=NAMESPACE:INTERFACE:ADDRESS/PREFIX ...
//! Commands, one a line on standard input (linkem ends when it closes):
//!   set NAME [up.|down.]KEY=VALUE ...    change a link; without `up.` or `down.` both directions
//!        rate (Mbit/s, 0 = unlimited), queue (ms of queueing at `rate` before the tail is dropped), delay (ms),
//!        jitter (ms, in order), loss (%), burst (mean length of a loss burst, 1 = independent), reorder (%), dup (%),
//!        mtu (drop larger IP packets, 0 = any), cut (1 = drop everything), seed
//!   stat                                 print the counters as one line of JSON
//!   reset                                set the counters to zero
//! It prints `ready` once all devices exist, and `ok` or `error: WHY` after each command that prints nothing else.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::ffi::CString;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::raw::{c_char, c_int, c_long, c_short, c_ulong, c_void};
use std::time::{Duration, Instant};

/// While packets are under way the loop sleeps this long between rounds: packets then move in batches, and nothing is
/// late by more than this plus what the scheduler adds.
const TICK: Duration = Duration::from_micros(200);
/// Packets read from one node before the others have their turn.
const READS_PER_ROUND: usize = 64;
/// Buffers kept for reuse.
const SPARE_BUFFERS: usize = 8192;

extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, length: usize) -> isize;
    fn write(fd: c_int, buffer: *const c_void, length: usize) -> isize;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn setns(fd: c_int, kind: c_int) -> c_int;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout_ms: c_int) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

const O_RDWR: c_int = 0o2;
const O_NONBLOCK: c_int = 0o4000;
const CLONE_NEWNET: c_int = 0x4000_0000;
const TUNSETIFF: c_ulong = 0x4004_54ca;
const IFF_TUN_NO_PI: u16 = 0x1001;
const POLLIN: c_short = 1;
const PR_SET_TIMERSLACK: c_int = 29;

/// What one direction of a link does to packets.
#[derive(Clone)]
struct Settings {
    rate_mbit: f64,
    queue_ms: f64,
    delay_ms: f64,
    jitter_ms: f64,
    loss: f64,
    burst: f64,
    reorder: f64,
    dup: f64,
    mtu: usize,
    cut: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            rate_mbit: 0.0,
            queue_ms: 100.0,
            delay_ms: 0.0,
            jitter_ms: 0.0,
            loss: 0.0,
            burst: 1.0,
            reorder: 0.0,
            dup: 0.0,
            mtu: 0,
            cut: false,
        }
    }
}

/// What went through one direction of a link, or did not.
#[derive(Default)]
struct Counters {
    packets: u64,
    bytes: u64,
    tcp_payload: u64,
    udp_payload: u64,
    udp_payload_max: usize,
    fragments: u64,
    lost: u64,
    queue_drops: u64,
    queue_max: Duration,
    late_max: Duration,
}

/// xorshift64*: small, seeded, good enough for losses.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Uniform in [0, 1).
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn percent(&mut self, chance: f64) -> bool {
        chance > 0.0 && self.roll() * 100.0 < chance
    }
}

/// One direction of an access link.
struct Direction {
    settings: Settings,
    counters: Counters,
    dice: Dice,
    /// When the wire has sent everything that is queued now.
    busy_until: Instant,
    last_departure: Instant,
    in_loss_burst: bool,
}

/// When a packet leaves a link: never, once, or twice.
enum Fate {
    Dropped,
    Leaves { at: Instant, twice: bool },
}

impl Direction {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        Direction {
            settings: Settings::default(),
            counters: Counters::default(),
            dice: Dice::new(seed),
            busy_until: now,
            last_departure: now,
            in_loss_burst: false,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number: f64 = value.parse().map_err(|_| format!("{key} wants a number, not {value:?}"))?;
        if !number.is_finite() || number < 0.0 {
            return Err(format!("{key} cannot be {value}"));
        }
        let settings = &mut self.settings;
        match key {
            "rate" => settings.rate_mbit = number,
            "queue" => settings.queue_ms = number,
            "delay" => settings.delay_ms = number,
            "jitter" => settings.jitter_ms = number,
            "loss" => settings.loss = number,
            "burst" => settings.burst = number.max(1.0),
            "reorder" => settings.reorder = number,
            "dup" => settings.dup = number,
            "mtu" => settings.mtu = number as usize,
            "cut" => settings.cut = number != 0.0,
            "seed" => self.dice = Dice::new(number as u64),
            _ => return Err(format!("no setting is called {key:?}")),
        }
        Ok(())
    }

    /// Lets a packet onto the link at `now`.
    fn admit(&mut self, now: Instant, packet: &[u8]) -> Fate {
        let link = self.settings.clone();
        if link.cut || (link.mtu > 0 && packet.len() > link.mtu) {
            self.counters.lost += 1;
            return Fate::Dropped;
        }
        // The bottleneck: a tail-drop queue measured in time at the rate of the link.
        self.busy_until = self.busy_until.max(now);
        let waiting = self.busy_until - now;
        if link.rate_mbit > 0.0 {
            if waiting > milliseconds(link.queue_ms) {
                self.counters.queue_drops += 1;
                return Fate::Dropped;
            }
            self.busy_until +=
                Duration::from_nanos((packet.len() as f64 * 8.0 * 1e3 / link.rate_mbit) as u64);
        }
        self.counters.queue_max = self.counters.queue_max.max(waiting);
        // Loss happens behind the queue, on the wire: the packet's time is spent all the same.
        if self.wire_loses(&link) {
            self.counters.lost += 1;
            return Fate::Dropped;
        }
        let mut at = self.busy_until + milliseconds(link.delay_ms + self.dice.roll() * link.jitter_ms);
        if self.dice.percent(link.reorder) {
            at += milliseconds(2.0 + link.delay_ms * 0.25 * self.dice.roll());
        } else {
            at = at.max(self.last_departure);
            self.last_departure = at;
        }
        Fate::Leaves { at, twice: self.dice.percent(link.dup) }
    }

    /// A two-state (Gilbert) model: losses come in bursts of mean length `burst`, `loss` percent in all.
    fn wire_loses(&mut self, link: &Settings) -> bool {
        if link.loss == 0.0 {
            return false;
        }
        let share = (link.loss / 100.0).min(1.0);
        let enters = if link.burst <= 1.0 { share } else { share / (link.burst * (1.0 - share)).max(1e-9) };
        let stays = if link.burst <= 1.0 { share } else { 1.0 - 1.0 / link.burst };
        let chance = if self.in_loss_burst { stays } else { enters };
        self.in_loss_burst = self.dice.roll() < chance;
        self.in_loss_burst
    }

    /// Counts a packet that came through.
    fn passed(&mut self, packet: &[u8], due: Instant, now: Instant) {
        let counters = &mut self.counters;
        counters.packets += 1;
        counters.bytes += packet.len() as u64;
        counters.late_max = counters.late_max.max(now.saturating_duration_since(due));
        let Some(seen) = Ipv4Packet::of(packet) else { return };
        if seen.fragment {
            counters.fragments += 1;
        }
        match seen.payload {
            Payload::Udp(length) => {
                counters.udp_payload += length as u64;
                counters.udp_payload_max = counters.udp_payload_max.max(length);
            }
            Payload::Tcp(length) => counters.tcp_payload += length as u64,
            Payload::Other => {}
        }
    }
}

/// The few facts of a packet that routing and counting need.
struct Ipv4Packet {
    destination: Ipv4Addr,
    fragment: bool,
    payload: Payload,
}

enum Payload {
    Udp(usize),
    Tcp(usize),
    Other,
}

impl Ipv4Packet {
    fn of(packet: &[u8]) -> Option<Self> {
        if packet.len() < 20 || packet[0] >> 4 != 4 {
            return None;
        }
        let header = usize::from(packet[0] & 15) * 4;
        let fragment_field = u16::from_be_bytes([packet[6], packet[7]]);
        let first = fragment_field & 0x1fff == 0;
        let more_follow = fragment_field & 0x2000 != 0;
        let inner = packet.get(header..)?;
        let payload = match packet[9] {
            17 if first && inner.len() >= 8 => {
                Payload::Udp(usize::from(u16::from_be_bytes([inner[4], inner[5]])).saturating_sub(8))
            }
            6 if first && inner.len() >= 20 => {
                Payload::Tcp(inner.len().saturating_sub(usize::from(inner[12] >> 4) * 4))
            }
            _ => Payload::Other,
        };
        let destination = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
        Some(Ipv4Packet { destination, fragment: !first || more_follow, payload })
    }
}

/// A namespace and its access link.
struct Node {
    name: String,
    device: c_int,
    network: u32,
    mask: u32,
    up: Direction,
    down: Direction,
}

impl Node {
    /// `NAME=NAMESPACE:INTERFACE:ADDRESS/PREFIX`
    fn open(text: &str, number: u64) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not NAME=NAMESPACE:INTERFACE:ADDRESS/PREFIX");
        let (name, place) = text.split_once('=').ok_or_else(wrong)?;
        let (namespace, rest) = place.split_once(':').ok_or_else(wrong)?;
        let (interface, network) = rest.split_once(':').ok_or_else(wrong)?;
        let (address, prefix) = network.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let prefix: u32 = prefix.parse().ok().filter(|&p| p <= 32).ok_or_else(wrong)?;
        let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
        // A thread of its own: entering a namespace changes the calling thread only.
        let (inside, device) = (namespace.to_owned(), interface.to_owned());
        let device = std::thread::spawn(move || open_tun(&inside, &device))
            .join()
            .map_err(|_| "the thread that opens a device died".to_owned())??;
        Ok(Node {
            name: name.to_owned(),
            device,
            network: u32::from(address) & mask,
            mask,
            up: Direction::new(2 * number + 1),
            down: Direction::new(2 * number + 2),
        })
    }
}

fn open_tun(namespace: &str, interface: &str) -> Result<c_int, String> {
    let failed = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
    let path = CString::new(format!("/var/run/netns/{namespace}")).map_err(|e| e.to_string())?;
    // SAFETY: plain system calls on a path and a buffer that outlive them.
    unsafe {
        let ns = open(path.as_ptr(), 0);
        if ns < 0 || setns(ns, CLONE_NEWNET) != 0 {
            return Err(failed(&format!("cannot enter the network namespace {namespace}")));
        }
        close(ns);
        let device = open(c"/dev/net/tun".as_ptr(), O_RDWR | O_NONBLOCK);
        if device < 0 {
            return Err(failed("cannot open /dev/net/tun"));
        }
        let mut request = [0u8; 40]; // struct ifreq: the name, then the flags
        if interface.len() > 15 {
            return Err(format!("the interface name {interface} is longer than 15 bytes"));
        }
        request[..interface.len()].copy_from_slice(interface.as_bytes());
        request[16..18].copy_from_slice(&IFF_TUN_NO_PI.to_ne_bytes());
        if ioctl(device, TUNSETIFF, request.as_mut_ptr()) != 0 {
            return Err(failed(&format!("cannot make {interface} in {namespace}")));
        }
        Ok(device)
    }
}

/// A packet on its way: it leaves the link of `node` at `at`.
struct Flight {
    at: Instant,
    /// Ties are broken by age, so that packets of one link stay in order.
    number: u64,
    node: usize,
    leg: Leg,
    packet: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Leg {
    Up,
    Down,
}

impl Ord for Flight {
    /// Reversed, as the heap gives out the greatest first and we want the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at).then(other.number.cmp(&self.number))
    }
}
impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Flight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Flight {}

struct Network {
    nodes: Vec<Node>,
    flights: BinaryHeap<Flight>,
    flight_count: u64,
    unroutable: u64,
    spare: Vec<Vec<u8>>,
}

impl Network {
    /// Takes what the nodes have sent since the last round onto their uplinks.
    fn collect(&mut self, ready: &[PollFd]) {
        let mut buffer = [0u8; 65536];
        for node in (0..self.nodes.len()).filter(|&n| ready[n].revents != 0) {
            for _ in 0..READS_PER_ROUND {
                // SAFETY: the kernel writes at most `buffer.len()` bytes into `buffer`.
                let length =
                    unsafe { read(self.nodes[node].device, buffer.as_mut_ptr().cast(), buffer.len()) };
                let Ok(length @ 1..) = usize::try_from(length) else { break };
                let mut packet = self.spare.pop().unwrap_or_default();
                packet.clear();
                packet.extend_from_slice(&buffer[..length]);
                self.launch(node, Leg::Up, Instant::now(), packet);
            }
        }
    }

    fn launch(&mut self, node: usize, leg: Leg, now: Instant, packet: Vec<u8>) {
        let direction = match leg {
            Leg::Up => &mut self.nodes[node].up,
            Leg::Down => &mut self.nodes[node].down,
        };
        let Fate::Leaves { at, twice } = direction.admit(now, &packet) else {
            self.recycle(packet);
            return;
        };
        if twice {
            self.flight_count += 1;
            self.flights.push(Flight { at, number: self.flight_count, node, leg, packet: packet.clone() });
        }
        self.flight_count += 1;
        self.flights.push(Flight { at, number: self.flight_count, node, leg, packet });
    }

    /// Moves every packet whose time has come: off an uplink onto a downlink, off a downlink into its node.
    fn deliver(&mut self) {
        let now = Instant::now();
        while self.flights.peek().is_some_and(|flight| flight.at <= now) {
            let Some(flight) = self.flights.pop() else { return };
            match flight.leg {
                Leg::Up => {
                    self.nodes[flight.node].up.passed(&flight.packet, flight.at, now);
                    match self.route(&flight.packet) {
                        // Onto the next link at the time it was due, not at the time we got round to it.
                        Some(target) => self.launch(target, Leg::Down, flight.at, flight.packet),
                        None => {
                            self.unroutable += 1;
                            self.recycle(flight.packet);
                        }
                    }
                }
                Leg::Down => {
                    let node = &mut self.nodes[flight.node];
                    node.down.passed(&flight.packet, flight.at, now);
                    // SAFETY: the kernel reads the packet's own bytes.  A node that cannot take it loses it.
                    unsafe { write(node.device, flight.packet.as_ptr().cast(), flight.packet.len()) };
                    self.recycle(flight.packet);
                }
            }
        }
    }

    fn route(&self, packet: &[u8]) -> Option<usize> {
        let destination = u32::from(Ipv4Packet::of(packet)?.destination);
        self.nodes.iter().position(|node| destination & node.mask == node.network)
    }

    fn recycle(&mut self, packet: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS {
            self.spare.push(packet);
        }
    }

    fn command(&mut self, line: &str) -> String {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("set") => match self.set(words) {
                Ok(()) => "ok".to_owned(),
                Err(why) => format!("error: {why}"),
            },
            Some("stat") => self.counters_as_json(),
            Some("reset") => {
                for node in &mut self.nodes {
                    node.up.counters = Counters::default();
                    node.down.counters = Counters::default();
                }
                self.unroutable = 0;
                "ok".to_owned()
            }
            _ => format!("error: no such command: {line:?}"),
        }
    }

    fn set<'w>(&mut self, mut words: impl Iterator<Item = &'w str>) -> Result<(), String> {
        let name = words.next().ok_or("set which node?")?;
        let node =
            self.nodes.iter_mut().find(|n| n.name == name).ok_or(format!("no node is called {name}"))?;
        for word in words {
            let (key, value) = word.split_once('=').ok_or(format!("{word:?} is not KEY=VALUE"))?;
            match key.split_once('.') {
                Some(("up", key)) => node.up.set(key, value)?,
                Some(("down", key)) => node.down.set(key, value)?,
                Some(_) => return Err(format!("{key:?} is neither up. nor down.")),
                None => {
                    node.up.set(key, value)?;
                    node.down.set(key, value)?;
                }
            }
        }
        Ok(())
    }

    fn counters_as_json(&self) -> String {
        let mut text = format!("{{\"unroutable\":{}", self.unroutable);
        for node in &self.nodes {
            let _ = write!(text, ",\"{}\":{{", node.name);
            for (comma, name, direction) in [("", "up", &node.up), (",", "down", &node.down)] {
                let c = &direction.counters;
                let _ = write!(
                    text,
                    "{comma}\"{name}\":{{\"packets\":{},\"bytes\":{},\"tcp_payload\":{},\"udp_payload\":{},\
                     \"udp_payload_max\":{},\"fragments\":{},\"lost\":{},\"queue_drops\":{},\"queue_max_ms\":{:.2},\
                     \"late_max_ms\":{:.2}}}",
                    c.packets,
                    c.bytes,
                    c.tcp_payload,
                    c.udp_payload,
                    c.udp_payload_max,
                    c.fragments,
                    c.lost,
                    c.queue_drops,
                    c.queue_max.as_secs_f64() * 1e3,
                    c.late_max.as_secs_f64() * 1e3,
                );
            }
            text.push('}');
        }
        text.push('}');
        text
    }
}

fn milliseconds(count: f64) -> Duration {
    Duration::from_nanos((count * 1e6) as u64)
}

/// Prints one line for whoever drives us; false when nobody listens any more.
fn say(line: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

fn run() -> Result<(), String> {
    let texts: Vec<String> = std::env::args().skip(1).collect();
    if texts.is_empty() {
        return Err("use: linkem NAME=NAMESPACE:INTERFACE:ADDRESS/PREFIX ...".to_owned());
    }
    let nodes = texts.iter().zip(0..).map(|(text, n)| Node::open(text, n)).collect::<Result<Vec<_>, _>>()?;
    let mut waits: Vec<PollFd> = nodes
        .iter()
        .map(|node| node.device)
        .chain([0])
        .map(|fd| PollFd { fd, events: POLLIN, revents: 0 })
        .collect();
    let stdin = waits.len() - 1;
    let mut network =
        Network { nodes, flights: BinaryHeap::new(), flight_count: 0, unroutable: 0, spare: Vec::new() };
    // SAFETY: no pointers; one nanosecond of timer slack, so that TICK means what it says.
    unsafe { prctl(PR_SET_TIMERSLACK, 1 as c_long) };
    say("ready");
    let mut typed = Vec::new();
    loop {
        let idle = network.flights.is_empty();
        if !idle {
            std::thread::sleep(TICK);
        }
        // SAFETY: `waits` is a valid array of that length.
        unsafe { poll(waits.as_mut_ptr(), waits.len() as c_ulong, if idle { -1 } else { 0 }) };
        network.collect(&waits);
        network.deliver();
        if waits[stdin].revents != 0 {
            let mut bytes = [0u8; 4096];
            // SAFETY: the kernel writes at most `bytes.len()` bytes into `bytes`.
            let length = unsafe { read(0, bytes.as_mut_ptr().cast(), bytes.len()) };
            let Ok(length @ 1..) = usize::try_from(length) else { return Ok(()) };
            typed.extend_from_slice(&bytes[..length]);
            while let Some(end) = typed.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = typed.drain(..=end).collect();
                let answer = network.command(String::from_utf8_lossy(&line).trim());
                if !say(&answer) {
                    return Ok(());
                }
            }
        }
    }
}

fn main() {
    if let Err(why) = run() {
        eprintln!("linkem: {why}");
        std::process::exit(2);
    }
}
