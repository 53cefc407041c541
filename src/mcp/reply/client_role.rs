//! What the gate says to upstreams, as their client.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::mcp::client::{Capabilities, ClientFace};
use crate::mcp::message::{RequestId, meta_for_upstream};
use crate::mcp::revision::{Era, Revision};
use crate::model::ClientInfo;

fn bytes(message: &Value) -> Bytes {
    Bytes::from(message.to_string())
}

/// `initialize`, in the name of this client: a server asks of it only what it can do. A client that
/// names itself not is the gate itself.
pub fn upstream_initialize(
    id: u64,
    revision: Revision,
    capabilities: Capabilities,
    client: &ClientInfo,
) -> Bytes {
    let (name, version) = match client.name.is_empty() {
        true => ("wicket", env!("CARGO_PKG_VERSION")),
        false => (client.name.as_str(), client.version.as_str()),
    };
    let info = json!({"name": name, "version": version});
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{},"clientInfo":{info}}}}}"#,
        capabilities.to_json()
    ))
}

/// A request in the gate's own name, with these raw parameters (an object) if any. To an upstream of
/// the stateless era it says who asks, and that the gate itself can be asked nothing.
pub fn upstream_request(id: u64, method: &str, params: Option<&str>, revision: Revision) -> Bytes {
    let method = json!(method);
    let params =
        params.map(str::trim).and_then(|raw| raw.strip_prefix('{')?.strip_suffix('}')).map(str::trim);
    let meta = match revision.era() {
        Era::Session => None,
        Era::Stateless => Some(meta_for_upstream(None, None, &ClientFace::unknown(), revision)),
    };
    let meta = meta.map(|meta| format!(r#""_meta":{meta}"#));
    let members: Vec<&str> =
        params.into_iter().chain(meta.as_deref()).filter(|text| !text.is_empty()).collect();
    if members.is_empty() {
        return Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{method}}}"#));
    }
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":{method},"params":{{{}}}}}"#,
        members.join(",")
    ))
}

/// `notifications/initialized`, after the answer to `initialize`.
pub fn upstream_initialized() -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

/// `ping`.
pub fn upstream_ping(id: u64) -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}))
}

/// `notifications/roots/list_changed`, in the name of a client that declared it.
pub fn upstream_roots_changed() -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}))
}

/// `notifications/cancelled` for a request that the gate sent.
pub fn upstream_cancelled(id: u64, reason: Option<&str>) -> Bytes {
    let mut params = Map::new();
    params.insert("requestId".to_owned(), json!(id));
    if let Some(reason) = reason {
        params.insert("reason".to_owned(), json!(reason));
    }
    bytes(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}))
}

/// The answer to a server's request other than `ping` (which `empty_result` answers): not supported.
pub fn upstream_method_refused(id: &RequestId, method: &str) -> Bytes {
    let method: String = method.chars().take(128).collect();
    let error =
        json!({"code": super::code::METHOD_NOT_FOUND, "message": format!("method not found: `{method}`")});
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#))
}

/// A client's answer to an upstream's request, under the upstream's id: the raw result, or the raw
/// error.
pub fn upstream_answer(id: &RequestId, answer: Result<&str, &str>) -> Bytes {
    let (key, raw) = match answer {
        Ok(result) => ("result", result),
        Err(error) => ("error", error),
    };
    Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":{id},"{key}":{raw}}}"#))
}

/// The answer to a server's request that a client could have answered, and none does: why not.
pub fn upstream_unanswered(id: &RequestId, why: &str) -> Bytes {
    let error = json!({"code": super::code::INTERNAL_ERROR, "message": why});
    upstream_answer(id, Err(&error.to_string()))
}

/// The end of a client's call that the gate has to end itself, in the middle of it.
pub fn call_failed(id: &RequestId, why: &str) -> Bytes {
    upstream_unanswered(id, why)
}
