//! Requests to neighbours under way: asked, arrived, late, given up.

use std::time::Duration;

use bytes::Bytes;

use super::{Output, Source, Swarm, limit};
use crate::schedule::{Flight, Handle, Neighbour, Slot};
use crate::swarm::report::Event;
use crate::transport::{Class, Fetch, FetchError, Refuse};
use crate::unit::{Rate, Time};
use crate::verify::{Integrity, list};

/// Shortest time-out of a request, above a round trip with its jitter and a full queue at the sender.
const TIMEOUT_MIN: Duration = Duration::from_millis(2_500);
/// Longest, however slow the neighbour: what takes longer is had elsewhere.
const TIMEOUT_MAX: Duration = Duration::from_secs(15);
/// Of an urgent one: a player waits.
const TIMEOUT_URGENT: Duration = Duration::from_millis(1_200);
/// A neighbour that timed out is left alone for this long times its failures in a row.
const QUIET: Duration = Duration::from_millis(500);
/// A neighbour that is this late has not kept its word: one tick.
const UNKEPT: Duration = Duration::from_millis(200);
/// What was asked so much later and comes before shows that the line does not hold a piece up; once may be chance.
const LATER: Duration = Duration::from_millis(250);
const OVERTAKEN: u32 = 2;
/// The longest pause a busy neighbour can ask for.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// A neighbour that says "busy" for this long and gives nothing meanwhile is as good as one that fails: who waits for it would
/// wait for ever. A slot is free again within a second or two where uploads move at all.
const BUSY_BELIEVED: Duration = Duration::from_secs(4);

/// What is under way, ordered by number.
#[derive(Debug, Default)]
pub(super) struct Flights {
    all: Vec<Flight>,
    terms: Vec<Terms>,
    next: u64,
}

/// What holds of a request beside what a scheduler sees.
#[derive(Clone, Copy, Debug)]
struct Terms {
    /// When it is given up.
    until: Time,
    /// How long it may take from when it goes out, and is expected to.
    within: Duration,
    expected: Duration,
    /// The node's own bound still holds it back.
    held_back: bool,
    /// Bytes on their way through the line when it was asked for, its own included.
    on_way: u64,
    /// Bytes the origin had given then: it may take all of a full line, as transports between peers give way.
    origin: u64,
    len: u32,
    /// Pieces that were asked of others clearly later, and came before it.
    overtaken: u32,
}

impl Terms {
    /// When it is here even if the line was full and carries `rate`, in good measure.
    /// `origin`: bytes that the origin has given up to now.
    fn through(&self, flight: &Flight, rate: Rate, origin: u64) -> Time {
        let before = self.on_way * 3 / 2 + origin.saturating_sub(self.origin);
        flight.asked + self.expected + rate.time_for(before).min(TIMEOUT_MAX) + UNKEPT
    }

    fn is_overtaken(&self) -> bool {
        self.overtaken >= OVERTAKEN
    }
}

impl Flights {
    pub(super) fn all(&self) -> &[Flight] {
        &self.all
    }

    fn at(&self, id: u64) -> Option<usize> {
        self.all.binary_search_by_key(&id, |flight| flight.id).ok()
    }

    fn take(&mut self, id: u64) -> Option<(Flight, Terms)> {
        let at = self.at(id)?;
        Some((self.all.remove(at), self.terms.remove(at)))
    }

    pub(super) fn of(&self, link: Handle) -> Vec<u64> {
        self.all.iter().filter(|flight| flight.from == link).map(|flight| flight.id).collect()
    }

    /// Those whose time is over, and whether they went out at all.
    fn late(&self, now: Time) -> Vec<(u64, Handle, bool)> {
        let all = self.all.iter().zip(&self.terms).filter(|(_, terms)| terms.until <= now);
        all.map(|(flight, terms)| (flight.id, flight.from, !terms.held_back)).collect()
    }
}

impl Flights {
    /// Bytes that may be on their way through the line, which has been seen to carry `rate`.
    pub(super) fn on_way(&self, now: Time, rate: Option<Rate>, origin: u64) -> u64 {
        let there = |(flight, terms): &(&Flight, &Terms)| {
            let hoped = rate.is_none_or(|rate| now <= terms.through(flight, rate, origin));
            hoped && !terms.held_back && !terms.is_overtaken()
        };
        self.all.iter().zip(&self.terms).filter(there).map(|(_, terms)| u64::from(terms.len)).sum()
    }

    /// A piece came that `came` was for: it may have overtaken others.
    fn overtakes(&mut self, came: &Flight) {
        for (flight, terms) in self.all.iter().zip(&mut self.terms) {
            let overtaken = flight.from != came.from && flight.asked + LATER < came.asked;
            terms.overtaken += u32::from(overtaken);
        }
    }

    /// Nothing is on its way from there, as it seems.
    fn distrust(&mut self, link: Handle) {
        let of = self.all.iter().zip(&mut self.terms).filter(|(flight, _)| flight.from == link);
        of.for_each(|(_, terms)| terms.overtaken = OVERTAKEN);
    }

    /// While the line is full and carries `rate`, what it may hold up is not late.
    fn excuse(&mut self, now: Time, rate: Rate, origin: u64) {
        for (flight, terms) in self.all.iter().zip(&mut self.terms) {
            if terms.until <= now && !terms.held_back && !terms.is_overtaken() {
                terms.until = terms.until.max(terms.through(flight, rate, origin));
            }
        }
    }

    /// Requests for one of these slots.
    pub(super) fn on(&self, slots: &std::ops::Range<u32>) -> Vec<u64> {
        self.all.iter().filter(|flight| slots.contains(&flight.slot.0)).map(|flight| flight.id).collect()
    }

    /// The first `count` slots are gone.
    pub(super) fn drop_front(&mut self, count: u32) {
        self.all.iter_mut().for_each(|flight| flight.slot = flight.slot.down(count));
    }
}

impl Swarm {
    pub(super) fn ask(&mut self, now: Time, slot: Slot, from: Handle, class: Class) {
        if slot.0 >= self.board.count() || !self.setup.take || self.budget_for(now, slot) == 0 {
            return;
        }
        let class = self.class(class);
        let piece = self.board.piece(slot);
        let (key, len) = (piece.key, piece.len);
        let double = piece.flights > 0
            && self.flights.all.iter().any(|flight| flight.slot == slot && flight.from == from);
        let races = piece.fetching && !self.may_race(len);
        let refused = piece.held || !piece.provable || piece.flights >= 2 || double || races;
        let Some(neighbour) = self.links.get_mut(from).filter(|n| !refused && n.gives(slot)) else { return };
        let service = neighbour.arrival(now, len).since(now);
        // What a neighbour that fails does not bring is not on its way.
        let failing = neighbour.failures > 0;
        neighbour.pending += u64::from(len);
        neighbour.flights += 1;
        let wait = (service * 3).min(TIMEOUT_MAX);
        let timeout = wait.max(if class == Class::Urgent { TIMEOUT_URGENT } else { TIMEOUT_MIN });
        let id = self.flights.next;
        self.flights.next += 1;
        let expected = now + self.limit.wait(now).max(self.passes(now, u64::from(len))) + service;
        let held_back = self.limit.holds_back();
        let until = now + if held_back { limit::HELD_BACK_MAX } else { timeout };
        self.limit.asked(now, u64::from(len));
        self.limit.held(if held_back { u64::from(len) } else { 0 });
        self.flights.all.push(Flight { id, slot, from, asked: now, expected });
        let overtaken = if failing { OVERTAKEN } else { 0 };
        self.on_way += if failing { 0 } else { u64::from(len) };
        let on_way = self.on_way;
        let terms = Terms {
            until,
            within: timeout,
            expected: service,
            held_back,
            on_way,
            origin: self.origin.came,
            len,
            overtaken,
        };
        self.flights.terms.push(terms);
        self.board.piece_mut(slot).flights += 1;
        let fetch =
            Fetch { swarm: self.setup.key, piece: key, len, want: Vec::new(), class, within: timeout };
        self.out.push_back(Output::Ask { flight: id, link: from, fetch });
    }

    /// The node's own bound has let a request go out: its time begins.
    pub(super) fn sent(&mut self, now: Time, id: u64) {
        let Some(at) = self.flights.at(id) else { return };
        let (flight, terms) = (&mut self.flights.all[at], &mut self.flights.terms[at]);
        if std::mem::take(&mut terms.held_back) {
            (flight.asked, flight.expected, terms.until) = (now, now + terms.expected, now + terms.within);
            let len = u64::from(self.board.piece(flight.slot).len);
            self.limit.let_go(len);
        }
    }

    /// Takes a request off the books; the neighbour's queue is shorter by it.
    fn land(&mut self, id: u64) -> Option<Flight> {
        let (flight, terms) = self.flights.take(id)?;
        let piece = self.board.piece_mut(flight.slot);
        piece.flights = piece.flights.saturating_sub(1);
        let len = u64::from(piece.len);
        if terms.held_back {
            // Taken back before it cost anything.
            self.limit.let_go(len);
            self.limit.spared(len);
        }
        if let Some(neighbour) = self.links.get_mut(flight.from) {
            neighbour.pending = neighbour.pending.saturating_sub(len);
            neighbour.flights = neighbour.flights.saturating_sub(1);
        }
        self.dirty = true;
        Some(flight)
    }

    pub(super) fn cancel(&mut self, id: u64) {
        if self.land(id).is_some() {
            self.out.push_back(Output::Cancel { flight: id });
        }
    }

    pub(super) fn cancel_all_from(&mut self, link: Handle) {
        for id in self.flights.of(link) {
            self.cancel(id);
        }
    }

    pub(super) fn piece_came(&mut self, now: Time, id: u64, bytes: Bytes) {
        self.sent(now, id);
        let terms = self.flights.at(id).map(|at| self.flights.terms[at]);
        let overtaken = terms.is_some_and(|terms| terms.overtaken > 0);
        // Transports between peers give way to the origin.
        let gave_way =
            self.is_thin_for_player(now) && terms.is_some_and(|terms| self.origin.came > terms.origin);
        let Some(flight) = self.land(id) else { return };
        let slot = flight.slot;
        let len = bytes.len() as u64;
        self.line.came(now, len, !self.is_asked_for_player());
        self.flights.overtakes(&flight);
        // What waits in front of a full line says nothing of whom it comes from.
        let own = overtaken || !(self.line.is_full() || gave_way);
        self.links.delivered(now, flight.from, len, flight.asked, own);
        self.got_piece(now, flight.from, len);
        if self.board.piece(slot).held {
            self.report.wasted += len;
            return;
        }
        let key = self.board.piece(slot).key;
        let Some(layout) = self.board.segment(key.segment).map(|s| s.layout) else { return };
        if bytes.len() != self.board.piece(slot).len as usize {
            return;
        }
        let digest = list::digest(&layout, key.piece, &bytes);
        let peer = self.links.peer_of(flight.from);
        match self.proof.judge(slot, &key, &digest) {
            super::proof::Verdict::Right(level) => {
                self.cancel_others(slot);
                self.report.accept_peer(level, len);
                self.links.gave(flight.from, len);
                self.proof.remember(slot, peer, &mut self.dice, level);
                self.keep(now, slot, bytes, digest, Source::Peer);
                if level == Integrity::Witnessed {
                    self.proof.proven(slot, &digest, &mut self.board);
                }
            }
            super::proof::Verdict::Wrong => {
                self.report.rejected_pieces += 1;
                self.receipts.was_bad(flight.from);
                self.note(Event::Rejected { peer: peer.unwrap_or(self.me), piece: key });
                if let Some(peer) = peer {
                    self.ban(now, peer, "a piece that does not fit its digest");
                }
            }
            super::proof::Verdict::Unknown => self.report.wasted += len,
        }
    }

    pub(super) fn piece_failed(&mut self, now: Time, id: u64, why: &FetchError) {
        self.sent(now, id);
        let Some(flight) = self.land(id) else { return };
        self.limit.spared(u64::from(self.board.piece(flight.slot).len));
        let Some(neighbour) = self.links.get_mut(flight.from) else { return };
        match why {
            FetchError::Refused(Refuse::Busy(after)) => {
                neighbour.quiet_until = now + (*after).min(BUSY_MAX);
                if self.links.busy_for(now, flight.from) >= BUSY_BELIEVED
                    && let Some(neighbour) = self.links.get_mut(flight.from)
                {
                    neighbour.failures = neighbour.failures.saturating_add(1);
                }
            }
            FetchError::Refused(Refuse::NotHere | Refuse::NoSwarm) => {
                self.links.lacks(flight.from, flight.slot, &mut self.board);
            }
            _ => {
                neighbour.failures = neighbour.failures.saturating_add(1);
                neighbour.quiet_until = now + QUIET * u32::from(neighbour.failures.min(20));
            }
        }
    }

    /// Requests whose time is over are given up; the neighbour is asked less.
    pub(super) fn expire_flights(&mut self, now: Time) {
        if let Some(rate) = self.line.seen() {
            self.flights.excuse(now, rate, self.origin.came);
        }
        for (id, from, went_out) in self.flights.late(now) {
            // One that was held back gives back its part of the bound by itself.
            let len = self.flights.at(id).map_or(0, |at| self.board.piece(self.flights.all[at].slot).len);
            self.limit.spared(if went_out { u64::from(len) } else { 0 });
            self.cancel(id);
            self.flights.distrust(from);
            if let Some(neighbour) = self.links.get_mut(from).filter(|_| went_out) {
                neighbour.failures = neighbour.failures.saturating_add(1);
                neighbour.rate = (neighbour.rate / 2).max(1_000);
                neighbour.quiet_until = now + QUIET * u32::from(neighbour.failures.min(20));
                self.report.timeouts += 1;
                let peer = neighbour.peer;
                self.note(Event::TimedOut { peer });
            }
        }
    }

    pub(super) fn cancel_others(&mut self, slot: Slot) {
        if self.board.piece(slot).flights == 0 {
            return;
        }
        let others: Vec<u64> =
            self.flights.all.iter().filter(|flight| flight.slot == slot).map(|flight| flight.id).collect();
        others.into_iter().for_each(|id| self.cancel(id));
    }

    /// What was asked of neighbours came from elsewhere. Under the node's own bound few are tried that have given nothing yet, one
    /// after another: one that is late is not to be tried as if it were the first time, though its time-out is not over.
    pub(super) fn note_unkept(&mut self, now: Time, slot: Slot) {
        let tries = self.limit.holds_back() || self.is_thin_for_player(now);
        if !tries || self.board.piece(slot).flights == 0 {
            return;
        }
        for flight in self.flights.all.iter().filter(|flight| flight.slot == slot) {
            let late = now > flight.expected + UNKEPT;
            let unproven = |neighbour: &&mut Neighbour| neighbour.service.0.is_zero();
            if let Some(neighbour) = self.links.get_mut(flight.from).filter(unproven).filter(|_| late) {
                neighbour.failures = neighbour.failures.saturating_add(1);
            }
        }
    }
}
