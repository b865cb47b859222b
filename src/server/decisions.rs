//! What answers a review: the decisions over a catalog.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::cluster::{Events, WatchedCatalog};
use crate::review::{Answer, Malformed, mutate, validate};

/// Tells of every change of what the decisions look at.
pub type Changes = watch::Receiver<()>;

/// What answers a review. It is called on the runtime's own threads and must not block.
pub trait Reviewer: Send + Sync + 'static {
    /// Answers `/mutate`.
    ///
    /// # Errors
    /// [`Malformed`] where no AdmissionReview can be answered; sent as 400 with its text.
    fn mutate(&self, body: &[u8]) -> Result<Answer, Malformed>;

    /// Answers `/validate`.
    ///
    /// # Errors
    /// As [`Reviewer::mutate`].
    fn validate(&self, body: &[u8]) -> Result<Answer, Malformed>;

    /// The changes after this call that may make another answer of `/mutate` possible; `None` where
    /// there never is one.
    fn changes(&self) -> Option<Changes> {
        None
    }

    /// Hears of an answer that is about to be sent.
    fn answered(&self, answer: &Answer) {
        let _ = answer;
    }

    /// Adds its own numbers to the metrics.
    fn measure(&self, registry: &mut Registry) {
        let _ = registry;
    }
}

/// The decisions over a catalog, as a [`Reviewer`].
pub struct Decisions {
    catalog: Arc<dyn Catalog>,
    changes: Option<Changes>,
    events: Option<Events>,
}

impl Decisions {
    /// Over a catalog that stays as it is.
    #[must_use]
    pub fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, changes: None, events: None }
    }

    /// Over a catalog that tells of its changes.
    #[must_use]
    pub fn changing(catalog: Arc<dyn Catalog>, changes: Changes) -> Self {
        Self { catalog, changes: Some(changes), events: None }
    }

    /// Over what a cluster holds; the owners of the pods are told by Events.
    #[must_use]
    pub fn in_cluster(catalog: Arc<WatchedCatalog>, events: Events) -> Self {
        let changes = Some(catalog.changes());
        Self { catalog, changes, events: Some(events) }
    }
}

impl Reviewer for Decisions {
    fn mutate(&self, body: &[u8]) -> Result<Answer, Malformed> {
        mutate(body, &self.catalog.snapshot())
    }

    fn validate(&self, body: &[u8]) -> Result<Answer, Malformed> {
        validate(body, &self.catalog.snapshot())
    }

    fn changes(&self) -> Option<Changes> {
        let mut changes = self.changes.clone()?;
        changes.mark_unchanged();
        Some(changes)
    }

    fn answered(&self, answer: &Answer) {
        if let (Some(events), Some(record)) = (&self.events, &answer.record) {
            events.tell(&answer.namespace, record);
        }
    }

    fn measure(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(Sizes(Arc::clone(&self.catalog))));
        if let Some(events) = &self.events {
            events.measure(registry);
        }
    }
}

impl fmt::Debug for Decisions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decisions").finish_non_exhaustive()
    }
}

/// How much is in the catalog, looked at when asked for.
struct Sizes(Arc<dyn Catalog>);

impl fmt::Debug for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sizes").finish_non_exhaustive()
    }
}

impl Collector for Sizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let snapshot = self.0.snapshot();
        let help = "Objects that decisions are made from, by kind; the built-in ones not counted";
        let mut family =
            encoder.encode_descriptor("catalog_objects", help, None, MetricType::Gauge)?;
        for (kind, count) in [
            ("LLMInferenceService", snapshot.services.len()),
            ("LLMInferenceServiceConfig", snapshot.configs.len()),
        ] {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("kind", kind)])?)?;
        }
        let help = "Configs whose last good version is used because the newest cannot be";
        let metric =
            encoder.encode_descriptor("catalog_stale_configs", help, None, MetricType::Gauge)?;
        ConstGauge::new(i64::try_from(snapshot.stale.len()).unwrap_or(i64::MAX)).encode(metric)
    }
}
