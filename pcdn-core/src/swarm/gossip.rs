//! What neighbours tell one another: greetings, holdings, claims, manifests. Whom else there is: [`exchange`](super::exchange).

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::board::Board;
use super::{Introduction, Output, Swarm};
use crate::dice::Dice;
use crate::layout::SegmentId;
use crate::schedule::{Handle, Slot};
use crate::unit::Time;
use crate::verify::Manifest;
use crate::verify::manifest::MANIFEST_BYTES_MAX;
use crate::wire::{HAVE_BYTES_MAX, HAVE_SEGMENTS_MAX, HaveSegment, MANIFEST_PART_BYTES, Message, Status};

/// Holdings are told in batches, never piece by piece (HOUSE: per-piece HAVE is 160 messages a second at live rates).
const HAVE_EVERY: Duration = Duration::from_millis(250);
/// While a node has hardly anything, others wait for every piece of it: holdings are told on every tick. Of a continuous stream
/// they are told so often at most, whenever a slice is whole: its players have a second in hand, and each node on the way
/// from a feeder takes of it.
const HAVE_EARLY: Duration = Duration::from_millis(100);
/// How one is doing is told at least this often while downloading.
const STATUS_EVERY: Duration = Duration::from_millis(1_000);
/// Claims kept of all neighbours.
const CLAIMS_MAX: usize = 1_024;
/// Statements are asked for a segment at most this often.
const ASK_WITNESS_EVERY: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Gossip {
    dice: Dice,
    claims: Vec<Claim>,
    early: VecDeque<EarlyClaim>,
    next_have: Time,
    next_status: Time,
    next_witness: Time,
    incoming: Option<(Handle, BytesMut, u32)>,
    told_complete: bool,
}

/// A claim on a segment that is not cut here yet.
#[derive(Debug)]
struct EarlyClaim {
    link: Handle,
    segment: SegmentId,
    first: u32,
    count: u32,
    until: Time,
}

/// Early claims remembered: of a few neighbours on the newest segments.
const EARLY_MAX: usize = 64;

/// A neighbour fetches slots `first..end` from the origin until `until` or until it has them.
#[derive(Debug)]
struct Claim {
    link: Handle,
    first: u32,
    end: u32,
    until: Time,
}

impl Gossip {
    pub(super) fn new(now: Time, dice: Dice) -> Self {
        Self {
            dice,
            claims: Vec::new(),
            early: VecDeque::new(),
            next_have: now,
            next_status: now,
            next_witness: now,
            incoming: None,
            told_complete: false,
        }
    }
}

impl Gossip {
    /// A neighbour is gone, and what it claimed is nobody's.
    pub(super) fn drop_claims(&mut self, link: Handle, board: &mut Board) {
        self.claims.retain(|claim| {
            let stays = claim.link != link;
            if !stays {
                (claim.first..claim.end).for_each(|slot| unclaim(board, slot));
            }
            stays
        });
    }

    fn remember_early(&mut self, claim: EarlyClaim) {
        self.early.push_back(claim);
        if self.early.len() > EARLY_MAX {
            self.early.pop_front();
        }
    }

    /// Claims of these slots mean nothing any more.
    pub(super) fn retire(&mut self, slots: &std::ops::Range<u32>) {
        self.claims.retain(|claim| claim.end <= slots.start || slots.end <= claim.first);
    }

    /// The first `count` slots are gone.
    pub(super) fn drop_front(&mut self, count: u32) {
        for claim in &mut self.claims {
            claim.first = claim.first.saturating_sub(count);
            claim.end = claim.end.saturating_sub(count);
        }
    }
}

impl Swarm {
    pub(super) fn tell_all(&mut self, message: &Message) {
        let sends =
            self.links.handles().iter().map(|link| Output::Send { link: *link, message: message.clone() });
        self.out.extend(sends);
    }

    /// Tells those that still take something: the others have no use for it.
    pub(super) fn tell_takers(&mut self, message: &Message) {
        let sends = self.links.takers().map(|link| Output::Send { link, message: message.clone() });
        self.out.extend(sends);
    }

    pub(super) fn tell(&mut self, link: Handle, message: Message) {
        self.out.push_back(Output::Send { link, message });
    }

    /// First words on a link: who listens where, and everything that can be given.
    pub(super) fn greet(&mut self, now: Time, link: Handle) {
        let appears = self.links.side(link).and_then(|side| side.remote);
        let ports = self.ports_for(appears);
        let hello = Message::Hello { ports, answer: true, appears };
        self.tell(link, hello);
        for note in self.slices.newest() {
            self.tell(link, Message::Slice(note));
        }
        self.tell_holdings(now, link);
        self.tell_claims(link);
        let segments: Vec<SegmentId> = self.board.segment_ids().collect();
        if self.proof.witnesses() {
            for id in segments {
                if let Some(statement) = self.own_statement(id) {
                    self.tell(link, Message::Witness(statement));
                }
            }
        }
        if self.setup.trust.is_some() && !self.proof.has_manifest() {
            self.tell(link, Message::AskManifest { at: 0 });
        }
    }

    /// Tells one neighbour everything that can be given.
    pub(super) fn tell_holdings(&mut self, now: Time, link: Handle) {
        let segments: Vec<SegmentId> = self.board.segment_ids().collect();
        self.send_have(now, &[link], &segments, true);
    }

    pub(super) fn message(&mut self, now: Time, link: Handle, message: Message) {
        match message {
            Message::Hello { ports, appears, .. } => self.hello_came(now, link, ports, appears),
            Message::Have { status, segments } => {
                self.have_came(now, link, status, segments);
                self.settle_claims(now, Some(link));
            }
            Message::Claim { segment, first, count, within_ms } => {
                self.claim_came(now, link, segment, first, count, within_ms);
            }
            Message::Witness(statement) => self.witness_came(now, Some(link), statement),
            Message::AskWitness(segment) => self.tell_witnesses(link, segment),
            Message::Record(record) => self.record_came(now, link, record),
            Message::Peers { hungry, added, dropped } => self.peers_came(now, link, hungry, added, &dropped),
            Message::AskManifest { at } => self.tell_manifest(link, at),
            Message::ManifestPart { at, total, bytes } => self.manifest_part(link, at, total, &bytes),
            Message::Slice(note) => self.slice_noted(link, note),
            Message::Receipt(receipt) => self.receipt_came(now, link, receipt),
            Message::Call { wanted } => self.call_came(now, link, wanted),
            Message::Meet { peer, token, in_ms, at } => {
                let (over, begin_in) = (at.scheme, Duration::from_millis(in_ms.into()));
                self.meet_came(now, link, Introduction { over, peer, token, begin_in, at });
            }
            // Between a node and who audits it: no swarm's business.
            Message::Challenge { .. } | Message::Answer { .. } => {}
            Message::Bye => {
                self.out.push_back(Output::Close(link));
                self.link_down(now, link);
            }
        }
    }

    /// Others may wait for this node's word on what it fetched last: without it nobody could prove that.
    pub(super) fn leave(&mut self) {
        for statement in self.own_statements() {
            self.tell_all(&Message::Witness(statement));
        }
        self.tell_all(&Message::Bye);
    }

    /// Periodic talk. Called every tick.
    pub(super) fn chat(&mut self, now: Time) {
        self.settle_claims(now, None);
        let fresh = self.board.has_changes() && now >= self.gossip.next_have;
        let complete = self.is_complete();
        let turned = complete != self.gossip.told_complete;
        let status = !complete && now >= self.gossip.next_status;
        if fresh || status || turned {
            let early = self.slices.flow() || self.board.missing() > self.board.count() / 8 * 7;
            self.gossip.next_have = now + if early { HAVE_EARLY } else { HAVE_EVERY };
            self.gossip.next_status = now + STATUS_EVERY;
            self.gossip.told_complete = complete;
            let changed: Vec<SegmentId> = self.board.take_changed().into_iter().collect();
            let links: Vec<Handle> = match turned {
                true => self.links.handles().to_vec(),
                false => self.links.takers().collect(),
            };
            self.send_have(now, &links, &changed, false);
            for statement in self.own_statements() {
                self.tell_all(&Message::Witness(statement));
            }
        }
        self.exchange_peers(now);
        self.look_for_peers(now);
        self.call_by_neighbours(now);
        self.relay_statements(now);
        self.ask_for_witnesses(now);
    }

    /// When a slice that others wait for is to be told of, if there is one that became whole here.
    pub(super) fn next_news(&self, now: Time) -> Time {
        let whole = |id: &SegmentId| self.board.shared_map(*id).is_some_and(|(_, map)| map.is_full());
        match self.slices.flow() && self.board.changed().any(whole) {
            true => self.gossip.next_have.max(now),
            false => Time::NEVER,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.board.is_closed() && self.board.missing() == 0
    }

    fn send_have(&mut self, now: Time, links: &[Handle], ids: &[SegmentId], always: bool) {
        let status = Status {
            origin_rate: self.origin.rate_now(now).min(u64::from(u32::MAX)) as u32,
            peer_rate: self.links.rate(now).min(u64::from(u32::MAX)) as u32,
            complete: self.is_complete(),
        };
        let mut batches = vec![Vec::new()];
        let mut bytes = 0;
        let give = self.setup.give;
        for id in ids.iter().filter(|_| give) {
            let Some((layout, bitmap)) = self.board.shared_map(*id) else { continue };
            if always && bitmap.count() == 0 {
                continue;
            }
            bytes += bitmap.as_bytes().len();
            if batches.last().is_some_and(|b| b.len() >= HAVE_SEGMENTS_MAX) || bytes > HAVE_BYTES_MAX {
                batches.push(Vec::new());
                bytes = bitmap.as_bytes().len();
            }
            if let Some(last) = batches.last_mut() {
                last.push(HaveSegment { segment: *id, layout, bitmap });
            }
        }
        for segments in batches {
            for link in links {
                self.tell(*link, Message::Have { status, segments: segments.clone() });
            }
        }
    }

    fn claim_came(
        &mut self,
        now: Time,
        link: Handle,
        segment: SegmentId,
        first: u32,
        count: u32,
        within_ms: u32,
    ) {
        if self.board.segment(segment).is_none() {
            let until = now + Duration::from_millis(u64::from(within_ms.min(30_000)));
            return self.gossip.remember_early(EarlyClaim { link, segment, first, count, until });
        }
        let slots = self.board.slots_of(segment);
        let start = slots.start.saturating_add(first).min(slots.end);
        if count == 0 {
            // Taken back from there on.
            for claim in self.gossip.claims.iter_mut().filter(|c| c.link == link && slots.contains(&c.first))
            {
                let keep = claim.end.min(start.max(claim.first));
                (keep..claim.end).for_each(|slot| unclaim(&mut self.board, slot));
                claim.end = keep;
            }
            self.dirty = true;
            return;
        }
        let end = start.saturating_add(count).min(slots.end);
        if start >= end || self.gossip.claims.len() >= CLAIMS_MAX {
            return;
        }
        for slot in start..end {
            let piece = self.board.piece_mut(Slot(slot));
            piece.claims = piece.claims.saturating_add(1);
        }
        let until = now + Duration::from_millis(u64::from(within_ms.min(30_000)));
        self.gossip.claims.push(Claim { link, first: start, end, until });
        self.dirty = true;
    }

    /// Claims end when they are late, when their neighbour leaves, or when it has what it claimed; only who has just told
    /// what it holds can have got there.
    fn settle_claims(&mut self, now: Time, told: Option<Handle>) {
        let neighbour = told.and_then(|link| self.links.get(link));
        let done = |claim: &Claim| {
            Some(claim.link) == told
                && neighbour.is_some_and(|n| (claim.first..claim.end).all(|slot| n.holds.get(slot)))
        };
        let board = &mut self.board;
        let before = self.gossip.claims.len();
        self.gossip.claims.retain(|claim| {
            let live = claim.until > now && claim.first < claim.end && !done(claim);
            if !live {
                (claim.first..claim.end).for_each(|slot| unclaim(board, slot));
            }
            live
        });
        self.dirty |= self.gossip.claims.len() < before;
    }

    /// A segment was cut that neighbours spoke of before.
    pub(super) fn take_early(&mut self, now: Time, id: SegmentId) {
        for statement in self.proof.take_early(id) {
            self.witness_came(now, None, statement);
        }
        let (of, rest): (VecDeque<_>, _) =
            std::mem::take(&mut self.gossip.early).into_iter().partition(|claim| claim.segment == id);
        self.gossip.early = rest;
        for claim in of.into_iter().filter(|claim| claim.until > now) {
            let within_ms = claim.until.since(now).as_millis().min(30_000) as u32;
            self.claim_came(now, claim.link, id, claim.first, claim.count, within_ms);
        }
    }

    /// Somebody holds what cannot be proven here: it, or whoever gave it, knows the witnesses.
    fn ask_for_witnesses(&mut self, now: Time) {
        if !self.proof.witnesses() || now < self.gossip.next_witness {
            return;
        }
        self.gossip.next_witness = now + ASK_WITNESS_EVERY;
        let dark = |piece: &&crate::schedule::Piece| !piece.held && piece.holders > 0 && !piece.provable;
        let Some(segment) = self.board.pieces().iter().find(dark).map(|piece| piece.key.segment) else {
            return;
        };
        let slots = self.board.slots_of(segment);
        let holder = self.links.all().iter().filter(|n| slots.clone().any(|slot| n.holds.get(slot)));
        let holders: Vec<Handle> = holder.map(|n| n.handle).collect();
        if let Some(link) = self.gossip.dice.pick(&holders) {
            self.out.push_back(Output::Send { link: *link, message: Message::AskWitness(segment) });
        }
    }

    fn tell_witnesses(&mut self, link: Handle, segment: SegmentId) {
        let own = self.own_statement(segment);
        for statement in self.proof.statements(segment).into_iter().chain(own) {
            self.tell(link, Message::Witness(statement));
        }
    }

    fn tell_manifest(&mut self, link: Handle, at: u32) {
        let Some(raw) = self.proof.raw_manifest().cloned() else { return };
        let start = (at as usize).min(raw.len());
        let end = (start + MANIFEST_PART_BYTES).min(raw.len());
        let part = Message::ManifestPart { at, total: raw.len() as u32, bytes: raw.slice(start..end) };
        self.tell(link, part);
    }

    /// A manifest from a peer counts only under a pinned key, and only if it names this very cut's content.
    fn manifest_part(&mut self, link: Handle, at: u32, total: u32, bytes: &Bytes) {
        if self.proof.has_manifest() || self.setup.trust.is_none() || total as usize > MANIFEST_BYTES_MAX {
            return;
        }
        if at == 0 && self.gossip.incoming.is_none() {
            self.gossip.incoming = Some((link, BytesMut::new(), total));
        }
        let Some((from, buffer, whole)) = &mut self.gossip.incoming else { return };
        if *from != link || *whole != total || buffer.len() != at as usize || bytes.is_empty() {
            return;
        }
        buffer.extend_from_slice(bytes);
        if buffer.len() < total as usize {
            let at = buffer.len() as u32;
            return self.tell(link, Message::AskManifest { at });
        }
        let Some((_, buffer, _)) = self.gossip.incoming.take() else { return };
        let raw = buffer.freeze();
        if let Ok(manifest) = Manifest::parse(&raw)
            && self.proof.trusts(&manifest)
            && manifest.rid.is_some_and(|rid| crate::id::SwarmKey::of(&rid, &manifest.rule) == self.setup.key)
        {
            self.manifest(std::sync::Arc::new(manifest), Some(raw));
        }
    }
}

fn unclaim(board: &mut Board, slot: u32) {
    let piece = board.piece_mut(Slot(slot));
    piece.claims = piece.claims.saturating_sub(1);
}
