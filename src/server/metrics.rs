//! What can be counted from outside.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::{Named, Reviewer};

/// Of the text that [`Metrics::text`] gives.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper ends of the duration's buckets, in seconds: a review takes about 100 µs, a queued one
/// up to its deadline.
const BUCKETS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Cheap to clone: every clone counts into the same numbers.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    reviews: Family<ReviewLabels, Counter>,
    durations: Family<PathLabels, Histogram>,
    in_flight: Gauge,
    pub(super) handshake_failures: Counter,
    pub(super) rejected_connections: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    path: &'static str,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PathLabels {
    path: &'static str,
}

impl Metrics {
    /// What the server counts, the reviewer's own numbers, and a gauge a condition.
    pub(super) fn new(conditions: &[Named], reviewer: &dyn Reviewer) -> Self {
        let mut registry = Registry::with_prefix("llmisvc_webhook");
        let reviews = Family::default();
        let durations = Family::new_with_constructor((|| Histogram::new(BUCKETS)) as fn() -> _);
        let in_flight = Gauge::default();
        let handshake_failures = Counter::default();
        let rejected_connections = Counter::default();
        registry.register(
            "reviews",
            "Requests answered, by path and decision; a request that is no review by what is wrong with it",
            reviews.clone(),
        );
        registry.register_with_unit(
            "review_duration",
            "Time from a request's headers to its answer",
            Unit::Seconds,
            durations.clone(),
        );
        registry.register("reviews_in_flight", "Requests being answered", in_flight.clone());
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that failed or took too long",
            handshake_failures.clone(),
        );
        registry.register(
            "rejected_connections",
            "Connections closed because as many as allowed were open",
            rejected_connections.clone(),
        );
        registry.register(
            "build",
            "The running version",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        registry.register_collector(Box::new(ResidentMemory));
        registry.register_collector(Box::new(Ready(conditions.to_vec())));
        reviewer.measure(&mut registry);
        Self { registry, reviews, durations, in_flight, handshake_failures, rejected_connections }
    }

    /// Counts a request as being answered until the value is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts an answered request.
    pub(super) fn answered(&self, path: &'static str, decision: &'static str, took: Duration) {
        self.reviews.get_or_create(&ReviewLabels { path, decision }).inc();
        self.durations.get_or_create(&PathLabels { path }).observe(took.as_secs_f64());
    }

    /// Everything, in the `OpenMetrics` text format.
    pub(super) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// One request in the gauge.
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Whether each condition of readiness holds, looked at when asked for.
#[derive(Debug)]
struct Ready(Vec<Named>);

impl Collector for Ready {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(
            "ready",
            "Whether a condition of readiness holds: 1 or 0",
            None,
            MetricType::Gauge,
        )?;
        for (name, condition) in &self.0 {
            let holds = ConstGauge::new(i64::from(condition.borrow().is_ok()));
            holds.encode(family.encode_family(&[("condition", *name)])?)?;
        }
        Ok(())
    }
}

/// The process' resident memory, read when asked for; absent where the system does not tell.
#[derive(Debug)]
struct ResidentMemory;

impl Collector for ResidentMemory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(bytes) = resident_bytes() else { return Ok(()) };
        let gauge = ConstGauge::new(bytes);
        let metric = encoder.encode_descriptor(
            "resident_memory",
            "Resident memory of the process",
            Some(&Unit::Bytes),
            MetricType::Gauge,
        )?;
        gauge.encode(metric)
    }
}

/// `VmRSS` of proc(5), which is in KiB.
fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::catalog::files::FileCatalog;
    use crate::server::Decisions;

    #[test]
    fn the_text_has_what_was_counted() {
        let (sender, condition) = watch::channel(Err("waiting".to_owned()));
        let decisions = Decisions::new(Arc::new(FileCatalog::default()));
        let metrics = Metrics::new(&[("catalog", condition)], &decisions);
        metrics.answered("mutate", "injected", Duration::from_micros(300));
        metrics.answered("mutate", "injected", Duration::from_micros(300));
        let in_flight = metrics.begin();
        let text = metrics.text().unwrap();
        for line in [
            r#"llmisvc_webhook_reviews_total{path="mutate",decision="injected"} 2"#,
            r#"llmisvc_webhook_review_duration_seconds_bucket{le="0.0005",path="mutate"} 2"#,
            "llmisvc_webhook_reviews_in_flight 1",
            "llmisvc_webhook_tls_handshake_failures_total 0",
            "llmisvc_webhook_rejected_connections_total 0",
            "llmisvc_webhook_build_info{version=",
            "llmisvc_webhook_resident_memory_bytes ",
            r#"llmisvc_webhook_ready{condition="catalog"} 0"#,
            r#"llmisvc_webhook_catalog_objects{kind="LLMInferenceService"} 0"#,
            "llmisvc_webhook_catalog_stale_configs 0",
        ] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line} in\n{text}");
        }
        drop(in_flight);
        sender.send(Ok(())).unwrap();
        let text = metrics.text().unwrap();
        for line in ["llmisvc_webhook_reviews_in_flight 0", r#"ready{condition="catalog"} 1"#] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
