//! Single histories; `model` has all of them.

use std::time::UNIX_EPOCH;

use super::*;

const LIVES: Lives = Lives { leaf: secs(900), overlap: secs(130), settle: secs(10) };

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn clock(now: u64) -> Clock {
    Clock { wall: UNIX_EPOCH + secs(100_000 + now), steady: secs(now), read: secs(now) }
}

/// A CA made at 0 that ends then.
fn ca(name: &str, end: u64) -> Anchor {
    Anchor::of_name(name, clock(0).wall, clock(end).wall)
}

fn held(version: u64, current: &Anchor, others: &[Anchor]) -> Held {
    let (current, others) = (current.clone(), others.to_vec());
    Held::Usable { current, others, tidy: true, version: version.to_string() }
}

/// The only registration, last written at that time.
fn seen(generation: i64, written: Option<u64>, anchors: &[Anchor]) -> [Seen; 1] {
    let trust = Trust { text: encode(anchors).into_bytes(), anchors: anchors.to_vec() };
    let written = written.map(|at| clock(at).wall);
    [Seen::Present { mark: ("u".to_owned(), generation), written, webhooks: vec![trust] }]
}

fn memory(leaf: Option<&Anchor>) -> Memory {
    let leaf = leaf.map(|ca| Leaf { ca: ca.clone(), made: clock(0).wall, end: clock(900).wall });
    Memory { leaf, ..Memory::default() }
}

/// What is done about what is looked at.
fn steps(memory: &mut Memory, now: u64, held: &Held, seen: &[Seen]) -> Vec<Step> {
    memory.observe(clock(now), held, seen);
    plan(clock(now), &LIVES, memory, held, seen).0
}

#[test]
fn a_replica_that_starts_waits_unless_the_registration_is_old() {
    let one = ca("1", 5000);
    let unsettled = |looks: &[u64], written: Option<u64>| {
        let mut memory = memory(Some(&one));
        let seen = seen(1, written, std::slice::from_ref(&one));
        let mut rest = None;
        for &now in looks {
            memory.observe(clock(now), &held(1, &one, &[]), &seen);
            rest = memory.unsettled(clock(now), &LIVES, &seen);
        }
        rest
    };
    assert_eq!(unsettled(&[200], Some(199)), Some(secs(10)));
    assert_eq!(unsettled(&[200], Some(71)), Some(secs(10)));
    assert_eq!(unsettled(&[200], Some(70)), None);
    // A clock that is ahead, or none.
    assert_eq!(unsettled(&[200], Some(300)), Some(secs(10)));
    assert_eq!(unsettled(&[200], None), Some(secs(10)));
    assert_eq!(unsettled(&[200, 206], Some(199)), Some(secs(4)));
    assert_eq!(unsettled(&[200, 206, 210], Some(199)), None);
}

#[test]
fn what_took_long_to_read_is_no_older_for_it() {
    let one = ca("1", 5000);
    let slow = |now: u64, read: u64| Clock { read: secs(read), ..clock(now) };
    let unsettled = |written: u64, looks: &[Clock]| {
        let mut memory = memory(Some(&one));
        let seen = seen(1, Some(written), std::slice::from_ref(&one));
        let mut rest = None;
        for &clock in looks {
            memory.observe(clock, &held(1, &one, &[]), &seen);
            rest = memory.unsettled(clock, &LIVES, &seen);
        }
        rest
    };
    assert_eq!(unsettled(199, &[slow(200, 180), slow(225, 202)]), Some(secs(8)));
    assert_eq!(unsettled(199, &[slow(200, 180), slow(225, 210)]), None);
    assert_eq!(unsettled(70, &[slow(225, 200)]), None);
    assert_eq!(unsettled(70, &[slow(225, 199)]), Some(secs(36)));
}

#[test]
fn the_overlap_begins_anew_when_trust_may_have_had_a_break() {
    let (old, new) = (ca("old", 5000), ca("new", 5000));
    let dropped = |generation: i64| {
        let mut memory = memory(Some(&new));
        let held = held(2, &new, std::slice::from_ref(&old));
        let both = [new.clone(), old.clone()];
        for (now, generation) in [(200, 1), (300, generation)] {
            assert_eq!(steps(&mut memory, now, &held, &seen(generation, None, &both)), []);
        }
        let seen = seen(generation, None, &both);
        let drop = [Step::Keep(Vec::new())];
        (330..500).find(|&now| steps(&mut memory, now, &held, &seen) == drop)
    };
    assert_eq!(dropped(1), Some(330));
    // A write of what has the CA as before.
    assert_eq!(dropped(2), Some(330));
    // It may have been emptied and mended.
    assert_eq!(dropped(3), Some(430));
}

#[test]
fn a_secret_put_back_while_a_replica_slept_does_not_hide_what_was_published() {
    let (old, new) = (ca("old", 5000), ca("new", 5000));
    let after = |version: u64| {
        let mut memory = memory(Some(&old));
        let before = seen(1, None, std::slice::from_ref(&old));
        assert_eq!(steps(&mut memory, 100, &held(1, &old, &[]), &before), []);
        let now = seen(2, None, &[new.clone(), old.clone()]);
        steps(&mut memory, 125, &held(version, &old, &[]), &now)
    };
    assert_eq!(after(3), [Step::Keep(vec![new.clone()])]);
    // Nobody has written the Secret: it is a mistake in the registration.
    assert_eq!(after(1), [Step::Publish(0)]);
}

#[test]
fn no_leaf_is_made_of_a_ca_that_ends_before_the_next_is_taken_up() {
    let steps = |end: u64| {
        let one = ca("1", end);
        let seen = seen(1, None, std::slice::from_ref(&one));
        (steps(&mut memory(None), 1000, &held(1, &one, &[]), &seen), one)
    };
    let (made, one) = steps(1131);
    assert_eq!(made, [Step::Issue, Step::Renew(vec![one])]);
    let (made, one) = steps(1130);
    assert_eq!(made, [Step::Renew(vec![one])]);
}
