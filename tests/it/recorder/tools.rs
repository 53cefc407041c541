//! The recorder's tools: each shows one way in which an upstream answers, well or badly.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::Response;
use serde_json::{Value, json};
use tokio::sync::mpsc::Sender;

use super::reply::{self, Piece, ReplyBody};
use super::{Received, Shared};

/// Name, whether it only reads, what it does.
const TOOLS: &[(&str, bool, &str)] = &[
    ("echo", true, "answers its arguments"),
    ("write_note", false, "answers its arguments; not read-only"),
    ("delete_thing", false, "destructive"),
    ("count", true, "streams `steps` progress notifications `gap_ms` apart, then a result"),
    ("hold", true, "answers when the test releases `key`, as a stream"),
    ("cut_inside", true, "streams half an event and cuts the connection"),
    ("cut_between", true, "streams a whole notification and cuts the connection"),
    ("end_early", true, "ends the stream cleanly without a response"),
    ("silent", true, "never answers"),
    ("not_json", true, "answers text that is no JSON, as application/json"),
    ("http_error", true, "answers 500"),
    ("redirect", true, "answers 307 to elsewhere"),
    ("tool_error", true, "answers a result with isError"),
    ("rpc_error", true, "answers a JSON-RPC error"),
    ("wrong_id", true, "answers somebody else's id"),
    ("large", true, "answers `bytes` bytes of text"),
];

/// The definitions as `tools/list` serves them.
pub fn definitions() -> Vec<Value> {
    TOOLS
        .iter()
        .map(|(name, reads, what)| {
            let destroys = *name == "delete_thing";
            json!({
                "name": name,
                "description": what,
                "inputSchema": { "type": "object", "properties": {
                    "nonce": { "type": "string" }, "text": { "type": "string" }, "key": { "type": "string" },
                    "steps": { "type": "integer" }, "gap_ms": { "type": "integer" }, "bytes": { "type": "integer" },
                    "owner": { "type": "string" }, "repo": { "type": "string" }
                } },
                "annotations": { "readOnlyHint": reads, "destructiveHint": destroys },
            })
        })
        .collect()
}

fn result(received: &Received, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id_of(received), "result": result })
}

fn id_of(received: &Received) -> Value {
    serde_json::from_str(&received.id).unwrap_or_default()
}

fn text(received: &Received, text: &str) -> Value {
    result(received, &json!({ "content": [{ "type": "text", "text": text }], "isError": false }))
}

/// Answers one request that was already recorded.
pub async fn answer(
    shared: &Arc<Shared>,
    received: &Received,
    progress: Option<Value>,
) -> Response<ReplyBody> {
    match received.method.as_str() {
        "initialize" => {
            let asked = serde_json::from_str::<Value>(&received.body).unwrap_or_default();
            let mut response = reply::json(&result(
                received,
                &json!({
                    "protocolVersion": asked["params"]["protocolVersion"],
                    "capabilities": { "tools": { "listChanged": true } },
                    "serverInfo": { "name": "recorder", "version": "1.0.0" },
                }),
            ));
            let session = format!("recorder-session-{}", received.sequence);
            response.headers_mut().insert("mcp-session-id", session.parse().unwrap());
            response
        }
        "ping" => reply::json(&result(received, &json!({}))),
        "tools/list" => {
            let definitions = shared.definitions.lock().clone();
            reply::json(&result(received, &json!({ "tools": definitions })))
        }
        "tools/call" => call(shared, received, progress).await,
        method if method.starts_with("notifications/") => reply::status(202, ""),
        _ => reply::json(&json!({ "jsonrpc": "2.0", "id": id_of(received),
            "error": { "code": -32601, "message": "unknown method" } })),
    }
}

async fn call(shared: &Arc<Shared>, received: &Received, progress: Option<Value>) -> Response<ReplyBody> {
    match received.tool.as_str() {
        "silent" => std::future::pending().await,
        "not_json" => reply::whole(200, "application/json", Bytes::from_static(b"{\"jsonrpc\": oops")),
        "http_error" => reply::status(500, "an upstream's own trouble: secret-internal-detail"),
        "redirect" => {
            let mut response = reply::status(307, "");
            response.headers_mut().insert("location", "http://169.254.169.254/latest".parse().unwrap());
            response
        }
        "tool_error" => reply::json(&result(
            received,
            &json!({ "content": [{ "type": "text", "text": "no such file" }], "isError": true }),
        )),
        "rpc_error" => reply::json(&json!({ "jsonrpc": "2.0", "id": id_of(received),
            "error": { "code": -32042, "message": "the upstream's own error", "data": { "why": "test" } } })),
        "wrong_id" => {
            reply::json(&json!({ "jsonrpc": "2.0", "id": 987_654_321, "result": { "content": [] } }))
        }
        "large" => {
            let bytes = received.arguments_value()["bytes"].as_u64().unwrap_or(0) as usize;
            reply::json(&text(received, &"x".repeat(bytes)))
        }
        "count" | "hold" | "cut_inside" | "cut_between" | "end_early" => {
            let (sender, response) = reply::stream();
            tokio::spawn(streamed(Arc::clone(shared), received.clone(), progress, sender));
            response
        }
        _ => reply::json(&result(
            received,
            &json!({
                "content": [{ "type": "text", "text": received.arguments }],
                "structuredContent": { "received": received.arguments_value() },
                "isError": false,
            }),
        )),
    }
}

/// Counts a stream as open while it lives.
struct Open(Arc<Shared>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams_open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn streamed(shared: Arc<Shared>, received: Received, progress: Option<Value>, sender: Sender<Piece>) {
    shared.streams_open.fetch_add(1, Ordering::SeqCst);
    let _open = Open(Arc::clone(&shared));
    let arguments = received.arguments_value();
    let token = progress.unwrap_or(Value::Null);
    let step = |number: u64| {
        reply::event(&json!({ "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": number, "message": format!("step {number}") } }))
    };
    let last = reply::event(&text(&received, &received.arguments));
    let sent = match received.tool.as_str() {
        "count" => {
            let steps = arguments["steps"].as_u64().unwrap_or(3);
            let gap = Duration::from_millis(arguments["gap_ms"].as_u64().unwrap_or(0));
            for number in 1..=steps {
                if sender.send(step(number)).await.is_err() {
                    return;
                }
                tokio::time::sleep(gap).await;
            }
            sender.send(last).await
        }
        "hold" => {
            let key = arguments["key"].as_str().unwrap_or_default().to_owned();
            let _ = sender.send(step(1)).await;
            let mut released = shared.released.subscribe();
            tokio::select! {
                _ = released.wait_for(|keys| keys.contains(&key)) => {}
                () = sender.closed() => {}
            }
            sender.send(last).await
        }
        "cut_inside" => {
            let half = Bytes::from_static(b"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":");
            let _ = sender.send(step(1)).await;
            let _ = sender.send(Piece::Bytes(half)).await;
            sender.send(Piece::Cut).await
        }
        "cut_between" => {
            let _ = sender.send(step(1)).await;
            sender.send(Piece::Cut).await
        }
        _ => sender.send(step(1)).await,
    };
    // Nobody may be left to take it: that is the gate's affair.
    drop(sent);
}
