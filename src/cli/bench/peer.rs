//! One MCP client: a connection of its own, the handshake of the session era, one call at a time.
//!
//! Invariants: a redirect is never followed; a reply is read up to a cap; a connection that failed is
//! never used again, so that no reply can be taken for another call's.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde::Deserialize;
use tower_service::Service as _;

use super::plan::{Call, Target};
use super::verdict::{self, Fault, Verdict};
use crate::mcp::Revision;

/// Bytes of one reply.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// Pages of a tool list that are read.
const PAGES_MAX: usize = 100;
/// Time for the end of a session, which nobody waits for.
const END_MAX: Duration = Duration::from_secs(1);

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Dials one target; cheap to clone.
#[derive(Clone)]
pub struct Dial {
    connector: HttpsConnector<HttpConnector>,
    target: Target,
    path: Uri,
    headers: HeaderMap,
    call_max: Duration,
}

/// What a server says of itself.
#[derive(Debug, Clone, Default)]
pub struct Server {
    pub name: String,
    pub version: String,
    pub revision: String,
}

/// A connected client.
pub struct Peer {
    sender: SendRequest<Full<Bytes>>,
    path: Uri,
    headers: HeaderMap,
    call_max: Duration,
    next_id: u64,
    server: Server,
}

struct Read {
    status: StatusCode,
    headers: HeaderMap,
    events: bool,
    body: Bytes,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Initialized {
    protocol_version: String,
    server_info: ServerInfo,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ServerInfo {
    name: String,
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    tools: Vec<ListedTool>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct ListedTool {
    name: String,
}

impl Dial {
    /// What dials this target. A handshake and a call have `call_max` each.
    ///
    /// # Errors
    /// TLS cannot be set up, or the URL has no host.
    pub fn new(target: &Target, call_max: Duration) -> Result<Self, String> {
        let connector = connector(target, call_max)?;
        let authority = target.uri.authority().ok_or("the URL has no host")?;
        let path = target.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path = path.parse().map_err(|_| "the URL's path cannot be sent".to_owned())?;
        let host = HeaderValue::try_from(authority.as_str());
        let mut headers = HeaderMap::with_capacity(10);
        headers.insert(HOST, host.map_err(|_| "the URL's host cannot be sent".to_owned())?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        let agent = concat!("wicket-bench/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(authorization) = &target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        Ok(Self { connector, target: target.clone(), path, headers, call_max })
    }

    /// Connects and shakes hands: `initialize`, `notifications/initialized`.
    ///
    /// # Errors
    /// What the server, or the way to it, said instead.
    pub async fn connect(&self) -> Result<Peer, Fault> {
        let slow = |_| Fault::new("timeout", "no connection and handshake in the time of one call");
        tokio::time::timeout(self.call_max, self.shake_hands()).await.map_err(slow)?
    }

    async fn shake_hands(&self) -> Result<Peer, Fault> {
        let dialled = self.connector.clone().call(self.target.uri.clone()).await;
        let stream = dialled.map_err(|error| Fault::new("cannot connect", chain(error.as_ref())))?;
        let (sender, connection) = http1::handshake(stream).await.map_err(|error| lost(&error))?;
        tokio::spawn(connection);
        let mut peer = Peer {
            sender,
            path: self.path.clone(),
            headers: self.headers.clone(),
            call_max: self.call_max,
            next_id: 1,
            server: Server::default(),
        };
        peer.initialize().await?;
        Ok(peer)
    }
}

/// What dials a target, over TLS where its URL says so, each time within `dial_max`.
///
/// # Errors
/// TLS cannot be set up.
pub(in crate::cli) fn connector(
    target: &Target,
    dial_max: Duration,
) -> Result<HttpsConnector<HttpConnector>, String> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(dial_max));
    let builder = HttpsConnectorBuilder::new();
    let builder = if target.uri.scheme_str() == Some("https") {
        builder
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| format!("no trusted certificate is found: {error}; set SSL_CERT_FILE"))?
    } else {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS cannot be set up: {error}"))?;
        builder.with_tls_config(
            config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
        )
    };
    Ok(builder.https_or_http().enable_http1().wrap_connector(tcp))
}

impl Peer {
    async fn initialize(&mut self) -> Result<(), Fault> {
        let params = format!(
            r#"{{"protocolVersion":"{}","capabilities":{{}},"clientInfo":{{"name":"wicket-bench","version":"{}"}}}}"#,
            Revision::NEWEST_OF_SESSION_ERA.as_str(),
            env!("CARGO_PKG_VERSION")
        );
        let (headers, result) = self.ask("initialize", &params).await?;
        let said: Initialized = serde_json::from_str(result.get())
            .map_err(|error| Fault::new("no MCP server", format!("initialize: {error}")))?;
        if let Some(id) = headers.get(SESSION_ID) {
            self.headers.insert(SESSION_ID, id.clone());
        }
        // The header came with 2025-06-18; dates compare as text.
        if said.protocol_version.as_str() >= Revision::R2025_06_18.as_str()
            && let Ok(version) = HeaderValue::try_from(said.protocol_version.as_str())
        {
            self.headers.insert(PROTOCOL_VERSION, version);
        }
        let ServerInfo { name, version } = said.server_info;
        self.server = Server { name, version, revision: said.protocol_version };
        let note = Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let read = self.exchange(Method::POST, note).await?;
        if read.status.is_success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&read.body).into_owned();
        Err(Fault::new(format!("HTTP {}", read.status.as_u16()), text))
    }

    /// What the server said of itself.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Names of the tools that the server lists.
    ///
    /// # Errors
    /// What was said instead.
    pub async fn tools(&mut self) -> Result<Vec<String>, Fault> {
        let mut names = Vec::new();
        let mut params = "{}".to_owned();
        for _ in 0..PAGES_MAX {
            let (_, result) = self.ask("tools/list", &params).await?;
            let page: Listed = serde_json::from_str(result.get())
                .map_err(|error| Fault::new("no MCP server", format!("tools/list: {error}")))?;
            names.extend(page.tools.into_iter().map(|tool| tool.name));
            let Some(cursor) = page.next_cursor else { break };
            params = serde_json::json!({ "cursor": cursor }).to_string();
        }
        Ok(names)
    }

    async fn ask(
        &mut self,
        method: &str,
        params: &str,
    ) -> Result<(HeaderMap, Box<serde_json::value::RawValue>), Fault> {
        let id = self.fresh_id();
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        let read = self.exchange(Method::POST, body.into()).await?;
        let result = verdict::result_of(read.status, read.events, &read.body, id)?;
        Ok((read.headers, result))
    }

    /// Calls the tool once. `Err` says that the connection is gone too.
    ///
    /// # Errors
    /// The connection broke, or no answer came in time.
    pub async fn call(&mut self, call: &Call) -> Result<Verdict, Fault> {
        let id = self.fresh_id();
        let slow = |_| Fault::new("timeout", "no answer in the time of one call");
        let call_max = self.call_max;
        let exchange = self.exchange(Method::POST, call.body(id).into());
        let read = tokio::time::timeout(call_max, exchange).await.map_err(slow)??;
        Ok(verdict::judge(read.status, read.events, &read.body, id))
    }

    /// Gives the session back, where there is one.
    pub async fn end(mut self) {
        if self.headers.contains_key(SESSION_ID) {
            drop(tokio::time::timeout(END_MAX, self.exchange(Method::DELETE, Bytes::new())).await);
        }
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    async fn exchange(&mut self, method: Method, body: Bytes) -> Result<Read, Fault> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        self.sender.ready().await.map_err(|error| lost(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| lost(&error))?;
        read(response).await
    }
}

async fn read(response: Response<Incoming>) -> Result<Read, Fault> {
    let (head, body) = response.into_parts();
    let media = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let events = media.to_ascii_lowercase().starts_with(b"text/event-stream");
    let body = Limited::new(body, REPLY_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Fault::new("connection lost", chain(error.as_ref())))?.to_bytes();
    Ok(Read { status: head.status, headers: head.headers, events, body })
}

fn lost(error: &hyper::Error) -> Fault {
    Fault::new("connection lost", chain(error))
}

/// An error with its reasons, outermost first.
pub(in crate::cli) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(source) = inner {
        let reason = source.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        inner = source.source();
    }
    text
}
