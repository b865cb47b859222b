//! The allow-list of prefill hosts, which the sidecar reads from an InferencePool.

use super::{fronts, has_no_token, is_newer};
use crate::decision::quoted;
use crate::rules::case::{Case, Kind, get, text};
use crate::rules::effective::Sidecar;
use crate::rules::report::Report;
use crate::sidecar::{Release, inference_pool};

const ALLOW_LIST: &str = "--enable-ssrf-protection";
const POOL: &str = "--inference-pool";
const GROUP: &str = "--pool-group";
const NAME_VARIABLE: &str = "INFERENCE_POOL_NAME";

/// What a sidecar knows of the pool.
#[derive(Debug, PartialEq, Eq)]
enum Pool<'p> {
    /// Its value.
    Given(&'p str),
    /// There may be one; or one is given in the older way.
    Other,
    /// None.
    Missing,
}

impl<'p> Pool<'p> {
    fn of(sidecar: &'p Sidecar<'_>) -> Self {
        let is_read = |name: &str| {
            sidecar.variable(name).is_some()
                && sidecar.release().is_none_or(|it| it.env(name).is_accepted())
        };
        if sidecar.arguments.gives(POOL) {
            return match sidecar.value(POOL) {
                Some("") => Self::Missing,
                Some(value) => Self::Given(value),
                None => Self::Other,
            };
        }
        if is_read("INFERENCE_POOL") {
            let value = sidecar.variable("INFERENCE_POOL").and_then(|it| text(it, &["value"]));
            return value.filter(|value| !value.contains("$(")).map_or(Self::Other, Self::Given);
        }
        let is_older = sidecar.arguments.gives("--inference-pool-name") || is_read(NAME_VARIABLE);
        let is_hidden = get(sidecar.container, &["envFrom"]).is_some();
        if is_older || is_hidden || !sidecar.is_complete() { Self::Other } else { Self::Missing }
    }
}

/// Sidecars that ask only hosts of the pool.
fn protects(sidecar: &Sidecar<'_>) -> bool {
    sidecar.switch(ALLOW_LIST) == Some(true)
}

pub(super) fn missing(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case).filter(|(_, it)| protects(it)) {
        if Pool::of(&sidecar) != Pool::Missing {
            continue;
        }
        let place = sidecar.place(engine, case, ALLOW_LIST);
        let reads_variable = |it: Release| it.env(NAME_VARIABLE).is_accepted();
        let (message, is_gone) = match sidecar.release() {
            Some(release)
                if sidecar.variable(NAME_VARIABLE).is_some() && !reads_variable(release) =>
            {
                let message = format!("release {release} does not read {NAME_VARIABLE}");
                (format!("{ALLOW_LIST} without a pool: {message}"), true)
            }
            _ => (format!("{ALLOW_LIST} without a pool to allow hosts of"), false),
        };
        let has_flag = sidecar.release().is_none_or(|it| it.flag(POOL).is_accepted());
        let help = if has_flag || is_gone {
            format!("write {POOL}=namespace/name")
        } else {
            "write --inference-pool-namespace and --inference-pool-name".to_owned()
        };
        // What comes after the releases that are known may find it otherwise.
        if sidecar.release().is_some() {
            report.required(place, message, help);
        } else {
            report.unsure(place, message, help);
        }
    }
}

pub(super) fn unreadable(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case).filter(|(_, it)| protects(it)) {
        if has_no_token(engine, &sidecar) {
            report.invalid(
                engine.pod_place(case, &["automountServiceAccountToken"]),
                format!("automountServiceAccountToken is false, and {ALLOW_LIST} reads the API"),
                format!("write true, or {ALLOW_LIST}=false"),
            );
        }
    }
}

pub(super) fn namespace(case: &Case<'_>, report: &mut Report) {
    // A config is for services of any namespace.
    if case.kind == Kind::Sample {
        return;
    }
    let namespace = case.key.namespace.as_str();
    for (engine, sidecar) in fronts(case).filter(|(_, it)| protects(it)) {
        let Pool::Given(value) = Pool::of(&sidecar) else { continue };
        let Some(pool) = inference_pool(value).filter(|_| !value.contains('/')) else { continue };
        if !["", pool.namespace].contains(&namespace) {
            report.invalid(
                sidecar.place(engine, case, POOL),
                format!("the pool {} is looked for in namespace {}", quoted(value), pool.namespace),
                format!("write {POOL}={namespace}/{value}"),
            );
        }
    }
}

pub(super) fn group(case: &Case<'_>, report: &mut Report) {
    const OLDER: &str = "inference.networking.x-k8s.io";
    for (engine, sidecar) in fronts(case).filter(|(_, it)| protects(it)) {
        let place = sidecar.place(engine, case, GROUP);
        let given = sidecar.value(GROUP);
        match sidecar.release() {
            Some(release) => {
                let default = release.default(GROUP).filter(|_| sidecar.certainly_lacks(GROUP));
                let Some(group) = given.or(default) else { continue };
                if !release.finds_pods_of(group) {
                    report.invalid(
                        place,
                        format!("release {release} finds no pods of a pool of the group {group}"),
                        format!("write {GROUP}={OLDER}, or take an image of release 0.10"),
                    );
                }
            }
            None if is_newer(&sidecar) && given == Some(OLDER) => report.unsure(
                place,
                format!("the pool's group is {OLDER}, which releases after 0.10 no longer read"),
                format!("write {GROUP}=inference.networking.k8s.io"),
            ),
            None => {}
        }
    }
}

pub(super) fn variable(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let Some(release) = sidecar.release() else { continue };
        let is_ignored =
            sidecar.variable(NAME_VARIABLE).is_some() && !release.env(NAME_VARIABLE).is_accepted();
        if is_ignored && Pool::of(&sidecar) == Pool::Missing {
            report.invalid(
                engine.item_place(case, sidecar.list, sidecar.name),
                format!("release {release} of the sidecar does not read {NAME_VARIABLE}"),
                format!("write {POOL}=namespace/name in args"),
            );
        }
    }
}
