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
