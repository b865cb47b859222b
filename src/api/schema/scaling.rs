//! The fields of `scaling`, of both pools.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscalerBehavior;
use schemars::JsonSchema;

/// Replicas that follow the load.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct Scaling {
    /// Fewest replicas; 1 when absent.
    #[schemars(range(min = 1))]
    min_replicas: Option<i32>,
    /// Most replicas.
    #[schemars(range(min = 1))]
    max_replicas: i32,
    /// The workload variant autoscaler, and what it scales by: hpa or keda.
    wva: Option<Wva>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Wva {
    /// Cost of a replica against those of other variants, like 10 or 0.5.
    variant_cost: Option<String>,
    /// Scale by a HorizontalPodAutoscaler.
    hpa: Option<Hpa>,
    /// Scale by a KEDA ScaledObject.
    keda: Option<Keda>,
}

#[derive(JsonSchema)]
struct Hpa {
    /// How fast it scales up and down.
    behavior: Option<HorizontalPodAutoscalerBehavior>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Keda {
    /// Settings of the HorizontalPodAutoscaler that KEDA makes.
    advanced: Option<KedaAdvanced>,
    /// Seconds from the last active trigger to the idle count.
    #[schemars(range(min = 0))]
    cooldown_period: Option<i32>,
    /// Seconds after creation before the cooldown counts.
    #[schemars(range(min = 0))]
    initial_cooldown_period: Option<i32>,
    /// Seconds between two looks at a trigger.
    #[schemars(range(min = 1))]
    polling_interval: Option<i32>,
    /// Replicas while no trigger is active; fewer than minReplicas.
    #[schemars(range(min = 1))]
    idle_replica_count: Option<i32>,
    /// Replicas while a trigger cannot be read.
    fallback: Option<KedaFallback>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct KedaAdvanced {
    /// Name and behavior of that autoscaler.
    horizontal_pod_autoscaler_config: Option<KedaHpa>,
    /// Whether deleting the scaler brings back the first count.
    restore_to_original_replica_count: Option<bool>,
    /// Known to KEDA; refused here, the variant autoscaler decides the metric.
    scaling_modifiers: Option<ScalingModifiers>,
}

#[derive(JsonSchema)]
struct KedaHpa {
    /// How fast it scales up and down.
    behavior: Option<HorizontalPodAutoscalerBehavior>,
    /// Known to KEDA; refused here, the controller names it.
    name: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct ScalingModifiers {
    /// Formula over the triggers.
    formula: Option<String>,
    /// Target of the formula.
    target: Option<String>,
    /// Value from which it is active.
    activation_target: Option<String>,
    /// How the target is compared.
    #[schemars(extend("enum" = ["AverageValue", "Value"]))]
    metric_type: Option<String>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct KedaFallback {
    /// What the count goes by; static when absent.
    #[schemars(extend("enum" = ["static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower"]))]
    behavior: Option<String>,
    /// Failed looks before it applies.
    failure_threshold: i32,
    /// Replicas then.
    replicas: i32,
}
