//! What to do next: a pure function of the clock, of what is in the cluster and of what this
//! replica remembers.
//!
//! The order of things keeps every replica's leaf verifiable by every API server, whose view of a
//! registration may be old by up to [`Lives::settle`]:
//!
//! 1. A new CA enters the Secret with those trusted until then beside it.
//! 2. Registrations get the Secret's bundle. What a registration trusts when a CA is published for
//!    the first time is first carried into the Secret.
//! 3. A replica switches its leaf when it has seen the new CA in every registration for the settle
//!    time.
//! 4. The CAs of before are dropped when the overlap has passed.

use std::time::{Duration, SystemTime};

use crate::tls::{Anchor, encode};

/// Most CAs in a bundle beside the current one: somebody who rotates over and over must not make
/// the registrations grow without end.
const MOST: usize = 15;

/// Longest time without a look at clock and cluster.
pub(super) const LOOK: Duration = Duration::from_mins(1);

/// Shortest time between two looks that a due time asks for.
const SHORTEST: Duration = Duration::from_millis(50);

/// How long things live.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lives {
    /// A leaf.
    pub(super) leaf: Duration,
    /// From a rotation until the CAs of before are dropped.
    pub(super) overlap: Duration,
    /// How old an API server's view of a registration may be.
    pub(super) settle: Duration,
}

/// Both clocks, read at the same moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    /// What certificates are valid by.
    pub(super) wall: SystemTime,
    /// Since some moment in the past, never back: what an API server's view ages by.
    pub(super) steady: Duration,
    /// The same before the cluster was read: what was read may have changed since.
    pub(super) read: Duration,
}

/// What the Secret holds.
#[derive(Debug, Clone)]
pub(super) enum Held {
    /// There is none, or it cannot be read.
    Absent,
    /// Nothing, or nothing that serves.
    Unusable,
    /// A CA.
    Usable {
        /// The one that signs.
        current: Anchor,
        /// Those trusted beside it, in the order of the Secret.
        others: Vec<Anchor>,
        /// Whether the bundle's text is [`encode`]'s.
        tidy: bool,
        /// Changes with every write of the Secret.
        version: String,
    },
}

/// A registration: one of the two webhook configurations.
#[derive(Debug, Clone)]
pub(super) enum Seen {
    /// Nobody calls by it.
    Absent,
    /// It may be there, and may not be read.
    Unreadable,
    /// What its webhooks trust.
    Present {
        /// Its uid, and its generation: one more with every change of its webhooks.
        mark: (String, i64),
        /// When it was last written, by the API server's clock; none when it does not say.
        written: Option<SystemTime>,
        /// One for each webhook.
        webhooks: Vec<Trust>,
    },
}

/// A webhook's caBundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trust {
    /// Its text.
    pub(super) text: Vec<u8>,
    /// The CAs in it.
    pub(super) anchors: Vec<Anchor>,
}

/// What a replica remembers.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What it serves.
    pub(super) leaf: Option<Leaf>,
    /// What API servers may still have to trust.
    trusted: Vec<Anchor>,
    /// Since when every registration trusts the current CA, and the leaf's, without a break.
    sights: Vec<Sight>,
    /// The Secret, once its bundle was seen in every registration and nothing else there.
    published: Option<Published>,
}

/// A leaf that is served.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    /// The CA that signed it.
    pub(super) ca: Anchor,
    /// When.
    pub(super) made: SystemTime,
    /// Its last moment.
    pub(super) end: SystemTime,
}

#[derive(Debug)]
struct Sight {
    ca: Anchor,
    marks: Vec<Option<(String, i64)>>,
    since: Duration,
}

#[derive(Debug)]
struct Published {
    /// The one that signs.
    ca: Anchor,
    /// Since when.
    since: Duration,
    /// All that was last seen there.
    bundle: Vec<Anchor>,
    /// The Secret's version then.
    version: String,
}

/// A thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Issue a leaf under the Secret's current CA, and serve it.
    Issue,
    /// Write the Secret's bundle into the registration of this index.
    Publish(usize),
    /// Make a CA and write it into the Secret, with these trusted beside it.
    Renew(Vec<Anchor>),
    /// Leave the CA and write these beside it into the Secret.
    Keep(Vec<Anchor>),
}

impl Seen {
    /// None when it is not there.
    pub(super) fn mark(&self) -> Option<&(String, i64)> {
        match self {
            Self::Present { mark, .. } => Some(mark),
            Self::Absent | Self::Unreadable => None,
        }
    }
}

impl Memory {
    /// Takes in what was read, the registrations before the Secret.
    pub(super) fn observe(&mut self, clock: Clock, held: &Held, seen: &[Seen]) {
        let leaf = self.leaf.as_ref().map(|leaf| leaf.ca.clone());
        let Held::Usable { current, others, version, .. } = held else {
            self.look(clock, leaf, seen);
            return;
        };
        let bundle: Vec<_> = std::iter::once(current).chain(others).cloned().collect();
        let published = || seen.iter().flat_map(webhooks).flat_map(|trust| &trust.anchors);
        // A Secret that was written since, and registrations that trust what was in neither: while
        // this replica slept another CA was published, and then a Secret of before was put back.
        self.published.take_if(|last| {
            let known = |anchor: &Anchor| bundle.contains(anchor) || last.bundle.contains(anchor);
            last.ca != *current || last.version != *version && !published().all(known)
        });
        if trusted_by_all(current, seen) && published().all(|anchor| bundle.contains(anchor)) {
            let since = self.published.as_ref().map_or(clock.steady, |last| last.since);
            let (ca, version) = (current.clone(), version.clone());
            self.published = Some(Published { ca, since, bundle: bundle.clone(), version });
            self.trusted = bundle;
        } else {
            self.trusted.extend(bundle);
            self.trusted = ordered(std::mem::take(&mut self.trusted), clock.wall);
        }
        let leaf = leaf.filter(|leaf| leaf != current);
        self.look(clock, leaf.into_iter().chain([current.clone()]), seen);
    }

    /// Keeps the time for which the registrations have trusted these.
    fn look(&mut self, clock: Clock, of: impl IntoIterator<Item = Anchor>, seen: &[Seen]) {
        let marks: Vec<_> = seen.iter().map(|seen| seen.mark().cloned()).collect();
        let before = std::mem::take(&mut self.sights);
        for ca in of.into_iter().filter(|ca| trusted_by_all(ca, seen)) {
            let same = |sight: &&Sight| sight.ca == ca && unbroken(&sight.marks, &marks);
            let since = before.iter().find(same).map_or(clock.steady, |sight| sight.since);
            self.sights.push(Sight { ca, marks: marks.clone(), since });
        }
    }

    /// Time until every API server trusts the leaf; none when all do. It matters to a replica that
    /// was not ready before: one that is ready serves what they trust.
    ///
    /// That nothing but the leaf's CA is in the Secret and in the registrations does not say what
    /// was there a moment ago: somebody may have put back the one and emptied the others. But a
    /// registration that nobody has written for an overlap, which is much more than clocks differ
    /// by, is what every API server has.
    pub(super) fn unsettled(&self, clock: Clock, lives: &Lives, seen: &[Seen]) -> Option<Duration> {
        let leaf = self.leaf.as_ref()?;
        let old = |seen: &Seen| match seen {
            Seen::Present { written: Some(written), .. } => {
                let reading = clock.steady.saturating_sub(clock.read);
                let age = clock.wall.duration_since(*written);
                age.is_ok_and(|age| age >= lives.overlap + reading)
            }
            Seen::Present { .. } | Seen::Absent | Seen::Unreadable => false,
        };
        if trusted_by_all(&leaf.ca, seen) && seen.iter().all(old) {
            return None;
        }
        let rest = self.settles(clock, lives, &leaf.ca).unwrap_or(LOOK);
        (!rest.is_zero()).then_some(rest)
    }

    /// Time until API servers trust a CA; none while a registration does not.
    fn settles(&self, clock: Clock, lives: &Lives, ca: &Anchor) -> Option<Duration> {
        let sight = self.sights.iter().find(|sight| sight.ca == *ca)?;
        Some((sight.since + lives.settle).saturating_sub(clock.read))
    }

    /// What has to be trusted beside a CA that was never published: leaves may be served under it.
    fn carried(&self, seen: &[Seen], now: SystemTime) -> Vec<Anchor> {
        let published = seen.iter().flat_map(webhooks).flat_map(|trust| trust.anchors.iter());
        let leaf = self.leaf.iter().map(|leaf| &leaf.ca);
        ordered(self.trusted.iter().chain(leaf).chain(published).cloned().collect(), now)
    }
}

/// What to do, in this order, and when to look again at the latest. A step that writes changes what
/// was read: look again after it. Nothing is lost by leaving a step out.
pub(super) fn plan(
    clock: Clock,
    lives: &Lives,
    memory: &Memory,
    held: &Held,
    seen: &[Seen],
) -> (Vec<Step>, Duration) {
    let now = clock.wall;
    let (current, others, tidy) = match held {
        Held::Absent => return (Vec::new(), LOOK),
        Held::Unusable => return (vec![Step::Renew(memory.carried(seen, now))], LOOK),
        Held::Usable { current, others, tidy, .. } => (current, others, *tidy),
    };
    let mut steps = Vec::new();
    let mut due = Due { now, again: LOOK };

    if issue_due(clock, lives, memory, current, others, seen, &mut due) {
        steps.push(Step::Issue);
    }

    let adopted = adopted(clock, memory, current, seen);
    let renew = due.passed(two_thirds(current.made(), current.end()));
    let mut trusted = adopted.clone();
    if renew {
        trusted.push(current.clone());
    }
    if others.is_empty() || !overlap_passed(clock, lives, memory, current, &mut due) {
        trusted.extend(others.iter().cloned());
    }
    if !renew {
        trusted.retain(|anchor| anchor != current);
    }
    let trusted = ordered(trusted, now);
    for anchor in &trusted {
        due.passed(anchor.end() + Duration::from_secs(1));
    }

    // What is still to be carried into the Secret must not be overwritten.
    let carried = |anchor: &Anchor| others.contains(anchor) || !trusted.contains(anchor);
    if adopted.iter().all(carried) {
        let text = encode(std::iter::once(current).chain(others)).into_bytes();
        let differs = |seen: &Seen| webhooks(seen).iter().any(|trust| trust.text != text);
        let differ = seen.iter().enumerate().filter(|(_, seen)| differs(seen));
        steps.extend(differ.map(|(index, _)| Step::Publish(index)));
    }
    if renew {
        steps.push(Step::Renew(trusted));
    } else if trusted != *others || !tidy {
        steps.push(Step::Keep(trusted));
    }
    (steps, due.again)
}

fn issue_due(
    clock: Clock,
    lives: &Lives,
    memory: &Memory,
    current: &Anchor,
    others: &[Anchor],
    seen: &[Seen],
    due: &mut Due,
) -> bool {
    let now = clock.wall;
    // One that was put back may end before all have switched to the next, which is due.
    if current.end() <= now + lives.overlap {
        return false;
    }
    let Some(leaf) = &memory.leaf else { return true };
    if leaf.ca == *current {
        // Near the CA's end a new leaf would live no longer than this one.
        let longer = leaf.end + lives.leaf / 10 < (now + lives.leaf).min(current.end());
        return due.passed(two_thirds(leaf.made, leaf.end)) && longer;
    }
    // Nothing to lose: no API server takes the old one any more.
    let better =
        |trust: &Trust| trust.anchors.contains(current) && !trust.anchors.contains(&leaf.ca);
    let useless = !others.contains(&leaf.ca) && seen.iter().flat_map(webhooks).all(better);
    if useless || due.passed(leaf.end) {
        return true;
    }
    match memory.settles(clock, lives, current) {
        Some(Duration::ZERO) => true,
        Some(rest) => {
            due.within(rest);
            false
        }
        None => false,
    }
}

/// What the Secret has to trust before its bundle may be published. A current CA that this replica
/// never saw published may have been put there by somebody who did not know what is trusted: a
/// replica that had just started and found the Secret empty, or a person with a copy of before.
/// Once it was published, what a registration trusts beyond the bundle is somebody's mistake.
fn adopted(clock: Clock, memory: &Memory, current: &Anchor, seen: &[Seen]) -> Vec<Anchor> {
    let mut adopted = memory.carried(seen, clock.wall);
    if memory.published.as_ref().is_some_and(|last| last.ca == *current) {
        // But what is served must not be lost, as long as it is trusted.
        let served = |anchor: &Anchor| memory.leaf.as_ref().is_some_and(|leaf| leaf.ca == *anchor);
        let trusted = |anchor: &Anchor| {
            seen.iter().flat_map(webhooks).any(|trust| trust.anchors.contains(anchor))
        };
        adopted.retain(|anchor| served(anchor) && trusted(anchor));
    }
    adopted.retain(|anchor| anchor != current);
    adopted
}

/// Whether every replica had its time to switch. That time begins anew when the CA's trust may have
/// had a break, as the settle time does for which a replica waits.
fn overlap_passed(
    clock: Clock,
    lives: &Lives,
    memory: &Memory,
    current: &Anchor,
    due: &mut Due,
) -> bool {
    let published = memory.published.as_ref().filter(|last| last.ca == *current);
    let sight = memory.sights.iter().find(|sight| sight.ca == *current);
    let (Some(published), Some(sight)) = (published, sight) else { return false };
    // A CA that was not made here, or that somebody put back, may be older than its publication.
    let since = published.since.max(sight.since);
    let rest = (since + lives.overlap).saturating_sub(clock.read);
    let passed = due.passed(current.made() + lives.overlap);
    due.within(rest);
    passed && rest.is_zero()
}

/// Whether what both the registrations of before and those of now trust was trusted in between: with
/// two changes of one it may have gone and come back.
fn unbroken(before: &[Option<(String, i64)>], now: &[Option<(String, i64)>]) -> bool {
    before.iter().zip(now).all(|pair| match pair {
        (Some((uid, from)), Some((same, to))) => uid == same && (0..=1).contains(&(to - from)),
        (None, None) => true,
        _ => false,
    })
}

fn trusted_by_all(current: &Anchor, seen: &[Seen]) -> bool {
    seen.iter().all(|seen| match seen {
        Seen::Absent => true,
        Seen::Unreadable => false,
        Seen::Present { webhooks, .. } => {
            webhooks.iter().all(|trust| trust.anchors.contains(current))
        }
    })
}

fn webhooks(seen: &Seen) -> &[Trust] {
    match seen {
        Seen::Present { webhooks, .. } => webhooks,
        Seen::Absent | Seen::Unreadable => &[],
    }
}

/// The newest first, each once, none that has ended: the same set is the same text.
fn ordered(mut anchors: Vec<Anchor>, now: SystemTime) -> Vec<Anchor> {
    anchors.retain(|anchor| now <= anchor.end());
    anchors.sort_by(|a, b| b.made().cmp(&a.made()).then_with(|| a.der().cmp(b.der())));
    anchors.dedup();
    anchors.truncate(MOST);
    anchors
}

fn two_thirds(from: SystemTime, to: SystemTime) -> SystemTime {
    from + to.duration_since(from).unwrap_or_default() / 3 * 2
}

/// Collects when something is due next.
struct Due {
    now: SystemTime,
    again: Duration,
}

impl Due {
    fn passed(&mut self, time: SystemTime) -> bool {
        match time.duration_since(self.now) {
            Ok(rest) if !rest.is_zero() => {
                self.within(rest);
                false
            }
            _ => true,
        }
    }

    fn within(&mut self, rest: Duration) {
        if !rest.is_zero() {
            self.again = self.again.min(rest.max(SHORTEST));
        }
    }
}

#[cfg(test)]
mod tests;
