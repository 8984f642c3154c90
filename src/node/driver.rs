//! The shell around one swarm engine: it waits for one thing, hands it in, and does what comes out.

mod act;
mod fetching;
mod flow;
mod report;
mod told;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::discovery::Discovery;
use pcdn_core::fragment::{Cut, Segment};
use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::layout::{PieceKey, SegmentId};
use pcdn_core::origin::Origin;
use pcdn_core::peer::PeerRecord;
use pcdn_core::receipt::Receipt;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::{AskId, Input, Output, ReaderId, Swarm};
use pcdn_core::transport::Refuse;
use pcdn_core::unit::{Rate, Time};
use pcdn_core::verify::Verified;
use pcdn_core::wire::Message;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use flow::send_all;
pub(crate) use told::{Backing, Delivery, ToSwarm};

use super::appearance::Outlooks;
use super::freshness::Confirmed;
use super::keeper::Job;
use super::links::{Link, Links};
use super::open::{Begun, StreamSide};
use super::stream::track::Told;
use super::{Throttle, shelf};

/// Messages to a swarm waiting for it: a burst of arriving pieces of every neighbour, and then they wait in the transports.
pub(crate) const INBOX: usize = 1_024;
/// Inputs handled before the outputs' I/O gets its turn.
const BATCH: usize = 64;
/// Messages to one neighbour waiting for its session. A neighbour that takes none for so long is not worth more.
const OUTBOX: usize = 256;

/// A swarm whose content was replaced stays for so long at least: whoever opened it before begins to read it within this.
const LINGER: Duration = Duration::from_secs(5);

/// How long a tracker may take to hear that this node leaves; its entry expires anyway.
const GOODBYE: Duration = Duration::from_millis(250);

/// Everything a swarm's task needs beside its engine.
pub(crate) struct Surroundings {
    pub(crate) key: SwarmKey,
    /// Under what its pieces are kept.
    pub(crate) shelf: SwarmKey,
    /// Of a stream: its segments there.
    pub(crate) segments: shelf::Segments,
    /// Whether the content is still what the origin has.
    pub(crate) confirmed: Arc<Confirmed>,
    pub(crate) rid: pcdn_core::id::Rid,
    pub(crate) url: Url,
    pub(crate) head: ResourceHead,
    pub(crate) stream: Option<StreamSide>,
    pub(crate) me: PeerRecord,
    pub(crate) links: Arc<Links>,
    pub(crate) outlook: Outlooks,
    pub(crate) origin: Arc<dyn Origin>,
    pub(crate) discoveries: Vec<Arc<dyn Discovery>>,
    pub(crate) keeper: mpsc::Sender<Job>,
    pub(crate) throttle: Arc<Throttle>,
    /// The bound of this swarm's own.
    pub(crate) own_throttle: Arc<Throttle>,
    pub(crate) events: tokio::sync::broadcast::Sender<String>,
    /// What neighbours sign for.
    pub(crate) receipts: tokio::sync::broadcast::Sender<Receipt>,
    pub(crate) complete: watch::Sender<bool>,
    pub(crate) clock: Arc<dyn pcdn_core::clock::Clock>,
    pub(crate) tasks: TaskTracker,
    /// The node is ending: searches and dials end at once.
    pub(crate) stop: tokio_util::sync::CancellationToken,
}

/// Runs a swarm until it is closed.
pub(crate) async fn run(
    swarm: Swarm,
    around: Surroundings,
    inbox: mpsc::Receiver<ToSwarm>,
    own: mpsc::WeakSender<ToSwarm>,
) {
    let mut driver = Driver {
        swarm,
        around,
        own,
        members: BTreeMap::new(),
        by_link: HashMap::new(),
        next_handle: 0,
        flights: HashMap::new(),
        runs: HashMap::new(),
        asks: HashMap::new(),
        readers: HashMap::new(),
        finding: false,
        appeared: 0,
        lent: Arc::new(Throttle::new(Rate::UNLIMITED)),
        told: HashMap::new(),
        outlived: None,
        limit: (Rate::UNLIMITED, Rate::UNLIMITED),
        limited: Time::ZERO,
    };
    driver.live(inbox).await;
}

struct Driver {
    swarm: Swarm,
    around: Surroundings,
    own: mpsc::WeakSender<ToSwarm>,
    members: BTreeMap<Handle, Member>,
    by_link: HashMap<u64, Handle>,
    next_handle: u32,
    flights: HashMap<u64, AbortHandle>,
    runs: HashMap<u64, AbortHandle>,
    asks: HashMap<AskId, oneshot::Sender<Result<Verified<Bytes>, Refuse>>>,
    readers: HashMap<ReaderId, Audience>,
    finding: bool,
    /// The edition of the outlook that the swarm knows.
    appeared: u64,
    /// Bounds what is fetched in the background, beside the node's own bound.
    lent: Arc<Throttle>,
    /// Of a stream's segments: their URLs are resources of their own, with versions of their own.
    told: HashMap<SegmentId, (Segment, Told)>,
    /// Another content has taken its place: it ends with the last reader after this.
    outlived: Option<Time>,
    /// What the engine knows of the node's own bounds: of the swarm, and of each neighbour.
    limit: (Rate, Rate),
    /// When that is looked at again.
    limited: Time,
}

/// Who reads.
struct Audience {
    to: mpsc::Sender<Delivery>,
    /// Bytes from its place on that were here when it came: whoever gave them once, to it they come from the cache.
    here: u64,
}

/// A neighbour of this swarm, and the queue of what it is to be told.
struct Member {
    link: Link,
    outbox: mpsc::Sender<Bytes>,
}

/// Sleeps so long; not at all for no time, which a timer's grain would make a millisecond.
async fn nap(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl Driver {
    async fn live(&mut self, mut inbox: mpsc::Receiver<ToSwarm>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            self.drain();
            self.limit();
            let mut wake = self.swarm.next_wake().since(self.now());
            if let Some(until) = self.outlived {
                if self.readers.is_empty() && self.now() >= until {
                    return self.give_up();
                }
                wake = wake.min(LINGER);
            }
            tokio::select! {
                count = inbox.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        return;
                    }
                    for message in batch.drain(..) {
                        match message {
                            ToSwarm::Close(done) => {
                                self.leave().await;
                                let _ = done.send(());
                                return;
                            }
                            ToSwarm::Outlived(done) => {
                                self.stand_aside().await;
                                let _ = done.send(());
                            }
                            message => self.take(message),
                        }
                        self.drain();
                    }
                }
                () = nap(wake) => {
                    let now = self.now();
                    self.refresh_paths();
                    self.look_out();
                    self.swarm.handle(now, Input::Wake);
                }
            }
        }
    }

    fn now(&self) -> Time {
        self.around.clock.now()
    }

    fn give(&mut self, input: Input) {
        let now = self.now();
        self.swarm.handle(now, input);
    }

    fn take(&mut self, message: ToSwarm) {
        match message {
            // Who is no neighbour any more, or was never made one, needs no answer: a goodbye for a goodbye would never end.
            ToSwarm::Message(link, Message::Bye) if !self.by_link.contains_key(&link.number) => {}
            ToSwarm::Message(link, message) => {
                let handle = self.member(link);
                self.give(Input::Message { link: handle, message });
            }
            ToSwarm::Joined(link) => {
                self.member(link);
            }
            ToSwarm::NotReached(peer) => self.give(Input::NotReached(peer)),
            ToSwarm::Gone(number) => {
                if let Some(link) = self.by_link.remove(&number) {
                    self.members.remove(&link);
                    self.give(Input::LinkDown { link });
                }
            }
            ToSwarm::Ask { peer, ask, piece, answer } => self.asked(peer, ask, piece, answer),
            ToSwarm::Show { segment, piece, answer } => self.show(segment, piece, answer),
            ToSwarm::AskGone(ask) => {
                self.asks.remove(&ask);
                self.give(Input::AskGone { ask });
            }
            ToSwarm::Piece { flight, result } => {
                self.flights.remove(&flight);
                match result {
                    Ok(bytes) => self.give(Input::Piece { flight, bytes }),
                    Err(why) => self.give(Input::Failed { flight, why }),
                }
            }
            ToSwarm::Sent(flight) => self.give(Input::Sent { flight }),
            ToSwarm::OriginBytes { run, bytes } => self.give(Input::OriginBytes { run, bytes }),
            ToSwarm::OriginEnd { run, result } => {
                self.runs.remove(&run);
                self.give(Input::OriginEnd { run, result });
            }
            ToSwarm::Loaded { key, bytes } => {
                bytes.iter().for_each(|bytes| self.look_at(key, bytes));
                self.give(Input::Loaded { key, bytes });
            }
            ToSwarm::Found(records) => self.give(Input::Found(records)),
            ToSwarm::Searched => self.finding = false,
            ToSwarm::Cut(segment, told) => {
                if let Some((old, _)) = self.told.get(&segment.id) {
                    self.retire(old.id, old.offset);
                }
                // What is here of it is known before it is: nothing that is here is asked for.
                let held = self.around.segments.place(&segment, told.proof());
                self.give(Input::Held(held));
                self.told.insert(segment.id, (segment.clone(), told));
                self.give(Input::Cut(Cut::Segment(segment)));
            }
            ToSwarm::Shelved(answer) => {
                // Whoever asked and went away does not mind.
                let named = self.told.keys().map(|segment| (self.around.segments.name(*segment), *segment));
                let _ = answer.send(named.collect());
            }
            ToSwarm::Begun { segment, url, begun } => {
                let runs = self.runs.len();
                self.give(Input::OriginBegun { segment, bytes: Begun::bytes() });
                self.drain();
                if self.runs.len() == runs {
                    // It is here, or on its way otherwise.
                    begun.close(&url);
                }
            }
            ToSwarm::Sliced(slice) => self.give(Input::Cut(Cut::Sliced(slice))),
            ToSwarm::Follow(segment, note) => self.give(Input::Follow(segment, note)),
            ToSwarm::Retire(id) => self.give(Input::Cut(Cut::Retired(id))),
            ToSwarm::Outdated(id, offset) => self.retire(id, offset),
            ToSwarm::Backing { of, doubted, awaited, reach, answer } => {
                // Whoever asked and went away does not mind.
                let lack = |ids: &[SegmentId]| ids.iter().filter(|id| !self.swarm.is_provable(**id)).count();
                let _ = answer.send(Backing {
                    of: of.iter().map(|id| self.swarm.backers(*id)).collect(),
                    unproven: lack(&doubted),
                    unwitnessed: lack(&awaited),
                    reach: reach.map(|(old, new)| self.swarm.reach(old, new)),
                    peers: self.swarm.neighbours().map(|(neighbour, _, _)| neighbour.peer).collect(),
                });
            }
            ToSwarm::Expect(expected) => self.give(Input::Expect(expected)),
            ToSwarm::Manifest(manifest, raw) => self.give(Input::Manifest(manifest, Some(raw))),
            ToSwarm::Read { reader, at, end, playing, had, to } => {
                let here = self.here(at, end);
                self.readers.insert(reader, Audience { to, here });
                self.give(Input::Read { reader, at, end, playing, had });
            }
            ToSwarm::Pull(reader) => self.give(Input::Pull { reader }),
            ToSwarm::ReadEnd(reader) => {
                self.readers.remove(&reader);
                self.give(Input::ReadEnd { reader });
            }
            ToSwarm::Whole(whole) => self.give(Input::Whole(whole)),
            ToSwarm::Background(bounds) => {
                self.lent.set(bounds.map_or(Rate::UNLIMITED, |(_, rate)| rate));
                self.limited = Time::ZERO;
                self.give(Input::Background(bounds.map(|(origin_bytes, _)| origin_bytes)));
            }
            ToSwarm::P2p { take, give } => self.p2p(take, give),
            ToSwarm::Prefer(superpeers) => self.give(Input::Prefer(superpeers)),
            ToSwarm::Status(answer) => {
                // Whoever asked and went away does not mind.
                let _ = answer.send(self.status());
            }
            ToSwarm::Outlived(_) | ToSwarm::Close(_) => {}
        }
    }

    /// How many bytes from `at` on are here, without a gap, up to `end`.
    fn here(&self, at: u64, end: u64) -> u64 {
        let pieces = self.swarm.board().pieces();
        let from = pieces.partition_point(|piece| piece.at + u64::from(piece.len) <= at);
        let held = pieces[from..].iter().take_while(|piece| piece.held && piece.at < end);
        held.last().map_or(0, |last| (last.at + u64::from(last.len)).saturating_sub(at))
    }

    /// A listed segment goes; not the one that has taken its place.
    fn retire(&mut self, id: SegmentId, offset: u64) {
        if self.told.get(&id).is_some_and(|(segment, _)| segment.offset == offset) {
            self.give(Input::Cut(Cut::Retired(id)));
            self.drain();
        }
    }

    /// The handle of a session in this swarm; a new one joins.
    fn member(&mut self, link: Link) -> Handle {
        if let Some(handle) = self.by_link.get(&link.number) {
            return *handle;
        }
        let peer = link.session.peer();
        let old = self
            .members
            .iter()
            .find(|(_, m)| m.link.session.peer() == peer)
            .map(|(h, m)| (*h, m.link.number));
        if let Some((handle, number)) = old {
            self.members.remove(&handle);
            self.by_link.remove(&number);
            self.give(Input::LinkDown { link: handle });
            self.drain();
        }
        let handle = Handle(self.next_handle);
        self.next_handle += 1;
        let (outbox, queue) = mpsc::channel(OUTBOX);
        self.around.tasks.spawn(send_all(link.session.clone(), queue));
        let path = link.session.path();
        self.by_link.insert(link.number, handle);
        self.members.insert(handle, Member { link, outbox });
        self.give(Input::LinkUp { link: handle, peer, remote: path.remote, rtt: path.rtt });
        self.drain();
        handle
    }

    fn asked(
        &mut self,
        peer: PeerId,
        ask: AskId,
        piece: PieceKey,
        answer: oneshot::Sender<Result<Verified<Bytes>, Refuse>>,
    ) {
        let link =
            self.members.iter().find(|(_, member)| member.link.session.peer() == peer).map(|(h, _)| *h);
        match link {
            Some(link) => {
                self.asks.insert(ask, answer);
                self.give(Input::Ask { link, ask, piece });
            }
            None => {
                let _ = answer.send(Err(Refuse::NoSwarm));
            }
        }
    }

    /// Reads a piece for who audits this node. The swarm has no part in it.
    fn show(&mut self, segment: SegmentId, piece: u32, answer: oneshot::Sender<Option<Bytes>>) {
        match self.swarm.given(segment, piece) {
            Some(key) => {
                let key = self.around.segments.key(key);
                self.store(Job::Read { swarm: self.around.shelf, key, to: answer });
            }
            // Whoever asked and went away does not mind.
            None => _ = answer.send(None),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.swarm.poll() {
            self.act(output);
        }
    }

    fn p2p(&mut self, take: bool, give: bool) {
        self.give(Input::P2p { take, give });
        if !take && !give {
            let links: Vec<Handle> = self.members.keys().copied().collect();
            for link in links {
                self.act(Output::Close(link));
                self.give(Input::LinkDown { link });
            }
        }
    }

    fn refresh_paths(&mut self) {
        let paths: Vec<(Handle, Duration)> =
            self.members.iter().map(|(handle, member)| (*handle, member.link.session.path().rtt)).collect();
        for (link, rtt) in paths.into_iter().filter(|(_, rtt)| !rtt.is_zero()) {
            self.give(Input::Path { link, rtt });
        }
    }

    fn look_out(&mut self) {
        let edition = self.around.outlook.edition();
        if std::mem::replace(&mut self.appeared, edition) != edition {
            self.give(Input::Appears(self.around.outlook.get()));
        }
    }

    /// Says goodbye to the neighbours; what is under way is given up.
    async fn leave(&mut self) {
        self.give(Input::Leave);
        self.drain();
        self.members.clear();
        self.give_up();
        self.withdraw().await;
    }

    /// Another content takes this one's place among the peers. What is here of this one is there for its readers.
    async fn stand_aside(&mut self) {
        self.p2p(false, false);
        self.drain();
        self.outlived = Some(self.now() + LINGER);
        self.withdraw().await;
    }

    fn give_up(&mut self) {
        self.flights.drain().for_each(|(_, task)| task.abort());
        self.runs.drain().for_each(|(_, task)| task.abort());
    }

    async fn withdraw(&mut self) {
        for discovery in &self.around.discoveries {
            let goodbye = discovery.withdraw(&self.around.key, &self.around.me.id);
            let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        }
    }
}
