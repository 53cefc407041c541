//! What an upstream sends: responses, notifications and requests, as strictly read as a client's.
//!
//! Invariant: in what is relayed, only the id or the progress token changes; all else is the
//! upstream's, byte for byte.

mod complete;
mod input;
mod server;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::message::RequestId;
use super::scan::{self, Document, JsonFault, Kind, Limits};
use super::splice::splice;
use crate::model::OutcomeKind;

pub use input::{InputFault, InputRequest, InputRequired};
pub use server::{
    Offers, RpcRefusal, SaysEra, StatelessFault, UpstreamInfo, read_discover_result, read_initialize_result,
};

/// One message of an upstream.
#[derive(Debug, Clone)]
pub enum FromUpstream {
    /// Answers a request that the gate sent under this id.
    Response { id: u64, body: ReplyBody },
    /// Says something without wanting an answer.
    Notification { method: String, raw: NotificationBody },
    /// Asks something of the client; the id is the upstream's, `params` the raw JSON of an object (`{}`
    /// where it sent none).
    Request { id: RequestId, method: String, params: String },
}

/// A response, with the place of its id.
#[derive(Debug, Clone)]
pub struct ReplyBody {
    text: String,
    id: Range<usize>,
    /// The raw result, or the raw error.
    content: Range<usize>,
    kind: OutcomeKind,
    parts: ResultParts,
}

/// Where those members of a result lie that the stateless era asks for.
#[derive(Debug, Clone, Default)]
struct ResultParts {
    typed: bool,
    ttl: bool,
    scope: Option<Range<usize>>,
    meta: Option<Range<usize>>,
}

impl ReplyBody {
    /// The response with the client's id in the place of ours.
    pub fn with_id(&self, id: &RequestId) -> Bytes {
        splice(&self.text, self.id.clone(), id.raw())
    }

    /// `Result`, `ToolError` (a result whose `isError` is true), `InputRequired` (one whose `resultType`
    /// says so) or `RpcError`.
    pub const fn kind(&self) -> OutcomeKind {
        self.kind
    }

    /// The raw JSON of the result; nothing for an error.
    pub fn result(&self) -> Option<&str> {
        (self.kind != OutcomeKind::RpcError).then(|| self.text.get(self.content.clone())).flatten()
    }

    /// The raw JSON of the error; nothing for a result.
    pub fn raw_error(&self) -> Option<&str> {
        (self.kind == OutcomeKind::RpcError).then(|| self.text.get(self.content.clone())).flatten()
    }

    /// The code and message of an error; nothing for a result.
    pub fn error(&self) -> Option<(i64, String)> {
        let error: serde_json::Value = serde_json::from_str(self.raw_error()?).ok()?;
        Some((error.get("code")?.as_i64()?, error.get("message")?.as_str()?.to_owned()))
    }

    /// Bytes of the response as the upstream sent it.
    pub const fn len(&self) -> usize {
        self.text.len()
    }

    /// Never: a response has at least its braces.
    pub const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }
}

/// The levels of log messages, the least important first (RFC 5424).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    Debug,
    Info,
    Notice,
    Warning,
    Error,
    Critical,
    Alert,
    Emergency,
}

impl LogLevel {
    /// The level of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "debug" => Self::Debug,
            "info" => Self::Info,
            "notice" => Self::Notice,
            "warning" => Self::Warning,
            "error" => Self::Error,
            "critical" => Self::Critical,
            "alert" => Self::Alert,
            "emergency" => Self::Emergency,
            _ => return None,
        })
    }
}

/// A notification, with the place of its progress token if it has one.
#[derive(Debug, Clone)]
pub struct NotificationBody {
    text: String,
    token: Option<Range<usize>>,
}

impl NotificationBody {
    /// The progress token, where it is one that the gate could have given.
    pub fn progress_token(&self) -> Option<u64> {
        self.text.get(self.token.clone()?)?.parse().ok()
    }

    /// The notification with the client's token (raw JSON) in the place of ours; as it came where it
    /// has none.
    pub fn with_token(&self, token: &str) -> Bytes {
        match &self.token {
            Some(place) => splice(&self.text, place.clone(), token),
            None => Bytes::copy_from_slice(self.text.as_bytes()),
        }
    }

    /// `params.level` of a log message.
    pub fn log_level(&self) -> Option<LogLevel> {
        let document = scan::scan_text(&self.text, Limits::REPLY).ok()?;
        LogLevel::parse(&document.get_in("params", "level")?.string()?)
    }

    /// The request that a `notifications/cancelled` names.
    pub fn cancelled(&self) -> Option<RequestId> {
        let document = scan::scan_text(&self.text, Limits::REPLY).ok()?;
        RequestId::of(&document.get_in("params", "requestId")?)
    }

    /// The notification as it came.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Why what an upstream sent is no message. `Display` names no content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvelopeFault {
    /// No strict JSON.
    Json(JsonFault),
    /// JSON, but not one JSON-RPC message that the gate can have been sent.
    Shape(&'static str),
}

impl fmt::Display for EnvelopeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "the upstream sent invalid JSON: {fault}"),
            Self::Shape(what) => write!(f, "the upstream sent no JSON-RPC message: {what}"),
        }
    }
}

impl std::error::Error for EnvelopeFault {}

impl From<JsonFault> for EnvelopeFault {
    fn from(fault: JsonFault) -> Self {
        Self::Json(fault)
    }
}

/// Reads one message of an upstream: a JSON body, a line on stdio, or the data of an event.
///
/// # Errors
/// [`EnvelopeFault`]; the exchange is broken then, since nobody knows what the upstream meant.
pub fn read_upstream(body: Bytes, limits: Limits) -> Result<FromUpstream, EnvelopeFault> {
    let text = String::from_utf8(Vec::from(body)).map_err(|e| JsonFault::of_encoding(e.utf8_error()))?;
    let document = scan::scan_text(&text, limits)?;
    if document.root().kind() != Kind::Object {
        return Err(EnvelopeFault::Shape("it is not an object"));
    }
    if document.get("jsonrpc").is_none_or(|version| version.raw() != "\"2.0\"") {
        return Err(EnvelopeFault::Shape("`jsonrpc` is not \"2.0\""));
    }
    let Some(method) = document.get("method") else {
        let (id, places) = response(&document)?;
        return Ok(FromUpstream::Response { id, body: places.in_text(text) });
    };
    let method = method.string().ok_or(EnvelopeFault::Shape("`method` is not a string"))?.into_owned();
    if document.get("result").is_some() || document.get("error").is_some() {
        return Err(EnvelopeFault::Shape("it is a request and a response at once"));
    }
    match document.get("id") {
        Some(id) => {
            let id = RequestId::of(&id).ok_or(EnvelopeFault::Shape("`id` is not a string or an integer"))?;
            let params = match document.get("params") {
                None => "{}".to_owned(),
                Some(params) if params.kind() == Kind::Null => "{}".to_owned(),
                Some(params) if params.kind() == Kind::Object => params.raw().to_owned(),
                Some(_) => return Err(EnvelopeFault::Shape("`params` is not an object")),
            };
            Ok(FromUpstream::Request { id, method, params })
        }
        None => {
            let token = document.get_in("params", "progressToken").map(|value| value.range());
            Ok(FromUpstream::Notification { method, raw: NotificationBody { text, token } })
        }
    }
}

/// Where the parts of a response lie.
struct Places {
    id: Range<usize>,
    content: Range<usize>,
    kind: OutcomeKind,
    parts: ResultParts,
}

impl Places {
    fn in_text(self, text: String) -> ReplyBody {
        let Self { id, content, kind, parts } = self;
        ReplyBody { text, id, content, kind, parts }
    }
}

fn response(document: &Document<'_>) -> Result<(u64, Places), EnvelopeFault> {
    let shape = EnvelopeFault::Shape;
    let id = document.get("id").ok_or(shape("it has neither `method` nor `id`"))?;
    // The gate numbers its requests; any other id answers nothing that was asked.
    let number = id.is_integer().then(|| id.raw().parse().ok()).flatten();
    let number: u64 = number.ok_or(shape("`id` is none that the gate has sent"))?;
    let mut parts = ResultParts::default();
    let (content, kind) = match (document.get("result"), document.get("error")) {
        (Some(result), None) if result.kind() == Kind::Object => {
            let of = |key: &str| document.get_in("result", key);
            let failed = of("isError").is_some_and(|flag| flag.raw() == "true");
            let typed = of("resultType");
            let asks = typed.as_ref().is_some_and(|t| t.string().is_some_and(|t| t == "input_required"));
            parts = ResultParts {
                typed: typed.is_some(),
                ttl: of("ttlMs").is_some(),
                scope: of("cacheScope").map(|value| value.range()),
                meta: of("_meta").map(|value| value.range()),
            };
            let kind = match (asks, failed) {
                (true, _) => OutcomeKind::InputRequired,
                (false, true) => OutcomeKind::ToolError,
                (false, false) => OutcomeKind::Result,
            };
            (result, kind)
        }
        (None, Some(error)) if error.kind() == Kind::Object => {
            let code = document.get_in("error", "code").is_some_and(|code| code.is_integer());
            let message = document.get_in("error", "message").is_some_and(|m| m.kind() == Kind::String);
            if !code || !message {
                return Err(shape("`error` lacks an integer `code` or a `message`"));
            }
            (error, OutcomeKind::RpcError)
        }
        _ => return Err(shape("it has not exactly one of `result` and `error`, an object")),
    };
    Ok((number, Places { id: id.range(), content: content.range(), kind, parts }))
}

#[cfg(test)]
mod tests;
