//! How a container starts its engine, as far as it can be seen.

use serde_json::Value;

use crate::compose::arguments::words;
use crate::json::named;
use crate::rules::case::{get, text};
use crate::vllm::{self, ADDITIONAL_ARGS, Arguments, Launch};

/// The arguments that a service and its configs give: where no shell expands
/// `VLLM_ADDITIONAL_ARGS`, completing the pod adds its words behind the others.
pub(super) fn given(container: &Value) -> Arguments {
    let Start { arguments, script, .. } = Start::of(container);
    let more = additional(container, true).filter(|more| script.is_none() && !more.is_empty());
    match more {
        Some(more) => Arguments::parse(&[arguments.words(), more].concat()),
        None => arguments,
    }
}

/// How a container starts its engine.
pub(super) struct Start {
    /// Everything that is seen of the arguments.
    pub(super) arguments: Arguments,
    /// There are no others.
    pub(super) is_complete: bool,
    /// Those that the script reads once more with `eval`, as they were before.
    pub(super) evaluated: Vec<String>,
    /// The script of the shell that reads them first.
    pub(super) script: Option<String>,
    /// Another program is started, as far as can be seen.
    pub(super) is_other: bool,
}

impl Start {
    pub(super) fn of(container: &Value) -> Self {
        let (command, args) = (words(container, "command"), words(container, "args"));
        let start = |words: &[String], is_complete| Self {
            arguments: Arguments::parse(words),
            is_complete,
            evaluated: Vec::new(),
            script: None,
            is_other: false,
        };
        match vllm::launch(&command, &args) {
            Launch::Exec { program } => {
                let words: Vec<String> = command.into_iter().chain(args).skip(program).collect();
                start(&words, true)
            }
            // Another program's arguments are called as the engine's are, and mean something else.
            Launch::Other if is_another_program(&command) => {
                Self { is_other: true, ..start(&[], false) }
            }
            Launch::Other => start(&args, false),
            Launch::Shell { script, runs_vllm: false, .. } => {
                let start = start(&[], false);
                Self { is_other: true, script: Some(script), ..start }
            }
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
                Self { evaluated: before_eval, script: Some(script), ..start(&words, is_complete) }
            }
        }
    }
}

/// Whether a command that starts no engine as far as is known names a program that is none: without
/// one the image decides, and one with `vllm` in it may hand the arguments on.
fn is_another_program(command: &[String]) -> bool {
    !command.is_empty() && !command.iter().any(|word| word.contains("vllm"))
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

/// The words behind the script's `vllm serve`, and whether they are all it may come to. None of a
/// script that has several: which one is run is not known.
fn script_words(script: &str, evaluates: bool) -> (Vec<String>, bool) {
    const START: &str = "vllm serve";
    let code = vllm::script_code(script);
    let mut starts = code.match_indices(START);
    let (Some((start, _)), None) = (starts.next(), starts.next()) else {
        return (Vec::new(), false);
    };
    let line = code.get(start + START.len()..).unwrap_or_default();
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
    let is_whole = |word: &String| !word.contains("$(") || !ends_command(word);
    let mut is_complete = words.iter().all(is_whole);
    let words = words
        .into_iter()
        .take_while(|word| !ends_command(word))
        .filter(|word| {
            let is_known = known.contains(&word.trim_matches('"'));
            is_complete &= is_known || !is_expanded(word);
            !is_known && !word.starts_with('$')
        })
        .collect();
    (words, is_complete)
}

/// Whether a word ends what can be read of a command's arguments: an operator of the shell (`|`,
/// `&&`, `2>&1`, `;`), or a command of which the words behind it are a part (`$(nproc`, `--all)`).
fn ends_command(word: &str) -> bool {
    let opens = |mark: &str| word.rfind(mark).is_some_and(|at| !word.split_at(at).1.contains(')'));
    if opens("$(") {
        return true;
    }
    let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
    word.starts_with(['|', '&', ';', '<', '>'])
}

/// Whether the shell puts something else in the place of a word, or of its beginning.
fn is_expanded(word: &str) -> bool {
    word.starts_with(['$', '`'])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::vllm::kv_transfer;

    #[test]
    fn what_the_variable_adds_is_given_without_a_shell_too() {
        let container = json!({
            "name": "main", "command": ["vllm", "serve"], "args": ["/mnt/models"],
            "env": [{"name": ADDITIONAL_ARGS, "value": "--kv_transfer_config '{\"kv_role\":\"kv_both\"}'"}],
        });
        assert_eq!(kv_transfer(&given(&container)).unwrap().role.as_deref(), Some("kv_both"));
    }

    #[test]
    fn what_another_program_is_told_is_nothing_to_the_engine() {
        let container = |command: &[&str], args: &[&str]| json!({"name": "main", "command": command, "args": args});
        for (command, args) in [
            (&["python3", "-m", "sglang.launch_server"][..], &["--dtype", "half"][..]),
            (&["/app/llm-d-inference-sim"], &["--port", "8001"]),
            (
                &["bash", "-c"],
                &["exec python3 -m sglang.launch_server \"$@\"", "--", "--dtype=half"],
            ),
        ] {
            let Start { arguments, is_complete, .. } = Start::of(&container(command, args));
            assert!(arguments.words().is_empty() && !is_complete, "{command:?}");
        }
        for command in [&[][..], &["numactl", "-N0", "vllm", "serve"]] {
            let Start { arguments, is_complete, .. } =
                Start::of(&container(command, &["--port", "8001"]));
            assert_eq!(arguments.value("--port"), Some("8001"), "{command:?}");
            assert!(!is_complete);
        }
    }

    #[test]
    fn a_script_says_no_more_than_it_does() {
        let read = |script: &str| {
            let args = [script, "--", "--dtype=half"];
            let container = json!({"name": "main", "command": ["bash", "-c"], "args": args});
            let Start { arguments, is_complete, .. } = Start::of(&container);
            (crate::vllm::quote(&arguments.words()), is_complete)
        };
        let told = |words: &str, is_complete| (words.to_owned(), is_complete);
        for (script, expected) in [
            ("vllm serve /m --port 1 2>&1 | tee -a /log &\nwait", told("/m --port 1", true)),
            ("vllm serve /m >/log && echo --fast || exit 1", told("/m", true)),
            ("vllm serve /m -tp $(nvidia-smi -L | wc -l) --port 1", told("/m -tp", false)),
            ("vllm serve /m -tp=$(nvidia-smi -L) --port 1", told("/m", false)),
            ("vllm serve /m -tp \"$(nvidia-smi -L)\" --port 1", told("/m -tp --port 1", false)),
            ("# then vllm serve runs\nvllm serve /m", told("/m", true)),
            (
                "if $A; then vllm serve /m --port 1; else vllm serve /m --port 2; fi",
                told("", false),
            ),
        ] {
            assert_eq!(read(script), expected, "{script}");
        }
    }

    #[test]
    fn a_script_is_read_as_far_as_it_can_be() {
        let container = |script: &str, args: &[&str], more: &str| {
            let mut words = vec![script.to_owned(), "--".to_owned()];
            words.extend(args.iter().map(|&word| word.to_owned()));
            json!({
                "name": "main", "command": ["/bin/bash", "-c"], "args": words,
                "env": [{"name": ADDITIONAL_ARGS, "value": more}],
            })
        };
        let script = "X=1\neval \"exec vllm serve /mnt/models \\\n --port 8001 -tp 4 \\\n ${VLLM_ADDITIONAL_ARGS} \\\n $@\"";
        let Start { arguments, is_complete, .. } =
            Start::of(&container(script, &["--dtype", "half"], "--kv_transfer_config '{\"a\":1}'"));
        assert_eq!(arguments.value("--tensor-parallel-size"), Some("4"));
        assert_eq!(arguments.value("--kv-transfer-config"), Some("{\"a\":1}"));
        assert_eq!(arguments.value("--dtype"), Some("half"));
        assert!(is_complete);

        let script = "vllm serve /mnt/models ${MORE} \"$@\"";
        let Start { arguments, is_complete, .. } =
            Start::of(&container(script, &["--dtype=half"], "--x 1"));
        assert_eq!(arguments.value("--dtype"), Some("half"));
        assert_eq!(arguments.value("--x"), None, "the script does not ask for it");
        assert!(!is_complete);
    }
}
