//! The fields of `router`: gateway, route, scheduler and pool.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMapKeySelector, PodSpec};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use super::http_route::HttpRouteSpec;
use super::spec::NameRef;

/// What stands in front of the pools.
#[derive(JsonSchema)]
pub(super) struct Router {
    /// Gateways; an empty one is the cluster's own.
    gateway: Option<Refs>,
    /// Ingresses, in the place of gateways.
    ingress: Option<IngressRefs>,
    /// HTTP routes; an empty one is made for the service.
    route: Option<Route>,
    /// The endpoint picker; an empty one is made for the service.
    scheduler: Option<Scheduler>,
}

#[derive(JsonSchema)]
struct Refs {
    /// Gateways that exist.
    refs: Option<Vec<GatewayRef>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct GatewayRef {
    /// Name of the gateway.
    name: Option<String>,
    /// Its namespace; the service's when absent.
    namespace: Option<String>,
    /// One of its listeners.
    section_name: Option<String>,
}

#[derive(JsonSchema)]
struct IngressRefs {
    /// Ingresses that exist.
    refs: Option<Vec<IngressRef>>,
}

#[derive(JsonSchema)]
struct IngressRef {
    /// Name of the ingress.
    name: Option<String>,
    /// Its namespace; the service's when absent.
    namespace: Option<String>,
}

#[derive(JsonSchema)]
struct Route {
    /// The HTTP route.
    http: Option<HttpRoute>,
    /// Services of one group share their traffic by weight.
    group: Option<String>,
    /// Share of the group's traffic.
    #[schemars(range(min = 0, max = 1_000_000))]
    weight: Option<i32>,
}

#[derive(JsonSchema)]
struct HttpRoute {
    /// Routes that exist; not together with spec.
    refs: Option<Vec<NameRef>>,
    /// Spec of the HTTPRoute that is made.
    spec: Option<HttpRouteSpec>,
}

#[derive(JsonSchema)]
struct Scheduler {
    /// Replicas of the scheduler.
    replicas: Option<i32>,
    /// Pod spec of the scheduler.
    template: Option<PodSpec>,
    /// Labels for the scheduler's pods.
    labels: Option<BTreeMap<String, String>>,
    /// Annotations for the scheduler's pods.
    annotations: Option<BTreeMap<String, String>>,
    /// The scheduler's own configuration: inline or ref.
    config: Option<SchedulerConfig>,
    /// The pool that it picks endpoints from.
    pool: Option<Pool>,
}

#[derive(JsonSchema)]
struct SchedulerConfig {
    /// The configuration itself, in the scheduler's own fields.
    inline: Option<Map<String, Value>>,
    /// A ConfigMap's key that holds it.
    #[schemars(rename = "ref")]
    reference: Option<ConfigMapKeySelector>,
}

#[derive(JsonSchema)]
struct Pool {
    /// An InferencePool that exists.
    #[schemars(rename = "ref")]
    reference: Option<NameRef>,
    /// Spec of the InferencePool that is made.
    spec: Option<PoolSpec>,
}

/// v1alpha1 takes the older InferencePool, v1alpha2 the newer. One set of fields holds both, so
/// that reading an object in the other version loses nothing.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct PoolSpec {
    /// Labels of the pool's pods: matchLabels in v1alpha2, the labels themselves in v1alpha1.
    selector: Option<Map<String, Value>>,
    /// Ports of the pods, in v1alpha2.
    target_ports: Option<Vec<PortNumber>>,
    /// Port of the pods, in v1alpha1.
    target_port_number: Option<i32>,
    /// The endpoint picker, in v1alpha2.
    endpoint_picker_ref: Option<EndpointPickerRef>,
    /// The endpoint picker, in v1alpha1.
    extension_ref: Option<ExtensionRef>,
    /// Protocol that the pods speak; http when absent.
    #[schemars(extend("enum" = ["http", "kubernetes.io/h2c"]))]
    app_protocol: Option<String>,
}

#[derive(JsonSchema)]
struct PortNumber {
    /// Number of the port.
    #[schemars(range(min = 1, max = 65535))]
    number: i32,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct EndpointPickerRef {
    /// API group; the core one when absent.
    group: Option<String>,
    /// Kind; Service when absent.
    kind: Option<String>,
    /// Name of the object.
    name: String,
    /// Its port.
    port: Option<PortNumber>,
    /// What happens while it cannot be reached; FailClose when absent.
    #[schemars(extend("enum" = ["FailOpen", "FailClose"]))]
    failure_mode: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct ExtensionRef {
    /// API group; the core one when absent.
    group: Option<String>,
    /// Kind; Service when absent.
    kind: Option<String>,
    /// Name of the object.
    name: String,
    /// Its port.
    #[schemars(range(min = 1, max = 65535))]
    port_number: Option<i32>,
    /// What happens while it cannot be reached.
    #[schemars(extend("enum" = ["FailOpen", "FailClose"]))]
    failure_mode: String,
}
