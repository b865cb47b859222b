//! What was composed from one snapshot, so that it is composed once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Blueprint, ComposeError, Composed, blueprint, compose};
use crate::api::{ObjectKey, Service};
use crate::catalog::Snapshot;
use crate::workload::{Position, Role};

type Entries<K, V> = RwLock<BTreeMap<K, Result<Arc<V>, ComposeError>>>;

/// Belongs to one snapshot: any change in the cluster makes a new snapshot with an empty cache, so
/// nothing in here is ever out of date. Its size is bounded by the snapshot's services.
#[derive(Debug, Default)]
pub struct Cache {
    composed: Entries<ObjectKey, Composed>,
    blueprints: Entries<(ObjectKey, Role, blueprint::Place), Blueprint>,
}

impl Cache {
    /// The service's effective spec.
    ///
    /// # Errors
    /// As [`compose`].
    pub fn composed(snapshot: &Snapshot, service: &Service) -> Result<Arc<Composed>, ComposeError> {
        remember(&snapshot.cache.composed, service.key.clone(), || {
            compose(snapshot, service).map(Arc::new)
        })
    }

    /// What a pod of that role and position should be.
    ///
    /// # Errors
    /// As [`compose`]; and where the service has no pod spec for that role and position.
    pub fn blueprint(
        snapshot: &Snapshot,
        service: &Service,
        role: Role,
        position: Position,
    ) -> Result<Arc<Blueprint>, ComposeError> {
        let place = blueprint::Place::of(position);
        remember(&snapshot.cache.blueprints, (service.key.clone(), role, place), || {
            let composed = Self::composed(snapshot, service)?;
            Blueprint::of(snapshot, service, &composed, role, place).map(Arc::new)
        })
    }
}

/// Two reviews may compute the same entry at the same time: both come to the same result.
fn remember<K: Ord, V>(
    entries: &Entries<K, V>,
    key: K,
    make: impl FnOnce() -> Result<Arc<V>, ComposeError>,
) -> Result<Arc<V>, ComposeError> {
    let known = entries.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    if let Some(known) = known {
        return known;
    }
    let result = make();
    entries.write().unwrap_or_else(PoisonError::into_inner).insert(key, result.clone());
    result
}
