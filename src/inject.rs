//! A blueprint and a pod become a pod: filled, never overwritten.

use serde_json::Value;

use crate::catalog::{Snapshot, hint};
use crate::compose::{Cache, ComposeError};
use crate::decision::Warning;
pub use crate::decision::{Decision, Refusal};
use crate::decision::{INJECTED, quoted};
use crate::workload::{self, By, Claim, Member, Workload, keys};

mod complete;
mod container;
mod defaults;
mod fabric;
mod give_way;
mod kv;
mod launch;
mod model;
mod status;

pub use complete::{Completed, Site, complete};
pub(crate) use container::{SIDECARS, is_placeholder};
pub(crate) use fabric::{accelerators, is_accelerator, networks};
pub(crate) use model::DOWNLOADER;

/// Name of the container of a pod that runs the engine; there may be none of that name yet.
///
/// # Errors
/// [`Refusal`] where the pod's annotation names a container that is not there.
pub(crate) fn engine_container(pod: &Value) -> Result<String, Refusal> {
    container::engine(pod).map(|engine| engine.name)
}

/// What is asked of the decision: one pod that is about to be created.
#[derive(Debug, Clone, Copy)]
pub struct PodRequest<'a> {
    /// Namespace of the request; a pod's own is often empty at admission.
    pub namespace: &'a str,
    /// The pod, or a pod template, which has the same `metadata` and `spec`.
    pub pod: &'a Value,
    /// At admission some fields can no longer be set; offline they can.
    pub mode: Mode,
}

/// Where a pod is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// In an admission review.
    Admission,
    /// In a file.
    Offline,
}

/// Decides what becomes of one pod.
///
/// # Errors
/// [`Refusal`] for a pod that asked for injection and cannot be completed. A pod that KServe's
/// controller made is never refused: it is left alone, with a warning that says why.
pub fn decide(snapshot: &Snapshot, request: PodRequest<'_>) -> Result<Decision, Refusal> {
    let member = match workload::claim(request.pod)? {
        Claim::LeaveAlone(code) => return Ok(Decision::leave_alone(code, Vec::new())),
        Claim::Member(member) => member,
    };
    let by = member.by;
    match decide_member(snapshot, request, member) {
        Err(refusal) if by == By::KServe => {
            let warning = Warning::new(refusal.code, refusal.message);
            Ok(Decision::leave_alone(refusal.code, vec![warning]))
        }
        decision => decision,
    }
}

fn decide_member(
    snapshot: &Snapshot,
    request: PodRequest<'_>,
    member: Member,
) -> Result<Decision, Refusal> {
    if let Some(waiting) = &snapshot.waiting {
        return Err(not_ready(waiting, &member));
    }
    let Some(service) = snapshot.service(request.namespace, &member.service) else {
        return Err(unknown_service(snapshot, request.namespace, &member));
    };
    let composed = Cache::composed(snapshot, service).map_err(|error| broken(&member, &error))?;
    let origin = member.clone();
    let Workload { role, position, mut warnings } = member.settle(composed.topology)?;
    let blueprint = Cache::blueprint(snapshot, service, role, position)
        .map_err(|error| broken(&origin, &error))?;
    warnings.extend(blueprint.warnings.iter().cloned());
    let site = Site {
        settings: &snapshot.settings,
        blueprint: &blueprint,
        namespace_fabric: snapshot.fabrics.get(request.namespace).map(String::as_str),
        mode: request.mode,
        position,
        namespace: request.namespace,
        by: origin.by,
    };
    let completed = complete(&site, request.pod)?;
    warnings.extend(completed.warnings);
    let code = match (&completed.pod, completed.again) {
        (Some(_), _) => INJECTED,
        (None, true) => "already-injected",
        (None, false) => "already-complete",
    };
    Ok(Decision {
        code,
        pod: completed.pod,
        warnings,
        blueprint: Some(blueprint.digest.clone()),
        configs: blueprint.configs.clone(),
    })
}

fn service_field(by: By) -> String {
    let key = if by == By::Label { keys::SERVICE } else { keys::NAME };
    format!("metadata.labels[{key}]")
}

fn not_ready(waiting: &str, member: &Member) -> Refusal {
    Refusal::at(
        "catalog-not-ready",
        service_field(member.by),
        format!(
            "the webhook does not know LLMInferenceService {} yet: {waiting}; try again",
            quoted(&member.service)
        ),
    )
}

fn unknown_service(snapshot: &Snapshot, namespace: &str, member: &Member) -> Refusal {
    if snapshot.no_such_kind {
        return Refusal::at(
            "unknown-service",
            service_field(member.by),
            format!(
                "no LLMInferenceService {} in namespace {namespace}: the cluster does not have that \
                 kind; apply its CustomResourceDefinitions (kubectl apply --server-side -k \
                 manifests/crds), then the service",
                quoted(&member.service)
            ),
        );
    }
    let names = snapshot.service_names(namespace);
    Refusal::at(
        "unknown-service",
        service_field(member.by),
        format!(
            "no LLMInferenceService {} in namespace {namespace}; {}",
            quoted(&member.service),
            hint(&member.service, "services", &names)
        ),
    )
}

/// A service that cannot be composed cannot complete a pod: the cause lies in another object.
fn broken(member: &Member, error: &ComposeError) -> Refusal {
    Refusal::at(error.code, service_field(member.by), error.to_string())
}
