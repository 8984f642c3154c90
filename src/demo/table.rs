//! Who got what from where, for a terminal.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use tokio::sync::watch;

use super::DemoReport;
use crate::Node;

/// Columns of a bar.
const WIDTH: usize = 40;

/// The final table, with a bar for each viewer: `█` from peers, `▒` from the origin.
pub fn text(report: &DemoReport) -> String {
    let mut out = String::new();
    let _ =
        writeln!(out, "viewer   from peers  from origin  ratio   start  stalls  seconds  █ peers ▒ origin");
    for (number, viewer) in report.viewers.iter().enumerate() {
        let r = &viewer.report;
        let start = if viewer.played { format!("{:.2} s", r.start_ms as f64 / 1e3) } else { "-".to_owned() };
        let _ = writeln!(
            out,
            "{:>6}  {:>8.1} MB  {:>8.1} MB  {:>4.0} %  {start:>6}  {:>6}  {:>7.1}  {}",
            number + 1,
            r.from_peers as f64 / 1e6,
            r.from_origin as f64 / 1e6,
            r.p2p_ratio * 100.0,
            r.stalls,
            viewer.seconds,
            bars(r.from_peers, r.from_origin, r.bytes, WIDTH),
        );
    }
    let stalled_ms: u64 = report.viewers.iter().map(|v| v.report.stalled_ms).sum();
    let wasted: u64 = report.viewers.iter().map(|v| v.report.wasted).sum();
    let _ = writeln!(
        out,
        "\nThe origin gave {:.1} MB, {:.2} times the content; without peers it would have been {} times.",
        report.origin_bytes as f64 / 1e6,
        report.origin_amplification,
        report.viewers.len(),
    );
    let _ = writeln!(
        out,
        "P2P ratio {:.1} %, stalled {:.1} s, wasted {:.2} MB, {:.1} s, {}.",
        report.p2p_ratio * 100.0,
        stalled_ms as f64 / 1e3,
        wasted as f64 / 1e6,
        report.seconds,
        if report.all_bytes_correct { "every byte of every viewer is right" } else { "WRONG BYTES" },
    );
    out
}

/// A bar of `width` columns for `whole` bytes: what came from peers, what from the origin, what is missing.
pub fn bars(peers: u64, origin: u64, whole: u64, width: usize) -> String {
    let columns = |bytes: u64| (bytes as f64 / (whole as f64).max(1.0) * width as f64).round() as usize;
    let from_peers = columns(peers).min(width);
    let both = columns(peers + origin).clamp(from_peers, width);
    let mut bar = "█".repeat(from_peers);
    bar.push_str(&"▒".repeat(both - from_peers));
    bar.push_str(&"·".repeat(width - both));
    bar
}

/// Draws progress on a terminal until the demo is over.
pub(super) async fn draw(nodes: Vec<Node>, mut over: watch::Receiver<()>) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let mut every = tokio::time::interval(Duration::from_millis(250));
    let mut lines = 0;
    loop {
        tokio::select! {
            _ = every.tick() => {}
            _ = over.changed() => return,
        }
        let mut frame = String::new();
        if lines > 0 {
            let _ = write!(frame, "\x1b[{lines}A");
        }
        lines = nodes.len();
        for (number, node) in nodes.iter().enumerate() {
            let swarms = node.swarms().await;
            let report = swarms.into_iter().next().map(|status| status.report).unwrap_or_default();
            let bar = bars(report.from_peers, report.from_origin, report.bytes, WIDTH);
            let _ = writeln!(frame, "\x1b[2K{:>6}  {bar}  {:>3} neighbours", number + 1, report.neighbours);
        }
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stderr().write_all(frame.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_always_as_wide_as_asked() {
        for (peers, origin) in [(0, 0), (50, 25), (100, 0), (99, 1), (150, 50)] {
            assert_eq!(bars(peers, origin, 100, 20).chars().count(), 20);
        }
        assert_eq!(bars(50, 25, 100, 4), "██▒·");
    }
}
