//! What came of one call: an answer, a denial, or a fault of a kind that can be counted and acted on.

use std::borrow::Cow;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mcp::sse;

/// Characters of a message that are kept as an example.
const EXAMPLE_CHARS_MAX: usize = 200;
/// Characters of a kind that somebody else named.
const KIND_CHARS_MAX: usize = 40;
/// What a denial by policy begins with (decision 13).
const DENIAL: &str = "Authorization denied";

/// What came of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A result, one that reports the tool's own failure among them.
    Answered,
    /// The policies refused it: a decision, not a fault.
    Denied(Fault),
    /// Anything else.
    Failed(Fault),
}

/// A kind of fault, and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Short, the same for all of one kind.
    pub kind: String,
    pub example: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(kind: impl Into<String>, example: impl Into<String>) -> Self {
        let clip = |text: String, max: usize| text.chars().filter(|c| !c.is_control()).take(max).collect();
        Self { kind: clip(kind.into(), KIND_CHARS_MAX), example: clip(example.into(), EXAMPLE_CHARS_MAX) }
    }
}

#[derive(Deserialize)]
struct Reply<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<RpcError<'a>>,
}

#[derive(Deserialize)]
struct RpcError<'a> {
    code: i64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    data: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct CallResult {
    #[serde(default, rename = "isError")]
    is_error: bool,
}

/// Judges the reply to the request of this id. A tool's own failure (`isError`) is a fault of the kind
/// `tool_error`: what answers fast because it fails is no answer.
pub fn judge(status: StatusCode, events: bool, body: &Bytes, id: u64) -> Verdict {
    match message(events, body, id) {
        Ok(text) => judge_message(status, &text),
        Err(fault) if status.is_success() => Verdict::Failed(fault),
        Err(_) => Verdict::Failed(of_status(status, body)),
    }
}

/// The result of the reply to the request of this id.
///
/// # Errors
/// What was said instead.
pub fn result_of(status: StatusCode, events: bool, body: &Bytes, id: u64) -> Result<Box<RawValue>, Fault> {
    let text = message(events, body, id)
        .map_err(|fault| if status.is_success() { fault } else { of_status(status, body) })?;
    let reply: Reply<'_> = parse(&text)?;
    match (reply.result, reply.error) {
        (Some(result), None) if status == StatusCode::OK => Ok(result.to_owned()),
        (_, Some(error)) => Err(of_error(status, error)),
        _ => Err(of_status(status, text.as_bytes())),
    }
}

/// Reads a JSON object; an array would be taken for one by position.
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    if !text.trim_start().starts_with('{') {
        return Err("it is no JSON object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<Reply<'_>, Fault> {
    object(text).map_err(|why| Fault::new("no JSON-RPC reply", why))
}

/// The text of the JSON-RPC reply with this id: the whole body, or one event among others.
fn message(events: bool, body: &Bytes, id: u64) -> Result<Cow<'_, str>, Fault> {
    let no_reply = |why: &str| Fault::new("no JSON-RPC reply", why);
    let text = std::str::from_utf8(body).map_err(|_| no_reply("the reply is not UTF-8"))?;
    let is_ours = |text: &str| {
        let reply = object::<Reply<'_>>(text).ok()?;
        let of_nobody = reply.id.is_none_or(|id| id.get() == "null");
        (of_nobody && reply.error.is_some() || reply.id?.get() == id.to_string()).then_some(())
    };
    if !events {
        return is_ours(text).map(|()| Cow::Borrowed(text)).ok_or_else(|| no_reply("no reply to this id"));
    }
    let all = sse::Decoder::new(body.len()).push(body).map_err(|fault| no_reply(&fault.to_string()))?;
    let ours = all.into_iter().map(|event| event.data).find(|data| is_ours(data).is_some());
    ours.map(Cow::Owned).ok_or_else(|| no_reply("the stream ended without a reply to this id"))
}

fn judge_message(status: StatusCode, text: &str) -> Verdict {
    let reply = match parse(text) {
        Ok(reply) => reply,
        Err(fault) => return Verdict::Failed(fault),
    };
    match (reply.result, reply.error) {
        (Some(result), None) if status == StatusCode::OK => match object::<CallResult>(result.get()) {
            Ok(CallResult { is_error: false }) => Verdict::Answered,
            Ok(CallResult { is_error: true }) => Verdict::Failed(Fault::new("tool_error", result.get())),
            Err(_) => Verdict::Failed(Fault::new("no JSON-RPC reply", "the result is no call's result")),
        },
        (_, Some(error)) if error.message.starts_with(DENIAL) => Verdict::Denied(of_error(status, error)),
        (_, Some(error)) => Verdict::Failed(of_error(status, error)),
        _ => Verdict::Failed(of_status(status, text.as_bytes())),
    }
}

/// By the gate's own short word (`error.data.reason`), else by code.
fn of_error(status: StatusCode, error: RpcError<'_>) -> Fault {
    let reason = error.data.as_ref().and_then(|data| data.get("reason")).and_then(serde_json::Value::as_str);
    let kind = reason.map_or_else(|| format!("JSON-RPC error {}", error.code), str::to_owned);
    Fault::new(kind, format!("HTTP {}: {}", status.as_u16(), error.message))
}

fn of_status(status: StatusCode, body: &[u8]) -> Fault {
    Fault::new(format!("HTTP {}", status.as_u16()), String::from_utf8_lossy(body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, events: bool, body: &str, expect: &str) {
        let status = StatusCode::from_u16(status).unwrap();
        let got = match judge(status, events, &Bytes::copy_from_slice(body.as_bytes()), 7) {
            Verdict::Answered => "answered".to_owned(),
            Verdict::Denied(fault) => format!("denied: {}", fault.kind),
            Verdict::Failed(fault) => format!("failed: {}", fault.kind),
        };
        assert_eq!(got, expect, "{status} {body}");
    }

    #[test]
    fn each_reply_is_of_one_kind() {
        let denied = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"Authorization denied: tool 'x' is not permitted for agent 'y'","data":{"reason":"no_permit"}}}"#;
        let limited = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"Rate limit exceeded","data":{"reason":"rate_limited"}}}"#;
        let unknown = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"Unknown member key"}}"#;
        let stream = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"content\":[]}}\n\n";
        for (status, events, body, expect) in [
            (200, false, r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"isError":false}}"#, "answered"),
            (200, false, r#"{"jsonrpc":"2.0","id":7,"result":{"isError":true}}"#, "failed: tool_error"),
            (200, false, r#"{"jsonrpc":"2.0","id":7,"result":[]}"#, "failed: no JSON-RPC reply"),
            (200, false, r#"{"jsonrpc":"2.0","id":8,"result":{}}"#, "failed: no JSON-RPC reply"),
            (502, false, r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, "failed: HTTP 502"),
            (200, false, denied, "denied: no_permit"),
            (429, false, limited, "failed: rate_limited"),
            (401, false, unknown, "failed: JSON-RPC error -32600"),
            (502, false, "<html>Bad Gateway</html>", "failed: HTTP 502"),
            (200, false, "", "failed: no JSON-RPC reply"),
            (200, true, stream, "answered"),
            (
                200,
                true,
                "data: {\"jsonrpc\":\"2.0\",\"id\":8,\"result\":{}}\n\n",
                "failed: no JSON-RPC reply",
            ),
            (200, true, "data: {\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{}}", "failed: no JSON-RPC reply"),
        ] {
            check(status, events, body, expect);
        }
    }

    #[test]
    fn what_others_say_is_clipped_and_has_no_control_characters() {
        let fault = Fault::new("k".repeat(90), format!("\u{1b}[31m{}", "e".repeat(900)));
        assert_eq!((fault.kind.len(), fault.example.len()), (KIND_CHARS_MAX, EXAMPLE_CHARS_MAX));
        assert!(!fault.example.contains('\u{1b}'));
    }
}
