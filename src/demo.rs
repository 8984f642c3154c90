//! `pcdn demo`: everything in one process and no network beyond loopback.
//!
//! An origin with a cap, a tracker or a DHT, a mapping node, and viewers with real sockets that start together. What they watch is
//! made here: a file, or a film on demand or live, that players play through the viewers' gateways. It ends with who got what from
//! where, and succeeds only if every byte of every viewer is right.
//!
//! | module | is |
//! |---|---|
//! | `site` | what is published: by `origin`, which serves it; `packager` and `channel`, which make it as time goes on; `film`, which draws it |
//! | `meeting`, `names` | what viewers meet by, and what contents are called |
//! | `viewer`, `player` | a node, and who watches at it |
//! | `table` | the result, for people |

mod channel;
mod film;
mod meeting;
mod names;
mod origin;
mod packager;
mod player;
mod site;
mod table;
mod viewer;

use std::time::{Duration, Instant};

use pcdn_core::schedule::Policy;
use pcdn_core::unit::{ByteSize, Rate};
use serde::Serialize;
use tokio::sync::watch;

use crate::Node;
use crate::node::SwarmReport;

pub use origin::DemoOrigin;
use site::Site;
pub use table::{bars, text};
use viewer::Viewer;

/// What the demo shows.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// What is watched. Default a file.
    pub media: DemoMedia,
    /// Viewers. Default 8.
    pub peers: usize,
    /// Length of the content. Default 64 MiB. A film of 30 s, or a live stream watched for 24, has at most this, and at most what
    /// a quarter of [`origin_rate`](Self::origin_rate) and half of [`peer_up`](Self::peer_up) can give while it plays.
    pub size: ByteSize,
    /// What the origin gives to all together. Default 5 MB/s.
    pub origin_rate: Rate,
    /// What each viewer gives. Default 4 MB/s.
    pub peer_up: Rate,
    /// How much the origin is used beyond need. Default cost: one copy, and what playing in time takes.
    pub policy: Policy,
    /// How viewers find one another. Default by a tracker.
    pub discovery: DemoDiscovery,
    /// What viewers speak. Default our own protocol over UDP.
    pub transport: DemoTransport,
    /// Whether progress is drawn on stderr.
    pub progress: bool,
}

/// What is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DemoMedia {
    /// A file, downloaded as fast as it comes.
    #[default]
    File,
    /// A film listed by an HLS playlist.
    Hls,
    /// A live HLS playlist.
    HlsLive,
    /// A live stream over HTTP-FLV.
    FlvLive,
    /// A film listed by a DASH manifest.
    Dash,
}

/// How viewers find one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DemoDiscovery {
    /// By a tracker.
    #[default]
    Tracker,
    /// By a DHT of their own; there is no tracker.
    #[cfg(feature = "kad")]
    Dht,
}

/// What viewers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DemoTransport {
    /// Sub-piece pull over UDP.
    #[default]
    Udp,
    /// QUIC.
    Quic,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            media: DemoMedia::File,
            peers: 8,
            size: ByteSize::mib(64),
            origin_rate: Rate(5_000_000),
            peer_up: Rate(4_000_000),
            policy: Policy::Cost,
            discovery: DemoDiscovery::Tracker,
            transport: DemoTransport::Udp,
            progress: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct DemoReport {
    /// Each viewer's final report.
    pub viewers: Vec<ViewerReport>,
    /// Body bytes the origin gave, playlists and manifests included.
    pub origin_bytes: u64,
    /// `origin_bytes ÷ length of the content`, which of a film is what a viewer watched; the ideal is 1.
    pub origin_amplification: f64,
    /// Of all viewers together.
    pub p2p_ratio: f64,
    /// Whether every viewer got exactly the origin's bytes, all of them and in order.
    pub all_bytes_correct: bool,
    /// From the start of the first to the end of the last viewer.
    pub seconds: f64,
}

/// One viewer's final report, as `get --json` has it.
#[derive(Clone, Debug, Serialize)]
pub struct ViewerReport {
    /// The content's URL.
    pub url: String,
    /// The content's name.
    pub rid: String,
    /// Where the viewers met.
    pub swarm: String,
    /// From its start to its last byte.
    pub seconds: f64,
    /// What its bytes hash to.
    pub sha256: String,
    /// Figures. Start and stalls of a film are its player's.
    #[serde(flatten)]
    pub report: SwarmReport,
    /// Whether its bytes are the origin's.
    #[serde(skip)]
    pub(crate) right: bool,
    /// Whether a player watched it, who has a start; a download takes what is rarest first.
    #[serde(skip)]
    pub(crate) played: bool,
}

/// Why the demo could not be run.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct DemoError {
    what: &'static str,
    source: Box<dyn std::error::Error + Send + Sync>,
}

fn failed<E: Into<Box<dyn std::error::Error + Send + Sync>>>(
    what: &'static str,
) -> impl FnOnce(E) -> DemoError {
    move |error| DemoError { what, source: error.into() }
}

/// A running demo: origin, viewers and what they meet by, before anything is fetched.
#[derive(Debug)]
pub struct Demo {
    options: DemoOptions,
    site: Site,
    meeting: meeting::Meeting,
    names: names::Names,
    viewers: Vec<Viewer>,
    nodes: Vec<Node>,
}

impl Demo {
    /// Makes the content, signs it, and starts everyone.
    ///
    /// # Errors
    /// If a port, a socket, a temporary directory or random bytes cannot be had.
    pub async fn start(options: DemoOptions) -> Result<Self, DemoError> {
        let site = Site::publish(&options).await?;
        let names = names::Names::start(site.origin()).await?;
        let mut meeting = meeting::Meeting::start(options.discovery).await?;
        let mut viewers = Vec::new();
        for number in 1..=options.peers {
            viewers.push(Viewer::start(number, &options, &site, &mut meeting, &names).await?);
        }
        let nodes = viewers.iter().map(|viewer| viewer.node().clone()).collect();
        Ok(Self { options, site, meeting, names, viewers, nodes })
    }

    /// Lets all viewers begin at once and waits for the last.
    ///
    /// # Errors
    /// If a viewer cannot finish.
    pub async fn run(&self) -> Result<DemoReport, DemoError> {
        let begun = Instant::now();
        let (progress, watched) = watch::channel(());
        let drawing = self.options.progress.then(|| tokio::spawn(table::draw(self.nodes.clone(), watched)));
        let viewers = self.viewers.iter().map(|viewer| viewer.watch(&self.site));
        let viewers = futures_util::future::try_join_all(viewers).await;
        drop(progress);
        if let Some(drawing) = drawing {
            // It ends by itself now that nothing progresses.
            let _ = drawing.await;
        }
        let viewers = viewers?;
        let sum = |of: fn(&SwarmReport) -> u64| viewers.iter().map(|v| of(&v.report)).sum::<u64>();
        let (peers, cdn) = (sum(|r| r.from_peers), sum(|r| r.from_origin));
        let length = viewers.iter().map(|viewer| viewer.report.bytes).max().unwrap_or(0);
        let origin_bytes = self.site.origin().given();
        Ok(DemoReport {
            origin_bytes,
            origin_amplification: origin_bytes as f64 / (length as f64).max(1.0),
            p2p_ratio: peers as f64 / ((peers + cdn) as f64).max(1.0),
            all_bytes_correct: viewers.iter().all(|viewer| viewer.right),
            seconds: begun.elapsed().as_secs_f64(),
            viewers,
        })
    }

    /// The viewers' nodes, for a gateway or a dashboard on one of them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The content's URL on the demo's origin.
    pub fn url(&self) -> String {
        self.site.url()
    }

    /// Ends everyone.
    pub async fn stop(self) {
        futures_util::future::join_all(self.viewers.into_iter().map(Viewer::stop)).await;
        self.meeting.end().await;
        self.names.end().await;
    }
}

/// How long a node may take to say goodbye.
const GRACE: Duration = Duration::from_secs(3);

/// Starts, runs and ends a demo.
///
/// # Errors
/// As [`Demo::start`] and [`Demo::run`].
pub async fn run(options: DemoOptions) -> Result<DemoReport, DemoError> {
    let demo = Demo::start(options).await?;
    let report = demo.run().await;
    demo.stop().await;
    report
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
