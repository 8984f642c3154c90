//! The tracker without sockets: one thread, every request as a datagram with a valid connection id.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use pcdn_core::dice::Dice;
use pcdn_core::unit::Time;
use pcdn_discovery::tracker::service::Service;
use pcdn_discovery::tracker::table::Limits;
use pcdn_discovery::tracker::wire::bep15::encode_announce;
use pcdn_discovery::tracker::wire::report::{Change, Entry};
use pcdn_discovery::tracker::wire::{
    Announce, Answer, Event, Find, Report, Request, Traits, decode_answer, encode_connect, encode_request,
};

use crate::world::{PEERS, WANT, address, cpu_of, hash, key, peer, plain, ports, swarm_of};

const REQUESTS: u32 = 400_000;
/// As many as a busy worker reads at once.
const BATCH: usize = 32;
/// Swarms of a peer that reports.
const HELD: u32 = 20;

pub(crate) struct Rig {
    pub(crate) service: Service,
    dice: Dice,
    out: Vec<u8>,
    now: Time,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let (service, now) = (Service::new(Limits::default(), [1; 32], None), Time::from_secs(1));
        Self { service, dice: Dice::new(1), out: Vec::new(), now }
    }

    fn from(n: u32) -> SocketAddr {
        SocketAddr::new(address(n), 5000)
    }

    fn cookie(&mut self, n: u32) -> u64 {
        self.service.datagram(self.now, &mut self.dice, Self::from(n), &encode_connect(1), &mut self.out);
        match decode_answer(&self.out, None) {
            Ok((_, Answer::Connected { connection })) => connection,
            other => panic!("{other:?}"),
        }
    }

    fn serve(&mut self, n: u32, datagram: &[u8]) {
        self.service.datagram(self.now, &mut self.dice, Self::from(n), datagram, &mut self.out);
        assert!(!self.out.starts_with(&[0, 0, 0, 3]), "{}", String::from_utf8_lossy(&self.out));
        black_box(&self.out);
    }

    pub(crate) fn plain(&mut self, n: u32) -> Vec<u8> {
        let cookie = self.cookie(n);
        encode_announce(cookie, n, &plain(n))
    }

    pub(crate) fn native(&mut self, n: u32) -> Vec<u8> {
        let (swarm, peer, ports, seed) = (key(swarm_of(n)), peer(n), ports(n), n.is_multiple_of(4));
        let (event, progress, want, traits) = (Event::None, None, WANT, Traits::default());
        let it = Announce { swarm, peer, ports, seed, event, progress, want, traits };
        let cookie = self.cookie(n);
        encode_request(cookie, n, &Request::Announce(it), None)
    }

    pub(crate) fn find(&mut self, n: u32) -> Vec<u8> {
        let (swarm, asker) = (key(swarm_of(n)), Some(peer(n)));
        let find = Find { swarm, asker, seed: false, want: WANT, traits: Traits::default(), rich: false };
        let cookie = self.cookie(n);
        encode_request(cookie, n, &Request::Find(find), None)
    }

    pub(crate) fn report(&mut self, n: u32, changes: u32) -> Vec<u8> {
        let entry = |nth: u32| Entry {
            hash: hash(swarm_of(n * HELD + nth)),
            change: Change::Hold,
            have: 100,
            position: None,
        };
        let (peer, ports, traits) = (peer(n), ports(n), Traits::default());
        let report = Report { peer, ports, traits, entries: (0..changes).map(entry).collect() };
        let cookie = self.cookie(n);
        encode_request(cookie, n, &Request::Report(report), None)
    }

    pub(crate) fn send(&mut self, n: u32, datagram: &[u8]) {
        self.serve(n, datagram);
    }

    /// Time passes, so that nobody asks too fast.
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.service.table().expire(self.now);
    }
}

/// Nanoseconds of processor time a request. What they ask is made beforehand, a part at a time.
/// `together` come at once, as a worker reads them.
fn measure(rig: &mut Rig, together: usize, make: impl Fn(&mut Rig, u32) -> Vec<u8>) -> f64 {
    let mut spent = Duration::ZERO;
    for part in 0..REQUESTS / 20_000 {
        // Scattered over all peers, as they come in reality.
        let asked: Vec<(u32, Vec<u8>)> = (0..20_000)
            .map(|nth| (part * 20_000 + nth).wrapping_mul(2_654_435_761) % PEERS)
            .map(|n| (n, make(rig, n)))
            .collect();
        let before = cpu_of(std::process::id());
        for batch in asked.chunks(together) {
            rig.service.warm(batch.iter().map(|(_, datagram)| datagram.as_slice()));
            batch.iter().for_each(|(n, datagram)| rig.send(*n, datagram));
        }
        spent += cpu_of(std::process::id()) - before;
    }
    spent.as_nanos() as f64 / f64::from(REQUESTS)
}

pub(crate) fn run() {
    let mut rig = Rig::new();
    for n in 0..PEERS {
        let datagram = if n % 2 == 0 { rig.plain(n) } else { rig.native(n) };
        rig.send(n, &datagram);
    }
    println!("pure: {} peers in {} swarms", rig.service.table().entries(), rig.service.table().swarms());
    let alone = measure(&mut rig, 1, Rig::plain);
    rig.pass(20);
    let announce = measure(&mut rig, BATCH, Rig::plain);
    rig.pass(20);
    let find = measure(&mut rig, BATCH, Rig::find);
    rig.pass(20);
    let native = measure(&mut rig, BATCH, Rig::native);
    println!("  one at a time   {alone:5.0} ns");
    println!("  plain announce  {announce:5.0} ns   {:8.0} a CPU-second", 1e9 / announce);
    println!("  native announce {native:5.0} ns   {:.2} of plain", announce / native);
    println!("  find            {find:5.0} ns   {:.2} of plain (wanted: 0.60)", announce / find);
    reports(announce);
}

/// What it costs to renew one swarm of a peer that holds [`HELD`], by a report without changes.
fn reports(announce: f64) {
    let mut rig = Rig::new();
    let nodes = PEERS / HELD;
    for n in 0..nodes {
        let datagram = rig.report(n, HELD);
        rig.send(n, &datagram);
    }
    rig.pass(60);
    let asked: Vec<(u32, Vec<u8>)> = (0..nodes).map(|n| (n, rig.report(n, 0))).collect();
    let before = cpu_of(std::process::id());
    asked.iter().for_each(|(n, datagram)| rig.send(*n, datagram));
    let report = (cpu_of(std::process::id()) - before).as_nanos() as f64 / f64::from(nodes);
    let swarm = report / f64::from(HELD);
    println!(
        "  report          {report:5.0} ns for {HELD} swarms: {swarm:.0} each, {:.2} of an announce",
        swarm / announce
    );
}
