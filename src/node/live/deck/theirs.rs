//! What neighbours tell of: fetched from them, if it has a place in the stream and the own connection does not give it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pcdn_core::fragment::Segment;
use pcdn_core::layout::SegmentId;
use pcdn_core::schedule::Handle;
use pcdn_core::swarm::Expected;
use pcdn_core::verify::PieceList;
use pcdn_core::wire::SliceNote;
use pcdn_media::flv;
use pcdn_media::flv::order::Told;

use super::Deck;
use crate::node::Asset;
use crate::node::driver::ToSwarm;
use crate::node::live::feed::State;
use crate::node::live::tape::{self, Kept};

/// A part told of is fetched so soon that it is here before the player wants it: a part of what it has in hand.
const SOON: Duration = Duration::from_millis(150);
/// Notes kept until the own connection meets them: as many as a neighbour greets with, of a few neighbours.
const NOTES_MAX: usize = 128;

/// A slice whose pieces have all come from neighbours.
#[derive(Debug)]
pub(super) struct Fetched {
    note: SliceNote,
    bytes: Option<Bytes>,
}

impl Deck {
    /// A neighbour tells of a slice: it is fetched if it has a place in the stream.
    pub(super) async fn heard(&mut self, link: Handle, note: SliceNote) -> bool {
        if self.feed.is_on()
            && self.notes.iter().all(|known| (known.segment, known.before) != (note.segment, note.before))
        {
            self.notes.push_back(note.clone());
            let over = self.notes.len().saturating_sub(NOTES_MAX);
            self.notes.drain(..over);
        }
        if !self.adopt(&note).await {
            return false;
        }
        // What is in reserve is not given yet.
        let state = if self.reserve.is_some() { State::Silent } else { self.feed.state() };
        let wanted = self.broadcast.tape().told(u64::from(link.0), told_by(&note), state);
        if !self.release(&note).await {
            return false;
        }
        let wanted = wanted && !self.broadcast.tape().has(note.segment);
        tracing::trace!(link = link.0, slice = ?note.segment, before = ?note.before, wanted, "told of a slice");
        // What is told may be here already: content repeats.
        self.broadcast.inner.news.notify_waiters();
        if wanted { self.follow(note).await } else { true }
    }

    pub(super) fn told(&mut self, id: SegmentId) {
        if let (Some(signed), Some(shared)) = (&mut self.signed, self.node.upgrade()) {
            signed.told(id);
            signed.look(&shared);
        }
    }

    pub(super) async fn follow(&mut self, note: SliceNote) -> bool {
        self.told(note.segment);
        let Some(shared) = self.node.upgrade() else { return false };
        let asset = self.broadcast.inner.asset.clone();
        let mut segment = Segment {
            id: note.segment,
            url: asset.url().clone(),
            range: None,
            layout: note.layout,
            offset: 0,
            start: None,
            duration: Some(Duration::from_millis(u64::from(note.duration_ms))),
            init: false,
            key: true,
            discontinuity: note.discontinuity,
        };
        self.lay(&mut segment);
        let range = segment.offset..segment.offset + segment.layout.len();
        if asset.tell(ToSwarm::Follow(segment, note.clone())).await.is_err() {
            return false;
        }
        let now = shared.clock.now();
        let expect = |segment| Expected { segment, from: now + SOON, until: now + SOON * 2 };
        let expected: Vec<Expected> = self.broadcast.tape().wanted().map(expect).collect();
        let told = asset.tell(ToSwarm::Expect(expected)).await.is_ok();
        let (to, stop) = (self.fetched.0.clone(), shared.stop.clone());
        let patience = tape::missing_after(self.role.rhythm());
        shared.tasks.spawn(async move {
            let gather = gather(&asset, range, &note);
            let bytes = tokio::time::timeout(patience, gather).await.ok().flatten();
            let _ = stop.run_until_cancelled(to.send(Fetched { note, bytes })).await;
        });
        told
    }

    pub(super) fn came(&mut self, fetched: Fetched) -> bool {
        let Fetched { note, bytes } = fetched;
        tracing::debug!(slice = ?note.segment, whole = bytes.is_some(), "a neighbour's slice");
        let duration = Duration::from_millis(u64::from(note.duration_ms));
        match bytes {
            Some(bytes) => {
                self.role.came(note.segment, note.offset_ms == 0, self.feed.is_on());
                let offset = Duration::from_millis(u64::from(note.offset_ms));
                let kept = Kept { bytes, setup: note.setup, duration, offset, own: false };
                self.broadcast.tape().came(note.segment, kept);
            }
            None => self.broadcast.tape().missing(note.segment),
        }
        self.broadcast.inner.news.notify_waiters();
        true
    }
}

pub(super) fn told_by(note: &SliceNote) -> Told {
    let duration = Duration::from_millis(u64::from(note.duration_ms));
    Told { id: note.segment, before: note.before, duration }
}

/// All bytes of a slice, if they are what its number says.
async fn gather(asset: &Asset, range: std::ops::Range<u64>, note: &SliceNote) -> Option<Bytes> {
    let mut reader = asset.follow(range);
    let mut bytes = BytesMut::new();
    while let Some(part) = reader.next().await {
        bytes.extend_from_slice(&part.ok()?);
    }
    let bytes = bytes.freeze();
    if bytes.len() as u64 != note.layout.len() {
        return None;
    }
    let root = PieceList::of(&note.layout, &bytes).root();
    let offset = Duration::from_millis(u64::from(note.offset_ms));
    let right = flv::id_of(&note.setup, offset, &root) == note.segment;
    if !right {
        tracing::warn!(segment = %note.segment, "a slice is not what its number says; it is not played");
    }
    right.then_some(bytes)
}
