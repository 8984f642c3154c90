//! The counters as OpenMetrics text.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::tracker::service::{Refusal, Service};

pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What `/metrics` answers.
#[derive(Debug)]
pub(super) struct Metrics(Registry);

impl Metrics {
    pub(super) fn new(service: Arc<Service>) -> Self {
        let mut registry = Registry::with_prefix("pcdn_tracker");
        registry.register_collector(Box::new(Source(service)));
        Self(registry)
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &self.0);
        out
    }
}

/// Reads the service's own counters at each scrape, so that nothing is counted twice.
#[derive(Debug)]
struct Source(Arc<Service>);

impl Collector for Source {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (table, counters) = (self.0.table(), self.0.counters());
        let gauges = [
            ("swarms", "Swarms with at least one peer", table.swarms()),
            ("peers", "Entries; a peer counts once for each swarm and address family", table.entries()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value as i64);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let factor = ConstGauge::new(table.load_factor());
        let help = "How much longer than usual peers are asked to wait, 1 to 4";
        factor.encode(encoder.encode_descriptor("load_factor", help, None, MetricType::Gauge)?)?;
        let counts: [(&str, &str, &AtomicU64); 7] = [
            ("connects", "Connection ids issued", &counters.connects),
            ("announces", "Announces accepted", &counters.announces),
            ("finds", "Finds answered", &counters.finds),
            ("reports", "Reports accepted", &counters.reports),
            ("scrapes", "Scrapes answered", &counters.scrapes),
            ("words", "Nodes that asked where they are seen, or called another", &counters.words),
            ("dropped", "Datagrams without answer", &counters.dropped),
        ];
        for (name, help, value) in counts {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let mut refused =
            encoder.encode_descriptor("refused", "Requests refused", None, MetricType::Counter)?;
        for why in Refusal::ALL {
            let counter = ConstCounter::new(counters.refused(why));
            counter.encode(refused.encode_family(&[("why", why.name())])?)?;
        }
        Ok(())
    }
}
