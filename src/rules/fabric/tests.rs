use crate::catalog::Severity::{Reject, Warn};
use crate::rules::tests::found;

/// A service with a prefill pool whose decode engine has this besides its name.
fn decode(members: &str) -> String {
    format!(
        "spec:\n  template: {{containers: [{{name: main, {members}}}]}}\n  prefill: {{template: {{containers: [{{name: main}}]}}}}"
    )
}

const ONLY_RDMA: &str = "env: [{name: UCX_TLS, value: \"rc,sm,self,cuda_copy\"}]";

#[test]
fn rdma_needs_a_device_or_what_may_be_one() {
    assert_eq!(found(&decode(ONLY_RDMA)), [("V101", Reject)]);
    for device in
        ["resources: {limits: {example.com/hca: \"1\"}}", "securityContext: {privileged: true}"]
    {
        assert_eq!(found(&decode(&format!("{ONLY_RDMA}, {device}"))), [], "{device}");
    }
    // An accelerator is none.
    let gpu = format!("{ONLY_RDMA}, resources: {{limits: {{nvidia.com/gpu: \"1\"}}}}");
    assert!(found(&decode(&gpu)).contains(&("V101", Reject)));
    // A network may bring one along.
    let network = "metadata: {annotations: {k8s.v1.cni.cncf.io/networks: roce}}\n";
    assert_eq!(found(&(network.to_owned() + &decode(ONLY_RDMA))), [("V101", Warn)]);
    // Nobody transfers, or the value is not known.
    let alone = format!("spec: {{template: {{containers: [{{name: main, {ONLY_RDMA}}}]}}}}");
    assert_eq!(found(&alone), []);
    assert_eq!(found(&decode("env: [{name: UCX_TLS, value: $(TLS)}]")), []);
}

#[test]
fn a_config_is_told_of_the_transports_of_both_its_pools() {
    let config = "
kind: LLMInferenceServiceConfig
metadata: {name: pair}
spec:
  template: {containers: [{name: main, env: [{name: UCX_TLS, value: \"rc,cuda\"}]}]}
  prefill: {template: {containers: [{name: main, env: [{name: UCX_TLS, value: \"rc,cuda\"}]}]}}
";
    // Another config, or the service, may bring the device.
    assert_eq!(found(config), [("V101", Warn), ("V101", Warn)]);
}

#[test]
fn networks_are_read_where_they_are_written() {
    let service = |networks: &str| {
        format!("spec: {{annotations: {{k8s.v1.cni.cncf.io/networks: '{networks}'}}}}")
    };
    for good in [
        "",
        "roce-p2",
        "ns/roce-p2@net1, b",
        r#"[{"name": "a", "namespace": "ns", "interface": "net7"}, {"name": "b"}]"#,
        "{{ .ObjectMeta.Name }}",
    ] {
        assert_eq!(found(&service(good)), [], "{good}");
    }
    for bad in [
        "Roce_P2",
        "a b",
        "a@averylonginterfacename",
        r#"{"name": "a"}"#,
        "[",
        r#"[{"name": "a", "interface": "an/interface"}]"#,
        r#"[{"name": "a", "interface": "x"}, {"name": "b", "interface": "x"}]"#,
    ] {
        assert_eq!(found(&service(bad)), [("V106", Reject)], "{bad}");
    }
    // Multus would call the second one so itself.
    assert_eq!(found(&service("a@net2,b")), [("V106", Warn)]);
    // The cause alone, where a profile cannot extend it.
    let profile = "{metadata: {annotations: {inject.llmisvc.io/fabric: roce-multus, k8s.v1.cni.cncf.io/networks: 'a b'}}}";
    assert_eq!(found(profile), [("V106", Reject)]);
}

#[test]
fn a_gpu_needs_a_transport_unless_the_buffer_is_elsewhere() {
    let gpu =
        "resources: {limits: {amd.com/gpu: \"1\"}}, env: [{name: UCX_TLS, value: \"tcp,self\"}]";
    assert_eq!(found(&decode(gpu)), [("V103", Reject)]);
    let buffered = r#"
spec:
  template: {containers: [{name: main, GPU, args: ['--kv-transfer-config={"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_buffer_device":"cpu"}']}]}
  prefill: {template: {containers: [{name: main}]}}
"#;
    assert!(!found(&buffered.replace("GPU", gpu)).iter().any(|(code, _)| *code == "V103"));
}

#[test]
fn rc_without_what_connects_it_is_told_of() {
    for (list, expected) in [("rc_mlx5,tcp,cuda", vec![]), ("rc_mlx5,cuda", vec![("V104", Warn)])] {
        let members = format!(
            "resources: {{limits: {{example.com/hca: \"1\"}}}}, env: [{{name: UCX_TLS, value: \"{list}\"}}]"
        );
        assert_eq!(found(&decode(&members)), expected, "{list}");
    }
}
