//! What the decision knows of the cluster: services, configs and settings, as one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{Config, ObjectKey, Service};
use crate::presets::ReleaseSet;

pub mod files;

/// Where a decision takes its snapshot from: files offline, watches in a cluster.
pub trait Catalog: Send + Sync {
    /// The newest snapshot. Cheap: it is called once a review.
    fn snapshot(&self) -> Arc<Snapshot>;
}

/// Everything a decision may look at, fixed for its duration.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Services by namespace and name.
    pub services: BTreeMap<ObjectKey, Arc<Service>>,
    /// Configs by namespace and name; the built-in ones are not among them.
    pub configs: BTreeMap<ObjectKey, Arc<Config>>,
    /// Value of the fabric label by namespace.
    pub fabrics: BTreeMap<String, String>,
    /// The operator's settings.
    pub settings: Settings,
}

/// The operator's settings.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Which built-in presets apply.
    pub presets: ReleaseSet,
}
