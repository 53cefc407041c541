use super::*;

fn silent() -> UpstreamFailure {
    UpstreamFailure::Silent { after_ms: 1 }
}

#[test]
fn the_breaker_opens_after_failures_in_a_row_and_closes_by_one_probe() {
    let start = Instant::now();
    let mut breaker = Breaker::new();
    for turn in 1..=FAILURES_MAX {
        assert_eq!(breaker.admit(start), Ok(Admission::Call), "turn {turn}");
        assert_eq!(breaker.failed(Admission::Call, start), turn == FAILURES_MAX);
    }
    assert_eq!(breaker.admit(start), Err(OPEN_FIRST));

    let later = start + OPEN_FIRST;
    assert_eq!(breaker.admit(later), Ok(Admission::Probe));
    assert!(breaker.admit(later).is_err(), "one probe at a time");
    breaker.succeeded(Admission::Call);
    assert!(breaker.admit(later).is_err(), "a late answer of an old call is no probe");
    breaker.succeeded(Admission::Probe);
    assert_eq!(breaker.admit(later), Ok(Admission::Call));
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let now = Instant::now();
    let mut breaker = Breaker::new();
    for turn in 0..FAILURES_MAX * 3 {
        if turn % (FAILURES_MAX - 1) == 0 {
            breaker.succeeded(Admission::Call);
        }
        assert!(!breaker.failed(Admission::Call, now), "turn {turn}");
    }
    assert!(!breaker.is_open());
}

#[test]
fn each_failed_probe_doubles_the_pause_up_to_its_cap() {
    let mut now = Instant::now();
    let mut breaker = Breaker::new();
    for _ in 0..FAILURES_MAX {
        breaker.failed(Admission::Call, now);
    }
    let mut pause = OPEN_FIRST;
    for _ in 0..10 {
        assert_eq!(breaker.admit(now), Err(pause));
        now += pause;
        assert_eq!(breaker.admit(now), Ok(Admission::Probe));
        assert!(breaker.failed(Admission::Probe, now));
        pause = (pause * 2).min(OPEN_MAX);
    }
    assert_eq!(pause, OPEN_MAX);
}

#[test]
fn a_probe_without_a_verdict_lets_the_next_one_try() {
    let now = Instant::now();
    let mut breaker = Breaker::new();
    for _ in 0..FAILURES_MAX {
        breaker.failed(Admission::Call, now);
    }
    let later = now + OPEN_FIRST;
    assert_eq!(breaker.admit(later), Ok(Admission::Probe));
    breaker.abandoned(Admission::Probe, later);
    assert_eq!(breaker.admit(later), Ok(Admission::Probe));
}

#[test]
fn the_gate_holds_no_more_calls_than_its_cap_and_gives_slots_back() {
    let gate = Gate::new(2);
    let now = Instant::now();
    let first = gate.enter(now).unwrap();
    let _second = gate.enter(now).unwrap();
    assert_eq!(gate.enter(now).unwrap_err(), UpstreamFailure::Busy { limit: 2 });
    let look = gate.look(now).unwrap();
    assert_eq!(gate.in_flight(), 2, "what the gate asks for itself takes no call's place");
    drop(look);
    drop(first);
    assert_eq!(gate.in_flight(), 1);
    assert!(gate.enter(now).is_ok());
}

#[test]
fn only_sickness_counts_against_an_upstream_and_only_once_for_a_call() {
    let gate = Gate::new(100);
    let now = Instant::now();
    for failure in
        [UpstreamFailure::Cancelled, UpstreamFailure::broken("x"), UpstreamFailure::TooLarge { bytes_max: 1 }]
    {
        for _ in 0..FAILURES_MAX * 2 {
            assert!(!gate.enter(now).unwrap().failed(&failure, now), "{failure}");
        }
    }
    for _ in 1..FAILURES_MAX {
        let mut slot = gate.enter(now).unwrap();
        assert!(!slot.failed(&silent(), now));
        assert!(!slot.failed(&silent(), now), "the second verdict of one call is none");
    }
    assert!(gate.enter(now).unwrap().failed(&silent(), now));
    let refused = gate.enter(now).unwrap_err().to_string();
    assert!(refused.contains("sent nothing for 1 ms"), "{refused}");
}
