//! The exposition: <https://github.com/prometheus/OpenMetrics>, version 1.0.0.

use std::fmt::Write as _;

use pcdn_transport::origin::OriginTraffic;

use super::GatewayCounters;
use super::ledger::Totals;
use crate::node::{P2p, SwarmStatus};

/// What the page is served as.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// One page of metrics.
pub(crate) fn render(
    totals: &Totals,
    swarms: &[SwarmStatus],
    gateway: Option<&GatewayCounters>,
    origin: &OriginTraffic,
    p2p: P2p,
    uptime_s: f64,
) -> String {
    let mut page = Page(String::new());
    page.info("pcdn_build", "The running program.", &[("version", env!("CARGO_PKG_VERSION"))]);
    page.gauge("pcdn_uptime_seconds", "Time since the node started.", uptime_s);
    page.gauge("pcdn_p2p_enabled", "1 while peers are used.", f64::from(u8::from(p2p != P2p::Off)));
    page.by(
        "pcdn_delivered_bytes",
        "Bytes this node needed, by where they came from.",
        "source",
        &[("cache", totals.from_cache), ("peer", totals.from_peers), ("origin", totals.from_origin)],
    );
    page.by(
        "pcdn_fetched_bytes",
        "Useful bytes taken in, by where they came from.",
        "source",
        &[("peer", totals.from_peers), ("origin", totals.from_origin)],
    );
    let useful = totals.from_peers + totals.from_origin;
    let ratio = if useful == 0 { 0.0 } else { totals.from_peers as f64 / useful as f64 };
    page.gauge(
        "pcdn_p2p_ratio",
        "Useful bytes from peers, of those from peers and origin, since the start.",
        ratio,
    );
    let saved = (totals.from_peers + totals.from_cache) as f64;
    page.counter(
        "pcdn_cdn_saved_bytes",
        "Bytes that the CDN did not have to give: from peers and from the cache.",
        saved,
    );
    let by_version = [("h1", origin.http1), ("h2", origin.http2), ("h3", origin.http3)];
    page.by(
        "pcdn_origin_received_bytes",
        "Bytes of bodies that came from origins, by the version of HTTP that carried them.",
        "proto",
        &by_version.map(|(proto, carried)| (proto, carried.bytes)),
    );
    page.by(
        "pcdn_origin_requests",
        "Requests to origins that were answered, by the version of HTTP.",
        "proto",
        &by_version.map(|(proto, carried)| (proto, carried.requests)),
    );
    let fallbacks = origin.fallbacks as f64;
    page.counter("pcdn_origin_fallbacks", "Requests that HTTP/3 should have carried and TCP did.", fallbacks);
    page.counter("pcdn_uploaded_bytes", "Bytes given to peers.", totals.uploaded as f64);
    page.counter("pcdn_wasted_bytes", "Bytes that came twice or too late.", totals.wasted as f64);
    page.by(
        "pcdn_verify_pieces",
        "Pieces by the outcome of their check.",
        "outcome",
        &[("corrupt", totals.rejected_pieces)],
    );
    page.counter("pcdn_peer_bans", "Peers banned for wrong bytes.", totals.banned as f64);
    page.counter(
        "pcdn_reader_starts",
        "Contents of which a reader got its first byte.",
        totals.starts as f64,
    );
    let started = totals.start_ms as f64 / 1e3;
    page.counter(
        "pcdn_reader_start_seconds",
        "From opening those to their first byte, all together.",
        started,
    );
    page.counter("pcdn_reader_stalls", "Times a reader had to wait after its start.", totals.stalls as f64);
    let stalled = totals.stalled_ms as f64 / 1e3;
    page.counter("pcdn_reader_stalled_seconds", "How long readers had to wait after their start.", stalled);
    page.gauge("pcdn_swarms", "Contents this node takes part in.", swarms.len() as f64);
    let neighbours: u64 = swarms.iter().map(|s| u64::from(s.report.neighbours)).sum();
    page.gauge("pcdn_neighbours", "Links to peers, over all contents.", neighbours as f64);
    let held: u64 = swarms.iter().map(|s| u64::from(s.report.pieces.0)).sum();
    page.gauge("pcdn_pieces_held", "Pieces held of the contents this node takes part in.", held as f64);
    if let Some(gateway) = gateway {
        let classes: [(&str, u64); 5] = [("1xx", 1), ("2xx", 2), ("3xx", 3), ("4xx", 4), ("5xx", 5)]
            .map(|(code, n)| (code, gateway.class(n as usize)));
        page.by("pcdn_gateway_requests", "Requests of players, by status.", "code", &classes);
        let in_flight = gateway.requests_in_flight() as f64;
        page.gauge("pcdn_gateway_requests_in_flight", "Requests whose head is not answered yet.", in_flight);
        let aborts = gateway.aborts() as f64;
        page.counter("pcdn_gateway_client_aborts", "Bodies their client did not take to the end.", aborts);
        let delivered = gateway.delivered_bytes() as f64;
        page.counter("pcdn_gateway_delivered_bytes", "Bytes of bodies handed to players.", delivered);
    }
    page.process();
    page.0 + "# EOF\n"
}

/// A page being written. Writing to a `String` cannot fail, so results are dropped.
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        for unit in ["bytes", "seconds"] {
            if name.ends_with(&format!("_{unit}")) {
                let _ = writeln!(self.0, "# UNIT {name} {unit}");
            }
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        let _ = writeln!(self.0, "{name} {value}");
    }

    fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "counter", help);
        let _ = writeln!(self.0, "{name}_total {value}");
    }

    fn by(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) {
        self.family(name, "counter", help);
        for (value, count) in values {
            let _ = writeln!(self.0, "{name}_total{{{label}=\"{value}\"}} {count}");
        }
    }

    fn info(&mut self, name: &str, help: &str, labels: &[(&str, &str)]) {
        self.family(name, "info", help);
        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{v}\"")).collect();
        let _ = writeln!(self.0, "{name}_info{{{}}} 1", labels.join(","));
    }

    /// What every exporter tells of its process, where the system has `/proc`.
    fn process(&mut self) {
        let resident = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        });
        if let Some(kib) = resident {
            self.gauge("process_resident_memory_bytes", "Memory in use.", (kib << 10) as f64);
        }
        if let Ok(fds) = std::fs::read_dir("/proc/self/fd") {
            self.gauge("process_open_fds", "Open file descriptors.", fds.count() as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_open_metrics() {
        let totals = Totals { from_peers: 7, stalled_ms: 1500, ..Totals::default() };
        let page =
            render(&totals, &[], Some(&GatewayCounters::default()), &OriginTraffic::default(), P2p::On, 1.5);
        assert!(page.ends_with("# EOF\n"));
        assert!(page.contains("# UNIT pcdn_delivered_bytes bytes\n"));
        assert!(page.contains("pcdn_delivered_bytes_total{source=\"peer\"} 7\n"));
        assert!(page.contains("pcdn_reader_stalled_seconds_total 1.5\n"));
        assert!(page.contains("pcdn_p2p_ratio 1\n") && page.contains("pcdn_cdn_saved_bytes_total 7\n"));
        let mut family = String::new();
        let mut series = 0;
        for line in page.lines().filter(|line| *line != "# EOF") {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                family = rest.split(' ').next().unwrap().to_owned();
            } else if !line.starts_with('#') {
                series += 1;
                assert!(line.starts_with(&family), "{line} is not of family {family}");
                assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
            } else {
                assert!(line.split(' ').nth(2) == Some(family.as_str()), "{line}");
            }
        }
        assert!(series < 1000);
    }
}
