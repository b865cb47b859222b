//! Services that stand for those which a config may be used by.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::{Config, GROUP, ObjectKey, Service};
use crate::catalog::Snapshot;

/// A service of each topology that uses a config.
pub(super) struct Samples {
    /// What there is, and the config.
    pub(super) snapshot: Snapshot,
    pub(super) services: Vec<Service>,
}

impl Samples {
    /// The services have everything in them that a template may ask for, and sizes that differ: what
    /// is wrong with all of them is the config's fault.
    pub(super) fn of(snapshot: &Snapshot, config: &Config) -> Self {
        let mut configs = snapshot.configs.clone();
        configs.insert(config.key.clone(), Arc::new(without_base_refs(config)));
        let settings = snapshot.settings.clone();
        let single = |tensor: u8| json!({"parallelism": {"tensor": tensor}, "replicas": 1});
        let multi = |tensor: u8| {
            let parallelism = json!({
                "tensor": tensor, "data": 2, "dataLocal": 1, "dataRPCPort": 5555, "expert": true,
            });
            json!({"parallelism": parallelism, "worker": {}, "replicas": 1})
        };
        let pools = [single(1), with_prefill(single(8)), multi(2), with_prefill(multi(4))];
        Self {
            snapshot: Snapshot { configs, settings, ..Snapshot::default() },
            services: pools.into_iter().map(|pool| service(&config.key, pool)).collect(),
        }
    }
}

/// The same service, without the config.
pub(super) fn without(service: &Service) -> Service {
    let mut object = Value::clone(&service.object);
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("baseRefs");
    }
    Service { key: service.key.clone(), object: object.into() }
}

fn without_base_refs(config: &Config) -> Config {
    let mut config = config.clone();
    if let Some(spec) = config.object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.shift_remove("baseRefs");
    }
    config
}

fn with_prefill(mut pool: Value) -> Value {
    let prefill = pool.clone();
    if let Some(members) = pool.as_object_mut() {
        members.insert("prefill".to_owned(), prefill);
    }
    pool
}

fn service(config: &ObjectKey, mut pool: Value) -> Service {
    let more = json!({
        "model": {
            "uri": "hf://facebook/opt-125m", "name": "opt-125m",
            "lora": {"maxRank": 8, "maxAdapters": 1, "maxCpuAdapters": 1,
                     "adapters": [{"name": "a", "uri": "hf://a/a"}]},
        },
        "router": {"scheduler": {}, "route": {}},
        "tracing": {},
        "kvCacheOffloading": {"cpu": "1Gi"},
        "baseRefs": [{"name": config.name}],
    });
    if let (Some(members), Value::Object(more)) = (pool.as_object_mut(), more) {
        members.extend(more);
    }
    let key = ObjectKey::new(config.namespace.clone(), "sample");
    let object = json!({
        "apiVersion": format!("{GROUP}/v1alpha2"), "kind": "LLMInferenceService",
        "metadata": {"name": key.name, "namespace": key.namespace}, "spec": pool,
    });
    Service { key, object: object.into() }
}
