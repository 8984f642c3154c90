//! Neighbours: who is linked, what they hold, how fast they are.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::board::Board;
use super::meter::Meter;
use super::{Output, Swarm};
use crate::bitmap::Bitmap;
use crate::id::PeerId;
use crate::layout::{Layout, SegmentId};
use crate::peer::{PeerAddr, Scheme};
use crate::schedule::{Handle, Neighbour, Slot, SlotSet};
use crate::swarm::report::Event;
use crate::unit::{Rate, Time};
use crate::wire::{HaveSegment, Status};

/// Rate assumed of a neighbour before its first piece: 8 Mbit/s, a modest home uplink, as is assumed of the origin.
const RATE_GUESS: u64 = 1_000_000;
/// Bitmaps of segments not yet cut here that are kept for later, per neighbour (a live window is shorter).
const EARLY_MAX: usize = 64;

/// A neighbour that is complete is told nothing; if it then lacks something after all (its store lost a piece), it is told
/// everything, at most once in this time.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// The neighbours, in the order of their handles.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Their handles alone: nearly everything that happens begins with looking for one.
    handles: Vec<Handle>,
    neighbours: Vec<Neighbour>,
    sides: Vec<Side>,
    meter: Meter,
    /// Superpeers, linked or not: those of the swarm's neighbourhood that the node asked its trackers about.
    preferred: BTreeSet<PeerId>,
    /// Bytes per second that the node takes from each at most.
    bound: Option<Rate>,
}

/// What the engine knows of a neighbour beside what a scheduler sees.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) remote: Option<PeerAddr>,
    pub(super) ports: Vec<(Scheme, u16)>,
    pub(super) greeted: bool,
    /// It has said what it holds.
    told: bool,
    pub(super) status: Status,
    /// Bytes taken from it and given to it.
    pub(super) from: u64,
    pub(super) to: u64,
    told_again: Option<Time>,
    early: BTreeMap<SegmentId, (Layout, Bitmap)>,
    last_piece: Option<Time>,
    /// Since when it says "busy" without giving anything.
    busy_since: Option<Time>,
    secs_per_byte: f64,
}

impl Links {
    pub(super) fn all(&self) -> &[Neighbour] {
        &self.neighbours
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Neighbour, u64, u64)> {
        self.neighbours.iter().zip(&self.sides).map(|(n, side)| (n, side.from, side.to))
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = (&Neighbour, &Side)> {
        self.neighbours.iter().zip(&self.sides)
    }

    pub(super) fn len(&self) -> usize {
        self.neighbours.len()
    }

    fn at(&self, link: Handle) -> Option<usize> {
        self.handles.binary_search(&link).ok()
    }

    pub(super) fn get(&self, link: Handle) -> Option<&Neighbour> {
        self.at(link).map(|at| &self.neighbours[at])
    }

    pub(super) fn get_mut(&mut self, link: Handle) -> Option<&mut Neighbour> {
        self.at(link).map(|at| &mut self.neighbours[at])
    }

    pub(super) fn side(&self, link: Handle) -> Option<&Side> {
        self.at(link).map(|at| &self.sides[at])
    }

    pub(super) fn side_mut(&mut self, link: Handle) -> Option<&mut Side> {
        self.at(link).map(|at| &mut self.sides[at])
    }

    pub(super) fn peer_of(&self, link: Handle) -> Option<PeerId> {
        self.at(link).map(|at| self.neighbours[at].peer)
    }

    /// Round trip to it, zero if it is not known.
    pub(super) fn rtt_of(&self, link: Handle) -> std::time::Duration {
        self.at(link).map_or(std::time::Duration::ZERO, |at| self.neighbours[at].rtt)
    }

    pub(super) fn link_of(&self, peer: &PeerId) -> Option<Handle> {
        self.neighbours.iter().find(|n| n.peer == *peer).map(|n| n.handle)
    }

    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Whether somebody has not said yet what it holds.
    pub(super) fn has_silent(&self) -> bool {
        self.sides.iter().any(|side| !side.told)
    }

    /// Those that still take something, and so listen to who has what.
    pub(super) fn takers(&self) -> impl Iterator<Item = Handle> + '_ {
        self.neighbours.iter().filter(|n| !n.complete).map(|n| n.handle)
    }

    fn add(&mut self, link: Handle, peer: PeerId, remote: Option<PeerAddr>, rtt: Duration) {
        let at = self.handles.partition_point(|handle| *handle < link);
        let neighbour = Neighbour {
            handle: link,
            peer,
            holds: SlotSet::default(),
            rtt,
            rate: self.bounded(RATE_GUESS),
            service: (Duration::ZERO, Duration::ZERO),
            pending: 0,
            flights: 0,
            failures: 0,
            quiet_until: Time::ZERO,
            complete: false,
            origin_rate: 0,
            superpeer: self.preferred.contains(&peer),
        };
        self.handles.insert(at, link);
        self.neighbours.insert(at, neighbour);
        self.sides.insert(at, Side { remote, secs_per_byte: 1.0 / RATE_GUESS as f64, ..Side::default() });
    }

    /// Of each no more than `rate` is taken: whatever it could give, it gives no more.
    pub(super) fn bound(&mut self, rate: Rate) {
        self.bound = Some(rate);
        self.neighbours.iter_mut().for_each(|n| n.rate = n.rate.min(rate.0));
    }

    fn bounded(&self, rate: u64) -> u64 {
        rate.min(self.bound.map_or(rate, |bound| bound.0))
    }

    /// These are superpeers, and no others.
    pub(super) fn prefer(&mut self, superpeers: BTreeSet<PeerId>) {
        self.neighbours.iter_mut().for_each(|n| n.superpeer = superpeers.contains(&n.peer));
        self.preferred = superpeers;
    }

    fn remove(&mut self, link: Handle, board: &mut Board) -> Option<Neighbour> {
        let at = self.at(link)?;
        self.handles.remove(at);
        self.sides.remove(at);
        let mut gone = self.neighbours.remove(at);
        replace(&mut gone.holds, 0..board.count(), std::iter::repeat(0), board);
        Some(gone)
    }

    pub(super) fn path(&mut self, link: Handle, rtt: Duration) {
        if let Some(neighbour) = self.get_mut(link) {
            neighbour.rtt = rtt;
        }
    }

    /// A neighbour told what it can give of some segments.
    fn have(&mut self, link: Handle, status: Status, segments: Vec<HaveSegment>, board: &mut Board) {
        let Some(at) = self.at(link) else { return };
        self.sides[at].told = true;
        self.neighbours[at].complete = status.complete;
        self.neighbours[at].origin_rate = u64::from(status.origin_rate);
        self.sides[at].status = status;
        for have in segments {
            match board.segment(have.segment).map(|segment| segment.layout) {
                Some(layout) if layout == have.layout => {
                    apply(&mut self.neighbours[at].holds, have.segment, &have.bitmap, board);
                }
                Some(_) => {}
                None => {
                    let early = &mut self.sides[at].early;
                    early.insert(have.segment, (have.layout, have.bitmap));
                    if early.len() > EARLY_MAX {
                        early.pop_first();
                    }
                }
            }
        }
    }

    /// Segments were cut: bitmaps that came before them count now.
    pub(super) fn segments_grew(&mut self, board: &mut Board) {
        for (neighbour, side) in self.neighbours.iter_mut().zip(&mut self.sides) {
            if side.early.is_empty() {
                continue;
            }
            let known: Vec<SegmentId> =
                side.early.keys().filter(|id| board.segment(**id).is_some()).copied().collect();
            for id in known {
                let Some((layout, map)) = side.early.remove(&id) else { continue };
                if board.segment(id).is_some_and(|segment| segment.layout == layout) {
                    apply(&mut neighbour.holds, id, &map, board);
                }
            }
        }
    }

    pub(super) fn lacks(&mut self, link: Handle, slot: Slot, board: &mut Board) {
        if let Some(neighbour) = self.get_mut(link)
            && neighbour.holds.set(slot.0, false)
        {
            let piece = board.piece_mut(slot);
            piece.holders = piece.holders.saturating_sub(1);
        }
    }

    /// Bytes came: what that says of the neighbour's rate. Time between pieces counts only while one was asked for, and makes it no
    /// slower where it was not its `own`.
    pub(super) fn delivered(&mut self, now: Time, link: Handle, len: u64, asked: Time, own: bool) {
        self.meter.add(now, len);
        let Some(at) = self.at(link) else { return };
        let (neighbour, side) = (&mut self.neighbours[at], &mut self.sides[at]);
        let since = side.last_piece.map_or(asked + neighbour.rtt, |last| last.max(asked + neighbour.rtt));
        let gap = now.since(since).max(Duration::from_micros(50)).as_secs_f64();
        side.last_piece = Some(now);
        side.busy_since = None;
        let slower = gap / len.max(1) as f64 - side.secs_per_byte;
        side.secs_per_byte += 0.2 * if own { slower } else { slower.min(0.0) };
        let rate = (1.0 / side.secs_per_byte.max(1e-10)) as u64;
        neighbour.rate = rate.min(self.bound.map_or(rate, |bound| bound.0));
        let took = now.since(asked);
        let (mean, deviation) = neighbour.service;
        let off = took.abs_diff(mean);
        neighbour.service = ((mean * 7 + took) / 8, (deviation * 3 + off) / 4);
        neighbour.failures = 0;
    }

    /// It is busy: for how long it has said so and given nothing.
    pub(super) fn busy_for(&mut self, now: Time, link: Handle) -> Duration {
        let side = self.side_mut(link);
        side.map_or(Duration::ZERO, |side| now.since(*side.busy_since.get_or_insert(now)))
    }

    pub(super) fn gave(&mut self, link: Handle, len: u64) {
        if let Some(side) = self.side_mut(link) {
            side.from += len;
        }
    }

    /// Bytes per second from all neighbours.
    pub(super) fn rate(&self, now: Time) -> u64 {
        self.meter.rate(now)
    }

    /// Bytes per second the neighbours say they take from the origin.
    pub(super) fn origin_rate(&self) -> u64 {
        self.neighbours.iter().map(|n| n.origin_rate).sum()
    }
}

impl Links {
    /// Nobody gives these slots any more.
    pub(super) fn retire(&mut self, id: SegmentId, slots: &Range<u32>) {
        for (neighbour, side) in self.neighbours.iter_mut().zip(&mut self.sides) {
            side.early.remove(&id);
            slots.clone().for_each(|slot| _ = neighbour.holds.set(slot, false));
        }
    }

    /// The first `count` slots are gone.
    pub(super) fn drop_front(&mut self, count: u32) {
        self.neighbours.iter_mut().for_each(|neighbour| neighbour.holds.drop_front(count));
    }
}

fn apply(holds: &mut SlotSet, segment: SegmentId, map: &Bitmap, board: &mut Board) {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words = map.as_bytes().chunks(8).map(word).chain(std::iter::repeat(0));
    replace(holds, board.slots_of(segment), words, board);
}

/// Makes `slots` of what a neighbour holds what `words` say, and counts holders anew. Most of what it says is not news: 64
/// slots cost one comparison.
fn replace(holds: &mut SlotSet, slots: Range<u32>, words: impl Iterator<Item = u64>, board: &mut Board) {
    for (first, word) in slots.clone().step_by(64).zip(words) {
        let mut news = holds.replace(first, (slots.end - first).min(64), word);
        while news != 0 {
            let bit = news.trailing_zeros();
            news &= news - 1;
            let piece = board.piece_mut(Slot(first + bit));
            let held = word >> bit & 1 == 1;
            piece.holders = if held { piece.holders + 1 } else { piece.holders.saturating_sub(1) };
        }
    }
}

impl Swarm {
    pub(super) fn link_up(
        &mut self,
        now: Time,
        link: Handle,
        peer: PeerId,
        remote: Option<PeerAddr>,
        rtt: Duration,
    ) {
        let refused = peer == self.me || self.proof.is_banned(&peer) || self.links.link_of(&peer).is_some();
        if refused || self.is_too_many(&peer) {
            if !refused {
                self.met_in_passing(now, link, &peer, remote);
            }
            self.out.push_back(Output::Close(link));
            return;
        }
        self.links.add(link, peer, remote, rtt);
        self.exchange_with(now, link, peer);
        self.note(Event::LinkUp { peer });
        self.greet(now, link);
        self.dirty = true;
    }

    pub(super) fn link_down(&mut self, now: Time, link: Handle) {
        self.cancel_all_from(link);
        self.upload.drop_link(link);
        self.receipts.drop_link(link);
        // A link that was refused goes down, too.
        let Some(gone) = self.links.remove(link, &mut self.board) else { return };
        self.gossip.drop_claims(link, &mut self.board);
        self.exchange_no_more(now, link, &gone.peer);
        self.note(Event::LinkDown { peer: gone.peer });
        self.dirty = true;
    }

    pub(super) fn have_came(&mut self, now: Time, link: Handle, status: Status, segments: Vec<HaveSegment>) {
        let was_complete = self.links.get(link).is_some_and(|n| n.complete);
        self.links.have(link, status, segments, &mut self.board);
        self.dirty = true;
        let Some(side) = self.links.side_mut(link).filter(|_| was_complete && !status.complete) else {
            return;
        };
        if side.told_again.is_none_or(|last| now.since(last) > TOLD_AGAIN) {
            side.told_again = Some(now);
            self.tell_holdings(now, link);
        }
    }

    pub(super) fn ban(&mut self, now: Time, peer: PeerId, why: &'static str) {
        if !self.proof.ban(peer, &mut self.board) {
            return;
        }
        self.note(Event::Banned { peer, why });
        self.out.push_back(Output::Ban(peer));
        if let Some(link) = self.links.link_of(&peer) {
            // What came before it lied came all the same.
            self.sign_for(now, link);
            self.link_down(now, link);
            self.out.push_back(Output::Close(link));
        }
    }
}
