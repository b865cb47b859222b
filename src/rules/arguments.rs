//! The engine's flags, against the release that is in its image.

use std::collections::BTreeSet;

use super::case::Case;
use super::effective::{Engine, pods};
use super::report::{Report, lacking};
use super::{Check, Rule};
use crate::catalog::Severity;
use crate::json::FieldPath;
use crate::vllm::{FlagStatus, flag_status};

pub(super) const RULES: &[Rule] = &[Rule {
    code: "V131",
    family: "engine arguments",
    severity: Severity::Reject,
    title: "a flag that the engine does not have",
    why: "vllm serve ends with a usage error for a flag that it does not know, and the container restarts for \
          ever, each time after the image was pulled and the accelerators were taken. Which flags a release has \
          was read in its source distribution. A flag that came or went is refused where the image says its \
          release; one that no release has, where it is near to one that is there. Any other may be a plugin's: a \
          warning, and nothing in an image that is not known.",
    accepted: "
spec:
  template:
    containers:
      - {name: main, image: \"vllm/vllm-openai:v0.24.0\", args: [--tensor-parallel-size=1, --max_model_len=8192, --no-enable-prefix-caching]}
",
    reported: "
spec:
  template:
    containers:
      - {name: main, image: \"vllm/vllm-openai:v0.24.0\", args: [--max-modle-len=8192]}
",
    symptom_of: &[],
    check: Check::Pods(flags),
}];

/// Different flags that are looked at: vLLM has not as many, and each that is unknown is compared with
/// all that there are.
const MOST: usize = 256;

fn flags(case: &Case<'_>, report: &mut Report) {
    // Another program may run in an image that nobody knows.
    let starts_vllm = |engine: &&Engine| engine.is_complete || engine.release().is_some();
    for engine in pods(case).filter(starts_vllm) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for flag in engine.arguments.flags() {
            if report.is_full() || seen.len() >= MOST {
                break;
            }
            if !seen.insert(&flag.spelling) {
                continue;
            }
            let status = flag_status(&flag.spelling, engine.release());
            // An image that is not known may have more, and be newer than what is.
            let may_have =
                engine.release().is_none() && status == (FlagStatus::Unknown { nearest: None });
            if status.is_accepted() || may_have {
                continue;
            }
            let name = format!("flag {}", flag.spelling);
            let Some((message, help)) = lacking(status, &name, &engine.title()) else { continue };
            let place = engine.place(case, &flag.name);
            // Among what is read behind a script's `vllm serve` may be the shell's own words.
            report.lacking_if(
                !engine.is_shell() && is_certain(engine, status),
                place,
                message,
                help,
            );
        }
    }
}

/// Reports what the engine's release does not have. Without a release, and for a name that none has
/// and that is not near to one of its own, it is not certain.
pub(super) fn report_lacking(
    report: &mut Report,
    engine: &Engine,
    place: FieldPath,
    status: FlagStatus,
    name: &str,
) {
    let Some((message, help)) = lacking(status, name, &engine.title()) else { return };
    report.lacking_if(is_certain(engine, status), place, message, help);
}

fn is_certain(engine: &Engine, status: FlagStatus) -> bool {
    engine.release().is_some() && status != (FlagStatus::Unknown { nearest: None })
}

#[cfg(test)]
mod tests {
    use crate::catalog::Severity::Warn;
    use crate::rules::tests::found;

    #[test]
    fn a_long_list_is_told_of_in_part() {
        let args: Vec<String> = (0..5000).map(|n| format!("--max-modle-len{n}=1")).collect();
        let service = format!(
            "spec: {{template: {{containers: [{{name: main, image: \"vllm/vllm-openai:v0.24.0\", args: [{}]}}]}}}}",
            args.join(", ")
        );
        assert_eq!(found(&service).len(), 32);
    }

    #[test]
    fn an_image_of_ones_own_may_have_flags_of_its_own() {
        let service = |image: &str, flag: &str| {
            let main = format!("{{name: main, image: \"{image}\", args: [{flag}=3]}}");
            found(&format!("spec: {{template: {{containers: [{main}]}}}}"))
        };
        assert_eq!(service("own/vllm:1", "--acme-plugin-switch"), []);
        assert_eq!(service("own/vllm:1", "--max-modle-len"), [("V131", Warn)]);
        assert_eq!(service("vllm/vllm-openai:v0.24.0", "--acme-plugin-switch"), [("V131", Warn)]);
    }
}
