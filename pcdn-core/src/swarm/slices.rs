//! Continuous streams: no playlist lists their segments, so whoever cuts one tells its neighbours, and they theirs.
//!
//! A feeder reads the stream from the origin and cuts it: its slices come with their bytes. The others hear of a slice, take its
//! pieces from whoever has them, and read the origin themselves only to start at once or when nobody feeds.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::{Output, Source, Swarm};
use crate::fragment::Slice;
use crate::id::PeerId;
use crate::layout::SegmentId;
use crate::schedule::{Handle, Neighbour, Slot};
use crate::unit::Time;
use crate::verify::list;
use crate::wire::{Message, SETUP_BYTES_MAX, SliceNote};

/// Notes remembered, to know what is news and to greet newcomers with: a minute and more of slices of a quarter of a second.
const NOTES_MAX: usize = 256;
/// A newcomer is told this many of them: where a player starts, and some to go back. With 2 s from keyframe to keyframe that are
/// 16 s of parts.
const GREETING: usize = 40;
/// The stream's newest slices, in the order in which they became known.
#[derive(Debug, Default)]
pub(super) struct Slices {
    notes: VecDeque<SliceNote>,
}

impl Slices {
    /// What a newcomer is told.
    pub(super) fn newest(&self) -> Vec<SliceNote> {
        self.notes.iter().skip(self.notes.len().saturating_sub(GREETING)).cloned().collect()
    }

    /// Whether there are any, so that this is a stream of them.
    pub(super) fn flow(&self) -> bool {
        !self.notes.is_empty()
    }

    fn add(&mut self, note: SliceNote) {
        self.notes.push_back(note);
        if self.notes.len() > NOTES_MAX {
            self.notes.pop_front();
        }
    }
}

impl Swarm {
    /// A slice of this node's own connection to the origin, with its bytes.
    pub(super) fn sliced(&mut self, now: Time, slice: Slice) {
        let Slice { segment, bytes, setup, before, offset } = slice;
        let (id, layout) = (segment.id, segment.layout);
        if setup.len() > SETUP_BYTES_MAX || layout.len() != bytes.len() as u64 {
            return;
        }
        let note = SliceNote {
            segment: id,
            layout,
            before,
            duration_ms: segment.duration.map_or(0, millis),
            offset_ms: millis(offset),
            discontinuity: segment.discontinuity,
            setup,
        };
        let settled = !segment.discontinuity;
        self.add(now, segment);
        self.proof.speak(id, settled);
        self.own_segment(now, id, &bytes);
        self.spread(note);
    }

    /// The shell took up a slice it was told of: its neighbours hear of it, too.
    pub(super) fn spread(&mut self, note: SliceNote) {
        // Content may repeat: the same slice in another place is news.
        let same = |known: &SliceNote| known.segment == note.segment && known.before == note.before;
        if !self.slices.notes.iter().any(same) {
            self.tell_all(&Message::Slice(note.clone()));
            self.slices.add(note);
        }
    }

    /// A neighbour tells of a slice. Whoever cuts the stream hears every neighbour: what most of them tell is the stream.
    pub(super) fn slice_noted(&mut self, link: Handle, note: SliceNote) {
        self.out.push_back(Output::Heard { link, note });
    }

    /// Who could give all of a segment and vouch for it: neighbours that hold it and, where no publisher signs it, are vetted
    /// witnesses of every piece.
    pub fn backers(&self, segment: SegmentId) -> Vec<PeerId> {
        let slots = self.board.slots_of(segment);
        let signed = self.proof.has_manifest() && self.is_provable(segment);
        let backs = |neighbour: &&Neighbour| {
            slots.clone().all(|slot| neighbour.holds.get(slot))
                && (signed || self.proof.vouches(&neighbour.peer, slots.clone()))
        };
        let all = self.links.all().iter().filter(|_| !slots.is_empty());
        all.filter(backs).map(|neighbour| neighbour.peer).collect()
    }

    /// How many neighbours have all of `old` from others, as far as is known, and how many of them do not have all of `new`.
    pub fn reach(&self, old: SegmentId, new: SegmentId) -> (usize, usize) {
        let (old, new) = (self.board.slots_of(old), self.board.slots_of(new));
        let has =
            |neighbour: &Neighbour, slots: &Range<u32>| slots.clone().all(|slot| neighbour.holds.get(slot));
        let follows = |neighbour: &&Neighbour| {
            !old.is_empty() && has(neighbour, &old) && !self.proof.vouches(&neighbour.peer, old.clone())
        };
        let followers = self.links.all().iter().filter(follows);
        followers.fold((0, 0), |(all, late), neighbour| (all + 1, late + usize::from(!has(neighbour, &new))))
    }

    /// Whether every piece of a segment could be proven by what others say of it.
    pub fn is_provable(&self, segment: SegmentId) -> bool {
        let mut slots = self.board.slots_of(segment).peekable();
        slots.peek().is_some() && slots.all(|slot| self.board.piece(Slot(slot)).provable)
    }

    /// All bytes of a segment, read from the origin by this node.
    fn own_segment(&mut self, now: Time, id: SegmentId, bytes: &Bytes) {
        let Some(layout) = self.board.segment(id).map(|segment| segment.layout) else { return };
        self.report.from_origin += bytes.len() as u64;
        for (piece, slot) in layout.iter().zip(self.board.slots_of(id).map(Slot)) {
            let range = layout.bytes_of(piece);
            let bytes = bytes.slice(range.start as usize..range.end as usize);
            let key = self.board.piece(slot).key;
            let digest = list::digest(&layout, piece, &bytes);
            for liar in self.proof.own(slot, &key, digest, &mut self.board) {
                self.report.rejected_pieces += 1;
                self.ban(now, liar, "it said the origin has other bytes");
            }
            if self.board.piece(slot).held {
                self.report.wasted += bytes.len() as u64;
                continue;
            }
            self.cancel_others(slot);
            self.keep(now, slot, bytes, digest, Source::Origin);
        }
    }
}

fn millis(duration: std::time::Duration) -> u32 {
    duration.as_millis().min(u128::from(u32::MAX)) as u32
}
