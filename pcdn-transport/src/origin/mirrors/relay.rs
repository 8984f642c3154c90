//! A body that goes on from another URL where one stops.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use pcdn_core::discovery::BoxStream;
use pcdn_core::origin::{OriginBody, OriginError, OriginGet};
use pcdn_core::range::ByteRange;
use tokio::time::timeout;

use super::Places;

/// A body that brings nothing for so long is asked for elsewhere too, and whoever brings something first goes on: a lost packet
/// costs less on most paths, and a reader that is as fast as its origin has no more than this in hand.
const LATE: Duration = Duration::from_millis(300);
/// One that brings nothing for so long is left for another, if there is one: less than a player's smallest buffer.
const SILENT: Duration = Duration::from_secs(1);
/// Changes of the URL within one body.
const CHANGES_MAX: u32 = 16;

/// The body under way.
pub(super) struct Relay {
    places: Arc<Places>,
    want: OriginGet,
    index: usize,
    bytes: BoxStream<Result<Bytes, OriginError>>,
    /// What the whole resource is long.
    len: Option<u64>,
    /// Where in it the next byte belongs, and where the body ends; known to bodies that may go on elsewhere.
    at: u64,
    end: Option<u64>,
    changes: u32,
    over: bool,
}

impl Relay {
    /// `body` of `want`, which `index` gives, with all others to take over.
    pub(super) fn over(places: Arc<Places>, want: OriginGet, index: usize, body: OriginBody) -> OriginBody {
        let OriginBody { head, bytes } = body;
        let len = head.len;
        // A range that reaches beyond the end is answered up to there.
        let end = want.range.map_or(len.filter(|_| head.ranges), |range| {
            Some(len.map_or(range.end(), |len| range.end().min(len)))
        });
        let at = want.range.map_or(0, |range| range.start());
        // What goes on elsewhere must be the same version.
        let want = OriginGet { validator: head.validator.clone().or(want.validator), len, ..want };
        let relay = Self { places, want, index, bytes, len, at, end, changes: 0, over: false };
        let bytes = stream::unfold(relay, |mut relay| async move {
            if relay.over {
                return None;
            }
            let item = relay.next().await?;
            relay.over = item.is_err();
            Some((item, relay))
        });
        OriginBody { head, bytes: Box::pin(bytes) }
    }

    async fn next(&mut self) -> Option<Result<Bytes, OriginError>> {
        loop {
            let why = match self.item().await {
                Some(Ok(bytes)) => {
                    self.note(&bytes);
                    return Some(Ok(bytes));
                }
                None => return None,
                Some(Err(why)) => why,
            };
            if let Err(why) = self.go_on(why).await {
                return Some(Err(why));
            }
        }
    }

    /// What the body brings, from another URL if this one is late and that is not; an error also if it is silent and there is
    /// another.
    async fn item(&mut self) -> Option<Result<Bytes, OriginError>> {
        if !self.may_change() {
            return self.bytes.next().await;
        }
        if let Ok(item) = timeout(LATE, self.bytes.next()).await {
            return item;
        }
        let rest = self.rest().filter(|_| self.places.with(|state, _| state.standings.may_hedge()));
        if let Some(rest) = rest {
            let places = self.places.clone();
            let opened = tokio::select! {
                item = self.bytes.next() => return item,
                opened = places.open(&rest, Some(self.index)) => opened,
            };
            if let Ok((index, body)) = opened {
                tracing::debug!(mirror = self.index, at = self.at, "a body is late; another mirror goes on");
                self.places.with(|state, now| state.standings.failed(now, self.index, false));
                self.changes += 1;
                (self.index, self.bytes) = (index, body.bytes);
                return self.bytes.next().await;
            }
        }
        timeout(SILENT - LATE, self.bytes.next()).await.unwrap_or(Some(Err(OriginError::Silent(SILENT))))
    }

    /// What is still to come, as it is asked of another.
    fn rest(&self) -> Option<OriginGet> {
        let range = ByteRange::new(self.at, self.end?)?;
        Some(OriginGet { range: Some(range), ..self.want.clone() })
    }

    fn note(&mut self, bytes: &Bytes) {
        let (index, at) = (self.index, self.at);
        self.at += bytes.len() as u64;
        if let Some(len) = self.len {
            self.places.with(|state, _| {
                if state.standings.is_proven(index) {
                    state.samples.see(len, at, bytes);
                }
            });
        }
    }

    fn may_change(&self) -> bool {
        let other = self.places.with(|state, now| state.standings.has_other(now, self.index));
        other && self.end.is_some() && self.changes < CHANGES_MAX
    }

    /// Another URL takes over at the byte where this one stopped.
    async fn go_on(&mut self, why: OriginError) -> Result<(), OriginError> {
        let changed = matches!(why, OriginError::Changed { .. });
        self.places.with(|state, now| state.standings.failed(now, self.index, changed));
        let alone = self.places.urls.len() == 1 || self.changes >= CHANGES_MAX;
        let (Some(rest), false) = (self.rest(), alone || (changed && self.index == 0)) else {
            return Err(why);
        };
        self.changes += 1;
        tracing::debug!(mirror = self.index, %why, at = self.at, "another mirror goes on");
        match self.places.open(&rest, Some(self.index)).await {
            Ok((index, body)) => {
                (self.index, self.bytes) = (index, body.bytes);
                Ok(())
            }
            // Its own error says most, but not that the content has changed.
            Err(changed @ OriginError::Changed { .. }) => Err(changed),
            Err(_) => Err(why),
        }
    }
}
