//! What of the blueprint gives way to the author's pod before the two are merged: the merge itself
//! sees one field at a time, and these are facts of more than one.

use serde_json::Value;

use super::Site;
use super::container::{SIDECARS, list, mount_path, name, named, named_mut};
use crate::compose::arguments::words;
use crate::decision::{Refusal, Warning};
use crate::inject::Mode;
use crate::sidecar;
use crate::workload::By;

/// Takes from the blueprint (`lower`, a pod spec) what the author's pod spec (`upper`) makes wrong.
///
/// # Errors
/// [`Refusal`] where the author gives the engine's name to an init container.
pub(super) fn give_way(
    site: &Site<'_>,
    engine: &str,
    lower: &mut Value,
    upper: &Value,
    warnings: &mut Vec<Warning>,
) -> Result<(), Refusal> {
    one_sidecar(lower, upper);
    drop_names_that_are_taken(engine, lower, upper)?;
    for member in ["containers", "initContainers"] {
        for own in list(Some(upper), member) {
            let below = name(own).and_then(|name| named_mut(lower, member, name));
            let Some(below) = below else { continue };
            if name(own).is_some_and(|name| SIDECARS.contains(&name)) {
                drop_probes_of_another_port(below, own);
            }
            drop_mounts_that_are_taken(below, own);
            drop_arguments_of_a_replaced_command(below, own);
            drop_contradictions(below, own);
            drop_port_names_that_are_taken(below, own);
            if site.by == By::KServe {
                keep_probes(below, own);
            }
        }
    }
    drop_contradictions(lower, upper);
    if is_root(upper) {
        for member in ["containers", "initContainers"] {
            let containers = lower.get_mut(member).and_then(Value::as_array_mut);
            for below in containers.into_iter().flatten() {
                if let Some(context) = below.get_mut("securityContext") {
                    remove(context, "runAsNonRoot");
                }
            }
        }
    }
    keep_accounts_together(lower, upper);
    hold_back_priority(site, lower, upper, warnings);
    Ok(())
}

/// The author may call the sidecar by another of its usual names, and may run it as a container.
fn one_sidecar(lower: &mut Value, upper: &Value) {
    let [ours, others @ ..] = SIDECARS;
    let other = others.into_iter().find(|other| {
        named(upper, "initContainers", other).is_some()
            && named(upper, "initContainers", ours).is_none()
    });
    if let (Some(other), Some(Value::Object(sidecar))) =
        (other, named_mut(lower, "initContainers", ours))
    {
        sidecar.insert("name".to_owned(), Value::from(other));
    }
    if SIDECARS.iter().any(|known| named(upper, "containers", known).is_some()) {
        retain(lower, "initContainers", |item| {
            !name(item).is_some_and(|name| SIDECARS.contains(&name))
        });
    }
}

/// A name is a container's or an init container's, never both.
fn drop_names_that_are_taken(
    engine: &str,
    lower: &mut Value,
    upper: &Value,
) -> Result<(), Refusal> {
    if named(upper, "initContainers", engine).is_some()
        && named(upper, "containers", engine).is_none()
    {
        return Err(Refusal::at(
            "name-taken",
            format!("spec.initContainers[{engine}].name"),
            format!("\"{engine}\" is the engine's container; give this one another name"),
        ));
    }
    for (member, other) in [("containers", "initContainers"), ("initContainers", "containers")] {
        retain(lower, member, |item| {
            name(item).is_none_or(|name| named(upper, other, name).is_none())
        });
    }
    Ok(())
}

/// Something the author mounts on a path takes the place of what the blueprint would, whether or
/// not he ends the path with a slash. The same spelling is left to the merge, which completes his.
fn drop_mounts_that_are_taken(below: &mut Value, own: &Value) {
    let own = list(Some(own), "volumeMounts");
    retain(below, "volumeMounts", |mount| {
        let exact = mount.get("mountPath");
        let path = mount_path(mount);
        own.iter().any(|own| own.get("mountPath") == exact)
            || !own.iter().any(|own| path.is_some() && mount_path(own) == path)
    });
}

/// Arguments of the blueprint are no arguments of a command that the author gives instead.
fn drop_arguments_of_a_replaced_command(below: &mut Value, own: &Value) {
    let command = words(own, "command");
    if !command.is_empty() && command != words(below, "command") {
        remove(below, "args");
    }
}

/// A name is one port's.
fn drop_port_names_that_are_taken(below: &mut Value, own: &Value) {
    let Some(Value::Array(ports)) = below.get_mut("ports") else { return };
    for port in ports {
        let taken = list(Some(own), "ports").iter().any(|own| {
            own.get("name").is_some()
                && own.get("name") == port.get("name")
                && own.get("containerPort") != port.get("containerPort")
        });
        if taken {
            remove(port, "name");
        }
    }
}

/// A sidecar that the author starts on another port, or with TLS, answers no probe of ours.
fn drop_probes_of_another_port(below: &mut Value, own: &Value) {
    let read =
        |sidecar: &Value| sidecar::parse(&words(sidecar, "command"), &words(sidecar, "args"));
    let (ours, theirs) = (read(below), read(own));
    let port = sidecar::port(&theirs);
    let other_port = port.is_some() && port != sidecar::port(&ours);
    let secure = theirs.value(sidecar::SECURE_SERVING);
    let other_scheme =
        theirs.gives(sidecar::SECURE_SERVING) && secure != ours.value(sidecar::SECURE_SERVING);
    if other_port || other_scheme {
        for member in ["livenessProbe", "readinessProbe", "startupProbe"] {
            remove(below, member);
        }
    }
    if other_port {
        remove(below, "ports");
    }
}

/// Members of a security context that the API server, or the kubelet, refuses beside the author's.
fn drop_contradictions(below: &mut Value, own: &Value) {
    let (Some(below), Some(own)) = (below.get_mut("securityContext"), own.get("securityContext"))
    else {
        return;
    };
    let is = |member: &str, value: &Value| own.get(member) == Some(value);
    let adds_admin = own
        .get("capabilities")
        .and_then(|capabilities| capabilities.get("add"))
        .and_then(Value::as_array)
        .is_some_and(|added| {
            added
                .iter()
                .any(|name| ["SYS_ADMIN", "CAP_SYS_ADMIN"].iter().any(|admin| name == admin))
        });
    if is("privileged", &Value::Bool(true)) || adds_admin {
        remove(below, "allowPrivilegeEscalation");
    }
    if is("allowPrivilegeEscalation", &Value::Bool(false)) {
        remove(below, "privileged");
    }
    if is("runAsUser", &Value::from(0)) {
        remove(below, "runAsNonRoot");
    }
    if is("runAsNonRoot", &Value::Bool(true)) && below.get("runAsUser") == Some(&Value::from(0)) {
        remove(below, "runAsUser");
    }
    for profile in ["seccompProfile", "appArmorProfile"] {
        if own.get(profile).is_some_and(Value::is_object) {
            remove(below, profile);
        }
    }
}

/// Whether the author's pod runs as root.
fn is_root(upper: &Value) -> bool {
    upper.get("securityContext").and_then(|context| context.get("runAsUser"))
        == Some(&Value::from(0))
}

/// What KServe's controller says of a probe is all there is to say of it.
fn keep_probes(below: &mut Value, own: &Value) {
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if own.get(probe).is_some_and(Value::is_object) {
            remove(below, probe);
        }
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`: the API server writes both, and the
/// author's one account goes for both.
fn keep_accounts_together(lower: &mut Value, upper: &Value) {
    let account = |spec: &Value| {
        ["serviceAccountName", "serviceAccount"]
            .into_iter()
            .find_map(|member| spec.get(member)?.as_str().filter(|name| !name.is_empty()))
            .map(str::to_owned)
    };
    let Some(wanted) = account(lower) else { return };
    remove(lower, "serviceAccount");
    // The merge tells the default, which is no wish.
    let own = account(upper).filter(|own| own != "default");
    let Some(members) = lower.as_object_mut() else { return };
    if own.is_some() {
        members.shift_remove("serviceAccountName");
        return;
    }
    if upper.get("serviceAccount").is_some() {
        members.insert("serviceAccount".to_owned(), Value::from(wanted.as_str()));
    }
    members.insert("serviceAccountName".to_owned(), Value::from(wanted));
}

/// The API server has computed `priority` from the class before any webhook is asked, and refuses
/// a pod whose two fields disagree.
fn hold_back_priority(
    site: &Site<'_>,
    lower: &mut Value,
    upper: &Value,
    warnings: &mut Vec<Warning>,
) {
    if site.mode != Mode::Admission || upper.get("priorityClassName").is_some() {
        return;
    }
    let Some(class) = remove(lower, "priorityClassName") else { return };
    warnings.push(Warning::new(
        "priority-class",
        format!(
            "priorityClassName {class} cannot be set on a pod that is being created; write it in \
             the workload's pod template"
        ),
    ));
}

fn remove(value: &mut Value, member: &str) -> Option<Value> {
    value.as_object_mut()?.shift_remove(member)
}

fn retain(value: &mut Value, member: &str, keep: impl FnMut(&Value) -> bool) {
    if let Some(Value::Array(items)) = value.get_mut(member) {
        items.retain(keep);
        if items.is_empty() {
            remove(value, member);
        }
    }
}
