//! The built-in LLMInferenceServiceConfigs, embedded as YAML.

use std::sync::Arc;

use crate::api::Config;

/// A release of KServe whose well-known configs the built-in ones follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum ReleaseSet {
    /// KServe 0.17.
    #[default]
    #[value(name = "v0.17")]
    V0_17,
    /// KServe 0.20.
    #[value(name = "v0.20")]
    V0_20,
    /// No built-in configs: only those of the catalog.
    #[value(name = "none")]
    None,
}

impl ReleaseSet {
    /// The configs of this set, in the order of their names.
    #[must_use]
    pub fn configs(self) -> Vec<Arc<Config>> {
        Vec::new()
    }

    /// The config of that name.
    #[must_use]
    pub fn config(self, name: &str) -> Option<Arc<Config>> {
        self.configs().into_iter().find(|config| config.key.name == name)
    }
}
