//! The final report: what a download took, from where, and how it was proven.

use std::time::Duration;

use pcdn_core::id::{PeerId, Rid, SwarmKey};
use pcdn_core::resource::Url;
use pcdn_transport::origin::OriginTraffic;
use serde::Serialize;

use super::output::Target;
use super::{Exit, Failure, progress, tell};
use crate::node::{Asset, SwarmReport};

/// What `get --json` prints at the end, also when the end came early.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    rid: Option<Rid>,
    swarm: Option<SwarmKey>,
    /// Of the output if it is whole, else what was reached.
    bytes: u64,
    seconds: f64,
    from_origin: u64,
    from_peers: u64,
    from_cache: u64,
    p2p_ratio: f64,
    wasted: u64,
    start_ms: u64,
    stalls: u32,
    stalled_ms: u64,
    peers_used: u32,
    rejected_pieces: u64,
    integrity: String,
    /// Of the output; none if it is not whole.
    sha256: Option<String>,
    peer: PeerId,
    banned: Vec<PeerId>,
    uploaded: u64,
    neighbours: u32,
    origin_http: OriginTraffic,
}

impl Report {
    pub(super) fn new(
        url: &Url,
        asset: Option<&Asset>,
        (bytes, sha256): (u64, Option<String>),
        swarm: SwarmReport,
        took: Duration,
        peer: PeerId,
    ) -> Self {
        Self {
            url: url.to_string(),
            rid: asset.map(Asset::rid),
            swarm: asset.map(Asset::swarm),
            bytes,
            seconds: (took.as_secs_f64() * 1e3).round() / 1e3,
            from_origin: swarm.from_origin,
            from_peers: swarm.from_peers,
            from_cache: swarm.from_cache,
            p2p_ratio: swarm.p2p_ratio,
            wasted: swarm.wasted,
            start_ms: swarm.start_ms,
            stalls: swarm.stalls,
            stalled_ms: swarm.stalled_ms,
            peers_used: swarm.peers_used,
            rejected_pieces: swarm.rejected_pieces,
            integrity: swarm.integrity,
            sha256,
            peer,
            banned: swarm.banned,
            uploaded: swarm.uploaded,
            neighbours: swarm.neighbours,
            origin_http: OriginTraffic::default(),
        }
    }

    /// With what came over which version of HTTP, heads and what came twice included.
    pub(super) fn carried(self, origin_http: &OriginTraffic) -> Self {
        Self { origin_http: *origin_http, ..self }
    }

    /// Says it: as JSON, or for people on standard error, because standard output may be the file.
    pub(super) fn tell(&self, target: &Target, json: bool) -> Result<Exit, Failure> {
        if json {
            return tell::json(self);
        }
        let size = progress::human(self.bytes);
        let rate = progress::human((self.bytes as f64 / self.seconds.max(0.001)) as u64);
        tell::line(&format!(
            "{target}: {size} in {:.1} s ({rate}/s): origin {}, {} peers {}, cache {}; {}",
            self.seconds,
            progress::human(self.from_origin),
            self.peers_used,
            progress::human(self.from_peers),
            progress::human(self.from_cache),
            self.integrity,
        ));
        if let Some(sha256) = &self.sha256 {
            tell::line(&format!("sha256 {sha256}"));
        }
        Ok(Exit::Done)
    }
}
