//! Viewers: who joins, reads, finishes, leaves, dies; and what each keeps.

use bytes::Bytes;
use pcdn_core::dice::Dice;
use pcdn_core::fragment::Cut;
use pcdn_core::id::{Identity, PeerId};
use pcdn_core::layout::PieceKey;
use pcdn_core::peer::Appearance;
use pcdn_core::store::Kept;
use pcdn_core::swarm::{Event as Fact, Input, ReaderId, Swarm, SwarmSetup};
use pcdn_core::unit::{ByteSize, Rate, Time};
use pcdn_core::verify::Integrity;

use super::{Event, World};
use crate::sim::net::Access;
use crate::sim::player::Player;
use crate::sim::scenario::{After, Behaviour, Group, Join, Task};

/// Each viewer has one reader.
const READER: ReaderId = ReaderId(1);
/// Loading a piece from the store: an SSD's random read.
const LOAD: u64 = 200;
/// An opening that met a failing origin is tried again after this.
const REOPEN: u64 = 500_000;
/// Width of the timeline's buckets.
pub(in crate::sim) const BUCKET: u64 = 500_000;

/// How far a viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum State {
    Waiting,
    Opening,
    Online,
    Gone,
}

/// One viewer.
#[derive(Debug)]
pub(in crate::sim) struct Peer {
    pub(super) id: PeerId,
    pub(in crate::sim) group: usize,
    pub(in crate::sim) state: State,
    pub(in crate::sim) behaviour: Behaviour,
    pub(super) engine: Option<Box<Swarm>>,
    pub(super) access: Access,
    pub(super) wake_at: Time,
    /// Link ends by handle.
    pub(super) ends: Vec<u32>,
    /// Requests under way by flight, rising.
    pub(super) flights: Vec<(u64, u32)>,
    /// Origin transfers under way by run, and connections to the origin.
    pub(super) runs: Vec<(u64, u32)>,
    pub(super) connections: usize,
    /// Those that have found their pace.
    pub(super) warm: usize,
    /// Pieces in its store: right ones, poisoned ones.
    held: [Vec<u64>; 2],
    killed_at: Option<u64>,
    pub(in crate::sim) player: Option<Player>,
    pub(in crate::sim) tally: Tally,
}

/// What is counted of a viewer. Bytes unless said otherwise.
#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Tally {
    pub(in crate::sim) joined: Time,
    pub(in crate::sim) first_byte: Option<Time>,
    pub(in crate::sim) finished: Option<Time>,
    pub(in crate::sim) killed: bool,
    pub(in crate::sim) broken: bool,
    /// Handed to the reader.
    pub(in crate::sim) read: u64,
    /// Kept, by source.
    pub(in crate::sim) from_origin: u64,
    pub(in crate::sim) from_peers: u64,
    /// Received, useful or not, by source; what the CDN sent includes what was hung up on.
    pub(in crate::sim) origin_sent: u64,
    pub(in crate::sim) peers_sent: u64,
    pub(in crate::sim) uploaded: u64,
    /// Read or kept and not the content's.
    pub(in crate::sim) wrong: u64,
    pub(in crate::sim) rejected: u32,
    pub(in crate::sim) timeouts: u64,
    pub(in crate::sim) stalls_seen: u32,
    /// Honest peers and others it banned.
    pub(in crate::sim) banned: [u32; 2],
}

impl World<'_> {
    /// Makes all viewers and says when they join.
    pub(super) fn populate(&mut self) {
        for (number, group) in self.scenario.viewers.clone().iter().enumerate() {
            let mut dice = self.dice.fork("group");
            let killed = group.killed.map_or(0, |killed| (group.count as f64 * killed.part).round() as usize);
            let mut fates: Vec<bool> = (0..group.count).map(|n| n < killed).collect();
            dice.shuffle(&mut fates);
            let mut clock = group.start.0.as_micros() as u64;
            for dies in fates {
                let at = joins(group, &mut clock, &mut dice);
                let id = self.peers.len() as u32;
                let bytes = group.killed.filter(|_| dies).map(|k| (self.content.len() as f64 * k.at) as u64);
                self.peers.push(Peer::new(
                    identity(self.scenario.seed, id).peer_id(),
                    number,
                    group,
                    bytes,
                    self.content.slots,
                ));
                self.watching += usize::from(group.behaviour == Behaviour::Honest);
                self.wheel.insert(Time(at), Event::Join(id));
            }
        }
    }

    pub(super) fn group(&self, peer: u32) -> &Group {
        &self.scenario.viewers[self.peers[peer as usize].group]
    }

    fn signed(&self) -> bool {
        self.scenario.integrity == Integrity::Signed
    }

    /// Connection and response head, then the manifest beside the content.
    pub(super) fn join(&mut self, peer: u32) {
        let trip = 2 * self.origin_latency(peer);
        let manifest = self.content.raw_manifest.len() as u64;
        let state = &mut self.peers[peer as usize];
        if state.state == State::Waiting {
            state.tally.joined = self.now;
            state.state = State::Opening;
        }
        if self.cdn.failing(self.now).is_some() {
            return self.after(trip + REOPEN, Event::Join(peer));
        }
        let mut takes = 2 * trip + self.cdn.think();
        if self.signed() {
            let state = &mut self.peers[peer as usize];
            state.tally.origin_sent += manifest;
            self.cdn.sent += manifest;
            takes += trip + self.cdn.think();
        }
        self.after(takes, Event::Open(peer));
    }

    pub(super) fn open(&mut self, peer: u32) {
        let scenario = &self.scenario;
        let lying = self.peers[peer as usize].behaviour == Behaviour::Lying;
        let content = self.poison.as_ref().filter(|_| lying).unwrap_or(&self.content).clone();
        let setup = SwarmSetup {
            integrity: scenario.integrity,
            witnesses: scenario.witnesses,
            policy: scenario.policy,
            take: self.rules.p2p,
            give: self.rules.p2p,
            addrs: vec![super::meeting::door(peer)],
            limits: pcdn_core::swarm::Limits { cache_bytes: scenario.cache.0, ..Default::default() },
            ..SwarmSetup::new(content.swarm, identity(scenario.seed, peer))
        };
        let task = self.group(peer).task;
        let dice = self.dice.fork("engine");
        let engine = Swarm::new(setup, (self.rules.scheduler)(), dice, self.now);
        let state = &mut self.peers[peer as usize];
        state.engine = Some(Box::new(engine));
        state.state = State::Online;
        state.connections = 1;
        let nat = pcdn_core::peer::Nat::from(self.group(peer).nat);
        if nat != pcdn_core::peer::Nat::Open {
            self.give(peer, Input::Appears(Appearance { addrs: vec![super::meeting::door(peer)], nat }));
        }
        let limit = self.group(peer).download_limit;
        if limit < Rate::UNLIMITED {
            self.give(peer, Input::Limit { rate: limit, neighbour: Rate::UNLIMITED });
        }
        if let Some(ByteSize(origin_bytes)) = self.group(peer).background {
            self.give(peer, Input::Background(Some(origin_bytes)));
        }
        for segment in &content.segments {
            self.give(peer, Input::Cut(Cut::Segment(segment.clone())));
        }
        self.give(peer, Input::Cut(Cut::End));
        if self.signed() {
            self.give(peer, Input::Manifest(content.manifest.clone(), Some(content.raw_manifest.clone())));
        }
        let (at, end) = (0, content.len());
        match task {
            Task::Play(player) => {
                self.peers[peer as usize].player = Some(Player::new(&player));
                self.give(peer, Input::Read { reader: READER, at, end, playing: true, had: 0 });
                self.give(peer, Input::Pull { reader: READER });
            }
            Task::Download => {
                self.give(peer, Input::Whole(true));
                if self.scenario.read_back {
                    self.give(peer, Input::Read { reader: READER, at, end, playing: false, had: 0 });
                    self.give(peer, Input::Pull { reader: READER });
                }
            }
        }
        if self.rules.p2p {
            self.announce(peer);
        }
    }

    /// Bytes came out of the engine for the viewer: each one is compared.
    pub(super) fn read(&mut self, peer: u32, bytes: &Bytes) {
        let (now, len) = (self.now, bytes.len() as u64);
        let state = &mut self.peers[peer as usize];
        let tally = &mut state.tally;
        if !self.content.has(tally.read, bytes) {
            tally.wrong += len;
        }
        tally.read += len;
        tally.first_byte.get_or_insert(now);
        let last = tally.read >= self.content.len();
        let mut next = now;
        if let Some(player) = &mut state.player {
            player.arrive(now, len, last);
            next = player.reads_at(now);
        }
        if last {
            self.give(peer, Input::ReadEnd { reader: READER });
            self.finished(peer);
        } else if next > now {
            self.wheel.insert(next, Event::Reads(peer));
        } else {
            self.give(peer, Input::Pull { reader: READER });
        }
    }

    pub(super) fn reads(&mut self, peer: u32) {
        self.give(peer, Input::Pull { reader: READER });
    }

    /// A piece goes to the store; what is kept is compared too, for it will be given to others.
    pub(super) fn keep(&mut self, peer: u32, key: &PieceKey, kept: &Kept) {
        let Some((slot, right)) = self.content.piece(key) else { return };
        if let (0, Task::Play(player)) = (slot, self.group(peer).task)
            && player.told
        {
            self.give(peer, Input::Plays(player.bitrate));
        }
        // Where nobody reads, the first piece that can be used is the start.
        let read = self.scenario.read_back || matches!(self.group(peer).task, Task::Play(_));
        let state = &mut self.peers[peer as usize];
        let len = kept.bytes.len() as u64;
        let is_right = std::ptr::eq(right.as_ptr(), kept.bytes.as_ptr()) || right == *kept.bytes;
        state.held[usize::from(!is_right)][slot as usize / 64] |= 1 << (slot % 64);
        let tally = &mut state.tally;
        if !read {
            tally.first_byte.get_or_insert(self.now);
        }
        match kept.own {
            true => tally.from_origin += len,
            false => tally.from_peers += len,
        }
        if state.behaviour != Behaviour::Lying {
            tally.wrong += if is_right { 0 } else { len };
            let bucket = (self.now.0 / BUCKET) as usize;
            if bucket >= self.timeline.len() {
                self.timeline.resize(bucket + 1, [0; 2]);
            }
            self.timeline[bucket][usize::from(!kept.own)] += len;
        }
        if state.killed_at.is_some_and(|bytes| tally.from_origin + tally.from_peers >= bytes) {
            state.killed_at = None;
            self.after(0, Event::Kill(peer));
        }
    }

    pub(super) fn load(&mut self, peer: u32, key: &PieceKey) {
        if let Some((slot, _)) = self.content.piece(key) {
            self.after(LOAD, Event::Loaded { peer, slot });
        }
    }

    pub(super) fn loaded(&mut self, peer: u32, slot: u32) {
        let has = |held: &[u64]| held[slot as usize / 64] >> (slot % 64) & 1 == 1;
        let [right, wrong] = &self.peers[peer as usize].held;
        let Some(key) = self.content.key(slot) else { return };
        let from = match () {
            () if has(right) => Some(&self.content),
            () if has(wrong) => self.poison.as_ref(),
            () => None,
        };
        let bytes = from.and_then(|content| content.piece(&key)).map(|(_, bytes)| bytes);
        self.give(peer, Input::Loaded { key, bytes });
    }

    /// All is here. A download that is read back is done when it is read.
    pub(super) fn complete(&mut self, peer: u32) {
        if !self.scenario.read_back && self.group(peer).task == Task::Download {
            self.finished(peer);
        }
    }

    fn finished(&mut self, peer: u32) {
        if self.done_with(peer) {
            self.peers[peer as usize].tally.finished = Some(self.now);
        }
        if self.group(peer).after == After::Leave {
            self.leave(peer);
        }
    }

    /// The engine gave up on the reader: the viewer sees an error.
    pub(super) fn broken(&mut self, peer: u32) {
        if self.done_with(peer) {
            self.peers[peer as usize].tally.broken = true;
        }
        self.leave(peer);
    }

    pub(super) fn kill(&mut self, peer: u32) {
        if self.done_with(peer) {
            self.peers[peer as usize].tally.killed = true;
        }
        self.vanish(peer);
        self.peers[peer as usize].engine = None;
    }

    /// Nothing more is expected of it; false if that was so before.
    fn done_with(&mut self, peer: u32) -> bool {
        let state = &self.peers[peer as usize];
        let first = state.tally.finished.is_none() && !state.tally.killed && !state.tally.broken;
        if first && state.behaviour == Behaviour::Honest {
            self.watching -= 1;
        }
        first
    }

    pub(super) fn ban(&mut self, peer: u32, other: &PeerId) {
        let honest = self.peers.iter().any(|known| known.id == *other && known.behaviour != Behaviour::Lying);
        self.peers[peer as usize].tally.banned[usize::from(!honest)] += 1;
    }

    pub(super) fn note(&mut self, peer: u32, fact: &Fact) {
        let tally = &mut self.peers[peer as usize].tally;
        match fact {
            Fact::Rejected { .. } => tally.rejected += 1,
            Fact::TimedOut { .. } => tally.timeouts += 1,
            Fact::Stalled => tally.stalls_seen += 1,
            _ => {}
        }
    }
}

impl Peer {
    fn new(id: PeerId, number: usize, group: &Group, killed_at: Option<u64>, slots: u32) -> Self {
        Self {
            id,
            group: number,
            state: State::Waiting,
            behaviour: group.behaviour,
            engine: None,
            access: Access::new(group),
            wake_at: Time::NEVER,
            ends: Vec::new(),
            flights: Vec::new(),
            runs: Vec::new(),
            connections: 0,
            warm: 0,
            held: std::array::from_fn(|_| vec![0; slots.div_ceil(64) as usize]),
            killed_at,
            player: None,
            tally: Tally::default(),
        }
    }
}

/// When the next viewer of `group` joins; `clock` is when the last one did.
fn joins(group: &Group, clock: &mut u64, dice: &mut Dice) -> u64 {
    let now = *clock;
    match group.join {
        Join::AtOnce => now,
        Join::Every(span) => {
            *clock += span.0.as_micros() as u64;
            now
        }
        Join::Within(span) => now + dice.below(span.0.as_micros() as u64),
        Join::Poisson(span) => {
            *clock += (-(1.0 - dice.unit()).ln() * span.0.as_micros() as f64) as u64;
            now
        }
    }
}

/// Every peer's key follows from the seed.
pub(super) fn identity(seed: u64, peer: u32) -> Identity {
    let mut hasher = blake3::Hasher::new_derive_key("pcdn simulated peer");
    hasher.update(&seed.to_le_bytes()).update(&peer.to_le_bytes());
    Identity::from_secret(*hasher.finalize().as_bytes())
}
