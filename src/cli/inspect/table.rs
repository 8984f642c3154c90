//! The report of `pcdn inspect` for people.

use std::fmt::Write as _;

use crate::publish::{Inspection, SegmentReport};

pub(super) fn of(report: &Inspection) -> String {
    let id = |id: Option<String>| id.unwrap_or_else(|| "none".into());
    let mut text = format!(
        "url    {}\nkind   {}{}\nrid    {}\nrule   {}\nswarm  {}\nbytes  {}\n",
        report.url,
        report.kind,
        if report.live { ", live" } else { "" },
        id(report.rid.map(|rid| rid.to_string())),
        report.rule,
        id(report.swarm.map(|swarm| swarm.to_string())),
        report.bytes,
    );
    for it in &report.renditions {
        let bandwidth = it.bandwidth.map_or_else(|| "-".into(), |bandwidth| bandwidth.to_string());
        let (codecs, size) = (it.codecs.as_deref().unwrap_or("-"), it.resolution.as_deref().unwrap_or("-"));
        let swarm = id(it.swarm.map(|swarm| swarm.short()));
        let _ = write!(
            text,
            "\nrendition {}: {bandwidth} bit/s {size} {codecs} swarm {swarm}\n  {}",
            it.id, it.url
        );
    }
    if !report.segments.is_empty() {
        let _ = write!(
            text,
            "\n{:>20} {:>12} {:>8} {:>11} {:>9}  where\n",
            "segment", "bytes", "pieces", "piece bytes", "start"
        );
    }
    report.segments.iter().for_each(|segment| text += &line(segment));
    text
}

/// One segment, with a newline.
pub(super) fn line(segment: &SegmentReport) -> String {
    let start = segment.start_s.map_or_else(String::new, |start| format!("{start:.3}"));
    let name =
        segment.url.split(['?', '#']).next().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let range =
        segment.range.map_or_else(String::new, |range| format!(" {}..{}", range.start(), range.end()));
    let marks = [(segment.init, " init"), (segment.discontinuity, " break")];
    let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect();
    let hash = segment.blake3.map_or_else(String::new, |hash| format!("  {hash}"));
    format!(
        "{:>20} {:>12} {:>8} {:>11} {start:>9}  {name}{range}{marks}{hash}\n",
        segment.id, segment.bytes, segment.pieces, segment.piece_bytes
    )
}
