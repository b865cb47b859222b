use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::presets::ReleaseSet;
use crate::release::tests::published;
use crate::sidecar::parse;

fn release(version: &str) -> Release {
    let version: Version = version.parse().unwrap();
    Release::all().find(|release| release.version() == version).unwrap()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

#[test]
fn the_data_is_whole() {
    let data: Data = serde_saphyr::from_str(TEXT).unwrap();
    assert!(data.releases.is_sorted() && data.releases.len() == 12);
    assert!(data.releases.contains(&data.pflag) && data.releases.contains(&data.pool_selector));
    let lists = data.values.values().chain([&data.flags, &data.env]);
    for entry in lists.flatten() {
        // Each entry says something of a release of the table, and names only such.
        let states: BTreeSet<_> =
            Release::all().map(|it| format!("{:?}", leak(entry).status(it.0))).collect();
        assert!(states.iter().any(|it| it == "Known" || it.starts_with("Depr")), "{}", entry.name);
        for named in entry.versions() {
            assert!(data.releases.contains(&named), "{} names {named}", entry.name);
        }
    }
    for (flag, values) in &data.values {
        assert!(data.flags.iter().any(|entry| entry.name == *flag), "{flag}");
        assert!(!values.is_empty());
    }
    // What is written instead exists in the newest release, or is that list's own name.
    let newest = Release::all().next_back().unwrap();
    for entry in data.flags.iter().chain(&data.env) {
        if let Some(instead) = entry.instead() {
            let (flag, value) = instead.split_once('=').unwrap_or((instead, ""));
            assert!(newest.flag(flag).is_accepted() || flag == "--help", "{instead}");
            assert!(value.is_empty() || newest.value(flag, value).is_accepted(), "{instead}");
        }
    }
}

fn leak(name: &Entry) -> &'static Entry {
    let all = DATA.values.values().chain([&DATA.flags, &DATA.env]).flatten();
    all.into_iter().find(|entry| format!("{entry:?}") == format!("{name:?}")).unwrap()
}

#[test]
fn an_image_names_its_release_by_repository_and_tag() {
    let of = |image: &str| Release::of_image(image).map(|release| release.to_string());
    let known = |image: &str, version: &str| assert_eq!(of(image).as_deref(), Some(version));
    known("ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0", "0.4");
    known("ghcr.io/llm-d/llm-d-routing-sidecar:v0.7.1", "0.7.1");
    known("ghcr.io/llm-d/llm-d-routing-sidecar:0.7.1", "0.7.1");
    known("ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.10.0", "0.10");
    known("ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.9.0@sha256:0123", "0.9");
    for image in [
        "",
        "ghcr.io/llm-d/llm-d-routing-sidecar",
        "ghcr.io/llm-d/llm-d-routing-sidecar:",
        "ghcr.io/llm-d/llm-d-routing-sidecar:latest",
        "ghcr.io/llm-d/llm-d-routing-sidecar:v0.4",
        "ghcr.io/llm-d/llm-d-routing-sidecar:v0.4.0-rc.1",
        "ghcr.io/llm-d/llm-d-routing-sidecar:v0.0.8",
        "ghcr.io/llm-d/llm-d-routing-sidecar@sha256:0123",
        "ghcr.io/llm-d/llm-d-router-disagg-sidecar:v0.11.0",
        "ghcr.io/llm-d/llm-d-router-disagg-sidecar:main",
        "localhost:5000/llm-d-routing-sidecar:v0.4.0",
        "localhost:5000/llm-d-routing-sidecar",
    ] {
        assert_eq!(of(image), None, "{image}");
    }
}

#[test]
fn a_flag_comes_and_goes() {
    let vllm_port = |it: &str| release(it).flag("--vllm-port");
    assert_eq!(vllm_port("0.9"), FlagStatus::Known);
    let deprecated =
        FlagStatus::Deprecated { since: version("0.10"), instead: Some("--model-server-port") };
    assert_eq!(vllm_port("0.10"), deprecated);
    assert_eq!(
        release("0.9").flag("--model-server-port"),
        FlagStatus::NotYet { since: version("0.10"), instead: Some("--vllm-port") }
    );
    let removed = FlagStatus::Removed { since: version("0.10"), instead: Some("--kv-connector") };
    assert_eq!(release("0.10").flag("--connector"), removed);
    assert!(release("0.2").flag("--connector").is_accepted());
    assert!(release("0.9").flag("--connector").is_accepted());
    assert_eq!(release("0.6.1").flag("--connector"), FlagStatus::Known);
    assert_eq!(
        release("0.8").flag("--kv-conector"),
        FlagStatus::Unknown { nearest: Some("--kv-connector") }
    );
    assert_eq!(release("0.8").flag("--xyz"), FlagStatus::Unknown { nearest: None });
    // A hint is a flag of that release.
    assert_eq!(
        release("0.6").flag("--kv-conector"),
        FlagStatus::Unknown { nearest: Some("--connector") }
    );
}

#[test]
fn one_dash_is_enough_up_to_0_6() {
    assert_eq!(release("0.6.1").flag("-port"), FlagStatus::Known);
    let two = FlagStatus::Removed { since: version("0.7"), instead: Some("--port") };
    assert_eq!(release("0.7").flag("-port"), two);
    assert_eq!(release("0.7").flag("--port"), FlagStatus::Known);
    assert_eq!(release("0.10").flag("-h"), FlagStatus::Known);
    assert!(matches!(release("0.9").flag("-p"), FlagStatus::Unknown { .. }));
}

#[test]
fn values_come_and_go() {
    let connectors = |it: &str| release(it).values("--kv-connector");
    assert_eq!(connectors("0.2"), ["nixl", "nixlv2", "lmcache"]);
    assert_eq!(connectors("0.4"), ["nixlv2", "lmcache", "sglang"]);
    assert_eq!(connectors("0.8"), ["nixlv2", "shared-storage", "sglang"]);
    assert_eq!(connectors("0.10").len(), 5);
    assert!(release("0.6").values("--ec-connector").is_empty());
    assert_eq!(release("0.9").values("--ec-connector"), ["ec-example", "ec-nixl"]);
    let renamed = FlagStatus::Removed { since: version("0.6"), instead: Some("shared-storage") };
    for flag in ["--connector", "--kv-connector", "-connector"] {
        assert_eq!(release("0.7").value(flag, "lmcache"), renamed);
    }
    assert!(matches!(
        release("0.9").value("--kv-connector", "offloading"),
        FlagStatus::NotYet { .. }
    ));
    assert_eq!(
        release("0.9").value("--kv-connector", "nixl_v2"),
        FlagStatus::Unknown { nearest: Some("nixlv2") }
    );
    assert_eq!(release("0.9").value("--port", "x"), FlagStatus::Known);
    assert!(!release("0.9").value("--enable-tls", "decode").is_accepted());
    assert!(release("0.9").values("--port").is_empty());
}

#[test]
fn defaults_are_those_of_the_release() {
    let port = |it: &str| release(it).default_model_server_port();
    assert_eq!((port("0.2"), port("0.9"), port("0.10")), (8001, 8001, 8200));
    for release in Release::all() {
        assert_eq!(release.default("--secure-proxy"), Some("true"));
        assert_eq!(release.default("--port"), Some("8000"));
        assert_eq!(release.default("--cert-path"), None);
        assert!(release.flag(release.connector_flag()).is_accepted());
        assert!(release.default(release.connector_flag()).is_some());
        assert!(release.flag(release.model_server_port_flag()).is_accepted());
    }
    assert_eq!(release("0.2").default("--connector"), Some("nixl"));
    assert_eq!(release("0.3").default("--connector"), Some("nixlv2"));
    assert_eq!(release("0.10").default("--connector"), None);
}

#[test]
fn a_pool_without_a_namespace_is_in_default() {
    assert_eq!(inference_pool("a/b"), Some(Pool { namespace: "a", name: "b" }));
    assert_eq!(inference_pool("b"), Some(Pool { namespace: "default", name: "b" }));
    for refused in ["", "/", "a/", "/b", "a/b/c"] {
        assert_eq!(inference_pool(refused), None, "{refused}");
    }
    let group = release("0.9").default("--pool-group").unwrap();
    assert!(!release("0.9").finds_pods_of(group) && release("0.10").finds_pods_of(group));
    assert!(release("0.9").finds_pods_of(ALPHA_GROUP));
}

#[test]
fn variables_come_and_go() {
    assert_eq!(release("0.8").env("INFERENCE_POOL_NAME"), FlagStatus::Known);
    assert!(matches!(
        release("0.9").env("INFERENCE_POOL_NAME"),
        FlagStatus::Removed { instead: Some("--inference-pool"), .. }
    ));
    assert!(matches!(release("0.6").env("INFERENCE_POOL"), FlagStatus::NotYet { .. }));
}

#[test]
fn every_switch_that_is_parsed_is_of_a_release() {
    // `--secure-serving` is newer than the table.
    for switch in super::super::SWITCHES.iter().filter(|it| **it != "--secure-serving") {
        let known = Release::all().any(|release| release.flag(switch).is_accepted());
        assert!(known || *switch == "--enable-speculative-prefill", "{switch}");
    }
}

#[test]
fn the_sidecars_of_the_built_in_configs_are_known() {
    let mut seen = BTreeSet::new();
    for (set, expected) in [(ReleaseSet::V0_17, "0.4"), (ReleaseSet::V0_20, "0.9")] {
        for config in set.configs() {
            for release in check(&serde_json::to_value(&config.object).unwrap()) {
                assert_eq!(release.to_string(), expected);
                seen.insert(release);
            }
        }
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn the_sidecars_of_kserves_configs_and_samples_are_known() {
    let Some(objects) = published() else { return };
    let releases: BTreeSet<Release> = objects.iter().flat_map(check).collect();
    assert!(releases.len() >= 2);
}

/// The releases of the sidecars anywhere in a value. All their flags and values are accepted.
fn check(value: &Value) -> Vec<Release> {
    let mut found = Vec::new();
    let is_sidecar = |it: &Value| it["image"].as_str().is_some_and(|it| it.contains("-sidecar:"));
    if is_sidecar(value) {
        let image = value["image"].as_str().unwrap();
        let release = Release::of_image(image).unwrap_or_else(|| panic!("{image}"));
        let words = |of: &Value| -> Vec<String> {
            of.as_array().into_iter().flatten().map(|it| it.as_str().unwrap().into()).collect()
        };
        let arguments = parse(&words(&value["command"]), &words(&value["args"]));
        for flag in arguments.flags() {
            assert_eq!(release.flag(&flag.spelling), FlagStatus::Known, "{image} {flag:?}");
            for value in &flag.values {
                assert!(release.value(&flag.name, value).is_accepted(), "{image} {flag:?}");
            }
        }
        found.push(release);
    }
    match value {
        Value::Array(items) => found.extend(items.iter().flat_map(check)),
        Value::Object(members) => found.extend(members.values().flat_map(check)),
        _ => {}
    }
    found
}
