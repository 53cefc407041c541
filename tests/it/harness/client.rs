//! An MCP client of the session era, thin enough that a test sees every status, header and byte.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// No reply may take longer: a hang is red.
const REPLY_MAX: Duration = Duration::from_secs(40);

/// Speaks to one gate with one key.
pub struct Client {
    pool: Pool<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    key: String,
    session: Option<String>,
    next_id: AtomicU64,
}

/// A whole reply.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The error of a JSON-RPC reply.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Value,
}

impl Reply {
    /// The reply message: the JSON body, or the last message of an event stream.
    pub fn message(&self) -> Value {
        if self.header("content-type").is_some_and(|value| value.starts_with("text/event-stream")) {
            return sse_messages(&self.body).pop().unwrap_or_default();
        }
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// `result` of the message, where it has one.
    pub fn result(&self) -> Option<Value> {
        self.message().get("result").cloned()
    }

    /// `error` of the message, where it has one.
    pub fn error(&self) -> Option<RpcError> {
        let message = self.message();
        let error = message.get("error")?;
        Some(RpcError {
            code: error["code"].as_i64()?,
            message: error["message"].as_str()?.to_owned(),
            data: error.get("data").cloned().unwrap_or_default(),
        })
    }

    /// Whether a call was let through and succeeded.
    pub fn succeeded(&self) -> bool {
        self.status == 200 && self.result().is_some()
    }
}

/// The JSON messages of a whole event stream.
pub fn sse_messages(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n");
    let data_of = |event: &str| -> String {
        event.lines().filter_map(|line| line.strip_prefix("data:")).map(str::trim_start).collect()
    };
    text.split("\n\n").filter_map(|event| serde_json::from_str(&data_of(event)).ok()).collect()
}

impl Client {
    /// Without a session yet.
    pub fn new(address: SocketAddr, key: &str) -> Self {
        Self {
            pool: Pool::builder(TokioExecutor::new()).build(HttpConnector::new()),
            address,
            key: key.to_owned(),
            session: None,
            next_id: AtomicU64::new(1),
        }
    }

    /// A client that goes on with a session which it was given earlier.
    pub fn with_session(mut self, session: &str) -> Self {
        self.session = Some(session.to_owned());
        self
    }

    /// The session, once it is initialized.
    pub fn session(&self) -> Option<&str> {
        self.session.as_deref()
    }

    /// An id that this client has not used.
    pub fn fresh_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// A request as a well-behaved client builds it; the test bends it.
    pub fn request(&self, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::post(format!("http://{}/mcp", self.address))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        request.body(Full::new(body.into())).unwrap()
    }

    /// Sends a request; the reply's head, its body still to come.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        let sent = tokio::time::timeout(REPLY_MAX, self.pool.request(request)).await;
        sent.expect("no reply: a hang").expect("no reply")
    }

    /// The same, where the connection may break.
    pub async fn try_send(&self, request: Request<Full<Bytes>>) -> Result<Reply, String> {
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|error| format!("{error:?}"))?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
            Ok(Reply { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(REPLY_MAX, exchange).await.unwrap_or_else(|_| Err("a hang".to_owned()))
    }

    /// Sends a request; the whole reply.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        self.try_send(request).await.unwrap()
    }

    /// Posts these bytes.
    pub async fn post(&self, body: impl Into<Bytes>) -> Reply {
        self.send(self.request(body)).await
    }

    /// One JSON-RPC request.
    pub async fn rpc(&self, method: &str, params: Value) -> Reply {
        let id = self.fresh_id();
        self.post(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string()).await
    }

    /// One tool call; `tool` with its prefix.
    pub async fn call(&self, tool: &str, arguments: Value) -> Reply {
        self.rpc("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// The body of a call.
    pub fn call_body(&self, tool: &str, arguments: &Value) -> String {
        let id = self.fresh_id();
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": tool, "arguments": arguments } })
        .to_string()
    }

    /// The body of a call that asks for progress, and so for a stream.
    pub fn streamed_body(&self, tool: &str, arguments: &Value) -> String {
        let id = self.fresh_id();
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": { "name": tool, "arguments": arguments, "_meta": { "progressToken": id } } })
        .to_string()
    }

    /// The handshake of the session era; later requests carry the session.
    pub async fn initialize(&mut self) -> Value {
        let reply = self
            .rpc(
                "initialize",
                json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                    "clientInfo": { "name": "wicket-it", "version": "1" } }),
            )
            .await;
        assert_eq!(reply.status, 200, "{reply:?}");
        self.session = reply.header("mcp-session-id").map(str::to_owned);
        let accepted =
            self.post(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }).to_string()).await;
        assert_eq!(accepted.status, 202, "{accepted:?}");
        reply.result().unwrap()
    }

    /// Names of all tools, over all pages.
    pub async fn tool_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let params = cursor.map_or_else(|| json!({}), |cursor: String| json!({ "cursor": cursor }));
            let result = self.rpc("tools/list", params).await.result().unwrap();
            let tools = result["tools"].as_array().unwrap();
            names.extend(tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()));
            match result["nextCursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return names,
            }
        }
    }
}
