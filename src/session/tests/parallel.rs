//! Many callers at once: a limit holds exactly, nobody waits for ever, members are never two.

use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::model::{CounterScope, History};

const CALLS: usize = 1_000;
const THREADS: usize = 16;
const LIMIT: i64 = 10;

/// A policy: at most [`LIMIT`] calls in this scope.
fn allows(history: &History, scope: CounterScope) -> bool {
    history.get(scope, &CounterKey::Calls) < LIMIT
}

/// Reads, decides and reserves as the proxy does; `None` is a denial.
fn optimistic(session: &Session, scope: CounterScope) -> Option<Reservation> {
    let keys = [CounterKey::Calls];
    let (in_session, in_member): (&[CounterKey], &[CounterKey]) = match scope {
        CounterScope::Session => (&keys, &[]),
        CounterScope::Member => (&[], &keys),
    };
    let call = read_call();
    loop {
        let (history, version) = session.read(in_session, in_member, at(0));
        if !allows(&history, scope) {
            return None;
        }
        std::thread::yield_now();
        match session.reserve(&version, &call.counts(), at(0)) {
            Ok(reservation) => return Some(reservation),
            Err(ReserveFault::Changed) => continue,
            Err(fault) => panic!("{fault}"),
        }
    }
}

fn locked(session: &Session, scope: CounterScope) -> Option<Reservation> {
    let call = read_call();
    let keys = [CounterKey::Calls];
    let decided = session.with_locked(at(0), |locked| {
        let history = locked.read(&keys, &keys);
        if allows(&history, scope) {
            locked.reserve(&call.counts()).unwrap();
        }
    });
    let (_, reserved) = decided.unwrap();
    if reserved.is_none() {
        session.count_denial(&[policy("limit")], at(0));
    }
    reserved
}

/// Which path the call of this number takes.
type Choice = fn(usize) -> Path;
type Path = fn(&Session, CounterScope) -> Option<Reservation>;

/// Runs all calls on real threads; each call opens the session of its turn. Says how many passed.
fn run(
    sessions: &Sessions,
    conversations: u32,
    scope: CounterScope,
    path: impl Fn(usize) -> Path + Sync,
) -> usize {
    let (passed, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (passed, start, path) = (&passed, &start, &path);
            threads.spawn(move || {
                start.wait();
                for n in (thread..CALLS).step_by(THREADS) {
                    let conversation = talk(n as u32 % conversations);
                    let session = sessions.enter(&caller(1), conversation, None, at(0)).unwrap();
                    if let Some(mut reservation) = path(n)(&session, scope) {
                        reservation.reached();
                        passed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    passed.into_inner()
}

#[test]
fn a_thousand_parallel_calls_against_a_limit_of_ten_pass_exactly_ten() {
    let paths: [(&str, Choice); 3] = [
        ("optimistic", |_| optimistic),
        ("locked", |_| locked),
        ("mixed", |n| if n % 3 == 0 { locked } else { optimistic }),
    ];
    for (name, path) in paths {
        for round in 0..5 {
            let sessions = Sessions::new(SessionLimits::default());
            assert_eq!(run(&sessions, 1, CounterScope::Session, path), 10, "{name}, round {round}");
            let sessions = Sessions::new(SessionLimits::default());
            assert_eq!(run(&sessions, 50, CounterScope::Member, path), 10, "{name}, round {round}");
        }
    }
}

#[test]
fn a_released_place_is_taken_once_by_another() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(0), None, at(0)).unwrap();
    let reached = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for thread in 0..THREADS {
            let (session, reached) = (&session, &reached);
            threads.spawn(move || {
                for n in 0..500 {
                    let Some(mut reservation) = optimistic(session, CounterScope::Member) else { continue };
                    // One in fifty reaches its upstream, the others find it down.
                    if (n + thread) % 50 == 0 {
                        reservation.reached();
                        reached.fetch_add(1, Ordering::Relaxed);
                    } else {
                        reservation.release();
                    }
                }
            });
        }
    });
    let reached = i64::try_from(reached.into_inner()).unwrap();
    assert!(reached <= LIMIT, "{reached}");
    assert_eq!(calls(&session, at(0)), (reached, reached));
}

/// Everything at once on a few members; nobody waits for ever, and every count is there.
#[test]
fn nothing_is_lost_while_sessions_end_and_members_are_swept() {
    let sessions =
        Sessions::new(SessionLimits { new_per_member_per_hour_max: u32::MAX, ..SessionLimits::default() });
    let counted = [const { AtomicUsize::new(0) }; 3];
    std::thread::scope(|threads| {
        for thread in 0..4_usize {
            let (sessions, counted) = (&sessions, &counted);
            threads.spawn(move || {
                for n in 0..3_000_usize {
                    let who = (n + thread) % 3;
                    let session =
                        sessions.enter(&caller(who as u8), talk((n % 7) as u32), None, at(0)).unwrap();
                    match (n + thread) % 11 {
                        0 => drop(sessions.reset(session.id(), at(0))),
                        1 => drop(sessions.sweep(at(0))),
                        2 => sessions.take_dirty(5).saved(),
                        3 => drop(sessions.take_dirty(5)),
                        4 => session.count_denial(&[policy("stop")], at(0)),
                        5 => drop(sessions.list(SessionFilter::default(), 3)),
                        _ => match count(&session, &read_call(), at(0)) {
                            Ok(_) => drop(counted[who].fetch_add(1, Ordering::Relaxed)),
                            Err(fault) => assert_eq!(fault, ReserveFault::Ended),
                        },
                    }
                }
            });
        }
    });
    for (who, counted) in counted.iter().enumerate() {
        let session = sessions.enter(&caller(who as u8), talk(1_000), None, at(0)).unwrap();
        assert_eq!(calls(&session, at(0)).1, counted.load(Ordering::Relaxed) as i64, "member {who}");
    }
    let live = sessions.list(SessionFilter::default(), usize::MAX).len();
    assert_eq!(sessions.size().0 as usize, live);
}
