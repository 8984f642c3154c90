//! What one look-up has yielded already.

use std::collections::HashMap;

use pcdn_core::id::PeerId;
use pcdn_core::peer::{PeerAddr, PeerRecord};

/// Peers remembered in one look-up, so that a source that streams for ever cannot fill the memory. About 1 MiB.
const SEEN_MAX: usize = 4096;

/// What one look-up has yielded already.
#[derive(Debug, Default)]
pub(crate) struct Seen(HashMap<PeerId, Vec<PeerAddr>>);

impl Seen {
    /// The part of `record` that is new: the whole record of a new peer, the new addresses of a known one.
    pub(crate) fn fresh_part(&mut self, mut record: PeerRecord) -> Option<PeerRecord> {
        record.addrs.truncate(PeerRecord::ADDRS_MAX);
        if let Some(known) = self.0.get_mut(&record.id) {
            record.addrs.retain(|addr| !known.contains(addr));
            record.addrs.truncate(PeerRecord::ADDRS_MAX.saturating_sub(known.len()));
            known.extend(&record.addrs);
            return (!record.addrs.is_empty()).then_some(record);
        }
        if self.0.len() >= SEEN_MAX {
            return None;
        }
        self.0.insert(record.id, record.addrs.clone());
        Some(record)
    }
}
