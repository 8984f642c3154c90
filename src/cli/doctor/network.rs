//! Who answers, and how this node is seen.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use pcdn_core::discovery::Discovery;
use pcdn_core::id::{Identity, SwarmKey};
use pcdn_core::peer::{Nat, Outlook};
use pcdn_discovery::{Tracker, lan};
use tokio::time::timeout;

use super::check::{self, Check};
use crate::cli::dht as node_dht;
use crate::config::{NodeConfig, OnOff};
use crate::nat::ports;

/// How long a NAT may take to show what it is: a survey whose answers are all lost takes two seconds.
const NAT_MAX: Duration = Duration::from_secs(5);
/// How long the DHT may take to answer.
const DHT_MAX: Duration = Duration::from_secs(10);
/// How long a tracker may take to tell the time.
const CLOCK_MAX: Duration = Duration::from_secs(3);
/// How long the doctor has a port opened.
const PORT_FOR: Duration = Duration::from_secs(120);
/// Nobody takes part in this swarm: who is asked for it says that it answers, and no more.
const NOBODY: SwarmKey = SwarmKey([0; 32]);

/// Each tracker is asked something.
pub(super) async fn trackers(names: &[String], trackers: &[Tracker]) -> Vec<Check> {
    if trackers.is_empty() {
        let what = "none is configured: peers are found by the DHT or not at all, and no NAT is seen through";
        return vec![Check::skipped("tracker", what)];
    }
    let ask = async |(name, tracker): (&String, &Tracker)| {
        let begun = Instant::now();
        let found: Vec<_> = tracker.find(&NOBODY, 1).collect().await;
        match found.into_iter().find_map(Result::err) {
            None => Check::ok("tracker", format!("{name} answers within {} ms", begun.elapsed().as_millis())),
            Some(error) => Check::bad(
                "tracker",
                error.to_string(),
                "see whether it runs, and whether UDP passes to its port; http://HOST:PORT asks it over TCP",
            ),
        }
    };
    join_all(names.iter().zip(trackers).map(ask)).await
}

/// What trackers see of this node.
pub(super) async fn nat(outlook: &Outlook, asked: bool) -> Check {
    if !asked {
        return Check::skipped("nat", "no tracker to be seen by; give one with --tracker");
    }
    let known = async {
        let mut edition = outlook.edition();
        while outlook.get().nat == Nat::Unknown {
            edition = outlook.changed(edition).await;
        }
    };
    // What is known then is what there is to be known.
    let _ = timeout(NAT_MAX, known).await;
    check::nat(&outlook.get())
}

/// Whether the router opens ports; what it opens is given back.
pub(super) async fn router(node: &NodeConfig, local: Option<SocketAddr>) -> Check {
    let private = local.map(crate::nat::private_addresses).unwrap_or_default();
    let inside = private.into_iter().find(|addr| addr.ip().is_ipv4());
    let Some(inside) = inside.filter(|_| node.port_mapping == OnOff::On) else {
        return Check::skipped(
            "router",
            "not asked to open ports: this machine has no private address, or --port-mapping is off",
        );
    };
    let ways: [(&str, Box<dyn ports::PortMapper>); 2] =
        [("PCP or NAT-PMP", Box::<ports::Pcp>::default()), ("UPnP", Box::<ports::Upnp>::default())];
    for (way, mapper) in ways {
        if let Ok(Ok(mapped)) = timeout(DHT_MAX, mapper.map(inside, inside.port(), PORT_FOR)).await {
            mapper.unmap(inside, mapped.port).await;
            return Check::ok("router", format!("opens ports by {way}"));
        }
    }
    Check::ok("router", "opens no ports by PCP, NAT-PMP or UPnP; that is needed only behind a symmetric NAT")
}

/// Whether others in the local network can hear this node, as far as it can tell by itself.
pub(super) async fn lan(node: &NodeConfig) -> Check {
    if node.lan_discovery == OnOff::Off {
        return Check::skipped("lan", "--lan-discovery is off: nobody is looked for in the local network");
    }
    let bound: Vec<_> = node.listen.iter().map(|at| at.addr.ip()).collect();
    check::lan(&lan::probe(&bound).await)
}

/// Whether a node of the DHT answers.
pub(super) async fn dht(node: &NodeConfig, me: &Identity) -> Check {
    let todo = "see whether the node named with --dht runs, and whether UDP passes to it";
    let dht = match node_dht::join(node, me).await {
        Ok(Some(dht)) => dht,
        Ok(None) => return Check::skipped("dht", "none is configured"),
        Err(failure) => return Check::bad("dht", failure.to_string(), todo),
    };
    let discovery = dht.discovery();
    let mut found = discovery.find(&NOBODY, 1);
    let check = match timeout(DHT_MAX, found.next()).await {
        Ok(None | Some(Ok(_))) => Check::ok("dht", "answers"),
        Ok(Some(Err(error))) => Check::bad("dht", error.to_string(), todo),
        Err(_) => Check::bad("dht", "does not answer within 10 s", todo),
    };
    dht.leave().await;
    check
}

/// How far this machine's clock is from a tracker's.
pub(super) async fn clock(trackers: &[String]) -> Check {
    for tracker in trackers {
        if let Ok(Some(seconds)) = timeout(CLOCK_MAX, ahead_of(tracker)).await {
            return check::clock(seconds);
        }
    }
    Check::skipped("clock", "nobody to compare it with: no tracker answers over HTTP")
}

/// By how many seconds this machine is ahead. HTTP's dates have whole seconds.
async fn ahead_of(tracker: &str) -> Option<i64> {
    // Process-wide and only once; a program that installed its own before keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(CLOCK_MAX).build().ok()?;
    let url = format!("http://{}/", crate::nat::host_and_port(tracker));
    let answer = client.head(url).send().await.ok()?;
    let date = answer.headers().get(http::header::DATE)?.to_str().ok()?;
    let theirs = httpdate::parse_http_date(date).ok()?;
    let seconds = |span: Duration| span.as_secs() as i64;
    let now = SystemTime::now();
    Some(now.duration_since(theirs).map(seconds).unwrap_or_else(|behind| -seconds(behind.duration())))
}
