//! Control messages: whole, in order, once.
//!
//! Messages are cut into numbered fragments of one stream. The receiver acknowledges the first missing one and a bitmap of
//! those after it, and says how many it has room for; the sender repeats what was overtaken or not acknowledged in time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pcdn_core::unit::Time;

use super::frame::{Frame, MSG_OVERHEAD};
use super::rtt::Rtt;

/// Bytes of a fragment at most: with MSG's own what a control packet has room for.
const FRAGMENT_BYTES: usize = 1192 - MSG_OVERHEAD;
/// Fragments under way at most, 38 KB a round trip: messages are control, not content.
const WINDOW: u32 = 32;
/// Fragments kept out of order at most: those the bitmap can name.
const ROOM: u16 = 64;
/// While the reader leaves this much unread, no more is taken from the peer.
const UNREAD_MAX: usize = 128 * 1024;
/// A fragment is repeated at most this rarely.
const REPEAT_EVERY_MAX: Duration = Duration::from_secs(1);
/// Later fragments acknowledged that make one lost.
const OVERTAKEN_BY: u8 = 3;

#[derive(Debug, Default)]
pub(crate) struct Talk {
    // Outgoing.
    unacked: VecDeque<Fragment>,
    next_number: u32,
    peer_next: u32,
    peer_room: Option<u16>,
    delivered: usize,
    // Incoming.
    expected: u32,
    /// First, last, bytes.
    held: BTreeMap<u32, (bool, bool, Bytes)>,
    partial: Vec<u8>,
    arrived: VecDeque<Bytes>,
    unread: usize,
    ack_due: bool,
}

#[derive(Debug)]
struct Fragment {
    number: u32,
    first: bool,
    last: bool,
    bytes: Bytes,
    sent: Option<Time>,
    tries: u32,
    overtaken: u8,
    acked: bool,
}

impl Talk {
    /// Queues a message. The caller keeps the unacknowledged bytes bounded.
    pub(crate) fn send(&mut self, message: &Bytes) {
        let count = message.len().div_ceil(FRAGMENT_BYTES).max(1);
        for at in 0..count {
            let end = message.len().min((at + 1) * FRAGMENT_BYTES);
            let (number, bytes) = (self.next_number, message.slice(at * FRAGMENT_BYTES..end));
            let (first, last) = (at == 0, at + 1 == count);
            self.next_number += 1;
            self.unacked.push_back(Fragment {
                number,
                first,
                last,
                bytes,
                sent: None,
                tries: 0,
                overtaken: 0,
                acked: false,
            });
        }
    }

    /// Whether everything sent has arrived.
    pub(crate) fn is_idle(&self) -> bool {
        self.unacked.is_empty()
    }

    /// Messages that arrived whole at the peer since the last call.
    pub(crate) fn take_delivered(&mut self) -> usize {
        std::mem::take(&mut self.delivered)
    }

    /// The next message from the peer. Its bytes count as unread until [`read`](Self::read).
    pub(crate) fn take_arrived(&mut self) -> Option<Bytes> {
        self.arrived.pop_front()
    }

    /// The reader took `bytes`.
    pub(crate) fn read(&mut self, bytes: usize) {
        let was_full = self.unread >= UNREAD_MAX;
        self.unread = self.unread.saturating_sub(bytes);
        self.ack_due |= was_full && self.unread < UNREAD_MAX;
    }

    /// A fragment came. `false` if it breaks the rules.
    pub(crate) fn msg(
        &mut self,
        number: u32,
        first: bool,
        last: bool,
        bytes: &[u8],
        message_max: usize,
    ) -> bool {
        self.ack_due = true;
        let ahead = number.wrapping_sub(self.expected);
        if self.unread >= UNREAD_MAX || ahead >= u32::from(ROOM) {
            return true;
        }
        self.held.insert(number, (first, last, Bytes::copy_from_slice(bytes)));
        debug_assert!(self.held.len() <= usize::from(ROOM));
        while let Some((first, last, bytes)) = self.held.remove(&self.expected) {
            self.expected += 1;
            if first != self.partial.is_empty() || self.partial.len() + bytes.len() > message_max {
                return false;
            }
            self.partial.extend_from_slice(&bytes);
            if last {
                let message = Bytes::from(std::mem::take(&mut self.partial));
                // An empty message occupies a place too.
                self.unread += message.len().max(1);
                self.arrived.push_back(message);
            }
        }
        true
    }

    /// An acknowledgement came.
    pub(crate) fn ack(&mut self, next: u32, later: u64, room: u16) {
        if next > self.next_number || next < self.peer_next {
            return;
        }
        self.peer_next = next;
        let opened = self.peer_room == Some(0) && room > 0;
        self.peer_room = Some(room);
        while self.unacked.front().is_some_and(|fragment| fragment.number < next) {
            self.delivered += usize::from(self.unacked.pop_front().is_some_and(|fragment| fragment.last));
        }
        let mut acked_after = 0u8;
        for fragment in self.unacked.iter_mut().rev() {
            let at = fragment.number.wrapping_sub(next).wrapping_sub(1);
            if at < 64 && later >> at & 1 != 0 {
                if !fragment.acked {
                    acked_after = acked_after.saturating_add(1);
                }
                fragment.acked = true;
            } else if fragment.sent.is_some() {
                fragment.overtaken = fragment.overtaken.saturating_add(acked_after);
            }
            if opened {
                fragment.tries = 0;
                fragment.sent = None;
            }
        }
    }

    /// Whether [`next_frame`](Self::next_frame) has one.
    pub(crate) fn has_frame(&self, now: Time, rtt: &Rtt) -> bool {
        self.ack_due || self.sendable(now, rtt).is_some()
    }

    /// Encodes the next frame that fits into `room` bytes.
    pub(crate) fn write(&mut self, now: Time, rtt: &Rtt, room: usize, out: &mut Vec<u8>) -> bool {
        if self.ack_due && room >= 15 {
            self.ack_due = false;
            self.ack_frame().encode(out);
            return true;
        }
        let Some(at) =
            self.sendable(now, rtt).filter(|at| self.unacked[*at].bytes.len() + MSG_OVERHEAD <= room)
        else {
            return false;
        };
        let fragment = &mut self.unacked[at];
        fragment.sent = Some(now);
        fragment.tries += 1;
        fragment.overtaken = 0;
        let (number, first, last) = (fragment.number, fragment.first, fragment.last);
        Frame::Msg { number, first, last, bytes: &fragment.bytes }.encode(out);
        true
    }

    /// When something is to be repeated.
    pub(crate) fn next_wake(&self, rtt: &Rtt) -> Time {
        let due = |fragment: &Fragment| fragment.sent.map(|sent| sent + repeat_after(rtt, fragment.tries));
        self.in_window().filter(|(_, f)| !f.acked).filter_map(|(_, f)| due(f)).min().unwrap_or(Time::NEVER)
    }

    fn ack_frame(&self) -> Frame<'static> {
        let later = self.held.keys().map(|number| number.wrapping_sub(self.expected).wrapping_sub(1));
        let later = later.filter(|at| *at < 64).fold(0, |bits, at| bits | 1u64 << at);
        let room = if self.unread >= UNREAD_MAX { 0 } else { ROOM };
        Frame::MsgAck { next: self.expected, later, room }
    }

    /// The first fragment that may go now.
    fn sendable(&self, now: Time, rtt: &Rtt) -> Option<usize> {
        let due = |fragment: &Fragment| match fragment.sent {
            None => true,
            Some(sent) => {
                fragment.overtaken >= OVERTAKEN_BY || now >= sent + repeat_after(rtt, fragment.tries)
            }
        };
        self.in_window().find(|(_, fragment)| !fragment.acked && due(fragment)).map(|(at, _)| at)
    }

    /// With no room at the peer the first fragment alone goes, again and again, to learn when there is.
    fn in_window(&self) -> impl Iterator<Item = (usize, &Fragment)> {
        let window = WINDOW.min(self.peer_room.unwrap_or(ROOM).max(1).into());
        let end = self.peer_next.saturating_add(window);
        self.unacked.iter().enumerate().take_while(move |(_, fragment)| fragment.number < end)
    }
}

fn repeat_after(rtt: &Rtt, tries: u32) -> Duration {
    (rtt.patience() * 2u32.saturating_pow(tries.saturating_sub(1).min(8)))
        .min(REPEAT_EVERY_MAX.max(rtt.patience()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::udp::frame::decode;
    use pcdn_core::dice::Dice;

    const MAX: usize = 64 * 1024;

    /// Carries frames from one to the other, losing some; gives whether any moved.
    fn carry(now: Time, from: &mut Talk, to: &mut Talk, dice: &mut Dice, loss: f64) -> bool {
        let mut moved = false;
        let mut out = Vec::new();
        while from.write(now, &Rtt::default(), 1300, &mut out) {
            moved = true;
            for frame in decode(&std::mem::take(&mut out)).filter(|_| !dice.chance(loss)) {
                match frame.unwrap() {
                    Frame::Msg { number, first, last, bytes } => {
                        assert!(to.msg(number, first, last, bytes, MAX))
                    }
                    Frame::MsgAck { next, later, room } => to.ack(next, later, room),
                    other => panic!("{other:?}"),
                }
            }
        }
        moved
    }

    proptest::proptest! {
        #[test]
        fn messages_arrive_whole_in_order_once_under_loss(seed: u64, sizes in proptest::collection::vec(0usize..9000, 1..20)) {
            let mut dice = Dice::new(seed);
            let (mut a, mut b) = (Talk::default(), Talk::default());
            let messages: Vec<Bytes> = sizes.iter().enumerate().map(|(i, n)| vec![i as u8; *n].into()).collect();
            messages.iter().for_each(|message| a.send(message));
            let mut now = Time::ZERO;
            let mut got = Vec::new();
            while !a.is_idle() {
                carry(now, &mut a, &mut b, &mut dice, 0.3);
                carry(now, &mut b, &mut a, &mut dice, 0.3);
                while let Some(message) = b.take_arrived() {
                    b.read(message.len().max(1));
                    got.push(message);
                }
                now += Duration::from_millis(50);
                assert!(now < Time::from_secs(600), "stuck");
            }
            proptest::prop_assert_eq!(got, messages);
            proptest::prop_assert_eq!(a.take_delivered(), sizes.len());
        }
    }

    #[test]
    fn a_reader_that_does_not_read_stops_the_peer_and_reading_starts_it_again() {
        let mut dice = Dice::new(1);
        let (mut a, mut b) = (Talk::default(), Talk::default());
        (0..5).for_each(|_| a.send(&vec![1; MAX].into()));
        let mut now = Time::ZERO;
        let mut run = |a: &mut Talk, b: &mut Talk| {
            for _ in 0..300 {
                carry(now, a, b, &mut dice, 0.0);
                carry(now, b, a, &mut dice, 0.0);
                now += Duration::from_millis(50);
            }
        };
        run(&mut a, &mut b);
        assert!((UNREAD_MAX..=UNREAD_MAX + MAX).contains(&b.unread), "{}", b.unread);
        let mut got = 0;
        while let Some(message) = b.take_arrived() {
            b.read(message.len());
            got += 1;
            run(&mut a, &mut b);
        }
        assert_eq!((got, a.is_idle()), (5, true));
    }

    #[test]
    fn a_message_above_the_limit_breaks_the_rules() {
        let mut talk = Talk::default();
        assert!(!talk.msg(0, false, false, b"middle", MAX), "a message begins at its beginning");
        let mut talk = Talk::default();
        let allowed = (0..60).map(|n| talk.msg(n, n == 0, false, &[0; 1200], MAX)).filter(|ok| *ok).count();
        assert!(allowed <= MAX / 1200);
    }
}
