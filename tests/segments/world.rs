//! A playlist, an origin that has it, and players that load and read it.

use std::sync::Arc;
use std::time::Duration;

use pcdn::core::id::Identity;
use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::resource::{ResourceHead, Url};
use pcdn::core::unit::ByteSize;
use pcdn::mapping::UrlHash;
use pcdn::store::Memory;
use pcdn::testing::{ScriptedOrigin, content};
use pcdn::{Node, OpenError, media, node::SegmentItem, store};

pub(crate) const SEGMENTS: u64 = 4;
/// 19 pieces.
pub(crate) const LEN: usize = 300_000;
/// The content of segment `n` is `content(LEN, n)`, and after it was replaced `content(LEN, n + NEW)`.
pub(crate) const NEW: u64 = 100;

pub(crate) fn playlist() -> Url {
    "http://cdn.example/show/index.m3u8".parse().unwrap()
}

pub(crate) fn segment(number: u64) -> Url {
    playlist().join(&format!("{number}.ts")).unwrap()
}

pub(crate) fn show(ended: bool) -> String {
    let listed: String = (0..SEGMENTS).map(|n| format!("#EXTINF:2.0,\n{n}.ts\n")).collect();
    let end = if ended { "#EXT-X-ENDLIST\n" } else { "" };
    format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:2\n{listed}{end}")
}

pub(crate) fn origin() -> ScriptedOrigin {
    (0..SEGMENTS).fold(ScriptedOrigin::new(), |origin, n| origin.with(&segment(n), content(LEN, n)))
}

pub(crate) fn replace(origin: &ScriptedOrigin, number: u64) {
    let _ = origin.clone().with(&segment(number), content(LEN, number + NEW));
}

/// An origin that names its versions otherwise than by an entity tag, or not at all.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) origin: ScriptedOrigin,
    pub(crate) by: Naming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Naming {
    Tag,
    /// `Last-Modified`: the day of the month tells contents apart.
    Date,
    /// A weak tag, which is of no use for ranges.
    Weak,
    Nothing,
}

impl Named {
    fn head_of(&self, head: ResourceHead) -> ResourceHead {
        let Some(tag) = head.validator.clone() else { return head };
        let mut headers = head.headers;
        let validator = match self.by {
            Naming::Tag => Some(tag),
            Naming::Date => {
                let day = 1 + (u32::from(tag.as_bytes()[1]) + 3 * u32::from(tag.as_bytes()[2])) % 28;
                Some(format!("Sun, {day:02} Nov 2026 08:49:37 GMT"))
            }
            Naming::Weak => {
                headers.push(("etag".to_owned(), format!("W/{tag}")));
                None
            }
            Naming::Nothing => None,
        };
        ResourceHead { validator, headers, ..head }
    }
}

#[async_trait::async_trait]
impl Origin for Named {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        self.origin.head(url).await.map(|head| self.head_of(head))
    }
    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        if self.by == Naming::Tag {
            return self.origin.get(want).await;
        }
        let now = self.head_of(self.origin.head(&want.url).await?);
        if want.validator.is_some() && want.validator != now.validator {
            return Err(OriginError::Changed { what: "the version".to_owned() });
        }
        let mut body = self.origin.get(&OriginGet { validator: None, ..want.clone() }).await?;
        body.head = now;
        Ok(body)
    }
    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        // As far as the script lets it answer at all.
        let blank = ResourceHead { len: known.len, ..ResourceHead::default() };
        let now = self.head_of(self.origin.confirm(url, &blank).await?);
        match known.differs_from(&now) {
            Some(what) => Err(OriginError::Changed { what }),
            None => Ok(now),
        }
    }
}

pub(crate) fn node(origin: impl Origin, kept: &Arc<Memory>) -> Node {
    Node::builder(Identity::from_secret([1; 32]))
        .mapper(UrlHash::default())
        .fragmenters(media::standard())
        .shared_store(kept.clone() as Arc<dyn store::Store>)
        .origin(origin)
        .build()
        .unwrap()
}

pub(crate) fn shelf() -> Arc<Memory> {
    Arc::new(Memory::of(ByteSize::mib(16)))
}

/// A player loads the playlist.
pub(crate) async fn load(node: &Node, ended: bool) {
    let text = bytes::Bytes::from(show(ended));
    let stream = node.stream(&playlist(), None, &text).await.unwrap();
    stream.supply(&playlist(), text).await.unwrap();
}

pub(crate) async fn ask(node: &Node, number: u64) -> Result<SegmentItem, OpenError> {
    node.segment(&segment(number), None).await.unwrap()
}

/// The first `len` bytes, or `None` if they are not to be had to the end.
pub(crate) async fn read(item: &SegmentItem, len: usize) -> Option<Vec<u8>> {
    let mut reader = item.read(0..len as u64);
    let mut all = Vec::new();
    while let Some(bytes) = reader.next().await {
        all.extend_from_slice(&bytes.ok()?);
    }
    Some(all)
}

/// Which content of a segment a player gets who asks now: true for the new one.
pub(crate) async fn is_new(node: &Node, number: u64) -> bool {
    let got = read(&ask(node, number).await.unwrap(), LEN).await.expect("all of it");
    let new = got == content(LEN, number + NEW);
    assert!(new || got == content(LEN, number), "all of one content, and nothing else");
    new
}

/// Lets what runs beside come to its end.
pub(crate) async fn settle() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

pub(crate) async fn stop(node: Node) {
    node.shutdown(Duration::from_secs(1)).await;
}

/// Waits until the store's thread, which knows no virtual time, has kept so many bytes.
pub(crate) async fn is_kept(kept: &Memory, bytes: u64) {
    while kept.used().0 < bytes {
        tokio::task::yield_now().await;
    }
}
