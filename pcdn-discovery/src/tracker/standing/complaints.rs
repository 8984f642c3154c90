//! Wrong pieces that downloaders signed for.

use std::collections::BTreeMap;

use pcdn_core::id::PeerId;
use pcdn_core::receipt::{Counted, Subnet};
use pcdn_core::superpeer::Evidence;

/// Complaints count together for so long, in minutes: a day, as receipts do.
const TOGETHER: u32 = 24 * 60;
/// Peers that are complained of at once; beyond, nothing is remembered of further ones.
const PEERS_MAX: usize = 10_000;

/// The last complaint of each subnet, by whom it is about.
#[derive(Debug, Default)]
pub(super) struct Complaints(BTreeMap<PeerId, Vec<(Counted, Subnet)>>);

impl Complaints {
    /// A receipt counted; evidence, once enough complain. They are used up then.
    pub(super) fn take(&mut self, counted: &Counted, subnet: Subnet) -> Option<Evidence> {
        let full = self.0.len() >= PEERS_MAX && !self.0.contains_key(&counted.up());
        if counted.step().bad == 0 || full {
            return None;
        }
        let told = self.0.entry(counted.up()).or_default();
        told.retain(|(_, of)| *of != subnet);
        told.push((*counted, subnet));
        let evidence = Evidence::complaints(told)?;
        self.0.remove(&counted.up());
        Some(evidence)
    }

    pub(super) fn expire(&mut self, minute: u32) {
        self.0.retain(|_, told| {
            told.retain(|(counted, _)| counted.bucket().saturating_add(TOGETHER) >= minute);
            !told.is_empty()
        });
    }
}
