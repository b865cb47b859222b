//! The functions KServe gives to the templates of an `LLMInferenceServiceConfig`
//! (`ReplaceVariables` in its `pkg/controller/v1alpha2/llmisvc/config_merge.go`).

use std::collections::BTreeMap;
use std::fmt::Write;

use md5::{Digest, Md5};
use serde_json::{Map, Value, json};

use super::{Data, Functions, quantity, quote};

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
