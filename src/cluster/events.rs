//! Kubernetes Events on the owners of pods: whoever looks at the controller sees what became of its
//! pods, and why one was refused.
//!
//! Nothing waits for an Event: it goes into a queue, one task sends them one after the other, and
//! what does not fit into the queue is dropped and counted. What is the same is one Event with a
//! count. They are `events.k8s.io/v1`, for which a role has to allow create and patch.

mod ledger;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::{Event, EventSeries};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::reason;
use crate::review::Record;
use ledger::{Ledger, Repeat, Taken};

/// Who tells.
const CONTROLLER: &str = "llmisvc-webhook";

/// Events that wait to be sent; a pool of pods that comes up at once makes a few each.
const QUEUE: usize = 1024;

/// Longest note, in bytes: the API server refuses a longer one.
const NOTE: usize = 1024;

/// How often counts are brought to the API server.
const FLUSH: Duration = Duration::from_secs(10);

/// Time for the API server to take one.
const PATIENCE: Duration = Duration::from_secs(5);

/// Something to be told of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Of which object.
    pub regarding: Regarding,
    /// `Warning`, else `Normal`.
    pub is_warning: bool,
    /// Why, in one word, e.g. `InjectionRefused`.
    pub reason: &'static str,
    /// What was being done, e.g. `Inject`.
    pub action: &'static str,
    /// For people. Cut at 1 KiB.
    pub note: String,
}

/// An object in a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regarding {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; the Event is made in it.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The uid of this very object.
    pub uid: String,
}

/// Where Events are handed in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<Told>,
    counts: Counts,
}

/// What is in the queue: a record is put into words by the task that sends, not by the review.
#[derive(Debug)]
enum Told {
    Notice(Notice),
    Record(String, Record),
}

#[derive(Debug, Clone, Default)]
struct Counts {
    sent: Counter,
    dropped: Counter,
    failed: Counter,
}

impl Events {
    /// Starts to send, on the runtime that this is called in, until that ends.
    #[must_use]
    pub fn start(client: Client) -> Self {
        let (queue, told) = mpsc::channel(QUEUE);
        let counts = Counts::default();
        let sender = Sender {
            client,
            instance: instance(),
            ledger: Ledger::default(),
            counts: counts.clone(),
        };
        tokio::spawn(sender.run(told));
        Self { queue, counts }
    }

    /// Hands in what was decided of a pod in that namespace.
    pub fn tell(&self, namespace: &str, record: &Record) {
        self.queue(Told::Record(namespace.to_owned(), record.clone()));
    }

    /// Hands in one notice.
    pub fn send(&self, notice: Notice) {
        self.queue(Told::Notice(notice));
    }

    /// Adds what became of them to the metrics.
    pub fn measure(&self, registry: &mut Registry) {
        let Counts { sent, dropped, failed } = &self.counts;
        registry.register("events_sent", "Events made or counted up", sent.clone());
        registry.register("events_dropped", "Events not sent, to bound them", dropped.clone());
        registry.register(
            "events_failed",
            "Events that the API server did not take",
            failed.clone(),
        );
    }

    fn queue(&self, told: Told) {
        if self.queue.try_send(told).is_err() {
            self.counts.dropped.inc();
        }
    }
}

/// The notices that a record makes.
fn notices(namespace: &str, record: &Record) -> Vec<Notice> {
    let Record { owner, added, warnings, refusal } = record;
    let notice = |is_warning, reason, note| Notice {
        regarding: Regarding {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        },
        is_warning,
        reason,
        action: "Inject",
        note,
    };
    let mut notices = Vec::new();
    if let Some(added) = added {
        notices.push(notice(false, "Injected", summary(added)));
    }
    if !warnings.is_empty() {
        let lines: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        notices.push(notice(true, "InjectionWarning", lines.join("; ")));
    }
    if let Some(refusal) = refusal {
        notices.push(notice(true, "InjectionRefused", refusal.clone()));
    }
    notices
}

/// The status annotation in words: names alone, no values.
fn summary(status: &str) -> String {
    let status: Value = serde_json::from_str(status).unwrap_or_default();
    let mut parts = Vec::new();
    if let Some(Value::Object(added)) = status.get("added") {
        let inside = added.get("in").and_then(Value::as_object).into_iter().flatten();
        for (container, members) in inside {
            parts.push(format!("to {container}: {}", listed(members)));
        }
        let mut outside = added.clone();
        outside.shift_remove("in");
        let outside = listed(&Value::Object(outside));
        if !outside.is_empty() {
            parts.insert(0, outside);
        }
    }
    let configs = status.get("configs").map(joined).unwrap_or_default();
    let from = if configs.is_empty() { configs } else { format!(" (from {configs})") };
    let added = if parts.is_empty() { "values".to_owned() } else { parts.join("; ") };
    format!("added {added}{from}")
}

/// `env A, B; ports 5600`
fn listed(members: &Value) -> String {
    let members = members.as_object().into_iter().flatten();
    let parts = members.map(|(member, names)| format!("{member} {}", joined(names)));
    parts.collect::<Vec<_>>().join("; ")
}

fn joined(names: &Value) -> String {
    let names = names.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}

/// On one line, and no longer than the API server takes.
fn cut(note: &str) -> String {
    let note: String = note.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if note.len() <= NOTE {
        return note;
    }
    let end = note.floor_char_boundary(NOTE - '…'.len_utf8());
    format!("{}…", note.get(..end).unwrap_or_default())
}

/// The pod's name, which is its host name.
fn instance() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // No longer than the API server takes.
    let name: String = name.trim().chars().take(128).collect();
    if name.is_empty() { CONTROLLER.to_owned() } else { name }
}

/// The task that sends.
struct Sender {
    client: Client,
    instance: String,
    ledger: Ledger,
    counts: Counts,
}

impl Sender {
    async fn run(mut self, mut told: mpsc::Receiver<Told>) {
        let mut flush = tokio::time::interval(FLUSH);
        loop {
            tokio::select! {
                next = told.recv() => match next {
                    Some(Told::Notice(notice)) => self.take(notice).await,
                    Some(Told::Record(namespace, record)) => {
                        for notice in notices(&namespace, &record) {
                            self.take(notice).await;
                        }
                    }
                    None => return,
                },
                _ = flush.tick() => self.count_up().await,
            }
        }
    }

    async fn take(&mut self, mut notice: Notice) {
        notice.note = cut(&notice.note);
        match self.ledger.take(&notice, Instant::now()) {
            Taken::Counted => {}
            Taken::TooMany => drop(self.counts.dropped.inc()),
            Taken::New => {
                let event = self.event(&notice);
                let name = event.metadata.name.clone().unwrap_or_default();
                let events = self.events(&notice.regarding.namespace);
                let parameters = PostParams::default();
                if self.tried(events.create(&parameters, &event)).await {
                    self.ledger.made(&notice, &name);
                } else {
                    self.ledger.forget(&notice);
                }
            }
        }
    }

    async fn count_up(&mut self) {
        for Repeat { notice, name, count } in self.ledger.repeats(Instant::now()) {
            let series = EventSeries { count, last_observed_time: MicroTime(Timestamp::now()) };
            let patch = Patch::Merge(json!({"series": series}));
            let events = self.events(&notice.regarding.namespace);
            let parameters = PatchParams::default();
            if !self.tried(events.patch(&name, &parameters, &patch)).await {
                // Events live for an hour: the next is a new one.
                self.ledger.forget(&notice);
            }
        }
    }

    /// Whether the API server took it.
    async fn tried(&self, request: impl Future<Output = kube::Result<Event>>) -> bool {
        let error = match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(_)) => {
                self.counts.sent.inc();
                return true;
            }
            Ok(Err(error)) => reason(&error),
            Err(_) => "no answer in time".to_owned(),
        };
        self.counts.failed.inc();
        tracing::debug!(error, "an Event was not taken");
        false
    }

    fn events(&self, namespace: &str) -> Api<Event> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn event(&self, notice: &Notice) -> Event {
        let Notice { regarding, is_warning, reason, action, note } = notice;
        let now = Timestamp::now();
        // As others name them; a name has 253 characters at most.
        let start: String = regarding.name.chars().take(200).collect();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{start}.{:x}", now.as_nanosecond())),
                namespace: Some(regarding.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(now)),
            regarding: Some(ObjectReference {
                api_version: Some(regarding.api_version.clone()),
                kind: Some(regarding.kind.clone()),
                namespace: Some(regarding.namespace.clone()),
                name: Some(regarding.name.clone()),
                uid: Some(regarding.uid.clone()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            }),
            type_: Some(if *is_warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some((*reason).to_owned()),
            action: Some((*action).to_owned()),
            note: Some(note.clone()),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.clone()),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests;
