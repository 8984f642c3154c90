//! A playlist at a node: what it lists, the swarms of its renditions, and what its players are about to want.
//!
//! ```text
//!  gateway ── playlist as fetched ──► Stream::supply ──► Slicing ──► Index (what is listed)
//!  player  ── a segment's URL ──────► Node::segment ──► Track::cut (length: range, manifest or HEAD) ──► SegmentItem
//!  pacer   ── four times a second ──► Index × Pace ───► cuts ahead, and tells each swarm what is expected when
//! ```
//!
//! Playlists always come from the origin: they are small, they change, and everything else hangs on them.

mod begin;
mod fresh;
pub(crate) mod index;
mod manifest;
pub(crate) mod pace;
pub(crate) mod track;
mod whole;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use dashmap::DashMap;
use futures_util::StreamExt as _;
use pcdn_core::discovery::Discovery;
use pcdn_core::fragment::{Cut, FragmentError, Fragmenter, Listing, Need, Part, Rendition, Slicing};
use pcdn_core::id::{PeerId, Rid, RuleId, SwarmKey};
use pcdn_core::origin::{Origin, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{Resource, ResourceHead, Url};
use pcdn_core::swarm::Expected;
use pcdn_core::unit::Time;
use tokio::sync::Notify;

use super::asset::Reader;
use super::driver::ToSwarm;
use super::freshness::Confirmed;
use super::open::{Begun, For, Joining, join, map};
use super::{OpenError, Shared};
use begin::Ready;
use index::{Index, Place};
use track::{Cuts, Cutting, Length, Told, Track};
pub(crate) use whole::Whole;

/// Playlists open at once; the one asked for longest ago is closed beyond.
pub(crate) const STREAMS_MAX: usize = 64;
/// Bytes of an index inside a media file that a slicing may ask for.
const INDEX_BYTES_MAX: u64 = 4 << 20;
/// Such indexes of one playlist.
const INDEXES_MAX: usize = 256;
/// Files whose segments are parts of them, remembered.
const FILES_MAX: usize = 64;
/// How often it is looked at what players are about to want.
const LOOK: Duration = Duration::from_millis(250);
/// On demand, segments this far ahead of the player are prepared; more would be wasted on whoever leaves.
const AHEAD: Duration = Duration::from_secs(24);
/// Segments prepared at once at most.
const AHEAD_MAX: usize = 8;
/// A playlist nobody has asked for this long: its swarms rest.
const IDLE: Duration = Duration::from_secs(120);

/// A playlist, open. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stream {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: Url,
    rid: Rid,
    /// Who signs this stream's manifests, beside a pinned key.
    signer: Option<PeerId>,
    /// Where it and what it lists come from.
    origin: Arc<Begun>,
    /// It gives no parts of what is listed: nothing is begun there that would be the whole.
    unranged: AtomicBool,
    /// Who is asked for its peers.
    discoveries: Vec<Arc<dyn Discovery>>,
    rule: RuleId,
    slicing: Mutex<Box<dyn Slicing>>,
    index: Mutex<Index>,
    tracks: tokio::sync::Mutex<BTreeMap<u32, Arc<Track>>>,
    manifest: manifest::Kept,
    files: tokio::sync::Mutex<HashMap<Url, Arc<Confirmed>>>,
    node: Weak<Shared>,
    used: Mutex<Time>,
    news: Notify,
}

/// A segment of a playlist, ready to be read.
#[derive(Clone, Debug)]
pub struct SegmentItem {
    track: Arc<Track>,
    cutting: Cutting,
    /// Where it begins in the resource at its URL.
    base: u64,
    /// Its first bytes, if the origin sent them when it was asked how long it is.
    here: Bytes,
}

impl Stream {
    /// Opens the playlist at `url`. Nothing is fetched: [`supply`](Self::supply) it.
    pub(crate) async fn open(
        shared: &Arc<Shared>,
        url: &Url,
        fragmenter: &dyn Fragmenter,
    ) -> Result<Self, OpenError> {
        let mapping = map(shared, url).await;
        let resource = Resource { url: url.clone(), rid: mapping.rid, head: None };
        let inner = Inner {
            url: url.clone(),
            rid: mapping.rid,
            rule: fragmenter.rule(),
            slicing: Mutex::new(fragmenter.open(&resource)?),
            index: Mutex::default(),
            tracks: tokio::sync::Mutex::default(),
            signer: mapping.signer,
            origin: Arc::new(Begun::over(shared.origin_of_tree(url, &mapping))),
            unranged: AtomicBool::new(false),
            discoveries: shared.discoveries_of(&mapping),
            manifest: manifest::Kept::of(&shared.settings, url, &mapping),
            files: tokio::sync::Mutex::default(),
            node: Arc::downgrade(shared),
            used: Mutex::new(shared.clock.now()),
            news: Notify::new(),
        };
        let stream = Self { inner: Arc::new(inner) };
        shared.tasks.spawn(pacer(Arc::downgrade(&stream.inner), shared.stop.clone()));
        Ok(stream)
    }

    /// The playlist, as the origin gave it now; `at` is its URL after redirects. Lists what is new in it.
    ///
    /// # Errors
    /// If it is no such playlist. What was listed before stays.
    pub async fn supply(&self, at: &Url, document: Bytes) -> Result<(), OpenError> {
        let shared = self.inner.node.upgrade().ok_or(OpenError::Closed)?;
        self.touch(&shared);
        let mut part = Some(Part::Document(at.clone(), document));
        let mut gone = Vec::new();
        for _ in 0..INDEXES_MAX {
            let need = {
                let mut slicing = lock(&self.inner.slicing);
                if let Some(part) = part.take() {
                    slicing.supply(shared.clock.now(), part)?;
                }
                let mut index = lock(&self.inner.index);
                while let Some(cut) = slicing.cut() {
                    gone.extend(take(&mut index, cut));
                }
                slicing.need()
            };
            match need {
                Need::Range { url, range } => {
                    part = Some(fetch_index(&*self.inner.origin, url, range).await?)
                }
                _ => break,
            }
        }
        self.forget(gone).await;
        self.inner.manifest.refresh(self).await;
        self.inner.news.notify_one();
        Ok(())
    }

    /// Where it is.
    pub fn url(&self) -> &Url {
        &self.inner.url
    }

    /// Its renditions, if it names several.
    pub fn renditions(&self) -> Vec<Rendition> {
        lock(&self.inner.index).renditions().to_vec()
    }

    /// The segment that a request for `url`, and `range` of it, means.
    pub(crate) fn find(&self, url: &Url, range: Option<ByteRange>) -> Option<Place> {
        lock(&self.inner.index).find(url, range)
    }

    /// Opens a segment for a player: one that begins with the first byte has that at once.
    pub(in crate::node) async fn segment(
        &self,
        place: Place,
        asked: &Url,
        purpose: For,
    ) -> Result<SegmentItem, OpenError> {
        let shared = self.inner.node.upgrade().ok_or(OpenError::Closed)?;
        self.touch(&shared);
        let (listing, live) = {
            let index = lock(&self.inner.index);
            let listing = index.get(place).cloned().ok_or(FragmentError::LengthUnknown)?;
            (listing, !index.is_ended())
        };
        // The player's own URL has the newest token.
        let listing = Listing { url: asked.clone(), ..listing };
        let track = self.track(&shared, place.rendition).await?;
        // At the live edge a segment is asked for as soon as it is listed, by every viewer: only who comes to it begins it.
        let begins = purpose == For::Play && (!live || track.playing(shared.clock.now()).1.is_empty());
        let Ready { cutting, here } = self.ready(&shared, &track, &listing, live, begins).await?;
        track.asked(shared.clock.now(), place, &listing, live);
        self.expect(&shared, &track, place.rendition, live).await;
        self.inner.news.notify_one();
        let base = listing.range.map_or(0, |range| range.start());
        Ok(SegmentItem { track, cutting, base, here })
    }

    /// The swarm of a rendition; joined when it is first wanted.
    async fn track(&self, shared: &Arc<Shared>, rendition: u32) -> Result<Arc<Track>, OpenError> {
        let mut tracks = self.inner.tracks.lock().await;
        // A swarm that was left, as nobody read then, is joined anew.
        if let Some(track) = tracks.get(&rendition).filter(|track| !track.asset.is_closed()) {
            return Ok(track.clone());
        }
        let rid = self.rid_of(rendition);
        let cuts = Arc::new(Cuts::new());
        let joining = Joining {
            url: self.inner.url.clone(),
            origin: self.inner.origin.clone(),
            begun: None,
            urls: None,
            discoveries: self.inner.discoveries.clone(),
            rid,
            head: ResourceHead::default(),
            key: SwarmKey::of(&rid, &self.inner.rule),
            rule: self.inner.rule,
            cuts: Vec::new(),
            manifest: None,
            signer: self.inner.signer,
            stream: Some(super::open::StreamSide { cuts: cuts.clone(), heard: None }),
        };
        let asset = join(shared, joining).await;
        if let Some((manifest, raw)) = self.inner.manifest.newest() {
            asset.tell(ToSwarm::Manifest(manifest, raw)).await?;
        }
        shared.assets.lock().await.push(asset.clone());
        let track = Arc::new(Track::new(asset, cuts));
        tracks.insert(rendition, track.clone());
        Ok(track)
    }

    fn rid_of(&self, rendition: u32) -> Rid {
        let index = lock(&self.inner.index);
        let name = index.renditions().iter().find(|r| r.index == rendition).map(|r| r.name.as_str());
        name.map_or(self.inner.rid, |name| self.inner.rid.rendition(name))
    }

    /// The swarms open now.
    async fn tracks(&self) -> Vec<(u32, Arc<Track>)> {
        self.inner.tracks.lock().await.iter().map(|(rendition, track)| (*rendition, track.clone())).collect()
    }

    async fn cut(&self, track: &Track, listing: &Listing) -> Result<Cutting, OpenError> {
        track.cut(listing, self.size(listing)).await
    }

    /// How long a segment is: as the playlist says, as the publisher signed, or as the origin answers.
    async fn size(&self, listing: &Listing) -> Result<Length, OpenError> {
        if let Some(range) = listing.range {
            return Ok((range.len(), Told::Head(self.file(&listing.url).await?)));
        }
        if let Some((layout, root, list)) = self.inner.manifest.signed(listing.id).await {
            let content_type = Some(type_of(listing.url.path()).to_owned());
            let len = Some(layout.len());
            let head = Arc::new(ResourceHead { len, content_type, ranges: true, ..Default::default() });
            return Ok((layout.len(), Told::Signed { head, root, list }));
        }
        let told = self.ask(&listing.url).await?;
        let len = told.head().len.ok_or(FragmentError::LengthUnknown)?;
        Ok((len, Told::Head(told)))
    }

    /// What the origin says of a file that several segments are parts of; asked once, and again when it has changed.
    async fn file(&self, url: &Url) -> Result<Arc<Confirmed>, OpenError> {
        let mut files = self.inner.files.lock().await;
        if let Some(file) = files.get(url).filter(|file| !file.is_changed()) {
            return Ok(file.clone());
        }
        let file = self.ask(url).await?;
        if files.len() >= FILES_MAX {
            files.clear();
        }
        files.insert(url.clone(), file.clone());
        Ok(file)
    }

    /// What the origin says of the resource at `url`, of which ranges must be to be had.
    async fn ask(&self, url: &Url) -> Result<Arc<Confirmed>, OpenError> {
        let shared = self.inner.node.upgrade().ok_or(OpenError::Closed)?;
        let head = self.inner.origin.head(url).await?;
        if !head.ranges {
            return Err(FragmentError::LengthUnknown.into());
        }
        Ok(self.heard(&shared, url, head))
    }

    /// The origin has just said `head` of a segment's URL.
    fn heard(&self, shared: &Shared, url: &Url, head: ResourceHead) -> Arc<Confirmed> {
        let live = !lock(&self.inner.index).is_ended();
        let origin = self.inner.origin.clone();
        Arc::new(Confirmed::of_part(url.clone(), head, origin, shared.clock.now(), live))
    }

    /// Tells a rendition's swarm what its player wants when; what lies ahead is cut first.
    async fn expect(&self, shared: &Arc<Shared>, track: &Arc<Track>, rendition: u32, live: bool) {
        let now = shared.clock.now();
        let (pace, asked) = track.playing(now);
        let Some((newest, _)) = asked.iter().max_by_key(|(place, _)| *place) else {
            let _ = track.asset.tell(ToSwarm::Expect(Vec::new())).await;
            return;
        };
        debug_assert_eq!(newest.rendition, rendition);
        let ahead: Vec<Listing> = {
            let index = lock(&self.inner.index);
            let soon = |listing: &Listing| {
                let start = listing.start.unwrap_or_default();
                live || pace.played_at(start).is_some_and(|played| played <= now + AHEAD)
            };
            let listed = index.after(*newest).map(|(_, listing)| listing);
            listed.take_while(|listing| soon(listing)).take(AHEAD_MAX).cloned().collect()
        };
        let mut expected: Vec<Expected> = asked.iter().map(|(_, expected)| *expected).collect();
        self.look_ahead(shared, track, &ahead, live).await;
        for listing in &ahead {
            if track.known(listing.id).is_none() {
                if track.begin_ahead(listing.id) {
                    self.cut_ahead(shared, track.clone(), listing.clone());
                }
                continue;
            }
            let start = listing.start.unwrap_or_default();
            let duration = listing.duration.unwrap_or_default();
            if let Some(from) = pace.due(now, start) {
                expected.push(Expected { segment: listing.id, from, until: from + duration / 2 });
            }
        }
        // A swarm that is closed expects nothing.
        let _ = track.asset.tell(ToSwarm::Expect(expected)).await;
    }

    fn cut_ahead(&self, shared: &Arc<Shared>, track: Arc<Track>, listing: Listing) {
        let stream = self.clone();
        let node = shared.clone();
        shared.tasks.spawn(async move {
            let stop = node.stop.clone();
            let cut = stop.run_until_cancelled(stream.cut(&track, &listing)).await;
            track.end_ahead(listing.id);
            match cut {
                Some(Ok(_)) => stream.inner.news.notify_one(),
                // The player asks for it in its time, and is told.
                Some(Err(error)) => tracing::debug!(%error, segment = %listing.id, "not prepared"),
                None => {}
            }
        });
    }

    async fn forget(&self, gone: Vec<Listing>) {
        for (rendition, track) in self.tracks().await {
            for listing in gone.iter().filter(|listing| listing.rendition == rendition) {
                if track.cuts.remove(&listing.id).is_some() {
                    // A swarm that is closed has forgotten it.
                    let _ = track.asset.tell(ToSwarm::Retire(listing.id)).await;
                }
            }
        }
    }

    fn touch(&self, shared: &Shared) {
        *lock(&self.inner.used) = shared.clock.now();
    }

    /// When it was asked for last.
    pub(crate) fn used(&self) -> Time {
        *lock(&self.inner.used)
    }
}

impl SegmentItem {
    /// Length in bytes of the resource at its URL, of which it is all or a part.
    pub fn len(&self) -> u64 {
        self.head().len.unwrap_or(self.base + self.cutting.at.end - self.cutting.at.start)
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.cutting.at.is_empty()
    }

    /// Where its peers meet.
    pub fn swarm(&self) -> SwarmKey {
        self.track.asset.swarm()
    }

    /// What the origin said of its URL.
    pub fn head(&self) -> &ResourceHead {
        self.cutting.told.head()
    }

    /// How old the origin's word on it is: `Age` for whoever is given it now. `None` if the publisher's word counts alone.
    pub fn age(&self) -> Option<Duration> {
        self.cutting.told.confirmed().map(|confirmed| self.track.asset.age_of(confirmed))
    }

    /// Reads `range` of the resource at its URL in order, as far as it lies in this segment.
    pub fn read(&self, range: std::ops::Range<u64>) -> Reader {
        let at = |byte: u64| {
            let inside = byte.saturating_sub(self.base);
            self.cutting.at.end.min(self.cutting.at.start.saturating_add(inside))
        };
        self.track.asset.follow(at(range.start)..at(range.end)).given(self.cutting.at.start, &self.here)
    }
}

fn take(index: &mut Index, cut: Cut) -> Vec<Listing> {
    match cut {
        Cut::Rendition(rendition) => index.add_rendition(rendition),
        Cut::Listed(listing) => _ = index.add(listing),
        Cut::Retired(id) => return index.leave(id),
        Cut::End => index.end(),
        // Kinds that know lengths or bring bytes are no playlists: see `open` and `live`.
        Cut::Segment(_) | Cut::Sliced(_) => {}
    }
    Vec::new()
}

async fn fetch_index(origin: &dyn Origin, url: Url, range: ByteRange) -> Result<Part, OpenError> {
    let start = range.start();
    let capped = ByteRange::new(start, range.end().min(start.saturating_add(INDEX_BYTES_MAX)));
    let want = OriginGet { range: capped, ..OriginGet::whole(url.clone()) };
    let mut body = origin.get(&want).await?;
    let mut bytes = Vec::new();
    while let Some(chunk) = body.bytes.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() as u64 >= INDEX_BYTES_MAX {
            break;
        }
    }
    Ok(Part::Range(url, range, bytes.into()))
}

/// Looks again and again at what the stream's players are about to want, as long as the stream is open.
async fn pacer(stream: Weak<Inner>, stop: tokio_util::sync::CancellationToken) {
    loop {
        let Some(inner) = stream.upgrade() else { return };
        let stream_now = Stream { inner };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
            () = stream_now.inner.news.notified() => {}
        }
        let Some(shared) = stream_now.inner.node.upgrade() else { return };
        if shared.clock.now().since(stream_now.used()) > IDLE {
            continue;
        }
        let live = !lock(&stream_now.inner.index).is_ended();
        for (rendition, track) in stream_now.tracks().await {
            stream_now.expect(&shared, &track, rendition, live).await;
        }
    }
}

/// The media type of a segment whose head was not asked for.
fn type_of(path: &str) -> &'static str {
    let extension = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "ts" => "video/mp2t",
        "m4s" | "cmfv" | "mp4" | "m4v" => "video/mp4",
        "m4a" | "cmfa" => "audio/mp4",
        "aac" => "audio/aac",
        "mp3" => "audio/mpeg",
        "vtt" | "webvtt" => "text/vtt",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All open playlists of a node.
pub(crate) type Streams = DashMap<String, Stream>;
