//! What comes back, as lines for the client: one message, one line, and an answer for every request
//! whatever went wrong.
//!
//! Invariants: a line holds no line end; a request is answered under its own id, byte for byte; an
//! error says what to do next; no line shows the member key.

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// JSON-RPC: internal error.
pub const INTERNAL: i64 = -32603;
/// JSON-RPC: not a request.
pub const INVALID: i64 = -32600;
/// JSON-RPC: not JSON.
pub const PARSE: i64 = -32700;

/// The members of a message from the gate that the bridge looks at.
#[derive(Deserialize)]
pub struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Coded {
    code: i64,
}

impl<'a> Envelope<'a> {
    /// The message, where the text is one JSON object.
    pub fn read(text: &'a str) -> Option<Self> {
        let is_object = text.trim_start().starts_with('{');
        is_object.then(|| serde_json::from_str(text).ok()).flatten()
    }

    /// Whether it answers the request of this raw id.
    pub fn answers(&self, id: &str) -> bool {
        let is_answer = self.method.is_none() && (self.result.is_some() || self.error.is_some());
        is_answer && self.id.is_some_and(|own| own.get() == id)
    }

    /// The raw result.
    pub fn result(&self) -> Option<&'a str> {
        self.result.map(RawValue::get)
    }

    /// The code of an error.
    pub fn code(&self) -> Option<i64> {
        let error: Coded = serde_json::from_str(self.error?.get()).ok()?;
        Some(error.code)
    }
}

/// A message on one line. Only white space between tokens can hold a line end in JSON.
pub fn one_line(text: &str) -> Bytes {
    if text.contains(['\n', '\r']) {
        return Bytes::from(text.replace(['\n', '\r'], " "));
    }
    Bytes::copy_from_slice(text.as_bytes())
}

/// An error of the bridge's own, for the request of this raw id (`null` where it has none).
pub fn error(id: &str, code: i64, reason: &str, message: &str) -> Bytes {
    let error = json!({ "code": code, "message": message, "data": { "reason": reason } });
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}

/// The line that answers the request of this raw id, out of a body that is no event stream.
pub fn answer(id: &str, status: StatusCode, body: &str) -> Bytes {
    match Envelope::read(body) {
        Some(message) if message.answers(id) => one_line(body),
        // Refused before its id was known: the client still waits under it.
        Some(Envelope { error: Some(error), .. }) => {
            one_line(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{}}}"#, error.get()))
        }
        _ => {
            let (reason, message) = of_status(status);
            error(id, INTERNAL, reason, &message)
        }
    }
}

/// What a status without a message in its body means, and what to do.
pub fn of_status(status: StatusCode) -> (&'static str, String) {
    let (reason, what) = match status.as_u16() {
        200..=299 => {
            ("no_answer", "what answers there is no MCP server, or it said nothing: look at the URL")
        }
        300..=399 => ("redirected", "the URL leads elsewhere: give the address of the gate itself"),
        401 | 403 => ("key_refused", "the key is refused: `wicket key list AGENT` shows which are good"),
        404 => ("no_such_path", "there is no gate under this path: it usually ends in /mcp"),
        413 => ("too_large", "the message is larger than the gate takes"),
        429 => ("rate_limited", "too much at once for this key: wait a little, then try again"),
        502..=504 => ("gate_unavailable", "what stands before the gate does not reach it, or it is full"),
        _ => (
            "unexpected_status",
            "this is none of the gate's answers: look at the URL and at `wicket status`",
        ),
    };
    (reason, format!("HTTP {}: {what}", status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Bytes) -> &str {
        std::str::from_utf8(line).unwrap()
    }

    #[test]
    fn an_answer_passes_and_a_refusal_without_an_id_gets_the_requests() {
        let ok = StatusCode::OK;
        let passed = r#"{"jsonrpc":"2.0","id":"a","result":{}}"#;
        assert_eq!(text(&answer("\"a\"", ok, passed)), passed);
        assert_eq!(text(&answer("1", ok, "{\"id\":1,\r\n\"result\":{}}")), "{\"id\":1,  \"result\":{}}");
        let refused = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"no"}}"#;
        assert_eq!(
            text(&answer("7", StatusCode::UNAUTHORIZED, refused)),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"no"}}"#
        );
    }

    #[test]
    fn what_is_no_message_becomes_an_error_that_says_what_to_do() {
        for (status, body, part) in [
            (200, "", "look at the URL"),
            (200, r#"{"id":2,"result":{}}"#, "no_answer"),
            (302, "<html>", "elsewhere"),
            (401, "", "wicket key list"),
            (404, "not found", "/mcp"),
            (500, "{}", "HTTP 500"),
            (503, "busy", "gate_unavailable"),
        ] {
            let line = answer("1", StatusCode::from_u16(status).unwrap(), body);
            let message = Envelope::read(text(&line)).unwrap();
            assert!(message.answers("1") && message.code() == Some(INTERNAL), "{status}");
            assert!(text(&line).contains(part), "{status}: {}", text(&line));
        }
    }

    #[test]
    fn a_request_of_the_server_is_no_answer_though_its_id_may_be_the_same() {
        let asked = Envelope::read(r#"{"id":1,"method":"elicitation/create","params":{}}"#).unwrap();
        assert!(!asked.answers("1"));
        assert!(!Envelope::read(r#"{"id":1.0,"result":{}}"#).unwrap().answers("1"));
    }
}
