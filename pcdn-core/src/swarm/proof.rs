//! Which bytes are right: anchors, witnesses, audits, bans.
//!
//! *Signed*: a manifest gives every piece's digest. *Witnessed*: `k` nodes that fetched the piece from the origin say the same,
//! each of them vetted: what it says of at least [`VETTED`] pieces was compared with this node's own copy from the origin, or with
//! one that vetted witnesses proved. (A live stream's followers have no copies of their own to vet a new feeder with.)
//! Any contradiction leaves the piece to the origin, which settles who lied. *Sampled*: everything passes, and a part is
//! fetched again from the origin to compare.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::board::Board;
use super::{Swarm, TICK};
use crate::bitmap::Bitmap;
use crate::dice::Dice;
use crate::id::{Digest, PeerId};
use crate::layout::{PieceKey, SegmentId};
use crate::schedule::{Handle, Slot};
use crate::unit::Time;
use crate::verify::witness::Statement;
use crate::verify::{Integrity, Manifest, PieceList};

/// Matches with this node's own copies before a witness counts. Each costs one piece from the origin that the node would need
/// anyway; a liar about a part p of its pieces passes with (1 − p)².
const VETTED: u32 = 2;
/// Part of the pieces fetched again on the sampled rung (reliability notes: 1–2 %).
const SAMPLE: f64 = 0.02;
/// Audits under way at once.
const AUDITS: usize = 2;
/// Witnesses remembered, so that made-up ones cannot fill the memory.
const WITNESSES_MAX: usize = 512;
/// Statements on segments that are not cut yet: of ten witnesses on the newest segments. Their signatures are checked when they
/// are used.
const EARLY_MAX: usize = 64;
/// Bans kept (reliability notes: 4096).
const BANS_MAX: usize = 4_096;

/// What a piece from a peer turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is right, by this rung.
    Right(Integrity),
    /// It is wrong.
    Wrong,
    /// It cannot be said (any more).
    Unknown,
}

#[derive(Debug)]
pub(super) struct Proof {
    min: Integrity,
    k: u8,
    trust: Option<PeerId>,
    manifest: Option<Arc<Manifest>>,
    /// From manifests before the newest, of segments still on the board: a live stream's manifest names the newest only.
    lists: BTreeMap<SegmentId, PieceList>,
    raw: Option<Bytes>,
    /// For each slot: who fetched it from the origin and what it was then.
    said: Vec<Vec<(u16, Digest)>>,
    own: Vec<Option<Digest>>,
    witnesses: Vec<Witness>,
    index: BTreeMap<PeerId, u16>,
    statements: BTreeMap<SegmentId, BTreeMap<PeerId, Statement>>,
    /// On segments that are not cut here yet: others may load the playlist a moment sooner.
    early: VecDeque<Statement>,
    unsaid: BTreeSet<SegmentId>,
    /// Own copies this node does not speak for, nor give on: slices cut before it could know where everybody cuts. Who counts on
    /// it would be left alone with the next one.
    quiet: BTreeSet<SegmentId>,
    /// Segments that nobody but the origin is to give: see [`doubt`](super::doubt).
    alone: BTreeSet<SegmentId>,
    banned: BTreeSet<PeerId>,
    sampled: BTreeMap<Slot, PeerId>,
    next_audit: Time,
}

#[derive(Debug)]
struct Witness {
    peer: PeerId,
    matches: u32,
    banned: bool,
}

impl Proof {
    pub(super) fn new(min: Integrity, k: u8, trust: Option<PeerId>) -> Self {
        Self {
            min,
            k: k.max(1),
            trust,
            manifest: None,
            lists: BTreeMap::new(),
            raw: None,
            said: Vec::new(),
            own: Vec::new(),
            witnesses: Vec::new(),
            index: BTreeMap::new(),
            statements: BTreeMap::new(),
            early: VecDeque::new(),
            unsaid: BTreeSet::new(),
            quiet: BTreeSet::new(),
            alone: BTreeSet::new(),
            banned: BTreeSet::new(),
            sampled: BTreeMap::new(),
            next_audit: Time::ZERO,
        }
    }

    /// Origin copies the swarm needs: one where a digest is known or everything passes, else one for each witness.
    pub(super) fn copies_wanted(&self) -> u8 {
        match (self.manifest.is_some(), self.min) {
            (true, _) | (false, Integrity::Sampled) => 1,
            _ => self.k,
        }
    }

    /// Whether this node shall say what it fetched.
    pub(super) fn witnesses(&self) -> bool {
        self.manifest.is_none() && self.min <= Integrity::Witnessed
    }

    /// A segment left: nothing more is to be said of it.
    pub(super) fn retire(&mut self, id: SegmentId, slots: std::ops::Range<u32>) {
        self.lists.remove(&id);
        self.statements.remove(&id);
        self.unsaid.remove(&id);
        self.quiet.remove(&id);
        self.alone.remove(&id);
        for slot in slots {
            self.said[slot as usize].clear();
            self.own[slot as usize] = None;
            self.sampled.remove(&Slot(slot));
        }
    }

    /// The first `count` slots are gone.
    pub(super) fn drop_front(&mut self, count: u32) {
        self.said.drain(..count as usize);
        self.own.drain(..count as usize);
        let sampled = std::mem::take(&mut self.sampled);
        self.sampled = sampled.into_iter().map(|(slot, peer)| (slot.down(count), peer)).collect();
    }

    fn remember_early(&mut self, statement: Statement) {
        if !self.witnesses() {
            return;
        }
        // The newest of a witness says all it said before.
        let same =
            |other: &Statement| other.segment == statement.segment && other.witness == statement.witness;
        self.early.retain(|other| !same(other));
        self.early.push_back(statement);
        if self.early.len() > EARLY_MAX {
            self.early.pop_front();
        }
    }

    /// What was said of a segment before it was cut here.
    pub(super) fn take_early(&mut self, id: SegmentId) -> Vec<Statement> {
        let (of, rest) = std::mem::take(&mut self.early).into_iter().partition(|s| s.segment == id);
        self.early = rest;
        Vec::from_iter::<VecDeque<Statement>>(of)
    }

    /// There are new pieces on the board.
    pub(super) fn grow(&mut self, board: &mut Board) {
        let known = self.said.len() as u32;
        self.said.resize(board.count() as usize, Vec::new());
        self.own.resize(board.count() as usize, None);
        (known..board.count()).for_each(|slot| self.refresh(Slot(slot), board));
    }

    /// Takes a manifest; one that is older than what is known is left.
    pub(super) fn set_manifest(&mut self, manifest: Arc<Manifest>, raw: Option<Bytes>, board: &mut Board) {
        if let Some(old) = &self.manifest {
            if manifest.seq < old.seq {
                return;
            }
            let old = old.clone();
            let kept = board.segment_ids().filter_map(|id| Some((id, old.list(id)?.clone())));
            self.lists.extend(kept.filter(|(id, _)| manifest.list(*id).is_none()));
        }
        self.manifest = Some(manifest);
        self.raw = raw;
        self.unsaid.clear();
        // What contradicted the one before may be what this one says.
        self.alone.clear();
        (0..board.count()).for_each(|slot| self.refresh(Slot(slot), board));
    }

    pub(super) fn raw_manifest(&self) -> Option<&Bytes> {
        self.raw.as_ref()
    }

    pub(super) fn has_manifest(&self) -> bool {
        self.manifest.is_some()
    }

    pub(super) fn trusts(&self, manifest: &Manifest) -> bool {
        self.trust.is_some_and(|key| key == manifest.signer)
    }

    fn refresh(&self, slot: Slot, board: &mut Board) {
        let piece = board.piece(slot);
        let (key, copies) = (piece.key, self.copies(slot));
        let provable = self.expected(slot, &key).is_some()
            || (self.min == Integrity::Sampled && self.manifest.is_none());
        let piece = board.piece_mut(slot);
        piece.provable = provable && !self.alone.contains(&key.segment);
        piece.copies = copies;
    }

    fn copies(&self, slot: Slot) -> u8 {
        let others =
            self.said[slot.0 as usize].iter().filter(|(who, _)| !self.witnesses[*who as usize].banned);
        let own = usize::from(self.own[slot.0 as usize].is_some());
        (others.count() + own).min(255) as u8
    }

    /// What the piece must be, and by which rung.
    fn expected(&self, slot: Slot, key: &PieceKey) -> Option<(Digest, Integrity)> {
        if let Some(manifest) = &self.manifest {
            let list = manifest.list(key.segment).or_else(|| self.lists.get(&key.segment))?;
            return Some((list.get(key.piece)?, Integrity::Signed));
        }
        if self.min > Integrity::Witnessed {
            return None;
        }
        let mut agreed: Option<Digest> = None;
        let mut count = 0;
        for (who, digest) in &self.said[slot.0 as usize] {
            let witness = &self.witnesses[*who as usize];
            if witness.banned || witness.matches < VETTED {
                continue;
            }
            match agreed {
                Some(other) if other != *digest => return None,
                _ => agreed = Some(*digest),
            }
            count += 1;
        }
        agreed.filter(|_| count >= u32::from(self.k)).map(|digest| (digest, Integrity::Witnessed))
    }

    pub(super) fn judge(&self, slot: Slot, key: &PieceKey, digest: &Digest) -> Verdict {
        match self.expected(slot, key) {
            Some((want, level)) if want == *digest => Verdict::Right(level),
            Some(_) => Verdict::Wrong,
            None if self.min == Integrity::Sampled && self.manifest.is_none() => {
                Verdict::Right(Integrity::Sampled)
            }
            None => Verdict::Unknown,
        }
    }

    /// Whether nobody has said what a piece is: this node's own copy is all there is to go by.
    pub(super) fn is_untold(&self, slot: Slot, key: &PieceKey) -> bool {
        self.said[slot.0 as usize].is_empty() && self.expected(slot, key).is_none()
    }

    /// Whether a piece of this digest may be given on: not if a manifest contradicts this node's own copy, or it does not speak
    /// for that.
    pub(super) fn may_share(&self, slot: Slot, key: &PieceKey, digest: &Digest) -> bool {
        !self.quiet.contains(&key.segment) && self.judge(slot, key, digest) != Verdict::Wrong
    }

    /// This node fetched the piece from the origin itself. Returns who is thereby proven to have lied.
    pub(super) fn own(
        &mut self,
        slot: Slot,
        key: &PieceKey,
        digest: Digest,
        board: &mut Board,
    ) -> Vec<PeerId> {
        // What was compared with an equal copy before is no second match.
        let known = self.compared(slot, board) == Some(digest);
        self.own[slot.0 as usize] = Some(digest);
        self.unsaid.insert(key.segment);
        let mut liars = Vec::new();
        let said = self.said[slot.0 as usize].clone();
        for (who, other) in said {
            let witness = &self.witnesses[who as usize];
            if witness.banned || (known && other == digest) {
                continue;
            }
            if other == digest {
                self.matched(who, board);
            } else {
                liars.push(witness.peer);
            }
        }
        if let Some(giver) = self.sampled.remove(&slot)
            && board.fact(slot).digest.is_some_and(|had| had != digest)
        {
            liars.push(giver);
        }
        self.refresh(slot, board);
        liars
    }

    /// Whether this node speaks for its own copy of a segment, which is to come.
    pub(super) fn speak(&mut self, id: SegmentId, speaks: bool) {
        match speaks {
            true => self.quiet.remove(&id),
            false => self.quiet.insert(id),
        };
    }

    /// The piece came from a peer, and `k` vetted witnesses say it is right: whoever else said the same is vetted by it, too.
    pub(super) fn proven(&mut self, slot: Slot, digest: &Digest, board: &mut Board) {
        let said = self.said[slot.0 as usize].clone();
        for (who, _) in said.iter().filter(|(_, other)| other == digest) {
            self.matched(*who, board);
        }
    }

    fn matched(&mut self, who: u16, board: &mut Board) {
        let witness = &mut self.witnesses[who as usize];
        witness.matches = witness.matches.saturating_add(1);
        if witness.matches == VETTED && !witness.banned {
            self.refresh_all_of(who, board);
        }
    }

    /// Whether what `peer` says counts, so that pieces may be here on its word.
    pub(super) fn is_heard(&self, peer: &PeerId) -> bool {
        let vetted = |who: &u16| self.witnesses[*who as usize].matches >= VETTED;
        self.min == Integrity::Sampled || self.index.get(peer).is_some_and(vetted)
    }

    /// Nobody but the origin is to give a segment from now on; false if it was so already.
    pub(super) fn leave_to_origin(&mut self, id: SegmentId, board: &mut Board) -> bool {
        let new = self.alone.insert(id);
        board.slots_of(id).for_each(|slot| self.refresh(Slot(slot), board));
        new
    }

    /// Whether `peer` is a vetted witness of all these slots.
    pub(super) fn vouches(&self, peer: &PeerId, slots: std::ops::Range<u32>) -> bool {
        let Some(who) = self.index.get(peer) else { return false };
        let witness = &self.witnesses[*who as usize];
        let said = |slot: u32| self.said[slot as usize].iter().any(|(other, _)| other == who);
        !witness.banned && witness.matches >= VETTED && !slots.is_empty() && slots.into_iter().all(said)
    }

    fn refresh_all_of(&self, who: u16, board: &mut Board) {
        for slot in 0..board.count() {
            if self.said[slot as usize].iter().any(|(other, _)| *other == who) {
                self.refresh(Slot(slot), board);
            }
        }
    }

    /// Takes a statement whose signature was checked; returns the witness if it is thereby proven to lie.
    fn hear(&mut self, statement: Statement, board: &mut Board) -> Option<PeerId> {
        let peer = statement.witness;
        let who = match self.index.get(&peer) {
            Some(who) => *who,
            None if self.witnesses.len() >= WITNESSES_MAX => return None,
            None => {
                let who = self.witnesses.len() as u16;
                self.witnesses.push(Witness { peer, matches: 0, banned: false });
                self.index.insert(peer, who);
                who
            }
        };
        let first = board.slots_of(statement.segment).start;
        for (piece, digest) in statement.entries() {
            let slot = Slot(first + piece);
            let entries = &mut self.said[slot.0 as usize];
            match entries.iter().find(|(other, _)| *other == who) {
                Some((_, before)) if *before != digest => return Some(peer),
                Some(_) => continue,
                None => entries.push((who, digest)),
            }
            if self.own[slot.0 as usize].is_some_and(|own| own != digest) {
                return Some(peer);
            }
            if self.compared(slot, board) == Some(digest) {
                self.matched(who, board);
            }
            self.refresh(slot, board);
        }
        self.statements.entry(statement.segment).or_default().insert(peer, statement);
        None
    }

    /// What others' word on a piece is compared with: this node's own copy from the origin, or one that witnesses proved.
    fn compared(&self, slot: Slot, board: &Board) -> Option<Digest> {
        let proven = || board.piece(slot).held.then(|| board.fact(slot).digest).flatten();
        self.own[slot.0 as usize].or_else(|| proven().filter(|_| self.min == Integrity::Witnessed))
    }

    /// All statements on a segment, to be carried to others.
    pub(super) fn statements(&self, segment: SegmentId) -> Vec<Statement> {
        self.statements.get(&segment).map(|all| all.values().take(8).cloned().collect()).unwrap_or_default()
    }

    pub(super) fn remember(&mut self, slot: Slot, giver: Option<PeerId>, dice: &mut Dice, level: Integrity) {
        if let (Some(giver), Integrity::Sampled) = (giver, level)
            && dice.chance(SAMPLE)
        {
            self.sampled.insert(slot, giver);
        }
    }

    /// Bans; false if it was already.
    pub(super) fn ban(&mut self, peer: PeerId, board: &mut Board) -> bool {
        if self.banned.len() >= BANS_MAX {
            self.banned.pop_first();
        }
        if !self.banned.insert(peer) {
            return false;
        }
        if let Some(who) = self.index.get(&peer).copied() {
            self.witnesses[who as usize].banned = true;
            self.refresh_all_of(who, board);
        }
        true
    }

    pub(super) fn is_banned(&self, peer: &PeerId) -> bool {
        self.banned.contains(peer)
    }

    pub(super) fn banned(&self) -> Vec<PeerId> {
        self.banned.iter().copied().collect()
    }

    /// A piece to fetch from the origin to learn whom to believe.
    fn audit(&self, board: &Board, dice: &mut Dice) -> Option<Slot> {
        if let Some(slot) = self.sampled.keys().find(|slot| !board.piece(**slot).fetching) {
            return Some(*slot);
        }
        if !self.witnesses() {
            return None;
        }
        let open = |slot: u32| {
            let piece = board.piece(Slot(slot));
            !piece.held && !piece.fetching
        };
        // Of all pieces an unvetted witness spoke of, one drawn by lot: it cannot know which.
        let candidates: Vec<u32> = (0..board.count())
            .filter(|slot| open(*slot))
            .filter(|slot| {
                self.said[*slot as usize].iter().any(|(who, _)| {
                    let witness = &self.witnesses[*who as usize];
                    !witness.banned && witness.matches < VETTED
                })
            })
            .collect();
        dice.pick(&candidates).map(|slot| Slot(*slot))
    }
}

impl Swarm {
    pub(super) fn manifest(&mut self, manifest: Arc<Manifest>, raw: Option<Bytes>) {
        self.proof.set_manifest(manifest, raw, &mut self.board);
        for slot in (0..self.board.count()).map(Slot) {
            if let Some(digest) = self.board.fact(slot).digest {
                let key = self.board.piece(slot).key;
                let shared = self.proof.may_share(slot, &key, &digest);
                self.board.fact_mut(slot).shared = shared;
            }
        }
        self.dirty = true;
    }

    pub(super) fn witness_came(&mut self, now: Time, link: Option<Handle>, statement: Statement) {
        if self.board.segment(statement.segment).is_none() {
            return self.proof.remember_early(statement);
        }
        let known = self.board.segment(statement.segment).is_some_and(|s| s.layout == statement.layout);
        let me = statement.witness == self.me;
        if !known || me || !self.proof.witnesses() || self.proof.is_banned(&statement.witness) {
            return;
        }
        // The same statement again costs no signature check.
        let old = self.proof.statements.get(&statement.segment).and_then(|all| all.get(&statement.witness));
        if old == Some(&statement) || !statement.is_signed() {
            return;
        }
        if link.and_then(|link| self.links.peer_of(link)) == Some(statement.witness) {
            self.relay_later(&statement);
        }
        let segment = statement.segment;
        if let Some(liar) = self.proof.hear(statement, &mut self.board) {
            if self.proof.is_heard(&liar) {
                self.doubt(now, segment);
            }
            self.report.rejected_pieces += 1;
            self.ban(now, liar, "it contradicts the origin or itself");
        }
        self.dirty = true;
    }

    /// Statements on what this node fetched since it last said so, one a segment.
    pub(super) fn own_statements(&mut self) -> Vec<Statement> {
        if !self.proof.witnesses() {
            return Vec::new();
        }
        let segments = std::mem::take(&mut self.proof.unsaid);
        segments.into_iter().filter_map(|id| self.own_statement(id)).collect()
    }

    /// What this node says of a segment, if it fetched any of it from the origin.
    pub(super) fn own_statement(&self, id: SegmentId) -> Option<Statement> {
        if self.proof.quiet.contains(&id) {
            return None;
        }
        let layout = self.board.segment(id)?.layout;
        let mut pieces = Bitmap::new(layout.pieces());
        let mut digests = Vec::new();
        for (i, slot) in self.board.slots_of(id).enumerate() {
            if let Some(digest) = self.proof.own[slot as usize] {
                pieces.set(i as u32);
                digests.push(digest);
            }
        }
        let some = !digests.is_empty();
        some.then(|| Statement::sign(&self.setup.identity, self.setup.key, id, layout, pieces, digests))
    }

    /// Draws what to compare with the origin.
    pub(super) fn audit(&mut self, now: Time) {
        let waits = now < self.proof.next_audit || self.origin.audits() >= AUDITS;
        if waits || !self.setup.take || self.board.missing() == 0 && self.proof.sampled.is_empty() {
            return;
        }
        if let Some(slot) = self.proof.audit(&self.board, &mut self.dice) {
            self.proof.next_audit = now + TICK / 2;
            self.fetch_to_audit(now, slot);
        }
    }
}
