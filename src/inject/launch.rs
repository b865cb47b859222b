//! How the engine will be started: its final arguments, the port they name, and who follows it.

use serde_json::{Value, json};

use super::container::{MAIN, SIDECARS, env, list, named, named_mut};
use crate::compose::Blueprint;
use crate::compose::arguments::{self, Sum, set, words};
use crate::compose::blueprint::SERVICE_PORT;
use crate::decision::Warning;
use crate::sidecar;
use crate::vllm::{self, Arguments, Launch};
use crate::workload::{Position, Role};

const START_RANK: &str = "--data-parallel-start-rank";

/// What a shell or an exec would run in the engine's container, once everything is merged.
#[derive(Debug)]
pub(super) struct Start {
    /// How.
    pub(super) launch: Launch,
    /// Everything behind the program's own words; only an exec's can be known for certain.
    pub(super) arguments: Arguments,
    /// What VLLM_ADDITIONAL_ARGS adds.
    pub(super) additional: Additional,
}

/// The variable VLLM_ADDITIONAL_ARGS of a container.
#[derive(Debug)]
pub(super) enum Additional {
    /// Not there.
    Absent,
    /// Its words.
    Words(Vec<String>),
    /// There, but what it holds cannot be known; the reason.
    Unknown(String),
}

/// How a blueprint (a pod spec) starts its engine, before anything of it gives way.
pub(super) fn template(blueprint: &Value, engine: &str) -> (Launch, Arguments) {
    let container = named(blueprint, "containers", engine).unwrap_or(&Value::Null);
    read(&words(container, "command"), &words(container, "args"))
}

/// Settles the engine's arguments: the blueprint's (`lower`, a pod spec), then what
/// VLLM_ADDITIONAL_ARGS adds, then the author's (`upper`, his pod spec). Writes the result into
/// `upper`'s container, lets the blueprint's probes, declared port and sidecar follow the port;
/// they point at the preset's, or at that of the template's own arguments.
pub(super) fn settle(
    blueprint: &Blueprint,
    (launch, given): &(Launch, Arguments),
    position: Position,
    engine: &str,
    lower: &mut Value,
    upper: &mut Value,
    warnings: &mut Vec<Warning>,
) {
    let own = named(upper, "containers", engine).unwrap_or(&Value::Null);
    let Some(below) = named_mut(lower, "containers", engine) else { return };
    let additional = additional(own, below);
    let own_command = words(own, "command");
    let replaced = !own_command.is_empty() && own_command != words(below, "command");

    if !replaced && matches!(launch, Launch::Exec { .. }) {
        let rank = start_rank(blueprint, position, given, own, &additional, warnings);
        for layer in [rank, additional.words().to_vec()] {
            if let Sum::Arguments(sum) = arguments::add(below, &json!({"args": layer})) {
                set(below, "args", sum);
            } else if !layer.is_empty() && words(below, "args").is_empty() {
                set(below, "args", layer);
            }
        }
    }
    let args = match arguments::add(below, own) {
        Sum::Arguments(sum) => Some(sum),
        Sum::OtherCommand | Sum::Unchanged if replaced => {
            if let Some(members) = below.as_object_mut() {
                members.shift_remove("args");
            }
            own_exec_arguments(own, &additional)
        }
        Sum::OtherCommand | Sum::Unchanged => None,
    };
    if let Additional::Unknown(reason) = &additional {
        let own_launch = replaced.then(|| vllm::launch(&own_command, &words(own, "args")));
        if matches!(own_launch.as_ref().unwrap_or(launch), Launch::Exec { .. }) {
            warnings.push(Warning::new(
                "additional-args-ignored",
                format!(
                    "container {engine}: env {}: {reason}; write the flags in args",
                    vllm::ADDITIONAL_ARGS
                ),
            ));
        }
    }
    if let (Some(args), Some(container)) = (args, named_mut(upper, "containers", engine)) {
        set(container, "args", args);
    }
    follow_port(blueprint, vllm::port(given), engine, lower, upper, warnings);
}

impl Additional {
    fn words(&self) -> &[String] {
        match self {
            Self::Words(words) => words,
            Self::Absent | Self::Unknown(_) => &[],
        }
    }
}

impl Start {
    /// Reads a complete container.
    pub(super) fn of(container: &Value) -> Self {
        let (launch, arguments) = read(&words(container, "command"), &words(container, "args"));
        Self { launch, arguments, additional: additional(container, &Value::Null) }
    }
}

/// How a command and arguments start an engine, and what they give it.
fn read(command: &[String], args: &[String]) -> (Launch, Arguments) {
    let launch = vllm::launch(command, args);
    let program = if let Launch::Exec { program } = launch { program } else { 0 };
    let arguments = match launch {
        // What follows a script's name is what it gets as "$@".
        Launch::Shell { .. } => Arguments::parse(args),
        Launch::Exec { .. } | Launch::Other => {
            Arguments::parse([command, args].concat().get(program..).unwrap_or_default())
        }
    };
    (launch, arguments)
}

/// VLLM_ADDITIONAL_ARGS of the author's container, else of the blueprint's.
fn additional(own: &Value, below: &Value) -> Additional {
    let Some(variable) =
        env(own, vllm::ADDITIONAL_ARGS).or_else(|| env(below, vllm::ADDITIONAL_ARGS))
    else {
        return Additional::Absent;
    };
    if variable.get("valueFrom").is_some_and(|source| !source.is_null()) {
        return Additional::Unknown(
            "its value comes from valueFrom and is not known here".to_owned(),
        );
    }
    match vllm::split(variable.get("value").and_then(Value::as_str).unwrap_or_default()) {
        Ok(words) => Additional::Words(words),
        Err(error) => Additional::Unknown(error.to_string()),
    }
}

/// The arguments of an engine that the author starts with a command of his own, and behind them
/// what only VLLM_ADDITIONAL_ARGS gives. `None` leaves them as they are.
fn own_exec_arguments(own: &Value, additional: &Additional) -> Option<Vec<String>> {
    let (command, mut args) = (words(own, "command"), words(own, "args"));
    let (Launch::Exec { .. }, given) = read(&command, &args) else { return None };
    let added = Arguments::parse(additional.words());
    let new: Vec<String> = added
        .iter()
        .filter(|argument| argument.flag.as_ref().is_some_and(|flag| !given.gives(&flag.name)))
        .flat_map(|argument| argument.words().to_vec())
        .collect();
    if new.is_empty() {
        return None;
    }
    append_flags(&mut args, new);
    Some(args)
}

/// Adds flags behind the others: behind a `--` nothing is a flag.
pub(super) fn append_flags(args: &mut Vec<String>, flags: impl IntoIterator<Item = String>) {
    let arguments = Arguments::parse(args);
    let tail = arguments.iter().find(|argument| argument.is_tail());
    let end = tail.map_or(args.len(), |argument| argument.position).min(args.len());
    args.splice(end..end, flags);
}

/// The first rank of this pod, for an engine that the blueprint starts data-parallel: KServe's
/// scripts compute it in the container, where ours have no shell.
fn start_rank(
    blueprint: &Blueprint,
    position: Position,
    given: &Arguments,
    own: &Value,
    additional: &Additional,
    warnings: &mut Vec<Warning>,
) -> Vec<String> {
    if !given.gives("--data-parallel-size") || given.gives(START_RANK) {
        return Vec::new();
    }
    // The author's word on the ranks of a pod counts here, too.
    let own = Arguments::parse(&words(own, "args"));
    let additional = Arguments::parse(additional.words());
    let local = [&own, &additional, given]
        .into_iter()
        .find_map(|arguments| arguments.value("--data-parallel-size-local")?.parse().ok())
        .or(blueprint.parallelism.data_local)
        .unwrap_or(1)
        .max(1);
    let rank = match position {
        Position::Single | Position::Leader => "0".to_owned(),
        Position::Worker(Some(index)) => i64::from(index).saturating_mul(local).to_string(),
        Position::Worker(None) if local == 1 => "$(LWS_WORKER_INDEX)".to_owned(),
        Position::Worker(None) => {
            warnings.push(Warning::new(
                "start-rank-unknown",
                format!("{START_RANK} is left to admission: it is {local} × a pod's worker index"),
            ));
            return Vec::new();
        }
    };
    vec![START_RANK.to_owned(), rank]
}

/// The probes and the declared port of the blueprint, and its sidecar's `--vllm-port`, follow the
/// port that the engine's arguments name: from the preset's port and from `template_port`, that of
/// the blueprint's own arguments.
fn follow_port(
    blueprint: &Blueprint,
    template_port: Option<u16>,
    engine: &str,
    lower: &mut Value,
    upper: &Value,
    warnings: &mut Vec<Warning>,
) {
    let below = named(lower, "containers", engine).unwrap_or(&Value::Null);
    let own = named(upper, "containers", engine).unwrap_or(&Value::Null);
    let pick = |member: &str| {
        let own = words(own, member);
        if own.is_empty() { words(below, member) } else { own }
    };
    let (launch, arguments) = read(&pick("command"), &pick("args"));
    let in_variable = || vllm::port(&Arguments::parse(additional(own, below).words()));
    let port = match launch {
        Launch::Exec { .. } => vllm::port(&arguments),
        // KServe's scripts put "$@" behind the variable, and the last one counts.
        Launch::Shell { passes_args, expands_additional_args, .. } => vllm::port(&arguments)
            .filter(|_| passes_args)
            .or_else(|| in_variable().filter(|_| expands_additional_args)),
        Launch::Other => None,
    };
    let Some(port) = port else { return };
    let mut warn = |code, advice: String| {
        warnings.push(Warning::new(code, format!("container {engine}: --port {port}: {advice}")));
    };
    let sidecar = SIDECARS.iter().find_map(|name| named(lower, "initContainers", name));
    let sidecar = sidecar.map(|sidecar| {
        sidecar::port(&sidecar::parse(&words(sidecar, "command"), &words(sidecar, "args")))
    });
    if blueprint.role != Role::Decode && port != SERVICE_PORT {
        let service = &blueprint.service;
        warn(
            "unusual-port",
            format!("the Service of {service} sends to {SERVICE_PORT}; write that"),
        );
    } else if sidecar == Some(Some(port)) {
        let usual = blueprint.engine_port();
        warn("port-conflict", format!("the sidecar listens there; write {usual}"));
    }
    for from in [Some(blueprint.engine_port()), template_port].into_iter().flatten() {
        if from != port {
            retarget_all(lower, engine, from, port);
        }
    }
}

/// Whatever of the blueprint points at the engine's port `from` points at `port`.
fn retarget_all(lower: &mut Value, engine: &str, from: u16, port: u16) {
    if let Some(container) = named_mut(lower, "containers", engine) {
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            for handler in ["httpGet", "tcpSocket", "grpc"] {
                let place = container.get_mut(probe).and_then(|probe| probe.get_mut(handler));
                if let Some(number) = place.and_then(|handler| handler.get_mut("port")) {
                    retarget(number, from, port);
                }
            }
        }
        if let Some(Value::Array(ports)) = container.get_mut("ports") {
            for number in ports.iter_mut().filter_map(|item| item.get_mut("containerPort")) {
                retarget(number, from, port);
            }
            let mut seen = Vec::new();
            ports.retain(|item| {
                let identity = (item.get("containerPort").cloned(), item.get("protocol").cloned());
                let new = !seen.contains(&identity);
                seen.push(identity);
                new
            });
        }
    }
    let name = SIDECARS.into_iter().find(|name| named(lower, "initContainers", name).is_some());
    let Some(sidecar) = name.and_then(|name| named_mut(lower, "initContainers", name)) else {
        return;
    };
    let (command, args) = (words(sidecar, "command"), words(sidecar, "args"));
    if sidecar::vllm_port(&sidecar::parse(&command, &args)) != Some(from) {
        return;
    }
    for (member, flags) in [("command", command), ("args", args)] {
        if sidecar::Arguments::parse(&flags).gives(sidecar::MODEL_SERVER_PORT) {
            let changed = sidecar::set_flag(&flags, sidecar::MODEL_SERVER_PORT, &port.to_string());
            set(sidecar, member, changed);
        }
    }
}

fn retarget(number: &mut Value, from: u16, to: u16) {
    if number.as_u64() == Some(u64::from(from)) {
        *number = json!(to);
    }
}

/// The blueprint's engine container takes the name that it has in the pod.
pub(super) fn rename_engine(lower: &mut Value, engine: &str) {
    if engine == MAIN {
        return;
    }
    if let Some(Value::Object(main)) = named_mut(lower, "containers", MAIN) {
        main.insert("name".to_owned(), json!(engine));
    }
}

/// LeaderWorkerSet's webhook gives its variables to the containers that are there when it runs; an
/// engine that is added after it gets them from its neighbours.
pub(super) fn copy_lws_env(pod: &mut Value, engine: &str) {
    let from_neighbours: Vec<Value> = list(Some(pod), "containers")
        .iter()
        .filter(|container| super::container::name(container) != Some(engine))
        .map(|container| {
            list(Some(container), "env")
                .iter()
                .filter(|item| {
                    super::container::name(item).is_some_and(|name| name.starts_with("LWS_"))
                })
                .cloned()
                .collect::<Vec<_>>()
        })
        .find(|variables| !variables.is_empty())
        .unwrap_or_default();
    if let Some(container) = named_mut(pod, "containers", engine) {
        for variable in from_neighbours {
            super::container::add_env(container, variable);
        }
    }
}
