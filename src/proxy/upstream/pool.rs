//! Connections to one HTTP upstream, and requests over them.
//!
//! HTTP/1.1 is spoken here, by the task that makes the call: hyper's client has a task of its own for each
//! connection and two channels between that and the caller, and each of some six hops a call polls everything
//! that waits above it (docs/decisions/0068). HTTP/2, where TLS agrees on it (ALPN), is hyper's.
//!
//! Invariants: a request is handed to one connection, unless that took no byte of it; "nothing was sent" is
//! said only then; a connection is used again only where its answer was read to the end and nothing lies
//! behind it; what is dropped half-way is closed; idle connections are capped, and closed in time.

mod body;
mod chunked;
mod head;
mod http1;
mod idle;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use self::body::Incoming;
use self::http1::{Connection, Ended, Message};
use self::idle::{Http2, Idle};
use super::egress::{BoxError, Dialer, Dialled};

/// MCP's header for the session that a server gives.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The connections to one upstream.
#[derive(Debug)]
pub struct Pool {
    dialer: Dialer,
    idle: Arc<Idle>,
}

/// The answer to a request: of its head, what the gate reads and nothing else.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    /// Whether its body is encoded, which was not asked for.
    pub is_encoded: bool,
    pub session_id: Option<HeaderValue>,
    pub body: Incoming,
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// No connection could be made.
    Dial(BoxError),
    /// A connection broke, or what came over it is no answer.
    Broken(BoxError),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dial(why) | Self::Broken(why) => why.fmt(f),
        }
    }
}

impl Pool {
    /// No connections yet; of those that nobody uses, at most so many are kept.
    pub fn new(dialer: Dialer, idle_max: usize) -> Self {
        Self { dialer, idle: Arc::new(Idle::new(idle_max)) }
    }

    /// Sends a request and waits for the head of its answer. `handed` is true from the moment on from which
    /// the request may have arrived, also where this future is dropped.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn request(&self, request: Request<Bytes>, handed: &mut bool) -> Result<Answer, NoAnswer> {
        // What is seldom or large is boxed: this stands in the state of every call.
        if let Some(http2) = self.idle.http2() {
            return Box::pin(self.over_http2(http2, request, handed)).await;
        }
        let message = Message::of(&request);
        while let Some(connection) = self.idle.take() {
            match self.over_http1(connection, &message, handed).await {
                // It was closed while it lay idle.
                Err(Ended::Untouched(_)) => {}
                answered => return answered.map_err(Ended::into),
            }
        }
        Box::pin(self.over_new(request, handed)).await
    }

    /// A request was answered by silence: a connection that others share may be the reason.
    pub fn doubt(&self) {
        self.idle.forget_http2();
    }

    /// Sends it over a new connection, in the version that the server chooses.
    async fn over_new(&self, request: Request<Bytes>, handed: &mut bool) -> Result<Answer, NoAnswer> {
        let dialled = self.dialer.dial(request.uri().clone()).await.map_err(NoAnswer::Dial)?;
        if dialled.connected().is_negotiated_h2() {
            let http2 = self.begin_http2(dialled).await?;
            return ask_http2(http2, request.map(Full::new), handed).await.map_err(Unsent::into);
        }
        let connection = Box::new(Connection::new(dialled));
        self.over_http1(connection, &Message::of(&request), handed).await.map_err(Ended::into)
    }

    async fn over_http2(
        &self,
        http2: Http2,
        request: Request<Bytes>,
        handed: &mut bool,
    ) -> Result<Answer, NoAnswer> {
        let body = request.body().clone();
        match ask_http2(http2, request.map(Full::new), handed).await {
            // The server has said that it takes no more over this one (GOAWAY), or closed it.
            Err(Unsent { request: Some(request), .. }) => {
                self.idle.forget_http2();
                self.over_new(request.map(|_| body), handed).await
            }
            answered => answered.map_err(Unsent::into),
        }
    }

    async fn over_http1(
        &self,
        mut connection: Box<Connection>,
        message: &Message,
        handed: &mut bool,
    ) -> Result<Answer, Ended> {
        let head = connection.exchange(message, handed).await?;
        let head::Head { status, content_type, is_encoded, session_id, framing, keeps } = head;
        let body = Incoming::of_http1(connection, framing, keeps.then(|| Arc::clone(&self.idle)));
        Ok(Answer { status, content_type, is_encoded, session_id, body })
    }

    async fn begin_http2(&self, dialled: Dialled) -> Result<Http2, NoAnswer> {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        let begun = builder.timer(TokioTimer::new()).handshake(dialled).await;
        let (http2, connection) = begun.map_err(|error| NoAnswer::Dial(error.into()))?;
        // It ends when its last sender is dropped, or the server closes it; who uses it hears why.
        drop(tokio::spawn(connection));
        self.idle.keep_http2(http2.clone());
        Ok(http2)
    }
}

/// A request over HTTP/2 that has no answer; with the request where certainly nothing of it was sent.
struct Unsent {
    error: hyper::Error,
    request: Option<Request<Full<Bytes>>>,
}

impl From<Unsent> for NoAnswer {
    fn from(unsent: Unsent) -> Self {
        Self::Broken(unsent.error.into())
    }
}

async fn ask_http2(
    mut http2: Http2,
    request: Request<Full<Bytes>>,
    handed: &mut bool,
) -> Result<Answer, Unsent> {
    if let Err(error) = http2.ready().await {
        return Err(Unsent { error, request: Some(request) });
    }
    *handed = true;
    let (head, body) = match http2.try_send_request(request).await {
        Ok(response) => response.into_parts(),
        Err(mut unsent) => {
            let request = unsent.take_message();
            *handed = request.is_none();
            return Err(Unsent { error: unsent.into_error(), request });
        }
    };
    let mut headers = head.headers;
    Ok(Answer {
        status: head.status,
        is_encoded: headers.contains_key(CONTENT_ENCODING),
        content_type: headers.remove(CONTENT_TYPE),
        session_id: headers.remove(SESSION_ID),
        body: Incoming::of_http2(body),
    })
}

#[cfg(test)]
mod tests;
