//! Names that become part of something else, images without a release, pools without pods.

use serde_json::Value;

use super::case::{Case, at, get, is_label, items, text};
use super::effective::{Engine, pods};
use super::report::Report;
use super::{Check, Rule, written};
use crate::catalog::Severity;
use crate::compose::child;
use crate::decision::quoted;
use crate::json::FieldPath;
use crate::release::Image;
use crate::workload::Position;

const FAMILY: &str = "names";

/// Suffix of the Secret with the certificate that KServe's controller makes for a service.
const CERTIFICATES: &str = "-kserve-self-signed-certs";
/// The longest value of a label, and the longest name of a Service.
const LONGEST: usize = 63;

/// Tags under which another image lies tomorrow.
const MOVING: [&str; 4] = ["latest", "main", "master", "nightly"];

/// Variables of LeaderWorkerSet's webhook.
const LWS: [&str; 3] = ["LWS_LEADER_ADDRESS", "LWS_GROUP_SIZE", "LWS_WORKER_INDEX"];

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "V122",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a model's name that a shell takes apart",
        why: "KServe's presets put model.name into a script that is read with `eval`: `Qwen (v1)` is a syntax \
              error there, and `a;cmd` runs cmd. Found by trying; neither the CRD nor KServe's validator has a \
              pattern. It is certain where such a script starts the engine, and a warning anywhere else, since \
              the next preset may be KServe's.",
        accepted: "
spec:
  model: {uri: hf://a/b, name: \"org/Model-v1.0:latest\"}
  template: {containers: [{name: main, command: [/bin/bash, -c], args: ['eval \"exec vllm serve /mnt/models --served-model-name {{ .Spec.Model.Name }} $@\"', --]}]}
",
        reported: "
spec:
  model: {uri: hf://a/b, name: \"Model (v1)\"}
  template: {containers: [{name: main, command: [/bin/bash, -c], args: ['eval \"exec vllm serve /mnt/models --served-model-name {{ .Spec.Model.Name }} $@\"', --]}]}
",
        symptom_of: &[],
        check: Check::Service(model_name),
    },
    Rule {
        code: "V125",
        family: FAMILY,
        severity: Severity::Warn,
        title: "prefill without decode, or decode without prefill",
        why: "With no prefill pods the decode pods compute every prompt themselves, on GPUs that were chosen for \
              something else; with no decode pods nobody answers. Both at 0 is a service that is paused.",
        accepted: "spec: {replicas: 0, prefill: {replicas: 0}}",
        reported: "spec: {replicas: 1, prefill: {replicas: 0}}",
        symptom_of: &["K111"],
        check: Check::Service(empty_pool),
    },
    Rule {
        code: "V127",
        family: FAMILY,
        severity: Severity::Warn,
        title: "an image that is another one tomorrow",
        why: "Flags of engine and sidecar come and go with each release (llm-d-router#2172), and prefill and decode \
              have to be of one: a pod that starts later under a moving tag gets another image than its \
              neighbours, and may not start.",
        accepted: "spec: {template: {containers: [{name: main, image: \"ghcr.io/llm-d/llm-d-cuda:v0.4.0\"}]}}",
        reported: "spec: {template: {containers: [{name: main, image: \"ghcr.io/llm-d/llm-d-cuda:latest\"}]}}",
        symptom_of: &[],
        check: Check::Pods(moving_image),
    },
    Rule {
        code: "V128",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a service's name that its parts cannot have",
        why: "The name becomes the value of a label (63 characters), and the beginning of the names of Services, \
              which start with a letter and have no dot. A name that is too long with its suffix is cut and gets \
              a hash (KServe's ChildName): who writes the long name out refers to nothing.",
        accepted: "{metadata: {name: a-rather-long-name-of-an-inference-service-in-some-team}}",
        reported: "
metadata: {name: a-rather-long-name-of-an-inference-service-in-some-team}
spec: {template: {containers: [{name: main}], volumes: [{name: mine, secret: {secretName: a-rather-long-name-of-an-inference-service-in-some-team-kserve-self-signed-certs}}]}}
",
        symptom_of: &[],
        check: Check::Service(service_name),
    },
    Rule {
        code: "V130",
        family: FAMILY,
        severity: Severity::Warn,
        title: "a variable of LeaderWorkerSet's own",
        why: "LWS's webhook tells each pod of a group who its leader is and how many they are. A value that is \
              written out is either lost or wrong for all groups but one, and ranks wait for each other for ever.",
        accepted: "
spec:
  parallelism: {tensor: 1, data: 2, dataLocal: 1}
  template: {containers: [{name: main, env: [{name: A, value: \"2\"}]}]}
  worker: {containers: [{name: main}]}
",
        reported: "
spec:
  parallelism: {tensor: 1, data: 2, dataLocal: 1}
  template: {containers: [{name: main, env: [{name: LWS_GROUP_SIZE, value: \"2\"}]}]}
  worker: {containers: [{name: main}]}
",
        symptom_of: &[],
        check: Check::Any(own_group),
    },
];

fn model_name(case: &Case<'_>, report: &mut Report) {
    let spec = case.effective_spec().unwrap_or(case.spec());
    let Some(name) = text(spec, &["model", "name"]).filter(|name| !name.contains("{{")) else {
        return;
    };
    // A letter of another alphabet is one to a shell, too.
    let is_plain = |c: char| c.is_alphanumeric() || "._/:@+-".contains(c);
    if name.chars().all(is_plain) {
        return;
    }
    let is_written = case.get(&["model", "name"]).is_some();
    let place = at(if is_written { &["model", "name"] } else { &["model"] });
    let help = "write letters, digits and ._/:@+-";
    let is_apart = |c: char| c.is_whitespace() || "\"'`$\\;&|()<>".contains(c);
    let is_evaluated = |script: &str| {
        let mut before = script.match_indices(name).map(|(at, _)| script.get(..at));
        script.contains("eval") && before.any(|it| it.is_some_and(|it| !it.ends_with(['\'', '"'])))
    };
    let is_certain = name.contains(is_apart)
        && pods(case).any(|engine| engine.script.as_deref().is_some_and(is_evaluated));
    if is_certain {
        let message = format!("the script that starts the engine takes {} apart", quoted(name));
        report.invalid(place, message, help);
    } else {
        report.unsure(
            place,
            format!("{}: KServe's presets put this into a shell script, unquoted", quoted(name)),
            help,
        );
    }
}

fn empty_pool(case: &Case<'_>, report: &mut Report) {
    let pools = case.pools();
    let [decode, prefill] = pools.as_slice() else { return };
    let is_empty =
        |pool: &super::case::Pool<'_>| pool.get(&["replicas"]).and_then(Value::as_i64) == Some(0);
    let (pool, message) = match (is_empty(decode), is_empty(prefill)) {
        (false, true) => (prefill, "no prefill pods: decode computes every prompt itself"),
        (true, false) => (decode, "no decode pods: nobody answers"),
        _ => return,
    };
    report.invalid(
        pool.at(&["replicas"]),
        format!("found 0: {message}"),
        "write 1 or more, or 0 in both to pause the service",
    );
}

fn moving_image(case: &Case<'_>, report: &mut Report) {
    let mut seen: Vec<FieldPath> = Vec::new();
    for engine in pods(case) {
        let moves = |image: &&str| {
            let tag = Image::parse(image).tag;
            tag.is_none_or(|tag| MOVING.contains(&tag)) && !image.contains('@')
        };
        let own = engine.image().filter(moves);
        let own = own.map(|image| (engine.field_place(case, &["image"]), image));
        let sidecars = engine.sidecars();
        let sidecars = sidecars.iter().filter_map(|sidecar| {
            let image = sidecar.image().filter(moves)?;
            Some((engine.container_place(case, sidecar.list, sidecar.name, &["image"]), image))
        });
        for (place, image) in own.into_iter().chain(sidecars) {
            if !seen.contains(&place) {
                report.invalid(
                    place.clone(),
                    format!("{} may be another image tomorrow", quoted(image)),
                    "write a release's tag, or a digest",
                );
                seen.push(place);
            }
        }
    }
}

fn service_name(case: &Case<'_>, report: &mut Report) {
    let place = FieldPath::root().field("metadata").field("name");
    // One that is generated is not known yet.
    let Some(name) = text(case.object, &["metadata", "name"]) else { return };
    if name.len() > LONGEST {
        report.invalid(
            place,
            format!("{} characters: a label's value has at most {LONGEST}", name.len()),
            "shorten it",
        );
    } else if !is_label(name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        report.invalid(
            place,
            format!("no Service can be called {}", quoted(&child(name, "-kserve-workload-svc"))),
            "write lower-case letters, digits and `-`, a letter first",
        );
    }
    let (long, real) = (format!("{name}{CERTIFICATES}"), child(name, CERTIFICATES));
    if long == real {
        return;
    }
    for (pod, spec) in written::pod_specs(case) {
        for (path, volume) in items(spec, &["volumes"], &pod) {
            if get(volume, &["secret", "secretName"]).and_then(Value::as_str) == Some(&long) {
                report.invalid(
                    path.field("secret").field("secretName"),
                    format!("KServe calls this Secret {real}"),
                    "write {{ ChildName .ObjectMeta.Name `-kserve-self-signed-certs` }}",
                );
            }
        }
    }
}

fn own_group(case: &Case<'_>, report: &mut Report) {
    for (pod, path, variable) in written::variables(case) {
        let Some(name) = text(variable, &["name"]).filter(|name| LWS.contains(name)) else {
            continue;
        };
        // Without a group nobody writes it; into a pod, the webhook may have done so already.
        let is_its_own = |engine: &Engine| {
            engine.position == Position::Single || engine.pool.segments().is_empty()
        };
        if written::engine(case, &pod).is_some_and(is_its_own) {
            continue;
        }
        report.invalid(
            path,
            format!("{name} is written by LeaderWorkerSet for each group of pods"),
            "remove it",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::Severity::{Reject, Warn};
    use crate::rules::tests::found;

    #[test]
    fn a_name_is_refused_where_a_shell_reads_it_again() {
        let service = |name: &str, script: &str| {
            format!(
                "spec:\n  model: {{uri: hf://a/b, name: \"{name}\"}}\n  template: {{containers: [{{name: main, command: [/bin/bash, -c], args: [{script:?}, --]}}]}}"
            )
        };
        let evaluated =
            "eval \"exec vllm serve /mnt/models --served-model-name {{ .Spec.Model.Name }} $@\"";
        let quoted =
            "eval \"exec vllm serve /mnt/models --served-model-name '{{ .Spec.Model.Name }}' $@\"";
        assert_eq!(found(&service("a;b", evaluated)), [("V122", Reject)]);
        assert_eq!(found(&service("a;b", quoted)), [("V122", Warn)]);
        let in_both =
            "eval \"exec vllm serve /m --served-model-name \\\"{{ .Spec.Model.Name }}\\\" $@\"";
        let text = service("a b", "SCRIPT").replace("\"SCRIPT\"", &format!("'{in_both}'"));
        assert_eq!(found(&text), [("V122", Warn)]);
        assert_eq!(found(&service("a,b", evaluated)), [("V122", Warn)]);
        assert_eq!(found(&service("a/b:c@d+e_f-1.0", evaluated)), []);
        assert_eq!(found("spec: {model: {uri: hf://a/b, name: \"a b\"}}"), [("V122", Warn)]);
    }

    #[test]
    fn names_that_nothing_can_have() {
        assert_eq!(found("{metadata: {name: qwen2.5-7b}}"), [("V128", Warn)]);
        assert_eq!(found("{metadata: {name: 7b-qwen}}"), [("V128", Warn)]);
        assert_eq!(found(&format!("{{metadata: {{name: {}}}}}", "a".repeat(64))), [("V128", Warn)]);
        assert_eq!(found(&format!("{{metadata: {{name: {}}}}}", "a".repeat(63))), []);
    }

    #[test]
    fn an_image_says_which_it_is() {
        let service = |image: &str| {
            format!("spec: {{template: {{containers: [{{name: main, image: \"{image}\"}}]}}}}")
        };
        for moving in ["vllm/vllm-openai", "host:5000/vllm", "vllm/vllm-openai:nightly"] {
            assert_eq!(found(&service(moving)), [("V127", Warn)], "{moving}");
        }
        let digest = "a".repeat(64);
        for fixed in ["vllm/vllm-openai:v0.11.0".to_owned(), format!("vllm@sha256:{digest}")] {
            assert_eq!(found(&service(&fixed)), [], "{fixed}");
        }
        let sidecar = "
spec:
  template: {containers: [{name: main}], initContainers: [{name: llm-d-routing-sidecar, image: \"ghcr.io/llm-d/llm-d-routing-sidecar:latest\"}]}
  prefill: {template: {containers: [{name: main}]}}
";
        assert_eq!(found(sidecar), [("V127", Warn)]);
    }
}
