//! Counters that never fall, though the swarms they are summed over come and go.

use std::collections::BTreeMap;

use pcdn_core::id::SwarmKey;

use crate::node::SwarmStatus;

/// Bytes and events since the node started, over all swarms that were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) from_cache: u64,
    pub(crate) from_peers: u64,
    pub(crate) from_origin: u64,
    pub(crate) uploaded: u64,
    pub(crate) wasted: u64,
    pub(crate) rejected_pieces: u64,
    pub(crate) banned: u64,
    /// Contents of which a reader got its first byte, and how long all of those took.
    pub(crate) starts: u64,
    pub(crate) start_ms: u64,
    pub(crate) stalls: u64,
    pub(crate) stalled_ms: u64,
}

impl Totals {
    fn of(swarm: &SwarmStatus) -> Self {
        let report = &swarm.report;
        Self {
            from_cache: report.from_cache,
            from_peers: report.from_peers,
            from_origin: report.from_origin,
            uploaded: report.uploaded,
            wasted: report.wasted,
            rejected_pieces: report.rejected_pieces,
            banned: report.banned.len() as u64,
            starts: u64::from(report.start_ms > 0),
            start_ms: report.start_ms,
            stalls: report.stalls.into(),
            stalled_ms: report.stalled_ms,
        }
    }

    /// From opening a content to its first byte, in the mean; 0 before the first.
    pub(crate) fn mean_start_ms(&self) -> u64 {
        self.start_ms.checked_div(self.starts).unwrap_or(0)
    }

    fn zip(self, other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            from_cache: with(self.from_cache, other.from_cache),
            from_peers: with(self.from_peers, other.from_peers),
            from_origin: with(self.from_origin, other.from_origin),
            uploaded: with(self.uploaded, other.uploaded),
            wasted: with(self.wasted, other.wasted),
            rejected_pieces: with(self.rejected_pieces, other.rejected_pieces),
            banned: with(self.banned, other.banned),
            starts: with(self.starts, other.starts),
            start_ms: with(self.start_ms, other.start_ms),
            stalls: with(self.stalls, other.stalls),
            stalled_ms: with(self.stalled_ms, other.stalled_ms),
        }
    }
}

/// Adds up what swarms report. Fed with every snapshot; what a swarm did after the last snapshot before it was left is lost.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    gone: Totals,
    live: BTreeMap<SwarmKey, Totals>,
}

impl Ledger {
    /// Takes a snapshot in.
    pub(crate) fn observe(&mut self, swarms: &[SwarmStatus]) {
        let now: BTreeMap<_, _> = swarms.iter().map(|s| (s.swarm, Totals::of(s))).collect();
        for (key, last) in std::mem::take(&mut self.live) {
            // A swarm that counts less than before was left and joined anew between two snapshots.
            let joined_anew =
                now.get(&key).is_none_or(|n| n.zip(last, |n, l| u64::from(n < l)) != Totals::default());
            if joined_anew {
                self.gone = self.gone.zip(last, u64::saturating_add);
            }
        }
        self.live = now;
    }

    /// The sums.
    pub(crate) fn totals(&self) -> Totals {
        self.live.values().fold(self.gone, |sum, swarm| sum.zip(*swarm, u64::saturating_add))
    }
}

#[cfg(test)]
mod tests {
    use pcdn_core::id::Rid;

    use super::*;
    use crate::node::SwarmReport;

    fn swarm(key: u8, from_peers: u64) -> SwarmStatus {
        SwarmStatus {
            swarm: SwarmKey([key; 32]),
            rid: Rid([0; 32]),
            url: String::new(),
            len: 0,
            report: SwarmReport { from_peers, ..SwarmReport::default() },
            segments: Vec::new(),
            peers: Vec::new(),
            readers: 0,
        }
    }

    #[test]
    fn counters_never_fall() {
        let mut ledger = Ledger::default();
        let mut last = 0;
        for (snapshot, want) in [
            (vec![swarm(1, 10)], 10),
            (vec![swarm(1, 15), swarm(2, 5)], 20),
            (vec![swarm(2, 6)], 21),
            (vec![swarm(1, 3), swarm(2, 6)], 24),
            (vec![swarm(1, 1), swarm(2, 6)], 25),
            (vec![], 25),
        ] {
            ledger.observe(&snapshot);
            let sum = ledger.totals().from_peers;
            assert_eq!(sum, want);
            assert!(sum >= last);
            last = sum;
        }
    }
}
