//! `pcdn doctor`: can this host do P2P, and if not, what to do.

mod check;
mod host;
mod network;

pub(crate) use host::free;

use std::net::SocketAddr;
use std::sync::Arc;

use pcdn_core::id::Identity;
use pcdn_core::peer::{Outlook, Scheme};
use pcdn_transport::udp::{Meetings, Udp, UdpConfig};
use serde::Serialize;

use super::compose::{link_secret, trackers};
use super::{Exit, Failure, tell};
use crate::config::{Config, NodeConfig};
use crate::node::Node;
use check::{Check, State, verdict};

/// What was found out.
#[derive(Debug, Serialize)]
struct Report {
    /// Whether peers can be had at all.
    p2p: bool,
    /// `open`, `address-restricted`, `port-restricted`, `symmetric` or `unknown`.
    nat: &'static str,
    /// From where trackers see this node, and where the router has opened a port.
    seen: Vec<String>,
    checks: Vec<Check>,
}

/// Runs the verb.
pub(crate) async fn run(config: &Config) -> Result<Exit, Failure> {
    let node = &config.node;
    let me = crate::identity::ephemeral()?;
    let mut checks = Vec::new();
    let socket = listen(node, &me, &mut checks).await?;
    let outlook: Arc<Outlook> = socket.as_ref().map(Udp::outlook).unwrap_or_default();
    let meetings = socket.as_ref().map(Udp::meetings);
    if let Some(meetings) = &meetings {
        crate::nat::meet_by(meetings.clone(), node.tracker.clone());
    }
    let trackers = trackers(node)?;
    // What waits for answers waits at once.
    let (asked, clock, nat, router, lan, dht) = tokio::join!(
        network::trackers(&node.tracker, &trackers),
        network::clock(&node.tracker),
        network::nat(&outlook, !node.tracker.is_empty() && meetings.is_some()),
        network::router(node, meetings.as_ref().map(Meetings::local)),
        network::lan(node),
        network::dht(node, &me),
    );
    checks.extend(asked);
    checks.extend([nat, router, lan, dht, clock, host::disk(node).await, host::buffers()]);
    let appearance = outlook.get();
    let report = Report {
        p2p: verdict(&checks),
        nat: appearance.nat.as_str(),
        seen: appearance.addrs.iter().map(ToString::to_string).collect(),
        checks,
    };
    if config.json {
        tell::json(&report)?;
    } else {
        tell::out(&text(&report))?;
    }
    Ok(if report.p2p { Exit::Done } else { Exit::Other })
}

/// The first address that can be had carries the other checks, as it would carry sessions.
async fn listen(node: &NodeConfig, me: &Identity, checks: &mut Vec<Check>) -> Result<Option<Udp>, Failure> {
    let mut first = None;
    for at in node.listen.iter().filter(|at| at.scheme == Scheme::Udp) {
        let provider = Node::builder(me.clone()).provider();
        let config = UdpConfig { secret: link_secret(node)?, ..UdpConfig::default() };
        match Udp::bind(at.addr, me, provider, config).await {
            Ok(udp) => {
                checks.push(Check::ok("listen", format!("{at} can be had")));
                first = first.or(Some(udp));
            }
            Err(error) => checks.push(Check::bad(
                "listen",
                format!("{at}: {error}"),
                "stop what uses it, or give another port; port 0 is any: --listen udp://0.0.0.0:0",
            )),
        }
    }
    if first.is_none() {
        // The rest is worth knowing all the same.
        let any = SocketAddr::from(([0, 0, 0, 0], 0));
        let provider = Node::builder(me.clone()).provider();
        first = Udp::bind(any, me, provider, UdpConfig::default()).await.ok();
    }
    Ok(first)
}

fn text(report: &Report) -> String {
    let line = |check: &Check| {
        let todo = check.todo.as_ref().map(|todo| format!("\n{:20}-> {todo}", "")).unwrap_or_default();
        format!("{:8}{:12}{}{todo}", check.state.as_str(), check.check, check.what)
    };
    let mut lines: Vec<String> = report.checks.iter().map(line).collect();
    let worst = report.checks.iter().map(|check| check.state).max();
    lines.push(match (report.p2p, worst) {
        (true, Some(State::Warn)) => "This host can do P2P; see the warnings.".to_owned(),
        (true, _) => "This host can do P2P.".to_owned(),
        (false, _) => "This host cannot do P2P as it is; everything would come from the CDN.".to_owned(),
    });
    lines.join("\n")
}
