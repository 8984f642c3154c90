//! An outcome as a picture: useful bytes a second over time by source, and who got what from where.

use std::fmt::Write;

use super::{LISTED, Outcome};

const WIDTH: f64 = 880.0;
const LEFT: f64 = 120.0;
const AREA: f64 = 220.0;
const TOP: f64 = 64.0;
const ROW: f64 = 18.0;
const PEERS: &str = "#3b7dd8";
const ORIGIN: &str = "#e08a2c";

pub(super) fn chart(outcome: &Outcome) -> String {
    let rows = if outcome.viewers.len() <= LISTED { outcome.viewers.len() } else { 0 };
    let height = TOP + AREA + 60.0 + rows as f64 * ROW;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + LEFT + 40.0
    );
    let title = format!(
        "{}: {} viewers, {:.1} s, {:.1} % from the CDN",
        outcome.scenario,
        outcome.peers,
        outcome.makespan_s,
        outcome.origin_share * 100.0
    );
    text(&mut out, LEFT, 24.0, "start", &title);
    legend(&mut out);
    area(&mut out, outcome);
    if rows > 0 {
        viewers(&mut out, outcome, TOP + AREA + 50.0);
    }
    out.push_str("</svg>\n");
    out
}

fn legend(out: &mut String) {
    for (x, colour, what) in [(LEFT, PEERS, "from peers"), (LEFT + 110.0, ORIGIN, "from the CDN")] {
        rect(out, x, 36.0, 10.0, 10.0, colour);
        text(out, x + 16.0, 45.0, "start", what);
    }
}

/// Two stacked areas over time.
fn area(out: &mut String, outcome: &Outcome) {
    let most = outcome.timeline.iter().map(|[origin, peers]| origin + peers).max().unwrap_or(0).max(1) as f64;
    let step = WIDTH / outcome.timeline.len().max(1) as f64;
    let y = |bytes: u64| TOP + AREA * (1.0 - bytes as f64 / most);
    for (colour, of) in [(PEERS, (|b| b[0] + b[1]) as fn(&[u64; 2]) -> u64), (ORIGIN, |b| b[0])] {
        let mut path = format!("M{LEFT:.1} {:.1}", TOP + AREA);
        for (at, bucket) in outcome.timeline.iter().enumerate() {
            let (x, top) = (LEFT + at as f64 * step, y(of(bucket)));
            let _ = write!(path, " L{x:.1} {top:.1} L{:.1} {top:.1}", x + step);
        }
        let _ =
            writeln!(out, "<path d=\"{path} L{:.1} {:.1} Z\" fill=\"{colour}\"/>", LEFT + WIDTH, TOP + AREA);
    }
    let _ = writeln!(
        out,
        "<path d=\"M{LEFT} {TOP} V{0} H{1}\" fill=\"none\" stroke=\"#555\"/>",
        TOP + AREA,
        LEFT + WIDTH
    );
    // Two buckets are a second.
    text(out, LEFT - 6.0, TOP + 10.0, "end", &format!("{:.0} Mbit/s", most * 2.0 * 8.0 / 1e6));
    text(out, LEFT, TOP + AREA + 16.0, "start", "0 s");
    text(
        out,
        LEFT + WIDTH,
        TOP + AREA + 16.0,
        "end",
        &format!("{:.1} s", outcome.timeline.len() as f64 / 2.0),
    );
}

/// One stacked bar a viewer.
fn viewers(out: &mut String, outcome: &Outcome, top: f64) {
    let most = outcome.viewers.iter().map(|v| v.from_origin + v.from_peers).max().unwrap_or(0).max(1) as f64;
    for (at, viewer) in outcome.viewers.iter().enumerate() {
        let y = top + at as f64 * ROW;
        let [peers, origin] =
            [viewer.from_peers, viewer.from_origin].map(|bytes| bytes as f64 / most * WIDTH);
        text(out, LEFT - 6.0, y + 11.0, "end", &viewer.name);
        rect(out, LEFT, y, peers, ROW - 5.0, PEERS);
        rect(out, LEFT + peers, y, origin, ROW - 5.0, ORIGIN);
    }
}

fn rect(out: &mut String, x: f64, y: f64, width: f64, height: f64, colour: &str) {
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    // Names come from scenario files.
    let safe = what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{safe}</text>");
}
