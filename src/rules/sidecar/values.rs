//! Values of the sidecar's flags.

use super::{fronts, is_switch};
use crate::arguments::Flag;
use crate::decision::quoted;
use crate::rules::case::Case;
use crate::rules::report::Report;
use crate::sidecar::{
    DATA_PARALLEL_SIZE, FlagStatus, KV_CONNECTOR, MODEL_SERVER_PORT, PORT, Release, SECURE_SERVING,
    inference_pool, read_switch,
};

const PORTS: [&str; 4] =
    [PORT, MODEL_SERVER_PORT, "--mooncake-bootstrap-port", "--p2p-connector-port"];
const STAGES: [&str; 2] = ["--enable-tls", "--tls-insecure-skip-verify"];

pub(super) fn check(case: &Case<'_>, report: &mut Report) {
    for (engine, sidecar) in fronts(case) {
        let release = sidecar.release();
        for flag in sidecar.arguments.flags() {
            if report.is_full() {
                break;
            }
            // A flag that is not there takes no value.
            let is_there = release.is_none_or(|it| it.flag(&flag.spelling).is_accepted());
            let value = flag.value().filter(|value| is_there && !value.contains("$("));
            let Some(value) = value else { continue };
            let name = flag.name.as_str();
            let place = || sidecar.place(engine, case, name);
            let found = format!("found {} {}", flag.spelling, quoted(value));
            if is_switch(flag) {
                if read_switch(value).is_none() {
                    report.invalid(place(), found, "write true or false");
                }
            } else if PORTS.contains(&name) {
                if !value.parse::<u16>().is_ok_and(|port| port > 0) {
                    report.invalid(place(), found, "write a port, 1 to 65535");
                }
            } else if name == DATA_PARALLEL_SIZE {
                if !value.parse::<u32>().is_ok_and(|size| size > 0) {
                    report.invalid(place(), found, "write a number of ranks, 1 or more");
                }
            } else if name == "--inference-pool" {
                if !value.is_empty() && inference_pool(value).is_none() {
                    report.invalid(place(), found, "write namespace/name");
                }
            } else if [KV_CONNECTOR, "--ec-connector"].contains(&name) || STAGES.contains(&name) {
                let parts = value.split(',').filter(|part| !part.is_empty());
                let wrong = parts.filter_map(|part| Some((part, refused(release, flag, part)?)));
                for (part, help) in wrong {
                    let found = format!("found {} {}", flag.spelling, quoted(part));
                    if let Some(release) = release {
                        let message = format!("{found}, which release {release} does not know");
                        report.invalid(place(), message, help);
                    } else {
                        let message = format!("{found}, which no release that is known has");
                        report.unsure(place(), message, help);
                    }
                }
            }
        }
        switches_with_words(engine, &sidecar, case, report);
    }
}

/// What to write instead of a value that the release refuses, or where that is not known, every
/// release; `None` where it is accepted.
fn refused(release: Option<Release>, flag: &Flag, value: &str) -> Option<String> {
    let Some(release) = release else {
        let newest = Release::all().next_back()?;
        let accepts = |it: Release| it.value(&flag.name, value).is_accepted();
        return (!Release::all().any(accepts)).then(|| choice(newest, flag));
    };
    match release.value(&flag.name, value) {
        FlagStatus::Known | FlagStatus::Deprecated { .. } => None,
        FlagStatus::Removed { instead: Some(instead), .. } => Some(format!("write {instead}")),
        FlagStatus::NotYet { since, .. } => {
            Some(format!("take an image of release {since}, or {}", choice(release, flag)))
        }
        FlagStatus::Removed { .. } | FlagStatus::Unknown { .. } => Some(choice(release, flag)),
    }
}

fn choice(release: Release, flag: &Flag) -> String {
    format!("write one of: {}", release.values(&flag.name).join(", "))
}

/// `--x false`: the switch is on, and the word is none of its own.
fn switches_with_words(
    engine: &super::Engine,
    sidecar: &super::Sidecar<'_>,
    case: &Case<'_>,
    report: &mut Report,
) {
    let arguments: Vec<_> = sidecar.arguments.iter().collect();
    for pair in arguments.windows(2) {
        let [first, second] = pair else { continue };
        let (Some(flag), None) = (&first.flag, &second.flag) else { continue };
        let word = second.words().first().filter(|word| read_switch(word).is_some());
        // Where it is that of the TLS, the probes tell.
        let (Some(word), true) = (word, is_switch(flag) && flag.name != SECURE_SERVING) else {
            continue;
        };
        report.unsure(
            sidecar.place(engine, case, &flag.name),
            format!("found {} and the word {word} behind it: the switch is on", flag.spelling),
            format!("write {}={word}", flag.spelling),
        );
    }
}
