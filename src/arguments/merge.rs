//! How two lists of arguments add up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Argument, Arguments, Dialect, Flag, is_flag};

/// How many dots of a dotted key are looked at for a key above it. No configuration of an engine
/// is nested as deep; the bound keeps a word of a million dots from costing a million look-ups.
const LEVELS: usize = 32;

/// The arguments of two layers: `lower`'s flags minus those that `upper` gives too, in any
/// spelling, then `upper`'s words in their order. Merging the result over `lower` again changes
/// nothing.
///
/// - A flag replaces the whole flag below it: all its values and all its repetitions.
/// - It replaces the dotted keys below it too: `--x {…}` those of `--x.y`, `--x.y` those of `--x.y.z`.
/// - A dotted key stands beside the lower layer's other dotted keys. A lower `--x {…}` is written
///   as dotted keys beside it, those that `upper` gives left out: vLLM makes one object of all
///   dotted keys and drops a JSON value of the same flag, so side by side the lower value would
///   be lost. What is no JSON object, or cannot be written so, is dropped as vLLM drops it.
/// - `--x.list+` appends: the lower layer's items stay, one that `upper` repeats is not doubled.
/// - Positional words: `upper`'s replace `lower`'s, and the flag that says the same counts as one.
///   They stay in front (those behind `--`, at the end), so that no flag before them takes them
///   for its values. Where the program reads none, `lower`'s are dropped.
#[must_use]
pub fn merge<D: Dialect>(lower: &[String], upper: &[String]) -> Vec<String> {
    let lower = Arguments::<D>::parse(lower);
    let upper = Arguments::<D>::parse(upper);
    let above = Given::by(&upper);
    let below = Given::by(&lower);
    let replaced =
        D::POSITIONAL.is_none_or(|flag| upper.gives(flag) || upper.positional().next().is_some());

    let (mut words, following) = split_leading(&upper);
    if !replaced {
        let positional = lower.iter().filter(|a| a.flag.is_none() && !a.is_tail());
        words.extend(positional.flat_map(Argument::words).cloned());
    }
    for argument in lower.iter() {
        let Some(flag) = &argument.flag else { continue };
        if replaced && D::POSITIONAL == Some(flag.name.as_str()) {
            continue;
        }
        if !above.gives(flag) {
            words.extend(argument.words().iter().cloned());
        } else if below.reads(argument) {
            words.extend(as_dotted_keys(flag, &above));
        }
    }
    words.extend(following);
    if !replaced && let Some(tail) = lower.iter().find(|argument| argument.is_tail()) {
        // One `--` is enough where the upper layer ends in a bare one.
        let bare = upper.iter().any(Argument::is_tail);
        words.extend(tail.words().iter().skip(usize::from(bare)).cloned());
    }
    words
}

/// The flags that one layer gives, by name.
struct Given<'a> {
    /// Flags and dotted keys that set a value, with the position of the last one.
    set: BTreeMap<&'a str, usize>,
    /// Dotted keys that append, with what they append.
    appended: BTreeSet<(&'a str, &'a [String])>,
    /// The flags that dotted keys are given of.
    dotted: BTreeSet<&'a str>,
}

impl<'a> Given<'a> {
    fn by<D: Dialect>(layer: &'a Arguments<D>) -> Self {
        let mut given =
            Self { set: BTreeMap::new(), appended: BTreeSet::new(), dotted: BTreeSet::new() };
        for argument in layer.iter() {
            let Some(flag) = &argument.flag else { continue };
            given.dotted.extend(flag.owner());
            if flag.append {
                given.appended.insert((&flag.name, &flag.values));
            } else {
                given.set.insert(&flag.name, argument.position);
            }
        }
        given
    }

    /// Whether this layer says anything in place of a lower layer's `flag`. Holds for each of the
    /// layer's own flags, which is what makes a second merge change nothing.
    fn gives(&self, flag: &Flag) -> bool {
        let name = flag.name.as_str();
        let mut dots = name.match_indices('.').take(LEVELS);
        self.set.contains_key(name)
            || self.dotted.contains(name)
            || flag.append && self.appended.contains(&(name, flag.values.as_slice()))
            || dots.any(|(at, _)| name.get(..at).is_some_and(|n| self.set.contains_key(n)))
    }

    /// Whether the program reads this argument, one of the layer's own: it is the last of its
    /// name, and no dotted key stands beside it.
    fn reads(&self, argument: &Argument) -> bool {
        argument.flag.as_ref().is_some_and(|flag| {
            let last = self.set.get(flag.name.as_str());
            last == Some(&argument.position) && !self.dotted.contains(flag.name.as_str())
        })
    }
}

/// The upper layer's words: the positional ones in front, and the rest.
fn split_leading<D: Dialect>(upper: &Arguments<D>) -> (Vec<String>, Vec<String>) {
    let mut leading = upper.words();
    let count = leading.iter().take_while(|word| *word != "--" && !is_flag(word)).count();
    let following = leading.split_off(count);
    (leading, following)
}

/// A JSON object as dotted keys, those left out that the layer `above` gives. Empty where that
/// layer gives the flag itself, and where the value is no object or has a key that a dotted name
/// cannot hold.
fn as_dotted_keys(flag: &Flag, above: &Given) -> Vec<String> {
    let name = flag.name.as_str();
    let whole = above.set.contains_key(name);
    if whole || flag.negated || !name.starts_with("--") || name.contains('.') {
        return Vec::new();
    }
    let [value] = flag.values.as_slice() else {
        return Vec::new();
    };
    let Ok(Value::Object(object)) = serde_json::from_str(value) else {
        return Vec::new();
    };
    if !object.keys().all(|key| is_plain_key(key)) {
        return Vec::new();
    }
    let keys = object.iter().filter_map(|(key, value)| {
        let key = Flag { name: format!("{name}.{key}"), ..flag.clone() };
        (!above.gives(&key)).then(|| [key.name, value.to_string()])
    });
    keys.flatten().collect()
}

fn is_plain_key(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::words;
    use crate::arguments::{quote, split};
    use crate::sidecar::Sidecar;
    use crate::vllm::Engine;
    use proptest::prelude::*;

    #[track_caller]
    fn check(lower: &str, upper: &str, expected: &str) {
        let merged = merge::<Engine>(&split(lower).unwrap(), &split(upper).unwrap());
        assert_eq!(quote(&merged), quote(&split(expected).unwrap()));
    }

    #[test]
    fn a_flag_replaces_any_spelling_of_it() {
        let template = "--port 8000 --tensor-parallel-size 2 --enable-prefix-caching --seed=1";
        check(template, "", template);
        check("", "--seed 2", "--seed 2");
        for upper in ["-tp 4", "-tp=4", "--tensor_parallel_size=4", "--tensor-parallel-size 4"] {
            let rest = "--port 8000 --enable-prefix-caching --seed=1";
            check(template, upper, &format!("{rest} {upper}"));
        }
        check(
            template,
            "--no-enable-prefix-caching --trust-remote-code",
            "--port 8000 --tensor-parallel-size 2 --seed=1 --no-enable-prefix-caching \
             --trust-remote-code",
        );
        check("--seed 1 --x --seed 2", "--seed 3", "--x --seed 3");
        check("--served-model-name a b --x", "--served-model-name c", "--x --served-model-name c");
        check("--unknown a b --x", "--unknown c", "--x --unknown c");
        check("-O3 --x", "-O 2", "--x -O 2");
    }

    #[test]
    fn the_authors_order_is_kept() {
        check("--a 1 --b 2", "--z --b 3 --y --b 4", "--a 1 --z --b 3 --y --b 4");
    }

    #[test]
    fn one_model_is_served() {
        check("/mnt/models --x", "--y", "/mnt/models --x --y");
        check("/mnt/models --x", "other --y", "other --x --y");
        check("/mnt/models --x", "--model other", "--x --model other");
        check("--model=a --x", "other", "other --x");
        check("--model=a --x", "--y", "--model=a --x --y");
        check("--enforce-eager /mnt/models", "--y", "/mnt/models --enforce-eager --y");
        check("--x -- /mnt/models", "--y", "--x --y -- /mnt/models");
        check("--x -- /mnt/models", "--y --", "--x --y -- /mnt/models");
        check("--x -- /mnt/models", "other", "other --x");
    }

    #[test]
    fn a_json_value_replaces_dotted_keys() {
        let upper = r#"--kv-transfer-config '{"kv_connector":"A"}'"#;
        check(r#"--kv_transfer_config '{"kv_connector":"B"}' --x"#, upper, &format!("--x {upper}"));
        check(
            "--kv-transfer-config.kv_role kv_both --kv-transfer-config.a.b+=UCX --x",
            upper,
            &format!("--x {upper}"),
        );
        check("--x.y.z 1 --x.w 2 --x.yy 3", "--x.y {}", "--x.w 2 --x.yy 3 --x.y {}");
    }

    #[test]
    fn dotted_keys_stand_side_by_side() {
        check("--x.a 1 --x.b 2", "--x.b 3", "--x.a 1 --x.b 3");
        check("--x.a.b 1", "--x.a.c 2", "--x.a.b 1 --x.a.c 2");
        check("--x.a {}", "--x.a.c 2", "--x.a {} --x.a.c 2");
        check("--x.list+ UCX --x.list+ GDS", "--x.list+ UCX", "--x.list+ GDS --x.list+ UCX");
        check("--x.list '[\"a\"]'", "--x.list+ b", "--x.list '[\"a\"]' --x.list+ b");
        check("--x.list+ a", "--x.list '[\"b\"]'", "--x.list '[\"b\"]'");
    }

    #[test]
    fn a_json_value_beside_dotted_keys_is_not_lost() {
        check(
            r#"--y --kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_both","kv_port":5}'"#,
            "--kv-transfer-config.kv_role kv_consumer",
            r#"--y --kv-transfer-config.kv_connector '"NixlConnector"' --kv-transfer-config.kv_port 5
               --kv-transfer-config.kv_role kv_consumer"#,
        );
        check(
            r#"-cc '{"a":{"b":1}}'"#,
            "-cc.a.c=2",
            r#"--compilation-config.a '{"b":1}' -cc.a.c=2"#,
        );
        // vLLM reads only the last JSON value, and none beside dotted keys.
        check(r#"--x {"\"a\"":1} --x {"\"b\"":2}"#, "--x.c 3", "--x.b 2 --x.c 3");
        check(r#"--x {"\"a\"":1} --x.b 2"#, "--x.c 3", "--x.b 2 --x.c 3");
        // No dotted name can say these.
        check("--x $(CONFIG)", "--x.c 3", "--x.c 3");
        check(r#"--x {"\"a.b\"":1}"#, "--x.c 3", "--x.c 3");
    }

    #[test]
    fn a_sidecar_reads_no_positional_words() {
        let merged = merge::<Sidecar>(
            &["--port=8000", "--vllm-port=8001", "-connector", "nixlv2", ""].map(String::from),
            &["--kv-connector=sglang", "--secure-proxy", "x"].map(String::from),
        );
        let expected =
            ["--port=8000", "--vllm-port=8001", "--kv-connector=sglang", "--secure-proxy", "x"];
        assert_eq!(merged, expected);
    }

    /// The flags of a layer that the other says nothing of, with their words.
    fn untouched<D: Dialect>(layer: &Arguments<D>, above: &Arguments<D>) -> Vec<Vec<String>> {
        let base = |flag: &Flag| flag.name.split('.').next().unwrap().to_owned();
        let bases: BTreeSet<String> = above.flags().map(base).collect();
        let model = above.gives("--model") || above.positional().next().is_some();
        let kept = layer.iter().filter(|argument| {
            let flag = argument.flag.as_ref();
            flag.is_some_and(|f| !(bases.contains(&base(f)) || model && f.name == "--model"))
        });
        kept.map(|argument| argument.words().to_vec()).collect()
    }

    fn laws<D: Dialect>(lower: &[String], upper: &[String]) -> Result<(), TestCaseError> {
        let once = merge::<D>(lower, upper);
        prop_assert_eq!(&merge::<D>(lower, &once), &once, "merging again changes nothing");
        prop_assert_eq!(&merge::<D>(&[], upper), upper);

        let (below, above) = (Arguments::<D>::parse(lower), Arguments::<D>::parse(upper));
        let (leading, following) = split_leading(&above);
        prop_assert!(once.starts_with(&leading));
        if !below.iter().any(Argument::is_tail) {
            prop_assert!(once.ends_with(&following), "{:?}", once);
        }
        let merged = Arguments::<D>::parse(&once);
        let all: Vec<&[String]> = merged.iter().map(Argument::words).collect();
        for words in untouched(&below, &above) {
            prop_assert!(all.contains(&words.as_slice()), "{:?} lost in {:?}", words, once);
        }
        for flag in above.flags() {
            prop_assert!(merged.gives(&flag.name));
        }
        // What the upper layer says last is what counts.
        for flag in above.flags() {
            let last = |of: &Arguments<D>| of.last(&flag.name).map(|a| a.words().to_vec());
            prop_assert_eq!(last(&merged), last(&above));
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn laws_hold_for_the_engine(lower in words(), upper in words()) {
            laws::<Engine>(&lower, &upper)?;
        }

        #[test]
        fn laws_hold_for_the_sidecar(lower in words(), upper in words()) {
            laws::<Sidecar>(&lower, &upper)?;
        }
    }
}
