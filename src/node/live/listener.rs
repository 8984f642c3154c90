//! One player of a broadcast: it is given slices in order, as one stream.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use pcdn_media::flv::Kinds;
use pcdn_media::flv::join::{Output, SliceView};
use pcdn_media::flv::order::Place;
use tokio::time::Instant;

use super::Broadcast;
use super::tape::{Kept, Next};

/// Players keep about so much: they begin once they have it.
const KEPT: Duration = Duration::from_secs(1);
/// A player that has nothing left waits so long for what is on its way, before it goes on behind it: a connection to the origin
/// gives it within that, and a player that begins with the first picture has little in hand.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// One player's view of a broadcast.
#[derive(Debug)]
pub struct Listener {
    broadcast: Broadcast,
    at: Option<Place>,
    output: Option<Output>,
    /// Tells listeners of a broadcast apart.
    number: u64,
    /// How much it was given before it had [`KEPT`].
    first: Duration,
    /// When a player that began then has played all it was given.
    dry: Option<Instant>,
    sources: (u64, u64, u64),
}

impl Listener {
    pub(super) fn new(broadcast: Broadcast) -> Self {
        broadcast.inner.listeners.fetch_add(1, Ordering::Relaxed);
        let number = broadcast.inner.numbers.fetch_add(1, Ordering::Relaxed);
        Self {
            broadcast,
            at: None,
            output: None,
            number,
            first: Duration::ZERO,
            dry: None,
            sources: (0, 0, 0),
        }
    }

    /// The next bytes for the player; `None` when the stream is over.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let broadcast = self.broadcast.clone();
            let news = broadcast.inner.news.notified();
            match (self.take(), self.gives_up().filter(|until| *until > Instant::now())) {
                (Next::Slice(place, kept), _) => return Some(self.put(place, &kept)),
                (Next::Over, _) => return None,
                // Then what lies behind a gap is looked at again.
                (Next::Wait, Some(until)) => drop(tokio::time::timeout_at(until, news).await),
                (Next::Wait, None) => news.await,
            }
        }
    }

    /// Bytes so far from (cache, origin, peers).
    pub fn sources(&self) -> (u64, u64, u64) {
        self.sources
    }

    /// When it is of no use any more to wait for what is on its way.
    fn gives_up(&self) -> Option<Instant> {
        self.dry.map(|dry| dry + GRACE)
    }

    fn take(&mut self) -> Next {
        let tape = self.broadcast.tape();
        match self.at {
            Some(at) => tape.after(at, self.gives_up().is_some_and(|until| until <= Instant::now())),
            None => tape.start(self.broadcast.inner.live_start),
        }
    }

    fn put(&mut self, place: Place, kept: &Kept) -> Bytes {
        self.at = Some(place);
        let now = Instant::now();
        // Who had nothing for so long gathers anew before it goes on.
        if self.gives_up().is_some_and(|until| until <= now) {
            (self.first, self.dry) = (Duration::ZERO, None);
        }
        self.first += kept.duration;
        self.dry = match self.dry {
            Some(dry) => Some(dry.max(now) + kept.duration),
            None => (self.first >= KEPT).then(|| now + self.first),
        };
        self.broadcast.tape().plays(self.number, self.dry);
        let len = kept.bytes.len() as u64;
        if kept.own {
            self.sources.1 += len;
        } else {
            self.sources.2 += len;
        }
        let view = SliceView {
            bytes: &kept.bytes,
            setup: &kept.setup,
            offset: kept.offset,
            start: None,
            duration: Some(kept.duration).filter(|duration| !duration.is_zero()),
        };
        match &mut self.output {
            Some(output) => output.push(&view),
            None => {
                let mut output = Output::new(Kinds::of(&kept.bytes));
                let head = output.head(&kept.setup);
                let first = output.push(&view);
                self.output = Some(output);
                [head, first].concat().into()
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.broadcast.inner.listeners.fetch_sub(1, Ordering::Relaxed);
        self.broadcast.tape().left(self.number);
    }
}
