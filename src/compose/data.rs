//! What a template reads as `.`: the service as its author wrote it, under the Go names of KServe's
//! types, and the operator's settings.
//!
//! Source of the names: `pkg/apis/serving/v1alpha2/llm_inference_service_types.go` of kserve/kserve.

use std::collections::BTreeMap;

use serde_json::Value;

use super::router::Router;
use crate::api::Service;
use crate::catalog::Settings;
use crate::template::Data;

/// How a member of a Go type is written and read.
enum Kind {
    /// A pointer to a scalar: nil when absent, true even when it points to zero.
    Pointer,
    /// A string that is "" when absent.
    Text,
    /// A boolean that is false when absent.
    Flag,
    /// A map or list, nil when absent.
    Any,
    /// A pod spec: the names of its members follow a rule.
    PodSpec,
    /// A pointer to a type of KServe's own.
    Struct(&'static [Field]),
    /// A type of KServe's own that is there even when nothing was written.
    Inline(&'static [Field]),
}

struct Field {
    go: &'static str,
    json: &'static str,
    kind: Kind,
}

const fn field(go: &'static str, json: &'static str, kind: Kind) -> Field {
    Field { go, json, kind }
}

const LORA: &[Field] = &[
    field("Adapters", "adapters", Kind::Any),
    field("MaxRank", "maxRank", Kind::Pointer),
    field("MaxAdapters", "maxAdapters", Kind::Pointer),
    field("MaxCpuAdapters", "maxCpuAdapters", Kind::Pointer),
];

const MODEL: &[Field] = &[
    field("URI", "uri", Kind::Text),
    field("Name", "name", Kind::Pointer),
    field("LoRA", "lora", Kind::Struct(LORA)),
    field("Confidential", "confidential", Kind::Any),
];

const PARALLELISM: &[Field] = &[
    field("Tensor", "tensor", Kind::Pointer),
    field("Pipeline", "pipeline", Kind::Pointer),
    field("Data", "data", Kind::Pointer),
    field("DataLocal", "dataLocal", Kind::Pointer),
    field("DataRPCPort", "dataRPCPort", Kind::Pointer),
    field("Expert", "expert", Kind::Flag),
];

const KV_CACHE_OFFLOADING: &[Field] = &[
    field("CPU", "cpu", Kind::Any),
    field("EvictionPolicy", "evictionPolicy", Kind::Text),
    field("Secondary", "secondary", Kind::Any),
];

const ROLLOUT: &[Field] = &[
    field("MaxUnavailable", "maxUnavailable", Kind::Pointer),
    field("MaxSurge", "maxSurge", Kind::Pointer),
];

const WORKLOAD: &[Field] = &[
    field("Replicas", "replicas", Kind::Pointer),
    field("Scaling", "scaling", Kind::Any),
    field("Parallelism", "parallelism", Kind::Struct(PARALLELISM)),
    field("Labels", "labels", Kind::Any),
    field("Annotations", "annotations", Kind::Any),
    field("Template", "template", Kind::PodSpec),
    field("Worker", "worker", Kind::PodSpec),
    field("KVCacheOffloading", "kvCacheOffloading", Kind::Struct(KV_CACHE_OFFLOADING)),
    field("RolloutStrategy", "rolloutStrategy", Kind::Struct(ROLLOUT)),
];

const STORAGE_INITIALIZER: &[Field] = &[field("Enabled", "enabled", Kind::Pointer)];

const TRACING: &[Field] = &[
    field("ExporterEndpoint", "exporterEndpoint", Kind::Pointer),
    field("Sampler", "sampler", Kind::Pointer),
    field("SamplerArg", "samplerArg", Kind::Pointer),
    field("Exporter", "exporter", Kind::Pointer),
];

/// LLMInferenceServiceSpec, but for the members that it shares with `prefill`.
const SPEC: &[Field] = &[
    field("Model", "model", Kind::Inline(MODEL)),
    field("StorageInitializer", "storageInitializer", Kind::Struct(STORAGE_INITIALIZER)),
    field("Router", "router", Kind::Any),
    field("Prefill", "prefill", Kind::Struct(WORKLOAD)),
    field("Tracing", "tracing", Kind::Struct(TRACING)),
    field("BaseRefs", "baseRefs", Kind::Any),
];

/// Members of a pod spec that a template may ask for although nobody wrote them: (Go name, whether
/// it is a string).
const POD_SPEC: &[(&str, bool)] = &[
    ("ActiveDeadlineSeconds", false),
    ("Affinity", false),
    ("AutomountServiceAccountToken", false),
    ("Containers", false),
    ("DNSConfig", false),
    ("DNSPolicy", true),
    ("EnableServiceLinks", false),
    ("HostIPC", false),
    ("HostNetwork", false),
    ("HostPID", false),
    ("Hostname", true),
    ("ImagePullSecrets", false),
    ("InitContainers", false),
    ("NodeName", true),
    ("NodeSelector", false),
    ("Priority", false),
    ("PriorityClassName", true),
    ("RestartPolicy", true),
    ("RuntimeClassName", false),
    ("SchedulerName", true),
    ("SecurityContext", false),
    ("ServiceAccountName", true),
    ("ShareProcessNamespace", false),
    ("Subdomain", true),
    ("TerminationGracePeriodSeconds", false),
    ("Tolerations", false),
    ("TopologySpreadConstraints", false),
    ("Volumes", false),
];

/// Builds `.`. `spec` is the author's with the defaults applied; `enabled` decides the name of the
/// InferencePool.
pub(super) fn service_data(
    service: &Service,
    spec: &Value,
    enabled: &Value,
    settings: &Settings,
) -> Data {
    let metadata = service.object.get("metadata").unwrap_or(&Value::Null);
    let text = |text: &str| Data::Str(text.to_owned());
    let object_meta = BTreeMap::from([
        ("Name".to_owned(), text(&service.key.name)),
        ("Namespace".to_owned(), text(&service.key.namespace)),
        ("Labels".to_owned(), Data::from(metadata.get("labels").unwrap_or(&Value::Null))),
        ("Annotations".to_owned(), Data::from(metadata.get("annotations").unwrap_or(&Value::Null))),
        ("UID".to_owned(), text(metadata.get("uid").and_then(Value::as_str).unwrap_or_default())),
        (
            "Generation".to_owned(),
            Data::Int(metadata.get("generation").and_then(Value::as_i64).unwrap_or_default()),
        ),
    ]);
    let mut members = members(spec, WORKLOAD);
    let shared = Data::Map(members.clone());
    members.extend(self::members(spec, SPEC));
    members.insert("WorkloadSpec".to_owned(), shared);

    let pool = Router::of(enabled).pool_name(&service.key.name);
    let global = BTreeMap::from([
        ("SystemNamespace".to_owned(), text(&settings.system_namespace)),
        ("IngressGatewayName".to_owned(), text(&settings.ingress_gateway_name)),
        ("IngressGatewayNamespace".to_owned(), text(&settings.ingress_gateway_namespace)),
        ("EnableTLS".to_owned(), Data::Bool(settings.enable_tls)),
        ("ModelBasedRoutingHeaderName".to_owned(), text(&settings.model_based_routing_header_name)),
        (
            "InferencePoolNamespacedName".to_owned(),
            Data::Str(format!("{}/{pool}", service.key.namespace)),
        ),
    ]);
    // An embedded type's members are members of what embeds it, in Go.
    let mut root = object_meta.clone();
    root.insert("ObjectMeta".to_owned(), Data::Map(object_meta));
    root.insert("Spec".to_owned(), Data::Map(members));
    root.insert("GlobalConfig".to_owned(), Data::Map(global));
    Data::Map(root)
}

fn members(value: &Value, fields: &[Field]) -> BTreeMap<String, Data> {
    fields
        .iter()
        .map(|field| {
            let written = value.get(field.json).filter(|value| !value.is_null());
            (field.go.to_owned(), member(written, &field.kind))
        })
        .collect()
}

fn member(written: Option<&Value>, kind: &Kind) -> Data {
    match (kind, written) {
        (Kind::Text, None) => Data::Str(String::new()),
        (Kind::Flag, None) => Data::Bool(false),
        (Kind::Inline(fields), written) => {
            Data::Map(members(written.unwrap_or(&Value::Null), fields))
        }
        (_, None) => Data::Nil,
        (Kind::Struct(fields), Some(value)) if value.is_object() => {
            Data::Pointer(Box::new(Data::Map(members(value, fields))))
        }
        (Kind::Pointer, Some(value)) => Data::Pointer(Box::new(Data::from(value))),
        (Kind::PodSpec, Some(value)) if value.is_object() => {
            let Data::Map(mut members) = go_names(value) else { return Data::Nil };
            for (name, is_text) in POD_SPEC {
                let absent = if *is_text { Data::Str(String::new()) } else { Data::Nil };
                members.entry((*name).to_owned()).or_insert(absent);
            }
            Data::Pointer(Box::new(Data::Map(members)))
        }
        (_, Some(value)) => go_names(value),
    }
}

/// A value whose objects are Kubernetes' own types, their members under Go's names. Labels,
/// annotations and the like keep their keys: those are maps in Go, too.
fn go_names(value: &Value) -> Data {
    match value {
        Value::Array(items) => Data::List(items.iter().map(go_names).collect()),
        Value::Object(members) => Data::Map(
            members
                .iter()
                .map(|(key, member)| {
                    let plain = matches!(
                        key.as_str(),
                        "labels"
                            | "annotations"
                            | "matchLabels"
                            | "nodeSelector"
                            | "limits"
                            | "requests"
                    );
                    (go_name(key), if plain { Data::from(member) } else { go_names(member) })
                })
                .collect(),
        ),
        other => Data::from(other),
    }
}

/// Go's name of a JSON member: its first word in capitals where that is an initialism.
fn go_name(json: &str) -> String {
    const INITIALISMS: [&str; 16] = [
        "api", "aws", "csi", "dns", "fc", "fs", "grpc", "gce", "http", "id", "ip", "iscsi", "nfs",
        "tcp", "tty", "uid",
    ];
    const WHOLE: [(&str, &str); 5] =
        [("uri", "URI"), ("url", "URL"), ("cpu", "CPU"), ("pvc", "PVC"), ("cephfs", "CephFS")];
    if let Some((_, go)) = WHOLE.iter().find(|(name, _)| *name == json) {
        return (*go).to_owned();
    }
    let end = json.find(|c: char| c.is_ascii_uppercase()).unwrap_or(json.len());
    let (head, tail) = json.split_at(end);
    if INITIALISMS.contains(&head) {
        return format!("{}{tail}", head.to_ascii_uppercase());
    }
    let mut chars = json.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ObjectKey;
    use crate::template::{self, KserveFunctions, Options, Trim};
    use serde_json::json;

    fn render(spec: &Value, source: &str) -> Result<String, String> {
        let object = json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": spec});
        let service = Service { key: ObjectKey::new("ns", "s"), object: object.into() };
        let data = service_data(&service, spec, spec, &Settings::default());
        template::render(source, &data, &KserveFunctions, Options { trim: Trim::Spaces })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_those_of_go() {
        let spec = json!({
            "model": {"uri": "hf://a/b", "name": "m"},
            "parallelism": {"dataRPCPort": 5000},
            "template": {"dnsPolicy": "None", "containers": [{"name": "main", "tty": true}]}
        });
        for (source, expected) in [
            ("{{ .Spec.Model.URI }}", "hf://a/b"),
            ("{{ .Spec.Model.Name }}", "m"),
            ("{{ .Spec.Parallelism.DataRPCPort }}", "5000"),
            ("{{ .Spec.Template.DNSPolicy }}", "None"),
            ("{{ (index .Spec.Template.Containers 0).TTY }}", "true"),
            ("{{ .ObjectMeta.Name }} {{ .Name }} {{ .Namespace }}", "s s ns"),
            ("{{ .GlobalConfig.InferencePoolNamespacedName }}", "ns/s-inference-pool"),
            ("{{ .Spec.WorkloadSpec.Parallelism.DataRPCPort }}", "5000"),
        ] {
            assert_eq!(render(&spec, source).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_is_absent_is_nil_or_zero_as_in_go() {
        let spec = json!({"template": {}});
        for (source, expected) in [
            ("{{ if .Spec.Prefill }}x{{ end }}", ""),
            ("{{ if .Spec.Template.ServiceAccountName }}x{{ end }}", ""),
            ("{{ shutdownTimeout .Spec.Template 15 }}", "40"),
            ("{{ shutdownTimeout .Spec.Worker 15 }}", "40"),
            ("{{ kvTransferConfig .Spec.KVCacheOffloading }}", ""),
        ] {
            assert_eq!(render(&spec, source).as_deref(), Ok(expected), "{source}");
        }
        let error = render(&spec, "{{ .Spec.Parallelism.Data }}").unwrap_err();
        assert!(error.contains("Parallelism"), "{error}");
    }

    #[test]
    fn a_pointer_to_zero_is_true() {
        let spec = json!({"replicas": 0, "parallelism": {"expert": false}});
        assert_eq!(render(&spec, "{{ if .Spec.Replicas }}x{{ end }}").as_deref(), Ok("x"));
        assert_eq!(render(&spec, "{{ if .Spec.Parallelism.Expert }}x{{ end }}").as_deref(), Ok(""));
    }
}
