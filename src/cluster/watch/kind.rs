//! The watch of one kind: found, listed, followed, and begun anew when it breaks.

use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta};
use kube::runtime::watcher::{self, Event};
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use super::store::{Change, Item, Kind, Trouble, key_of};
use crate::api::{GROUP, VERSIONS};
use crate::cluster::reason;
use crate::workload::keys::FABRIC;

/// First and longest pause before a watch that broke is begun anew. The longest is what a cluster
/// that comes back waits for its next pod to be decided by what is in it.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// How often it is looked whether a kind has been installed: who applies a definition applies objects
/// right after it.
const LOOK: Duration = Duration::from_secs(1);

/// How often a kind that was there has to be missed before all of it counts as gone: an API server
/// that has just started knows its own kinds first. Who deletes a kind deletes its objects, and that
/// is told at once.
const DOUBTS: u32 = 5;

/// After so many seconds a watch is renewed, and one whose server has gone without a word is noticed.
const RENEWED: u32 = 60;

/// Objects a page of a list. A page is held read, at some thirty times its text, and the allocator
/// keeps what it took: with 100 a thousand services took twice the memory.
const PAGE: u32 = 20;

/// Time for an answer of the API server, where it is not a watch.
const ANSWER: Duration = Duration::from_secs(10);

/// Watches one kind until nobody listens.
pub(super) async fn watch(client: Client, kind: Kind, changes: mpsc::Sender<Change>) {
    let mut pause = PAUSE.0;
    // Looks that have to find nothing before there is no such kind.
    let mut doubts = 0;
    while !changes.is_closed() {
        let mut listed = false;
        let outcome = attempt(&client, kind, &changes, &mut listed).await;
        if listed {
            (pause, doubts) = (PAUSE.0, DOUBTS);
        }
        let wait = match outcome {
            // The next look says whether the kind is gone, or served in another version.
            Ok(Ended::Gone) => pause,
            Ok(Ended::NotInstalled) if doubts > 0 => {
                doubts -= 1;
                LOOK
            }
            Ok(Ended::NotInstalled) => {
                let _ = changes.send(Change::NotInstalled(kind)).await;
                LOOK
            }
            Err(trouble) => {
                let _ = changes.send(Change::Failing(kind, trouble)).await;
                pause
            }
        };
        tokio::time::sleep(wait).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// How a watch ended that did not fail.
enum Ended {
    /// The cluster does not have the kind.
    NotInstalled,
    /// What was watched is no longer served.
    Gone,
}

async fn attempt(
    client: &Client,
    kind: Kind,
    changes: &mpsc::Sender<Change>,
    listed: &mut bool,
) -> Result<Ended, Trouble> {
    let config = watcher::Config::default().timeout(RENEWED).page_size(PAGE);
    if kind == Kind::Namespaces {
        // The selector keeps out all that have no say.
        let api = Api::<PartialObjectMeta<Namespace>>::all(client.clone());
        let stream = watcher::watcher(api, config.labels(FABRIC));
        let read = |namespace: PartialObjectMeta<Namespace>| object("v1", kind, namespace.metadata);
        return follow(stream, kind, read, changes, listed).await;
    }
    let look = tokio::time::timeout(ANSWER, served(client, kind)).await;
    let Some(version) = look.map_err(|_| silent())?.map_err(|error| trouble(kind, &error))? else {
        return Ok(Ended::NotInstalled);
    };
    let resource = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk(GROUP, version, kind.name()),
        kind.plural(),
    );
    let stream =
        watcher::watcher(Api::<DynamicObject>::all_with(client.clone(), &resource), config);
    let read = |dynamic: DynamicObject| {
        let mut members = object(&resource.api_version, kind, dynamic.metadata);
        if let Value::Object(data) = dynamic.data {
            members.extend(data);
        }
        members
    };
    follow(stream, kind, read, changes, listed).await
}

/// The newest version of the kind that the cluster serves; none where it has no such kind.
async fn served(client: &Client, kind: Kind) -> kube::Result<Option<&'static str>> {
    for version in VERSIONS.into_iter().rev() {
        match client.list_api_group_resources(&format!("{GROUP}/{version}")).await {
            Ok(list) if list.resources.iter().any(|it| it.name == kind.plural()) => {
                return Ok(Some(version));
            }
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Tells what a watch tells, until it breaks. An end that the watcher mends without an error, as each
/// renewal, is none.
async fn follow<K>(
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    kind: Kind,
    read: impl Fn(K) -> Map<String, Value>,
    changes: &mpsc::Sender<Change>,
    listed: &mut bool,
) -> Result<Ended, Trouble> {
    let mut stream = pin!(stream);
    let mut items = Vec::new();
    let mut listing = true;
    loop {
        let next = if listing {
            // A list that never ends would keep everything waiting without a reason.
            tokio::time::timeout(ANSWER, stream.next()).await.map_err(|_| silent())?
        } else {
            stream.next().await
        };
        let change = match next {
            None => return Ok(Ended::Gone),
            Some(Ok(Event::Init)) => {
                listing = true;
                items.clear();
                continue;
            }
            Some(Ok(Event::InitApply(object))) => {
                items.push(Item::of(read(object)));
                continue;
            }
            Some(Ok(Event::InitDone)) => {
                (listing, *listed) = (false, true);
                Change::Listed(kind, std::mem::take(&mut items))
            }
            Some(Ok(Event::Apply(object))) => Change::Applied(kind, Item::of(read(object))),
            Some(Ok(Event::Delete(object))) => {
                Change::Deleted(kind, key_of(&Value::Object(read(object))))
            }
            // Too old to go on from: the watcher lists anew.
            Some(Err(watcher::Error::WatchError(status))) if status.code == 410 => continue,
            Some(Err(error)) => return ended(kind, error),
        };
        if changes.send(change).await.is_err() {
            return Ok(Ended::Gone);
        }
    }
}

/// An object but for what stands beside its metadata.
fn object(api_version: &str, kind: Kind, mut metadata: ObjectMeta) -> Map<String, Value> {
    // A third of the object, and stripped in any case.
    metadata.managed_fields = None;
    let metadata = serde_json::to_value(metadata).unwrap_or_default();
    Map::from_iter([
        ("apiVersion".to_owned(), Value::from(api_version)),
        ("kind".to_owned(), Value::from(kind.name())),
        ("metadata".to_owned(), metadata),
    ])
}

fn ended(kind: Kind, error: watcher::Error) -> Result<Ended, Trouble> {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return Err(Trouble::Refused(error.to_string())),
    };
    if is_not_found(&error) { Ok(Ended::Gone) } else { Err(trouble(kind, &error)) }
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn trouble(kind: Kind, error: &kube::Error) -> Trouble {
    let reason = reason(error);
    match error {
        kube::Error::Api(status) if status.code == 403 => Trouble::Refused(format!(
            "{reason}; its role has to allow get, list and watch of {}",
            kind.resource()
        )),
        kube::Error::Api(_) | kube::Error::SerdeError(_) => Trouble::Refused(reason),
        _ => Trouble::Unreachable(reason),
    }
}

fn silent() -> Trouble {
    Trouble::Unreachable(format!("no answer within {} s", ANSWER.as_secs()))
}
