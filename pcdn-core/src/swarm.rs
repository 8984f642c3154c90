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
mod exchange;
mod flight;
mod front;
mod gossip;
mod links;
mod meter;
mod origin;
mod pace;
mod proof;
mod reader;
mod receipts;
pub mod report;
mod slices;
mod upload;
mod whereabouts;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::dice::Dice;
use crate::fragment::{Cut, Segment};
use crate::id::{Identity, PeerId, SwarmKey};
use crate::layout::{Layout, PieceKey, SegmentId};
use crate::origin::OriginError;
use crate::peer::{Appearance, PeerAddr, PeerRecord};
use crate::range::ByteRange;
use crate::resource::Url;
use crate::schedule::{Handle, Plan, Policy, Scheduler, Step, View};
use crate::store::{Held, Kept};
use crate::transport::{Fetch, FetchError, Refuse};
use crate::unit::{Rate, Time};
use crate::verify::{Integrity, Manifest, Verified};
use crate::wire::{Message, SliceNote};

pub use company::COMPANY_WAIT;
pub use reader::Expected;
pub use report::{Event, Report};

/// How often the engine looks at everything again, whatever happens (scheduling notes: 200 ms; coarser ticks need larger
/// safety margins before a player's deadline).
pub const TICK: Duration = Duration::from_millis(200);

/// The same while there is nothing to fetch and nobody to read: whoever asks or tells something is answered at once anyway.
const TICK_IDLE: Duration = Duration::from_secs(1);

/// What neighbours tell is planned for at most this often.
const TOLD: Duration = Duration::from_millis(50);

/// How a swarm is set up.
#[derive(Clone, Debug)]
pub struct SwarmSetup {
    /// Where peers meet.
    pub key: SwarmKey,
    /// This node's key: signs what it witnesses.
    pub identity: Identity,
    /// The weakest proof a peer's bytes may have.
    pub integrity: Integrity,
    /// How many must have fetched a piece from the origin before it is taken from others on the witnessed rung. The share of
    /// the origin is at least `witnesses ÷ nodes`; what k liars together can pass is bounded by audits. Default 2.
    pub witnesses: u8,
    /// How much the origin may be used.
    pub policy: Policy,
    /// Whether pieces are taken from peers.
    pub take: bool,
    /// Whether pieces are given to peers.
    pub give: bool,
    /// Where this node listens; an unspecified IP means everywhere.
    pub addrs: Vec<PeerAddr>,
    /// A pinned signer: manifests from peers are taken if it signed them.
    pub trust: Option<PeerId>,
    /// Its segments are resources of their own, as of a playlist: one that the origin refuses is lost, the others are not.
    pub stream: bool,
    /// The origin can only be followed, not asked for parts: segments come as slices of this node's own connection to it, or
    /// from peers.
    pub follow: bool,
    /// Seconds since 1970 at [`Time::ZERO`], for the minute that receipts bear and the end of signed records.
    pub epoch_s: u64,
    /// Bounds.
    pub limits: Limits,
}

impl SwarmSetup {
    /// The usual setup: witnessed by two, balanced, takes and gives.
    pub fn new(key: SwarmKey, identity: Identity) -> Self {
        Self {
            key,
            identity,
            integrity: Integrity::Witnessed,
            witnesses: 2,
            policy: Policy::Balanced,
            take: true,
            give: true,
            addrs: Vec::new(),
            trust: None,
            stream: false,
            follow: false,
            epoch_s: 0,
            limits: Limits::default(),
        }
    }
}

/// Bounds of one swarm. Memory is about `cache_bytes` + 1 piece × (requests under way) + 100 bytes × pieces +
/// `neighbours` × pieces ÷ 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Links kept. 40: enough for the rarest piece to be near (libtorrent's default per torrent is 50).
    pub neighbours: usize,
    /// Below this many the engine looks for more.
    pub neighbours_wanted: usize,
    /// Peers remembered that were only heard of, for later dialling.
    pub known_peers: usize,
    /// Requests of one peer waiting here.
    pub asks_per_peer: usize,
    /// Pieces being uploaded at once.
    pub uploads: usize,
    /// Bytes of verified pieces kept in memory beside the store.
    pub cache_bytes: u64,
    /// Readers at once.
    pub readers: usize,
    /// How far ahead of a player pieces are due at all; the rest is not wanted yet. Two minutes: whoever leaves has taken no more for
    /// nothing.
    pub read_ahead: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            neighbours: 50,
            neighbours_wanted: 30,
            known_peers: 1_000,
            asks_per_peer: 128,
            uploads: 64,
            cache_bytes: 32 << 20,
            readers: 256,
            read_ahead: Duration::from_secs(120),
        }
    }
}

/// Names a request of a peer to this node, chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Names a reader, chosen by the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u64);

/// Superpeers remembered: as many as a swarm has neighbours, twice over.
const PREFERRED_MAX: usize = 64;

/// What happens to a swarm.
#[derive(Debug)]
pub enum Input {
    /// A link to a peer of this swarm is up. `dialled`: by this node. The engine greets.
    LinkUp {
        /// Chosen by the shell, rising, never used twice.
        link: Handle,
        /// Proven by the transport.
        peer: PeerId,
        /// The address at the other end, if it has one.
        remote: Option<PeerAddr>,
        /// Round trip so far.
        rtt: Duration,
    },
    /// It is gone.
    LinkDown {
        /// Which.
        link: Handle,
    },
    /// The transport has measured it anew.
    Path {
        /// Which.
        link: Handle,
        /// Round trip.
        rtt: Duration,
    },
    /// A message came.
    Message {
        /// Over which link.
        link: Handle,
        /// What.
        message: Message,
    },
    /// A requested piece came, whole.
    Piece {
        /// Which request.
        flight: u64,
        /// Its bytes, of the length asked for.
        bytes: Bytes,
    },
    /// A requested piece did not come.
    Failed {
        /// Which request.
        flight: u64,
        /// Why.
        why: FetchError,
    },
    /// Bytes of an origin run, in order.
    OriginBytes {
        /// Which run.
        run: u64,
        /// The bytes.
        bytes: Bytes,
    },
    /// An origin run is over.
    OriginEnd {
        /// Which run.
        run: u64,
        /// How.
        result: Result<(), OriginError>,
    },
    /// A peer asks for a piece.
    Ask {
        /// Which link.
        link: Handle,
        /// The request's name.
        ask: AskId,
        /// The piece, as numbers of the wire.
        piece: PieceKey,
    },
    /// A granted request is done with, or a waiting one was taken back.
    AskGone {
        /// Which.
        ask: AskId,
    },
    /// Discovery answered: these peers were found, or none.
    Found(Vec<PeerRecord>),
    /// The transports found out how this node appears to others.
    Appears(Appearance),
    /// A peer could not be reached.
    NotReached(PeerId),
    /// The fragmenter cut.
    Cut(Cut),
    /// A slice that neighbours told of is wanted.
    Follow(Segment, SliceNote),
    /// Players are expected to read these, in place of those expected before.
    Expect(Vec<Expected>),
    /// The resource is media, and plays so many bytes a second in the mean: players of it are paced by that. A hint; who reads
    /// faster is soon seen to.
    Plays(Rate),
    /// All of the resource is wanted, or no longer.
    Whole(bool),
    /// Whatever nobody reads is wanted in the background only, with so many bytes more from the origin; `None`: as usual.
    Background(Option<u64>),
    /// A reader wants bytes of the resource from `at` to `end` in order.
    Read {
        /// Its name.
        reader: ReaderId,
        /// First byte.
        at: u64,
        /// One past the last.
        end: u64,
        /// Whether a player is behind it, which must not wait; else it follows a download.
        playing: bool,
    },
    /// A reader is ready for more.
    Pull {
        /// Which.
        reader: ReaderId,
    },
    /// A reader is gone.
    ReadEnd {
        /// Which.
        reader: ReaderId,
    },
    /// What the store holds already.
    Held(Vec<Held>),
    /// A loaded piece, unchecked, or that it is not there.
    Loaded {
        /// Which.
        key: PieceKey,
        /// Its bytes.
        bytes: Option<Bytes>,
    },
    /// A manifest was found beside the content on the origin, or under a pinned key: it is to be trusted.
    Manifest(Arc<Manifest>, Option<Bytes>),
    /// Peers on or off.
    P2p {
        /// Take pieces.
        take: bool,
        /// Give pieces.
        give: bool,
    },
    /// These are superpeers, as the node's trackers say, and no others. At most 64 are kept.
    Prefer(Vec<PeerId>),
    /// This node leaves: everybody is told what was not said yet, and goodbye.
    Leave,
    /// Nothing but that time has passed.
    Wake,
}

/// What a swarm wants done.
#[derive(Debug)]
pub enum Output {
    /// Dial this peer.
    Connect(PeerRecord),
    /// Close a link (for this swarm).
    Close(Handle),
    /// Send a message.
    Send {
        /// Over which link.
        link: Handle,
        /// What.
        message: Message,
    },
    /// Ask a peer for a piece.
    Ask {
        /// The request's number, for `Piece` and `Failed`.
        flight: u64,
        /// Over which link.
        link: Handle,
        /// What.
        fetch: Fetch,
    },
    /// Give up a request: drop its `Fetching`.
    Cancel {
        /// Which.
        flight: u64,
    },
    /// Fetch a run of bytes from the origin.
    Fetch {
        /// The run's number, for `OriginBytes` and `OriginEnd`.
        run: u64,
        /// Where.
        url: Url,
        /// Which bytes of that URL.
        range: ByteRange,
    },
    /// Stop an origin run.
    Abort {
        /// Which.
        run: u64,
    },
    /// A neighbour tells of a slice of the stream.
    Heard {
        /// Who.
        link: Handle,
        /// What.
        note: SliceNote,
    },
    /// A segment left the window: the store may drop it.
    Forget(SegmentId),
    /// Keep a piece in the store.
    Keep {
        /// Which.
        key: PieceKey,
        /// Its segment's layout.
        layout: Layout,
        /// Bytes and digest.
        kept: Kept,
    },
    /// Load a piece from the store.
    Load(PieceKey),
    /// Serve a peer's request.
    Serve {
        /// Which.
        ask: AskId,
        /// The whole piece.
        bytes: Verified<Bytes>,
    },
    /// Refuse it.
    Refuse {
        /// Which.
        ask: AskId,
        /// Why.
        why: Refuse,
    },
    /// The next bytes for a reader that pulled.
    Deliver {
        /// Which.
        reader: ReaderId,
        /// They begin where the last ended.
        bytes: Verified<Bytes>,
        /// Where they came from.
        source: Source,
    },
    /// A reader's bytes cannot be had: the origin failed for good.
    Broken {
        /// Which.
        reader: ReaderId,
        /// Why.
        why: OriginError,
    },
    /// Look for more peers.
    Find {
        /// About how many.
        want: usize,
    },
    /// Close every link to this peer and accept no more for a day: it lied, and this is proven.
    Ban(PeerId),
    /// Everything wanted is here.
    Complete,
    /// For logs, counters and the simulator.
    Note(Event),
}

/// Where a piece came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was in the store when the swarm was opened.
    Cache,
    /// The origin.
    Origin,
    /// A peer.
    Peer,
}

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
    /// Bytes taken from the origin beyond which nothing more is taken in the background.
    background: Option<u64>,
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
            dice: dice.fork("scheduler"),
            exchange: exchange::Exchange::new(&setup, now, dice.fork("exchange")),
            setup,
        }
    }

    /// One thing happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        let told = matches!(
            input,
            Input::Message { .. } | Input::Path { .. } | Input::AskGone { .. } | Input::Ask { .. }
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
            Input::AskGone { ask } => self.ask_gone(ask),
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
            Input::Background(origin_bytes) => self.set_background(origin_bytes),
            Input::Read { reader, at, end, playing } => self.read(now, reader, at, end, playing),
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
        let awaits_company = self.awaits_company(now);
        let mut plan = Plan::default();
        let mut origin = self.origin.view();
        let next = self.board.first_missing();
        origin.allowed &= self.origin_left() >= u64::from(self.board.piece(next).len);
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
        };
        self.scheduler.plan(&view, &mut self.dice, &mut plan);
        let company = if awaits_company { self.company.until } else { Time::NEVER };
        self.wake = plan.wake.unwrap_or(Time::NEVER).min(company);
        for step in plan.steps {
            self.step(now, step);
        }
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
