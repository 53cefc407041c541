//! The client's end of a reply: not answered yet, taking a stream, or gone.
//!
//! Invariants: an answer begins once; a client that takes nothing for too long is as one that left; what
//! did not come whole never ends cleanly.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use crate::mcp::sse;
use crate::proxy::body::{Body, Feed, Gone};

use super::Beginning;

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Asks proxies in front not to buffer the stream (nginx's name for it).
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// One client that waits for an answer.
pub(super) struct Client {
    end: End,
    /// How long it may take nothing of a stream.
    wait: Duration,
    /// Bytes that it was given.
    pub bytes: u64,
}

enum End {
    Waiting(oneshot::Sender<Beginning>),
    Streaming(Feed),
    Gone,
}

impl Client {
    /// A client that has no answer yet.
    pub fn waiting(beginning: oneshot::Sender<Beginning>, wait_ms_max: u64) -> Self {
        Self { end: End::Waiting(beginning), wait: Duration::from_millis(wait_ms_max), bytes: 0 }
    }

    /// Whether nothing was answered yet.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.end, End::Waiting(_))
    }

    /// Answers whole. A client that went away misses it; the record stands.
    pub fn answer(&mut self, answer: Beginning, bytes: u64) {
        if let End::Waiting(beginning) = std::mem::replace(&mut self.end, End::Gone) {
            self.bytes = self.bytes.saturating_add(bytes);
            let _gone = beginning.send(answer);
        }
    }

    /// Begins a stream, if nothing was answered yet.
    pub fn begin(&mut self) {
        if !self.is_waiting() {
            return;
        }
        if let End::Waiting(beginning) = std::mem::replace(&mut self.end, End::Gone) {
            let (feed, body) = Body::stream();
            if beginning.send(Ok(event_stream(body))).is_ok() {
                self.end = End::Streaming(feed);
            }
        }
    }

    /// Gives it a message as an event, in a stream that is begun for it if need be.
    pub async fn event(&mut self, message: &Bytes) {
        self.begin();
        let (End::Streaming(feed), Ok(text)) = (&self.end, std::str::from_utf8(message)) else {
            return self.end = End::Gone;
        };
        let event = sse::encode(&sse::Event::of_data(text));
        let bytes = event.len() as u64;
        match tokio::time::timeout(self.wait, feed.event(event)).await {
            Ok(Ok(())) => self.bytes = self.bytes.saturating_add(bytes),
            Ok(Err(Gone)) | Err(_) => self.end = End::Gone,
        }
    }

    /// Ends the stream cleanly, an empty one if nothing was answered yet.
    pub async fn end(&mut self) {
        self.begin();
        if let End::Streaming(feed) = std::mem::replace(&mut self.end, End::Gone) {
            // A client that left misses the end as well.
            let _gone = tokio::time::timeout(self.wait, feed.end()).await;
        }
    }

    /// Returns when the client has left.
    pub async fn left(&mut self) {
        match &mut self.end {
            End::Waiting(beginning) => beginning.closed().await,
            End::Streaming(feed) => feed.closed().await,
            End::Gone => {}
        }
    }
}

/// The head of a stream of events.
pub(in crate::proxy) fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
