//! How a container starts its engine.

use super::{Arguments, script};

/// What a container's command and arguments start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// `vllm serve …`, `/opt/x/bin/vllm serve …`, `python3 -m vllm.entrypoints.…`, also behind
    /// `env` or `tini`: no shell between the container's arguments and the engine's.
    Exec {
        /// How many leading words of command and args together are the program; the engine's
        /// arguments are those behind them.
        program: usize,
    },
    /// `bash -c` or the like: the arguments pass through a script.
    Shell {
        /// The script's text.
        script: String,
        /// It refers to `VLLM_ADDITIONAL_ARGS`, in code and outside of a test (`[[ … ]]`).
        expands_additional_args: bool,
        /// It runs an engine: `vllm serve` or one of vLLM's modules.
        runs_vllm: bool,
        /// It hands on its own arguments (`$@`, `$*`), in code and outside of a test.
        passes_args: bool,
    },
    /// Something else, or nothing: the image decides.
    Other,
}

/// Reads a container's `command` and `args`.
#[must_use]
pub fn launch(command: &[String], args: &[String]) -> Launch {
    let words: Vec<&str> = command.iter().chain(args).map(String::as_str).collect();
    let wrapper = wrapper_words(&words);
    let program = words.get(wrapper..).unwrap_or_default();
    if let Some(own) = engine_words(program) {
        return Launch::Exec { program: wrapper + own };
    }
    shell_script(program).map_or(Launch::Other, |text| {
        let code = script::code(text);
        Launch::Shell {
            script: text.to_owned(),
            expands_additional_args: script::expands(&code, super::ADDITIONAL_ARGS),
            runs_vllm: script::runs_vllm(&code),
            passes_args: script::passes_args(&code),
        }
    })
}

/// The engine's arguments of a container that starts it without a shell, `None` of any other.
/// Positions count from the first word behind the program, see [`Launch::Exec`].
#[must_use]
pub fn engine_arguments(command: &[String], args: &[String]) -> Option<Arguments> {
    let Launch::Exec { program } = launch(command, args) else {
        return None;
    };
    let words = command.iter().chain(args).skip(program);
    Some(Arguments::parse(&words.cloned().collect::<Vec<_>>()))
}

/// How many leading words only start the program behind them: `env NAME=value`, `tini --`.
fn wrapper_words(words: &[&str]) -> usize {
    let mut at = 0;
    while let Some(word) = words.get(at) {
        let with_value: &[&str] = match base(word) {
            "env" => &["-u", "--unset", "-C", "--chdir"],
            "tini" | "tini-static" | "dumb-init" | "catatonit" => &["-p", "-e", "-r", "--rewrite"],
            _ => break,
        };
        let assigns = base(word) == "env";
        at += 1;
        while let Some(word) = words.get(at) {
            if *word == "--" {
                at += 1;
                break;
            }
            if with_value.contains(word) {
                at += 2;
            } else if word.starts_with('-') || assigns && word.contains('=') {
                at += 1;
            } else {
                break;
            }
        }
    }
    at
}

/// How many leading words are an engine's program; `None` if they are something else.
fn engine_words(words: &[&str]) -> Option<usize> {
    let name = base(words.first()?);
    if name == "vllm" {
        return (*words.get(1)? == "serve").then_some(2);
    }
    let version = name.strip_prefix("python")?;
    if !version.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let mut at = 1;
    loop {
        let word = words.get(at)?;
        at += match *word {
            "-W" | "-X" => 2,
            "-c" | "-" => return None,
            // `-m`, or switches before it in one word: `-um`.
            option if is_module_option(option) => {
                let module = *words.get(at + 1)?;
                if module == "vllm.entrypoints.cli.main" {
                    return (*words.get(at + 2)? == "serve").then_some(at + 3);
                }
                return module.starts_with("vllm.entrypoints.").then_some(at + 2);
            }
            option if option.starts_with('-') => 1,
            file => {
                let serves = base(file) == "vllm" && *words.get(at + 1)? == "serve";
                return serves.then_some(at + 2);
            }
        };
    }
}

fn is_module_option(word: &str) -> bool {
    word.strip_prefix('-')
        .and_then(|letters| letters.strip_suffix('m'))
        .is_some_and(|letters| letters.chars().all(|c| c.is_ascii_alphabetic()))
}

/// The script of `bash -c script`; `None` if the words are something else, a script file included.
fn shell_script<'a>(words: &[&'a str]) -> Option<&'a str> {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];
    let mut at = match base(words.first()?) {
        "busybox" if SHELLS.contains(words.get(1)?) => 2,
        name if SHELLS.contains(&name) => 1,
        _ => return None,
    };
    let mut inline = false;
    while let Some(option) = words.get(at) {
        at += match *option {
            "--" | "-" => {
                at += 1;
                break;
            }
            "--rcfile" | "--init-file" => 2,
            long if long.starts_with("--") => 1,
            letters if letters.starts_with(['-', '+']) => {
                inline |= letters.starts_with('-') && letters.contains('c');
                // `-o pipefail`, `-O extglob`: each takes a word behind the options.
                1 + letters.matches(['o', 'O']).count()
            }
            _ => break,
        };
    }
    inline.then(|| words.get(at).copied())?
}

/// The file name of a path.
fn base(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vllm::split;
    use crate::vllm::tests::shared;
    use serde_json::Value;

    fn read(command: &str, args: &str) -> Launch {
        launch(&split(command).unwrap(), &split(args).unwrap())
    }

    #[test]
    fn an_engine_without_a_shell() {
        for (command, args, program) in [
            ("vllm serve /mnt/models", "--port 8000", 2),
            ("vllm", "serve /mnt/models", 2),
            ("", "vllm serve m", 2),
            ("/opt/x/bin/vllm serve", "m", 2),
            ("python -m vllm.entrypoints.openai.api_server", "--model m", 3),
            ("/usr/bin/python3.12 -u -X dev -m vllm.entrypoints.openai.api_server", "", 6),
            ("python3 -um vllm.entrypoints.openai.api_server", "", 3),
            ("python3 -m vllm.entrypoints.cli.main serve m", "", 4),
            ("python3 /usr/local/bin/vllm serve m", "", 3),
            ("env -u X A=b vllm serve m", "", 6),
            ("/usr/bin/env python3 -m vllm.entrypoints.openai.api_server", "", 4),
            ("tini -s -- vllm serve m", "", 5),
            ("tini -- env A=b", "vllm serve m", 6),
        ] {
            assert_eq!(read(command, args), Launch::Exec { program }, "{command} {args}");
        }
    }

    #[test]
    fn the_engines_arguments_stand_in_both() {
        let command = split("vllm serve /m --port 8001").unwrap();
        let args = split("--port 9").unwrap();
        let arguments = engine_arguments(&command, &args).unwrap();
        assert_eq!(crate::vllm::quote(&arguments.words()), "/m --port 8001 --port 9");
        assert_eq!(engine_arguments(&[], &args), None);
    }

    #[test]
    fn something_else() {
        for (command, args) in [
            ("", ""),
            ("", "--model m"),
            ("vllm", ""),
            ("vllm", "bench serve"),
            ("myvllm serve m", ""),
            ("python3 -c 'import vllm'", "-m vllm.entrypoints.openai.api_server"),
            ("python3 -m vllm.entrypoints.cli.main bench", ""),
            ("python3 -m http.server", ""),
            ("python3 -m", ""),
            ("pythonista -m vllm.entrypoints.openai.api_server", ""),
            ("bash /scripts/run.sh", "-c x"),
            ("bash -c", ""),
            ("bash", ""),
            ("env -u", ""),
        ] {
            assert_eq!(read(command, args), Launch::Other, "{command} {args}");
        }
    }

    #[test]
    fn a_shell_and_its_script() {
        for command in [
            "bash -c 'vllm serve m'",
            "/bin/sh -ec 'vllm serve m' --",
            "/bin/bash -lc -- 'vllm serve m'",
            "bash -euo pipefail -c 'vllm serve m'",
            "bash --norc --rcfile x -x -c 'vllm serve m' name",
            "busybox sh -c 'vllm serve m'",
            "env A=b bash -c 'vllm serve m'",
        ] {
            let Launch::Shell { script, runs_vllm, expands_additional_args, passes_args } =
                read(command, "")
            else {
                panic!("{command}");
            };
            assert_eq!(script, "vllm serve m");
            assert!(runs_vllm && !expands_additional_args && !passes_args);
        }
        let split_over = read("/bin/bash -c", "'exec vllm serve $VLLM_ADDITIONAL_ARGS \"$@\"' --");
        assert!(matches!(
            split_over,
            Launch::Shell { expands_additional_args: true, passes_args: true, .. }
        ));
    }

    /// What KServe's own controller makes of its samples: the engines' containers.
    fn composed() -> Vec<(String, Value)> {
        fn collect(file: &str, value: &Value, depth: usize, into: &mut Vec<(String, Value)>) {
            let children: Vec<&Value> = match value {
                Value::Object(map) => map.values().collect(),
                Value::Array(list) => list.iter().collect(),
                _ => return,
            };
            if value["name"] == "main" && value["command"].is_array() {
                into.push((file.to_owned(), value.clone()));
            }
            assert!(depth < 64);
            for child in children {
                collect(file, child, depth + 1, into);
            }
        }
        let mut containers = Vec::new();
        for release in ["v0.17.0", "v0.20.0"] {
            let Some(folder) = shared(&format!("kserve/{release}/composed")) else { continue };
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let text = std::fs::read_to_string(&path).unwrap();
                let json: Value = serde_json::from_str(&text).unwrap();
                collect(&path.display().to_string(), &json["workloads"], 0, &mut containers);
            }
            assert!(!containers.is_empty());
        }
        containers
    }

    fn strings(value: &Value) -> Vec<String> {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().map(|item| item.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_presets_of_kserve_are_read() {
        for (file, container) in composed() {
            let command = strings(&container["command"]);
            match launch(&command, &strings(&container["args"])) {
                Launch::Exec { program } => {
                    assert!(file.contains("v0.17"), "{file}");
                    assert_eq!((program, command[2].as_str()), (2, "/mnt/models"));
                }
                Launch::Shell { script, expands_additional_args, runs_vllm, passes_args } => {
                    assert!(expands_additional_args && runs_vllm && passes_args, "{file}");
                    assert!(!super::script::script_mentions_connector(&script), "{file}");
                    // What `kvCacheOffloading` renders to.
                    let offloading = script.replace(
                        "KV_TRANSFER_ARGS=\"\"\n  fi",
                        "KV_TRANSFER_ARGS=\"--kv-transfer-config '{\\\"kv_connector\\\":\
                         \\\"OffloadingConnector\\\",\\\"kv_role\\\":\\\"kv_both\\\"}'\"\n  fi",
                    );
                    let changed = offloading != script;
                    assert_eq!(changed, file.contains("v0.20"), "{file}");
                    assert_eq!(super::script::script_mentions_connector(&offloading), changed);
                }
                Launch::Other => panic!("{file}"),
            }
        }
    }
}
