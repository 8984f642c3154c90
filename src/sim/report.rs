//! What came of a run: four numbers about bytes, three about quality, a line for each viewer, and the trace.

mod bars;
mod svg;
mod text;

use serde::{Deserialize, Serialize};

use super::scenario::Behaviour;
use super::world::World;

pub use bars::{Bar, bars};

/// Viewers listed one by one in text and charts; beyond that only the sums are.
pub(super) const LISTED: usize = 24;

/// The outcome of one run. Sums are over the honest viewers; what liars and dead ones took is not theirs.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Outcome {
    /// Which scenario.
    pub scenario: String,
    /// Which seed.
    pub seed: u64,
    /// Viewers in all, and the honest ones among them.
    pub peers: usize,
    /// The honest ones.
    pub honest: usize,
    /// Honest viewers that got all they wanted.
    pub finished: usize,
    /// Honest viewers that were killed, as the scenario wants.
    pub killed: usize,
    /// From the first join to the last finish, in seconds.
    pub makespan_s: f64,
    /// Length of the content.
    pub content_bytes: u64,
    /// Useful bytes the viewers got, from anywhere.
    pub delivered_bytes: u64,
    /// Body bytes the CDN sent them, manifests and what was hung up on included.
    pub origin_bytes: u64,
    /// Useful bytes they got from peers.
    pub peer_bytes: u64,
    /// `origin_bytes ÷ delivered_bytes`: the share of the bytes that the CDN is paid for.
    pub origin_share: f64,
    /// `origin_bytes ÷ content_bytes`: 1 is ideal, the number of viewers is no help at all.
    pub origin_amplification: f64,
    /// Useful bytes from peers as a part of all useful bytes.
    pub p2p_ratio: f64,
    /// Bytes received for nothing as a part of all received.
    pub waste: f64,
    /// Bits per second the CDN sends to one viewer while it is there, in the mean.
    pub origin_bits_per_viewer: f64,
    /// From joining to all bytes there, in seconds.
    pub seconds: Spread,
    /// From joining to the first frame (or the first byte of a download), in seconds.
    pub start_s: Spread,
    /// Times a player stood still.
    pub stalls: u32,
    /// How long in all, in seconds.
    pub stalled_s: f64,
    /// Bytes that were not the content's. Anything but 0 is a bug.
    pub wrong_bytes: u64,
    /// Pieces that failed verification.
    pub rejected_pieces: u32,
    /// How often an honest viewer banned a liar, and an honest one.
    pub liars_banned: u32,
    /// The latter is a bug, too.
    pub honest_banned: u32,
    /// Hash over everything the engines were told, in hex: equal traces are equal runs.
    pub trace: String,
    /// Events simulated.
    pub events: u64,
    /// What that took, in seconds. The only figure that differs between equal runs.
    pub wall_s: f64,
    /// Useful bytes in each half second: from the CDN, from peers.
    pub timeline: Vec<[u64; 2]>,
    /// Every viewer, liars and dead ones too.
    pub viewers: Vec<ViewerOutcome>,
}

/// How a figure is spread over the viewers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq)]
pub struct Spread {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95 of 100 are not above.
    pub p95: f64,
    /// 99 of 100 are not above.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

/// One viewer. Bytes and seconds.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct ViewerOutcome {
    /// Its group's name and its number.
    pub name: String,
    /// When it joined, from the start of the world.
    pub joined_s: f64,
    /// How long it took; `None` if it did not finish.
    pub seconds: Option<f64>,
    /// From joining to the first frame or byte.
    pub start_s: Option<f64>,
    /// Useful bytes from the CDN.
    pub from_origin: u64,
    /// Useful bytes from peers.
    pub from_peers: u64,
    /// Received for nothing.
    pub wasted: u64,
    /// Given to others.
    pub uploaded: u64,
    /// Requests that neighbours did not answer in time.
    pub timeouts: u64,
    /// Times its player stood still.
    pub stalls: u32,
    /// Bytes that were not the content's.
    pub wrong: u64,
}

impl Spread {
    /// Of these values, in any order.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let Some(max) = values.last().copied() else { return Self::default() };
        // Nearest rank: the smallest value that so many of a hundred do not exceed.
        let rank =
            |part: f64| values[((values.len() as f64 * part).ceil() as usize).clamp(1, values.len()) - 1];
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Self { mean, p50: rank(0.5), p95: rank(0.95), p99: rank(0.99), max }
    }
}

impl Outcome {
    pub(super) fn of(world: &World<'_>, wall_s: f64) -> Self {
        let names = &world.scenario.viewers;
        let viewers: Vec<ViewerOutcome> = world
            .peers
            .iter()
            .enumerate()
            .map(|(at, peer)| ViewerOutcome::of(format!("{} {at}", names[peer.group].name), peer))
            .collect();
        let honest: Vec<usize> =
            (0..viewers.len()).filter(|at| world.peers[*at].behaviour == Behaviour::Honest).collect();
        let sum =
            |of: fn(&super::world::Peer) -> u64| honest.iter().map(|at| of(&world.peers[*at])).sum::<u64>();
        let count =
            |of: fn(&super::world::Peer) -> bool| honest.iter().filter(|at| of(&world.peers[**at])).count();
        let spread = |of: fn(&ViewerOutcome) -> Option<f64>| {
            Spread::of(honest.iter().filter_map(|at| of(&viewers[*at])).collect())
        };
        let peer_bytes = sum(|peer| peer.tally.from_peers);
        let delivered = peer_bytes + sum(|peer| peer.tally.from_origin);
        let origin_bytes = sum(|peer| peer.tally.origin_sent);
        let received = origin_bytes + sum(|peer| peer.tally.peers_sent);
        let first = world.peers.iter().map(|peer| peer.tally.joined).min().unwrap_or_default();
        let ends = honest.iter().filter_map(|at| world.peers[*at].tally.finished);
        let last = if world.watching > 0 { Some(world.now) } else { ends.max() };
        let seconds = spread(|viewer| viewer.seconds);
        let part = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let unfinished = honest.len() as f64 - count(|peer| peer.tally.finished.is_some()) as f64;
        let watched = seconds.mean * (honest.len() as f64 - unfinished);
        let players = || honest.iter().filter_map(|at| world.peers[*at].player.as_ref());
        Self {
            scenario: world.scenario.name.clone(),
            seed: world.scenario.seed,
            peers: viewers.len(),
            honest: honest.len(),
            finished: count(|peer| peer.tally.finished.is_some()),
            killed: count(|peer| peer.tally.killed),
            makespan_s: last.unwrap_or(world.now).since(first).as_secs_f64(),
            content_bytes: world.content.len(),
            delivered_bytes: delivered,
            origin_bytes,
            peer_bytes,
            origin_share: part(origin_bytes, delivered),
            origin_amplification: part(origin_bytes, world.content.len()),
            p2p_ratio: part(peer_bytes, delivered),
            waste: part(received.saturating_sub(delivered), received),
            origin_bits_per_viewer: if watched > 0.0 { origin_bytes as f64 * 8.0 / watched } else { 0.0 },
            seconds,
            start_s: spread(|viewer| viewer.start_s),
            stalls: players().map(|player| player.stalls).sum(),
            stalled_s: players().fold(0.0, |sum, player| sum + player.stalled / 1e6),
            wrong_bytes: sum(|peer| peer.tally.wrong),
            rejected_pieces: honest.iter().map(|at| world.peers[*at].tally.rejected).sum(),
            liars_banned: honest.iter().map(|at| world.peers[*at].tally.banned[1]).sum(),
            honest_banned: honest.iter().map(|at| world.peers[*at].tally.banned[0]).sum(),
            trace: world.trace.to_string(),
            events: world.events,
            wall_s,
            timeline: world.timeline.clone(),
            viewers,
        }
    }

    /// Whether every honest viewer that was not killed got everything, and nothing wrong.
    pub fn is_right(&self) -> bool {
        self.finished + self.killed == self.honest && self.wrong_bytes == 0
    }

    /// As a JSON document.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("an outcome has only strings, numbers and lists")
    }

    /// As a chart: useful bytes over time by source, and for few viewers who got what from where.
    pub fn to_svg(&self) -> String {
        svg::chart(self)
    }
}

impl ViewerOutcome {
    fn of(name: String, peer: &super::world::Peer) -> Self {
        let tally = &peer.tally;
        let since = |at: pcdn_core::unit::Time| at.since(tally.joined).as_secs_f64();
        let started = match &peer.player {
            Some(player) => player.started,
            None => tally.first_byte,
        };
        Self {
            name,
            joined_s: tally.joined.as_secs_f64(),
            seconds: tally.finished.map(since),
            start_s: started.map(since),
            from_origin: tally.from_origin,
            from_peers: tally.from_peers,
            wasted: (tally.origin_sent + tally.peers_sent)
                .saturating_sub(tally.from_origin + tally.from_peers),
            uploaded: tally.uploaded,
            timeouts: tally.timeouts,
            stalls: peer.player.as_ref().map_or(0, |player| player.stalls),
            wrong: tally.wrong,
        }
    }
}

/// The same world with peers and with the CDN alone.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Comparison {
    /// As the scenario says.
    pub with_peers: Outcome,
    /// Everything from the CDN.
    pub origin_only: Outcome,
}

impl Comparison {
    /// The makespan with peers as a multiple of that without. Never worse means not above about 1.
    pub fn makespan_ratio(&self) -> f64 {
        self.with_peers.makespan_s / self.origin_only.makespan_s.max(1e-6)
    }

    /// The worst viewer's time with peers as a multiple of its own time without.
    pub fn worst_viewer_ratio(&self) -> f64 {
        let pairs = self.with_peers.viewers.iter().zip(&self.origin_only.viewers);
        let ratios = pairs.filter_map(|(with, alone)| Some(with.seconds? / alone.seconds?.max(1e-6)));
        ratios.fold(0.0, f64::max)
    }

    /// Whether nobody waits longer with peers than with the CDN alone, `slack` (0.1 = 10 %) allowed on times: the whole crowd
    /// is done no later, starts no later on average, and stalls no more.
    pub fn never_worse(&self, slack: f64) -> bool {
        let (with, alone) = (&self.with_peers, &self.origin_only);
        with.is_right()
            && self.makespan_ratio() <= 1.0 + slack
            && with.seconds.mean <= alone.seconds.mean * (1.0 + slack)
            && with.stalls <= alone.stalls
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let spread = Spread::of((1..=100).rev().map(f64::from).collect());
        assert_eq!((spread.p50, spread.p95, spread.p99, spread.max), (50.0, 95.0, 99.0, 100.0));
        assert_eq!(Spread::of(vec![7.0]).p50, 7.0);
        assert_eq!(Spread::of(vec![]), Spread::default());
    }
}
