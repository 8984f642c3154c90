//! The bytes of an answer, counted and timed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use pcdn_core::discovery::BoxStream;
use pcdn_core::origin::OriginError;
use pcdn_core::unit::Rate;
use tokio::time::{Instant, timeout};

use super::incoming::Incoming;
use super::range::Reading;

/// How slow a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The longest silence.
    pub(super) stall: Duration,
    /// The slowest rate over `window` of waiting, for a body of known length. An endless one (a live stream) is as slow as its
    /// picture is simple.
    pub(super) rate_min: Rate,
    pub(super) window: Duration,
}

/// An endless body may be silent so many times as long before its first byte: a live server without the last group of pictures at
/// hand waits for the next keyframe, and 20 s is what encoders space those at most.
const BEGINNING: u32 = 5;

/// A body being read: gives exactly what its [`Reading`] says, or an error after the good bytes.
#[derive(Debug)]
pub(super) struct Body {
    response: Incoming,
    pace: Pace,
    skip: u64,
    left: Option<u64>,
    more: bool,
    given: u64,
    first: Option<Bytes>,
    waited: Duration,
    waited_bytes: u64,
    over: bool,
}

impl Body {
    pub(super) fn new(response: Incoming, reading: Reading, pace: Pace) -> Self {
        Self {
            response,
            pace,
            skip: reading.skip,
            left: reading.take,
            more: reading.more,
            given: 0,
            first: None,
            waited: Duration::ZERO,
            waited_bytes: 0,
            over: false,
        }
    }

    /// Waits for the first bytes, so that an answer which breaks before them can still be asked for again. Not for endless bodies:
    /// a live stream may begin with silence.
    pub(super) async fn fill(&mut self) -> Result<(), OriginError> {
        if self.left.is_some_and(|left| left > 0) {
            self.first = self.next().await?;
        }
        Ok(())
    }

    /// The bytes as a stream; dropping it closes the transfer.
    pub(super) fn stream(self) -> BoxStream<Result<Bytes, OriginError>> {
        Box::pin(stream::unfold(self, |mut body| async move {
            if let Some(first) = body.first.take() {
                return Some((Ok(first), body));
            }
            if body.over {
                return None;
            }
            let item = body.next().await.transpose()?;
            body.over = item.is_err();
            Some((item, body))
        }))
    }

    async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        loop {
            if self.left == Some(0) {
                self.finish().await;
                return Ok(None);
            }
            let Some(mut chunk) = self.receive().await? else { return self.ended() };
            if self.skip > 0 {
                let skipped = chunk.split_to(self.skip.min(chunk.len() as u64) as usize);
                self.skip -= skipped.len() as u64;
            }
            if let Some(left) = &mut self.left {
                if chunk.len() as u64 > *left && !self.more {
                    return Err(OriginError::Malformed { what: "the body is longer than announced".into() });
                }
                chunk.truncate((*left).min(chunk.len() as u64) as usize);
                *left -= chunk.len() as u64;
            }
            self.given += chunk.len() as u64;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    /// One read, with both clocks running only while it waits: a reader that takes its time is not the origin's fault.
    async fn receive(&mut self) -> Result<Option<Bytes>, OriginError> {
        let asked = Instant::now();
        let beginning = self.left.is_none() && self.given == 0;
        let patience = if beginning { self.pace.stall * BEGINNING } else { self.pace.stall };
        let chunk = timeout(patience, self.response.chunk()).await;
        let chunk = chunk.map_err(|_| OriginError::Silent(patience))??;
        self.waited += asked.elapsed();
        self.waited_bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.waited >= self.pace.window {
            let slow = self.waited_bytes < self.pace.rate_min.bytes_in(self.waited);
            if slow && self.left.is_some() && chunk.is_some() {
                let why = format!("{} bytes in {:?} of waiting, too slow", self.waited_bytes, self.waited);
                return Err(OriginError::Unreachable { why });
            }
            (self.waited, self.waited_bytes) = (Duration::ZERO, 0);
        }
        Ok(chunk)
    }

    fn ended(&self) -> Result<Option<Bytes>, OriginError> {
        match self.left {
            Some(left) if left > 0 => {
                let why = format!("the body ends {left} bytes early, after {}", self.given);
                Err(OriginError::Unreachable { why })
            }
            _ => Ok(None),
        }
    }

    /// Reads the end of a body whose bytes are all here, so that its connection can be used again.
    async fn finish(&mut self) {
        /// The end of a chunked body is in the same packet as its last bytes; it is not worth a wait.
        const END_WAIT: Duration = Duration::from_millis(20);
        if !self.more && !self.over {
            let _ = timeout(END_WAIT, self.response.chunk()).await;
        }
        self.over = true;
    }
}
