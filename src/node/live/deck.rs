//! The task of a broadcast: it looks at what the own connection cuts and what neighbours tell, and decides who reads the origin.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pcdn_core::fragment::{Segment, Slice};
use pcdn_core::layout::SegmentId;
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::Expected;
use pcdn_core::verify::PieceList;
use pcdn_core::wire::SliceNote;
use pcdn_media::flv;
use pcdn_media::flv::order::Told;
use pcdn_media::flv::seam::{Passed, Seam};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::feed::{Fed, Feed, State};
use super::listener::GRACE;
use super::role::{self, Role};
use super::signed::{self, Signed};
use super::tape::{self, Kept};
use super::{Broadcast, QUEUE};
use crate::node::driver::ToSwarm;
use crate::node::open::ManifestPlace;
use crate::node::{Asset, Shared};

/// Roles and waits are looked at so often: a part comes every 0.4 s.
const TICK: Duration = Duration::from_millis(100);
/// A broadcast that nobody listens to for this long ends: it costs the origin a connection.
const IDLE: Duration = Duration::from_secs(30);
/// A part told of is fetched so soon that it is here before the player wants it: a part of what it has in hand.
const SOON: Duration = Duration::from_millis(150);

/// A part that cannot be proven so long after it was told of lacks a witness: statements are told with the part, and no two
/// feeders are far apart. The origin still gives its slice from the beginning.
const DOUBT: Duration = Duration::from_millis(500);
/// A publisher's manifest is a fetch or two later than the part.
const DOUBT_SIGNED: Duration = Duration::from_millis(1_000);

/// A slice whose pieces have all come from neighbours.
#[derive(Debug)]
struct Fetched {
    note: SliceNote,
    bytes: Option<Bytes>,
}

/// The task of a broadcast: it looks at what comes, and decides who reads the origin.
pub(super) struct Deck {
    broadcast: Broadcast,
    node: Weak<Shared>,
    feed: Feed,
    signed: Option<Signed>,
    role: Role,
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

/// Notes kept until the own connection meets them: as many as a neighbour greets with, of a few neighbours.
const NOTES_MAX: usize = 128;
/// Parts in reserve: the group of pictures a connection begins with, and until the first boundary.
const RESERVE_MAX: usize = 64;
/// With so little left for a player the origin is read: what a connection begins with may be later than what is on its way from
/// neighbours, which has to come before the player is dry. (With 0.15 s players of 16 viewers with uplinks of two and a half
/// copies waited twice as long and three times as often.) A follower's player has 0.5 s left when a part comes.
const LOW: Duration = Duration::from_millis(250);
/// A signed part comes later by what its manifest takes.
const LOW_SIGNED: Duration = Duration::from_millis(100);
/// With so little left the reserve is used.
const LAST: Duration = Duration::from_millis(100);
/// Provisional parts kept: neighbours tell of theirs within a fraction of a second, but the first are a whole group of pictures.
const YOUNG_MAX: usize = 32;

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

    async fn own(&mut self, slice: Slice) -> bool {
        if self.reserve.is_none() || self.broadcast.tape().knows(slice.segment.id) {
            // What came before it neighbours cut as well.
            self.reserve = None;
            return self.take(slice, None).await;
        }
        self.role.cut(slice.segment.id, false, true, None);
        let Some(reserve) = &mut self.reserve else { return true };
        reserve.push_back(slice);
        if reserve.len() > RESERVE_MAX {
            reserve.pop_front();
        }
        true
    }

    /// A neighbour tells of a part that is in reserve: from there on the own connection cuts as all do.
    async fn release(&mut self, note: &SliceNote) -> bool {
        let at = self.reserve.as_ref().and_then(|own| own.iter().position(|s| s.segment.id == note.segment));
        let Some(at) = at else { return true };
        // It has a place now, if it can have one.
        if !self.broadcast.tape().knows(note.segment) {
            return true;
        }
        let rest = self.reserve.take().unwrap_or_default().split_off(at);
        for slice in rest {
            if !self.take(slice, None).await {
                return false;
            }
        }
        true
    }

    /// Goes on with what is in reserve, behind what is here.
    async fn sew(&mut self) -> bool {
        let (last, parts) = self.broadcast.tape().seam().unzip();
        let mut seam = Seam::behind(&parts.unwrap_or_default());
        let mut own = self.reserve.clone().unwrap_or_default();
        let mut first = None;
        while let Some(slice) = own.pop_front() {
            match seam.pass(&slice) {
                Passed::Before => continue,
                Passed::Across(rest) => first = Some(*rest),
                // Between what is here and what the connection began with is something that is on its way.
                Passed::Behind if self.awaits() => {}
                Passed::Behind => first = Some(slice),
            }
            break;
        }
        let Some(slice) = first else { return true };
        tracing::debug!(slice = ?slice.segment.id, ?last, "goes on with its own connection");
        self.reserve = None;
        let mut live = self.take(slice, last).await;
        for slice in own {
            live = live && self.take(slice, None).await;
        }
        live
    }

    /// Takes a part of the own connection; it comes `after` that one, if it does not say what it comes after.
    async fn take(&mut self, mut slice: Slice, after: Option<SegmentId>) -> bool {
        self.lay(&mut slice.segment);
        slice.before = slice.before.or_else(|| self.shared_before(&slice.segment));
        let told = Told {
            id: slice.segment.id,
            before: slice.before.or(after),
            duration: slice.segment.duration.unwrap_or_default(),
        };
        let kept = Kept {
            bytes: slice.bytes.clone(),
            setup: slice.setup.clone(),
            duration: told.duration,
            offset: slice.offset,
            own: true,
        };
        // A newcomer does not know what is before its first slice; another may.
        let of_it = self.notes.iter().filter(|note| note.segment == told.id);
        let note = of_it.max_by_key(|note| note.before.is_some()).cloned();
        // What neighbours tell of is where everybody cuts, though this connection is too young to know.
        let provisional = flv::provisional(&slice) && note.is_none();
        let left = self.broadcast.tape().in_hand();
        self.role.cut(told.id, slice.offset.is_zero(), provisional, left);
        tracing::debug!(slice = ?told.id, before = ?told.before, provisional, "cut a slice");
        self.broadcast.tape().own(OWN, told, kept);
        self.broadcast.inner.news.notify_waiters();
        if provisional {
            // To be played here; others mostly cut it otherwise.
            self.young.push_back(slice);
            let over = self.young.len().saturating_sub(YOUNG_MAX);
            self.young.drain(..over);
            return true;
        }
        match note {
            Some(note) => self.share_as(slice, &note).await,
            None => self.share(slice).await,
        }
    }

    /// Neighbours tell of a slice that this node's own connection cut before it could know that others cut there, too.
    async fn adopt(&mut self, note: &SliceNote) -> bool {
        let Some(at) = self.young.iter().position(|slice| slice.segment.id == note.segment) else {
            return true;
        };
        // What was cut before it is none that others have.
        let Some(slice) = self.young.drain(..=at).next_back() else { return true };
        self.role.adopted(note.segment, slice.offset.is_zero());
        self.share_as(slice, note).await
    }

    /// Shares a slice of the own connection that neighbours tell of: what this node does not know to be before it, they may.
    async fn share_as(&mut self, mut slice: Slice, note: &SliceNote) -> bool {
        slice.before = slice.before.or(note.before);
        self.share(slice).await
    }

    /// What was cut too early to know that others cut it, too, is what the next slice comes after.
    fn shared_before(&self, segment: &Segment) -> Option<SegmentId> {
        self.shared.filter(|(_, end)| segment.start == Some(*end)).map(|(id, _)| id)
    }

    async fn share(&mut self, slice: Slice) -> bool {
        let segment = &slice.segment;
        self.shared = segment.start.zip(segment.duration).map(|(start, lasts)| (segment.id, start + lasts));
        self.told(slice.segment.id);
        self.broadcast.inner.news.notify_waiters();
        self.broadcast.inner.asset.tell(ToSwarm::Sliced(slice)).await.is_ok()
    }

    /// A neighbour tells of a slice: it is fetched if it has a place in the stream.
    async fn heard(&mut self, link: Handle, note: SliceNote) -> bool {
        if self.feed.is_on()
            && self.notes.iter().all(|known| (known.segment, known.before) != (note.segment, note.before))
        {
            self.notes.push_back(note.clone());
            let over = self.notes.len().saturating_sub(NOTES_MAX);
            self.notes.drain(..over);
        }
        if !self.adopt(&note).await {
            return false;
        }
        // What is in reserve is not given yet.
        let state = if self.reserve.is_some() { State::Silent } else { self.feed.state() };
        let wanted = self.broadcast.tape().told(u64::from(link.0), told_by(&note), state);
        if !self.release(&note).await {
            return false;
        }
        let wanted = wanted && !self.broadcast.tape().has(note.segment);
        tracing::trace!(link = link.0, slice = ?note.segment, before = ?note.before, wanted, "told of a slice");
        // What is told may be here already: content repeats.
        self.broadcast.inner.news.notify_waiters();
        if wanted { self.follow(note).await } else { true }
    }

    fn told(&mut self, id: SegmentId) {
        if let (Some(signed), Some(shared)) = (&mut self.signed, self.node.upgrade()) {
            signed.told(id);
            signed.look(&shared);
        }
    }

    async fn follow(&mut self, note: SliceNote) -> bool {
        self.told(note.segment);
        let Some(shared) = self.node.upgrade() else { return false };
        let asset = self.broadcast.inner.asset.clone();
        let mut segment = Segment {
            id: note.segment,
            url: asset.url().clone(),
            range: None,
            layout: note.layout,
            offset: 0,
            start: None,
            duration: Some(Duration::from_millis(u64::from(note.duration_ms))),
            init: false,
            key: true,
            discontinuity: note.discontinuity,
        };
        self.lay(&mut segment);
        let range = segment.offset..segment.offset + segment.layout.len();
        if asset.tell(ToSwarm::Follow(segment, note.clone())).await.is_err() {
            return false;
        }
        let now = shared.clock.now();
        let expect = |segment| Expected { segment, from: now + SOON, until: now + SOON * 2 };
        let expected: Vec<Expected> = self.broadcast.tape().wanted().map(expect).collect();
        let told = asset.tell(ToSwarm::Expect(expected)).await.is_ok();
        let (to, stop) = (self.fetched.0.clone(), shared.stop.clone());
        let patience = tape::missing_after(self.role.rhythm());
        shared.tasks.spawn(async move {
            let gather = gather(&asset, range, &note);
            let bytes = tokio::time::timeout(patience, gather).await.ok().flatten();
            let _ = stop.run_until_cancelled(to.send(Fetched { note, bytes })).await;
        });
        told
    }

    fn came(&mut self, fetched: Fetched) -> bool {
        let Fetched { note, bytes } = fetched;
        tracing::debug!(slice = ?note.segment, whole = bytes.is_some(), "a neighbour's slice");
        let duration = Duration::from_millis(u64::from(note.duration_ms));
        match bytes {
            Some(bytes) => {
                self.role.came(note.segment, note.offset_ms == 0, self.feed.is_on());
                let offset = Duration::from_millis(u64::from(note.offset_ms));
                let kept = Kept { bytes, setup: note.setup, duration, offset, own: false };
                self.broadcast.tape().came(note.segment, kept);
            }
            None => self.broadcast.tape().missing(note.segment),
        }
        self.broadcast.inner.news.notify_waiters();
        true
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
        let ask = ToSwarm::Backing { of: self.role.recent(), doubted, reach: self.role.asks(low), answer };
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

    fn want(&self, low: Duration) -> role::Want {
        let tape = self.broadcast.tape();
        role::Want { overdue: tape.overdue(), low: tape.is_low(low) }
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

fn told_by(note: &SliceNote) -> Told {
    let duration = Duration::from_millis(u64::from(note.duration_ms));
    Told { id: note.segment, before: note.before, duration }
}

/// All bytes of a slice, if they are what its number says.
async fn gather(asset: &Asset, range: std::ops::Range<u64>, note: &SliceNote) -> Option<Bytes> {
    let mut reader = asset.follow(range);
    let mut bytes = BytesMut::new();
    while let Some(part) = reader.next().await {
        bytes.extend_from_slice(&part.ok()?);
    }
    let bytes = bytes.freeze();
    if bytes.len() as u64 != note.layout.len() {
        return None;
    }
    let root = PieceList::of(&note.layout, &bytes).root();
    let offset = Duration::from_millis(u64::from(note.offset_ms));
    let right = flv::id_of(&note.setup, offset, &root) == note.segment;
    if !right {
        tracing::warn!(segment = %note.segment, "a slice is not what its number says; it is not played");
    }
    right.then_some(bytes)
}
