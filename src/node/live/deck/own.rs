//! What this node's own connection gives: taken as it is, or kept in reserve while neighbours bring what comes before it.

use pcdn_core::fragment::{Segment, Slice};
use pcdn_core::layout::SegmentId;
use pcdn_core::wire::SliceNote;
use pcdn_media::flv;
use pcdn_media::flv::order::Told;
use pcdn_media::flv::seam::{Passed, Seam};

use super::{Deck, OWN};
use crate::node::driver::ToSwarm;
use crate::node::live::tape::Kept;

/// Parts in reserve: the group of pictures a connection begins with, and until the first boundary.
const RESERVE_MAX: usize = 64;
/// Provisional parts kept: neighbours tell of theirs within a fraction of a second, but the first are a whole group of pictures.
const YOUNG_MAX: usize = 32;

impl Deck {
    pub(super) async fn own(&mut self, slice: Slice) -> bool {
        if self.reserve.is_none() || self.broadcast.tape().knows(slice.segment.id) {
            // What came before it neighbours cut as well.
            self.reserve = None;
            return self.take(slice, None).await;
        }
        self.role.cut(slice.segment.id, false, true, None);
        let Some(reserve) = &mut self.reserve else { return true };
        reserve.push_back(slice);
        if reserve.len() > RESERVE_MAX {
            reserve.pop_front();
        }
        true
    }

    /// A neighbour tells of a part that is in reserve: from there on the own connection cuts as all do.
    pub(super) async fn release(&mut self, note: &SliceNote) -> bool {
        let at = self.reserve.as_ref().and_then(|own| own.iter().position(|s| s.segment.id == note.segment));
        let Some(at) = at else { return true };
        // It has a place now, if it can have one.
        if !self.broadcast.tape().knows(note.segment) {
            return true;
        }
        let rest = self.reserve.take().unwrap_or_default().split_off(at);
        for slice in rest {
            if !self.take(slice, None).await {
                return false;
            }
        }
        true
    }

    /// Goes on with what is in reserve, behind what is here.
    pub(super) async fn sew(&mut self) -> bool {
        let (last, parts) = self.broadcast.tape().seam().unzip();
        let mut seam = Seam::behind(&parts.unwrap_or_default());
        let mut own = self.reserve.clone().unwrap_or_default();
        let mut first = None;
        while let Some(slice) = own.pop_front() {
            match seam.pass(&slice) {
                Passed::Before => continue,
                Passed::Across(rest) => first = Some(*rest),
                // Between what is here and what the connection began with is something that is on its way.
                Passed::Behind if self.awaits() => {}
                Passed::Behind => first = Some(slice),
            }
            break;
        }
        let Some(slice) = first else { return true };
        tracing::debug!(slice = ?slice.segment.id, ?last, "goes on with its own connection");
        self.reserve = None;
        let mut live = self.take(slice, last).await;
        for slice in own {
            live = live && self.take(slice, None).await;
        }
        live
    }

    /// Takes a part of the own connection; it comes `after` that one, if it does not say what it comes after.
    async fn take(&mut self, mut slice: Slice, after: Option<SegmentId>) -> bool {
        self.lay(&mut slice.segment);
        slice.before = slice.before.or_else(|| self.shared_before(&slice.segment));
        let told = Told {
            id: slice.segment.id,
            before: slice.before.or(after),
            duration: slice.segment.duration.unwrap_or_default(),
        };
        let kept = Kept {
            bytes: slice.bytes.clone(),
            setup: slice.setup.clone(),
            duration: told.duration,
            offset: slice.offset,
            own: true,
        };
        // A newcomer does not know what is before its first slice; another may.
        let of_it = self.notes.iter().filter(|note| note.segment == told.id);
        let note = of_it.max_by_key(|note| note.before.is_some()).cloned();
        // What neighbours tell of is where everybody cuts, though this connection is too young to know.
        let provisional = flv::provisional(&slice) && note.is_none();
        let left = self.broadcast.tape().in_hand();
        self.role.cut(told.id, slice.offset.is_zero(), provisional, left);
        tracing::debug!(slice = ?told.id, before = ?told.before, provisional, "cut a slice");
        self.broadcast.tape().own(OWN, told, kept);
        self.broadcast.inner.news.notify_waiters();
        if provisional {
            // To be played here; others mostly cut it otherwise.
            self.young.push_back(slice);
            let over = self.young.len().saturating_sub(YOUNG_MAX);
            self.young.drain(..over);
            return true;
        }
        match note {
            Some(note) => self.share_as(slice, &note).await,
            None => self.share(slice).await,
        }
    }

    /// Neighbours tell of a slice that this node's own connection cut before it could know that others cut there, too.
    pub(super) async fn adopt(&mut self, note: &SliceNote) -> bool {
        let Some(at) = self.young.iter().position(|slice| slice.segment.id == note.segment) else {
            return true;
        };
        // What was cut before it is none that others have.
        let Some(slice) = self.young.drain(..=at).next_back() else { return true };
        self.role.adopted(note.segment, slice.offset.is_zero());
        self.share_as(slice, note).await
    }

    /// Shares a slice of the own connection that neighbours tell of: what this node does not know to be before it, they may.
    async fn share_as(&mut self, mut slice: Slice, note: &SliceNote) -> bool {
        slice.before = slice.before.or(note.before);
        self.share(slice).await
    }

    /// What was cut too early to know that others cut it, too, is what the next slice comes after.
    fn shared_before(&self, segment: &Segment) -> Option<SegmentId> {
        self.shared.filter(|(_, end)| segment.start == Some(*end)).map(|(id, _)| id)
    }

    async fn share(&mut self, slice: Slice) -> bool {
        let segment = &slice.segment;
        self.shared = segment.start.zip(segment.duration).map(|(start, lasts)| (segment.id, start + lasts));
        self.told(slice.segment.id);
        self.broadcast.inner.news.notify_waiters();
        self.broadcast.inner.asset.tell(ToSwarm::Sliced(slice)).await.is_ok()
    }
}
