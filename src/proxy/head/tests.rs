//! The head is read as the specifications say, table by table.

use super::*;

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(*name, value.parse().unwrap());
    }
    map
}

#[test]
fn the_callers_address_is_the_rightmost_that_nobody_trusted_added() {
    let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let check = |peer: &str, lines: &[(&'static str, &str)], expect: &str| {
        let ip: IpAddr = peer.parse().unwrap();
        let peer = Peer { ip, trusted: trusted.iter().any(|network| network.contains(&ip)) };
        assert_eq!(caller_ip(&headers(lines), peer, &trusted).to_string(), expect, "{lines:?}");
    };
    check("203.0.113.1", &[("x-forwarded-for", "1.2.3.4")], "203.0.113.1");
    check("10.0.0.1", &[], "10.0.0.1");
    check("10.0.0.1", &[("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.1.1.1")], "198.51.100.7");
    check("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.7")], "198.51.100.7");
    check("10.0.0.1", &[("forwarded", "for=1.1.1.1;proto=https, for=\"[2001:db9::5]:443\"")], "2001:db9::5");
    check("10.0.0.1", &[("forwarded", "for=198.51.100.9:8080")], "198.51.100.9");
    check("10.0.0.1", &[("forwarded", "for=1.1.1.1, for=unknown")], "10.0.0.1");
    check("10.0.0.1", &[("x-forwarded-for", "10.2.2.2")], "10.0.0.1");
    check("10.0.0.1", &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "198.51.100.7")], "10.0.0.1");
    check("10.0.0.1", &[("forwarded", "for=1.1.1.1"), ("x-forwarded-for", "1.1.1.1")], "1.1.1.1");
    check("10.0.0.1", &[("x-forwarded-for", "::ffff:198.51.100.7")], "198.51.100.7");
}

#[test]
fn a_body_stands_for_itself() {
    let check = |lines: &[(&'static str, &str)], expect: bool| {
        let mut head = headers(lines);
        head.insert("accept", "*/*".parse().unwrap());
        head.insert("content-type", "application/json".parse().unwrap());
        let refused = check_post(&head, 1_000).is_err_and(|row| row == Refusal::UnsupportedMediaType);
        assert_eq!(!refused, expect, "{lines:?}");
    };
    check(&[], true);
    check(&[("content-encoding", "identity")], true);
    check(&[("content-encoding", "")], true);
    check(&[("content-encoding", "gzip")], false);
    check(&[("content-encoding", "identity, br")], false);
    check(&[("content-encoding", "identity"), ("content-encoding", "zstd")], false);
    check(&[("content-encoding", "unheard-of")], false);
}

#[test]
fn both_media_types_must_be_accepted() {
    let check = |accept: &[(&'static str, &str)], expect: bool| {
        assert_eq!(accepts_both(&headers(accept)), expect, "{accept:?}")
    };
    check(&[("accept", "application/json, text/event-stream")], true);
    check(&[("accept", "text/event-stream;q=0.9, Application/JSON")], true);
    check(&[("accept", "application/json"), ("accept", "text/*")], true);
    check(&[("accept", "*/*")], true);
    check(&[("accept", "application/json")], false);
    check(&[], false);
}

#[test]
fn a_body_is_json_in_utf_8() {
    let check = |value: &str, expect: bool| {
        assert_eq!(is_json(&headers(&[("content-type", value)])), expect, "{value}")
    };
    check("application/json", true);
    check("Application/JSON ; charset=\"UTF-8\"", true);
    check("application/json; charset=utf-16", false);
    check("application/json; charset", false);
    check("text/json", false);
    assert!(!is_json(&headers(&[])));
    assert!(!is_json(&headers(&[
        ("content-type", "application/json"),
        ("content-type", "application/json")
    ])));
}

#[test]
fn the_ladder_of_conversations_takes_the_first_that_counts() {
    let now = crate::model::Timestamp::from_millis(1);
    let who = (MemberId::mint(now, [1; 10]), KeyId::mint(now, [2; 10]), "203.0.113.1".parse().unwrap());
    let of =
        |lines: &[(&'static str, &str)], minted| conversation(&headers(lines), Some("chat-9"), minted, who);
    let named = |name: &str, value: &str| session::conversation(who.0, name, value).unwrap();

    let all = [("x-wicket-session-id", "w"), ("mcp-session-id", "m"), ("x-mcp-session-id", "x")];
    assert_eq!(of(&all, true), named("x-wicket-session-id", "w"));
    assert_eq!(of(&all[1..], true), named("mcp-session-id", "m"));
    assert_eq!(of(&all[1..], false), named("x-mcp-session-id", "x"));
    assert_eq!(of(&all[1..2], false), named("baggage", "chat-9"));
    assert_eq!(of(&[("x-wicket-session-id", &"x".repeat(129))], false), named("baggage", "chat-9"));

    let alone = |agent: &str| conversation(&headers(&[("user-agent", agent)]), None, false, who);
    assert_eq!(alone("a"), alone("a"));
    assert_ne!(alone("a"), alone("b"));
}
