//! What counts where, against a reference that keeps every event.

use proptest::prelude::*;

use super::*;

#[test]
fn a_call_counts_in_five_and_a_denial_in_two() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let call = Call::new("github", "push", Tier::Write, &["p1", "p2"]);
    count(&session, &call, at(0)).unwrap().reached();
    session.count_denial(&[policy("stop")], at(0));
    let expected = [
        ("allow/p1", 1),
        ("allow/p2", 1),
        ("calls", 1),
        ("denials", 1),
        ("deny/stop", 1),
        ("service/github", 1),
        ("tier/write", 1),
        ("tool/github:push", 1),
    ];
    let written = |map: std::collections::BTreeMap<CounterKey, i64>| {
        let mut written: Vec<_> = map.into_iter().map(|(key, count)| (key.to_string(), count)).collect();
        written.sort();
        written
    };
    let expected: Vec<_> = expected.into_iter().map(|(key, n)| (key.to_owned(), n)).collect();
    assert_eq!(written(session.view().counters), expected);
    assert_eq!(written(session.member_counters(at(0))), expected);
    let json = serde_json::to_value(session.view()).unwrap();
    assert_eq!(json["toolsUsed"]["github:push"], 1);
    assert_eq!(json["policiesDenyCounts"]["stop"], 1);
    assert_eq!(json["isActive"], true);
}

#[test]
fn an_unrelated_counter_causes_no_retry_and_a_read_one_does() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let other = sessions.enter(&caller(1), talk(2), None, at(0)).unwrap();
    let call = read_call();
    let writes = [CounterKey::Tier(Tier::Write)];
    let (_, unrelated) = session.read(&writes, &writes, at(0));
    let (_, in_session) = session.read(&[CounterKey::Calls], &[], at(0));
    let (_, in_member) = session.read(&[], &[CounterKey::Calls], at(0));
    count(&other, &call, at(0)).unwrap().reached();
    assert_eq!(session.reserve(&in_member, &call.counts(), at(0)).unwrap_err(), ReserveFault::Changed);
    session.reserve(&in_session, &call.counts(), at(0)).unwrap().reached();
    assert_eq!(session.reserve(&in_session, &call.counts(), at(0)).unwrap_err(), ReserveFault::Changed);
    session.reserve(&unrelated, &call.counts(), at(0)).unwrap().reached();
    assert_eq!(calls(&session, at(0)), (2, 3));
}

#[test]
fn a_reservation_counts_unless_it_was_released_before_it_was_reached() {
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let call = read_call();
    let reserved = count(&session, &call, at(0)).unwrap();
    assert_eq!(calls(&session, at(0)), (1, 1), "it counts while it is on its way");
    reserved.release();
    assert_eq!(calls(&session, at(0)), (0, 0));
    assert!(session.view().counters.is_empty() && session.member_counters(at(0)).is_empty());
    drop(count(&session, &call, at(0)).unwrap());
    let mut reached = count(&session, &call, at(0)).unwrap();
    reached.reached();
    reached.reached();
    reached.release();
    assert_eq!(calls(&session, at(0)), (2, 2));
}

#[test]
fn a_count_leaves_the_member_after_a_day_and_its_release_comes_too_late() {
    let sessions = Sessions::new(SessionLimits { idle_ms_max: u32::MAX, ..SessionLimits::default() });
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    let late = count(&session, &read_call(), at(0)).unwrap();
    let day = 24 * 60 * MINUTE_MS;
    assert_eq!(calls(&session, at(day)).1, 1, "never less than 24 hours");
    count(&session, &read_call(), at(day)).unwrap().reached();
    assert_eq!(calls(&session, at(day + 5 * MINUTE_MS)), (2, 1), "at most 5 minutes more");
    late.release();
    assert_eq!(calls(&session, at(day + 5 * MINUTE_MS)), (1, 1));
}

#[test]
fn what_cannot_be_counted_is_refused_and_stays_refused() {
    let base = SessionLimits { idle_ms_max: u32::MAX, ..SessionLimits::default() };
    let sessions = Sessions::new(SessionLimits { counters_per_session_max: 4, ..base });
    let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
    count(&session, &read_call(), at(0)).unwrap().reached();
    let other = Call::new("github", "other", Tier::Read, &["p2"]);
    assert_eq!(count(&session, &other, at(0)).unwrap_err(), ReserveFault::Full);
    assert_eq!(calls(&session, at(0)), (1, 1), "nothing of it was counted");
    count(&session, &read_call(), at(0)).unwrap().reached();
    // Two denials by policies for which there is no room: a breaker that reads them is blind.
    session.count_denial(&[policy("a"), policy("b")], at(0));
    assert_eq!(count(&session, &read_call(), at(0)).unwrap_err(), ReserveFault::Full);
    let next = sessions.enter(&caller(1), talk(2), None, at(0)).unwrap();
    assert_eq!(count(&next, &read_call(), at(0)).unwrap_err(), ReserveFault::Full, "the member is blind too");
    let day = at(24 * 60 * MINUTE_MS + 5 * MINUTE_MS);
    let next = sessions.enter(&caller(1), talk(3), None, day).unwrap();
    count(&next, &read_call(), day).unwrap().reached();
    assert_eq!(
        count(&session, &read_call(), day).unwrap_err(),
        ReserveFault::Full,
        "a session never forgets"
    );
}

#[test]
fn each_cap_of_a_member_and_of_the_gate_refuses() {
    let base = SessionLimits::default();
    for limits in [
        SessionLimits { counters_per_member_max: 4, ..base },
        SessionLimits { window_counts_per_member_max: 4, ..base },
        SessionLimits { bytes_max: 1_400, ..base },
    ] {
        let sessions = Sessions::new(limits);
        let session = sessions.enter(&caller(1), talk(1), None, at(0)).unwrap();
        let counted: Vec<_> = (0..50)
            .map(|n| count(&session, &Call::new("s", &format!("t{n}"), Tier::Read, &[]), at(0)))
            .map(|result| result.map(drop))
            .collect();
        assert_eq!(counted.last(), Some(&Err(ReserveFault::Full)), "{limits:?}");
        let passed = counted.iter().filter(|result| result.is_ok()).count();
        assert_eq!(calls(&session, at(0)).1, passed as i64, "{limits:?}");
    }
}

/// One step of a random life.
#[derive(Debug, Clone)]
enum Step {
    Call { talk: u32, tool: u8, permits: u8 },
    Deny { talk: u32, policy: u8 },
    Release { which: usize },
    Reset { talk: u32 },
    Wait { minutes: i64 },
    Sweep,
    Save { limit: usize },
    LoseBatch,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u32, 0..4_u8, 0..8_u8).prop_map(|(talk, tool, permits)| Step::Call { talk, tool, permits }),
        3 => (0..3_u32, 0..3_u8).prop_map(|(talk, policy)| Step::Deny { talk, policy }),
        2 => (0..50_usize).prop_map(|which| Step::Release { which }),
        1 => (0..3_u32).prop_map(|talk| Step::Reset { talk }),
        3 => prop_oneof![0..20_i64, 20..40_i64, 300..1_600_i64].prop_map(|minutes| Step::Wait { minutes }),
        1 => Just(Step::Sweep),
        1 => (1..4_usize).prop_map(|limit| Step::Save { limit }),
        1 => Just(Step::LoseBatch),
    ]
}

/// The reference: every event, with the session's id and the bucket that it fell into.
#[derive(Default)]
struct Reference {
    events: Vec<(SessionId, i64, CounterKey)>,
    /// What may still be released: the reservation, and the places of its events.
    open: Vec<(Reservation, Vec<usize>)>,
    uncounted: std::collections::BTreeSet<usize>,
}

impl Reference {
    fn add(&mut self, session: SessionId, bucket: i64, keys: Vec<CounterKey>) -> Vec<usize> {
        let first = self.events.len();
        self.events.extend(keys.into_iter().map(|key| (session, bucket, key)));
        (first..self.events.len()).collect()
    }

    fn sum(&self, key: &CounterKey, matches: impl Fn(SessionId, i64) -> bool) -> i64 {
        let counts = |(n, (session, bucket, found)): (usize, &(SessionId, i64, CounterKey))| {
            !self.uncounted.contains(&n) && found == key && matches(*session, *bucket)
        };
        self.events.iter().enumerate().filter(|event| counts(*event)).count() as i64
    }
}

fn every_key() -> Vec<CounterKey> {
    let service = ServiceKey::parse("s").unwrap();
    let mut keys = vec![CounterKey::Calls, CounterKey::Denials, CounterKey::Service(service.clone())];
    keys.extend(Tier::ALL.map(CounterKey::Tier));
    for n in 0..4 {
        keys.push(CounterKey::Tool(service.clone(), ToolName::parse(&format!("t{n}")).unwrap()));
        keys.push(CounterKey::PolicyAllow(PolicyKey::parse(&format!("p{n}")).unwrap()));
        keys.push(CounterKey::PolicyDeny(PolicyKey::parse(&format!("p{n}")).unwrap()));
    }
    keys
}

/// A random life, with what it should have counted.
struct Life {
    sessions: Sessions,
    reference: Reference,
    now: Timestamp,
}

const fn bucket(now: Timestamp) -> i64 {
    now.as_millis() / 300_000
}

impl Life {
    fn enter(&self, n: u32) -> Session {
        self.sessions.enter(&caller(1), talk(n), None, self.now).unwrap()
    }

    fn call(&mut self, n: u32, tool: u8, permits: u8) -> Session {
        let session = self.enter(n);
        let permits: Vec<_> = (0..3).filter(|p| permits & (1 << p) != 0).map(|p| format!("p{p}")).collect();
        let permits: Vec<_> = permits.iter().map(String::as_str).collect();
        let tier = Tier::ALL[usize::from(tool) % 3];
        let call = Call::new("s", &format!("t{tool}"), tier, &permits);
        let reservation = count(&session, &call, self.now).unwrap();
        let mut counted = vec![
            CounterKey::Calls,
            CounterKey::Tier(tier),
            CounterKey::Service(call.service.clone()),
            CounterKey::Tool(call.service.clone(), call.tool.clone()),
        ];
        counted.extend(call.permits.iter().map(|p| CounterKey::PolicyAllow(p.key.clone())));
        let places = self.reference.add(session.id(), bucket(self.now), counted);
        self.reference.open.push((reservation, places));
        session
    }

    fn deny(&mut self, n: u32, p: u8) -> Session {
        let session = self.enter(n);
        let forbid = policy(&format!("p{p}"));
        session.count_denial(std::slice::from_ref(&forbid), self.now);
        let counted = vec![CounterKey::Denials, CounterKey::PolicyDeny(forbid.key)];
        self.reference.add(session.id(), bucket(self.now), counted);
        session
    }

    /// Takes the step; says which session it touched.
    fn take(&mut self, step: &Step) -> Option<Session> {
        match *step {
            Step::Call { talk, tool, permits } => return Some(self.call(talk, tool, permits)),
            Step::Deny { talk, policy } => return Some(self.deny(talk, policy)),
            Step::Reset { talk } => {
                let session = self.enter(talk);
                assert!(self.sessions.reset(session.id(), self.now));
                return Some(session);
            }
            Step::Release { which } => {
                let open = &mut self.reference.open;
                if !open.is_empty() {
                    let (reservation, places) = open.remove(which % open.len());
                    reservation.release();
                    self.reference.uncounted.extend(places);
                }
            }
            Step::Wait { minutes } => self.now = self.now.plus_millis(minutes * MINUTE_MS),
            Step::Sweep => drop(self.sessions.sweep(self.now)),
            Step::Save { limit } => self.sessions.take_dirty(limit).saved(),
            Step::LoseBatch => drop(self.sessions.take_dirty(2)),
        }
        None
    }
}

/// Plays the steps; after each that touched a session, every counter must agree.
fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let sessions = Sessions::new(SessionLimits::default());
    let mut life = Life { sessions, reference: Reference::default(), now: at(0) };
    let keys = every_key();
    for step in steps {
        let Some(touched) = life.take(step) else { continue };
        let (history, _) = touched.read(&keys, &keys, life.now);
        let (id, first) = (touched.id(), bucket(life.now) - 288);
        for key in &keys {
            let in_session = life.reference.sum(key, |session, _| session == id);
            prop_assert_eq!(history.session[key], in_session, "{}", key);
            let in_member = life.reference.sum(key, |_, found| found >= first);
            prop_assert_eq!(history.member[key], in_member, "{}", key);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_agree_with_a_list_of_all_events(steps in proptest::collection::vec(step(), 1..60)) {
        play(&steps)?;
    }
}
