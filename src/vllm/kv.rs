//! What an engine's arguments say about KV transfer.

use serde_json::{Map, Value};

use super::{Arguments, KV_TRANSFER_CONFIG};

/// How deep a dotted key may nest. vLLM's configuration has three levels.
const DEEPEST: usize = 32;

/// The KV-transfer configuration that an engine's arguments give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KvTransfer {
    /// `kv_connector`, said anywhere: by a dotted key, else in the JSON value. Not empty.
    pub connector: Option<String>,
    /// `kv_role`, said anywhere. Not empty.
    pub role: Option<String>,
    /// What vLLM makes of it: the object of the dotted keys if there are any, else the JSON value.
    pub config: Map<String, Value>,
    /// The JSON value is no JSON object (a variable, lost quotes), or a key nests too deep: there
    /// may be a connector that is not seen here.
    pub unreadable: bool,
    /// A JSON value stands beside dotted keys: vLLM reads only these.
    pub shadowed: bool,
}

impl KvTransfer {
    /// Whether the author gave a connector, or something that may be one.
    #[must_use]
    pub fn gives_connector(&self) -> bool {
        self.connector.is_some() || self.unreadable
    }
}

/// What is said about KV transfer anywhere in these arguments: `--kv-transfer-config` with a JSON
/// value, dotted keys, underscores. `None` where nothing is said; a value of `None` says nothing.
#[must_use]
pub fn kv_transfer(arguments: &Arguments) -> Option<KvTransfer> {
    let text = arguments.value(KV_TRANSFER_CONFIG).filter(|text| !matches!(*text, "" | "None"));
    let parsed = text.map(serde_json::from_str::<Map<String, Value>>);
    let mut unreadable = matches!(parsed, Some(Err(_)));
    let json = parsed.and_then(Result::ok).unwrap_or_default();

    let mut keys = Map::new();
    let mut dotted = false;
    for flag in arguments.flags() {
        let Some((KV_TRANSFER_CONFIG, path)) = flag.name.split_once('.') else {
            continue;
        };
        dotted = true;
        let value = flag.value().unwrap_or_default();
        let value = if flag.append {
            value.split(',').collect()
        } else {
            // As vLLM reads it: JSON if it is JSON, else plain text.
            serde_json::from_str(value).unwrap_or_else(|_| Value::from(value))
        };
        unreadable |= set(&mut keys, path, value).is_none();
    }
    if text.is_none() && !dotted {
        return None;
    }
    let said = |key| named(&keys, key).or_else(|| named(&json, key));
    Some(KvTransfer {
        connector: said("kv_connector"),
        role: said("kv_role"),
        unreadable,
        shadowed: dotted && text.is_some(),
        config: if dotted { keys } else { json },
    })
}

fn named(config: &Map<String, Value>, key: &str) -> Option<String> {
    let text = config.get(key)?.as_str()?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// Sets the key at a dotted path: objects are merged, lists appended to, the rest replaced.
/// `None` if the path is too deep.
fn set(config: &mut Map<String, Value>, path: &str, value: Value) -> Option<()> {
    if path.split('.').count() > DEEPEST {
        return None;
    }
    let mut at = config;
    let mut path = path;
    while let Some((key, below)) = path.split_once('.') {
        let child = at.entry(key).or_insert(Value::Null);
        if !child.is_object() {
            *child = Value::Object(Map::new());
        }
        at = child.as_object_mut()?;
        path = below;
    }
    match at.get_mut(path) {
        Some(old) => combine(old, value),
        None => drop(at.insert(path.to_owned(), value)),
    }
    Some(())
}

/// Recursion is bounded by the depth of `value`: `serde_json` parses at most 128 levels.
fn combine(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                match old.get_mut(&key) {
                    Some(old) => combine(old, value),
                    None => drop(old.insert(key, value)),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => old.extend(new),
        (old, new) => *old = new,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;
    use serde_json::json;

    fn read(line: &str) -> KvTransfer {
        kv_transfer(&parse(line)).expect(line)
    }

    #[test]
    fn all_three_forms_are_read() {
        for line in [
            r#"--kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_both"}'"#,
            r#"--kv_transfer_config='{"kv_connector":"NixlConnector","kv_role":"kv_both"}'"#,
            "--kv-transfer-config.kv_connector NixlConnector --kv_transfer_config.kv_role=kv_both",
            r#"--kv-transfer-config.kv_connector '"NixlConnector"' --kv-transfer-config.kv_role kv_both"#,
        ] {
            let kv = read(line);
            assert_eq!(kv.connector.as_deref(), Some("NixlConnector"), "{line}");
            assert_eq!(kv.role.as_deref(), Some("kv_both"), "{line}");
            assert_eq!(
                Value::Object(kv.config.clone()),
                json!({"kv_connector": "NixlConnector", "kv_role": "kv_both"})
            );
            assert!(kv.gives_connector() && !kv.unreadable && !kv.shadowed);
        }
    }

    #[test]
    fn nothing_said_is_nothing_given() {
        for line in ["", "--port 1", "--kv-transfer-config None", "--kv-transfer-config ''"] {
            assert_eq!(kv_transfer(&parse(line)), None, "{line}");
        }
        for line in [
            "--kv-transfer-config '{}'",
            r#"--kv-transfer-config '{"kv_connector":null}'"#,
            r#"--kv-transfer-config '{"kv_connector":""}'"#,
            "--kv-transfer-config.kv_role kv_both",
        ] {
            assert!(!read(line).gives_connector(), "{line}");
        }
    }

    #[test]
    fn what_cannot_be_read_may_be_a_connector() {
        for line in [
            "--kv-transfer-config {kv_connector:NixlConnector}",
            "--kv-transfer-config $(KV_CONFIG)",
            "--kv-transfer-config '[]'",
        ] {
            let kv = read(line);
            assert!(kv.unreadable && kv.connector.is_none() && kv.gives_connector(), "{line}");
        }
    }

    #[test]
    fn the_last_json_value_counts_and_none_beside_dotted_keys() {
        let json = |name| format!(r#"--kv-transfer-config '{{"kv_connector":"{name}"}}'"#);
        let kv = read(&format!("{} {}", json("A"), json("B")));
        assert_eq!(kv.connector.as_deref(), Some("B"));

        let kv = read(&format!("{} --kv-transfer-config.kv_role kv_both", json("A")));
        assert_eq!(kv.connector.as_deref(), Some("A"), "said, though vLLM does not read it");
        assert_eq!(Value::Object(kv.config), json!({"kv_role": "kv_both"}));
        assert!(kv.shadowed);
    }

    #[test]
    fn dotted_keys_make_one_object() {
        let kv = read(
            r#"--kv-transfer-config.x.list '["a"]' --kv-transfer-config.x.list+ b,c
               --kv-transfer-config.x.n 5 --kv-transfer-config.x '{"m":true}'
               --kv-transfer-config.s text --kv-transfer-config.s.deep 1"#,
        );
        assert_eq!(
            Value::Object(kv.config),
            json!({"x": {"list": ["a", "b", "c"], "n": 5, "m": true}, "s": {"deep": 1}})
        );
    }

    #[test]
    fn a_deep_key_is_not_followed() {
        let line = format!("--kv-transfer-config{}.kv_connector X", ".a".repeat(200_000));
        let kv = read(&line);
        assert!(kv.unreadable && kv.config.is_empty());
    }
}
