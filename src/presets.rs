//! The built-in LLMInferenceServiceConfig objects, embedded as YAML.
//!
//! One set for each release of KServe that they follow, under the names that KServe's own configs
//! have, so that a config in the cluster takes the place of the built-in one. The files lie beside
//! this module, one config each, and are written to be read: `presets show` prints them as they are.

use std::sync::{Arc, LazyLock};

use crate::api::{Config, ObjectKey};

/// A release of KServe whose well-known configs the built-in ones follow.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Hash,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
pub enum ReleaseSet {
    /// KServe 0.17.
    #[default]
    #[serde(rename = "v0.17")]
    #[value(name = "v0.17")]
    V0_17,
    /// KServe 0.20.
    #[serde(rename = "v0.20")]
    #[value(name = "v0.20")]
    V0_20,
    /// No built-in configs: only those of the catalog.
    #[serde(rename = "none")]
    #[value(name = "none")]
    None,
}

impl ReleaseSet {
    /// The configs of this set, in the order of their names. Their namespace is empty: they are
    /// found from every namespace.
    #[must_use]
    pub fn configs(self) -> Vec<Arc<Config>> {
        self.parsed().to_vec()
    }

    /// The config of that name, e.g. `kserve-config-llm-decode-template`.
    #[must_use]
    pub fn config(self, name: &str) -> Option<Arc<Config>> {
        self.parsed().iter().find(|config| config.key.name == name).cloned()
    }

    /// The YAML text of the config of that name, comments included.
    #[must_use]
    pub fn source(self, name: &str) -> Option<&'static str> {
        self.files().iter().find(|file| file.name == name).map(|file| file.text)
    }

    fn parsed(self) -> &'static [Arc<Config>] {
        static V0_17_CONFIGS: LazyLock<Vec<Arc<Config>>> = LazyLock::new(|| parse_all(&V0_17));
        static V0_20_CONFIGS: LazyLock<Vec<Arc<Config>>> = LazyLock::new(|| parse_all(&V0_20));
        match self {
            Self::V0_17 => &V0_17_CONFIGS,
            Self::V0_20 => &V0_20_CONFIGS,
            Self::None => &[],
        }
    }

    fn files(self) -> &'static [File] {
        match self {
            Self::V0_17 => &V0_17,
            Self::V0_20 => &V0_20,
            Self::None => &[],
        }
    }
}

/// One embedded file: the name of the config in it and its text.
struct File {
    name: &'static str,
    text: &'static str,
}

/// The six files of a release's folder, in the order of their names.
macro_rules! files {
    ($release:literal) => {
        files!($release:
            "config-llm-decode-template",
            "config-llm-decode-worker-data-parallel",
            "config-llm-prefill-template",
            "config-llm-prefill-worker-data-parallel",
            "config-llm-template",
            "config-llm-worker-data-parallel",
        )
    };
    ($release:literal: $($name:literal,)*) => {
        [$(File {
            name: concat!("kserve-", $name),
            text: include_str!(concat!("presets/", $release, "/", $name, ".yaml")),
        }),*]
    };
}

static V0_17: [File; 6] = files!("v0.17");
static V0_20: [File; 6] = files!("v0.20");

/// Parses a set. The files are part of the program and a test reads each of them, so one that does
/// not parse cannot be shipped; were it so, its name would be reported as a config that is missing.
fn parse_all(files: &[File]) -> Vec<Arc<Config>> {
    files
        .iter()
        .filter_map(|file| match parse(file) {
            Ok(config) => Some(Arc::new(config)),
            Err(error) => {
                tracing::error!(config = file.name, %error, "built-in config does not parse");
                None
            }
        })
        .collect()
}

fn parse(file: &File) -> Result<Config, serde_saphyr::Error> {
    Ok(Config {
        key: ObjectKey { namespace: String::new(), name: file.name.to_owned() },
        object: serde_saphyr::from_str(file.text)?,
    })
}

#[cfg(test)]
mod tests;
