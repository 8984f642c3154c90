//! Neighbours: who is linked, what they hold, how fast they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::board::Board;
use super::meter::Meter;
use super::{Output, Swarm};
use crate::bitmap::Bitmap;
use crate::id::PeerId;
use crate::layout::{Layout, SegmentId};
use crate::peer::Scheme;
use crate::schedule::{Handle, Neighbour, Slot, SlotSet};
use crate::swarm::report::Event;
use crate::unit::Time;
use crate::wire::{HaveSegment, Status};

/// Rate assumed of a neighbour before its first piece: 2 Mbit/s, a modest home uplink.
const RATE_GUESS: u64 = 250_000;
/// Bitmaps of segments not yet cut here that are kept for later, per neighbour (a live window is shorter).
const EARLY_MAX: usize = 64;

/// The neighbours, in the order of their handles.
#[derive(Debug, Default)]
pub(super) struct Links {
    neighbours: Vec<Neighbour>,
    sides: Vec<Side>,
    meter: Meter,
}

/// What the engine knows of a neighbour beside what a scheduler sees.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) remote: Option<IpAddr>,
    pub(super) ports: Vec<(Scheme, u16)>,
    pub(super) greeted: bool,
    pub(super) status: Status,
    /// Bytes taken from it and given to it.
    pub(super) from: u64,
    pub(super) to: u64,
    early: BTreeMap<SegmentId, (Layout, Bitmap)>,
    last_piece: Option<Time>,
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
        self.neighbours.binary_search_by_key(&link, |n| n.handle).ok()
    }

    pub(super) fn get(&self, link: Handle) -> Option<&Neighbour> {
        self.at(link).map(|at| &self.neighbours[at])
    }

    pub(super) fn get_mut(&mut self, link: Handle) -> Option<&mut Neighbour> {
        self.at(link).map(|at| &mut self.neighbours[at])
    }

    pub(super) fn side_mut(&mut self, link: Handle) -> Option<&mut Side> {
        self.at(link).map(|at| &mut self.sides[at])
    }

    pub(super) fn peer_of(&self, link: Handle) -> Option<PeerId> {
        self.at(link).map(|at| self.neighbours[at].peer)
    }

    pub(super) fn link_of(&self, peer: &PeerId) -> Option<Handle> {
        self.neighbours.iter().find(|n| n.peer == *peer).map(|n| n.handle)
    }

    pub(super) fn handles(&self) -> Vec<Handle> {
        self.neighbours.iter().map(|n| n.handle).collect()
    }

    fn add(&mut self, link: Handle, peer: PeerId, remote: Option<IpAddr>, rtt: Duration) {
        let at = self.neighbours.partition_point(|n| n.handle < link);
        let neighbour = Neighbour {
            handle: link,
            peer,
            holds: SlotSet::default(),
            rtt,
            rate: RATE_GUESS,
            service: (Duration::ZERO, Duration::ZERO),
            pending: 0,
            flights: 0,
            failures: 0,
            quiet_until: Time::ZERO,
            complete: false,
            origin_rate: 0,
        };
        self.neighbours.insert(at, neighbour);
        self.sides.insert(at, Side { remote, secs_per_byte: 1.0 / RATE_GUESS as f64, ..Side::default() });
    }

    fn remove(&mut self, link: Handle, board: &mut Board) -> Option<Neighbour> {
        let at = self.at(link)?;
        self.sides.remove(at);
        let gone = self.neighbours.remove(at);
        for slot in 0..board.count() {
            if gone.holds.get(slot) {
                let piece = board.piece_mut(Slot(slot));
                piece.holders = piece.holders.saturating_sub(1);
            }
        }
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

    /// Bytes came: what that says of the neighbour's rate. Time between pieces counts only while one was asked for.
    pub(super) fn delivered(&mut self, now: Time, link: Handle, len: u64, asked: Time) {
        self.meter.add(now, len);
        let Some(at) = self.at(link) else { return };
        let (neighbour, side) = (&mut self.neighbours[at], &mut self.sides[at]);
        let since = side.last_piece.map_or(asked + neighbour.rtt, |last| last.max(asked + neighbour.rtt));
        let gap = now.since(since).max(Duration::from_micros(50)).as_secs_f64();
        side.last_piece = Some(now);
        side.secs_per_byte += 0.2 * (gap / len.max(1) as f64 - side.secs_per_byte);
        neighbour.rate = (1.0 / side.secs_per_byte.max(1e-10)) as u64;
        let took = now.since(asked);
        let (mean, deviation) = neighbour.service;
        let off = took.abs_diff(mean);
        neighbour.service = ((mean * 7 + took) / 8, (deviation * 3 + off) / 4);
        neighbour.failures = 0;
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
    pub(super) fn retire(&mut self, id: SegmentId, slots: &std::ops::Range<u32>) {
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
    for (i, slot) in board.slots_of(segment).enumerate() {
        let held = map.get(i as u32);
        if holds.set(slot, held) {
            let piece = board.piece_mut(Slot(slot));
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
        remote: Option<IpAddr>,
        rtt: Duration,
    ) {
        let refused = peer == self.me
            || self.proof.is_banned(&peer)
            || self.links.link_of(&peer).is_some()
            || self.links.len() >= self.setup.limits.neighbours;
        if refused {
            self.out.push_back(Output::Close(link));
            return;
        }
        self.links.add(link, peer, remote, rtt);
        self.gossip.reached(&peer);
        self.note(Event::LinkUp { peer });
        self.greet(now, link);
        self.dirty = true;
    }

    pub(super) fn link_down(&mut self, now: Time, link: Handle) {
        self.cancel_all_from(link);
        self.upload.drop_link(link);
        if let Some(gone) = self.links.remove(link, &mut self.board) {
            self.note(Event::LinkDown { peer: gone.peer });
            self.gossip.left(now, &gone.peer);
        }
        self.dirty = true;
    }

    pub(super) fn have_came(&mut self, link: Handle, status: Status, segments: Vec<HaveSegment>) {
        self.links.have(link, status, segments, &mut self.board);
        self.dirty = true;
    }

    pub(super) fn ban(&mut self, now: Time, peer: PeerId, why: &'static str) {
        if !self.proof.ban(peer, &mut self.board) {
            return;
        }
        self.note(Event::Banned { peer, why });
        self.out.push_back(Output::Ban(peer));
        if let Some(link) = self.links.link_of(&peer) {
            self.link_down(now, link);
            self.out.push_back(Output::Close(link));
        }
    }
}
