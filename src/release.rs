//! Releases of other programs: which one an image holds, and what a release makes of a name.
//!
//! The engine and the routing sidecar each have a data file of their releases. What the two tables
//! have in common lives here: versions, references of images, and names that come and go.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::nearest::{WORDS, nearest};

/// A version of up to four numbers, `0.10` or `v0.10.1.1`; one that is left out is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Version([u16; 4]);

/// Text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version of two to four numbers")]
pub struct NoVersion;

impl FromStr for Version {
    type Err = NoVersion;

    fn from_str(text: &str) -> Result<Self, NoVersion> {
        let mut numbers = [0; 4];
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let mut count = 0;
        for (number, part) in numbers.iter_mut().zip(parts.by_ref()) {
            if !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(NoVersion);
            }
            *number = part.parse().map_err(|_| NoVersion)?;
            count += 1;
        }
        if count >= 2 && parts.next().is_none() { Ok(Self(numbers)) } else { Err(NoVersion) }
    }
}

impl TryFrom<String> for Version {
    type Error = NoVersion;

    fn try_from(text: String) -> Result<Self, NoVersion> {
        text.parse()
    }
}

impl fmt::Display for Version {
    /// As its project writes it, without `v`: `0.10` for the first of its line, `0.10.1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([major, minor, patch, post]) = self;
        write!(f, "{major}.{minor}")?;
        if (*patch, *post) != (0, 0) {
            write!(f, ".{patch}")?;
        }
        if *post != 0 {
            write!(f, ".{post}")?;
        }
        Ok(())
    }
}

/// A container image's name, in its parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Image<'i> {
    /// `ghcr.io/llm-d/llm-d-cuda`; one of Docker Hub without the registry: `vllm/vllm-openai`.
    pub repository: &'i str,
    /// `v0.4.0`. `None` where only a digest, or nothing at all, says which image it is.
    pub tag: Option<&'i str>,
}

impl<'i> Image<'i> {
    /// Reads `[registry[:port]/]name[:tag][@digest]`. Total: what is no reference is a repository
    /// that nobody knows.
    #[must_use]
    pub fn parse(reference: &'i str) -> Self {
        let name = reference.split_once('@').map_or(reference, |(name, _)| name);
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
            _ => (name, None),
        };
        let hub = ["docker.io/", "index.docker.io/"];
        let short = hub.iter().find_map(|registry| repository.strip_prefix(registry));
        Self { repository: short.unwrap_or(repository), tag: tag.filter(|tag| !tag.is_empty()) }
    }

    /// The version that the tag names, as `v0.4.0` or `0.4.0`. `None` for a tag that moves (`latest`,
    /// `v0.4`), and for one that says more than a version (`v0.4.0-rc.1`).
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        let tag = self.tag.filter(|tag| tag.matches('.').count() >= 2)?;
        tag.parse().ok()
    }
}

/// What a release makes of a name: of a flag, of a value, of an environment variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagStatus {
    /// It has it.
    Known,
    /// It still has it, and will drop it.
    Deprecated {
        /// The release that said so first.
        since: Version,
        /// What to write, where there is something: `--enable-tls=prefiller`.
        instead: Option<&'static str>,
    },
    /// It no longer has it.
    Removed {
        /// The first release without it.
        since: Version,
        /// What to write, where there is something.
        instead: Option<&'static str>,
    },
    /// It does not have it yet.
    NotYet {
        /// The first release that has it.
        since: Version,
        /// What older releases have for it, where there is something.
        instead: Option<&'static str>,
    },
    /// No release is known to have it.
    Unknown {
        /// The name of this release that was probably meant.
        nearest: Option<&'static str>,
    },
}

impl FlagStatus {
    /// Whether the release takes it.
    #[must_use]
    pub const fn is_accepted(self) -> bool {
        matches!(self, Self::Known | Self::Deprecated { .. })
    }
}

/// A name that came with a release and may go with a later one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Entry {
    /// As it is written in its place: `--port`.
    pub(crate) name: String,
    /// The first release that has it; the first of the table where it is not said.
    #[serde(default)]
    since: Version,
    /// The first release that warns of it.
    deprecated: Option<Version>,
    /// The first release without it.
    removed: Option<Version>,
    /// What to write when it is deprecated or gone.
    instead: Option<String>,
    /// What to write where it is not there yet.
    before: Option<String>,
    /// What it is when it is not given.
    pub(crate) default: Option<String>,
}

impl Entry {
    pub(crate) fn status(&'static self, release: Version) -> FlagStatus {
        let instead = self.instead.as_deref();
        if release < self.since {
            return FlagStatus::NotYet { since: self.since, instead: self.before.as_deref() };
        }
        match (self.removed, self.deprecated) {
            (Some(since), _) if since <= release => FlagStatus::Removed { since, instead },
            (_, Some(since)) if since <= release => FlagStatus::Deprecated { since, instead },
            _ => FlagStatus::Known,
        }
    }
}

#[cfg(test)]
impl Entry {
    /// The versions that it names.
    pub(crate) fn versions(&self) -> impl Iterator<Item = Version> {
        let since = Some(self.since).filter(|since| *since != Version::default());
        [since, self.deprecated, self.removed].into_iter().flatten()
    }

    pub(crate) fn instead(&self) -> Option<&str> {
        self.instead.as_deref()
    }
}

/// What a release makes of `name`, with a hint where no release has it.
pub(crate) fn status(names: &'static [Entry], name: &str, release: Version) -> FlagStatus {
    find(names, name, release).unwrap_or_else(|| {
        let there = in_release(names, release).map(|entry| entry.name.as_str());
        FlagStatus::Unknown { nearest: nearest_flag(name, there) }
    })
}

/// What a release makes of `name`, if any has it. A name may have several entries, for different
/// releases, the newest first.
pub(crate) fn find(names: &'static [Entry], name: &str, release: Version) -> Option<FlagStatus> {
    let entries = names.iter().filter(|entry| entry.name == name);
    let mut states = entries.map(|entry| entry.status(release));
    let newest = states.next()?;
    let accepted = |status: &FlagStatus| status.is_accepted();
    Some(if accepted(&newest) { newest } else { states.find(accepted).unwrap_or(newest) })
}

/// The entries that a release takes, in the order of the table.
pub(crate) fn in_release(
    names: &'static [Entry],
    release: Version,
) -> impl Iterator<Item = &'static Entry> {
    names.iter().filter(move |entry| entry.status(release).is_accepted())
}

/// The dashes in front count for nothing: all flags have them.
pub(crate) fn nearest_flag(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let known: Vec<&'static str> = known.collect();
    let bare = known.iter().map(|known| known.trim_start_matches('-'));
    let near = nearest(name.trim_start_matches('-'), bare, WORDS)?;
    known.into_iter().find(|known| known.trim_start_matches('-') == near)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::{Path, PathBuf};

    use serde_json::Value;

    use super::*;
    use crate::shared::shared;
    use crate::yaml;

    /// Every object of KServe's configs and samples, which each release has to take; none where that
    /// data is not there.
    pub(crate) fn published() -> Option<Vec<Value>> {
        fn files(folder: &Path) -> Vec<PathBuf> {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries
                .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
                .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
                .collect()
        }
        let texts = files(&shared("kserve")?).into_iter();
        let texts = texts.map(|path| std::fs::read_to_string(path).unwrap());
        let documents = texts.flat_map(|text| yaml::documents(&text));
        Some(documents.map(|document| document.value.unwrap()).collect())
    }

    #[test]
    fn a_version_is_two_to_four_numbers() {
        let shown = |text: &str| text.parse().map(|version: Version| version.to_string());
        assert_eq!(shown("v0.10.0"), Ok("0.10".to_owned()));
        assert_eq!(shown("0.10.1.1"), Ok("0.10.1.1".to_owned()));
        assert_eq!(shown("0.7.1"), Ok("0.7.1".to_owned()));
        for text in
            ["", "v", "1", "v1", "0.", ".1", "0.x", "0.1-rc", "1.2.3.4.5", "+1.2", "0.70000"]
        {
            assert_eq!(shown(text), Err(NoVersion), "{text}");
        }
        let ordered = ["0.2", "0.9", "0.10", "0.10.1", "0.10.1.1", "0.11", "1.0"];
        assert!(ordered.map(|text| text.parse::<Version>().unwrap()).is_sorted());
    }

    #[test]
    fn an_image_has_a_repository_and_perhaps_a_tag() {
        let parts = |reference| {
            let Image { repository, tag } = Image::parse(reference);
            (repository, tag)
        };
        assert_eq!(
            parts("docker.io/vllm/vllm-openai:v0.1.2"),
            ("vllm/vllm-openai", Some("v0.1.2"))
        );
        assert_eq!(parts("localhost:5000/a/b"), ("localhost:5000/a/b", None));
        assert_eq!(parts("localhost:5000/a/b:1@sha256:0"), ("localhost:5000/a/b", Some("1")));
        assert_eq!(parts("a@sha256:0"), ("a", None));
        assert_eq!(parts(""), ("", None));
    }
}
