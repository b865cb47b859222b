//! The object that the rules look at.

use std::cell::OnceCell;

use serde_json::Value;

use super::Request;
use super::effective::{Effective, Engine, NoPod};
use crate::api::{GROUP, Object, ObjectKey, Service};
use crate::catalog::Snapshot;
use crate::compose::{ComposeError, Composed, compose};
use crate::decision::Decision;
use crate::inject::PodRequest;
use crate::json::{self, FieldPath, Segment, list};
use crate::workload::templates::{Templates, Type, templates};

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Service,
    Config,
    /// A pod, or what makes pods.
    Workload,
    /// A service that stands for those which use a config: the object is that config, so that what
    /// is found in the service's pods is found where the config says it.
    Sample,
}

/// An object, what it was before, and what else there is.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) kind: Kind,
    pub(super) key: ObjectKey,
    /// The object as its author wrote it.
    pub(super) object: &'a Value,
    /// What it was before.
    pub(super) old: Option<&'a Value>,
    /// The same as [`Self::object`], with the name and namespace that it is going to have; `None` of
    /// a workload.
    pub(super) read: Option<Object>,
    composed: OnceCell<Option<Result<Composed, ComposeError>>>,
    effective: OnceCell<Option<Result<Effective, NoPod>>>,
}

impl<'a> Case<'a> {
    /// `None` for an object of another kind, or one that cannot be read.
    pub(super) fn of(request: Request<'a>) -> Option<Self> {
        let Request { snapshot, namespace, object, old } = request;
        let in_request = |key: &mut ObjectKey| {
            if !namespace.is_empty() {
                namespace.clone_into(&mut key.namespace);
            }
            key.clone()
        };
        let (kind, key, read) = if is_workload(object) {
            (Kind::Workload, in_request(&mut named_key(object)), None)
        } else {
            let mut read = Object::read(named(object)).ok()?;
            let (kind, key) = match &mut read {
                Object::Service(service) => (Kind::Service, &mut service.key),
                Object::Config(config) => (Kind::Config, &mut config.key),
            };
            (kind, in_request(key), Some(read))
        };
        Some(Self {
            snapshot,
            kind,
            key,
            object,
            old,
            read,
            composed: OnceCell::new(),
            effective: OnceCell::new(),
        })
    }

    /// A sample service that uses a config.
    pub(super) fn sample(snapshot: &'a Snapshot, config: &'a Value, service: &Service) -> Self {
        Self {
            snapshot,
            kind: Kind::Sample,
            key: service.key.clone(),
            object: config,
            old: None,
            read: Some(Object::Service(service.clone())),
            composed: OnceCell::new(),
            effective: OnceCell::new(),
        }
    }

    /// A pod that was decided on.
    pub(super) fn pod(
        snapshot: &'a Snapshot,
        request: PodRequest<'a>,
        decision: &Decision,
    ) -> Self {
        let key = named_key(request.pod);
        Self {
            snapshot,
            kind: Kind::Workload,
            key: ObjectKey::new(request.namespace, key.name),
            object: request.pod,
            old: None,
            read: None,
            composed: OnceCell::new(),
            effective: OnceCell::from(Some(Effective::of_pod(snapshot, request, decision))),
        }
    }

    /// `spec`, `null` where there is none.
    pub(super) fn spec(&self) -> &'a Value {
        self.object.get("spec").unwrap_or(&Value::Null)
    }

    /// The value below `spec`.
    pub(super) fn get(&self, path: &[&str]) -> Option<&'a Value> {
        get(self.spec(), path)
    }

    /// The pools that the spec speaks of, the decode or general one first.
    pub(super) fn pools(&self) -> Vec<Pool<'a>> {
        pools(self.spec())
    }

    /// The service's effective spec, composed once; `None` of a config.
    pub(super) fn composed(&self) -> Option<&Result<Composed, ComposeError>> {
        let compose_service = || match &self.read {
            // The snapshot's cache is of the services in it; this one is not there yet.
            Some(Object::Service(service)) => Some(compose(self.snapshot, service)),
            Some(Object::Config(_)) | None => None,
        };
        self.composed.get_or_init(compose_service).as_ref()
    }

    /// The service's spec as it is composed; `None` where it cannot be, and of a config.
    pub(super) fn effective_spec(&self) -> Option<&Value> {
        Some(self.composed()?.as_ref().ok()?.spec())
    }

    /// Why the service cannot be composed.
    pub(super) fn compose_error(&self) -> Option<&ComposeError> {
        self.composed()?.as_ref().err()
    }

    /// The engines of the service or workload; `None` of a config, and of a service that cannot be
    /// composed.
    pub(super) fn effective(&self) -> Option<&Result<Effective, NoPod>> {
        let compute = || match (&self.read, self.composed()) {
            (None, _) => Some(Effective::of_workload(self)),
            (Some(Object::Service(service)), Some(Ok(composed))) => {
                Some(Effective::of_service(self, service, composed))
            }
            (Some(_), _) => None,
        };
        self.effective.get_or_init(compute).as_ref()
    }

    /// Prefill and decode of a service that has both.
    pub(super) fn pair(&self) -> Option<(&Engine, &Engine)> {
        // What a config says of one of the two is held against the other where a service has both.
        let says = |member: &str| self.get(&[member]).is_some();
        let is_half = || !says("prefill") || !(says("template") || says("worker"));
        if self.kind == Kind::Workload || self.kind == Kind::Sample && is_half() {
            return None;
        }
        self.effective()?.as_ref().ok()?.pair()
    }

    /// The annotation's value.
    pub(super) fn annotation(&self, key: &str) -> Option<&'a str> {
        self.object.get("metadata")?.get("annotations")?.get(key)?.as_str()
    }

    /// The pools of the service as it is composed; as its author wrote them where it cannot be.
    pub(super) fn effective_pools(&self) -> Vec<Pool<'_>> {
        pools(self.effective_spec().unwrap_or(self.spec()))
    }

    /// The pool of an engine of a service, as [`Self::effective_pools`] has it.
    pub(super) fn effective_pool(&self, engine: &Engine) -> Option<Pool<'_>> {
        self.effective_pools().into_iter().find(|pool| pool.path == engine.pool)
    }

    /// The field, or the nearest above it that the author wrote.
    pub(super) fn written(&self, field: &FieldPath) -> FieldPath {
        let mut path = FieldPath::root();
        let mut value = self.object;
        for segment in field.segments() {
            let (member, next) = match segment {
                Segment::Field(name) => (value.get(name), path.field(name)),
                Segment::Key(key) => (value.get(key), path.key(key)),
                Segment::Index(index) => (value.get(*index), path.index(*index)),
            };
            let Some(member) = member.filter(|member| !member.is_null()) else { break };
            (value, path) = (member, next);
        }
        path
    }

    pub(super) fn is_v1alpha1(&self) -> bool {
        json::text(self.object, &["apiVersion"])
            .and_then(|version| version.strip_prefix(GROUP))
            .is_some_and(|version| version == "/v1alpha1")
    }
}

/// The spec of one pool: `spec` itself, or `spec.prefill`.
#[derive(Debug, Clone)]
pub(super) struct Pool<'a> {
    pub(super) path: FieldPath,
    pub(super) spec: &'a Value,
}

impl<'a> Pool<'a> {
    /// The value below the pool.
    pub(super) fn get(&self, path: &[&str]) -> Option<&'a Value> {
        get(self.spec, path)
    }

    /// The path of a field below the pool.
    pub(super) fn at(&self, path: &[&str]) -> FieldPath {
        below(&self.path, path)
    }

    /// Whether an object stands there.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        self.get(path).is_some()
    }
}

/// The pools of a spec, the decode or general one first.
pub(super) fn pools(spec: &Value) -> Vec<Pool<'_>> {
    let main = Pool { path: FieldPath::root().field("spec"), spec };
    let prefill = get(spec, &["prefill"]).filter(|prefill| prefill.is_object());
    let prefill = prefill.map(|spec| Pool { path: at(&["prefill"]), spec });
    std::iter::once(main).chain(prefill).collect()
}

/// The value that the member names lead to; null reads as absent, as it does in Go.
pub(super) fn get<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    json::at(value, path).filter(|value| !value.is_null())
}

/// A path below `spec`.
pub(super) fn at(path: &[&str]) -> FieldPath {
    below(&FieldPath::root().field("spec"), path)
}

/// A path below another.
pub(super) fn below(path: &FieldPath, names: &[&str]) -> FieldPath {
    names.iter().fold(path.clone(), |path, name| path.field(name))
}

/// The items of a list that is there, with their paths; nothing else.
pub(super) fn items<'v>(
    value: &'v Value,
    path: &[&str],
    base: &FieldPath,
) -> Vec<(FieldPath, &'v Value)> {
    let base = below(base, path);
    list(value, path).iter().enumerate().map(|(index, item)| (base.index(index), item)).collect()
}

/// The containers of a pod spec, each with the list that it stands in; those that initialise it
/// first.
pub(super) fn containers(spec: &Value) -> impl Iterator<Item = (&'static str, &Value)> {
    let of = move |name| list(spec, &[name]).iter().map(move |container| (name, container));
    ["initContainers", "containers"].into_iter().flat_map(of)
}

/// The ports that a container declares.
pub(super) fn declared_ports(container: &Value) -> impl Iterator<Item = u16> {
    let port = |port: &Value| u16::try_from(port.get("containerPort")?.as_u64()?).ok();
    list(container, &["ports"]).iter().filter_map(port)
}

/// Whether a member says yes.
pub(super) fn is_true(value: &Value, path: &[&str]) -> bool {
    get(value, path) == Some(&Value::Bool(true))
}

/// Whether a container may do what root on the node may.
pub(super) fn is_privileged(container: &Value) -> bool {
    is_true(container, &["securityContext", "privileged"])
}

/// Whether a path is that of a mount, or lies below it.
pub(super) fn is_within(path: &str, mount: &str) -> bool {
    let rest = path.strip_prefix(mount.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A text member, the empty one read as absent, as Go does.
pub(super) fn text<'v>(value: &'v Value, path: &[&str]) -> Option<&'v str> {
    json::text(value, path).filter(|text| !text.is_empty())
}

/// A label as RFC 1123 has it, whatever its length.
pub(super) fn is_label(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// A subdomain as RFC 1123 has it: what most objects are called.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_workload(object: &Value) -> bool {
    Type::of(object).is_some_and(|of| templates(&of) != Templates::None)
}

/// Name, or what it is generated from, and namespace.
fn named_key(object: &Value) -> ObjectKey {
    let member = |name| text(object, &["metadata", name]).unwrap_or_default();
    let name = text(object, &["metadata", "name"]).unwrap_or_else(|| member("generateName"));
    ObjectKey::new(member("namespace"), name)
}

/// The object with a name: one that is created with `generateName` has none at admission.
pub(super) fn named(object: &Value) -> Value {
    let mut object = object.clone();
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else {
        return object;
    };
    let is_named =
        metadata.get("name").and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    if !is_named && let Some(prefix) = metadata.get("generateName").cloned() {
        metadata.insert("name".to_owned(), prefix);
    }
    object
}
