use crate::catalog::Severity::{Reject, Warn};
use crate::rules::tests::found;

fn pair(container: &str, pod: &str) -> Vec<(&'static str, crate::catalog::Severity)> {
    found(&format!(
        "
spec:
  template: {{containers: [{{name: main}}]}}
  prefill: {{template: {{{pod}containers: [{{name: main, {container}}}]}}}}
"
    ))
}

#[test]
fn a_host_of_ones_own_is_certain_only_where_it_is_every_machines() {
    let with = |host: &str| {
        pair(&format!("env: [{{name: VLLM_NIXL_SIDE_CHANNEL_HOST, value: \"{host}\"}}]"), "")
    };
    for host in ["localhost", "127.0.0.1", "0.0.0.0", "::", "[::1]"] {
        assert_eq!(with(host), [("V31", Reject)], "{host}");
    }
    for host in ["prefill-0.prefill.ns.svc", "10.1.2.3"] {
        assert_eq!(with(host), [("V31", Warn)], "{host}");
    }
    assert_eq!(with("$(POD_IP)"), []);
}

#[test]
fn pods_that_keep_apart_may_share_the_nodes_network() {
    let host = "hostNetwork: true, ";
    assert_eq!(pair("", host), [("V33", Warn)]);
    let apart = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: kubernetes.io/hostname}]}}, ";
    assert_eq!(pair("", &format!("{host}{apart}")), []);
}

#[test]
fn a_network_card_is_no_accelerator() {
    let service = "
spec:
  template: &t
    containers:
      - name: main
        args: ['--kv-transfer-config={\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\",\"kv_buffer_device\":\"xpu\"}']
        resources: {limits: {nvidia.com/rdma-vf: 1, gpu.intel.com/xe: 1}}
  prefill: {template: *t}
";
    assert_eq!(found(service), []);
}

#[test]
fn a_variable_may_still_be_read_by_an_image_that_is_not_known() {
    let own = "image: \"own/vllm:1\", env: [{name: VLLM_NIXL_ABORT_REQUEST_TIMEOUT, value: \"9\"}]";
    let service = format!("spec: {{template: {{containers: [{{name: main, {own}}}]}}}}");
    let found = crate::rules::tests::findings(&service);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert!(finding.message.ends_with("from vLLM 0.22 on"), "{}", finding.message);
}
