//! Which conversation a call belongs to (decision 10). Pure: the proxy walks the ladder of headers
//! and asks here. The outcome is always bound to the member, so that no value that a caller can
//! choose reaches another member's session.

use std::net::IpAddr;

use crate::model::{ConversationId, Digest, KeyId, MemberId};

/// Characters of a conversation's identifier at most.
pub const CONVERSATION_CHARS_MAX: usize = 128;

/// The conversation that a client named in the header (or baggage key) `source_name`; `None` where
/// the value is empty, longer than [`CONVERSATION_CHARS_MAX`] or not printable ASCII: then the next
/// source is asked. Header names are compared without regard to case.
pub fn conversation(member: MemberId, source_name: &str, value: &str) -> Option<ConversationId> {
    let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if value.is_empty() || value.len() > CONVERSATION_CHARS_MAX || !printable {
        return None;
    }
    let source = source_name.to_ascii_lowercase();
    Some(shortened([b"named".as_slice(), member.as_uuid().as_bytes(), source.as_bytes(), value.as_bytes()]))
}

/// The conversation of a client that names none: its address, user agent and key (specification 2).
pub fn fingerprint(member: MemberId, key: KeyId, ip: IpAddr, user_agent: &str) -> ConversationId {
    let ip = ip.to_canonical().to_string();
    let (member, key) = (member.as_uuid().as_bytes(), key.as_uuid().as_bytes());
    shortened([b"fingerprint".as_slice(), member, key, ip.as_bytes(), user_agent.as_bytes()])
}

fn shortened<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> ConversationId {
    let parts = std::iter::once(b"wicket/conversation/v1".as_slice()).chain(parts);
    let digest = Digest::of_parts(parts);
    let mut short = [0; 16];
    for (to, from) in short.iter_mut().zip(digest.as_bytes()) {
        *to = *from;
    }
    ConversationId::from_bytes(short)
}

/// Mints an `Mcp-Session-Id` out of 128 random bits: 32 hexadecimal digits (visible ASCII, MCP
/// 2025-11-25, session management), and the digest under which alone it is kept.
pub fn mcp_session_id(random: [u8; 16]) -> (String, Digest) {
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = mcp_session_digest(&text);
    (text, digest)
}

/// The digest of a presented `Mcp-Session-Id`.
pub fn mcp_session_digest(text: &str) -> Digest {
    Digest::of_parts([b"wicket/mcp-session/v1".as_slice(), text.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn member(n: u8) -> MemberId {
        MemberId::mint(Timestamp::from_millis(1), [n; 10])
    }

    #[test]
    fn a_conversation_is_bound_to_member_source_and_value() {
        let one = conversation(member(1), "X-Wicket-Session-Id", "a").unwrap();
        assert_eq!(conversation(member(1), "x-wicket-session-id", "a"), Some(one));
        assert_ne!(conversation(member(2), "x-wicket-session-id", "a"), Some(one));
        assert_ne!(conversation(member(1), "mcp-session-id", "a"), Some(one));
        assert_ne!(conversation(member(1), "x-wicket-session-id", "A"), Some(one));
    }

    #[test]
    fn only_short_printable_ascii_names_a_conversation() {
        let longest = "x".repeat(128);
        for good in ["a", "a b", "~", longest.as_str()] {
            assert!(conversation(member(1), "h", good).is_some(), "{good}");
        }
        for bad in ["", "a\n", "\u{7f}", "é", "x\0", &"x".repeat(129)] {
            assert!(conversation(member(1), "h", bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_fingerprint_differs_by_each_of_its_parts() {
        let key = |n| KeyId::mint(Timestamp::from_millis(1), [n; 10]);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let base = fingerprint(member(1), key(1), ip("10.0.0.1"), "ua");
        assert_eq!(base, fingerprint(member(1), key(1), ip("::ffff:10.0.0.1"), "ua"));
        for other in [
            fingerprint(member(2), key(1), ip("10.0.0.1"), "ua"),
            fingerprint(member(1), key(2), ip("10.0.0.1"), "ua"),
            fingerprint(member(1), key(1), ip("10.0.0.2"), "ua"),
            fingerprint(member(1), key(1), ip("10.0.0.1"), "ub"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_minted_id_is_visible_ascii_and_found_by_its_digest() {
        let (text, digest) = mcp_session_id([0xa5; 16]);
        assert_eq!(text, "a5".repeat(16));
        assert_eq!(mcp_session_digest(&text), digest);
    }
}
