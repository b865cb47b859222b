//! `inject`.

use super::*;

/// Objects of every kind that has pods, none of which opts in, and some that have none.
fn objects() -> Vec<Value> {
    let template = json!({
        "metadata": {"labels": {"app": "x"}, "annotations": null},
        "spec": {"containers": [{"name": "c", "image": "i:1", "args": ["yes", "0644", "1e3", ""]}]},
    });
    let workload = |api_version: &str, kind: &str, spec: Value| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, "spec": spec});
    let templated = json!({"replicas": 2, "template": template});
    vec![
        workload("v1", "Pod", template["spec"].clone()),
        workload("apps/v1", "Deployment", templated.clone()),
        workload("apps/v1", "StatefulSet", templated.clone()),
        workload("apps/v1", "DaemonSet", templated.clone()),
        workload("apps/v1", "ReplicaSet", templated.clone()),
        workload("v1", "ReplicationController", templated.clone()),
        workload("batch/v1", "Job", templated.clone()),
        workload("batch/v1", "CronJob", json!({"jobTemplate": {"spec": templated}})),
        workload(
            "leaderworkerset.x-k8s.io/v1",
            "LeaderWorkerSet",
            json!({"leaderWorkerTemplate": {"leaderTemplate": template, "workerTemplate": template}}),
        ),
        workload(
            "leaderworkerset.x-k8s.io/v1",
            "LeaderWorkerSet",
            json!({"leaderWorkerTemplate": {"workerTemplate": template, "size": 2}}),
        ),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"},
            "data": {"on": "a\nb\n", "tricky": "#!/bin/sh\n\techo \"$X\"\n \n", "f": "1.0"}}),
        json!({"apiVersion": "example.com/v1", "kind": "Deployment", "spec": {"template": 1}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": "odd"}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment"}),
        json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [
            {"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Pod"}]},
            {"apiVersion": "v1", "kind": "PodList", "items": [{"spec": {"containers": []}}]},
            {"apiVersion": "v1", "kind": "List", "items": []},
        ]}),
    ]
}

fn stream(objects: &[Value]) -> String {
    objects.iter().map(yaml::to_string).collect::<Vec<_>>().join("---\n")
}

#[test]
fn what_did_not_opt_in_comes_out_as_it_went_in() {
    let objects = objects();
    let run = run_with(&["inject", "-"], &stream(&objects)).ends(0);
    assert_eq!(run.documents(), objects);
    let as_json = run_with(&["inject", "-", "-o", "json"], &stream(&objects)).ends(0);
    assert_eq!(as_json.json()["items"], json!(objects));
    let one = run_with(&["inject", "-", "-o", "json"], &objects[1].to_string()).ends(0);
    assert_eq!(one.json(), objects[1]);
    // What was printed is read again, and nothing more happens to it.
    assert_eq!(run_with(&["inject", "-"], &run.out).ends(0).out, run.out);
}

#[test]
fn each_decision_is_said_by_name() {
    let run = run_with(&["inject", "-", "-n", "prod"], &stream(&objects())).ends(0);
    for name in [
        "pod/prod/x: ",
        "deployment/prod/x: ",
        "cronjob/prod/x: ",
        "leaderworkerset/prod/x leader: ",
        "leaderworkerset/prod/x worker: ",
    ] {
        assert!(run.err.contains(name), "{name} {}", run.err);
    }
    assert!(!run.err.contains("configmap"), "{}", run.err);
    let named = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: y-, namespace: own}\n";
    run_with(&["inject", "-", "-n", "prod"], named).ends(0).says("pod/own/y-: ");
}

#[test]
fn a_name_cannot_steer_the_terminal() {
    let named = r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\u001b[2Jx"}}"#;
    let run = run_with(&["inject", "-"], named).ends(0);
    assert!(!run.err.contains('\u{1b}') && !run.out.contains('\u{1b}'), "{run:?}");
}

#[test]
fn a_directory_is_read_in_order_and_a_broken_file_costs_only_itself() {
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n");
    let folder = folder(&[
        ("2.yml", pod("two").as_bytes()),
        ("1.yaml", format!("{}---\n{}", pod("one"), pod("more")).as_bytes()),
        ("3.yaml", b"kind: [\n"),
        ("4.json", br#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "four"}}"#),
        ("5.txt", b"not read"),
    ]);
    let run = run(&["inject", folder.path().to_str().unwrap()]).ends(2).says("3.yaml:");
    let names: Vec<Value> =
        run.documents().iter().map(|object| object["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["one", "more", "two", "four"]);
}

#[test]
fn a_broken_document_costs_only_itself() {
    let text = "kind: A\n---\nkind: [\n---\nkind: B\n";
    let run = run_with(&["inject", "-"], text).ends(2).says("error: standard input:");
    assert_eq!(run.documents(), [json!({"kind": "A"}), json!({"kind": "B"})]);
}

#[test]
fn refused_objects_are_left_out() {
    let pod = |name: &str, labels: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "main", "image": "auto"}]}})
    };
    let wrong = pod("wrong", json!({"inject.llmisvc.io/service": "no-such-service"}));
    let right = pod("right", json!({}));
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [wrong, right]});
    let run = run_with(&["inject", "-"], &stream(&[wrong.clone(), list, right.clone()]))
        .ends(1)
        .says("error: -:1: pod/default/wrong: ")
        .says("no-such-service");
    let left = json!({"apiVersion": "v1", "kind": "List", "items": [right]});
    assert_eq!(run.documents(), [left, right]);
    let only = run_with(&["inject", "-", "-o", "json"], &stream(&[wrong])).ends(1);
    assert_eq!(only.json()["items"], json!([]));
}

/// A service whose pools are groups, and a set that opts in.
fn grouped(templates: &[&str]) -> String {
    let template = json!({
        "metadata": {"labels": {"inject.llmisvc.io/service": "tiny"}},
        "spec": {"containers": [{"name": "main", "image": "auto",
            "resources": {"limits": {"nvidia.com/gpu": "8"}}}]},
    });
    let mut group = json!({"size": 2});
    for name in templates {
        group[name] = template.clone();
    }
    let set = json!({"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet",
        "metadata": {"name": "s"}, "spec": {"leaderWorkerTemplate": group}});
    let service = SERVICE.replace(
        "  replicas: 1\n",
        "  replicas: 1\n  parallelism: {data: 16, dataLocal: 8}\n  worker:\n    containers: [{name: main}]\n",
    );
    format!("{service}---\n{}", yaml::to_string(&set))
}

#[test]
fn leaders_and_workers_differ_and_carry_no_mark() {
    let both = grouped(&["leaderTemplate", "workerTemplate"]);
    let run = run_with(&["inject", "-"], &both).ends(0);
    assert!(!run.out.contains("leaderworkerset.sigs.k8s.io/"), "{}", run.out);
    let set = run.documents().remove(1);
    let group = &set["spec"]["leaderWorkerTemplate"];
    let leader = group["leaderTemplate"]["spec"]["containers"][0].to_string();
    let worker = group["workerTemplate"]["spec"]["containers"][0].to_string();
    assert!(!leader.contains("--headless"), "{leader}");
    assert!(worker.contains("--headless"), "{worker}");

    // The same comes of one template for both.
    let one = run_with(&["inject", "-"], &grouped(&["workerTemplate"])).ends(0);
    assert_eq!(one.documents()[1], set);
}

#[test]
fn what_was_completed_stays_as_it_is() {
    let text = grouped(&["leaderTemplate", "workerTemplate"]);
    let once = run_with(&["inject", "-"], &text).ends(0);
    let again = run_with(&["inject", "-"], &once.out).ends(0);
    assert_eq!(again.documents(), once.documents());
}

#[test]
fn a_service_without_a_namespace_is_where_the_pods_are() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: \
               {inject.llmisvc.io/service: tiny}\nspec:\n  containers: [{name: main, image: auto}]\n";
    let folder = folder(&[("service.yaml", SERVICE.as_bytes())]);
    let objects = path(&folder, "service.yaml");
    for namespace in ["default", "prod"] {
        run_with(&["inject", "-", "--objects", &objects, "-n", namespace], pod)
            .ends(0)
            .says(&format!("pod/{namespace}/p: injected"));
    }
}
