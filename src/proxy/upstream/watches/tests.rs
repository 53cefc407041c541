//! The table of subscriptions by itself.

use super::*;
use crate::model::Timestamp;

fn member(n: u8) -> MemberId {
    MemberId::mint(Timestamp::from_millis(1), [n; 10])
}

#[test]
fn a_subscription_is_one_for_all_who_hold_it() {
    let watches = Watches::default();
    let (a, b): (Arc<str>, Arc<str>) = (Arc::from("x://a"), Arc::from("x://b"));
    let (one, other, now) = (member(1), member(2), Instant::now());
    assert_eq!(watches.enter(&a, one), Ok(false));
    let first = watches.hold(&a, one).unwrap();
    assert_eq!(watches.sent(&a), None);
    assert_eq!(watches.enter(&a, other), Ok(true));
    assert_eq!(watches.hold(&a, other), Some(first));
    assert_eq!(watches.enter(&b, one), Ok(false));
    assert_eq!(watches.unsent(now), [Arc::clone(&b)]);
    watches.forgotten();
    assert_eq!(watches.unsent(now).len(), 2);
    watches.release(&a, one, first);
    watches.release(&a, one, first);
    let later = Instant::now() + IDLE_MAX;
    assert_eq!(watches.take_idle(later), [Arc::clone(&b)], "nobody came for it");
    watches.release(&a, other, first);
    assert_eq!(watches.take_idle(Instant::now()), [] as [Arc<str>; 0]);
    assert_eq!(watches.take_idle(Instant::now() + IDLE_MAX), [Arc::clone(&a)]);

    // A hold of the one that is gone is none of the next.
    watches.enter(&a, one).unwrap();
    let second = watches.hold(&a, one).unwrap();
    watches.release(&a, one, first);
    assert_eq!(watches.take_idle(Instant::now() + IDLE_MAX), [] as [Arc<str>; 0]);
    watches.release(&a, one, second);
    assert_eq!(watches.take_idle(Instant::now() + IDLE_MAX), [a]);
    assert!(watches.table.lock().of_member.is_empty());
}

#[test]
fn a_refusal_takes_no_subscription_away_and_is_tried_again() {
    let watches = Watches::default();
    let (uri, one, now): (Arc<str>, _, _) = (Arc::from("x://a"), member(1), Instant::now());
    watches.enter(&uri, one).unwrap();
    watches.hold(&uri, one).unwrap();
    assert_eq!(watches.refused(&uri, "no"), Some(Turn::Lost));
    assert_eq!((watches.unsent(now).len(), watches.wanted(now).len()), (0, 0));
    assert_eq!(watches.unheard(9), [(Arc::clone(&uri), Arc::from("no"))]);
    let again = Instant::now() + REFUSED_FOR_MIN;
    assert_eq!((watches.unsent(again).len(), watches.wanted(again).len()), (1, 1));
    assert_eq!(watches.failed(&uri, &UpstreamFailure::broken("cut")), None, "known already");
    assert_eq!(watches.wanted(Instant::now() + FAILED_FOR).len(), 1, "still held");
    watches.forgotten();
    assert_eq!(watches.failed(&uri, &UpstreamFailure::unreachable("down")), None);
    assert_eq!(watches.unsent(Instant::now()).len(), 1, "as soon as it is back");
    assert_eq!(watches.unheard(9), []);

    let nobody: Arc<str> = Arc::from("x://b");
    watches.enter(&nobody, one).unwrap();
    assert_eq!(watches.failed(&nobody, &UpstreamFailure::broken("cut")), None);
    assert_eq!(watches.wanted(again).len(), 1, "nobody holds the other");
}

#[test]
fn those_who_hold_it_are_told_once_that_it_is_lost_and_once_that_it_is_back() {
    let watches = Watches::default();
    let (uri, one, other): (Arc<str>, _, _) = (Arc::from("x://a"), member(1), member(2));
    watches.enter(&uri, one).unwrap();
    assert_eq!(watches.refused(&uri, "no"), None, "nobody holds it: whoever asked is answered");
    assert_eq!(watches.hold(&uri, one), None, "it cannot be held now");
    watches.forgotten();
    let generation = watches.hold(&uri, one).unwrap();
    assert_eq!(watches.sent(&uri), None, "as they believe");
    watches.forgotten();
    assert_eq!(watches.sent(&uri), None, "and as they went on believing");
    assert_eq!(watches.refused(&uri, "no"), Some(Turn::Lost));
    assert!(!watches.is_heard(&uri, generation));
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let table = watches.table.lock();
        let Standing::Refused { at, again, .. } = &table.by_uri[&uri].standing else { panic!() };
        pauses.push(again.duration_since(*at).as_secs());
        drop(table);
        assert_eq!(watches.refused(&uri, "no"), None, "they know");
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 600, 600]);
    // Somebody who came meanwhile believes otherwise.
    watches.forgotten();
    watches.enter(&uri, other).unwrap();
    watches.hold(&uri, other).unwrap();
    assert_eq!(watches.failed(&uri, &UpstreamFailure::broken("cut")), Some(Turn::Lost));
    watches.forgotten();
    assert_eq!((watches.sent(&uri), watches.is_heard(&uri, generation)), (Some(Turn::Back), true));
    assert_eq!(watches.sent(&uri), None);
    assert_eq!(watches.refused(&uri, "no"), Some(Turn::Lost), "and again");
    assert!(!watches.is_heard(&uri, generation + 1), "another's is another");
}

#[test]
fn no_member_takes_the_room_of_the_others() {
    let watches = Watches::default();
    let uri = |n: usize, of: u8| -> Arc<str> { Arc::from(format!("x://{of}/{n}")) };
    let full = |limit| Err(UpstreamFailure::TooManyWatched { limit });
    let greedy = member(0);
    for n in 0..WATCHED_OF_MEMBER_MAX {
        watches.enter(&uri(n, 0), greedy).unwrap();
        watches.hold(&uri(n, 0), greedy).unwrap();
        watches.hold(&uri(n, 0), greedy).unwrap();
    }
    assert_eq!(watches.enter(&uri(999, 0), greedy), full(WATCHED_OF_MEMBER_MAX));
    assert_eq!(watches.enter(&uri(1, 0), greedy), Ok(false), "it has that one");
    // One that it lets go of is one place, and not all of them.
    let first = watches.hold(&uri(0, 0), greedy).unwrap();
    (0..3).for_each(|_| watches.release(&uri(0, 0), greedy, first));
    watches.enter(&uri(999, 0), greedy).unwrap();
    watches.hold(&uri(999, 0), greedy).unwrap();
    assert_eq!(watches.enter(&uri(998, 0), greedy), full(WATCHED_OF_MEMBER_MAX));
    assert_eq!(watches.take_idle(Instant::now() + IDLE_MAX), [uri(0, 0)]);
    let (mut of, mut room) = (1, WATCHED_MAX - WATCHED_OF_MEMBER_MAX);
    while room > 0 {
        let share = WATCHED_OF_MEMBER_MAX.min(room);
        room -= share;
        for n in 0..share {
            watches.enter(&uri(n, of), member(of)).unwrap();
            watches.hold(&uri(n, of), member(of)).unwrap();
        }
        of += 1;
    }
    assert!(of > 7, "seven more have theirs");
    assert_eq!(watches.enter(&uri(1_000, 99), member(99)), full(WATCHED_MAX));
}
