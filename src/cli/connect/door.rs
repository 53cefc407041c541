//! The gate's side: one HTTP request for each message, and what comes back, read within its bounds.
//!
//! Invariants: a redirect is never followed, so that the key goes to nobody else; a body and an event
//! are held up to a cap; the key is in no message.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::super::bench::peer;
use super::super::bench::plan::Target;
use crate::mcp::sse::{Decoder, Event};

/// Bytes of an answer that is no event stream.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Bytes of one event.
const EVENT_BYTES_MAX: usize = 64 << 20;
/// Time to reach the gate.
const DIAL_MAX: Duration = Duration::from_secs(10);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Sends to one gate with one key; connections are kept for the next message.
pub struct Door {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    target: Target,
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Lost {
    /// For programs.
    pub reason: &'static str,
    /// For people: what happened and what to do.
    pub why: String,
}

/// The request has left, and its answer did not come whole.
const BROKEN: &str = "connection_lost";

impl Lost {
    /// The request has left, and what became of it nobody knows.
    pub fn broken(what: &str) -> Self {
        Self { reason: BROKEN, why: format!("{what}; the call may have been carried out") }
    }

    /// Whether the gate had begun to answer, as far as that is known.
    pub fn had_begun(&self) -> bool {
        self.reason == BROKEN
    }

    /// No answer in its time.
    pub fn silent(url: &str) -> Self {
        Self { reason: "gate_silent", why: format!("the gate at {url} does not answer: `wicket status`") }
    }
}

/// What a response is.
pub enum Reply {
    /// No event stream; the body is there.
    Whole {
        status: StatusCode,
        headers: HeaderMap,
        body: String,
    },
    Events {
        headers: HeaderMap,
        stream: Events,
    },
}

impl Door {
    /// A door to this gate.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(target: Target) -> Result<Self, String> {
        let connector = peer::connector(&target, DIAL_MAX)?;
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), target })
    }

    /// The gate's address.
    pub fn url(&self) -> String {
        self.target.url()
    }

    /// Sends one message. It has no deadline of its own: how long a call may take is the gate's to say.
    ///
    /// # Errors
    /// Why there is no response, in words.
    pub async fn post(&self, line: Bytes, headers: HeaderMap) -> Result<Response<Incoming>, Lost> {
        let mut headers = headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
        self.send(Method::POST, line, headers).await
    }

    /// Opens the stream of what the server says unasked, or goes on with a stream that broke.
    ///
    /// # Errors
    /// Why there is no response, in words.
    pub async fn listen(
        &self,
        headers: HeaderMap,
        last_event: Option<&str>,
    ) -> Result<Response<Incoming>, Lost> {
        let mut headers = headers;
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(id) = last_event.and_then(|id| HeaderValue::try_from(id).ok()) {
            headers.insert(LAST_EVENT_ID, id);
        }
        self.send(Method::GET, Bytes::new(), headers).await
    }

    /// Gives the session back.
    ///
    /// # Errors
    /// Why there is no response, in words.
    pub async fn leave(&self, headers: HeaderMap) -> Result<(), Lost> {
        self.send(Method::DELETE, Bytes::new(), headers).await.map(drop)
    }

    async fn send(
        &self,
        method: Method,
        body: Bytes,
        mut headers: HeaderMap,
    ) -> Result<Response<Incoming>, Lost> {
        let agent = concat!("wicket-connect/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if let Some(authorization) = &self.target.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.target.uri.clone();
        *request.headers_mut() = headers;
        self.client.request(request).await.map_err(|error| {
            let (url, why) = (self.url(), peer::chain(&error));
            if error.is_connect() {
                let why = format!("no gate answers at {url}: {why}; is it running? (`wicket status`)");
                Lost { reason: "gate_unreachable", why }
            } else {
                Lost::broken(&format!("the connection to {url} broke: {why}"))
            }
        })
    }
}

impl Reply {
    /// Reads a response, its body too where that is no event stream.
    ///
    /// # Errors
    /// The body broke off, is too large, or is no text.
    pub async fn of(response: Response<Incoming>) -> Result<Self, Lost> {
        let (head, body) = response.into_parts();
        let media = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        if head.status.is_success() && media.to_ascii_lowercase().starts_with(b"text/event-stream") {
            let decoder = Decoder::new(EVENT_BYTES_MAX);
            let stream = Events { body, decoder, ready: Vec::new() };
            return Ok(Self::Events { headers: head.headers, stream });
        }
        let body = whole(body).await?;
        Ok(Self::Whole { status: head.status, headers: head.headers, body })
    }
}

async fn whole(mut body: Incoming) -> Result<String, Lost> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Lost::broken(&format!("the answer broke off: {}", peer::chain(&error))))?;
        let Ok(data) = frame.into_data() else { continue };
        if held.len() + data.len() > BODY_BYTES_MAX {
            return Err(Lost::broken(&format!("the answer is larger than {BODY_BYTES_MAX} bytes")));
        }
        held.extend_from_slice(&data);
    }
    String::from_utf8(held.into()).map_err(|_| Lost::broken("the answer is not UTF-8"))
}

/// An event stream that is read as it comes.
pub struct Events {
    body: Incoming,
    decoder: Decoder,
    /// Events that have come and not been taken, the next one last.
    ready: Vec<Event>,
}

impl Events {
    /// The next event; `None` at the end, however it came: what was not complete is no event.
    ///
    /// # Errors
    /// The stream cannot be read on: an event is too large or no text.
    pub async fn next(&mut self) -> Result<Option<Event>, Lost> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Ok(Some(event));
            }
            let Some(Ok(frame)) = self.body.frame().await else { return Ok(None) };
            let Ok(data) = frame.into_data() else { continue };
            self.ready = self.decoder.push(&data).map_err(|fault| Lost::broken(&fault.to_string()))?;
            self.ready.reverse();
        }
    }
}
