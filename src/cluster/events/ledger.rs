//! Which Events have been made, so that a thousand equal ones become one with a count.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Notice;

/// What has not been seen for so long is made anew: an Event is kept for an hour.
const REMEMBERED: Duration = Duration::from_mins(10);

/// Events remembered at once. Past it nothing new is told until something is forgotten.
const MOST: usize = 2048;

/// Different notes of one reason on one object, within [`REMEMBERED`].
const NOTES: usize = 8;

/// The Events of the last minutes.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: HashMap<Key, Vec<Entry>>,
    size: usize,
}

/// The uid alone could be absent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    namespace: String,
    name: String,
    uid: String,
    reason: &'static str,
}

#[derive(Debug)]
struct Entry {
    notice: Notice,
    /// Name of the Event; none while it is being made.
    name: Option<String>,
    count: i32,
    told: i32,
    seen: Instant,
}

/// What becomes of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Make an Event.
    New,
    /// It is one more of an Event that there is.
    Counted,
    /// Leave it.
    TooMany,
}

/// An Event whose count has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) notice: Notice,
    pub(super) name: String,
    pub(super) count: i32,
}

impl Ledger {
    /// Takes up one more notice.
    pub(super) fn take(&mut self, notice: &Notice, now: Instant) -> Taken {
        let full = self.size >= MOST;
        let entries = self.entries.entry(key(notice)).or_default();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.notice == *notice) {
            entry.count = entry.count.saturating_add(1);
            entry.seen = now;
            return Taken::Counted;
        }
        if full || entries.len() >= NOTES {
            return Taken::TooMany;
        }
        self.size += 1;
        entries.push(Entry { notice: notice.clone(), name: None, count: 1, told: 1, seen: now });
        Taken::New
    }

    /// The Event of a new notice has been made.
    pub(super) fn made(&mut self, notice: &Notice, name: &str) {
        let entries = self.entries.get_mut(&key(notice)).into_iter().flatten();
        for entry in entries.filter(|entry| entry.notice == *notice) {
            entry.name = Some(name.to_owned());
        }
    }

    /// There is no such Event: the next notice makes one.
    pub(super) fn forget(&mut self, notice: &Notice) {
        self.retain(|entry| entry.notice != *notice);
    }

    /// The Events whose count has grown since the last call. What is old is forgotten.
    pub(super) fn repeats(&mut self, now: Instant) -> Vec<Repeat> {
        let mut repeats = Vec::new();
        for entry in self.entries.values_mut().flatten() {
            let Some(name) = entry.name.clone().filter(|_| entry.count > entry.told) else {
                continue;
            };
            entry.told = entry.count;
            repeats.push(Repeat { notice: entry.notice.clone(), name, count: entry.count });
        }
        self.retain(|entry| now.saturating_duration_since(entry.seen) < REMEMBERED);
        repeats
    }

    fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(|_, entries| {
            entries.retain(&keep);
            !entries.is_empty()
        });
        self.size = self.entries.values().map(Vec::len).sum();
    }
}

fn key(notice: &Notice) -> Key {
    let Notice { regarding, reason, .. } = notice;
    Key {
        namespace: regarding.namespace.clone(),
        name: regarding.name.clone(),
        uid: regarding.uid.clone(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::events::Regarding;

    fn notice(owner: &str, note: &str) -> Notice {
        Notice {
            regarding: Regarding {
                api_version: "apps/v1".to_owned(),
                kind: "ReplicaSet".to_owned(),
                namespace: "ns".to_owned(),
                name: owner.to_owned(),
                uid: format!("uid-{owner}"),
            },
            is_warning: false,
            reason: "Injected",
            action: "Inject",
            note: note.to_owned(),
        }
    }

    #[test]
    fn a_thousand_equal_notices_are_one_event_with_their_count() {
        let (mut ledger, now, same) = (Ledger::default(), Instant::now(), notice("web", "same"));
        assert_eq!(ledger.take(&same, now), Taken::New);
        ledger.made(&same, "web.1");
        assert_eq!(ledger.repeats(now), []);
        for _ in 1..1000 {
            assert_eq!(ledger.take(&same, now), Taken::Counted);
        }
        let repeat = Repeat { notice: same, name: "web.1".to_owned(), count: 1000 };
        assert_eq!(ledger.repeats(now), [repeat]);
        assert_eq!(ledger.repeats(now), []);
    }

    #[test]
    fn another_owner_or_note_is_another_event_up_to_a_bound() {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        for owner in ["a", "b"] {
            for note in 0..20 {
                let expected = if note < NOTES { Taken::New } else { Taken::TooMany };
                assert_eq!(ledger.take(&notice(owner, &note.to_string()), now), expected);
            }
        }
        for owner in 0..2 * MOST {
            ledger.take(&notice(&format!("owner-{owner}"), "note"), now);
        }
        assert_eq!(ledger.size, MOST);
        assert_eq!(ledger.take(&notice("late", "note"), now), Taken::TooMany);
        assert_eq!(ledger.repeats(now + REMEMBERED), []);
        assert_eq!((ledger.size, ledger.entries.len()), (0, 0));
        assert_eq!(ledger.take(&notice("late", "note"), now), Taken::New);
    }

    #[test]
    fn an_event_that_was_not_taken_is_tried_again() {
        let (mut ledger, now, same) = (Ledger::default(), Instant::now(), notice("web", "same"));
        assert_eq!(ledger.take(&same, now), Taken::New);
        ledger.forget(&same);
        assert_eq!(ledger.take(&same, now), Taken::New);
        assert_eq!(ledger.take(&same, now), Taken::Counted);
        // Without a name there is nothing to count up.
        assert_eq!(ledger.repeats(now), []);
    }
}
