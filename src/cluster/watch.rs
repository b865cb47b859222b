//! The catalog of a cluster: watches of the two kinds and of the Namespaces' fabric label fill it.
//!
//! Services and configs are kept as the JSON they are, without what decides nothing; no pod and no
//! other object is ever kept. Whatever happens to the API server, the last snapshot stays.

mod kind;
mod store;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use kube::Client;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use super::Condition;
use super::events::{Events, Notice, Regarding};
use crate::catalog::{Catalog, Settings, Snapshot};
use store::{Broken, Change, Found, Kind, Store, Trouble};

/// Changes that are taken up before one snapshot is made of them.
const BATCH: usize = 1024;

/// Least time between two snapshots. Making one costs about 0.1 ms for 1,000 services, so that a
/// burst of changes costs a hundredth of a core; the first change of a burst does not wait.
const PACE: Duration = Duration::from_millis(10);

/// The services, configs and fabrics of a cluster, as they are now.
#[derive(Debug)]
pub struct WatchedCatalog {
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<()>,
    ready: watch::Sender<Result<(), String>>,
}

impl WatchedCatalog {
    /// Starts to watch, on the runtime that this is called in, until that ends. Configs that cannot
    /// be used are told of by Events.
    #[must_use]
    pub fn start(client: &Client, settings: Settings, events: Events) -> Arc<Self> {
        let mut store = Store::new();
        let waiting = store.waiting().unwrap_or_default();
        let first = store.changed(&settings).unwrap_or_default();
        let catalog = Arc::new(Self {
            snapshot: ArcSwap::from_pointee(first),
            changes: watch::Sender::new(()),
            ready: watch::Sender::new(Err(waiting)),
        });
        let (sender, changes) = mpsc::channel(BATCH);
        for kind in Kind::ALL {
            tokio::spawn(kind::watch(client.clone(), kind, sender.clone()));
        }
        let keeper =
            Keeper { catalog: Arc::clone(&catalog), store, settings, events, log: Log::default() };
        tokio::spawn(keeper.keep(changes));
        catalog
    }

    /// Holds from when everything was listed once: a kind that is not installed counts as listed.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.ready.subscribe()
    }

    /// Tells of each snapshot that comes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        // After the snapshot: who hears of it finds it.
        self.changes.send_replace(());
    }
}

impl Catalog for WatchedCatalog {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }
}

/// The one task that changes the catalog.
struct Keeper {
    catalog: Arc<WatchedCatalog>,
    store: Store,
    settings: Settings,
    events: Events,
    log: Log,
}

impl Keeper {
    async fn keep(mut self, mut changes: mpsc::Receiver<Change>) {
        let mut batch = Vec::with_capacity(BATCH);
        while changes.recv_many(&mut batch, BATCH).await > 0 {
            for change in batch.drain(..) {
                self.log.hear(&change);
                self.store.apply(change);
            }
            for found in self.store.found() {
                match found {
                    Found::Broken(broken) => self.tell(broken),
                    Found::Mended(key) => {
                        tracing::info!(config = %key, "this config can be used again, or is gone");
                    }
                }
            }
            if let Some(snapshot) = self.store.changed(&self.settings) {
                self.publish(snapshot);
                tokio::time::sleep(PACE).await;
            }
        }
    }

    fn publish(&self, snapshot: Snapshot) {
        let (services, configs) = (snapshot.services.len(), snapshot.configs.len());
        let waiting = snapshot.waiting.clone();
        self.catalog.publish(snapshot);
        tracing::debug!(services, configs, "the catalog has changed");
        self.catalog.ready.send_if_modified(|ready| {
            if ready.is_ok() {
                return false;
            }
            if waiting.is_none() {
                tracing::info!(services, configs, "the catalog is complete");
            }
            *ready = waiting.map_or(Ok(()), Err);
            true
        });
    }

    fn tell(&self, broken: Broken) {
        let Broken { object, key, reason, has_good } = broken;
        let outcome = if has_good {
            "its last good version stays in use"
        } else {
            "pods that need it are refused"
        };
        tracing::warn!(config = %key, reason, "a config cannot be used; {outcome}");
        let text = |pointer| {
            let value = object.pointer(pointer).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        self.events.send(Notice {
            regarding: Regarding {
                api_version: text("/apiVersion"),
                kind: text("/kind"),
                namespace: key.namespace,
                name: key.name,
                uid: text("/metadata/uid"),
            },
            is_warning: true,
            reason: "InvalidTemplate",
            action: "Watch",
            note: format!("{outcome}: {reason}"),
        });
    }
}

/// Says once what has gone wrong, and once that it is over.
#[derive(Debug, Default)]
struct Log {
    unreachable: BTreeSet<Kind>,
    refused: BTreeSet<Kind>,
    not_installed: BTreeSet<Kind>,
}

impl Log {
    fn hear(&mut self, change: &Change) {
        match change {
            Change::Failing(kind, Trouble::Unreachable(reason)) => {
                if self.unreachable.is_empty() {
                    tracing::warn!(
                        reason,
                        "the API server does not answer; the catalog stays as it is until it does"
                    );
                }
                self.unreachable.insert(*kind);
            }
            Change::Failing(kind, Trouble::Refused(reason)) => {
                self.answers(*kind);
                if self.refused.insert(*kind) {
                    let resource = kind.resource();
                    tracing::warn!(resource, reason, "the API server does not let us watch");
                }
            }
            Change::NotInstalled(kind) => {
                self.answers(*kind);
                if self.not_installed.insert(*kind) {
                    let resource = kind.resource();
                    tracing::warn!(
                        resource,
                        "the cluster does not have this kind; waiting for its \
                         CustomResourceDefinition to be applied"
                    );
                }
            }
            Change::Listed(kind, objects) => {
                self.answers(*kind);
                let over = self.refused.remove(kind) | self.not_installed.remove(kind);
                if over {
                    let (resource, objects) = (kind.resource(), objects.len());
                    tracing::info!(resource, objects, "watching this kind now");
                }
            }
            Change::Applied(..) | Change::Deleted(..) => {}
        }
    }

    fn answers(&mut self, kind: Kind) {
        if self.unreachable.remove(&kind) && self.unreachable.is_empty() {
            tracing::info!("the API server answers again");
        }
    }
}
