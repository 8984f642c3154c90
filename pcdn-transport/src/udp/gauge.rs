//! What the receiver of DATA measures, and when it reports it.

use std::time::Duration;

use pcdn_core::unit::{Rate, Time};

use super::frame::Feedback;
use super::rtt::Rtt;
use super::subs::SUB_BYTES_MAX;

/// DATA packets between two reports at most, once a session runs: 0.1 % of the bytes.
const REPORT_EVERY: u64 = 32;
/// On a fast path a report comes after [`REPORT_TIME`] of packets, if that is more, up to this: the window is far larger there, and a
/// report costs both ends as much as sealing ten packets.
const REPORT_EVERY_FAST: u64 = 128;
const REPORT_TIME: Duration = Duration::from_millis(2);
/// And at the start, so that a window of 16 grows while it arrives.
const REPORT_EVERY_FIRST: u64 = 4;
/// Time between two reports while DATA comes: half a round trip within these bounds.
const REPORT_AFTER_MIN: Duration = Duration::from_millis(10);
const REPORT_AFTER_MAX: Duration = Duration::from_millis(25);
/// On a path that loses this much, small packets that matter go twice.
pub(crate) const LOSSY_PERMILLE: u16 = 10;
/// The rate is measured over spans of this length.
const RATE_SPAN: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(crate) struct Gauge {
    /// Packets opened, of any kind.
    received: u64,
    data: u64,
    unreported: u64,
    report_at: Option<Time>,
    /// Whether that is a repetition.
    again: bool,
    stamp: u32,
    stamp_came: Time,
    delay: Option<u32>,
    span_began: Time,
    span_bytes: u64,
    span_packets: (u64, u64),
    rate: u64,
    loss_permille: u16,
}

impl Gauge {
    /// A packet opened.
    pub(crate) fn packet(&mut self) {
        self.received += 1;
    }

    /// It held DATA of `bytes` bytes.
    pub(crate) fn data(&mut self, now: Time, rtt: &Rtt, stamp: u32, bytes: usize, highest: u64) {
        self.data += 1;
        self.unreported += 1;
        self.span_bytes += bytes as u64;
        self.stamp = stamp;
        self.stamp_came = now;
        let delay = (now.0 as u32).wrapping_sub(stamp);
        // The clocks differ by anything, so "less" is judged by the shorter way round.
        if self.delay.is_none_or(|least| (delay.wrapping_sub(least) as i32) < 0) {
            self.delay = Some(delay);
        }
        let wait = (rtt.smooth() / 2).clamp(REPORT_AFTER_MIN, REPORT_AFTER_MAX);
        if std::mem::take(&mut self.again) {
            self.report_at = None;
        }
        let report_at = self.report_at.get_or_insert(now + wait);
        let fast = Rate(self.rate).bytes_in(REPORT_TIME) / u64::from(SUB_BYTES_MAX);
        let every = fast.clamp(REPORT_EVERY, REPORT_EVERY_FAST);
        if self.unreported >= (self.data / 8).clamp(REPORT_EVERY_FIRST, every) {
            *report_at = now;
        }
        if now.since(self.span_began) >= RATE_SPAN {
            self.end_span(now, highest);
        }
    }

    /// When a report is due.
    pub(crate) fn report_at(&self) -> Time {
        self.report_at.unwrap_or(Time::NEVER)
    }

    /// The report, if any DATA ever came; `highest` is the highest packet number received.
    pub(crate) fn report(&mut self, now: Time, rtt: &Rtt, highest: u64) -> Option<Feedback> {
        // Where packets get lost, the last report before a pause may be one of them, and the peer waits for it.
        self.again = !self.again && self.loss_permille >= LOSSY_PERMILLE;
        self.report_at = self.again.then(|| now + 2 * rtt.smooth());
        self.unreported = 0;
        let waited = now.since(self.stamp_came).as_micros().min(u128::from(u32::MAX)) as u32;
        // Without a new delay since the last report, the last packet's will do.
        let last = (self.stamp_came.0 as u32).wrapping_sub(self.stamp);
        let delay = self.delay.take().unwrap_or(last);
        let (highest, received) = (highest as u32, self.received as u32);
        (self.data > 0).then_some(Feedback {
            highest,
            received,
            stamp: self.stamp,
            waited,
            delay,
            clock: now.0 as u32,
        })
    }

    /// Content bytes a second lately.
    pub(crate) fn rate(&self, now: Time) -> u64 {
        if now.since(self.span_began) > 4 * RATE_SPAN { 0 } else { self.rate }
    }

    /// Packets lost on the way here lately, of a thousand.
    pub(crate) fn loss_permille(&self) -> u16 {
        self.loss_permille
    }

    fn end_span(&mut self, now: Time, highest: u64) {
        let (before, received_before) = self.span_packets;
        let (due, came) = (highest + 1 - before.min(highest), self.received - received_before);
        // A span may hold few packets, so four count.
        let lost = (1000 * due.saturating_sub(came) / due.max(1)) as u16;
        self.loss_permille = (3 * self.loss_permille + lost).div_ceil(4);
        let span = now.since(self.span_began).min(4 * RATE_SPAN).as_micros().max(1) as u64;
        self.rate = self.span_bytes * 1_000_000 / span;
        (self.span_began, self.span_bytes, self.span_packets) = (now, 0, (highest + 1, self.received));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_often_at_first_and_then_every_32_or_by_time() {
        let (mut gauge, rtt) = (Gauge::default(), Rtt::default());
        let mut reports = 0;
        for n in 0..1000u64 {
            gauge.packet();
            gauge.data(Time::from_millis(1), &rtt, 0, 1280, n);
            if gauge.report_at() <= Time::from_millis(1) {
                reports += 1;
                assert_eq!(gauge.report(Time::from_millis(1), &rtt, n).unwrap().highest, n as u32);
            }
        }
        assert!((35..60).contains(&reports), "{reports}");
        gauge.report(Time::from_millis(49), &rtt, 999);
        gauge.data(Time::from_millis(50), &rtt, 0, 1280, 1000);
        assert_eq!(gauge.report_at(), Time::from_millis(75));
    }

    #[test]
    fn the_least_delay_is_reported_whatever_the_clocks() {
        let mut gauge = Gauge::default();
        for (now, stamp) in [(100, u32::MAX - 10), (200, 80), (300, 200)] {
            gauge.data(Time(now), &Rtt::default(), stamp, 1, 0);
        }
        assert_eq!(gauge.report(Time(300), &Rtt::default(), 0).unwrap().delay, 100);
    }
}
