//! Command lines as lists of words: parse, print, merge.
//!
//! An engine and a routing sidecar spell their flags differently, so each brings a [`Dialect`];
//! what a flag is, which words belong to it and how two lists add up is the same for both and
//! lives here. Parsing never fails and loses nothing: [`Arguments::words`] gives back exactly the
//! words that were parsed, so a list that nobody changes stays as its author wrote it.

mod merge;
mod shell;

use std::marker::PhantomData;

pub use merge::merge;
pub use shell::{SplitError, quote, split};

/// How one program spells its flags.
pub trait Dialect {
    /// The flag that says the same as the first positional word (`--model`); `None` where the
    /// program reads no positional words.
    const POSITIONAL: Option<&'static str>;

    /// Reads a word that starts a flag. `next` is the word behind it, if there is one.
    fn spell(word: &str, next: Option<&str>) -> Spelling;

    /// How many of the words behind it belong to the flag with this canonical name.
    fn takes(name: &str) -> Takes;
}

/// What the first word of a flag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The canonical long name, see [`Flag::name`].
    pub name: String,
    /// A switch that is turned off: `--no-x`.
    pub negated: bool,
    /// A list that is appended to: `--x.list+`.
    pub append: bool,
    /// The value in the same word: `--x=value`.
    pub value: Option<String>,
}

/// How many of the words behind a flag are its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: a switch.
    Nothing,
    /// The next word, unless that is a flag.
    One,
    /// All words up to the next flag.
    Several,
}

/// A parsed command line, without the program's own words. Order and spelling are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments<D> {
    arguments: Vec<Argument>,
    dialect: PhantomData<D>,
}

/// One flag with its values, one positional word, or `--` with everything behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// The flag; `None` for a positional word, and for `--` with what follows.
    pub flag: Option<Flag>,
    /// Where it starts: the index of its first word in the list that was parsed.
    pub position: usize,
    words: Vec<String>,
}

/// A flag, whatever its spelling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The canonical long name with two dashes: `--tensor-parallel-size` for `-tp` and for
    /// `--tensor_parallel_size`. A dotted key keeps what follows the first dot:
    /// `--kv-transfer-config.kv_role`.
    pub name: String,
    /// The flag as its author wrote it, without the value: `-tp`.
    pub spelling: String,
    /// The values in order, as written. A JSON value is one value.
    pub values: Vec<String>,
    /// A switch that is turned off: `--no-x`.
    pub negated: bool,
    /// A list that is appended to: `--x.list+`.
    pub append: bool,
    /// The value stands in the same word: `--x=value`.
    pub inline: bool,
}

impl<D: Dialect> Arguments<D> {
    /// Parses the words behind the program. Total: what is no flag is positional.
    #[must_use]
    pub fn parse(words: &[String]) -> Self {
        let mut arguments = Vec::new();
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            let (flag, length) = if word == "--" {
                (None, rest.len())
            } else if is_flag(word) {
                let (flag, values) = read_flag::<D>(word, behind);
                (Some(flag), 1 + values)
            } else {
                (None, 1)
            };
            let (own, following) = rest.split_at(length);
            arguments.push(Argument {
                flag,
                position: words.len() - rest.len(),
                words: own.to_vec(),
            });
            rest = following;
        }
        Self { arguments, dialect: PhantomData }
    }

    /// The words, exactly as they were parsed.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        self.iter().flat_map(Argument::words).cloned().collect()
    }

    /// The arguments in order.
    #[must_use]
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Argument> {
        self.arguments.iter()
    }

    /// The flags in order.
    #[must_use]
    pub fn flags(&self) -> impl DoubleEndedIterator<Item = &Flag> {
        self.iter().filter_map(|argument| argument.flag.as_ref())
    }

    /// The positional words in order, those behind `--` included.
    pub fn positional(&self) -> impl Iterator<Item = &str> {
        self.iter()
            .filter(|argument| argument.flag.is_none())
            .flat_map(|argument| argument.words.iter().skip(usize::from(argument.is_tail())))
            .map(String::as_str)
    }

    /// The last argument that gives this flag: the one that counts. The name may be written in
    /// any spelling; dotted keys below it are other flags.
    #[must_use]
    pub fn last(&self, name: &str) -> Option<&Argument> {
        let name = D::spell(name, None).name;
        self.iter().rfind(|argument| argument.flag.as_ref().is_some_and(|f| f.name == name))
    }

    /// The value of the last argument that gives this flag, see [`Arguments::last`].
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.last(name)?.flag.as_ref()?.value()
    }

    /// Whether the flag is given in any spelling, dotted keys below it included.
    #[must_use]
    pub fn gives(&self, name: &str) -> bool {
        let name = D::spell(name, None).name;
        self.flags().any(|flag| flag.name == name || is_below(&flag.name, &name))
    }
}

impl Argument {
    /// Its words, exactly as they were parsed; never empty.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// Whether this is `--` with everything behind it.
    #[must_use]
    pub fn is_tail(&self) -> bool {
        self.flag.is_none() && self.words.first().is_some_and(|word| word == "--")
    }
}

impl Flag {
    /// The value, or the first one of several.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.values.first().map(String::as_str)
    }

    /// The flag that a dotted key belongs to, `--x` of `--x.y.z`; `None` for a flag without a dot.
    fn owner(&self) -> Option<&str> {
        self.name.split_once('.').map(|(owner, _)| owner)
    }
}

/// Whether the flag `name` is a dotted key below `above`: `--x.y.z` below `--x` and `--x.y`.
fn is_below(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('.'))
}

/// Reads the flag that starts with `word`; beside it, how many of the words behind it are its own.
fn read_flag<D: Dialect>(word: &str, behind: &[String]) -> (Flag, usize) {
    let spelling = D::spell(word, behind.first().map(String::as_str));
    let inline = spelling.value.is_some();
    let takes = if inline || spelling.negated { Takes::Nothing } else { D::takes(&spelling.name) };
    let limit = match takes {
        Takes::Nothing => 0,
        Takes::One => 1,
        Takes::Several => behind.len(),
    };
    let own: Vec<String> =
        behind.iter().take(limit).take_while(|word| is_value(word)).cloned().collect();
    let length = own.len();
    let written = match &spelling.value {
        Some(value) => word.strip_suffix(value.as_str()).unwrap_or(word),
        None => word,
    };
    let flag = Flag {
        name: spelling.name,
        spelling: written.strip_suffix('=').unwrap_or(written).to_owned(),
        values: spelling.value.map_or(own, |value| vec![value]),
        negated: spelling.negated,
        append: spelling.append,
        inline,
    };
    (flag, length)
}

/// A word that starts a flag. Negative numbers and a lone `-` are values, and so is a word with a
/// blank in its name (`--port 80` in one word): argparse reads those as values too.
fn is_flag(word: &str) -> bool {
    let Some(behind) = word.strip_prefix('-') else {
        return false;
    };
    let name = behind.split_once('=').map_or(behind, |(name, _)| name);
    let number = name.strip_prefix('.').unwrap_or(name);
    !behind.is_empty()
        && behind != "-"
        && !number.starts_with(|c: char| c.is_ascii_digit())
        && !name.contains(char::is_whitespace)
}

fn is_value(word: &str) -> bool {
    word != "--" && !is_flag(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::Sidecar;
    use crate::vllm::Engine;
    use proptest::prelude::*;

    /// Words that mean something in one of the dialects, and any text.
    pub(super) fn word() -> impl Strategy<Value = String> {
        const KNOWN: &str = "--port --port=8000 --vllm-port=1 -port 8001 --model --model=m model /m \
            --x --x.y --x.y.z --x.y=1 --x.l+ --x.l+=a --x.y+ --x_z --x-z --x-z=1 --no-x --no-x=1 \
            {} {\"y\":1} {\"y\":{\"z\":2},\"l\":[1]} {\"a.b\":1} --x={\"y\":1,\"w\":\"-5\"} [] -1 \
            -0.5 - -- --= -= -tp -tp=4 --tensor_parallel_size -O -O3 -O.mode -O={} 3 -cc -cc.mode=3 \
            -ep --enable-x --enforce-eager --no-enforce-eager --served-model-name a b -q --.y \
            --secure-proxy --secure-proxy=false --connector=nixl --kv-connector nixlv2 --no- --x.";
        let known: Vec<&str> = KNOWN.split_whitespace().chain(["", "--x y", "a b"]).collect();
        prop_oneof![
            9 => prop::sample::select(known).prop_map(str::to_owned),
            1 => any::<String>(),
            1 => "-{0,2}[anoO3_.+=-]{0,7}",
        ]
    }

    pub(super) fn words() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(word(), 0..8)
    }

    fn parse(line: &str) -> Arguments<Engine> {
        Arguments::parse(&split(line).unwrap())
    }

    #[test]
    fn tells_flags_values_and_positions() {
        let arguments = parse("/mnt/models --port 8000 -tp=4 --enforce-eager --a.b -1 -- --port 9");
        let read: Vec<_> = arguments
            .iter()
            .map(|a| {
                let flag = a.flag.as_ref();
                (a.position, flag.map(|f| (f.name.as_str(), f.spelling.as_str(), f.value())))
            })
            .collect();
        assert_eq!(
            read,
            [
                (0, None),
                (1, Some(("--port", "--port", Some("8000")))),
                (3, Some(("--tensor-parallel-size", "-tp", Some("4")))),
                (4, Some(("--enforce-eager", "--enforce-eager", None))),
                (5, Some(("--a.b", "--a.b", Some("-1")))),
                (7, None),
            ]
        );
        assert_eq!(arguments.positional().collect::<Vec<_>>(), ["/mnt/models", "--port", "9"]);
    }

    #[test]
    fn the_last_one_counts_in_any_spelling() {
        let arguments = parse("--data_parallel_size 2 -dp 4 --kv_transfer_config.kv_role=kv_both");
        assert_eq!(arguments.value("-dp"), Some("4"));
        assert_eq!(arguments.value("--data-parallel-size"), Some("4"));
        assert_eq!(arguments.last("--data_parallel_size").unwrap().position, 2);
        assert!(arguments.gives("--kv-transfer-config"));
        assert!(arguments.last("--kv-transfer-config").is_none());
        assert!(!arguments.gives("--kv-transfer"));
    }

    #[test]
    fn what_only_looks_like_a_flag_is_a_value() {
        for value in ["-1", "-0.5", "-.5", "-", "", "--port 80", "{\"a\": 1}", "$(X)", "-1,-2"] {
            let arguments = Arguments::<Engine>::parse(&["--seed".into(), value.into()]);
            assert_eq!(arguments.value("--seed"), Some(value));
        }
        for flag in ["-x", "--x", "--x= y", "-=", "--x.y"] {
            let arguments = Arguments::<Engine>::parse(&["--seed".into(), flag.into()]);
            assert_eq!(arguments.flags().count(), 2, "{flag}");
        }
    }

    proptest! {
        #[test]
        fn prints_the_words_it_was_parsed_from(words in words()) {
            prop_assert_eq!(Arguments::<Engine>::parse(&words).words(), words.clone());
            prop_assert_eq!(Arguments::<Sidecar>::parse(&words).words(), words);
        }

        #[test]
        fn a_spelling_and_its_value_are_the_word(words in words()) {
            for argument in Arguments::<Engine>::parse(&words).iter() {
                let name = argument.flag.as_ref().map(|flag| flag.name.clone());
                let again = name.as_deref().map(|name| Engine::spell(name, None).name);
                prop_assert_eq!(again, name);
                prop_assert_eq!(argument.words().first(), words.get(argument.position));
                let Some(flag) = &argument.flag else { continue };
                prop_assert!(argument.words()[0].starts_with(&flag.spelling));
                if !flag.inline {
                    prop_assert_eq!(&argument.words()[0], &flag.spelling);
                    prop_assert_eq!(&argument.words()[1..], &flag.values);
                }
            }
        }
    }
}
