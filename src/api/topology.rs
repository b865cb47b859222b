//! Which pools a service has, and over how many pods one replica of each spreads.

use serde_json::Value;

/// The pools of a service, read from its spec merged with its baseRefs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Topology {
    /// `spec.prefill` is there: prefill and decode are separate pools.
    pub prefill: bool,
    /// `spec.worker`: a replica of the decode or general pool spreads over several pods.
    pub worker: bool,
    /// `spec.prefill.worker`: the same for the prefill pool.
    pub prefill_worker: bool,
    /// `spec.parallelism`
    pub parallelism: Parallelism,
    /// `spec.prefill.parallelism`
    pub prefill_parallelism: Parallelism,
}

/// What one workload's `parallelism` says; `None` where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parallelism {
    /// `data`: ranks over all pods of a replica.
    pub data: Option<i64>,
    /// `dataLocal`: ranks in one pod.
    pub data_local: Option<i64>,
    /// `pipeline`: stages.
    pub pipeline: Option<i64>,
}

impl Topology {
    /// Reads a spec. What has another type than it should is read as absent.
    #[must_use]
    pub fn of(spec: &Value) -> Self {
        let prefill = spec.get("prefill").filter(|prefill| prefill.is_object());
        let is_there = |value: Option<&Value>| value.is_some_and(Value::is_object);
        Self {
            prefill: prefill.is_some(),
            worker: is_there(spec.get("worker")),
            prefill_worker: is_there(prefill.and_then(|prefill| prefill.get("worker"))),
            parallelism: Parallelism::of(spec.get("parallelism")),
            prefill_parallelism: Parallelism::of(
                prefill.and_then(|prefill| prefill.get("parallelism")),
            ),
        }
    }
}

impl Parallelism {
    fn of(value: Option<&Value>) -> Self {
        let number = |name: &str| value.and_then(|value| value.get(name)).and_then(Value::as_i64);
        Self { data: number("data"), data_local: number("dataLocal"), pipeline: number("pipeline") }
    }

    /// Whether ranks are replicated over pods, as KServe decides it.
    #[must_use]
    pub fn is_data_parallel(&self) -> bool {
        self.data.unwrap_or(0) > 0 || self.data_local.unwrap_or(0) > 0
    }

    /// Whether stages are spread over pods.
    #[must_use]
    pub fn is_pipeline_parallel(&self) -> bool {
        self.pipeline.unwrap_or(0) > 0
    }

    /// Pods in one replica: data ÷ dataLocal (at least one), or the pipeline's stages; `None` when
    /// neither is set.
    #[must_use]
    pub fn size(&self) -> Option<i64> {
        if self.is_data_parallel() {
            let local = self.data_local.unwrap_or(1).max(1);
            return Some((self.data.unwrap_or(1).max(1) / local).max(1));
        }
        self.pipeline.filter(|stages| *stages > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_size_of_a_replica_is_data_over_data_local() {
        let size = |value: Value| Parallelism::of(Some(&value)).size();
        assert_eq!(size(json!({"data": 16, "dataLocal": 8})), Some(2));
        assert_eq!(size(json!({"data": 4})), Some(4));
        assert_eq!(size(json!({"dataLocal": 8})), Some(1));
        assert_eq!(size(json!({"pipeline": 3})), Some(3));
        assert_eq!(size(json!({"tensor": 8})), None);
    }

    #[test]
    fn an_empty_prefill_is_a_prefill() {
        assert!(Topology::of(&json!({"prefill": {}})).prefill);
        assert!(!Topology::of(&json!({"prefill": null})).prefill);
    }
}
