//! Releases of vLLM: which one an image holds, and what it accepts.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::discriminant;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::release::{Entry, FlagStatus, Image, Version, find, in_release, nearest_flag};

/// The vLLM of an image: a release of it, or one of a few where the image's own release does not
/// say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Release {
    from: Version,
    to: Version,
}

impl Release {
    /// The release in an image, by repository and tag; a digest behind the tag changes nothing.
    ///
    /// Known are `vllm/vllm-openai`, whose tag is vLLM's version, with or without a platform
    /// (`v0.24.0-x86_64-ubuntu2404`), and the releases of `ghcr.io/llm-d/llm-d-cuda`. `None` for
    /// all else: another repository, no tag, one that moves (`latest`, `nightly`), a candidate
    /// (`v0.20.0rc1`), a release that is older or newer than the table.
    #[must_use]
    pub fn of_image(image: &str) -> Option<Self> {
        let image = Image::parse(image);
        if DATA.images.iter().any(|known| known == image.repository) {
            let version = Image { tag: image.tag.map(without_platform), ..image }.version()?;
            return DATA.releases.contains(&version).then_some(Self { from: version, to: version });
        }
        let builds = DATA.builds.get(image.repository)?;
        let version = image.version()?;
        let build = builds.iter().find(|build| build.tag == version)?;
        Some(Self { from: build.from, to: build.to })
    }

    /// Whether something has changed in this release. `None` where it is not known: in one of the
    /// releases that it may be, or in one between two that were read.
    #[must_use]
    pub fn has(self, change: Change) -> Option<bool> {
        let since = DATA.changes.iter().find(|entry| entry.change == change)?.since;
        let (lower, upper) = self.read();
        let (in_lower, in_upper) = (lower >= since, upper >= since);
        (in_lower == in_upper).then_some(in_lower)
    }

    /// What both ends of the releases that it may be agree on. Where they do not, nothing can be
    /// said against the name.
    fn status(self, names: &'static Names, name: &str) -> FlagStatus {
        let (lower, upper) = self.read();
        match (names.find(name, lower), names.find(name, upper)) {
            (Some(lower), Some(upper)) if discriminant(&lower) == discriminant(&upper) => upper,
            (Some(_), _) | (_, Some(_)) => FlagStatus::Known,
            (None, None) => unknown(name, || names.in_release(upper)),
        }
    }

    fn newest() -> Self {
        let version = DATA.read.last().copied().unwrap_or_default();
        Self { from: version, to: version }
    }

    /// The releases that were read, next to it on both sides.
    fn read(self) -> (Version, Version) {
        let lower = DATA.read.iter().rfind(|read| **read <= self.from);
        let upper = DATA.read.iter().find(|read| **read >= self.to);
        (lower.copied().unwrap_or(self.from), upper.copied().unwrap_or(self.to))
    }
}

impl fmt::Display for Release {
    /// `0.17.1`, or `0.14 to 0.14.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.from.fmt(f)?;
        if self.from == self.to { Ok(()) } else { write!(f, " to {}", self.to) }
    }
}

/// What a release does otherwise than older ones, beside the names that it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// The variable `VLLM_ALL2ALL_BACKEND` is no longer read; `--all2all-backend` is.
    All2allVariableIgnored,
    /// `kv_load_failure_policy` is `fail` where it is not given; before it was `recompute`.
    LoadFailureFails,
    /// With a KV connector it does not start when `PYTORCH_CUDA_ALLOC_CONF` has
    /// `expandable_segments:True`, unless `--enable-sleep-mode` or (from 0.22 on)
    /// `--enable-cumem-allocator` is given. `PYTORCH_ALLOC_CONF` is not looked at.
    ExpandableSegmentsRefused,
    /// `kv_lease_duration` in `kv_connector_extra_config` takes the place of the variable
    /// `VLLM_NIXL_ABORT_REQUEST_TIMEOUT`, which is no longer read.
    NixlLease,
    /// The CPU tier of `OffloadingConnector` is a file in /dev/shm; before it was memory of the engine.
    OffloadingInSharedMemory,
    /// `NixlConnector` warns of the role `kv_both`.
    NixlKvBothDeprecated,
    /// `OffloadingConnector` has a tier in other engines, `p2p`.
    OffloadingPeerTier,
    /// It does not start when a segment of shared memory does not fit `/dev/shm`.
    SharedMemoryChecked,
}

impl Change {
    /// All of them, in the order of time.
    pub const ALL: [Self; 8] = [
        Self::All2allVariableIgnored,
        Self::LoadFailureFails,
        Self::ExpandableSegmentsRefused,
        Self::NixlLease,
        Self::OffloadingInSharedMemory,
        Self::NixlKvBothDeprecated,
        Self::OffloadingPeerTier,
        Self::SharedMemoryChecked,
    ];

    /// The first release of the table that has it; an older one may, that was not read.
    #[must_use]
    pub fn since(self) -> Option<Version> {
        DATA.changes.iter().find(|entry| entry.change == self).map(|entry| entry.since)
    }
}

/// What a release of vLLM makes of a flag of `vllm serve`, in any spelling and without the value
/// (`--max_model_len`, `-tp`, `--no-enable-prefix-caching`, `--kv-transfer-config.kv_role`).
///
/// - The versions in the answer are those of releases that were read: a flag may have come or gone
///   a little earlier.
/// - Where the release is not known, [`FlagStatus::Known`] says that some release has it.
/// - [`FlagStatus::Unknown`] is no certain mistake: platforms and plugins add flags, and one may
///   have lived between two releases that were read. A name that argparse completes is known.
#[must_use]
pub fn flag_status(spelling: &str, release: Option<Release>) -> FlagStatus {
    // `-O3`, `-O.mode` and their like have been there in all releases.
    if spelling.starts_with("-O") {
        return FlagStatus::Known;
    }
    let head = spelling.split_once(['.', '=']).map_or(spelling, |(head, _)| head);
    let long = if head.starts_with("--") { head.replace('_', "-") } else { head.to_owned() };
    let status = |name: &str| match release {
        Some(release) => release.status(&DATA.flags, name),
        None => DATA.flags.find_anywhere(name),
    };
    let positive = long.strip_prefix("--no-").map(|rest| format!("--{rest}"));
    let found = status(&long);
    match positive {
        Some(positive) if matches!(found, FlagStatus::Unknown { .. }) => status(&positive),
        _ => found,
    }
}

/// What a release makes of a name that `kv_connector` may have without a `kv_connector_module_path`;
/// the newest of the table where the release is not known. Plugins may bring others, so
/// [`FlagStatus::Unknown`] is no certain mistake.
#[must_use]
pub fn connector_status(name: &str, release: Option<Release>) -> FlagStatus {
    release.unwrap_or_else(Release::newest).status(&DATA.connectors, name)
}

/// As [`connector_status`], for a value of `--all2all-backend`. For one that is
/// [`FlagStatus::Deprecated`], vLLM warns and takes the other.
#[must_use]
pub fn all2all_status(name: &str, release: Option<Release>) -> FlagStatus {
    release.unwrap_or_else(Release::newest).status(&DATA.all2all_backends, name)
}

/// Names that all releases have, and others.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    always: Vec<String>,
    changed: Vec<Entry>,
}

impl Names {
    /// What a release makes of a name, if any has it.
    fn find(&'static self, name: &str, version: Version) -> Option<FlagStatus> {
        let always = self.always.iter().any(|known| known == name);
        if always { Some(FlagStatus::Known) } else { find(&self.changed, name, version) }
    }

    /// [`FlagStatus::Known`] if any release has it.
    fn find_anywhere(&'static self, name: &str) -> FlagStatus {
        let Release { from: newest, .. } = Release::newest();
        let found = self.find(name, newest).map(|_| FlagStatus::Known);
        found.unwrap_or_else(|| unknown(name, || self.in_release(newest)))
    }

    fn in_release(&'static self, version: Version) -> impl Iterator<Item = &'static str> {
        let changed = in_release(&self.changed, version).map(|entry| entry.name.as_str());
        self.always.iter().map(String::as_str).chain(changed)
    }
}

/// A flag that argparse completes, or else a hint.
fn unknown<I>(name: &str, there: impl Fn() -> I) -> FlagStatus
where
    I: Iterator<Item = &'static str>,
{
    let is_long = name.strip_prefix("--").is_some_and(|rest| !rest.is_empty());
    let mut longer = there().filter(|known| is_long && known.starts_with(name));
    match (longer.next(), longer.next()) {
        (Some(_), None) => FlagStatus::Known,
        _ => FlagStatus::Unknown { nearest: nearest_flag(name, there()) },
    }
}

/// `releases.yaml`, which explains its fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Data {
    read: Vec<Version>,
    releases: Vec<Version>,
    images: Vec<String>,
    builds: BTreeMap<String, Vec<Build>>,
    changes: Vec<Dated>,
    flags: Names,
    connectors: Names,
    all2all_backends: Names,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    tag: Version,
    from: Version,
    to: Version,
}

/// The pull request and its day are there for the file's readers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dated {
    change: Change,
    since: Version,
    #[serde(rename = "pull")]
    _pull: Option<u32>,
    #[serde(rename = "merged")]
    _merged: Option<String>,
}

/// The file is part of the program and tests read it, so one that does not parse cannot be shipped.
/// Were it so, no release would be known.
static DATA: LazyLock<Data> = LazyLock::new(|| {
    serde_saphyr::from_str(TEXT).unwrap_or_else(|error| {
        tracing::error!(%error, "vLLM's releases do not parse");
        Data::default()
    })
});

const TEXT: &str = include_str!("releases.yaml");

/// A tag without what is said of the platform behind it.
fn without_platform(tag: &str) -> &str {
    const PLATFORMS: [&str; 3] = ["x86_64", "aarch64", "ubuntu2404"];
    let is_cuda = |word: &str| {
        word.strip_prefix("cu").is_some_and(|digits| {
            digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let is_platform = |word: &str| PLATFORMS.contains(&word) || is_cuda(word);
    match tag.split_once('-') {
        Some((version, rest)) if rest.split('-').all(is_platform) => version,
        _ => tag,
    }
}

#[cfg(test)]
mod tests;
