//! The end of a body whose origin gives no parts any more: taken from the whole.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use pcdn_core::discovery::BoxStream;
use pcdn_core::origin::OriginError;
use pcdn_core::resource::Url;

use super::source::{Feed, Source};
use crate::node::OpenError;

/// What is known of a body for when its swarm cannot go on, because the origin ignores or garbles ranges: a player that asks it plainly
/// would have all.
pub(super) struct Rest {
    pub(super) source: Arc<dyn Source>,
    pub(super) url: Url,
    /// Only bytes of this version may follow.
    pub(super) version: Option<String>,
    /// Where the body ends in the content.
    pub(super) end: u64,
}

impl Rest {
    /// The last `left` bytes of the body, if the origin gives the same version whole.
    pub(super) async fn feed(self, left: u64) -> Option<Box<dyn Feed>> {
        let passed =
            self.source.pass(false, &self.url, &[]).await?.ok().filter(|passed| passed.status == 200)?;
        let sent = |name: &str| passed.headers.iter().find(|(sent, _)| sent == name).map(|(_, value)| value);
        let same = match &self.version {
            Some(version) => [sent("etag"), sent("last-modified")].contains(&Some(version)),
            None => true,
        };
        let len = passed.len.filter(|len| *len >= self.end && same)?;
        tracing::debug!(len, left, "the origin gives no parts: the rest comes from the whole");
        Some(Box::new(Whole { bytes: passed.bytes, skip: self.end - left, left, given: 0 }))
    }
}

/// A part of an answer that is the whole.
struct Whole {
    bytes: BoxStream<Result<Bytes, OriginError>>,
    skip: u64,
    left: u64,
    given: u64,
}

#[async_trait]
impl Feed for Whole {
    async fn next(&mut self) -> Option<Result<Bytes, OpenError>> {
        while self.left > 0 {
            let mut bytes = match self.bytes.next().await? {
                Ok(bytes) => bytes,
                Err(error) => return Some(Err(error.into())),
            };
            let before = (bytes.len() as u64).min(self.skip);
            bytes.advance(before as usize);
            self.skip -= before;
            bytes.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            if !bytes.is_empty() {
                self.left -= bytes.len() as u64;
                self.given += bytes.len() as u64;
                return Some(Ok(bytes));
            }
        }
        None
    }

    fn sources(&self) -> (u64, u64, u64) {
        (0, self.given, 0)
    }
}
