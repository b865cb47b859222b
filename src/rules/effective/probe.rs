//! Probes of a container that ask a port of its pod.

use serde_json::Value;

use crate::rules::case::{get, items, text};

/// The members of a container that are probes.
const NAMES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];
const HANDLERS: [&str; 3] = ["httpGet", "tcpSocket", "grpc"];

/// A probe of a container that asks a port of its own pod.
#[derive(Debug)]
pub(in crate::rules) struct Probe<'p> {
    /// `startupProbe`, `livenessProbe` or `readinessProbe`.
    pub(in crate::rules) name: &'static str,
    /// `httpGet`, `tcpSocket` or `grpc`.
    pub(in crate::rules) handler: &'static str,
    /// The port, or the name for which the container declares none.
    pub(in crate::rules) port: Result<u16, &'p str>,
    /// All of it.
    pub(in crate::rules) value: &'p Value,
}

/// The probes of a container, as far as they ask a port of the pod and the port can be read.
pub(in crate::rules) fn probes(container: &Value) -> impl Iterator<Item = Probe<'_>> {
    NAMES.into_iter().filter_map(|name| {
        let value = get(container, &[name])?;
        let (handler, asked) =
            HANDLERS.into_iter().find_map(|handler| Some((handler, get(value, &[handler])?)))?;
        // One that names a host asks somebody else.
        if text(asked, &["host"]).is_some() {
            return None;
        }
        let port = resolve(container, asked.get("port")?)?;
        Some(Probe { name, handler, port, value })
    })
}

impl Probe<'_> {
    /// Where its port stands in the container.
    pub(in crate::rules) fn port_field(&self) -> [&'static str; 3] {
        [self.name, self.handler, "port"]
    }

    /// Whether it asks by HTTPS; `None` of one that does not ask by HTTP.
    pub(in crate::rules) fn is_https(&self) -> Option<bool> {
        let asked = get(self.value, &["httpGet"]).filter(|_| self.handler == "httpGet")?;
        Some(text(asked, &["scheme"]).is_some_and(|scheme| scheme == "HTTPS"))
    }
}

/// A number of a probe, or what the API server makes of its absence.
///
/// Source: `SetDefaults_Probe` in `pkg/apis/core/v1/defaults.go` of Kubernetes.
pub(in crate::rules) fn number(probe: &Value, field: &str) -> u64 {
    let default = match field {
        "periodSeconds" => 10,
        "failureThreshold" => 3,
        "timeoutSeconds" | "successThreshold" => 1,
        _ => 0,
    };
    get(probe, &[field]).and_then(Value::as_u64).filter(|number| *number > 0).unwrap_or(default)
}

/// For how many seconds a probe may fail before it has failed.
pub(in crate::rules) fn patience(probe: &Value) -> u64 {
    let tries = number(probe, "periodSeconds").saturating_mul(number(probe, "failureThreshold"));
    number(probe, "initialDelaySeconds").saturating_add(tries)
}

/// As the kubelet does (`ResolveContainerPort`): a name is one of the container's ports, or else a
/// number in quotes. `None` for what is no port.
fn resolve<'p>(container: &Value, port: &'p Value) -> Option<Result<u16, &'p str>> {
    let number = |number: u64| u16::try_from(number).ok().filter(|port| *port > 0);
    if let Some(given) = port.as_u64() {
        return number(given).map(Ok);
    }
    let name = port.as_str()?;
    let declared = items(container, &["ports"], &crate::json::FieldPath::root())
        .into_iter()
        .find(|(_, item)| text(item, &["name"]) == Some(name))
        .and_then(|(_, item)| number(item.get("containerPort")?.as_u64()?));
    Some(declared.or_else(|| name.parse().ok()).ok_or(name))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_is_a_number_or_the_name_of_one() {
        let container = |port: Value| {
            json!({
                "ports": [{"name": "http", "containerPort": 8001}],
                "readinessProbe": {"httpGet": {"port": port}},
            })
        };
        let read = |port: Value| {
            let container = container(port);
            probes(&container).next().map(|probe| probe.port.map_err(str::to_owned))
        };
        assert_eq!(read(json!(8000)), Some(Ok(8000)));
        assert_eq!(read(json!("8000")), Some(Ok(8000)));
        assert_eq!(read(json!("http")), Some(Ok(8001)));
        assert_eq!(read(json!("https")), Some(Err("https".to_owned())));
        assert_eq!(read(json!(0)), None);
        let elsewhere = json!({"readinessProbe": {"httpGet": {"port": 1, "host": "example.com"}}});
        assert!(probes(&elsewhere).next().is_none());
        assert!(probes(&json!({"livenessProbe": {"exec": {"command": ["x"]}}})).next().is_none());
    }

    #[test]
    fn what_is_not_written_is_what_the_api_server_makes_of_it() {
        assert_eq!(patience(&json!({})), 30);
        assert_eq!(patience(&json!({"initialDelaySeconds": 5, "failureThreshold": 60})), 605);
    }
}
