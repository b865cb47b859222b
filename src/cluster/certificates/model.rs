//! Any interleaving of replicas, people and API servers with old views: the leaf of every replica
//! that is ready verifies with whatever bundle an API server may hold.
//!
//! A tick stands for a second. The replicas run the real [`plan`]; the Secret and the registrations
//! are compare-and-swap cells, as the API server's are.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::plan::{Clock, Held, Leaf, Lives, Memory, Seen, Step, Trust, plan};
use crate::tls::{Anchor, encode};

const CA: u64 = 1200;
const LIVES: Lives = Lives { leaf: secs(900), overlap: secs(130), settle: secs(10) };
/// How old an API server's view of a registration may be: younger than the settle time.
const LAG: u64 = 9;
/// How far the API server's clock is behind those of the replicas.
const SKEW: u64 = 60;
/// Longest time that a look takes with what is done about it: longer than the settle time, so that
/// what is written may be decided on what is long gone.
const ROUND: u64 = 25;
/// Longest time between two looks.
const IDLE: u64 = 10;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn wall_at(now: u64) -> SystemTime {
    UNIX_EPOCH + secs(100_000 + now)
}

/// Something happens.
#[derive(Debug, Clone)]
enum Event {
    /// Time passes.
    Pass(u64),
    /// A replica does its next read or write.
    Go(usize),
    /// A replica dies and another takes its place.
    Restart(usize),
    /// Somebody rotates by hand.
    Empty,
    /// Somebody deletes the Secret and applies the manifests again.
    Recreate,
    /// Somebody puts back a Secret of before.
    Restore(usize),
    /// Somebody deletes a registration and applies it again, without a bundle.
    Reapply(usize),
}

#[derive(Debug, Clone, Default)]
struct Secret {
    version: u64,
    ca: Option<Anchor>,
    others: Vec<Anchor>,
}

#[derive(Debug, Clone)]
struct Registration {
    version: u64,
    uid: u64,
    written: u64,
    bundle: Vec<Anchor>,
    /// What it held until when, the latest last.
    before: Vec<(u64, Vec<Anchor>)>,
}

#[derive(Debug, Default)]
struct Replica {
    memory: Memory,
    ready: bool,
    /// It was ready at some time.
    was_ready: bool,
    /// Where it is in its round.
    at: At,
    seen: Vec<(u64, Seen)>,
    /// When it last began a look, or ended one.
    turned: u64,
    /// When it last began to read the cluster.
    read: u64,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Idle,
    Reading,
    /// Reads the registrations once more.
    Checking {
        checked: usize,
        version: u64,
        held: Held,
    },
    Writing {
        version: u64,
        held: Held,
        steps: Vec<Step>,
        wrote: bool,
    },
}

#[derive(Debug)]
struct World {
    now: u64,
    made: u64,
    secret: Secret,
    secrets: Vec<Secret>,
    registrations: Vec<Registration>,
    replicas: Vec<Replica>,
    /// When somebody last put back a Secret of before.
    restored: u64,
    /// Rotations by hand in this history: their number is bounded as a bundle's length is.
    rotated: usize,
}

impl World {
    fn new(replicas: usize) -> Self {
        let registration =
            Registration { version: 1, uid: 0, written: 0, bundle: Vec::new(), before: Vec::new() };
        Self {
            now: 1000,
            made: 0,
            secret: Secret::default(),
            secrets: Vec::new(),
            registrations: vec![registration.clone(), registration],
            replicas: (0..replicas).map(|_| Replica::default()).collect(),
            restored: 0,
            rotated: 0,
        }
    }

    fn wall(&self) -> SystemTime {
        wall_at(self.now)
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Pass(ticks) => {
                for _ in 0..ticks {
                    self.pass();
                }
            }
            Event::Go(replica) => self.go(replica % self.replicas.len()),
            Event::Restart(replica) => {
                let replica = replica % self.replicas.len();
                self.replicas[replica] = Replica { turned: self.now, ..Replica::default() };
            }
            Event::Empty if self.rotated < 6 && self.registered() => {
                self.rotated += 1;
                self.secret.ca = None;
                self.secret.others.clear();
                self.secret.version += 1;
            }
            Event::Recreate if self.rotated < 6 && self.registered() => {
                self.rotated += 1;
                self.secret = Secret { version: self.secret.version + 1, ..Secret::default() };
            }
            // In the middle of a rotation, or twice within an overlap, it is more than a replica
            // can tell from a mistake in a registration, or from a drop.
            Event::Restore(which)
                if self.rotated < 6
                    && self.registered()
                    && self.served().all(|ca| self.secret.ca.as_ref() == Some(ca))
                    && self.now > self.restored + LIVES.overlap.as_secs() =>
            {
                self.restored = self.now;
                let valid = |s: &&Secret| s.ca.as_ref().is_some_and(|ca| ca.valid(self.wall()));
                let kept: Vec<_> = self.secrets.iter().filter(valid).cloned().collect();
                if !kept.is_empty() {
                    self.rotated += 1;
                    let version = self.secret.version + 1;
                    self.secret = Secret { version, ..kept[which % kept.len()].clone() };
                }
            }
            Event::Reapply(which) if self.kept() => {
                let which = which % self.registrations.len();
                let registration = &mut self.registrations[which];
                registration.uid += 1;
                registration.put(self.now, Vec::new());
            }
            Event::Empty | Event::Recreate | Event::Restore(_) | Event::Reapply(_) => {}
        }
        self.check();
    }

    /// Whether a registration tells what is served under. Where both it and the Secret have been
    /// emptied, nothing in the cluster does, and a replica that starts cannot know.
    fn registered(&self) -> bool {
        let told = |r: &Registration| {
            !r.bundle.is_empty() && self.served().all(|ca| r.bundle.contains(ca))
        };
        self.registrations.iter().any(told)
    }

    /// Whether the Secret tells what is served under.
    fn kept(&self) -> bool {
        let trusted =
            |ca: &Anchor| self.secret.ca.as_ref() == Some(ca) || self.secret.others.contains(ca);
        self.secret.ca.is_some() && self.served().all(trusted)
    }

    /// What a call may meet: what replicas serve that are ready, and those that have read the
    /// cluster and will be ready by it without another look. What is removed from all of the
    /// cluster between that read and the first answer is known to nobody else.
    fn served(&self) -> impl Iterator<Item = &Anchor> {
        self.replicas.iter().filter_map(|replica| {
            let leaf = replica.memory.leaf.as_ref().map(|leaf| &leaf.ca);
            match &replica.at {
                _ if replica.ready => leaf,
                At::Writing { held, steps, wrote: false, .. } => match (steps.as_slice(), held) {
                    ([], _) => leaf,
                    ([Step::Issue], Held::Usable { current, .. }) => Some(current),
                    _ => None,
                },
                At::Idle | At::Reading | At::Checking { .. } | At::Writing { .. } => None,
            }
        })
    }

    /// A tick. No replica sleeps longer than it may.
    fn pass(&mut self) {
        self.now += 1;
        for index in 0..self.replicas.len() {
            let replica = &self.replicas[index];
            let most = if matches!(replica.at, At::Idle) { IDLE } else { ROUND };
            if self.now - replica.turned >= most {
                self.round(index);
            }
        }
        self.check();
    }

    /// Goes on until there is nothing left to do, and its view is whole.
    fn round(&mut self, index: usize) {
        for _ in 0..100 {
            self.go(index);
            if matches!(self.replicas[index].at, At::Idle) {
                return;
            }
        }
        panic!("no end of a round: {:?}", self.replicas[index]);
    }

    /// One read or write.
    fn go(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        match std::mem::take(&mut replica.at) {
            At::Idle => {
                replica.turned = self.now;
                replica.reread(self.now);
            }
            At::Reading if replica.seen.len() < self.registrations.len() => {
                let registration = &self.registrations[replica.seen.len()];
                let text = encode(&registration.bundle).into_bytes();
                let trust = Trust { text, anchors: registration.bundle.clone() };
                let mark = (registration.uid.to_string(), registration.version.cast_signed());
                let written = Some(wall_at(registration.written) - secs(SKEW));
                let seen = Seen::Present { mark, written, webhooks: vec![trust.clone(), trust] };
                replica.seen.push((registration.version, seen));
                replica.at = At::Reading;
            }
            At::Reading => {
                let held = match &self.secret.ca {
                    None => Held::Unusable,
                    Some(current) => Held::Usable {
                        current: current.clone(),
                        others: self.secret.others.clone(),
                        tidy: true,
                        version: self.secret.version.to_string(),
                    },
                };
                replica.at = At::Checking { checked: 0, version: self.secret.version, held };
            }
            At::Checking { checked, version, held } => {
                let read = replica.seen.get(checked).map(|(version, _)| *version);
                if read != self.registrations.get(checked).map(|now| now.version) {
                    replica.reread(self.now);
                } else if read.is_some() {
                    replica.at = At::Checking { checked: checked + 1, version, held };
                } else {
                    let (clock, seen) = (replica.clock(self.now), replica.seen());
                    replica.memory.observe(clock, &held, &seen);
                    let (mut steps, _) = plan(clock, &LIVES, &replica.memory, &held, &seen);
                    steps.reverse();
                    replica.at = At::Writing { version, held, steps, wrote: false };
                }
            }
            At::Writing { version, held, mut steps, wrote } => match steps.pop() {
                Some(step) => {
                    self.act(index, &step, version, &held);
                    let wrote = wrote || step != Step::Issue;
                    self.replicas[index].at = At::Writing { version, held, steps, wrote };
                }
                // What was read is out of date.
                None if wrote => replica.reread(self.now),
                None => self.look(index),
            },
        }
        self.check();
    }

    /// Does a step, unless what it was decided on has changed.
    fn act(&mut self, index: usize, step: &Step, version: u64, held: &Held) {
        let wall = self.wall();
        let replica = &mut self.replicas[index];
        match step {
            Step::Issue => {
                let Held::Usable { current, .. } = held else { panic!("no CA to issue with") };
                let end = (wall + LIVES.leaf).min(current.end());
                replica.memory.leaf = Some(Leaf { ca: current.clone(), made: wall, end });
            }
            Step::Publish(which) => {
                let Held::Usable { current, others, .. } = held else { panic!("no bundle") };
                let registration = &mut self.registrations[*which];
                if registration.version == replica.seen[*which].0 {
                    let bundle = std::iter::once(current).chain(others).cloned().collect();
                    registration.put(self.now, bundle);
                }
            }
            Step::Renew(others) | Step::Keep(others) if self.secret.version == version => {
                let ca = match step {
                    Step::Renew(_) => {
                        self.made += 1;
                        Some(Anchor::of_name(&format!("CA {}", self.made), wall, wall + secs(CA)))
                    }
                    _ => self.secret.ca.clone(),
                };
                self.secret = Secret { version: version + 1, ca, others: others.clone() };
                self.secrets.push(self.secret.clone());
            }
            Step::Renew(_) | Step::Keep(_) => {}
        }
    }

    /// The end of a round: is it ready, by what it has read?
    fn look(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let clock = replica.clock(self.now);
        replica.at = At::Idle;
        replica.turned = self.now;
        let verifies = replica.memory.leaf.as_ref().is_some_and(|leaf| {
            leaf.end > clock.wall
                && replica.seen.iter().all(|(_, seen)| match seen {
                    Seen::Present { webhooks, .. } => {
                        webhooks.iter().all(|trust| trust.anchors.contains(&leaf.ca))
                    }
                    _ => false,
                })
        });
        let seen = replica.seen();
        let settled = replica.was_ready || replica.memory.unsettled(clock, &LIVES, &seen).is_none();
        replica.ready = verifies && settled;
        replica.was_ready |= replica.ready;
    }

    /// The law.
    fn check(&self) {
        let wall = self.wall();
        for (index, replica) in self.replicas.iter().enumerate().filter(|(_, r)| r.ready) {
            let leaf = replica.memory.leaf.as_ref().expect("a leaf");
            assert!(leaf.end >= wall, "replica {index} serves an expired leaf at {}", self.now);
            for registration in &self.registrations {
                for view in registration.views(self.now) {
                    // One that trusts nobody is a registration without a bundle: nobody can help it.
                    assert!(
                        view.is_empty() || view.contains(&leaf.ca),
                        "at {}, replica {index} serves under {:?}, an API server trusts {:?}",
                        self.now,
                        name(&leaf.ca),
                        view.iter().map(name).collect::<Vec<_>>(),
                    );
                }
            }
        }
    }

    /// Left alone, all is well again.
    fn rest(&mut self) {
        for _ in 0..LIVES.overlap.as_secs() + 3 * ROUND {
            self.pass();
        }
        // A rotation that was due in that time may still overlap: one more, but no third.
        for _ in 0..LIVES.overlap.as_secs() + 3 * ROUND {
            if self.secret.others.is_empty() {
                break;
            }
            self.pass();
        }
        for _ in 0..2 * IDLE {
            self.pass();
        }
        let ca = self.secret.ca.as_ref().expect("a CA");
        for registration in &self.registrations {
            assert_eq!(registration.bundle.first(), Some(ca), "{self:#?}");
        }
        for replica in &self.replicas {
            assert!(replica.ready, "{self:#?}");
        }
        assert!(self.secret.others.len() <= 1, "{self:#?}");
    }
}

impl Secret {
    fn bundle(&self) -> Vec<String> {
        self.ca.iter().chain(&self.others).map(name).collect()
    }
}

impl Replica {
    fn reread(&mut self, now: u64) {
        self.seen.clear();
        self.read = now;
        self.at = At::Reading;
    }

    fn clock(&self, now: u64) -> Clock {
        Clock { wall: wall_at(now), steady: secs(now), read: secs(self.read) }
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.iter().map(|(_, seen)| seen.clone()).collect()
    }
}

impl Registration {
    fn put(&mut self, now: u64, bundle: Vec<Anchor>) {
        let before = std::mem::replace(&mut self.bundle, bundle);
        self.before.push((now, before));
        self.written = now;
        self.version += 1;
    }

    /// What API servers may hold.
    fn views(&self, now: u64) -> impl Iterator<Item = &[Anchor]> {
        let recent = self.before.iter().filter(move |(until, _)| until + LAG >= now);
        recent.map(|(_, bundle)| bundle.as_slice()).chain([self.bundle.as_slice()])
    }
}

fn name(anchor: &Anchor) -> String {
    String::from_utf8_lossy(anchor.der()).into_owned()
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1..9u64).prop_map(Event::Pass),
        1 => (20..300u64).prop_map(Event::Pass),
        20 => (0..3usize).prop_map(Event::Go),
        1 => (0..3usize).prop_map(Event::Restart),
        1 => Just(Event::Empty),
        1 => Just(Event::Recreate),
        1 => (0..9usize).prop_map(Event::Restore),
        1 => (0..2usize).prop_map(Event::Reapply),
    ]
}

/// 300 cases, unless `PROPTEST_CASES` says how many.
fn config() -> ProptestConfig {
    let config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() {
        return config;
    }
    ProptestConfig { cases: 300, ..config }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_view_of_every_api_server_trusts_every_ready_replica(
        replicas in 1..4usize,
        events in prop::collection::vec(event(), 0..300),
    ) {
        let mut world = World::new(replicas);
        for event in &events {
            world.happen(event);
        }
        world.rest();
    }
}

#[test]
fn left_alone_for_years_it_rotates_and_stays_ready() {
    let mut world = World::new(2);
    world.happen(&Event::Pass(50));
    assert!(world.replicas.iter().all(|r| r.ready));
    for _ in 0..10 * CA {
        world.pass();
        assert!(world.replicas.iter().all(|r| r.ready), "{world:#?}");
    }
    // Two thirds of a life each.
    assert!((13..=16).contains(&world.made), "{} rotations", world.made);
    world.rest();
}

#[test]
fn a_secret_put_back_while_nobody_serves_is_waited_for_as_a_rotation_is() {
    let mut world = World::new(1);
    for event in [Event::Pass(50), Event::Empty, Event::Pass(200)] {
        world.happen(&event);
    }
    let alone = |ca: &str, world: &World| world.secret.bundle() == [ca];
    assert!(alone("CA 2", &world), "{world:#?}");
    // Nothing is left of what API servers trust but their views.
    let gone = [Event::Restart(0), Event::Restore(0), Event::Reapply(0), Event::Reapply(1)];
    for event in gone {
        world.happen(&event);
    }
    assert!(alone("CA 1", &world), "{world:#?}");
    for _ in 0..20 {
        world.happen(&Event::Go(0));
    }
    world.rest();
}

#[test]
fn what_was_never_there_at_one_time_is_not_acted_on() {
    use Event::{Empty, Go, Pass, Reapply, Restore};

    // The second reads one registration before a rotation, and the other after it was emptied.
    let events = [Pass(7), Go(1), Go(1), Empty, Pass(14), Reapply(1), Restore(2)];
    let mut world = World::new(3);
    for event in events.iter().chain(&[const { Go(1) }; 20]) {
        world.happen(event);
    }
    world.rest();
}
