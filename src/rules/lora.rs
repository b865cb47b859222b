//! LoRA adapters.

use serde_json::Value;

use super::case::{Case, at, items, text};
use super::effective::engines;
use super::flags::{API_SERVERS, DATA};
use super::report::Report;
use super::{Check, Rule};
use crate::catalog::Severity;
use crate::decision::quoted;
use crate::json::FieldPath;

const FAMILY: &str = "lora";

pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "K061",
        family: FAMILY,
        severity: Severity::Reject,
        title: "a LoRA bound under 1",
        why: "maxRank, maxAdapters and maxCpuAdapters become flags of the engine, which does not start with \
              less than 1. KServe's validator refuses it.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {maxRank: 16}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {maxRank: 0}}}",
        symptom_of: &[],
        check: Check::Service(bounds),
    },
    Rule {
        code: "K062",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter without a name",
        why: "Requests choose an adapter by its name, and its files lie in a folder of that name. KServe's \
              validator asks for one.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql}]}}}",
        symptom_of: &[],
        check: Check::Service(nameless),
    },
    Rule {
        code: "K063",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter named like a folder above",
        why: "The name becomes a folder below the adapters' one; `.` and `..` lead out of it. KServe's \
              validator refuses both.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: ..}]}}}",
        symptom_of: &[],
        check: Check::Service(dots),
    },
    Rule {
        code: "K064",
        family: FAMILY,
        severity: Severity::Reject,
        title: "two adapters of one name",
        why: "The second would be downloaded over the first. KServe's validator refuses it.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}, {uri: hf://a/c, name: c}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: hf://a/sql, name: sql}, {uri: hf://a/c, name: sql}]}}}",
        symptom_of: &[],
        check: Check::Service(twice),
    },
    Rule {
        code: "K065",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter named like its base model",
        why: "A request that names the model could mean either. KServe's validator refuses it; a model \
              without a name has the service's.",
        accepted: "spec: {model: {uri: hf://a/b, name: b, lora: {adapters: [{uri: hf://a/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, name: b, lora: {adapters: [{uri: hf://a/sql, name: b}]}}}",
        symptom_of: &[],
        check: Check::Service(like_the_model),
    },
    Rule {
        code: "V123",
        family: FAMILY,
        severity: Severity::Reject,
        title: "an adapter from where KServe cannot take it",
        why: "KServe's controller downloads adapters from hf:// and s3:// and mounts pvc://; with any other source, \
              oci:// among them, it stops with an error in the status (workload_lora.go). A --max-lora-rank below \
              the service's maxRank is a warning: an adapter of that rank is not loaded.",
        accepted: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: s3://adapters/sql, name: sql}]}}}",
        reported: "spec: {model: {uri: hf://a/b, lora: {adapters: [{uri: oci://adapters/sql, name: sql}]}}}",
        symptom_of: &[],
        check: Check::Service(source),
    },
    Rule {
        code: "V124",
        family: FAMILY,
        severity: Severity::Warn,
        title: "adapters at run time with several API servers",
        why: "A request to load an adapter reaches one of the API servers, and the others do not learn of it: vLLM \
              refuses VLLM_ALLOW_RUNTIME_LORA_UPDATING with --api-server-count over 1. Where none is given, vLLM \
              starts one for each data-parallel rank.",
        accepted: "spec: {template: {containers: [{name: main, args: [--api-server-count=1], env: [{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: \"True\"}]}]}}",
        reported: "spec: {template: {containers: [{name: main, args: [--api-server-count=2], env: [{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: \"True\"}]}]}}",
        symptom_of: &[],
        check: Check::Pods(at_run_time),
    },
];

const LORA: [&str; 2] = ["model", "lora"];

/// The adapters that have a name, with the paths of their names.
fn names<'a>(case: &Case<'a>) -> Vec<(FieldPath, &'a str)> {
    adapters(case)
        .into_iter()
        .filter_map(|(path, adapter)| Some((path.field("name"), text(adapter, &["name"])?)))
        .collect()
}

fn adapters<'a>(case: &Case<'a>) -> Vec<(FieldPath, &'a Value)> {
    items(case.spec(), &["model", "lora", "adapters"], &at(&[]))
}

fn bounds(case: &Case<'_>, report: &mut Report) {
    for name in ["maxRank", "maxAdapters", "maxCpuAdapters"] {
        let found = case.get(&["model", "lora", name]).and_then(Value::as_i64);
        if let Some(value) = found.filter(|value| *value < 1) {
            report.invalid(
                at(&LORA).field(name),
                format!("found {value}"),
                "write 1 or more, or leave it out for the engine's default",
            );
        }
    }
}

fn nameless(case: &Case<'_>, report: &mut Report) {
    for (path, adapter) in adapters(case) {
        if text(adapter, &["name"]).is_none() {
            report.required(
                path.field("name"),
                "missing",
                "write the name by which requests choose this adapter",
            );
        }
    }
}

fn dots(case: &Case<'_>, report: &mut Report) {
    for (path, name) in names(case) {
        if [".", ".."].contains(&name) {
            report.invalid(
                path,
                format!("found {}, which leads out of the adapters' folder", quoted(name)),
                "write a name of letters, digits, `-` and `_`",
            );
        }
    }
}

fn twice(case: &Case<'_>, report: &mut Report) {
    let names = names(case);
    for (index, (path, name)) in names.iter().enumerate() {
        // Told of in a rule of its own.
        if [".", ".."].contains(name) {
            continue;
        }
        let first = names.iter().take(index).find(|(_, other)| other == name);
        if let Some((first, _)) = first {
            report.duplicate(
                path.clone(),
                format!("{} is also {first}", quoted(name)),
                "give one of them another name",
            );
        }
    }
}

fn like_the_model(case: &Case<'_>, report: &mut Report) {
    let model = case.get(&["model", "name"]).and_then(Value::as_str);
    let model = model.unwrap_or(&case.key.name);
    for (path, name) in names(case) {
        if name == model {
            report.invalid(
                path,
                format!("{} is also the name of the base model", quoted(name)),
                "give the adapter a name of its own",
            );
        }
    }
}

fn source(case: &Case<'_>, report: &mut Report) {
    const SCHEMES: [&str; 3] = ["hf", "s3", "pvc"];
    const RANK: &str = "--max-lora-rank";
    for (path, adapter) in adapters(case) {
        let uri = text(adapter, &["uri"]).filter(|uri| !uri.contains("{{"));
        let Some((scheme, _)) = uri.and_then(|uri| uri.split_once("://")) else { continue };
        if !SCHEMES.contains(&scheme) {
            report.unsupported(
                path.field("uri"),
                format!("{} is no source of adapters", quoted(&format!("{scheme}://"))),
                "write hf://, s3:// or pvc://",
            );
        }
    }
    let Some(most) = case.get(&["model", "lora", "maxRank"]).and_then(Value::as_i64) else {
        return;
    };
    for engine in engines(case) {
        if let Some(rank) = engine.number(RANK).filter(|rank| *rank < most) {
            report.unsure(
                engine.place(case, RANK),
                format!("{RANK} is {rank}, and spec.model.lora.maxRank {most}"),
                "remove the flag, or write the same",
            );
        }
    }
}

fn at_run_time(case: &Case<'_>, report: &mut Report) {
    const UPDATING: &str = "VLLM_ALLOW_RUNTIME_LORA_UPDATING";
    // KServe's scripts take the number from it.
    const VARIABLE: &str = "VLLM_API_SERVER_COUNT";
    for engine in engines(case) {
        // As vLLM reads it (envs.py).
        let is_on = engine.env(UPDATING).map(|it| it.trim().to_ascii_lowercase());
        if !is_on.is_some_and(|it| ["1", "true"].contains(&it.as_str())) {
            continue;
        }
        let script = engine.script.as_deref().unwrap_or_default();
        let of_script = || {
            let (_, rest) = script.split_once("${VLLM_API_SERVER_COUNT")?;
            let given = engine.env(VARIABLE).and_then(|it| it.trim().parse().ok());
            given.or_else(|| rest.strip_prefix(":-")?.split('}').next()?.parse().ok())
        };
        let ranks = || {
            let ranks = engine.number(DATA)?;
            engine.certainly_lacks(API_SERVERS).then_some(ranks)
        };
        let count = engine.number(API_SERVERS).or_else(of_script).or_else(ranks);
        if let Some(count) = count.filter(|count| *count > 1) {
            report.invalid(
                engine.env_place(case, UPDATING),
                format!("{UPDATING} is on with {count} API servers"),
                format!("write {API_SERVERS}=1, or list the adapters in spec.model.lora"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::catalog::Severity::Warn;
    use crate::rules::tests::found;

    #[test]
    fn api_servers_are_counted_where_they_are_named() {
        let service = |script: &str, env: &str| {
            let on = "{name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: \"1\"}";
            format!(
                "spec: {{template: {{containers: [{{name: main, command: [bash, -c], args: ['{script}', --], env: [{on}{env}]}}]}}}}"
            )
        };
        let script =
            "exec vllm serve /mnt/models --api-server-count ${VLLM_API_SERVER_COUNT:-8} \"$@\"";
        assert_eq!(found(&service(script, "")), [("V124", Warn)]);
        let one = ", {name: VLLM_API_SERVER_COUNT, value: \"1\"}";
        assert_eq!(found(&service(script, one)), []);
        let ranks = "exec vllm serve /mnt/models --data-parallel-size 2";
        assert_eq!(found(&service(ranks, "")), [("V124", Warn)]);
        assert_eq!(found(&service("exec vllm serve /mnt/models", "")), []);
    }

    #[test]
    fn a_rank_below_the_services_is_told_of() {
        let service = |rank: u8| {
            format!(
                "spec: {{model: {{uri: hf://a/b, lora: {{maxRank: 16}}}}, template: {{containers: [{{name: main, args: [--max-lora-rank={rank}]}}]}}}}"
            )
        };
        assert_eq!(found(&service(8)), [("V123", Warn)]);
        assert_eq!(found(&service(16)), []);
    }
}
