//! The headers by which a request of the stateless era repeats its body (MCP 2026-07-28, streamable
//! HTTP, request metadata).
//!
//! Invariant: they are made of what is sent, never of what a client sent beside it.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::mcp::param_headers;
use crate::proxy::upstream::Outbound;

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// The headers of one request.
#[derive(Debug, Clone)]
pub struct Mirrored(Vec<(HeaderName, HeaderValue)>);

impl Mirrored {
    /// Those of a request in the gate's own name, with these raw parameters.
    pub fn of_own(method: &str, params: Option<&str>) -> Self {
        let name = name_member(method).and_then(|key| {
            let params: serde_json::Value = serde_json::from_str(params?).ok()?;
            params.get(key)?.as_str().map(str::to_owned)
        });
        let mut mirrored = Self(Vec::new());
        mirrored.put(METHOD, method);
        if let Some(name) = name {
            mirrored.put(NAME, &name);
        }
        mirrored
    }

    /// Those of a call: the method, the own name of what is asked, the arguments that the tool's
    /// accepted schema names.
    pub fn of_call(outbound: &Outbound) -> Self {
        let method = outbound.call.method();
        let mut mirrored = Self(Vec::with_capacity(2));
        mirrored.put(METHOD, method.as_str());
        match outbound.connector.tools.get(&outbound.tool).filter(|_| method.operation().is_none()) {
            Some(tool) => {
                mirrored.put(NAME, tool.name.as_str());
                if !tool.may_mirror {
                    return mirrored;
                }
                let arguments = outbound.call.arguments_value();
                // An argument that does not fit its schema is the upstream's to refuse, in its own words.
                let expected = param_headers::expected(&tool.input_schema, arguments).unwrap_or_default();
                for (name, value) in expected {
                    let (name, value) = (HeaderName::try_from(name), HeaderValue::try_from(value));
                    // Both are what headers may hold, by the rules of annotations.
                    if let (Ok(name), Ok(value)) = (name, value) {
                        mirrored.0.push((name, value));
                    }
                }
            }
            None if method.operation().is_none() => mirrored.put(NAME, outbound.tool.as_str()),
            None => {
                let name = name_member(method.as_str())
                    .and_then(|key| outbound.call.arguments_value().get(key)?.as_str());
                if let Some(name) = name {
                    mirrored.put(NAME, name);
                }
            }
        }
        mirrored
    }

    fn put(&mut self, name: HeaderName, value: &str) {
        // What is encoded is always a header value.
        if let Ok(value) = HeaderValue::try_from(param_headers::encode(value).as_ref()) {
            self.0.push((name, value));
        }
    }

    /// Writes them.
    pub fn write(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.0 {
            headers.insert(name.clone(), value.clone());
        }
    }
}

/// The parameter that `Mcp-Name` repeats.
fn name_member(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        _ => None,
    }
}
