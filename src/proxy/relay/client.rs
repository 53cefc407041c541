//! The client's end of a reply: not answered yet, taking a stream, or gone.
//!
//! Invariants: an answer begins once; a client that takes nothing for too long is as one that left; what
//! did not come whole never ends cleanly.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::oneshot;

use crate::mcp::sse;
use crate::proxy::body::{Body, Feed, Gone};
use crate::proxy::streams::{Ended, PostStream};

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
    /// Where a stream is kept, so that the client may come back for it.
    post: Option<Arc<PostStream>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(post) = &self.post {
            post.end(Ended::Broken);
        }
    }
}

enum End {
    Waiting(oneshot::Sender<Beginning>),
    Streaming(Feed),
    Gone,
}

impl Client {
    /// A client that has no answer yet.
    pub fn waiting(beginning: oneshot::Sender<Beginning>, wait_ms_max: u64) -> Self {
        Self { end: End::Waiting(beginning), wait: Duration::from_millis(wait_ms_max), bytes: 0, post: None }
    }

    /// Whether nothing was answered yet.
    pub const fn is_waiting(&self) -> bool {
        matches!(self.end, End::Waiting(_))
    }

    /// Keeps the stream that is about to begin for a client that comes back for it.
    pub fn keep(&mut self, post: Arc<PostStream>) {
        self.post = Some(post);
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
        let begins = self.is_waiting();
        self.begin();
        let Ok(text) = std::str::from_utf8(message) else { return self.end = End::Gone };
        let prime = self.post.as_ref().filter(|_| begins).map(|post| post.prime());
        let event = match &self.post {
            Some(post) => post.push(text),
            None => sse::encode(&sse::Event::of_data(text)),
        };
        if self.post.as_ref().is_some_and(|post| !post.is_of(0)) {
            // Another connection of the client has taken over.
            self.end = End::Gone;
        }
        for event in prime.into_iter().chain([event]) {
            let End::Streaming(feed) = &self.end else { return };
            let bytes = event.len() as u64;
            match tokio::time::timeout(self.wait, feed.event(event)).await {
                Ok(Ok(())) => self.bytes = self.bytes.saturating_add(bytes),
                Ok(Err(Gone)) | Err(_) => self.end = End::Gone,
            }
        }
    }

    /// Closes the connection of a stream that is kept: the client comes back for the rest, as its server
    /// would have it (2025-11-25, polling).
    pub async fn pause(&mut self) {
        let Some(post) = self.post.clone() else { return };
        let begins = self.is_waiting();
        self.begin();
        let End::Streaming(feed) = std::mem::replace(&mut self.end, End::Gone) else { return };
        let closed = async {
            if begins {
                feed.event(post.prime()).await?;
            }
            feed.end().await
        };
        // A client that left misses nothing that it cannot come back for.
        let _gone = tokio::time::timeout(self.wait, closed).await;
    }

    /// Ends the stream cleanly, an empty one if nothing was answered yet.
    pub async fn end(&mut self) {
        self.begin();
        if let Some(post) = &self.post {
            post.end(Ended::Whole);
        }
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
