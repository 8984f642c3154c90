//! The task of a broadcast: it looks at what the own connection cuts and what neighbours tell, and decides who reads the origin.

mod own;
mod theirs;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use pcdn_core::fragment::{Segment, Slice};
use pcdn_core::layout::SegmentId;
use pcdn_core::schedule::Handle;
use pcdn_core::wire::SliceNote;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Fed, Feed};
use super::hunger::{COMES_IN, Hunger};
use super::listener::GRACE;
use super::role::{self, Role};
use super::signed::{self, Signed};
use super::{Broadcast, QUEUE};
use crate::node::Shared;
use crate::node::driver::ToSwarm;
use crate::node::open::ManifestPlace;
use theirs::{Fetched, told_by};

/// Roles and waits are looked at so often: a part comes every 0.4 s.
const TICK: Duration = Duration::from_millis(100);
/// A broadcast that nobody listens to for this long ends: it costs the origin a connection.
const IDLE: Duration = Duration::from_secs(30);

/// A part that cannot be proven so long after it was told of lacks a witness: statements are told with the part, and no two
/// feeders are far apart. The origin still gives its slice from the beginning.
const DOUBT: Duration = Duration::from_millis(500);
/// A publisher's manifest is a fetch or two later than the part.
const DOUBT_SIGNED: Duration = Duration::from_millis(1_000);

/// The task of a broadcast: it looks at what comes, and decides who reads the origin.
pub(super) struct Deck {
    broadcast: Broadcast,
    node: Weak<Shared>,
    feed: Feed,
    signed: Option<Signed>,
    role: Role,
    hunger: Hunger,
    /// Where the next slice is laid in the swarm.
    end: u64,
    fetched: (mpsc::Sender<Fetched>, Option<mpsc::Receiver<Fetched>>),
    lonely_since: Instant,
    /// What neighbours told while this node read the origin itself.
    notes: VecDeque<SliceNote>,
    /// The last provisional slices of the own connection: one may turn out to be what others cut, too.
    young: VecDeque<Slice>,
    /// The own connection's last part that was shared, and where it ends.
    shared: Option<(SegmentId, Duration)>,
    /// What a new connection gave, which cuts differently from neighbours as far as is known, and overlaps what they bring. It is
    /// used when they bring no more in time, or turn out to cut the same.
    reserve: Option<VecDeque<Slice>>,
}

/// With so little left for a player the origin is read: what a connection begins with may be later than what is on its way from
/// neighbours, which has to come before the player is dry. A follower's player has 0.5 s left when a part comes. (Where nobody turns to
/// the origin for it, players of 16 viewers whose uplinks carry two copies wait up to 0.4 s: `tests/flv_live`.)
const LOW: Duration = Duration::from_millis(250);
/// A signed part comes later by what its manifest takes.
const LOW_SIGNED: Duration = Duration::from_millis(100);
/// With so little left the reserve is used.
const LAST: Duration = Duration::from_millis(100);

/// The source number of this node's own connection; neighbours have their links'.
const OWN: u64 = u64::MAX;
/// The source number of what several neighbours told earlier.
const HEARSAY: u64 = u64::MAX - 1;

impl Deck {
    pub(super) fn new(
        broadcast: Broadcast,
        shared: &Arc<Shared>,
        feed: Feed,
        manifest: Option<ManifestPlace>,
    ) -> Self {
        let (to, fetched) = mpsc::channel(QUEUE);
        let witnesses = usize::from(shared.settings.witnesses);
        let role = Role::new(shared.identity.peer_id(), broadcast.inner.asset.rid(), witnesses);
        Self {
            node: Arc::downgrade(shared),
            feed,
            signed: manifest.map(Signed::new),
            role,
            hunger: Hunger::default(),
            end: 0,
            fetched: (to, Some(fetched)),
            lonely_since: Instant::now(),
            notes: VecDeque::new(),
            young: VecDeque::new(),
            shared: None,
            reserve: None,
            broadcast,
        }
    }

    pub(super) async fn run(
        mut self,
        mut notes: mpsc::Receiver<(Handle, SliceNote)>,
        stop: CancellationToken,
    ) {
        let Some(mut fetched) = self.fetched.1.take() else { return };
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let live = tokio::select! {
                () = stop.cancelled() => false,
                fed = self.feed.next() => self.fed(fed).await,
                Some((link, note)) = notes.recv() => self.heard(link, note).await,
                Some(fetched) = fetched.recv() => self.came(fetched),
                Some(manifest) = news(&mut self.signed) => self.signed_anew(manifest).await,
                _ = tick.tick() => self.decide().await,
            };
            if !live {
                break;
            }
        }
        self.broadcast.tape().end();
        self.broadcast.inner.news.notify_waiters();
        if let Some(shared) = self.node.upgrade() {
            shared.assets.lock().await.retain(|asset| asset.swarm() != self.broadcast.swarm());
            self.broadcast.inner.asset.close(&shared.links).await;
        }
    }

    async fn signed_anew(&mut self, (manifest, raw): signed::Fetched) -> bool {
        let asset = &self.broadcast.inner.asset;
        let fits = manifest.rid.is_none_or(|rid| rid == asset.rid());
        !fits || asset.tell(ToSwarm::Manifest(manifest, raw)).await.is_ok()
    }

    /// Something of this node's own connection.
    async fn fed(&mut self, fed: Fed) -> bool {
        match fed {
            Fed::Slice(slice) => self.own(*slice).await,
            Fed::Ended(why) => {
                self.role.feed_ended(why);
                self.take_over().await
            }
        }
    }

    /// Whether the origin is to be read now, by this node.
    async fn decide(&mut self) -> bool {
        if let (Some(signed), Some(shared)) = (&mut self.signed, self.node.upgrade()) {
            signed.look(&shared);
        }
        let signed = self.signed.as_ref().is_some_and(Signed::is_live);
        self.forget_old().await;
        let inner = &self.broadcast.inner;
        // A player may begin by the time that has passed.
        inner.news.notify_waiters();
        if inner.listeners.load(Ordering::Relaxed) > 0 {
            self.lonely_since = Instant::now();
        } else if self.lonely_since.elapsed() > IDLE {
            return false;
        }
        let low = if signed { LOW_SIGNED } else { LOW };
        let (answer, backing) = oneshot::channel();
        let doubted = self.broadcast.tape().wanted_since(if signed { DOUBT_SIGNED } else { DOUBT });
        let awaited = self.broadcast.tape().wanted_since(COMES_IN);
        let (of, reach) = (self.role.recent(), self.role.asks(low));
        let ask = ToSwarm::Backing { of, doubted, awaited, reach, answer };
        if inner.asset.tell(ask).await.is_err() {
            return false;
        }
        let Ok(backing) = backing.await else { return false };
        if self.reserve.is_some() && self.is_needed() && !self.sew().await {
            return false;
        }
        let want = self.want(low);
        match self.role.decide(&backing, want, signed, self.feed.is_on()) {
            role::Step::Connect => {
                tracing::debug!(?want, unproven = backing.unproven, "reads the origin again");
                self.shared = None;
                self.reserve = self.broadcast.tape().seam().map(|_| VecDeque::new());
                self.feed.connect();
            }
            role::Step::Disconnect => {
                tracing::debug!(peers = backing.peers.len(), "leaves the origin to others");
                self.feed.disconnect();
                return self.take_over().await;
            }
            role::Step::Stay => {}
        }
        true
    }

    fn want(&mut self, low: Duration) -> role::Want {
        let tape = self.broadcast.tape();
        let waits = !tape.wanted_since(COMES_IN).is_empty();
        role::Want { overdue: tape.overdue(), low: self.hunger.is_felt(tape.is_low(low), waits) }
    }

    /// Whether neighbours may still bring what players want next.
    fn awaits(&self) -> bool {
        let tape = self.broadcast.tape();
        tape.wanted().next().is_some() && !tape.is_dry_since(GRACE)
    }

    /// Whether the reserve is to be used: a player has hardly anything left, or nobody brings anything.
    fn is_needed(&self) -> bool {
        let tape = self.broadcast.tape();
        tape.is_low(LAST) || tape.overdue() > LAST * 10
    }

    /// The own connection is gone: what neighbours told of meanwhile, and it did not cut any more, is fetched from them.
    async fn take_over(&mut self) -> bool {
        self.reserve = None;
        let mut notes = std::mem::take(&mut self.notes);
        notes.retain(|note| self.broadcast.tape().take_over(HEARSAY, told_by(note)));
        self.broadcast.tape().lost(OWN);
        self.broadcast.inner.news.notify_waiters();
        for note in notes {
            if !self.follow(note).await {
                return false;
            }
        }
        true
    }

    fn lay(&mut self, segment: &mut Segment) {
        segment.offset = self.end;
        self.end += segment.layout.len();
    }

    /// What left the tape leaves the swarm, whoever it came from.
    async fn forget_old(&mut self) {
        let old: Vec<SegmentId> = self.broadcast.tape().old();
        for id in old {
            // A swarm that is closed has forgotten it.
            let _ = self.broadcast.inner.asset.tell(ToSwarm::Retire(id)).await;
        }
    }
}

/// The next manifest, if slices are signed.
async fn news(signed: &mut Option<Signed>) -> Option<signed::Fetched> {
    match signed {
        Some(signed) => signed.news().await,
        None => std::future::pending().await,
    }
}
