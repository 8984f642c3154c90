//! What a gateway serves, as narrow as it needs it: the node in earnest, a fake in tests of HTTP behaviour.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pcdn_core::id::SwarmKey;
use pcdn_core::origin::{Origin, OriginError};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use pcdn_transport::origin::{Http, Passed};

use crate::node::{Asset, Listener, Node, OpenError, Reader, SegmentItem};

/// Opens resources.
#[async_trait]
pub(super) trait Source: Send + Sync + Debug + 'static {
    /// `from_start`: a player reads it from its first byte on.
    async fn open(&self, url: &Url, from_start: bool) -> Result<Box<dyn Item>, OpenError>;
    /// The segment of an open playlist that a request for `url`, and `range` of it, means; `from_start` as above.
    async fn segment(
        &self,
        url: &Url,
        range: Option<ByteRange>,
        from_start: bool,
    ) -> Option<Result<Box<dyn Item>, OpenError>>;
    /// A playlist was fetched for a player: what it lists becomes known. `at` is where it came from after redirects.
    async fn playlist(
        &self,
        url: &Url,
        at: &Url,
        content_type: Option<&str>,
        text: Bytes,
    ) -> Result<(), OpenError>;
    /// Begins to listen to a live stream.
    async fn live(&self, url: &Url) -> Result<Live, OpenError>;
    /// Segments behind the live edge where players shall start.
    fn live_start(&self) -> u32;
    /// For what cannot be opened and is passed through.
    fn origin(&self) -> Arc<dyn Origin>;
    /// The origin's answer as it is, whatever its status; `None` if this source cannot give that.
    async fn pass(
        &self,
        head: bool,
        url: &Url,
        headers: &[(String, String)],
    ) -> Option<Result<Passed, OriginError>>;
    /// The same content's answer from another place that has it: a 200, or none.
    async fn elsewhere(&self, url: &Url, headers: &[(String, String)]) -> Option<Passed>;
}

/// A live stream being listened to.
pub(super) struct Live {
    pub(super) swarm: SwarmKey,
    pub(super) head: ResourceHead,
    pub(super) feed: Box<dyn Feed>,
}

/// An open resource.
pub(super) trait Item: Send + Sync {
    fn len(&self) -> u64;
    fn swarm(&self) -> SwarmKey;
    fn head(&self) -> &ResourceHead;
    /// How old the origin's word on it is; `None` if that is as the head says.
    fn age(&self) -> Option<Duration>;
    fn read(&self, range: Range<u64>) -> Box<dyn Feed>;
}

/// Bytes in order, pulled.
#[async_trait]
pub(super) trait Feed: Send {
    async fn next(&mut self) -> Option<Result<Bytes, OpenError>>;
    /// Bytes so far from (cache, origin, peers).
    fn sources(&self) -> (u64, u64, u64);
}

/// A node, and the HTTP client it fetches with if that can give answers as they are.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) node: Node,
    pub(super) http: Option<Http>,
}

#[async_trait]
impl Source for Served {
    async fn open(&self, url: &Url, from_start: bool) -> Result<Box<dyn Item>, OpenError> {
        let asset = if from_start { self.node.open_to_play(url).await? } else { self.node.open(url).await? };
        Ok(Box::new(asset))
    }
    async fn segment(
        &self,
        url: &Url,
        range: Option<ByteRange>,
        from_start: bool,
    ) -> Option<Result<Box<dyn Item>, OpenError>> {
        let found = match from_start {
            true => self.node.segment_to_play(url, range).await?,
            false => self.node.segment(url, range).await?,
        };
        Some(found.map(|item| Box::new(item) as Box<dyn Item>))
    }
    async fn playlist(
        &self,
        url: &Url,
        at: &Url,
        content_type: Option<&str>,
        text: Bytes,
    ) -> Result<(), OpenError> {
        self.node.stream(url, content_type, &text).await?.supply(at, text).await
    }
    async fn live(&self, url: &Url) -> Result<Live, OpenError> {
        let broadcast = self.node.broadcast(url).await?;
        let (swarm, head) = (broadcast.swarm(), broadcast.head().clone());
        Ok(Live { swarm, head, feed: Box::new(broadcast.listen()) })
    }
    fn live_start(&self) -> u32 {
        self.node.live_start()
    }
    fn origin(&self) -> Arc<dyn Origin> {
        self.node.origin()
    }
    async fn pass(
        &self,
        head: bool,
        url: &Url,
        headers: &[(String, String)],
    ) -> Option<Result<Passed, OriginError>> {
        match &self.http {
            Some(http) => Some(http.pass(head, url, headers).await),
            None => None,
        }
    }
    async fn elsewhere(&self, url: &Url, headers: &[(String, String)]) -> Option<Passed> {
        // No place of a mapper's gets the origin's credentials.
        let http = self.http.as_ref()?.bare();
        for place in self.node.mirrors_of(url).await {
            match http.pass(false, &place, headers).await {
                Ok(passed) if passed.status == 200 => return Some(passed),
                Ok(passed) => tracing::debug!(status = passed.status, "a mirror has no such playlist"),
                Err(error) => tracing::debug!(%error, "a mirror gives no playlist"),
            }
        }
        None
    }
}

impl Item for Asset {
    fn len(&self) -> u64 {
        Asset::len(self)
    }
    fn swarm(&self) -> SwarmKey {
        Asset::swarm(self)
    }
    fn head(&self) -> &ResourceHead {
        Asset::head(self)
    }
    fn age(&self) -> Option<Duration> {
        Some(Asset::age(self))
    }
    fn read(&self, range: Range<u64>) -> Box<dyn Feed> {
        Box::new(Asset::read(self, range))
    }
}

impl Item for SegmentItem {
    fn len(&self) -> u64 {
        SegmentItem::len(self)
    }
    fn swarm(&self) -> SwarmKey {
        SegmentItem::swarm(self)
    }
    fn head(&self) -> &ResourceHead {
        SegmentItem::head(self)
    }
    fn age(&self) -> Option<Duration> {
        SegmentItem::age(self)
    }
    fn read(&self, range: Range<u64>) -> Box<dyn Feed> {
        Box::new(SegmentItem::read(self, range))
    }
}

#[async_trait]
impl Feed for Listener {
    async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        Listener::next(self).await.map(Ok)
    }
    fn sources(&self) -> (u64, u64, u64) {
        Listener::sources(self)
    }
}

#[async_trait]
impl Feed for Reader {
    async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        Reader::next(self).await
    }
    fn sources(&self) -> (u64, u64, u64) {
        Reader::sources(self)
    }
}
