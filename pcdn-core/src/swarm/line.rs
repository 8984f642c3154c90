//! What the home's line carries, where nobody said so: found out from what arrives.
//!
//! Where neighbours are faster than the line, whatever is asked beyond what the line carries waits in front of it, and all are late
//! at once: a player then waits behind what it does not need yet, and good neighbours look bad. So no more is asked than comes within
//! about a second at the greatest rate seen (by Little's law that is how long each request then takes). Three states:
//!
//! | state | meaning |
//! |---|---|
//! | `Free` | more is not wanted at once: the line bounds nothing |
//! | `Full` | more is wanted than the line brings within [`TOO_FAR`]: it bounds what is asked, as a configured limit would |
//! | `Idle until` | with less asked less came: neighbours are slow, not the line, so nothing is bounded for a while |
//!
//! That the bound costs nothing is the test of `Full`: as much must come as before. What comes beyond is the line's new rate at once,
//! so a faster line is found within a second or two, as long as a piece takes less than [`AHEAD`] through an idle line.

use std::time::Duration;

use crate::unit::{Rate, Time};

/// Arrivals are counted in buckets, of which the last two seconds are kept.
const BUCKET: Duration = Duration::from_millis(250);
const BUCKETS: usize = 8;
/// Buckets whose mean may raise the estimate at once, if it is far above; the mean of all may raise it by any amount.
const RECENT: usize = 4;
const FAR_ABOVE: f64 = 1.3;
/// What would take longer than this is too much at once. Below the shortest time-out of a request.
const TOO_FAR: Duration = Duration::from_millis(1_000);
/// The same for a film, which is asked for in time: a crowd's neighbours take long, too, and with 0.6 s their slowness was taken for
/// the own line's (the simulator's `nats`: ten stalls in eight runs instead of one).
const TOO_FAR_PLAYING: Duration = Duration::from_millis(1_500);
/// Bytes that may always be asked for while the line bounds nothing: two pieces of each of two neighbours.
const UNKNOWN: u64 = 256 << 10;
/// Seconds of the line that must be under way for it to be called full.
const PART_FAR: f64 = 0.4;
/// In the first second that anything arrives, what no player waits for shall not slow down the start.
const OPENING: Duration = Duration::from_secs(1);
const OPENING_AHEAD: Duration = Duration::from_millis(400);
/// A player's first bytes show a rate after so much time: a fast line is not to be taken for a thin one when its start is asked for.
const OPENED: Duration = Duration::from_millis(100);
/// How far a full line is asked ahead, in general and for what a player waits for. Neighbours' own lines, shared by a crowd, take
/// up to half a second for a piece: with less ahead a wrong bound would not show.
const AHEAD: Duration = Duration::from_millis(700);
const AHEAD_PLAYING: Duration = Duration::from_millis(400);
const AHEAD_PRESSING: Duration = Duration::from_millis(700);
/// `Full` is judged each time this is over: a few times as long as a request then takes.
const PERIOD: Duration = Duration::from_millis(2_000);
/// It is judged only if requests waited for the bound during so much of the period.
const PRESSED_PART: f64 = 0.6;
/// Less than this part of what came before: the bound costs something. Pieces are coarse: at 2 Mbit/s eight come in two seconds.
const KEPT: f64 = 0.75;
/// Periods in a row with less: a slower line loses once or, between two periods, twice, as the estimate follows; slow neighbours lose
/// again with each step.
const STRIKES: u32 = 3;
/// Then the line bounds nothing for so long, doubled each time up to sixteen times.
const FREE_FOR: Duration = Duration::from_secs(30);
const FREE_DOUBLINGS: u32 = 4;
/// `Full` ends when nothing waited for the bound for so long: a player pauses for some seconds with a full buffer.
const UNPRESSED: Duration = Duration::from_secs(10);
/// It ends at once if so many times as much came as when it began: the estimate had been made of too little.
const MISTAKEN: f64 = 2.0;
/// Bytes per second. What carries more than 10 Mbit/s is left alone: a piece takes it 50 ms, less than most neighbours take, and what
/// was asked too much passes before a time-out.
const THIN: f64 = 1_250_000.0;
/// A player of so much may have to wait on a line that carries less than this times as much: with more there is room for what others
/// bring out of turn.
const NARROW: f64 = 1.6;
/// While requests wait all the time, and the line is `Free`, the estimate moves by this part a period to what comes.
const FADE: f64 = 0.2;

/// What was counted in a quarter second.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    bytes: u64,
    /// Time in which something was awaited.
    busy: Duration,
}

/// The estimate.
#[derive(Debug)]
pub(super) struct Line {
    buckets: [Bucket; BUCKETS],
    newest: u64,
    /// Until when time is counted, and whether something is awaited since.
    counted: Time,
    awaited: bool,
    /// Bytes per second the line has been seen to carry, once something came.
    rate: Option<f64>,
    first: Option<Time>,
    /// A player may have to wait on a line that carries less, in bytes per second.
    narrow: f64,
    state: State,
    /// Times in a row that `Full` was wrong.
    wrong: u32,
    period: Period,
}

/// What something is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// A player waits for it, or will in a moment.
    Pressing,
    /// A player will play it later.
    Ahead,
    /// All is wanted, in any order.
    Whole,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Free,
    Full {
        /// Periods with less in a row; not known before the first that was judged, as the estimate may have been of too little time.
        strikes: Option<u32>,
        /// The estimate when it began, and when requests last waited for the bound.
        began: f64,
        pressed: Time,
    },
    Idle {
        until: Time,
    },
}

/// A stretch of time that is judged.
#[derive(Clone, Copy, Debug, Default)]
struct Period {
    since: Time,
    looked: Time,
    is_pressed: bool,
    pressed: Duration,
    /// The estimate when it began.
    rate: f64,
}

impl Line {
    pub(super) fn new(now: Time) -> Self {
        Self {
            buckets: [Bucket::default(); BUCKETS],
            newest: 0,
            counted: now,
            awaited: false,
            rate: None,
            first: None,
            narrow: THIN,
            state: State::Free,
            wrong: 0,
            period: Period { since: now, looked: now, ..Period::default() },
        }
    }

    /// A player takes `pace` in the mean.
    pub(super) fn plays(&mut self, pace: Rate) {
        self.narrow = (pace.0 as f64 * NARROW).max(THIN);
    }

    /// Time passes; `awaited` says whether something is on its way, from anyone.
    pub(super) fn look(&mut self, now: Time, awaited: bool) {
        while self.counted < now {
            let bucket = self.counted.0 / BUCKET.as_micros() as u64;
            self.turn(bucket);
            let next = Time((bucket + 1) * BUCKET.as_micros() as u64).min(now);
            // Long silence is not counted bucket by bucket.
            let next = if now.since(self.counted) > BUCKET * BUCKETS as u32 { now } else { next };
            if self.awaited {
                self.buckets[(bucket % BUCKETS as u64) as usize].busy += next.since(self.counted).min(BUCKET);
            }
            self.counted = next;
        }
        self.awaited = awaited;
    }

    /// Bytes came, from anyone; `whole` says whether all is wanted, in any order.
    pub(super) fn came(&mut self, now: Time, bytes: u64, whole: bool) {
        let bucket = now.0 / BUCKET.as_micros() as u64;
        self.turn(bucket);
        let is_first = self.first.is_none();
        self.first.get_or_insert(now);
        if is_first && !whole {
            // How long it took says little of the line: what comes behind it is counted. A download has many sources at once and is
            // better believed to have a line too fast than too thin (the simulator's `slow-peers`: 2 % later otherwise).
            self.rate = Some(bytes as f64 / BUCKET.as_secs_f64());
            self.buckets = [Bucket::default(); BUCKETS];
            return;
        }
        self.buckets[(bucket % BUCKETS as u64) as usize].bytes += bytes;
        let rate = self.rate.unwrap_or(0.0);
        let opens = !whole && self.first.is_some_and(|first| now.since(first) < BUCKET);
        let least = if opens { OPENED } else { BUCKET };
        let (recent, all) = (self.mean_of(RECENT, least), self.mean_of(BUCKETS, least));
        if recent > rate * FAR_ABOVE {
            self.rate = Some(recent);
        } else if all > rate {
            self.rate = Some(all);
        }
    }

    fn turn(&mut self, bucket: u64) {
        if bucket.saturating_sub(self.newest) >= BUCKETS as u64 {
            self.buckets = [Bucket::default(); BUCKETS];
            self.newest = bucket;
        }
        while self.newest < bucket {
            self.newest += 1;
            self.buckets[(self.newest % BUCKETS as u64) as usize] = Bucket::default();
        }
    }

    /// Bytes per second of the time in which something was awaited, in the last `buckets`.
    fn mean(&self, buckets: usize) -> f64 {
        self.mean_of(buckets, BUCKET)
    }

    /// The same, where that was no shorter than `least`.
    fn mean_of(&self, buckets: usize, least: Duration) -> f64 {
        let last = (0..buckets as u64).map(|back| (self.newest + BUCKETS as u64 - back) % BUCKETS as u64);
        let (bytes, busy) = last.fold((0, Duration::ZERO), |(bytes, busy), at| {
            let bucket = self.buckets[at as usize];
            (bytes + bucket.bytes, busy + bucket.busy)
        });
        bytes as f64 / busy.max(least).as_secs_f64()
    }

    /// The line's rate while it is full, else unlimited.
    pub(super) fn bound(&self) -> Rate {
        match (self.state, self.rate) {
            (State::Full { .. }, Some(rate)) if self.is_thin() => Rate((rate as u64).max(1)),
            _ => Rate::UNLIMITED,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.is_thin() && matches!(self.state, State::Full { .. })
    }

    /// Whether the first bytes came but now, of a line that may be thin.
    pub(super) fn opens(&self, now: Time) -> bool {
        self.is_thin() && self.first.is_some_and(|first| now.since(first) < OPENING)
    }

    /// The greatest rate seen of late, where the line may be thin.
    pub(super) fn seen(&self) -> Option<Rate> {
        self.rate.filter(|_| self.is_thin()).map(|rate| Rate((rate as u64).max(1)))
    }

    /// What a line carries on which a player may have to wait, unless its neighbours are known to be slower; else unlimited.
    pub(super) fn carries(&self, now: Time) -> Rate {
        let rate = self.rate.filter(|rate| *rate < self.narrow).map(|rate| Rate((rate as u64).max(1)));
        match (self.state, rate) {
            (State::Idle { until }, _) if now < until => Rate::UNLIMITED,
            (_, rate) => rate.unwrap_or(Rate::UNLIMITED),
        }
    }

    /// Whether the line may be what holds things up: lines that carry more are left alone.
    fn is_thin(&self) -> bool {
        self.rate.is_some_and(|rate| rate < THIN)
    }

    /// Bytes that may be asked for now, with `on_way` bytes on their way.
    pub(super) fn room(&self, now: Time, on_way: u64, want: Want) -> u64 {
        if !self.is_thin() {
            return u64::MAX;
        }
        let opening = want == Want::Ahead && self.opens(now);
        let (within, least) = match (self.state, want) {
            (State::Idle { until }, _) if now < until => return u64::MAX,
            (State::Full { .. }, Want::Pressing) => (AHEAD_PRESSING, 1),
            (State::Full { .. }, Want::Ahead) => (AHEAD_PLAYING, 1),
            (State::Full { .. }, Want::Whole) => (AHEAD, 1),
            (_, Want::Whole) => (TOO_FAR, UNKNOWN),
            _ if opening => (OPENING_AHEAD, 1),
            _ => (TOO_FAR_PLAYING, UNKNOWN / 2),
        };
        let most = self.seen().map_or(0, |rate| rate.bytes_in(within));
        most.max(least).saturating_sub(on_way)
    }

    /// More was wanted than [`room`](Self::room) allows, with `on_way` bytes on their way; says whether that is news.
    pub(super) fn refused(&mut self, now: Time, on_way: u64) -> bool {
        let rate = self.rate.filter(|_| self.is_thin()).filter(|rate| on_way as f64 >= rate * PART_FAR);
        let Some(rate) = rate else { return false };
        let free = match self.state {
            State::Free => true,
            State::Idle { until } => until <= now,
            State::Full { .. } => false,
        };
        if free {
            self.state = State::Full { strikes: None, began: rate, pressed: now };
            self.begin_period(now);
        }
        free
    }

    fn begin_period(&mut self, now: Time) {
        self.period = Period { since: now, looked: now, rate: self.rate.unwrap_or(0.0), ..Period::default() };
    }

    /// A plan was carried out; `pressed` says whether the bound left nothing to ask for.
    pub(super) fn planned(&mut self, now: Time, pressed: bool) {
        if std::mem::replace(&mut self.period.is_pressed, pressed) {
            self.period.pressed += now.since(self.period.looked);
        }
        self.period.looked = now;
        let Some(rate) = self.rate else { return };
        if let State::Full { pressed: last, began, .. } = &mut self.state {
            *last = if pressed { now } else { *last };
            let unpressed = now.since(*last);
            if unpressed > UNPRESSED || (!pressed && rate > *began * MISTAKEN) {
                self.state = State::Free;
                return self.begin_period(now);
            }
        }
        let span = now.since(self.period.since);
        if span < PERIOD {
            return;
        }
        let came = self.mean(BUCKETS);
        let judged = self.period.pressed.as_secs_f64() >= span.as_secs_f64() * PRESSED_PART;
        let before = self.period.rate;
        match &mut self.state {
            State::Full { strikes: Some(strikes), .. } if judged && came < before * KEPT => {
                *strikes += 1;
                self.rate = Some(came.max(1.0));
                if *strikes >= STRIKES {
                    let times = 1 << self.wrong.min(FREE_DOUBLINGS);
                    self.state = State::Idle { until: now + FREE_FOR * times };
                    self.rate = Some(before);
                    self.wrong += 1;
                }
            }
            State::Full { strikes, .. } if judged => {
                self.wrong = if strikes.is_some() { 0 } else { self.wrong };
                *strikes = Some(0);
                self.rate = Some(if came < rate { (rate + came) / 2.0 } else { rate });
            }
            State::Full { .. } => {}
            State::Free | State::Idle { .. } => {
                let busy: Duration = self.buckets.iter().map(|bucket| bucket.busy).sum();
                if busy > PERIOD * 3 / 4 && came < rate {
                    self.rate = Some(rate + (came - rate) * FADE);
                }
            }
        }
        self.begin_period(now);
    }
}

#[cfg(test)]
mod tests;
