//! Event streams of the gate: that of an answer, and that of what the server says unasked.
//!
//! Invariants: each event becomes one line as it comes; a stream that broke is taken up again where the
//! session era lets it, a bounded number of times, and else its request gets an error; what is no
//! message is not written.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, Envelope};
use super::bridge::Bridge;
use super::door::{Events, Lost, Reply};
use super::message::Message;
use super::say;
use crate::mcp::sse::Event;

/// How often the stream of one answer is taken up again.
const RESUMES_MAX: u32 = 5;
/// Before a stream is opened again, where the server names no time.
const RETRY: Duration = Duration::from_secs(1);
/// The longest time before that.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Where a stream can be taken up.
struct Place {
    last: Option<String>,
    retry: Duration,
}

impl Place {
    const fn start() -> Self {
        Self { last: None, retry: RETRY }
    }

    /// The line of an event, if it is one.
    fn of(&mut self, event: Event) -> Option<Bytes> {
        if event.id.is_some() {
            self.last = event.id;
        }
        if let Some(retry) = event.retry {
            self.retry = Duration::from_millis(retry).min(RETRY_MAX);
        }
        if event.data.trim().is_empty() {
            return None;
        }
        if Envelope::read(&event.data).is_none() {
            say("an event of the gate is no JSON-RPC message and was left out");
            return None;
        }
        Some(answer::one_line(&event.data))
    }
}

/// Writes what comes before the answer, and gives the answer. `heads` are the headers of the request
/// and of its response.
///
/// # Errors
/// The stream ended before the answer.
pub async fn relay(
    bridge: &Arc<Bridge>,
    message: &Message,
    id: &str,
    heads: (HeaderMap, HeaderMap),
    stream: Events,
) -> Result<Bytes, Lost> {
    let (sent, said) = heads;
    let mut stream = stream;
    let mut place = Place::start();
    let mut resumes = 0;
    loop {
        while let Some(event) = stream.next().await? {
            let Some(line) = place.of(event) else { continue };
            if answers(&line, id) {
                bridge.learn(message, &said, &line);
                return Ok(line);
            }
            bridge.write(line).await;
        }
        // Only the session era can take up a stream, and only one whose events have ids.
        let can_resume = message.stateless.is_none() && place.last.is_some() && resumes < RESUMES_MAX;
        if !can_resume {
            return Err(Lost::broken("the stream of the answer ended before the answer"));
        }
        resumes += 1;
        tokio::time::sleep(place.retry).await;
        let response = bridge.door.listen(sent.clone(), place.last.as_deref()).await;
        match Reply::of(response?).await? {
            Reply::Events { stream: next, .. } => stream = next,
            Reply::Whole { status, .. } => {
                let why = format!(
                    "the stream of the answer broke and cannot be taken up: HTTP {}",
                    status.as_u16()
                );
                return Err(Lost::broken(&why));
            }
        }
    }
}

/// The answer to a request of the bridge's own; what comes before it is nobody's.
///
/// # Errors
/// There is none.
pub async fn only_answer(response: Response<Incoming>, id: &str) -> Result<Bytes, Lost> {
    match Reply::of(response).await? {
        Reply::Whole { status, body, .. } => Ok(answer::answer(id, status, &body)),
        Reply::Events { mut stream, .. } => {
            let mut place = Place::start();
            while let Some(event) = stream.next().await? {
                if let Some(line) = place.of(event).filter(|line| answers(line, id)) {
                    return Ok(line);
                }
            }
            Err(Lost::broken("the stream of the answer ended before the answer"))
        }
    }
}

fn answers(line: &Bytes, id: &str) -> bool {
    std::str::from_utf8(line).ok().and_then(Envelope::read).is_some_and(|message| message.answers(id))
}

/// Writes what the server says unasked, until there is no such stream or no such session.
pub async fn unasked(bridge: &Arc<Bridge>) {
    let mut place = Place::start();
    let mut failures = 0_u32;
    loop {
        let response = bridge.door.listen(bridge.session_headers(), place.last.as_deref()).await;
        let reply = match response {
            Ok(response) => Reply::of(response).await,
            Err(lost) => Err(lost),
        };
        match reply {
            Ok(Reply::Events { mut stream, .. }) => {
                failures = 0;
                while let Ok(Some(event)) = stream.next().await {
                    if let Some(line) = place.of(event) {
                        bridge.write(line).await;
                    }
                }
            }
            Ok(Reply::Whole { status, .. }) if is_final(status) => return,
            Ok(Reply::Whole { .. }) | Err(_) => failures += 1,
        }
        let doubled = place.retry.saturating_mul(2_u32.saturating_pow(failures.min(10)));
        tokio::time::sleep(doubled.min(RETRY_MAX)).await;
    }
}

/// Whether asking again for the stream would be answered no otherwise. 404: the session has ended, and
/// whoever renews it opens another stream.
const fn is_final(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::NOT_FOUND
            | StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
    )
}
