//! The first bytes of a resource, asked for before it is known what it is.
//!
//! A player begins with the first byte. Asking the origin for those bytes tells all that a HEAD tells, and brings them a round
//! trip sooner: a node then starts no later than a player that asks the origin itself, whatever peers there are. They are paid for
//! even where peers would have had them a moment later, so it is as little as a player can begin with.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use pcdn_core::discovery::BoxStream;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use tokio_util::task::AbortOnDropHandle;

/// What is asked for: a piece of a file.
const BYTES: u64 = 64 << 10;

/// Such transfers of one origin at once: a player begins one segment of each rendition it shows, and then takes what they bring. The
/// oldest is closed beyond.
const UNDER_WAY_MAX: usize = 8;

/// An origin some of whose answers are on their way already. Everything else is asked of the origin behind it.
#[derive(Debug)]
pub(in crate::node) struct Begun {
    origin: Arc<dyn Origin>,
    under_way: Mutex<Vec<First>>,
}

/// The first bytes of a resource, on their way.
pub(in crate::node) struct First {
    url: Url,
    head: ResourceHead,
    bytes: BoxStream<Result<Bytes, OriginError>>,
    /// Those that came with the head; they are in `bytes`, too.
    here: Option<Bytes>,
}

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("First").field("url", &self.url).finish_non_exhaustive()
    }
}

impl First {
    /// Asks for the first bytes of `url`.
    ///
    /// # Errors
    /// What the origin answers; of a resource that has no first byte, or is sent whole only, or in an encoding nobody asked for,
    /// only its head is to be had.
    pub(in crate::node) async fn ask(
        origin: &dyn Origin,
        url: &Url,
    ) -> Result<(ResourceHead, Option<Self>), OriginError> {
        let want = OriginGet { range: ByteRange::new(0, BYTES), ..OriginGet::whole(url.clone()) };
        match origin.get(&want).await {
            Ok(OriginBody { head, mut bytes }) => {
                // An origin waits for them before it answers, mostly.
                let come = bytes.next().now_or_never().flatten();
                let here = come.as_ref().and_then(|come| come.as_ref().ok()).cloned();
                let bytes = Box::pin(futures_util::stream::iter(come).chain(bytes));
                Ok((head.clone(), Some(Self { url: url.clone(), head, bytes, here })))
            }
            Err(OriginError::Status { status: 200 | 416, .. } | OriginError::Malformed { .. }) => {
                Ok((origin.head(url).await?, None))
            }
            Err(error) => Err(error),
        }
    }

    /// The bytes that are here already, from the first on; a player may be given them before anything else is known. They are the
    /// origin's own word to this node, which is right as it is.
    pub(in crate::node) fn here(&self) -> Option<Bytes> {
        self.here.clone()
    }
}

impl Begun {
    /// `origin`, of which nothing is on its way.
    pub(in crate::node) fn over(origin: Arc<dyn Origin>) -> Self {
        Self { origin, under_way: Mutex::default() }
    }

    /// From now on this answers for its URL, once.
    pub(in crate::node) fn add(&self, first: First) {
        let mut under_way = self.under_way();
        if under_way.len() >= UNDER_WAY_MAX {
            under_way.remove(0);
        }
        under_way.push(first);
    }

    /// How many bytes of each are on their way.
    pub(in crate::node) const fn bytes() -> u64 {
        BYTES
    }

    /// Closes the transfer from `url`, if nobody has asked for it yet: what it brings is here already.
    pub(in crate::node) fn close(&self, url: &Url) {
        // The transfer ends with the value.
        let _ = self.take(url);
    }

    fn take(&self, url: &Url) -> Option<First> {
        let mut under_way = self.under_way();
        let at = under_way.iter().position(|first| first.url == *url)?;
        Some(under_way.remove(at))
    }

    fn under_way(&self) -> MutexGuard<'_, Vec<First>> {
        // Whoever panicked with it left it whole.
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The transfer under way, if it is what is asked for.
    fn answers(&self, want: &OriginGet) -> Option<First> {
        let first = self.take(&want.url)?;
        let begins = want.range.is_none_or(|range| range.start() == 0);
        let same =
            want.validator.as_ref().is_none_or(|version| first.head.validator.as_ref() == Some(version))
                && want.len.is_none_or(|len| first.head.len == Some(len));
        (begins && same).then_some(first)
    }
}

#[async_trait]
impl Origin for Begun {
    async fn head(&self, url: &Url) -> Result<ResourceHead, OriginError> {
        self.origin.head(url).await
    }

    async fn confirm(&self, url: &Url, known: &ResourceHead) -> Result<ResourceHead, OriginError> {
        self.origin.confirm(url, known).await
    }

    async fn get(&self, want: &OriginGet) -> Result<OriginBody, OriginError> {
        let Some(first) = self.answers(want) else { return self.origin.get(want).await };
        let End { first: here, beyond } = End::of(want, &first.head);
        let head = first.head;
        let bytes = up_to(first.bytes, here);
        let Some(range) = beyond else { return Ok(OriginBody { head, bytes }) };
        // Asked for at once, so that what follows is there when the first bytes end.
        let want = OriginGet {
            range: Some(range),
            validator: head.validator.clone(),
            len: head.len,
            url: want.url.clone(),
        };
        let origin = self.origin.clone();
        let rest = AbortOnDropHandle::new(tokio::spawn(async move { origin.get(&want).await }));
        let rest = futures_util::stream::once(async move {
            match rest.await {
                Ok(Ok(body)) => body.bytes,
                Ok(Err(error)) => failed(error),
                Err(_) => failed(OriginError::Other { by: "origin", source: "it panicked".into() }),
            }
        });
        Ok(OriginBody { head, bytes: Box::pin(bytes.chain(rest.flatten())) })
    }
}

/// Where a request that the first bytes answer ends.
struct End {
    /// Bytes of the transfer under way that are wanted.
    first: u64,
    /// What is wanted beyond.
    beyond: Option<ByteRange>,
}

impl End {
    fn of(want: &OriginGet, head: &ResourceHead) -> Self {
        let len = head.len.unwrap_or(BYTES);
        let end = want.range.map_or(len, |range| range.end()).min(len);
        Self { first: end.min(BYTES), beyond: ByteRange::new(BYTES, end) }
    }
}

fn failed(error: OriginError) -> BoxStream<Result<Bytes, OriginError>> {
    Box::pin(futures_util::stream::iter([Err(error)]))
}

/// The first `len` bytes of `bytes`.
fn up_to(bytes: BoxStream<Result<Bytes, OriginError>>, len: u64) -> BoxStream<Result<Bytes, OriginError>> {
    Box::pin(futures_util::stream::unfold((bytes, len), |(mut bytes, left)| async move {
        if left == 0 {
            return None;
        }
        let chunk = bytes.next().await?.map(|mut chunk| {
            chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            chunk
        });
        let left = chunk.as_ref().map_or(0, |chunk| left - chunk.len() as u64);
        Some((chunk, (bytes, left)))
    }))
}

#[cfg(test)]
mod tests;
