//! The bodies of the JSON API, for both sides.

use pcdn_core::id::{PeerId, SwarmKey};
use pcdn_core::peer::{PeerRecord, Scheme};
use serde::{Deserialize, Serialize};

use crate::tracker::wire::{Announce, Counts, Event, Find, Ports, Progress, Traits};

/// The header that carries a body's tag on a private tracker.
pub const MAC_HEADER: &str = "x-pcdn-mac";

/// `POST /v1/announce`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AnnounceBody {
    /// Where, hex.
    pub swarm: SwarmKey,
    /// Who, hex.
    pub peer: PeerId,
    /// Where it listens, at most four, from 1024 up.
    pub ports: Vec<PortBody>,
    /// Whether it holds everything.
    #[serde(default)]
    pub seed: bool,
    /// What happened; a renewal if left out.
    #[serde(default)]
    pub event: EventBody,
    /// Bytes downloaded so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub downloaded: Option<u64>,
    /// Bytes missing; 0 makes the peer a seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<u64>,
    /// Peers wanted; 25 if left out.
    #[serde(default = "want_default")]
    pub want: u16,
    /// Seconds since 1970. Needed by a private tracker, which takes a body for two minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// `POST /v1/find`.
#[derive(Debug, Serialize, Deserialize)]
pub struct FindBody {
    /// Which swarm, hex.
    pub swarm: SwarmKey,
    /// Who asks, to be left out of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asker: Option<PeerId>,
    /// Whether the asker is a seed.
    #[serde(default)]
    pub seed: bool,
    /// Peers wanted; 25 if left out.
    #[serde(default = "want_default")]
    pub want: u16,
    /// As in an announce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

/// A port and its transport.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PortBody {
    /// `udp` or `quic`.
    pub scheme: Scheme,
    /// From 1024 up.
    pub port: u16,
}

/// Why a peer announces.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventBody {
    /// A renewal.
    #[default]
    None,
    /// The first announce.
    Started,
    /// It leaves.
    Stopped,
    /// It holds everything from now on.
    Completed,
}

/// The answer to both.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answered {
    /// Seconds until the next announce; in answers to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval_s: Option<u32>,
    /// The address the request came from, as the tracker sees it; in answers to an announce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// Peers that hold everything.
    #[serde(default)]
    pub seeds: u32,
    /// Peers that download.
    #[serde(default)]
    pub others: u32,
    /// Some of them.
    #[serde(default)]
    pub peers: Vec<PeerRecord>,
}

/// Any answer that is no success.
#[derive(Debug, Serialize, Deserialize)]
pub struct Problem {
    /// In words.
    pub error: String,
}

/// One swarm of `GET /v1/swarms`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwarmBody {
    /// Its key, hex.
    pub swarm: SwarmKey,
    /// Peers that hold everything.
    pub seeds: u32,
    /// Peers that download.
    pub others: u32,
    /// Some of them; only for a swarm asked for by its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<Vec<PeerRecord>>,
}

/// `GET /v1/swarms`.
#[derive(Debug, Serialize, Deserialize)]
pub struct SwarmsBody {
    /// Swarms in all.
    pub total: usize,
    /// The largest, largest first.
    pub swarms: Vec<SwarmBody>,
}

/// `GET /v1/stats`: counts since the start, and sizes now.
#[derive(Debug, Serialize, Deserialize)]
pub struct StatsBody {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Swarms now.
    pub swarms: usize,
    /// Entries now; a peer counts once for each swarm and address family.
    pub peers: usize,
    /// Announces accepted.
    pub announces: u64,
    /// Finds answered.
    pub finds: u64,
    /// Reports accepted.
    pub reports: u64,
    /// Scrapes answered.
    pub scrapes: u64,
    /// How much longer than usual peers are asked to wait: 1 to 4.
    pub load_factor: f64,
    /// Connection ids issued.
    pub connects: u64,
    /// Requests refused.
    pub refused: u64,
    /// Datagrams without answer.
    pub dropped: u64,
    /// Whether the tracker has a secret.
    pub private: bool,
}

fn want_default() -> u16 {
    25
}

impl AnnounceBody {
    /// What `announce` is in JSON, said at `time`.
    pub fn of(announce: &Announce, time: Option<u64>) -> Self {
        Self {
            swarm: announce.swarm,
            peer: announce.peer,
            ports: announce.ports.iter().map(|(scheme, port)| PortBody { scheme, port }).collect(),
            seed: announce.seed,
            event: match announce.event {
                Event::None => EventBody::None,
                Event::Started => EventBody::Started,
                Event::Stopped => EventBody::Stopped,
                Event::Completed => EventBody::Completed,
            },
            downloaded: announce.progress.map(|progress| progress.downloaded),
            left: announce.progress.map(|progress| progress.left),
            want: announce.want,
            time,
        }
    }

    /// The announce. Ports that may not be announced are left out.
    pub fn request(&self) -> Announce {
        let mut ports = Ports::default();
        for port in &self.ports {
            ports.push(port.scheme, port.port);
        }
        let progress =
            self.left.map(|left| Progress { downloaded: self.downloaded.unwrap_or_default(), left });
        Announce {
            swarm: self.swarm,
            peer: self.peer,
            ports,
            seed: self.seed || self.left == Some(0),
            event: match self.event {
                EventBody::None => Event::None,
                EventBody::Started => Event::Started,
                EventBody::Stopped => Event::Stopped,
                EventBody::Completed => Event::Completed,
            },
            progress,
            want: self.want,
            traits: Traits::default(),
        }
    }
}

impl FindBody {
    /// What `find` is in JSON, said at `time`.
    pub fn of(find: &Find, time: Option<u64>) -> Self {
        Self { swarm: find.swarm, asker: find.asker, seed: find.seed, want: find.want, time }
    }

    /// The find.
    pub fn request(&self) -> Find {
        Find {
            swarm: self.swarm,
            asker: self.asker,
            seed: self.seed,
            want: self.want,
            traits: Traits::default(),
            rich: false,
        }
    }
}

impl SwarmBody {
    /// Of a swarm of `counts`.
    pub fn of(swarm: SwarmKey, counts: Counts) -> Self {
        Self { swarm, seeds: counts.seeds, others: counts.others, peers: None }
    }
}
