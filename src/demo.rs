//! `pcdn demo`: everything in one process and no network beyond loopback.
//!
//! An origin with a cap, a tracker or a DHT, and viewers with real sockets that start together. It ends with who got what from where,
//! and succeeds only if every byte of every viewer is right.

mod meeting;
mod origin;
mod table;

use std::time::{Duration, Instant};

use bytes::Bytes;
use pcdn_core::id::Identity;
use pcdn_core::schedule::Policy;
use pcdn_core::unit::{ByteSize, Rate};
use pcdn_transport::origin::{Http, HttpConfig};
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::udp::{Udp, UdpConfig};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::node::{ManifestFrom, Settings, SwarmReport};
use crate::{Node, media, store};

pub use origin::DemoOrigin;
pub use table::{bars, text};

/// What the demo shows.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// Viewers. Default 8.
    pub peers: usize,
    /// Length of the content. Default 64 MiB.
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
    /// Body bytes the origin gave, manifests included.
    pub origin_bytes: u64,
    /// `origin_bytes ÷ length of the content`; the ideal is 1.
    pub origin_amplification: f64,
    /// Of all viewers together.
    pub p2p_ratio: f64,
    /// Whether every viewer got exactly the origin's bytes.
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
    /// Figures.
    #[serde(flatten)]
    pub report: SwarmReport,
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

/// The name of the demo's file on its origin.
const FILE: &str = "film.bin";

/// A running demo: origin, viewers and what they meet by, before anything is fetched.
#[derive(Debug)]
pub struct Demo {
    options: DemoOptions,
    origin: DemoOrigin,
    meeting: meeting::Meeting,
    nodes: Vec<Node>,
    sha256: String,
}

impl Demo {
    /// Makes the content, signs it, and starts everyone.
    ///
    /// # Errors
    /// If a port, a socket or random bytes cannot be had.
    pub async fn start(options: DemoOptions) -> Result<Self, DemoError> {
        let size = options.size.0 as usize;
        let content =
            tokio::task::spawn_blocking(move || generate(size)).await.map_err(failed("the content"))?;
        let (sha256, manifest) = {
            let content = content.clone();
            let made = tokio::task::spawn_blocking(move || (hex_sha256(&content), sign(&content))).await;
            let (sha256, manifest) = made.map_err(failed("the manifest"))?;
            (sha256, manifest?)
        };
        let files = vec![(FILE.to_owned(), content), (format!("{FILE}.pcdn"), manifest)];
        let origin = DemoOrigin::start(files, options.origin_rate).await.map_err(failed("the origin"))?;
        let mut meeting = meeting::Meeting::start(options.discovery).await?;
        let mut nodes = Vec::new();
        for _ in 0..options.peers {
            nodes.push(viewer(&options, &origin, &mut meeting).await?);
        }
        Ok(Self { options, origin, meeting, nodes, sha256 })
    }

    /// Lets all viewers download at once and waits for the last.
    ///
    /// # Errors
    /// If a viewer cannot finish.
    pub async fn run(&self) -> Result<DemoReport, DemoError> {
        let begun = Instant::now();
        let (progress, watched) = watch::channel(());
        let drawing = self.options.progress.then(|| tokio::spawn(table::draw(self.nodes.clone(), watched)));
        let viewers = self.nodes.iter().map(|node| view(node.clone(), self.origin.url(FILE), begun));
        let viewers = futures_util::future::try_join_all(viewers).await;
        drop(progress);
        if let Some(drawing) = drawing {
            // It ends by itself now that nothing progresses.
            let _ = drawing.await;
        }
        let viewers = viewers?;
        let sum = |of: fn(&SwarmReport) -> u64| viewers.iter().map(|v| of(&v.report)).sum::<u64>();
        let (peers, cdn) = (sum(|r| r.from_peers), sum(|r| r.from_origin));
        let origin_bytes = self.origin.given();
        Ok(DemoReport {
            origin_bytes,
            origin_amplification: origin_bytes as f64 / (self.options.size.0 as f64).max(1.0),
            p2p_ratio: peers as f64 / ((peers + cdn) as f64).max(1.0),
            all_bytes_correct: viewers.iter().all(|viewer| viewer.sha256 == self.sha256),
            seconds: begun.elapsed().as_secs_f64(),
            viewers,
        })
    }

    /// The viewers, for a gateway or a dashboard on one of them.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The content's URL on the demo's origin.
    pub fn url(&self) -> String {
        self.origin.url(FILE)
    }

    /// Ends everyone.
    pub async fn stop(self) {
        let grace = Duration::from_secs(3);
        futures_util::future::join_all(self.nodes.iter().map(|node| node.shutdown(grace))).await;
        self.meeting.end().await;
    }
}

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

async fn viewer(
    options: &DemoOptions,
    origin: &DemoOrigin,
    meeting: &mut meeting::Meeting,
) -> Result<Node, DemoError> {
    let me = crate::identity::ephemeral().map_err(failed("the identity"))?;
    let settings =
        Settings { policy: options.policy, manifest: ManifestFrom::Sidecar, ..Settings::default() };
    let allow = origin.addr().to_string().parse().map_err(failed("the origin's address"))?;
    let http = HttpConfig { allow: vec![allow], ..HttpConfig::default() };
    let dice = crate::dice().map_err(failed("random bytes"))?;
    let builder = Node::builder(me.clone()).settings(settings);
    let (any, upload_limit) = (([127, 0, 0, 1], 0).into(), options.peer_up);
    let builder = match options.transport {
        DemoTransport::Udp => {
            let config = UdpConfig { upload_limit, ..UdpConfig::default() };
            let udp = Udp::bind(any, &me, builder.provider(), config).await;
            builder.transport(udp.map_err(failed("the UDP socket"))?)
        }
        DemoTransport::Quic => {
            let config = QuicConfig { upload_limit, ..QuicConfig::default() };
            let quic = Quic::bind(any, &me, builder.provider(), config).await;
            builder.transport(quic.map_err(failed("the QUIC socket"))?)
        }
    };
    builder
        .shared_discovery(meeting.discovery(&me).await?)
        .mapper(pcdn_mapping::UrlHash::default())
        .fragmenters(media::standard())
        .store(store::Memory::of(ByteSize(options.size.0 + ByteSize::mib(16).0)))
        .origin(Http::new(http, dice).map_err(failed("the HTTP client"))?)
        .build()
        .map_err(failed("the node"))
}

async fn view(node: Node, url: String, begun: Instant) -> Result<ViewerReport, DemoError> {
    let parsed = url.parse().map_err(failed("the URL"))?;
    let asset = node.open(&parsed).await.map_err(failed("opening the film"))?;
    let mut follower = asset.follow(0..asset.len());
    let hashing = async {
        let mut hasher = Sha256::new();
        while let Some(bytes) = follower.next().await {
            hasher.update(&bytes.map_err(failed("reading the film"))?);
        }
        Ok(hex(&hasher.finalize()))
    };
    let whole = async { asset.complete().await.map_err(failed("downloading the film")) };
    let (sha256, ()) = tokio::try_join!(hashing, whole)?;
    let seconds = begun.elapsed().as_secs_f64();
    Ok(ViewerReport {
        url,
        rid: asset.rid().to_string(),
        swarm: asset.swarm().to_string(),
        seconds,
        sha256,
        report: asset.report().await,
    })
}

/// Bytes that compress to nothing and repeat on every run.
fn generate(len: usize) -> Bytes {
    let mut dice = pcdn_core::dice::Dice::new(len as u64);
    let mut content = vec![0; len];
    for chunk in content.chunks_mut(8) {
        let bytes = dice.next_u64().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    content.into()
}

fn sign(content: &Bytes) -> Result<Bytes, DemoError> {
    let dir = tempfile::tempdir().map_err(failed("a temporary directory"))?;
    let path = dir.path().join(FILE);
    std::fs::write(&path, content).map_err(failed("a temporary file"))?;
    let publisher: Identity = crate::identity::ephemeral().map_err(failed("the publisher's key"))?;
    let signed = crate::publish::sign_file(&path, &media::File::default(), &publisher, None);
    signed.map(Bytes::from).map_err(failed("signing"))
}

fn hex_sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
