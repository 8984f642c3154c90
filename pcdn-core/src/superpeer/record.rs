//! What is remembered of one candidate, in bounded space: about 2 KB.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, Fact, Round};
use super::judge::Facts;
use crate::id::SwarmKey;
use crate::unit::{Rate, Time};

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Days of counters.
const DAYS: u64 = 14;
const WEEK_DAYS: u64 = 7;
/// Minutes with uploads that the median is taken of: an hour's worth, so one burst is outvoted and a new line soon seen.
const MINUTES: usize = 64;
/// Rounds that latency is taken of.
const ROUNDS: usize = 32;
/// Contents whose audits count: sixty-four of a gigabyte are a full score.
const CONTENTS: usize = 64;
/// Defaults remembered: eight halve the score to nothing.
const DEFAULTS: usize = 16;
/// A default fades over this.
const DEFAULT_FADES: Duration = DAY.saturating_mul(30);
/// Rounds in a row that did not reach it and demote at once.
const LOST_ROUNDS: u32 = 3;
/// A candidate that did not announce for so long is forgotten.
const STALE: Duration = DAY.saturating_mul(14);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    address: Option<(IpAddr, Time)>,
    last_seen: Time,
    opted_out: bool,
    reached: bool,
    lost_rounds: u32,
    slot: Option<u64>,
    slot_answered: bool,
    days: VecDeque<Day>,
    rounds: VecDeque<(u16, u16)>,
    minutes: VecDeque<(u32, u64)>,
    contents: BTreeMap<SwarmKey, (u64, Time)>,
    defaults: VecDeque<Time>,
    stake: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Day {
    number: u64,
    probed: u32,
    answered: u32,
    audits: u32,
    passed: u32,
    #[serde(default)]
    lost: u32,
    pieces: u64,
    bad: u64,
}

impl Record {
    pub(super) fn seen(&mut self, now: Time, from: IpAddr) {
        self.last_seen = now;
        if self.address.is_none_or(|(address, _)| address != from) {
            self.address = Some((from, now));
        }
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address.map(|(address, _)| address)
    }

    pub(super) fn opt_out(&mut self, out: bool) {
        self.opted_out = out;
    }

    /// It has left swarms: what it held of them it need not hold any more.
    pub(super) fn left(&mut self, of: impl Fn(&SwarmKey) -> bool) {
        self.contents.retain(|swarm, _| !of(swarm));
    }

    pub(super) fn is_stale(&self, now: Time) -> bool {
        now.since(self.last_seen) > STALE
    }

    /// Remembers what was shown; true if it demotes at once. Probes count once in a `slot`: more of them say nothing more.
    pub(super) fn take(&mut self, now: Time, evidence: &Evidence, slot: Duration) -> bool {
        match evidence.fact {
            Fact::Round(round) => return self.round(now, &round, slot),
            Fact::Receipt { minute, bytes, pieces, bad } => {
                let day = self.day(now);
                day.pieces += u64::from(pieces);
                day.bad += u64::from(bad);
                self.minute(minute, bytes);
            }
            Fact::Audit { passed, swarm, held } => self.audit(now, passed, swarm, held),
            Fact::Declined(swarm) => {
                if self.contents.remove(&swarm).is_some() {
                    self.day(now).lost += 1;
                }
            }
            Fact::Default => {
                push(&mut self.defaults, now, DEFAULTS);
                return true;
            }
            Fact::Stake(amount) => self.stake = amount,
        }
        false
    }

    fn round(&mut self, now: Time, round: &Round, slot: Duration) -> bool {
        self.reached = round.reached;
        self.lost_rounds = if round.reached { 0 } else { self.lost_rounds + 1 };
        if round.reached {
            push(&mut self.rounds, (round.latency_ms, round.lost_permille), ROUNDS);
        }
        let slot = now.0 / (slot.as_micros() as u64).max(1);
        let fresh = self.slot != Some(slot);
        let gained = round.reached && (fresh || !self.slot_answered);
        self.slot_answered = round.reached || (!fresh && self.slot_answered);
        self.slot = Some(slot);
        let day = self.day(now);
        day.probed += u32::from(fresh);
        day.answered += u32::from(gained);
        self.lost_rounds >= LOST_ROUNDS
    }

    fn audit(&mut self, now: Time, passed: bool, swarm: SwarmKey, held: u64) {
        let day = self.day(now);
        day.audits += 1;
        day.passed += u32::from(passed);
        if !passed {
            self.contents.remove(&swarm);
            return;
        }
        self.contents.insert(swarm, (held, now));
        if self.contents.len() > CONTENTS {
            let least = self.contents.iter().min_by_key(|(_, (held, _))| *held).map(|(swarm, _)| *swarm);
            least.map(|swarm| self.contents.remove(&swarm));
        }
    }

    fn minute(&mut self, minute: u32, bytes: u64) {
        match self.minutes.iter_mut().find(|(of, _)| *of == minute) {
            Some((_, sum)) => *sum = sum.saturating_add(bytes),
            None => push(&mut self.minutes, (minute, bytes), MINUTES),
        }
    }

    fn day(&mut self, now: Time) -> &mut Day {
        let number = day_of(now);
        if self.days.back().is_none_or(|day| day.number < number) {
            push(&mut self.days, Day { number, ..Day::default() }, DAYS as usize);
        }
        self.days.back_mut().expect("today was entered above")
    }

    pub(super) fn facts(&self, now: Time) -> Facts {
        let today = day_of(now);
        let within = |days: u64| self.days.iter().filter(move |day| day.number + days > today);
        let probes =
            |days: u64| within(days).fold((0, 0), |sum, day| (sum.0 + day.probed, sum.1 + day.answered));
        let sums = within(DAYS).fold(((0, 0), (0, 0)), |(audits, pieces), day| {
            let audits = (audits.0 + day.audits, audits.1 + day.passed);
            (audits, (pieces.0 + day.pieces, pieces.1 + day.bad))
        });
        let fresh = |at: &Time| now.since(*at) < DAY.saturating_mul(WEEK_DAYS as u32);
        let proven = self.contents.values().filter(|(_, at)| fresh(at)).map(|(held, _)| held);
        let fading = |at: &Time| 1.0 - now.since(*at).as_secs_f64() / DEFAULT_FADES.as_secs_f64();
        let mut latencies: Vec<u16> = self.rounds.iter().map(|(latency, _)| *latency).collect();
        let lost: u64 = self.rounds.iter().map(|(_, lost)| u64::from(*lost)).sum();
        let mut minutes: Vec<u64> = self.minutes.iter().map(|(_, bytes)| *bytes).collect();
        Facts {
            reached: self.reached,
            address_age: self.address.map_or(Duration::ZERO, |(_, since)| now.since(since)),
            week: probes(WEEK_DAYS),
            fortnight: probes(DAYS),
            opted_out: self.opted_out,
            upload: Rate(quantile(&mut minutes, 50).unwrap_or_default() / 60),
            proven: proven.fold(0, |sum, held| sum.saturating_add(*held)),
            audits: sums.0,
            lost: within(DAYS).map(|day| day.lost).sum(),
            pieces: sums.1,
            latency_ms: quantile(&mut latencies, 90).unwrap_or(u16::MAX),
            lost_permille: (lost / (self.rounds.len() as u64).max(1)) as u16,
            lied: self.defaults.iter().any(fresh),
            defaults: self.defaults.iter().map(fading).filter(|weight| *weight > 0.0).sum(),
            stake: self.stake,
        }
    }
}

fn day_of(now: Time) -> u64 {
    now.0 / 1_000_000 / DAY.as_secs()
}

fn push<T>(queue: &mut VecDeque<T>, item: T, max: usize) {
    queue.push_back(item);
    if queue.len() > max {
        queue.pop_front();
    }
}

fn quantile<T: Ord + Copy>(values: &mut [T], percent: usize) -> Option<T> {
    values.sort_unstable();
    let at = (values.len() * percent / 100).min(values.len().saturating_sub(1));
    values.get(at).copied()
}
