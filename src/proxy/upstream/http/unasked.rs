//! The stream on which an HTTP upstream says what nobody asked for: the answer to `GET` in the gate's own
//! session (MCP 2025-11-25, transports).
//!
//! Invariants: a server that has none answers 405 and is left alone; what the server asks on it is
//! answered as on any other stream.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::post::{self, Content};
use super::relay::Messages;
use super::session::Established;
use super::HttpLink;
use crate::mcp::FromUpstream;
use crate::proxy::upstream::UpstreamFailure;
use crate::proxy::upstream::dialogue;
use crate::proxy::upstream::patience::Patience;

/// An open stream of unasked messages.
pub struct Unasked {
    messages: Messages,
    session: Arc<Established>,
    /// Whether the stream itself carries the subscriptions to resources.
    pub subscribes: bool,
    /// Whether an earlier one broke: something may have been missed.
    pub again: bool,
}

impl HttpLink {
    /// Opens the stream; nothing where the server has none, or has nothing to say on it.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn open_unasked(
        self: &Arc<Self>,
        _watched: &[Arc<str>],
        patience: &Patience,
    ) -> Result<Option<Unasked>, UpstreamFailure> {
        let (cell, session) = self.gate_session(patience).await?;
        let offers = session.offers;
        let speaks = offers.tools_changed
            || offers.prompts_changed
            || offers.resources_changed
            || offers.resources_subscribe
            || offers.logging;
        if !speaks {
            return Ok(None);
        }
        let request =
            post::request(Method::GET, &self.uri, &self.base, Some(&session), None, Bytes::new());
        let response = post::send(&self.asides, request, patience).await.map_err(|none| none.failure)?;
        if self.has_forgotten(&response, &session) {
            cell.forget(&session).await;
            self.changed.mark();
            return Err(UpstreamFailure::broken("it forgot the gate's session"));
        }
        // 405 is the word for "no such stream"; servers without sessions have others for it.
        if matches!(response.status(), StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED)
        {
            return Ok(None);
        }
        if post::content(&response)? != Content::Events {
            return Err(UpstreamFailure::broken("its answer to GET is no event stream"));
        }
        let status = response.status().as_u16();
        let messages = Messages::new(status, response.into_body(), self.limits.event_bytes_max, u32::MAX);
        let again = self.heard_before.swap(true, Ordering::AcqRel);
        Ok(Some(Unasked { messages, session, subscribes: false, again }))
    }
}

impl Unasked {
    /// Hears one message. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// The stream ended, broke, or was silent too long.
    pub async fn hear(&mut self, link: &Arc<HttpLink>, patience: &Patience) -> Result<(), UpstreamFailure> {
        match self.messages.next(patience).await? {
            FromUpstream::Notification { method, raw } => link.heard(&method, raw.as_str()),
            FromUpstream::Request { id, method } => {
                link.tell(&self.session, dialogue::answer(&id, &method));
            }
            FromUpstream::Response { .. } => {}
        }
        Ok(())
    }
}
