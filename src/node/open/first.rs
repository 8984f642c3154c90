//! The first bytes of a resource, asked for before it is known what it is.
//!
//! A player begins with the first byte. Asking the origin for those bytes tells all that a HEAD tells, and brings them a round
//! trip sooner: a node then starts no later than a player that asks the origin itself, whatever peers there are. They are paid for
//! even where peers would have had them a moment later, so it is as little as a player can begin with.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use pcdn_core::discovery::BoxStream;
use pcdn_core::origin::{Origin, OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use pcdn_core::resource::{ResourceHead, Url};
use tokio_util::task::AbortOnDropHandle;

/// What is asked for: a piece of a file.
const BYTES: u64 = 64 << 10;

/// An origin whose first answer is on its way already. Everything else is asked of the origin behind it.
#[derive(Debug)]
pub(in crate::node) struct Begun {
    origin: Arc<dyn Origin>,
    first: Mutex<Option<First>>,
}

struct First {
    url: Url,
    head: ResourceHead,
    bytes: BoxStream<Result<Bytes, OriginError>>,
}

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("First").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Begun {
    /// Asks for the first bytes of `url`.
    ///
    /// # Errors
    /// What the origin answers; of a resource that has no first byte, or is sent in an encoding nobody asked for, only its head is
    /// to be had.
    pub(super) async fn at(origin: Arc<dyn Origin>, url: &Url) -> Result<(ResourceHead, Self), OriginError> {
        let want = OriginGet { range: ByteRange::new(0, BYTES), ..OriginGet::whole(url.clone()) };
        let (head, first) = match origin.get(&want).await {
            Ok(OriginBody { head, bytes }) => (head.clone(), Some(First { url: url.clone(), head, bytes })),
            Err(OriginError::Status { status: 416, .. } | OriginError::Malformed { .. }) => {
                (origin.head(url).await?, None)
            }
            Err(error) => return Err(error),
        };
        Ok((head, Self { origin, first: Mutex::new(first) }))
    }

    /// How many bytes are on their way.
    pub(super) fn bytes(&self) -> u64 {
        BYTES
    }

    /// Closes the transfer: what it brings is here already.
    pub(super) fn close(&self) {
        // The transfer ends with the value.
        let _ = self.take();
    }

    fn take(&self) -> Option<First> {
        // Whoever panicked with it left it whole.
        self.first.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The transfer under way, if it is what is asked for.
    fn answers(&self, want: &OriginGet) -> Option<First> {
        let first = self.take()?;
        let begins = want.range.is_none_or(|range| range.start() == 0);
        let same =
            want.validator.as_ref().is_none_or(|version| first.head.validator.as_ref() == Some(version))
                && want.len.is_none_or(|len| first.head.len == Some(len));
        (want.url == first.url && begins && same).then_some(first)
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
