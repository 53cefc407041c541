//! One call on its way to an HTTP upstream, up to the first thing of its answer.
//!
//! Invariants: whatever ends a call before its answer, somebody knows whether it may have run; a call
//! that was handed to a connection is posted again only where the server says that it did not run it.

use std::sync::Arc;

use http::{Method, StatusCode};

use super::era::Refused;
use super::messages::Messages;
use super::mirror::Mirrored;
use super::own::{Again, Speech};
use super::post::{self, Content, NoResponse};
use super::relay::Stage;
use super::session::{Established, Holder};
use super::{HttpLink, HttpRelay};
use crate::mcp::{self, Era, FromUpstream, ReplyBody};
use crate::proxy::upstream::asks::Asks;
use crate::proxy::upstream::calls::{CallGuard, SentTo};
use crate::proxy::upstream::dialogue::{Exchange, Step};
use crate::proxy::upstream::patience::Patience;
use crate::proxy::upstream::pool::Answer;
use crate::proxy::upstream::reply::Source;
use crate::proxy::upstream::rounds::Rounds;
use crate::proxy::upstream::{Outbound, ReplyEvent, UpstreamFailure};

/// How an answer begins.
pub(super) enum Opening {
    Reply(ReplyBody),
    Events(Box<Messages>),
    /// There was nothing to send: the upstream has no such request any more, the gate sees to it.
    SeenTo,
}

/// A request that was made, and how its answer begins.
pub(super) struct Attempt {
    pub session: Arc<Established>,
    pub exchange: Exchange,
    pub status: u16,
    pub opening: Opening,
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
        let attempt = self.attempt(outbound, &patience, &mut guard, sent).await;
        let attempt = attempt.map_err(|failure| guard.failed(failure))?;
        let Attempt { session, exchange, status, opening } = attempt;
        let again = exchange.may_go_round();
        let (stage, first) = match opening {
            Opening::SeenTo => return Ok((0, exchange.seen_to(), Source::Whole)),
            Opening::Events(messages) => (Stage::Hearing(messages), None),
            Opening::Reply(body) => match exchange.answer(body) {
                Ok(Step::Answer { body, kind }) => {
                    return Ok((status, ReplyEvent::Json { body, kind }, Source::Whole));
                }
                Ok(step) => (Stage::Done, Some(step)),
                Err(failure) => return Err(guard.failed(failure)),
            },
        };
        let mut relay = Box::new(HttpRelay {
            link: Arc::clone(self),
            session,
            exchange,
            patience,
            guard,
            stage,
            asks: Asks::default(),
            rounds: Rounds::new(again.then(|| Box::new(outbound.clone()))),
            resumptions: 0,
        });
        match Box::pin(relay.begin(first)).await {
            ReplyEvent::Broken(failure) => Err(failure),
            first => Ok((status, first, Source::Http(relay))),
        }
    }

    /// Makes the request once, in the upstream's era.
    pub(super) async fn attempt(
        self: &Arc<Self>,
        outbound: &Outbound,
        patience: &Patience,
        guard: &mut CallGuard,
        sent: &mut bool,
    ) -> Result<Attempt, UpstreamFailure> {
        let holder = Holder::of(outbound);
        let face = holder.face(&outbound.client);
        let mut again = Again::default();
        loop {
            let speech = self.speak(holder, &face, &self.calls, patience).await?;
            if let Err(failure) = again.may_try(speech.era()) {
                *sent = true;
                return Err(failure);
            }
            let session = Arc::clone(&speech.established);
            let exchange = Exchange::new(self.next_id(), outbound, Arc::clone(&session.info));
            if exchange.is_of_the_past() {
                *sent = true;
                return Ok(Attempt { session, exchange, status: 0, opening: Opening::SeenTo });
            }
            let response = self.post_call(outbound, &exchange, &speech, patience, guard, sent).await?;
            let status = response.status.as_u16();
            if response.status == StatusCode::OK {
                *sent = true;
                // A head is a sign of life, whatever it says.
                guard.alive();
                let opening = self.opening(response, &exchange, patience, guard).await?;
                return Ok(Attempt { session, exchange, status, opening });
            }
            let refused = Box::pin(self.refused(response, &session, exchange.upstream_id, patience)).await;
            guard.settled();
            let once_more = match refused {
                Refused::Answer(body) => {
                    *sent = true;
                    guard.alive();
                    return Ok(Attempt { session, exchange, status, opening: Opening::Reply(body) });
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

    async fn post_call(
        self: &Arc<Self>,
        outbound: &Outbound,
        exchange: &Exchange,
        speech: &Speech,
        patience: &Patience,
        guard: &mut CallGuard,
        sent: &mut bool,
    ) -> Result<Answer, UpstreamFailure> {
        let session = &speech.established;
        let mirrored = match speech.era() {
            Era::Session => None,
            Era::Stateless => Some(Mirrored::of_call(outbound)),
        };
        let request_id = outbound.call_id.to_string();
        let body = outbound.message(exchange.upstream_id, exchange.token(), session.revision());
        let (link, upstream_id) = (Arc::clone(self), exchange.upstream_id);
        // From here on a dropped future cancels upstream; a call that never left is then cancelled for
        // nothing, which a server ignores.
        guard.sent(SentTo::Http { link, session: Arc::clone(session), upstream_id });
        let request = self.request(Method::POST, Some(session), mirrored.as_ref(), Some(&request_id), body);
        match post::send(&self.calls, request, patience).await {
            Ok(response) => Ok(response),
            Err(NoResponse { failure, sent: may_have }) => {
                *sent |= may_have;
                if !may_have {
                    guard.settled();
                    // Whoever listens there next may be of another era.
                    self.forget_era().await;
                }
                Err(failure)
            }
        }
    }

    async fn opening(
        &self,
        response: Answer,
        exchange: &Exchange,
        patience: &Patience,
        guard: &mut CallGuard,
    ) -> Result<Opening, UpstreamFailure> {
        let status = response.status.as_u16();
        match post::content(&response) {
            Ok(Content::Events) => return Ok(Opening::Events(Box::new(self.messages(response)))),
            Ok(Content::Json) => {}
            Err(failure) => {
                guard.settled();
                return Err(failure);
            }
        }
        let body = post::whole(response, self.limits.reply_bytes_max, patience).await?;
        let broken = |why: std::borrow::Cow<'static, str>| UpstreamFailure::Broken { status, why };
        match mcp::read_upstream(body, mcp::Limits::REPLY) {
            Ok(FromUpstream::Response { id, body }) if id == exchange.upstream_id => {
                guard.settled();
                Ok(Opening::Reply(body))
            }
            Ok(FromUpstream::Response { .. }) => {
                Err(UpstreamFailure::broken("it answered a request that was not asked"))
            }
            Ok(_) => Err(broken("its answer is no response".into())),
            Err(fault) => Err(broken(fault.to_string().into())),
        }
    }
}
