//! Engine arguments of two layers add up, where both start the same engine without a shell.

use serde_json::Value;

use crate::vllm::{self, Launch};

/// For every container that both pod specs have, writes into `upper` the arguments that it comes to
/// with those of `lower` (see [`add`]); takes from `lower` those that belong to a command which
/// `upper` replaces.
pub(crate) fn count_up(lower: &mut Value, upper: &mut Value) {
    let Some(Value::Array(below)) = lower.get_mut("containers") else { return };
    let Some(Value::Array(above)) = upper.get_mut("containers") else { return };
    for container in above {
        let Some(name) = container.get("name").and_then(Value::as_str) else { continue };
        let same = |lower: &&mut Value| lower.get("name").and_then(Value::as_str) == Some(name);
        let Some(lower) = below.iter_mut().find(same) else { continue };
        match add(lower, container) {
            Sum::Arguments(words) => set(container, "args", words),
            Sum::OtherCommand => {
                if let Some(members) = lower.as_object_mut() {
                    members.shift_remove("args");
                }
            }
            Sum::Unchanged => {}
        }
    }
}

/// What two layers' arguments of one container come to.
pub(crate) enum Sum {
    /// The upper layer's arguments should read so.
    Arguments(Vec<String>),
    /// The upper layer starts something else: the lower's flags are no arguments of that.
    OtherCommand,
    /// As Kubernetes merges them: the upper's, where it has any.
    Unchanged,
}

/// The lower container's flags minus those that the upper gives too, then the upper's.
pub(crate) fn add(lower: &Value, upper: &Value) -> Sum {
    let (command, args) = (words(lower, "command"), words(lower, "args"));
    let (upper_command, upper_args) = (words(upper, "command"), words(upper, "args"));
    let Launch::Exec { program } = vllm::launch(&command, &args) else { return Sum::Unchanged };
    if !upper_command.is_empty() && upper_command != command {
        return if upper_args.is_empty() { Sum::OtherCommand } else { Sum::Unchanged };
    }
    if upper_args.is_empty() {
        return Sum::Unchanged;
    }
    // `serve` may stand in args where command is `vllm` alone.
    let head = args.get(..program.saturating_sub(command.len())).unwrap_or_default();
    let flags = args.get(head.len()..).unwrap_or_default();
    let own = upper_args.strip_prefix(head).unwrap_or(&upper_args);
    Sum::Arguments([head, &vllm::merge(flags, own)].concat())
}

/// The strings of a list member; empty where it is absent or holds anything else.
pub(crate) fn words(container: &Value, member: &str) -> Vec<String> {
    let Some(Value::Array(items)) = container.get(member) else { return Vec::new() };
    items
        .iter()
        .map(|item| item.as_str().map(str::to_owned))
        .collect::<Option<_>>()
        .unwrap_or_default()
}

/// Writes a list of strings.
pub(crate) fn set(container: &mut Value, member: &str, words: Vec<String>) {
    if let Some(members) = container.as_object_mut() {
        members.insert(member.to_owned(), words.into());
    }
}
