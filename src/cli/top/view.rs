//! What a terminal shows of a node, as text. Pure.

use std::fmt::Write as _;
use std::time::Instant;

use serde::Deserialize;

/// Columns of the bar of a swarm.
const BAR: usize = 20;
/// Lines of swarms at least, where neighbours would take all.
const SWARMS_MIN: usize = 5;

/// A node at one moment.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    pub(super) at: Instant,
    pub(super) status: Status,
    pub(super) swarms: Vec<Swarm>,
    pub(super) peers: Vec<Peer>,
}

/// `/api/v1/status`, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    version: String,
    peer: String,
    p2p: String,
    uptime_s: u64,
    from_cache: u64,
    from_peers: u64,
    from_origin: u64,
    uploaded: u64,
    wasted: u64,
    p2p_ratio: f64,
    rejected_pieces: u64,
    start_ms: u64,
    stalls: u64,
    stalled_ms: u64,
    neighbours: u64,
}

/// One of `/api/v1/swarms`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Swarm {
    swarm: String,
    url: String,
    report: Report,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    bytes: u64,
    from_origin: u64,
    from_peers: u64,
    from_cache: u64,
    p2p_ratio: f64,
    uploaded: u64,
    integrity: String,
    neighbours: u32,
}

/// One of `/api/v1/peers`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Peer {
    peer: String,
    addr: Option<String>,
    rtt_ms: f64,
    from: u64,
    to: u64,
    rate: u64,
    holds: u32,
    swarm: String,
}

/// A screen of `size` columns and lines. Rates are those since `before`.
pub(super) fn frame(before: Option<&Shot>, now: &Shot, (columns, lines): (usize, usize)) -> String {
    let mut out = head(before, now);
    // What is busiest comes first; how many lines are left decides how many are shown.
    let mut swarms: Vec<&Swarm> = now.swarms.iter().collect();
    swarms.sort_by_key(|swarm| std::cmp::Reverse(swarm.report.from_peers + swarm.report.uploaded));
    let mut peers: Vec<&Peer> = now.peers.iter().collect();
    peers.sort_by_key(|peer| std::cmp::Reverse((peer.rate, peer.from + peer.to)));
    let room = lines.saturating_sub(out.len() + 4);
    let for_swarms = swarms.len().min(room.saturating_sub(peers.len()).max(SWARMS_MIN.min(room)));
    out.push(String::new());
    out.push(format!("{:<BAR$}  P2P   peers      origin     given      links  proof      content", "SWARMS"));
    out.extend(swarms.iter().take(for_swarms).map(|swarm| swarm_line(swarm)));
    out.push(String::new());
    out.push("NEIGHBOURS  swarm     rtt       rate         taken      given      pieces  address".to_owned());
    out.extend(peers.iter().take(room - for_swarms).map(|peer| peer_line(peer)));
    let mut text = String::new();
    for line in out.iter().take(lines) {
        let _ = writeln!(text, "{}", line.chars().take(columns).collect::<String>().trim_end());
    }
    text
}

fn head(before: Option<&Shot>, now: &Shot) -> Vec<String> {
    let status = &now.status;
    let rate = |of: fn(&Status) -> u64| {
        let Some(before) = before else { return "-".to_owned() };
        let seconds = now.at.duration_since(before.at).as_secs_f64().max(0.001);
        let more = of(status).saturating_sub(of(&before.status));
        format!("{}/s", bytes((more as f64 / seconds) as u64))
    };
    vec![
        format!(
            "pcdn {}  {}  up {}  p2p {}  {} swarms, {} neighbours",
            status.version,
            short(&status.peer),
            span(status.uptime_s),
            status.p2p,
            now.swarms.len(),
            status.neighbours,
        ),
        format!(
            "from peers {:>10} {:>12}   from origin {:>10} {:>12}   given {:>10} {:>12}",
            bytes(status.from_peers),
            rate(|status| status.from_peers),
            bytes(status.from_origin),
            rate(|status| status.from_origin),
            bytes(status.uploaded),
            rate(|status| status.uploaded),
        ),
        format!(
            "P2P ratio {:.1} %   from the store {}   wasted {}   wrong pieces {}   mean start {:.2} s   stalls {} ({:.1} s)",
            status.p2p_ratio * 100.0,
            bytes(status.from_cache),
            bytes(status.wasted),
            status.rejected_pieces,
            status.start_ms as f64 / 1e3,
            status.stalls,
            status.stalled_ms as f64 / 1e3,
        ),
    ]
}

fn swarm_line(swarm: &Swarm) -> String {
    let report = &swarm.report;
    let whole = report.bytes.max(report.from_peers + report.from_origin + report.from_cache);
    format!(
        "{}  {:>3.0} % {:>10} {:>10} {:>10} {:>6}  {:<9}  {}",
        crate::demo::bars(report.from_peers, report.from_origin + report.from_cache, whole, BAR),
        report.p2p_ratio * 100.0,
        bytes(report.from_peers),
        bytes(report.from_origin),
        bytes(report.uploaded),
        report.neighbours,
        plain(&report.integrity),
        plain(&swarm.url),
    )
}

fn peer_line(peer: &Peer) -> String {
    format!(
        "{:<10}  {:<8}  {:>6.1} ms {:>10}/s {:>10} {:>10} {:>7}  {}",
        short(&peer.peer),
        short(&peer.swarm),
        peer.rtt_ms,
        bytes(peer.rate),
        bytes(peer.from),
        bytes(peer.to),
        peer.holds,
        plain(peer.addr.as_deref().unwrap_or("-")),
    )
}

/// The first eight digits of an id.
fn short(id: &str) -> String {
    plain(id).chars().take(8).collect()
}

/// A terminal obeys control characters, and a URL is somebody else's word.
fn plain(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).collect()
}

fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    format!("{hours}:{minutes:02}:{:02}", seconds % 60)
}

fn bytes(count: u64) -> String {
    let units = [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match units.iter().find(|(size, _)| count >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", count as f64 / *size as f64),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn shot(at: Instant, from_peers: u64, swarms: usize, peers: usize) -> Shot {
        let status = json!({ "version": "1.2.3", "peer": "ab".repeat(32), "p2p": "on", "from_peers": from_peers, "neighbours": peers });
        let swarm = |n: usize| json!({ "swarm": "cd".repeat(32), "url": format!("https://cdn.example/{n}\u{1b}[2J"), "report": { "from_peers": n } });
        let peer = |n: usize| json!({ "peer": "ef".repeat(32), "swarm": "cd".repeat(32), "rate": n, "addr": format!("192.0.2.1:{n}") });
        let read = |value| serde_json::from_value(value).unwrap();
        Shot {
            at,
            status: serde_json::from_value(status).unwrap(),
            swarms: (0..swarms).map(|n| serde_json::from_value(swarm(n)).unwrap()).collect(),
            peers: (0..peers).map(|n| read(peer(n))).collect(),
        }
    }

    #[test]
    fn a_frame_fits_the_terminal_and_shows_the_busiest() {
        let now = Instant::now();
        for (swarms, peers, size) in
            [(0, 0, (80, 24)), (50, 200, (80, 24)), (3, 500, (200, 60)), (9, 9, (20, 3)), (1, 1, (0, 0))]
        {
            let text = frame(None, &shot(now, 5, swarms, peers), size);
            assert!(
                text.lines().count() <= size.1 && text.lines().all(|line| line.chars().count() <= size.0)
            );
        }
        let text = frame(None, &shot(now, 5, 50, 200), (120, 24));
        assert!(text.contains("https://cdn.example/49") && text.contains("192.0.2.1:199"), "{text}");
        assert!(!text.contains('\u{1b}'), "what a URL holds does not reach the terminal");
    }

    #[test]
    fn rates_are_those_since_the_frame_before() {
        let (then, now) = (Instant::now(), Instant::now() + Duration::from_secs(2));
        let text = frame(Some(&shot(then, 1_000_000, 0, 0)), &shot(now, 5_000_000, 0, 0), (120, 24));
        assert!(text.contains(" 5.0 MB ") && text.contains(" 2.0 MB/s"), "{text}");
    }
}
