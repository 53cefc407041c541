//! Receivers by themselves.

use std::time::Duration;

use super::*;
use crate::policy::Scenario;
use crate::session::{SessionLimits, Sessions};

#[test]
fn a_session_that_waits_for_something_is_not_idle() {
    let caller = Scenario::new("x__y", Timestamp::from_millis(1)).caller();
    let sessions = Sessions::new(SessionLimits::default());
    let session = sessions.enter(&caller, ConversationId::from_bytes([1; 16]), None, Timestamp::now());
    let room = crate::proxy::streams::room::Room::default();
    let share = || room.of(caller.member.id);
    let mailbox = Mailbox::new(caller.clone(), session.unwrap(), None, Wants::default(), share());
    let later = Instant::now() + Duration::from_secs(3_600);
    assert!(mailbox.is_idle(later));
    let service = ServiceKey::parse("s").unwrap();
    let post = mailbox.posts.begin(mailbox.nonce, service.clone(), share());
    mailbox.posts.sweep(later);
    assert!(!mailbox.is_idle(later), "its reply is under way");
    post.end(super::super::posts::Ended::Whole);
    assert!(!mailbox.is_idle(later), "and kept for a while");
    mailbox.posts.sweep(later);
    assert!(mailbox.is_idle(later));
    assert!(mailbox.subscribe(Arc::from("x://1"), service, Hold::of_nothing()));
    assert!(!mailbox.is_idle(Instant::now() + Duration::from_secs(3_600)));
    mailbox.unsubscribe("x://1");
    assert!(mailbox.is_idle(Instant::now() + Duration::from_secs(3_600)));
    let (stream, _) = mailbox.open(None);
    assert!(!mailbox.is_idle(Instant::now() + Duration::from_secs(3_600)));
    mailbox.closed(stream);
}

#[test]
fn levels_are_ranked() {
    for (level, least, expect) in [
        ("error", "warning", true),
        ("warning", "warning", true),
        ("info", "warning", false),
        ("odd", "debug", true),
        ("odd", "info", false),
        ("error", "odd", false),
    ] {
        assert_eq!(reaches(level, least), expect, "{level} {least}");
    }
}

/// Receivers of one member that share the room.
fn receivers(count: usize) -> Vec<Mailbox> {
    let caller = Scenario::new("x__y", Timestamp::from_millis(1)).caller();
    let sessions = Sessions::new(SessionLimits::default());
    let session =
        sessions.enter(&caller, ConversationId::from_bytes([1; 16]), None, Timestamp::now()).unwrap();
    let room = crate::proxy::streams::room::Room::default();
    let receiver = |_| {
        let share = room.of(caller.member.id);
        Mailbox::new(caller.clone(), session.clone(), None, Wants::default(), share)
    };
    (0..count).map(receiver).collect()
}

#[test]
fn news_of_another_service_are_not_those_that_were_asked_for() {
    let mailbox = receivers(1).pop().unwrap();
    let [own, other] = ["own", "other"].map(|name| ServiceKey::parse(name).unwrap());
    let uri: Arc<str> = Arc::from("x://1");
    assert!(mailbox.subscribe(Arc::clone(&uri), own.clone(), Hold::of_nothing()));
    for (service, uri, expect) in [(&own, "x://1", true), (&other, "x://1", false), (&own, "x://2", false)] {
        let kind = NewsKind::ResourceUpdated { uri: Arc::from(uri), told: Arc::new(Told::updated(uri)) };
        assert_eq!(mailbox.asked_for(&News { service: service.clone(), kind }), expect, "{service} {uri}");
        let kind = NewsKind::Unheard { uri: Arc::from(uri) };
        assert_eq!(mailbox.asked_for(&News { service: service.clone(), kind }), expect, "{service} {uri}");
    }
}

#[test]
fn receivers_of_one_member_that_take_too_much_begin_anew() {
    let all = receivers(100);
    let large = Arc::new(Told::line("warning", &json!("x".repeat(100_000))));
    let next: Vec<Next> = all
        .iter()
        .map(|mailbox| {
            let (stream, place) = mailbox.open(None);
            mailbox.put(Arc::clone(&large));
            mailbox.next(stream, place)
        })
        .collect();
    let kept = next.iter().filter(|next| matches!(next, Next::Event(..))).count();
    let anew = next.iter().filter(|next| matches!(next, Next::Anew(..))).count();
    assert_eq!((kept + anew, kept), (100, 8 * 1024 * 1024 / 100_000), "eight MiB are kept for a member");
}
