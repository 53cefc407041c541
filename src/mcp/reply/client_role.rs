//! What the gate says to upstreams, as their client.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::mcp::message::RequestId;
use crate::mcp::revision::Revision;

fn bytes(message: &Value) -> Bytes {
    Bytes::from(message.to_string())
}

/// `initialize`. The gate declares no capability: a server then asks nothing of it.
pub fn upstream_initialize(id: u64, revision: Revision) -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
        "protocolVersion": revision.as_str(),
        "capabilities": {},
        "clientInfo": {"name": "wicket", "version": env!("CARGO_PKG_VERSION")},
    }}))
}

/// `notifications/initialized`, after the answer to `initialize`.
pub fn upstream_initialized() -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
}

/// `ping`.
pub fn upstream_ping(id: u64) -> Bytes {
    bytes(&json!({"jsonrpc": "2.0", "id": id, "method": "ping"}))
}

/// `tools/list`, from the start or from the cursor that the upstream gave.
pub fn upstream_tools_list(id: u64, cursor: Option<&str>) -> Bytes {
    upstream_request(id, "tools/list", cursor.map(|cursor| json!({"cursor": cursor})))
}

/// A request of the gate's own.
pub fn upstream_request(id: u64, method: &str, params: Option<Value>) -> Bytes {
    let mut message = Map::new();
    message.insert("jsonrpc".to_owned(), json!("2.0"));
    message.insert("id".to_owned(), json!(id));
    message.insert("method".to_owned(), json!(method));
    if let Some(params) = params {
        message.insert("params".to_owned(), params);
    }
    bytes(&Value::Object(message))
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
