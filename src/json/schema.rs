//! Which lists merge by which key, by path.
//!
//! Merge keys are the `patchStrategy` and `patchMergeKey` tags of `k8s.io/api/core/v1/types.go` and
//! `k8s.io/apimachinery/pkg/apis/meta/v1/types.go`, release 1.36. A bare field name says nothing:
//! `ports` of a container merge by `containerPort`, `ports` elsewhere do not merge at all.

use super::path::Step;

/// How the value at one place merges, and the places below it. A static tree; what it does not
/// name merges as a plain map, with lists replaced whole.
#[derive(Debug)]
pub struct Schema(Kind);

/// A pod's spec.
#[must_use]
pub fn pod_spec() -> &'static Schema {
    &POD_SPEC
}

/// A pod: `metadata` and `spec`.
#[must_use]
pub fn pod() -> &'static Schema {
    &POD
}

/// The spec of an `LLMInferenceService` or `LLMInferenceServiceConfig`. Its pod specs merge as such;
/// the rest are plain maps with lists replaced whole, since KServe's types carry no patch tags
/// (`pkg/apis/serving/v1alpha1/llm_inference_service_types.go`).
#[must_use]
pub fn service_spec() -> &'static Schema {
    &SERVICE_SPEC
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A scalar, or something without rules of its own.
    Plain,
    /// A bool or a number that Go's types leave out when it is false or 0: that cannot be told from
    /// absent.
    Flag,
    /// A map with keys of the author's choice, printed in brackets.
    Map,
    /// An object with known members.
    Object(Object),
    /// A list of scalars, each at most once.
    Set,
    /// A list that is replaced whole, save that a blueprint's items are added to a pod's.
    Additive,
    /// A list of objects that one member tells apart.
    Keyed(Keyed),
}

#[derive(Debug)]
pub(super) struct Object {
    members: &'static [(&'static str, &'static Schema)],
    one_of: OneOf,
    /// Whether it holds `limits` and `requests`, which a pod's author owns together, by resource.
    pub(super) resources: bool,
}

/// Members of which the API server accepts one at a time.
#[derive(Debug)]
enum OneOf {
    Nothing,
    These(&'static [&'static str]),
    /// A source added by a later Kubernetes release is a member too.
    AllBut(&'static [&'static str]),
}

#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) key: &'static str,
    pub(super) item: &'static Schema,
    pub(super) pod: PodRule,
}

/// How a blueprint's item meets the author's item with the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PodRule {
    /// Fills what the author left out.
    Fill,
    /// The author's item is complete as it stands.
    Whole,
    /// Fills it when both mount the same volume, and else the author's is complete. A trailing slash
    /// of the path is no difference.
    SameVolume,
    /// Fills it when the protocol agrees; else it is another port.
    Port,
}

static PLAIN: Schema = Schema(Kind::Plain);
static FLAG: Schema = Schema(Kind::Flag);
static MAP: Schema = Schema(Kind::Map);
static SET: Schema = Schema(Kind::Set);
static ADDITIVE: Schema = Schema(Kind::Additive);

impl Schema {
    pub(super) fn kind(&'static self) -> &'static Kind {
        &self.0
    }

    /// The schema of a member.
    pub(super) fn member(&'static self, name: &str) -> &'static Schema {
        let Kind::Object(object) = &self.0 else {
            return &PLAIN;
        };
        object
            .members
            .iter()
            .find_map(|(known, schema)| (*known == name).then_some(*schema))
            .unwrap_or(&PLAIN)
    }

    /// The step down to a member, for messages.
    pub(super) fn step<'a>(&self, name: &'a str) -> Step<'a> {
        match self.0 {
            Kind::Map => Step::Key(name),
            _ => Step::Field(name),
        }
    }

    /// Whether a member belongs to this object's one-of group.
    pub(super) fn is_one_of(&self, name: &str) -> bool {
        match &self.0 {
            Kind::Object(Object { one_of, .. }) => match one_of {
                OneOf::Nothing => false,
                OneOf::These(members) => members.contains(&name),
                OneOf::AllBut(others) => !others.contains(&name),
            },
            _ => false,
        }
    }

    const fn object(members: &'static [(&'static str, &'static Schema)]) -> Self {
        Self::one_of(members, OneOf::Nothing)
    }

    const fn one_of(members: &'static [(&'static str, &'static Schema)], one_of: OneOf) -> Self {
        Self(Kind::Object(Object { members, one_of, resources: false }))
    }

    const fn keyed(key: &'static str, item: &'static Schema) -> Self {
        Self::keyed_in_pods(key, item, PodRule::Fill)
    }

    const fn keyed_in_pods(key: &'static str, item: &'static Schema, pod: PodRule) -> Self {
        Self(Kind::Keyed(Keyed { key, item, pod }))
    }
}

static POD: Schema = Schema::object(&[("metadata", &METADATA), ("spec", &POD_SPEC)]);

static METADATA: Schema = Schema::object(&[
    ("annotations", &MAP),
    ("finalizers", &SET),
    ("labels", &MAP),
    ("ownerReferences", &Schema::keyed("uid", &PLAIN)),
]);

static POD_SPEC: Schema = Schema::object(&[
    ("containers", &CONTAINERS),
    ("ephemeralContainers", &CONTAINERS),
    ("hostAliases", &Schema::keyed("ip", &PLAIN)),
    ("hostIPC", &FLAG),
    ("hostNetwork", &FLAG),
    ("hostPID", &FLAG),
    ("imagePullSecrets", &Schema::keyed("name", &PLAIN)),
    ("initContainers", &CONTAINERS),
    ("nodeSelector", &MAP),
    ("overhead", &MAP),
    ("resourceClaims", &Schema::keyed("name", &RESOURCE_CLAIM)),
    ("resources", &RESOURCES),
    ("schedulingGates", &Schema::keyed("name", &PLAIN)),
    ("tolerations", &ADDITIVE),
    ("topologySpreadConstraints", &Schema::keyed("topologyKey", &SPREAD)),
    ("volumes", &Schema::keyed("name", &VOLUME)),
]);

static CONTAINERS: Schema = Schema::keyed("name", &CONTAINER);

static CONTAINER: Schema = Schema::object(&[
    ("env", &Schema::keyed_in_pods("name", &ENV, PodRule::Whole)),
    ("lifecycle", &LIFECYCLE),
    ("livenessProbe", &PROBE),
    ("ports", &Schema::keyed_in_pods("containerPort", &PLAIN, PodRule::Port)),
    ("readinessProbe", &PROBE),
    ("resources", &RESOURCES),
    ("startupProbe", &PROBE),
    ("stdin", &FLAG),
    ("stdinOnce", &FLAG),
    ("tty", &FLAG),
    ("volumeDevices", &Schema::keyed_in_pods("devicePath", &PLAIN, PodRule::SameVolume)),
    ("volumeMounts", &Schema::keyed_in_pods("mountPath", &READ_ONLY, PodRule::SameVolume)),
]);

static ENV: Schema =
    Schema::one_of(&[("valueFrom", &ENV_SOURCE)], OneOf::These(&["value", "valueFrom"]));

// fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef, and whatever comes next.
static ENV_SOURCE: Schema = Schema::one_of(&[], OneOf::AllBut(&[]));

static PROBE: Schema = Schema::one_of(
    &[
        ("failureThreshold", &FLAG),
        ("initialDelaySeconds", &FLAG),
        ("periodSeconds", &FLAG),
        ("successThreshold", &FLAG),
        ("timeoutSeconds", &FLAG),
    ],
    OneOf::These(&["exec", "httpGet", "tcpSocket", "grpc"]),
);

static LIFECYCLE: Schema = Schema::object(&[("postStart", &HANDLER), ("preStop", &HANDLER)]);

static HANDLER: Schema =
    Schema::one_of(&[], OneOf::These(&["exec", "httpGet", "tcpSocket", "sleep"]));

static RESOURCES: Schema = Schema(Kind::Object(Object {
    members: &[("limits", &MAP), ("requests", &MAP)],
    one_of: OneOf::Nothing,
    resources: true,
}));

static RESOURCE_CLAIM: Schema = Schema::one_of(&[], OneOf::AllBut(&["name"]));

static SPREAD: Schema = Schema::object(&[("labelSelector", &LABEL_SELECTOR)]);

static LABEL_SELECTOR: Schema = Schema::object(&[("matchLabels", &MAP)]);

static READ_ONLY: Schema = Schema::object(&[("readOnly", &FLAG)]);

// Every member but the name is a source. Named here are those with something to know about; the
// `readOnly` of `csi` is a pointer in Go, so its false counts.
static VOLUME: Schema = Schema::one_of(
    &[
        ("awsElasticBlockStore", &READ_ONLY),
        ("azureFile", &READ_ONLY),
        ("cephfs", &READ_ONLY),
        ("cinder", &READ_ONLY),
        ("csi", &CSI),
        ("ephemeral", &EPHEMERAL),
        ("fc", &READ_ONLY),
        ("flexVolume", &FLEX),
        ("gcePersistentDisk", &READ_ONLY),
        ("glusterfs", &READ_ONLY),
        ("iscsi", &ISCSI),
        ("nfs", &READ_ONLY),
        ("persistentVolumeClaim", &READ_ONLY),
        ("portworxVolume", &READ_ONLY),
        ("quobyte", &READ_ONLY),
        ("rbd", &READ_ONLY),
        ("scaleIO", &SCALE_IO),
        ("storageos", &READ_ONLY),
    ],
    OneOf::AllBut(&["name"]),
);

static CSI: Schema = Schema::object(&[("volumeAttributes", &MAP)]);

static FLEX: Schema = Schema::object(&[("options", &MAP), ("readOnly", &FLAG)]);

static ISCSI: Schema = Schema::object(&[
    ("chapAuthDiscovery", &FLAG),
    ("chapAuthSession", &FLAG),
    ("readOnly", &FLAG),
]);

static SCALE_IO: Schema = Schema::object(&[("readOnly", &FLAG), ("sslEnabled", &FLAG)]);

static EPHEMERAL: Schema = Schema::object(&[("volumeClaimTemplate", &CLAIM_TEMPLATE)]);

static CLAIM_TEMPLATE: Schema = Schema::object(&[("metadata", &METADATA), ("spec", &CLAIM_SPEC)]);

static CLAIM_SPEC: Schema =
    Schema::object(&[("resources", &CLAIM_RESOURCES), ("selector", &LABEL_SELECTOR)]);

static CLAIM_RESOURCES: Schema = Schema::object(&[("limits", &MAP), ("requests", &MAP)]);

static SERVICE_SPEC: Schema = Schema::object(&[
    ("annotations", &MAP),
    ("labels", &MAP),
    ("parallelism", &PARALLELISM),
    ("prefill", &WORKLOAD),
    ("router", &ROUTER),
    ("template", &POD_SPEC),
    ("trustRemoteCode", &FLAG),
    ("worker", &POD_SPEC),
]);

static WORKLOAD: Schema = Schema::object(&[
    ("annotations", &MAP),
    ("labels", &MAP),
    ("parallelism", &PARALLELISM),
    ("template", &POD_SPEC),
    ("worker", &POD_SPEC),
]);

static PARALLELISM: Schema = Schema::object(&[("expert", &FLAG)]);

static ROUTER: Schema = Schema::object(&[("scheduler", &SCHEDULER)]);

static SCHEDULER: Schema = Schema::object(&[
    ("annotations", &MAP),
    ("labels", &MAP),
    ("template", &POD_SPEC),
    ("tokenizer", &Schema::object(&[("template", &POD_SPEC)])),
]);

#[cfg(test)]
mod tests {
    use super::*;

    fn merge_key(root: &'static Schema, path: &[&str]) -> Option<&'static str> {
        let place = path.iter().fold(root, |schema, name| match schema.kind() {
            Kind::Keyed(keyed) if *name == "*" => keyed.item,
            _ => schema.member(name),
        });
        match place.kind() {
            Kind::Keyed(keyed) => Some(keyed.key),
            _ => None,
        }
    }

    #[test]
    fn keys_go_by_path() {
        let key = |path: &[&str]| merge_key(pod(), path);
        assert_eq!(key(&["spec", "initContainers", "*", "env"]), Some("name"));
        assert_eq!(key(&["spec", "ephemeralContainers", "*", "volumeMounts"]), Some("mountPath"));
        assert_eq!(key(&["spec", "ports"]), None);
        assert_eq!(key(&["spec", "containers", "*", "envFrom"]), None);
        assert_eq!(key(&["spec", "containers", "*", "resizePolicy"]), None);
        assert_eq!(
            key(&["spec", "containers", "*", "livenessProbe", "httpGet", "httpHeaders"]),
            None
        );
        assert_eq!(key(&["spec", "volumes", "*", "projected", "sources"]), None);
        assert_eq!(key(&["spec", "readinessGates"]), None);
        assert_eq!(key(&["env"]), None);
    }

    #[test]
    fn every_workload_of_a_service_is_a_pod_spec() {
        for workload in [
            &["template"][..],
            &["worker"],
            &["prefill", "template"],
            &["prefill", "worker"],
            &["router", "scheduler", "template"],
            &["router", "scheduler", "tokenizer", "template"],
        ] {
            let path = [workload, &["containers", "*", "ports"]].concat();
            assert_eq!(merge_key(service_spec(), &path), Some("containerPort"));
        }
        assert_eq!(merge_key(service_spec(), &["baseRefs"]), None);
        assert_eq!(
            merge_key(service_spec(), &["prefill", "prefill", "template", "containers"]),
            None
        );
        assert_eq!(merge_key(service_spec(), &["model", "lora", "adapters"]), None);
    }

    #[test]
    fn one_of_groups_take_in_sources_of_later_releases() {
        assert!(VOLUME.is_one_of("emptyDir") && VOLUME.is_one_of("notYetInvented"));
        assert!(!VOLUME.is_one_of("name") && !PROBE.is_one_of("periodSeconds"));
        assert!(ENV.is_one_of("value") && !ENV.is_one_of("name"));
        assert!(!POD_SPEC.is_one_of("volumes"));
    }
}
