//! What a request's head says, checked once: path, method, origin, media types, revision, who is
//! really asking, and which conversation the call belongs to.
//!
//! Invariant: what the rest of the data plane needs of the head is taken here; no header travels on.

use std::net::IpAddr;

use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ORIGIN, USER_AGENT};
use http::{HeaderMap, Method, request::Parts};
use ipnet::IpNet;

use crate::mcp::Refusal;
use crate::model::{ConversationId, KeyId, MemberId};
use crate::session;

use super::listener::Peer;
use super::mirror;

/// The one path of the agents' listener.
pub const PATH: &str = "/mcp";
/// What a 405 names. `DELETE` ends a session; `GET` opens the stream of one, and is nothing without.
pub const ALLOWED_METHODS: &str = "POST, DELETE";
const EVENT_STREAM: &str = "text/event-stream";
/// Characters of a user agent that are looked at.
const USER_AGENT_CHARS_MAX: usize = 256;
/// Headers in which clients name their conversation, first present one wins (decision 10,
/// specification 2). `mcp-session-id` counts only if this gate minted it.
const CONVERSATION_HEADERS: [&str; 5] = [
    "x-wicket-session-id",
    "x-claude-code-session-id",
    MCP_SESSION_ID,
    "openai-conversation-id",
    "x-mcp-session-id",
];
/// The session header of the session era.
pub const MCP_SESSION_ID: &str = "mcp-session-id";
pub const PROTOCOL_VERSION: &str = "mcp-protocol-version";

/// Checks what can be checked before anyone is identified.
///
/// # Errors
/// The row of the table of refusals.
pub fn check(parts: &Parts, allowed_origins: &[String]) -> Result<(), Refusal> {
    if parts.uri.path().trim_end_matches('/') != PATH {
        return Err(Refusal::NoSuchPath);
    }
    let mut origins = parts.headers.get_all(ORIGIN).iter();
    if let Some(origin) = origins.next() {
        let allowed = origin.to_str().is_ok_and(|origin| allowed_origins.iter().any(|known| known == origin));
        if !allowed || origins.next().is_some() {
            return Err(Refusal::OriginNotAllowed);
        }
    }
    let streams = parts.method == Method::GET && parts.headers.contains_key(MCP_SESSION_ID);
    if parts.method != Method::POST && parts.method != Method::DELETE && !streams {
        return Err(Refusal::MethodNotAllowed { allow: ALLOWED_METHODS });
    }
    Ok(())
}

/// Checks the media types of a POST.
///
/// # Errors
/// The row of the table of refusals.
pub fn check_post(headers: &HeaderMap, body_bytes_max: u32) -> Result<(), Refusal> {
    if !accepts_both(headers) {
        return Err(Refusal::NotAcceptable);
    }
    if !is_json(headers) || is_encoded(headers) {
        return Err(Refusal::UnsupportedMediaType);
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let too_large = |text: &str| text.parse::<u64>().is_ok_and(|length| length > u64::from(body_bytes_max));
    if length.is_some_and(too_large) {
        return Err(Refusal::TooLarge { bytes_max: u64::from(body_bytes_max) });
    }
    Ok(())
}

/// Checks the media types and the revision of a GET, which only the session era has.
///
/// # Errors
/// The row of the table of refusals.
pub fn check_get(headers: &HeaderMap) -> Result<(), Refusal> {
    if accepts(headers, EVENT_STREAM) {
        mirror::revision(headers).map(drop)
    } else {
        Err(Refusal::NotAcceptable)
    }
}

/// Media ranges of `Accept` that cover both JSON and event streams (MCP 2025-11-25, transports).
fn accepts_both(headers: &HeaderMap) -> bool {
    accepts(headers, "application/json") && accepts(headers, EVENT_STREAM)
}

fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let (kind, _) = wanted.split_once('/').unwrap_or((wanted, ""));
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .any(|range| {
            range.eq_ignore_ascii_case(wanted)
                || range == "*/*"
                || range.strip_suffix("/*").is_some_and(|prefix| prefix.eq_ignore_ascii_case(kind))
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let mut parts = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"));
    // JSON is UTF-8 (RFC 8259, 8.1); a body that calls itself something else is not read as if it were.
    let foreign = |part: &str| {
        let (name, charset) = part.split_once('=').unwrap_or((part, ""));
        name.trim().eq_ignore_ascii_case("charset")
            && !charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    is_json && !parts.any(foreign)
}

/// Whether the body is not the JSON itself but something that stands for it (RFC 9110, 8.4): it is decided
/// on as it came, so it is not unpacked.
fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = headers.get_all(CONTENT_ENCODING).iter();
    let names = codings.flat_map(|value| value.to_str().unwrap_or("?").split(',').map(str::trim));
    names.filter(|name| !name.is_empty()).any(|name| !name.eq_ignore_ascii_case("identity"))
}

/// The caller's address: the peer's, unless the peer is a trusted proxy; then the rightmost address
/// of `Forwarded` or `X-Forwarded-For` that is not itself one (decision 21).
pub fn caller_ip(headers: &HeaderMap, peer: Peer, trusted: &[IpNet]) -> IpAddr {
    if !peer.trusted {
        return peer.ip;
    }
    let listed = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).map(|item| item.trim().to_owned()).collect()
    };
    let forwarded: Vec<String> = listed("forwarded").iter().map(|item| forwarded_for(item)).collect();
    let x_forwarded_for = listed("x-forwarded-for");
    let last_of = |hops: &[String]| outermost(hops, peer, trusted);
    match (forwarded.is_empty(), x_forwarded_for.is_empty()) {
        (true, true) => peer.ip,
        (false, true) => last_of(&forwarded),
        (true, false) => last_of(&x_forwarded_for),
        // A proxy writes one of them; the other may be the client's own invention.
        (false, false) => {
            let (one, other) = (last_of(&forwarded), last_of(&x_forwarded_for));
            if one == other { one } else { peer.ip }
        }
    }
}

fn outermost(hops: &[String], peer: Peer, trusted: &[IpNet]) -> IpAddr {
    for hop in hops.iter().rev() {
        match address(hop) {
            Some(ip) if trusted.iter().any(|network| network.contains(&ip)) => {}
            Some(ip) => return ip,
            // What a proxy could not name, nobody vouches for: the nearest known hop stands.
            None => return peer.ip,
        }
    }
    peer.ip
}

fn forwarded_for(item: &str) -> String {
    let pair = item.split(';').filter_map(|pair| pair.split_once('='));
    let value =
        pair.filter(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map(|(_, value)| value).next();
    value.unwrap_or_default().trim().trim_matches('"').to_owned()
}

/// An address with or without port, IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(text, |(bare, _)| bare);
    let ip: Option<IpAddr> = bare.parse().ok();
    ip.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip()))
        .map(|ip| ip.to_canonical())
}

/// The conversation of a call: the ladder of decision 10. `minted` tells whether the
/// `Mcp-Session-Id` is one of ours, `baggage` is the body's `gen_ai.conversation.id`.
pub fn conversation(
    headers: &HeaderMap,
    baggage: Option<&str>,
    minted: bool,
    (member, key, ip): (MemberId, KeyId, IpAddr),
) -> ConversationId {
    let counted = CONVERSATION_HEADERS.iter().filter(|name| minted || **name != MCP_SESSION_ID);
    let mut of_headers = counted.filter_map(|name| named(headers, member, name));
    let of_baggage = || {
        let header = headers.get("baggage").and_then(|value| value.to_str().ok());
        let value = header
            .and_then(crate::mcp::message::conversation_id_of_baggage)
            .or_else(|| baggage.map(str::to_owned));
        value.and_then(|value| session::conversation(member, "baggage", &value))
    };
    of_headers.next().or_else(of_baggage).unwrap_or_else(|| {
        let user_agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let user_agent: String = user_agent.chars().take(USER_AGENT_CHARS_MAX).collect();
        session::fingerprint(member, key, ip, &user_agent)
    })
}

/// Whether a header names the conversation that comes before the `Mcp-Session-Id` on the ladder.
pub fn names_conversation_before_mcp(headers: &HeaderMap, member: MemberId) -> bool {
    let before = CONVERSATION_HEADERS.iter().take_while(|name| **name != MCP_SESSION_ID);
    before.into_iter().any(|name| named(headers, member, name).is_some())
}

fn named(headers: &HeaderMap, member: MemberId, name: &str) -> Option<ConversationId> {
    session::conversation(member, name, headers.get(name)?.to_str().ok()?)
}

#[cfg(test)]
#[path = "head/tests.rs"]
mod tests;
