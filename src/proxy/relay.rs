//! The reply on its way down: a whole JSON answer, or a stream as it comes.
//!
//! It runs inside a call that outlasts its client (`lasting`): one that goes away neither cancels a
//! call of the session era (MCP 2025-11-25: a disconnect is not a cancellation) nor leaves its record
//! open. Invariants: the receipt is completed exactly once, with what was relayed; a reply that broke
//! never looks complete; a client that takes nothing holds back only its own stream; a caller whose
//! key is revoked meanwhile gets nothing more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::sync::{oneshot, watch};

use crate::audit::Receipt;
use crate::mcp::{Refusal, RequestId, sse};
use crate::model::{CallId, Caller, Outcome, OutcomeKind, ServiceKey};
use crate::telemetry;

use super::admission::Slot;
use super::body::{Body, Feed, Gone};
use super::identity;
use super::in_flight::Entry;
use super::refusal::{self, Refused};
use super::reply_room::{NoRoom, ReplyRoom};
use super::snapshot::Live;
use super::upstream::{ReplyEvent, ReplyStream, Sent, UpstreamFailure};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Asks proxies in front not to buffer the stream (nginx's name for it).
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What the task needs to end a call properly, whatever happens.
pub(super) struct Errand {
    pub id: RequestId,
    pub service: ServiceKey,
    pub call_id: CallId,
    pub started: Instant,
    /// How long a client may take nothing of a stream.
    pub client_ms_max: u64,
    /// Where a whole reply waits for the client.
    pub room: Arc<ReplyRoom>,
    pub standing: Standing,
    /// Held until the upstream is done: caps count work, not connections; and for as long the client
    /// can cancel.
    pub _held: (Slot, Entry),
}

/// Whether the caller may still be here.
pub(super) struct Standing {
    caller: Caller,
    service: ServiceKey,
    live: Arc<Live>,
    generations: watch::Receiver<u64>,
}

/// How the answer begins; decided by the first thing that the upstream says.
pub(super) type Beginning = Result<Response<Body>, Refused>;

/// The next thing to do for a reply.
enum Next {
    Event(ReplyEvent),
    /// The caller lost its right: nothing more is relayed, and the upstream is told to stop.
    Revoked,
}

/// Carries the reply of one call to its client.
pub(super) async fn carry(sent: Sent, mut errand: Errand, beginning: oneshot::Sender<Beginning>) {
    let mut reply = match sent {
        Sent::Reply(reply) => reply,
        Sent::Failed { receipt, failure } => {
            errand.complete(receipt, failure.outcome_kind(), failure.status(), 0);
            return errand.refuse(&failure, beginning);
        }
    };
    let mut next = errand.standing.next(&mut reply.stream).await;
    while let Next::Event(ReplyEvent::Request(_)) = next {
        // Dropped: the upstream is told that nobody can answer.
        next = errand.standing.next(&mut reply.stream).await;
    }
    let (kind, bytes) = match next {
        Next::Event(ReplyEvent::Request(_)) => (OutcomeKind::Broken, 0),
        Next::Event(ReplyEvent::Json { body, kind }) => {
            let bytes = body.len() as u64;
            let answer = errand.whole(body);
            let relayed = if answer.is_ok() { (kind, bytes) } else { (OutcomeKind::Broken, 0) };
            // A client that went away misses its answer; the record stands.
            let _gone = beginning.send(answer);
            relayed
        }
        Next::Event(ReplyEvent::Notification(first)) => {
            stream(&mut reply.stream, &first, &mut errand, beginning).await
        }
        Next::Event(ReplyEvent::Broken(UpstreamFailure::Cancelled)) => {
            // The client asked for no answer: an event stream that ends without one.
            let (feed, body) = Body::stream();
            let _ended = feed.end().await;
            let _gone = beginning.send(Ok(event_stream(body)));
            (OutcomeKind::Cancelled, 0)
        }
        Next::Event(ReplyEvent::Broken(failure)) => {
            errand.refuse(&failure, beginning);
            (failure.outcome_kind(), 0)
        }
        Next::Event(ReplyEvent::End) => {
            let failure = UpstreamFailure::Broken { status: reply.status, why: "no answer came".into() };
            errand.refuse(&failure, beginning);
            (OutcomeKind::Broken, 0)
        }
        Next::Revoked => {
            let _gone = beginning.send(Err(Refused::from(Refusal::UnknownKey).to(errand.id.clone())));
            (OutcomeKind::Cancelled, 0)
        }
    };
    errand.complete(reply.receipt, kind, reply.status, bytes);
}

/// Relays event by event. The client may leave; the upstream is heard to its end.
async fn stream(
    reply: &mut ReplyStream,
    first: &Bytes,
    errand: &mut Errand,
    beginning: oneshot::Sender<Beginning>,
) -> (OutcomeKind, u64) {
    let (feed, body) = Body::stream();
    let wait = Duration::from_millis(errand.client_ms_max);
    let mut client = Client { feed: Some(feed), wait, bytes: 0 };
    if beginning.send(Ok(event_stream(body))).is_err() {
        client.feed = None;
    }
    client.event(first).await;
    let mut answered = None;
    let kind = loop {
        match errand.standing.next(reply).await {
            Next::Event(ReplyEvent::Notification(notification)) => client.event(&notification).await,
            Next::Event(ReplyEvent::Json { body, kind }) => {
                client.event(&body).await;
                answered = Some(kind);
            }
            // Dropped: the upstream is told that nobody can answer.
            Next::Event(ReplyEvent::Request(_)) => {}
            Next::Event(ReplyEvent::End) => {
                if answered.is_some() {
                    client.end().await;
                }
                break answered.unwrap_or(OutcomeKind::Broken);
            }
            Next::Event(ReplyEvent::Broken(UpstreamFailure::Cancelled)) => {
                client.end().await;
                break OutcomeKind::Cancelled;
            }
            Next::Event(ReplyEvent::Broken(failure)) => {
                let row = refusal::of_upstream(errand.service.as_str(), &failure);
                client.event(&row.body(Some(&errand.id), &errand.call_id)).await;
                client.end().await;
                break failure.outcome_kind();
            }
            // Without an end: the client must not take the cut for one.
            Next::Revoked => break OutcomeKind::Cancelled,
        }
    };
    (kind, client.bytes)
}

impl Standing {
    /// Watches over the right to this service of a caller that stood in the directory of this
    /// generation. If there is a later one the first look is due at once: what changed before the
    /// watch began counts too.
    pub(super) fn of(caller: &Caller, service: &ServiceKey, generation: u64, live: &Arc<Live>) -> Self {
        let mut generations = live.generations();
        if *generations.borrow_and_update() != generation {
            generations.mark_changed();
        }
        Self { caller: caller.clone(), service: service.clone(), live: Arc::clone(live), generations }
    }

    async fn next(&mut self, reply: &mut ReplyStream) -> Next {
        loop {
            tokio::select! {
                biased;
                changed = self.generations.changed() => {
                    let directory = &self.live.load().directory;
                    if changed.is_err() || !identity::still_stands(&self.caller, &self.service, directory) {
                        return Next::Revoked;
                    }
                }
                event = reply.next() => return Next::Event(event.unwrap_or(ReplyEvent::End)),
            }
        }
    }
}

/// The client's end of a stream; gone once it left or took nothing for too long.
struct Client {
    feed: Option<Feed>,
    wait: Duration,
    bytes: u64,
}

impl Client {
    async fn event(&mut self, message: &Bytes) {
        let (Some(feed), Ok(text)) = (&self.feed, std::str::from_utf8(message)) else {
            return self.feed = None;
        };
        let event = sse::encode(&sse::Event::of_data(text));
        let bytes = event.len() as u64;
        match tokio::time::timeout(self.wait, feed.event(event)).await {
            Ok(Ok(())) => self.bytes = self.bytes.saturating_add(bytes),
            Ok(Err(Gone)) | Err(_) => self.feed = None,
        }
    }

    async fn end(&mut self) {
        if let Some(feed) = self.feed.take() {
            // A client that left misses the end as well.
            let _gone = tokio::time::timeout(self.wait, feed.end()).await;
        }
    }
}

impl Errand {
    fn complete(&self, receipt: Receipt, kind: OutcomeKind, status: u16, bytes: u64) {
        let elapsed = self.started.elapsed();
        let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        telemetry::call_ended(self.service.as_str(), kind, elapsed);
        receipt.complete(Outcome { kind, status, bytes, duration_ms });
    }

    /// A whole reply, if there is room for it to wait for a slow client.
    fn whole(&self, body: Bytes) -> Beginning {
        self.room.answer(body).map_err(|NoRoom| {
            tracing::warn!(request_id = %self.call_id, service = %self.service,
                "a reply was dropped: large replies that nobody reads fill `limits.reply_bytes_waiting_max`");
            Refused::from(Refusal::ReplyDropped { service: self.service.to_string() }).to(self.id.clone())
        })
    }

    fn refuse(&self, failure: &UpstreamFailure, beginning: oneshot::Sender<Beginning>) {
        tracing::warn!(request_id = %self.call_id, service = %self.service, %failure, "no reply");
        let row = refusal::of_upstream(self.service.as_str(), failure);
        let _gone = beginning.send(Err(Refused::from(row).to(self.id.clone())));
    }
}

fn event_stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
