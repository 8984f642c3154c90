//! From facts to gates and a score. The constants are those of the notes on roles, section 5, as are the defaults of [`Rules`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rules;
use crate::unit::Rate;

/// Found at home so often in the last week: more than every other time.
const AVAILABILITY_MIN: f64 = 0.6;
/// Of the audits that are demanded.
const AUDIT_RATE_MIN: f64 = 0.98;
/// One content lost for so many audits at most: a full disk lets some go, and who was praised by liars alone loses each of them.
const LOST_FULL: u32 = 10;

/// Where each part of the score is full: 0.8 s, and these times what is demanded (200 Mbit/s, 64 GiB).
const LATENCY_FULL_MS: f64 = 800.0;
const UPLOAD_FULL: f64 = 10.0;
const PROVEN_FULL: f64 = 8.0;
/// 95 % confidence.
const Z: f64 = 1.96;

/// What is known of a candidate, as numbers. Only what others showed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Whether at least three of the last five witnesses reached it.
    pub reached: bool,
    /// For how long its address is the same.
    pub address_age: Duration,
    /// Five-minute slots of the last 7 days in which it was probed, and in which it answered.
    pub week: (u32, u32),
    /// The same of the last 14 days.
    pub fortnight: (u32, u32),
    /// Whether it does not want to be one.
    pub opted_out: bool,
    /// Median of what downloaders signed for in a minute in which they signed for anything.
    pub upload: Rate,
    /// Bytes of the contents it proved to hold within 7 days.
    pub proven: u64,
    /// Audits of the last 14 days: all, and passed.
    pub audits: (u32, u32),
    /// Contents that it was proven to hold in these days, and then said it did not, without leaving the swarm.
    #[serde(default)]
    pub lost: u32,
    /// Pieces receipted in the last 14 days: all, and bad ones.
    pub pieces: (u64, u64),
    /// 90th percentile of the latencies that witnesses measured, milliseconds.
    pub latency_ms: u16,
    /// Mean loss that they measured, per mille.
    pub lost_permille: u16,
    /// Whether it was proven to lie, or to give what is wrong, within 7 days.
    pub lied: bool,
    /// Defaults of the last 30 days, each fading to nothing over that time.
    pub defaults: f64,
    /// What it has at stake.
    pub stake: u64,
}

/// A condition that must hold, whatever the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// Witnesses of other networks reach it.
    Reached,
    /// Its address is a day old, or as old as is demanded.
    Address,
    /// It is there in 60 % of the probes of a week.
    Availability,
    /// It wants to.
    Willing,
    /// It gives 20 Mbit/s, or what is demanded.
    Upload,
    /// It proved to hold 8 GiB, or what is demanded, in at least 50 audits, 98 % of them passed, and keeps what it proved.
    Storage,
    /// It did not default within a week.
    Honest,
    /// It has the stake that is demanded.
    Stake,
}

/// How a candidate is judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// Gates that are shut; none for one that may be a superpeer.
    pub shut: Vec<Gate>,
    /// 0 to 1.
    pub score: f64,
}

/// Judges a candidate by what others showed of it.
pub fn judge(facts: &Facts, rules: &Rules) -> Judgement {
    let audit_rate = share(facts.audits.1.into(), facts.audits.0.into());
    let gates = [
        (Gate::Reached, facts.reached),
        (Gate::Address, facts.address_age >= rules.address),
        (Gate::Availability, availability(facts.week) >= AVAILABILITY_MIN),
        (Gate::Willing, !facts.opted_out),
        (Gate::Upload, facts.upload >= rules.upload),
        (
            Gate::Storage,
            facts.proven >= rules.proven
                && facts.audits.0 >= rules.audits
                && audit_rate >= AUDIT_RATE_MIN
                && facts.lost * LOST_FULL <= facts.audits.0,
        ),
        (Gate::Honest, !facts.lied),
        (Gate::Stake, rules.stake.is_none_or(|required| facts.stake >= required)),
    ];
    let shut = gates.into_iter().filter(|(_, open)| !open).map(|(gate, _)| gate).collect();
    Judgement { shut, score: score(facts, rules, audit_rate) }
}

fn score(facts: &Facts, rules: &Rules, audit_rate: f64) -> f64 {
    let mbit = |rate: Rate| rate.0 as f64 / 125_000.0;
    let full = 1.0 + mbit(rules.upload) * UPLOAD_FULL;
    let upload = ((1.0 + mbit(facts.upload)).log2() / full.log2()).min(1.0);
    let fulfilled = wilson(facts.pieces.0 - facts.pieces.1.min(facts.pieces.0), facts.pieces.0);
    let quick = 1.0 - (f64::from(facts.latency_ms) / LATENCY_FULL_MS).min(1.0);
    let latency = quick * (1.0 - f64::from(facts.lost_permille.min(1_000)) / 1_000.0);
    let disk = (facts.proven as f64 / (rules.proven as f64 * PROVEN_FULL).max(1.0)).min(1.0) * audit_rate;
    let stake = match rules.stake {
        Some(required) if required > 0 => (facts.stake as f64 / required as f64).min(1.0),
        _ => 1.0,
    };
    let sum = 0.30 * upload
        + 0.25 * availability(facts.fortnight)
        + 0.15 * fulfilled
        + 0.15 * latency
        + 0.10 * disk
        + 0.05 * stake;
    0.5f64.powf(facts.defaults) * sum
}

/// Share of probes answered, with two of each assumed beforehand (Beta(2, 2)): who was probed once is not known yet.
fn availability((probed, answered): (u32, u32)) -> f64 {
    (f64::from(answered) + 2.0) / (f64::from(probed) + 4.0)
}

fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

/// What the true share of `good` among `all` is at least, with 95 % confidence (Wilson 1927).
fn wilson(good: u64, all: u64) -> f64 {
    if all == 0 {
        return 0.0;
    }
    let (n, p) = (all as f64, good as f64 / all as f64);
    let centre = p + Z * Z / (2.0 * n);
    let spread = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((centre - spread) / (1.0 + Z * Z / n)).max(0.0)
}
