//! When a session's counters go to the audit, and what goes.

use super::*;
use crate::model::{CheckpointCause, SessionCheckpoint};

fn limits() -> SessionLimits {
    SessionLimits { checkpoint_calls_max: 5, checkpoint_ms_max: 15 * 60_000, ..SessionLimits::default() }
}

fn count(session: &Session, calls: usize, now: Timestamp) {
    let call = Call::new("github", "get", Tier::Read, &["reads"]);
    for _ in 0..calls {
        let (_, version) = session.read(&[], &[], now);
        let mut reservation = session.reserve(&version, &call.counts(), now).unwrap();
        reservation.reached();
    }
}

/// Two looks, as the worker has them.
fn look(sessions: &Sessions, now: Timestamp) -> Vec<SessionCheckpoint> {
    let first = sessions.take_checkpoints(100, now);
    first.into_iter().chain(sessions.take_checkpoints(100, now)).collect()
}

#[test]
fn a_checkpoint_comes_after_so_many_calls_or_so_long_and_at_the_end() {
    let sessions = Sessions::new(limits());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    assert!(look(&sessions, at(1_000)).is_empty());
    count(&session, 4, at(2_000));
    assert!(look(&sessions, at(3_000)).is_empty());
    count(&session, 1, at(4_000));
    let taken = look(&sessions, at(5_000));
    let [one] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((one.cause, one.settled, one.session), (CheckpointCause::Calls, true, session.id()));
    assert_eq!(one.counters, session.view().counters);
    let window = one.window.as_ref().unwrap();
    assert!(window.whole && window.settled);
    assert_eq!(window.buckets.len(), 1);
    assert_eq!(window.buckets[0].1[&CounterKey::Calls], 5);

    // Without a further call nothing more, however long.
    assert!(look(&sessions, at(16 * MINUTE_MS)).is_empty());
    count(&session, 1, at(17 * MINUTE_MS));
    let taken = look(&sessions, at(18 * MINUTE_MS));
    assert_eq!(taken.iter().map(|one| one.cause).collect::<Vec<_>>(), [CheckpointCause::Time]);
    let window = taken[0].window.as_ref().unwrap();
    assert!(!window.whole, "what stands in the last checkpoint is not said again");
    assert_eq!(window.buckets.last().unwrap().1[&CounterKey::Calls], 1);

    assert!(sessions.reset(session.id(), at(20 * MINUTE_MS)));
    let taken = look(&sessions, at(20 * MINUTE_MS + 1));
    let [end] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((end.cause, end.ended), (CheckpointCause::Ended, Some((at(20 * MINUTE_MS), "manual_reset"))));
    assert_eq!(end.counters[&CounterKey::Calls], 6);
    assert_eq!(end.window, None, "nothing was counted since");
    assert!(look(&sessions, at(21 * MINUTE_MS)).is_empty());
    // One that never counted anything leaves nothing behind.
    let idle = sessions.enter(&caller(2), talk(2), None, at(0)).unwrap();
    sessions.reset(idle.id(), at(1));
    assert!(look(&sessions, at(2)).is_empty());
}

#[test]
fn a_session_that_moves_is_waited_for_but_not_for_ever() {
    let sessions = Sessions::new(limits());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    count(&session, 5, at(0));
    let mut looks = 0;
    let taken = loop {
        count(&session, 1, at(looks * 1_000));
        looks += 1;
        let taken = sessions.take_checkpoints(100, at(looks * 1_000));
        if !taken.is_empty() {
            break taken;
        }
        assert!(looks < 50);
    };
    assert!(looks > 3, "{looks}");
    assert!(!taken[0].settled && !taken[0].window.as_ref().unwrap().settled);
    // The calls behind it are counted for the next one.
    count(&session, 5, at(60_000));
    assert_eq!(look(&sessions, at(61_000)).len(), 1);
}

#[test]
fn a_restored_session_is_recorded_before_it_counts_again() {
    let sessions = Sessions::new(limits());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    count(&session, 3, at(0));
    let dirty = sessions.take_dirty(100);
    let (rows, counters) = (dirty.sessions().to_vec(), dirty.member_counters().to_vec());
    dirty.saved();
    let again = Sessions::new(limits());
    again.restore(rows, counters, at(1_000));
    let taken = look(&again, at(2_000));
    let [one] = &taken[..] else { panic!("{taken:?}") };
    assert_eq!((one.cause, one.session, one.settled), (CheckpointCause::Restored, session.id(), true));
    assert_eq!(one.counters[&CounterKey::Calls], 3);
    assert!(one.window.as_ref().unwrap().whole);
}

#[test]
fn no_more_are_taken_at_once_than_asked_and_none_is_lost() {
    let sessions = Sessions::new(limits());
    for n in 0..10u32 {
        let session = sessions.enter(&caller(1), talk(n), None, at(0)).unwrap();
        count(&session, 5, at(0));
    }
    let mut taken = std::collections::BTreeSet::new();
    sessions.take_checkpoints(0, at(1));
    for round in 0..20 {
        let some = sessions.take_checkpoints(3, at(2 + round));
        assert!(some.len() <= 3);
        taken.extend(some.into_iter().map(|one| one.session));
    }
    assert_eq!(taken.len(), 10);
}
