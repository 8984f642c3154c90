//! Hysteresis: who is good for an hour rises, who is bad for half an hour falls, and who lied falls at once.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rules;
use super::judge::Judgement;
use crate::unit::Time;

/// Rises at this score and falls below that one: between them nothing changes, so nobody flaps.
const RISE: f64 = 0.70;
const FALL: f64 = 0.55;
/// Windows in a row.
const GOOD_WINDOWS: u8 = 6;
const BAD_WINDOWS: u8 = 3;
/// What a new one gets until its probation is over.
const PROBATION_SHARE: f64 = 0.25;
/// The wait doubles with each fall, up to so many times the first: two weeks after a day.
const COOL_DOWNS_MAX: u32 = 14;
/// Falls are forgiven after a month without one.
const FORGIVEN: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Where a peer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Like everyone.
    #[default]
    Ordinary,
    /// A superpeer; until `probation` is over with a quarter of the share.
    Super {
        /// When the share becomes full.
        probation: Time,
    },
    /// Was one, and may not be again before `until`.
    Cooling {
        /// When the wait is over.
        until: Time,
    },
}

impl Standing {
    /// Whether it is a superpeer, on probation or not.
    pub fn is_super(self) -> bool {
        matches!(self, Self::Super { .. })
    }

    /// Its part of a superpeer's priority, 0 to 1.
    pub fn share(self, now: Time) -> f64 {
        match self {
            Self::Super { probation } if now < probation => PROBATION_SHARE,
            Self::Super { .. } => 1.0,
            _ => 0.0,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Track {
    standing: Standing,
    good: u8,
    bad: u8,
    falls: u32,
    fell: Time,
}

impl Track {
    pub(super) fn standing(&self) -> Standing {
        self.standing
    }

    /// A window ended with this judgement.
    pub(super) fn window(&mut self, now: Time, judgement: &Judgement, rules: &Rules) -> Option<Standing> {
        let open = judgement.shut.is_empty();
        self.good = if open && judgement.score >= RISE { (self.good + 1).min(GOOD_WINDOWS) } else { 0 };
        self.bad = if !open || judgement.score < FALL { (self.bad + 1).min(BAD_WINDOWS) } else { 0 };
        match self.standing {
            Standing::Super { .. } if self.bad >= BAD_WINDOWS => self.fall(now, rules),
            Standing::Cooling { until } if now >= until => {
                self.standing = Standing::Ordinary;
                Some(self.standing)
            }
            _ => None,
        }
    }

    /// Whether it was good for long enough, and need not wait.
    pub(super) fn is_ready(&self, now: Time) -> bool {
        let waits = matches!(self.standing, Standing::Cooling { until } if now < until);
        self.good >= GOOD_WINDOWS && !waits && !self.standing.is_super()
    }

    pub(super) fn promote(&mut self, now: Time, rules: &Rules) -> Standing {
        self.standing = Standing::Super { probation: now + rules.probation };
        self.standing
    }

    /// Falls at once, and waits; `None` if it was no superpeer, whose windows begin anew.
    pub(super) fn fall(&mut self, now: Time, rules: &Rules) -> Option<Standing> {
        (self.good, self.bad) = (0, 0);
        if !self.standing.is_super() {
            return None;
        }
        if now.since(self.fell) > FORGIVEN {
            self.falls = 0;
        }
        let wait = rules.cool_down.saturating_mul((1 << self.falls.min(8)).min(COOL_DOWNS_MAX));
        self.falls += 1;
        self.fell = now;
        self.standing = Standing::Cooling { until: now + wait };
        Some(self.standing)
    }
}
