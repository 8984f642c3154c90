//! Readers that are told that what they wait for does not come.

use super::{Reader, Swarm};
use crate::layout::SegmentId;
use crate::origin::OriginError;
use crate::swarm::{Output, ReaderId};
use crate::unit::Time;

impl Swarm {
    /// The origin failed: readers that wait for what nobody else has are told.
    pub(in crate::swarm) fn break_readers(&mut self, why: OriginError) {
        let broken = self.readers.all.iter().filter(|(_, reader)| self.is_lost(reader.at)).map(|(id, _)| *id);
        self.break_all(broken.collect(), why);
    }

    /// The same for those who get there after the origin has failed for good.
    pub(super) fn break_stranded(&mut self, now: Time) {
        let why =
            |reader: &Reader| self.origin.hopeless(now, reader.waits?).filter(|_| self.is_lost(reader.at));
        let stranded =
            self.readers.all.iter().filter_map(|(id, reader)| Some((*id, why(reader)?.to_owned())));
        for (id, why) in stranded.collect::<Vec<_>>() {
            self.break_all(vec![id], OriginError::Unreachable { why });
        }
    }

    /// Readers that are at `segment` are told.
    pub(in crate::swarm) fn break_readers_of(&mut self, segment: SegmentId, why: OriginError) {
        let at =
            |reader: &Reader| self.board.slot_at(reader.at).map(|slot| self.board.piece(slot).key.segment);
        let broken = self.readers.all.iter().filter(|(_, reader)| at(reader) == Some(segment));
        let broken = broken.map(|(id, _)| *id).collect();
        self.break_all(broken, why);
    }

    /// Readers that were given more of `segment` than what lies before byte `at` are told.
    pub(in crate::swarm) fn break_readers_beyond(&mut self, segment: SegmentId, at: u64, why: OriginError) {
        let end = self.board.segment(segment).map_or(0, |segment| segment.offset + segment.layout.len());
        let beyond = |reader: &Reader| at < reader.at && reader.at < end.min(reader.end);
        let broken = self.readers.all.iter().filter(|(_, reader)| beyond(reader)).map(|(id, _)| *id);
        self.break_all(broken.collect(), why);
    }

    /// What has left never comes any more.
    pub(in crate::swarm) fn break_readers_of_gone(&mut self) {
        let gone = |reader: &Reader| reader.at < reader.end && self.board.is_gone(reader.at);
        let broken = self.readers.all.iter().filter(|(_, reader)| gone(reader)).map(|(id, _)| *id).collect();
        self.break_all(broken, gone_error());
    }

    /// Whether the byte is neither here nor on its way, and nobody has it.
    fn is_lost(&self, at: u64) -> bool {
        let slot = self.board.slot_at(at);
        let missing = slot.map(|slot| self.board.piece(slot)).filter(|piece| !piece.held);
        missing.is_some_and(|piece| !piece.fetching && !piece.offered() && piece.flights == 0)
    }

    fn break_all(&mut self, broken: Vec<ReaderId>, why: OriginError) {
        let text = why.to_string();
        let mut first = Some(why);
        for reader in broken {
            let why = first.take().unwrap_or(OriginError::Unreachable { why: text.clone() });
            self.readers.all.remove(&reader);
            self.out.push_back(Output::Broken { reader, why });
        }
    }
}

pub(super) fn gone_error() -> OriginError {
    OriginError::Other { by: "pcdn", source: "the segment has left the stream".into() }
}
