//! An open resource, and reading it.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::id::{Rid, SwarmKey};
use pcdn_core::layout::SegmentId;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_core::swarm::{ReaderId, Source};
use pcdn_core::unit::Rate;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf, SeekFrom};
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::{Delivery, ToSwarm};
use super::freshness::Confirmed;
use super::links::Links;
use super::open::Alternates;
use super::{OpenError, Shared, SwarmReport, SwarmStatus};

/// An open resource. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Asset {
    info: Arc<Info>,
    swarm: mpsc::Sender<ToSwarm>,
    completed: watch::Receiver<bool>,
    node: std::sync::Weak<Shared>,
    /// The first bytes, which the origin sent when it was asked what it has: for the reader of who opened it.
    here: Bytes,
}

#[derive(Debug)]
pub(super) struct Info {
    pub(super) url: Url,
    pub(super) rid: Rid,
    pub(super) swarm: SwarmKey,
    /// Under what its pieces are kept.
    pub(super) shelf: SwarmKey,
    pub(super) head: ResourceHead,
    /// Its segments are those of a playlist.
    pub(super) listed: bool,
    /// Whether it is still what the origin has.
    pub(super) confirmed: Arc<Confirmed>,
    /// By which URLs it is to be had; `None` of a stream, whose playlist says that anew.
    pub(super) urls: Option<Arc<Alternates>>,
}

impl Asset {
    pub(super) fn new(
        info: Info,
        swarm: mpsc::Sender<ToSwarm>,
        completed: watch::Receiver<bool>,
        node: &Arc<Shared>,
    ) -> Self {
        Self { info: Arc::new(info), swarm, completed, node: Arc::downgrade(node), here: Bytes::new() }
    }

    /// The same; who reads it from the first byte on has these before the swarm has begun.
    pub(super) fn beginning_with(self, here: Option<Bytes>) -> Self {
        Self { here: here.unwrap_or_default(), ..self }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.info.head.len.unwrap_or(0)
    }

    /// Whether it has no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it is fetched from.
    pub fn url(&self) -> &Url {
        &self.info.url
    }

    /// The content's name.
    pub fn rid(&self) -> Rid {
        self.info.rid
    }

    /// Where its peers meet.
    pub fn swarm(&self) -> SwarmKey {
        self.info.swarm
    }

    /// Whether the origin has another content at the URL by now: what is here of this one can be read, and no more comes. It is seen
    /// when somebody opens the URL after the origin's answer has lost its freshness, or when more is fetched from there.
    pub fn is_outdated(&self) -> bool {
        self.info.confirmed.is_changed()
    }

    /// How old the origin's word on it is (RFC 9111 section 4.2.3): `Age` for whoever is given it now.
    pub fn age(&self) -> Duration {
        self.age_of(&self.info.confirmed)
    }

    /// The same of one of its segments.
    pub(super) fn age_of(&self, confirmed: &Confirmed) -> Duration {
        self.node.upgrade().map_or(Duration::ZERO, |node| confirmed.age(node.clock.now()))
    }

    pub(super) fn confirmed(&self) -> &Arc<Confirmed> {
        &self.info.confirmed
    }

    /// Somebody came by `url`, of which the origin said `head`: if that is the very same content of the same host, it is asked for there,
    /// too.
    pub(super) fn admit(&self, url: &Url, head: &ResourceHead) {
        let same = url.origin() == self.info.url.origin() && self.info.head.validator == head.validator;
        if let Some(urls) = self.info.urls.as_ref().filter(|_| same) {
            urls.admit(url);
        }
    }

    /// Whether the origin refused it by every URL known, as when a token has expired.
    pub(super) fn is_refused(&self) -> bool {
        self.info.urls.as_ref().is_some_and(|urls| urls.is_refused())
    }

    /// Whether its swarm was left.
    pub(super) fn is_closed(&self) -> bool {
        self.swarm.is_closed()
    }

    pub(super) fn shelf(&self) -> SwarmKey {
        self.info.shelf
    }

    /// Of a playlist's swarm: what the store calls each of its segments, as far as they are known. `None` for other contents, whose
    /// segments have the same names there.
    pub(super) async fn shelved(&self) -> Option<BTreeMap<SegmentId, SegmentId>> {
        if !self.info.listed {
            return None;
        }
        let (answer, named) = oneshot::channel();
        // A swarm that was left has none.
        let _ = self.tell(ToSwarm::Shelved(answer)).await;
        Some(named.await.unwrap_or_default())
    }

    /// What the origin said of it.
    pub fn head(&self) -> &ResourceHead {
        &self.info.head
    }

    /// Reads `range` in order, as a player does: what the reader needs next comes first. Dropping it ends the interest.
    pub fn read(&self, range: Range<u64>) -> Reader {
        Reader::new(self.clone(), range, true).given(0, &self.here)
    }

    /// Follows a download: the bytes of `range` in order as they happen to come, without hurrying them.
    pub fn follow(&self, range: Range<u64>) -> Reader {
        Reader::new(self.clone(), range, false)
    }

    /// Wants all of it, in any order (a download); returns once it is whole and in the store.
    ///
    /// # Errors
    /// [`OpenError::Closed`] when the node shuts down first. While the origin fails it waits on: peers may have the rest.
    pub async fn complete(&self) -> Result<(), OpenError> {
        self.tell(ToSwarm::Whole(true)).await?;
        let mut completed = self.completed.clone();
        completed.wait_for(|done| *done).await.map_err(|_| OpenError::Closed)?;
        Ok(())
    }

    /// Fetches what nobody reads here in the background only: behind everyone else at the peers that give, with at most
    /// `origin_bytes` from the origin, counted from the first such call, and at `rate` in all. Whoever reads is served as usual.
    ///
    /// # Errors
    /// [`OpenError::Closed`] when the node shuts down first.
    pub async fn in_background(&self, origin_bytes: u64, rate: Rate) -> Result<(), OpenError> {
        self.tell(ToSwarm::Background(Some((origin_bytes, rate)))).await
    }

    /// Wants all of it, or no longer; [`complete`](Self::complete) wants it too.
    pub(crate) async fn want_whole(&self, whole: bool) -> Result<(), OpenError> {
        self.tell(ToSwarm::Whole(whole)).await
    }

    /// Takes [`in_background`](Self::in_background) back.
    ///
    /// # Errors
    /// As there.
    pub async fn in_foreground(&self) -> Result<(), OpenError> {
        self.tell(ToSwarm::Background(None)).await
    }

    /// Whether pieces of it may leave the store for want of room; see [`Store::protect`](pcdn_core::store::Store::protect).
    pub async fn protect(&self, protected: bool) {
        let Some(node) = self.node.upgrade() else { return };
        let (store, shelf) = (node.store.clone(), self.info.shelf);
        let done = tokio::task::spawn_blocking(move || store.protect(&shelf, protected)).await;
        if let Ok(Err(error)) = done {
            tracing::warn!(%error, "what is held for others may leave for want of room");
        }
    }

    /// Goes on giving while a neighbour still downloads, at most for `longest`.
    pub async fn serve_out(&self, longest: Duration) {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let needed = async {
            loop {
                looks.tick().await;
                let status = self.status().await;
                if !status.is_some_and(|status| status.peers.iter().any(|peer| peer.downloading)) {
                    return;
                }
            }
        };
        // Whichever comes first ends it.
        let _ = tokio::time::timeout(longest, needed).await;
    }

    /// Figures so far.
    pub async fn report(&self) -> SwarmReport {
        self.status().await.map(|status| status.report).unwrap_or_default()
    }

    /// Everything the admin API tells of it; `None` once it is closed.
    pub async fn status(&self) -> Option<SwarmStatus> {
        let (answer, status) = oneshot::channel();
        self.tell(ToSwarm::Status(answer)).await.ok()?;
        status.await.ok()
    }

    /// Peers that were found for it elsewhere.
    pub(super) async fn found(&self, records: Vec<pcdn_core::peer::PeerRecord>) {
        // A swarm that is closed needs none.
        let _ = self.tell(ToSwarm::Found(records)).await;
    }

    pub(super) async fn tell(&self, message: ToSwarm) -> Result<(), OpenError> {
        self.swarm.send(message).await.map_err(|_| OpenError::Closed)
    }

    /// Leaves the swarm to another content at its URL. Whoever reads this one goes on with what is here of it, and with the origin.
    pub(super) async fn outlive(&self, links: &Links) {
        links.swarms.remove(&self.info.swarm);
        let (done, left) = oneshot::channel();
        if self.tell(ToSwarm::Outlived(done)).await.is_ok() {
            // Answered, or gone already.
            let _ = left.await;
        }
    }

    /// Leaves the swarm.
    pub(super) async fn close(&self, links: &Links) {
        links.swarms.remove(&self.info.swarm);
        let (done, closed) = oneshot::channel();
        if self.tell(ToSwarm::Close(done)).await.is_ok() {
            // Answered, or gone already.
            let _ = closed.await;
        }
    }
}

/// Bytes of a resource in order. Also an [`AsyncRead`] and [`AsyncSeek`].
#[derive(Debug)]
pub struct Reader {
    asset: Asset,
    range: Range<u64>,
    at: u64,
    playing: bool,
    open: Option<Open>,
    rest: Bytes,
    /// Bytes that it had from its start on without the swarm.
    given: u64,
    sources: (u64, u64, u64),
}

/// The reader's place in the swarm.
#[derive(Debug)]
struct Open {
    id: ReaderId,
    deliveries: mpsc::Receiver<Delivery>,
    swarm: mpsc::Sender<ToSwarm>,
    /// A pull is under way.
    pulled: bool,
}

impl Drop for Open {
    fn drop(&mut self) {
        let message = ToSwarm::ReadEnd(self.id);
        if let Err(mpsc::error::TrySendError::Full(message)) = self.swarm.try_send(message) {
            let swarm = self.swarm.clone();
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { swarm.send(message).await });
            }
        }
    }
}

/// Deliveries waiting for a reader: it pulls one at a time.
const DELIVERIES: usize = 2;

impl Reader {
    fn new(asset: Asset, range: Range<u64>, playing: bool) -> Self {
        // A stream has no length: its segments are laid one behind another.
        let end = range.end.min(asset.info.head.len.unwrap_or(u64::MAX));
        let start = range.start.min(end);
        Self {
            asset,
            at: start,
            range: start..end,
            playing,
            open: None,
            rest: Bytes::new(),
            given: 0,
            sources: (0, 0, 0),
        }
    }

    /// The same, given those of the origin's bytes `here`, of which the first is the resource's byte `at`, if it begins there.
    pub(super) fn given(mut self, at: u64, here: &Bytes) -> Self {
        if self.at == at && !here.is_empty() {
            let count = (self.range.end - self.at).min(here.len() as u64);
            self.rest = here.slice(..count as usize);
            self.given = count;
            self.sources.1 += count;
        }
        self
    }

    /// The next bytes (up to one piece), `None` at the end of the range. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.at += rest.len() as u64;
            return Some(Ok(rest));
        }
        std::future::poll_fn(|cx| self.poll_fetch(cx)).await.map(|result| {
            result.inspect(|bytes| {
                self.at += bytes.len() as u64;
            })
        })
    }

    /// Where the bytes read so far came from: (cache, origin, peers), in bytes.
    pub fn sources(&self) -> (u64, u64, u64) {
        self.sources
    }

    /// The next position to be read.
    pub fn position(&self) -> u64 {
        self.at
    }

    fn poll_fetch(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OpenError>>> {
        if self.at >= self.range.end {
            return Poll::Ready(None);
        }
        if self.open.is_none() {
            self.open = Some(self.enter());
        }
        let Some(open) = self.open.as_mut() else { return Poll::Ready(None) };
        if !open.pulled {
            open.pulled = true;
            send(&open.swarm, ToSwarm::Pull(open.id));
        }
        let delivery = ready!(open.deliveries.poll_recv(cx));
        open.pulled = false;
        Poll::Ready(Some(match delivery {
            Some(Ok((bytes, source))) => {
                let count = bytes.len() as u64;
                match source {
                    Source::Cache => self.sources.0 += count,
                    Source::Origin => self.sources.1 += count,
                    Source::Peer => self.sources.2 += count,
                }
                Ok(bytes)
            }
            Some(Err(error)) => Err(error),
            None => Err(OpenError::Closed),
        }))
    }

    fn enter(&self) -> Open {
        let id = ReaderId(self.asset.node.upgrade().map_or(u64::MAX, |node| node.next_reader()));
        let (to, deliveries) = mpsc::channel(DELIVERIES);
        let swarm = self.asset.swarm.clone();
        let (at, end, playing) = (self.at, self.range.end, self.playing);
        // Nothing but those came before there was a place in the swarm, and whoever seeks has none of what comes before.
        let had = if at == self.range.start + self.given { self.given } else { 0 };
        let read = ToSwarm::Read { reader: id, at, end, playing, had, to };
        send(&swarm, read);
        Open { id, deliveries, swarm, pulled: false }
    }
}

/// Sends without waiting if there is room, else beside; order among a reader's own messages matters little: a pull that comes
/// before its read is repeated by none, so the read goes first by being sent first.
fn send(swarm: &mpsc::Sender<ToSwarm>, message: ToSwarm) {
    if let Err(mpsc::error::TrySendError::Full(message)) = swarm.try_send(message) {
        let swarm = swarm.clone();
        tokio::spawn(async move { swarm.send(message).await });
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.rest.is_empty() {
            match ready!(self.poll_fetch(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                Some(Ok(bytes)) => self.rest = bytes,
            }
        }
        let count = self.rest.len().min(into.remaining());
        into.put_slice(&self.rest.split_to(count));
        self.at += count as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for Reader {
    fn start_seek(mut self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.range.end.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        let target =
            target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek before the start"))?;
        if target != self.at {
            self.at = target;
            self.rest.clear();
            // Leaves its place; the next read takes a new one.
            self.open = None;
        }
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.at))
    }
}
