//! `tools/call`: the one request that is decided and sent on.
//!
//! Invariant: the argument bytes that [`CallRequest::arguments`] gives to the decision are the bytes
//! that [`CallRequest::to_upstream`] sends. The rest of the upstream's message is made afresh: of what
//! the client sent, only the tool's own name, the arguments and `_meta` go on.

use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;

use super::{MessageFault, RequestId, baggage, object};
use crate::mcp::scan::{self, Document, Limits};
use crate::mcp::splice::splice_into;
use crate::model::ToolName;

/// Bytes of a prefixed tool name: room for every service key and tool name there can be.
const NAME_BYTES_MAX: usize = 256;

/// Bytes of the upstream's message beside name, arguments and `_meta`.
const UPSTREAM_ENVELOPE_BYTES: usize = 160;

/// A client's `tools/call`.
#[derive(Debug, Clone)]
pub struct CallRequest {
    id: RequestId,
    parts: Parts,
    /// The body as it came; `parts` holds places in it.
    text: String,
    /// The arguments, once somebody asked for them.
    value: OnceLock<serde_json::Value>,
}

/// Where the parts of a call lie in its text.
#[derive(Debug, Clone)]
pub(super) struct Parts {
    name: String,
    arguments: Option<Range<usize>>,
    meta: Option<Meta>,
}

#[derive(Debug, Clone)]
struct Meta {
    /// In the call's text.
    range: Range<usize>,
    token: Option<TokenPlace>,
    /// Whether `_meta` has no member at all.
    empty: bool,
    conversation: Option<String>,
}

/// Where a progress token lies, within the text of `_meta`.
#[derive(Debug, Clone)]
struct TokenPlace {
    value: Range<usize>,
    /// The whole member with one comma.
    member: Range<usize>,
}

/// Finds the parts of the call that this document is.
pub(super) fn read(document: &Document<'_>, id: &RequestId, limits: Limits) -> Result<Parts, MessageFault> {
    let fault = |what| MessageFault::params(id, what);
    let name = document.get_in("params", "name").and_then(|value| value.string());
    let name = name.ok_or_else(|| fault("`name` is not a string"))?;
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(fault("`name` is empty or longer than 256 bytes"));
    }
    let arguments = document.get_in("params", "arguments");
    if arguments.as_ref().is_some_and(|value| !object(value)) {
        return Err(fault("`arguments` is not an object"));
    }
    let meta = match document.get_in("params", "_meta") {
        None => None,
        Some(value) if object(&value) => {
            let inner = scan::scan_text(value.raw(), limits).map_err(|_| fault("`_meta` cannot be read"))?;
            Some(read_meta(&inner, value.range()).map_err(fault)?)
        }
        Some(_) => return Err(fault("`_meta` is not an object")),
    };
    Ok(Parts { name: name.into_owned(), arguments: arguments.map(|value| value.range()), meta })
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
    Ok(Meta { range, token, empty: meta.keys().next().is_none(), conversation })
}

impl CallRequest {
    pub(super) fn new(id: RequestId, parts: Parts, text: String) -> Self {
        Self { id, parts, text, value: OnceLock::new() }
    }

    /// The request's id.
    pub const fn id(&self) -> &RequestId {
        &self.id
    }

    /// The tool's name as sent, with its prefix; at most 256 bytes, not yet checked otherwise.
    pub fn name(&self) -> &str {
        &self.parts.name
    }

    /// The raw JSON text of the arguments, an object; `{}` where the client sent none.
    pub fn arguments(&self) -> &str {
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

    /// The message for the upstream: the gate's id, the tool's own name, the arguments byte for byte,
    /// and `_meta` byte for byte but for its progress token, which is replaced, set, or left out.
    pub fn to_upstream(&self, upstream_id: u64, tool: &ToolName, progress_token: Option<u64>) -> Bytes {
        let arguments = self.decided_arguments();
        let meta = self.meta_text().unwrap_or_default();
        let mut out = String::with_capacity(
            UPSTREAM_ENVELOPE_BYTES + tool.as_str().len() + arguments.len() + meta.len(),
        );
        out.push_str(r#"{"jsonrpc":"2.0","id":"#);
        out.push_str(&upstream_id.to_string());
        // The grammar of tool names leaves nothing to escape.
        out.push_str(r#","method":"tools/call","params":{"name":""#);
        out.push_str(tool.as_str());
        out.push_str(r#"","arguments":"#);
        out.push_str(arguments);
        self.push_meta(&mut out, progress_token);
        out.push_str("}}");
        Bytes::from(out)
    }

    fn push_meta(&self, out: &mut String, progress_token: Option<u64>) {
        let token = progress_token.map(|token| token.to_string());
        let (Some(meta), Some(text)) = (self.parts.meta.as_ref(), self.meta_text()) else {
            if let Some(token) = token {
                out.push_str(r#","_meta":{"progressToken":"#);
                out.push_str(&token);
                out.push('}');
            }
            return;
        };
        out.push_str(r#","_meta":"#);
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
