//! Engines with 20 ms between them, in virtual time. A tracker answers each of them once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use crate::dice::Dice;
use crate::fragment::{Cut, Segment};
use crate::id::{Identity, PeerId, SwarmKey};
use crate::layout::SegmentId;
use crate::peer::{Facts, PeerAddr, PeerRecord, Scheme, SignedRecord};
use crate::resource::Url;
use crate::schedule::{Handle, Hybrid};
use crate::swarm::{Input, Introduction, Limits, Output, Swarm, SwarmSetup};
use crate::unit::Time;
use crate::wire::{Message, PEERS_MAX};

pub(super) const KEY: SwarmKey = SwarmKey([1; 32]);
const LEN: u64 = 20_000;
const LATENCY: Duration = Duration::from_millis(20);
/// A dial that nobody answers.
const SILENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all of them are inputs")]
enum Event {
    Join(usize),
    Wake(usize),
    Give(usize, Input),
    Dialled { by: usize, to: PeerId },
    Silent { by: usize, to: PeerId },
}

/// What a hostile peer tells of instead of its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lies {
    /// Records that nobody signed.
    Forged,
    /// Peers that it made up, each hostile peer its own, rightly signed.
    Minted,
    /// The same, but all hostile peers tell of the same ones.
    Agreed,
    /// One in so many is a true one, to be believed the others; the others are each its own, or those of all liars.
    Mixed { every: usize, agreed: bool },
}

pub(super) struct Peer {
    pub(super) engine: Swarm,
    pub(super) id: PeerId,
    addr: PeerAddr,
    asked: bool,
    online: bool,
    lies: Option<Lies>,
    told_lies: usize,
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) peers: Vec<Peer>,
    pub(super) tracker_answers: usize,
    members: Vec<usize>,
    links: Vec<[usize; 2]>,
    events: BTreeMap<(Time, u64), Event>,
    count: u64,
    dice: Dice,
    fakes: Vec<SignedRecord>,
    pub(super) exchanges: u64,
    pub(super) dials: u64,
    /// Nobody gets through to these who is not called together with them.
    pub(super) behind_nats: BTreeSet<usize>,
    /// Dials that a NAT holds up.
    held_up: Vec<(usize, PeerId)>,
    /// Messages that tell of a meeting.
    pub(super) meets: usize,
    /// Who was told to punch to whom, and when that begins.
    pub(super) introduced: Vec<(usize, Introduction, Time)>,
}

impl World {
    pub(super) fn new(seed: u64, tracker_answers: usize) -> Self {
        Self {
            now: Time::ZERO,
            peers: Vec::new(),
            tracker_answers,
            members: Vec::new(),
            links: Vec::new(),
            events: BTreeMap::new(),
            count: 0,
            dice: Dice::new(seed),
            fakes: Vec::new(),
            exchanges: 0,
            dials: 0,
            behind_nats: BTreeSet::new(),
            held_up: Vec::new(),
            meets: 0,
            introduced: Vec::new(),
        }
    }

    /// A peer that comes at `at`, somewhere in the world.
    pub(super) fn add(&mut self, at: Time, limits: Limits, lies: Option<Lies>) -> usize {
        let n = self.peers.len();
        let mut secret = [1; 32];
        secret[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let identity = Identity::from_secret(secret);
        let addr = place(n as u64, 0);
        let id = identity.peer_id();
        let setup = SwarmSetup { addrs: vec![addr], limits, ..SwarmSetup::new(KEY, identity) };
        let engine = Swarm::new(setup, Box::new(Hybrid::default()), self.dice.fork("engine"), at);
        let (asked, online, told_lies) = (false, false, 0);
        self.peers.push(Peer { engine, id, addr, asked, online, lies, told_lies });
        self.later(at.since(self.now), Event::Join(n));
        n
    }

    fn later(&mut self, span: Duration, event: Event) {
        self.count += 1;
        self.events.insert((self.now + span, self.count), event);
    }

    pub(super) fn run_until(&mut self, end: Time) {
        while let Some(entry) = self.events.first_entry()
            && entry.key().0 <= end
        {
            self.now = entry.key().0;
            match entry.remove() {
                Event::Join(n) => self.join(n),
                Event::Wake(n) => {
                    if self.peers[n].engine.next_wake() <= self.now {
                        self.give(n, Input::Wake);
                    } else {
                        self.wake(n);
                    }
                }
                Event::Give(n, input) => self.give(n, input),
                Event::Dialled { by, to } => self.dialled(by, to),
                Event::Silent { by, to } => {
                    if let Some(dial) = self.held_up.iter().position(|dial| *dial == (by, to)) {
                        self.held_up.swap_remove(dial);
                        self.give(by, Input::NotReached(to));
                    }
                }
            }
        }
        self.now = end;
    }

    fn join(&mut self, n: usize) {
        self.peers[n].online = true;
        self.members.push(n);
        let url = Url::parse("http://origin.example/file").unwrap();
        let segment = Segment::of_file(SegmentId(0), url, 0..LEN, 14).unwrap();
        self.give(n, Input::Cut(Cut::Segment(segment)));
        self.give(n, Input::Cut(Cut::End));
        self.give(n, Input::Whole(true));
        self.wake(n);
    }

    /// It is killed: its links break.
    pub(super) fn kill(&mut self, n: usize) {
        self.peers[n].online = false;
        for link in 0..self.links.len() {
            if let Some(side) = self.links[link].iter().position(|peer| *peer == n) {
                let other = self.links[link][1 - side];
                self.later(LATENCY, Event::Give(other, Input::LinkDown { link: Handle(link as u32) }));
            }
        }
    }

    fn wake(&mut self, n: usize) {
        let at = self.peers[n].engine.next_wake().max(self.now + Duration::from_millis(1));
        self.later(at.since(self.now), Event::Wake(n));
    }

    pub(super) fn give(&mut self, n: usize, input: Input) {
        if !self.peers[n].online {
            return;
        }
        let woken = matches!(input, Input::Wake);
        self.peers[n].engine.handle(self.now, input);
        while let Some(output) = self.peers[n].engine.poll() {
            self.act(n, output);
        }
        if woken {
            self.wake(n);
        }
    }

    fn act(&mut self, n: usize, output: Output) {
        match output {
            Output::Send { link, message } => {
                let Some(message) = self.said(n, message) else { return };
                let to = self.other(n, link);
                self.meets += usize::from(matches!(message, Message::Meet { .. }));
                self.later(LATENCY, Event::Give(to, Input::Message { link, message }));
            }
            Output::Close(link) => {
                let to = self.other(n, link);
                self.later(LATENCY, Event::Give(to, Input::LinkDown { link }));
                self.later(Duration::ZERO, Event::Give(n, Input::LinkDown { link }));
            }
            Output::Connect(record) => {
                self.dials += 1;
                self.later(2 * LATENCY, Event::Dialled { by: n, to: record.id });
            }
            Output::Meet(meeting) => self.introduce(n, meeting),
            Output::Find { want } => self.find(n, want),
            Output::Fetch { run, range, .. } => {
                let bytes = Bytes::from(vec![7; range.len() as usize]);
                self.later(LATENCY, Event::Give(n, Input::OriginBytes { run, bytes }));
                self.later(LATENCY, Event::Give(n, Input::OriginEnd { run, result: Ok(()) }));
            }
            Output::Ask { flight, .. } => {
                // Nobody needs to: the origin is near and the file is short.
                let why = crate::transport::FetchError::Closed;
                self.later(LATENCY, Event::Give(n, Input::Failed { flight, why }));
            }
            _ => {}
        }
    }

    fn other(&self, n: usize, link: Handle) -> usize {
        let peers = self.links[link.0 as usize];
        if peers[0] == n { peers[1] } else { peers[0] }
    }

    fn find(&mut self, n: usize, want: usize) {
        if std::mem::replace(&mut self.peers[n].asked, true) {
            return;
        }
        let mut others: Vec<usize> = self.members.iter().copied().filter(|other| *other != n).collect();
        self.dice.shuffle(&mut others);
        others.truncate(want.min(self.tracker_answers));
        let records = others.into_iter().map(|other| self.record(other)).collect();
        self.later(2 * LATENCY, Event::Give(n, Input::Found(records)));
    }

    pub(super) fn record(&self, n: usize) -> PeerRecord {
        PeerRecord { id: self.peers[n].id, addrs: vec![self.peers[n].addr], seed: false }
    }

    fn dialled(&mut self, by: usize, to: PeerId) {
        let there = self.peers.iter().position(|peer| peer.id == to && peer.online);
        let Some(other) = there else {
            return self.later(SILENCE, Event::Give(by, Input::NotReached(to)));
        };
        if self.behind_nats.contains(&other) {
            self.held_up.push((by, to));
            return self.later(SILENCE, Event::Silent { by, to });
        }
        self.link(by, other);
    }

    /// Two that punch with one token get through to each other, and the dial that was held up, too.
    fn introduce(&mut self, n: usize, meeting: Introduction) {
        self.introduced.push((n, meeting, self.now + meeting.begin_in));
        let Some(other) = self.peers.iter().position(|peer| peer.id == meeting.peer) else { return };
        let both = self.introduced.iter().any(|(of, its, _)| *of == other && its.token == meeting.token);
        let pairs = [(n, meeting.peer), (other, self.peers[n].id)];
        let held_up = self.held_up.iter().position(|dial| pairs.contains(dial));
        if let Some(dial) = held_up.filter(|_| both) {
            let (by, _) = self.held_up.swap_remove(dial);
            self.link(by, if by == n { other } else { n });
        }
    }

    fn link(&mut self, by: usize, other: usize) {
        let link = Handle(self.links.len() as u32);
        self.links.push([by, other]);
        for (n, peer) in [(by, other), (other, by)] {
            let (peer, remote) = (self.peers[peer].id, Some(self.peers[peer].addr));
            self.give(n, Input::LinkUp { link, peer, remote, rtt: 2 * LATENCY });
        }
    }

    /// What a peer says, as it arrives: a hostile one tells of others than it knows.
    fn said(&mut self, n: usize, message: Message) -> Option<Message> {
        let Message::Peers { added: truth, .. } = &message else { return Some(message) };
        let truth = truth.clone();
        self.exchanges += 1;
        let Some(lies) = self.peers[n].lies else { return Some(message) };
        let first = match lies {
            Lies::Agreed | Lies::Mixed { agreed: true, .. } => self.peers[n].told_lies,
            Lies::Forged | Lies::Minted | Lies::Mixed { .. } => n * 200 + self.peers[n].told_lies,
        };
        self.peers[n].told_lies += PEERS_MAX;
        let mut added: Vec<SignedRecord> =
            (first..first + PEERS_MAX).map(|fake| self.fake(fake, lies)).collect();
        if let Lies::Mixed { every, .. } = lies {
            added.iter_mut().zip(truth).step_by(every).for_each(|(lie, truth)| *lie = truth);
        }
        Some(Message::Peers { hungry: true, added, dropped: Vec::new() })
    }

    fn fake(&mut self, n: usize, lies: Lies) -> SignedRecord {
        while self.fakes.len() <= n {
            let mut secret = [99; 32];
            secret[..8].copy_from_slice(&(self.fakes.len() as u64).to_be_bytes());
            let key = Identity::from_secret(secret);
            let addrs = vec![place(self.fakes.len() as u64, 128)];
            let seq = self.now.0 / 1_000;
            let facts = Facts { id: key.peer_id(), seq, lifetime_s: 1_800, flags: 0, nat: 0, up: 0, addrs };
            self.fakes.push(facts.sign(&key, &KEY).unwrap());
        }
        if lies != Lies::Forged {
            // Made in this process, it is not checked again: what is tested here is not the signature.
            return self.fakes[n].clone();
        }
        let mut bytes = Vec::new();
        self.fakes[n].encode_to(&mut bytes);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        SignedRecord::decode(&bytes).unwrap().0
    }

    /// Of the others that are there, how many this peer knows; and how many it knows that are not there.
    pub(super) fn knows(&self, n: usize) -> (f64, usize) {
        let there: Vec<PeerId> =
            self.peers.iter().filter(|p| p.online && p.id != self.peers[n].id).map(|p| p.id).collect();
        let known: Vec<&PeerId> = self.peers[n].engine.known_peers().collect();
        let true_ones = known.iter().filter(|id| there.contains(id)).count();
        (true_ones as f64 / there.len() as f64, known.len() - true_ones)
    }

    pub(super) fn honest(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.peers.len()).filter(|n| self.peers[*n].lies.is_none() && self.peers[*n].online)
    }
}

/// Public addresses, no two in one /24 and not too many in one /16.
fn place(n: u64, from: u8) -> PeerAddr {
    let ip: IpAddr = [20 + from / 2 + (n % 60) as u8, (n / 60) as u8, from, 1].into();
    PeerAddr { scheme: Scheme::Udp, addr: SocketAddr::new(ip, 4_000) }
}
