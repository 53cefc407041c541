//! What a message of the stateless era repeats in its headers (2026-07-28, Streamable HTTP: request
//! metadata), and which arguments of which tools the server wants repeated.
//!
//! Invariants: a header's value can always be sent; a tool whose annotations break a rule of the
//! revision has none; what is kept of the lists of tools is bounded.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::message::Message;

pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The word that marks an argument in a schema.
const ANNOTATION: &str = "x-mcp-header";
/// Tools whose annotations are kept.
const TOOLS_MAX: usize = 4_096;
/// Annotated arguments of one tool.
const ARGUMENTS_MAX: usize = 32;
/// Objects within objects that are looked into for annotated arguments.
const DEPTH_MAX: usize = 16;

/// The annotated arguments of the tools that have been listed.
#[derive(Debug, Default)]
pub struct Annotations(BTreeMap<String, Vec<Annotated>>);

/// An argument that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotated {
    header: HeaderName,
    path: Vec<String>,
}

impl Annotations {
    /// Takes the raw result of `tools/list`. The names of tools whose annotations break a rule are
    /// given back, to be told.
    pub fn learn(&mut self, result: &str) -> Vec<String> {
        let listed: Value = serde_json::from_str(result).unwrap_or_default();
        let tools = listed.get("tools").and_then(Value::as_array);
        let mut broken = Vec::new();
        for tool in tools.into_iter().flatten() {
            let Some(name) = tool.get("name").and_then(Value::as_str) else { continue };
            let found = tool.get("inputSchema").map_or(Ok(Vec::new()), annotated);
            self.0.remove(name);
            match found {
                Err(()) => broken.push(name.to_owned()),
                Ok(found) if found.is_empty() || self.0.len() >= TOOLS_MAX => {}
                Ok(found) => drop(self.0.insert(name.to_owned(), found)),
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
        set(&mut headers, NAME, name);
        let (Some(arguments), Some(annotated)) = (&message.arguments, self.0.get(name)) else {
            return headers;
        };
        let arguments: Value = serde_json::from_str(arguments).unwrap_or_default();
        for wanted in annotated {
            let value = wanted.path.iter().try_fold(&arguments, |value, key| value.get(key));
            if let Some(text) = value.and_then(shown) {
                set(&mut headers, wanted.header.clone(), &text);
            }
        }
        headers
    }
}

/// The annotated arguments of a schema; `Err` where one breaks a rule.
fn annotated(schema: &Value) -> Result<Vec<Annotated>, ()> {
    let mut found = Vec::new();
    let mut reached = 0;
    walk(schema, &mut Vec::new(), &mut found, &mut reached)?;
    let names: BTreeSet<&str> = found.iter().map(|one| one.header.as_str()).collect();
    let all_reached = reached == mentions(schema);
    let fits = names.len() == found.len() && found.len() <= ARGUMENTS_MAX && all_reached;
    if fits { Ok(found) } else { Err(()) }
}

/// Goes down the chains of `properties`, the only ones that an annotation may stand in.
fn walk(
    schema: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<Annotated>,
    reached: &mut usize,
) -> Result<(), ()> {
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        path.push(name.clone());
        if let Some(annotation) = property.get(ANNOTATION) {
            *reached += 1;
            let kind = property.get("type").and_then(Value::as_str);
            let header = annotation.as_str().filter(|text| !text.is_empty());
            let header = header.and_then(|text| HeaderName::try_from(format!("mcp-param-{text}")).ok());
            match (kind, header) {
                (Some("string" | "integer" | "boolean"), Some(header)) => {
                    found.push(Annotated { header, path: path.clone() });
                }
                _ => return Err(()),
            }
        }
        if path.len() < DEPTH_MAX {
            walk(property, path, found, reached)?;
        }
        path.pop();
    }
    Ok(())
}

/// How many schemas below this one are annotated, wherever they stand.
fn mentions(value: &Value) -> usize {
    match value {
        // The annotation itself is a text; a property may well be called so.
        Value::Object(members) => members
            .iter()
            .map(|(key, below)| usize::from(key == ANNOTATION && below.is_string()) + mentions(below))
            .sum(),
        Value::Array(items) => items.iter().map(mentions).sum(),
        _ => 0,
    }
}

/// An argument as a header shows it; nothing for `null` and for what no header may repeat.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::try_from(encoded(text)) {
        headers.insert(name, value);
    }
}

/// The text where it can travel as it is, else in the Base64 form of the revision.
fn encoded(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let padded = text.starts_with(' ') || text.ends_with(' ');
    let sentinel = text.starts_with("=?base64?") && text.ends_with("?=");
    if plain && !padded && !sentinel {
        return text.to_owned();
    }
    format!("=?base64?{}?=", STANDARD.encode(text))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_encoded_as_the_revision_shows() {
        // The table of examples in the revision's page on Streamable HTTP.
        for (text, expected) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("", ""),
        ] {
            assert_eq!(encoded(text), expected, "{text}");
            assert!(HeaderValue::try_from(encoded(text)).is_ok());
        }
    }

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
            assert_eq!(broken, ["t"], "{schema}");
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
