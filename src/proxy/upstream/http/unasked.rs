//! The stream on which an HTTP upstream says what nobody asked for: in the session era the answer to `GET`
//! in the gate's own session (MCP 2025-11-25, transports), in the stateless era `subscriptions/listen`
//! (MCP 2026-07-28, subscriptions).
//!
//! Invariants: a server that has none (405) is left alone, and so is one that has nothing to say; what the
//! server asks on it is answered as on any other stream of the gate's own.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::HttpLink;
use super::messages::Messages;
use super::mirror::Mirrored;
use super::post::{self, Content};
use super::session::{Established, Holder};
use crate::mcp::envelope::{RpcRefusal, StatelessFault};
use crate::mcp::{self, ClientFace, Era, FromUpstream, ReplyBody};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::pool::Answer;
use crate::proxy::upstream::{UpstreamFailure, dialogue};

/// Says after which event a stream goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Bytes of an answer to `subscriptions/listen` that is no stream.
const ANSWER_BYTES_MAX: u32 = 64 * 1024;
const LISTEN: &str = "subscriptions/listen";

/// An open stream of unasked messages.
pub struct Unasked {
    messages: Messages,
    established: Arc<Established>,
}

/// What comes of asking for a stream.
pub enum Opened {
    Stream(Box<Unasked>),
    /// The server has no such stream, or nothing to say on it.
    None,
    /// It refuses this request: why.
    Refused(String),
    /// It is to be asked in the way of the other era.
    OtherEra,
}

/// What a stream said.
pub enum Said {
    /// Something, which was passed on.
    News,
    /// The answer, which is its end.
    Answer(ReplyBody),
}

impl HttpLink {
    /// Opens the stream of the gate's session with a server of the session era.
    ///
    /// # Errors
    /// The server cannot be reached, or is not itself.
    pub async fn open_unasked(self: &Arc<Self>, patience: &Patience) -> Result<Opened, UpstreamFailure> {
        let speech = self.speak(Holder::Gate, &ClientFace::unknown(), &self.asides, patience).await?;
        let established = Arc::clone(&speech.established);
        let offers = &established.info.offers;
        let speaks = offers.tools_changed
            || offers.prompts_changed
            || offers.resources_changed
            || offers.resources_subscribe
            || offers.logging;
        match (speech.era(), speaks) {
            (Era::Stateless, _) => return Ok(Opened::OtherEra),
            (Era::Session, false) => return Ok(Opened::None),
            (Era::Session, true) => {}
        }
        let request = self.request(Method::GET, Some(&established), None, None, Bytes::new());
        let response = post::send(&self.asides, request, patience).await.map_err(|none| none.failure)?;
        let status = response.status;
        if status == StatusCode::NOT_FOUND && established.id.is_some() {
            self.forget(&speech).await;
            return Err(UpstreamFailure::broken("it forgot the gate's session"));
        }
        // 405 is the word for "no such stream"; servers without sessions have others for it.
        if is_none(status) || post::content(&response)? != Content::Events {
            return Ok(Opened::None);
        }
        Ok(Opened::Stream(Box::new(self.unasked(response, established))))
    }

    /// Opens a stream with a server of the stateless era: `subscriptions/listen` with these parameters,
    /// under an id that [`HttpLink::listen_id`] gave.
    ///
    /// # Errors
    /// The server cannot be reached, or is not itself.
    pub async fn open_listen(
        self: &Arc<Self>,
        id: u64,
        params: &str,
        patience: &Patience,
    ) -> Result<Opened, UpstreamFailure> {
        let speech = self.speak(Holder::Gate, &ClientFace::unknown(), &self.asides, patience).await?;
        if speech.era() == Era::Session {
            return Ok(Opened::OtherEra);
        }
        let established = Arc::clone(&speech.established);
        let body = mcp::reply::upstream_request(id, LISTEN, Some(params), established.revision());
        let mirrored = Mirrored::of_own(LISTEN, Some(params));
        let request = self.request(Method::POST, Some(&established), Some(&mirrored), None, body);
        let response = post::send(&self.asides, request, patience).await.map_err(|none| none.failure)?;
        let status = response.status;
        if status == StatusCode::OK {
            return match post::content(&response)? {
                Content::Events => Ok(Opened::Stream(Box::new(self.unasked(response, established)))),
                Content::Json => self.answer(response, id, patience).await.map(|body| refusal_of(&body)),
            };
        }
        if is_none(status) {
            return Ok(Opened::None);
        }
        let body = post::whole(response, ANSWER_BYTES_MAX, patience).await.unwrap_or_default();
        let fault = RpcRefusal::of_body(&body).and_then(|refusal| refusal.fault);
        if fault == Some(StatelessFault::UnsupportedVersion) {
            self.forget(&speech).await;
            return Ok(Opened::OtherEra);
        }
        let (status, why) = (status.as_u16(), format!("it answers with HTTP {}", status.as_u16()));
        match status {
            // Words for "not now".
            408 | 429 | 502..=504 => Err(UpstreamFailure::Broken { status, why: why.into() }),
            _ => Ok(Opened::Refused(why)),
        }
    }

    /// An id for a stream.
    pub fn listen_id(&self) -> u64 {
        self.next_id()
    }

    fn unasked(&self, response: Answer, established: Arc<Established>) -> Unasked {
        let (status, event_bytes_max) = (response.status.as_u16(), self.limits.event_bytes_max);
        let messages = Messages::new(status, response.body, event_bytes_max, u32::MAX);
        Unasked { messages, established }
    }

    /// Goes on with the stream of an answer after the event of this id; nothing where the server keeps
    /// none.
    pub(super) async fn resume(
        &self,
        session: &Established,
        last_id: &str,
        patience: &Patience,
    ) -> Option<Messages> {
        let mut request = self.request(Method::GET, Some(session), None, None, Bytes::new());
        request.headers_mut().insert(LAST_EVENT_ID, HeaderValue::try_from(last_id).ok()?);
        let response = post::send(&self.calls, request, patience).await.ok()?;
        let is_stream = post::content(&response).is_ok_and(|content| content == Content::Events);
        is_stream.then(|| self.messages(response))
    }
}

/// Whether a status says that there is no such stream.
fn is_none(status: StatusCode) -> bool {
    [StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED].contains(&status)
}

/// What an answer at once to `subscriptions/listen` means.
pub fn refusal_of(body: &ReplyBody) -> Opened {
    match body.error() {
        Some((code, _)) if code == i64::from(mcp::reply::METHOD_NOT_FOUND) => Opened::None,
        Some((code, _)) => Opened::Refused(format!("it answers with the error {code}")),
        None => Opened::Refused("it has nothing to tell of it".to_owned()),
    }
}

impl Unasked {
    /// Hears one message. May be dropped while it waits: nothing is lost.
    ///
    /// # Errors
    /// The stream ended, broke, or was silent too long.
    pub async fn hear(&mut self, link: &Arc<HttpLink>, patience: &Patience) -> Result<Said, UpstreamFailure> {
        match self.messages.next(patience).await? {
            FromUpstream::Notification { method, raw } => link.heard(&method, raw.as_str()),
            FromUpstream::Request { id, method, .. } => {
                link.tell(&self.established, dialogue::answer(&id, &method));
            }
            FromUpstream::Response { body, .. } => return Ok(Said::Answer(body)),
        }
        Ok(Said::News)
    }
}
