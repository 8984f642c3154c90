//! What a swarm's task says of itself: its events and its standing.

use pcdn_core::swarm::Event;
use serde_json::json;

use super::Driver;
use crate::node::status::{PeerStatus, SwarmReport, SwarmStatus};

impl Driver {
    pub(super) fn note(&self, event: &Event) {
        tracing::debug!(swarm = %self.around.key.short(), ?event);
        let swarm = self.around.key;
        let line = match event {
            Event::LinkUp { peer } => json!({"event": "neighbour", "swarm": swarm, "peer": peer}),
            Event::LinkDown { peer } => json!({"event": "gone", "swarm": swarm, "peer": peer}),
            Event::Rejected { peer, piece } => {
                json!({"event": "rejected", "swarm": swarm, "peer": peer, "segment": piece.segment, "piece": piece.piece})
            }
            Event::Banned { peer, why } => {
                tracing::warn!(peer = %peer, why, "banned");
                json!({"event": "banned", "swarm": swarm, "peer": peer, "why": why})
            }
            Event::OriginFailed { why } => json!({"event": "origin-failed", "swarm": swarm, "why": why}),
            Event::Stalled => json!({"event": "stalled", "swarm": swarm}),
            Event::Receipted(receipt) => {
                // Nobody collecting them is fine.
                let _ = self.around.receipts.send(receipt.as_ref().clone());
                return;
            }
            Event::Complete => json!({"event": "complete", "swarm": swarm}),
            _ => return,
        };
        // Nobody listening is fine.
        let _ = self.around.events.send(line.to_string());
    }

    pub(super) fn status(&self) -> SwarmStatus {
        let report = self.swarm.report(self.now());
        let peer = |(neighbour, from, to): (&pcdn_core::schedule::Neighbour, u64, u64)| {
            let member = self.members.get(&neighbour.handle);
            let addr = member.and_then(|m| m.link.session.path().remote).map(|addr| addr.to_string());
            PeerStatus {
                peer: neighbour.peer,
                addr,
                rtt_ms: neighbour.rtt.as_secs_f64() * 1e3,
                from,
                to,
                rate: neighbour.rate,
                holds: neighbour.holds.count(),
                downloading: !neighbour.complete,
                banned: false,
            }
        };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut url = self.around.url.clone();
        url.set_query(None);
        SwarmStatus {
            swarm: self.around.key,
            rid: self.around.rid,
            url: url.to_string(),
            len: self.around.head.len.unwrap_or(report.bytes),
            segments: self
                .swarm
                .board()
                .segments()
                .map(|(id, layout, map)| (id.0, layout.pieces(), hex(map.as_bytes())))
                .collect(),
            peers: self.swarm.neighbours().map(peer).collect(),
            readers: self.readers.len() as u32,
            report: SwarmReport::of(&report),
        }
    }
}
