//! The page for people. Plain HTML: no script, nothing loaded from elsewhere.

use std::fmt::Write;

use pcdn_core::id::SwarmKey;

use super::json::StatsBody;
use crate::tracker::wire::Counts;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
    color-scheme:light dark}table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.2rem .6rem;\
    border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left;overflow-wrap:anywhere}\
    td{font-variant-numeric:tabular-nums}code{font-size:.85em}";

/// All that is inserted is numbers and hex, so nothing needs escaping.
pub(super) fn html(stats: &StatsBody, largest: &[(SwarmKey, Counts)]) -> String {
    let mut rows = String::new();
    for (key, Counts { seeds, others }) in largest {
        // Writing to a string does not fail.
        let _ = write!(
            rows,
            "<tr><td><a href=\"/v1/swarms/{key}\"><code>{key}</code></a></td><td>{seeds}</td><td>{others}</td></tr>"
        );
    }
    let StatsBody { uptime_s, swarms, peers, announces, finds, refused, .. } = stats;
    let kind = if stats.private { "private" } else { "public" };
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>pcdn tracker</title><style>{STYLE}</style><h1>pcdn tracker</h1>\
         <p>A {kind} tracker, up for {uptime_s} s: <b>{peers}</b> peers in <b>{swarms}</b> swarms; {announces} announces, \
         {finds} finds, {refused} refused.</p>\
         <table><thead><tr><th>Largest swarms</th><th>Seeds</th><th>Others</th></tr></thead><tbody>{rows}</tbody></table>\
         <p><a href=\"/v1/swarms\">swarms</a> · <a href=\"/v1/stats\">stats</a> · <a href=\"/metrics\">metrics</a></p></html>"
    )
}
