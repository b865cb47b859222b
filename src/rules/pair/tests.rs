use crate::catalog::Severity::{Reject, Warn};
use crate::rules::tests::found;

#[test]
fn a_tier_of_ones_own_is_no_other_connector() {
    let pair = |decode: &str| {
        let codes = found(&format!(
            r#"
spec:
  template:
    containers: [{{name: main, args: ['--kv-transfer-config={decode}']}}]
  prefill:
    template:
      containers: [{{name: main, args: ['--kv-transfer-config={{"kv_connector":"NixlConnector","kv_role":"kv_producer"}}']}}]
"#
        ));
        codes.iter().any(|(code, _)| *code == "V03")
    };
    let multi = |held: &str| {
        format!(
            r#"{{"kv_connector":"MultiConnector","kv_role":"kv_both","kv_connector_extra_config":{{"connectors":[{{"kv_connector":"OffloadingConnector","kv_role":"kv_both"}},{{"kv_connector":"{held}","kv_role":"kv_consumer"}}]}}}}"#
        )
    };
    assert!(!pair(&multi("NixlConnector")));
    assert!(pair(&multi("MooncakeConnector")));
    assert!(pair(r#"{"kv_connector":"OffloadingConnector","kv_role":"kv_both"}"#));
    // A store beside it is no other way between the two.
    let both = r#"{"kv_connector":"MultiConnector","kv_role":"kv_both","kv_connector_extra_config":{"connectors":[{"kv_connector":"LMCacheConnectorV1","kv_role":"kv_both"},{"kv_connector":"NixlConnector","kv_role":"kv_consumer"}]}}"#;
    assert!(!pair(both));
}

/// What is found in a pair with these members in the engines' containers.
fn of_pair(prefill: &str, decode: &str) -> Vec<(&'static str, crate::catalog::Severity)> {
    found(&format!(
        "
spec:
  template: {{containers: [{{name: main, {decode}}}]}}
  prefill: {{template: {{containers: [{{name: main, {prefill}}}]}}}}
"
    ))
}

fn kv(config: &str, more: &str) -> String {
    format!("image: \"vllm/vllm-openai:v0.24.0\", args: ['--kv-transfer-config={config}', {more}]")
}

#[test]
fn what_is_not_compared_is_no_certain_mismatch() {
    let nixl = |role: &str, check: bool, backend: &str| {
        let config = format!(
            r#"{{"kv_connector":"NixlConnector","kv_role":"{role}","kv_connector_extra_config":{{"enforce_handshake_compat":{check}}}}}"#
        );
        kv(&config, &format!("--attention-backend={backend}"))
    };
    let pair = |check| {
        of_pair(
            &nixl("kv_producer", check, "FLASH_ATTN"),
            &nixl("kv_consumer", check, "FLASHINFER"),
        )
    };
    assert_eq!(pair(true), [("V12", Reject)]);
    assert!(pair(false).contains(&("V12", Warn)), "{:?}", pair(false));
    let lm =
        |dtype: &str| kv(r#"{"kv_connector":"LMCacheMPConnector","kv_role":"kv_both"}"#, dtype);
    let found = of_pair(&lm("--dtype=half"), &lm("--dtype=bfloat16"));
    assert!(found.contains(&("V13", Warn)), "{found:?}");
}

#[test]
fn one_backend_in_common_may_do() {
    let with = |role: &str, backends: &str| {
        kv(
            &format!(
                r#"{{"kv_connector":"NixlConnector","kv_role":"{role}","kv_connector_extra_config":{{"backends":{backends}}}}}"#
            ),
            "",
        )
    };
    let pair = |ours, theirs| of_pair(&with("kv_producer", ours), &with("kv_consumer", theirs));
    assert_eq!(pair(r#"["UCX"]"#, r#"["UCX","GDS"]"#), [("V19", Warn)]);
    assert_eq!(pair(r#"["UCX"]"#, r#"["GDS"]"#), [("V19", Reject)]);
}

#[test]
fn the_role_is_read_by_newer_releases() {
    let with = |role: &str, image: &str| {
        let config = format!(r#"{{"kv_connector":"NixlConnector","kv_role":"{role}"}}"#);
        format!("image: \"{image}\", args: ['--kv-transfer-config={config}']")
    };
    for (image, severity) in
        [("vllm/vllm-openai:v0.24.0", Reject), ("vllm/vllm-openai:v0.11.2", Warn)]
    {
        let found = of_pair(&with("kv_consumer", image), &with("kv_producer", image));
        assert_eq!(found, [("V04", severity), ("V04", severity)], "{image}");
    }
    for image in ["registry/own:v1", "vllm/vllm-openai:v0.11.2"] {
        assert_eq!(of_pair(&with("kv_both", image), &with("kv_both", image)), [], "{image}");
    }
}

#[test]
fn a_mirrors_image_is_the_same() {
    let image = |name: &str| format!("image: \"{name}/llm-d-cuda:v0.8.0\"");
    assert_eq!(of_pair(&image("ghcr.io/llm-d"), &image("registry:5000/x")), []);
}

#[test]
fn another_engine_has_rules_of_its_own() {
    let other = |port: u16, more: &str| {
        format!(
            "image: \"lmsysorg/sglang:v0.5.6\", command: [python3, -m, sglang.launch_server], args: [--port, \"{port}\", {more}]"
        )
    };
    let found = of_pair(
        &other(8000, "--tensor-parallel-size, \"4\", --attention-backend, fa3, --dtype, half"),
        &other(8001, "--tensor-parallel-size, \"6\", --attention-backend, flashinfer"),
    );
    assert_eq!(found, []);
}

#[test]
fn a_config_of_one_role_is_not_held_against_the_other() {
    let config = |spec: &str| found(&format!("kind: LLMInferenceServiceConfig\nspec: {{{spec}}}"));
    let pool = "template: {containers: [{name: main, args: [--max-model-len=4096, --dtype=half], resources: {limits: {rdma/ib: \"1\"}}}]}";
    assert_eq!(config(&format!("prefill: {{{pool}}}")), []);
    assert_eq!(config(pool), []);
}
