//! Releases of the sidecar: which one an image holds, and what it accepts.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{CONNECTOR, KV_CONNECTOR, MODEL_SERVER_PORT, Sidecar, VLLM_PORT, bare};
use crate::arguments::Dialect;
use crate::release::{Entry, FlagStatus, Image, Version, in_release, status};

/// The older group of an InferencePool, and the only one up to release 0.4.
const ALPHA_GROUP: &str = "inference.networking.x-k8s.io";

/// A released sidecar whose flags are known: one of 0.2 to 0.10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release(Version);

impl Release {
    /// The release in an image, by repository and tag; a digest behind the tag changes nothing.
    ///
    /// `None` where it is not known: another repository (a mirror's, say), no tag, one that moves
    /// (`main`, `latest`), a release candidate, or a release that is newer than the table.
    #[must_use]
    pub fn of_image(image: &str) -> Option<Self> {
        let image = Image::parse(image);
        let version = image.version()?;
        let known = DATA.images.iter().any(|known| known == image.repository);
        (known && DATA.releases.contains(&version)).then_some(Self(version))
    }

    /// All releases of the table, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        DATA.releases.iter().copied().map(Self)
    }

    /// Its version: `0.9`.
    #[must_use]
    pub const fn version(self) -> Version {
        self.0
    }

    /// What it makes of a flag in its author's spelling, without the value: [`Flag::spelling`].
    /// A release that does not accept it ends with exit code 2 before it serves anything.
    ///
    /// The table is complete, so that [`FlagStatus::Unknown`] is certain. From 0.7 on a flag with
    /// one dash (`-port`) is [`FlagStatus::Removed`], with two dashes to write instead.
    ///
    /// [`Flag::spelling`]: crate::arguments::Flag::spelling
    #[must_use]
    pub fn flag(self, spelling: &str) -> FlagStatus {
        // A flag of one letter for both parsers.
        if spelling == "-h" {
            return FlagStatus::Known;
        }
        let name = long(spelling);
        let status = status(&DATA.flags, &name, self.0);
        if status.is_accepted() && !spelling.starts_with("--") && !self.takes_one_dash() {
            let mut names = DATA.flags.iter().map(|entry| entry.name.as_str());
            let instead = names.find(|known| *known == name);
            return FlagStatus::Removed { since: DATA.pflag, instead };
        }
        status
    }

    /// What it makes of an environment variable that gives a flag's default.
    /// [`FlagStatus::Unknown`] for all other variables, which may have other uses.
    #[must_use]
    pub fn env(self, name: &str) -> FlagStatus {
        status(&DATA.env, name, self.0)
    }

    /// The values that a flag takes; empty where they are free. A flag's older names take the
    /// same: `--connector` those of `--kv-connector`.
    #[must_use]
    pub fn values(self, flag: &str) -> Vec<&'static str> {
        in_release(DATA.values(flag), self.0).map(|value| value.name.as_str()).collect()
    }

    /// What it makes of one value of a flag: of one part of it where it is a list with commas
    /// (`--enable-tls`). [`FlagStatus::Known`] where values are free.
    ///
    /// With a wrong value the sidecar says so in its log and ends with exit code 0.
    #[must_use]
    pub fn value(self, flag: &str, value: &str) -> FlagStatus {
        match DATA.values(flag) {
            [] => FlagStatus::Known,
            values => status(values, value, self.0),
        }
    }

    /// What a flag is where it is not given, as one would write it; `None` where that is nothing,
    /// and for a flag that this release does not have.
    #[must_use]
    pub fn default(self, flag: &str) -> Option<&'static str> {
        let name = long(flag);
        let mut entries = in_release(&DATA.flags, self.0).filter(|entry| entry.name == name);
        entries.next()?.default.as_deref()
    }

    /// The flag for the connector: `--kv-connector`, or `--connector` before 0.7.
    #[must_use]
    pub fn connector_flag(self) -> &'static str {
        self.first(KV_CONNECTOR, CONNECTOR)
    }

    /// The flag for the engine's port: `--model-server-port`, or `--vllm-port` before 0.10.
    #[must_use]
    pub fn model_server_port_flag(self) -> &'static str {
        self.first(MODEL_SERVER_PORT, VLLM_PORT)
    }

    /// The port on which it expects the engine where no flag says it: 8001, and 8200 from 0.10 on.
    #[must_use]
    pub fn default_model_server_port(self) -> u16 {
        const OLDER: u16 = 8001;
        self.default(self.model_server_port_flag()).and_then(super::read_port).unwrap_or(OLDER)
    }

    /// Whether `-port` is `--port`: up to 0.6, which read flags with Go's `flag`. `pflag` takes the
    /// letters behind one dash for flags of one letter.
    #[must_use]
    pub fn takes_one_dash(self) -> bool {
        self.0 < DATA.pflag
    }

    /// Whether the allow-list of `--enable-ssrf-protection` finds the pods of a pool of this API
    /// group. Where not, it stays empty and every prefill host is refused.
    #[must_use]
    pub fn finds_pods_of(self, pool_group: &str) -> bool {
        pool_group == ALPHA_GROUP || self.0 >= DATA.pool_selector
    }

    fn first(self, newest: &'static str, older: &'static str) -> &'static str {
        if self.flag(newest).is_accepted() { newest } else { older }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What `--inference-pool` and the variable `INFERENCE_POOL` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool<'p> {
    /// The namespace: `default` where the value says none, whatever the pod's own is.
    pub namespace: &'p str,
    /// The InferencePool.
    pub name: &'p str,
}

/// Reads `namespace/name` or `name`. `None` for what the sidecar refuses: an empty part, or more than
/// two of them.
#[must_use]
pub fn inference_pool(value: &str) -> Option<Pool<'_>> {
    let (namespace, name) = value.split_once('/').unwrap_or(("default", value));
    let is_pool = !namespace.is_empty() && !name.is_empty() && !name.contains('/');
    is_pool.then_some(Pool { namespace, name })
}

/// `releases.yaml`, which explains its fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Data {
    releases: Vec<Version>,
    images: Vec<String>,
    pflag: Version,
    pool_selector: Version,
    flags: Vec<Entry>,
    values: BTreeMap<String, Vec<Entry>>,
    env: Vec<Entry>,
}

impl Data {
    fn values(&'static self, flag: &str) -> &'static [Entry] {
        let newest = Sidecar::spell(flag, None).name;
        self.values.get(&newest).map_or(&[], Vec::as_slice)
    }
}

/// The file is part of the program and tests read it, so one that does not parse cannot be shipped.
/// Were it so, no release would be known.
static DATA: LazyLock<Data> = LazyLock::new(|| {
    serde_saphyr::from_str(TEXT).unwrap_or_else(|error| {
        tracing::error!(%error, "the sidecar's releases do not parse");
        Data::default()
    })
});

const TEXT: &str = include_str!("releases.yaml");

fn long(spelling: &str) -> String {
    format!("--{}", bare(spelling))
}

#[cfg(test)]
mod tests;
