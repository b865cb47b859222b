//! Reads the cluster, does what the plan says, and says whether it is ready.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::{Notify, watch};

use super::plan::{Clock, Held, LOOK, Leaf, Lives, Memory, Seen, Step, plan};
use super::ready::{Known, check};
use super::registration::{MANAGER, Place, Registration};
use super::store::{self, Store};
use super::teller::{Teller, explain};
use crate::tls::{Anchor, Authority, Certificates};

/// Time for an answer of the API server.
const ANSWER: Duration = Duration::from_secs(10);

/// Longest time between two looks while something fails.
const RETRY: Duration = Duration::from_secs(10);

/// Most writes of one registration in a minute: another controller that wants another caBundle
/// there must not be fought at the speed of the network.
const REPAIRS: usize = 20;

/// What became of a write.
enum Written {
    /// It was done.
    Done,
    /// What it was based on has changed.
    Outdated,
    /// It failed, and that was told.
    Failed,
}

/// The API server does not answer, or not in a way that says anything about an object.
struct Away;

/// The Secret and what is made from it.
pub(super) struct Managed {
    pub(super) secrets: Api<Secret>,
    pub(super) secret: String,
    pub(super) namespace: String,
    pub(super) names: Vec<String>,
    pub(super) ca: Duration,
    pub(super) lives: Lives,
    pub(super) certificates: Certificates,
    pub(super) memory: Memory,
}

/// Keeps what is served and what is trusted together.
pub(super) struct Keeper {
    pub(super) places: Vec<Place>,
    /// None where certificates come from elsewhere.
    pub(super) managed: Option<Managed>,
    pub(super) listener: SocketAddr,
    pub(super) state: watch::Sender<Result<(), String>>,
    /// It was ready at some time.
    pub(super) was_ready: bool,
    pub(super) started: Instant,
    pub(super) teller: Teller,
    /// As last read, one for each place.
    pub(super) known: Vec<Known>,
    /// When each place was written, the last minute long.
    pub(super) repairs: Vec<VecDeque<Instant>>,
}

impl Keeper {
    /// Looks at every change, at what is due, and once a minute.
    pub(super) async fn run(mut self, changed: Arc<Notify>) {
        let mut failures = 0_u32;
        loop {
            let again = if let Ok(again) = self.round().await {
                failures = 0;
                again
            } else {
                failures = failures.saturating_add(1);
                (Duration::from_millis(500) * 2_u32.saturating_pow(failures.min(10))).min(RETRY)
            };
            tokio::select! {
                () = tokio::time::sleep(again.min(LOOK)) => {}
                () = changed.notified() => {}
            }
        }
    }

    /// Until nothing is left to do.
    async fn round(&mut self) -> Result<Duration, Away> {
        let mut again = Ok(LOOK);
        let mut unsettled = true;
        // Each turn but the last has written something; replicas that write at once take turns.
        for _ in 0..10 {
            match self.turn().await {
                Ok(Turn::Again) => again = Ok(Duration::from_secs(1)),
                Ok(Turn::Done { again: next, unsettled: waits }) => {
                    unsettled = waits.is_some();
                    again = Ok(next);
                    break;
                }
                Err(Away) => {
                    again = Err(Away);
                    break;
                }
            }
        }
        self.tell_state(unsettled).await;
        again
    }

    async fn turn(&mut self) -> Result<Turn, Away> {
        let read = self.started.elapsed();
        // The registrations before the Secret: what is then published is younger than what it
        // replaces.
        let mut seen = Vec::new();
        for index in 0..self.places.len() {
            seen.push(self.look_at(index).await?);
        }
        let Some(managed) = &self.managed else {
            return Ok(Turn::Done { again: LOOK, unsettled: None });
        };
        let (object, store) = managed.read(&mut self.teller).await?;
        // What was read one after the other may never have been so at one time.
        for (index, seen) in seen.iter_mut().enumerate() {
            let before = std::mem::replace(seen, self.look_at(index).await?);
            if before.mark() != seen.mark() {
                return Ok(Turn::Again);
            }
        }
        let Some(managed) = &mut self.managed else {
            return Ok(Turn::Done { again: LOOK, unsettled: None });
        };
        let clock = Clock { wall: SystemTime::now(), steady: self.started.elapsed(), read };
        managed.memory.observe(clock, &store.held, &seen);
        let lives = managed.lives;
        let (steps, mut again) = plan(clock, &lives, &managed.memory, &store.held, &seen);
        let mut wrote = false;
        for step in steps {
            let written = match step {
                Step::Issue => {
                    if let (Some(managed), Some(authority)) = (&mut self.managed, &store.authority)
                    {
                        managed.issue(authority, clock.wall, &mut self.teller);
                    }
                    continue;
                }
                Step::Publish(index) => match &store.held {
                    Held::Usable { current, others, .. } => {
                        let anchors = std::iter::once(current).chain(others);
                        self.publish(index, &crate::tls::encode(anchors)).await?
                    }
                    Held::Absent | Held::Unusable => continue,
                },
                Step::Renew(others) => self.write(object.clone(), None, &others).await?,
                Step::Keep(others) => match &store.held {
                    Held::Usable { current, .. } => {
                        self.write(object.clone(), Some(current), &others).await?
                    }
                    Held::Absent | Held::Unusable => continue,
                },
            };
            match written {
                Written::Done | Written::Outdated => wrote = true,
                Written::Failed => again = again.min(RETRY),
            }
        }
        if wrote {
            return Ok(Turn::Again);
        }
        let memory = self.managed.as_ref().map(|managed| &managed.memory);
        let unsettled = memory.and_then(|memory| memory.unsettled(clock, &lives, &seen));
        if let Some(rest) = unsettled {
            again = again.min(rest);
        }
        Ok(Turn::Done { again, unsettled })
    }

    async fn look_at(&mut self, index: usize) -> Result<Seen, Away> {
        let (Some(place), Some(known)) = (self.places.get(index), self.known.get_mut(index)) else {
            return Ok(Seen::Absent);
        };
        let of = format!("reading {} {}", place.kind.kind(), place.name);
        match limited(place.api.get_opt(&place.name)).await {
            Ok(object) => {
                self.teller.good(&of);
                let registration = object.as_ref().map(Registration::read);
                let seen = registration.as_ref().map_or(Seen::Absent, Registration::seen);
                *known = registration.map_or(Known::Absent, Known::Read);
                Ok(seen)
            }
            Err(error) => {
                let resource = format!("{}/{}", place.kind.plural(), place.name);
                self.teller.fault(&of, &explain(&error, "get", &resource));
                if code(&error) == Some(403) { Ok(Seen::Unreadable) } else { Err(Away) }
            }
        }
    }

    async fn publish(&mut self, index: usize, bundle: &str) -> Result<Written, Away> {
        let (Some(place), Some(Known::Read(read)), Some(repairs)) =
            (self.places.get(index), self.known.get(index), self.repairs.get_mut(index))
        else {
            return Ok(Written::Failed);
        };
        let of = format!("caBundle of {} {}", place.kind.kind(), place.name);
        repairs.retain(|at| at.elapsed() < LOOK);
        if repairs.len() >= REPAIRS {
            self.teller.fault(
                &of,
                "somebody else keeps changing it; it is written 20 times a minute at most. Take \
                 the caBundle out of what is applied, and cert-manager's annotation with it",
            );
            return Ok(Written::Failed);
        }
        repairs.push_back(Instant::now());
        match limited(place.publish(read, bundle)).await {
            Ok(()) => {
                self.teller.good(&of);
                tracing::info!(registration = place.name, "published the CA bundle");
                Ok(Written::Done)
            }
            Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(Written::Outdated),
            Err(error) => {
                let resource = format!("{}/{}", place.kind.plural(), place.name);
                self.teller.fault(&of, &explain(&error, "patch", &resource));
                failed(&error)
            }
        }
    }

    /// Writes the Secret as it was read but for its CA or for what is trusted beside it.
    async fn write(
        &mut self,
        object: Option<Secret>,
        current: Option<&Anchor>,
        others: &[Anchor],
    ) -> Result<Written, Away> {
        let (Some(managed), Some(mut object)) = (&self.managed, object) else {
            return Ok(Written::Failed);
        };
        let of = format!("writing {}", managed.what());
        match current {
            Some(current) => store::keep(&mut object, current, others),
            None => match Authority::valid_for(managed.ca) {
                Ok(authority) => store::renew(&mut object, &authority, others),
                Err(error) => {
                    self.teller.fault(&of, &error.to_string());
                    return Ok(Written::Failed);
                }
            },
        }
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        match limited(managed.secrets.replace(&managed.secret, &params, &object)).await {
            Ok(_) => {
                self.teller.good(&of);
                let trusted = others.len();
                if current.is_none() {
                    tracing::info!(trusted, "made a CA; those of before stay trusted");
                } else {
                    tracing::info!(trusted, "the CAs trusted beside ours have changed");
                }
                Ok(Written::Done)
            }
            // Another replica was first: what it wrote counts.
            Err(error) if matches!(code(&error), Some(404 | 409)) => Ok(Written::Outdated),
            Err(error) => {
                self.teller.fault(&of, &explain(&error, "update", &managed.resource()));
                failed(&error)
            }
        }
    }

    async fn tell_state(&mut self, unsettled: bool) {
        let places = self.places.iter().map(|place| (place.kind, place.name.as_str()));
        let known: Vec<_> =
            places.zip(&self.known).map(|((kind, name), known)| (kind, name, known)).collect();
        let mut state = match &self.managed {
            Some(managed) if managed.memory.leaf.is_none() => {
                Err(format!("waiting for a CA in {}", managed.what()))
            }
            _ => check(self.listener, &known).await,
        };
        if unsettled && !self.was_ready && state.is_ok() {
            state = Err("waiting until every API server trusts the new CA".to_owned());
        }
        self.was_ready |= state.is_ok();
        self.state.send_if_modified(|told| {
            let changed = *told != state;
            if changed {
                match &state {
                    Ok(()) => {
                        tracing::info!("the caBundle in the cluster verifies our certificate");
                    }
                    Err(why) => tracing::warn!("certificates: {why}"),
                }
                *told = state;
            }
            changed
        });
    }
}

/// The end of a turn.
enum Turn {
    /// What was read is out of date, mostly because something was written.
    Again,
    /// Nothing is left to do until then.
    Done { again: Duration, unsettled: Option<Duration> },
}

impl Managed {
    fn what(&self) -> String {
        format!("Secret {} in namespace {}", self.secret, self.namespace)
    }

    fn resource(&self) -> String {
        format!("secrets/{} in namespace {}", self.secret, self.namespace)
    }

    async fn read(&self, teller: &mut Teller) -> Result<(Option<Secret>, Store), Away> {
        let of = self.what();
        let absent = Store { held: Held::Absent, authority: None, fault: None };
        match limited(self.secrets.get_opt(&self.secret)).await {
            Ok(Some(object)) => {
                let store = store::read(&object);
                match &store.fault {
                    Some(fault) => teller.fault(&of, &format!("{fault}; it is filled anew")),
                    None => teller.good(&of),
                }
                Ok((Some(object), store))
            }
            Ok(None) => {
                teller.fault(&of, "there is none; apply the manifests again, they have it empty");
                Ok((None, absent))
            }
            Err(error) => {
                teller.fault(&of, &explain(&error, "get", &self.resource()));
                if code(&error) == Some(403) { Ok((None, absent)) } else { Err(Away) }
            }
        }
    }

    fn issue(&mut self, authority: &Authority, now: SystemTime, teller: &mut Teller) {
        let of = "the server's certificate";
        let end = (now + self.lives.leaf).min(authority.anchor().end());
        let replaced = authority.issue_until(&self.names, end).and_then(|issued| {
            self.certificates.replace(issued.chain.as_bytes(), issued.key.as_bytes())
        });
        match replaced {
            Ok(()) => {
                teller.good(of);
                let seconds = end.duration_since(now).unwrap_or_default().as_secs();
                tracing::info!(valid_seconds = seconds, "issued a certificate");
                self.memory.leaf = Some(Leaf { ca: authority.anchor().clone(), made: now, end });
            }
            Err(error) => teller.fault(of, &error.to_string()),
        }
    }
}

/// A request with an end.
async fn limited<T>(request: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(ANSWER, request).await {
        Ok(answer) => answer,
        Err(_) => Err(kube::Error::Service("no answer within 10 seconds".into())),
    }
}

fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}

/// A refusal is final for now; anything else may be the API server going away.
fn failed(error: &kube::Error) -> Result<Written, Away> {
    match code(error) {
        Some(400..=499) => Ok(Written::Failed),
        _ => Err(Away),
    }
}
