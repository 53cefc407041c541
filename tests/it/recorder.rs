//! A real MCP upstream that writes down what it received before it answers: the oracle for "was it
//! forwarded".
//!
//! Streamable HTTP, session era. Every request becomes one JSON line of its file; a `tools/call` is
//! on disk (`fdatasync`) before its first reply byte, so a gate that is killed at any moment leaves
//! the truth here. What a tool does is in `recorder/tools.rs`, chosen by its name.

#[path = "recorder/reply.rs"]
mod reply;
#[path = "recorder/tools.rs"]
mod tools;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};

pub use reply::ReplyBody;
pub use tools::definitions;

/// One request as this upstream understood it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Received {
    pub sequence: u64,
    pub http_method: String,
    /// JSON-RPC method; empty where the body was not understood.
    pub method: String,
    /// Raw JSON of the id.
    pub id: String,
    /// `params.name` of a call.
    pub tool: String,
    /// Raw JSON text of `params.arguments`, byte for byte.
    pub arguments: String,
    pub headers: Vec<(String, String)>,
    /// The whole body, where it is UTF-8.
    pub body: String,
}

impl Received {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The arguments, parsed.
    pub fn arguments_value(&self) -> serde_json::Value {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    method: String,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize, Default)]
struct Params<'a> {
    #[serde(default)]
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, rename = "_meta")]
    meta: Option<&'a RawValue>,
}

/// How a recorder is to be.
#[derive(Debug, Clone, Copy)]
pub struct RecorderOptions {
    /// `fdatasync` each call before it is answered; off where only the count matters.
    pub synced: bool,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self { synced: true }
    }
}

pub(crate) struct Shared {
    file: Mutex<File>,
    synced: bool,
    sequence: AtomicU64,
    /// Cancelled upstream ids, raw JSON.
    cancelled: Mutex<Vec<String>>,
    cancelled_changed: Notify,
    /// `hold` answers once its key is released.
    released: watch::Sender<Vec<String>>,
    /// Streams that are open now.
    streams_open: AtomicU64,
    /// Refuse everything with 500, as a broken upstream.
    pub(crate) broken: AtomicBool,
    /// Tool definitions that are served, so that a test can pull the rug.
    pub(crate) definitions: Mutex<Vec<serde_json::Value>>,
}

/// The running upstream. It stops with its runtime.
pub struct Recorder {
    address: SocketAddr,
    file: PathBuf,
    shared: Arc<Shared>,
}

impl Recorder {
    /// Listens on a free port of loopback and writes to `received.jsonl` in `dir`.
    pub async fn start(dir: &Path, options: RecorderOptions) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let file = dir.join(format!("received-{}.jsonl", address.port()));
        let shared = Arc::new(Shared {
            file: Mutex::new(OpenOptions::new().create(true).append(true).open(&file).unwrap()),
            synced: options.synced,
            sequence: AtomicU64::new(0),
            cancelled: Mutex::default(),
            cancelled_changed: Notify::new(),
            released: watch::Sender::new(Vec::new()),
            streams_open: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            definitions: Mutex::new(definitions()),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { address, file, shared }
    }

    /// Where its MCP endpoint is.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Everything that came so far, from the file.
    pub fn received(&self) -> Vec<Received> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The `tools/call`s that came so far.
    pub fn calls(&self) -> Vec<Received> {
        let mut calls = self.received();
        calls.retain(|received| received.method == "tools/call");
        calls
    }

    /// Lets every `hold` call with this key answer.
    pub fn release(&self, key: &str) {
        self.shared.released.send_modify(|keys| keys.push(key.to_owned()));
    }

    /// Returns once a `notifications/cancelled` came; the raw id it named.
    pub async fn cancelled(&self) -> String {
        loop {
            let waiting = self.shared.cancelled_changed.notified();
            if let Some(id) = self.shared.cancelled.lock().last().cloned() {
                return id;
            }
            waiting.await;
        }
    }

    /// Raw ids named by the `notifications/cancelled` that came.
    pub fn cancelled_ids(&self) -> Vec<String> {
        self.shared.cancelled.lock().clone()
    }

    /// Reply streams that are open now.
    pub fn streams_open(&self) -> u64 {
        self.shared.streams_open.load(Ordering::SeqCst)
    }

    /// From now on every request is answered 500, or no longer.
    pub fn set_broken(&self, broken: bool) {
        self.shared.broken.store(broken, Ordering::SeqCst);
    }

    /// Serves this tool list from now on.
    pub fn serve_definitions(&self, definitions: Vec<serde_json::Value>) {
        *self.shared.definitions.lock() = definitions;
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&shared), request));
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return Ok(reply::status(400, "body broke off")) };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let headers: Vec<(String, String)> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let envelope: Option<Envelope<'_>> = serde_json::from_str(&body).ok();
    let params: Params<'_> = envelope
        .as_ref()
        .and_then(|envelope| serde_json::from_str(envelope.params?.get()).ok())
        .unwrap_or_default();
    let received = Received {
        sequence: shared.sequence.fetch_add(1, Ordering::SeqCst),
        http_method: head.method.to_string(),
        method: envelope.as_ref().map_or_else(String::new, |envelope| envelope.method.clone()),
        id: envelope.as_ref().and_then(|e| e.id).map_or_else(String::new, |id| id.get().to_owned()),
        tool: params.name.clone(),
        arguments: params.arguments.map_or_else(String::new, |raw| raw.get().to_owned()),
        headers,
        body: body.clone(),
    };
    let progress_token = params
        .meta
        .and_then(|meta| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(meta.get()).ok())
        .and_then(|meta| meta.get("progressToken").cloned());
    record(&shared, &received);
    if shared.broken.load(Ordering::SeqCst) {
        return Ok(reply::status(500, "broken on purpose"));
    }
    if head.method != Method::POST {
        return Ok(reply::status(405, "POST only"));
    }
    if received.method == "notifications/cancelled" {
        let named = serde_json::from_str::<serde_json::Value>(&body).unwrap_or_default();
        shared.cancelled.lock().push(named["params"]["requestId"].to_string());
        shared.cancelled_changed.notify_waiters();
    }
    Ok(tools::answer(&shared, &received, progress_token).await)
}

/// One line, in the file (and on disk) when this returns.
fn record(shared: &Shared, received: &Received) {
    let mut line = serde_json::to_vec(received).unwrap();
    line.push(b'\n');
    let mut file = shared.file.lock();
    file.write_all(&line).unwrap();
    if shared.synced && received.method == "tools/call" {
        file.sync_data().unwrap();
    }
}
