use serde_json::json;

use super::*;
use crate::decision::Warning;
use crate::review::Owner;

fn record() -> Record {
    let text = str::to_owned;
    Record {
        owner: Owner {
            api_version: text("apps/v1"),
            kind: text("ReplicaSet"),
            name: text("web"),
            uid: text("1"),
        },
        added: None,
        warnings: Vec::new(),
        refusal: None,
    }
}

#[test]
fn each_outcome_has_its_reason() {
    let status = json!({
        "version": "1", "blueprint": "ab", "configs": ["base", "mine"],
        "added": {
            "initContainers": ["sidecar"], "volumes": ["home", "dshm"],
            "in": {"main": {"env": ["HOME"], "ports": ["5600"]}}
        }
    });
    let injected = Record { added: Some(status.to_string()), ..record() };
    let [notice] = notices("ns", &injected).try_into().unwrap();
    assert_eq!((notice.is_warning, notice.reason), (false, "Injected"));
    assert_eq!(
        notice.note,
        "added initContainers sidecar; volumes home, dshm; to main: env HOME; ports 5600 (from base, \
         mine)"
    );
    assert_eq!(
        (notice.regarding.namespace.as_str(), notice.regarding.kind.as_str()),
        ("ns", "ReplicaSet")
    );

    let warned =
        Record { warnings: vec![Warning::new("a", "b"), Warning::new("c", "d")], ..injected };
    let [_, notice] = notices("ns", &warned).try_into().unwrap();
    assert_eq!((notice.is_warning, notice.reason), (true, "InjectionWarning"));
    assert_eq!(notice.note, "a: b; c: d");

    let refused = Record { refusal: Some("unknown-service: no".to_owned()), ..record() };
    let [notice] = notices("ns", &refused).try_into().unwrap();
    assert_eq!((notice.is_warning, notice.reason), (true, "InjectionRefused"));
    assert_eq!(notice.note, "unknown-service: no");
}

#[test]
fn a_note_is_cut_at_a_character_and_is_one_line() {
    assert_eq!(cut("a\nb"), "a b");
    assert_eq!(cut(&"x".repeat(NOTE)).len(), NOTE);
    let long = cut(&"é".repeat(NOTE));
    assert!(long.len() <= NOTE && long.len() > NOTE - 4 && long.ends_with("é…"), "{}", long.len());
}

proptest::proptest! {
    #[test]
    fn any_status_has_a_summary(status: String) {
        let _ = cut(&summary(&status));
    }
}
