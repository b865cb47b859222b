//! `inject`: what admission would make of the pods in a file.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

use super::catalog::warn;
use super::output::{Format, Outcome, print_all, refused, say};
use super::{CatalogArgs, input};
use crate::catalog::Snapshot;
use crate::catalog::files::{DEFAULT_NAMESPACE, list_of};
use crate::decision::Decision;
use crate::inject::{Mode, PodRequest};
use crate::rules::decide;
use crate::workload::templates::{LEADER, Position, Templates, Type, WORKER, templates};

/// Completes the pods and pod templates of a file, as the webhook would at admission.
#[derive(Debug, clap::Args)]
#[command(
    long_about = "\
Completes the pods and pod templates of a file, as the webhook would at admission.

Pods, Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs, CronJobs and
LeaderWorkerSets are looked at, in Lists as well; everything else is printed as it was read.
Decisions and warnings go to standard error.",
    after_help = "\
Examples:
  llmisvc-webhook inject deployment.yaml --objects service.yaml | kubectl apply -f -
  kustomize build . | llmisvc-webhook inject - --objects services/

Exit codes: 0 all printed; 1 an object was refused and left out, the others are printed; 2 a file or
a document in it cannot be read."
)]
pub(super) struct Args {
    /// File or directory with the workloads; `-` for standard input
    ///
    /// Services and configs in it count as well, those of --objects too.
    #[arg(value_name = "FILE|DIR|-")]
    file: PathBuf,

    /// How to print
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,

    /// Namespace of objects that name none
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,

    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { file, output, namespace, catalog } = args;
    let (inputs, mut outcome) = input::documents(&file)?;
    let mut loader = catalog.loader(&namespace)?;
    for input in &inputs {
        loader.document(&input.file, input.line, input.value.clone());
    }
    warn(&loader.take_problems(), "warning");
    let snapshot = catalog.finish(loader)?;

    let mut printed = Vec::new();
    for input in inputs {
        let injector = Injector {
            snapshot: &snapshot,
            place: format!("{}:{}", input.file.display(), input.line),
            namespace: &namespace,
        };
        match injector.object(input.value, None) {
            Ok(object) => printed.push(object),
            Err(Refused { rest }) => {
                outcome = outcome.max(Outcome::Findings);
                printed.extend(rest);
            }
        }
    }
    print_all(printed, output)?;
    Ok(outcome.into())
}

/// Decides on the objects of one document and says what it decided.
struct Injector<'a> {
    snapshot: &'a Snapshot,
    /// File and line.
    place: String,
    /// Namespace of an object that names none.
    namespace: &'a str,
}

/// An object, or something in it, was refused.
struct Refused {
    /// What can be printed of it nonetheless: a list without the items that were refused.
    rest: Option<Value>,
}

impl Injector<'_> {
    /// The object as it should be. `listed` is what the kind of the list says of an item.
    ///
    /// Lists stand in lists at most as deep as a document can be, so the recursion has an end.
    fn object(&self, object: Value, listed: Option<&Type>) -> Result<Value, Refused> {
        if let Some((api_version, kind)) = list_of(&object) {
            let items = kind.map(|kind| Type { api_version, kind });
            return self.list(object, items.as_ref());
        }
        let Some(of) = Type::of(&object).or_else(|| listed.cloned()) else {
            return Ok(object);
        };
        match templates(&of) {
            Templates::None => Ok(object),
            Templates::One(pointer) => self.single(object, &of, pointer),
            Templates::LeaderAndWorker => self.group(object, &of),
        }
        .map_err(|()| Refused { rest: None })
    }

    fn list(&self, mut list: Value, items_are: Option<&Type>) -> Result<Value, Refused> {
        let mut refused = false;
        if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) {
            let all = std::mem::take(items);
            items.extend(all.into_iter().filter_map(|item| match self.object(item, items_are) {
                Ok(item) => Some(item),
                Err(Refused { rest }) => {
                    refused = true;
                    rest
                }
            }));
        }
        if refused { Err(Refused { rest: Some(list) }) } else { Ok(list) }
    }

    fn single(&self, mut object: Value, of: &Type, pointer: &str) -> Result<Value, ()> {
        let subject = Subject::of(&object, of, self.namespace);
        if let Some(template) = object.pointer_mut(pointer).filter(|it| it.is_object())
            && let Some(completed) = self.template(&subject, template, Position::Single)?
        {
            *template = completed;
        }
        Ok(object)
    }

    /// Where a LeaderWorkerSet has no template for leaders, they are made from that for workers. The
    /// two then may have to differ, and the leaders get a template of their own.
    fn group(&self, mut object: Value, of: &Type) -> Result<Value, ()> {
        let subject = Subject::of(&object, of, self.namespace);
        let Some(group) =
            object.pointer_mut("/spec/leaderWorkerTemplate").and_then(Value::as_object_mut)
        else {
            return Ok(object);
        };
        let written = |name: &str| group.get(name).filter(|it| it.is_object()).cloned();
        let (leader, worker) = (written(LEADER), written(WORKER));
        let Some(leads) = leader.as_ref().or(worker.as_ref()) else {
            return Ok(object);
        };
        let others = match group.get("size").and_then(Value::as_u64) {
            Some(2) => Position::OnlyWorker,
            _ => Position::Worker,
        };
        // Both are decided on before either refusal counts: the author sees both.
        let leading = self.template(&subject, leads, Position::Leader);
        let working = match &worker {
            Some(worker) => self.template(&subject, worker, others),
            None => Ok(None),
        };
        let (leading, working) = (leading?, working?);
        let leads = leading.clone().or_else(|| worker.clone());
        let works = working.clone().or_else(|| worker.clone());
        if leader.is_some() || leads != works {
            group.extend(leading.or(leader).or(leads).map(|it| (LEADER.to_owned(), it)));
        }
        group.extend(working.map(|it| (WORKER.to_owned(), it)));
        Ok(object)
    }

    /// The template as it should be, none when it stays as it is.
    fn template(
        &self,
        subject: &Subject,
        template: &Value,
        position: Position,
    ) -> Result<Option<Value>, ()> {
        let marked = position.mark(template, &subject.name);
        let request =
            PodRequest { namespace: &subject.namespace, pod: &marked, mode: Mode::Offline };
        let title = match position {
            Position::Single => subject.to_string(),
            Position::Leader => format!("{subject} leader"),
            Position::Worker | Position::OnlyWorker => format!("{subject} worker"),
        };
        match decide(self.snapshot, request) {
            Ok(decision) => {
                say_decision(&title, &decision);
                Ok(decision.pod.map(|pod| position.unmark(pod, template)))
            }
            Err(refusal) => {
                say(&format!("error: {}: {title}: {}", self.place, refused(&refusal)));
                Err(())
            }
        }
    }
}

/// The object that a template belongs to, as it is called on standard error.
struct Subject {
    kind: String,
    namespace: String,
    name: String,
}

impl Subject {
    fn of(object: &Value, of: &Type, namespace: &str) -> Self {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("");
        let or = |first: &str, second: &str| {
            if first.is_empty() { second.to_owned() } else { first.to_owned() }
        };
        Self {
            kind: of.kind.to_lowercase(),
            namespace: or(text("/metadata/namespace"), namespace),
            name: or(text("/metadata/name"), text("/metadata/generateName")),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

fn say_decision(title: &str, decision: &Decision) {
    let configs = if decision.configs.is_empty() {
        String::new()
    } else {
        format!(" (configs: {})", decision.configs.join(", "))
    };
    say(&format!("{title}: {}{configs}", decision.code));
    for warning in &decision.warnings {
        say(&format!("warning: {title}: {} ({})", warning.message, warning.code));
    }
}
