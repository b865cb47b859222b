//! Who is this pod? Service, role and position, or a coded reason to leave it alone.

use serde_json::Value;

use crate::api::Topology;
use crate::catalog::hint;
use crate::decision::{Refusal, Warning, quoted};

pub mod keys;
pub(crate) mod templates;

/// What a pod says of itself, before any service is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Not ours to touch; the code says why.
    LeaveAlone(&'static str),
    /// It asks for, or belongs to, a service.
    Member(Member),
}

/// A pod that belongs to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name of the service, in the namespace of the request.
    pub service: String,
    /// How it came to be ours.
    pub by: By,
    /// The role it names, if it does.
    role: Option<Role>,
    /// Where it stands in its group.
    position: Position,
    /// What `llm-d.ai/role` says, for comparison.
    llm_d_role: Option<String>,
    /// What was odd about the pod so far.
    pub warnings: Vec<Warning>,
}

/// How a pod came to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Our label: its author asks for injection, so what cannot be done is refused.
    Label,
    /// KServe's labels: its controller made it, so what cannot be done is a warning, never a denial.
    KServe,
}

/// A pod's part in its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Computes the KV cache of prompts.
    Prefill,
    /// Generates tokens, behind the routing sidecar.
    Decode,
    /// Does both: a service without `spec.prefill`.
    Both,
}

impl Role {
    /// As labels write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Both => "both",
        }
    }

    /// Whether llm-d means this role by `text`. Its router calls a pod that does both
    /// `prefill-decode` since it deprecated `both`.
    fn is_llm_d(self, text: &str) -> bool {
        text == self.as_str() || (self == Self::Both && text == "prefill-decode")
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Prefill, Self::Decode, Self::Both].into_iter().find(|role| role.as_str() == text)
    }
}

/// Where a pod stands in its group of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// The only one.
    Single,
    /// The first of a LeaderWorkerSet's group.
    Leader,
    /// Another of the group, with its index (from 1) where the pod tells it.
    Worker(Option<u32>),
}

/// A pod whose place in its service is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Its part.
    pub role: Role,
    /// Its place.
    pub position: Position,
    /// What was odd.
    pub warnings: Vec<Warning>,
}

/// Reads what the pod says of itself. Whatever a pod holds, one that did not opt in is left alone.
///
/// # Errors
/// [`Refusal`] for a pod with our label whose other labels and annotations contradict it.
pub fn claim(pod: &Value) -> Result<Claim, Refusal> {
    let pod = Metadata(pod);
    let by = match (pod.label(keys::SERVICE), pod.label(keys::PART_OF)) {
        (Some(_), _) => By::Label,
        (None, Some(keys::LLM_INFERENCE_SERVICE)) => By::KServe,
        _ => return Ok(Claim::LeaveAlone("not-opted-in")),
    };
    let mut warnings = Vec::new();
    if opted_out(&pod, &mut warnings) {
        return Ok(Claim::LeaveAlone("opted-out"));
    }
    if pod.annotation(keys::MIRROR_POD).is_some() {
        return Ok(Claim::LeaveAlone("mirror-pod"));
    }
    if pod.0.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null()) {
        return Ok(Claim::LeaveAlone("deleted"));
    }
    let llm_d_role = pod.label(keys::LLM_D_ROLE).map(str::to_owned);
    let member = match by {
        By::Label => Member {
            service: service_label(&pod)?,
            by,
            role: role_label(&pod)?,
            position: lws_position(&pod, &mut warnings).unwrap_or(Position::Single),
            llm_d_role,
            warnings,
        },
        By::KServe => {
            let Some(service) = pod.label(keys::NAME).filter(|name| !name.is_empty()) else {
                return Ok(Claim::LeaveAlone("not-opted-in"));
            };
            let Some((prefill, place)) = pod.label(keys::COMPONENT).and_then(component) else {
                return Ok(Claim::LeaveAlone("other-component"));
            };
            let seen = lws_position(&pod, &mut warnings);
            let position = match (place, seen) {
                (Place::Pool, seen) => seen.unwrap_or(Position::Single),
                (Place::Leader, _) => Position::Leader,
                (Place::Worker, Some(worker @ Position::Worker(_))) => worker,
                (Place::Worker, _) => Position::Worker(None),
            };
            let role = prefill.then_some(Role::Prefill);
            let service = service.to_owned();
            Member { service, by, role, position, llm_d_role, warnings }
        }
    };
    Ok(Claim::Member(member))
}

impl Member {
    /// Settles role and position against what the service has.
    ///
    /// # Errors
    /// [`Refusal`] for a role that is missing where it is needed, or that the service does not have.
    pub fn settle(self, topology: Topology) -> Result<Workload, Refusal> {
        let Self { service, by, role, position, llm_d_role, mut warnings } = self;
        let field = format!("metadata.labels[{}]", keys::ROLE);
        let role = match (role, topology.prefill) {
            (None, false) => Role::Both,
            (None, true) if by == By::KServe => Role::Decode,
            (None, true) => {
                return Err(Refusal::at(
                    "role-missing",
                    field,
                    format!(
                        "required, because LLMInferenceService {service} has separate prefill and \
                         decode pools; write prefill or decode"
                    ),
                ));
            }
            (Some(Role::Both), true) => {
                return Err(Refusal::at(
                    "role-mismatch",
                    field,
                    format!(
                        "\"both\" does not fit LLMInferenceService {service}, which has spec.prefill; \
                         write prefill or decode"
                    ),
                ));
            }
            (Some(role @ (Role::Prefill | Role::Decode)), false) => {
                return Err(Refusal::at(
                    "role-mismatch",
                    if by == By::Label { field } else { component_field() },
                    format!(
                        "\"{}\" does not fit LLMInferenceService {service}, which has no spec.prefill; \
                         write both, or add spec.prefill to the service",
                        role.as_str()
                    ),
                ));
            }
            (Some(role), _) => role,
        };
        if let Some(other) = llm_d_role.filter(|other| !role.is_llm_d(other)) {
            let message = format!(
                "{1} disagrees with this pod's role {0}; write {0} or remove the label",
                role.as_str(),
                quoted(&other),
            );
            let field = format!("metadata.labels[{}]", keys::LLM_D_ROLE);
            match by {
                By::Label => return Err(Refusal::at("llm-d-role-mismatch", field, message)),
                By::KServe => {
                    warnings
                        .push(Warning::new("llm-d-role-mismatch", format!("{field}: {message}")));
                }
            }
        }
        let has_worker =
            if role == Role::Prefill { topology.prefill_worker } else { topology.worker };
        let position = if position == Position::Single || has_worker {
            position
        } else {
            warnings.push(Warning::new(
                "no-worker",
                format!(
                    "this pod is one of a LeaderWorkerSet's group, but LLMInferenceService {service} \
                     has no {}; treated as single",
                    if role == Role::Prefill { "spec.prefill.worker" } else { "spec.worker" }
                ),
            ));
            Position::Single
        };
        Ok(Workload { role, position, warnings })
    }
}

/// A pod's labels and annotations, whatever else it is.
struct Metadata<'a>(&'a Value);

impl<'a> Metadata<'a> {
    fn label(&self, key: &str) -> Option<&'a str> {
        self.0.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    fn annotation(&self, key: &str) -> Option<&'a str> {
        self.0.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }
}

fn opted_out(pod: &Metadata<'_>, warnings: &mut Vec<Warning>) -> bool {
    let places =
        [("labels", pod.label(keys::INJECT)), ("annotations", pod.annotation(keys::INJECT))];
    let mut out = false;
    for (place, value) in places {
        match value {
            None | Some("true" | "enabled") => {}
            Some("false" | "disabled") => out = true,
            Some(other) => warnings.push(Warning::new(
                "bad-inject-value",
                format!(
                    "metadata.{place}[{}]: {} is ignored; write true or false",
                    keys::INJECT,
                    quoted(other)
                ),
            )),
        }
    }
    out
}

fn service_label(pod: &Metadata<'_>) -> Result<String, Refusal> {
    match pod.label(keys::SERVICE) {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(Refusal::at(
            "service-missing",
            format!("metadata.labels[{}]", keys::SERVICE),
            "\"\" names no service; write the name of an LLMInferenceService in this namespace",
        )),
    }
}

fn role_label(pod: &Metadata<'_>) -> Result<Option<Role>, Refusal> {
    let read = |place: &str, value: Option<&str>| {
        value
            .map(|text| {
                Role::parse(text).ok_or_else(|| {
                    let roles = ["prefill", "decode", "both"];
                    Refusal::at(
                        "unknown-role",
                        format!("metadata.{place}[{}]", keys::ROLE),
                        format!("{} is not a role; {}", quoted(text), hint(text, "roles", &roles)),
                    )
                })
            })
            .transpose()
    };
    let label = read("labels", pod.label(keys::ROLE))?;
    let annotation = read("annotations", pod.annotation(keys::ROLE))?;
    match (label, annotation) {
        (Some(label), Some(annotation)) if label != annotation => Err(Refusal::at(
            "role-conflict",
            format!("metadata.annotations[{}]", keys::ROLE),
            format!(
                "\"{}\" disagrees with the label of the same name, \"{}\"; keep one of them",
                annotation.as_str(),
                label.as_str()
            ),
        )),
        (label, annotation) => Ok(label.or(annotation)),
    }
}

/// Where LeaderWorkerSet says a pod stands. Its own webhook labels workers; a worker seen before
/// that webhook has its leader's name and the index that its StatefulSet gave it.
fn lws_position(pod: &Metadata<'_>, warnings: &mut Vec<Warning>) -> Option<Position> {
    let index = |key: &'static str, warnings: &mut Vec<Warning>| {
        let text = pod.label(key)?;
        let index = text.parse::<u32>().ok();
        if index.is_none() {
            warnings.push(Warning::new(
                "bad-worker-index",
                format!("metadata.labels[{key}]: {} is not an index and is ignored", quoted(text)),
            ));
        }
        index
    };
    match index(keys::WORKER_INDEX, warnings) {
        Some(0) => return Some(Position::Leader),
        Some(worker) => return Some(Position::Worker(Some(worker))),
        None => {}
    }
    pod.annotation(keys::LEADER_NAME)
        .map(|_| Position::Worker(index(keys::POD_INDEX, warnings).filter(|index| *index > 0)))
}

/// What a component label says of a pod's place.
enum Place {
    Pool,
    Leader,
    Worker,
}

/// `(prefill, place)` of KServe's components; `None` for a component that is not a workload.
fn component(component: &str) -> Option<(bool, Place)> {
    Some(match component {
        keys::COMPONENT_WORKLOAD => (false, Place::Pool),
        keys::COMPONENT_PREFILL | "llminferenceservice-prefill" => (true, Place::Pool),
        keys::COMPONENT_LEADER => (false, Place::Leader),
        keys::COMPONENT_WORKER => (false, Place::Worker),
        keys::COMPONENT_LEADER_PREFILL => (true, Place::Leader),
        keys::COMPONENT_WORKER_PREFILL => (true, Place::Worker),
        _ => return None,
    })
}

fn component_field() -> String {
    format!("metadata.labels[{}]", keys::COMPONENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(labels: &Value, annotations: &Value) -> Value {
        json!({"metadata": {"labels": labels, "annotations": annotations}})
    }

    fn settled(labels: &Value, topology: Topology) -> (Role, Position) {
        let Claim::Member(member) = claim(&pod(labels, &json!({}))).unwrap() else {
            panic!("{labels} is left alone")
        };
        let workload = member.settle(topology).unwrap();
        (workload.role, workload.position)
    }

    fn pd() -> Topology {
        Topology { prefill: true, worker: true, prefill_worker: true, ..Topology::default() }
    }

    #[test]
    fn kserve_components_are_roles_and_positions() {
        let of = |component: &str, topology| {
            settled(
                &json!({
                    keys::PART_OF: keys::LLM_INFERENCE_SERVICE, keys::NAME: "s", keys::COMPONENT: component
                }),
                topology,
            )
        };
        assert_eq!(of("llminferenceservice-workload", pd()), (Role::Decode, Position::Single));
        assert_eq!(
            of("llminferenceservice-workload", Topology::default()),
            (Role::Both, Position::Single)
        );
        assert_eq!(
            of("llminferenceservice-workload-prefill", pd()),
            (Role::Prefill, Position::Single)
        );
        assert_eq!(of("llminferenceservice-prefill", pd()), (Role::Prefill, Position::Single));
        assert_eq!(
            of("llminferenceservice-workload-leader", pd()),
            (Role::Decode, Position::Leader)
        );
        assert_eq!(
            of("llminferenceservice-workload-worker", pd()),
            (Role::Decode, Position::Worker(None))
        );
        assert_eq!(
            of("llminferenceservice-workload-leader-prefill", pd()),
            (Role::Prefill, Position::Leader)
        );
        assert_eq!(
            of("llminferenceservice-workload-worker-prefill", pd()),
            (Role::Prefill, Position::Worker(None))
        );
    }

    #[test]
    fn reasons_to_leave_a_pod_alone() {
        let kserve = |component: &str| json!({keys::PART_OF: keys::LLM_INFERENCE_SERVICE, keys::NAME: "s", keys::COMPONENT: component});
        let ours = json!({keys::SERVICE: "s"});
        let out = |value: &str| json!({keys::SERVICE: "s", keys::INJECT: value});
        let none = json!({});
        let cases = [
            ("not-opted-in", pod(&none, &none)),
            ("not-opted-in", json!({"metadata": {"labels": [1]}})),
            ("not-opted-in", json!(7)),
            ("not-opted-in", json!({"metadata": {"labels": {keys::SERVICE: {"a": 1}}}})),
            ("opted-out", pod(&out("false"), &none)),
            ("opted-out", pod(&out("disabled"), &none)),
            ("opted-out", pod(&ours, &json!({keys::INJECT: "false"}))),
            ("mirror-pod", pod(&ours, &json!({keys::MIRROR_POD: "x"}))),
            ("other-component", pod(&kserve("llminferenceservice-router"), &none)),
            ("other-component", pod(&kserve("llminferenceservice-router-scheduler"), &none)),
            (
                "deleted",
                json!({"metadata": {"labels": {keys::SERVICE: "s"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            ),
        ];
        for (code, pod) in cases {
            assert_eq!(claim(&pod), Ok(Claim::LeaveAlone(code)), "{pod}");
        }
    }

    #[test]
    fn a_worker_is_the_same_before_and_after_the_webhook_of_leaderworkerset() {
        let after = pod(&json!({keys::SERVICE: "s", keys::WORKER_INDEX: "1"}), &json!({}));
        let before = pod(
            &json!({keys::SERVICE: "s", keys::POD_INDEX: "1"}),
            &json!({keys::LEADER_NAME: "s-0"}),
        );
        assert_eq!(claim(&after), claim(&before));
        let Ok(Claim::Member(member)) = claim(&after) else { panic!("not ours") };
        assert_eq!(member.position, Position::Worker(Some(1)));
    }

    #[test]
    fn a_stateful_set_of_another_making_is_not_a_group() {
        let Ok(Claim::Member(member)) =
            claim(&pod(&json!({keys::SERVICE: "s", keys::POD_INDEX: "3"}), &json!({})))
        else {
            panic!("not ours")
        };
        assert_eq!(member.position, Position::Single);
    }

    #[test]
    fn contradictions_are_refused_with_their_path() {
        let refused = |labels: Value, annotations: Value, topology: Topology| {
            let refusal = match claim(&pod(&labels, &annotations)) {
                Ok(Claim::Member(member)) => member.settle(topology).unwrap_err(),
                Err(refusal) => refusal,
                Ok(claim) => panic!("{claim:?}"),
            };
            (refusal.code, refusal.message)
        };
        let none = json!({});
        let single = Topology::default();
        let (code, message) = refused(json!({keys::SERVICE: ""}), none.clone(), single);
        assert_eq!(code, "service-missing");
        assert!(message.starts_with("metadata.labels[inject.llmisvc.io/service]:"), "{message}");
        let (code, message) =
            refused(json!({keys::SERVICE: "s", keys::ROLE: "prefil"}), none.clone(), pd());
        assert_eq!(code, "unknown-role");
        assert!(message.ends_with("\"prefil\" is not a role; did you mean prefill?"), "{message}");
        for (code, labels, annotations, topology) in [
            ("role-missing", json!({keys::SERVICE: "s"}), none.clone(), pd()),
            ("role-mismatch", json!({keys::SERVICE: "s", keys::ROLE: "both"}), none.clone(), pd()),
            (
                "role-mismatch",
                json!({keys::SERVICE: "s", keys::ROLE: "decode"}),
                none.clone(),
                single,
            ),
            (
                "role-conflict",
                json!({keys::SERVICE: "s", keys::ROLE: "decode"}),
                json!({keys::ROLE: "prefill"}),
                pd(),
            ),
            (
                "llm-d-role-mismatch",
                json!({keys::SERVICE: "s", keys::ROLE: "decode", keys::LLM_D_ROLE: "prefill"}),
                none.clone(),
                pd(),
            ),
        ] {
            assert_eq!(refused(labels, annotations, topology).0, code);
        }
    }

    #[test]
    fn llm_d_calls_both_prefill_decode_too() {
        let labels = json!({keys::SERVICE: "s", keys::LLM_D_ROLE: "prefill-decode"});
        assert_eq!(settled(&labels, Topology::default()), (Role::Both, Position::Single));
    }

    #[test]
    fn a_pod_that_kserve_made_is_warned_about_where_ours_is_refused() {
        let labels = json!({
            keys::PART_OF: keys::LLM_INFERENCE_SERVICE, keys::NAME: "s",
            keys::COMPONENT: "llminferenceservice-workload", keys::LLM_D_ROLE: "prefill"
        });
        let Ok(Claim::Member(member)) = claim(&pod(&labels, &json!({}))) else {
            panic!("not ours")
        };
        let workload = member.settle(pd()).unwrap();
        assert_eq!(
            workload.warnings.first().map(|warning| warning.code),
            Some("llm-d-role-mismatch")
        );
    }

    #[test]
    fn an_index_without_a_worker_is_single_with_a_warning() {
        let labels = json!({keys::SERVICE: "s", keys::WORKER_INDEX: "2"});
        let Ok(Claim::Member(member)) = claim(&pod(&labels, &json!({}))) else {
            panic!("not ours")
        };
        let workload = member.settle(Topology::default()).unwrap();
        assert_eq!(workload.position, Position::Single);
        assert_eq!(workload.warnings.first().map(|warning| warning.code), Some("no-worker"));
    }
}
