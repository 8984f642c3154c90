//! Old segments leave a live stream in front: nobody wants, gives or claims their pieces any more, and what is kept of a
//! stream stays as large as its window, however long it plays.

use super::{Output, Swarm};
use crate::layout::SegmentId;

/// Empty slots in front are dropped so many at a time: dropping costs a pass over everything that knows slots. A multiple of
/// 64, the width of a word of a [`SlotSet`](crate::schedule::SlotSet).
const DROP: u32 = 1_024;

impl Swarm {
    /// A segment left the window.
    pub(super) fn retire(&mut self, id: SegmentId) {
        let slots = self.board.slots_of(id);
        for flight in self.flights.on(&slots) {
            self.cancel(flight);
        }
        for run in self.origin.touching(&slots) {
            self.drop_run(run);
        }
        self.upload.retire(&slots, &mut self.out);
        self.gossip.retire(&slots);
        self.links.retire(id, &slots);
        self.board.retire(id);
        self.doubts.retire(&slots);
        self.proof.retire(id, slots);
        self.readers.retire(id);
        self.break_readers_of_gone();
        self.out.push_back(Output::Forget(id));
        self.drop_front();
        self.dirty = true;
    }

    fn drop_front(&mut self) {
        let count = self.board.empty_front() / DROP * DROP;
        if count == 0 {
            return;
        }
        self.board.drop_front(count);
        self.proof.drop_front(count);
        self.doubts.drop_front(count);
        self.links.drop_front(count);
        self.flights.drop_front(count);
        self.origin.drop_front(count);
        self.upload.drop_front(count);
        self.gossip.drop_front(count);
    }
}
