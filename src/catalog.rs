//! What the decision knows of the cluster: services, configs and settings, as one snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::api::{Config, ObjectKey, Service};
use crate::compose::Cache;

mod settings;

pub use settings::{FabricSettings, RuleSettings, Settings, Severity};

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
    /// Configs whose newest version cannot be used, with what is wrong with it: among the configs
    /// is their last version that can.
    pub stale: BTreeMap<ObjectKey, String>,
    /// What is not known yet, where something is not: nothing can be decided for a pod that opted in.
    pub waiting: Option<String>,
    /// The cluster does not have the kind LLMInferenceService, so there can be no service.
    pub no_such_kind: bool,
    /// The operator's settings.
    pub settings: Settings,
    /// Blueprints composed from this very snapshot: a pool's second pod costs no composition.
    pub cache: Cache,
}

impl Snapshot {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.services.get(&ObjectKey::new(namespace, name))
    }

    /// The config of that name: the namespace's own, then the system namespace's, then the built-in.
    #[must_use]
    pub fn config(&self, namespace: &str, name: &str) -> Option<Arc<Config>> {
        [namespace, self.settings.system_namespace.as_str()]
            .into_iter()
            .find_map(|namespace| self.configs.get(&ObjectKey::new(namespace, name)).cloned())
            .or_else(|| self.settings.presets.config(name))
    }

    /// Names of the configs that a service of that namespace may refer to, sorted, each once.
    #[must_use]
    pub fn config_names(&self, namespace: &str) -> Vec<String> {
        let system = self.settings.system_namespace.as_str();
        let mut names: Vec<String> = self
            .configs
            .keys()
            .filter(|key| key.namespace == namespace || key.namespace == system)
            .map(|key| key.name.clone())
            .chain(
                self.settings.presets.configs().into_iter().map(|config| config.key.name.clone()),
            )
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// Names of the services of that namespace, sorted.
    #[must_use]
    pub fn service_names(&self, namespace: &str) -> Vec<&str> {
        self.services
            .keys()
            .filter(|key| key.namespace == namespace)
            .map(|key| key.name.as_str())
            .collect()
    }
}

/// The name among `candidates` that is nearest to `name`, if one is near enough to be a typo.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    crate::nearest::nearest(name, candidates, crate::nearest::OBJECTS)
}

/// ` (did you mean X?)`, or the candidates themselves where none is near: the end of a refusal.
#[must_use]
pub fn hint(name: &str, what: &str, candidates: &[&str]) -> String {
    match nearest(name, candidates.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None if candidates.is_empty() => format!("there are no {what}"),
        None => {
            const SHOWN: usize = 8;
            let more = candidates.len().saturating_sub(SHOWN);
            let shown: Vec<&str> = candidates.iter().copied().take(SHOWN).collect();
            let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{what} there are: {}{and_more}", shown.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_gets_a_hint_and_a_stranger_the_list() {
        assert_eq!(
            hint("qwen2-7b-dp", "services", &["llama", "qwen2-7b-pd"]),
            "did you mean qwen2-7b-pd?"
        );
        assert_eq!(hint("zzz", "services", &["llama", "qwen"]), "services there are: llama, qwen");
        assert_eq!(hint("zzz", "services", &[]), "there are no services");
    }
}
