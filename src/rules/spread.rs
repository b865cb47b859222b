//! How the ranks of an engine are spread, as its arguments and the service say it together.

mod table;

use serde_json::Value;

use super::case::{Case, Pool, below, get, text};
use super::effective::{Engine, engines, pods};
use super::flags::{
    API_SERVERS, DATA, DATA_LOCAL, HEADLESS, MULTI_PORT, PIPELINE, PREFILL_CONTEXT, TENSOR,
};
use super::report::Report;
use crate::decision::quoted;
use crate::json::{self, FieldPath};
use crate::workload::Position;

pub(super) use table::RULES;

const DECODE_CONTEXT: &str = "--decode-context-parallel-size";
const EXPERT: &str = "--enable-expert-parallel";

/// How the names of models begin that have no experts, in small letters.
const DENSE: [&str; 9] = [
    "opt-",
    "gpt2",
    "llama-2-",
    "llama-3",
    "meta-llama-3",
    "mistral-7b-",
    "qwen2.5-",
    "gemma-2-",
    "gemma-3-",
];

fn remainder(case: &Case<'_>, report: &mut Report) {
    for pool in case.effective_pools() {
        let Some((data, local)) = undivided(&pool) else { continue };
        report.invalid(
            case.written(&pool.at(&["parallelism", "dataLocal"])),
            format!("data is {data}: in pods of {local} ranks, {} are left over", data % local),
            "write a dataLocal that divides data",
        );
    }
}

/// The pool's data and dataLocal, where the one is no multiple of the other.
fn undivided(pool: &Pool<'_>) -> Option<(i64, i64)> {
    let number = |name| pool.get(&["parallelism", name])?.as_i64().filter(|size| *size > 0);
    let (data, local) = (number("data")?, number("dataLocal")?);
    (pool.has(&["worker"]) && data % local != 0).then_some((data, local))
}

fn blank_argument(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case).filter(|engine| engine.is_shell()) {
        for list in ["command", "args"] {
            let mut scripts =
                json::list(engine.container(), &[list]).iter().filter_map(Value::as_str);
            let Some(line) = scripts.find_map(broken_line) else { continue };
            report.invalid(
                engine.field_place(case, &[list]),
                format!("a blank behind the backslash of {}: it is an argument", quoted(line)),
                "remove the blank, so that the line goes on",
            );
        }
    }
}

/// The first line of the command that starts the engine which ends in a backslash and blanks.
fn broken_line(script: &str) -> Option<&str> {
    let command = script.get(script.rfind("vllm serve")?..)?;
    for line in command.lines() {
        let text = line.trim_end();
        let continues = text.ends_with('\\') && !text.ends_with("\\\\");
        // A path with a blank in it goes on behind the backslash; this one has a blank before it.
        let stands_alone = text.strip_suffix('\\').is_some_and(|it| it.ends_with([' ', '\t']));
        if !continues {
            return None;
        }
        if text.len() < line.len() {
            return stands_alone.then_some(text);
        }
    }
    None
}

/// The stages of an engine's pool, where nothing hands them to it.
pub(super) fn ignored_stages(case: &Case<'_>, engine: &Engine) -> Option<i64> {
    let pool = case.effective_pool(engine)?;
    let stages = pool.get(&["parallelism", "pipeline"])?.as_i64().filter(|stages| *stages > 1)?;
    let is_alone = engine.position == Position::Single && !engine.arguments.gives(PIPELINE);
    is_alone.then_some(stages)
}

fn pipeline_alone(case: &Case<'_>, report: &mut Report) {
    for engine in engines(case) {
        let Some(stages) = ignored_stages(case, engine) else { continue };
        report.invalid(
            case.written(&engine.pool.field("parallelism").field("pipeline")),
            format!("{stages} stages, and without worker no preset hands them to the engine"),
            format!("write {PIPELINE}={stages} in args, or use tensor"),
        );
    }
}

fn no_preset(case: &Case<'_>, report: &mut Report) {
    let Some(error) = case.compose_error() else { return };
    let Some(field) = FieldPath::parse(&error.field).ok().filter(|_| {
        error.code == "unknown-config" && error.field.ends_with(".parallelism.pipeline")
    }) else {
        return;
    };
    report.invalid(
        case.written(&field),
        format!("no release has a preset for pipeline parallelism over pods: {}", error.message),
        "use data and dataLocal or tensor, or write that config yourself",
    );
}

fn tensor_twice(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let pool = case.effective_pool(engine);
        let said = pool.and_then(|pool| pool.get(&["parallelism", "tensor"])?.as_i64());
        let Some(place) = engine.own_place(case, TENSOR) else { continue };
        match (said, engine.number(TENSOR)) {
            // KServe's older presets hand it to no engine of a single pod: there both are needed.
            (Some(said), Some(given)) if said == given => {}
            (Some(said), given) => {
                let given = given.map_or("another value".to_owned(), |given| given.to_string());
                report.invalid(
                    place,
                    format!(
                        "{TENSOR} is {given}, and parallelism.tensor is {said}: the argument counts"
                    ),
                    "write parallelism.tensor alone",
                );
            }
            (None, Some(given)) if given > 1 => report.invalid(
                place,
                format!("{TENSOR} is {given}, and parallelism.tensor does not say so"),
                format!(
                    "write {}: {given} as well, which alone is enough where the presets hand it on",
                    below(&engine.pool, &["parallelism", "tensor"])
                ),
            ),
            (None, _) => {}
        }
    }
}

fn data_size(case: &Case<'_>, report: &mut Report) {
    const VARIABLE: &str = "DP_SIZE";
    for engine in pods(case) {
        let size = engine.env(VARIABLE).and_then(|size| size.trim().parse::<i64>().ok());
        if let (Some(size), Some(given)) = (size, engine.number(DATA))
            && size != given
        {
            report.unsure(
                engine.env_place(case, VARIABLE),
                format!("{VARIABLE} is {size}, and {DATA} is {given}"),
                format!("write one number, or {DATA}=$({VARIABLE})"),
            );
        }
    }
}

fn contradictions(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        more_local_than_all(case, engine, report);
        balancers(case, engine, report);
        headless_server(case, engine, report);
    }
}

fn more_local_than_all(case: &Case<'_>, engine: &Engine, report: &mut Report) {
    let Some(local) = engine.number(DATA_LOCAL) else { return };
    // Where both come from the service's fields, that is a finding of its own.
    if [DATA, DATA_LOCAL].iter().all(|flag| engine.own_place(case, flag).is_none())
        && case.effective_pool(engine).is_some_and(|pool| undivided(&pool).is_some())
    {
        return;
    }
    let size = if engine.certainly_lacks(DATA) { Some(1) } else { engine.number(DATA) };
    if let Some(size) = size.filter(|size| local > *size) {
        report.invalid(
            engine.place(case, DATA_LOCAL),
            format!("{DATA_LOCAL} is {local}, and {DATA} is {size}"),
            "write no more ranks for one pod than there are",
        );
    }
}

/// Who balances the load between the ranks: each answer is one way to run them.
fn balancers(case: &Case<'_>, engine: &Engine, report: &mut Report) {
    const HYBRID: &str = "--data-parallel-hybrid-lb";
    const EXTERNAL: &str = "--data-parallel-external-lb";
    let given: Vec<&str> = [HYBRID, EXTERNAL, MULTI_PORT]
        .into_iter()
        .filter(|it| engine.switch(it) == Some(true))
        .collect();
    let [first, second, ..] = given.as_slice() else { return };
    let (place, message) =
        (engine.place(case, second), format!("{first} and {second} are both given"));
    if given.contains(&MULTI_PORT) {
        report.unsure(place, message, "keep one of them");
    } else {
        report.invalid(place, message, "keep one of them");
    }
}

fn headless_server(case: &Case<'_>, engine: &Engine, report: &mut Report) {
    let servers = engine.number(API_SERVERS).filter(|servers| *servers > 0);
    let Some(servers) = servers.filter(|_| engine.switch(HEADLESS) == Some(true)) else { return };
    let (place, message) =
        (engine.place(case, API_SERVERS), format!("{API_SERVERS} is {servers} with --headless"));
    let help = format!("remove {API_SERVERS}: a headless engine has no HTTP server");
    // Older releases take one for none.
    if servers > 1 {
        report.invalid(place, message, help);
    } else {
        report.unsure(place, message, help);
    }
}

fn context_parallel(case: &Case<'_>, report: &mut Report) {
    for engine in pods(case) {
        let tensor = if engine.certainly_lacks(TENSOR) { Some(1) } else { engine.number(TENSOR) };
        if let (Some(context), Some(tensor)) = (engine.number(DECODE_CONTEXT), tensor)
            && context > 0
            && tensor % context != 0
        {
            report.invalid(
                engine.place(case, DECODE_CONTEXT),
                format!("{DECODE_CONTEXT} is {context}, and {TENSOR} is {tensor}"),
                format!("write a size that divides {tensor}"),
            );
        }
        if let (Some(context), Some(data)) = (engine.number(PREFILL_CONTEXT), engine.number(DATA))
            && context > 1
            && data > 1
        {
            report.invalid(
                engine.place(case, PREFILL_CONTEXT),
                format!("{PREFILL_CONTEXT} is {context}, and {DATA} is {data}"),
                "keep one of them over 1",
            );
        }
    }
}

fn dense_experts(case: &Case<'_>, report: &mut Report) {
    let Some(spec) = case.effective_spec() else { return };
    let names = ["uri", "name"].map(|member| text(spec, &["model", member]));
    let Some(name) = names.into_iter().flatten().map(last_part).find(|name| is_dense(name)) else {
        return;
    };
    for engine in engines(case).iter().filter(|engine| engine.switch(EXPERT) == Some(true)) {
        let place = engine
            .own_place(case, EXPERT)
            .unwrap_or_else(|| case.written(&engine.pool.field("parallelism").field("expert")));
        report.unsure(
            place,
            format!("expert parallelism, and {} seems to have no experts", quoted(name)),
            "remove parallelism.expert",
        );
    }
}

fn last_part(name: &str) -> &str {
    name.trim_end_matches('/').rsplit('/').next().unwrap_or(name)
}

fn is_dense(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // Mixtures are called so, or by their active parameters (57B-A14B), or by a product (8x7B).
    let is_count = |part: &str, before: char| {
        part.strip_prefix(before).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let is_mixture = name.contains("moe")
        || name.split(['-', '_']).any(|part| is_count(part, 'a'))
        || name.match_indices('x').any(|(at, _)| {
            let (before, from) = name.split_at(at);
            before.ends_with(|c: char| c.is_ascii_digit()) && is_count(from, 'x')
        });
    !is_mixture && DENSE.iter().any(|dense| name.starts_with(dense))
}

fn scaled_group(case: &Case<'_>, report: &mut Report) {
    for pool in case.effective_pools() {
        if let (Some(scaling), Some(_)) = (pool.get(&["scaling"]), pool.get(&["worker"])) {
            let most = get(scaling, &["maxReplicas"]).and_then(Value::as_i64);
            let most = most.map(|most| format!(" (up to {most})")).unwrap_or_default();
            report.unsure(
                case.written(&pool.at(&["scaling"])),
                format!("scaling with worker: a replica{most} is a whole group of pods"),
                "make sure that your release of KServe scales groups, or write replicas",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_on_behind_its_backslash_alone() {
        assert_eq!(broken_line("vllm serve /m \\\n  --port 8000"), None);
        assert_eq!(
            broken_line("x \\ \nvllm serve /m \\\n  --port 8000 \\ \n"),
            Some("  --port 8000 \\")
        );
        assert_eq!(broken_line("vllm serve /m \\\n \\\n   \\\n  $@\"\n# \\ \n"), None);
        assert_eq!(broken_line("vllm serve /my\\ \n"), None);
        assert_eq!(broken_line("sleep 1 \\ \n"), None);
    }

    #[test]
    fn a_size_may_be_said_twice() {
        let of = |size: u8| {
            crate::rules::tests::found(&format!(
                "spec: {{parallelism: {{tensor: 4}}, template: {{containers: [{{name: main, args: [--tensor-parallel-size={size}]}}]}}}}"
            ))
        };
        assert_eq!(of(4), []);
        assert_eq!(of(2), [("V83", crate::catalog::Severity::Warn)]);
    }

    #[test]
    fn a_mixture_is_not_dense() {
        for name in ["opt-125m", "Llama-3.3-70B-Instruct", "Meta-Llama-3-8B", "Qwen2.5-7B-Instruct"]
        {
            assert!(is_dense(name), "{name}");
        }
        for name in [
            "Llama-3-MoE",
            "Llama-3.2-4X3B",
            "Qwen2.5-57B-A14B",
            "DeepSeek-R1",
            "Mixtral-8x7B-v0.1",
        ] {
            assert!(!is_dense(name), "{name}");
        }
    }
}
