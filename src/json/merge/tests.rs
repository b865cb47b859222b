use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::json::schema::{pod, pod_spec, service_spec};

/// A pod spec of one container.
fn with_main(main: Value) -> Value {
    let mut main = main;
    main["name"] = json!("main");
    json!({"containers": [main]})
}

fn merged(lower: &Value, upper: &Value, layer: Layer) -> Value {
    merge(lower, upper, pod_spec(), layer).unwrap()
}

/// Merges two containers and returns the container.
fn container(lower: Value, upper: Value, layer: Layer) -> Value {
    merged(&with_main(lower), &with_main(upper), layer)["containers"][0].take()
}

fn problem(lower: &Value, upper: &Value, layer: Layer) -> String {
    merge(lower, upper, pod_spec(), layer).unwrap_err().to_string()
}

mod config {
    use super::*;

    #[test]
    fn order_is_that_of_the_plain_merge() {
        let env = container(
            json!({"env": [{"name": "HOME"}, {"name": "LEVEL", "value": "1"}, {"name": "CACHE"}]}),
            json!({"env": [{"name": "LEVEL", "value": "2"}, {"name": "OWN"}]}),
            Layer::Config,
        );
        assert_eq!(
            env["env"],
            json!([{"name": "HOME"}, {"name": "LEVEL", "value": "2"}, {"name": "OWN"}, {"name": "CACHE"}])
        );
    }

    #[test]
    fn empty_values_never_clear() {
        let lower = json!({
            "hostNetwork": true,
            "hostname": "a",
            "tolerations": [{"key": "gpu"}],
            "terminationGracePeriodSeconds": 30,
            "securityContext": {"runAsUser": 1},
            "containers": [{
                "name": "main", "args": ["x"], "stdin": true, "env": [{"name": "A", "value": "1"}],
            }],
        });
        let upper = json!({
            "hostNetwork": false,
            "hostname": "",
            "tolerations": [],
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"seLinuxOptions": {"level": ""}},
            "containers": [{
                "name": "main", "args": null, "stdin": false, "env": [{"name": "A", "value": ""}],
            }],
        });
        let mut wanted = lower.clone();
        wanted["terminationGracePeriodSeconds"] = json!(0);
        // What the lower lacks is kept, empty or not.
        wanted["securityContext"]["seLinuxOptions"] = json!({"level": ""});
        assert_eq!(merged(&lower, &upper, Layer::Config), wanted);

        let ignored = ignored_empties(&lower, &upper, pod_spec());
        let ignored: Vec<String> = ignored.iter().map(ToString::to_string).collect();
        assert_eq!(
            ignored,
            [
                "hostNetwork",
                "hostname",
                "tolerations",
                "containers[0].args",
                "containers[0].stdin",
                "containers[0].env[0].value",
            ]
        );
        assert_eq!(ignored_empties(&lower, &lower, pod_spec()), []);
    }

    #[test]
    fn false_counts_where_go_can_tell_it_from_absent() {
        let lower = json!({"storageInitializer": {"enabled": true}, "parallelism": {"expert": true},
            "template": {"automountServiceAccountToken": true}});
        let upper = json!({"storageInitializer": {"enabled": false}, "parallelism": {"expert": false},
            "template": {"automountServiceAccountToken": false}});
        assert_eq!(
            merge(&lower, &upper, service_spec(), Layer::Config).unwrap(),
            json!({"storageInitializer": {"enabled": false}, "parallelism": {"expert": true},
                "template": {"automountServiceAccountToken": false}})
        );
        let ignored = ignored_empties(&lower, &upper, service_spec());
        assert_eq!(ignored, [FieldPath::root().field("parallelism").field("expert")]);
    }

    #[test]
    fn what_the_lower_lacks_is_kept_as_written() {
        let upper = json!({
            "securityContext": {}, "hostname": "", "tolerations": [], "hostPID": false,
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {}}],
        });
        assert_eq!(merged(&json!({}), &upper, Layer::Config), upper);
        assert_eq!(merged(&json!({"hostname": null}), &upper, Layer::Config), upper);
        assert_eq!(
            merged(&json!({}), &json!({"os": {"name": null}}), Layer::Config),
            json!({"os": {}})
        );
        assert_eq!(ignored_empties(&json!({}), &upper, pod_spec()), []);
    }

    #[test]
    fn a_one_of_member_replaces_the_other() {
        let lower =
            json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
        let upper = json!({"volumes": [{"name": "v", "emptyDir": {}}]});
        assert_eq!(merged(&lower, &upper, Layer::Config), upper);
        assert_eq!(ignored_empties(&lower, &upper, pod_spec()), []);

        let both = container(
            json!({
                "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": true}}}],
                "livenessProbe": {"httpGet": {"port": 1}, "periodSeconds": 5},
                "lifecycle": {"preStop": {"exec": {"command": ["x"]}}},
            }),
            json!({
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "y"}}}, {"name": "B", "value": ""},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "t"}}}],
                "livenessProbe": {"grpc": {}, "httpGet": null},
                "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
            }),
            Layer::Config,
        );
        assert_eq!(
            both,
            json!({
                "name": "main",
                "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "y"}}},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "t", "key": "k", "optional": true}}}],
                "livenessProbe": {"grpc": {}, "periodSeconds": 5},
                "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
            })
        );
        let source = container(
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "y"}}}]}),
            json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]}),
            Layer::Config,
        );
        assert_eq!(source["env"][0]["valueFrom"], json!({"configMapKeyRef": {"name": "c"}}));
    }

    #[test]
    fn an_empty_value_against_a_source_is_reported() {
        let lower = with_main(json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]}));
        let upper = with_main(json!({"env": [{"name": "A", "value": ""}]}));
        let ignored = ignored_empties(&lower, &upper, pod_spec());
        assert_eq!(ignored.len(), 1);
        assert_eq!(ignored[0].to_string(), "containers[0].env[0].value");
        assert_eq!(merged(&lower, &upper, Layer::Config), lower);
    }

    #[test]
    fn errors_name_place_value_and_remedy() {
        let lower = with_main(json!({"env": [{"name": "A"}], "args": ["x"]}));
        let keyless = with_main(json!({"env": [{"name": "B"}, {"value": "2"}]}));
        assert_eq!(
            problem(&lower, &keyless, Layer::Config),
            "containers[0].env[1] is an object {value} without `name`, by which this list merges; add `name`"
        );
        assert_eq!(
            problem(&lower, &with_main(json!({"args": "--x\n"})), Layer::Config),
            "containers[0].args is the string \"--x\\n\", where a list belongs; write a list"
        );
        let error = merge(&lower, &json!({"containers": ["x"]}), pod_spec(), Layer::Config)
            .unwrap_err()
            .under(&FieldPath::root().field("spec").field("template"));
        assert_eq!(
            (error.path().to_string().as_str(), error.side()),
            ("spec.template.containers[0]", Side::Upper)
        );
        assert_eq!(
            problem(
                &lower,
                &json!({"containers": [{"name": "main", "$patch": "delete"}]}),
                Layer::Config
            ),
            "containers[0].$patch is a merge directive, which is not read here; remove it and write the values wanted"
        );
        assert_eq!(
            problem(&json!({"a": {"b": 1}}), &json!({"a": [1]}), Layer::Config),
            "a is a list of 1 items, where an object belongs; write an object"
        );
    }
}

mod pod_layer {
    use super::*;

    #[test]
    fn the_authors_items_come_first_and_keep_their_number() {
        let env = container(
            json!({"env": [{"name": "A", "value": "low"}, {"name": "B", "value": "low"}]}),
            json!({"env": [{"name": "X"}, {"value": "no name"}, {"name": "A"}, {"name": "X"}, "odd"]}),
            Layer::Pod,
        );
        assert_eq!(
            env["env"],
            json!([{"name": "X"}, {"value": "no name"}, {"name": "A"}, {"name": "X"}, "odd",
                {"name": "B", "value": "low"}])
        );
    }

    #[test]
    fn empty_scalars_are_the_authors_and_what_the_api_server_drops_is_filled() {
        let lower = json!({
            "hostname": "a", "hostNetwork": true, "securityContext": {"runAsUser": 1}, "subdomain": "s",
            "containers": [{"name": "main", "args": ["x"], "env": [{"name": "A"}]}],
        });
        let upper = json!({
            "hostname": "", "hostNetwork": false, "securityContext": {}, "subdomain": null,
            "containers": [{"name": "main", "args": [], "env": []}],
        });
        let mut wanted = upper.clone();
        wanted["securityContext"] = json!({"runAsUser": 1});
        wanted["subdomain"] = json!("s");
        wanted["containers"][0]["args"] = json!(["x"]);
        wanted["containers"][0]["env"] = json!([{"name": "A"}]);
        assert_eq!(merged(&lower, &upper, Layer::Pod), wanted);
    }

    #[test]
    fn resources_go_by_name() {
        let lower = json!({"resources": {
            "limits": {"cpu": "8", "memory": "1Gi", "nvidia.com/gpu": "1"},
            "requests": {"cpu": "4", "memory": "1Gi"},
        }});
        let upper = json!({"resources": {"limits": {"memory": "2Gi"}, "requests": {"cpu": "1"}}});
        let resources = container(lower.clone(), upper, Layer::Pod)["resources"].take();
        assert_eq!(
            resources,
            json!({"limits": {"memory": "2Gi", "nvidia.com/gpu": "1"}, "requests": {"cpu": "1"}})
        );
        let named = json!({"resources": {"limits": {"cpu": "1", "memory": "2Gi"}}});
        assert_eq!(
            container(lower.clone(), named, Layer::Pod)["resources"],
            json!({"limits": {"cpu": "1", "memory": "2Gi", "nvidia.com/gpu": "1"}})
        );
        assert_eq!(
            container(lower.clone(), json!({"resources": {}}), Layer::Pod)["resources"],
            lower["resources"]
        );
    }

    #[test]
    fn one_of_groups_are_the_authors() {
        let lower = json!({
            "volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}, {"name": "w", "emptyDir": {"sizeLimit": "1Gi"}}],
            "containers": [{"name": "main", "readinessProbe": {"httpGet": {"port": 1}, "periodSeconds": 5}}],
        });
        let upper = json!({
            "volumes": [{"name": "v", "newSource": {}}, {"name": "w", "emptyDir": {}}],
            "containers": [{"name": "main", "readinessProbe": {"exec": {"command": ["x"]}}}],
        });
        assert_eq!(
            merged(&lower, &upper, Layer::Pod),
            json!({
                "volumes": [{"name": "v", "newSource": {}}, {"name": "w", "emptyDir": {"sizeLimit": "1Gi"}}],
                "containers": [{"name": "main", "readinessProbe": {"exec": {"command": ["x"]}, "periodSeconds": 5}}],
            })
        );
    }

    #[test]
    fn tolerations_and_pull_secrets_add_up() {
        let lower = json!({"tolerations": [{"key": "gpu"}, {"key": "a", "operator": "Exists"}],
            "imagePullSecrets": [{"name": "x"}, {"name": "y"}]});
        let upper = json!({"tolerations": [{"operator": "Exists", "key": "a"}],
            "imagePullSecrets": [{"name": "z"}, {"name": "y"}]});
        assert_eq!(
            merged(&lower, &upper, Layer::Pod),
            json!({"tolerations": [{"operator": "Exists", "key": "a"}, {"key": "gpu"}],
                "imagePullSecrets": [{"name": "z"}, {"name": "y"}, {"name": "x"}]})
        );
    }

    #[test]
    fn a_mount_of_another_volume_is_not_filled() {
        let merged = container(
            json!({
                "volumeMounts": [{"name": "cache", "mountPath": "/models", "subPath": "a"},
                    {"name": "home", "mountPath": "/home", "readOnly": true}],
                "ports": [{"containerPort": 53, "name": "dns"}, {"containerPort": 80, "name": "web"}],
            }),
            json!({
                "volumeMounts": [{"name": "mine", "mountPath": "/models/"}, {"name": "home", "mountPath": "/home/"}],
                "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP"}],
            }),
            Layer::Pod,
        );
        assert_eq!(
            merged["volumeMounts"],
            json!([{"name": "mine", "mountPath": "/models/"}, {"name": "home", "mountPath": "/home/", "readOnly": true}])
        );
        assert_eq!(
            merged["ports"],
            json!([{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80, "protocol": "TCP", "name": "web"},
                {"containerPort": 53, "name": "dns"}])
        );
    }

    #[test]
    fn unknown_fields_and_directives_of_the_author_stay() {
        let upper = json!({"future": {"$patch": "x", "list": [{"ports": []}]}, "containers": [{"name": "main", "$retainKeys": []}]});
        let lower = json!({"future": {"list": [1], "more": 2}, "containers": [{"name": "main", "image": "i"}]});
        assert_eq!(
            merged(&lower, &upper, Layer::Pod),
            json!({"future": {"$patch": "x", "list": [{"ports": []}], "more": 2},
                "containers": [{"name": "main", "$retainKeys": [], "image": "i"}]})
        );
        let error = merge(&upper, &lower, pod_spec(), Layer::Pod).unwrap_err();
        assert_eq!(error.side(), Side::Lower);
    }
}

#[test]
fn depth_is_bounded() {
    let nested = |depth| {
        (0..depth).fold(json!({}), |inner, _| {
            Value::Object([("x".to_owned(), inner)].into_iter().collect())
        })
    };
    for layer in [Layer::Plain, Layer::Config, Layer::Pod] {
        let deep = nested(MAX_DEPTH);
        assert_eq!(merged(&deep, &deep, layer), deep);
        let error = merge(&json!({}), &nested(4_000), pod_spec(), layer).unwrap_err();
        assert!(matches!(error, MergeError::TooDeep { side: Side::Upper, .. }));
        assert!(error.to_string().ends_with("nested deeper than 128 levels; flatten it"));
    }
    assert_eq!(ignored_empties(&nested(4_000), &json!({"x": ""}), pod_spec()), []);
}

/// Pods with the shapes that matter: merged lists with and without duplicates and keys, one-of
/// groups, resources, empties, and fields that nobody knows.
pub(in crate::json) fn arbitrary_pod() -> impl Strategy<Value = Value> {
    proptest::collection::vec(any::<u8>(), 40..160).prop_map(|bytes| {
        let mut bytes = bytes.into_iter().cycle();
        let mut dice = move |sides: u8| bytes.next().unwrap_or_default() % sides;
        let mut spec = json!({});
        let containers: Vec<Value> = (0..dice(4)).map(|_| arbitrary_container(&mut dice)).collect();
        spec["containers"] = json!(containers);
        let volumes: Vec<Value> = (0..dice(4))
            .map(|_| {
                let mut volume = json!({"name": NAMES[usize::from(dice(3))]});
                let source = ["emptyDir", "secret", "persistentVolumeClaim", "tomorrow"];
                if dice(5) > 0 {
                    volume[source[usize::from(dice(4))]] = [
                        json!({}),
                        json!({"medium": "Memory"}),
                        json!({"claimName": "c", "readOnly": false}),
                        json!({"claimName": "d", "readOnly": true}),
                    ][usize::from(dice(4))]
                    .clone();
                }
                volume
            })
            .collect();
        spec["volumes"] = json!(volumes);
        spec["tolerations"] = json!((0..dice(3)).map(|_| json!({"key": dice(3)})).collect::<Vec<_>>());
        if dice(2) == 0 {
            spec["hostNetwork"] = json!(dice(2) == 0);
        }
        spec["future"] = leaf(&mut dice);
        if dice(3) == 0 {
            spec["securityContext"] = json!({"runAsUser": dice(2), "deep": {"a": leaf(&mut dice)}});
        }
        let finalizers: Vec<&str> = (0..dice(3)).map(|_| NAMES[usize::from(dice(3))]).collect();
        json!({"metadata": {"labels": {"a": leaf(&mut dice)}, "finalizers": finalizers}, "spec": spec})
    })
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

fn leaf(dice: &mut impl FnMut(u8) -> u8) -> Value {
    [
        json!(null),
        json!(""),
        json!([]),
        json!({}),
        json!(false),
        json!(0),
        json!("x"),
        json!({"b": "", "c": {}}),
        json!({"b": "y"}),
        json!({"d": null}),
    ][usize::from(dice(10))]
    .clone()
}

fn arbitrary_container(dice: &mut impl FnMut(u8) -> u8) -> Value {
    let mut container = json!({"name": NAMES[usize::from(dice(3))]});
    let env: Vec<Value> = (0..dice(5))
        .map(|_| {
            let name = NAMES[usize::from(dice(4))];
            match dice(5) {
                0 => json!({"name": name}),
                1 => json!({"name": name, "value": ""}),
                2 => json!({"name": name, "value": dice(3).to_string()}),
                3 => json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": dice(2).to_string()}}}),
                _ => json!({"name": name, "valueFrom": {"secretKeyRef": {"key": dice(2).to_string()}}}),
            }
        })
        .collect();
    container["env"] = json!(env);
    if dice(2) == 0 {
        let mounts: Vec<Value> = (0..dice(4))
            .map(|_| {
                let path = ["/a", "/a/", "/b"][usize::from(dice(3))];
                json!({"name": NAMES[usize::from(dice(2))], "mountPath": path, "readOnly": dice(2) == 0})
            })
            .collect();
        container["volumeMounts"] = json!(mounts);
    }
    if dice(2) == 0 {
        let ports: Vec<Value> = (0..dice(4))
            .map(|_| {
                let protocol = ["TCP", "UDP"][usize::from(dice(2))];
                json!({"containerPort": dice(2), "protocol": protocol})
            })
            .collect();
        container["ports"] = json!(ports);
    }
    if dice(2) == 0 {
        container["livenessProbe"] = [
            json!({"httpGet": {"port": dice(2)}, "periodSeconds": dice(2)}),
            json!({"exec": {}}),
            json!({"grpc": null, "timeoutSeconds": 1}),
        ][usize::from(dice(3))]
        .clone();
    }
    for part in ["limits", "requests"] {
        if dice(2) == 0 {
            let amounts: serde_json::Map<String, Value> = (0..dice(3))
                .map(|_| (NAMES[usize::from(dice(3))].to_owned(), json!(dice(3))))
                .collect();
            container["resources"][part] = Value::Object(amounts);
        }
    }
    if dice(2) == 0 {
        container["args"] = json!((0..dice(3)).map(|_| dice(3).to_string()).collect::<Vec<_>>());
    }
    container
}

/// Whether everything of `upper` is in `merged`: members by name, list items in their order from
/// the front, all else unchanged.
fn contains(upper: &Value, merged: &Value) -> bool {
    match (upper, merged) {
        (Value::Object(upper), Value::Object(merged)) => {
            upper.iter().all(|(name, member)| merged.get(name).is_some_and(|m| contains(member, m)))
        }
        (Value::Array(upper), Value::Array(merged)) => {
            upper.len() <= merged.len() && upper.iter().zip(merged).all(|(u, m)| contains(u, m))
        }
        // The API server keeps neither: there is nothing to lose.
        (Value::Null, _) => true,
        _ => upper == merged,
    }
}

proptest! {
    #[test]
    fn plain_of_nothing_changes_nothing(x in arbitrary_pod()) {
        prop_assert_eq!(merge(&x, &json!({}), pod(), Layer::Plain), Ok(x));
    }

    #[test]
    fn config_is_idempotent(lower in arbitrary_pod(), upper in arbitrary_pod()) {
        if let Ok(once) = merge(&lower, &upper, pod(), Layer::Config) {
            prop_assert_eq!(merge(&lower, &once, pod(), Layer::Config), Ok(once.clone()));
            prop_assert_eq!(merge(&once, &json!({}), pod(), Layer::Config), Ok(once));
        }
    }

    #[test]
    fn config_ignores_nothing_of_what_it_made(lower in arbitrary_pod(), upper in arbitrary_pod()) {
        if let Ok(once) = merge(&lower, &upper, pod(), Layer::Config) {
            prop_assert_eq!(ignored_empties(&lower, &once, pod()), vec![]);
        }
    }

    #[test]
    fn pod_is_idempotent_and_keeps_all_of_the_author(lower in arbitrary_pod(), upper in arbitrary_pod()) {
        let once = merge(&lower, &upper, pod(), Layer::Pod).unwrap();
        prop_assert!(contains(&upper, &once), "lost something: {once:#}");
        prop_assert_eq!(merge(&lower, &once, pod(), Layer::Pod), Ok(once));
    }
}
