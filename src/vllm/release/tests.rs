use std::collections::BTreeSet;

use serde_json::Value;

use super::*;
use crate::presets::ReleaseSet;
use crate::release::tests::published;
use crate::vllm::flags;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn vllm(version: &str) -> Release {
    Release::of_image(&format!("vllm/vllm-openai:v{version}")).unwrap()
}

fn llm_d(version: &str) -> Release {
    Release::of_image(&format!("ghcr.io/llm-d/llm-d-cuda:v{version}")).unwrap()
}

#[test]
fn the_data_is_whole() {
    let data: Data = serde_saphyr::from_str(TEXT).unwrap();
    for list in [&data.read, &data.releases] {
        assert!(list.windows(2).all(|pair| pair[0] < pair[1]));
    }
    assert!(data.read.iter().all(|read| data.releases.contains(read)));
    assert_eq!(data.read.last(), data.releases.last());
    for build in data.builds.values().flatten() {
        assert!(build.from <= build.to, "{build:?}");
        assert!(data.releases.contains(&build.from) && data.releases.contains(&build.to));
    }
    for builds in data.builds.values() {
        assert!(builds.windows(2).all(|pair| pair[0].tag < pair[1].tag));
        assert!(builds.windows(2).all(|pair| pair[0].from <= pair[1].from));
    }
    for change in Change::ALL {
        let since: Vec<_> = data.changes.iter().filter(|it| it.change == change).collect();
        let [entry] = since.as_slice() else { panic!("{change:?}") };
        assert!(data.read.contains(&entry.since), "{change:?}");
        assert_eq!(vllm("0.33.0").has(change), Some(true));
        assert_eq!(vllm("0.11.2").has(change), Some(false));
    }
    assert_eq!(data.changes.len(), Change::ALL.len());
}

#[test]
fn every_name_is_there_once_and_says_something() {
    let data: Data = serde_saphyr::from_str(TEXT).unwrap();
    for names in [&data.flags, &data.connectors, &data.all2all_backends] {
        let all = names.always.iter().chain(names.changed.iter().map(|entry| &entry.name));
        let unique: BTreeSet<_> = all.clone().collect();
        assert_eq!(unique.len(), all.count());
        for entry in &names.changed {
            assert!(entry.versions().next().is_some(), "{}", entry.name);
            assert!(entry.versions().all(|named| data.read.contains(&named)), "{}", entry.name);
        }
    }
    // What is written instead is accepted by the release that no longer has the name.
    for entry in &data.flags.changed {
        for instead in entry.instead().into_iter().flat_map(|text| text.split(" or ")) {
            let status = flag_status(instead, Some(vllm("0.14.1")));
            assert!(status.is_accepted(), "{instead}: {status:?}");
        }
    }
    for names in [&data.connectors, &data.all2all_backends] {
        let newest = data.read.last().copied().unwrap();
        let there = |name: &str| {
            DATA.connectors.find(name, newest).is_some_and(FlagStatus::is_accepted)
                || DATA.all2all_backends.find(name, newest).is_some_and(FlagStatus::is_accepted)
        };
        let instead = names.changed.iter().filter_map(|entry| entry.instead());
        assert!(instead.flat_map(|text| text.split(" or ")).all(there));
    }
}

#[test]
fn an_image_names_its_release_by_repository_and_tag() {
    let of = |image: &str| Release::of_image(image).map(|release| release.to_string());
    let known = |image: &str, version: &str| assert_eq!(of(image).as_deref(), Some(version));
    known("vllm/vllm-openai:v0.17.1", "0.17.1");
    known("docker.io/vllm/vllm-openai:v0.10.1.1", "0.10.1.1");
    known("vllm/vllm-openai:v0.24.0-x86_64-ubuntu2404", "0.24");
    known("vllm/vllm-openai:v0.11.0-cu130", "0.11");
    known("vllm/vllm-openai:v0.17.1@sha256:0123", "0.17.1");
    known("ghcr.io/llm-d/llm-d-cuda:v0.4.0", "0.11.2 to 0.12");
    known("ghcr.io/llm-d/llm-d-cuda:v0.8.0", "0.23");
    known("ghcr.io/llm-d/llm-d-cuda:v0.9.0@sha256:0123", "0.26");
    for image in [
        "",
        "vllm/vllm-openai",
        "vllm/vllm-openai:latest",
        "vllm/vllm-openai:nightly",
        "vllm/vllm-openai:v0.17",
        "vllm/vllm-openai:v0.17.1rc1",
        "vllm/vllm-openai:v0.17.1-",
        "vllm/vllm-openai:v0.17.1-mine",
        "vllm/vllm-openai:v0.6.0",
        "vllm/vllm-openai:v0.99.0",
        "vllm/vllm-openai@sha256:0123",
        "ghcr.io/llm-d/llm-d-cuda:v0.10.0",
        "ghcr.io/llm-d/llm-d-cuda:v0.8.0-cu130",
        "ghcr.io/llm-d/llm-d-cuda-dev:v0.8.0",
        "localhost:5000/vllm-openai:v0.17.1",
    ] {
        assert_eq!(of(image), None, "{image}");
    }
}

#[test]
fn a_change_is_unknown_between_two_releases_that_were_read() {
    let refused = |release: Release| release.has(Change::ExpandableSegmentsRefused);
    assert_eq!(refused(vllm("0.20.2")), Some(false));
    assert_eq!(refused(vllm("0.21.0")), Some(true));
    let variable = |release: Release| release.has(Change::All2allVariableIgnored);
    assert_eq!(variable(vllm("0.14.1")), Some(false));
    assert_eq!(variable(vllm("0.15.1")), None);
    assert_eq!(variable(vllm("0.10.0")), Some(false));
    assert_eq!(variable(llm_d("0.4.0")), Some(false));
    assert_eq!(variable(llm_d("0.5.0")), Some(false));
    assert_eq!(variable(llm_d("0.5.1")), None);
    assert_eq!(variable(llm_d("0.6.0")), Some(true));
}

#[test]
fn a_flag_comes_and_goes() {
    let at = |name: &str, version: &str| flag_status(name, Some(vllm(version)));
    let coming = FlagStatus::NotYet { since: version("0.18"), instead: None };
    assert_eq!(at("--shutdown-timeout", "0.17.1"), coming);
    assert_eq!(at("--shutdown-timeout", "0.18.0"), FlagStatus::Known);
    assert_eq!(flag_status("--shutdown-timeout", None), FlagStatus::Known);
    let gone = FlagStatus::Removed { since: version("0.18"), instead: None };
    assert_eq!(at("--swap-space", "0.18.0"), gone);
    assert_eq!(at("--swap-space", "0.17.1"), FlagStatus::Known);
    // Between two releases that disagree.
    assert_eq!(at("--cuda-graph-sizes", "0.12.0"), FlagStatus::Known);
    assert!(matches!(
        at("--cuda-graph-sizes", "0.14.1"),
        FlagStatus::Removed { instead: Some("--cudagraph-capture-sizes"), .. }
    ));
    assert!(matches!(at("--disable-log-requests", "0.16.0"), FlagStatus::Deprecated { .. }));
    assert_eq!(
        at("--tensor-paralel-size", "0.20.0"),
        FlagStatus::Unknown { nearest: Some("--tensor-parallel-size") }
    );
    assert_eq!(flag_status("--xyzzy", None), FlagStatus::Unknown { nearest: None });
}

#[test]
fn a_flag_is_known_in_any_spelling() {
    for spelling in [
        "--max_model_len",
        "--max-model-len",
        "-tp",
        "--no-enable-prefix-caching",
        "--no_enable_prefix_caching",
        "--kv-transfer-config.kv_role",
        "--kv_transfer_config.kv_connector_extra_config.backends+",
        "--compilation-config.pass_config.x=1",
        "-O3",
        "-O.mode",
        "--tensor-parallel",
        "--help",
    ] {
        assert_eq!(flag_status(spelling, Some(vllm("0.20.0"))), FlagStatus::Known, "{spelling}");
        assert_eq!(flag_status(spelling, None), FlagStatus::Known, "{spelling}");
    }
    // More than one flag starts so.
    assert!(matches!(flag_status("--data-parallel", None), FlagStatus::Unknown { .. }));
    assert!(matches!(flag_status("--", None), FlagStatus::Unknown { .. }));
}

#[test]
fn connectors_and_backends_come_and_go() {
    let removed = FlagStatus::Removed { since: version("0.24"), instead: None };
    assert_eq!(connector_status("P2pNcclConnector", Some(vllm("0.26.0"))), removed);
    assert_eq!(connector_status("P2pNcclConnector", Some(vllm("0.23.0"))), FlagStatus::Known);
    assert!(matches!(
        connector_status("NixlPushConnector", Some(llm_d("0.8.0"))),
        FlagStatus::NotYet { .. }
    ));
    for release in [vllm("0.11.2"), vllm("0.33.0"), llm_d("0.4.0")] {
        assert_eq!(connector_status("NixlConnector", Some(release)), FlagStatus::Known);
    }
    assert_eq!(
        connector_status("NixlConector", Some(vllm("0.20.0"))),
        FlagStatus::Unknown { nearest: Some("NixlConnector") }
    );
    assert!(matches!(all2all_status("pplx", Some(vllm("0.26.0"))), FlagStatus::Deprecated { .. }));
    assert_eq!(all2all_status("pplx", Some(vllm("0.16.0"))), FlagStatus::Known);
    assert!(matches!(all2all_status("mori", Some(vllm("0.23.0"))), FlagStatus::Removed { .. }));
}

#[test]
fn short_names_and_one_word_flags_are_of_some_release() {
    for name in flags::names() {
        // `vllm --version` is no flag of `vllm serve`.
        let status = flag_status(name, None);
        assert!(name == "--version" || status == FlagStatus::Known, "{name}: {status:?}");
    }
}

#[test]
fn the_engines_of_the_built_in_configs_are_known() {
    for (set, expected) in [(ReleaseSet::V0_17, "0.11.2 to 0.12"), (ReleaseSet::V0_20, "0.23")] {
        let mut seen = 0;
        for config in set.configs() {
            for release in check(&serde_json::to_value(&config.object).unwrap()).iter().flatten() {
                assert_eq!(release.to_string(), expected);
                seen += 1;
            }
        }
        assert!(seen >= 6);
    }
}

#[test]
fn the_engines_of_kserves_configs_and_samples_are_known() {
    let Some(objects) = published() else { return };
    let releases = objects.iter().flat_map(check);
    let releases: BTreeSet<_> = releases.map(|it| it.map(|release| release.to_string())).collect();
    let known = ["0.11.2 to 0.12", "0.23"].map(|text| Some(text.to_owned()));
    assert!(known.iter().all(|release| releases.contains(release)), "{releases:?}");
}

/// The releases of the engines anywhere in a value. All their flags are accepted.
fn check(value: &Value) -> Vec<Option<Release>> {
    let mut found = Vec::new();
    // The scheduler's container is called the same.
    let is_engine = |image: &str| ["vllm", "llm-d-cuda"].iter().any(|name| image.contains(name));
    let image = value["image"].as_str();
    if value["name"] == "main" && image.is_none_or(is_engine) {
        let release = image.and_then(Release::of_image);
        let flags = flags_of(value);
        // A sample may leave all to the presets.
        assert!(release.is_none() || flags.len() > 1, "{flags:?}");
        for flag in flags {
            let status = flag_status(&flag, release);
            assert!(status.is_accepted(), "{flag} {release:?} {status:?}");
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

/// The words that look like an engine's flags, in a script behind `vllm serve` and anywhere else in
/// the arguments. The variable that scripts expand counts as arguments.
fn flags_of(container: &Value) -> Vec<String> {
    let words = ["command", "args"].into_iter().filter_map(|key| container[key].as_array());
    let additional = container["env"].as_array().into_iter().flatten();
    let additional = additional.filter(|env| env["name"] == crate::vllm::ADDITIONAL_ARGS);
    let texts = words.flatten().chain(additional.map(|env| &env["value"]));
    let engines = texts.filter_map(Value::as_str).map(|text| match text.split_once("vllm serve") {
        Some((_, behind)) => behind,
        None if text.contains('\n') && text.contains("if ") => "",
        None => text,
    });
    let words = engines.flat_map(str::split_whitespace);
    let bare = words.map(|word| word.trim_matches(['"', '\'', '\\']));
    bare.filter(|word| {
        word.strip_prefix("--").is_some_and(|it| it.starts_with(char::is_alphabetic))
    })
    .map(str::to_owned)
    .collect()
}
