//! A server of one live HTTP-FLV stream, in memory. Its programme runs on tokio's clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pcdn::core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn::core::resource::{ResourceHead, Url};
use pcdn::core::{Bytes, async_trait};
use pcdn::media::flv::tag::{self, Kind};
use tokio::time::Instant;

use super::signer::Signer;

/// Time between two pictures, and between two sounds, in milliseconds.
const PICTURE_MS: u64 = 40;
const SOUND_MS: u64 = 23;

/// A signer's manifest is so much later than the stream.
const SIGNER_LATE: Duration = Duration::from_millis(300);

/// No two connections are equally far behind: each is up to so much later than the programme.
const LAG_MS: u64 = 120;
/// What a server without a group of pictures takes to answer, before it waits for a keyframe.
pub(crate) const SLOW: Duration = Duration::from_millis(2_300);

/// What servers do differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// The publisher's timestamps.
    Absolute,
    /// Every client's timestamps begin at 0.
    Rebased,
    /// The same, and a client is sent nothing before the next keyframe: such servers keep no group of pictures.
    Uncached,
}

/// The server.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    begun: Instant,
    gop_ms: u64,
    habit: Habit,
    signer: Option<Arc<Mutex<Signer>>>,
    connections: Arc<AtomicU64>,
}

/// A tag of the programme: the `number`th of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
}

impl Server {
    /// A programme that has run for a while, with keyframes every `gop_ms`. Nobody signs it.
    pub(crate) fn new(gop_ms: u64, habit: Habit) -> Self {
        Self {
            begun: Instant::now() - Duration::from_secs(100),
            gop_ms,
            habit,
            signer: None,
            connections: Arc::default(),
        }
    }

    /// The same with the manifest of a signer beside the stream.
    pub(crate) fn signed(mut self) -> Self {
        let (greeting, first, _) = self.greeting();
        self.signer = Some(Arc::new(Mutex::new(Signer::new(greeting, first))));
        self
    }

    /// Milliseconds of the programme so far.
    pub(crate) fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn is_key(&self, tag: Tag) -> bool {
        tag.kind == Kind::Video && (tag.number * PICTURE_MS).is_multiple_of(self.gop_ms)
    }

    fn body(&self, tag: Tag) -> Vec<u8> {
        let (head, len): (&[u8], usize) = match tag.kind {
            Kind::Audio => (&[0xaf, 1], 90),
            Kind::Video if self.is_key(tag) => (&[0x17, 1, 0, 0, 0], 9_000),
            Kind::Video => (&[0x27, 1, 0, 0, 0], 2_000),
        };
        let mut body = head.to_vec();
        body.extend(tag.number.to_be_bytes());
        body.resize(len, tag.number as u8);
        body
    }

    /// As it is seen so much later.
    fn late(&self, by: Duration) -> Self {
        Self { begun: self.begun + by, ..self.clone() }
    }

    /// The same server, for a player beside the nodes: its connection is as far behind as theirs that comes next.
    pub(crate) fn apart(&self) -> Self {
        let next = self.connections.load(Ordering::Relaxed);
        Self { connections: Arc::new(next.into()), ..self.clone() }
    }

    /// As the next connection sees it.
    fn connection(&self) -> Self {
        let number = self.connections.fetch_add(1, Ordering::Relaxed);
        self.late(Duration::from_millis(number * 47 % LAG_MS))
    }

    /// Writes what has been sent since `next`, with times less `base`, and gives what comes after.
    pub(crate) fn send(&self, out: &mut Vec<u8>, mut next: Tag, base: u64) -> Tag {
        while next.at_ms() <= self.now_ms() {
            tag::write(out, next.kind, (next.at_ms() - base) as u32, &self.body(next));
            next = next.next();
        }
        next
    }

    /// What a client that joins now is sent first, and its next tag.
    fn greeting(&self) -> (Vec<u8>, Tag, u64) {
        let gops = self.now_ms() / self.gop_ms + u64::from(self.habit == Habit::Uncached);
        let first_ms = gops * self.gop_ms;
        let base = if self.habit == Habit::Absolute { 0 } else { first_ms };
        let mut greeting = tag::stream_header(true, true).to_vec();
        tag::write(&mut greeting, Kind::Video, 0, &[0x17, 0, 0, 0, 0, 1, 2, 3]);
        tag::write(&mut greeting, Kind::Audio, 0, &[0xaf, 0, 0x12, 0x10]);
        (greeting, Tag { kind: Kind::Video, number: first_ms / PICTURE_MS }, base)
    }
}

impl Tag {
    /// When it is sent, in milliseconds of the programme.
    pub(crate) fn at_ms(self) -> u64 {
        self.number * if self.kind == Kind::Video { PICTURE_MS } else { SOUND_MS }
    }

    /// What `body` is a tag of.
    pub(crate) fn of(kind: Kind, body: &[u8]) -> Option<Self> {
        let at = if kind == Kind::Video { 5 } else { 2 };
        (body.get(1) == Some(&1)).then_some(())?;
        let number = u64::from_be_bytes(*body.get(at..)?.first_chunk()?);
        Some(Self { kind, number })
    }

    /// The tag sent after it: the next picture, or the sounds between.
    fn next(self) -> Self {
        let (picture, sound) = match self.kind {
            Kind::Video => (self.number + 1, self.at_ms().div_ceil(SOUND_MS)),
            Kind::Audio => ((self.at_ms() / PICTURE_MS) + 1, self.number + 1),
        };
        if sound * SOUND_MS < picture * PICTURE_MS {
            Self { kind: Kind::Audio, number: sound }
        } else {
            Self { kind: Kind::Video, number: picture }
        }
    }
}

#[async_trait]
impl Origin for Server {
    async fn head(&self, _: &Url) -> Result<ResourceHead, OriginError> {
        Ok(ResourceHead { content_type: Some("video/x-flv".to_owned()), ..ResourceHead::default() })
    }

    async fn confirm(&self, url: &Url, _: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.head(url).await
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let head = self.head(&want.url).await?;
        if want.url.path().ends_with(".pcdn") {
            let signer =
                self.signer.as_ref().ok_or(OriginError::Status { status: 404, retry_after: None })?;
            let manifest = signer.lock().unwrap().manifest(&self.late(SIGNER_LATE));
            let bytes = Box::pin(futures_util::stream::once(std::future::ready(Ok(manifest))));
            return Ok(OriginBody { head: ResourceHead::default(), bytes });
        }
        let server = self.connection();
        if self.habit == Habit::Uncached {
            tokio::time::sleep(SLOW).await;
        }
        let (greeting, first, base) = server.greeting();
        let bytes = futures_util::stream::unfold(
            (server, greeting, first),
            move |(server, mut out, next)| async move {
                tokio::time::sleep_until(server.begun + Duration::from_millis(next.at_ms())).await;
                let next = server.send(&mut out, next, base);
                Some((Ok(Bytes::from(out)), (server, Vec::new(), next)))
            },
        );
        Ok(OriginBody { head, bytes: Box::pin(bytes) })
    }
}
