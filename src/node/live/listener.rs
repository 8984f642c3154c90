//! One player of a broadcast: it is given slices in order, as one stream.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use pcdn_media::flv::Kinds;
use pcdn_media::flv::join::{Output, SliceView};
use pcdn_media::flv::order::Place;

use super::Broadcast;
use super::tape::{Kept, Next};

/// One player's view of a broadcast.
#[derive(Debug)]
pub struct Listener {
    broadcast: Broadcast,
    at: Option<Place>,
    output: Option<Output>,
    sources: (u64, u64, u64),
}

impl Listener {
    pub(super) fn new(broadcast: Broadcast) -> Self {
        broadcast.inner.listeners.fetch_add(1, Ordering::Relaxed);
        Self { broadcast, at: None, output: None, sources: (0, 0, 0) }
    }

    /// The next bytes for the player; `None` when the stream is over.
    pub async fn next(&mut self) -> Option<Bytes> {
        loop {
            let broadcast = self.broadcast.clone();
            let news = broadcast.inner.news.notified();
            match self.take() {
                Next::Slice(place, kept) => return Some(self.put(place, &kept)),
                Next::Over => return None,
                Next::Wait => news.await,
            }
        }
    }

    /// Bytes so far from (cache, origin, peers).
    pub fn sources(&self) -> (u64, u64, u64) {
        self.sources
    }

    fn take(&mut self) -> Next {
        let tape = self.broadcast.tape();
        match self.at {
            Some(at) => tape.after(at),
            None => tape.start(self.broadcast.inner.live_start),
        }
    }

    fn put(&mut self, place: Place, kept: &Kept) -> Bytes {
        self.at = Some(place);
        self.broadcast.inner.began.store(true, Ordering::Relaxed);
        let len = kept.bytes.len() as u64;
        if kept.own {
            self.sources.1 += len;
        } else {
            self.sources.2 += len;
        }
        let view = SliceView {
            bytes: &kept.bytes,
            setup: &kept.setup,
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
    }
}
