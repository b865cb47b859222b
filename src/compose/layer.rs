//! One layer: rendered string by string, then merged over those below it.

use serde_json::{Map, Value};

use super::{ComposeError, arguments};
use crate::api::POD_SPECS;
use crate::decision::Warning;
use crate::json::{self, FieldPath, Layer, MergeError, Segment};
use crate::template::{self, Data, KserveFunctions, Options, Template, Trim};

/// KServe renders a config as JSON text, in which a newline is `\n`: `{{-` does not eat it.
const OPTIONS: Options = Options { trim: Trim::Spaces };

/// Marks a string that did not render. Only what no later layer replaces is an error, as in KServe,
/// which renders the merged spec. A NUL cannot stand in a Kubernetes object.
const MARK: char = '\0';

/// The pod specs of what routes to the pools; no pod of ours is made from them.
const SCHEDULER_POD_SPECS: [&[&str]; 2] =
    [&["router", "scheduler", "template"], &["router", "scheduler", "tokenizer", "template"]];

/// What did not render so far.
#[derive(Debug, Default)]
pub(super) struct Failures(Vec<ComposeError>);

impl Failures {
    /// # Errors
    /// The first template of the merged spec that did not render.
    pub(super) fn refuse_what_is_left_in(&self, merged: &Value) -> Result<(), ComposeError> {
        match self.first_in(merged) {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn first_in(&self, value: &Value) -> Option<&ComposeError> {
        let marked = |text: &str| {
            let index = text.strip_prefix(MARK)?.parse::<usize>().ok()?;
            self.0.get(index)
        };
        match value {
            Value::String(text) => marked(text),
            Value::Array(items) => items.iter().find_map(|item| self.first_in(item)),
            Value::Object(members) => members
                .iter()
                .find_map(|(key, member)| marked(key).or_else(|| self.first_in(member))),
            _ => None,
        }
    }

    fn mark(&mut self, error: ComposeError) -> String {
        self.0.push(error);
        format!("{MARK}{}", self.0.len() - 1)
    }
}

/// Renders every string of `spec`, keys too. An item of a command or of arguments that is a
/// template and renders to nothing is dropped: it is a flag that does not apply.
pub(super) fn render(spec: &Value, data: &Data, title: &str, failures: &mut Failures) -> Value {
    render_below(spec, &FieldPath::root().field("spec"), data, title, failures)
}

/// [`render`] for what stands at `path` of the object.
pub(super) fn render_below(
    value: &Value,
    path: &FieldPath,
    data: &Data,
    title: &str,
    failures: &mut Failures,
) -> Value {
    Renderer { data, title, failures }.value(value, path)
}

/// Whether every string of the value at `path` of the object is a template that parses, keys too.
pub(super) fn parse(value: &Value, path: &FieldPath, title: &str) -> Result<(), ComposeError> {
    match value {
        Value::String(text) => parse_text(text, path, title),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(index, item)| parse(item, &path.index(index), title)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            let path = path.field(key);
            parse_text(key, &path, title)?;
            parse(member, &path, title)
        }),
        _ => Ok(()),
    }
}

fn parse_text(source: &str, path: &FieldPath, title: &str) -> Result<(), ComposeError> {
    if !source.contains("{{") {
        return Ok(());
    }
    Template::parse(source, &KserveFunctions, OPTIONS)
        .map(drop)
        .map_err(|error| bad_template(&error, path, title))
}

fn bad_template(error: &template::Error, path: &FieldPath, title: &str) -> ComposeError {
    ComposeError {
        code: "bad-template",
        service: String::new(),
        object: title.to_owned(),
        field: path.to_string(),
        message: error.to_string(),
    }
}

/// Merges a rendered layer over those below it, engine arguments counted up.
pub(super) fn merge(
    mut lower: Value,
    mut upper: Value,
    title: &str,
    warnings: &mut Vec<Warning>,
) -> Result<Value, ComposeError> {
    for path in json::ignored_empties(&lower, &upper, json::service_spec()) {
        let names = path.pointer();
        // `{}` and null read as "nothing said"; these look like a wish to clear.
        let found = match upper.pointer(&names) {
            // A pod spec has to have containers: who adds none writes this.
            Some(Value::Array(_)) if names.ends_with("/containers") => continue,
            Some(Value::Array(_)) => "[]",
            Some(Value::String(_)) => "\"\"",
            Some(Value::Bool(_)) => "false",
            Some(Value::Number(_)) => "0",
            _ => continue,
        };
        warnings.push(Warning::new(
            "empty-ignored",
            format!("{title}: spec.{path}: {found} clears nothing below it"),
        ));
    }
    for path in POD_SPECS {
        let (Some(below), Some(above)) = (member(&mut lower, path), member(&mut upper, path))
        else {
            continue;
        };
        arguments::count_up(below, above);
    }
    json::merge(&lower, &upper, json::service_spec(), Layer::Config)
        .map_err(|error| merge_error(&error, title))
}

/// A merge's error as one of the object `title`.
pub(super) fn merge_error(error: &MergeError, title: &str) -> ComposeError {
    ComposeError {
        code: "not-mergeable",
        service: String::new(),
        object: title.to_owned(),
        field: format!("spec.{}", error.path()),
        message: error.to_string(),
    }
}

/// Writes quantities that were given as numbers the way the API server stores them.
pub(super) fn write_quantities_as_strings(spec: &mut Value) {
    for path in POD_SPECS.into_iter().chain(SCHEDULER_POD_SPECS) {
        let Some(pod) = member(spec, path) else { continue };
        for list in ["containers", "initContainers"] {
            let Some(Value::Array(containers)) = pod.get_mut(list) else { continue };
            for quantity in containers
                .iter_mut()
                .filter_map(|container| container.get_mut("resources")?.as_object_mut())
                .flat_map(Map::values_mut)
                .filter_map(Value::as_object_mut)
                .flat_map(Map::values_mut)
                .filter(|quantity| quantity.is_number())
            {
                *quantity = Value::String(quantity.to_string());
            }
        }
    }
}

/// The member at `path` below `value`.
pub(super) fn member<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, name| value.get_mut(*name))
}

struct Renderer<'a> {
    data: &'a Data,
    title: &'a str,
    failures: &'a mut Failures,
}

impl Renderer<'_> {
    fn value(&mut self, value: &Value, path: &FieldPath) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, path)),
            Value::Array(items) => {
                let droppable = matches!(path.segments().last(), Some(Segment::Field(name)) if ["command", "args"].contains(&name.as_str()));
                Value::Array(
                    items
                        .iter()
                        .enumerate()
                        .map(|(index, item)| (item, self.value(item, &path.index(index))))
                        .filter(|(source, rendered)| {
                            !(droppable && is_template(source) && rendered.as_str() == Some(""))
                        })
                        .map(|(_, rendered)| rendered)
                        .collect(),
                )
            }
            Value::Object(members) => Value::Object(
                members
                    .iter()
                    .map(|(key, member)| {
                        let path = path.field(key);
                        (self.text(key, &path), self.value(member, &path))
                    })
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    fn text(&mut self, source: &str, path: &FieldPath) -> String {
        if !source.contains("{{") {
            return source.to_owned();
        }
        template::render(source, self.data, &KserveFunctions, OPTIONS)
            .unwrap_or_else(|error| self.failures.mark(bad_template(&error, path, self.title)))
    }
}

fn is_template(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("{{"))
}
