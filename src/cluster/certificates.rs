//! Certificates without anybody's help: a CA in a Secret that all replicas share, a leaf per replica
//! in memory, and the `caBundle` of our registrations.
//!
//! Nothing is cached but what decides over time: with every change, and once a minute, the
//! registrations and then the Secret are read, and the registrations once more, so that all of it
//! was there at one time; `plan` says what to do, and every write is a compare-and-swap. So a replica that sleeps for however long does no harm when it wakes up: it can
//! only write what it has just read the ground for.
//!
//! Ready is not a matter of bookkeeping: a handshake is made with our own listener, trusting the
//! `caBundle` that is in the cluster. That is also done where certificates come from elsewhere.

mod keeper;
#[cfg(test)]
mod model;
mod plan;
mod ready;
mod registration;
mod store;
mod teller;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::Condition;
use crate::tls::{Certificates, service_names};
use keeper::{Keeper, Managed};
use plan::{Lives, Memory};
use ready::Known;
use registration::{Kind, Place};
use teller::{Teller, explain};

/// The two registrations, by the names of their configurations.
#[derive(Debug, Clone)]
pub struct Registrations {
    /// Of the `MutatingWebhookConfiguration`.
    pub mutating: String,
    /// Of the `ValidatingWebhookConfiguration`.
    pub validating: String,
}

impl Default for Registrations {
    fn default() -> Self {
        Self {
            mutating: "mutate.inject.llmisvc.io".to_owned(),
            validating: "validate.inject.llmisvc.io".to_owned(),
        }
    }
}

/// What is managed, and for how long things live.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of the Service and of the Secret.
    pub namespace: String,
    /// The Service in front of the webhook.
    pub service: String,
    /// The Secret with the CA; it has to be there, empty at first.
    pub secret: String,
    /// More DNS names and IP addresses for the leaf.
    pub names: Vec<String>,
    /// A CA's life, 1 year; another is made when two thirds of it have passed.
    pub ca_validity: Duration,
    /// A leaf's life, 30 days, and never longer than its CA's; renewed as a CA is.
    pub leaf_validity: Duration,
    /// From a rotation until the CAs of before are trusted no more, 1 hour. A replica that does not
    /// reach the API server for so long serves a certificate that nobody trusts.
    pub overlap: Duration,
    /// How long a new CA has to be in every registration before a leaf of it is served, 10 seconds:
    /// an API server's view of the registrations may be that old. A replica that starts waits for
    /// it too when somebody has written a registration within the overlap.
    pub settle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            namespace: "llmisvc-system".to_owned(),
            service: "llmisvc-webhook".to_owned(),
            secret: "llmisvc-webhook-ca".to_owned(),
            names: Vec::new(),
            ca_validity: Duration::from_hours(365 * 24),
            leaf_validity: Duration::from_hours(30 * 24),
            overlap: Duration::from_hours(1),
            settle: Duration::from_secs(10),
        }
    }
}

/// Times that do not go together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionsError {
    /// Old CAs would end before they are dropped.
    #[error(
        "the CA's validity of {validity:?} is too short for an overlap of {overlap:?}; make it at \
         least three times as long"
    )]
    Validity {
        /// [`Options::ca_validity`].
        validity: Duration,
        /// [`Options::overlap`].
        overlap: Duration,
    },
    /// Old CAs would be dropped while they are needed.
    #[error(
        "the overlap of {overlap:?} is too short for a settle time of {settle:?}; make it at least \
         twice as long"
    )]
    Overlap {
        /// [`Options::overlap`].
        overlap: Duration,
        /// [`Options::settle`].
        settle: Duration,
    },
    /// A leaf that is renewed all the time.
    #[error("the leaf's validity of {0:?} is too short; make it at least 3 seconds")]
    Leaf(Duration),
}

impl Options {
    /// Whether the times go together.
    ///
    /// # Errors
    /// [`OptionsError`] says which do not.
    pub fn check(&self) -> Result<(), OptionsError> {
        let Self { ca_validity: validity, leaf_validity: leaf, overlap, settle, .. } = *self;
        if validity < overlap * 3 {
            return Err(OptionsError::Validity { validity, overlap });
        }
        if overlap < settle * 2 {
            return Err(OptionsError::Overlap { overlap, settle });
        }
        if leaf < Duration::from_secs(3) {
            return Err(OptionsError::Leaf(leaf));
        }
        Ok(())
    }
}

/// Keeps certificates and registrations together, or only looks whether they are.
#[must_use]
pub struct Manager {
    client: Client,
    registrations: Registrations,
    managed: Option<(Options, Certificates)>,
    state: watch::Sender<Result<(), String>>,
}

impl Manager {
    /// Makes CA and leaves, and publishes the CA. Nothing is sent before [`Manager::run`].
    ///
    /// # Errors
    /// [`OptionsError`] when the times do not go together.
    pub fn new(
        client: Client,
        registrations: Registrations,
        options: Options,
    ) -> Result<Self, OptionsError> {
        options.check()?;
        Ok(Self::of(client, registrations, Some((options, Certificates::empty()))))
    }

    /// Only looks: what is served comes from elsewhere, and somebody else writes the `caBundle`.
    pub fn observe(client: Client, registrations: Registrations) -> Self {
        Self::of(client, registrations, None)
    }

    fn of(
        client: Client,
        registrations: Registrations,
        managed: Option<(Options, Certificates)>,
    ) -> Self {
        let (state, _) = watch::channel(Err("waiting for the API server".to_owned()));
        Self { client, registrations, managed, state }
    }

    /// Holds as long as a handshake with the listener verifies with the `caBundle` of every webhook.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.state.subscribe()
    }

    /// What is served: nothing until the first leaf is there, and then always the latest. With
    /// [`Manager::observe`] it stays empty.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        self.managed.as_ref().map_or_else(Certificates::empty, |(_, served)| served.clone())
    }

    /// Starts, for a listener that serves [`Manager::certificates`] or, when observing, what it
    /// has. It ends with the task.
    #[must_use = "the task says when it ends"]
    pub fn run(self, listener: SocketAddr) -> JoinHandle<()> {
        let Self { client, registrations, managed, state } = self;
        let Registrations { mutating, validating } = registrations;
        let secret = managed.as_ref().map(|(o, _)| (o.namespace.clone(), o.secret.clone()));
        let places = vec![
            Place::new(client.clone(), Kind::Mutating, mutating.clone()),
            Place::new(client.clone(), Kind::Validating, validating.clone()),
        ];
        let managed = managed.map(|(options, certificates)| Managed {
            secrets: Api::namespaced(client.clone(), &options.namespace),
            names: service_names(&options.service, &options.namespace, &options.names),
            secret: options.secret,
            namespace: options.namespace,
            ca: options.ca_validity,
            lives: Lives {
                leaf: options.leaf_validity,
                overlap: options.overlap,
                settle: options.settle,
            },
            certificates,
            memory: Memory::default(),
        });
        let keeper = Keeper {
            known: places.iter().map(|_| Known::Unknown).collect(),
            repairs: places.iter().map(|_| VecDeque::new()).collect(),
            places,
            managed,
            listener: ready::reachable(listener),
            state,
            was_ready: false,
            started: Instant::now(),
            teller: Teller::default(),
        };
        tokio::spawn(async move {
            let changed = Arc::new(Notify::new());
            // They end with this task.
            let mut watches = JoinSet::new();
            let told = || Arc::clone(&changed);
            let of = Api::<PartialObjectMeta<MutatingWebhookConfiguration>>::all(client.clone());
            watches.spawn(follow(of, Kind::Mutating.plural(), mutating, told()));
            let of = Api::<PartialObjectMeta<ValidatingWebhookConfiguration>>::all(client.clone());
            watches.spawn(follow(of, Kind::Validating.plural(), validating, told()));
            if let Some((namespace, name)) = secret {
                let of = Api::<PartialObjectMeta<Secret>>::namespaced(client, &namespace);
                watches.spawn(follow(of, "secrets", name, told()));
            }
            keeper.run(changed).await;
        })
    }
}

/// Tells of every change of one object. Its metadata is enough, and a key does not come along.
async fn follow<K>(api: Api<K>, plural: &'static str, name: String, changed: Arc<Notify>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let of = format!("watching {plural}/{name}");
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    let mut teller = Teller::default();
    while let Some(event) = events.next().await {
        match event {
            Ok(_) => {
                teller.good(&of);
                changed.notify_one();
            }
            Err(error) => {
                let resource = format!("{plural}/{name}");
                let told = match &error {
                    watcher::Error::InitialListFailed(error) => explain(error, "list", &resource),
                    watcher::Error::WatchStartFailed(error) => explain(error, "watch", &resource),
                    other => other.to_string(),
                };
                // The minute's look goes on without it.
                teller.fault(&of, &told);
            }
        }
    }
}

impl Debug for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Manager")
            .field("registrations", &self.registrations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together_and_others_may_not() {
        assert_eq!(Options::default().check(), Ok(()));
        let day = Duration::from_hours(24);
        let wrong = |options: Options| options.check().unwrap_err().to_string();
        let told = wrong(Options { overlap: 300 * day, ..Options::default() });
        assert!(told.contains("three times"), "{told}");
        let told = wrong(Options { settle: day, ..Options::default() });
        assert!(told.contains("twice"), "{told}");
        let told = wrong(Options { leaf_validity: Duration::ZERO, ..Options::default() });
        assert!(told.contains("leaf"), "{told}");
    }
}
