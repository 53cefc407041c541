//! Results that the gate gives to its clients itself.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::mcp::message::RequestId;
use crate::mcp::revision::Revision;

fn result(id: &RequestId, result: &str) -> Bytes {
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#))
}

/// The answer to `initialize`. Tools are all that the gate serves yet; `instructions` are for the
/// model that uses it.
pub fn initialize_result(id: &RequestId, revision: Revision, instructions: Option<&str>) -> Bytes {
    let mut fields = Map::new();
    fields.insert("protocolVersion".to_owned(), json!(revision.as_str()));
    fields.insert("capabilities".to_owned(), json!({"tools": {}}));
    let server = json!({"name": "wicket", "title": "Wicket", "version": env!("CARGO_PKG_VERSION")});
    fields.insert("serverInfo".to_owned(), server);
    if let Some(instructions) = instructions {
        fields.insert("instructions".to_owned(), json!(instructions));
    }
    result(id, &Value::Object(fields).to_string())
}

/// The answer to `ping` and to whatever else succeeds without saying anything.
pub fn empty_result(id: &RequestId) -> Bytes {
    result(id, "{}")
}

/// The answer to `tools/list`: definitions as raw JSON texts, byte for byte.
pub fn tools_list_result<T: AsRef<str>>(id: &RequestId, tools: &[T], next_cursor: Option<&str>) -> Bytes {
    let bytes: usize = tools.iter().map(|tool| tool.as_ref().len() + 1).sum();
    let mut list = String::with_capacity(bytes + 100);
    list.push_str(r#"{"tools":["#);
    for (index, tool) in tools.iter().enumerate() {
        if index > 0 {
            list.push(',');
        }
        list.push_str(tool.as_ref());
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
pub fn tool_raw_result(id: &RequestId, structured: &str) -> Bytes {
    let text = Value::from(structured);
    let content = format!(r#"[{{"type":"text","text":{text}}}]"#);
    result(id, &format!(r#"{{"content":{content},"structuredContent":{structured},"isError":false}}"#))
}

/// The answer to a call of a tool of the gate's own: the value as structured content, and as text for
/// clients that read only that. Structured content is an object (2025-06-18); another value is text only.
pub fn tool_text_result(id: &RequestId, structured: &Value, is_error: bool) -> Bytes {
    let mut fields = Map::new();
    fields.insert("content".to_owned(), json!([{"type": "text", "text": structured.to_string()}]));
    if structured.is_object() {
        fields.insert("structuredContent".to_owned(), structured.clone());
    }
    fields.insert("isError".to_owned(), json!(is_error));
    result(id, &Value::Object(fields).to_string())
}
