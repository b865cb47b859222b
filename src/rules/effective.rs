//! A service's engines as they will be started: composed, rendered and completed as its pods are.

use serde_json::{Value, json};

use super::case::{Case, at, below, get, items, text};
use crate::api::Service;
use crate::compose::arguments::words;
use crate::compose::blueprint::Place;
use crate::compose::{Blueprint, ComposeError, Composed};
use crate::decision::{Refusal, Warning};
use crate::inject::{Mode, Site, complete};
use crate::json::{FieldPath, named};
use crate::vllm::{self, ADDITIONAL_ARGS, Arguments, KvTransfer, Launch, kv_transfer};
use crate::workload::{By, Position, Role};

/// Name of the engine's container in every preset.
pub(super) const MAIN: &str = "main";

/// The engines of a service, the decode or general one first.
#[derive(Debug)]
pub(super) struct Effective {
    pub(super) engines: Vec<Engine>,
}

/// Why the pods of a pool are not known.
#[derive(Debug)]
pub(super) enum NoPod {
    /// No blueprint can be made.
    Compose(ComposeError),
    /// The pod of this pool cannot be completed.
    Complete(FieldPath, Refusal),
}

/// One pool's engine.
#[derive(Debug)]
pub(super) struct Engine {
    /// `decode`, `prefill` or `both`.
    pub(super) role: Role,
    /// `spec` or `spec.prefill`.
    pub(super) pool: FieldPath,
    /// The complete pod spec; of a group, its leader's.
    pub(super) pod: Value,
    /// Everything that is seen of its arguments.
    pub(super) arguments: Arguments,
    /// There are no others: no shell variable that may hold more.
    pub(super) is_complete: bool,
    /// A shell reads the arguments before the engine does.
    pub(super) is_shell: bool,
    /// The arguments that the script reads once more with `eval`, as they were before.
    pub(super) evaluated: Vec<String>,
    /// KV transfer as the author or a config wrote it; `None` where it is what is filled in.
    pub(super) given_kv: Option<KvTransfer>,
    /// KV transfer of the complete pod.
    pub(super) kv: Option<KvTransfer>,
    /// What was read otherwise than its author may think.
    pub(super) warnings: Vec<Warning>,
}

impl Effective {
    pub(super) fn of(
        case: &Case<'_>,
        service: &Service,
        composed: &Composed,
    ) -> Result<Self, NoPod> {
        let topology = composed.topology;
        let main = if topology.prefill { Role::Decode } else { Role::Both };
        let mut pools = vec![(main, at(&[]), topology.worker)];
        if topology.prefill {
            pools.push((Role::Prefill, at(&["prefill"]), topology.prefill_worker));
        }
        let engines = pools
            .into_iter()
            .map(|(role, pool, is_group)| Engine::of(case, service, composed, role, pool, is_group))
            .collect::<Result<Vec<_>, NoPod>>()?;
        Ok(Self { engines })
    }

    /// Prefill and decode of a service that has both.
    pub(super) fn pair(&self) -> Option<(&Engine, &Engine)> {
        match self.engines.as_slice() {
            [decode, prefill] => Some((prefill, decode)),
            _ => None,
        }
    }
}

impl Engine {
    fn of(
        case: &Case<'_>,
        service: &Service,
        composed: &Composed,
        role: Role,
        pool: FieldPath,
        is_group: bool,
    ) -> Result<Self, NoPod> {
        let (position, place) = if is_group {
            (Position::Leader, Place::Leader)
        } else {
            (Position::Single, Place::Single)
        };
        let blueprint =
            Blueprint::of(case.snapshot, service, composed, role, place).map_err(NoPod::Compose)?;
        let site = Site {
            settings: &case.snapshot.settings,
            blueprint: &blueprint,
            namespace_fabric: case.snapshot.fabrics.get(&case.key.namespace).map(String::as_str),
            mode: Mode::Offline,
            position,
            namespace: &case.key.namespace,
            by: By::Label,
        };
        let completed = complete(&site, &json!({"metadata": {}, "spec": {}}))
            .map_err(|refusal| NoPod::Complete(pool.clone(), refusal))?;
        let before = given(&blueprint.spec);
        let warnings = [blueprint.warnings.clone(), completed.warnings].concat();
        let pod = completed
            .pod
            .and_then(|mut pod| pod.get_mut("spec").map(Value::take))
            .unwrap_or_default();
        let Start { arguments, is_complete, is_shell, evaluated } = Start::of(&pod);
        let (given_kv, kv) = (kv_transfer(&before), kv_transfer(&arguments));
        Ok(Self {
            role,
            pool,
            pod,
            arguments,
            is_complete,
            is_shell,
            evaluated,
            given_kv,
            kv,
            warnings,
        })
    }

    /// The value of a flag, if one is seen and is not a variable's.
    pub(super) fn value(&self, flag: &str) -> Option<&str> {
        self.arguments.value(flag).filter(|value| !value.contains('$'))
    }

    /// As [`Self::value`], as a number.
    pub(super) fn number(&self, flag: &str) -> Option<i64> {
        self.value(flag)?.trim().parse().ok()
    }

    /// Whether nothing that is not seen can give the flag.
    pub(super) fn certainly_lacks(&self, flag: &str) -> bool {
        self.is_complete && !self.arguments.gives(flag)
    }

    pub(super) fn container(&self) -> &Value {
        container(&self.pod)
    }

    /// The literal value of an environment variable.
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        let variables = self.container().get("env")?.as_array()?;
        // Of two the kubelet takes the last.
        let is_it = |item: &&Value| item.get("name").and_then(Value::as_str) == Some(name);
        variables.iter().rfind(is_it)?.get("value")?.as_str()
    }

    /// Name of the connector, its synonym resolved, what `MultiConnector` holds unwrapped.
    pub(super) fn connectors(&self) -> Option<Vec<String>> {
        let kv = self.kv.as_ref()?;
        let name = kv.connector.as_deref()?;
        let mut names: Vec<String> = if name == "MultiConnector" {
            let children =
                kv.config.get("kv_connector_extra_config")?.get("connectors")?.as_array()?;
            children.iter().filter_map(|child| text(child, &["kv_connector"])).map(plain).collect()
        } else {
            vec![plain(name)]
        };
        names.sort();
        names.dedup();
        (!names.is_empty()).then_some(names)
    }

    /// The value at a path in the connector's extra configuration, of the connector itself.
    pub(super) fn extra(&self, key: &str) -> Option<&Value> {
        get(self.kv.as_ref()?.config.get("kv_connector_extra_config")?, &[key])
    }

    /// Where the author of the service gives the flag: an argument, the variable that holds more of
    /// them, or else, for what comes from a config, the pool's pod spec.
    pub(super) fn place(&self, case: &Case<'_>, flag: &str) -> FieldPath {
        let pod = below(&self.pool, &["template"]);
        let spec = case.object.pointer(&pod.pointer()).unwrap_or(&Value::Null);
        for (path, container) in items(spec, &["containers"], &pod) {
            if text(container, &["name"]) != Some(MAIN) {
                continue;
            }
            for member in ["args", "command"] {
                let words = words(container, member);
                if let Some(position) = position(&Arguments::parse(&words), flag) {
                    return path.field(member).index(position);
                }
            }
            for (path, variable) in items(container, &["env"], &path) {
                let value = text(variable, &["value"]).unwrap_or_default();
                let is_it = text(variable, &["name"]) == Some(ADDITIONAL_ARGS);
                if is_it && vllm::split(value).is_ok_and(|w| Arguments::parse(&w).gives(flag)) {
                    return path.field("value");
                }
            }
            return path;
        }
        if spec.is_null() { self.pool.clone() } else { pod }
    }

    /// Where the author of the service gives an environment variable of the engine.
    pub(super) fn env_place(&self, case: &Case<'_>, name: &str) -> FieldPath {
        let pod = below(&self.pool, &["template"]);
        let spec = case.object.pointer(&pod.pointer()).unwrap_or(&Value::Null);
        for (path, container) in items(spec, &["containers"], &pod) {
            if text(container, &["name"]) != Some(MAIN) {
                continue;
            }
            let found = items(container, &["env"], &path)
                .into_iter()
                .rfind(|(_, variable)| text(variable, &["name"]) == Some(name));
            return found.map_or(path, |(path, _)| path);
        }
        if spec.is_null() { self.pool.clone() } else { pod }
    }
}

/// Where the last argument stands that gives a flag or a dotted key below it.
fn position(arguments: &Arguments, flag: &str) -> Option<usize> {
    let is_it = |name: &str| name.split('.').next() == Some(flag);
    let gives = |argument: &&vllm::Argument| argument.flag.as_ref().is_some_and(|f| is_it(&f.name));
    arguments.iter().rfind(gives).map(|argument| argument.position)
}

/// `NixlConnector` is the pulling one (vLLM's factory registers it under both names).
fn plain(name: &str) -> String {
    if name == "NixlPullConnector" { "NixlConnector" } else { name }.to_owned()
}

fn container(pod: &Value) -> &Value {
    pod.get("containers").and_then(|list| named(list, MAIN)).unwrap_or(&Value::Null)
}

/// The arguments that a service and its configs give: where no shell expands
/// `VLLM_ADDITIONAL_ARGS`, completing the pod adds its words behind the others.
fn given(pod: &Value) -> Arguments {
    let Start { arguments, is_shell, .. } = Start::of(pod);
    let more = additional(container(pod), true).filter(|more| !is_shell && !more.is_empty());
    match more {
        Some(more) => Arguments::parse(&[arguments.words(), more].concat()),
        None => arguments,
    }
}

/// How a pod starts its engine.
struct Start {
    arguments: Arguments,
    is_complete: bool,
    is_shell: bool,
    evaluated: Vec<String>,
}

impl Start {
    fn of(pod: &Value) -> Self {
        let container = container(pod);
        let (command, args) = (words(container, "command"), words(container, "args"));
        let start = |words: &[String], is_complete| Self {
            arguments: Arguments::parse(words),
            is_complete,
            is_shell: false,
            evaluated: Vec::new(),
        };
        match vllm::launch(&command, &args) {
            Launch::Exec { program } => {
                let words: Vec<String> = command.into_iter().chain(args).skip(program).collect();
                start(&words, true)
            }
            Launch::Other => start(&args, false),
            Launch::Shell { script, expands_additional_args, passes_args, .. } => {
                let evaluates = mentions_eval(&script);
                let (mut words, mut is_complete) = script_words(&script, evaluates);
                if expands_additional_args {
                    match additional(container, evaluates) {
                        Some(more) => words.extend(more),
                        None => is_complete = false,
                    }
                }
                let own = behind_script(&command, &args, &script).filter(|_| passes_args);
                let own = own.unwrap_or_default();
                let before_eval = if evaluates { own.clone() } else { Vec::new() };
                // An eval joins its words and reads them as a shell does.
                match if evaluates { vllm::split(&own.join(" ")) } else { Ok(own) } {
                    Ok(own) => words.extend(own),
                    Err(_) => is_complete = false,
                }
                Self { is_shell: true, evaluated: before_eval, ..start(&words, is_complete) }
            }
        }
    }
}

/// The words that the script sees as `$@`: those behind its text and its name (`--`).
fn behind_script(command: &[String], args: &[String], script: &str) -> Option<Vec<String>> {
    let words: Vec<&String> = command.iter().chain(args).collect();
    let at = words.iter().position(|word| word.as_str() == script)?;
    Some(words.into_iter().skip(at + 2).cloned().collect())
}

/// What VLLM_ADDITIONAL_ARGS adds; `None` where that is not known.
fn additional(container: &Value, evaluates: bool) -> Option<Vec<String>> {
    let variable = container.get("env").and_then(|list| named(list, ADDITIONAL_ARGS));
    let Some(variable) = variable else { return Some(Vec::new()) };
    if get(variable, &["valueFrom"]).is_some() {
        return None;
    }
    let value = text(variable, &["value"]).unwrap_or_default();
    if evaluates {
        return vllm::split(value).ok();
    }
    // A mere expansion takes quotes as they are.
    Some(value.split_whitespace().map(str::to_owned).collect())
}

fn mentions_eval(script: &str) -> bool {
    script.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "eval")
}

/// The words behind the script's last `vllm serve`, and whether they are all it may come to.
fn script_words(script: &str, evaluates: bool) -> (Vec<String>, bool) {
    const START: &str = "vllm serve";
    let Some(start) = script.rfind(START) else { return (Vec::new(), false) };
    let is_only = script.matches(START).count() == 1;
    let line = script.get(start + START.len()..).unwrap_or_default().replace("\\\n", " ");
    let line = line.split('\n').next().unwrap_or_default();
    let words: Vec<String> = if evaluates {
        // Quotes inside of the evaluated text end and begin it anew.
        line.replace('"', "").split_whitespace().map(str::to_owned).collect()
    } else {
        match vllm::split(line) {
            Ok(words) => words,
            Err(_) => return (Vec::new(), false),
        }
    };
    let known =
        ["$@", "${VLLM_ADDITIONAL_ARGS}", "$VLLM_ADDITIONAL_ARGS", "${VLLM_ADDITIONAL_ARGS:-}"];
    let mut is_complete = is_only;
    let words = words
        .into_iter()
        .filter(|word| {
            let is_known = known.contains(&word.trim_matches('"'));
            is_complete &= is_known || !word.starts_with('$');
            !is_known && !word.starts_with('$')
        })
        .collect();
    (words, is_complete)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_variable_adds_is_given_without_a_shell_too() {
        let pod = json!({"containers": [{
            "name": "main", "command": ["vllm", "serve"], "args": ["/mnt/models"],
            "env": [{"name": ADDITIONAL_ARGS, "value": "--kv_transfer_config '{\"kv_role\":\"kv_both\"}'"}],
        }]});
        assert_eq!(kv_transfer(&given(&pod)).unwrap().role.as_deref(), Some("kv_both"));
    }

    #[test]
    fn a_script_is_read_as_far_as_it_can_be() {
        let pod = |script: &str, args: &[&str], more: &str| {
            let mut words = vec![script.to_owned(), "--".to_owned()];
            words.extend(args.iter().map(|&word| word.to_owned()));
            json!({"containers": [{
                "name": "main", "command": ["/bin/bash", "-c"], "args": words,
                "env": [{"name": ADDITIONAL_ARGS, "value": more}],
            }]})
        };
        let script = "X=1\neval \"exec vllm serve /mnt/models \\\n --port 8001 -tp 4 \\\n ${VLLM_ADDITIONAL_ARGS} \\\n $@\"";
        let Start { arguments, is_complete, .. } =
            Start::of(&pod(script, &["--dtype", "half"], "--kv_transfer_config '{\"a\":1}'"));
        assert_eq!(arguments.value("--tensor-parallel-size"), Some("4"));
        assert_eq!(arguments.value("--kv-transfer-config"), Some("{\"a\":1}"));
        assert_eq!(arguments.value("--dtype"), Some("half"));
        assert!(is_complete);

        let script = "vllm serve /mnt/models ${MORE} \"$@\"";
        let Start { arguments, is_complete, .. } =
            Start::of(&pod(script, &["--dtype=half"], "--x 1"));
        assert_eq!(arguments.value("--dtype"), Some("half"));
        assert_eq!(arguments.value("--x"), None, "the script does not ask for it");
        assert!(!is_complete);
    }
}
