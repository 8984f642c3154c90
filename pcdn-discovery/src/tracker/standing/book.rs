//! Receipts: what the tracker itself knows of who signed them, and what it makes of them.

use pcdn_core::ledger::Entry;
use pcdn_core::receipt::{Downloader, Proof, Receipt, Refused, Subnet};
use pcdn_core::superpeer::Evidence;
use pcdn_core::unit::{Rate, Time};

use super::Inner;
use crate::tracker::wire::InfoHash;

/// What a downloader can take in at most: a fast home line, 1 Gbit/s, so nobody's bytes are refused that could be real.
const LINE_MAX: Rate = Rate::from_mbit(1_000);
/// It may have begun so long before its first announce was heard, in seconds.
const BEFORE_S: u64 = 60;
/// Regions are equally scarce where the operator says nothing.
const SCARCITY_PERMILLE: u32 = 1_000;

/// Minutes since 1970.
pub(super) fn minute(now: Time) -> u32 {
    u32::try_from(now.0 / 60_000_000).unwrap_or(u32::MAX)
}

impl Inner {
    pub(super) fn receipt(&mut self, now: Time, receipt: &Receipt) -> Result<(), Refused> {
        let down = self.downloader(now, receipt);
        let counted = self.book.take(minute(now), receipt, &down)?;
        self.superpeers.handle(now, &Evidence::receipt(&counted));
        if let Some(evidence) = self.complaints.take(&counted, down.subnet) {
            self.handle(now, &evidence);
        }
        Ok(())
    }

    /// Who never announced the swarm here could have consumed nothing of it.
    fn downloader(&self, now: Time, receipt: &Receipt) -> Downloader {
        let known = self.peers.get(&receipt.down).and_then(|seen| Some((seen, seen.witness()?)));
        let Some((seen, witness)) = known else {
            let subnet = Subnet::of(std::net::Ipv4Addr::UNSPECIFIED.into());
            return Downloader { subnet, network: Default::default(), could: 0, proof: Proof::Key };
        };
        let could = seen.since(&InfoHash::of(&receipt.swarm)).map_or(0, |since| {
            let took = now.since(since) + std::time::Duration::from_secs(BEFORE_S);
            LINE_MAX.bytes_in(took)
        });
        let proof = if seen.is_proven() { Proof::Token } else { Proof::Key };
        Downloader { subnet: witness.subnet, network: witness.network, could, proof }
    }

    pub(super) fn entries(&self, now: Time) -> Vec<Entry> {
        let minute = minute(now);
        let entry = |(peer, earned): (_, pcdn_core::receipt::Earned)| {
            let superpeer = self.superpeers.standing(&peer).is_super();
            let credit = earned.credit(SCARCITY_PERMILLE, superpeer);
            Entry { peer, week: minute / (7 * 24 * 60), bytes: earned.bytes, credit, superpeer }
        };
        self.book.earned(minute).map(entry).collect()
    }
}
