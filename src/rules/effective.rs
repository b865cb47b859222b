//! Engines as they will be started: composed, rendered and completed as their pods are.

mod place;
mod probe;
mod sidecar;
mod start;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::case::{Case, at, below, containers, get, text};
use crate::api::Service;
use crate::catalog::Snapshot;
use crate::compose::blueprint::Place;
use crate::compose::{Blueprint, Cache, ComposeError, Composed};
use crate::decision::{Decision, Refusal, Warning};
use crate::inject::{Mode, PodRequest, Site, complete, decide, engine_container};
use crate::json::{FieldPath, list, named};
use crate::vllm::{self, Arguments, Change, KvTransfer, Release, kv_transfer};
use crate::workload::templates::{self, LEADER, Templates, Type, WORKER};
use crate::workload::{By, Claim, Position, Role, claim};
use start::{Start, given};

pub(super) use probe::{Probe, number, patience, probes};
pub(super) use sidecar::Sidecar;

/// Name of the engine's container in every preset.
const MAIN: &str = "main";

/// How the names of NIXL's connectors begin.
pub(super) const NIXL: &str = "Nixl";

/// Resource that counts the network cards of Amazon's machines.
pub(super) const EFA: &str = "vpc.amazonaws.com/efa";

/// The engines of an object.
#[derive(Debug, Default)]
pub(super) struct Effective {
    /// One of each pool, the decode or general one first; of a group, its leader's.
    pub(super) engines: Vec<Engine>,
    /// One of each pool whose replicas are groups: that of the pods behind the leader.
    pub(super) workers: Vec<Engine>,
}

/// Why the pods of a pool are not known.
#[derive(Debug)]
pub(super) enum NoPod {
    /// No blueprint can be made.
    Compose(ComposeError),
    /// The pod of this pool cannot be completed.
    Complete(FieldPath, Refusal),
}

/// One pool's engine.
#[derive(Debug)]
pub(super) struct Engine {
    /// `decode`, `prefill` or `both`.
    pub(super) role: Role,
    /// Its place in a group of pods.
    pub(super) position: Position,
    /// `spec` or `spec.prefill` of a service; the pod template of a workload.
    pub(super) pool: FieldPath,
    /// Where the author writes the pod's spec, if he does.
    pub(super) pod_path: FieldPath,
    /// Name of the engine's container.
    pub(super) name: String,
    /// The complete pod's `metadata`.
    pub(super) metadata: Value,
    /// The complete pod's `spec`.
    pub(super) pod: Value,
    /// Everything that is seen of its arguments.
    pub(super) arguments: Arguments,
    /// There are no others: no shell variable that may hold more.
    pub(super) is_complete: bool,
    /// The arguments that the script reads once more with `eval`, as they were before.
    pub(super) evaluated: Vec<String>,
    /// The script of the shell that reads the arguments before the engine does, if there is one.
    pub(super) script: Option<String>,
    /// It is another program than vLLM, as far as can be seen; its arguments are not read.
    pub(super) is_other: bool,
    /// KV transfer as the author or a config wrote it; `None` where it is what is filled in.
    pub(super) given_kv: Option<KvTransfer>,
    /// KV transfer of the complete pod.
    pub(super) kv: Option<KvTransfer>,
    /// What was read otherwise than its author may think.
    pub(super) warnings: Vec<Warning>,
    /// See [`Self::release`]: many rules ask for it.
    release: Option<Release>,
    /// See [`Self::connectors`].
    connectors: Vec<String>,
    /// The arguments of each of [`Self::sidecars`].
    sidecar_arguments: Vec<crate::sidecar::Arguments>,
}

/// The engines of the object, of groups their leaders'; none where they are not known.
pub(super) fn engines<'a>(case: &'a Case<'_>) -> &'a [Engine] {
    case.effective().and_then(|known| known.as_ref().ok()).map_or(&[], |it| &it.engines)
}

/// All pods of the object that have an engine: leaders and the others of their groups.
pub(super) fn pods<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Engine> {
    let known = case.effective().and_then(|known| known.as_ref().ok());
    known.into_iter().flat_map(|it| it.engines.iter().chain(&it.workers))
}

impl Effective {
    /// The engines of a service.
    pub(super) fn of_service(
        case: &Case<'_>,
        service: &Service,
        composed: &Composed,
    ) -> Result<Self, NoPod> {
        let topology = composed.topology;
        let main = if topology.prefill { Role::Decode } else { Role::Both };
        let mut pools = vec![(main, at(&[]), topology.worker)];
        if topology.prefill {
            pools.push((Role::Prefill, at(&["prefill"]), topology.prefill_worker));
        }
        let mut effective = Self::default();
        for (role, pool, is_group) in pools {
            let of = |position| Engine::of_pool(case, service, composed, role, &pool, position);
            if is_group {
                effective.engines.push(of(Position::Leader)?);
                effective.workers.push(of(Position::Worker(None))?);
            } else {
                effective.engines.push(of(Position::Single)?);
            }
        }
        Ok(effective)
    }

    /// The engines of a workload's pods, as far as they ask to be completed.
    pub(super) fn of_workload(case: &Case<'_>) -> Result<Self, NoPod> {
        let mut effective = Self::default();
        for (place, mark) in pod_templates(case.object) {
            let template = case.object.pointer(&place.pointer()).filter(|it| it.is_object());
            let Some(template) = template else { continue };
            let marked = mark.mark(template, &case.key.name);
            effective.extend(Engine::of_template(case, &marked, place)?);
        }
        Ok(effective)
    }

    /// The engine of a pod that was decided on.
    pub(super) fn of_pod(
        snapshot: &Snapshot,
        request: PodRequest<'_>,
        decision: &Decision,
    ) -> Result<Self, NoPod> {
        let mut effective = Self::default();
        let engine = Engine::of_decision(snapshot, request, decision, FieldPath::root());
        effective.extend(engine?);
        Ok(effective)
    }

    fn extend(&mut self, engine: Option<Engine>) {
        let Some(engine) = engine else { return };
        match engine.position {
            Position::Single | Position::Leader => self.engines.push(engine),
            Position::Worker(_) => self.workers.push(engine),
        }
    }

    /// Prefill and decode of a service that has both.
    pub(super) fn pair(&self) -> Option<(&Engine, &Engine)> {
        match self.engines.as_slice() {
            [decode, prefill] => Some((prefill, decode)),
            _ => None,
        }
    }
}

/// Where an object's pod templates stand, and who their pods will be.
fn pod_templates(object: &Value) -> Vec<(FieldPath, templates::Position)> {
    let Some(of) = Type::of(object) else { return Vec::new() };
    match templates::templates(&of) {
        Templates::None => Vec::new(),
        Templates::One(pointer) => {
            let names = pointer.split('/').filter(|name| !name.is_empty());
            let place = names.fold(FieldPath::root(), |path, name| path.field(name));
            vec![(place, templates::Position::Single)]
        }
        Templates::LeaderAndWorker => {
            let group = at(&["leaderWorkerTemplate"]);
            let (leader, worker) = (group.field(LEADER), group.field(WORKER));
            let has_leader = object.pointer(&leader.pointer()).is_some_and(Value::is_object);
            vec![
                (if has_leader { leader } else { worker.clone() }, templates::Position::Leader),
                (worker, templates::Position::Worker),
            ]
        }
    }
}

impl Engine {
    fn of_pool(
        case: &Case<'_>,
        service: &Service,
        composed: &Composed,
        role: Role,
        pool: &FieldPath,
        position: Position,
    ) -> Result<Self, NoPod> {
        let place = Place::of(position);
        let blueprint =
            Blueprint::of(case.snapshot, service, composed, role, place).map_err(NoPod::Compose)?;
        let site = Site {
            settings: &case.snapshot.settings,
            blueprint: &blueprint,
            namespace_fabric: case.snapshot.fabrics.get(&case.key.namespace).map(String::as_str),
            mode: Mode::Offline,
            position,
            namespace: &case.key.namespace,
            by: By::Label,
        };
        let completed = complete(&site, &json!({"metadata": {}, "spec": {}}))
            .map_err(|refusal| NoPod::Complete(pool.clone(), refusal))?;
        let member = if place == Place::Worker { "worker" } else { "template" };
        Ok(Self::read(Read {
            role,
            position,
            pool: pool.clone(),
            pod_path: below(pool, &[member]),
            name: MAIN.to_owned(),
            given_kv: kv_transfer(&given(container(&blueprint.spec, MAIN))),
            pod: completed.pod.unwrap_or_default(),
            warnings: [blueprint.warnings.clone(), completed.warnings].concat(),
        }))
    }

    /// `None` where the template's pods do not ask to be completed.
    fn of_template(
        case: &Case<'_>,
        template: &Value,
        place: FieldPath,
    ) -> Result<Option<Self>, NoPod> {
        let Case { snapshot, key, .. } = case;
        let request = PodRequest { namespace: &key.namespace, pod: template, mode: Mode::Offline };
        let decision =
            decide(snapshot, request).map_err(|refusal| NoPod::Complete(place.clone(), refusal))?;
        let engine = Self::of_decision(snapshot, request, &decision, place)?;
        Ok(engine.map(|engine| Self { warnings: decision.warnings, ..engine }))
    }

    /// The engine of a pod or template that was decided on; `None` where it was left alone.
    fn of_decision(
        snapshot: &Snapshot,
        PodRequest { namespace, pod: template, .. }: PodRequest<'_>,
        decision: &Decision,
        place: FieldPath,
    ) -> Result<Option<Self>, NoPod> {
        let refused = |refusal| NoPod::Complete(place.clone(), refusal);
        let Claim::Member(member) = claim(template).map_err(refused)? else { return Ok(None) };
        // KServe's own pods are left alone where they cannot be completed.
        if decision.blueprint.is_none() {
            return Ok(None);
        }
        let Some(service) = snapshot.service(namespace, &member.service) else {
            return Ok(None);
        };
        let composed = Cache::composed(snapshot, service).map_err(NoPod::Compose)?;
        let settled = member.settle(composed.topology).map_err(refused)?;
        let blueprint = Cache::blueprint(snapshot, service, settled.role, settled.position)
            .map_err(NoPod::Compose)?;
        let pod = decision.pod.as_ref().unwrap_or(template).clone();
        let name = engine_container(&pod).map_err(refused)?;
        let own = template.get("spec").map(|spec| given(container(spec, &name)));
        let given_kv = own
            .and_then(|own| kv_transfer(&own))
            .or_else(|| kv_transfer(&given(container(&blueprint.spec, MAIN))));
        Ok(Some(Self::read(Read {
            role: settled.role,
            position: settled.position,
            pod_path: place.field("spec"),
            pool: place,
            name,
            given_kv,
            pod,
            warnings: Vec::new(),
        })))
    }

    fn read(read: Read) -> Self {
        let Read { role, position, pool, pod_path, name, mut pod, given_kv, warnings } = read;
        let mut take = |member| pod.get_mut(member).map(Value::take).unwrap_or_default();
        let (metadata, pod) = (take("metadata"), take("spec"));
        let container = container(&pod, &name);
        let release = text(container, &["image"]).and_then(Release::of_image);
        let Start { arguments, is_complete, evaluated, script, is_other } = Start::of(container);
        let kv = kv_transfer(&arguments);
        let connectors = kv.as_ref().map(connectors).unwrap_or_default();
        let sidecar_arguments = sidecars(&pod).map(|(_, it)| sidecar::arguments(it)).collect();
        Self {
            role,
            position,
            pool,
            pod_path,
            name,
            metadata,
            pod,
            arguments,
            is_complete,
            evaluated,
            script,
            is_other,
            given_kv,
            kv,
            warnings,
            release,
            connectors,
            sidecar_arguments,
        }
    }

    /// Whether a shell reads the arguments before the engine does.
    pub(super) fn is_shell(&self) -> bool {
        self.script.is_some()
    }

    /// The value of a flag, if one is seen and is not a variable's.
    pub(super) fn value(&self, flag: &str) -> Option<&str> {
        self.arguments.value(flag).filter(|value| !value.contains('$'))
    }

    /// As [`Self::value`], as a number.
    pub(super) fn number(&self, flag: &str) -> Option<i64> {
        self.value(flag)?.trim().parse().ok()
    }

    /// What the last word about a switch says; `None` where it is not given.
    pub(super) fn switch(&self, flag: &str) -> Option<bool> {
        Some(!self.arguments.last(flag)?.flag.as_ref()?.negated)
    }

    /// Whether nothing that is not seen can give the flag.
    pub(super) fn certainly_lacks(&self, flag: &str) -> bool {
        self.is_complete && !self.arguments.gives(flag)
    }

    /// The engine's container; null where the pod has none.
    pub(super) fn container(&self) -> &Value {
        container(&self.pod, &self.name)
    }

    /// The engine's image.
    pub(super) fn image(&self) -> Option<&str> {
        text(self.container(), &["image"])
    }

    /// The release of vLLM in its image, where that is known.
    pub(super) fn release(&self) -> Option<Release> {
        self.release
    }

    /// Its release, as it is called in a message.
    pub(super) fn title(&self) -> String {
        self.release.map_or("vLLM".to_owned(), |release| format!("vLLM {release}"))
    }

    /// Whether its release does what newer ones do; `None` where that is not known.
    pub(super) fn has(&self, change: Change) -> Option<bool> {
        self.release?.has(change)
    }

    /// The port that the engine listens on: the one that is given, vLLM's default where certainly
    /// none is; `None` where it is not known.
    pub(super) fn port(&self) -> Option<u16> {
        let default = self.certainly_lacks("--port").then_some(vllm::DEFAULT_PORT);
        vllm::port(&self.arguments).or(default)
    }

    /// Routing sidecars, in the pod's order.
    pub(super) fn sidecars(&self) -> Vec<Sidecar<'_>> {
        let read = |((list, container), arguments)| {
            let name = text(container, &["name"]).unwrap_or_default();
            Sidecar { list, name, container, arguments }
        };
        sidecars(&self.pod).zip(&self.sidecar_arguments).map(read).collect()
    }

    /// All containers but the engine's and the sidecars', those that end before it starts left out.
    pub(super) fn others<'e>(
        &'e self,
        sidecars: &'e [Sidecar<'_>],
    ) -> impl Iterator<Item = &'e Value> {
        let stays = |(list, container): (&str, &'e Value)| {
            let stays =
                list == "containers" || text(container, &["restartPolicy"]) == Some("Always");
            stays.then_some(container)
        };
        containers(&self.pod).filter_map(stays).filter(|container| {
            let name = text(container, &["name"]).unwrap_or_default();
            name != self.name && !sidecars.iter().any(|sidecar| sidecar.name == name)
        })
    }

    /// The literal value of an environment variable.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        self.variable(name)?.get("value")?.as_str()
    }

    /// An environment variable, wherever its value comes from.
    pub(super) fn variable(&self, name: &str) -> Option<&Value> {
        // Of two the kubelet takes the last.
        list(self.container(), &["env"]).iter().rfind(|item| text(item, &["name"]) == Some(name))
    }

    /// Names of the connectors, sorted, their synonyms resolved, what `MultiConnector` holds unwrapped.
    pub(super) fn connectors(&self) -> Option<&[String]> {
        (!self.connectors.is_empty()).then_some(&self.connectors)
    }

    /// Whether it has the connector of that name.
    pub(super) fn has_connector(&self, name: &str) -> bool {
        self.connectors.iter().any(|it| it == name)
    }

    /// A member of a connector's extra configuration, of the first that has it.
    pub(super) fn extra(&self, key: &str) -> Option<&Value> {
        let mut extras =
            self.connector_configs().into_iter().filter_map(|(_, config)| extra(config));
        extras.find_map(|extra| get(extra, &[key]))
    }

    /// The configuration of each connector with its name: those that `MultiConnector` holds, else
    /// the only one.
    pub(super) fn connector_configs(&self) -> Vec<(&str, &Map<String, Value>)> {
        self.kv.as_ref().map(connector_configs).unwrap_or_default()
    }

    /// Whether its HTTP server speaks TLS; `None` where that is not known.
    pub(super) fn serves_tls(&self) -> Option<bool> {
        let flags = vllm::TLS_FILES;
        if flags.into_iter().any(|flag| self.arguments.gives(flag)) {
            return Some(true);
        }
        flags.into_iter().all(|flag| self.certainly_lacks(flag)).then_some(false)
    }

    /// The configuration of its NIXL connector, which may be one of those in a `MultiConnector`.
    pub(super) fn nixl(&self) -> Option<&Map<String, Value>> {
        let mut configs = self.connector_configs().into_iter();
        configs.find(|(name, _)| name.starts_with(NIXL)).map(|(_, config)| config)
    }

    /// Whether it has a NIXL connector.
    pub(super) fn uses_nixl(&self) -> bool {
        self.connectors.iter().any(|name| name.starts_with(NIXL))
    }

    /// Backends of its NIXL connector, in upper case; `None` where it has no such connector.
    pub(super) fn nixl_backends(&self) -> Option<BTreeSet<String>> {
        let backends = extra(self.nixl()?).map(|extra| list(extra, &["backends"]));
        let names = backends.unwrap_or_default().iter().filter_map(Value::as_str);
        let names: BTreeSet<String> = names.map(str::to_ascii_uppercase).collect();
        Some(if names.is_empty() { BTreeSet::from(["UCX".to_owned()]) } else { names })
    }

    /// The engine's RDMA resource, by the names that device plugins give them.
    pub(super) fn rdma(&self) -> Option<&str> {
        let is_rdma = |name: &&str| {
            name.starts_with("rdma/")
                || name.starts_with("networking.gke.io.networks/rdma")
                || name.contains("sriov")
                || *name == EFA
        };
        let limits = get(self.container(), &["resources", "limits"])?.as_object()?;
        limits.keys().map(String::as_str).find(is_rdma)
    }

    /// Whether the pod has resource claims: what they bring is not known here.
    pub(super) fn has_claims(&self) -> bool {
        !list(&self.pod, &["resourceClaims"]).is_empty()
    }

    /// An annotation of the complete pod.
    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        get(&self.metadata, &["annotations", key])?.as_str()
    }
}

/// What is known of an engine before its arguments are read.
struct Read {
    role: Role,
    position: Position,
    pool: FieldPath,
    pod_path: FieldPath,
    name: String,
    /// The complete pod, `metadata` and `spec`.
    pod: Value,
    given_kv: Option<KvTransfer>,
    warnings: Vec<Warning>,
}

/// Names of the connectors: see [`Engine::connectors`].
fn connectors(kv: &KvTransfer) -> Vec<String> {
    let names = connector_configs(kv).into_iter().map(|(name, _)| plain(name));
    let mut names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
    names.sort();
    names.dedup();
    names
}

/// See [`Engine::connector_configs`].
fn connector_configs(kv: &KvTransfer) -> Vec<(&str, &Map<String, Value>)> {
    let name = kv.connector.as_deref().unwrap_or_default();
    if name != "MultiConnector" {
        return vec![(name, &kv.config)];
    }
    let named = |config| -> Option<(&str, &Map<String, Value>)> {
        let config = Value::as_object(config)?;
        Some((config.get("kv_connector").and_then(Value::as_str).unwrap_or_default(), config))
    };
    held(&kv.config).iter().filter_map(named).collect()
}

/// What a `MultiConnector` with this configuration holds, as it is written.
pub(super) fn held(config: &Map<String, Value>) -> &[Value] {
    extra(config).map(|extra| list(extra, &["connectors"])).unwrap_or_default()
}

/// What a connector is told beside what all of them are.
pub(super) fn extra(config: &Map<String, Value>) -> Option<&Value> {
    config.get("kv_connector_extra_config")
}

/// `NixlConnector` is the pulling one (vLLM's factory registers it under both names).
fn plain(name: &str) -> String {
    if name == "NixlPullConnector" { "NixlConnector" } else { name }.to_owned()
}

/// The routing sidecars of a pod, each with the list that it stands in.
fn sidecars(pod: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    containers(pod).filter(|(_, container)| sidecar::is_sidecar(container))
}

fn container<'p>(pod: &'p Value, name: &str) -> &'p Value {
    pod.get("containers").and_then(|list| named(list, name)).unwrap_or(&Value::Null)
}
