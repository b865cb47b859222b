//! Where the author of an object wrote what a pod has, or where it would belong.

use serde_json::Value;

use super::{Engine, Sidecar};
use crate::arguments::{self, Dialect};
use crate::compose::arguments::words;
use crate::json::FieldPath;
use crate::rules::case::{Case, below, items, text};
use crate::vllm::{self, ADDITIONAL_ARGS, Arguments};

impl Engine {
    /// The pod spec as its author wrote it; null where all of it comes from configs.
    pub(in crate::rules) fn author<'c>(&self, case: &Case<'c>) -> &'c Value {
        case.object.pointer(&self.pod_path.pointer()).unwrap_or(&Value::Null)
    }

    /// Where the author gives the flag: an argument, the variable that holds more of them, or else,
    /// for what comes from a config, the container or the nearest that there is.
    pub(in crate::rules) fn place(&self, case: &Case<'_>, flag: &str) -> FieldPath {
        self.own_place(case, flag).unwrap_or_else(|| self.field_place(case, &[]))
    }

    /// Where the author gives an environment variable of the engine.
    pub(in crate::rules) fn env_place(&self, case: &Case<'_>, name: &str) -> FieldPath {
        let Some((path, container)) = self.own_container(case, "containers", &self.name) else {
            return self.nearest(case);
        };
        let found = items(container, &["env"], &path)
            .into_iter()
            .rfind(|(_, variable)| text(variable, &["name"]) == Some(name));
        found.map_or(path, |(path, _)| path)
    }

    /// Where the author writes a field of the engine's container, as deep as he does.
    pub(in crate::rules) fn field_place(&self, case: &Case<'_>, names: &[&str]) -> FieldPath {
        self.container_place(case, "containers", &self.name, names)
    }

    /// Where the author writes a field of a container, as deep as he does. `list` is `containers` or
    /// `initContainers`.
    pub(in crate::rules) fn container_place(
        &self,
        case: &Case<'_>,
        list: &str,
        container: &str,
        names: &[&str],
    ) -> FieldPath {
        match self.own_container(case, list, container) {
            Some((path, _)) => case.written(&below(&path, names)),
            None => self.nearest(case),
        }
    }

    /// Where the author writes a field of the pod spec, as deep as he does.
    pub(in crate::rules) fn pod_place(&self, case: &Case<'_>, names: &[&str]) -> FieldPath {
        if self.author(case).is_null() {
            return self.pool.clone();
        }
        case.written(&below(&self.pod_path, names))
    }

    /// Where the author writes the item of that name in a list of the pod spec (`volumes`).
    pub(in crate::rules) fn item_place(
        &self,
        case: &Case<'_>,
        list: &str,
        name: &str,
    ) -> FieldPath {
        self.container_place(case, list, name, &[])
    }

    /// Where the author himself gives the flag; `None` where he does not.
    pub(in crate::rules) fn own_place(&self, case: &Case<'_>, flag: &str) -> Option<FieldPath> {
        let (path, container) = self.own_container(case, "containers", &self.name)?;
        argument::<vllm::Engine>(&path, container, flag).or_else(|| {
            items(container, &["env"], &path).into_iter().find_map(|(path, variable)| {
                let value = text(variable, &["value"]).unwrap_or_default();
                let is_it = text(variable, &["name"]) == Some(ADDITIONAL_ARGS)
                    && vllm::split(value).is_ok_and(|w| Arguments::parse(&w).gives(flag));
                is_it.then(|| path.field("value"))
            })
        })
    }

    fn own_container<'c>(
        &self,
        case: &Case<'c>,
        list: &str,
        name: &str,
    ) -> Option<(FieldPath, &'c Value)> {
        items(self.author(case), &[list], &self.pod_path)
            .into_iter()
            .find(|(_, item)| text(item, &["name"]) == Some(name))
    }

    fn nearest(&self, case: &Case<'_>) -> FieldPath {
        if self.author(case).is_null() { self.pool.clone() } else { self.pod_path.clone() }
    }
}

impl Sidecar<'_> {
    /// Where the author gives the flag, by any of its names; else the container, or the nearest that
    /// there is.
    pub(in crate::rules) fn place(
        &self,
        engine: &Engine,
        case: &Case<'_>,
        flag: &str,
    ) -> FieldPath {
        let Some((path, container)) = engine.own_container(case, self.list, self.name) else {
            return engine.nearest(case);
        };
        argument::<crate::sidecar::Sidecar>(&path, container, flag).unwrap_or(path)
    }
}

/// The last word of a container's own that gives a flag or a dotted key below it.
fn argument<D: Dialect>(path: &FieldPath, container: &Value, flag: &str) -> Option<FieldPath> {
    let is_it = |name: &str| name.split('.').next() == Some(flag);
    ["args", "command"].into_iter().find_map(|member| {
        let arguments = arguments::Arguments::<D>::parse(&words(container, member));
        let given = arguments
            .iter()
            .rfind(|argument| argument.flag.as_ref().is_some_and(|flag| is_it(&flag.name)))?;
        Some(path.field(member).index(given.position))
    })
}
