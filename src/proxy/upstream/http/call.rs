//! One call on its way to an HTTP upstream, up to the first thing of its answer.
//!
//! Invariants: whatever ends a call before its answer, somebody knows whether it may have run; a call
//! that was handed to a connection is posted again only where the server says that it did not run it.

use std::sync::Arc;

use http::{Method, Response, StatusCode};
use hyper::body::Incoming;

use super::era::Refused;
use super::mirror::Mirrored;
use super::own::Again;
use super::post::{self, Content, NoResponse};
use super::session::{Established, Holder};
use super::{HttpLink, HttpRelay};
use crate::mcp::{self, Era, ReplyBody};
use crate::proxy::upstream::calls::{CallGuard, SentTo};
use crate::proxy::upstream::dialogue::{Exchange, Step};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::reply::Source;
use crate::proxy::upstream::{Outbound, ReplyEvent, UpstreamFailure};

/// What came of a post.
enum Posted {
    Response(Response<Incoming>),
    /// A refusal that is an answer.
    Answer(ReplyBody),
}

impl HttpLink {
    /// Sends a call and waits for its first event. `sent` becomes true when the call may have
    /// arrived.
    pub async fn call(
        self: &Arc<Self>,
        outbound: &Outbound,
        mut guard: CallGuard,
        sent: &mut bool,
    ) -> Result<(u16, ReplyEvent, Source), UpstreamFailure> {
        let patience = Patience::begin(&self.limits, guard.token());
        let exchange = Exchange::new(self.next_id(), &outbound.call);
        let posted = self.post_call(outbound, &exchange, &patience, &mut guard, sent).await;
        let (session, posted) = posted.map_err(|failure| guard.failed(failure))?;
        // A head is a sign of life, whatever it says.
        guard.alive();
        let response = match posted {
            Posted::Response(response) => response,
            Posted::Answer(body) => {
                guard.settled();
                let event = exchange.answer(&body);
                return Ok((StatusCode::OK.as_u16(), event, Source::Whole));
            }
        };
        let status = response.status().as_u16();
        let content = match post::content(&response) {
            Ok(content) => content,
            Err(failure) => {
                guard.settled();
                return Err(guard.failed(failure));
            }
        };
        if content == Content::Events {
            let messages = self.messages(response);
            let relay = HttpRelay {
                link: Arc::clone(self),
                session,
                exchange,
                patience,
                guard,
                messages: Some(messages),
                server_requests: 0,
            };
            let mut relay = Box::new(relay);
            return match relay.next().await {
                ReplyEvent::Broken(failure) => Err(failure),
                first => Ok((status, first, Source::Http(relay))),
            };
        }
        match self.whole_answer(response, &exchange, &patience).await {
            Ok(event) => {
                guard.settled();
                Ok((status, event, Source::Whole))
            }
            Err(failure) => Err(guard.failed(failure)),
        }
    }

    async fn whole_answer(
        &self,
        response: Response<Incoming>,
        exchange: &Exchange,
        patience: &Patience,
    ) -> Result<ReplyEvent, UpstreamFailure> {
        let status = response.status().as_u16();
        let body = post::whole(response, self.limits.reply_bytes_max, patience).await?;
        let message = mcp::read_upstream(body, mcp::Limits::REPLY)
            .map_err(|fault| UpstreamFailure::Broken { status, why: fault.to_string().into() })?;
        match exchange.step(message)? {
            Step::Answer { body, kind } => Ok(ReplyEvent::Json { body, kind }),
            _ => Err(UpstreamFailure::Broken { status, why: "its answer is no response".into() }),
        }
    }

    async fn post_call(
        self: &Arc<Self>,
        outbound: &Outbound,
        exchange: &Exchange,
        patience: &Patience,
        guard: &mut CallGuard,
        sent: &mut bool,
    ) -> Result<(Arc<Established>, Posted), UpstreamFailure> {
        let request_id = outbound.call_id.to_string();
        let holder = Holder::of(outbound);
        let mut again = Again::default();
        loop {
            let speech = self.speak(holder, &outbound.client, &self.calls, patience).await?;
            if let Err(failure) = again.may_try(speech.era()) {
                *sent = true;
                return Err(failure);
            }
            let session = Arc::clone(&speech.established);
            let mirrored = match speech.era() {
                Era::Session => None,
                Era::Stateless => Some(Mirrored::of_call(outbound)?),
            };
            let body = outbound.message(exchange.upstream_id, exchange.token(), session.revision());
            let to = SentTo::Http {
                link: Arc::clone(self),
                session: Arc::clone(&session),
                upstream_id: exchange.upstream_id,
            };
            // From here on a dropped future cancels upstream; a call that never left is then
            // cancelled for nothing, which a server ignores.
            guard.sent(to);
            let request =
                self.request(Method::POST, Some(&session), mirrored.as_ref(), Some(&request_id), body);
            let response = match post::send(&self.calls, request, patience).await {
                Ok(response) => response,
                Err(NoResponse { failure, sent: may_have }) => {
                    *sent = may_have;
                    if !may_have {
                        guard.settled();
                        // Whoever listens there next may be of another era.
                        self.forget_era().await;
                    }
                    return Err(failure);
                }
            };
            if response.status() == StatusCode::OK {
                *sent = true;
                return Ok((session, Posted::Response(response)));
            }
            let refused = self.refused(response, &session, exchange.upstream_id, patience).await;
            guard.settled();
            let once_more = match refused {
                Refused::Answer(body) => {
                    *sent = true;
                    return Ok((session, Posted::Answer(body)));
                }
                Refused::Failure(failure) => Err(failure),
                Refused::Forgotten(failure) => again.refused(None, failure),
                Refused::OtherEra(failure) => again.refused(Some(speech.era()), failure),
            };
            if let Err(failure) = once_more {
                *sent = true;
                guard.alive();
                return Err(failure);
            }
            self.forget(&speech).await;
        }
    }
}
