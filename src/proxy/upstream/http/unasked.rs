//! The stream on which an HTTP upstream says what nobody asked for: in the session era the answer to `GET`
//! in the gate's own session (MCP 2025-11-25, transports), in the stateless era `subscriptions/listen`
//! (MCP 2026-07-28, subscriptions).
//!
//! Invariants: a server that has none (405) is left alone, and so is one that has nothing to say; what the
//! server asks on it is answered as on any other stream of the gate's own.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{Method, StatusCode};

use super::HttpLink;
use super::messages::Messages;
use super::mirror::Mirrored;
use super::own::Speech;
use super::post::{self, Content};
use super::session::{Established, Holder};
use crate::mcp::{self, ClientFace, Era, FromUpstream};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::{UpstreamFailure, dialogue, news};

/// An open stream of unasked messages.
pub struct Unasked {
    messages: Messages,
    established: Arc<Established>,
    /// The stream itself carries the subscriptions to resources: the stateless era.
    pub subscribes: bool,
    /// An earlier one broke: something may have been missed.
    pub again: bool,
}

impl HttpLink {
    /// Opens the stream, in the stateless era with these resources; nothing where the server has none, or
    /// has nothing to say on it.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn open_unasked(
        self: &Arc<Self>,
        watched: &[Arc<str>],
        patience: &Patience,
    ) -> Result<Option<Unasked>, UpstreamFailure> {
        let speech = self.speak(Holder::Gate, &ClientFace::unknown(), &self.asides, patience).await?;
        let Some(request) = self.unasked_request(&speech, watched) else { return Ok(None) };
        let response = post::send(&self.asides, request, patience).await.map_err(|none| none.failure)?;
        let (status, established) = (response.status(), Arc::clone(&speech.established));
        if status == StatusCode::NOT_FOUND && established.id.is_some() {
            self.forget(&speech).await;
            return Err(UpstreamFailure::broken("it forgot the gate's session"));
        }
        // 405 is the word for "no such stream"; servers without sessions have others for it.
        let none = [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED];
        if none.contains(&status) {
            return Ok(None);
        }
        if post::content(&response)? != Content::Events {
            // A JSON answer: it does not know the method.
            return Ok(None);
        }
        let (status, event_bytes_max) = (status.as_u16(), self.limits.event_bytes_max);
        let messages = Messages::new(status, response.into_body(), event_bytes_max, u32::MAX);
        let again = self.heard_before.swap(true, Ordering::AcqRel);
        let subscribes = established.era() == Era::Stateless;
        Ok(Some(Unasked { messages, established, subscribes, again }))
    }

    fn unasked_request(
        &self,
        speech: &Speech,
        watched: &[Arc<str>],
    ) -> Option<http::Request<http_body_util::Full<Bytes>>> {
        let established = &speech.established;
        let offers = &established.info.offers;
        match established.era() {
            Era::Session => {
                let speaks = offers.tools_changed
                    || offers.prompts_changed
                    || offers.resources_changed
                    || offers.resources_subscribe
                    || offers.logging;
                speaks.then(|| self.request(Method::GET, Some(established), None, None, Bytes::new()))
            }
            Era::Stateless => {
                let params = news::filter(offers, watched)?;
                let revision = established.revision();
                let method = "subscriptions/listen";
                let body = mcp::reply::upstream_request(self.next_id(), method, Some(&params), revision);
                let mirrored = Mirrored::of_own(method, Some(&params));
                Some(self.request(Method::POST, Some(established), Some(&mirrored), None, body))
            }
        }
    }
}

impl Unasked {
    /// Hears one message. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// The stream ended, broke, or was silent too long.
    pub async fn hear(&mut self, link: &Arc<HttpLink>, patience: &Patience) -> Result<(), UpstreamFailure> {
        match self.messages.next(patience).await? {
            FromUpstream::Notification { method, raw } => {
                link.heard(&method, raw.as_str());
                Ok(())
            }
            FromUpstream::Request { id, method, .. } => {
                link.tell(&self.established, dialogue::answer(&id, &method));
                Ok(())
            }
            FromUpstream::Response { .. } => Err(UpstreamFailure::broken("it ended the stream of its news")),
        }
    }
}
