//! The counters as OpenMetrics text.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::node::desk::Desk;
use crate::node::store::Space;

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/metrics` answers. Made at each scrape from the node's own counters, so that nothing is counted twice.
pub(super) async fn text(desk: &Desk) -> String {
    let mut registry = Registry::with_prefix("pcdn_mapping");
    let counters = desk.counters();
    let count = |counter: &AtomicU64| ConstCounter::new(counter.load(Ordering::Relaxed));
    registry.register("contents_read", "Contents read and signed", count(&counters.contents));
    registry.register("bytes_read", "Bytes read from origins", count(&counters.bytes));
    registry.register("looks_failed", "Contents that could not be read", count(&counters.failures));
    let answers = Family::<Vec<(String, String)>, prometheus_client::metrics::counter::Counter>::default();
    for (name, counter) in ["ready", "hashing", "unknown", "busy"].iter().zip(&counters.answers) {
        let family = answers.get_or_create(&vec![("state".to_owned(), (*name).to_owned())]);
        family.inc_by(counter.load(Ordering::Relaxed));
    }
    registry.register("answers", "Questions about single URLs", answers);
    let (waiting, running) = desk.lengths();
    gauge(&mut registry, "looks_waiting", "Contents that wait to be looked at", waiting as i64);
    gauge(&mut registry, "looks_running", "Contents looked at now", running as i64);
    for (space, what) in [(Space::Entries, "Contents known"), (Space::Manifests, "Manifests kept")] {
        if let Some(number) = desk.count(space).await {
            gauge(&mut registry, space.name(), what, i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
    let mut out = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut out, &registry);
    out
}

fn gauge(registry: &mut Registry, name: &str, what: &str, number: i64) {
    let gauge = Gauge::<i64, AtomicI64>::default();
    gauge.set(number);
    registry.register(name, what, gauge);
}
