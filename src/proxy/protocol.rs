//! Who speaks which era: `server/discover` (MCP 2026-07-28), and of the session era `initialize`,
//! notifications, answers to what was asked, the end of a session (MCP 2025-11-25, lifecycle and session
//! management).
//!
//! A client that initializes is given an `Mcp-Session-Id` of 128 random bits, bound to its member. It
//! names a conversation and authenticates nothing. Clients that never initialize are served too.

use std::sync::Arc;

use http::header::HeaderValue;
use http::{Response, StatusCode};

use crate::mcp::{
    ClientFace, InitializeParams, Notification, Refusal, RequestId, ResponseFromClient, reply, revision,
};
use crate::model::{ConversationId, ServiceKey};
use crate::policy::Needs;
use crate::session::{self, Session};

use super::body::Body;
use super::downstream::Downstream;
use super::exchange::Arrival;
use super::gate::Gate;
use super::head::{self, MCP_SESSION_ID};
use super::in_flight::ClientCall;
use super::refusal::{Refused, json};
use super::streams::Asker;

/// What a model is told of the gate.
const INSTRUCTIONS: &str = "Tools are named service__tool. Every call is checked against the policies of \
    this agent and recorded. A denied call says why; do not repeat it unchanged. `wicket__explain` tells \
    whether a call would be allowed before you try it, `wicket__session` what you have done so far.";

impl Gate {
    /// Negotiates the revision and opens a session under an id of our own.
    pub(super) fn initialize(
        &self,
        arrival: &Arrival,
        id: &RequestId,
        params: InitializeParams,
    ) -> Result<Response<Body>, Refused> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|_| Refusal::Internal)?;
        let (minted, digest) = session::mcp_session_id(random);
        let conversation = self.conversation(arrival, None, Some(&minted));
        let session =
            self.sessions.enter(&arrival.caller, conversation, Some(&params.client), arrival.now)?;
        self.sessions.bind_mcp(&session, digest);
        let revision = revision::negotiate(&params.protocol_version);
        self.downstreams.enter(
            arrival.caller.member.id,
            ClientFace {
                revision,
                capabilities: params.capabilities,
                info: params.client,
                log_level: None,
                mcp_session: Some(digest),
            },
        );
        let mut response = json(200, reply::initialize_result(id, revision, Some(INSTRUCTIONS)));
        if let Ok(value) = HeaderValue::from_str(&minted) {
            response.headers_mut().insert(MCP_SESSION_ID, value);
        }
        Ok(response)
    }

    /// A notification is accepted; `notifications/cancelled` reaches the call that it names, if that
    /// is this client's and still under way.
    pub(super) fn notified(&self, arrival: &Arrival, notification: &Notification) -> Response<Body> {
        if let Notification::Cancelled { request_id, reason } = notification
            && let Some(call) = self.in_flight.find(&arrival.client_call(request_id.clone()))
        {
            self.upstreams.cancel(call, reason.as_deref());
        }
        match notification {
            Notification::RootsListChanged => self.roots_changed(arrival),
            Notification::Progress(Some(progress)) => {
                let heard =
                    arrival.downstream(self).is_some_and(|downstream| downstream.progressed(progress));
                tracing::debug!(request_id = %arrival.call_id, heard, "progress with a question");
            }
            _ => {}
        }
        accepted()
    }

    /// The client's roots changed: upstreams that may ask it for them now are told.
    fn roots_changed(&self, arrival: &Arrival) {
        let (Some(downstream), Some((session, digest))) = (arrival.downstream(self), &arrival.mcp_session)
        else {
            return;
        };
        if !downstream.face().capabilities.roots_changed {
            return;
        }
        let bundle = arrival.bundle();
        let counters = |needs: &Needs| session.read(&needs.session, &needs.member, arrival.now).0;
        let asker = Asker { bundle, caller: &arrival.caller, counters: &counters };
        let may_ask = |service: &ServiceKey| {
            let connector = bundle.connectors().get(service.as_str());
            connector.is_some_and(|connector| asker.may(connector, "roots/list", &serde_json::json!({})))
        };
        self.upstreams.roots_changed(arrival.caller.member.id, *digest, may_ask);
    }

    /// An answer of the client to what it was asked. A late one is no fault of its own.
    pub(super) fn answered(
        &self,
        arrival: &Arrival,
        response: ResponseFromClient,
    ) -> Result<Response<Body>, Refused> {
        let Some(downstream) = arrival.downstream(self) else {
            return Err(Refusal::InvalidRequest { what: "a response to no request" }.into());
        };
        if !downstream.answered(response) {
            tracing::debug!(request_id = %arrival.call_id, "an answer that nobody waits for");
        }
        Ok(accepted())
    }

    /// `DELETE`: the client ends its session.
    pub(super) fn end_session(&self, arrival: &Arrival) -> Result<Response<Body>, Refused> {
        let Some((_, digest)) = &arrival.mcp_session else {
            return Err(Refusal::MethodNotAllowed { allow: head::ALLOWED_METHODS }.into());
        };
        self.sessions.end_mcp(arrival.caller.member.id, digest);
        self.streams.end(arrival.caller.member.id, digest);
        self.downstreams.leave(arrival.caller.member.id, digest);
        self.upstreams.client_gone(arrival.caller.member.id, *digest);
        let mut ended = Response::new(Body::empty());
        *ended.status_mut() = StatusCode::NO_CONTENT;
        Ok(ended)
    }

    /// The session that a call counts in.
    pub(super) fn session_of(&self, arrival: &Arrival, baggage: Option<&str>) -> Result<Session, Refusal> {
        let conversation = self.conversation(arrival, baggage, None);
        let named = arrival.mcp_session.as_ref().map(|(session, _)| session);
        if let Some(session) = named.filter(|session| session.conversation() == conversation) {
            return Ok(session.clone());
        }
        let client = named.and_then(Session::client);
        Ok(self.sessions.enter(&arrival.caller, conversation, client.as_ref(), arrival.now)?)
    }

    /// The conversation by the ladder of decision 10. An id that is being minted stands in for the
    /// header that the client will send from now on.
    pub(super) fn conversation(
        &self,
        arrival: &Arrival,
        baggage: Option<&str>,
        minted: Option<&str>,
    ) -> ConversationId {
        let caller = &arrival.caller;
        let who = (caller.member.id, caller.key, caller.ip);
        if let Some(minted) = minted
            && let Some(conversation) = session::conversation(caller.member.id, MCP_SESSION_ID, minted)
            && !head::names_conversation_before_mcp(&arrival.headers, caller.member.id)
        {
            return conversation;
        }
        head::conversation(&arrival.headers, baggage, arrival.mcp_session.is_some(), who)
    }
}

/// The answer to `server/discover`.
pub(super) fn discovered(id: &RequestId) -> Response<Body> {
    json(200, reply::discover_result(id, Some(INSTRUCTIONS)))
}

fn accepted() -> Response<Body> {
    let mut accepted = Response::new(Body::empty());
    *accepted.status_mut() = StatusCode::ACCEPTED;
    accepted
}

impl Arrival {
    /// What is known of the client that holds the session id which this request names.
    pub(super) fn downstream(&self, gate: &Gate) -> Option<Arc<Downstream>> {
        let (_, digest) = self.mcp_session.as_ref()?;
        Some(gate.downstreams.of(self.caller.member.id, *digest))
    }

    /// The call that this client means by a request id.
    pub(super) fn client_call(&self, request: RequestId) -> ClientCall {
        let mcp_session = self.mcp_session.as_ref().map(|(_, digest)| *digest);
        ClientCall { member: self.caller.member.id, mcp_session, request }
    }
}
