//! What a client sends: one JSON-RPC request, notification or response in one body, of either era.
//!
//! Invariants: a body is scanned strictly before a member of it is read; a batch is refused in every
//! revision; an id is a string or an integer and is given back exactly as it was written; nothing
//! that was not read here is sent on.

mod baggage;

pub use baggage::conversation_id_of_baggage;
mod call;
mod id;
mod meta;
mod method;
mod operation;
mod progress;

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

pub use call::{CallRequest, Retry, ToUpstream};
pub use id::{ID_BYTES_MAX, RequestId};
pub use meta::for_upstream as meta_for_upstream;
pub use method::Method;
pub use operation::Target;
pub use progress::ClientProgress;

use super::client::{Capabilities, ClientFace};
use super::primitive::Primitive;
use super::reply::Refusal;
use super::scan::{self, Document, Kind, Limits, Value};
use crate::model::ClientInfo;

/// Characters of a client's name, version or reason that are kept.
const TEXT_CHARS_MAX: usize = 200;

/// Bytes of a method's name.
const METHOD_BYTES_MAX: usize = 128;

/// One message of a client.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a call, held once: a box would cost it an allocation"
)]
#[derive(Debug, Clone)]
pub enum Message {
    /// Wants an answer.
    Request(Request),
    /// Wants none: 202.
    Notification(Notification),
    /// Answers a request that the gate, or an upstream through it, sent.
    Response(ResponseFromClient),
}

/// A request, by method. `face` is the client as its request describes it, in the stateless era.
#[derive(Debug, Clone)]
pub enum Request {
    Initialize {
        id: RequestId,
        params: InitializeParams,
    },
    /// Session era.
    Ping {
        id: RequestId,
        face: Face,
    },
    /// `server/discover`; stateless era.
    Discover {
        id: RequestId,
        face: Face,
    },
    /// One page of a list.
    List {
        id: RequestId,
        of: Primitive,
        cursor: Option<String>,
        face: Face,
    },
    /// `subscriptions/listen`; stateless era. The raw parameters, an object.
    Listen {
        id: RequestId,
        params: String,
        face: Face,
    },
    /// What is decided and sent on.
    Call(CallRequest),
    /// A method that the gate does not serve.
    Unsupported {
        id: RequestId,
        method: String,
        face: Face,
    },
}

/// The client of a stateless request.
pub type Face = Option<Arc<ClientFace>>;

impl Request {
    /// The request's id.
    pub const fn id(&self) -> &RequestId {
        match self {
            Self::Initialize { id, .. }
            | Self::Ping { id, .. }
            | Self::Discover { id, .. }
            | Self::List { id, .. }
            | Self::Listen { id, .. }
            | Self::Unsupported { id, .. } => id,
            Self::Call(call) => call.id(),
        }
    }

    /// The client as this very request describes it; nothing in the session era.
    pub const fn face(&self) -> Option<&Arc<ClientFace>> {
        match self {
            Self::Initialize { .. } => None,
            Self::Ping { face, .. }
            | Self::Discover { face, .. }
            | Self::List { face, .. }
            | Self::Listen { face, .. }
            | Self::Unsupported { face, .. } => face.as_ref(),
            Self::Call(call) => call.face(),
        }
    }

    /// The method, as `Mcp-Method` repeats it.
    pub fn method(&self) -> &str {
        match self {
            Self::Initialize { .. } => "initialize",
            Self::Ping { .. } => "ping",
            Self::Discover { .. } => "server/discover",
            Self::List { of, .. } => of.method(),
            Self::Listen { .. } => "subscriptions/listen",
            Self::Call(call) => call.method().as_str(),
            Self::Unsupported { method, .. } => method,
        }
    }
}

/// What a client says in `initialize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitializeParams {
    /// As sent; `revision::negotiate` answers it.
    pub protocol_version: String,
    /// What it can be asked for.
    pub capabilities: Capabilities,
    /// Informational; empty where the client says nothing.
    pub client: ClientInfo,
}

/// A notification, by method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    Initialized,
    /// The client gives up a request; the reason is cut to 200 characters.
    Cancelled {
        request_id: RequestId,
        reason: Option<String>,
    },
    /// Nothing where it is malformed.
    Progress(Option<ClientProgress>),
    RootsListChanged,
    Other(String),
}

/// A client's answer to a request that it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseFromClient {
    pub id: RequestId,
    /// Whether it carries an error instead of a result.
    pub error: bool,
    /// The raw JSON of the result or the error, an object.
    pub content: String,
}

/// Why a body is no message, as the row of the table that answers it, and the id where one is known.
#[derive(Debug, Clone)]
pub struct MessageFault {
    id: Option<RequestId>,
    refusal: Box<Refusal>,
}

impl MessageFault {
    fn new(id: Option<&RequestId>, refusal: Refusal) -> Self {
        Self { id: id.cloned(), refusal: Box::new(refusal) }
    }

    fn request(id: Option<&RequestId>, what: &'static str) -> Self {
        Self::new(id, Refusal::InvalidRequest { what })
    }

    fn params(id: &RequestId, what: &'static str) -> Self {
        Self::new(Some(id), Refusal::InvalidParams { what })
    }

    /// The id to answer to, where the body had one.
    pub const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// What the client is told.
    pub const fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl std::fmt::Display for MessageFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.refusal.message())
    }
}

impl std::error::Error for MessageFault {}

/// Reads the body of one `POST /mcp`.
///
/// # Errors
/// [`MessageFault`]: not JSON, a batch, no JSON-RPC 2.0 message, or parameters of the wrong shape.
pub fn read(body: Bytes, limits: Limits) -> Result<Message, MessageFault> {
    let text = String::from_utf8(Vec::from(body)).map_err(|error| {
        let fault = scan::JsonFault::of_encoding(error.utf8_error());
        MessageFault::new(None, Refusal::NotJson { fault })
    })?;
    let document = scan::scan_text(&text, limits)
        .map_err(|fault| MessageFault::new(None, Refusal::NotJson { fault }))?;
    let envelope = Envelope::read(&document)?;
    match (envelope.method, envelope.id) {
        (Some(method), Some(id)) => match Method::parse(&method) {
            Some(method) if !(method.is_of_session_era() && is_stateless(&document)) => {
                let parts = call::read(&document, method, &id, limits)?;
                Ok(Message::Request(Request::Call(CallRequest::new(id, method, parts, text))))
            }
            _ => request(&document, &method, id, limits).map(Message::Request),
        },
        (Some(method), None) => notification(&document, &method).map(Message::Notification),
        (None, Some(id)) => response(&document, id, envelope.error).map(Message::Response),
        (None, None) => Err(MessageFault::request(None, "it has neither `method` nor `id`")),
    }
}

/// The members that every message has.
struct Envelope<'a> {
    method: Option<Cow<'a, str>>,
    id: Option<RequestId>,
    error: bool,
}

impl<'a> Envelope<'a> {
    fn read(document: &Document<'a>) -> Result<Self, MessageFault> {
        match document.root().kind() {
            Kind::Object => {}
            Kind::Array => return Err(MessageFault::new(None, Refusal::Batch)),
            _ => return Err(MessageFault::request(None, "it is not an object")),
        }
        let id = document
            .get("id")
            .map(|value| RequestId::of(&value).ok_or(ID_RULE))
            .transpose()
            .map_err(|rule| MessageFault::request(None, rule))?;
        let fault = |what| MessageFault::request(id.as_ref(), what);
        if document.get("jsonrpc").is_none_or(|version| version.raw() != "\"2.0\"") {
            return Err(fault("`jsonrpc` is not \"2.0\""));
        }
        let method = match document.get("method") {
            Some(value) => Some(value.string().ok_or_else(|| fault("`method` is not a string"))?),
            None => None,
        };
        if method.as_ref().is_some_and(|method| method.is_empty() || method.len() > METHOD_BYTES_MAX) {
            return Err(fault("`method` is empty or longer than 128 bytes"));
        }
        let (result, error) = (document.get("result").is_some(), document.get("error").is_some());
        let fits = if method.is_some() { !result && !error } else { result != error };
        if !fits {
            return Err(fault("it is not exactly one of request, notification and response"));
        }
        if document.get("params").is_some_and(|params| params.kind() != Kind::Object) {
            let refusal = Refusal::InvalidParams { what: "`params` is not an object" };
            return Err(MessageFault::new(id.as_ref(), refusal));
        }
        Ok(Self { method, id, error })
    }
}

const ID_RULE: &str = "`id` is not a string or an integer of at most 256 bytes";

fn response(document: &Document<'_>, id: RequestId, error: bool) -> Result<ResponseFromClient, MessageFault> {
    let content = document.get(if error { "error" } else { "result" }).filter(object);
    let content = content.map(|value| value.raw().to_owned());
    let fault = || MessageFault::request(None, "`result` or `error` is not an object");
    Ok(ResponseFromClient { id, error, content: content.ok_or_else(fault)? })
}

fn request(
    document: &Document<'_>,
    method: &str,
    id: RequestId,
    limits: Limits,
) -> Result<Request, MessageFault> {
    if method == "initialize" && !is_stateless(document) {
        let params = initialize_params(document, &id, limits)?;
        return Ok(Request::Initialize { id, params });
    }
    let face = face(document, &id, limits)?;
    if let Some(of) = Primitive::of_method(method) {
        let cursor = match document.get_in("params", "cursor") {
            None => None,
            Some(value) => {
                let text = value.string();
                let text = text.ok_or_else(|| MessageFault::params(&id, "`cursor` is not a string"))?;
                Some(text.into_owned())
            }
        };
        return Ok(Request::List { id, of, cursor, face });
    }
    Ok(match method {
        "ping" => Request::Ping { id, face },
        "server/discover" => Request::Discover { id, face },
        "subscriptions/listen" => {
            let params =
                document.get("params").map_or_else(|| "{}".to_owned(), |value| value.raw().to_owned());
            Request::Listen { id, params, face }
        }
        _ => Request::Unsupported { id, method: method.to_owned(), face },
    })
}

/// Whether `_meta` names a revision, as only messages of the stateless era do.
fn is_stateless(document: &Document<'_>) -> bool {
    let meta = document.get_in("params", "_meta");
    meta.is_some_and(|meta| {
        scan::scan_text(meta.raw(), Limits::REQUEST).is_ok_and(|meta| meta::is_stateless(&meta))
    })
}

fn face(document: &Document<'_>, id: &RequestId, limits: Limits) -> Result<Face, MessageFault> {
    let Some(value) = document.get_in("params", "_meta") else { return Ok(None) };
    let fault = |what| MessageFault::params(id, what);
    if !object(&value) {
        return Err(fault("`_meta` is not an object"));
    }
    let inner = scan::scan_text(value.raw(), limits).map_err(|_| fault("`_meta` cannot be read"))?;
    let face = meta::face(&inner).map_err(|refusal| MessageFault::new(Some(id), refusal))?;
    Ok(face.map(Arc::new))
}

fn initialize_params(
    document: &Document<'_>,
    id: &RequestId,
    limits: Limits,
) -> Result<InitializeParams, MessageFault> {
    let version = document.get_in("params", "protocolVersion").and_then(|value| value.string());
    let version = version.ok_or_else(|| MessageFault::params(id, "`protocolVersion` is not a string"))?;
    // What a client says of itself is never a gate: whatever is missing or odd reads as empty.
    let info = document.get_in("params", "clientInfo");
    let info = info.as_ref().and_then(|value| scan::scan_text(value.raw(), limits).ok());
    let text = |key: &str| {
        let value = info.as_ref().and_then(|info| info.get(key));
        value.and_then(|value| value.string()).map(|text| clip(&text)).unwrap_or_default()
    };
    let capabilities = document.get_in("params", "capabilities").map(|value| Capabilities::read(value.raw()));
    Ok(InitializeParams {
        protocol_version: clip(&version),
        capabilities: capabilities.unwrap_or_default(),
        client: ClientInfo { name: text("name"), version: text("version") },
    })
}

fn notification(document: &Document<'_>, method: &str) -> Result<Notification, MessageFault> {
    match method {
        "notifications/initialized" => Ok(Notification::Initialized),
        "notifications/cancelled" => {
            let request_id = document.get_in("params", "requestId");
            let request_id = request_id.as_ref().and_then(RequestId::of).ok_or_else(|| {
                let what = "`requestId` is not a string or an integer of at most 256 bytes";
                MessageFault::new(None, Refusal::InvalidParams { what })
            })?;
            let reason = document.get_in("params", "reason").and_then(|value| value.string());
            Ok(Notification::Cancelled { request_id, reason: reason.map(|text| clip(&text)) })
        }
        "notifications/progress" => Ok(Notification::Progress(ClientProgress::read(document))),
        "notifications/roots/list_changed" => Ok(Notification::RootsListChanged),
        other if other.starts_with("notifications/") => Ok(Notification::Other(other.to_owned())),
        // A request without its id would be dropped in silence; its sender had better know.
        _ => Err(MessageFault::request(None, "a request needs an `id`")),
    }
}

fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// Whether the value is an object.
fn object(value: &Value<'_>) -> bool {
    value.kind() == Kind::Object
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
