//! Access links: the only bottlenecks of the simulated network.
//!
//! A piece occupies its sender's uplink for its length over the rate, and its receiver's downlink likewise, cut through: it
//! begins to arrive while it is still being sent. Requesters take turns at an uplink, piece by piece; urgent pieces first.
//! A sender does not send to a receiver whose downlink queue is full, as congestion control would see to. Lost datagrams
//! cost a round trip each time they have to be sent again.

use std::collections::VecDeque;

use pcdn_core::dice::Dice;
use pcdn_core::peer::SignedRecord;
use pcdn_core::unit::{Rate, Time};
use pcdn_core::wire::Message;

use super::scenario::Group;

/// Bytes on the wire for a byte of a piece: headers of IP, UDP and the protocol, acknowledgements and requests around
/// sub-pieces of 1280 bytes.
const PIECE_OVERHEAD: f64 = 1.055;
/// Bytes on the wire for a byte of an origin's body: 1500 ÷ 1448, TCP's full segments.
const ORIGIN_OVERHEAD: f64 = 1.036;
/// Content of one datagram: what a loss takes away.
const DATAGRAM_BYTES: f64 = 1_280.0;
/// A small message on the wire: IP, UDP, encryption and the protocol's own head.
const MESSAGE_HEAD: u64 = 28 + 32 + 34;
/// What the node's own bound lets pass at once after a pause, in microseconds at its rate; the node's.
const LIMIT_BURST: u64 = 100_000;
/// Of four turns at an uplink one goes to whose turn it is, urgent or not: background is never starved.
const FAIR_TURN: u32 = 4;

/// One peer's access link.
#[derive(Debug)]
pub(super) struct Access {
    up: f64,
    down: f64,
    /// One-way delay in microseconds.
    pub(super) latency: u64,
    pub(super) loss: f64,
    queue: u64,
    /// The node's own bound on what it takes in, and when what it let through would have passed at that rate.
    limit: Option<f64>,
    paid: u64,
    /// Until when the downlink is busy with what is already on its way.
    down_busy: u64,
    /// Bytes of messages that the next piece has to wait for.
    debt: f64,
    /// Whether a piece is being sent.
    pub(super) sending: bool,
    /// Link ends with pieces to send, in turn.
    pub(super) turns: VecDeque<u32>,
    turn: u32,
    /// Urgent pieces in line.
    pub(super) urgent: u32,
}

impl Access {
    pub(super) fn new(group: &Group) -> Self {
        Self {
            up: per_micro(group.up),
            down: per_micro(group.down),
            latency: group.latency.0.as_micros() as u64,
            loss: group.loss,
            queue: group.queue.0.as_micros() as u64,
            limit: (!group.download_limit.is_unlimited()).then(|| per_micro(group.download_limit)),
            paid: 0,
            down_busy: 0,
            debt: 0.0,
            sending: false,
            turns: VecDeque::new(),
            turn: 0,
            urgent: 0,
        }
    }

    /// How long the uplink takes for a piece and for the messages before it.
    pub(super) fn send_piece(&mut self, len: u32) -> u64 {
        let bytes = f64::from(len) * PIECE_OVERHEAD + std::mem::take(&mut self.debt);
        (bytes / self.up).ceil() as u64
    }

    /// How long a message takes through the uplink. It overtakes pieces, which then take longer.
    pub(super) fn send_message(&mut self, bytes: u64) -> u64 {
        self.debt += bytes as f64;
        (bytes as f64 / self.up).ceil() as u64
    }

    /// When a piece whose bytes reach this end from `first` to `last` is through the downlink.
    pub(super) fn receive_piece(&mut self, first: u64, last: u64, len: u32) -> Time {
        self.receive(first, last, f64::from(len) * PIECE_OVERHEAD)
    }

    /// The same for a part of an origin's body that reaches this end at `last` at once.
    pub(super) fn receive_body(&mut self, last: u64, len: u32) -> Time {
        let bytes = f64::from(len) * ORIGIN_OVERHEAD;
        let first = last.saturating_sub((bytes / self.down) as u64);
        self.receive(first, last, bytes)
    }

    fn receive(&mut self, first: u64, last: u64, bytes: f64) -> Time {
        self.down_busy = self.down_busy.max(first) + (bytes / self.down).ceil() as u64;
        Time(self.down_busy.max(last))
    }

    /// When the node's own bound lets `len` bytes pass, in the order of asking.
    pub(super) fn pass(&mut self, now: u64, len: u32) -> u64 {
        let Some(rate) = self.limit else { return now };
        let passes = self.paid.max(now);
        self.paid = self.paid.max(now.saturating_sub(LIMIT_BURST)) + (f64::from(len) / rate) as u64;
        passes
    }

    /// What was let pass does not come.
    pub(super) fn give_back(&mut self, len: u32) {
        if let Some(rate) = self.limit {
            self.paid = self.paid.saturating_sub((f64::from(len) / rate) as u64);
        }
    }

    /// When the downlink's queue has room again: now, or the moment to try again.
    pub(super) fn room_at(&self, now: u64) -> u64 {
        now.max(self.down_busy.saturating_sub(self.queue))
    }

    /// Whether urgent pieces go first this time.
    pub(super) fn urgent_first(&mut self) -> bool {
        self.turn = (self.turn + 1) % FAIR_TURN;
        self.urgent > 0 && self.turn != 0
    }
}

/// Bytes of an origin's body as they count on the CDN's line.
pub(super) fn body_on_wire(len: u32) -> f64 {
    f64::from(len) * ORIGIN_OVERHEAD
}

/// A rate in bytes per microsecond.
pub(super) fn per_micro(rate: Rate) -> f64 {
    rate.0 as f64 / 1e6
}

/// How much longer `len` bytes take over a path that loses datagrams with `loss`, in microseconds.
pub(super) fn repair(dice: &mut Dice, loss: f64, len: f64, round_trip: u64) -> u64 {
    let mut left = (len / DATAGRAM_BYTES).ceil();
    let mut delay = 0;
    // Each round sends again what the last one lost. Losing all of 30 rounds is 10^-10 even at a loss of one half.
    for _ in 0..30 {
        if loss <= 0.0 || !dice.chance(1.0 - (1.0 - loss).powf(left)) {
            break;
        }
        delay += round_trip;
        left = (left * loss).ceil();
    }
    delay
}

/// Bytes of `message` on the wire. Its binary form is not made: this is asked millions of times.
pub(super) fn message_bytes(message: &Message) -> u64 {
    let body = match message {
        Message::Hello { ports, appears, .. } => 3 + 3 * ports.len() + if appears.is_some() { 8 } else { 0 },
        Message::Have { segments, .. } => {
            11 + segments.iter().map(|s| 17 + s.bitmap.as_bytes().len()).sum::<usize>()
        }
        Message::Claim { .. } => 20,
        Message::Witness(statement) => 113 + statement.pieces.as_bytes().len() + 32 * statement.digests.len(),
        Message::AskWitness(_) => 8,
        Message::Record(record) => record.bytes(),
        Message::Peers { added, dropped, .. } => {
            3 + added.iter().map(SignedRecord::bytes).sum::<usize>() + 32 * dropped.len()
        }
        Message::AskManifest { .. } => 4,
        Message::ManifestPart { bytes, .. } => 8 + bytes.len(),
        Message::Slice(note) => 30 + note.setup.len(),
        Message::Receipt(_) => pcdn_core::receipt::Receipt::BYTES,
        Message::Call { .. } => 32,
        Message::Meet { .. } => 50,
        Message::Bye => 0,
    };
    MESSAGE_HEAD + body as u64
}

/// Bytes of a request for a piece, of a refusal, of a cancel.
pub(super) const REQUEST_BYTES: u64 = MESSAGE_HEAD + 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_takes_its_time_at_both_ends_and_queues_at_the_receiver() {
        let mut home = Access::new(&Group::default());
        let up = home.send_piece(65_536);
        assert_eq!(up, (65_536.0f64 * 1.055 / 3.75).ceil() as u64);
        // One sender is slower than the downlink: the last byte decides.
        assert_eq!(home.receive_piece(1_000, 1_000 + up, 65_536), Time(1_000 + up));
        // Ten at once are faster than it: it decides.
        let last = (0..10).map(|_| home.receive_piece(50_000, 50_000 + up, 65_536)).max().unwrap();
        let through = (65_536.0f64 * 1.055 / 12.5) as u64;
        assert!((last.0).abs_diff(50_000 + 10 * through) < 20, "{last:?}");
        assert!(home.room_at(50_000) == 50_000, "55 ms wait; the queue holds 100 ms");
        for _ in 0..20 {
            home.receive_piece(50_000, 50_000 + up, 65_536);
        }
        assert!(home.room_at(50_000) > 50_000);
    }

    #[test]
    fn loss_costs_round_trips_as_often_as_it_should() {
        let mut dice = Dice::new(1);
        assert_eq!(repair(&mut dice, 0.0, 65_536.0, 100), 0);
        let hit = (0..10_000).filter(|_| repair(&mut dice, 0.01, 65_536.0, 100) > 0).count();
        let want = (1.0 - 0.99f64.powf(52.0)) * 10_000.0;
        assert!((hit as f64 - want).abs() < 300.0, "{hit} of about {want}");
    }
}
