//! What a message of the stateless era repeats in its headers (2026-07-28, Streamable HTTP: request
//! metadata), and which arguments of which tools the server wants repeated.
//!
//! Invariants: a header's value can always be sent; a tool whose annotations break a rule of the
//! revision has none; what is kept of the lists of tools is bounded.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::message::Message;
use crate::mcp::param_headers;

pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// Tools whose schemas are kept.
const TOOLS_MAX: usize = 4_096;

/// The input schemas of the listed tools that want arguments repeated in headers.
#[derive(Debug, Default)]
pub struct Annotations(BTreeMap<String, Value>);

impl Annotations {
    /// Takes the raw result of `tools/list`. The names of tools whose annotations break a rule are
    /// given back, with what is wrong, to be told.
    pub fn learn(&mut self, result: &str) -> Vec<String> {
        let listed: Value = serde_json::from_str(result).unwrap_or_default();
        let tools = listed.get("tools").and_then(Value::as_array);
        let mut broken = Vec::new();
        for tool in tools.into_iter().flatten() {
            let Some(name) = tool.get("name").and_then(Value::as_str) else { continue };
            self.0.remove(name);
            let Some(schema) = tool.get("inputSchema") else { continue };
            match param_headers::lint(schema) {
                Err(fault) => broken.push(format!("`{name}`: {fault}")),
                Ok(()) if self.0.len() >= TOOLS_MAX || !is_annotated(schema) => {}
                Ok(()) => drop(self.0.insert(name.to_owned(), schema.clone())),
            }
        }
        broken
    }

    /// The headers of a message that names its own revision.
    pub fn headers(&self, message: &Message) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let Some(version) = &message.stateless else { return headers };
        set(&mut headers, PROTOCOL_VERSION, version);
        if let Some(method) = message.method() {
            set(&mut headers, METHOD, method);
        }
        let Some(name) = &message.name else { return headers };
        set(&mut headers, NAME, &param_headers::encode(name));
        let (Some(arguments), Some(schema)) = (&message.arguments, self.0.get(name)) else {
            return headers;
        };
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        // An argument that cannot be repeated is none that the server will take: it says so itself.
        for (header, value) in param_headers::expected(schema, &arguments).unwrap_or_default() {
            if let Ok(header) = HeaderName::try_from(header) {
                set(&mut headers, header, &value);
            }
        }
        headers
    }
}

/// Whether any argument is to be repeated.
fn is_annotated(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            members.iter().any(|(key, below)| key == "x-mcp-header" || is_annotated(below))
        }
        _ => false,
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    fn call(name: &str, arguments: &Value) -> Message {
        let body = json!({"id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments,
            "_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}});
        Message::read(Bytes::from(body.to_string())).unwrap()
    }

    fn listed(schema: Value) -> (Annotations, Vec<String>) {
        let mut annotations = Annotations::default();
        let broken = annotations.learn(&json!({"tools": [{"name": "t", "inputSchema": schema}]}).to_string());
        (annotations, broken)
    }

    fn texts(headers: &HeaderMap) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn annotated_arguments_are_repeated_in_headers() {
        let (annotations, broken) = listed(json!({"properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"count": {"type": "integer", "x-mcp-header": "Count"}}},
            "dry": {"type": "boolean", "x-mcp-header": "Dry"},
            "x-mcp-header": {"type": "string"},
        }}));
        assert!(broken.is_empty(), "{broken:?}");
        let base = [("mcp-method", "tools/call"), ("mcp-name", "t"), ("mcp-protocol-version", "2026-07-28")];
        for (arguments, expected) in [
            (json!({}), vec![]),
            (json!({"region": null, "deep": 4}), vec![]),
            (
                json!({"region": "ü", "deep": {"count": -7}, "dry": true}),
                vec![
                    ("mcp-param-count", "-7"),
                    ("mcp-param-dry", "true"),
                    ("mcp-param-region", "=?base64?w7w=?="),
                ],
            ),
        ] {
            let mut all: Vec<(String, String)> =
                base.iter().chain(&expected).map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            all.sort();
            assert_eq!(texts(&annotations.headers(&call("t", &arguments))), all, "{arguments}");
        }
        // Another tool has no such arguments, and the session era no such headers.
        assert_eq!(annotations.headers(&call("other", &json!({"region": "x"}))).len(), 3);
        let session = Message::read(Bytes::from_static(br#"{"id":1,"method":"ping"}"#)).unwrap();
        assert!(annotations.headers(&session).is_empty());
    }

    #[test]
    fn a_broken_annotation_counts_for_nothing_and_is_told() {
        let one = |property: Value| json!({"properties": {"a": property}});
        for schema in [
            one(json!({"type": "number", "x-mcp-header": "A"})),
            one(json!({"type": "string", "x-mcp-header": ""})),
            one(json!({"type": "string", "x-mcp-header": "a b"})),
            one(json!({"type": "string", "x-mcp-header": 5})),
            one(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})),
            json!({"anyOf": [one(json!({"type": "string", "x-mcp-header": "A"}))]}),
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A"},
                "b": {"type": "string", "x-mcp-header": "a"}}}),
        ] {
            let (annotations, broken) = listed(schema.clone());
            assert!(broken.len() == 1 && broken[0].starts_with("`t`: "), "{schema}: {broken:?}");
            assert_eq!(annotations.headers(&call("t", &json!({"a": "x"}))).len(), 3, "{schema}");
        }
    }

    #[test]
    fn a_later_list_replaces_what_an_earlier_one_said() {
        let (mut annotations, _) =
            listed(json!({"properties": {"a": {"type": "string", "x-mcp-header": "A"}}}));
        assert_eq!(annotations.headers(&call("t", &json!({"a": "x"}))).len(), 4);
        annotations.learn(r#"{"tools":[{"name":"t","inputSchema":{}}]}"#);
        assert_eq!(annotations.headers(&call("t", &json!({"a": "x"}))).len(), 3);
    }
}
