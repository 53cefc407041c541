//! Rounds by themselves: what opens, and the room for calls that wait, also under contention.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;

use super::table::{OPEN_PER_MEMBER_MAX, PARKED_PER_MEMBER_MAX};
use super::*;
use crate::mcp::{self, Message, Request};
use crate::model::{ConversationId, ServiceKey, Tier, ToolName};
use crate::policy::Scenario;
use crate::session::{CallCounts, Reservation, SessionLimits, Sessions};

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
    assert_eq!(rounds.park(&mine, 8, (now, rounds.until(now)), |_| ()), Err((8, Full::All)), "no room");
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
    let mine = Binding::of(member(1), &call("a__b", "{}"));
    let full = rounds.park(&mine, 7, (now, rounds.until(now)), |_| ());
    assert_eq!(full, Err((7, Full::Member)), "and is told that it is its own doing");
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

/// A call that waits, counted while it is anywhere.
struct Call(Arc<AtomicUsize>);

impl Call {
    fn begin(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Many come at once and leave in every way there is: resumed, late, over, and with a panic where they are
/// given up. There are never more of them than may be, for all and for each member, and in the end all of the
/// room is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_caps_hold_under_contention_and_room_is_always_given_back() {
    const PARKED_MAX: usize = 20;
    let limits = RoundLimits { parked_max: PARKED_MAX as u32, round_ms_max: 10 };
    let rounds = Rounds::<Call>::new(limits).unwrap();
    let [alive, parked, refused, resumed]: [Arc<AtomicUsize>; 4] = Default::default();
    let most = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let comers = (0..32_usize).map(|comer| {
        let (rounds, alive) = (Arc::clone(&rounds), Arc::clone(&alive));
        let (parked, refused) = (Arc::clone(&parked), Arc::clone(&refused));
        let (resumed, most) = (Arc::clone(&resumed), Arc::clone(&most));
        tokio::spawn(async move {
            let binding = Binding::of(member(comer as u128 % 4), &call("a__b", "{}"));
            for turn in 0..200_usize {
                let now = Timestamp::now();
                let way = (comer + turn) % 4;
                let gives_up = move |_late: Call| assert_ne!(way, 2, "planted");
                match rounds.park(&binding, Call::begin(&alive), (now, rounds.until(now)), gives_up) {
                    Ok(state) => {
                        parked.fetch_add(1, Ordering::SeqCst);
                        let (counted, are, of_one) = rounds.open.lock().counts();
                        assert_eq!(counted, are);
                        most[0].fetch_max(are, Ordering::SeqCst);
                        most[1].fetch_max(of_one, Ordering::SeqCst);
                        match way {
                            // It may be over by now, on a busy machine.
                            0 => {
                                let came = rounds.open(&binding, &state, now).is_ok();
                                resumed.fetch_add(usize::from(came), Ordering::SeqCst);
                            }
                            1 => assert!(rounds.open(&binding, &state, now.plus_millis(11)).is_err()),
                            _ => {}
                        }
                    }
                    Err(_call) => {
                        refused.fetch_add(1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                tokio::task::yield_now().await;
            }
        })
    });
    for comer in comers.collect::<Vec<_>>() {
        comer.await.unwrap();
    }
    let began = Instant::now();
    while !rounds.open.lock().is_empty() || alive.load(Ordering::SeqCst) > 0 {
        assert!(began.elapsed() < Duration::from_secs(10), "room is kept: {:?}", rounds.open.lock().counts());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let [all, of_one] = [0, 1].map(|index| most[index].load(Ordering::SeqCst));
    assert!(all <= PARKED_MAX && of_one <= PARKED_PER_MEMBER_MAX, "{all} and {of_one}");
    assert!(all > PARKED_MAX / 2 && of_one == PARKED_PER_MEMBER_MAX, "hardly a crowd: {all} and {of_one}");
    let [parked, refused, resumed] = [parked, refused, resumed].map(|count| count.load(Ordering::SeqCst));
    assert!(
        parked > 100 && refused > 100 && resumed > 20,
        "{parked} parked, {resumed} resumed, {refused} refused"
    );
    assert_eq!(Arc::strong_count(&rounds), 1, "nothing waits for calls that have left");
}

/// However many states are open, to enter and to leave costs the same.
#[test]
fn a_call_is_parked_without_a_walk_over_all_that_is_open() {
    let kept = || Kept::Parked(Waiting::until(7, &CancellationToken::new()));
    let cost = |open: u128| {
        let mut table = Table::new(usize::MAX);
        for number in 0..open {
            let mut nonce = Nonce::default();
            nonce.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, of)| *byte = of);
            let of = member(1_000 + number / PARKED_PER_MEMBER_MAX as u128);
            assert!(table.enter(nonce, Open { member: of, until: i64::MAX, kept: kept() }, 0).is_ok());
        }
        let times = (0..5).map(|_| {
            let began = Instant::now();
            for number in 0..200_u8 {
                let nonce = [number; STATE_NONCE_BYTES];
                let open = Open { member: member(1), until: i64::MAX, kept: kept() };
                assert!(table.enter(nonce, open, 0).is_ok() && table.leave(&nonce).is_some());
            }
            began.elapsed()
        });
        times.min().unwrap()
    };
    let (few, many) = (cost(0), cost(50_000));
    println!("200 in and out: {few:?} beside none, {many:?} beside 50,000");
    assert!(many < few * 20, "{few:?} beside none, {many:?} beside 50,000");
}

#[test]
fn one_member_cannot_have_all_the_states_and_what_is_over_makes_room() {
    let (mut table, reservation) = (Table::new(1), reservation());
    let (left, call) = (CancellationToken::new(), Nonce::from([255; STATE_NONCE_BYTES]));
    let kept = Kept::Parked(Waiting::until(7, &left));
    assert!(table.enter(call, Open { member: member(3), until: 500, kept }, 0).is_ok());
    let mut enter = |number: usize, of: u128, now: i64| {
        let mut nonce = Nonce::default();
        nonce.iter_mut().zip(number.to_le_bytes()).for_each(|(byte, of)| *byte = of);
        let kept = Kept::Carried(reservation.rebate());
        table.enter(nonce, Open::<u32> { member: member(of), until: 500, kept }, now).is_ok()
    };
    assert!((0..OPEN_PER_MEMBER_MAX).all(|number| enter(number, 1, 0)));
    assert!(!enter(OPEN_PER_MEMBER_MAX, 1, 0));
    assert!(enter(OPEN_PER_MEMBER_MAX + 1, 2, 0), "another has room");
    assert!(!enter(OPEN_PER_MEMBER_MAX + 2, 1, 501), "looked for a moment ago");
    assert!(enter(OPEN_PER_MEMBER_MAX + 3, 1, 1_000), "all of them are over");
    assert!(!left.is_cancelled(), "a call is left to its deadline, which ends it as what it is");
    assert!(table.leave(&call).is_some());
}

/// A call that was counted.
fn reservation() -> Reservation {
    let caller = Scenario::new("x__y", Timestamp::from_millis(1)).caller();
    let sessions = Sessions::new(SessionLimits::default());
    let (now, conversation) = (Timestamp::now(), ConversationId::from_bytes([1; 16]));
    let session = sessions.enter(&caller, conversation, None, now).unwrap();
    let (service, tool) = (ServiceKey::parse("x").unwrap(), ToolName::parse("y").unwrap());
    let counts = CallCounts { service: &service, tool: &tool, tier: Tier::Read, permits: &[] };
    let (counted, reservation) = session.with_locked(now, |locked| locked.reserve(&counts)).unwrap();
    counted.unwrap();
    reservation.unwrap()
}
