//! The routing sidecar in front of an engine.

use serde_json::Value;

use crate::compose::arguments::words;
use crate::inject::SIDECARS;
use crate::json::named;
use crate::rules::case::text;
use crate::sidecar::{self, Arguments, Release};

/// The last part of the names of its image: llm-d called it so up to release 0.8, and since.
const IMAGES: [&str; 2] = ["llm-d-routing-sidecar", "llm-d-router-disagg-sidecar"];

/// A routing sidecar of a complete pod.
#[derive(Debug)]
pub(in crate::rules) struct Sidecar<'p> {
    /// The list that it stands in: `initContainers`, or `containers`.
    pub(in crate::rules) list: &'static str,
    /// Its name.
    pub(in crate::rules) name: &'p str,
    /// All of it.
    pub(in crate::rules) container: &'p Value,
    /// Its arguments.
    pub(in crate::rules) arguments: &'p Arguments,
}

/// Whether a container is a routing sidecar: it is known by its name or its image.
pub(super) fn is_sidecar(container: &Value) -> bool {
    let Some(name) = text(container, &["name"]) else { return false };
    SIDECARS.contains(&name) || is_image(text(container, &["image"]).unwrap_or_default())
}

/// The arguments of a container that is one.
pub(super) fn arguments(container: &Value) -> Arguments {
    sidecar::parse(&words(container, "command"), &words(container, "args"))
}

impl<'p> Sidecar<'p> {
    /// Its image.
    pub(in crate::rules) fn image(&self) -> Option<&'p str> {
        text(self.container, &["image"])
    }

    /// The value of a flag by its newest name, if one is seen and is not a variable's.
    pub(in crate::rules) fn value(&self, flag: &str) -> Option<&str> {
        self.arguments.value(flag).filter(|value| !value.contains("$("))
    }

    /// The release in its image, if that is one of those that are known.
    pub(in crate::rules) fn release(&self) -> Option<Release> {
        Release::of_image(self.image()?)
    }

    /// Whether nothing but its arguments gives a flag: its own program reads them, and no file.
    pub(in crate::rules) fn is_complete(&self) -> bool {
        let files = ["--configuration", "--configuration-file"];
        self.is_its_program() && !files.into_iter().any(|flag| self.arguments.gives(flag))
    }

    /// Whether its words are the sidecar's, and not those of a shell that starts it.
    pub(in crate::rules) fn is_its_program(&self) -> bool {
        let command = words(self.container, "command");
        let program = command.first().map(|word| word.rsplit('/').next().unwrap_or(word));
        // `pd-sidecar` since 0.3, before it the repository's name.
        program.is_none_or(|program| program.ends_with("sidecar"))
    }

    /// Whether nothing that is not seen can give the flag.
    pub(in crate::rules) fn certainly_lacks(&self, flag: &str) -> bool {
        self.is_complete() && !self.arguments.gives(flag)
    }

    /// What a switch is set to; `None` where it is not given, or to what is not known.
    pub(in crate::rules) fn switch(&self, flag: &str) -> Option<bool> {
        let flag = self.arguments.last(flag)?.flag.as_ref()?;
        flag.value().map_or(Some(true), sidecar::read_switch)
    }

    /// An environment variable, wherever its value comes from.
    pub(in crate::rules) fn variable(&self, name: &str) -> Option<&'p Value> {
        named(self.container.get("env")?, name)
    }

    /// The ports that it listens on for requests: one for each rank of the engine. `None` where they
    /// are not known.
    pub(in crate::rules) fn ports(&self) -> Option<std::ops::Range<u32>> {
        let default = self.certainly_lacks(sidecar::PORT).then_some(sidecar::DEFAULT_PORT);
        let first = u32::from(sidecar::port(self.arguments).or(default)?);
        Some(first..first.saturating_add(self.ranks()?))
    }

    /// How many ranks of the engine it stands in front of; `None` where that is not known.
    pub(in crate::rules) fn ranks(&self) -> Option<u32> {
        let default = self.certainly_lacks(sidecar::DATA_PARALLEL_SIZE).then_some(1);
        let given = self.value(sidecar::DATA_PARALLEL_SIZE).and_then(|size| size.parse().ok());
        given.or(default).filter(|size| *size > 0)
    }

    /// Whether it serves TLS, which it does where nobody says otherwise; `None` where it is not known.
    pub(in crate::rules) fn serves_tls(&self) -> Option<bool> {
        if self.arguments.gives(sidecar::SECURE_SERVING) {
            return self.switch(sidecar::SECURE_SERVING);
        }
        let default = self.release()?.default("--secure-proxy")?;
        self.is_complete().then_some(default == "true")
    }
}

fn is_image(image: &str) -> bool {
    let last = image.rsplit('/').next().unwrap_or(image);
    let name = last.split(['@', ':']).next().unwrap_or(last);
    IMAGES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_last_part() {
        assert!(is_image("ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1"));
        assert!(is_image("mirror:5000/x/llm-d-router-disagg-sidecar@sha256:0"));
        assert!(!is_image("ghcr.io/llm-d/llm-d-cuda:v0.8.0"));
        assert!(!is_image(""));
    }
}
