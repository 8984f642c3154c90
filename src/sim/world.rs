//! The simulated world: peers with real engines, joined by what happens when.
//!
//! One loop: the wheel gives the next event; it becomes inputs for engines; engines' outputs become later events. Nothing else
//! moves time, and all dice come from the seed, so a run is a function of scenario, seed and scheduler. Nothing iterates over
//! a hash map; peers, links, requests and transfers are numbers into tables.
//!
//! | file | what happens in it |
//! |---|---|
//! | `viewers` | who joins, reads, finishes, leaves, dies |
//! | `meeting` | tracker, dialling, links, messages |
//! | `pieces` | requests between peers and the uplinks they wait for |
//! | `origin` | range requests to the CDN |

mod meeting;
mod origin;
mod pieces;
mod trace;
mod viewers;

use std::collections::VecDeque;
use std::sync::Arc;

use pcdn_core::dice::Dice;
use pcdn_core::schedule::Scheduler;
use pcdn_core::swarm::{Input, Output, Swarm};
use pcdn_core::unit::Time;

use super::cdn::Cdn;
use super::content::Content;
use super::scenario::Scenario;
use super::wheel::Wheel;
use meeting::{Letter, Link, Tracker};
use pieces::Requests;
pub(super) use trace::Trace;
pub(super) use viewers::{Peer, State};

/// What is put into the world beside the scenario.
pub(super) struct Rules<'f> {
    /// Makes each peer's scheduler.
    pub(super) scheduler: &'f dyn Fn() -> Box<dyn Scheduler>,
    /// Whether peers are used at all; the baseline does without.
    pub(super) p2p: bool,
}

/// A timer of the shell is not finer than this: an engine that asks to be woken at once is woken after it.
const TIMER: u64 = 1_000;

/// What can happen. Numbers are positions in the world's tables.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A viewer opens the resource: connection, response head, manifest.
    Join(u32),
    /// It has them: its engine begins.
    Open(u32),
    /// Its engine wants to be called.
    Wake(u32),
    /// Its player reads on.
    Reads(u32),
    /// It is killed.
    Kill(u32),
    /// The tracker hears of it, or forgets it.
    Announced(u32),
    Forgotten(u32),
    /// The tracker's answer comes.
    Found {
        peer: u32,
        want: u16,
    },
    /// A link end is up, or down.
    LinkUp(u32),
    LinkDown(u32),
    NotReached {
        peer: u32,
        other: u32,
    },
    Letter(u32),
    /// A request comes to who shall serve it; is taken back; is refused; its piece is sent; its piece is here.
    /// The asker's own bound lets a request go out.
    Goes {
        request: u32,
        turn: u32,
    },
    Asked(u32),
    Cancelled {
        request: u32,
        turn: u32,
    },
    Refused(u32),
    Sent(u32),
    Arrived(u32),
    /// An uplink looks again whether a receiver has room.
    Uplink(u32),
    /// A stored piece is loaded.
    Loaded {
        peer: u32,
        slot: u32,
    },
    /// An origin transfer begins, has sent a part, may send on, arrives, fails, is hung up.
    OriginOpens(u32),
    OriginPart(u32),
    OriginResumes(u32),
    OriginArrives(u32),
    OriginFails {
        transfer: u32,
        status: u16,
    },
    OriginStops(u32),
}

/// All there is.
pub(super) struct World<'f> {
    pub(super) scenario: Scenario,
    rules: Rules<'f>,
    pub(super) now: Time,
    wheel: Wheel<Event>,
    inbox: VecDeque<(u32, Input)>,
    pub(super) content: Arc<Content>,
    /// What liars get from the CDN, if there are liars.
    poison: Option<Arc<Content>>,
    pub(super) peers: Vec<Peer>,
    links: Vec<Link>,
    letters: Vec<Option<Letter>>,
    free_letters: Vec<u32>,
    requests: Requests,
    tracker: Tracker,
    pub(super) cdn: Cdn,
    dice: Dice,
    /// Honest viewers that are not done.
    pub(super) watching: usize,
    pub(super) events: u64,
    pub(super) trace: Trace,
    /// Useful bytes kept in each half second, by honest viewers: from the CDN, from peers.
    pub(super) timeline: Vec<[u64; 2]>,
}

impl<'f> World<'f> {
    pub(super) fn new(scenario: Scenario, rules: Rules<'f>) -> Self {
        let mut dice = Dice::new(scenario.seed);
        let content = Arc::new(Content::new(scenario.seed, scenario.content.size.0));
        let lying = scenario.viewers.iter().any(|group| group.behaviour == super::Behaviour::Lying);
        let poison = lying.then(|| Arc::new(content.poisoned()));
        let mut world = Self {
            rules,
            now: Time::ZERO,
            wheel: Wheel::default(),
            inbox: VecDeque::new(),
            poison,
            peers: Vec::with_capacity(scenario.peers()),
            links: Vec::new(),
            letters: Vec::new(),
            free_letters: Vec::new(),
            requests: Requests::default(),
            tracker: Tracker::new(&scenario.tracker),
            cdn: Cdn::new(scenario.origin.clone()),
            watching: 0,
            events: 0,
            trace: Trace::default(),
            timeline: Vec::new(),
            dice: dice.fork("world"),
            content,
            scenario,
        };
        world.populate();
        world
    }

    /// Until every honest viewer is done, or the scenario's time is over.
    pub(super) fn run(&mut self) {
        let end = Time::ZERO + self.scenario.duration.0;
        while self.watching > 0 {
            let Some((at, event)) = self.wheel.pop() else { return };
            self.now = at.min(end);
            if at > end {
                return;
            }
            self.events += 1;
            self.happens(event);
            while let Some((peer, input)) = self.inbox.pop_front() {
                self.deliver(peer, input);
            }
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Join(peer) => self.join(peer),
            Event::Open(peer) => self.open(peer),
            Event::Wake(peer) => self.wake(peer),
            Event::Reads(peer) => self.reads(peer),
            Event::Kill(peer) => self.kill(peer),
            Event::Announced(peer) => self.announced(peer),
            Event::Forgotten(peer) => self.tracker.forget(peer),
            Event::Found { peer, want } => self.found(peer, want),
            Event::LinkUp(end) => self.link_up(end),
            Event::LinkDown(end) => self.link_down(end),
            Event::NotReached { peer, other } => self.not_reached(peer, other),
            Event::Letter(letter) => self.letter(letter),
            Event::Goes { request, turn } => self.goes(request, turn),
            Event::Asked(request) => self.asked(request),
            Event::Cancelled { request, turn } => self.cancelled(request, turn),
            Event::Refused(request) => self.refused(request),
            Event::Sent(request) => self.sent(request),
            Event::Arrived(request) => self.arrived(request),
            Event::Uplink(peer) => self.send_next(peer),
            Event::Loaded { peer, slot } => self.loaded(peer, slot),
            Event::OriginOpens(transfer) => self.origin_opens(transfer),
            Event::OriginPart(turn) => self.origin_part(turn),
            Event::OriginResumes(transfer) => self.origin_resumes(transfer),
            Event::OriginArrives(transfer) => self.origin_arrives(transfer),
            Event::OriginFails { transfer, status } => self.origin_fails(transfer, status),
            Event::OriginStops(transfer) => self.origin_stops(transfer),
        }
    }

    /// Something for an engine; it is handed over after the event under way is done with.
    fn give(&mut self, peer: u32, input: Input) {
        if self.peers[peer as usize].state == State::Online {
            self.inbox.push_back((peer, input));
        }
    }

    /// The shell's whole duty: one input, then all outputs, then see when to wake.
    fn deliver(&mut self, peer: u32, input: Input) {
        let Some(mut engine) = self.peers[peer as usize].engine.take() else { return };
        self.trace.input(self.now, peer, &input);
        engine.handle(self.now, input);
        while let Some(output) = engine.poll() {
            self.does(peer, output);
        }
        if self.peers[peer as usize].state == State::Online {
            self.schedule_wake(peer, &engine);
            self.peers[peer as usize].engine = Some(engine);
        }
    }

    fn does(&mut self, peer: u32, output: Output) {
        match output {
            Output::Connect(record) => self.dial(peer, &record),
            Output::Close(link) => self.close(peer, link),
            Output::Send { link, message } => self.send(peer, link, message),
            Output::Ask { flight, link, fetch } => self.ask(peer, flight, link, &fetch),
            Output::Cancel { flight } => self.cancel(peer, flight),
            Output::Fetch { run, range, .. } => self.fetch(peer, run, range),
            Output::Abort { run } => self.abort(peer, run),
            Output::Keep { key, kept, .. } => self.keep(peer, &key, &kept),
            Output::Load(key) => self.load(peer, &key),
            Output::Serve { ask, bytes } => self.serve(peer, ask, bytes.into_inner()),
            Output::Refuse { ask, why } => self.refuse(peer, ask, why),
            Output::Deliver { bytes, .. } => self.read(peer, &bytes),
            Output::Broken { .. } => self.broken(peer),
            Output::Find { want } => self.find(peer, want),
            Output::Ban(other) => self.ban(peer, &other),
            Output::Complete => self.complete(peer),
            Output::Note(event) => self.note(peer, &event),
            // A file has neither live slices nor a window that segments leave.
            Output::Heard { .. } | Output::Forget(_) | Output::Discard(_) => {}
            // Every home here is reached.
            Output::Meet(_) => {}
        }
    }

    fn schedule_wake(&mut self, peer: u32, engine: &Swarm) {
        let at = engine.next_wake().max(Time(self.now.0 + TIMER));
        let state = &mut self.peers[peer as usize];
        if at < state.wake_at {
            state.wake_at = at;
            self.wheel.insert(at, Event::Wake(peer));
        }
    }

    /// An event may be stale: the engine has been called since, and wants to be woken later.
    fn wake(&mut self, peer: u32) {
        let state = &mut self.peers[peer as usize];
        if state.wake_at != self.now {
            return;
        }
        state.wake_at = Time::NEVER;
        let Some(engine) = &state.engine else { return };
        let wants = engine.next_wake();
        if wants <= self.now {
            self.give(peer, Input::Wake);
        } else if wants < Time::NEVER {
            state.wake_at = wants;
            self.wheel.insert(wants, Event::Wake(peer));
        }
    }

    fn after(&mut self, micros: u64, event: Event) {
        self.wheel.insert(Time(self.now.0 + micros), event);
    }
}
