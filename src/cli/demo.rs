//! `pcdn demo`: everything in one process.

use super::stop::Stop;
use super::{Exit, Failure, tell};
use crate::admin::Admin;
use crate::config::{Config, DemoConfig};
use crate::demo::{self, Demo, DemoDiscovery, DemoMedia, DemoOptions, DemoTransport};
use crate::gateway::Gateway;

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    let options = options(&config.demo, !config.json && tell::is_watched())?;
    let mut stop = Stop::catch()?;
    let interrupted = || Failure::new(Exit::Interrupted, "interrupted");
    let demo = tokio::select! {
        demo = Demo::start(options) => demo.map_err(Failure::other)?,
        () = stop.asked() => return Err(interrupted()),
    };
    let report = tokio::select! {
        report = demo.run() => report.map_err(Failure::other),
        () = stop.asked() => Err(interrupted()),
    };
    let outcome = report.and_then(|report| {
        if config.json { tell::json(&report) } else { tell::out(demo::text(&report).trim_end()) }?;
        let wrong = || {
            Failure::new(
                Exit::Integrity,
                "a viewer got other bytes than the origin has; this is a bug, please report it",
            )
        };
        if report.all_bytes_correct { Ok(Exit::Done) } else { Err(wrong()) }
    });
    let outcome = match outcome {
        Ok(exit) if config.demo.keep_running => keep_running(&demo, config, &mut stop).await.map(|()| exit),
        ended => ended,
    };
    demo.stop().await;
    outcome
}

/// The first viewer with a gateway and a dashboard, until stopped.
async fn keep_running(demo: &Demo, config: &Config, stop: &mut Stop) -> Result<(), Failure> {
    let Some(node) = demo.nodes().first() else { return Ok(()) };
    let gateway = Gateway::serve(node.clone(), &config.gateway).await.map_err(Failure::other)?;
    let admin = Admin::serve(node.clone(), config, Some(gateway.counters()), None).await;
    let admin = admin.map_err(Failure::other)?;
    for addr in gateway.local_addrs().iter().take(1) {
        tell::line(&format!("play       http://{addr}/{}", demo.url().replacen("://", "/", 1)));
    }
    for addr in admin.local_addrs().iter().take(1) {
        tell::line(&format!("dashboard  http://{addr}/"));
    }
    let gateways = gateway.local_addrs().iter().map(|addr| ("gateway", *addr));
    tell::ready(&gateways.chain(admin.local_addrs().iter().map(|addr| ("admin", *addr))).collect::<Vec<_>>());
    stop.asked().await;
    gateway.shutdown().await;
    admin.shutdown().await;
    Ok(())
}

fn options(config: &DemoConfig, progress: bool) -> Result<DemoOptions, Failure> {
    let media = match config.media.as_str() {
        "file" => DemoMedia::File,
        "hls" => DemoMedia::Hls,
        "hls-live" => DemoMedia::HlsLive,
        "flv-live" => DemoMedia::FlvLive,
        "dash" => DemoMedia::Dash,
        other => {
            let line = format!("--media {other}: write file, hls, hls-live, flv-live or dash");
            return Err(Failure::new(Exit::Usage, line));
        }
    };
    let transport = match config.transport.as_str() {
        "udp" => DemoTransport::Udp,
        "quic" => DemoTransport::Quic,
        other => {
            let line = format!("--transport {other}: write udp or quic");
            return Err(Failure::new(Exit::Usage, line));
        }
    };
    let discovery = match config.discovery.as_str() {
        "tracker" => DemoDiscovery::Tracker,
        #[cfg(feature = "kad")]
        "dht" => DemoDiscovery::Dht,
        other => {
            let line = format!("--discovery {other}: write tracker or dht");
            return Err(Failure::new(Exit::Usage, line));
        }
    };
    if !(1..=VIEWERS_MAX).contains(&config.peers) {
        return Err(Failure::new(Exit::Usage, format!("--peers {}: write 1 to {VIEWERS_MAX}", config.peers)));
    }
    Ok(DemoOptions {
        media,
        peers: config.peers as usize,
        size: config.size,
        origin_rate: config.origin_rate,
        peer_up: config.peer_up,
        discovery,
        transport,
        progress,
        ..DemoOptions::default()
    })
}

/// Each viewer has its own sockets, threads and memory; more belong into the simulator.
const VIEWERS_MAX: u32 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_build_cannot_show_is_said() {
        let with = |change: fn(&mut DemoConfig)| {
            let mut config = DemoConfig::default();
            change(&mut config);
            options(&config, false).map_err(|failure| failure.exit)
        };
        assert!(with(|_| ()).is_ok());
        assert!(with(|c| c.media = "flv-live".into()).is_ok());
        assert_eq!(with(|c| c.media = "avi".into()).err(), Some(Exit::Usage));
        assert!(with(|c| c.transport = "quic".into()).is_ok());
        assert_eq!(with(|c| c.transport = "tcp".into()).err(), Some(Exit::Usage));
        assert_eq!(with(|c| c.peers = 0).err(), Some(Exit::Usage));
    }
}
