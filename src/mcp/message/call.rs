//! The requests that are decided and sent on: `tools/call`, and the operations beside it.
//!
//! Invariant: the argument bytes that [`CallRequest::arguments`] gives to the decision are the bytes
//! that [`CallRequest::to_upstream`] sends. The rest of the upstream's message is made afresh: of what
//! the client sent, only the own name of what is asked, the arguments, `_meta` and the answers of an
//! earlier round go on.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::operation::{self, Operation, Target};
use super::{MessageFault, Method, RequestId, baggage, meta, object};
use crate::mcp::client::ClientFace;
use crate::mcp::revision::{Era, Revision};
use crate::mcp::scan::{self, Document, Kind, Limits};
use crate::mcp::splice::splice_into;

/// Bytes of a prefixed tool name: room for every service key and tool name there can be.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of the upstream's message beside name, arguments and `_meta`.
const UPSTREAM_ENVELOPE_BYTES: usize = 160;

/// A client's request to one upstream.
#[derive(Debug, Clone)]
pub struct CallRequest {
    id: RequestId,
    method: Method,
    parts: Parts,
    /// The body as it came; `parts` holds places in it.
    text: String,
    /// The arguments, once somebody asked for them.
    value: OnceLock<serde_json::Value>,
}

/// The answers to what an upstream asked in an earlier round (MCP 2026-07-28, multi round-trip
/// requests).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retry {
    /// The raw `inputResponses`, an object.
    pub input_responses: Option<String>,
    /// `requestState`; as the client sent it until the gate has opened it.
    pub request_state: Option<String>,
}

/// How a request is put to its upstream.
#[derive(Debug, Clone, Copy)]
pub struct ToUpstream<'a> {
    /// The gate's id of it.
    pub id: u64,
    /// The tool's own name; of no effect for operations, whose parameters hold their names.
    pub name: &'a str,
    /// The gate's progress token, where the client gave one.
    pub token: Option<u64>,
    /// What the upstream speaks.
    pub revision: Revision,
    pub client: &'a ClientFace,
    /// The answers that the upstream waits for, with its own `requestState`.
    pub retry: Option<&'a Retry>,
}

/// Where the parts of a call lie in its text.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    name: String,
    arguments: Option<Range<usize>>,
    meta: Option<Meta>,
    /// For all but tools.
    operation: Option<Box<Operation>>,
    /// Stateless era: the client as its request describes it.
    face: Option<Arc<ClientFace>>,
    retry: Option<Box<Retry>>,
}

#[derive(Debug, Clone)]
struct Meta {
    /// In the call's text.
    range: Range<usize>,
    token: Option<TokenPlace>,
    /// Whether `_meta` has no member at all.
    empty: bool,
    /// Whether it has members that are not the protocol's own.
    more: bool,
    conversation: Option<String>,
}

/// Where a progress token lies, within the text of `_meta`.
#[derive(Debug, Clone)]
struct TokenPlace {
    value: Range<usize>,
    /// The whole member with one comma.
    member: Range<usize>,
}

/// Finds the parts of the request that this document is.
pub(super) fn read(
    document: &Document<'_>,
    method: Method,
    id: &RequestId,
    limits: Limits,
) -> Result<Parts, MessageFault> {
    let fault = |what| MessageFault::params(id, what);
    let (meta, face) = match document.get_in("params", "_meta") {
        None => (None, None),
        Some(value) if object(&value) => {
            let inner = scan::scan_text(value.raw(), limits).map_err(|_| fault("`_meta` cannot be read"))?;
            let face = meta::face(&inner).map_err(|refusal| MessageFault::new(Some(id), refusal))?;
            (Some(read_meta(&inner, value.range()).map_err(fault)?), face.map(Arc::new))
        }
        Some(_) => return Err(fault("`_meta` is not an object")),
    };
    let retry = read_retry(document).map_err(fault)?;
    if method != Method::ToolsCall {
        let operation = operation::read(document, method, limits).map_err(fault)?;
        let name = operation.name.clone();
        let operation = Some(Box::new(operation));
        return Ok(Parts { name, arguments: None, meta, operation, face, retry });
    }
    let name = document.get_in("params", "name").and_then(|value| value.string());
    let name = name.ok_or_else(|| fault("`name` is not a string"))?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(fault("`name` is empty or longer than 256 bytes"));
    }
    let arguments = document.get_in("params", "arguments");
    if arguments.as_ref().is_some_and(|value| !object(value)) {
        return Err(fault("`arguments` is not an object"));
    }
    let arguments = arguments.map(|value| value.range());
    Ok(Parts { name: name.into_owned(), arguments, meta, operation: None, face, retry })
}

fn read_retry(document: &Document<'_>) -> Result<Option<Box<Retry>>, &'static str> {
    let responses = document.get_in("params", "inputResponses");
    if responses.as_ref().is_some_and(|value| !object(value)) {
        return Err("`inputResponses` is not an object");
    }
    let state = match document.get_in("params", "requestState") {
        None => None,
        Some(value) if value.kind() == Kind::String => value.string(),
        Some(_) => return Err("`requestState` is not a string"),
    };
    if responses.is_none() && state.is_none() {
        return Ok(None);
    }
    let input_responses = responses.map(|value| value.raw().to_owned());
    Ok(Some(Box::new(Retry { input_responses, request_state: state.map(|text| text.into_owned()) })))
}

fn read_meta(meta: &Document<'_>, range: Range<usize>) -> Result<Meta, &'static str> {
    let token = match (meta.get("progressToken"), meta.cut_range("progressToken")) {
        (Some(value), Some(member)) => {
            // The rule for ids is the rule for tokens: a string or an integer.
            RequestId::of(&value)
                .ok_or("`progressToken` is not a string or an integer of at most 256 bytes")?;
            Some(TokenPlace { value: value.range(), member })
        }
        _ => None,
    };
    let baggage = meta.get("baggage").and_then(|value| value.string());
    let conversation = baggage.and_then(|text| baggage::conversation_id_of_baggage(&text));
    let more = meta::holds_more(meta);
    Ok(Meta { range, token, empty: meta.keys().next().is_none(), more, conversation })
}

impl CallRequest {
    pub(super) fn new(id: RequestId, method: Method, parts: Parts, text: String) -> Self {
        Self { id, method, parts, text, value: OnceLock::new() }
    }

    /// The request's id.
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// What is asked.
    pub const fn method(&self) -> Method {
        self.method
    }

    /// The name of the tool or prompt as sent, with its prefix, or the URI of a resource; bounded (256
    /// bytes for tools, 8192 otherwise), not yet checked otherwise.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// What an operation is asked of; nothing for a tool, which [`Self::name`] names.
    pub fn target(&self) -> Option<&Target> {
        self.parts.operation.as_ref().map(|operation| &operation.target)
    }

    /// The client as the request itself describes it; nothing in the session era.
    pub const fn face(&self) -> Option<&Arc<ClientFace>> {
        self.parts.face.as_ref()
    }

    /// The answers of an earlier round, as the client sent them.
    pub fn retry(&self) -> Option<&Retry> {
        self.parts.retry.as_deref()
    }

    /// The raw JSON text that is decided and recorded, an object: a tool's arguments (`{}` where the
    /// client sent none), an operation's parameters.
    pub fn arguments(&self) -> &str {
        if let Some(operation) = &self.parts.operation {
            return &operation.params;
        }
        self.parts.arguments.clone().and_then(|range| self.text.get(range)).unwrap_or("{}")
    }

    /// The arguments as a value, parsed once.
    pub fn arguments_value(&self) -> &serde_json::Value {
        // The scanner accepts nothing that serde_json refuses, so this does not fail; were it to
        // fail, `null` would be decided and, see `decided_arguments`, `null` would be sent.
        self.value.get_or_init(|| serde_json::from_str(self.arguments()).unwrap_or_default())
    }

    /// The arguments to send: those that were decided.
    fn decided_arguments(&self) -> &str {
        match self.value.get() {
            Some(serde_json::Value::Null) => "null",
            _ => self.arguments(),
        }
    }

    /// The raw JSON text of the client's progress token.
    pub fn progress_token(&self) -> Option<&str> {
        let meta = self.parts.meta.as_ref()?;
        self.meta_text()?.get(meta.token.as_ref()?.value.clone())
    }

    /// `gen_ai.conversation.id` of `_meta.baggage`: printable, at most 128 characters.
    pub fn conversation_id(&self) -> Option<&str> {
        self.parts.meta.as_ref()?.conversation.as_deref()
    }

    /// The message for the upstream, in its own era: the gate's id, the own name, the arguments byte
    /// for byte, and `_meta` but for what belongs to one of the two eras or to the gate.
    pub fn to_upstream(&self, to: &ToUpstream<'_>) -> Bytes {
        let arguments = self.decided_arguments();
        let meta = self.meta_text().unwrap_or_default();
        let mut out =
            String::with_capacity(UPSTREAM_ENVELOPE_BYTES + to.name.len() + arguments.len() + meta.len());
        out.push_str(r#"{"jsonrpc":"2.0","id":"#);
        out.push_str(&to.id.to_string());
        out.push_str(r#","method":""#);
        out.push_str(self.method.as_str());
        out.push_str(r#"","params":{"#);
        if self.method == Method::ToolsCall {
            // The grammar of tool names leaves nothing to escape.
            out.push_str(r#""name":""#);
            out.push_str(to.name);
            out.push_str(r#"","arguments":"#);
            out.push_str(arguments);
        } else {
            // An object without its braces.
            out.push_str(arguments.get(1..arguments.len().saturating_sub(1)).unwrap_or_default());
        }
        self.push_meta(&mut out, to);
        if let Some(retry) = to.retry {
            push_retry(&mut out, retry);
        }
        out.push_str("}}");
        Bytes::from(out)
    }

    fn push_meta(&self, out: &mut String, to: &ToUpstream<'_>) {
        let comma = if out.ends_with('{') { "" } else { "," };
        if to.revision.era() == Era::Stateless || self.parts.face.is_some() {
            let more = self.parts.meta.as_ref().is_some_and(|meta| meta.more);
            let own = self.meta_text().filter(|_| more);
            let text = meta::for_upstream(own, to.token, to.client, to.revision);
            if text != "{}" {
                out.push_str(comma);
                out.push_str(r#""_meta":"#);
                out.push_str(&text);
            }
            return;
        }
        let token = to.token.map(|token| token.to_string());
        let (Some(meta), Some(text)) = (self.parts.meta.as_ref(), self.meta_text()) else {
            if let Some(token) = token {
                out.push_str(comma);
                out.push_str(r#""_meta":{"progressToken":"#);
                out.push_str(&token);
                out.push('}');
            }
            return;
        };
        out.push_str(comma);
        out.push_str(r#""_meta":"#);
        match (&meta.token, token) {
            (Some(place), Some(token)) => splice_into(out, text, &[(place.value.clone(), &token)]),
            (Some(place), None) => splice_into(out, text, &[(place.member.clone(), "")]),
            (None, Some(token)) => {
                let comma = if meta.empty { "" } else { "," };
                splice_into(out, text, &[(1..1, &format!(r#""progressToken":{token}{comma}"#))]);
            }
            (None, None) => out.push_str(text),
        }
    }

    fn meta_text(&self) -> Option<&str> {
        self.text.get(self.parts.meta.as_ref()?.range.clone())
    }
}

fn push_retry(out: &mut String, retry: &Retry) {
    if let Some(responses) = &retry.input_responses {
        out.push_str(r#","inputResponses":"#);
        out.push_str(responses);
    }
    if let Some(state) = &retry.request_state {
        out.push_str(r#","requestState":"#);
        out.push_str(&serde_json::Value::from(state.as_str()).to_string());
    }
}
