//! The command line of the routing sidecar, llm-d's proxy in front of a decoding engine: what its
//! arguments say, and what each release accepts.

mod release;

use crate::arguments::{self, Dialect, Flag, Spelling, Takes};

pub use crate::release::{FlagStatus, Version};
pub use release::{Pool, Release, inference_pool};

/// The sidecar's arguments: the words behind its binary.
pub type Arguments = arguments::Arguments<Sidecar>;

/// The port of the sidecar itself.
pub const PORT: &str = "--port";
/// The port of the engine, by its newest name; `--vllm-port` up to release 0.9.
pub const MODEL_SERVER_PORT: &str = "--model-server-port";
/// The protocol between prefill and decode, by its newest name; `--connector` up to release 0.6.
pub const KV_CONNECTOR: &str = "--kv-connector";
/// The older name of [`KV_CONNECTOR`].
pub const CONNECTOR: &str = "--connector";
/// The older name of [`MODEL_SERVER_PORT`].
pub const VLLM_PORT: &str = "--vllm-port";
/// Whether the sidecar serves TLS, by its newest name; `--secure-proxy` in older releases.
pub const SECURE_SERVING: &str = "--secure-serving";

/// How the sidecar spells its flags: see [`Arguments::parse`].
///
/// `-x` and `--x` are one flag: releases up to 0.6 read flags with Go's `flag`, which takes both,
/// later ones with `pflag`, which takes only two dashes. A switch takes a value only as `--x=false`.
///
/// Source: `cmd/llm-d-routing-sidecar/main.go` of llm-d-routing-sidecar, releases 0.2 to 0.6, and
/// `pkg/sidecar/proxy/options.go` of llm-d-router, August 2026.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sidecar;

impl Dialect for Sidecar {
    const POSITIONAL: Option<&'static str> = None;

    fn spell(word: &str, _next: Option<&str>) -> Spelling {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (word, None),
        };
        let name = format!("--{}", bare(key));
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        Spelling {
            name: alias.map_or(name, |(_, newest)| (*newest).to_owned()),
            negated: false,
            append: false,
            value: value.map(str::to_owned),
        }
    }

    fn takes(name: &str) -> Takes {
        if SWITCHES.contains(&name) { Takes::Nothing } else { Takes::One }
    }
}

/// Parses a container's `command` and `args`. The flags may stand in either: a command's first
/// word is the binary, and without a command the image's own binary reads the args.
#[must_use]
pub fn parse(command: &[String], args: &[String]) -> Arguments {
    let flags = command.iter().skip(1).chain(args);
    Arguments::parse(&flags.cloned().collect::<Vec<_>>())
}

/// A sidecar's arguments of two layers, a template's below and an author's above: see
/// [`arguments::merge`].
#[must_use]
pub fn merge(lower: &[String], upper: &[String]) -> Vec<String> {
    arguments::merge::<Sidecar>(lower, upper)
}

/// The port the sidecar listens on, if its arguments say so.
#[must_use]
pub fn port(arguments: &Arguments) -> Option<u16> {
    read_port(arguments.value(PORT)?)
}

/// The port on which the sidecar expects the engine, if its arguments say so.
/// `--model-server-port` wins over `--vllm-port`, wherever they stand. Without either it is 8001
/// up to release 0.9 and 8200 from 0.10.
#[must_use]
pub fn vllm_port(arguments: &Arguments) -> Option<u16> {
    let is_newest = |flag: &&Flag| bare(&flag.spelling) == bare(MODEL_SERVER_PORT);
    let given = || arguments.flags().rev().filter(|f| f.name == MODEL_SERVER_PORT);
    let flag = given().find(is_newest).or_else(|| given().next())?;
    read_port(flag.value()?)
}

/// The connector's name, `nixlv2`, if the arguments say it.
#[must_use]
pub fn connector(arguments: &Arguments) -> Option<&str> {
    arguments.value(KV_CONNECTOR)
}

/// The port of the sidecar where no flag says it, in all releases.
pub const DEFAULT_PORT: u16 = 8000;
/// The folder of the certificate that the sidecar serves with.
pub const CERT_PATH: &str = "--cert-path";
/// How many ranks of the engine, each on a port of its own, the sidecar stands in front of.
pub const DATA_PARALLEL_SIZE: &str = "--data-parallel-size";

/// What a switch's value says, `None` for text that Go's `strconv.ParseBool` refuses.
#[must_use]
pub fn read_switch(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The words with one flag's value replaced wherever it is given, under any of its names and in
/// its author's spelling; where it is not given, `name=value` is added behind the last flag. All
/// other words stay as they are, so a list that begins with the binary may be given as well.
#[must_use]
pub fn set_flag(words: &[String], name: &str, value: &str) -> Vec<String> {
    let arguments = Arguments::parse(words);
    let canonical = Sidecar::spell(name, None).name;
    let is_it = |flag: &Flag| flag.name == canonical;
    let mut set = Vec::with_capacity(words.len() + 1);
    for argument in arguments.iter() {
        match &argument.flag {
            Some(flag) if is_it(flag) && !flag.inline && !flag.values.is_empty() => {
                set.extend([flag.spelling.clone(), value.to_owned()]);
            }
            Some(flag) if is_it(flag) => set.push(format!("{}={value}", flag.spelling)),
            _ => set.extend(argument.words().iter().cloned()),
        }
    }
    if !arguments.flags().any(is_it) {
        let behind_flags = arguments.iter().rfind(|a| a.flag.is_some());
        let behind_words = arguments.iter().take_while(|a| !a.is_tail()).last();
        let at = behind_flags.or(behind_words).map_or(0, |last| last.position + last.words().len());
        set.insert(at.min(set.len()), format!("--{}={value}", bare(name)));
    }
    set
}

/// Go's parsers read one dash and two.
fn bare(name: &str) -> &str {
    let name = name.strip_prefix('-').unwrap_or(name);
    name.strip_prefix('-').unwrap_or(name)
}

fn read_port(text: &str) -> Option<u16> {
    let port = text.parse().ok()?;
    (port != 0).then_some(port)
}

/// Older names of the same setting.
const ALIASES: &[(&str, &str)] = &[
    (CONNECTOR, KV_CONNECTOR),
    ("--secure-proxy", SECURE_SERVING),
    (VLLM_PORT, MODEL_SERVER_PORT),
];

/// Switches of all releases, those of the logging libraries included. All other flags take a value.
const SWITCHES: &[&str] = &[
    "--add_dir_header",
    "--alsologtostderr",
    "--decoder-tls-insecure-skip-verify",
    "--decoder-use-tls",
    "--enable-p2p-pull",
    "--enable-prefiller-sampling",
    "--enable-speculative-prefill",
    "--enable-ssrf-protection",
    "--h",
    "--help",
    "--logtostderr",
    "--moriio-parallel-dispatch",
    "--moriio-write-mode",
    "--one_output",
    "--prefiller-tls-insecure-skip-verify",
    "--prefiller-use-tls",
    SECURE_SERVING,
    "--skip_headers",
    "--skip_log_headers",
    "--tracing",
    "--zap-devel",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::split;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn flags_stand_in_args_or_in_the_command() {
        let line = "--port=8000 --vllm-port 8001 -connector=nixlv2 --secure-proxy=false";
        let command = format!("/app/pd-sidecar {line} ''");
        for arguments in [parse(&[], &words(line)), parse(&words(&command), &[])] {
            assert_eq!(port(&arguments), Some(8000));
            assert_eq!(vllm_port(&arguments), Some(8001));
            assert_eq!(connector(&arguments), Some("nixlv2"));
            assert_eq!(arguments.value("--secure-serving"), Some("false"));
        }
        let split_over = parse(&words("/app/pd-sidecar --port=1"), &words("-port=2"));
        assert_eq!(port(&split_over), Some(2));
    }

    #[test]
    fn nothing_is_said_without_a_flag() {
        let arguments = parse(&words("/app/pd-sidecar"), &[]);
        assert_eq!((port(&arguments), vllm_port(&arguments)), (None, None));
        assert_eq!(connector(&arguments), None);
        assert_eq!(port(&parse(&[], &words("--port=$(PORT)"))), None);
    }

    #[test]
    fn the_newer_port_flag_wins() {
        for line in ["--vllm-port=1 --model-server-port=2", "--model-server-port=2 --vllm-port=1"] {
            assert_eq!(vllm_port(&parse(&[], &words(line))), Some(2), "{line}");
        }
    }

    #[test]
    fn a_switch_takes_no_word() {
        let arguments = parse(&[], &words("--enable-ssrf-protection false --enable-tls prefiller"));
        assert_eq!(arguments.value("--enable-ssrf-protection"), None);
        assert_eq!(arguments.positional().collect::<Vec<_>>(), ["false"]);
        assert_eq!(arguments.value("--enable-tls"), Some("prefiller"));
        assert!(!arguments.gives("--no-x"));
    }

    #[test]
    fn names_of_all_releases_are_one_flag() {
        let lower = words("--port=8000 --vllm-port=8001 --connector=nixlv2 --secure-proxy=false");
        let upper = words("--kv-connector=sglang -model-server-port 8200");
        assert_eq!(
            merge(&lower, &upper),
            words("--port=8000 --secure-proxy=false --kv-connector=sglang -model-server-port 8200")
        );
    }

    #[track_caller]
    fn sets(line: &str, name: &str, value: &str, expected: &str) {
        let set = set_flag(&words(line), name, value);
        assert_eq!(set, words(expected));
        assert_eq!(set_flag(&set, name, value), set);
    }

    #[test]
    fn a_value_is_set_in_its_authors_spelling() {
        sets("--port=1 --vllm-port=8001 x", "--vllm-port", "9", "--port=1 --vllm-port=9 x");
        sets("--vllm-port 8001 --x", "--vllm-port", "9", "--vllm-port 9 --x");
        sets("-vllm-port=8001", "--vllm-port", "9", "-vllm-port=9");
        sets("--model-server-port=1", "--vllm-port", "9", "--model-server-port=9");
        sets("--vllm-port=1 --vllm-port 2", "--vllm-port", "9", "--vllm-port=9 --vllm-port 9");
        sets("--vllm-port", "--vllm-port", "9", "--vllm-port=9");
        sets("--secure-proxy x", "--secure-proxy", "false", "--secure-proxy=false x");
        sets("--vllm-port=", "--vllm-port", "9", "--vllm-port=9");
    }

    #[test]
    fn a_flag_that_is_not_given_is_added_behind_the_last() {
        sets("/app/x --port=1 '' ''", "--vllm-port", "9", "/app/x --port=1 --vllm-port=9 '' ''");
        sets("/app/x", "--vllm-port", "9", "/app/x --vllm-port=9");
        sets("/app/x -- y", "--vllm-port", "9", "/app/x --vllm-port=9 -- y");
        sets("", "--vllm-port", "9", "--vllm-port=9");
        sets("-- y", "--vllm-port", "9", "--vllm-port=9 -- y");
        sets("--port 1", "--vllm-port", "9", "--port 1 --vllm-port=9");
    }
}
