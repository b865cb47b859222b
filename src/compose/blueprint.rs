//! What one pod of a service should be, before the pod itself is looked at.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::arguments::words;
use super::{ComposeError, Composed};
use crate::api::{Parallelism, Service};
use crate::catalog::{RuleSettings, Settings, Snapshot};
use crate::decision::Warning;
use crate::json::{at, text};
use crate::vllm;
use crate::workload::{Position, Role, keys};

/// KServe's mark of presets that know model-based routing: it is for the controller, not for pods.
const NOT_FOR_PODS: &str = "serving.kserve.io/model-based-routing-enabled";

/// The port of a decode engine: the sidecar has 8000.
const DECODE_PORT: u16 = 8001;
/// The port that a pool's Service expects.
pub const SERVICE_PORT: u16 = 8000;

/// Which pod spec of a service a pod is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `template`, alone.
    Single,
    /// `template`, the first of a group.
    Leader,
    /// `worker`.
    Worker,
}

impl Place {
    /// The place of a position: a worker's index is the pod's own matter.
    #[must_use]
    pub fn of(position: Position) -> Self {
        match position {
            Position::Single => Self::Single,
            Position::Leader => Self::Leader,
            Position::Worker(_) => Self::Worker,
        }
    }
}

/// A pod as its service wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Blueprint {
    /// Name of the service.
    pub service: String,
    /// The role it is for.
    pub role: Role,
    /// The place it is for.
    pub place: Place,
    /// Labels of the pod.
    pub labels: Map<String, Value>,
    /// Annotations of the pod.
    pub annotations: Map<String, Value>,
    /// The pod spec.
    pub spec: Value,
    /// `model.uri`, unless the service brings the model itself (`storageInitializer.enabled: false`).
    pub model_uri: Option<String>,
    /// The pool's parallelism.
    pub parallelism: Parallelism,
    /// The fabric profile that the service asks for.
    pub fabric: Option<String>,
    /// Names of the configs it was composed of, in merge order.
    pub configs: Vec<String>,
    /// For the author of the service.
    pub warnings: Vec<Warning>,
    /// Sixteen hexadecimal digits that change when anything above does.
    pub digest: String,
}

impl Blueprint {
    pub(crate) fn of(
        snapshot: &Snapshot,
        service: &Service,
        composed: &Composed,
        role: Role,
        place: Place,
    ) -> Result<Self, ComposeError> {
        let spec = composed.spec();
        let pool_path: &[&str] = if role == Role::Prefill { &["prefill"] } else { &[] };
        let pool = at(spec, pool_path).unwrap_or(&Value::Null);
        let member = if place == Place::Worker { "worker" } else { "template" };
        let Some(pod) = pool.get(member).filter(|pod| pod.is_object()) else {
            let path = [&["spec"], pool_path, &[member]].concat().join(".");
            return Err(ComposeError {
                code: "no-pod-spec",
                service: service.title(),
                object: service.title(),
                field: path.clone(),
                message: format!(
                    "no config and not the service itself says what a {} pod is; write {path}, or \
                     install the config that does",
                    role.as_str()
                ),
            });
        };
        let mut annotations = composed.annotations.clone();
        annotations.extend(strings(pool.get("annotations")));
        annotations.shift_remove(NOT_FOR_PODS);
        let mut labels: Map<String, Value> = strings(pool.get("labels")).collect();
        let mut warnings = composed.warnings.clone();
        for (member, map) in [("labels", &mut labels), ("annotations", &mut annotations)] {
            map.retain(|key, _| {
                let reserved = is_reserved(key);
                if reserved {
                    let title = service.title();
                    let message = format!("{title}: {member}[{key}]: says who a pod is; left out");
                    warnings.push(Warning::new("reserved-key", message));
                }
                !reserved
            });
        }
        let own_download =
            at(spec, &["storageInitializer", "enabled"]).and_then(Value::as_bool) == Some(false);
        let model_uri =
            text(spec, &["model", "uri"]).filter(|uri| !uri.is_empty() && !own_download);
        let fabric = service
            .annotations()
            .find_map(|(key, value)| (key == keys::FABRIC).then(|| value.to_owned()));
        if pool.get("kvCacheOffloading").is_some_and(Value::is_object) && !pod_runs_a_shell(pod) {
            let path = [&["spec"], pool_path, &["kvCacheOffloading"]].concat().join(".");
            warnings.push(Warning::new(
                "no-offloading",
                format!(
                    "{}: {path}: these presets do not offload; write the connector in args",
                    service.title()
                ),
            ));
        }
        let mut blueprint = Self {
            service: service.key.name.clone(),
            role,
            place,
            labels,
            annotations,
            spec: pod.clone(),
            model_uri: model_uri.map(str::to_owned),
            parallelism: if role == Role::Prefill {
                composed.topology.prefill_parallelism
            } else {
                composed.topology.parallelism
            },
            fabric,
            configs: composed.configs.clone(),
            warnings,
            digest: String::new(),
        };
        blueprint.digest = blueprint.compute_digest(snapshot);
        Ok(blueprint)
    }

    /// The port that the presets give the engine of this role.
    #[must_use]
    pub fn engine_port(&self) -> u16 {
        if self.role == Role::Decode { DECODE_PORT } else { SERVICE_PORT }
    }

    fn compute_digest(&self, snapshot: &Snapshot) -> String {
        let mut hasher = Sha256::new();
        // What a rule's findings become is no part of a pod.
        let settings = Settings { rules: RuleSettings::default(), ..snapshot.settings.clone() };
        // A separator that no part can contain keeps the parts apart.
        for part in [
            env!("CARGO_PKG_VERSION").to_owned(),
            format!("{:?} {:?} {:?} {:?}", self.role, self.place, self.model_uri, self.fabric),
            format!("{:?} {settings:?}", self.parallelism),
            canonical(&Value::Object(self.labels.clone())),
            canonical(&Value::Object(self.annotations.clone())),
            canonical(&self.spec),
        ] {
            hasher.update(part.as_bytes());
            hasher.update([0]);
        }
        hasher.finalize().iter().take(8).fold(String::new(), |mut digits, byte| {
            use std::fmt::Write;
            // Writing to a String does not fail.
            let _ = write!(digits, "{byte:02x}");
            digits
        })
    }
}

/// Keys by which a pod is recognised: a service that set them on its pods would make them another's
/// on the second call.
fn is_reserved(key: &str) -> bool {
    [keys::SERVICE, keys::ROLE, keys::INJECT, keys::CONTAINER, keys::STATUS].contains(&key)
        || [keys::PART_OF, keys::NAME, keys::COMPONENT, keys::KSERVE_COMPONENT, keys::LLM_D_ROLE]
            .contains(&key)
        || [keys::WORKER_INDEX, keys::LEADER_NAME, keys::POD_INDEX, keys::MIRROR_POD].contains(&key)
}

/// KServe's presets are scripts, and read the offloading themselves.
fn pod_runs_a_shell(pod: &Value) -> bool {
    let containers = pod.get("containers").and_then(Value::as_array).into_iter().flatten();
    containers
        .filter(|container| container.get("name").and_then(Value::as_str) == Some("main"))
        .any(|container| {
            let launch = vllm::launch(&words(container, "command"), &words(container, "args"));
            matches!(launch, vllm::Launch::Shell { .. })
        })
}

/// The string members of an object.
fn strings(value: Option<&Value>) -> impl Iterator<Item = (String, Value)> {
    crate::api::string_members(value)
        .map(|(key, value)| (key.to_owned(), Value::String(value.to_owned())))
}

/// JSON with sorted keys: the same for the same value, however its author ordered it.
fn canonical(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    sorted.to_string()
}
