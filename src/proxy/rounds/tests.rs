use bytes::Bytes;

use super::*;
use crate::mcp::{self, Message, Request};

fn call(name: &str, arguments: &str) -> CallRequest {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{arguments}}}}}"#
    );
    match mcp::read(Bytes::from(text), mcp::Limits::REQUEST).unwrap() {
        Message::Request(Request::Call(call)) => call,
        other => panic!("{other:?}"),
    }
}

fn member(number: u128) -> MemberId {
    MemberId::from_uuid(uuid::Uuid::from_u128(number))
}

fn rounds(parked_max: u32) -> Arc<Rounds<u32>> {
    Rounds::new(RoundLimits { parked_max, round_ms_max: 1_000 }).unwrap()
}

#[tokio::test]
async fn a_parked_call_is_resumed_once_by_its_own_request_in_time() {
    let now = Timestamp::from_millis(1_000_000);
    let mine = Binding::of(member(1), &call("a__b", r#"{"x": 1, "y": 2}"#));
    // What means the same is the same.
    let same = Binding::of(member(1), &call("a__b", r#"{"y":2,"x":1}"#));
    let others = [
        Binding::of(member(2), &call("a__b", r#"{"x": 1, "y": 2}"#)),
        Binding::of(member(1), &call("a__c", r#"{"x": 1, "y": 2}"#)),
        Binding::of(member(1), &call("a__b", r#"{"x": 1, "y": 3}"#)),
    ];
    let rounds = rounds(1);
    let state = rounds.park(&mine, 7, (now, rounds.until(now)), |_| ()).unwrap();
    assert_eq!(rounds.park(&mine, 8, (now, rounds.until(now)), |_| ()), Err(8), "no room");
    for other in &others {
        assert!(rounds.open(other, &state, now).is_err());
    }
    assert!(rounds.open(&mine, &format!("{state}x"), now).is_err());
    assert!(matches!(rounds.open(&same, &state, now), Ok(Opened::Parked(7))));
    assert!(rounds.open(&mine, &state, now).is_err(), "used");
    let late = rounds.park(&mine, 9, (now, rounds.until(now)), |_| ()).unwrap();
    assert!(rounds.open(&mine, &late, now.plus_millis(1_001)).is_err(), "over");
}

#[tokio::test]
async fn one_member_cannot_have_all_the_places() {
    let rounds = rounds(100);
    let now = Timestamp::now();
    let park = |who: u128| {
        let binding = Binding::of(member(who), &call("a__b", "{}"));
        rounds.park(&binding, 7, (now, rounds.until(now)), |_| ()).is_ok()
    };
    assert_eq!((0..20).filter(|_| park(1)).count(), PARKED_PER_MEMBER_MAX);
    assert!(park(2));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_resumes_is_given_up() {
    let rounds = rounds(10);
    let binding = Binding::of(member(1), &call("a__b", "{}"));
    let (given_up, gone) = tokio::sync::oneshot::channel();
    rounds
        .park(&binding, 7, (Timestamp::now(), rounds.until(Timestamp::now())), move |parked| {
            given_up.send(parked).unwrap()
        })
        .unwrap();
    assert_eq!(gone.await.unwrap(), 7);
}
