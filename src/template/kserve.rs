//! The functions KServe gives to the templates of an `LLMInferenceServiceConfig`
//! (`ReplaceVariables` in its `pkg/controller/v1alpha2/llmisvc/config_merge.go`).

use std::collections::BTreeMap;
use std::fmt::Write;

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::{Data, Functions, quote};
use crate::quantity;

/// `ChildName`, `shutdownTimeout` and `kvTransferConfig`.
#[derive(Debug, Clone, Copy, Default)]
pub struct KserveFunctions;

impl Functions for KserveFunctions {
    fn call(&self, name: &str, args: &[Data]) -> Option<Result<Data, String>> {
        match name {
            "ChildName" => Some(call_child_name(args)),
            "shutdownTimeout" => Some(shutdown_timeout(args)),
            "kvTransferConfig" => Some(kv_transfer_config(args)),
            _ => None,
        }
    }

    fn names(&self) -> &[&str] {
        &["ChildName", "kvTransferConfig", "shutdownTimeout"]
    }
}

/// The name of an object that belongs to `parent`: `parent` and `suffix`, at most 63 bytes.
///
/// A longer name has its end cut off and an MD5 hash put in, as `kmeta.ChildName` of
/// `knative.dev/pkg` does, so that names stay apart: of the parent when the suffix leaves room for
/// it, else of the whole.
#[must_use]
pub fn child_name(parent: &str, suffix: &str) -> String {
    if parent.len() + suffix.len() <= LONGEST_NAME {
        return format!("{parent}{suffix}");
    }
    let room = HEAD.saturating_sub(suffix.len());
    if room > 0 {
        let mut name = head(parent.as_bytes(), room).to_vec();
        name.extend_from_slice(hex_md5(parent.as_bytes()).as_bytes());
        name.extend_from_slice(suffix.as_bytes());
        return quote::to_text(&name);
    }
    let mut name = head(parent.as_bytes(), HEAD).to_vec();
    name.extend_from_slice(hex_md5(format!("{parent}{suffix}").as_bytes()).as_bytes());
    let left = LONGEST_NAME - name.len();
    name.extend_from_slice(head(suffix.as_bytes(), left));
    // The cut may have left a dash at the end. The hash keeps the name from running empty.
    while name.last().is_some_and(|b| !b.is_ascii_alphanumeric()) {
        name.pop();
    }
    quote::to_text(&name)
}

/// The longest name of most Kubernetes objects, in bytes.
const LONGEST_NAME: usize = 63;
/// What a hash of 32 hexadecimal digits leaves of it.
const HEAD: usize = LONGEST_NAME - 32;

fn head(bytes: &[u8], length: usize) -> &[u8] {
    bytes.get(..length).unwrap_or(bytes)
}

fn hex_md5(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(32);
    for byte in Md5::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn call_child_name(args: &[Data]) -> Result<Data, String> {
    match args {
        [Data::Str(parent), Data::Str(suffix)] => Ok(Data::Str(child_name(parent, suffix))),
        _ => Err("takes two strings, the parent's name and a suffix".to_owned()),
    }
}

/// `shutdownTimeout podSpec preStop`, in seconds: what the grace period leaves after the preStop
/// hook and up to five seconds for the kubelet. Nil, or a spec without the field, has the 60
/// seconds KServe assumes.
fn shutdown_timeout(args: &[Data]) -> Result<Data, String> {
    const DEFAULT_GRACE: i64 = 60;
    const CLEAN_UP: i64 = 5;
    let [spec, pre_stop] = args else {
        return Err(format!(
            "takes a pod spec and the seconds of the preStop hook, not {} arguments",
            args.len()
        ));
    };
    let pre_stop = whole(pre_stop).ok_or("the seconds of the preStop hook are a whole number")?;
    let grace = match field(spec, "TerminationGracePeriodSeconds") {
        None | Some(Data::Nil) => DEFAULT_GRACE,
        Some(grace) => whole(grace).ok_or("TerminationGracePeriodSeconds is a whole number")?,
    };
    let left = grace.saturating_sub(pre_stop).saturating_sub(grace.min(CLEAN_UP));
    Ok(Data::Int(left.max(0)))
}

/// A whole number. A constant such as `1e1` is one in Go, too, where an int is asked for.
fn whole(data: &Data) -> Option<i64> {
    match data {
        Data::Int(i) => Some(*i),
        #[expect(clippy::cast_possible_truncation, reason = "checked by the guard")]
        Data::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(*f as i64),
        _ => None,
    }
}

/// `kvTransferConfig spec`: vLLM's `--kv-transfer-config` for the KV cache tiers of a
/// `KVCacheOffloadingSpec`, or nothing when it is nil.
///
/// The quotes in the JSON stand behind backslashes, as the text goes into a double-quoted
/// assignment of a shell script.
fn kv_transfer_config(args: &[Data]) -> Result<Data, String> {
    let [spec] = args else {
        return Err(format!("takes a KV cache offloading spec, not {} arguments", args.len()));
    };
    if !matches!(spec, Data::Map(_)) {
        return Ok(Data::Str(String::new()));
    }
    let bytes = match field(spec, "CPU") {
        None | Some(Data::Nil) => 0,
        Some(Data::Str(text)) => quantity::value(text).map_err(|e| format!("CPU: {e}"))?,
        Some(Data::Int(bytes)) => *bytes,
        Some(Data::Float(bytes)) => quantity::value(&bytes.to_string())?,
        Some(_) => return Err("CPU is a quantity such as 10Gi".to_owned()),
    };
    // Inserted in the order of their names, as Go writes a map.
    let mut extra = Map::new();
    extra.insert("cpu_bytes_to_use".to_owned(), bytes.into());
    match field(spec, "EvictionPolicy") {
        Some(Data::Str(policy)) if !policy.is_empty() => {
            extra.insert("eviction_policy".to_owned(), policy.as_str().into());
        }
        _ => {}
    }
    let tiers = secondary_tiers(spec);
    if !tiers.is_empty() {
        extra.insert("secondary_tiers".to_owned(), tiers.into());
    }
    extra.insert("spec_name".to_owned(), "TieringOffloadingSpec".into());
    let config = json!({
        "kv_connector": "OffloadingConnector",
        "kv_connector_extra_config": extra,
        "kv_role": "kv_both",
    });
    let config = config.to_string().replace('"', "\\\"");
    Ok(Data::Str(format!("--kv-transfer-config '{config}'")))
}

fn secondary_tiers(spec: &Data) -> Vec<Value> {
    let Some(Data::List(tiers)) = field(spec, "Secondary") else {
        return Vec::new();
    };
    tiers
        .iter()
        .enumerate()
        .filter(|(_, tier)| !matches!(field(tier, "FileSystem"), None | Some(Data::Nil)))
        .map(|(at, _)| json!({"root_dir": format!("/mnt/kv-cache-{at}"), "type": "fs"}))
        .collect()
}

/// The field `name` of a Go struct, which data may hold under its JSON name: the two differ in
/// case only.
fn field<'d>(data: &'d Data, name: &str) -> Option<&'d Data> {
    let Data::Map(fields) = data.pointee() else {
        return None;
    };
    fields.get(name).or_else(|| any_case(fields, name)).map(Data::pointee)
}

fn any_case<'d>(fields: &'d BTreeMap<String, Data>, name: &str) -> Option<&'d Data> {
    fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, args: &[serde_json::Value]) -> Result<Data, String> {
        let args: Vec<Data> = args.iter().map(Data::from).collect();
        KserveFunctions.call(name, &args).unwrap()
    }

    fn text(name: &str, args: &[serde_json::Value]) -> String {
        match call(name, args) {
            Ok(Data::Str(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    /// The names `kmeta.ChildName` gives.
    #[test]
    fn child_names_are_knatives() {
        let a63 = "a".repeat(63);
        for (parent, suffix, want) in [
            ("svc", "-kserve-self-signed-certs", "svc-kserve-self-signed-certs"),
            (
                "a-rather-long-name-of-an-inference-service-in-some-team",
                "-kserve-self-signed-certs",
                "a-rath78501e51c2125b47b4c79006e2b2ee68-kserve-self-signed-certs",
            ),
            (
                "svc",
                "-a-suffix-that-is-longer-than-all-the-sixty-three-characters-allowed",
                "svce73f17fcd05c23329addf144c99e6ec8-a-suffix-that-is-longer-tha",
            ),
            (
                "a-parent-whose-name-has-thirty-2",
                "-a-suffix-of-thirty-one-letters",
                "a-parent-whose-name-has-thirty-2-a-suffix-of-thirty-one-letters",
            ),
            (&a63, "", &a63),
            (
                &"a".repeat(64),
                "",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa014842d480b571495a4a0363793f7367",
            ),
            (
                "abc",
                "--------------------------------------------------------------d",
                "abcd53aafbe456aeec57761e241708b1260",
            ),
            (
                "",
                &"a".repeat(64),
                "014842d480b571495a4a0363793f7367aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            ),
            (
                &format!("a-parent-name-cut-in-a-letter{}", "é".repeat(20)),
                "b",
                "a-parent-name-cut-in-a-letter\u{fffd}92c214acac78f07cb80913e58f20ba1cb",
            ),
            (
                "q30jdc5vni-i0gk1xjd0sj3k735u4rs4",
                "jhy8l.5vlf5r696xew-ctx9r5qsvél-",
                "q30jdc5vni-i0gk1xjd0sj3k735u4rsf6223d31cc792985a2938f8f822249a9",
            ),
        ] {
            assert_eq!(child_name(parent, suffix), want);
        }
    }

    #[test]
    fn child_name_takes_two_strings() {
        assert_eq!(text("ChildName", &[json!("a"), json!("-b")]), "a-b");
        assert!(call("ChildName", &[json!("a")]).is_err());
        assert!(call("ChildName", &[json!("a"), json!(1)]).is_err());
        assert!(KserveFunctions.call("childName", &[]).is_none());
    }

    #[test]
    fn shutdown_timeouts() {
        let spec = |seconds: i64| json!({"TerminationGracePeriodSeconds": seconds});
        for (spec, pre_stop, want) in [
            (json!(null), 15, 40),
            (json!({}), 15, 40),
            (json!({"TerminationGracePeriodSeconds": null}), 15, 40),
            (spec(120), 15, 100),
            (json!({"terminationGracePeriodSeconds": 120}), 15, 100),
            (spec(20), 15, 0),
            (spec(3), 0, 0),
            (spec(0), 0, 0),
            (spec(10), 60, 0),
            (spec(30), -5, 30),
            (spec(i64::MIN), i64::MAX, 0),
        ] {
            let got = call("shutdownTimeout", &[spec.clone(), json!(pre_stop)]);
            assert_eq!(got, Ok(Data::Int(want)), "{spec} {pre_stop}");
        }
        assert_eq!(call("shutdownTimeout", &[json!(null), json!(15.0)]), Ok(Data::Int(40)));
        assert!(call("shutdownTimeout", &[json!(null)]).is_err());
        assert!(call("shutdownTimeout", &[json!(null), json!("15")]).is_err());
        assert!(call("shutdownTimeout", &[json!(null), json!(1.5)]).is_err());
    }

    /// The pointers of a Go struct are followed.
    #[test]
    fn a_grace_period_behind_a_pointer() {
        let grace = Data::Pointer(Box::new(Data::Int(45)));
        let spec = Data::Map(BTreeMap::from([("TerminationGracePeriodSeconds".to_owned(), grace)]));
        let spec = Data::Pointer(Box::new(spec));
        let got = KserveFunctions.call("shutdownTimeout", &[spec, Data::Int(15)]);
        assert_eq!(got, Some(Ok(Data::Int(25))));
    }

    #[test]
    fn kv_transfer_configs() {
        let config = |spec| text("kvTransferConfig", &[spec]);
        assert_eq!(config(json!(null)), "");
        assert_eq!(
            config(json!({"CPU": "10Gi", "Secondary": []})),
            concat!(
                r#"--kv-transfer-config '{\"kv_connector\":\"OffloadingConnector\","#,
                r#"\"kv_connector_extra_config\":{\"cpu_bytes_to_use\":10737418240,"#,
                r#"\"spec_name\":\"TieringOffloadingSpec\"},\"kv_role\":\"kv_both\"}'"#
            )
        );
        assert_eq!(
            config(json!({
                "cpu": 3,
                "evictionPolicy": "lru",
                "secondary": [{"fileSystem": {}}, {}, {"FileSystem": {"pvc": {}}}]
            })),
            concat!(
                r#"--kv-transfer-config '{\"kv_connector\":\"OffloadingConnector\","#,
                r#"\"kv_connector_extra_config\":{\"cpu_bytes_to_use\":3,"#,
                r#"\"eviction_policy\":\"lru\",\"secondary_tiers\":["#,
                r#"{\"root_dir\":\"/mnt/kv-cache-0\",\"type\":\"fs\"},"#,
                r#"{\"root_dir\":\"/mnt/kv-cache-2\",\"type\":\"fs\"}],"#,
                r#"\"spec_name\":\"TieringOffloadingSpec\"},\"kv_role\":\"kv_both\"}'"#
            )
        );
    }

    #[test]
    fn a_wrong_quantity_names_its_field() {
        let error = call("kvTransferConfig", &[json!({"CPU": "10gb"})]).unwrap_err();
        assert_eq!(
            error,
            "CPU: \"10gb\" is not a quantity; write a number with an optional suffix, as in 10Gi"
        );
    }
}
