//! Verdicts of auditors: which ones count, and each only once. Those of a panel's members count together, see
//! [`audits`](super::audits).

use std::collections::{BTreeMap, BTreeSet};

use pcdn_core::audit::Verdict;
use pcdn_core::id::PeerId;
use pcdn_core::superpeer::Evidence;
use pcdn_core::unit::Time;

use super::{Inner, book};

/// A verdict older than this is refused, in minutes: auditors tell within a minute, and after an hour's outage at the latest.
/// Those heard are remembered as long, so none counts twice.
const AGE_MAX: u32 = 60;
/// How far an auditor's clock may be ahead, in minutes.
const AHEAD_MAX: u32 = 5;
/// Verdicts remembered: an hour of 27 a second, 5 MB.
const HEARD_MAX: usize = 100_000;

/// Why a verdict does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedVerdict {
    /// The tracker does not trust this auditor and drew it for no such audit, it is the audited peer itself, or the signature is not
    /// its own.
    #[error("not of an auditor that this tracker trusts or drew")]
    Stranger,
    /// It was told before.
    #[error("told before")]
    Replayed,
    /// Signed too long ago, or in the future.
    #[error("signed more than an hour ago or in the future: check the auditor's clock")]
    Untimely,
    /// Too many at once.
    #[error("no room for it")]
    Full,
}

#[derive(Debug, Default)]
pub(super) struct Verdicts {
    auditors: BTreeSet<PeerId>,
    /// When each was signed, by auditor and nonce.
    heard: BTreeMap<(PeerId, [u8; 16]), u32>,
}

impl Verdicts {
    pub(super) fn of(auditors: BTreeSet<PeerId>, heard: Vec<(PeerId, [u8; 16], u32)>) -> Self {
        let heard = heard.into_iter().map(|(auditor, nonce, minute)| ((auditor, nonce), minute)).collect();
        Self { auditors, heard }
    }

    pub(super) fn heard(&self) -> Vec<(PeerId, [u8; 16], u32)> {
        self.heard.iter().map(|((auditor, nonce), minute)| (*auditor, *nonce, *minute)).collect()
    }

    pub(super) fn expire(&mut self, minute: u32) {
        self.heard.retain(|_, signed| signed.saturating_add(AGE_MAX) >= minute);
    }

    fn take(&mut self, minute: u32, verdict: &Verdict) -> Result<Evidence, RefusedVerdict> {
        if verdict.minute > minute.saturating_add(AHEAD_MAX)
            || verdict.minute.saturating_add(AGE_MAX) < minute
        {
            return Err(RefusedVerdict::Untimely);
        }
        let key = (verdict.auditor, verdict.nonce);
        if self.heard.contains_key(&key) {
            return Err(RefusedVerdict::Replayed);
        }
        if self.heard.len() >= HEARD_MAX {
            return Err(RefusedVerdict::Full);
        }
        let evidence = Evidence::verdict(verdict, &self.auditors).ok_or(RefusedVerdict::Stranger)?;
        self.heard.insert(key, verdict.minute);
        Ok(evidence)
    }
}

impl Inner {
    pub(super) fn verdict(&mut self, now: Time, verdict: &Verdict) -> Result<(), RefusedVerdict> {
        if self.vote(now, verdict) {
            return Ok(());
        }
        let evidence = self.verdicts.take(book::minute(now), verdict)?;
        self.superpeers.handle(now, &evidence);
        Ok(())
    }
}
