//! Results that the gate gives to its clients itself.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::mcp::message::RequestId;
use crate::mcp::primitive::Primitive;
use crate::mcp::revision::{Era, Revision};

/// How long a client may keep what `server/discover` said, in milliseconds.
const DISCOVER_TTL_MS: u32 = 300_000;

fn result(id: &RequestId, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// What the gate offers: everything that an upstream could.
fn capabilities() -> Value {
    json!({
        "completions": {},
        "logging": {},
        "prompts": {"listChanged": true},
        "resources": {"listChanged": true, "subscribe": true},
        "tools": {"listChanged": true},
    })
}

/// The gate, as it names itself.
fn server_info() -> Value {
    json!({"name": "wicket", "title": "Wicket", "version": env!("CARGO_PKG_VERSION")})
}

/// The members that a complete result of the stateless era begins with; a comma follows.
pub fn complete() -> String {
    format!(r#""resultType":"complete","_meta":{{"io.modelcontextprotocol/serverInfo":{}}},"#, server_info())
}

/// The answer to `server/discover` (MCP 2026-07-28). What it says is the same for every caller, but
/// `private` all the same: only members are told.
pub fn discover_result(id: &RequestId, instructions: Option<&str>) -> Bytes {
    let mut fields = Map::new();
    fields.insert("resultType".to_owned(), json!("complete"));
    fields.insert("supportedVersions".to_owned(), json!(Revision::names_of(Era::Stateless)));
    fields.insert("capabilities".to_owned(), capabilities());
    fields.insert("_meta".to_owned(), json!({"io.modelcontextprotocol/serverInfo": server_info()}));
    if let Some(instructions) = instructions {
        fields.insert("instructions".to_owned(), json!(instructions));
    }
    fields.insert("ttlMs".to_owned(), json!(DISCOVER_TTL_MS));
    fields.insert("cacheScope".to_owned(), json!("private"));
    result(id, &Value::Object(fields).to_string())
}

/// The answer to `initialize`; `instructions` are for the model that uses it.
pub fn initialize_result(id: &RequestId, revision: Revision, instructions: Option<&str>) -> Bytes {
    let mut fields = Map::new();
    fields.insert("protocolVersion".to_owned(), json!(revision.as_str()));
    fields.insert("capabilities".to_owned(), capabilities());
    fields.insert("serverInfo".to_owned(), server_info());
    if let Some(instructions) = instructions {
        fields.insert("instructions".to_owned(), json!(instructions));
    }
    result(id, &Value::Object(fields).to_string())
}

/// The answer to `ping` and to whatever else succeeds without saying anything.
pub fn empty_result(id: &RequestId) -> Bytes {
    result(id, "{}")
}

/// The answer to `tools/list` of the session era: definitions as raw JSON texts, byte for byte.
pub fn tools_list_result<T: AsRef<str>>(id: &RequestId, tools: &[T], next_cursor: Option<&str>) -> Bytes {
    list_result(id, Primitive::Tools, tools, next_cursor, None)
}

/// The answer to a list of any kind: its items as raw JSON texts, byte for byte. With `ttl_ms` as the
/// stateless era has it (MCP 2026-07-28, caching): for so long it may be kept, by this caller alone.
pub fn list_result<T: AsRef<str>>(
    id: &RequestId,
    of: Primitive,
    items: &[T],
    next_cursor: Option<&str>,
    ttl_ms: Option<u64>,
) -> Bytes {
    let bytes: usize = items.iter().map(|item| item.as_ref().len() + 1).sum();
    let mut list = String::with_capacity(bytes + 320);
    list.push('{');
    if let Some(ttl_ms) = ttl_ms {
        list.push_str(&complete());
        list.push_str(&format!(r#""ttlMs":{ttl_ms},"cacheScope":"private","#));
    }
    list.push_str(&format!("\"{}\":[", of.key()));
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            list.push(',');
        }
        list.push_str(item.as_ref());
    }
    list.push(']');
    if let Some(cursor) = next_cursor {
        list.push_str(r#","nextCursor":"#);
        list.push_str(&Value::from(cursor).to_string());
    }
    list.push('}');
    result(id, &list)
}

/// The answer to a call of a tool of the gate's own whose value is a JSON object that is already written:
/// it goes out byte for byte.
pub fn tool_raw_result(id: &RequestId, structured: &str, era: Era) -> Bytes {
    let text = Value::from(structured);
    let content = format!(r#"[{{"type":"text","text":{text}}}]"#);
    let begin = begin(era);
    result(id, &format!(r#"{{{begin}"content":{content},"structuredContent":{structured},"isError":false}}"#))
}

/// What a result begins with: in the stateless era it says that it is complete.
fn begin(era: Era) -> String {
    match era {
        Era::Session => String::new(),
        Era::Stateless => complete(),
    }
}

/// The answer to a call of a tool of the gate's own: the value as structured content, and as text for
/// clients that read only that. Structured content is an object (2025-06-18); another value is text only.
pub fn tool_text_result(id: &RequestId, structured: &Value, is_error: bool, era: Era) -> Bytes {
    let content = json!([{"type": "text", "text": structured.to_string()}]);
    let structured = match structured {
        Value::Object(_) => format!(r#","structuredContent":{structured}"#),
        _ => String::new(),
    };
    let begin = begin(era);
    result(id, &format!(r#"{{{begin}"content":{content}{structured},"isError":{is_error}}}"#))
}
