//! The line that shows how a download is getting on.

use std::time::{Duration, Instant};

use super::tell;
use crate::node::{Asset, SwarmReport};

/// Cells of the bar.
const CELLS: usize = 24;

/// Shows progress on a terminal; returns when nothing came for `stuck_after`.
pub(super) async fn watch(asset: &Asset, wanted: u64, stuck_after: Duration, tick: Duration) {
    let watched = tell::is_watched();
    let started = Instant::now();
    let (mut last, mut moved) = (0, Instant::now());
    let mut ticks = tokio::time::interval(tick);
    loop {
        ticks.tick().await;
        let report = asset.report().await;
        let have = taken(&report);
        if have != last {
            (last, moved) = (have, Instant::now());
        } else if moved.elapsed() >= stuck_after {
            end();
            return;
        }
        if watched {
            tell::status(&line(&report, wanted, started.elapsed()));
        }
    }
}

/// Leaves the line.
pub(super) fn end() {
    if tell::is_watched() {
        tell::status("");
    }
}

fn taken(report: &SwarmReport) -> u64 {
    report.from_origin + report.from_peers + report.from_cache
}

fn line(report: &SwarmReport, wanted: u64, elapsed: Duration) -> String {
    let have = taken(report).min(wanted);
    let share = if wanted == 0 { 1.0 } else { have as f64 / wanted as f64 };
    let full = (share * CELLS as f64) as usize;
    let rate = (have - report.from_cache.min(have)) as f64 / elapsed.as_secs_f64().max(0.001);
    let left =
        if rate >= 1.0 { format!("{:.0} s left", (wanted - have) as f64 / rate) } else { "waiting".into() };
    format!(
        "[{}{}] {:3.0} % of {}  {}/s  {left}  peers {:.0} % ({})",
        "█".repeat(full),
        "·".repeat(CELLS - full),
        share * 100.0,
        human(wanted),
        human(rate as u64),
        report.p2p_ratio * 100.0,
        report.neighbours,
    )
}

/// Bytes for people: three digits and a unit.
pub(super) fn human(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || value >= 99.95 { 0 } else { 1 };
    format!("{value:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_well() {
        for (bytes, want) in
            [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (99_960, "100 kB"), (12_345_678, "12.3 MB")]
        {
            assert_eq!(human(bytes), want);
        }
    }

    #[test]
    fn the_line_never_overflows() {
        let report = SwarmReport { from_origin: 300, from_cache: 500, ..SwarmReport::default() };
        let text = line(&report, 400, Duration::from_secs(1));
        assert!(text.contains("100 %") && !text.contains('·'), "{text}");
        assert!(line(&SwarmReport::default(), 0, Duration::ZERO).contains("100 %"));
    }
}
