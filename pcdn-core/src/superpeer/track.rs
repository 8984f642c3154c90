//! Hysteresis: who is good for an hour rises, who is bad for half an hour falls, and who lied falls at once.

use std::time::Duration;

use super::judge::Judgement;
use crate::unit::Time;

/// Rises at this score and falls below that one: between them nothing changes, so nobody flaps.
const RISE: f64 = 0.70;
const FALL: f64 = 0.55;
/// Windows in a row.
const GOOD_WINDOWS: u8 = 6;
const BAD_WINDOWS: u8 = 3;
/// A new one gets no full share for a day: what it was good for so far was less work.
const PROBATION: Duration = Duration::from_secs(24 * 3_600);
const PROBATION_SHARE: f64 = 0.25;
/// Whoever fell waits, twice as long each time.
const COOL_DOWN: Duration = Duration::from_secs(24 * 3_600);
const COOL_DOWN_MAX: Duration = Duration::from_secs(14 * 24 * 3_600);
/// Falls are forgiven after a month without one.
const FORGIVEN: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Where a peer stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

#[derive(Debug, Default)]
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
    pub(super) fn window(&mut self, now: Time, judgement: &Judgement) -> Option<Standing> {
        let open = judgement.shut.is_empty();
        self.good = if open && judgement.score >= RISE { (self.good + 1).min(GOOD_WINDOWS) } else { 0 };
        self.bad = if !open || judgement.score < FALL { (self.bad + 1).min(BAD_WINDOWS) } else { 0 };
        match self.standing {
            Standing::Super { .. } if self.bad >= BAD_WINDOWS => self.fall(now),
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

    pub(super) fn promote(&mut self, now: Time) -> Standing {
        self.standing = Standing::Super { probation: now + PROBATION };
        self.standing
    }

    /// Falls at once, and waits; `None` if it was no superpeer, whose windows begin anew.
    pub(super) fn fall(&mut self, now: Time) -> Option<Standing> {
        (self.good, self.bad) = (0, 0);
        if !self.standing.is_super() {
            return None;
        }
        if now.since(self.fell) > FORGIVEN {
            self.falls = 0;
        }
        let wait = COOL_DOWN.saturating_mul(1 << self.falls.min(8)).min(COOL_DOWN_MAX);
        self.falls += 1;
        self.fell = now;
        self.standing = Standing::Cooling { until: now + wait };
        Some(self.standing)
    }
}
