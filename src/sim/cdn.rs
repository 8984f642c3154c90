//! The CDN: one capacity, shared equally by the transfers that have something to send.
//!
//! Processor sharing by virtual time: with n transfers active the virtual clock runs at capacity ÷ n, and a part of a body of
//! b bytes is sent once the clock has gone b further. So an arrival or a departure changes one number, not n.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use pcdn_core::unit::Time;

use super::net;
use super::scenario::OriginSpec;

/// Parts in which bodies are sent: about a piece. Smaller is finer and costs more events.
pub(super) const PART_BYTES: u32 = 64 << 10;

/// What a new connection sends before it hears anything: ten full segments (RFC 6928).
const WINDOW: f64 = 14_480.0;

/// The CDN and its transfers.
#[derive(Debug)]
pub(super) struct Cdn {
    spec: OriginSpec,
    rate: f64,
    /// The virtual clock: bytes each active transfer was sent since the world began.
    clock: f64,
    updated: Time,
    /// By the clock's reading when their part is sent (a positive float orders as its bits), then by number.
    active: BTreeMap<(u64, u32), ()>,
    pub(super) transfers: Vec<Transfer>,
    /// Events made before this are stale.
    pub(super) turn: u32,
    /// Body bytes sent, for whoever.
    pub(super) sent: u64,
}

/// One range request.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) peer: u32,
    pub(super) run: u64,
    /// The next byte to send, and one past the last.
    pub(super) at: u64,
    pub(super) end: u64,
    began: u64,
    /// The next byte to arrive.
    pub(super) arrived: u64,
    /// Parts on their way to the viewer.
    pub(super) on_way: VecDeque<u32>,
    /// When its first byte left, and its round trip if the connection still has to find its pace.
    opened: Option<Time>,
    slow_start: Option<u64>,
    /// Whether the viewer has hung up, or all is told.
    pub(super) over: bool,
    /// Whether the CDN has heard that it hung up.
    pub(super) stopped: bool,
    part: u32,
    key: Option<(u64, u32)>,
}

impl Cdn {
    pub(super) fn new(spec: OriginSpec) -> Self {
        Self {
            rate: net::per_micro(spec.rate),
            spec,
            clock: 0.0,
            updated: Time::ZERO,
            active: BTreeMap::new(),
            transfers: Vec::new(),
            turn: 0,
            sent: 0,
        }
    }

    pub(super) fn latency(&self) -> u64 {
        self.spec.latency.0.as_micros() as u64
    }

    pub(super) fn think(&self) -> u64 {
        self.spec.think.0.as_micros() as u64
    }

    /// The status it answers now, if it does not work.
    pub(super) fn failing(&self, now: Time) -> Option<u16> {
        let inside = |from: u64, until: u64| (from..until).contains(&now.0);
        let hit = self
            .spec
            .outages
            .iter()
            .find(|o| inside(o.from.0.as_micros() as u64, o.until.0.as_micros() as u64));
        hit.map(|outage| outage.status)
    }

    /// A request is on its way; it counts once it [starts](Self::start).
    /// `slow_start`: the round trip of a new connection.
    pub(super) fn request(&mut self, peer: u32, run: u64, range: Range<u64>, slow_start: Option<u64>) -> u32 {
        self.transfers.push(Transfer {
            peer,
            run,
            at: range.start,
            end: range.end,
            arrived: range.start,
            began: range.start,
            on_way: VecDeque::new(),
            opened: None,
            slow_start,
            over: false,
            stopped: false,
            part: 0,
            key: None,
        });
        (self.transfers.len() - 1) as u32
    }

    /// When the next part of a transfer may be sent at the earliest: a new connection doubles its window each round trip.
    pub(super) fn may_start(&mut self, now: Time, id: u32) -> Time {
        let transfer = &mut self.transfers[id as usize];
        let opened = *transfer.opened.get_or_insert(now);
        let Some(trip) = transfer.slow_start else { return now };
        let part = (transfer.end - transfer.at).min(u64::from(PART_BYTES));
        let sent = (transfer.at - transfer.began + part) as f64;
        // After k round trips WINDOW · (2^k − 1) bytes were sent; a part's last bytes leave one round trip before they count.
        let trips = (sent / WINDOW + 1.0).log2() - 1.0;
        now.max(Time(opened.0 + (trips.max(0.0) * trip as f64) as u64))
    }

    /// Begins to send the next part of a transfer.
    pub(super) fn start(&mut self, now: Time, id: u32) {
        self.run_clock(now);
        let transfer = &mut self.transfers[id as usize];
        transfer.part = (transfer.end - transfer.at).min(u64::from(PART_BYTES)) as u32;
        let done = self.clock + net::body_on_wire(transfer.part);
        let key = (done.to_bits(), id);
        transfer.key = Some(key);
        self.active.insert(key, ());
        self.turn += 1;
    }

    /// Stops a transfer, wherever it is.
    pub(super) fn stop(&mut self, now: Time, id: u32) {
        self.run_clock(now);
        let transfer = &mut self.transfers[id as usize];
        transfer.stopped = true;
        if let Some(key) = transfer.key.take() {
            // What was sent of the part counts, though it is of no use.
            let left =
                (f64::from_bits(key.0) - self.clock).max(0.0) / net::body_on_wire(transfer.part).max(1.0);
            self.sent += (f64::from(transfer.part) * (1.0 - left).clamp(0.0, 1.0)) as u64;
            self.active.remove(&key);
            self.turn += 1;
        }
    }

    /// Takes out a transfer whose part is sent by now, with the part's length.
    pub(super) fn finish(&mut self, now: Time) -> Option<(u32, u32)> {
        self.run_clock(now);
        let (&key, ()) = self.active.first_key_value()?;
        // The event was rounded up to a whole microsecond; half a byte covers the arithmetic.
        if f64::from_bits(key.0) > self.clock + 0.5 {
            return None;
        }
        self.active.remove(&key);
        let transfer = &mut self.transfers[key.1 as usize];
        transfer.key = None;
        transfer.at += u64::from(transfer.part);
        transfer.on_way.push_back(transfer.part);
        self.sent += u64::from(transfer.part);
        self.turn += 1;
        Some((key.1, transfer.part))
    }

    /// When the next part is sent if nothing changes.
    pub(super) fn next(&self) -> Option<Time> {
        let (&(done, _), ()) = self.active.first_key_value()?;
        let left = (f64::from_bits(done) - self.clock).max(0.0) * self.active.len() as f64 / self.rate;
        Some(Time(self.updated.0 + left.ceil() as u64))
    }

    fn run_clock(&mut self, now: Time) {
        let span = now.0.saturating_sub(self.updated.0) as f64;
        if !self.active.is_empty() {
            self.clock += span * self.rate / self.active.len() as f64;
        }
        self.updated = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the CDN alone; says when each transfer was all sent, in milliseconds.
    fn drain(cdn: &mut Cdn, mut waiting: Vec<(u64, u32)>) -> Vec<u64> {
        let mut done = vec![0; cdn.transfers.len()];
        loop {
            let arrival = waiting.first().map(|(at, _)| Time(*at));
            match (arrival, cdn.next()) {
                (Some(at), next) if next.is_none_or(|next| at <= next) => cdn.start(at, waiting.remove(0).1),
                (_, Some(now)) => {
                    while let Some((id, _)) = cdn.finish(now) {
                        let transfer = &cdn.transfers[id as usize];
                        match transfer.at < transfer.end {
                            true => cdn.start(now, id),
                            false => done[id as usize] = now.0 / 1_000,
                        }
                    }
                }
                _ => return done,
            }
        }
    }

    #[test]
    fn a_new_connection_finds_its_pace() {
        let spec = "rate = '1000MB/s'".parse::<toml::Table>().unwrap().try_into().unwrap();
        let mut cdn = Cdn::new(spec);
        let id = cdn.request(0, 0, 0..1 << 20, Some(20_000));
        let mut starts = Vec::new();
        while cdn.transfers[0].at < 1 << 20 {
            let at = cdn.may_start(cdn.updated, id);
            cdn.start(at, id);
            starts.push(at.0 / 1_000);
            let sent = cdn.next().unwrap();
            cdn.finish(sent).unwrap();
        }
        // 64 KiB are five and a half windows, 1 MiB are 72: between two and three, and just above six round trips.
        assert!((25..35).contains(&starts[0]), "{starts:?}");
        assert!((100..110).contains(starts.last().unwrap()), "{starts:?}");
        let kept = cdn.request(0, 0, 0..1 << 20, None);
        assert_eq!(cdn.may_start(Time(7), kept), Time(7));
    }

    #[test]
    fn capacity_is_shared_by_who_is_there() {
        let spec = "rate = '1.036MB/s'".parse::<toml::Table>().unwrap().try_into().unwrap();
        let mut cdn = Cdn::new(spec);
        let size = 16 * u64::from(PART_BYTES);
        let ids: Vec<u32> = (0..2).map(|peer| cdn.request(peer, 0, 0..size, None)).collect();
        // The second comes when the first has half: both share, then the second has all for its last half.
        let half = size / 2;
        let done = drain(&mut cdn, vec![(0, ids[0]), (half, ids[1])]);
        let want = [half + size, 2 * size].map(|micros| micros / 1_000);
        for (got, want) in done.iter().zip(want) {
            assert!(got.abs_diff(want) <= 70, "{done:?} {want}");
        }
        assert_eq!(cdn.sent, 2 * size);
    }
}
