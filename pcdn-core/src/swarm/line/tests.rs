use super::*;

const PIECE: u64 = 65_536;

/// Sources with a bound of their own behind one line, asked for as much as the estimate allows.
struct Home {
    now: Time,
    line: Line,
    /// Bytes per second of the line; time a source takes for a piece, and how many pieces it works on at once at most.
    rate: u64,
    takes: Duration,
    sources: usize,
    /// When pieces on their way are at the line, and when they are through.
    on_way: Vec<Time>,
    busy: Time,
    came: u64,
}

impl Home {
    fn new(mbit: u64, takes_ms: u64, sources: usize) -> Self {
        let (now, rate) = (Time::ZERO, Rate::from_mbit(mbit).0);
        let takes = Duration::from_millis(takes_ms);
        Self { now, line: Line::new(now), rate, takes, sources, on_way: Vec::new(), busy: now, came: 0 }
    }

    /// Bytes per second that came in the last of `seconds`.
    fn run(&mut self, seconds: u64) -> f64 {
        let (end, mut before) = (self.now + Duration::from_secs(seconds), 0);
        while self.now < end {
            self.now += Duration::from_millis(10);
            self.line.look(self.now, !self.on_way.is_empty());
            let now = self.now;
            let here = self.on_way.iter().filter(|at| **at <= now).count() as u64;
            self.on_way.retain(|at| *at > now);
            (0..here).for_each(|_| self.line.came(now, PIECE, true));
            self.came += here * PIECE;
            self.ask();
            before = if end.since(now) >= Duration::from_secs(1) { self.came } else { before };
        }
        (self.came - before) as f64
    }

    fn ask(&mut self) {
        let bytes = |home: &Self| home.on_way.len() as u64 * PIECE;
        while self.on_way.len() < self.sources {
            if self.line.room(self.now, bytes(self), Want::Whole) == 0 {
                self.line.refused(self.now, bytes(self));
                break;
            }
            let passes = Duration::from_secs_f64(PIECE as f64 / self.rate as f64);
            self.busy = self.busy.max(self.now + self.takes) + passes;
            self.on_way.push(self.busy);
        }
        let left = self.line.room(self.now, bytes(self), Want::Whole);
        self.line.planned(self.now, left == 0);
    }
}

#[test]
fn a_thin_line_is_found_and_bounds_what_is_asked_and_costs_nothing() {
    for mbit in [2, 4, 8] {
        let mut home = Home::new(mbit, 60, 32);
        let came = home.run(20);
        assert!(home.line.is_full(), "{mbit}");
        assert!(came > home.rate as f64 * 0.75, "{mbit}: {came} bytes of {}", home.rate);
        let bound = home.line.bound().0 as f64 / home.rate as f64;
        assert!((0.8..1.4).contains(&bound), "{mbit}: {bound}");
        assert!(home.on_way.len() as u64 * PIECE < home.rate + 2 * PIECE, "{mbit}: {}", home.on_way.len());
    }
}

#[test]
fn a_line_that_becomes_faster_is_found_within_seconds() {
    let mut home = Home::new(2, 60, 32);
    home.run(20);
    home.rate *= 8;
    let came = home.run(5);
    assert!(came > home.rate as f64 * 0.7, "{came} bytes of {}", home.rate);
}

#[test]
fn a_line_that_becomes_slower_is_followed() {
    let mut home = Home::new(8, 60, 32);
    home.run(20);
    home.rate /= 2;
    home.run(10);
    let bound = home.line.bound().0 as f64 / home.rate as f64;
    assert!((0.8..1.4).contains(&bound), "{bound}");
}

#[test]
fn slow_neighbours_are_not_taken_for_a_slow_line() {
    let mut home = Home::new(100, 2_600, 32);
    let all = 32.0 * PIECE as f64 / 2.6;
    home.run(12);
    let came = home.run(26) / all;
    assert!(!home.line.is_full());
    assert!(home.on_way.len() == 32, "{} {came}", home.on_way.len());
}

#[test]
fn a_fast_line_is_never_bounded() {
    let mut home = Home::new(100, 60, 24);
    home.run(1);
    for _ in 0..20 {
        home.run(1);
        assert!(!home.line.is_full() && home.on_way.len() == 24);
    }
}
