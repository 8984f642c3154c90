//! A viewer of the demo: a node with sockets of its own, and who watches at it.

use std::time::{Duration, Instant};

use pcdn_core::resource::Url;
use pcdn_core::unit::ByteSize;
use pcdn_transport::origin::{Http, HttpConfig};
use pcdn_transport::quic::{Quic, QuicConfig};
use pcdn_transport::udp::{Udp, UdpConfig};
use sha2::{Digest as _, Sha256};

use super::meeting::Meeting;
use super::names::Names;
use super::player::Player;
use super::site::{Site, WATCHED_S};
use super::{DemoError, DemoMedia, DemoOptions, DemoTransport, GRACE, ViewerReport, failed, hex};
use crate::config::GatewayConfig;
use crate::gateway::Gateway;
use crate::node::{ManifestFrom, Settings};
use crate::{Node, media, store};

/// A started viewer that watches nothing yet.
#[derive(Debug)]
pub(super) struct Viewer {
    number: usize,
    node: Node,
    gateway: Gateway,
}

impl Viewer {
    pub(super) async fn start(
        number: usize,
        options: &DemoOptions,
        site: &Site,
        meeting: &mut Meeting,
        names: &Names,
    ) -> Result<Self, DemoError> {
        let me = crate::identity::ephemeral().map_err(failed("the identity"))?;
        let settings =
            Settings { policy: options.policy, manifest: ManifestFrom::Sidecar, ..Settings::default() };
        let allow = site.origin().addr().to_string().parse().map_err(failed("the origin's address"))?;
        let http = HttpConfig { allow: vec![allow], ..HttpConfig::default() };
        let http = Http::new(http, crate::dice().map_err(failed("random bytes"))?)
            .map_err(failed("the HTTP client"))?;
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
        let node = builder
            .shared_discovery(meeting.discovery(&me).await?)
            .mapper(names.mapper()?)
            .fragmenters(media::standard())
            .store(store::Memory::of(ByteSize(options.size.0 + ByteSize::mib(16).0)))
            .origin(http.clone())
            .build()
            .map_err(failed("the node"))?;
        let config = GatewayConfig { listen: "127.0.0.1:0".to_owned(), ..GatewayConfig::default() };
        let gateway =
            Gateway::serve_with(node.clone(), &config, http).await.map_err(failed("the gateway"))?;
        Ok(Self { number, node, gateway })
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// Downloads the file, or plays the film.
    pub(super) async fn watch(&self, site: &Site) -> Result<ViewerReport, DemoError> {
        match site.media() {
            DemoMedia::File => self.download(site).await,
            _ => self.play(site).await,
        }
    }

    /// Ends it.
    pub(super) async fn stop(self) {
        self.gateway.shutdown().await;
        self.node.shutdown(GRACE).await;
    }

    async fn download(&self, site: &Site) -> Result<ViewerReport, DemoError> {
        let begun = Instant::now();
        let url = site.url_for(self.number);
        let asset = self.node.open(&parse(&url)?).await.map_err(failed("opening the film"))?;
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
        Ok(ViewerReport {
            url,
            rid: asset.rid().to_string(),
            swarm: asset.swarm().to_string(),
            seconds: begun.elapsed().as_secs_f64(),
            right: sha256 == site.sha256(),
            played: false,
            sha256,
            report: asset.report().await,
        })
    }

    async fn play(&self, site: &Site) -> Result<ViewerReport, DemoError> {
        let begun = Instant::now();
        let url = site.url_for(self.number);
        let at =
            self.gateway.local_addrs().first().ok_or("it has no address").map_err(failed("the gateway"))?;
        let through = parse(&format!("http://{at}/{}", url.replacen("://", "/", 1)))?;
        let player = Player::new(site.film())?;
        let (all, some) = (Duration::MAX, Duration::from_secs(WATCHED_S));
        let watched = match site.media() {
            DemoMedia::FlvLive => player.broadcast(&through, some).await?,
            DemoMedia::HlsLive => player.playlist(&through, some).await?,
            _ => player.playlist(&through, all).await?,
        };
        let seconds = begun.elapsed().as_secs_f64();
        let swarm = self.node.swarms().await.into_iter().max_by_key(|swarm| swarm.report.bytes);
        let swarm = swarm.ok_or("its node took part in no swarm").map_err(failed("a viewer"))?;
        let (stalls, stalled) = watched.head.stalls();
        let mut report = swarm.report;
        report.bytes = watched.bytes;
        report.start_ms = watched.head.start().as_millis() as u64;
        (report.stalls, report.stalled_ms) = (stalls, stalled.as_millis() as u64);
        Ok(ViewerReport {
            url,
            rid: swarm.rid.to_string(),
            swarm: swarm.swarm.to_string(),
            seconds,
            sha256: watched.sha256,
            right: watched.right,
            played: true,
            report,
        })
    }
}

fn parse(url: &str) -> Result<Url, DemoError> {
    url.parse().map_err(failed("the URL"))
}
