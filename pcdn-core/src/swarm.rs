//! The engine: one resource, all its neighbours. No socket, no clock, no dice of its own.
//!
//! **Contract:** give it one [`Input`], then drain [`Swarm::poll`] until `None`, then sleep until [`Swarm::next_wake`] or the
//! next input. The shell is dull on purpose: it waits for one thing, hands it in, and does what comes out.
//!
//! ```text
//!            Cut, Held, Manifest            Ask ──► upload ──► Serve / Refuse
//!  fragmenter ───────────────► board
//!  links ── Message ─────────► links, gossip, exchange, proof ──► Send
//!  links ── Piece ───────────► proof ─ checked ─► board ──► Keep, Deliver
//!  origin ─ OriginBytes ─────► runs ── own copy ─► proof, board
//!  readers ─ Read, Pull ─────► readers (due times) ──► scheduler ──► Ask, Fetch
//! ```

mod acquaintances;
mod background;
pub mod board;
mod company;
mod doubt;
mod exchange;
mod flight;
mod front;
mod gossip;
mod input;
mod limit;
mod line;
mod links;
mod meter;
mod origin;
mod output;
mod pace;
mod proof;
mod reader;
mod receipts;
mod relay;
pub mod report;
mod setup;
mod slices;
mod upload;
mod whereabouts;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::dice::Dice;
use crate::fragment::{Cut, Segment};
use crate::id::PeerId;
use crate::layout::SegmentId;
use crate::schedule::{Plan, Scheduler, Step, View};
use crate::store::Held;
use crate::unit::Time;
use crate::verify::Integrity;

pub use company::COMPANY_WAIT;
pub use input::{AskId, Input, ReaderId};
pub use output::{Introduction, Output, Source};
pub use reader::Expected;
pub use report::{Event, Report};
pub use setup::{Limits, SwarmSetup};

/// How often the engine looks at everything again, whatever happens (scheduling notes: 200 ms; coarser ticks need larger
/// safety margins before a player's deadline).
pub const TICK: Duration = Duration::from_millis(200);

/// The same while there is nothing to fetch and nobody to read: whoever asks or tells something is answered at once anyway.
const TICK_IDLE: Duration = Duration::from_secs(1);

/// What neighbours tell is planned for at most this often.
const TOLD: Duration = Duration::from_millis(50);

/// Superpeers remembered: as many as a swarm has neighbours, twice over.
const PREFERRED_MAX: usize = 64;

/// The engine. See the [module](self) for its contract.
#[derive(Debug)]
pub struct Swarm {
    setup: SwarmSetup,
    me: PeerId,
    dice: Dice,
    scheduler: Box<dyn Scheduler>,
    board: board::Board,
    links: links::Links,
    gossip: gossip::Gossip,
    company: company::Company,
    exchange: exchange::Exchange,
    proof: proof::Proof,
    doubts: doubt::Doubts,
    relay: relay::Relay,
    flights: flight::Flights,
    origin: origin::Runs,
    upload: upload::Uploads,
    readers: reader::Readers,
    slices: slices::Slices,
    receipts: receipts::Receipts,
    /// What the store holds of segments that are not cut yet.
    held_early: BTreeMap<SegmentId, Vec<Held>>,
    report: Report,
    out: VecDeque<Output>,
    next_tick: Time,
    wake: Time,
    dirty: bool,
    /// Neighbours told something since the last plan, and when that was.
    told: bool,
    planned: Time,
    /// The next plan waits for the next input.
    hold_plan: bool,
    whole: bool,
    told_complete: bool,
    /// What is fetched is fetched in the background, with a bound on what the origin gives.
    background: Option<background::Background>,
    limit: limit::Limit,
    line: line::Line,
    /// Bytes on their way through the line, at the last plan and with what was asked since.
    on_way: u64,
}

impl Swarm {
    /// An engine that knows nothing yet: give it cuts, links and readers.
    pub fn new(setup: SwarmSetup, scheduler: Box<dyn Scheduler>, mut dice: Dice, now: Time) -> Self {
        let me = setup.identity.peer_id();
        Self {
            me,
            scheduler,
            board: board::Board::default(),
            links: links::Links::default(),
            gossip: gossip::Gossip::new(now, dice.fork("gossip")),
            company: company::Company::new(now),
            proof: proof::Proof::new(setup.integrity, setup.witnesses, setup.trust),
            doubts: doubt::Doubts::default(),
            relay: relay::Relay::default(),
            flights: flight::Flights::default(),
            origin: origin::Runs::new(!setup.follow),
            upload: upload::Uploads::new(setup.limits.uploads, setup.limits.asks_per_peer),
            readers: reader::Readers::new(setup.limits.read_ahead),
            slices: slices::Slices::default(),
            receipts: receipts::Receipts::default(),
            held_early: BTreeMap::new(),
            report: Report::new(now),
            out: VecDeque::new(),
            next_tick: now,
            wake: now,
            dirty: true,
            told: false,
            planned: now,
            hold_plan: false,
            whole: false,
            told_complete: false,
            background: None,
            limit: limit::Limit::default(),
            line: line::Line::new(now),
            on_way: 0,
            dice: dice.fork("scheduler"),
            exchange: exchange::Exchange::new(&setup, now, dice.fork("exchange")),
            setup,
        }
    }

    /// One thing happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.line.look(now, self.awaits_bytes());
        let told = matches!(
            input,
            Input::Message { .. }
                | Input::Path { .. }
                | Input::AskGone { .. }
                | Input::Ask { .. }
                | Input::Sent { .. }
        ) && !self.dirty;
        match input {
            Input::LinkUp { link, peer, remote, rtt } => self.link_up(now, link, peer, remote, rtt),
            Input::LinkDown { link } => self.link_down(now, link),
            Input::Path { link, rtt } => self.links.path(link, rtt),
            Input::Message { link, message } => self.message(now, link, message),
            Input::Piece { flight, bytes } => self.piece_came(now, flight, bytes),
            Input::Failed { flight, why } => self.piece_failed(now, flight, &why),
            Input::OriginBytes { run, bytes } => self.origin_bytes(now, run, bytes),
            Input::OriginEnd { run, result } => self.origin_end(now, run, result),
            Input::Ask { link, ask, piece } => self.asked(now, link, ask, piece),
            Input::AskGone { ask } => self.ask_gone(now, ask),
            Input::Found(records) => self.discovered(now, records),
            Input::Appears(appearance) => self.appears(appearance),
            Input::NotReached(peer) => self.not_reached(now, &peer),
            Input::Cut(cut) => self.cut(now, cut),
            Input::Follow(segment, note) => {
                self.add(now, segment);
                self.spread(note);
                self.dirty = true;
            }
            Input::Expect(expected) => self.expect(now, expected),
            Input::Plays(pace) => self.plays(now, pace),
            Input::Whole(whole) => self.set_whole(whole),
            Input::OriginBegun { segment, bytes } => self.origin_begun(now, segment, bytes),
            Input::Background(origin_bytes) => self.set_background(origin_bytes),
            Input::Limit { rate, neighbour } => self.set_limit(now, rate, neighbour),
            Input::Sent { flight } => self.sent(now, flight),
            Input::Read { reader, at, end, playing, had } => {
                self.read(now, reader, at..end, playing, had);
            }
            Input::Pull { reader } => self.pull(now, reader),
            Input::ReadEnd { reader } => self.read_end(now, reader),
            Input::Held(held) => self.held(held),
            Input::Loaded { key, bytes } => self.loaded(now, key, bytes),
            Input::Manifest(manifest, raw) => self.manifest(manifest, raw),
            Input::P2p { take, give } => self.p2p(now, take, give),
            Input::Prefer(superpeers) => {
                self.links.prefer(superpeers.into_iter().take(PREFERRED_MAX).collect());
            }
            Input::Leave => {
                self.settle(now);
                self.leave();
            }
            Input::Wake => {}
        }
        if self.dirty {
            self.next_tick = self.next_tick.min(now + TICK).min(self.next_news(now));
        }
        if now >= self.next_tick {
            self.tick(now);
        }
        if now >= self.wake {
            self.wake = Time::NEVER;
            self.dirty = true;
        }
        let due = self.planned + TOLD;
        if self.dirty && told && now < due {
            self.dirty = false;
            self.wake = self.wake.min(due);
            self.told = true;
        }
        if std::mem::take(&mut self.hold_plan) {
            self.wake = now;
        } else if self.dirty || (self.told && now >= due) {
            self.plan(now);
        }
    }

    /// What it wants done, until `None`.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`handle`](Self::handle) with [`Input::Wake`] if nothing happens before.
    pub fn next_wake(&self) -> Time {
        self.next_tick.min(self.wake)
    }

    /// Figures so far.
    pub fn report(&self, now: Time) -> Report {
        let mut report = self.report.clone();
        report.finish(now, &self.board, &self.links, &self.proof);
        report.known = self.exchange.known.len() as u32;
        report
    }

    /// The board, for status pages: which segments there are and what is held of them.
    pub fn board(&self) -> &board::Board {
        &self.board
    }

    /// The neighbours now, with the bytes taken from and given to each.
    pub fn neighbours(&self) -> impl Iterator<Item = (&crate::schedule::Neighbour, u64, u64)> {
        self.links.iter()
    }

    /// The peers of this swarm that are known, linked or not.
    pub fn known_peers(&self) -> impl Iterator<Item = &PeerId> {
        self.exchange.known.ids()
    }

    fn tick(&mut self, now: Time) {
        self.next_tick = now + if self.is_idle() { TICK_IDLE } else { TICK };
        self.expire_flights(now);
        self.refresh_readers(now);
        self.refresh_origin(now);
        self.compare(now);
        self.chat(now);
        self.sign_receipts(now);
        self.audit(now);
        self.dirty = true;
    }

    /// Whether only others can bring something to do.
    fn is_idle(&self) -> bool {
        let fetches = self.board.missing() > 0 || !self.flights.all().is_empty() || self.origin.is_busy();
        // Samples are compared with the origin after all is here.
        let audits = self.setup.integrity == Integrity::Sampled;
        !fetches && !audits && self.readers.is_empty() && !self.board.has_changes()
    }

    fn plan(&mut self, now: Time) {
        self.dirty = false;
        self.told = false;
        self.planned = now;
        self.complete();
        if self.board.missing() == 0 {
            self.wake = Time::NEVER;
            return;
        }
        self.count_on_way(now);
        let awaits_company = self.awaits_company(now);
        let mut plan = Plan::default();
        let mut origin = self.origin.view();
        let next = self.board.first_missing();
        origin.allowed &= self.origin_left() >= u64::from(self.board.piece(next).len);
        // Beyond the node's own bound the origin brings nothing sooner.
        origin.rate = origin.rate.min(self.bound().0);
        let none = Vec::new();
        let first_missing = self.board.first_missing();
        let view = View {
            now,
            me: self.me,
            policy: self.setup.policy,
            pieces: self.board.pieces(),
            neighbours: if self.setup.take { self.links.all() } else { &none },
            flights: self.flights.all(),
            origin: &origin,
            first_missing,
            whole: self.whole,
            paced: self.setup.stream,
            awaits_company,
            copies: self.proof.copies_wanted(),
            len: self.board.len(),
            missing_bytes: self.board.missing_bytes(),
            peer_rate: self.links.rate(now),
            limit: self.bound(),
            line: self.carries(now),
            queued: self.queued(0),
            budget: self.budget(now, false),
        };
        self.scheduler.plan(&view, &mut self.dice, &mut plan);
        let company = if awaits_company { self.company.until } else { Time::NEVER };
        self.wake = plan.wake.unwrap_or(Time::NEVER).min(company);
        for step in plan.steps {
            self.step(now, step);
        }
        self.wake = self.wake.min(self.limit.next(now));
        self.line.planned(now, self.budget(now, false) == 0);
    }

    /// Carries out one step, after checking it: a scheduler can waste time, never break a rule.
    fn step(&mut self, now: Time, step: Step) {
        match step {
            Step::Ask { slot, from, class } => self.ask(now, slot, from, class),
            Step::Fetch { first, count } => self.fetch(now, first, count),
            Step::Drop { flight } => self.cancel(flight),
            Step::Cut { run } => self.cut_run(run),
        }
    }

    fn complete(&mut self) {
        let complete = self.whole && self.board.missing() == 0 && self.board.is_closed();
        if complete && !self.told_complete {
            self.told_complete = true;
            self.out.push_back(Output::Complete);
            self.out.push_back(Output::Note(Event::Complete));
        } else if !complete {
            self.told_complete = false;
        }
    }

    fn cut(&mut self, now: Time, cut: Cut) {
        match cut {
            Cut::Segment(segment) => self.add(now, segment),
            Cut::Sliced(slice) => self.sliced(now, slice),
            // These are the node's: it learns their length before they become segments here.
            Cut::Listed(_) | Cut::Rendition(_) => {}
            Cut::Retired(id) => self.retire(id),
            Cut::End => self.board.close(),
        }
        self.dirty = true;
    }

    fn add(&mut self, now: Time, segment: Segment) {
        let id = segment.id;
        self.board.add(segment);
        self.proof.grow(&mut self.board);
        self.links.segments_grew(&mut self.board);
        if let Some(held) = self.held_early.remove(&id) {
            self.held(held);
        }
        self.take_early(now, id);
    }

    fn set_whole(&mut self, whole: bool) {
        self.whole = whole;
        self.dirty = true;
    }

    fn p2p(&mut self, now: Time, take: bool, give: bool) {
        if !take {
            self.settle(now);
        }
        self.setup.take = take;
        self.setup.give = give;
        if !take {
            let flights: Vec<u64> = self.flights.all().iter().map(|f| f.id).collect();
            flights.into_iter().for_each(|flight| self.cancel(flight));
        }
        if !give {
            self.upload.refuse_all(&mut self.out);
        }
        self.dirty = true;
    }

    fn note(&mut self, event: Event) {
        self.out.push_back(Output::Note(event));
    }
}

#[cfg(test)]
mod tests;
