//! What the gate says and hears as an upstream's client, whatever the transport: the handshake, what
//! is relayed of a call's messages, and what becomes of a server's own requests.
//!
//! Invariants: a call's answer carries its own id or the exchange is broken; a member sees only what
//! concerns its own call; a server asks a client only what that client declared; what belongs to one
//! era alone never reaches a client of the other as such.

use std::sync::Arc;

use bytes::Bytes;

use super::{Outbound, ReplyEvent, UpstreamFailure, news};
use crate::mcp::envelope::{LogLevel, RpcRefusal, StatelessFault, UpstreamInfo, read_initialize_result};
use crate::mcp::{self, ClientFace, Era, FromUpstream, Method, NotificationBody, ReplyBody, RequestId};
use crate::model::{ClientInfo, OutcomeKind};

/// Progress of a request.
const PROGRESS: &str = "notifications/progress";
/// A line of a server's log.
const LOG: &str = "notifications/message";
/// What concerns the gate as a client, or what no member asked for.
const NOT_RELAYED: [&str; 3] =
    ["notifications/cancelled", "notifications/initialized", "notifications/roots/list_changed"];

/// Reads the answer to `initialize`.
///
/// # Errors
/// What the server said instead, for the operator.
pub(super) fn agreed(body: &ReplyBody) -> Result<UpstreamInfo, String> {
    let Some(result) = body.result() else {
        let (code, message) = body.error().unwrap_or_default();
        let message: String = message.chars().take(200).collect();
        return Err(format!("it refused `initialize`: {code} `{}`", message.escape_default()));
    };
    read_initialize_result(result).map_err(|fault| fault.to_string())
}

/// The gate's own answer to a server's request, where no client is to be asked: `ping` works.
pub(super) fn answer(id: &RequestId, method: &str) -> Bytes {
    match method {
        "ping" => mcp::reply::empty_result(id),
        _ => mcp::reply::upstream_method_refused(id, method),
    }
}

/// What a server may ask of a client (MCP 2025-11-25, client features).
pub(super) fn is_for_client(method: &str) -> bool {
    matches!(method, "sampling/createMessage" | "elicitation/create" | "roots/list")
}

/// What is to be done with one message.
#[derive(Debug)]
pub(super) enum Step {
    /// The call's answer, with the client's id.
    Answer { body: Bytes, kind: OutcomeKind },
    /// The upstream wants to know something before it answers; a client of the session era is asked
    /// it as if the call went on.
    Input(ReplyBody),
    /// A notification for the client.
    Relay(Bytes),
    /// What concerns no call, though it came with one: a list or a resource is another now.
    News { method: String, raw: NotificationBody },
    /// Our answer to a server's request, to be sent to it.
    Reply(Bytes),
    /// A server's request for the client.
    Ask { id: RequestId, method: String, params: String },
    /// The server does not want to know any more what it asked under this id.
    Withdraw(RequestId),
    /// Nothing.
    Skip,
}

/// One call: how it is known upstream and downstream.
#[derive(Debug)]
pub(super) struct Exchange {
    pub upstream_id: u64,
    /// Whom it is sent to.
    pub upstream: Arc<UpstreamInfo>,
    client_id: RequestId,
    client_token: Option<Box<str>>,
    client: Arc<ClientFace>,
    method: Method,
    /// Whether other calls share its way.
    shared: bool,
}

impl Exchange {
    /// A call under this id of ours, to this upstream.
    pub fn new(upstream_id: u64, call: &Outbound, upstream: Arc<UpstreamInfo>) -> Self {
        Self {
            upstream_id,
            upstream,
            client_id: call.call.id().clone(),
            client_token: call.call.progress_token().map(Box::from),
            client: Arc::clone(&call.client),
            method: call.call.method(),
            shared: false,
        }
    }

    /// The same, over a way that carries the messages of several calls: what a server asks there may
    /// belong to none of them.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { shared: true, ..self }
    }

    /// Our progress token, if the client gave one: the id, so that it is unique upstream.
    pub fn token(&self) -> Option<u64> {
        self.client_token.as_ref().map(|_| self.upstream_id)
    }

    /// Whether the upstream may want to know something that a client of the session era must be asked
    /// in its own way.
    pub fn may_go_round(&self) -> bool {
        self.is_from(Era::Stateless) && self.client.era() == Era::Session && self.method.may_need_input()
    }

    /// Whether the upstream knows nothing of such a request, which went with the session era.
    pub fn is_of_the_past(&self) -> bool {
        self.is_from(Era::Stateless) && self.method.is_of_session_era()
    }

    fn is_from(&self, era: Era) -> bool {
        self.upstream.revision.era() == era
    }

    /// The answer to a request that the gate itself sees to.
    pub fn seen_to(&self) -> ReplyEvent {
        ReplyEvent::Json { body: mcp::reply::empty_result(&self.client_id), kind: OutcomeKind::Result }
    }

    /// The end of the call by the gate itself, in the middle of it.
    pub fn fails(&self, why: &str) -> ReplyEvent {
        let body = mcp::reply::call_failed(&self.client_id, why);
        ReplyEvent::Json { body, kind: OutcomeKind::RpcError }
    }

    /// What to do with the call's answer.
    ///
    /// # Errors
    /// It is none, in the upstream's own era.
    pub fn answer(&self, body: ReplyBody) -> Result<Step, UpstreamFailure> {
        let stateless_client = self.client.era() == Era::Stateless;
        match body.kind() {
            OutcomeKind::RpcError if stateless_client || self.is_from(Era::Stateless) => {
                return self.refusal(&body);
            }
            OutcomeKind::InputRequired if self.is_from(Era::Stateless) => {
                if !self.method.may_need_input() {
                    return Err(UpstreamFailure::broken("it asks for input where no request may"));
                }
                if !stateless_client {
                    return Ok(Step::Input(body));
                }
            }
            OutcomeKind::InputRequired if stateless_client => {
                return Err(UpstreamFailure::broken(
                    "it asks for input in a way that its revision does not know",
                ));
            }
            _ => {}
        }
        // In the session era the word means nothing.
        let kind = match body.kind() {
            OutcomeKind::InputRequired if self.is_from(Era::Session) => OutcomeKind::Result,
            kind => kind,
        };
        if !stateless_client {
            return Ok(Step::Answer { body: body.with_id(&self.client_id), kind });
        }
        let cacheable = self.method == Method::ResourcesRead;
        let body = match self.upstream.server.name.is_empty() {
            false => body.completed(&self.client_id, &self.upstream.server, cacheable),
            true => {
                let own =
                    ClientInfo { name: "wicket".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
                body.completed(&self.client_id, &own, cacheable)
            }
        };
        Ok(Step::Answer { body, kind })
    }

    /// What to do with a JSON-RPC error where one side is of the stateless era: codes of that era that
    /// concern the gate's own request are nothing for the client.
    fn refusal(&self, body: &ReplyBody) -> Result<Step, UpstreamFailure> {
        match RpcRefusal::of_reply(body).and_then(|refusal| refusal.fault) {
            Some(StatelessFault::HeaderMismatch) => {
                Err(UpstreamFailure::broken("it says that the gate's headers differ from the body"))
            }
            Some(StatelessFault::UnsupportedVersion) => {
                Err(UpstreamFailure::broken("it does not speak the revision that it offered"))
            }
            Some(StatelessFault::MissingCapability) if self.client.era() == Era::Session => {
                let why = "the service needs a capability that this client did not declare";
                let ReplyEvent::Json { body, kind } = self.fails(why) else {
                    return Err(UpstreamFailure::broken(why));
                };
                Ok(Step::Answer { body, kind })
            }
            _ => Ok(Step::Answer { body: body.with_id(&self.client_id), kind: body.kind() }),
        }
    }

    /// What to do with a message of this call's stream.
    ///
    /// # Errors
    /// It answers a request that was not asked.
    pub fn step(&self, message: FromUpstream) -> Result<Step, UpstreamFailure> {
        Ok(match message {
            FromUpstream::Response { id, body } if id == self.upstream_id => self.answer(body)?,
            FromUpstream::Response { .. } => {
                return Err(UpstreamFailure::broken("it answered a request that was not asked"));
            }
            FromUpstream::Request { id, method, params } => {
                if self.is_from(Era::Session) && self.may_ask(&method, &params) {
                    Step::Ask { id, method, params }
                } else {
                    Step::Reply(answer(&id, &method))
                }
            }
            FromUpstream::Notification { method, raw } => match (method.as_str(), &self.client_token) {
                (PROGRESS, Some(token)) if raw.progress_token() == Some(self.upstream_id) => {
                    Step::Relay(raw.with_token(token))
                }
                (PROGRESS, _) => Step::Skip,
                (name, _) if news::is_news(name) => Step::News { method, raw },
                (news::CANCELLED, _) if self.is_from(Era::Session) => {
                    raw.cancelled().map_or(Step::Skip, Step::Withdraw)
                }
                (method, _) if NOT_RELAYED.contains(&method) => Step::Skip,
                (LOG, _) if !self.wants_to_hear(&raw) => Step::Skip,
                _ => Step::Relay(Bytes::copy_from_slice(raw.as_str().as_bytes())),
            },
        })
    }

    /// Whether the client declared that it can be asked this. One of the stateless era is told itself
    /// what it should have declared, where the question is certainly its own.
    pub fn may_ask(&self, method: &str, params: &str) -> bool {
        let is_told = self.client.era() == Era::Stateless && !self.shared;
        self.client.capabilities.allow_request(method, params) || (is_told && is_for_client(method))
    }

    /// In the stateless era a client hears logs of the level that its request names and above (MCP
    /// 2026-07-28, logging).
    fn wants_to_hear(&self, log: &NotificationBody) -> bool {
        if self.client.era() == Era::Session {
            return true;
        }
        let wanted = self.client.log_level.as_deref().and_then(LogLevel::parse);
        wanted.is_some_and(|wanted| log.log_level().is_some_and(|level| level >= wanted))
    }
}

#[cfg(test)]
mod tests;
