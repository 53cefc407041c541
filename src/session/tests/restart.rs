//! Written behind, lost, restored: against a real store.

use super::*;
use crate::store::Store;

/// Writes everything, as the worker does.
async fn save_all(sessions: &Sessions, store: &Store) {
    loop {
        let dirty = sessions.take_dirty(3);
        if dirty.is_empty() {
            return;
        }
        store.sessions().save(dirty.sessions(), dirty.member_counters()).await.unwrap();
        dirty.saved();
    }
}

async fn restart(store: &Store, limits: SessionLimits, now: Timestamp) -> (Sessions, Restored) {
    let sessions = Sessions::new(limits);
    let rows = store.sessions().load_active().await.unwrap();
    let counters = store.sessions().load_counters(first_bucket(now)).await.unwrap();
    let restored = sessions.restore(rows, counters, now);
    (sessions, restored)
}

#[tokio::test]
async fn counters_sessions_and_mcp_ids_survive_a_restart() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let digest = mcp_session_id([7; 16]).1;
    sessions.bind_mcp(&session, digest);
    count(&session, &read_call(), at(0)).unwrap().reached();
    let in_flight = count(&session, &read_call(), at(6 * MINUTE_MS)).unwrap();
    session.count_denial(&[policy("stop")], at(6 * MINUTE_MS));
    let gone = sessions.enter(&caller(2), talk(1), None, at(0)).unwrap();
    assert!(sessions.reset(gone.id(), at(1)));
    save_all(&sessions, &store).await;

    let (next, restored) = restart(&store, SessionLimits::default(), at(7 * MINUTE_MS)).await;
    assert_eq!(restored, Restored { sessions: 1, members: 1, ..Restored::default() });
    let found = next.enter(&caller(1), talk(1), None, at(7 * MINUTE_MS)).unwrap();
    assert_eq!(found.id(), session.id());
    assert_eq!(found.view().counters, session.view().counters, "what was on its way stays counted");
    let now = at(8 * MINUTE_MS);
    assert_eq!(found.member_counters(now), session.member_counters(now));
    assert_eq!(next.find_mcp(caller(1).member.id, &digest, at(8 * MINUTE_MS)).unwrap().id(), session.id());
    assert!(next.find_mcp(caller(2).member.id, &digest, at(8 * MINUTE_MS)).is_none());
    assert_ne!(next.enter(&caller(2), talk(1), None, at(8 * MINUTE_MS)).unwrap().id(), gone.id());

    // A release that comes before the end, and is written, is not seen by the one after.
    in_flight.release();
    save_all(&sessions, &store).await;
    let (next, _) = restart(&store, SessionLimits::default(), at(7 * MINUTE_MS)).await;
    let found = next.enter(&caller(1), talk(1), None, at(7 * MINUTE_MS)).unwrap();
    assert_eq!(calls(&found, at(7 * MINUTE_MS)), (1, 1));
    let day = at(24 * 60 * MINUTE_MS + 5 * MINUTE_MS);
    let (next, _) = restart(&store, SessionLimits::default(), day).await;
    let found = next.enter(&caller(1), talk(1), None, day).unwrap();
    assert_ne!(found.id(), session.id());
    assert_eq!(found.member_counters(day).get(&CounterKey::Denials), Some(&1), "six minutes in, still there");
    assert_eq!(calls(&found, day), (0, 0));
}

#[tokio::test]
async fn what_cannot_go_on_after_a_restart_ends_with_its_reason() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let sessions = Sessions::new(SessionLimits::default());
    let mut ids = Vec::new();
    for n in 0..3_u32 {
        let session = sessions.enter(&caller(1), talk(n), None, at(i64::from(n))).unwrap();
        ids.push(session.id());
    }
    let last = sessions.enter(&caller(1), talk(9), None, at(20 * MINUTE_MS)).unwrap().id();
    let kept = sessions.enter(&caller(1), talk(2), None, at(20 * MINUTE_MS)).unwrap().id();
    assert_eq!(kept, ids[2]);
    let limits = SessionLimits { sessions_per_member_max: 1, ..SessionLimits::default() };
    // The last activity of a known session is written a minute late at most.
    save_all(&sessions, &store).await;
    let (next, restored) = restart(&store, limits, at(40 * MINUTE_MS)).await;
    assert_eq!(restored, Restored { sessions: 1, expired: 2, refused: 1, members: 0 });
    save_all(&next, &store).await;
    let mut reasons = Vec::new();
    for id in [ids[0], ids[1], ids[2], last] {
        reasons.push(store.sessions().get(id).await.unwrap().ended.map(|(_, reason)| reason));
    }
    let idle = Some(EndReason::Inactivity);
    assert_eq!(reasons, [idle, idle, None, Some(EndReason::ProxyRestart)]);
    assert_eq!(next.size().0, 1);
}

#[tokio::test]
async fn a_batch_that_was_not_saved_comes_again_and_only_one_is_out() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    count(&session, &read_call(), at(0)).unwrap().reached();
    let first = sessions.take_dirty(10);
    assert_eq!((first.sessions().len(), first.member_counters().len()), (1, 1));
    assert!(sessions.take_dirty(10).is_empty(), "one batch at a time");
    count(&session, &read_call(), at(0)).unwrap().reached();
    drop(first);
    let again = sessions.take_dirty(10);
    assert_eq!(again.sessions()[0].counters[&CounterKey::Calls], 2);
    assert_eq!(again.member_counters()[0].counters[&CounterKey::Calls], 2);
    drop(again);
    let unchanged = sessions.take_dirty(10);
    assert_eq!(unchanged.sessions()[0].counters[&CounterKey::Calls], 2);
    assert_eq!(unchanged.member_counters()[0].counters[&CounterKey::Calls], 2);
    unchanged.saved();
    assert!(sessions.take_dirty(10).is_empty());
}

#[tokio::test]
async fn what_changes_while_it_is_saved_is_for_the_next_time() {
    let sessions = Sessions::new(SessionLimits::default());
    let enter = |n| sessions.enter(&caller(n), talk(1), None, at(0)).unwrap();
    let all: Vec<_> = (1..=5).map(enter).collect();
    let call = || all.iter().for_each(|session| count(session, &read_call(), at(0)).unwrap().reached());
    call();
    for round in 1..=3 {
        let mut saved = Vec::new();
        for dirty in sessions.take_all_dirty(2) {
            saved.push(dirty.sessions().iter().map(|row| row.counters[&CounterKey::Calls]).sum::<i64>());
            dirty.saved();
            // As clients that never rest.
            call();
            assert!(saved.len() <= 3, "{saved:?}");
        }
        assert_eq!(saved.len(), 3, "round {round}: {saved:?}");
    }
    sessions.take_all_dirty(2).for_each(Dirty::saved);
    assert_eq!(sessions.take_all_dirty(2).count(), 0);
}

#[tokio::test]
async fn a_tally_at_its_cap_is_not_trusted_after_a_restart() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    let limits = SessionLimits { counters_per_session_max: 3, ..SessionLimits::default() };
    let sessions = Sessions::new(limits);
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    count(&session, &read_call(), at(0)).unwrap().reached();
    session.count_denial(&[policy("stop")], at(0));
    save_all(&sessions, &store).await;
    let (next, _) = restart(&store, limits, at(1)).await;
    let session = next.enter(&caller(1), talk(1), None, at(1)).unwrap();
    assert_eq!(count(&session, &read_call(), at(1)).unwrap_err(), ReserveFault::Full);
}

#[test]
fn a_bucket_from_a_clock_that_ran_ahead_counts_and_breaks_nothing() {
    let sessions = Sessions::new(SessionLimits::default());
    let member_id = caller(1).member.id;
    let ahead = crate::store::MemberCounterRow {
        member_id,
        bucket: first_bucket(at(0)) + 288 + 100,
        counters: [(CounterKey::Calls, 5)].into(),
    };
    sessions.restore(Vec::new(), vec![ahead], at(0));
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let reserved = count(&session, &read_call(), at(0)).unwrap();
    assert_eq!(calls(&session, at(0)), (1, 6));
    reserved.release();
    assert_eq!(calls(&session, at(0)), (0, 5));
}

#[test]
fn a_member_without_rows_does_not_block_the_list() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    session.count_denial(&[], at(0));
    sessions.sweep(at(25 * 60 * MINUTE_MS));
    let other = sessions.enter(&caller(2), talk(1), None, at(25 * 60 * MINUTE_MS)).unwrap();
    other.count_denial(&[], at(25 * 60 * MINUTE_MS));
    let mut rows = 0;
    for _ in 0..10 {
        let dirty = sessions.take_dirty(1);
        if dirty.is_empty() {
            break;
        }
        rows += dirty.member_counters().len();
        dirty.saved();
    }
    assert_eq!(rows, 1, "the other member's row came");
}
