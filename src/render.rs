//! The workloads that a service's pools consist of, under the names and labels that KServe's
//! controller gives them: what runs a service where that controller does not.

use serde_json::{Map, Value, json};

use crate::api::{Parallelism, Service};
use crate::catalog::Snapshot;
use crate::compose::{Cache, ComposeError, child};
use crate::decision::{Refusal, Warning};
use crate::inject::{Mode, Site, complete};
use crate::json::{at, named};
use crate::workload::{By, Position, Role, keys};

/// How much of its pods a workload holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Complete pods: they need no webhook.
    Complete,
    /// Pods that ask the webhook to be completed.
    Skeleton,
}

/// The workloads of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Deployments and LeaderWorkerSets, the decode or general pool first.
    pub workloads: Vec<Value>,
    /// What the author of the service should know.
    pub warnings: Vec<Warning>,
}

/// Why a service has no workloads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// It cannot be composed.
    #[error(transparent)]
    Compose(#[from] ComposeError),
    /// A pod of it cannot be completed.
    #[error("{title}: {refusal}")]
    Pod {
        /// The service.
        title: String,
        /// What stands in the way.
        refusal: Refusal,
    },
}

impl RenderError {
    /// Stable code of what stands in the way.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Compose(error) => error.code,
            Self::Pod { refusal, .. } => refusal.code,
        }
    }
}

/// Renders the pools of a service.
///
/// # Errors
/// [`RenderError`] for a service that cannot be composed or whose pods cannot be completed.
pub fn workloads(
    snapshot: &Snapshot,
    service: &Service,
    form: Form,
) -> Result<Rendered, RenderError> {
    let composed = Cache::composed(snapshot, service)?;
    let topology = composed.topology;
    let mut renderer = Renderer { snapshot, service, form, warnings: composed.warnings.clone() };
    let spec = composed.spec();
    let main = if topology.prefill { Role::Decode } else { Role::Both };
    let mut workloads = vec![renderer.pool(spec, main, topology.worker, topology.parallelism)?];
    if let Some(prefill) = spec.get("prefill").filter(|_| topology.prefill) {
        let parallelism = topology.prefill_parallelism;
        workloads.push(renderer.pool(
            prefill,
            Role::Prefill,
            topology.prefill_worker,
            parallelism,
        )?);
    }
    let mut warnings = renderer.warnings;
    warnings.dedup();
    Ok(Rendered { workloads, warnings })
}

struct Renderer<'a> {
    snapshot: &'a Snapshot,
    service: &'a Service,
    form: Form,
    warnings: Vec<Warning>,
}

impl Renderer<'_> {
    /// `pool` is `spec` or `spec.prefill`.
    fn pool(
        &mut self,
        pool: &Value,
        role: Role,
        worker: bool,
        parallelism: Parallelism,
    ) -> Result<Value, RenderError> {
        let prefill = role == Role::Prefill;
        if !worker {
            let component =
                if prefill { keys::COMPONENT_PREFILL } else { keys::COMPONENT_WORKLOAD };
            let labels = self.labels(component, Some(role));
            let template = self.template(role, Position::Single, labels.clone())?;
            let name = if prefill { "-kserve-prefill" } else { "-kserve" };
            let mut spec = Map::new();
            insert_replicas(&mut spec, pool);
            spec.insert("selector".to_owned(), json!({"matchLabels": labels}));
            if let Some(rolling) = rollout(pool) {
                let strategy = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
                spec.insert("strategy".to_owned(), strategy);
            }
            spec.insert("template".to_owned(), template);
            return Ok(self.object("apps/v1", "Deployment", name, &labels, &spec));
        }
        let (leader, worker) = if prefill {
            (keys::COMPONENT_LEADER_PREFILL, keys::COMPONENT_WORKER_PREFILL)
        } else {
            (keys::COMPONENT_LEADER, keys::COMPONENT_WORKER)
        };
        let size = parallelism.size().unwrap_or(1);
        // In a group of two the one worker's index is known.
        let index = (size == 2).then_some(1);
        let worker_labels = self.labels(worker, None);
        let leader_template =
            self.template(role, Position::Leader, self.labels(leader, Some(role)))?;
        let worker_template =
            self.template(role, Position::Worker(index), worker_labels.clone())?;
        let name = if prefill { "-kserve-mn-prefill" } else { "-kserve-mn" };
        let mut spec = Map::new();
        insert_replicas(&mut spec, pool);
        spec.insert(
            "leaderWorkerTemplate".to_owned(),
            json!({
                "size": size,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": leader_template,
                "workerTemplate": worker_template,
            }),
        );
        spec.insert("startupPolicy".to_owned(), json!("LeaderCreated"));
        if let Some(rolling) = rollout(pool) {
            let strategy = json!({"type": "RollingUpdate", "rollingUpdateConfiguration": rolling});
            spec.insert("rolloutStrategy".to_owned(), strategy);
        }
        let api_version = "leaderworkerset.x-k8s.io/v1";
        Ok(self.object(api_version, "LeaderWorkerSet", name, &worker_labels, &spec))
    }

    fn object(
        &self,
        api_version: &str,
        kind: &str,
        suffix: &str,
        labels: &Map<String, Value>,
        spec: &Map<String, Value>,
    ) -> Value {
        json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": {
                "name": child(&self.service.key.name, suffix),
                "namespace": self.service.key.namespace,
                "labels": labels,
            },
            "spec": spec,
        })
    }

    /// Labels of KServe's pods. Only those that serve have a role and are selected by its Services.
    fn labels(&self, component: &str, serves_as: Option<Role>) -> Map<String, Value> {
        let mut labels = Map::from_iter([
            (keys::COMPONENT.to_owned(), json!(component)),
            (keys::NAME.to_owned(), json!(self.service.key.name)),
            (keys::PART_OF.to_owned(), json!(keys::LLM_INFERENCE_SERVICE)),
        ]);
        if let Some(role) = serves_as {
            labels.insert(keys::KSERVE_COMPONENT.to_owned(), json!("workload"));
            labels.insert(keys::LLM_D_ROLE.to_owned(), json!(role.as_str()));
        }
        labels
    }

    fn template(
        &mut self,
        role: Role,
        position: Position,
        mut labels: Map<String, Value>,
    ) -> Result<Value, RenderError> {
        let blueprint = Cache::blueprint(self.snapshot, self.service, role, position)?;
        if self.form == Form::Skeleton {
            labels.insert(keys::SERVICE.to_owned(), json!(self.service.key.name));
            labels.insert(keys::ROLE.to_owned(), json!(role.as_str()));
            return Ok(json!({"metadata": {"labels": labels}, "spec": skeleton(&blueprint.spec)}));
        }
        let site = Site {
            settings: &self.snapshot.settings,
            blueprint: &blueprint,
            namespace_fabric: self
                .snapshot
                .fabrics
                .get(&self.service.key.namespace)
                .map(String::as_str),
            mode: Mode::Offline,
            position,
            namespace: &self.service.key.namespace,
            by: By::Label,
        };
        let pod = json!({"metadata": {"labels": labels}, "spec": {}});
        let completed = complete(&site, &pod)
            .map_err(|refusal| RenderError::Pod { title: self.service.title(), refusal })?;
        self.warnings.extend(completed.warnings);
        Ok(completed.pod.unwrap_or(pod))
    }
}

/// What a pod has to say before it is created: a container with an image (the webhook puts the real
/// one in), the resources that queues and quotas count, and the class that decides its priority.
fn skeleton(spec: &Value) -> Value {
    let mut container = json!({"name": "main", "image": "auto"});
    let main = spec.get("containers").and_then(|containers| named(containers, "main"));
    let mut amounts = Map::new();
    for list in ["limits", "requests"] {
        if let Some(amount) = main.and_then(|main| main.get("resources")?.get(list)) {
            amounts.insert(list.to_owned(), amount.clone());
        }
    }
    if let Some(members) = container.as_object_mut().filter(|_| !amounts.is_empty()) {
        members.insert("resources".to_owned(), Value::Object(amounts));
    }
    let mut skeleton = json!({"containers": [container]});
    if let (Some(class), Some(members)) = (spec.get("priorityClassName"), skeleton.as_object_mut())
    {
        members.insert("priorityClassName".to_owned(), class.clone());
    }
    skeleton
}

/// A pool that scales itself has no replicas.
fn insert_replicas(spec: &mut Map<String, Value>, pool: &Value) {
    if let Some(replicas) = pool.get("replicas") {
        spec.insert("replicas".to_owned(), replicas.clone());
    }
}

fn rollout(pool: &Value) -> Option<Value> {
    let strategy = at(pool, &["rolloutStrategy"])?.as_object()?;
    let rolling: Map<String, Value> = ["maxUnavailable", "maxSurge"]
        .into_iter()
        .filter_map(|member| Some((member.to_owned(), strategy.get(member)?.clone())))
        .collect();
    (!rolling.is_empty()).then_some(Value::Object(rolling))
}
