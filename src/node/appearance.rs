//! How the node appears to others, put together from what its transports found out.

use std::sync::Arc;

use pcdn_core::peer::{Appearance, Nat, Outlook, PeerRecord};

/// Of all transports.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlooks(pub(crate) Vec<Arc<Outlook>>);

impl Outlooks {
    /// What is known now.
    pub(crate) fn get(&self) -> Appearance {
        let all: Vec<Appearance> = self.0.iter().map(|outlook| outlook.get()).collect();
        let nat = all.iter().map(|one| one.nat).find(|nat| *nat != Nat::Unknown).unwrap_or_default();
        Appearance { addrs: all.into_iter().flat_map(|one| one.addrs).collect(), nat }
    }

    /// Rises with every change.
    pub(crate) fn edition(&self) -> u64 {
        self.0.iter().map(|outlook| outlook.edition()).sum()
    }

    /// Waits until something is known that was not at `edition`. Cancel-safe.
    pub(crate) async fn changed(&self, edition: u64) {
        // Whatever changes one of them has changed the sum.
        let others = |nth: usize| self.edition() - self.0[nth].edition();
        let waits = self.0.iter().enumerate().map(|(nth, outlook)| {
            let known = edition.saturating_sub(others(nth));
            Box::pin(async move { outlook.changed(known).await })
        });
        let waits: Vec<_> = waits.collect();
        if waits.is_empty() {
            return std::future::pending().await;
        }
        futures_util::future::select_all(waits).await;
    }

    /// `record` with these addresses before those the node listens on.
    pub(crate) fn complete(&self, mut record: PeerRecord) -> PeerRecord {
        let listens = std::mem::replace(&mut record.addrs, self.get().addrs);
        record.addrs.extend(listens);
        record.addrs.truncate(PeerRecord::ADDRS_MAX);
        record
    }
}
