//! `GET /mcp` in a session of the session era: the stream of unasked messages (MCP 2025-11-25, transports).
//!
//! Invariants: without a session that the gate gave, there is none (405); a session has one such stream, a
//! second takes over from the first, so that no message goes to both; after a break the client goes on
//! with `Last-Event-ID`, that of a reply that was streamed to it too, and where that leads nowhere it begins
//! anew.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use super::posts::RETRY_MS;
use super::pump::{Pump, event_id, place_of};
use super::resume::Resumed;
use super::sight::ToolSight;
use crate::mcp::{Refusal, Revision, sse};
use crate::proxy::body::Body;
use crate::proxy::exchange::Arrival;
use crate::proxy::gate::Gate;
use crate::proxy::head;
use crate::proxy::mirror;
use crate::proxy::refusal::{self, Refused};
use crate::proxy::relay::event_stream;

/// The header that says what a client got last.
const LAST_EVENT_ID: &str = "last-event-id";

impl Gate {
    /// Opens the stream.
    pub(in crate::proxy) async fn open_stream(&self, arrival: Arrival) -> Result<Response<Body>, Refused> {
        let Some((session, digest)) = &arrival.mcp_session else {
            return Err(Refusal::MethodNotAllowed { allow: head::ALLOWED_METHODS }.into());
        };
        let streams = &self.streams;
        if streams.closing.is_cancelled() {
            return Err(Refusal::Draining { retry_after_s: 1 }.into());
        }
        let seat = streams.seats.take(arrival.caller.key).ok_or_else(refusal::too_many_streams)?;
        let mailbox = streams.mailbox(&arrival.caller, session, *digest);
        mailbox.renew(&arrival.caller);
        let last = arrival.headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok());
        let mut generations = self.live.generations();
        if *generations.borrow_and_update() != arrival.snapshot.directory.generation {
            generations.mark_changed();
        }
        let (feed, body) = Body::stream();
        let (live, closing) = (Arc::clone(&self.live), streams.closing.clone());
        let wait = Duration::from_millis(self.limits.reply_write_ms_max);
        // A reply of a service that was taken from the agent meanwhile is nobody's any more.
        let services = &arrival.caller.agent.services;
        let kept = last.and_then(|id| mailbox.posts.find(id));
        if let Some((post, place)) = kept.filter(|(post, _)| services.contains(post.service())) {
            let resumed =
                Resumed { post, place, mailbox, feed, live, generations, closing, wait, _seat: seat };
            drop(tokio::spawn(resumed.run()));
            return Ok(event_stream(body));
        }
        let place = last.map(|id| place_of(mailbox.nonce, id));
        if place == Some(None) {
            // An id of another life: nobody knows what came after it.
            mailbox.missed();
        }
        let (stream, place) = mailbox.open(place.flatten());
        // A first event with an id to come back with, and how soon (SEP-1699); clients of earlier revisions
        // take it for a message.
        if mirror::revision(&arrival.headers)? >= Some(Revision::R2025_11_25) {
            let id = Some(event_id(mailbox.nonce, place));
            let prime = sse::Event { id, retry: Some(RETRY_MS), ..sse::Event::default() };
            // There is room for it: the stream has just begun.
            let _gone = feed.event(sse::encode(&prime)).await;
        }
        let sight = ToolSight::new(Arc::clone(&self.lists), Arc::clone(&self.upstreams));
        let pump =
            Pump { mailbox, stream, place, feed, live, generations, closing, wait, sight, _seat: seat };
        drop(tokio::spawn(pump.run()));
        Ok(event_stream(body))
    }
}
