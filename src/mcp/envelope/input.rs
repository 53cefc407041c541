//! What an upstream wants to know before it can answer (MCP 2026-07-28, multi round-trip requests).
//!
//! Invariants: only what the protocol lets a server ask is read; keys, parameters and answers go on
//! unchanged; `requestState` is never looked into.

use super::EnvelopeFault;
use crate::mcp::message::Retry;
use crate::mcp::scan::{self, Kind, Limits};

/// Questions of one round.
const REQUESTS_MAX: usize = 64;

/// One question to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequest {
    /// Its name within the round.
    pub key: String,
    pub method: String,
    /// The raw JSON of its parameters, an object.
    pub params: String,
}

/// A result that is no answer yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputRequired {
    /// In the order in which they stand.
    pub requests: Vec<InputRequest>,
    /// The upstream's own, to be given back as it is.
    pub state: Option<String>,
    /// Whether it names questions at all: with none, the request is only to be made again.
    asks: bool,
}

/// Why it cannot be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputFault {
    /// It is malformed. `Display` names no content.
    Malformed(EnvelopeFault),
    TooMany,
}

impl std::fmt::Display for InputFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(fault) => write!(f, "what it asks of the client cannot be read: {fault}"),
            Self::TooMany => write!(f, "it asks more than {REQUESTS_MAX} things of the client at once"),
        }
    }
}

impl std::error::Error for InputFault {}

impl From<scan::JsonFault> for InputFault {
    fn from(fault: scan::JsonFault) -> Self {
        Self::Malformed(EnvelopeFault::Json(fault))
    }
}

fn shape(what: &'static str) -> InputFault {
    InputFault::Malformed(EnvelopeFault::Shape(what))
}

impl InputRequired {
    /// Reads a response whose result it is.
    ///
    /// # Errors
    /// [`InputFault`]: the upstream's fault, nothing can be asked.
    pub fn of_response(body: &[u8]) -> Result<Self, InputFault> {
        let fault = shape("its result cannot be read");
        let text = std::str::from_utf8(body).map_err(|_| fault.clone())?;
        let document = scan::scan_text(text, Limits::REPLY)?;
        let result = document.get("result").filter(|value| value.kind() == Kind::Object);
        Self::read(result.ok_or(fault)?.raw())
    }

    /// Reads the raw result.
    ///
    /// # Errors
    /// [`InputFault`]: the upstream's fault, nothing can be asked.
    pub fn read(result: &str) -> Result<Self, InputFault> {
        let document = scan::scan_text(result, Limits::REPLY)?;
        let state = match document.get("requestState") {
            None => None,
            Some(value) => Some(value.string().ok_or(shape("`requestState` is not a string"))?.into_owned()),
        };
        let asked = document.get("inputRequests");
        if asked.is_none() && state.is_none() {
            return Err(shape("`inputRequests` and `requestState` are both missing"));
        }
        let mut requests = Vec::new();
        if let Some(asked) = &asked {
            if asked.kind() != Kind::Object {
                return Err(shape("`inputRequests` is not an object"));
            }
            let inner = scan::scan_text(asked.raw(), Limits::REPLY)?;
            for member in inner.members() {
                if requests.len() == REQUESTS_MAX {
                    return Err(InputFault::TooMany);
                }
                let raw = asked.raw().get(member.value.clone()).unwrap_or_default();
                requests.push(question(member.key, raw)?);
            }
        }
        Ok(Self { requests, state, asks: asked.is_some() })
    }

    /// What the request is made again with; `answers` are raw results by key.
    pub fn retry(&self, answers: &[(String, String)]) -> Retry {
        let member =
            |(key, raw): &(String, String)| format!("{}:{raw}", serde_json::Value::from(key.as_str()));
        let members: Vec<String> = answers.iter().map(member).collect();
        let input_responses = self.asks.then(|| format!("{{{}}}", members.join(",")));
        Retry { input_responses, request_state: self.state.clone() }
    }
}

fn question(key: &str, raw: &str) -> Result<InputRequest, InputFault> {
    let document = scan::scan_text(raw, Limits::REPLY)?;
    let method = document.get("method").and_then(|value| value.string());
    let method = method.ok_or(shape("a request of `inputRequests` has no `method`"))?;
    if !matches!(method.as_ref(), "elicitation/create" | "sampling/createMessage" | "roots/list") {
        return Err(shape("a method of `inputRequests` is none that a client can be asked"));
    }
    let params = match document.get("params") {
        None => "{}".to_owned(),
        Some(params) if params.kind() == Kind::Object => params.raw().to_owned(),
        Some(_) => return Err(shape("the `params` of a request of `inputRequests` are not an object")),
    };
    Ok(InputRequest { key: key.to_owned(), method: method.into_owned(), params })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_read_in_their_order_and_answered_by_their_keys() {
        let read = InputRequired::read(
            r#"{"resultType":"input_required","inputRequests":{"z\u0022":{"method":"roots/list"},
               "a":{"params":{ "n":1.0},"method":"elicitation/create"}},"requestState":"s\n"}"#,
        )
        .unwrap();
        let shown: Vec<_> =
            read.requests.iter().map(|r| (r.key.as_str(), r.method.as_str(), r.params.as_str())).collect();
        assert_eq!(shown, [("z\"", "roots/list", "{}"), ("a", "elicitation/create", r#"{ "n":1.0}"#)]);
        let answers = [("z\"", r#"{"roots":[]}"#), ("a", r#"{ "x":1.50 }"#)];
        let retry = read.retry(&answers.map(|(key, raw)| (key.to_owned(), raw.to_owned())));
        assert_eq!(retry.input_responses.unwrap(), r#"{"z\"":{"roots":[]},"a":{ "x":1.50 }}"#);
        assert_eq!(retry.request_state.unwrap(), "s\n");

        let bare = InputRequired::read(r#"{"requestState":"s"}"#).unwrap();
        assert_eq!(bare.retry(&[]), Retry { input_responses: None, request_state: Some("s".to_owned()) });
        let empty = InputRequired::read(r#"{"inputRequests":{}}"#).unwrap();
        assert_eq!(empty.retry(&[]), Retry { input_responses: Some("{}".to_owned()), request_state: None });
    }

    #[test]
    fn what_cannot_be_asked_is_refused() {
        let many: Vec<String> =
            (0..=REQUESTS_MAX).map(|n| format!(r#""{n}":{{"method":"roots/list"}}"#)).collect();
        for bad in [
            "{}".to_owned(),
            r#"{"requestState":7}"#.to_owned(),
            r#"{"inputRequests":[]}"#.to_owned(),
            r#"{"inputRequests":{"a":7}}"#.to_owned(),
            r#"{"inputRequests":{"a":{"method":"tools/call"}}}"#.to_owned(),
            r#"{"inputRequests":{"a":{"method":"roots/list","params":[]}}}"#.to_owned(),
            format!(r#"{{"inputRequests":{{{}}}}}"#, many.join(",")),
        ] {
            assert!(InputRequired::read(&bad).is_err(), "{bad}");
        }
    }
}
