//! The steps from a blueprint and a pod to the complete pod.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::container::{
    Engine, default_pull_policy, engine, is_placeholder, list, name, named, named_mut,
};
use super::give_way::give_way;
use super::{Mode, defaults, fabric, kv, launch, model, status};
use crate::api::kind_of;
use crate::catalog::Settings;
use crate::compose::Blueprint;
use crate::decision::{Refusal, Warning};
use crate::json;
use crate::workload::{By, Position, Role, keys};

/// Where a pod is completed, and by what.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The operator's settings.
    pub settings: &'a Settings,
    /// What the pod should be.
    pub blueprint: &'a Blueprint,
    /// The fabric profile of the pod's namespace.
    pub namespace_fabric: Option<&'a str>,
    /// At admission or in a file.
    pub mode: Mode,
    /// The pod's place in its group.
    pub position: Position,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// How the pod came to be ours: what KServe's controller wrote is complete, so that a value
    /// equal to the API server's default is its wish.
    pub by: By,
}

/// The pod as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Completed {
    /// `None` where it is so already.
    pub pod: Option<Value>,
    /// It was completed by this very blueprint before.
    pub again: bool,
    /// What its author should know.
    pub warnings: Vec<Warning>,
}

/// Completes a pod: the blueprint below, what the author wrote above, then model, KV transfer and
/// fabric. Nothing the author wrote is removed, reordered or changed, but for the API server's
/// defaults and placeholder images.
///
/// # Errors
/// [`Refusal`] for an annotation that cannot be followed, a model or fabric that cannot be given,
/// or a pod that is not shaped like one.
pub fn complete(site: &Site<'_>, pod: &Value) -> Result<Completed, Refusal> {
    let mut warnings = Vec::new();
    let author = pod.get("spec").unwrap_or(&Value::Null);
    check_shape(author)?;
    let engine = engine(pod)?;

    let mut completed = pod.clone();
    let mut upper = completed.get_mut("spec").map(Value::take).unwrap_or_default();
    let mut lower = site.blueprint.spec.clone();
    launch::rename_engine(&mut lower, &engine.name);
    let template = launch::template(&lower, &engine.name);
    give_way(site, &engine.name, &mut lower, &upper, &mut warnings)?;
    launch::settle(
        site.blueprint,
        &template,
        site.position,
        &engine.name,
        &mut lower,
        &mut upper,
        &mut warnings,
    );
    let placeholders = take_placeholders(&mut upper, &lower);
    // Called again for the same blueprint, a value equal to a default is one that somebody set back.
    let again = status::blueprint_of(pod).as_deref() == Some(site.blueprint.digest.as_str());
    if site.by == By::Label && !again {
        defaults::unsay(&mut upper, &lower);
    }
    let mut spec = json::fill(lower, upper, json::pod_spec()).map_err(|error| {
        Refusal::at("not-mergeable", format!("spec.{}", error.path()), error.to_string())
    })?;
    restore_pull_policies(&mut spec, author, &placeholders);
    refuse_without_image(&spec, &engine.name, &site.blueprint.service)?;

    launch::copy_lws_env(&mut spec, &engine.name);
    if site.blueprint.role != Role::Both
        && let Some(container) = named_mut(&mut spec, "containers", &engine.name)
    {
        kv::complete(container, &mut warnings);
    }
    if let Some(uri) = &site.blueprint.model_uri {
        model::complete(&mut spec, &engine.name, &site.blueprint.service, uri, site.settings)?;
    }
    drop_volumes_that_nothing_mounts(&mut spec, author);

    if let Some(place) = completed.get_mut("spec") {
        *place = spec;
    }
    add_metadata(&mut completed, site.blueprint);
    fabric::complete(site, &mut completed, &engine.name, &mut warnings)?;
    if completed == *pod {
        return Ok(Completed { pod: None, again, warnings });
    }
    // What the first call says it added is still true.
    let status = (!again).then(|| status::text(site.blueprint, pod, &completed));
    annotate(&mut completed, &engine, status);
    Ok(Completed { pod: Some(completed), again, warnings })
}

/// The API server sees to most of this, but after the webhooks; a file may hold anything.
fn check_shape(spec: &Value) -> Result<(), Refusal> {
    let wrong = |field: String, found: &Value, expected: &str| {
        Refusal::at("not-a-pod", field, format!("found {}, expected {expected}", kind_of(found)))
    };
    if !spec.is_object() {
        return Err(wrong("spec".to_owned(), spec, "an object"));
    }
    for member in ["containers", "initContainers", "volumes"] {
        match spec.get(member) {
            None | Some(Value::Null | Value::Array(_)) => {}
            Some(other) => return Err(wrong(format!("spec.{member}"), other, "a list")),
        }
        let mut seen = HashSet::new();
        for (index, item) in list(Some(spec), member).iter().enumerate() {
            let field = format!("spec.{member}[{index}]");
            if !item.is_object() {
                return Err(wrong(field, item, "an object"));
            }
            if let Some(name) = name(item).filter(|name| !seen.insert(*name)) {
                return Err(Refusal::at(
                    "duplicate-name",
                    format!("{field}.name"),
                    format!("\"{name}\" is there twice; give one of them another name"),
                ));
            }
            for words in ["command", "args"] {
                let parts = list(Some(item), words).iter().enumerate();
                if let Some((at, part)) = parts.clone().find(|(_, part)| !part.is_string()) {
                    let expected = "a string; put it in quotes";
                    return Err(wrong(format!("{field}.{words}[{at}]"), part, expected));
                }
            }
        }
    }
    Ok(())
}

/// Takes the images that stand for "the blueprint's", and the pull policy that the API server chose
/// for them. Returns the containers, as (list, name).
fn take_placeholders(upper: &mut Value, lower: &Value) -> Vec<(&'static str, String)> {
    let mut taken = Vec::new();
    for member in ["containers", "initContainers"] {
        let Some(Value::Array(containers)) = upper.get_mut(member) else { continue };
        for container in containers.iter_mut().filter(|container| is_placeholder(container)) {
            let Some(name) = name(container).map(str::to_owned) else { continue };
            // Another injector's `auto` is its own affair.
            if named(lower, member, &name).is_none_or(is_placeholder) {
                continue;
            }
            let Some(members) = container.as_object_mut() else { continue };
            members.shift_remove("image");
            if members.get("imagePullPolicy").and_then(Value::as_str) == Some("Always") {
                members.shift_remove("imagePullPolicy");
            }
            taken.push((member, name));
        }
    }
    taken
}

/// Where the blueprint names no pull policy, the one that the API server would choose for its image.
fn restore_pull_policies(
    spec: &mut Value,
    author: &Value,
    placeholders: &[(&'static str, String)],
) {
    for (member, name) in placeholders {
        let had_one = named(author, member, name)
            .is_some_and(|container| container.get("imagePullPolicy").is_some());
        let Some(Value::Object(container)) = named_mut(spec, member, name) else { continue };
        if had_one && !container.contains_key("imagePullPolicy") {
            let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
            let policy = default_pull_policy(image);
            container.insert("imagePullPolicy".to_owned(), json!(policy));
        }
    }
}

/// A pod whose engine nobody gave an image would only fail later, and less plainly.
fn refuse_without_image(spec: &Value, engine: &str, service: &str) -> Result<(), Refusal> {
    let without = named(spec, "containers", engine).is_some_and(is_placeholder);
    if !without && !list(Some(spec), "containers").is_empty() {
        return Ok(());
    }
    Err(Refusal::at(
        "no-image",
        format!("spec.containers[{engine}].image"),
        format!(
            "no config and not LLMInferenceService {service} itself names an image for container \
             main; write spec.template.containers[main].image there, or the image here"
        ),
    ))
}

fn drop_volumes_that_nothing_mounts(spec: &mut Value, author: &Value) {
    let own: HashSet<&str> = list(Some(author), "volumes").iter().filter_map(name).collect();
    let mounted: HashSet<String> = ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|member| list(Some(spec), member))
        .flat_map(|container| {
            ["volumeMounts", "volumeDevices"].map(|member| list(Some(container), member))
        })
        .flatten()
        .filter_map(|mount| name(mount).map(str::to_owned))
        .collect();
    let Some(Value::Array(volumes)) = spec.get_mut("volumes") else { return };
    volumes.retain(|volume| {
        name(volume).is_none_or(|name| own.contains(name) || mounted.contains(name))
    });
    if volumes.is_empty()
        && author.get("volumes").is_none()
        && let Some(members) = spec.as_object_mut()
    {
        members.shift_remove("volumes");
    }
}

/// Labels and annotations of the blueprint that the pod has not.
fn add_metadata(pod: &mut Value, blueprint: &Blueprint) {
    for (member, given) in [("labels", &blueprint.labels), ("annotations", &blueprint.annotations)]
    {
        if given.is_empty() {
            continue;
        }
        let Some(own) = json::at_mut_or_insert(pod, &["metadata", member]) else { continue };
        for (key, value) in given {
            if !own.contains_key(key) {
                own.insert(key.clone(), value.clone());
            }
        }
    }
}

fn annotate(completed: &mut Value, engine: &Engine, status: Option<String>) {
    let Some(annotations) = json::at_mut_or_insert(completed, &["metadata", "annotations"]) else {
        return;
    };
    if engine.remember {
        annotations.insert(keys::CONTAINER.to_owned(), json!(engine.name));
    }
    if let Some(status) = status {
        annotations.insert(keys::STATUS.to_owned(), Value::String(status));
    }
}
