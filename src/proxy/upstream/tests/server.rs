//! A peer that speaks HTTP/1.1 by hand on a real socket, so that it can break off anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One request as it was received.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// Header lines, in lower case.
    pub head: Vec<String>,
    pub raw: String,
    pub body: Value,
    /// Which connection it came on.
    pub connection: u32,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<String> {
        let start = format!("{name}: ");
        self.head.iter().find_map(|line| line.strip_prefix(&start).map(str::to_owned))
    }

    pub fn rpc(&self) -> &str {
        self.body["method"].as_str().unwrap_or_default()
    }
}

/// What the peer does.
pub enum Act {
    Write(String),
    Wait(u64),
    /// Waits for this to become true, at most 5 seconds.
    Until(Arc<dyn Fn() -> bool + Send + Sync>),
    /// Ends the connection.
    Close,
}

type Handler = dyn Fn(&Received) -> Vec<Act> + Send + Sync;

pub struct Peer {
    pub port: u16,
    pub received: Arc<Mutex<Vec<Received>>>,
    pub connections: Arc<AtomicU32>,
}

impl Peer {
    /// A peer that shakes hands, lists `tools`, and answers calls by `on_call`.
    pub async fn start(
        tools: Vec<Value>,
        on_call: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static,
    ) -> Self {
        Self::with(move |request| match (request.method.as_str(), request.rpc()) {
            (_, "initialize") => vec![reply_with("mcp-session-id: s-1\r\n", &initialized(request))],
            (_, "tools/list") => {
                vec![reply(&json!({"jsonrpc": "2.0", "id": request.body["id"], "result": {"tools": tools}}))]
            }
            (_, "tools/call") => on_call(request),
            _ => vec![Act::Write("HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned())],
        })
        .await
    }

    pub async fn with(handler: impl Fn(&Received) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let connections: Arc<AtomicU32> = Arc::default();
        let (log, count, handler): (_, _, Arc<Handler>) =
            (Arc::clone(&received), Arc::clone(&connections), Arc::new(handler));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(stream, connection, Arc::clone(&handler), Arc::clone(&log)));
            }
        });
        Self { port, received, connections }
    }

    pub fn descriptor(&self, limits: &str) -> String {
        format!(
            "[transport]\nkind = \"http\"\nurl = \"http://127.0.0.1:{}/mcp\"\nallow_private = true\n\
             headers = {{ Authorization = {{ env = \"PASSED\" }} }}\n[limits]\n{limits}\n",
            self.port
        )
    }

    pub fn requests(&self, rpc: &str) -> Vec<Received> {
        self.received.lock().iter().filter(|request| request.rpc() == rpc).cloned().collect()
    }
}

async fn serve(
    stream: TcpStream,
    connection: u32,
    handler: Arc<Handler>,
    log: Arc<Mutex<Vec<Received>>>,
) -> Option<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if read.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            head.push(line);
        }
        let method = head[0].split(' ').next()?.to_uppercase();
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        read.read_exact(&mut body).await.ok()?;
        let raw = String::from_utf8(body).unwrap();
        let body = serde_json::from_str(&raw).unwrap_or_default();
        let request = Received { method, head, raw, body, connection };
        log.lock().push(request.clone());
        for act in handler(&request) {
            match act {
                Act::Write(text) => write.write_all(text.as_bytes()).await.ok()?,
                Act::Wait(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Act::Until(is) => {
                    for _ in 0..1_000 {
                        if is() {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                }
                Act::Close => return None,
            }
        }
    }
}

pub fn initialized(request: &Received) -> Value {
    json!({"jsonrpc": "2.0", "id": request.body["id"], "result": {
        "protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "p", "version": "1"}}})
}

pub fn reply(body: &Value) -> Act {
    reply_with("", body)
}

pub fn reply_with(headers: &str, body: &Value) -> Act {
    let body = body.to_string();
    Act::Write(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// A response with this status line and body.
pub fn status(line: &str, body: &str) -> Act {
    Act::Write(format!(
        "HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
}

/// The answer of a server of the stateless era to `server/discover`.
pub fn discovered(request: &Received) -> Value {
    json!({"jsonrpc": "2.0", "id": request.body["id"], "result": {
        "resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
        "ttlMs": 0, "cacheScope": "private",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "modern", "version": "7"}}}})
}

/// The result of a call that echoes its arguments.
pub fn echo(request: &Received) -> Value {
    json!({"jsonrpc": "2.0", "id": request.body["id"],
        "result": {"content": [], "structuredContent": request.body["params"]["arguments"]}})
}

/// The head of an event stream, in chunks.
pub fn events() -> Act {
    Act::Write(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
    )
}

pub fn chunk(text: &str) -> Act {
    Act::Write(format!("{:x}\r\n{text}\r\n", text.len()))
}

pub fn event(message: &Value) -> Act {
    chunk(&format!("data: {message}\n\n"))
}

pub fn last_chunk() -> Act {
    Act::Write("0\r\n\r\n".to_owned())
}
